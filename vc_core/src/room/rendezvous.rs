//! The connection to signaling: dialled, kept alive, dialled again for ever. Calls do not depend on it.

use std::time::Duration;

use rand_core::RngCore;

use crate::crypto::keys::Rng;
use crate::io::Time;

pub(crate) struct Rendezvous {
    state: State,
    /// Failed tries in a row.
    failures: u32,
}

enum State {
    Down {
        retry: Time,
    },
    Dialing {
        since: Time,
    },
    Up {
        ping: Time,
        heard: Time,
        /// It has answered our HELLO; it is asked once.
        greeted: bool,
        /// Our address changed, or the machine slept: since then nothing came.
        doubted: Option<Time>,
    },
    /// We are done with it.
    Closed,
}

/// What the connection needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Dial,
    Ping,
    /// It is dead without knowing it.
    Hang,
}

impl Rendezvous {
    pub(crate) fn new(now: Time) -> Self {
        Self { state: State::Down { retry: now }, failures: 0 }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    pub(crate) fn up(&mut self, now: Time) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Up { ping: now + PING, heard: now, greeted: false, doubted: None };
        }
    }

    /// The answer to our HELLO came. False if there was one already.
    pub(crate) fn greeted(&mut self) -> bool {
        match &mut self.state {
            State::Up { greeted, .. } => !std::mem::replace(greeted, true),
            State::Down { .. } | State::Dialing { .. } | State::Closed => false,
        }
    }

    /// Something came from the server.
    pub(crate) fn heard(&mut self, now: Time) {
        if let State::Up { heard, doubted, .. } = &mut self.state {
            (*heard, *doubted) = (now, None);
        }
    }

    /// The server knows us again. One that answers and refuses is not called in ever shorter turns.
    pub(crate) fn settled(&mut self) {
        self.failures = 0;
    }

    /// Not reachable, or broken off. True if it was up.
    pub(crate) fn down(&mut self, now: Time, rng: &mut Rng) -> bool {
        let was_up = self.is_up();
        if !matches!(self.state, State::Closed) {
            let wait = BACKOFF_MIN.saturating_mul(1 << self.failures.min(6)).min(BACKOFF_MAX);
            self.failures += 1;
            self.state = State::Down { retry: now + jittered(wait, rng) };
        }
        was_up
    }

    /// The network changed: no reason to wait, and a connection from an address that is no longer ours does not tell us
    /// that it is dead.
    pub(crate) fn hurry(&mut self, now: Time) {
        match &mut self.state {
            State::Down { retry } => *retry = now,
            State::Up { ping, doubted, .. } => {
                *ping = now;
                doubted.get_or_insert(now);
            }
            State::Dialing { .. } | State::Closed => {}
        }
    }

    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    pub(crate) fn tick(&mut self, now: Time) -> Option<Need> {
        match &mut self.state {
            State::Down { retry } if *retry <= now => {
                self.state = State::Dialing { since: now };
                Some(Need::Dial)
            }
            State::Dialing { since } if now - *since >= DIAL_LIMIT => {
                self.state = State::Down { retry: now + BACKOFF_MAX };
                Some(Need::Hang)
            }
            State::Up { heard, doubted, .. }
                if now - *heard >= DEAD || doubted.is_some_and(|since| now - since >= DOUBT) =>
            {
                self.state = State::Down { retry: now };
                Some(Need::Hang)
            }
            State::Up { ping, .. } if *ping <= now => {
                *ping = now + PING;
                Some(Need::Ping)
            }
            _ => None,
        }
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        match self.state {
            State::Down { retry } => Some(retry),
            State::Dialing { since } => Some(since + DIAL_LIMIT),
            State::Up { ping, heard, doubted, .. } => {
                let doubt = doubted.map(|since| since + DOUBT);
                doubt.into_iter().chain([ping, heard + DEAD]).min()
            }
            State::Closed => None,
        }
    }
}

/// 30 % either way: members of a room must not all return to a restarted server in the same instant.
fn jittered(wait: Duration, rng: &mut Rng) -> Duration {
    let share = 70 + rng.next_u32() % 61;
    wait * share / 100
}

const PING: Duration = Duration::from_secs(30);
/// Two pings unanswered.
const DEAD: Duration = Duration::from_secs(75);
/// A PING and its answer, lost twice on the way.
const DOUBT: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// A server that comes back is found within this, and a dead one is not hammered. With the jitter, below ten seconds.
const BACKOFF_MAX: Duration = Duration::from_secs(7);
/// Longer than the edge's own limits for connecting and shaking hands.
const DIAL_LIMIT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    #[test]
    fn it_is_dialled_for_ever_and_never_more_than_ten_seconds_apart() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut link = Rendezvous::new(Time::ZERO);
        let mut now = Time::ZERO;
        let mut waits = Vec::new();
        for _ in 0..50 {
            assert_eq!(link.tick(now), Some(Need::Dial));
            assert!(!link.down(now, &mut rng));
            let next = link.wake().unwrap_or(now);
            waits.push(next - now);
            now = next;
        }
        assert!(waits[0] < Duration::from_secs(1));
        assert!(waits.iter().all(|wait| *wait < Duration::from_secs(10)));
    }

    #[test]
    fn a_silent_server_is_hung_up_on() {
        let mut link = Rendezvous::new(Time::ZERO);
        link.tick(Time::ZERO);
        link.up(Time::ZERO);
        let mut needs = Vec::new();
        let mut now = Time::ZERO;
        while link.is_up() {
            now = link.wake().unwrap_or(now);
            needs.extend(link.tick(now));
        }
        assert_eq!(needs, [Need::Ping, Need::Ping, Need::Hang]);
    }

    #[test]
    fn after_a_change_of_network_the_connection_has_five_seconds_to_answer() {
        for answers in [true, false] {
            let mut link = Rendezvous::new(Time::ZERO);
            link.tick(Time::ZERO);
            link.up(Time::ZERO);
            let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
            link.hurry(at(10));
            assert_eq!(link.tick(at(10)), Some(Need::Ping));
            link.hurry(at(12));
            assert_eq!(link.tick(at(12)), Some(Need::Ping));
            if answers {
                link.heard(at(13));
            }
            assert_eq!(link.wake(), Some(at(if answers { 42 } else { 15 })));
            assert_eq!(link.tick(at(15)), (!answers).then_some(Need::Hang));
            assert_eq!(link.is_up(), answers);
        }
    }
}
