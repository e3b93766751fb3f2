//! How long to hold frames back: just longer than nearly all of them are late.
//!
//! Lateness is measured against the quickest frame of the last two seconds, so neither the clocks nor the length of
//! the path need be known. The target is a high percentile of it; it rises at once and sinks slowly.

use crate::spec::FrameLen;

/// The arrival statistics of one stream. Times in microseconds of any one clock.
pub(crate) struct Delay {
    quickest: [i64; PIECES],
    piece: usize,
    in_piece: u32,
    last_arrival: i64,
    seen: u32,
    lateness: [f32; BUCKETS],
    loss: f32,
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
            seen: 0,
            lateness: [0.0; BUCKETS],
            loss: 0.0,
            target: START_FRAMES * frame.micros(),
            wanted: frame.micros(),
            frame: frame.micros(),
        }
    }

    /// A frame that was recorded at `media` (its own clock) came in. `spurt_start` frames are late because the
    /// sender's gate held them back, which says nothing about the path.
    pub(crate) fn arrived(&mut self, now: i64, media: i64, spurt_start: bool) {
        if now.saturating_sub(self.last_arrival) > STALE {
            self.quickest = [i64::MAX; PIECES];
        }
        self.last_arrival = now;
        let transit = now - media;
        self.quickest[self.piece] = self.quickest[self.piece].min(transit);
        self.in_piece += 1;
        if self.in_piece >= (WINDOW / PIECES as i64 / self.frame) as u32 {
            self.in_piece = 0;
            self.piece = (self.piece + 1) % PIECES;
            self.quickest[self.piece] = i64::MAX;
        }
        if !spurt_start {
            self.learn(transit - self.base());
        }
    }

    /// `count` frames of the running spurt were missing when the next one came.
    pub(crate) fn missed(&mut self, count: i64) {
        for _ in 0..count.min(MISSED_AT_ONCE) {
            self.loss += (1.0 - self.loss) * LOSS_WEIGHT;
        }
    }

    /// One that seemed to be missing came after the next.
    pub(crate) fn came_after_all(&mut self) {
        self.loss = (self.loss - LOSS_WEIGHT).max(0.0);
    }

    /// Nobody talks at this moment: a part of the way down costs no splice.
    pub(crate) fn settle(&mut self) {
        if self.seen == MEMORY {
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

    fn learn(&mut self, late: i64) {
        self.loss -= self.loss * LOSS_WEIGHT;
        // The first frames count as an average, later ones with a fixed weight.
        self.seen = (self.seen + 1).min(MEMORY);
        let weight = 1.0 / self.seen as f32;
        for bucket in &mut self.lateness {
            *bucket *= 1.0 - weight;
        }
        let bucket = (late.max(0) / BUCKET) as usize;
        self.lateness[bucket.min(BUCKETS - 1)] += weight;

        // A lost frame is recovered from the one after it, so that one must have come.
        let for_recovery = if self.loss > RECOVERY_LOSS { self.frame } else { 0 };
        self.wanted = (self.percentile() + for_recovery).clamp(self.frame, MAX_TARGET);
        let sink = SINK * self.frame / 1_000_000;
        self.target = self.wanted.max(self.target - sink);
    }

    fn percentile(&self) -> i64 {
        let mut sum = 0.0;
        for (i, share) in self.lateness.iter().enumerate() {
            sum += share;
            if sum >= PERCENTILE {
                return (i as i64 + 1) * BUCKET;
            }
        }
        MAX_TARGET
    }
}

/// Half of NetEQ's width: finer than one mixing step of 10 ms, coarser than timer noise.
const BUCKET: i64 = 5_000;
const BUCKETS: usize = 100;
/// Three frames in a hundred may come too late; they are concealed.
const PERCENTILE: f32 = 0.97;
/// Frames that the percentile remembers: 2 s of 20 ms frames.
const MEMORY: u32 = 100;
/// The window of the quickest frame, in stream time. Drift of 200 ppm moves 0.4 ms in it.
const WINDOW: i64 = 2_000_000;
const PIECES: usize = 4;
/// After a longer pause the clocks may have drifted by more than 2 ms, and the path may be another one.
const STALE: i64 = 10_000_000;
/// Enough for most Wi-Fi; a quiet path is down to its own figure after some seconds of speech.
const START_FRAMES: i64 = 3;
/// Leaves room below the hard maximum for what is late beyond the percentile.
const MAX_TARGET: i64 = 400_000;
/// The target sinks by 10 ms per second of speech: one short splice, inaudible.
const SINK: i64 = 10_000;
/// In one pause; more would be undone by the next rough second.
const SETTLE: i64 = 20_000;
/// One frame in a hundred: below it a frame more delay costs more than recovery gives.
const RECOVERY_LOSS: f32 = 0.01;
/// Remembers about 200 frames.
const LOSS_WEIGHT: f32 = 0.005;
/// A long hole is one event, not a loss rate.
const MISSED_AT_ONCE: i64 = 5;
