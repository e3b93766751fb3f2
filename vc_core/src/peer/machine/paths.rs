//! What the room arranges about the ways to a peer.

use std::net::SocketAddr;

use super::{Peer, Scene};
use crate::io::{Hop, Time};
use crate::net::forward::rate::Rate;
use crate::net::path::{Carrier, Path};
use crate::protocol::control::State;
use crate::protocol::member::Kind;

impl Peer {
    /// By what direct path we reach it, if by any.
    pub fn direct(&self) -> Option<Hop> {
        self.ladder.direct()
    }

    /// It proved that it is there.
    pub fn is_proven(&self, hop: Hop) -> bool {
        self.ladder.is_proven(hop)
    }

    /// It proved that it is at this address, if perhaps at another port.
    pub fn is_proven_beside(&self, hop: Hop) -> bool {
        self.ladder.is_proven_beside(hop)
    }

    /// It is looked for there.
    pub fn is_sought(&self, hop: Hop) -> bool {
        self.ladder.knows(&Path::Direct(hop))
    }

    /// Another friend is there.
    pub fn give_away(&mut self, scene: &mut Scene, hop: Hop) {
        if let Some(path) = self.ladder.give_away(scene.now, hop) {
            self.moved(scene, path);
        }
    }

    /// Where servers saw it last.
    pub fn outside(&self) -> Option<SocketAddr> {
        let mut seen = self.candidates().iter().filter(|candidate| candidate.kind == Kind::ServerReflexive);
        seen.next().map(|candidate| candidate.addr)
    }

    /// What comes by this path is its own, as far as can be told without opening it: it answered there, said that it is
    /// there, or has that seat.
    pub fn is_source(&self, path: Path) -> bool {
        match path {
            Path::Direct(hop) => {
                self.is_proven(hop) || self.candidates().iter().any(|candidate| candidate.addr == hop.addr)
            }
            Path::Via { slot, .. } | Path::Mail(slot) => slot == self.slot(),
        }
    }

    /// Whether one more handshake that seems to be its own may be looked at.
    pub fn may_knock(&mut self, now: Time) -> bool {
        self.knocks.take(now, KNOCK_RATE, 1)
    }

    /// None of its addresses may reach us, nor ours it.
    pub fn is_relay_only(&self) -> bool {
        self.seated.record.relay_only
    }

    /// What it last said of itself.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// A third party is reached in another way than before.
    pub fn reroute(&mut self, now: Time, from: Carrier, to: Carrier) {
        self.ladder.reroute(now, from, to);
    }

    /// A third party is out of reach for the moment.
    pub fn interrupt(&mut self, scene: &mut Scene, carrier: Carrier) {
        if let Some(path) = self.ladder.interrupt(scene.now, carrier) {
            self.moved(scene, path);
        }
    }

    /// A third party carries no more.
    pub fn abandon(&mut self, scene: &mut Scene, carrier: Carrier) {
        if let Some(path) = self.ladder.abandon(scene.now, carrier) {
            self.moved(scene, path);
        }
    }
}

/// An attempt's copies by four paths, then those of the next.
const KNOCK_RATE: Rate = Rate::per_second(10, 40);
