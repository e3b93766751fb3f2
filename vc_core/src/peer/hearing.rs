//! Does our voice arrive? Probes tell whether a path works; only the friend's reports tell whether voice passes. A third
//! party that drops nothing but voice, or much of everything, is found out by that.

use std::time::Duration;

use crate::io::Time;
use crate::protocol::control::Report;

#[derive(Default)]
pub struct Hearing {
    /// How much we said since a report last told that most of it came.
    unheard: Duration,
    last: Time,
}

impl Hearing {
    /// We sent a frame. True if so much went unheard that another path should be tried.
    pub fn spoke(&mut self, now: Time, len: Duration) -> bool {
        if now - self.last >= PAUSE {
            self.unheard = Duration::ZERO;
        }
        self.last = now;
        self.unheard += len;
        let unheard = self.unheard >= ENOUGH;
        if unheard {
            self.unheard = Duration::ZERO;
        }
        unheard
    }

    pub fn told(&mut self, report: &Report) {
        if u32::from(report.lost) * 3 < u32::from(report.got) {
            self.unheard = Duration::ZERO;
        }
    }
}

/// Reports come every second, and three in a row are seldom lost even on a bad line.
const ENOUGH: Duration = Duration::from_secs(4);
/// Short words with pauses between are too little to be reported on.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(hearing: &mut Hearing, from: u64, seconds: u64, report: Option<(u16, u16)>) -> Option<u64> {
        let mut doubted = None;
        for n in 0..seconds * 50 {
            let now = Time::from_micros((from + n * 20) * 1_000);
            if hearing.spoke(now, Duration::from_millis(20)) {
                doubted = doubted.or(Some(n * 20));
            }
            if let Some((got, lost)) = report.filter(|_| n % 50 == 49) {
                hearing.told(&Report { got, lost, ..Report::default() });
            }
        }
        doubted
    }

    #[test]
    fn voice_that_nobody_reports_is_doubted_after_four_seconds() {
        let mut hearing = Hearing::default();
        assert_eq!(talk(&mut hearing, 0, 60, Some((50, 0))), None);
        assert_eq!(talk(&mut hearing, 60_000, 60, Some((40, 10))), None, "a bad line is no lie");
        assert!(talk(&mut hearing, 120_000, 10, None).is_some_and(|ms| ms <= 4_000));
        assert!(talk(&mut hearing, 200_000, 10, Some((25, 25))).is_some());
    }

    #[test]
    fn words_with_pauses_between_are_never_doubted() {
        let mut hearing = Hearing::default();
        for n in 0..100 {
            assert_eq!(talk(&mut hearing, n * 3_000, 1, None), None);
        }
    }
}
