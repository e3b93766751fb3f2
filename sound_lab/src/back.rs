//! How long after a disturbance the buffer is at its target again, and at the delay that it had before.

use anyhow::Result;
use audio::{Again, FrameLen, Protection, Quality};

use crate::dice::Dice;
use crate::network::Trace;
use crate::player::{encode, ours};
use crate::speech::said;

pub(crate) fn table() -> Result<()> {
    println!(
        "| disturbance | packets | target before, ms | highest after, ms | at its target after, s: mean | at most \
         | as before after, s: mean | at most |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let said = said()?;
    let copies = Protection { again: Again::Copy { ms: 100 }, ..Protection::default() };
    let kinds = [
        ("no protection", encode(&said, Quality::default())?),
        ("again after 100 ms", encode(&said, Quality { protection: copies, ..Quality::default() })?),
    ];
    for (name, disturbance) in DISTURBANCES {
        for (kind, packets) in &kinds {
            let runs: Vec<Run> = (0..SEEDS).map(|seed| run(packets, *disturbance, seed)).collect();
            let highest = |of: fn(&Run) -> u32| runs.iter().map(of).max().unwrap_or(0);
            println!(
                "| {name} | {kind} | {} | {} | {} | {} |",
                highest(|run| run.target_before),
                highest(|run| run.target_after),
                seconds(runs.iter().map(|run| run.at_target)),
                seconds(runs.iter().map(|run| run.as_before)),
            );
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Disturbance {
    /// So many milliseconds of packets in a row.
    Lost(i64),
    /// What others send fills a queue to so many milliseconds, and then it drains.
    Queue { ms: i64, fills: i64, drains: i64 },
    /// From then on the way takes so much longer, or less long.
    Way(i64),
}

/// Times in steps of 10 ms after the disturbance.
struct Run {
    target_before: u32,
    target_after: u32,
    at_target: Option<usize>,
    as_before: Option<usize>,
}

fn run(packets: &[Vec<u8>], disturbance: Disturbance, seed: u64) -> Run {
    let mut dice = Dice::new(seed + 1);
    // It hits another word each time.
    let mut packets = packets.to_vec();
    let word = (dice.roll() * packets.len() as f64) as usize;
    packets.rotate_left(word);
    let mut asked: Vec<(u32, u32)> = Vec::new();
    ours(&packets, FrameLen::Ms20, &disturbed(disturbance, &mut dice), |stats| {
        asked.push((stats.buffer_ms, stats.target_ms));
    });
    let (before, after) = asked.split_at((BEFORE / 10) as usize);
    let quiet = &before[before.len() - SECOND..];
    let usual = quiet.iter().map(|(buffer, _)| buffer).sum::<u32>() / SECOND as u32;
    let highest = |of: &[(u32, u32)]| of.iter().map(|(_, target)| *target).max().unwrap_or(0);
    let after = &after[(disturbance.lasts() / 10) as usize..];
    Run {
        target_before: highest(quiet),
        target_after: highest(after),
        at_target: steady(after, |(buffer, target)| buffer.abs_diff(target) < NEAR),
        as_before: steady(after, |(buffer, _)| buffer.abs_diff(usual) < NEAR),
    }
}

impl Disturbance {
    /// In milliseconds.
    fn lasts(self) -> i64 {
        match self {
            Disturbance::Lost(ms) => ms,
            Disturbance::Queue { fills, drains, .. } => fills + drains,
            Disturbance::Way(_) => 0,
        }
    }

    /// What it does to a packet so many milliseconds after it began: by how much it comes later, `None` if not at all.
    fn holds_up(self, since: i64) -> Option<i64> {
        match self {
            Disturbance::Lost(ms) => (since >= ms).then_some(0),
            Disturbance::Queue { ms, fills, .. } if since < fills => Some(ms * since / fills),
            Disturbance::Queue { ms, fills, drains } => Some((ms - ms * (since - fills) / drains).max(0)),
            Disturbance::Way(ms) => Some(ms),
        }
    }
}

/// A quiet way, the disturbance, and the quiet way again.
fn disturbed(disturbance: Disturbance, dice: &mut Dice) -> Trace {
    let mut last = 0;
    (0..BEFORE + disturbance.lasts() + AFTER)
        .step_by(20)
        .map(|sent| {
            let since = sent - BEFORE;
            let held_up = if since < 0 { Some(0) } else { disturbance.holds_up(since) }?;
            last = last.max((PATH + sent + held_up) * 1000 + dice.exponential(1_000.0) as i64);
            Some(last)
        })
        .collect()
}

/// From when on it is so for a second.
fn steady(asked: &[(u32, u32)], is_so: impl Fn((u32, u32)) -> bool) -> Option<usize> {
    asked.windows(SECOND).position(|second| second.iter().all(|asked| is_so(*asked)))
}

/// Mean and most of all runs.
fn seconds(steps: impl Iterator<Item = Option<usize>>) -> String {
    let Some(steps) = steps.collect::<Option<Vec<usize>>>() else {
        return format!("- | not within {} s", AFTER / 1000);
    };
    let mean = steps.iter().sum::<usize>() as f64 / steps.len().max(1) as f64;
    format!("{:.1} | {:.1}", mean / SECOND as f64, steps.iter().max().copied().unwrap_or(0) as f64 / 100.0)
}

const SEEDS: u64 = 20;
/// Milliseconds. The target that a call begins with is forgotten.
const BEFORE: i64 = 20_000;
/// Longer than what is waited for is remembered.
const AFTER: i64 = 40_000;
/// So that the way can become shorter.
const PATH: i64 = 200;
/// Milliseconds.
const NEAR: u32 = 20;
/// Steps.
const SECOND: usize = 100;
const DISTURBANCES: &[(&str, Disturbance)] = &[
    ("60 ms lost in a row", Disturbance::Lost(60)),
    ("200 ms lost in a row", Disturbance::Lost(200)),
    ("1 s lost in a row", Disturbance::Lost(1_000)),
    (
        "a queue grows to 400 ms in 4 s, drains in 2 s",
        Disturbance::Queue { ms: 400, fills: 4_000, drains: 2_000 },
    ),
    (
        "a queue grows to 400 ms in 20 s, drains in 1 s",
        Disturbance::Queue { ms: 400, fills: 20_000, drains: 1_000 },
    ),
    ("the way becomes 100 ms longer", Disturbance::Way(100)),
    ("the way becomes 100 ms shorter", Disturbance::Way(-100)),
];
