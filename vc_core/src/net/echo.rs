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
    tries: u32,
    due: Option<Time>,
    seen: Option<SocketAddr>,
}

impl Echo {
    pub fn new(server: SocketAddr, now: Time, rng: &mut Rng) -> Self {
        let mut nonce = [0; 8];
        rng.fill_bytes(&mut nonce);
        Self { server, nonce, tries: 0, due: Some(now), seen: None }
    }

    /// Ask again: our address may have changed. The old answer stands until a new one comes.
    pub fn restart(&mut self, now: Time) {
        self.tries = 0;
        self.due = Some(now);
    }

    pub fn tick(&mut self, now: Time) -> Option<(SocketAddr, Vec<u8>)> {
        if self.due? > now {
            return None;
        }
        self.tries += 1;
        self.due = (self.tries < TRIES).then(|| now + RETRY);
        Some((self.server, packet::probe(self.nonce)))
    }

    /// True if it answers our question.
    pub fn answer(&mut self, from: SocketAddr, nonce: [u8; 8], seen: SocketAddr) -> bool {
        if from != self.server || nonce != self.nonce {
            return false;
        }
        self.due = None;
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
        self.due
    }
}

const TRIES: u32 = 4;
const RETRY: Duration = Duration::from_millis(500);
