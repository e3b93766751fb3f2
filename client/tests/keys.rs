//! Push-to-talk by the space bar in a pty that plays a terminal: one that tells when a key is let go (the kitty keyboard
//! protocol, <https://sw.kovidgoyal.net/kitty/keyboard-protocol/>), and one that does not.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

mod party;
use party::{Friend, PATIENCE, Party};

const PRESS: &[u8] = b"\x1b[32;1:1u";
const REPEAT: &[u8] = b"\x1b[32;1:2u";
const RELEASE: &[u8] = b"\x1b[32;1:3u";

/// Our end of a pty, and its other one as often as wanted.
fn pty() -> (File, impl Fn() -> File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    // A child that held it would keep the terminal open.
    fcntl_setfd(&master, FdFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 30, ws_col: 250, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    (File::from(master), move || File::options().read(true).write(true).open(&path).unwrap())
}

/// Ada, talking by key, behind a terminal that we are.
struct Pty {
    child: Child,
    keys: File,
    painted: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Pty {
    fn start(party: &Party, args: &[&str]) -> Self {
        let (keys, tty) = pty();
        let mut command = party.command(args);
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env("VOICECHAT_PUSH_TO_TALK", "true");
        let child = command.stdin(tty()).stdout(tty()).stderr(tty()).spawn().unwrap();
        let mut screen = keys.try_clone().unwrap();
        let (to, painted) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len) = screen.read(&mut buffer) {
                if len == 0 || to.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, painted, seen: Vec::new() }
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    fn has_seen(&mut self, text: &str) -> bool {
        self.seen.extend(self.painted.try_iter().flatten());
        String::from_utf8_lossy(&self.seen).contains(text)
    }

    fn until(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_seen(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.painted.recv_timeout(left) {
                Ok(more) => self.seen.extend(more),
                Err(error) => panic!("{text:?}: {error}; seen: {}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ada and Bob, who hears her.
fn call(party: &Party) -> (Friend, Friend, Pty) {
    let (server, place) = party.serve();
    let (mut bob, code) = party.create(&place, "Bob", &["--input", "silence", "--output", "null"]);
    let mut ada = Pty::start(
        party,
        &["join", &code, "--server", &place, "--name", "Ada", "--input", "tone", "--output", "null"],
    );
    bob.wait_for("path");
    ada.until("push to talk");
    (server, bob, ada)
}

fn heard(event: &serde_json::Value) -> u64 {
    event["peers"][0]["heard"].as_u64().unwrap_or(0)
}

const UNTOLD: &str = "does not tell when a key is let go";

#[test]
fn where_the_terminal_tells_the_voice_ends_with_the_key() {
    let party = Party::new();
    let (_server, mut bob, mut ada) = call(&party);
    ada.until("\u{1b}[>3u");
    ada.press(&[PRESS, RELEASE].concat());
    // A held key repeats.
    let (stop, stopped) = channel::<()>();
    let mut keys = ada.keys.try_clone().unwrap();
    let held = thread::spawn(move || {
        keys.write_all(PRESS).unwrap();
        while stopped.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
            keys.write_all(REPEAT).unwrap();
        }
        keys.write_all(RELEASE).unwrap();
    });
    bob.wait(|event| event["event"] == "stats" && heard(event) > 50);
    drop(stop);
    held.join().unwrap();
    let before = Cell::new(0);
    bob.wait(|event| event["event"] == "stats" && before.replace(heard(event)) == heard(event));
    assert!(!ada.has_seen(UNTOLD));
    ada.press(b"/quit\r");
    bob.wait_for("left");
    ada.until("\u{1b}[<u");
}

#[test]
fn where_any_key_was_told_to_be_let_go_the_space_bar_may_be_held_without_repeating() {
    let party = Party::new();
    let (_server, mut bob, mut ada) = call(&party);
    ada.until("\u{1b}[>3u");
    ada.press(b"x\x1b[120;1:3u\x7f");
    ada.press(b" ");
    // Three seconds: far longer than a key that does not repeat is held elsewhere.
    bob.wait(|event| event["event"] == "stats" && heard(event) > 150);
    ada.press(RELEASE);
    let before = Cell::new(0);
    bob.wait(|event| event["event"] == "stats" && before.replace(heard(event)) == heard(event));
    assert!(!ada.has_seen(UNTOLD));
}

#[test]
fn where_it_does_not_the_key_counts_as_let_go_a_moment_later_and_the_reason_is_told() {
    let party = Party::new();
    let (_server, mut bob, mut ada) = call(&party);
    ada.press(b" ");
    bob.wait(|event| event["event"] == "stats" && heard(event) > 10);
    // Until the key counts as let go. Its release may be to come until it is pressed again.
    let before = Cell::new(0);
    bob.wait(|event| event["event"] == "stats" && before.replace(heard(event)) == heard(event));
    assert!(!ada.has_seen(UNTOLD));
    ada.press(b" ");
    ada.until(UNTOLD);
    ada.until("did not repeat: if you held it, you were cut off");
    // With something typed the space bar is a blank again.
    ada.press(b"a b\r");
    assert_eq!(bob.wait_for("chat")["text"], "a b");
}

#[test]
fn a_terminal_that_answers_nothing_is_asked_nothing_so_that_ctrl_c_waits_for_nothing() {
    let party = Party::new();
    let (_server, mut bob, mut ada) = call(&party);
    ada.until("\u{1b}[>3u");
    ada.press(b" \x03");
    bob.wait_for("left");
    assert!(!ada.has_seen("\u{1b}[?u") && !ada.has_seen("\u{1b}[c"));
}

#[test]
fn a_call_in_plain_lines_whose_terminal_was_closed_ends_as_one_whose_reader_has_gone() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut screen, tty) = pty();
    let args = ["create", "--plain", "--server", &place, "--input", "silence", "--output", "null"];
    let mut command = party.command(&args);
    command.stdin(Stdio::piped()).stdout(tty()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains("vc://") {
        let len = screen.read(&mut buffer).unwrap();
        seen.extend(&buffer[..len]);
    }
    drop(screen);
    // The answer meets nobody.
    child.stdin.as_mut().unwrap().write_all(b"/help\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
