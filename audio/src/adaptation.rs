//! How to send, from what those who hear us report: bit rate, length of a packet, protection against losses. Pure.
//!
//! A clean path pays for nothing. Few single losses are met by FEC, many of them by sums of earlier packets in each, runs by
//! sending every packet again in a later one, runs too long for that by DRED; all but FEC may take more bits. A queue that grows on the way is
//! congestion: then the rate goes down, and only what it allows protects.

use std::time::Duration;

use crate::opus::{Again, Protection};
use crate::spec::FrameLen;

/// How the voice is sent; every packet of one setting has one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    pub frame: FrameLen,
    /// Opus bits per second.
    pub bitrate: u32,
    pub protection: Protection,
}

impl Default for Quality {
    fn default() -> Quality {
        Quality { frame: FrameLen::Ms20, bitrate: 32_000, protection: Protection::default() }
    }
}

impl Quality {
    /// Packets of the one can carry packets of the other.
    pub(crate) fn has_packets_like(self, other: Quality) -> bool {
        let shape = |quality: Quality| (quality.frame, quality.bitrate, quality.protection.again);
        shape(self) == shape(other)
    }
}

/// What the listeners reported of the last second or so; of each figure the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reception {
    /// Lost packets, 0.0 to 1.0.
    pub loss: f32,
    /// Packets lost in a row, on average.
    pub burst: f32,
    /// By how much the quickest packets come later than they could.
    pub queue: Duration,
    pub listeners: usize,
}

impl Reception {
    /// Of the listeners of both. The rare run of one who loses next to nothing is no run to be met.
    pub fn worst(self, other: Reception) -> Reception {
        let runs = |reception: Reception| if reception.loss < CLEAN { 0.0 } else { reception.burst };
        Reception {
            loss: self.loss.max(other.loss),
            burst: runs(self).max(runs(other)),
            queue: self.queue.max(other.queue),
            listeners: self.listeners + other.listeners,
        }
    }
}

pub struct Adaptation {
    /// What the user asked for.
    base: Quality,
    /// Steps down from it.
    step: usize,
    /// Seconds that what was done last against congestion is still given to work.
    pause: u32,
    /// As it was reported last.
    queue: Duration,
    /// Seconds without congestion that are still needed for a step up, and how many the next time.
    until_up: u32,
    patience: u32,
    losses: Losses,
    /// Seconds for which the current kind of losses is at least believed in.
    held: u32,
    /// Seconds for which more bits against losses are out of question: they made it worse.
    no_more: u32,
    raised: bool,
    /// As long as the packets that reports speak of.
    sent: FrameLen,
}

/// From what is cheap to meet to what is dear.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Losses {
    Few,
    Single,
    ManySingle,
    Runs,
    ManyRuns,
    LongRuns,
}

impl Adaptation {
    pub fn new(base: Quality) -> Adaptation {
        Adaptation {
            base,
            step: 0,
            pause: 0,
            queue: Duration::ZERO,
            until_up: 0,
            patience: FIRST_PATIENCE,
            losses: Losses::Few,
            held: 0,
            no_more: 0,
            raised: false,
            sent: base.frame,
        }
    }

    /// Called once a second.
    pub fn told(&mut self, reception: Reception) -> Quality {
        let congested =
            reception.queue >= QUEUE || reception.queue >= QUEUE_WITH_LOSS && reception.loss >= NOTABLE_LOSS;
        let drains = reception.queue < self.queue.mul_f32(DRAINS);
        self.queue = reception.queue;
        self.pace(congested, drains);
        self.judge_losses(&reception);
        let room = self.room(reception.listeners);
        let may_raise = self.step == 0
            && self.no_more == 0
            && reception.queue < QUEUE_WITH_LOSS
            && reception.listeners <= FEW_LISTENERS;
        let factor = match self.losses {
            Losses::ManySingle | Losses::Runs if may_raise => 1.5,
            Losses::ManyRuns | Losses::LongRuns if may_raise => 2.0,
            _ => 1.0,
        };
        self.raised = factor > 1.0;
        let bitrate = (room.bitrate as f32 * factor).min(MOST_BITS.max(room.bitrate as f32)) as u32;
        let protection = self.protection(reception.loss, bitrate);
        let frame = match protection.again {
            Again::Nothing => room.frame,
            // Half as many bits in packets of 10 ms leave nothing for the voice, and the wait outweighs the 10 ms.
            _ => room.frame.max(FrameLen::Ms20),
        };
        self.sent = frame;
        Quality { frame, bitrate, protection }
    }

