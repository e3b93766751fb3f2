//! One way to reach a peer, and what its probes tell: is it alive in both directions, and how far is it.

use std::time::Duration;

use crate::io::{Hop, Rung, Socket, Time};
use crate::protocol::member::{MemberId, Slot};

/// One way to a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    Direct(Hop),
    Via {
        carrier: Carrier,
        slot: Slot,
    },
    /// Through signaling: for handshakes and text while nothing else works.
    Mail(Slot),
}

/// A third party that forwards what it cannot open; both ends are bound to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// A friend, by whatever direct path we have to it.
    Host(MemberId),
    /// A relay, and how we reach it.
    Relay(Hop),
}

impl Path {
    pub fn rung(&self) -> Rung {
        match self {
            Self::Direct(_) => Rung::Direct,
            Self::Via { carrier: Carrier::Host(id), .. } => Rung::Host(*id),
            Self::Via { carrier: Carrier::Relay(_), .. } => Rung::Relay,
            Self::Mail(_) => Rung::Mail,
        }
    }

    /// The third party that carries it.
    pub fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::Via { carrier, .. } => Some(*carrier),
            Self::Direct(_) | Self::Mail(_) => None,
        }
    }

    /// Where it goes if nobody is in between.
    pub fn direct(&self) -> Option<Hop> {
        match self {
            Self::Direct(hop) => Some(*hop),
            Self::Via { .. } | Self::Mail(_) => None,
        }
    }

    /// The spare socket that it goes by.
    pub fn spare(&self) -> Option<u16> {
        match self {
            Self::Direct(Hop { socket: Socket::Spare(spare), .. }) => Some(*spare),
            _ => None,
        }
    }

    pub fn carries_voice(&self) -> bool {
        !matches!(self, Self::Mail(_))
    }

    /// Added to the round trip when paths are compared.
    pub fn penalty(&self) -> Duration {
        match self {
            Self::Direct(_) => Duration::ZERO,
            // A friend sees when we talk, too, and lends its uplink: nearly as good as no third party.
            Self::Via { carrier: Carrier::Host(_), .. } => Duration::from_millis(5),
            // A stranger sees when we talk and pays for it: only a clearly shorter trip makes up for that.
            Self::Via { carrier: Carrier::Relay(hop), .. } if hop.socket != Socket::Tcp => {
                Duration::from_millis(30)
            }
            // One lost segment holds up all that follow, for a round trip at least.
            Self::Via { carrier: Carrier::Relay(_), .. } => Duration::from_millis(130),
            Self::Mail(_) => Duration::from_secs(10),
        }
    }
}

/// How closely a path is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// It carries, and voice flows.
    Hot,
    /// It carries, nobody talks.
    Idle,
    /// Spare, while voice flows elsewhere.
    Spare,
    /// Spare in a quiet call.
    IdleSpare,
    /// One of several behind the best spare.
    Reserve,
    /// It was better than the carrying path when last asked: to be confirmed at once.
    Rival,
    /// The carrying path is in doubt: every path is asked at once.
    Alarm,
    /// Not needed as long as something better works.
    Asleep,
}

/// Probes of one path: CHALLENGE out, RESPONSE back.
#[derive(Default)]
pub struct Probes {
    /// Start of the current round of first tries.
    round: Option<Time>,
    tries: u32,
    asked: Option<Time>,
    /// When a packet of the peer's last came by it.
    heard: Option<Time>,
    /// When the peer last answered what came by it, if from elsewhere only.
    let_in: Option<Time>,
    waiting: Vec<([u8; 8], Time)>,
    answered: Option<Time>,
    /// Answers in a row since the path was last given up.
    streak: u32,
    srtt: Option<Duration>,
    var: Duration,
}

impl Probes {
    pub fn new(now: Time) -> Self {
        Self { round: Some(now), ..Self::default() }
    }

