//! Quality against loss: real speech through the codec, a lossy network and the receive path.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use audio::{Adaptation, Protection, Quality, RATE, Reception, measure};

use crate::network::{Loss, trace};
use crate::player::{encode, fixed, ours, plain};
use crate::speech::{said, write};

/// Writes `DIR/said-K.wav`, and for each cell `DIR/CELL-SEED-K.wav` of what was heard of it; lists the cells with what
/// PESQ cannot know in `DIR/cells.tsv`.
pub(crate) fn run(dir: &Path, seeds: u64) -> Result<()> {
    fs::create_dir_all(dir)?;
    let once = said()?;
    let once = &once[..once.len() / PIECES / 960 * 960 * PIECES];
    // The first time round the buffer learns the network.
    let twice = [once, once].concat();
    for (k, piece) in once.chunks_exact(once.len() / PIECES).enumerate() {
        write(&dir.join(format!("said-{k}.wav")), piece)?;
    }
    let mut cells = String::new();
    for cell in cells_of_the_table() {
        for seed in 1..=seeds {
            let name = format!("{}-{seed}", cell.name());
            let (heard, figures) = cell.play(&twice, seed)?;
            let pieces = pieces(once, &heard).with_context(|| name.clone())?;
            let mut intelligible = 0.0;
            for (k, (heard, estoi)) in pieces.iter().enumerate() {
                write(&dir.join(format!("{name}-{k}.wav")), heard)?;
                intelligible += estoi / PIECES as f64;
            }
            let line = format!(
                "{}\t{}\t{}\t{}\t{name}\t{intelligible:.4}\t{figures}\n",
                cell.setting,
                cell.loss_name(),
                cell.jitter_ms,
                cell.player.name()
            );
            print!("{line}");
            cells += &line;
        }
    }
    Ok(fs::write(dir.join("cells.tsv"), cells)?)
}

struct Cell {
    setting: &'static str,
    quality: Quality,
    loss: Loss,
    jitter_ms: u32,
    player: Player,
}

#[derive(Clone, Copy, PartialEq)]
enum Player {
    Ours,
    Fixed,
    Plain,
}

impl Player {
    fn name(self) -> &'static str {
        match self {
            Player::Ours => "ours",
            Player::Fixed => "fixed",
            Player::Plain => "plain",
        }
    }
}

fn cells_of_the_table() -> Vec<Cell> {
    let mut cells = Vec::new();
    let losses = [0.0, 0.05, 0.10, 0.20, 0.30].into_iter().flat_map(|share| {
        let bursts = Loss::Bursts { share, mean: BURST };
        if share == 0.0 { vec![Loss::Random(share)] } else { vec![Loss::Random(share), bursts] }
    });
    for loss in losses {
        for jitter_ms in [0, 40] {
            let cell = |setting, quality, player| Cell { setting, quality, loss, jitter_ms, player };
            let adapted = adapted(loss);
            cells.push(cell("adapted", adapted, Player::Ours));
            cells.push(cell("adapted", adapted, Player::Fixed));
            cells.push(cell("none", Quality::default(), Player::Plain));
            if adapted.bitrate > 32_000 {
                // As after congestion: no bits beyond the usual ones.
                let protection = Protection { loss: 10, fec: true, dred_ms: 0 };
                cells.push(cell("fec32", Quality { protection, ..Quality::default() }, Player::Ours));
            }
        }
    }
    let only = std::env::var("CELLS").unwrap_or_default();
    cells.retain(|cell| only.is_empty() || only.split(' ').any(|only| cell.name().contains(only)));
    cells
}

/// What the sender makes of the reports of one listener.
fn adapted(loss: Loss) -> Quality {
    let (loss, burst) = match loss {
        Loss::Random(share) => (share, 1.0 / (1.0 - share)),
        Loss::Bursts { share, mean } => (share, mean),
    };
    let reception =
        Reception { loss: loss as f32, burst: burst as f32, listeners: 1, ..Reception::default() };
    let mut adaptation = Adaptation::new(Quality::default());
    (0..10).map(|_| adaptation.told(reception)).last().unwrap_or_default()
}

impl Cell {
    fn loss_name(&self) -> String {
        match self.loss {
            Loss::Random(share) => format!("random{:.0}", share * 100.0),
            Loss::Bursts { share, .. } => format!("bursts{:.0}", share * 100.0),
        }
    }

    fn name(&self) -> String {
        format!("{}-{}-{}-{}", self.setting, self.loss_name(), self.jitter_ms, self.player.name())
    }

    /// What is heard of `said`, and bytes per packet, ms of delay.
    fn play(&self, said: &[f32], seed: u64) -> Result<(Vec<f32>, String)> {
        let Quality { frame: len, bitrate, protection } = self.quality;
        let packets = encode(said, len, bitrate, protection)?;
        let frame = i64::from(len.as_millis()) * 1000;
        let trace = trace(packets.len(), frame, self.loss, f64::from(self.jitter_ms) * 1000.0, seed);
        let (mut delay, mut steps, mut last) = (0u64, 0u64, None);
        let heard = match self.player {
            Player::Ours => ours(&packets, len, &trace, |stats| {
                delay += u64::from(stats.buffer_ms);
                steps += 1;
                last = Some(*stats);
            }),
            Player::Fixed => fixed(&packets, len, &trace, FIXED)?,
            Player::Plain => plain(&packets, len, &trace)?,
        };
        let delay = match self.player {
            Player::Ours => delay / steps.max(1),
            Player::Fixed => FIXED as u64 / 1000,
            Player::Plain => 0,
        };
        let counts = last.map_or(String::new(), |s| {
            format!("\t{} played, {} fec, {} dred, {} concealed", s.played, s.fec, s.dred, s.concealed)
        });
        Ok((heard, format!("{}\t{delay}{counts}", packets[0].len())))
    }
}

/// What was heard of the second time, piece by piece, and how intelligible it is.
fn pieces(once: &[f32], heard: &[f32]) -> Result<Vec<(Vec<f32>, f64)>> {
    let len = once.len() / PIECES;
    once.chunks_exact(len)
        .enumerate()
        .map(|(k, said)| {
            let from = once.len() + k * len;
            let until = (from + len + MARGIN).min(heard.len());
            // The delay may change on the way; PESQ follows, and so does this measure.
            let verdict = measure::matches(said, heard.get(from..until).context("too short")?, RATE);
            let start = from + (verdict.delay_ms.max(0.0) * 48.0) as usize;
            let mut piece = heard.get(start..).unwrap_or(&[]).to_vec();
            piece.resize(len, 0.0);
            Ok((piece, verdict.estoi))
        })
        .collect()
}

/// Of about 8 s: PESQ is made for such lengths.
const PIECES: usize = 3;
/// 0.7 s, more than any delay here.
const MARGIN: usize = 33_600;
/// A common choice for a buffer of fixed length, in microseconds.
const FIXED: i64 = 60_000;
/// Packets in a row, 60 ms.
const BURST: f64 = 3.0;
