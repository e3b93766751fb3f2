//! `voicechat ctl`: the caller's end.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::time::Duration;

use interprocess::local_socket::Stream;
use interprocess::local_socket::prelude::*;

use super::listen::misfit;
use super::{Answered, MAX_REQUEST, PATIENCE, Spot, dir};
use crate::cli::Ctl;
use crate::config::reason;
use crate::failure::{Failure, Kind};
use crate::order::too_long;
use crate::ui::unwritten;
use crate::{printer, ui};

pub(crate) fn run(mut ctl: Ctl) -> Result<(), Failure> {
    // Where no text is taken, it can only be meant as an option.
    let first = ctl.order.first().and_then(|first| first.split_whitespace().next());
    let texts = matches!(first, Some("say" | "name"));
    if !texts && ctl.order.pop_if(|last| last == "--json").is_some() {
        ctl.json = true;
    }
    let told = |failure| ui::told(ctl.json, failure);
    let lost = |error| told(lost(error));
    let request = ctl.order.join(" ").replace(['\r', '\n'], " ") + "\n";
    if request.len() > MAX_REQUEST {
        return Err(told(Failure::usage(too_long().why, "")));
    }
    // What no call understands is wrong whether one runs or not.
    let call = connect(ctl.call).map_err(|failure| match misfit(&request) {
        Some(refusal) => told(Failure::usage(refusal.why, "")),
        None => told(failure),
    })?;
    // Where a pipe knows no limit, the call's own holds.
    let _ = call.set_recv_timeout(Some(ANSWERED)).and(call.set_send_timeout(Some(PATIENCE)));
    let mut call = BufReader::new(call);
    call.get_mut().write_all(request.as_bytes()).map_err(lost)?;
    let request = request.trim_end();
    if request == "events" {
        let _ = call.get_ref().set_recv_timeout(None);
        return stream(call);
    }
    let mut line = String::new();
    call.read_line(&mut line).map_err(lost)?;
    // Leaving may be faster than its answer.
    if line.is_empty() && matches!(request, "leave" | "quit") {
        return Ok(());
    }
    let answered: Answered =
        serde_json::from_str(&line).map_err(|_| lost(io::ErrorKind::UnexpectedEof.into()))?;
    match (ctl.json, answered.status) {
        (true, _) => printer::say(&format!("{}\n", answered.event)),
        (false, 0) => printer::tell(&format!("{}\n", answered.text.trim_end())),
        (false, _) => {}
    }
    let kind = Kind::Refused;
    match answered.status {
        0 => Ok(()),
        status if status == kind.status() => Err(Failure::new(kind, answered.text, "")),
        _ => Err(Failure::usage(answered.text, "")),
    }
}

fn stream(call: BufReader<Stream>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let was_terminal = out.is_terminal();
    for line in call.lines() {
        let Ok(line) = line else { return Ok(()) };
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Ok(()) => {}
            // A reader that has gone wants no more.
            Err(error) if printer::is_gone(&error, was_terminal) => return Ok(()),
            Err(error) => return Err(unwritten(&error)),
        }
    }
    Ok(())
}

/// The call with this number, else the one that began last.
fn connect(pid: Option<u32>) -> Result<Stream, Failure> {
    let none = || {
        let (what, hint) = match pid {
            Some(pid) => (
                format!("Process {pid} is no call of yours."),
                "Leave --call out for the call that began last, if there is one.",
            ),
            None => (
                "No call is running here.".to_owned(),
                "Start one with `voicechat create` or `voicechat join`.",
            ),
        };
        Failure::new(Kind::NoCall, what, hint)
    };
    let dir = dir().ok_or_else(none)?;
    let spots = match pid {
        Some(pid) => vec![Spot::of(&dir, pid)],
        None => Spot::all(&dir),
    };
    match spots.iter().find_map(Spot::connect) {
        Some(reached) => reached.map_err(lost),
        None => Err(none()),
    }
}

fn lost(error: io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it is silent".to_owned(),
        io::ErrorKind::UnexpectedEof => "it hung up".to_owned(),
        _ => reason(&error),
    };
    Failure::machine(format!("The call does not answer ({why})."), "It may just be ending; try again.")
}

/// Asking a sound server for its devices takes the longest, and is given up before.
const ANSWERED: Duration = Duration::from_secs(10);