    /// First tries begin anew: the network may have changed. What was known stands until something else is.
    pub fn restart(&mut self, now: Time) {
        self.round = Some(now);
        self.tries = 0;
        self.asked = None;
    }

    /// A packet came by it. If we had nearly given up asking, the way may have opened just now.
    pub fn heard(&mut self, now: Time) {
        self.heard = Some(now);
        let slow = self.tries as usize >= FIRST_TRIES_MS.len();
        if self.streak == 0 && slow && self.asked.is_some_and(|at| now - at >= HEARD_RETRY) {
            self.restart(now);
        }
    }

    /// When to ask next.
    pub fn due(&self, watch: Watch) -> Option<Time> {
        if watch == Watch::Asleep {
            return None;
        }
        let Some(asked) = self.asked else { return self.round };
        if watch == Watch::Alarm {
            return Some(asked + ALARM);
        }
        if self.answered.is_none() || self.streak == 0 {
            return Some(match FIRST_TRIES_MS.get(self.tries as usize) {
                Some(ms) => self.round.unwrap_or(asked) + Duration::from_millis(*ms),
                None if self.let_in.is_some_and(|at| asked - at < LET_IN_LOST) => {
                    asked + every(Watch::IdleSpare)
                }
                None if self.tries < SLOW_AFTER => asked + RETRY,
                None => asked + RETRY_SLOW,
            });
        }
        if self.streak < SETTLED {
            return Some(asked + FIRST_SAMPLES);
        }
        Some(asked + every(watch))
    }

    /// A challenge with this token leaves now.
    pub fn ask(&mut self, now: Time, token: [u8; 8]) {
        self.asked = Some(now);
        self.tries = self.tries.saturating_add(1);
        self.waiting.retain(|(_, at)| now - *at < FORGET);
        if self.waiting.len() == MAX_WAITING {
            self.waiting.remove(0);
        }
        self.waiting.push((token, now));
    }

    /// When the challenge with this token left, if it is ours and not answered yet; now it is.
    pub fn spend(&mut self, token: [u8; 8]) -> Option<Time> {
        let at = self.waiting.iter().position(|(ours, _)| *ours == token)?;
        Some(self.waiting.remove(at).1)
    }

    /// It leads to the peer, whose packets come from elsewhere: to where ours come from. What we send keeps that way open.
    pub fn let_in(&mut self, now: Time) {
        self.let_in = Some(now);
    }

    /// The response to the challenge of then came, by whatever path.
    pub fn answer(&mut self, now: Time, asked: Time) {
        let rtt = now - asked;
        // RFC 6298's alpha 1/8 and beta 1/4 are for answers that follow each other closely.
        let age = self.answered.map_or(Duration::ZERO, |before| now - before).as_secs_f32();
        let alpha = (age / STALE.as_secs_f32()).clamp(0.125, 0.5);
        match self.srtt {
            None => (self.srtt, self.var) = (Some(rtt), rtt / 2),
            Some(srtt) => {
                let beta = alpha.max(0.25);
                self.var = self.var.mul_f32(1.0 - beta) + srtt.abs_diff(rtt).mul_f32(beta);
                self.srtt = Some(srtt.mul_f32(1.0 - alpha) + rtt.mul_f32(alpha));
            }
        }
        self.answered = Some(now);
        self.streak = self.streak.saturating_add(1);
    }

    /// It stopped answering: back to first tries, slowly.
    pub fn give_up(&mut self, now: Time) {
        self.streak = 0;
        self.round = Some(now);
        self.tries = FIRST_TRIES_MS.len() as u32;
        self.srtt = None;
    }

    /// It answered once, and has not for long.
    pub fn is_lost(&self, now: Time) -> bool {
        let patience = if self.streak < SETTLED { NEW_LOST } else { LOST };
        self.answered().is_some_and(|at| now - at >= patience)
    }

    /// All first tries went unanswered, or it stopped answering.
    pub fn is_given_up(&self) -> bool {
        self.streak == 0 && self.tries as usize >= FIRST_TRIES_MS.len()
    }

