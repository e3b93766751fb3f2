//! `voicechat ctl`: the caller's end.

use std::io::{self, BufRead, BufReader, Write};

use interprocess::local_socket::Stream;
use interprocess::local_socket::prelude::*;

use super::{Answered, Spot, dir};
use crate::cli::Ctl;
use crate::config::reason;
use crate::failure::{Failure, Kind};
use crate::ui;

pub(crate) fn run(ctl: Ctl) -> Result<(), Failure> {
    let mut call = BufReader::new(connect(ctl.call)?);
    let request = ctl.order.join(" ").replace(['\r', '\n'], " ");
    call.get_mut().write_all(format!("{request}\n").as_bytes()).map_err(lost)?;
    if request == "events" {
        return stream(call);
    }
    let mut line = String::new();
    call.read_line(&mut line).map_err(lost)?;
    // Leaving may be faster than its answer.
    if line.is_empty() && matches!(request.as_str(), "leave" | "quit") {
        return Ok(());
    }
    let answered: Answered =
        serde_json::from_str(&line).map_err(|_| lost(io::ErrorKind::UnexpectedEof.into()))?;
    match (ctl.json, answered.done) {
        (true, _) => ui::say(&format!("{}\n", answered.event)),
        (false, true) => ui::say(&format!("{}\n", answered.text.trim_end())),
        (false, false) => {}
    }
    if answered.done { Ok(()) } else { Err(Failure::usage(answered.text, "")) }
}

fn stream(call: BufReader<Stream>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for line in call.lines() {
        let Ok(line) = line else { return Ok(()) };
        // A reader that has gone wants no more.
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The call with this number, else the one that began last.
fn connect(pid: Option<u32>) -> Result<Stream, Failure> {
    let none = || {
        Failure::new(
            Kind::NoCall,
            "No call is running here.",
            "Start one with `voicechat create` or `voicechat join`.",
        )
    };
    let dir = dir().ok_or_else(none)?;
    let spots = match pid {
        Some(pid) => vec![Spot::of(&dir, pid)],
        None => Spot::all(&dir),
    };
    for spot in spots {
        match spot.name().and_then(Stream::connect) {
            Ok(stream) => return Ok(stream),
            // Its process ended without a farewell.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => spot.remove(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(lost(error)),
        }
    }
    Err(none())
}

fn lost(error: io::Error) -> Failure {
    Failure::machine(
        format!("The call does not answer ({}).", reason(&error)),
        "It may just be ending; try again.",
    )
}
