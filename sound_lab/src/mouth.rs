//! Mouth to ear: two real programs on a private sound server. What goes into the one's microphone and what comes out of
//! the other's loudspeaker are the two channels of one sink, so that one recording holds both, sample by sample.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use audio::RATE;
use audio::measure::align;
use serde_json::Value;

use crate::bare;

/// Prints the table. `program` is the client, `voices` are wav files that are spoken in turn.
pub(crate) fn table(program: &Path, voices: &[&str]) -> Result<()> {
    println!("| | median ms | p95 ms | less the bare loop | as the listener's program tells | pieces |");
    println!("|---|---|---|---|---|---|");
    let floor = at(&alone(voices)?, "bare loop, pieces of 10 ms", 0.0, "-");
    for (frame, gate, name) in [
        (10, "", "10 ms frames"),
        (20, "", "20 ms frames"),
        (10, "--no-gate", "10 ms frames, all is sent"),
        (20, "--no-gate", "20 ms frames, all is sent"),
    ] {
        let (delays, told) = called(program, voices, frame, gate)?;
        at(&delays, name, floor, &format!("{told:.1}"));
    }
    Ok(())
}

/// Prints a row and returns its median.
fn at(delays: &[f64], name: &str, floor: f64, told: &str) -> f64 {
    let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let median = at(0.5);
    println!(
        "| {name} | {median:.1} | {:.1} | {:.1} | {told} | {} |",
        at(0.95),
        median - floor,
        delays.len()
    );
    median
}

/// The rig alone: what no program can do without.
fn alone(voices: &[&str]) -> Result<Vec<f64>> {
    let rig = Rig::start(voices, None)?;
    bare::start(&rig.socket(), c"mic", c"ear")?;
    rig.delays()
}

fn called(program: &Path, voices: &[&str], frame: u32, gate: &str) -> Result<(Vec<f64>, f64)> {
    let rig = Rig::start(voices, None)?;
    let (_server, serving) = rig.program(program, &["serve", "--listen", "127.0.0.1:0"], "serving")?;
    let place = serving.context("no place")?;
    let low = if frame == 10 { "--low-latency=true" } else { "--low-latency=false" };
    let create =
        ["create", "--server", &place, "--name", "Mouth", low, "--input", "mic", "--output", "null", gate];
    let create = create.iter().copied().filter(|arg| !arg.is_empty()).collect::<Vec<_>>();
    let (_mouth, code) = rig.program(program, &create, "invite")?;
    let code = code.context("no code")?;
    let join =
        ["join", &code, "--server", &place, "--name", "Ear", low, "--input", "silence", "--output", "ear"];
    let (ear, _) = rig.program(program, &join, "path")?;
    let delays = rig.delays()?;
    let stats = ear.last_stats().context("the listener tells nothing")?;
    Ok((delays, stats["peers"][0]["delay_ms"].as_f64().unwrap_or(f64::NAN)))
}

pub(crate) struct Rig {
    dir: tempfile::TempDir,
    running: Vec<Ends>,
}

/// A process that ends with its owner.
pub(crate) struct Ends(Child);

/// One of ours, and what it told last of how it is.
pub(crate) struct Client {
    process: Ends,
    stats: Arc<Mutex<Option<Value>>>,
}

