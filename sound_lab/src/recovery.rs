//! How soon sound is back once a device or the sound server is: the engine on a private PulseAudio server, in a process of
//! its own, for the server is named by the environment.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use audio::{Captured, Config, Engine, FrameLen, FromEngine, Heard, InputSpec, OutputSpec};

/// Prints the table; each thing goes `runs` times.
pub(crate) fn table(runs: u32) -> Result<()> {
    let mut lab = Lab::start()?;
    println!("| what was gone | times | microphone: median s | worst s | loudspeaker: median s | worst s |");
    println!("|---|---|---|---|---|---|");
    lab.rows("the sound server, restarted", runs, |lab| {
        lab.server.kill()?;
        lab.server.wait()?;
        sleep(lab.absence());
        lab.server = lab.serve()?;
        Ok(Instant::now())
    })?;
    lab.rows("both devices, unplugged and plugged in", runs, |lab| {
        lab.pactl(&["unload-module", "module-sine-source"])?;
        lab.pactl(&["unload-module", "module-null-sink"])?;
        sleep(lab.absence());
        let back = Instant::now();
        for device in [MICROPHONE, LOUDSPEAKER] {
            lab.pactl(&[&["load-module"], &device.split(' ').collect::<Vec<_>>()[..]].concat())?;
        }
        Ok(back)
    })
}

/// The engine that is watched: a line for each frame of its microphone, and a friend in its loudspeaker.
pub(crate) fn inside() -> Result<()> {
    let frame = FrameLen::Ms20;
    let config = |input, output| Config { input, output, frame, bitrate: 32_000 };
    let (input, output) = (InputSpec::Device("mic".into()), OutputSpec::Device("spk".into()));
    let engine = Engine::start(config(input, output), |event| {
        if let FromEngine::Voice(_) = event {
            println!("frame");
        }
    })?;
    let (engine, tone) = (Arc::new(engine), InputSpec::Tone { hz: 600.0 });
    let _friend = Engine::start(config(tone, OutputSpec::Null), move |event| {
        if let FromEngine::Voice(Captured { time, opus, last_of_talk, .. }) = event {
            engine.hear(1, Heard { time, len: frame, opus, last_of_talk });
        }
    })?;
    // Until its owner ends it.
    loop {
        thread::park();
    }
}

struct Lab {
    dir: tempfile::TempDir,
    server: Child,
    engine: Option<Child>,
    /// When a frame of the microphone came.
    frames: Receiver<Instant>,
    /// How often something went.
    gone: u32,
}

impl Lab {
    fn start() -> Result<Lab> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("pulse"))?;
        let (to, frames) = channel();
        let server = serve(&dir)?;
        let mut lab = Lab { dir, server, engine: None, frames, gone: 0 };
        let mut inside = lab
            .command(std::env::current_exe()?)
            .args(["recovery", "inside"])
            .stdout(Stdio::piped())
            .spawn()?;
        let out = inside.stdout.take().context("no pipe")?;
        lab.engine = Some(inside);
        thread::spawn(move || {
            for _ in BufReader::new(out).lines().map_while(Result::ok) {
                // Nobody listens at the end.
                let _ = to.send(Instant::now());
            }
        });
        Ok(lab)
    }

    fn serve(&self) -> Result<Child> {
        serve(&self.dir)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command(&self.dir, program)
    }

    fn pactl(&self, order: &[&str]) -> Result<()> {
        let done = self.command("pactl").args(order).stdout(Stdio::null()).status()?;
        ensure!(done.success(), "pactl {order:?} failed");
        Ok(())
    }

    /// Seconds, another part of one each time: whoever looks from time to time shall not be met at one moment only.
    fn absence(&mut self) -> Duration {
        self.gone += 1;
        Duration::from_millis(3_000 + u64::from(self.gone) * 370 % 1_000)
    }

    /// `takes` does something and says since when all is there again.
    fn rows(&mut self, name: &str, runs: u32, takes: impl Fn(&mut Lab) -> Result<Instant>) -> Result<()> {
        let (mut microphone, mut loudspeaker) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            self.sound(Instant::now())?;
            let back = takes(self)?;
            let (recorded, played) = self.sound(back)?;
            microphone.push(recorded.as_secs_f64());
            loudspeaker.push(played.as_secs_f64());
        }
        let [microphone, loudspeaker] = [microphone, loudspeaker].map(|mut took| {
            took.sort_by(f64::total_cmp);
            let at = |i: usize| took.get(i).copied().unwrap_or(f64::NAN);
            format!("{:.2} | {:.2}", at(took.len() / 2), at(took.len().saturating_sub(1)))
        });
        println!("| {name} | {runs} | {microphone} | {loudspeaker} |");
        Ok(())
    }

    /// How long after `since` the first frame came from the microphone, and the first sound out of the loudspeaker.
    fn sound(&self, since: Instant) -> Result<(Duration, Duration)> {
        let mut recorder = self.command("parec");
        recorder.args(["-d", "spk.monitor", "--raw", "--format=s16le", "--channels=1", "--latency-msec=10"]);
        let mut recorder = recorder.stdout(Stdio::piped()).spawn()?;
        let heard = recorder.stdout.take().context("no pipe").and_then(first_sound);
        recorder.kill()?;
        recorder.wait()?;
        let played = heard?.saturating_duration_since(since);
        loop {
            let frame = self.frames.recv_timeout(PATIENCE).context("the microphone did not come back")?;
            if let Some(recorded) = frame.checked_duration_since(since) {
                return Ok((recorded, played));
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for process in self.engine.iter_mut().chain([&mut self.server]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A server that answers, with both devices.
fn serve(dir: &tempfile::TempDir) -> Result<Child> {
    let socket = socket(dir);
    let _ = fs::remove_file(&socket);
    let mut server = command(dir, "pulseaudio");
    server.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--realtime=no"]);
    server.args(["--high-priority=no", "-L", MICROPHONE, "-L", LOUDSPEAKER, "-L"]);
    // The last one: when it answers, the devices are there.
    server.arg(format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display()));
    let server = server.stderr(Stdio::null()).spawn().context("pulseaudio cannot be started")?;
    let until = Instant::now() + PATIENCE;
    while UnixStream::connect(&socket).is_err() {
        if Instant::now() > until {
            bail!("the sound server does not start");
        }
        sleep(Duration::from_millis(5));
    }
    Ok(server)
}

fn command(dir: &tempfile::TempDir, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    let home = dir.path();
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home).env("PULSE_RUNTIME_PATH", home.join("pulse"));
    command.env("XDG_CONFIG_HOME", home).env("XDG_STATE_HOME", home);
    command.env("PULSE_SERVER", format!("unix:{}", socket(dir).display()));
    command
}

fn socket(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("pulse/native")
}

fn first_sound(mut out: ChildStdout) -> Result<Instant> {
    let until = Instant::now() + PATIENCE;
    let mut sample = [0; 2];
    while Instant::now() < until {
        out.read_exact(&mut sample)?;
        if i16::from_le_bytes(sample).unsigned_abs() > AUDIBLE {
            return Ok(Instant::now());
        }
    }
    bail!("the loudspeaker did not come back");
}

const MICROPHONE: &str = "module-sine-source source_name=mic rate=48000 frequency=600";
/// Null sinks that rewind run slow.
const LOUDSPEAKER: &str = "module-null-sink sink_name=spk rate=48000 channels=2 norewinds=1";
const PATIENCE: Duration = Duration::from_secs(20);
/// -36 dBFS.
const AUDIBLE: u16 = 500;
