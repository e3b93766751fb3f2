//! A real PulseAudio server for tests.

#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::party::PATIENCE;

/// A sound server of our own, without hardware, heard on a socket in a directory of the test.
pub(crate) struct Sound {
    child: Child,
    dir: PathBuf,
}

pub(crate) struct Recorder(Child);

/// Until it is dropped.
pub(crate) struct Player(Child);

impl Sound {
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        let server = Self { child: spawn(dir)?, dir: dir.to_owned() };
        server.is_there()?;
        Some(server)
    }

    /// At once, as by a crash.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // The next one takes the place only where it is free.
        std::fs::remove_file(self.dir.join("pulse")).unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.dir).unwrap();
        self.is_there().unwrap();
    }

    /// `pactl` waits for nothing: asks until the last module is there.
    fn is_there(&self) -> Option<()> {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let asked = self.tool("pactl").args(["list", "short", "sinks"]).output().ok()?;
            if String::from_utf8_lossy(&asked.stdout).contains("bob_ear") {
                return Some(());
            }
            assert!(std::time::Instant::now() < deadline, "the sound server does not start");
            std::thread::yield_now();
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.dir.join("pulse").display())
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("PULSE_SERVER", self.address()).env("HOME", &self.dir).env("XDG_RUNTIME_DIR", &self.dir);
        command
    }

    /// Loads a module: a device is plugged in.
    pub(crate) fn load(&self, module: &[&str]) {
        assert!(
            self.tool("pactl")
                .arg("load-module")
                .args(module)
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
    }

    /// Returns when it has been played.
    /// `pactl`, and what it says.
    pub(crate) fn control(&self, order: &[&str]) -> String {
        let output = self.tool("pactl").args(order).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The only stream that is played.
    pub(crate) fn played(&self) -> String {
        let listed = self.control(&["list", "short", "sink-inputs"]);
        let [stream] = listed.lines().collect::<Vec<_>>()[..] else { panic!("{listed}") };
        stream.split_whitespace().next().unwrap().to_owned()
    }

    pub(crate) fn play(&self, sink: &str, wav: &Path) {
        assert!(self.player(sink, wav).status().unwrap().success());
    }

    /// Returns at once.
    pub(crate) fn begin_to_play(&self, sink: &str, wav: &Path) -> Player {
        Player(self.player(sink, wav).spawn().unwrap())
    }

    fn player(&self, sink: &str, wav: &Path) -> Command {
        let mut command = self.tool("paplay");
        command.arg(format!("--device={sink}")).arg(wav);
        command
    }

    pub(crate) fn record(&self, sink: &str, to: &Path) -> Recorder {
        let mut child = self
            .tool("parecord")
            .arg(format!("--device={sink}.monitor"))
            .args(["--file-format=wav", "--format=s16le", "--rate=48000", "--channels=1", "-v"])
            .arg(to)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its first words on stderr say that the stream is open.
        let mut words = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Connected to device") && words.read_line(&mut line).unwrap() > 0 {}
        std::thread::spawn(move || words.lines().for_each(drop));
        Recorder(child)
    }
}

impl Recorder {
    pub(crate) fn stop(mut self) {
        assert!(Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path) -> Option<Child> {
    let socket = dir.join("pulse");
    let sink = |name: &str| format!("module-null-sink sink_name={name} rate=48000 channels=1 norewinds=1");
    let mut command = Command::new("pulseaudio");
    command
        .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"])
        .args(["--realtime=no", "--high-priority=no", "--log-target=stderr", "--log-level=error"])
        .arg("-L")
        .arg(format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display()))
        .env("HOME", dir)
        .env("XDG_RUNTIME_DIR", dir)
        .env("PULSE_RUNTIME_PATH", dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for name in ["ada_mic", "ada_ear", "bob_mic", "bob_ear"] {
        command.arg("-L").arg(sink(name));
    }
    command.spawn().ok()
}
