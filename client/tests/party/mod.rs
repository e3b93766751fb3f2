//! Real processes for tests: a server, and friends that speak JSON.

#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Generous: two busy cores. Nothing waits this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Files of one test, and a home that is nobody's.
pub(crate) struct Party {
    dir: tempfile::TempDir,
    pub(crate) env: Vec<(String, String)>,
}

impl Party {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voicechat"));
        let home = self.dir.path();
        command.args(args).env("HOME", home).env("XDG_CONFIG_HOME", home).env("XDG_STATE_HOME", home);
        command.env("XDG_RUNTIME_DIR", home.join("runtime"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("VOICECHAT_")) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().cloned());
        command
    }

    pub(crate) fn start(&self, args: &[&str]) -> Friend {
        Friend::new(self.command(args))
    }

    /// A server on a free port of this machine; returns its place as well.
    pub(crate) fn serve(&self) -> (Friend, String) {
        let key = self.path("server.key");
        let mut server =
            self.start(&["serve", "--listen", "127.0.0.1:0", "--json", "--key-file", key.to_str().unwrap()]);
        let place = server.wait_for("serving")["place"].as_str().unwrap().to_owned();
        (server, place)
    }

    /// Opens a room; returns the code as well.
    pub(crate) fn create(&self, place: &str, name: &str, more: &[&str]) -> (Friend, String) {
        let mut args = vec!["create", "--json", "--server", place, "--name", name];
        args.extend(more);
        let mut friend = self.start(&args);
        let code = friend.wait_for("invite")["code"].as_str().unwrap().to_owned();
        (friend, code)
    }

    pub(crate) fn join(&self, place: &str, name: &str, code: &str, more: &[&str]) -> Friend {
        let mut args = vec!["join", "--json", "--server", place, "--name", name];
        args.extend(more);
        let mut friend = self.start(&args);
        friend.say(code);
        friend
    }
}

/// One process. Killed when dropped.
pub(crate) struct Friend {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<Value>,
    /// Everything it said so far.
    pub(crate) log: Vec<Value>,
    errors: Receiver<String>,
}

impl Friend {
    fn new(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (to, events) = channel();
        let out = child.stdout.take().unwrap();
        thread::spawn(move || forward(BufReader::new(out), &to, |line| serde_json::from_str(&line).ok()));
        let (to, errors) = channel();
        let err = child.stderr.take().unwrap();
        thread::spawn(move || forward(BufReader::new(err), &to, Some));
        Self { stdin: child.stdin.take(), child, events, log: Vec::new(), errors }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next event of this kind that has not been waited for.
    pub(crate) fn wait_for(&mut self, event: &str) -> Value {
        self.wait(|value| value["event"] == event)
    }

    pub(crate) fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(value) => {
                    self.log.push(value.clone());
                    if wanted(&value) {
                        return value;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let errors: Vec<String> = self.errors.try_iter().collect();
                    panic!("it never said that; it said {:#?} and on stderr {errors:#?}", self.log);
                }
            }
        }
    }

    /// So many from now on, by its own clock.
    pub(crate) fn seconds(&mut self, count: usize) {
        self.log.extend(self.events.try_iter());
        (0..count).for_each(|_| drop(self.wait_for("stats")));
    }

    /// The lines of chat among all it said.
    pub(crate) fn chat(&self) -> Vec<String> {
        let lines = self.log.iter().filter(|value| value["event"] == "chat");
        lines.map(|value| value["text"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn rungs(&self) -> Vec<String> {
        let paths = self.log.iter().filter(|value| value["event"] == "path");
        paths.map(|value| value["rung"].as_str().unwrap().to_owned()).collect()
    }

    /// All that is left of its output, once it has ended.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<Value>, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; it said {:#?}", self.log);
            self.log.extend(self.events.recv_timeout(Duration::from_millis(50)).ok());
        };
        while let Ok(value) = self.events.recv_timeout(PATIENCE) {
            self.log.push(value);
        }
        let errors = self.errors.iter().collect();
        (status, std::mem::take(&mut self.log), errors)
    }
}

impl Drop for Friend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward<T>(from: impl BufRead, to: &Sender<T>, parse: impl Fn(String) -> Option<T>) {
    for line in from.lines().map_while(Result::ok) {
        if parse(line).is_some_and(|value| to.send(value).is_err()) {
            return;
        }
    }
}

/// The speech that ships with the program.
pub(crate) fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

/// A mono recording at 48 kHz.
pub(crate) fn recording(path: &Path, samples: impl IntoIterator<Item = f32>) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: audio::RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        wav.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).unwrap();
    }
    wav.finalize().unwrap();
}

/// A mono recording at 48 kHz, whatever its own rate.
pub(crate) fn samples(path: &Path) -> Vec<f32> {
    let wav = hound::WavReader::open(path).unwrap();
    let spec = wav.spec();
    assert_eq!((spec.channels, spec.bits_per_sample), (1, 16));
    let mono: Vec<f32> = wav.into_samples::<i16>().map(|s| f32::from(s.unwrap()) / 32_768.0).collect();
    let Some(mut resampler) = audio::Resampler::new(spec.sample_rate, audio::RATE) else { return mono };
    let mut out = Vec::new();
    resampler.push(&mono, &mut out);
    resampler.finish(&mut out);
    out
}