    /// Down at once unless what was done already helps, up with patience, and with more of it each time that it was too
    /// early.
    fn pace(&mut self, congested: bool, drains: bool) {
        self.no_more = self.no_more.saturating_sub(1);
        self.pause = self.pause.saturating_sub(1);
        if congested && self.raised {
            // The bits against losses were too many.
            self.no_more = NO_MORE;
            self.raised = false;
            self.pause = PAUSE;
            return;
        }
        if congested {
            if self.pause == 0 && !drains && self.step < STEPS.len() {
                self.step += 1;
                self.pause = PAUSE;
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
            }
            self.until_up = self.patience;
        } else if self.step > 0 {
            self.until_up = self.until_up.saturating_sub(1);
            if self.until_up == 0 {
                self.step -= 1;
                self.until_up = self.patience;
            }
        } else {
            self.until_up = self.until_up.saturating_sub(1);
            if self.until_up == 0 {
                self.patience = FIRST_PATIENCE;
            }
        }
    }

    /// Up at once, down when it has been better for a while: runs come and go, and each change leaves a gap.
    fn judge_losses(&mut self, reception: &Reception) {
        let Reception { loss, burst, .. } = *reception;
        let notable = if self.losses == Losses::Few { NOTABLE_LOSS } else { CLEAN };
        let seen = match (loss, burst) {
            _ if loss < notable => Losses::Few,
            _ if burst * self.sent.as_millis() as f32 >= LONG_RUNS_MS => Losses::LongRuns,
            _ if burst >= RUNS && loss >= MANY_RUNS => Losses::ManyRuns,
            _ if burst >= RUNS => Losses::Runs,
            _ if loss >= MANY => Losses::ManySingle,
            _ => Losses::Single,
        };
        self.held = self.held.saturating_sub(1);
        if seen >= self.losses || self.held == 0 {
            (self.losses, self.held) = (seen, HELD);
        }
    }

    /// What the uplink carries: many listeners are sent to one by one.
    fn room(&self, listeners: usize) -> Quality {
        let for_listeners = STEPS.iter().filter(|step| listeners >= step.listeners).count();
        match self.step.max(for_listeners).checked_sub(1).and_then(|step| STEPS.get(step)) {
            Some(step) => Quality {
                frame: step.frame.max(self.base.frame),
                bitrate: step.bitrate.min(self.base.bitrate),
                protection: Protection::default(),
            },
            None => self.base,
        }
    }

    fn protection(&self, loss: f32, bitrate: u32) -> Protection {
        let copies = |ms| {
            // Narrower copies hold more of the voice; FEC besides pays where many copies get lost as well.
            let loss = if bitrate < ROOMY || loss >= MANY_RUNS { FEC_AND_NARROW } else { NEITHER };
            Protection { loss, fec: true, dred_ms: 0, again: Again::Copy { ms } }
        };
        match self.losses {
            Losses::Few => Protection::default(),
            Losses::Single => fec(loss),
            _ if bitrate < ENOUGH_FOR_COPIES => fec(loss),
            Losses::ManySingle => Protection { loss: NEITHER, again: Again::Sum, ..Protection::default() },
            Losses::Runs | Losses::ManyRuns if bitrate < ROOMY => {
                // Of so few bits FEC takes more than it brings.
                Protection { again: Again::Copy { ms: LEAN_MS }, ..Protection::default() }
            }
            Losses::Runs | Losses::ManyRuns => copies(RUNS_MS),
            Losses::LongRuns if bitrate < ENOUGH_FOR_DRED => copies(LONG_MS),
            Losses::LongRuns => Protection { loss: 20, dred_ms: DRED_MS, ..Protection::default() },
        }
    }
}

