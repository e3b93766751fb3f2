//! Two friends and a server as real processes: what one says is what the other's loudspeaker plays.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::Path;

use audio::measure::matches;

mod party;

use party::{Friend, Party, asset, samples};

const LINES: usize = 30;

#[test]
fn both_are_heard_and_read_directly() {
    let rungs = call("auto", &[]);
    assert_eq!(rungs.last().map(String::as_str), Some("direct"), "{rungs:?}");
}

#[test]
fn both_are_heard_and_read_through_the_relay() {
    let rungs = call("relay", &[]);
    assert!(!rungs.is_empty() && rungs.iter().all(|rung| rung == "relay"), "{rungs:?}");
}

#[test]
fn both_are_heard_and_read_in_short_frames() {
    call("direct", &["--low-latency"]);
}

#[test]
fn a_server_that_comes_back_with_another_key_ends_no_call_and_is_told() {
    let party = Party::new();
    let (server, place) = party.serve();
    let silent = ["--input", "silence", "--output", "null", "--path", "direct"];
    let (mut ada, code) = party.create(&place, "Ada", &silent);
    let mut bob = party.join(&place, "Bob", &code, &silent);
    ada.wait_for("joined");
    drop(server);
    let key = party.path("another.key");
    let address = place.split('#').next().unwrap();
    let mut impostor =
        party.start(&["serve", "--listen", address, "--json", "--key-file", key.to_str().unwrap()]);
    impostor.wait_for("serving");
    for friend in [&mut ada, &mut bob] {
        let told = friend.wait_for("trouble");
        assert!(told["message"].as_str().unwrap().contains("another key"), "{told}");
    }
    ada.say("still here");
    assert_eq!(bob.wait_for("chat")["text"], "still here");
    ada.say("/quit");
    let (status, log, _) = ada.end();
    assert!(status.success());
    assert_eq!(log.iter().filter(|event| event["event"] == "trouble").count(), 1, "{log:#?}");
}

/// A whole call with speech both ways and chat both ways; returns the rungs that the joiner saw.
fn call(path: &str, more: &[&str]) -> Vec<String> {
    let party = Party::new();
    let (_server, place) = party.serve();
    let voice = |clip: &str, heard: &str| {
        let heard = party.path(heard);
        [format!("wav:{},loop", asset(clip).display()), format!("wav:{}", heard.display())]
    };
    let [ada_says, ada_hears] = voice("alice.wav", "ada.wav");
    let [bob_says, bob_hears] = voice("bob.wav", "bob.wav");
    let args = |input: &'_ str, output: &'_ str| -> Vec<String> {
        let fixed = ["--input", input, "--output", output, "--path", path];
        fixed.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
    };
    let ada_args = args(&ada_says, &ada_hears);
    let bob_args = args(&bob_says, &bob_hears);
    let (mut ada, code) = party.create(&place, "Ada", &borrowed(&ada_args));
    let mut bob = party.join(&place, "Bob", &code, &borrowed(&bob_args));
    assert_eq!(bob.wait_for("joined")["name"], "Ada");
    assert_eq!(ada.wait_for("joined")["name"], "Bob");

    for n in 0..LINES {
        ada.say(&format!("ada {n}"));
        bob.say(&format!("bob {n}"));
    }
    // Eight seconds of speech are enough to judge; the stats events are the clock.
    for friend in [&mut ada, &mut bob] {
        friend.wait(|event| {
            event["event"] == "stats" && event["peers"][0]["heard"].as_u64() >= Some(heard(more))
        });
    }
    let rungs = bob.rungs();
    ada.say("/quit");
    assert_eq!(bob.wait_for("left")["why"], "left");
    bob.say("/quit");
    let (ada_status, ada_log, _) = ada.end();
    let (bob_status, bob_log, _) = bob.end();
    assert!(ada_status.success() && bob_status.success());

    assert_eq!(chat(&ada_log), (0..LINES).map(|n| format!("bob {n}")).collect::<Vec<_>>());
    assert_eq!(chat(&bob_log), (0..LINES).map(|n| format!("ada {n}")).collect::<Vec<_>>());
    is_that_speech("alice.wav", &party.path("bob.wav"), "bob.wav");
    is_that_speech("bob.wav", &party.path("ada.wav"), "alice.wav");
    rungs
}

/// Frames of about eight seconds of talk with its pauses.
fn heard(more: &[&str]) -> u64 {
    if more.contains(&"--low-latency") { 500 } else { 250 }
}

