//! Our place at one relay: asked for with a ticket, kept warm, asked for again when the relay forgot us.

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::RngCore;

use crate::crypto::keys::{Rng, Secret, mac16, same};
use crate::io::{Hop, Time};
use crate::protocol::member::Slot;
use crate::protocol::packet::{self, Bind, Bound, VERSION};

pub struct Binding {
    relay: Hop,
    body: [u8; 32],
    kb: Secret<32>,
    state: State,
}

enum State {
    Asking { nonce: [u8; 8], cookie: [u8; 16], tries: u32, due: Time },
    Bound { bind: u32, echo: u32, unanswered: u32, due: Time },
}

/// What a relay's packet changed.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// We have a place now; this is how the relay sees us.
    Bound {
        seen: SocketAddr,
    },
    Nothing,
    /// It answers nothing that we asked: drop and count.
    Unexpected,
}

impl Binding {
    pub fn new(relay: Hop, body: [u8; 32], kb: Secret<32>, now: Time, rng: &mut Rng) -> Self {
        Self { relay, body, kb, state: State::asking(now, rng) }
    }

    /// A ticket issued anew for the same relay: used from the next time that we have to ask.
    pub fn renew(&mut self, body: [u8; 32], kb: Secret<32>, now: Time, rng: &mut Rng) {
        (self.body, self.kb) = (body, kb);
        if let State::Asking { .. } = self.state {
            self.state = State::asking(now, rng);
        }
    }

    pub fn relay(&self) -> Hop {
        self.relay
    }

    pub fn is_bound(&self) -> bool {
        matches!(self.state, State::Bound { .. })
    }

    /// A member's packet, addressed to the place `to`; `None` while we have none ourselves.
    pub fn wrap(&self, to: Slot, inner: &[u8]) -> Option<Vec<u8>> {
        match self.state {
            State::Bound { bind, .. } => Some(packet::up(bind, to, inner)),
            State::Asking { .. } => None,
        }
    }

    /// Our own address may have changed: the relay must learn the new one.
    pub fn restart(&mut self, now: Time, rng: &mut Rng) {
        self.state = State::asking(now, rng);
    }

    /// What to send now, if anything.
    pub fn tick(&mut self, now: Time, rng: &mut Rng) -> Option<Vec<u8>> {
        if self.wake() > now {
            return None;
        }
        if let State::Bound { unanswered, .. } = self.state
            && unanswered >= KEEPS_LOST
        {
            self.state = State::asking(now, rng);
        }
        match &mut self.state {
            State::Asking { nonce, cookie, tries, due } => {
                *due =
                    now + RETRY_MS.get(*tries as usize).map_or(RETRY_SLOW, |ms| Duration::from_millis(*ms));
                *tries = tries.saturating_add(1);
                let mut bind =
                    Bind { version: VERSION, body: self.body, nonce: *nonce, cookie: *cookie, mac: [0; 16] };
                bind.mac = mac16(self.kb.as_bytes(), &[&bind.authenticated()]);
                Some(bind.packet())
            }
            State::Bound { bind, echo, unanswered, due } => {
                *echo = echo.wrapping_add(1);
                *due = now + if *unanswered == 0 { KEEP } else { KEEP_DOUBT };
                *unanswered += 1;
                Some(packet::keep(*bind, *echo))
            }
        }
    }

    pub fn wake(&self) -> Time {
        match self.state {
            State::Asking { due, .. } | State::Bound { due, .. } => due,
        }
    }

    /// The relay wants to see that we are where we say.
    pub fn retry(&mut self, now: Time, nonce: [u8; 8], cookie: [u8; 16]) -> News {
        match &mut self.state {
            State::Asking { nonce: ours, cookie: kept, due, tries } if *ours == nonce && *kept != cookie => {
                *kept = cookie;
                *tries = 0;
                *due = now;
                News::Nothing
            }
            _ => News::Unexpected,
        }
    }