fn fec(loss: f32) -> Protection {
    let percent = (loss * 100.0).round() as u8;
    Protection { loss: percent.clamp(LEAST_FOR_FEC, 10), fec: true, ..Protection::default() }
}

struct Step {
    /// From so many on, congestion or not.
    listeners: usize,
    frame: FrameLen,
    bitrate: u32,
}

/// Ways down; longer packets spare headers, of which each has 52 bytes (docs/PERFORMANCE.md).
const STEPS: &[Step] = &[
    Step { listeners: 8, frame: FrameLen::Ms40, bitrate: 24_000 },
    Step { listeners: 12, frame: FrameLen::Ms60, bitrate: 16_000 },
];
/// A standing queue of this length is no jitter: the quickest packets of a second wait in it.
const QUEUE: Duration = Duration::from_millis(80);
/// With losses at the same time, half of that says enough: the queue overflows.
const QUEUE_WITH_LOSS: Duration = Duration::from_millis(40);
/// FEC gains intelligibility from about here on.
const NOTABLE_LOSS: f32 = 0.03;
/// Below it protection is given up again.
const CLEAN: f32 = 0.015;
/// From here on FEC alone, within the usual bits, no longer holds the quality.
const MANY: f32 = 0.08;
const MANY_RUNS: f32 = 0.15;
/// Packets in a row: single losses of 30 % would give 1.4, FEC brings back the last one of a run only.
const RUNS: f32 = 1.8;
/// Milliseconds on average; most copies would be lost in the same run as what they are copies of.
const LONG_RUNS_MS: f32 = 200.0;
/// Seconds; a kind of losses that was seen once is seen again.
const HELD: u32 = 10;
/// Bits per second, of which copies take half: with less, too little is left for a wide voice.
const ENOUGH_FOR_COPIES: u32 = 30_000;
const ROOMY: u32 = 40_000;
/// Percent as libopus takes them: up to 5 it leaves FEC out and the band wide.
const FEC_AND_NARROW: u8 = 10;
const NEITHER: u8 = 5;
/// How much later a packet is sent again: behind a run of 60 ms in all likelihood.
const RUNS_MS: u16 = 100;
/// Without FEC a longer way between the two is worth as long a wait as the copy and its FEC are elsewhere.
const LEAN_MS: u16 = 120;
const LONG_MS: u16 = 140;
/// Below it DRED leaves the voice too few bits.
const ENOUGH_FOR_DRED: u32 = 44_000;
/// A voice gains nothing above it.
const MOST_BITS: f32 = 64_000.0;
/// A receiver waits for 140 ms of it, and for more where there is jitter.
const DRED_MS: u16 = 300;
/// Up to 5 % libopus often leaves no bits for FEC.
const LEAST_FOR_FEC: u8 = 6;
/// More bits for each of more listeners are a burden for an uplink at home.
const FEW_LISTENERS: usize = 4;
/// Seconds after more bits filled a queue.
const NO_MORE: u32 = 60;
/// Seconds: reports are smoothed over about as many.
const PAUSE: u32 = 3;
/// Of a smoothed queue from one report to the next: a real one that goes on draining by a third is seen as that.
const DRAINS: f32 = 0.9;
const FIRST_PATIENCE: u32 = 8;
const MOST_PATIENCE: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn adaptation() -> Adaptation {
        Adaptation::new(Quality::default())
    }

    fn reception(loss: f32, burst: f32, queue: u64) -> Reception {
        Reception { loss, burst, queue: Duration::from_millis(queue), listeners: 2 }
    }

    fn after(adaptation: &mut Adaptation, seconds: usize, reception: Reception) -> Quality {
        (0..seconds).map(|_| adaptation.told(reception)).last().unwrap_or_default()
    }

    #[test]
    fn a_clean_path_pays_for_nothing() {
        let mut adaptation = adaptation();
        for loss in [0.0, 0.01, 0.02] {
            assert_eq!(after(&mut adaptation, 20, reception(loss, 1.0, 10)), Quality::default());
        }
    }

    #[test]
    fn few_losses_are_met_by_fec_many_by_sums_runs_by_copies_long_runs_by_dred() {
        let met = |loss, burst| {
            let quality = after(&mut adaptation(), 5, reception(loss, burst, 0));
            let Protection { fec, dred_ms, again, .. } = quality.protection;
            (quality.bitrate, fec, dred_ms > 0, again)
        };
        let copy = Again::Copy { ms: 100 };
        assert_eq!(met(0.05, 1.1), (32_000, true, false, Again::Nothing));
        assert_eq!(met(0.2, 1.2), (48_000, false, false, Again::Sum));
        assert_eq!(met(0.05, 3.0), (48_000, true, false, copy));
        assert_eq!(met(0.2, 3.0), (64_000, true, false, copy));
        assert_eq!(met(0.2, 11.0), (64_000, false, true, Again::Nothing));
    }

    #[test]
    fn copies_take_fec_along_where_many_of_them_get_lost_and_bits_are_added_for_it() {
        let loss = |loss, listeners| {
            let told = Reception { listeners, ..reception(loss, 3.0, 0) };
            after(&mut adaptation(), 5, told).protection.loss
        };
        assert_eq!([loss(0.05, 2), loss(0.1, 2), loss(0.2, 2)], [NEITHER, NEITHER, FEC_AND_NARROW]);
        assert_eq!([loss(0.05, 6), loss(0.1, 6), loss(0.2, 6)], [0; 3]);
    }

    #[test]
    fn of_listeners_with_different_troubles_each_trouble_is_met() {
        let of = |loss, burst, queue| Reception { listeners: 1, ..reception(loss, burst, queue) };
        let (singles, runs, rare, queue) =
            (of(0.1, 1.0, 0), of(0.09, 9.0, 5), of(0.01, 9.0, 0), of(0.0, 0.0, 90));
        for (a, b, worst) in [
            (singles, runs, (0.1, 9.0, 5)),
            (singles, rare, (0.1, 1.0, 0)),
            (singles, queue, (0.1, 1.0, 90)),
            (rare, queue, (0.01, 0.0, 90)),
        ] {
            let (loss, burst, queue) = worst;
            assert_eq!(a.worst(b), reception(loss, burst, queue));
            assert_eq!(b.worst(a), reception(loss, burst, queue));
        }
    }

    #[test]
    fn without_room_for_more_bits_the_usual_ones_carry_the_copies() {
        let many = |loss, burst| Reception { listeners: 6, ..reception(loss, burst, 0) };
        let quality = after(&mut adaptation(), 5, many(0.2, 3.0));
        assert_eq!((quality.bitrate, quality.protection.again), (32_000, Again::Copy { ms: 120 }));
    }

    #[test]
    fn copies_come_in_packets_of_20_ms_at_least() {
        let base = Quality { frame: FrameLen::Ms10, ..Quality::default() };
        let mut adaptation = Adaptation::new(base);
        assert_eq!(after(&mut adaptation, 5, reception(0.2, 3.0, 0)).frame, FrameLen::Ms20);
        assert_eq!(after(&mut adaptation, 30, reception(0.0, 0.0, 0)), base);
    }

    #[test]
    fn congestion_lowers_the_rate_and_raises_no_redundancy() {
        let mut adaptation = adaptation();
        let first = after(&mut adaptation, 1, reception(0.1, 3.0, 120));
        assert!(first.bitrate < 32_000 && first.frame == FrameLen::Ms40, "{first:?}");
        let later = after(&mut adaptation, 10, reception(0.1, 3.0, 120));
        assert_eq!(
            (later.bitrate, later.frame, later.protection.again),
            (16_000, FrameLen::Ms60, Again::Nothing)
        );
    }

    #[test]
    fn bits_against_losses_that_fill_a_queue_are_taken_back_first() {
        let mut adaptation = adaptation();
        assert_eq!(after(&mut adaptation, 3, reception(0.2, 1.2, 0)).bitrate, 48_000);
        assert_eq!(after(&mut adaptation, 1, reception(0.2, 1.2, 60)).bitrate, 32_000);
        assert_eq!(after(&mut adaptation, 20, reception(0.2, 1.2, 0)).bitrate, 32_000);
        assert_eq!(after(&mut adaptation, 60, reception(0.2, 1.2, 0)).bitrate, 48_000);
    }

    #[test]
    fn a_queue_that_drains_already_takes_no_rate() {
        let mut adaptation = adaptation();
        assert_eq!(after(&mut adaptation, 3, reception(0.2, 3.0, 0)).bitrate, 64_000);
        // 120 ms, 400 and 160 in truth, then none, as it is smoothed.
        for queue in [120, 204, 190, 133, 93, 65, 46, 32, 22, 16, 11] {
            assert_eq!(after(&mut adaptation, 1, reception(0.2, 3.0, queue)).bitrate, 32_000, "{queue} ms");
        }
    }

    #[test]
    fn a_queue_that_stays_takes_rate_after_the_extra_bits() {
        let mut adaptation = adaptation();
        assert_eq!(after(&mut adaptation, 3, reception(0.2, 3.0, 0)).bitrate, 64_000);
        let rates: Vec<_> =
            (0..9).map(|_| after(&mut adaptation, 1, reception(0.2, 3.0, 120)).bitrate / 1000).collect();
        assert_eq!(rates, [32, 32, 32, 24, 24, 24, 16, 16, 16]);
    }

    #[test]
    fn after_congestion_it_goes_up_step_by_step_and_more_slowly_each_time() {
        let mut adaptation = adaptation();
        let mut waits = Vec::new();
        for _ in 0..3 {
            after(&mut adaptation, 2, reception(0.0, 0.0, 200));
            let seconds = (1..200).find(|_| adaptation.told(reception(0.0, 0.0, 0)).bitrate == 32_000);
            waits.push(seconds.unwrap_or(200));
        }
        assert!(waits.windows(2).all(|w| w[1] > w[0]) && waits[2] < 200, "{waits:?}");
    }

    #[test]
    fn figures_at_the_edge_do_not_make_it_flap() {
        let mut adaptation = adaptation();
        let mut changes = 0;
        let mut last = Quality::default();
        for second in 0..300 {
            let told = match second % 3 {
                0 => reception(0.035, 1.7, 10),
                1 => reception(0.025, 1.9, 30),
                _ => reception(0.045, 1.6, 35),
            };
            let quality = adaptation.told(told);
            changes += u32::from(quality.protection.again != last.protection.again);
            last = quality;
        }
        assert!(changes <= 2, "{changes}");
    }

    #[test]
    fn many_listeners_get_longer_packets_and_a_lower_rate() {
        let quality = |listeners| adaptation().told(Reception { listeners, ..Reception::default() });
        assert_eq!((quality(7).frame, quality(7).bitrate), (FrameLen::Ms20, 32_000));
        assert_eq!((quality(8).frame, quality(8).bitrate), (FrameLen::Ms40, 24_000));
        assert_eq!((quality(15).frame, quality(15).bitrate), (FrameLen::Ms60, 16_000));
    }
}
