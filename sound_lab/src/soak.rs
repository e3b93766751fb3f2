//! A long call in real time: the listener's sound card runs 100 ppm fast, and the talker stands still for 300 ms every
//! ten seconds. Nothing may grow.

use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::mouth::{Client, Rig};

/// A row every tenth of the time, then whether anything grew.
pub(crate) fn run(program: &Path, speech: &str, minutes: u32) -> Result<()> {
    let mouth_rig = Rig::start(&[speech], None)?;
    // Its clock is a ten-thousandth fast.
    let ear_rig = Rig::start(&[speech], Some("+0 x1.0001"))?;
    let (server, place) = mouth_rig.program(program, &["serve", "--listen", "127.0.0.1:0"], "serving")?;
    let place = place.context("no place")?;
    let create = ["create", "--server", &place, "--name", "Mouth", "--input", "mic", "--output", "null"];
    let (mouth, code) = mouth_rig.program(program, &create, "invite")?;
    let code = code.context("no code")?;
    let join = ["join", &code, "--server", &place, "--name", "Ear", "--input", "silence", "--output", "ear"];
    let (ear, _) = ear_rig.program(program, &join, "path")?;

    println!(
        "| minute | talker: % of a core | RSS MiB | listener: % of a core | RSS MiB | buffer ms | target ms | delay ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let step = Duration::from_secs(u64::from(minutes) * 60 / ROWS);
    let start = Instant::now();
    let mut rows = Vec::new();
    let mut before = [mouth.usage()?, ear.usage()?];
    for row in 1..=ROWS {
        let end = start + step * row as u32;
        while Instant::now() < end {
            sleep(STALL_EVERY - STALL);
            mouth.signal("STOP")?;
            sleep(STALL);
            mouth.signal("CONT")?;
        }
        let now = [mouth.usage()?, ear.usage()?];
        let share = |at: usize| (now[at].cpu - before[at].cpu).as_secs_f64() / step.as_secs_f64() * 100.0;
        let heard = ear.last_stats().context("the listener tells nothing")?;
        let number = |key: &str| heard["peers"][0][key].as_f64().unwrap_or(f64::NAN);
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} |",
            start.elapsed().as_secs() / 60,
            share(0),
            now[0].rss,
            share(1),
            now[1].rss,
            number("buffer_ms"),
            number("target_ms"),
            number("delay_ms")
        );
        rows.push((now[0].rss, now[1].rss, number("delay_ms")));
        before = now;
    }
    drop(server);
    let (early, late) = (rows[1], rows[rows.len() - 1]);
    ensure!(late.0 - early.0 < GROWTH && late.1 - early.1 < GROWTH, "memory grew");
    ensure!(late.2 - early.2 < CREEP, "the delay crept");
    println!("\nNothing grew.");
    Ok(())
}

pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// In MiB.
    pub(crate) rss: f64,
}

impl Client {
    fn usage(&self) -> Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let pages: f64 = fields[21].parse()?;
        Ok(Usage { cpu: Duration::from_millis(ticks * 10), rss: pages * 4.0 / 1024.0 })
    }

    fn signal(&self, name: &str) -> Result<()> {
        let status = std::process::Command::new("kill")
            .args([format!("-{name}"), self.id().to_string()])
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "the talker has gone");
        Ok(())
    }
}

const ROWS: u64 = 10;
const STALL: Duration = Duration::from_millis(300);
const STALL_EVERY: Duration = Duration::from_secs(10);
/// An allocator keeps a little more or less of what it once had.
const GROWTH: f64 = 1.0;
/// In ms: less than a frame.
const CREEP: f64 = 20.0;
