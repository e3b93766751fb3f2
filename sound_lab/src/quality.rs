//! Quality against loss: real speech through the codec, a lossy network and the receive path.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use audio::{Adaptation, FrameLen, Quality, RATE, Reception, measure};

use crate::network::{Loss, Trace, trace};
use crate::player::{encode, fixed, ours, plain};
use crate::speech::{read, write};

/// Writes `DIR/said-VOICE.wav`, and for each cell `DIR/CELL-VOICE-SEED.wav` of what was heard of it; lists them with
/// what PESQ cannot know in `DIR/cells.tsv`.
pub(crate) fn run(dir: &Path, seeds: u64, voices: &[PathBuf]) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut said = Vec::new();
    for path in voices {
        let name = path.file_stem().and_then(|name| name.to_str()).context("a voice without a name")?;
        let pcm = read(path)?;
        let pcm = pcm.get(..LEARNED + SCORED).with_context(|| format!("{name} says too little"))?.to_vec();
        write(&dir.join(format!("said-{name}.wav")), &pcm[LEARNED..])?;
        said.push((name.to_owned(), pcm));
    }
    let cells = cells_of_the_table();
    // Each voice goes through losses of its own.
    let said: Vec<_> = (1..).step_by(seeds.max(1) as usize).zip(said).collect();
    let jobs: Vec<_> = cells.iter().flat_map(|cell| said.iter().map(move |voice| (cell, voice))).collect();
    let (next, lines) = (AtomicUsize::new(0), Mutex::new(vec![String::new(); jobs.len()]));
    thread::scope(|scope| -> Result<()> {
        let work = || -> Result<()> {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some((cell, (seed, (voice, pcm)))) = jobs.get(i) else { return Ok(()) };
                let done = cell.play(dir, voice, pcm, *seed..*seed + seeds)?;
                lines.lock().map_err(|_| anyhow!("a worker died"))?[i] = done;
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker died"))?)
    })?;
    let lines = lines.into_inner().map_err(|_| anyhow!("a worker died"))?;
    Ok(fs::write(dir.join("cells.tsv"), lines.concat())?)
}

struct Cell {
    frame: FrameLen,
    loss: Loss,
    jitter_ms: u32,
}

fn cells_of_the_table() -> Vec<Cell> {
    let mut cells = Vec::new();
    for share in [0.0, 0.05, 0.10, 0.20, 0.30] {
        for loss in [Loss::Random(share), Loss::Bursts { share, mean_ms: BURST_MS }] {
            if share > 0.0 || matches!(loss, Loss::Random(_)) {
                cells.extend([0, 40].map(|jitter_ms| Cell { frame: FrameLen::Ms20, loss, jitter_ms }));
            }
        }
    }
    let bursts = |share| Loss::Bursts { share, mean_ms: BURST_MS };
    for loss in [Loss::Random(0.0), Loss::Random(0.05), Loss::Random(0.2), bursts(0.05), bursts(0.2)] {
        cells.push(Cell { frame: FrameLen::Ms10, loss, jitter_ms: 0 });
    }
    for share in [0.1, 0.2] {
        let loss = Loss::Bursts { share, mean_ms: LONG_MS };
        cells.push(Cell { frame: FrameLen::Ms20, loss, jitter_ms: 0 });
    }
    let only = std::env::var("CELLS").unwrap_or_default();
    cells.retain(|cell| only.is_empty() || only.split(' ').any(|only| cell.name().contains(only)));
    cells
}

impl Cell {
    fn name(&self) -> String {
        let loss = match self.loss {
            Loss::Random(share) => format!("random{:.0}", share * 100.0),
            Loss::Bursts { share, mean_ms: LONG_MS } => format!("long{:.0}", share * 100.0),
            Loss::Bursts { share, .. } => format!("bursts{:.0}", share * 100.0),
        };
        format!("{}-{loss}-{}", self.frame.as_millis(), self.jitter_ms)
    }

