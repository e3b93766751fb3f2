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
    Asking { tries: u32, due: Option<Time> },
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
        *tries += 1;
        *due = (*tries < TRIES).then(|| now + RETRY);
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

    pub fn wake(&self) -> Option<Time> {
        match self.state {
            State::Asking { due, .. } => due,
            State::Answered => None,
        }
    }
}

const TRIES: u32 = 4;
const RETRY: Duration = Duration::from_millis(500);
