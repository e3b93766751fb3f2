//! Relay tickets without signatures: a relay recomputes a ticket's key from its body, so it keeps no list of them.

use super::keys::{Secret, kdf};

/// What signaling and one relay share; stolen, it opens that relay only. A forwarding member makes its own.
#[derive(Clone)]
pub struct RelayKey(Secret<32>);

impl RelayKey {
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    pub fn mint(&self, body: &TicketBody) -> Ticket {
        let body = body.encode();
        Ticket { kb: self.bind_key(&body), body }
    }

    /// The key a bind with this body must prove. It says nothing of the body's sense or age: decode it as well.
    pub fn bind_key(&self, body: &[u8; 32]) -> Secret<32> {
        kdf(self.0.as_bytes(), "bind", body)
    }
}

/// Given to a member inside an encrypted channel; the body alone, copied from the wire, binds nothing.
#[derive(Clone)]
pub struct Ticket {
    pub body: [u8; 32],
    pub kb: Secret<32>,
}

/// What a ticket allows: one slot of one room on one relay, for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketBody {
    pub relay: [u8; 4],
    /// Random per room, unrelated to its nameplate.
    pub room: [u8; 8],
    pub slot: u8,
    /// How many slots the room has, 1 to 16.
    pub slots: u8,
    /// Names a quota; its meaning is the relay's.
    pub class: u8,
    /// Unix seconds.
    pub not_after: u32,
    pub serial: [u8; 8],
}

impl TicketBody {
    /// `relay 4 | room 8 | slot | slots | class | 0 | not_after u32 | serial 8 | 0000`, big-endian.
    pub fn encode(&self) -> [u8; 32] {
        let mut body = [0; 32];
        body[..4].copy_from_slice(&self.relay);
        body[4..12].copy_from_slice(&self.room);
        body[12..15].copy_from_slice(&[self.slot, self.slots, self.class]);
        body[16..20].copy_from_slice(&self.not_after.to_be_bytes());
        body[20..28].copy_from_slice(&self.serial);
        body
    }

    /// `None` if a reserved byte is set or the slot is not one of the room's. An encoding is unique.
    pub fn decode(body: &[u8; 32]) -> Option<Self> {
        let (relay, rest) = body.split_first_chunk()?;
        let (room, rest) = rest.split_first_chunk()?;
        let (&[slot, slots, class, zero], rest) = rest.split_first_chunk()?;
        let (not_after, rest) = rest.split_first_chunk()?;
        let (serial, zeros) = rest.split_first_chunk()?;
        let sound = zero == 0 && zeros == [0; 4] && slots <= MAX_SLOTS && slot < slots;
        let not_after = u32::from_be_bytes(*not_after);
        sound.then_some(Self { relay: *relay, room: *room, slot, slots, class, not_after, serial: *serial })
    }
}

/// A room's size limit; a presence mask of slots is 16 bits.
const MAX_SLOTS: u8 = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: TicketBody = TicketBody {
        relay: [1; 4],
        room: [2; 8],
        slot: 3,
        slots: 16,
        class: 4,
        not_after: 5,
        serial: [6; 8],
    };

    #[test]
    fn reserved_bytes_and_impossible_slots_are_refused() {
        for (at, value) in [(15, 1), (28, 1), (29, 1), (30, 1), (31, 1), (12, 16), (13, 17), (13, 3), (13, 0)]
        {
            let mut body = BODY.encode();
            assert!(TicketBody::decode(&body).unwrap() == BODY);
            body[at] = value;
            assert!(TicketBody::decode(&body).is_none());
        }
    }

    #[test]
    fn every_byte_of_the_body_and_the_relay_key_change_the_bind_key() {
        let key = RelayKey::new(Secret::new([9; 32]));
        let ticket = key.mint(&BODY);
        for at in 0..32 {
            let mut body = ticket.body;
            body[at] ^= 1;
            assert_ne!(key.bind_key(&body).as_bytes(), ticket.kb.as_bytes());
        }
        let other = RelayKey::new(Secret::new([8; 32]));
        assert_ne!(other.bind_key(&ticket.body).as_bytes(), ticket.kb.as_bytes());
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(mut body: [u8; 32], slot in 0u8..20, slots in 0u8..20) {
            (body[12], body[13], body[15]) = (slot, slots, 0);
            body[28..].fill(0);
            let decoded = TicketBody::decode(&body);
            prop_assert_eq!(decoded.is_some(), slot < slots && slots <= 16);
            if let Some(decoded) = decoded {
                prop_assert_eq!(decoded.encode(), body);
            }
        }
    }
}
