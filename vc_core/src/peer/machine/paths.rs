//! What the room arranges about the ways to a peer.

use super::{Peer, Scene};
use crate::io::{Hop, Time};
use crate::net::path::Carrier;
use crate::protocol::control::State;

impl Peer {
    /// By what direct path we reach it, if by any.
    pub fn direct(&self) -> Option<Hop> {
        self.ladder.direct()
    }

    /// It proved that it is there.
    pub fn is_proven(&self, hop: Hop) -> bool {
        self.ladder.is_proven(hop)
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

    /// A third party carries no more.
    pub fn abandon(&mut self, scene: &mut Scene, carrier: Carrier) {
        if let Some(path) = self.ladder.abandon(scene.now, carrier) {
            self.moved(scene, path);
        }
    }
}
