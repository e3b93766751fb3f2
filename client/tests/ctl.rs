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

/// All that the call says to these bytes and nothing after them.
#[cfg(unix)]
fn answered(socket: &std::path::Path, request: &str) -> String {
    use std::io::{Read, Write};
    let mut call = std::os::unix::net::UnixStream::connect(socket).unwrap();
    call.write_all(request.as_bytes()).unwrap();
    call.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    // The end may come as a reset, because not all was read.
    let _ = call.read_to_string(&mut answer);
    answer
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
        party.command(&["ctl", "--call", &pid, "events"]).stdout(Stdio::piped()).spawn().unwrap();
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
    let status = done(&party, &ada, &["status"]);
    assert_eq!(
        (&status["event"], &status["muted"], &status["open"]),
        (&"status".into(), &true.into(), &true.into())
    );
    assert_eq!((status["code"].as_str(), &status["peers"][0]["name"]), (Some(code.as_str()), &"Bob".into()));
    done(&party, &ada, &["toggle"]);
    assert_eq!(bob.wait_for("muted")["muted"], false);
    done(&party, &ada, &["say", "hello", "there"]);
    assert_eq!(bob.wait_for("chat")["text"], "hello there");
    assert_eq!(event("chat")["text"], "hello there");
    assert_eq!(done(&party, &bob, &["peers"])["peers"][0]["name"], "Ada");

    for (order, key, value) in [
        (&["mute"][..], "muted", true),
        (&["deafen"], "deafened", true),
        (&["undeafen"], "deafened", false),
        (&["ptt", "on"], "push_to_talk", true),
        (&["ptt", "down"], "talk_key", true),
        (&["ptt", "up"], "talk_key", false),
    ] {
        done(&party, &bob, order);
        assert_eq!(event("own")[key], value, "{order:?}");
    }

    done(&party, &ada, &["leave"]);
    assert_eq!(bob.wait_for("left")["name"], "Ada");
    assert_eq!(ada.end().0.code(), Some(0));
    done(&party, &bob, &["leave"]);
    assert_eq!(bob.end().0.code(), Some(0));
    assert!(events.wait().unwrap().success(), "the stream ends with the call");
}

#[test]
fn numbers_and_chat_are_told_by_answers_as_by_events() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &NO_SOUND);
    let mut bob = party.join(&place, "Bob", &code, &NO_SOUND);
    bob.wait_for("joined");
    ada.wait(|event| event["event"] == "stats" && event["peers"][0]["delay_ms"].is_number());
    let status = String::from_utf8(ctl(&party, &ada, &["status"]).stdout).unwrap();
    assert!(serde_json::from_str::<Value>(&status).unwrap()["ts"].is_u64(), "{status}");
    let digits = |number: &str| number.bytes().take_while(u8::is_ascii_digit).count();
    let finest = status.split('.').skip(1).map(digits).max();
    assert!(finest.is_some_and(|finest| finest <= 7), "{status}");
    ada.say("\u{202e}evil\u{202c}");
    let said = ada.wait_for("said")["text"].clone();
    assert!(!said.as_str().unwrap().contains('\u{202e}'), "{said}");
    assert_eq!(bob.wait_for("chat")["text"], said);
}

#[test]
fn an_order_that_no_call_knows_ends_alike_with_and_without_a_call() {
    let party = Party::new();
    let said = |order: &[&str]| {
        let output = party.command(&[&["ctl"], order].concat()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let alone = said(&["foo"]);
    assert_eq!(alone.0, Some(2), "{alone:?}");
    let (status, usage) = said(&["say"]);
    assert!(status == Some(2) && usage.contains("`voicechat ctl say TEXT`"), "{usage}");
    for right in [&["mute"][..], &["events"], &["leave"], &["say", "hi"]] {
        assert_eq!(said(right).0, Some(13), "{right:?}");
    }
    let (_server, place) = party.serve();
    let (_ada, _) = party.create(&place, "Ada", &NO_SOUND);
    assert_eq!(said(&["foo"]), alone);
    assert_eq!(said(&["say"]), (status, usage));
}

#[test]
fn an_answer_names_the_order_as_it_was_given() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &NO_SOUND);
    let alone = ctl(&party, &ada, &["say", "hello"]);
    assert_eq!(serde_json::from_slice::<Value>(&alone.stdout).unwrap()["order"], "say");
    let mut bob = party.join(&place, "Bob", &code, &NO_SOUND);
    ada.wait_for("joined");
    bob.wait_for("joined");
    for order in [
        &["mute"][..],
        &["unmute"],
        &["toggle"],
        &["deafen"],
        &["undeafen"],
        &["ptt", "on"],
        &["ptt", "down"],
        &["ptt", "off"],
        &["volume"],
        &["volume", "Bob", "50"],
        &["noise", "on"],
        &["echo", "off"],
        &["level", "on"],
        &["gate", "on"],
        &["input", "silence"],
        &["output", "null"],
        &["save"],
        &["invite", "new"],
        &["lock"],
        &["unlock"],
        &["name", "Ada L."],
        &["help"],
        &["kick", "Bob"],
    ] {
        let answer = done(&party, &ada, order);
        assert_eq!((&answer["event"], &answer["order"]), (&"answer".into(), &order[0].into()), "{order:?}");
    }
    for order in [&["foo", "bar"][..], &["mute", "now"], &["say"]] {
        let answer: Value = serde_json::from_slice(&ctl(&party, &ada, order).stdout).unwrap();
        assert_eq!((&answer["done"], &answer["order"]), (&false.into(), &order[0].into()), "{order:?}");
    }
    // Leaving may be faster than its answer.
    let left = ctl(&party, &ada, &["leave"]);
    assert!(left.status.success());
    if !left.stdout.is_empty() {
        assert_eq!(serde_json::from_slice::<Value>(&left.stdout).unwrap()["order"], "leave");
    }
}

