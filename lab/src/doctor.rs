//! Whether `voicechat doctor` says of each kind of access what it is.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::nat::{Dependence, Kind};
use crate::report::say;
use crate::servers::Servers;
use crate::world::{Programs, World};

/// True if all of them are told rightly.
pub(crate) fn check(programs: &Programs, kinds: &[Kind]) -> Result<bool> {
    let mut good = true;
    for kind in kinds.iter().filter(|kind| kind.access().v4.is_some()) {
        let (status, findings) = examined(programs, *kind).with_context(|| kind.name())?;
        let wrong: Vec<String> = expected(*kind)
            .into_iter()
            .filter(|(topic, says)| {
                !findings.iter().any(|(told, message)| told == topic && message.contains(says))
            })
            .map(|(topic, says)| format!("{topic} does not say \"{says}\""))
            .chain((status != expected_status(*kind)).then(|| format!("it ends with {status}")))
            .collect();
        good &= wrong.is_empty();
        let mark = if wrong.is_empty() { "ok " } else { "NOT" };
        say(&format!("{mark} {:<8} status {status}  {}", kind.name(), wrong.join("; ")));
        if !wrong.is_empty() {
            findings.iter().for_each(|(topic, message)| say(&format!("      {topic}: {message}")));
        }
    }
    Ok(good)
}

/// Words that a finding must hold.
fn expected(kind: Kind) -> Vec<(&'static str, &'static str)> {
    let access = kind.access();
    let Some(nat) = access.v4.filter(|_| access.udp) else { return vec![("udp", "not by UDP")] };
    let maps = match nat.mapping {
        _ if kind.routers().is_empty() => "No router changes",
        Dependence::Endpoint => "keeps one outside port",
        Dependence::Address | Dependence::Port => "symmetric NAT",
    };
    let filters = match nat.filtering {
        Dependence::Endpoint | Dependence::Address => "other ports of an address",
        Dependence::Port => "only what was asked for",
    };
    let opens = match access.opens_ports {
        true => "The router opens ports",
        false if kind.routers().is_empty() => "no router",
        false => "opens no ports",
    };
    vec![("nat", maps), ("filtering", filters), ("port_mapping", opens)]
}

fn expected_status(kind: Kind) -> i32 {
    let access = kind.access();
    match access.v4 {
        _ if !access.udp => 15,
        Some(nat) if nat.mapping != Dependence::Endpoint && !access.opens_ports => 14,
        _ => 0,
    }
}

/// The exit status, and what was said of each topic.
fn examined(programs: &Programs, kind: Kind) -> Result<(i32, Vec<(String, String)>)> {
    let world = World::new(programs)?;
    let servers = Servers::start(&world)?;
    let mut site = world.site(kind)?;
    let seat = world.seat(&mut site, None)?;
    let mut command = seat.ns.command(programs.path("voicechat"));
    command.args(["doctor", "--json", "--seconds", "1", "--input", "tone", "--output", "null"]);
    command.args(["--server", &servers.place(true)]).env("HOME", world.work.path());
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.is_empty(), "it says nothing: {}", String::from_utf8_lossy(&output.stderr));
    let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let findings = events.iter().filter(|event| event["event"] == "finding");
    Ok((
        output.status.code().context("it was killed")?,
        findings.map(|event| (word(event, "topic"), word(event, "message"))).collect(),
    ))
}
