//! How much sound waits before the loudspeaker: as little as runs clean on this machine. Pure.

use std::time::Duration;

/// The reserve of one loudspeaker. It grows when the loudspeaker runs dry and shrinks, in silence, after minutes
/// without.
pub(crate) struct Reserve {
    step: usize,
    /// Since when it has been as it is and sufficed.
    clean: Duration,
    /// When less was tried last.
    lowered: Option<Duration>,
    /// How long it has to last before less is tried.
    patience: Duration,
    /// What happens before is no fault of the reserve.
    excused: Duration,
}

impl Reserve {
    pub(crate) fn new() -> Reserve {
        Reserve { step: 0, clean: Duration::ZERO, lowered: None, patience: PATIENCE, excused: EXCUSED }
    }

    /// From us to the loudspeaker, in samples at 48 kHz.
    pub(crate) fn samples(&self) -> usize {
        STEPS_MS[self.step] * 48
    }

    pub(crate) fn length(&self) -> Duration {
        Duration::from_millis(STEPS_MS[self.step] as u64)
    }

    /// The device starts to play, or we come back from a stall that no reserve could have covered.
    pub(crate) fn excuse(&mut self, now: Duration) {
        self.excused = now + EXCUSED;
    }

    /// The loudspeaker ran dry; returns whether more is to be kept from now on.
    pub(crate) fn ran_dry(&mut self, now: Duration) -> bool {
        if now < self.excused {
            return false;
        }
        // Less was tried just now, and was too little: not to be tried again so soon.
        if self.lowered.take().is_some_and(|lowered| now < lowered + PROBATION) {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        }
        self.clean = now;
        // One stall is told as several.
        self.excuse(now);
        let before = self.step;
        self.step = (self.step + 1).min(STEPS_MS.len() - 1);
        self.step != before
    }

    /// Nobody is heard at this moment; returns whether less is to be kept from now on.
    pub(crate) fn rest(&mut self, now: Duration) -> bool {
        if self.step == 0 || now < self.clean + self.patience {
            return false;
        }
        (self.clean, self.lowered) = (now, Some(now));
        self.step -= 1;
        true
    }
}

/// The server wakes each 10 ms, so the first leaves us 10 ms to answer. Who needs more than the last has other worries.
const STEPS_MS: [usize; 6] = [20, 25, 30, 40, 60, 80];
/// The time a device takes to start, and the time in which the echoes of one stall come in.
const EXCUSED: Duration = Duration::from_millis(500);
/// A moment of load is over by then.
const PATIENCE: Duration = Duration::from_secs(180);
const MOST_PATIENCE: Duration = Duration::from_secs(3_600);
/// What runs dry so soon after a change has run dry because of it.
const PROBATION: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_grows_once_for_each_stall_and_not_without_end() {
        let mut reserve = Reserve::new();
        let mut lengths = Vec::new();
        for second in 10..20 {
            assert_eq!(reserve.ran_dry(at(second)), lengths.len() < 5);
            assert!(!reserve.ran_dry(at(second) + Duration::from_millis(300)));
            lengths.push(reserve.length().as_millis());
        }
        assert_eq!(lengths, [25, 30, 40, 60, 80, 80, 80, 80, 80, 80]);
    }

    #[test]
    fn what_happens_while_a_device_starts_is_no_reason_to_grow() {
        let mut reserve = Reserve::new();
        assert!(!reserve.ran_dry(Duration::from_millis(400)));
        reserve.excuse(at(5));
        assert!(!reserve.ran_dry(at(5) + Duration::from_millis(400)));
        assert_eq!(reserve.samples(), 960);
    }

    #[test]
    fn after_minutes_without_a_fault_less_is_tried_step_by_step() {
        let mut reserve = Reserve::new();
        assert!(reserve.ran_dry(at(10)) && reserve.ran_dry(at(12)));
        let shrinks: Vec<u64> = (13..1_000).filter(|second| reserve.rest(at(*second))).collect();
        assert_eq!(shrinks, [192, 372]);
    }

    #[test]
    fn a_step_back_that_was_too_much_is_tried_again_later_and_later() {
        let mut reserve = Reserve::new();
        assert!(reserve.ran_dry(at(10)));
        let mut tries = Vec::new();
        for second in 11..6_000 {
            if reserve.rest(at(second)) {
                tries.push(second);
                assert!(reserve.ran_dry(at(second + 1)));
            }
        }
        let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits, [361, 721, 1_441, 2_881]);
    }
}