impl Client {
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn last_stats(&self) -> Option<Value> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rig {
    /// `voices` are spoken in turn, again and again. `clock`: how the server's own is to run, in the words of faketime.
    pub(crate) fn start(voices: &[&str], clock: Option<&str>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("pulse"))?;
        let mut rig = Self { dir, running: Vec::new() };
        let native =
            format!("module-native-protocol-unix socket={} auth-anonymous=1", rig.socket().display());
        // A null sink that rewinds runs slow at small latencies; only one that does not keeps time.
        let modules = [
            native.as_str(),
            "module-null-sink sink_name=rig rate=48000 channels=2 channel_map=front-left,front-right norewinds=1",
            "module-remap-sink sink_name=mouth master=rig channels=1 master_channel_map=front-left channel_map=mono remix=no",
            "module-remap-sink sink_name=ear master=rig channels=1 master_channel_map=front-right channel_map=mono remix=no",
            "module-remap-source source_name=mic master=rig.monitor channels=1 master_channel_map=front-left channel_map=mono remix=no",
        ];
        let mut server = match clock {
            None => rig.command("pulseaudio"),
            Some(clock) => {
                let mut server = rig.command("faketime");
                server.args(["-f", clock, "pulseaudio"]);
                server
            }
        };
        server.args([
            "-n",
            "--daemonize=no",
            "--exit-idle-time=-1",
            "--use-pid-file=no",
            "--realtime=no",
            "--high-priority=no",
        ]);
        for module in modules {
            server.args(["-L", module]);
        }
        let server = server.stderr(Stdio::null()).spawn().context("pulseaudio cannot be started")?;
        rig.running.push(Ends(server));
        for _ in 0..100 {
            if rig
                .command("pactl")
                .arg("info")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?
                .success()
            {
                let talk = "while :; do for voice; do paplay -d mouth \"$voice\" || exit; done; done";
                let talk = rig
                    .command("sh")
                    .args(["-c", talk, "talk"])
                    .args(voices)
                    .stderr(Stdio::null())
                    .spawn()?;
                rig.running.push(Ends(talk));
                return Ok(rig);
            }
            sleep(Duration::from_millis(50));
        }
        bail!("the sound server does not start");
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("pulse/native")
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let dir = self.dir.path();
        command.env("HOME", dir).env("XDG_RUNTIME_DIR", dir).env("PULSE_RUNTIME_PATH", dir.join("pulse"));
        command.env("XDG_CONFIG_HOME", dir).env("XDG_STATE_HOME", dir);
        command.env("PULSE_SERVER", format!("unix:{}", self.socket().display()));
        command
    }

    /// A client, once it has said `event`; with the place or code that the event tells.
    pub(crate) fn program(
        &self,
        program: &Path,
        args: &[&str],
        event: &str,
    ) -> Result<(Client, Option<String>)> {
        let mut command = self.command(program);
        command.args(args).arg("--json").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let out = child.stdout.take().context("no pipe")?;
        let client = Client { process: Ends(child), stats: Arc::default() };
        let (to, told) = channel();
        let last = client.stats.clone();
        // Until its end: a full pipe would stop it.
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                if event["event"] == "stats" {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
                }
                // Nobody listens after the first.
                let _ = to.send(event);
            }
        });
        while let Ok(told) = told.recv_timeout(Duration::from_secs(30)) {
            if told["event"] == event && (event != "path" || told["rung"] == "direct") {
                let word = told["place"].as_str().or(told["code"].as_str());
                return Ok((client, word.map(str::to_owned)));
            }
        }
        bail!("`{}` never said {event}", args.join(" "));
    }

    /// Of every piece of speech that is found again, sorted, in milliseconds.
    fn delays(&self) -> Result<Vec<f64>> {
        sleep(SETTLED);
        let raw = self.dir.path().join("both.raw");
        let recorder = ["-d", "rig.monitor", "--raw", "--rate=48000", "--channels=2", "--format=s16le"];
        let mut both = self.command("parec").args(recorder).stdout(File::create(&raw)?).spawn()?;
        sleep(RECORDED);
        both.kill()?;
        both.wait()?;
        let mut bytes = Vec::new();
        File::open(&raw)?.read_to_end(&mut bytes)?;
        let sample = |bytes: &[u8]| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0;
        let (mouth, ear): (Vec<f32>, Vec<f32>) =
            bytes.chunks_exact(4).map(|pair| (sample(&pair[..2]), sample(&pair[2..]))).unzip();
        let mut delays: Vec<f64> = (0..mouth.len().saturating_sub(PIECE + LONGEST))
            .step_by(PIECE)
            .filter_map(|at| {
                let piece = &mouth[at..at + PIECE];
                let energy = piece.iter().map(|s| s * s).sum::<f32>() / PIECE as f32;
                let found = align(piece, &ear[at..at + PIECE + LONGEST], RATE).filter(|_| energy > SPOKEN)?;
                Some(found.offset_samples as f64 * 1_000.0 / f64::from(RATE))
            })
            .collect();
        delays.sort_by(f64::total_cmp);
        ensure!(
            delays.len() as u64 >= RECORDED.as_secs() / 4,
            "only {} pieces were found again",
            delays.len()
        );
        Ok(delays)
    }
}

/// The jitter buffer has found its size, and levelling its gain.
const SETTLED: Duration = Duration::from_secs(8);
/// Some words begin after a pause in every half minute; what counts is their share of all.
const RECORDED: Duration = Duration::from_secs(120);
/// Long enough to be unique, short enough that a change of delay costs one piece.
const PIECE: usize = RATE as usize * 2 / 5;
const LONGEST: usize = RATE as usize / 2;
/// Mean square of -40 dBFS.
const SPOKEN: f32 = 1e-4;