    /// An answer of the last seconds is missing.
    pub fn is_losing(&self, now: Time) -> bool {
        let late = self.srtt.unwrap_or_default() + 4 * self.var + LATE;
        self.waiting.iter().any(|(_, asked)| now - *asked >= late)
    }

    pub fn heard_at(&self) -> Option<Time> {
        self.heard
    }

    pub fn answered(&self) -> Option<Time> {
        self.answered.filter(|_| self.streak > 0)
    }

    pub fn srtt(&self) -> Option<Duration> {
        self.srtt
    }

    pub fn var(&self) -> Duration {
        self.var
    }
}

fn every(watch: Watch) -> Duration {
    match watch {
        Watch::Hot => Duration::from_millis(500),
        Watch::Spare => Duration::from_secs(2),
        // The shortest NAT lifetime on record is 15 s: two probes may be lost.
        Watch::Idle => Duration::from_secs(5),
        Watch::IdleSpare | Watch::Reserve => Duration::from_secs(6),
        Watch::Rival => FIRST_SAMPLES,
        Watch::Alarm | Watch::Asleep => ALARM,
    }
}

/// Both sides ask at these times after they learn of a path; the holes that punching needs are open together.
const FIRST_TRIES_MS: [u64; 7] = [0, 100, 300, 700, 1_500, 3_000, 5_000];
/// One that can send to us by a path that we cannot use makes us ask no more often than this.
const HEARD_RETRY: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(30);
const RETRY_SLOW: Duration = Duration::from_secs(60);
/// Three spare probes.
const LET_IN_LOST: Duration = Duration::from_secs(20);
/// Five minutes of `RETRY` behind the first tries.
const SLOW_AFTER: u32 = FIRST_TRIES_MS.len() as u32 + 10;
/// In doubt, an answer within a few of these decides.
const ALARM: Duration = Duration::from_millis(100);
/// A new path shows its quality quickly.
const FIRST_SAMPLES: Duration = Duration::from_millis(100);
/// Answers after which a path's round trip is known well enough to move to it.
const SETTLED: u32 = 3;
/// What was measured so long ago counts for nothing; a single answer for half at most.
const STALE: Duration = Duration::from_secs(8);
/// A new path is asked ten times a second; thirty in vain are enough.
const NEW_LOST: Duration = Duration::from_secs(3);
/// Four idle probes.
const LOST: Duration = Duration::from_secs(25);
/// A response later than this tells nothing of the path as it is now.
const FORGET: Duration = Duration::from_secs(5);
/// An answer that is held up for less is not lost.
const LATE: Duration = Duration::from_millis(200);
/// Alarm probes of `FORGET`, bounded.
const MAX_WAITING: usize = 50;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time::from_micros(n * 1_000)
    }

    #[test]
    fn a_silent_path_is_asked_often_then_seldom() {
        let mut probes = Probes::new(ms(0));
        let mut times = Vec::new();
        for n in 0..20u8 {
            let at = probes.due(Watch::Hot).unwrap_or_default();
            times.push((at - Time::ZERO).as_millis());
            probes.ask(at, [n; 8]);
        }
        assert_eq!(times[..8], [0, 100, 300, 700, 1_500, 3_000, 5_000, 35_000]);
        assert_eq!(times[19] - times[18], 60_000);
    }

    #[test]
    fn only_our_own_token_counts_and_only_once() {
        let mut probes = Probes::new(ms(0));
        probes.ask(ms(0), [1; 8]);
        assert!(probes.spend([2; 8]).is_none());
        let asked = probes.spend([1; 8]).unwrap();
        assert!(asked == ms(0) && probes.spend([1; 8]).is_none());
        probes.answer(ms(40), asked);
        assert_eq!(probes.srtt(), Some(Duration::from_millis(40)));
        assert_eq!(probes.due(Watch::Hot), Some(ms(100)));
    }
}
