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
    seen: Option<SocketAddr>,
}

enum State {
    Asking { tries: usize, due: Option<Time> },
    Answered,
}

impl Echo {
    pub fn new(server: SocketAddr, now: Time, rng: &mut Rng) -> Self {
        let mut nonce = [0; 8];
        rng.fill_bytes(&mut nonce);
        Self { server, nonce, state: State::Asking { tries: 0, due: Some(now) }, seen: None }
    }

    /// Ask again: our address may have changed. The old answer stands until a new one comes.
    pub fn restart(&mut self, now: Time) {
        self.state = State::Asking { tries: 0, due: Some(now) };
    }

    pub fn tick(&mut self, now: Time) -> Option<(SocketAddr, Vec<u8>)> {
        let State::Asking { tries, due } = &mut self.state else { return None };
        if (*due)? > now {
            return None;
        }
        *due = RETRY_MS.get(*tries).map(|ms| now + Duration::from_millis(*ms));
        *tries += 1;
        Some((self.server, packet::probe(self.nonce)))
    }

    /// True if it answers our question, which it does once: what follows would only steer our friends' probes.
    pub fn answer(&mut self, from: SocketAddr, nonce: [u8; 8], seen: SocketAddr) -> bool {
        if from != self.server || nonce != self.nonce || matches!(self.state, State::Answered) {
            return false;
        }
        self.state = State::Answered;
        self.seen = Some(seen);
        true
    }

    pub fn server(&self) -> SocketAddr {
        self.server
    }

    pub fn seen(&self) -> Option<SocketAddr> {
        self.seen
    }

    /// What it saw in this network: not before a `restart`.
    pub fn seen_lately(&self) -> Option<SocketAddr> {
        self.seen.filter(|_| matches!(self.state, State::Answered))
    }

    pub fn wake(&self) -> Option<Time> {
        match self.state {
            State::Asking { due, .. } => due,
            State::Answered => None,
        }
    }
}

/// The answer is awaited by friends; a round trip across an ocean comes first.
const RETRY_MS: [u64; 5] = [250, 250, 500, 1_000, 2_000];
