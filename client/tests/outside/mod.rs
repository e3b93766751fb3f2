//! The real binary as a shell sees it: runs that end, runs that go on. Every port is the system's choice; nothing waits
//! but for an event, and for that not for ever.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_voicechat");
/// A busy machine starts a process late; a hanging one must fail the test all the same.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
pub(crate) const NO_SOUND: [&str; 4] = ["--input", "silence", "--output", "null"];

/// A run that ends by itself.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn environment(home: &Path) -> Vec<(&'static str, std::path::PathBuf)> {
    let config = home.join("config.toml");
    if !config.exists() {
        fs::write(&config, "").unwrap();
    }
    vec![("HOME", home.to_owned()), ("VOICECHAT_STATE", home.join("state")), ("VOICECHAT_CONFIG", config)]
}

pub(crate) fn run_at(home: &Path, args: &[&str], stdin: &[u8]) -> Run {
    let mut command = Command::new(PROGRAM);
    command.env_clear().envs(environment(home)).args(args).write_stdin(stdin).timeout(PATIENCE);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let status = output.status.code().unwrap_or_else(|| panic!("{args:?} was killed: {output:?}"));
    Run { status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub(crate) fn run(args: &[&str]) -> Run {
    run_at(TempDir::new().unwrap().path(), args, b"")
}

impl Run {
    /// This status, with this in the sentences on stderr, and nothing that only a programmer understands.
    #[track_caller]
    pub(crate) fn fails(&self, status: i32, says: &str) {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(says), "{:?} is not in {:?}", says, self.stderr);
        for internal in ["panicked", "os error", "Error {", "RUST_BACKTRACE", "src/"] {
            assert!(!self.stderr.contains(internal), "{}", self.stderr);
        }
    }
}

/// A program that goes on, watched through its events. Killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    events: Receiver<Value>,
}

impl Running {
    pub(crate) fn start(home: &Path, args: &[&str]) -> Self {
        let mut child = std::process::Command::new(PROGRAM)
            .env_clear()
            .envs(environment(home))
            .args(args)
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, events) = channel();
        let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in std::io::BufRead::lines(stdout).map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                if to.send(event).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, events }
    }

    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> Value {
        let mut seen = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) if event["event"] == name => return event,
                Ok(event) => seen.push(event["event"].clone()),
                Err(_) => panic!("no {name} after {seen:?}"),
            }
        }
    }

    /// The lines of chat that came before this event.
    #[track_caller]
    pub(crate) fn chat_till(&self, name: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let event =
                self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {name} after {lines:?}"));
            match &event["event"] {
                event if event == name => return lines,
                kind if kind == "chat" => lines.push(event["text"].as_str().unwrap().to_owned()),
                _ => {}
            }
        }
    }

    pub(crate) fn types(&mut self, line: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_ref()).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    /// Its exit status, after its last event.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> i32 {
        let ended = self.event("ended");
        let status = self.child.wait().unwrap().code().unwrap();
        assert_eq!(ended["exit"], status);
        status
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on loopback, and the line that it hands out.
pub(crate) fn server(home: &Path) -> (Running, String) {
    let server = Running::start(home, &["serve", "--listen", "127.0.0.1:0"]);
    let place = server.event("serving")["place"].as_str().unwrap().to_owned();
    (server, place)
}

/// A room on that server, and its code.
pub(crate) fn room(home: &Path, place: &str, more: &[&str]) -> (Running, String) {
    let args = [&["create", "--server", place, "--name", "Ada"][..], more].concat();
    let room = Running::start(home, &args);
    let code = room.event("invite")["code"].as_str().unwrap().to_owned();
    (room, code)
}

/// The same number with other words.
pub(crate) fn mistaken(code: &str) -> String {
    let number = code.split('-').next().unwrap();
    let words = if code.ends_with("abandon-ability-able") { "zoo-zoo-zoo" } else { "abandon-ability-able" };
    format!("{number}-{words}")
}

pub(crate) fn without_key(place: &str) -> &str {
    place.split('#').next().unwrap()
}
