//! Whether `voicechat doctor` says of each kind of access what it is.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::nat::{Asked, Dependence, Kind};
use crate::report::say;
use crate::servers::Servers;
use crate::world::{Killed, Programs, Seat, World};

/// True if all of them are told rightly.
pub(crate) fn check(programs: &Programs, kinds: &[Kind]) -> Result<bool> {
    let mut good = true;
    for kind in kinds.iter().filter(|kind| kind.access().v4.is_some()) {
        let Examined { status, findings, left_open } =
            examined(programs, *kind).with_context(|| kind.name())?;
        let wrong: Vec<String> = expected(*kind)
            .into_iter()
            .filter(|(topic, says)| {
                !findings.iter().any(|(told, message)| told == topic && message.contains(says))
            })
            .map(|(topic, says)| format!("{topic} does not say \"{says}\""))
            .chain((status != expected_status(*kind)).then(|| format!("it ends with {status}")))
            .chain((left_open > 0).then(|| format!("{left_open} ports stay open")))
            .collect();
        good &= wrong.is_empty();
        let mark = if wrong.is_empty() { "ok " } else { "NOT" };
        say(&format!("{mark} {:<8} status {status}  {}", kind.name(), wrong.join("; ")));
        if !wrong.is_empty() {
            findings.iter().for_each(|(topic, message)| say(&format!("      {topic}: {message}")));
        }
    }
    for kind in kinds.iter().filter(|kind| kind.access().opens_ports.is_some()) {
        let told = hosted(programs, *kind).with_context(|| kind.name());
        good &= told.is_ok();
        let mark = if told.is_ok() { "ok " } else { "NOT" };
        let what = told.unwrap_or_else(|error| format!("{error:#}"));
        say(&format!("{mark} {:<8} a room behind it: {what}", kind.name()));
    }
    Ok(good)
}

/// A room without a server behind a router that opens ports when asked, and a stranger with its code. Afterwards all
/// ports are closed again.
fn hosted(programs: &Programs, kind: Kind) -> Result<String> {
    let world = World::new(programs)?;
    let (mut home, mut street) = (world.site(kind)?, world.site(Kind::Open)?);
    let (inside, outside) = (world.seat(&mut home, None)?, world.seat(&mut street, None)?);
    let start = |seat: &Seat, name: &str, order: &str| -> Result<Killed> {
        let mut command = seat.ns.command(programs.path("voicechat"));
        command.args([
            order,
            "--json",
            "--name",
            name,
            "--input",
            "tone",
            "--output",
            "null",
            "--seconds",
            "30",
        ]);
        command.env("HOME", world.work.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Killed(command.stderr(Stdio::null()).spawn()?))
    };
    let mut ada = start(&inside, "Ada", "host")?;
    let invite = told(&mut ada, |event| event["event"] == "invite" && event["reach"] == "public")?
        .context("it is never told to be public")?;
    let mut bob = start(&outside, "Bob", "join")?;
    let code = invite["code"].as_str().context("no code")?;
    writeln!(bob.0.stdin.as_mut().context("no stdin")?, "{code}")?;
    let path = told(&mut bob, |event| event["event"] == "path" && event["rung"] != "mail")?;
    let rung = path.as_ref().and_then(|path| path["rung"].as_str()).context("it lets nobody in")?;
    let open = home.ports_open()?;
    ensure!(open > 0, "no port was asked for");
    writeln!(ada.0.stdin.as_mut().context("no stdin")?, "/quit")?;
    ada.0.wait()?;
    let left = home.ports_open()?;
    ensure!(left == 0, "{left} of {open} ports stay open after the call");
    Ok(format!("a stranger is let in, {rung}; of {open} ports none stays open"))
}

/// The first such event; `None` if the program ends without it.
fn told(program: &mut Killed, wanted: impl Fn(&Value) -> bool) -> Result<Option<Value>> {
    let stdout = program.0.stdout.as_mut().context("no stdout")?;
    for line in BufReader::new(stdout).lines() {
        let event = serde_json::from_str(&line?)?;
        if wanted(&event) {
            return Ok(Some(event));
        }
    }
    Ok(None)
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
        Dependence::Endpoint | Dependence::Address => "any port of an address",
        Dependence::Port => "only what was asked for",
    };
    let opens = match access.opens_ports {
        Some(Asked::Any) => "The router opens ports for calls (PCP)",
        Some(Asked::Igd) => "The router opens ports for calls (UPnP)",
        None if kind.routers().is_empty() => "no router",
        None => "opens no ports",
    };
    vec![("nat", maps), ("filtering", filters), ("port_mapping", opens)]
}

fn expected_status(kind: Kind) -> i32 {
    let access = kind.access();
    match access.v4 {
        _ if !access.udp => 15,
        Some(nat) if nat.mapping != Dependence::Endpoint && access.opens_ports.is_none() => 14,
        _ => 0,
    }
}

struct Examined {
    /// Of the program.
    status: i32,
    /// Topics, and what was said of them.
    findings: Vec<(String, String)>,
    /// Ports that the router was asked for, and never to close again.
    left_open: usize,
}

fn examined(programs: &Programs, kind: Kind) -> Result<Examined> {
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
    Ok(Examined {
        status: output.status.code().context("it was killed")?,
        findings: findings.map(|event| (word(event, "topic"), word(event, "message"))).collect(),
        left_open: site.ports_open()?,
    })
}