    pub fn bound(&mut self, now: Time, bound: &Bound) -> News {
        let State::Asking { nonce, .. } = &self.state else { return News::Unexpected };
        let mac = mac16(self.kb.as_bytes(), &[&bound.authenticated()]);
        if *nonce != bound.nonce || !same(&mac, &bound.mac) {
            return News::Unexpected;
        }
        self.state = State::Bound { bind: bound.bind, echo: 0, unanswered: 0, due: now + KEEP };
        News::Bound { seen: bound.seen }
    }

    pub fn kept(&mut self, now: Time, answered: u32) -> News {
        match &mut self.state {
            State::Bound { echo, unanswered, due, .. } if *echo == answered && *unanswered > 0 => {
                *unanswered = 0;
                *due = now + KEEP;
                News::Nothing
            }
            _ => News::Unexpected,
        }
    }

    /// The relay does not know our place (any more): a restart, or a forged packet by one who saw our bind number.
    pub fn reset(&mut self, now: Time, forgotten: u32, rng: &mut Rng) -> News {
        match self.state {
            State::Bound { bind, .. } if bind == forgotten => {
                self.state = State::asking(now, rng);
                News::Nothing
            }
            _ => News::Unexpected,
        }
    }
}

impl State {
    fn asking(now: Time, rng: &mut Rng) -> Self {
        let mut nonce = [0; 8];
        rng.fill_bytes(&mut nonce);
        Self::Asking { nonce, cookie: [0; 16], tries: 0, due: now }
    }
}

/// UDP may be lost; the first seconds decide how soon friends hear each other.
const RETRY_MS: [u64; 6] = [250, 250, 500, 1_000, 2_000, 4_000];
const RETRY_SLOW: Duration = Duration::from_secs(10);
/// A third of the shortest NAT lifetime on record (15 s).
const KEEP: Duration = Duration::from_secs(5);
/// Once one went unanswered.
const KEEP_DOUBT: Duration = Duration::from_secs(1);
const KEEPS_LOST: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    fn binding(rng: &mut Rng) -> Binding {
        let relay = Hop::from(SocketAddr::from(([198, 51, 100, 1], 47_700)));
        Binding::new(relay, [1; 32], Secret::new([2; 32]), Time::ZERO, rng)
    }

    fn asked(bytes: &[u8]) -> Bind {
        match packet::Packet::parse(bytes) {
            Ok(packet::Packet::Bind(bind)) => bind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_an_authentic_answer_to_our_nonce_binds() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut binding = binding(&mut rng);
        let first = asked(&binding.tick(Time::ZERO, &mut rng).unwrap_or_default());
        assert_eq!(binding.retry(Time::ZERO, [0; 8], [9; 16]), News::Unexpected);
        assert_eq!(binding.retry(Time::ZERO, first.nonce, [9; 16]), News::Nothing);
        let second = asked(&binding.tick(Time::ZERO, &mut rng).unwrap_or_default());
        assert_eq!(second.cookie, [9; 16]);

        let seen = SocketAddr::from(([192, 0, 2, 1], 5_000));
        let slot = Slot::new(3).unwrap_or_else(|| unreachable!());
        let mut bound = Bound { nonce: second.nonce, bind: 77, slot, ttl: 60, seen, mac: [0; 16] };
        assert_eq!(binding.bound(Time::ZERO, &bound), News::Unexpected);
        bound.mac = mac16(&[2; 32], &[&bound.authenticated()]);
        assert_eq!(binding.bound(Time::ZERO, &bound), News::Bound { seen });
        assert!(binding.wrap(slot, &[0xD2]).is_some());
    }

    #[test]
    fn a_relay_that_forgot_or_fell_silent_is_asked_again() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut binding = binding(&mut rng);
        let place = || State::Bound { bind: 7, echo: 0, unanswered: 0, due: Time::ZERO };
        binding.state = place();
        assert_eq!(binding.reset(Time::ZERO, 8, &mut rng), News::Unexpected);
        assert_eq!(binding.reset(Time::ZERO, 7, &mut rng), News::Nothing);
        assert!(!binding.is_bound());

        binding.state = place();
        let mut now = Time::ZERO;
        for _ in 0..=KEEPS_LOST {
            now = binding.wake();
            binding.tick(now, &mut rng);
        }
        assert!(!binding.is_bound());
        assert!(now - Time::ZERO < Duration::from_secs(10));
    }
}
