//! The whole call on a real PulseAudio server: each friend has a microphone and a loudspeaker of its own (null sinks).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use audio::measure::matches;

mod party;

use party::{Party, asset, samples};

#[test]
fn two_friends_hear_each_other_through_a_real_sound_server() {
    let mut party = Party::new();
    let Some(server) = Sound::start(&party.path("")) else {
        eprintln!("SKIPPED: pulseaudio or its tools are not installed, so no real sound server was tried");
        return;
    };
    party.env.push(("PULSE_SERVER".into(), server.address()));
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &["--input", "ada_mic.monitor", "--output", "ada_ear"]);
    let mut bob = party.join(&place, "Bob", &code, &["--input", "bob_mic.monitor", "--output", "bob_ear"]);
    bob.wait_for("joined");
    ada.wait_for("joined");

    let at_ada = server.record("ada_ear", &party.path("ada.wav"));
    let at_bob = server.record("bob_ear", &party.path("bob.wav"));
    // alice.wav takes 3.7 s; twice, so that one is whole between start and end of the recording.
    for _ in 0..2 {
        server.play("ada_mic", &asset("alice.wav"));
    }
    server.play("bob_mic", &cut(&asset("bob.wav"), 9, &party.path("bob-says.wav")));
    for friend in [&mut ada, &mut bob] {
        friend.wait(|event| event["event"] == "stats" && event["peers"][0]["heard"].as_u64() > Some(100));
    }
    at_ada.stop();
    at_bob.stop();
    for (said, heard) in [(asset("alice.wav"), "bob.wav"), (party.path("bob-says.wav"), "ada.wav")] {
        let verdict = matches(&samples(&said), &samples(&party.path(heard)), audio::RATE);
        assert!(verdict.matches && verdict.heard_s >= 2.0, "{heard}: {verdict:?}");
    }
}

/// The first seconds of a recording.
fn cut(from: &Path, seconds: u32, to: &Path) -> PathBuf {
    let mut wav = hound::WavReader::open(from).unwrap();
    let spec = wav.spec();
    let mut out = hound::WavWriter::create(to, spec).unwrap();
    for sample in wav.samples::<i16>().take((seconds * spec.sample_rate) as usize) {
        out.write_sample(sample.unwrap()).unwrap();
    }
    out.finalize().unwrap();
    to.to_owned()
}

/// A sound server of our own, without hardware, heard on a socket in a directory of the test.
struct Sound {
    child: Child,
    dir: PathBuf,
}

struct Recorder(Child);

impl Sound {
    fn start(dir: &Path) -> Option<Self> {
        let socket = dir.join("pulse");
        let sink =
            |name: &str| format!("module-null-sink sink_name={name} rate=48000 channels=1 norewinds=1");
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
        let child = command.spawn().ok()?;
        let server = Self { child, dir: dir.to_owned() };
        // `pactl` waits for nothing: ask until the last module is there.
        let deadline = std::time::Instant::now() + party::PATIENCE;
        loop {
            let asked = server.tool("pactl").args(["list", "short", "sinks"]).output().ok()?;
            if String::from_utf8_lossy(&asked.stdout).contains("bob_ear") {
                return Some(server);
            }
            assert!(std::time::Instant::now() < deadline, "the sound server does not start");
            std::thread::yield_now();
        }
    }

    fn address(&self) -> String {
        format!("unix:{}", self.dir.join("pulse").display())
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("PULSE_SERVER", self.address()).env("HOME", &self.dir).env("XDG_RUNTIME_DIR", &self.dir);
        command
    }

    /// Returns when it has been played.
    fn play(&self, sink: &str, wav: &Path) {
        let device = format!("--device={sink}");
        assert!(self.tool("paplay").arg(device).arg(wav).status().unwrap().success());
    }

    fn record(&self, sink: &str, to: &Path) -> Recorder {
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
    fn stop(mut self) {
        assert!(Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
