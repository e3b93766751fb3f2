//! Reports flow back: what a sender does about a way that changes, and when. Sender, meter, reports and receive path are
//! the program's own; the way is made up.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use audio::{Adaptation, Again, FriendStats, Heard, Packets, Playback, Quality, Reception, STEP};
use vc_core::io::{self, Time, VoiceFrame};
use vc_core::peer::loss::Losses;

use crate::dice::Dice;
use crate::speech::said;

pub(crate) fn table() -> Result<()> {
    println!(
        "| at, s | the way | sent from then on | kbit/s with headers | lost | invented | delay of the buffer, ms | longest queue, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut call = Call::new()?;
    let mut row = Row::new(PHASES[0].name, &call);
    let speech = said()?;
    let mut speech = speech.chunks_exact(STEP).cycle();
    for phase in PHASES {
        row.end(&call);
        row = Row::new(phase.name, &call);
        for _ in 0..phase.seconds {
            for _ in 0..100 {
                let pcm = speech.next().unwrap_or(&[0.0; STEP]);
                call.step(pcm, phase, &mut row);
            }
            let before = shape(call.quality);
            call.report();
            if shape(call.quality) != before {
                row.end(&call);
                row = Row::new("", &call);
            }
        }
    }
    row.end(&call);
    Ok(())
}

struct Phase {
    name: &'static str,
    seconds: u32,
    /// Lost in runs of 60 ms.
    share: f64,
    /// Bits per second that pass; what is more waits.
    capacity: Option<f64>,
}

/// One talks, one listens.
struct Call {
    step: u64,
    packets: Packets,
    quality: Quality,
    adaptation: Adaptation,
    /// What comes in at the listener, and what the talker was told of it.
    inbound: Losses,
    told: Losses,
    playback: Playback,
    way: Way,
}

struct Way {
    dice: Dice,
    bad: bool,
    free_at: f64,
    /// Under way, in order of arrival (ms).
    arriving: VecDeque<(f64, VoiceFrame)>,
}

impl Call {
    fn new() -> Result<Call> {
        Ok(Call {
            step: 0,
            packets: Packets::new(Quality::default())?,
            quality: Quality::default(),
            adaptation: Adaptation::new(Quality::default()),
            inbound: Losses::default(),
            told: Losses::default(),
            playback: Playback::new(),
            way: Way { dice: Dice::new(11), bad: false, free_at: 0.0, arriving: VecDeque::new() },
        })
    }

    /// 10 ms.
    fn step(&mut self, pcm: &[f32], phase: &Phase, row: &mut Row) {
        let at = 10 * self.step;
        self.step += 1;
        let now = at as f64 + 10.0;
        if let Some(sent) = self.packets.push(at, pcm, false) {
            row.bytes += sent.opus.len() + HEADERS;
            let bits = 8.0 * (sent.opus.len() + HEADERS) as f64;
            let len = match sent.len {
                audio::FrameLen::Ms10 => io::FrameLen::Ms10,
                audio::FrameLen::Ms20 => io::FrameLen::Ms20,
                audio::FrameLen::Ms40 => io::FrameLen::Ms40,
                audio::FrameLen::Ms60 => io::FrameLen::Ms60,
            };
            let frame = VoiceFrame { time: sent.time, age_ms: 0, len, last_of_talk: false, opus: sent.opus };
            let queue = self.way.send(now, bits, sent.len.as_millis() / 10, frame, phase);
            row.sent += 1;
            row.lost += u64::from(queue.is_none());
            row.queue = row.queue.max(queue.unwrap_or(0.0));
        }
        while self.way.arriving.front().is_some_and(|(at, _)| *at <= now) {
            let Some((at, frame)) = self.way.arriving.pop_front() else { break };
            let micros = (at * 1000.0) as u64;
            self.inbound.meter.count(Time::from_micros(micros), &frame);
            let len = match frame.len {
                io::FrameLen::Ms10 => audio::FrameLen::Ms10,
                io::FrameLen::Ms20 => audio::FrameLen::Ms20,
                io::FrameLen::Ms40 => audio::FrameLen::Ms40,
                io::FrameLen::Ms60 => audio::FrameLen::Ms60,
            };
            let heard = Heard { time: frame.time, len, opus: frame.opus, last_of_talk: false };
            self.playback.hear(Duration::from_micros(micros), 1, heard);
        }
        self.playback.mix(Duration::from_millis(now as u64), &mut [0.0; STEP]);
        row.delay += u64::from(self.stats().buffer_ms);
        row.steps += 1;
    }

    /// Once a second.
    fn report(&mut self) {
        if let Some(report) = self.inbound.report() {
            self.told.told(report);
        }
        let Losses { outbound, burst, queue, .. } = self.told;
        let queue = Duration::from_secs_f32(queue);
        self.quality = self.adaptation.told(Reception { loss: outbound, burst, queue, listeners: 1 });
        self.packets.set(self.quality);
    }

    fn stats(&self) -> FriendStats {
        self.playback.stats().first().map(|(_, stats)| *stats).unwrap_or_default()
    }
}

impl Way {
    /// How long the packet waits, in ms; `None` when it is lost.
    fn send(&mut self, now: f64, bits: f64, ticks: u32, frame: VoiceFrame, phase: &Phase) -> Option<f64> {
        for _ in 0..ticks {
            let mean = BURST_MS / 10.0;
            let change = if self.bad { 1.0 / mean } else { phase.share / ((1.0 - phase.share) * mean) };
            self.bad ^= self.dice.roll() < change;
        }
        let queue = (self.free_at - now).max(0.0);
        if queue > MOST_QUEUE {
            return None;
        }
        let takes = phase.capacity.map_or(0.0, |capacity| bits * 1000.0 / capacity);
        self.free_at = now + queue + takes;
        if self.bad {
            return None;
        }
        self.arriving.push_back((self.free_at + PATH, frame));
        Some(queue + takes)
    }
}

/// From one change of the way or of the packets to the next.
struct Row {
    name: &'static str,
    quality: Quality,
    since: u64,
    before: FriendStats,
    sent: u64,
    lost: u64,
    bytes: usize,
    queue: f64,
    delay: u64,
    steps: u64,
}

impl Row {
    fn new(name: &'static str, call: &Call) -> Row {
        Row {
            name,
            quality: call.quality,
            since: call.step,
            before: call.stats(),
            sent: 0,
            lost: 0,
            bytes: 0,
            queue: 0.0,
            delay: 0,
            steps: 0,
        }
    }

    fn end(&self, call: &Call) {
        if self.steps == 0 {
            return;
        }
        let (was, is) = (self.before, call.stats());
        let all = |s: FriendStats| s.played + s.fec + s.dred + s.concealed;
        let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        println!(
            "| {} | {} | {} | {:.0} | {:.1} % | {:.1} % | {} | {:.0} |",
            self.since / 100,
            self.name,
            spelled(self.quality),
            self.bytes as f64 * 8.0 / (self.steps * 10) as f64,
            share(self.lost, self.sent),
            share(is.concealed - was.concealed, all(is) - all(was)),
            self.delay / self.steps,
            self.queue
        );
    }
}

/// What makes another row: not each percent of expected loss.
fn shape(quality: Quality) -> (u32, u32, bool, Again, u16) {
    let Quality { frame, bitrate, protection } = quality;
    (frame.as_millis(), bitrate, protection.fec, protection.again, protection.dred_ms)
}

fn spelled(quality: Quality) -> String {
    let (frame, bitrate, fec, again, dred_ms) = shape(quality);
    let protection = match (fec, again, dred_ms) {
        (_, _, 1..) => format!("DRED {dred_ms} ms"),
        (_, Again::Copy { ms }, _) => format!("again after {ms} ms"),
        (_, Again::Sum, _) => "sums of two".into(),
        (true, ..) => "FEC".into(),
        _ => "no protection".into(),
    };
    format!("{} kbit/s in {frame} ms, {protection}", bitrate / 1000)
}

const PHASES: &[Phase] = &[
    Phase { name: "clean", seconds: 20, share: 0.0, capacity: None },
    Phase { name: "20 % lost in runs", seconds: 40, share: 0.2, capacity: None },
    Phase { name: "the same, 70 kbit/s pass", seconds: 40, share: 0.2, capacity: Some(70_000.0) },
    Phase { name: "nothing lost, 45 kbit/s pass", seconds: 40, share: 0.0, capacity: Some(45_000.0) },
    Phase { name: "clean", seconds: 90, share: 0.0, capacity: None },
];
/// Milliseconds.
const BURST_MS: f64 = 60.0;
const PATH: f64 = 20.0;
/// A router at home holds about so much.
const MOST_QUEUE: f64 = 400.0;
/// Of a voice packet, IPv4 and UDP included (docs/PERFORMANCE.md).
const HEADERS: usize = 52;