/// The recording is what was said, and is not taken for what the other one said.
fn is_that_speech(said: &str, recording: &Path, other: &str) {
    let recording = samples(recording);
    let verdict = matches(&samples(&asset(said)), &recording, audio::RATE);
    assert!(verdict.matches && verdict.heard_s >= 2.0 && verdict.estoi >= 0.75, "{said}: {verdict:?}");
    let other = matches(&samples(&asset(other)), &recording, audio::RATE);
    assert!(!other.matches, "{other:?}");
}

fn chat(log: &[serde_json::Value]) -> Vec<String> {
    let lines = log.iter().filter(|event| event["event"] == "chat");
    lines.map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

fn borrowed(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn wrong_words_cost_one_try_and_the_right_ones_still_work() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let quiet = ["--input", "silence", "--output", "null"];
    let (mut ada, code) = party.create(&place, "Ada", &quiet);
    let number = code.split_once('-').unwrap().0;
    let words = ["zoo", "abandon", "ability"];
    let wrong = format!("{number}-{}", words.join("-"));
    let bob = party.join(&place, "Bob", &wrong, &quiet);
    let (status, log, errors) = bob.end();
    assert_eq!(status.code(), Some(3), "{log:?} {errors:?}");
    assert_eq!(ada.wait_for("wrong_code")["tries"], 1);
    let mut bob = party.join(&place, "Bob", &code, &quiet);
    assert_eq!(bob.wait_for("joined")["name"], "Ada");
}

#[test]
fn a_killed_friend_is_missed_and_a_third_one_is_let_in_by_whoever_is_left() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let quiet = ["--input", "silence", "--output", "null"];
    let (ada, code) = party.create(&place, "Ada", &quiet);
    let mut bob = party.join(&place, "Bob", &code, &quiet);
    bob.wait_for("joined");
    drop(ada);
    // The server sees the connection go and sends the next joiner to Bob.
    let mut cem = party.join(&place, "Cem", &code, &quiet);
    assert_eq!(cem.wait(|event| event["event"] == "joined")["name"], "Bob");
    assert_eq!(bob.wait(|event| event["event"] == "joined")["name"], "Cem");
    cem.say("still here");
    assert_eq!(bob.wait_for("chat")["text"], "still here");
}

#[test]
fn a_room_without_a_server_outlives_the_member_that_hosted_it() {
    let party = Party::new();
    let quiet = ["--json", "--input", "tone", "--output", "null"];
    let mut host = party.start(&[&["host", "--listen", "127.0.0.1:0", "--name", "Ada"][..], &quiet].concat());
    let invite = host.wait_for("invite");
    assert_eq!(invite["reach"], "loopback");
    let code = invite["code"].as_str().unwrap().to_owned();
    assert!(code.contains("@127.0.0.1:"), "{code}");
    let enter = |name: &str, code: &str| {
        let mut friend = party.start(&[&["join", "--name", name][..], &quiet].concat());
        friend.say(code);
        friend.wait_for("joined");
        friend
    };
    let mut bob = enter("Bob", &code);
    let mut cem = enter("Cem", invite["link"].as_str().unwrap());
    let heard = |event: &serde_json::Value, name: &str| {
        let peers = event["peers"].as_array().into_iter().flatten();
        peers.filter(|peer| peer["name"] == name).find_map(|peer| peer["heard"].as_u64()).unwrap_or(0)
    };
    cem.wait(|event| heard(event, "Bob") > 0);
    bob.wait(|event| heard(event, "Cem") > 0);
    host.say("/quit");
    assert!(host.end().0.success());
    assert_eq!(cem.wait_for("left")["name"], "Ada");
    bob.wait_for("left");
    bob.say("still here");
    assert_eq!(cem.wait_for("chat")["text"], "still here");
    let before = heard(&cem.wait_for("stats"), "Bob");
    cem.wait(|event| heard(event, "Bob") > before + 50);
}

#[test]
fn an_interrupted_friend_says_goodbye_and_its_recording_is_whole() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let quiet = ["--input", "silence", "--output", "null"];
    let (mut ada, code) = party.create(&place, "Ada", &quiet);
    let heard = party.path("heard.wav");
    let output = format!("wav:{}", heard.display());
    let mut bob = party.join(&place, "Bob", &code, &["--input", "tone:440", "--output", &output]);
    bob.wait_for("joined");
    ada.wait_for("joined");
    interrupt(&bob);
    assert_eq!(ada.wait_for("left")["why"], "left");
    let (status, _, _) = bob.end();
    assert!(status.success());
    hound::WavReader::open(heard).unwrap();
}

#[cfg(unix)]
fn interrupt(friend: &Friend) {
    let status = std::process::Command::new("kill").args(["-INT", &friend.id().to_string()]).status();
    assert!(status.unwrap().success());
}

#[cfg(not(unix))]
fn interrupt(_: &Friend) {
    unreachable!("signals are sent on Unix only");
}
