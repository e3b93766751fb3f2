//! One direction of a line between two sites: delay, jitter, loss in bursts, copies, reordering.

use std::time::Duration;

use crate::dice::Dice;

/// What a line does to packets. Shares are 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    pub delay: Duration,
    /// Added to the delay, evenly spread: what exceeds the gap between two packets reorders them.
    pub jitter: Duration,
    pub loss: f64,
    pub copies: f64,
    /// Share of packets that are held back for up to 200 ms.
    pub late: f64,
    pub bursts: Option<Bursts>,
}

/// Gilbert and Elliott's two states: a packet switches the line to bad or back, and a bad line loses `loss` of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    pub begin: f64,
    pub end: f64,
    pub loss: f64,
}

impl Profile {
    /// Neither loss nor jitter.
    pub const fn clean(delay_ms: u64) -> Self {
        Self {
            delay: Duration::from_millis(delay_ms),
            jitter: Duration::ZERO,
            loss: 0.0,
            copies: 0.0,
            late: 0.0,
            bursts: None,
        }
    }

    /// A line as bad as people bear: up to 200 ms, 30 % loss, 10 % copies.
    pub fn any(dice: &mut Dice) -> Self {
        let share = |dice: &mut Dice, max: f64| dice.range(0, 1_001) as f64 / 1_000.0 * max;
        let bursts = dice.chance(0.3).then(|| Bursts {
            begin: share(dice, 0.02),
            end: 0.05 + share(dice, 0.3),
            loss: share(dice, 1.0),
        });
        Self {
            delay: Duration::from_millis(dice.range(0, 201)),
            jitter: Duration::from_millis(dice.range(0, 41)),
            loss: if dice.chance(0.3) { 0.0 } else { share(dice, 0.3) },
            copies: if dice.chance(0.5) { 0.0 } else { share(dice, 0.1) },
            late: if dice.chance(0.5) { 0.0 } else { share(dice, 0.1) },
            bursts,
        }
    }
}

pub struct Link {
    pub profile: Profile,
    bad: bool,
    dice: Dice,
}

impl Link {
    pub fn new(profile: Profile, dice: Dice) -> Self {
        Self { profile, bad: false, dice }
    }

    /// After how long each copy of one packet arrives; none if it is lost.
    pub fn carry(&mut self) -> impl Iterator<Item = Duration> + use<> {
        let Profile { loss, copies, bursts, .. } = self.profile;
        if let Some(bursts) = bursts {
            self.bad = self.dice.chance(if self.bad { 1.0 - bursts.end } else { bursts.begin });
        }
        let burst = bursts.is_some_and(|b| self.bad && self.dice.chance(b.loss));
        let lost = burst || (loss > 0.0 && self.dice.chance(loss));
        let count = match lost {
            true => 0,
            false if copies > 0.0 && self.dice.chance(copies) => 2,
            false => 1,
        };
        let times = [self.travel(), self.travel()];
        times.into_iter().take(count)
    }

    /// For a reliable stream: the delay, and what repairing losses adds to it.
    pub fn stream_delay(&mut self) -> Duration {
        let mut delay = self.profile.delay + self.dice.within(Duration::ZERO, self.profile.jitter);
        let mut repair = RTO;
        for _ in 0..REPAIRS {
            if !self.dice.chance(self.profile.loss) {
                break;
            }
            delay += repair;
            repair *= 2;
        }
        delay
    }

    fn travel(&mut self) -> Duration {
        let late = self.profile.late > 0.0 && self.dice.chance(self.profile.late);
        let held = if late { self.dice.within(Duration::ZERO, LATE) } else { Duration::ZERO };
        self.profile.delay + self.dice.within(Duration::ZERO, self.profile.jitter) + held
    }
}

const LATE: Duration = Duration::from_millis(200);
/// TCP's least retransmission time-out on Linux.
const RTO: Duration = Duration::from_millis(200);
const REPAIRS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_line_delivers_everything_once_in_time() {
        let mut link = Link::new(Profile::clean(20), Dice::new(1));
        for _ in 0..1_000 {
            assert_eq!(link.carry().collect::<Vec<_>>(), [Duration::from_millis(20)]);
        }
    }

    #[test]
    fn shares_are_what_the_profile_says() {
        let profile = Profile { loss: 0.2, copies: 0.1, ..Profile::clean(20) };
        let mut link = Link::new(profile, Dice::new(1));
        let counts: Vec<usize> = (0..20_000).map(|_| link.carry().count()).collect();
        let share = |n| counts.iter().filter(|count| **count == n).count() as f64 / 20_000.0;
        assert!((share(0) - 0.2).abs() < 0.01, "{}", share(0));
        assert!((share(2) - 0.08).abs() < 0.01, "{}", share(2));
    }

    #[test]
    fn bursts_lose_neighbours_together() {
        let bursts = Some(Bursts { begin: 0.01, end: 0.1, loss: 1.0 });
        let mut link = Link::new(Profile { bursts, ..Profile::clean(1) }, Dice::new(1));
        let lost: Vec<bool> = (0..50_000).map(|_| link.carry().count() == 0).collect();
        let pairs = lost.windows(2).filter(|w| w[0] && w[1]).count() as f64;
        let singles = lost.iter().filter(|lost| **lost).count() as f64;
        assert!(pairs / singles > 0.85, "{}", pairs / singles);
    }
}