#[test]
fn what_is_said_from_outside_is_told_to_programs_like_what_is_typed() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &NO_SOUND);
    let _bob = party.join(&place, "Bob", &code, &NO_SOUND);
    ada.wait_for("joined");
    done(&party, &ada, &["say", "hello"]);
    assert_eq!(ada.wait_for("said")["text"], "hello");
    // Whoever drives the call by its stdin reads the answers to that alone.
    done(&party, &ada, &["mute"]);
    done(&party, &ada, &["leave"]);
    let (_, log, _) = ada.end();
    assert!(log.iter().any(|event| event["event"] == "own" && event["muted"] == true));
    assert!(!log.iter().any(|event| event["event"] == "answer"), "{log:?}");
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
    for order in ["leave", "events"] {
        let more = ctl(&party, &ada, &[order, "x"]);
        let said = String::from_utf8_lossy(&more.stderr);
        assert!(said.contains(&format!("`voicechat ctl {order}` takes nothing after it")), "{more:?}");
        assert_eq!(more.status.code(), Some(2));
    }
    let alone = ctl(&party, &ada, &["say", "hello"]);
    assert_eq!(alone.status.code(), Some(16));
}

#[cfg(target_os = "linux")]
#[test]
fn events_that_cannot_be_written_end_with_two_sentences_and_a_status_of_their_own() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (ada, _) = party.create(&place, "Ada", &NO_SOUND);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let pid = ada.id().to_string();
    let ended = party.command(&["ctl", "--call", &pid, "events"]).stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(11), "{ended:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("cannot be written (no space left on device)"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.lines().all(|line| line.ends_with('.')), "{said}");
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

/// Text of somebody else, as a program passes it on.
#[test]
fn nothing_in_a_text_is_an_option_or_another_order() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &NO_SOUND);
    let mut bob = party.join(&place, "Bob", &code, &NO_SOUND);
    ada.wait_for("joined");
    bob.wait_for("joined");
    let pid = ada.id().to_string();
    let last = party.command(&["ctl", "--call", &pid, "status", "--json"]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&last.stdout).unwrap()["event"], "status");
    let log = party.path("log");
    let option = format!("--log={}", log.display());
    for text in [option.as_str(), "-5 points", "--help", "--", "to --json", "--json", "a\nname Mallory"] {
        done(&party, &ada, &["say", text]);
        let said = bob.wait_for("chat")["text"].as_str().unwrap().to_owned();
        assert_eq!(said, text.replace('\n', " "));
    }
    let one = party.command(&["ctl", "--call", &pid, "say hello", "--json"]).status().unwrap();
    assert!(one.success());
    assert_eq!(bob.wait_for("chat")["text"], "hello --json");
    assert!(!log.exists());

    let long = "x".repeat(4_092) + "name Mallory";
    let refused = ctl(&party, &ada, &["say", &long]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(done(&party, &bob, &["peers"])["peers"][0]["name"], "Ada");
}

#[cfg(unix)]
#[test]
fn a_request_without_an_end_is_no_request_and_no_other_follows_it() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (ada, _) = party.create(&place, "Ada", &NO_SOUND);
    let socket = party.path(&format!("runtime/voicechat/call-{}", ada.id()));
    for request in ["say ".to_owned() + &"x".repeat(4_092) + "name Mallory\n", "name Mallory".to_owned()] {
        let answer = answered(&socket, &request);
        assert_eq!(answer.lines().count(), 1, "{answer}");
        assert!(answer.contains("\"status\":2"), "{answer}");
    }
    done(&party, &ada, &["leave"]);
    let (_, log, _) = ada.end();
    assert!(!log.iter().any(|event| event["order"] == "name"), "{log:?}");
}

#[cfg(unix)]
#[test]
fn callers_that_say_nothing_lock_nobody_out() {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    let party = Party::new();
    let (_server, place) = party.serve();
    let (ada, _) = party.create(&place, "Ada", &NO_SOUND);
    let socket = party.path(&format!("runtime/voicechat/call-{}", ada.id()));
    let mut idle: Vec<UnixStream> = (0..16).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let answer = answered(&socket, "mute\n");
    assert!(answer.contains("\"status\":16") && answer.contains("Too many programs"), "{answer}");
    // Each of them is hung up on.
    for caller in &mut idle {
        assert_eq!(caller.read(&mut [0]).unwrap(), 0);
    }
    done(&party, &ada, &["mute"]);
}

#[cfg(unix)]
#[test]
fn a_socket_that_does_not_answer_is_kept_while_its_process_lives_and_swept_away_after() {
    use std::os::unix::net::UnixListener;
    let party = Party::new();
    let dir = party.path("runtime/voicechat");
    std::fs::create_dir_all(&dir).unwrap();
    // Bound by a process that has stopped listening: this one, and one that has ended.
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let [living, dead] = [std::process::id(), ended.id()].map(|pid| dir.join(format!("call-{pid}")));
    for socket in [&living, &dead] {
        drop(UnixListener::bind(socket).unwrap());
    }
    let nobody = party.command(&["ctl", "mute"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(11), "{nobody:?}");
    assert!(living.exists());
    let pid = ended.id().to_string();
    let nobody = party.command(&["ctl", "--call", &pid, "mute"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(13), "{nobody:?}");
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert!(said.contains(&format!("Process {pid} is no call of yours.")), "{said}");
    assert!(!dead.exists());
}
