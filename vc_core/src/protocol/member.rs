//! Who a member is: the record that a doorkeeper vouches for.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

use bip39::Language;

use sha2::{Digest, Sha256};

use super::codec::{Malformed, Reader, Result, Wire, write_list, write_short_text};
use crate::crypto::keys::PublicKey;
use crate::crypto::sign::Signed;

/// The room's identity, random, known to members only.
pub type RoomId = [u8; 16];

/// First 8 bytes of SHA-256("vc1 member" || room id || static key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub [u8; 8]);

impl MemberId {
    pub fn of(room: &RoomId, key: &PublicKey) -> Self {
        let digest =
            Sha256::new().chain_update(b"vc1 member").chain_update(room).chain_update(key.0).finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Self(id)
    }

    /// A number for programs that want one (events, audio).
    pub fn as_u64(self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.as_u64())
    }
}

impl Wire for MemberId {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self(r.array()?))
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(&self.0);
    }
}

/// A member's place at the signaling server and the relays of its room, below `MAX_MEMBERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    pub fn new(n: u8) -> Option<Self> {
        (usize::from(n) < MAX_MEMBERS).then_some(Self(n))
    }

    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub fn bit(self) -> u16 {
        1 << self.0
    }

    pub fn all() -> impl Iterator<Item = Slot> {
        (0..MAX_MEMBERS as u8).map(Slot)
    }
}

impl Wire for Slot {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Slot::new(r.u8()?).ok_or(Malformed)
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.push(self.0);
    }
}

/// How an address was learnt, in ICE's words (RFC 8445).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An address of an interface.
    Host,
    /// As a server saw the packets of this socket.
    ServerReflexive,
    /// Mapped by the router on request (PCP, NAT-PMP, UPnP-IGD).
    PortMapped,
}

/// An address where a member may be reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    pub kind: Kind,
    pub addr: SocketAddr,
}

impl Wire for Candidate {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let kind = match r.u8()? {
            0 => Kind::Host,
            1 => Kind::ServerReflexive,
            2 => Kind::PortMapped,
            _ => return Err(Malformed),
        };
        Ok(Self { kind, addr: SocketAddr::read(r)? })
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.push(match self.kind {
            Kind::Host => 0,
            Kind::ServerReflexive => 1,
            Kind::PortMapped => 2,
        });
        self.addr.write(w);
    }
}

/// What a joiner says of itself, sealed under the code (A2), and what members tell each other of a third.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub key: PublicKey,
    /// Sanitised by every reader; at most `MAX_NAME` bytes on the wire.
    pub name: String,
    pub relay_only: bool,
    pub candidates: Vec<Candidate>,
}

impl Wire for Record {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let key = PublicKey(r.array()?);
        let name = r.short_text(MAX_NAME)?.to_owned();
        let relay_only = bool::read(r)?;
        let candidates = r.list(MAX_CANDIDATES)?;
        Ok(Self { key, name, relay_only, candidates })
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(&self.key.0);
        write_short_text(w, &self.name);
        self.relay_only.write(w);
        write_list(w, &self.candidates);
    }
}

/// What a joiner says in A2. Who was a member before shows it to a door that it knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub record: Record,
    /// Its signature of this very admission, by which any member that has heard of its key knows it.
    pub known: Option<Signed>,
}

impl Wire for Entry {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let record = Record::read(r)?;
        let known = if bool::read(r)? { Some(r.array()?) } else { None };
        Ok(Self { record, known })
    }

    fn write(&self, w: &mut Vec<u8>) {
        self.record.write(w);
        self.known.is_some().write(w);
        w.extend_from_slice(self.known.as_ref().map_or(&[], |mac| &mac[..]));
    }
}

/// A record with the place that the server gave its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct Seated {
    pub slot: Slot,
    pub record: Record,
}

impl Wire for Seated {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { slot: Slot::read(r)?, record: Record::read(r)? })
    }

    fn write(&self, w: &mut Vec<u8>) {
        self.slot.write(w);
        self.record.write(w);
    }
}

/// The secrets of both invite forms, shared among members so that any of them can answer the door.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Codes {
    /// The three words, joined by "-", with the number of the room in front of them.
    pub spoken: Option<(u32, String)>,
    /// Link form: its nameplate and its 128-bit secret.
    pub link: Option<([u8; 10], [u8; 16])>,
}

impl Wire for Codes {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let spoken = match bool::read(r)? {
            false => None,
            true => Some(spoken(r)?),
        };
        let link = match bool::read(r)? {
            false => None,
            true => Some((r.array()?, r.array()?)),
        };
        Ok(Self { spoken, link })
    }

    fn write(&self, w: &mut Vec<u8>) {
        self.spoken.is_some().write(w);
        if let Some((number, words)) = &self.spoken {
            w.extend_from_slice(&number.to_be_bytes());
            write_short_text(w, words);
        }
        self.link.is_some().write(w);
        if let Some((nameplate, secret)) = &self.link {
            w.extend_from_slice(nameplate);
            w.extend_from_slice(secret);
        }
    }
}

/// Only what our own code makes is a code: it is printed, and another member wrote it.
fn spoken(r: &mut Reader<'_>) -> Result<(u32, String)> {
    let number = r.u32()?;
    let words = r.short_text(MAX_WORDS)?;
    let known = |word: &str| Language::English.find_word(word).is_some();
    let ours = words.split('-').count() == WORDS && words.split('-').all(known);
    (ours && NUMBERS.contains(&number)).then(|| (number, words.to_owned())).ok_or(Malformed)
}

/// Friends, not conferences; a slot mask fits in 16 bits.
pub const MAX_MEMBERS: usize = 16;
/// Bounds what one member can make others probe.
pub const MAX_CANDIDATES: usize = 8;
/// Bytes of a name on the wire: 24 columns of most scripts.
pub const MAX_NAME: usize = 64;
/// 33 bits: within one budget of failures a lying server wins with probability below 2e-7 (docs/SECURITY.md).
pub const WORDS: usize = 3;
/// Five or six digits.
pub const NUMBERS: Range<u32> = 10_000..1_000_000;
/// Three words of at most eight letters and their dashes.
const MAX_WORDS: usize = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_we_could_not_have_made_is_malformed() {
        let codes = |number, words: &str| Codes { spoken: Some((number, words.into())), link: None }.encode();
        assert!(Codes::decode(&codes(48_213, "tiger-orbit-ocean")).is_ok());
        for words in
            ["\x1b[2J-orbit-ocean", "tiger-orbit", "tiger-orbit-ocean-ocean", "Tiger-orbit-ocean", "--"]
        {
            assert!(Codes::decode(&codes(48_213, words)).is_err(), "{words:?}");
        }
        assert!(Codes::decode(&codes(9_999, "tiger-orbit-ocean")).is_err());
    }

    #[test]
    fn a_slot_beyond_the_room_is_malformed() {
        assert_eq!(Slot::decode(&[16]), Err(Malformed));
        assert_eq!(Slot::decode(&[15]).unwrap().bit(), 0x8000);
    }
}
