//! A whole call run from outside: orders by `voicechat ctl`, everything else read as JSON.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use serde_json::Value;

mod party;
use party::{Friend, Party};

const NO_SOUND: [&str; 4] = ["--input", "tone", "--output", "null"];

fn ctl(party: &Party, call: &Friend, order: &[&str]) -> Output {
    let pid = call.id().to_string();
    let mut args = vec!["ctl", "--json", "--call", &pid];
    args.extend(order);
    party.command(&args).output().unwrap()
}

#[track_caller]
fn done(party: &Party, call: &Friend, order: &[&str]) -> Value {
    let output = ctl(party, call, order);
    assert!(output.status.success(), "{order:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_call_is_run_by_a_script_alone() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &NO_SOUND);
    let mut bob = party.join(&place, "Bob", &code, &NO_SOUND);
    ada.wait_for("joined");
    bob.wait_for("joined");

    let pid = bob.id().to_string();
    let mut events =
        party.command(&["ctl", "events", "--call", &pid]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let mut event = |kind: &str| -> Value {
        let parsed = lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        parsed.into_iter().find(|event| event["event"] == kind).unwrap()
    };
    // The stream is open once it brings anything.
    event("stats");

    done(&party, &ada, &["mute"]);
    assert_eq!(bob.wait_for("muted")["muted"], true);
    assert_eq!(event("muted")["name"], "Ada");
    assert_eq!(done(&party, &ada, &["status"])["muted"], true);
    done(&party, &ada, &["toggle"]);
    assert_eq!(bob.wait_for("muted")["muted"], false);
    done(&party, &ada, &["say", "hello", "there"]);
    assert_eq!(bob.wait_for("chat")["text"], "hello there");
    assert_eq!(event("chat")["text"], "hello there");
    assert_eq!(done(&party, &bob, &["peers"])["peers"][0]["name"], "Ada");

    done(&party, &ada, &["leave"]);
    assert_eq!(bob.wait_for("left")["name"], "Ada");
    assert_eq!(ada.end().0.code(), Some(0));
    done(&party, &bob, &["leave"]);
    assert_eq!(bob.end().0.code(), Some(0));
    assert!(events.wait().unwrap().success(), "the stream ends with the call");
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let party = Party::new();
    let nobody = party.command(&["ctl", "mute"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(13));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("No call is running here."));

    let (_server, place) = party.serve();
    let (ada, _) = party.create(&place, "Ada", &NO_SOUND);
    let typo = ctl(&party, &ada, &["mtue"]);
    assert_eq!(typo.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&typo.stderr).contains("Did you mean"), "{typo:?}");
    let alone = ctl(&party, &ada, &["say", "hello"]);
    assert_eq!(alone.status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn nobody_but_this_user_reaches_the_socket_and_nothing_of_it_stays() {
    use std::os::unix::fs::PermissionsExt;
    let party = Party::new();
    let (_server, place) = party.serve();
    let (ada, _) = party.create(&place, "Ada", &NO_SOUND);
    let dir = party.path("runtime/voicechat");
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    done(&party, &ada, &["leave"]);
    ada.end();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}
