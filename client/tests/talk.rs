//! A call from outside: what is typed, how it ends, what it leaves behind.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

mod outside;
use outside::{NO_SOUND, PROGRAM, Running, environment, room, run_at, server};

/// Ada and Bob in one room, connected.
fn two_friends(home: &Path, place: &str, more: &[&str]) -> (Running, Running) {
    let (ada, code) = room(home, place, more);
    let args = [&["join", "--server", place, "--name", "Bob"][..], more].concat();
    let mut bob = Running::start(home, &args);
    bob.types(&code);
    for (friend, other) in [(&ada, "Bob"), (&bob, "Ada")] {
        assert_eq!(friend.event("joined")["name"], other);
        friend.event("path");
    }
    (ada, bob)
}

#[test]
fn typed_lines_are_chat_commands_or_a_clear_answer() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let (mut ada, mut bob) = two_friends(home.path(), &place, &NO_SOUND);
    let answer = |friend: &Running| friend.event("answer")["message"].as_str().unwrap().to_owned();

    ada.types("x".repeat(1001));
    assert!(answer(&ada).contains("longer than 1000 bytes"));
    ada.types("y".repeat(2_000_000));
    assert!(answer(&ada).contains("longer than 1000 bytes"));
    ada.types(b"\xff\xfe");
    assert!(answer(&ada).contains("not UTF-8"));
    ada.types("/mtue");
    assert!(answer(&ada).contains("/mute"));
    ada.types("/help");
    assert!(answer(&ada).contains("/quit"));
    ada.types("//shrug");
    ada.types("esc \u{1b}[31m and \u{202e}bidi");
    ada.types("z".repeat(1000));
    assert_eq!(bob.event("chat")["text"], "/shrug");
    let tricky = bob.event("chat")["text"].as_str().unwrap().to_owned();
    assert!(tricky.starts_with("esc ") && !tricky.contains(['\u{1b}', '\u{202e}']), "{tricky:?}");
    assert_eq!(bob.event("chat")["text"], "z".repeat(1000));

    ada.types("/mute");
    assert_eq!(bob.event("muted")["muted"], true);
    assert!(answer(&ada).contains("off;"));
    ada.types("/mute");
    assert!(answer(&ada).contains("off already"));
    ada.types("/unmute");
    assert_eq!(bob.event("muted")["muted"], false);
    bob.types("/peers");
    assert_eq!(bob.event("peers")["peers"][0]["name"], "Ada");
    bob.types("/invite");
    assert!(bob.event("invite")["link"].is_string());
    bob.types("/quit now");
    assert_eq!(bob.event("answer")["done"], false);
    bob.types("/quit");
    assert_eq!(bob.ends(), 0);
    assert_eq!(ada.event("left")["why"], "left");
}

#[test]
fn the_log_holds_neither_words_nor_names_nor_chat_nor_addresses() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let logs = ["hers", "his"].map(|name| home.path().join(name));
    let keeps = |log: usize| [&NO_SOUND[..], &["-v", "--log", logs[log].to_str().unwrap()]].concat();
    let args = [&["create", "--server", &place, "--name", "Adalbertine"][..], &keeps(0)].concat();
    let mut ada = Running::start(home.path(), &args);
    let invite = ada.event("invite");
    let [code, link] = ["code", "link"].map(|kind| invite[kind].as_str().unwrap().to_owned());
    let args = [&["join", "--server", &place, "--name", "Bartholomew"][..], &keeps(1)].concat();
    let mut bob = Running::start(home.path(), &args);
    bob.types(&code);
    ada.event("path");
    bob.event("path");
    bob.types("a secret line");
    assert_eq!(ada.event("chat")["text"], "a secret line");
    ada.types("/quit");
    assert_eq!(ada.ends(), 0);
    bob.types("/quit");
    assert_eq!(bob.ends(), 0);
    let words = code.split_once('-').unwrap().1;
    let key = place.split_once('#').unwrap().1;
    let told = link.split_once('#').unwrap().1;
    assert!(fs::read_to_string(&logs[0]).unwrap().contains("Said("));
    for log in logs {
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains("Joined(") && text.contains("Ended("), "{text}");
        let parts = told.split('.').filter(|part| part.len() > 8);
        for private in
            ["Adalbertine", "Bartholomew", "secret", words, "127.0.0.1", key].into_iter().chain(parts)
        {
            assert!(!text.contains(private), "{private}");
        }
    }
}

#[cfg(unix)]
#[test]
fn being_asked_to_stop_tells_the_others_and_completes_the_recording() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let tape = home.path().join("tape.wav");
    let output = format!("wav:{}", tape.display());
    for signal in ["TERM", "INT", "HUP"] {
        let (ada, mut bob) = two_friends(home.path(), &place, &["--input", "tone", "--output", &output]);
        bob.event("stats");
        bob.signal(signal);
        assert_eq!(bob.ends(), 0);
        assert_eq!(ada.event("left")["why"], "left");
        assert!(hound::WavReader::open(&tape).unwrap().duration() > 0);
    }
}

#[test]
fn the_end_of_a_pipe_does_not_end_the_call_but_its_time_does() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let (mut ada, _) = room(home.path(), &place, &[&NO_SOUND[..], &["--seconds", "3"]].concat());
    drop(ada.stdin.take());
    ada.event("stats");
    ada.event("stats");
    assert_eq!(ada.ends(), 0);
}

#[test]
fn when_nobody_reads_its_output_any_more_it_leaves() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let mut child = std::process::Command::new(PROGRAM)
        .env_clear()
        .envs(environment(home.path()))
        .args(["create", "--json", "--server", &place])
        .args(NO_SOUND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_server_create_brings_its_own_and_the_code_says_where() {
    let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let args = [&["create", "--listen", "127.0.0.1:0", "--name", "Ada"][..], &NO_SOUND].concat();
    let mut ada = Running::start(home.path(), &args);
    let invite = ada.event("invite");
    assert_eq!(invite["reach"], "loopback");
    let code = invite["code"].as_str().unwrap();
    assert!(code.contains("@127.0.0.1:"), "{code}");
    for typed in [code, invite["link"].as_str().unwrap()] {
        let mut bob = Running::start(other.path(), &[&["join", "--name", "Bob"][..], &NO_SOUND].concat());
        bob.types(typed);
        bob.event("path");
        bob.types("hello");
        assert_eq!(ada.event("chat")["text"], "hello");
        bob.types("/quit");
        assert_eq!(bob.ends(), 0);
        ada.event("left");
    }
    ada.types("/quit");
    assert_eq!(ada.ends(), 0);
}

#[test]
fn the_demo_ends_well_and_leaves_what_was_heard() {
    let home = TempDir::new().unwrap();
    let kept = home.path().join("heard");
    for path in ["direct", "relay"] {
        let args = ["demo", "--seconds", "8", "--path", path, "--keep", kept.to_str().unwrap()];
        let run = run_at(home.path(), &args, b"");
        assert_eq!(run.status, 0, "{}\n{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("4 of 4 lines, each once and in order"), "{}", run.stdout);
        assert_eq!(run.stdout.matches("the recording is that speech").count(), 2, "{}", run.stdout);
        for name in ["ada-heard.wav", "bob-heard.wav"] {
            assert!(hound::WavReader::open(kept.join(name)).unwrap().duration() > 48_000);
        }
    }
}
