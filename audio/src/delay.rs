//! How long to hold frames back: just longer than nearly all of them are late.
//!
//! Lateness is measured against the quickest frame of the last two seconds, so neither the clocks nor the length of
//! the path need be known. The target is a high percentile of it; it rises at once and sinks within seconds. Where
//! lost frames can be brought back by later packets, the wait for these is added.

use crate::spec::FrameLen;

/// The arrival statistics of one stream. Times in microseconds of any one clock.
pub(crate) struct Delay {
    quickest: [i64; PIECES],
    piece: usize,
    /// Stream time that the newest piece covers.
    in_piece: i64,
    last_arrival: i64,
    /// Frames learned from, up to what is remembered.
    seen: f32,
    lateness: [f32; BUCKETS],
    /// Of all frames: those lost so many ticks of 10 ms before the packet that can bring them back.
    lost: [f32; WAIT + 1],
    /// How long that packet is waited for, and how much more of the stream shall pass before it is waited for less.
    wait: i64,
    hold: i64,
    target: i64,
    /// What the target sinks to.
    wanted: i64,
    frame: i64,
}

impl Delay {
    pub(crate) fn new(frame: FrameLen) -> Delay {
        Delay {
            quickest: [i64::MAX; PIECES],
            piece: 0,
            in_piece: 0,
            last_arrival: i64::MIN,
            seen: 0.0,
            lateness: [0.0; BUCKETS],
            lost: [0.0; WAIT + 1],
            wait: 0,
            hold: 0,
            target: START,
            wanted: LEAST,
            frame: frame.micros(),
        }
    }

    /// A frame that was recorded at `media` (its own clock) came in. `spurt_start` frames are
    /// late because the sender's gate held them back, which says nothing about the path.
    pub(crate) fn arrived(&mut self, now: i64, media: i64, frame: FrameLen, spurt_start: bool) {
        if now.saturating_sub(self.last_arrival) > STALE {
            self.quickest = [i64::MAX; PIECES];
        }
        self.frame = frame.micros();
        let together = now.saturating_sub(self.last_arrival) < self.frame / 4;
        self.last_arrival = now;
        let transit = now - media;
        self.quickest[self.piece] = self.quickest[self.piece].min(transit);
        self.in_piece += self.frame;
        if self.in_piece >= WINDOW / PIECES as i64 {
            self.in_piece = 0;
            self.piece = (self.piece + 1) % PIECES;
            self.quickest[self.piece] = i64::MAX;
        }
        if spurt_start {
            return;
        }
        let late = transit - self.base();
        // What was held up together was held up once.
        self.learn(late, if together { TOGETHER } else { 1.0 });
        let sink = ((self.target - self.wanted) * self.frame / SINK).max(SINK_LEAST * self.frame / 1_000_000);
        self.target = self.wanted.max(self.target - sink);
    }

    /// A lost frame can be brought back by the packet that comes `later` frames after it.
    pub(crate) fn comes_back(&mut self, later: u32) {
        let ticks = i64::from(later) * self.frame / 10_000;
        // For what comes later than that nobody would wait.
        if let Some(share) = self.lost.get_mut(ticks as usize) {
            *share += self.frame as f32 / LOST_MEMORY;
        }
    }

    /// Nobody talks at this moment: a part of the way down costs no splice.
    pub(crate) fn settle(&mut self) {
        if self.seen * self.frame as f32 >= MEMORY {
            self.target = self.wanted.max(self.target - SETTLE);
        }
    }

    /// The transit time of the quickest frame of the window.
    pub(crate) fn base(&self) -> i64 {
        self.quickest.iter().copied().min().unwrap_or(i64::MAX)
    }

    /// How much later than the quickest frame the stream is to be played.
    pub(crate) fn target(&self) -> i64 {
        self.target
    }

    /// Waits longer at once and less only after long without need: runs of losses come and go, and each change of the
    /// delay costs splices.
    fn wait(&mut self) {
        let needed = self.needed();
        self.hold -= self.frame;
        if needed >= self.wait {
            (self.wait, self.hold) = (needed, HOLD);
        } else if self.hold <= 0 {
            self.wait = needed;
        }
    }

    /// Long enough for nearly all that can be brought back.
    fn needed(&self) -> i64 {
        let mut above = 0.0;
        for (ticks, share) in self.lost.iter().enumerate().rev() {
            above += share;
            if above > GIVEN_UP {
                return ticks as i64 * 10_000 + LEAST;
            }
        }
        0
    }

    fn learn(&mut self, late: i64, count: f32) {
        // The first frames count as an average, later ones with a fixed weight.
        self.seen = (self.seen + 1.0).min(MEMORY / self.frame as f32);
        let weight = (count / self.seen).min(1.0);
        for bucket in &mut self.lateness {
            *bucket *= 1.0 - weight;
        }
        let bucket = (late.max(0) / BUCKET) as usize;
        self.lateness[bucket.min(BUCKETS - 1)] += weight;
        for share in &mut self.lost {
            *share -= *share * self.frame as f32 / LOST_MEMORY;
        }
        self.wait();
        self.wanted = (self.percentile() + self.wait).clamp(LEAST, MAX_TARGET);
    }

    fn percentile(&self) -> i64 {
        let mut above = 0.0;
        for (i, share) in self.lateness.iter().enumerate().rev() {
            above += share;
            if above > 1.0 - PERCENTILE {
                return (i as i64 + 1) * BUCKET;
            }
        }
        0
    }
}

/// Finer than one mixing step of 10 ms, coarser than timer noise.
const BUCKET: i64 = 2_500;
const BUCKETS: usize = 200;
/// Three frames in a hundred may come too late; they are concealed.
const PERCENTILE: f32 = 0.97;
/// What the percentile remembers of the stream, in microseconds.
const MEMORY: f32 = 1_200_000.0;
/// The window of the quickest frame, in stream time. Drift of 200 ppm moves 0.4 ms in it.
const WINDOW: i64 = 2_000_000;
const PIECES: usize = 4;
/// After a longer pause the clocks may have drifted by more than 2 ms, and the path may be another one.
const STALE: i64 = 10_000_000;
/// The mixer asks every 10 ms, so a frame may wait that long anyway.
const LEAST: i64 = 10_000;
/// Enough for most Wi-Fi; a quiet path is down to its own figure after some seconds of speech.
const START: i64 = 60_000;
/// Leaves room below the hard maximum for what is late beyond the percentile.
const MAX_TARGET: i64 = 400_000;
/// Microseconds of speech in which the target comes down by two thirds of the way.
const SINK: i64 = 1_000_000;
/// In a second of speech: one short splice, inaudible.
const SINK_LEAST: i64 = 10_000;
/// In one pause; more would be undone by the next rough second.
const SETTLE: i64 = 20_000;
/// Of a frame that came in one burst with the one before.
const TOGETHER: f32 = 0.25;
/// In ticks: a longer wait for the packet that brings a lost frame back costs more in conversation than the frame is
/// worth.
const WAIT: usize = 14;
/// One frame in two hundred may stay lost although a longer wait would bring them back.
const GIVEN_UP: f32 = 0.005;
/// Microseconds of speech; runs of losses are seldom farther apart on a path that has them at all.
const HOLD: i64 = 20_000_000;
/// Losses are rarer than frames, so they are remembered longer, in microseconds.
const LOST_MEMORY: f32 = 8_000_000.0;