    /// Everything that is compared, of one voice; a line for each.
    fn play(&self, dir: &Path, voice: &str, said: &[f32], seeds: Range<u64>) -> Result<String> {
        let base = Quality { frame: self.frame, ..Quality::default() };
        let adapted = self.adapted(base, 1);
        let usual = self.adapted(base, MANY_LISTENERS);
        let (packets, bare) = (encode(said, adapted)?, encode(said, base)?);
        let mut lines = String::new();
        let mut note = |player: &str, seed: u64, bytes: usize, delay: i64, heard: &[f32]| -> Result<()> {
            let name = format!("{}-{player}-{voice}-{seed}", self.name());
            let (heard, estoi) = scored(said, heard).with_context(|| name.clone())?;
            write(&dir.join(format!("{name}.wav")), &heard)?;
            let cell = self.name();
            lines += &format!("{cell}\t{player}\t{voice}\t{name}\t{estoi:.4}\t{bytes}\t{delay}\n");
            Ok(())
        };
        for seed in seeds {
            let trace = |quality: Quality, packets: &[Vec<u8>]| -> Trace {
                let frame = quality.frame.as_millis();
                let jitter = f64::from(self.jitter_ms) * 1000.0;
                trace(packets.len(), i64::from(frame) * 1000, self.loss, jitter, seed)
            };
            let way = trace(adapted, &packets);
            let (heard, delay) = through(&packets, adapted.frame, &way);
            let bytes = packets[0].len();
            note("ours", seed, bytes, delay, &heard)?;
            note("alike", seed, bytes, delay, &fixed(&packets, adapted.frame, &way, delay * 1000)?)?;
            note("fixed", seed, bytes, FIXED, &fixed(&packets, adapted.frame, &way, FIXED * 1000)?)?;
            let way = trace(base, &bare);
            note("plain", seed, bare[0].len(), 0, &plain(&bare, base.frame, &way)?)?;
            if usual != adapted {
                let packets = encode(said, usual)?;
                let (heard, delay) = through(&packets, usual.frame, &trace(usual, &packets));
                note("usual", seed, packets[0].len(), delay, &heard)?;
            }
        }
        Ok(lines)
    }

    /// What the sender makes of the reports of so many listeners.
    fn adapted(&self, base: Quality, listeners: usize) -> Quality {
        let mut adaptation = Adaptation::new(base);
        let mut quality = base;
        for _ in 0..10 {
            let frame_ms = f64::from(quality.frame.as_millis());
            let (loss, burst) = match self.loss {
                Loss::Random(share) => (share, 1.0 / (1.0 - share)),
                Loss::Bursts { share, mean_ms } => (share, (mean_ms / frame_ms).max(1.0)),
            };
            let (loss, burst) = (loss as f32, burst as f32);
            quality = adaptation.told(Reception { loss, burst, listeners, ..Reception::default() });
        }
        quality
    }
}

/// What the receive path makes of it, and its delay in ms, on average of what is scored.
fn through(packets: &[Vec<u8>], len: FrameLen, way: &Trace) -> (Vec<f32>, i64) {
    let mut delays = Vec::new();
    let heard = ours(packets, len, way, |stats| delays.push(i64::from(stats.buffer_ms)));
    let scored = &delays[(LEARNED / audio::STEP).min(delays.len())..];
    (heard, scored.iter().sum::<i64>() / scored.len().max(1) as i64)
}

/// What was heard of the part that is scored, and how intelligible it is.
fn scored(said: &[f32], heard: &[f32]) -> Result<(Vec<f32>, f64)> {
    let until = (LEARNED + SCORED + MARGIN).min(heard.len());
    // The delay may change on the way; PESQ follows, and so does this measure.
    let verdict = measure::matches(&said[LEARNED..], heard.get(LEARNED..until).context("too short")?, RATE);
    let start = LEARNED + (verdict.delay_ms.max(0.0) * 48.0) as usize;
    let mut piece = heard.get(start..).unwrap_or(&[]).to_vec();
    piece.resize(SCORED, 0.0);
    Ok((piece, verdict.estoi))
}

/// 8 s: the buffer learns the network.
const LEARNED: usize = 384_000;
/// 8 s: PESQ is made for such lengths.
const SCORED: usize = 384_000;
/// 0.7 s, more than any delay here.
const MARGIN: usize = 33_600;
/// A common choice for a buffer of fixed length, in milliseconds.
const FIXED: i64 = 60;
const BURST_MS: f64 = 60.0;
/// Half of such runs are longer than copies are late.
const LONG_MS: f64 = 300.0;
/// So many that nobody gets more bits than usual.
const MANY_LISTENERS: usize = 6;
const WORKERS: usize = 2;
