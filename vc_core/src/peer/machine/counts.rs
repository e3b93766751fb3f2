//! What both ends count on: the numbers of messages and handshakes. Kept while nothing else of a friend is, since it may
//! come back under the same key, and goes on counting.

use super::{Peer, Role};
use crate::peer::stream::Stream;

pub struct Counts {
    role: Role,
    streams: [Stream; 2],
}

impl Peer {
    /// It is given up. `None` if nothing was ever said.
    pub fn counts(self) -> Option<Counts> {
        let used = self.streams.iter().any(Stream::is_used);
        let role = match self.role {
            Role::Initiator(initiator) => Role::Initiator(initiator.at_rest()),
            responder @ Role::Responder(_) => responder,
        };
        used.then_some(Counts { role, streams: self.streams })
    }

    /// It was given up before.
    pub fn resume(&mut self, counts: Counts) {
        (self.role, self.streams) = (counts.role, counts.streams);
    }
}
