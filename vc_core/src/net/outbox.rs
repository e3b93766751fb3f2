//! What waits for a slow TCP connection. Old voice is worth nothing, so it goes first.

use std::collections::VecDeque;

use crate::protocol::packet::Packet;

#[derive(Default)]
pub struct Outbox(VecDeque<Vec<u8>>);

impl Outbox {
    /// Keeps the packet; says whether that cost one, itself perhaps. Sealed packets are lost first, the oldest of
    /// them; the engine repeats what matters in them.
    pub fn push(&mut self, packet: &[u8]) -> bool {
        let full = self.0.len() >= ROOM;
        if full {
            match self.0.iter().position(|waiting| is_media(waiting)) {
                Some(oldest) => drop(self.0.remove(oldest)),
                None => return true,
            }
        }
        self.0.push_back(packet.to_vec());
        full
    }

    /// The next to send.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.0.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_media(packet: &[u8]) -> bool {
    match Packet::parse(packet) {
        Ok(Packet::Up { inner, .. } | Packet::Down { inner, .. }) => is_media(inner),
        Ok(packet) => matches!(packet, Packet::Transport { .. }),
        Err(_) => false,
    }
}

/// 400 ms of one voice: what the path does not take in that time comes too late.
const ROOM: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::member::Slot;
    use crate::protocol::packet::{TAG, TRANSPORT_HEADER, down, kept, transport_header};

    fn voice(n: u32) -> Vec<u8> {
        let sealed = [&transport_header(1, n)[..], &[0; TAG + 1]].concat();
        assert!(sealed.len() > TRANSPORT_HEADER);
        Slot::new(2).map(|slot| down(slot, &sealed)).unwrap_or_default()
    }

    #[test]
    fn a_full_one_gives_up_its_oldest_voice_and_keeps_what_binds() {
        let mut outbox = Outbox::default();
        assert!(!outbox.push(&kept(1, 1)));
        for n in 1..ROOM as u32 {
            assert!(!outbox.push(&voice(n)));
        }
        assert!(outbox.push(&voice(99)) && outbox.push(&kept(2, 2)));
        assert_eq!(outbox.pop(), Some(kept(1, 1)));
        assert_eq!(outbox.pop(), Some(voice(3)));
        let rest: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(rest.len(), ROOM - 2);
        assert!(rest.ends_with(&[voice(99), kept(2, 2)]));
    }

    #[test]
    fn one_full_of_what_binds_takes_no_more() {
        let mut outbox = Outbox::default();
        for n in 0..ROOM as u32 {
            assert!(!outbox.push(&kept(n, 0)));
        }
        assert!(outbox.push(&voice(1)) && outbox.push(&kept(99, 0)));
        assert_eq!(outbox.pop(), Some(kept(0, 0)));
        assert_eq!(std::iter::from_fn(|| outbox.pop()).count(), ROOM - 1);
    }
}
