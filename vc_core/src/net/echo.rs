//! "How do you see me?": asks a server by UDP, from the very socket of the call, for our server-reflexive address.

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::RngCore;

use crate::crypto::keys::Rng;
use crate::io::Time;
use crate::protocol::packet;

/// One question to one server.
pub struct Echo {
    server: SocketAddr,
    nonce: [u8; 8],
    state: State,
    /// What it saw last, and when it said so.
    seen: Option<(SocketAddr, Time)>,
}

enum State {
    Asking { tries: usize, due: Time },
    Answered,
}

impl Echo {
    pub fn new(server: SocketAddr, now: Time, rng: &mut Rng) -> Self {
        let mut nonce = [0; 8];
        rng.fill_bytes(&mut nonce);
        Self { server, nonce, state: State::Asking { tries: 0, due: now }, seen: None }
    }

    /// Ask again: our address may have changed. The old answer stands until a new one comes; one that is still under way
    /// is no news.
    pub fn restart(&mut self, now: Time) {
        self.nonce = u64::from_be_bytes(self.nonce).wrapping_add(1).to_be_bytes();
        self.state = State::Asking { tries: 0, due: now };
    }

    pub fn tick(&mut self, now: Time) -> Option<(SocketAddr, Vec<u8>)> {
        let State::Asking { tries, due } = &mut self.state else { return None };
        if *due > now {
            return None;
        }
        let pause = RETRY_MS.get(*tries).map_or(RETRY_SLOW, |ms| Duration::from_millis(*ms));
        *due = now + pause;
        *tries = tries.saturating_add(1);
        Some((self.server, packet::probe(self.nonce)))
    }

    /// True if it answers our question, which it does once: what follows would only steer our friends' probes.
    pub fn answer(&mut self, now: Time, from: SocketAddr, nonce: [u8; 8], seen: SocketAddr) -> bool {
        if from != self.server || nonce != self.nonce || matches!(self.state, State::Answered) {
            return false;
        }
        self.state = State::Answered;
        self.seen = Some((seen, now));
        true
    }

    pub fn server(&self) -> SocketAddr {
        self.server
    }

    pub fn seen(&self) -> Option<(SocketAddr, Time)> {
        self.seen
    }

    /// What it saw in this network: not before a `restart`.
    pub fn seen_lately(&self) -> Option<SocketAddr> {
        self.seen.filter(|_| matches!(self.state, State::Answered)).map(|(seen, _)| seen)
    }

    /// Its first answer may still come.
    pub fn is_awaited(&self) -> bool {
        matches!(self.state, State::Asking { tries, .. } if tries <= RETRY_MS.len())
    }

    pub fn wake(&self) -> Option<Time> {
        match self.state {
            State::Asking { due, .. } => Some(due),
            State::Answered => None,
        }
    }
}

/// The answer is awaited by friends; a round trip across an ocean comes first.
const RETRY_MS: [u64; 5] = [250, 250, 500, 1_000, 2_000];
/// A network may open late, and nobody says so.
const RETRY_SLOW: Duration = Duration::from_secs(30);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn an_answer_from_before_a_change_is_no_news() {
        let (server, seen) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        let mut echo = Echo::new(server, Time::ZERO, &mut Rng::from_seed([1; 32]));
        let ask = |echo: &mut Echo| {
            let (_, question) = echo.tick(Time::ZERO).unwrap();
            question[1..9].try_into().unwrap()
        };
        let before = ask(&mut echo);
        echo.restart(Time::ZERO);
        assert!(!echo.answer(Time::ZERO, server, before, seen) && echo.seen().is_none());
        let nonce = ask(&mut echo);
        assert!(echo.answer(Time::ZERO, server, nonce, seen));
    }

    #[test]
    fn a_server_that_is_silent_is_asked_again_every_half_minute() {
        let mut echo = Echo::new("192.0.2.1:1".parse().unwrap(), Time::ZERO, &mut Rng::from_seed([1; 32]));
        let mut asked = 0;
        while let Some(at) = echo.wake().filter(|at| *at - Time::ZERO < Duration::from_secs(124)) {
            assert!(echo.tick(at).is_some());
            asked += 1;
        }
        assert_eq!(asked, 6 + 3);
    }
}
