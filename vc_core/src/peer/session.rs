//! The sealed sessions with one peer: the one in use, the one before it, the one about to replace it.

use std::time::Duration;

use crate::crypto::noise::{Drop, Opener, Sealer};
use crate::io::Time;
use crate::protocol::packet::{TRANSPORT_HEADER, transport_header};

/// One Noise transport, both directions.
pub struct Session {
    /// Our index: what the peer writes on its packets.
    local: u32,
    /// The peer's index: what we write on ours.
    remote: u32,
    sealer: Sealer,
    opener: Opener,
    born: Time,
}

#[derive(Default)]
pub struct Sessions {
    /// Seals and opens.
    current: Option<Session>,
    /// Ours as responder, until the peer's first packet proves that it has it too.
    next: Option<Session>,
    /// Opens only, for packets under way.
    previous: Option<(Session, Time)>,
}

impl Session {
    pub fn new(local: u32, remote: u32, keys: (Sealer, Opener), now: Time) -> Self {
        Self { local, remote, sealer: keys.0, opener: keys.1, born: now }
    }

    fn seal(&mut self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let counter = self.sealer.next()?;
        let mut packet =
            Vec::with_capacity(TRANSPORT_HEADER + plaintext.len() + crate::protocol::packet::TAG);
        packet.extend_from_slice(&transport_header(self.remote, counter.low()));
        packet.extend_from_slice(plaintext);
        self.sealer.seal(counter, &mut packet, TRANSPORT_HEADER);
        Some(packet)
    }
}

impl Sessions {
    /// As initiator: the reply proves that the peer has it. In use at once.
    pub fn adopt(&mut self, session: Session, now: Time) {
        self.next = None;
        self.retire(now);
        self.current = Some(session);
    }

    /// As responder: opens, and replaces the current one with the first packet that comes.
    pub fn expect(&mut self, session: Session) {
        self.next = Some(session);
    }

    pub fn owns(&self, index: u32) -> bool {
        let previous = self.previous.as_ref().map(|(session, _)| session);
        [self.current.as_ref(), self.next.as_ref(), previous].into_iter().flatten().any(|s| s.local == index)
    }

    /// Opens a packet addressed to `index`; the plaintext is a part of `packet`.
    pub fn open<'p>(
        &mut self,
        now: Time,
        index: u32,
        low: u32,
        packet: &'p mut [u8],
    ) -> Result<&'p [u8], Drop> {
        if self.next.as_ref().is_some_and(|next| next.local == index) {
            return self.promote(now, low, packet);
        }
        let session = match (&mut self.current, &mut self.previous) {
            (Some(current), _) if current.local == index => current,
            (_, Some((previous, _))) if previous.local == index => previous,
            _ => return Err(Drop::Forged),
        };
        session.opener.open(low, packet, TRANSPORT_HEADER)
    }

    /// `None` without a usable session.
    pub fn seal(&mut self, plaintext: &[u8]) -> Option<Vec<u8>> {
        self.current.as_mut()?.seal(plaintext)
    }

    pub fn can_seal(&self) -> bool {
        self.current.is_some()
    }

    /// Time for the initiator to shake hands again.
    pub fn stale(&self, now: Time) -> bool {
        self.current.as_ref().is_some_and(|s| now - s.born >= REKEY_AGE || s.sealer.sent() >= REKEY_PACKETS)
    }

    /// Drops what is too old to be trusted with anything more.
    pub fn expire(&mut self, now: Time) {
        if self.previous.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.previous = None;
        }
        if self.current.as_ref().is_some_and(|s| now - s.born >= HARD_STOP) {
            self.current = None;
        }
        if self.next.as_ref().is_some_and(|s| now - s.born >= HARD_STOP) {
            self.next = None;
        }
    }

    pub fn wake(&self) -> Option<Time> {
        let previous = self.previous.as_ref().map(|(_, until)| *until);
        let current = self.current.as_ref().map(|s| s.born + HARD_STOP);
        let next = self.next.as_ref().map(|s| s.born + HARD_STOP);
        [previous, current, next].into_iter().flatten().min()
    }

    /// When `stale` becomes true by age.
    pub fn rekey_at(&self) -> Option<Time> {
        self.current.as_ref().map(|s| s.born + REKEY_AGE)
    }

    fn promote<'p>(&mut self, now: Time, low: u32, packet: &'p mut [u8]) -> Result<&'p [u8], Drop> {
        let Some(mut next) = self.next.take() else { return Err(Drop::Forged) };
        match next.opener.open(low, packet, TRANSPORT_HEADER) {
            Ok(plaintext) => {
                self.retire(now);
                self.current = Some(next);
                Ok(plaintext)
            }
            Err(drop) => {
                self.next = Some(next);
                Err(drop)
            }
        }
    }

    fn retire(&mut self, now: Time) {
        if let Some(current) = self.current.take() {
            self.previous = Some((current, now + LINGER));
        }
    }
}

/// As WireGuard in spirit; longer, because a room stay is hours, not days.
const REKEY_AGE: Duration = Duration::from_secs(600);
/// Far below the counter's end, which the nonce must never reach.
const REKEY_PACKETS: u64 = 1 << 31;
/// A session that could not be replaced by then is not used any more.
const HARD_STOP: Duration = Duration::from_secs(900);
/// Longer than any packet travels, on any path.
const LINGER: Duration = Duration::from_secs(60);
