//! What a client and the signaling server say to each other, inside the sealed stream (docs/PROTOCOL.md, "Signaling").
//! Both ends use these definitions. The server never interprets a blob.

use std::net::SocketAddr;

use super::codec::{Malformed, Reader, Result, Wire, write_list};
use super::member::{MemberId, Slot};
use super::removal::Removals;
use crate::crypto::keys::PublicKey;

/// Where a room is found. Public: it routes, it does not admit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nameplate {
    /// Five or six digits, to be said aloud.
    Spoken(u32),
    /// 80 random bits, for the link.
    Link([u8; 10]),
}

impl Nameplate {
    pub fn form(&self) -> Form {
        match self {
            Self::Spoken(_) => Form::Spoken,
            Self::Link(_) => Form::Link,
        }
    }
}

impl Wire for Nameplate {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        match r.u8()? {
            0 => Ok(Self::Spoken(r.u32()?)),
            1 => Ok(Self::Link(r.array()?)),
            _ => Err(Malformed),
        }
    }

    fn write(&self, w: &mut Vec<u8>) {
        match self {
            Self::Spoken(number) => {
                w.push(0);
                w.extend_from_slice(&number.to_be_bytes());
            }
            Self::Link(random) => {
                w.push(1);
                w.extend_from_slice(random);
            }
        }
    }
}

/// The form of a code that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Spoken,
    Link,
}

impl Wire for Form {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        match r.u8()? {
            0 => Ok(Self::Spoken),
            1 => Ok(Self::Link),
            _ => Err(Malformed),
        }
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.push(match self {
            Self::Spoken => 0,
            Self::Link => 1,
        });
    }
}

/// The other end of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    Slot(Slot),
    /// One that knows the nameplate and has not been admitted (yet).
    Visitor(u32),
}

impl Wire for Party {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        match r.u8()? {
            0 => Ok(Self::Slot(Slot::read(r)?)),
            1 => Ok(Self::Visitor(r.u32()?)),
            _ => Err(Malformed),
        }
    }

    fn write(&self, w: &mut Vec<u8>) {
        match self {
            Self::Slot(slot) => {
                w.push(0);
                slot.write(w);
            }
            Self::Visitor(visitor) => {
                w.push(1);
                w.extend_from_slice(&visitor.to_be_bytes());
            }
        }
    }
}

/// Proof of a place in a room, kept by its owner, so that a server without a database can restore the room after a
/// restart: room nonce 16, warden key 32, slot 1, member id 8 (zero: the creator), spoken number u32 (0: none), link
/// nameplate 10 (zero: none), expiry u32, mac 16.
pub type Reclaim = [u8; 91];

/// Where a server leads to the room from, as the proof says that it gave with a seat. Zeros are none.
pub fn plates_of(proof: &Reclaim) -> (Option<u32>, Option<[u8; 10]>) {
    let mut r = Reader::new(proof.get(PLATES_AT..).unwrap_or_default());
    let (spoken, link) = (r.u32().unwrap_or_default(), r.array().unwrap_or_default());
    (Some(spoken).filter(|number| *number != 0), Some(link).filter(|link| *link != [0; 10]))
}

/// A ticket as it travels to its owner: the relay's address, the ticket's body, the key to bind with.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    /// An unspecified IP address means: the host that you reach me at.
    pub relay: SocketAddr,
    pub body: [u8; 32],
    pub kb: [u8; 32],
}

impl Wire for Offer {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { relay: SocketAddr::read(r)?, body: r.array()?, kb: r.array()? })
    }

    fn write(&self, w: &mut Vec<u8>) {
        self.relay.write(w);
        w.extend_from_slice(&self.body);
        w.extend_from_slice(&self.kb);
    }
}

/// Client to server.
#[derive(Clone, PartialEq, Eq)]
pub enum ToServer {
    /// First on every connection.
    Hello {
        version: u16,
    },
    /// A new room with one nameplate of this form; the creator gets a slot. What is signed with the `warden` key evicts.
    Create {
        form: Form,
        warden: PublicKey,
    },
    /// Ask to be let in.
    Join {
        nameplate: Nameplate,
    },
    Mail {
        to: Party,
        blob: Vec<u8>,
    },
    /// By a member: this visitor gets a slot, and is `id` to the others. `taken`, a bit each, are those that members hold:
    /// a server that restarted does not know them until their owners are back.
    Admit {
        visitor: u32,
        taken: u16,
        id: MemberId,
    },
    /// By a member: fresh relay tickets for myself.
    Tickets,
    /// A member returns to its slot on a new connection.
    Reclaim {
        proof: Reclaim,
    },
    /// By a member: a fresh nameplate of this form; the old one of the form is dead.
    NewCode {
        form: Form,
    },
    Leave,
    Ping,
    /// By a member: these lose their seats and get none again, by the word of whoever made the room.
    Evict {
        removals: Removals,
    },
}

/// Server to client.
#[derive(Clone, PartialEq, Eq)]
pub enum ToClient {
    /// Answers `Hello`. `probes`: where to ask "how do you see me" by UDP; unspecified IP as in `Offer`.
    Hello {
        version: u16,
        probes: Vec<SocketAddr>,
    },
    /// Answers `Create`. Followed by `Seat` and `Tickets`.
    Created {
        room_nonce: [u8; 16],
        nameplate: Nameplate,
    },
    /// Answers `Join`; mail to the doorkeeper goes to `door`.
    Joined {
        room_nonce: [u8; 16],
        visitor: u32,
        door: Slot,
    },
    Mail {
        from: Party,
        blob: Vec<u8>,
    },
    /// Your place and its proof: after `Create`, after admission, after `Reclaim`, and when a nameplate changed.
    /// `room_nonce` is the one that the room's admissions are bound to.
    Seat {
        slot: Slot,
        proof: Reclaim,
    },
    Tickets {
        offers: Vec<Offer>,
    },
    /// To the doorkeeper: one asks to be let in, by this nameplate.
    Visitor {
        visitor: u32,
        nameplate: Nameplate,
    },
    /// To the member that admitted: the visitor's slot.
    Admitted {
        visitor: u32,
        slot: Slot,
    },
    /// To everyone in the room: who is connected here now, one bit per slot.
    Present {
        slots: u16,
    },
    /// Answers `NewCode`.
    Plate {
        nameplate: Nameplate,
    },
    Pong,
    Refused(Refusal),
    /// The last word of whoever made the room on who has to go: when it is new, to who comes back, and to whoever wants to
    /// be seated against it or seats somebody.
    Removed {
        removals: Removals,
    },
}

/// Why the server says no. A number, never text: the client owns every word it prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoSuchRoom,
    /// The room exists, nobody in it is connected to answer the door.
    NobodyHome,
    Full,
    TooFast,
    Version,
    /// A message that makes no sense in this state; a well-behaved client never sees it.
    OutOfTurn,
    /// The server has as many rooms or connections as it takes.
    Busy,
    BadProof,
}

impl Wire for Refusal {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(match r.u8()? {
            1 => Self::NoSuchRoom,
            2 => Self::NobodyHome,
            3 => Self::Full,
            4 => Self::TooFast,
            5 => Self::Version,
            6 => Self::OutOfTurn,
            7 => Self::Busy,
            8 => Self::BadProof,
            _ => return Err(Malformed),
        })
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.push(match self {
            Self::NoSuchRoom => 1,
            Self::NobodyHome => 2,
            Self::Full => 3,
            Self::TooFast => 4,
            Self::Version => 5,
            Self::OutOfTurn => 6,
            Self::Busy => 7,
            Self::BadProof => 8,
        });
    }
}

impl Wire for ToServer {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(match r.u8()? {
            0x01 => Self::Hello { version: r.u16()? },
            0x02 => Self::Create { form: Form::read(r)?, warden: PublicKey(r.array()?) },
            0x03 => Self::Join { nameplate: Nameplate::read(r)? },
            0x04 => Self::Mail { to: Party::read(r)?, blob: blob(r)? },
            0x05 => Self::Admit { visitor: r.u32()?, taken: r.u16()?, id: MemberId::read(r)? },
            0x06 => Self::Tickets,
            0x07 => Self::Reclaim { proof: r.array()? },
            0x08 => Self::NewCode { form: Form::read(r)? },
            0x09 => Self::Leave,
            0x0A => Self::Ping,
            0x0B => Self::Evict { removals: Removals::read(r)? },
            _ => return Err(Malformed),
        })
    }

    fn write(&self, w: &mut Vec<u8>) {
        match self {
            Self::Hello { version } => {
                w.push(0x01);
                w.extend_from_slice(&version.to_be_bytes());
            }
            Self::Create { form, warden } => {
                w.push(0x02);
                form.write(w);
                w.extend_from_slice(&warden.0);
            }
            Self::Join { nameplate } => {
                w.push(0x03);
                nameplate.write(w);
            }
            Self::Mail { to, blob } => {
                w.push(0x04);
                to.write(w);
                w.extend_from_slice(blob);
            }
            Self::Admit { visitor, taken, id } => {
                w.push(0x05);
                w.extend_from_slice(&visitor.to_be_bytes());
                w.extend_from_slice(&taken.to_be_bytes());
                id.write(w);
            }
            Self::Tickets => w.push(0x06),
            Self::Reclaim { proof } => {
                w.push(0x07);
                w.extend_from_slice(proof);
            }
            Self::NewCode { form } => {
                w.push(0x08);
                form.write(w);
            }
            Self::Leave => w.push(0x09),
            Self::Ping => w.push(0x0A),
            Self::Evict { removals } => {
                w.push(0x0B);
                removals.write(w);
            }
        }
    }
}

impl Wire for ToClient {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(match r.u8()? {
            0x81 => Self::Hello { version: r.u16()?, probes: r.list(MAX_PROBES)? },
            0x82 => Self::Created { room_nonce: r.array()?, nameplate: Nameplate::read(r)? },
            0x83 => Self::Joined { room_nonce: r.array()?, visitor: r.u32()?, door: Slot::read(r)? },
            0x84 => Self::Mail { from: Party::read(r)?, blob: blob(r)? },
            0x85 => Self::Seat { slot: Slot::read(r)?, proof: r.array()? },
            0x86 => Self::Tickets { offers: r.list(MAX_OFFERS)? },
            0x87 => Self::Visitor { visitor: r.u32()?, nameplate: Nameplate::read(r)? },
            0x88 => Self::Present { slots: r.u16()? },
            0x89 => Self::Plate { nameplate: Nameplate::read(r)? },
            0x8A => Self::Pong,
            0x8B => Self::Admitted { visitor: r.u32()?, slot: Slot::read(r)? },
            0x8C => Self::Removed { removals: Removals::read(r)? },
            0x8F => Self::Refused(Refusal::read(r)?),
            _ => return Err(Malformed),
        })
    }

    fn write(&self, w: &mut Vec<u8>) {
        match self {
            Self::Hello { version, probes } => {
                w.push(0x81);
                w.extend_from_slice(&version.to_be_bytes());
                write_list(w, probes);
            }
            Self::Created { room_nonce, nameplate } => {
                w.push(0x82);
                w.extend_from_slice(room_nonce);
                nameplate.write(w);
            }
            Self::Joined { room_nonce, visitor, door } => {
                w.push(0x83);
                w.extend_from_slice(room_nonce);
                w.extend_from_slice(&visitor.to_be_bytes());
                door.write(w);
            }
            Self::Mail { from, blob } => {
                w.push(0x84);
                from.write(w);
                w.extend_from_slice(blob);
            }
            Self::Seat { slot, proof } => {
                w.push(0x85);
                slot.write(w);
                w.extend_from_slice(proof);
            }
            Self::Tickets { offers } => {
                w.push(0x86);
                write_list(w, offers);
            }
            Self::Visitor { visitor, nameplate } => {
                w.push(0x87);
                w.extend_from_slice(&visitor.to_be_bytes());
                nameplate.write(w);
            }
            Self::Present { slots } => {
                w.push(0x88);
                w.extend_from_slice(&slots.to_be_bytes());
            }
            Self::Plate { nameplate } => {
                w.push(0x89);
                nameplate.write(w);
            }
            Self::Pong => w.push(0x8A),
            Self::Admitted { visitor, slot } => {
                w.push(0x8B);
                w.extend_from_slice(&visitor.to_be_bytes());
                slot.write(w);
            }
            Self::Refused(refusal) => {
                w.push(0x8F);
                refusal.write(w);
            }
            Self::Removed { removals } => {
                w.push(0x8C);
                removals.write(w);
            }
        }
    }
}

/// What a mail's blob holds. The server sees only its length.
#[derive(PartialEq, Eq)]
pub enum Mail<'a> {
    A1(&'a [u8]),
    B1(&'a [u8]),
    A2(&'a [u8]),
    B2(&'a [u8]),
    /// From the door, in place of B1 or B2. Not authenticated: worth a sentence to the user, never a decision.
    Turned(Turned),
    /// A handshake or transport packet, for pairs that have no other path yet.
    Packet(&'a [u8]),
}

/// Why the doorkeeper does not let a visitor in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    WrongCode,
    /// Too many wrong words: this code is dead.
    Locked,
    Full,
    Version,
    /// Too many tries in a short time; the same code works again in a while.
    Later,
    /// The members have locked the room.
    Closed,
}

impl<'a> Mail<'a> {
    pub fn parse(blob: &'a [u8]) -> Result<Self> {
        let (kind, body) = blob.split_first().ok_or(Malformed)?;
        Ok(match kind {
            1 => Self::A1(body),
            2 => Self::B1(body),
            3 => Self::A2(body),
            4 => Self::B2(body),
            5 => Self::Turned(match body {
                [1] => Turned::WrongCode,
                [2] => Turned::Locked,
                [3] => Turned::Full,
                [4] => Turned::Version,
                [5] => Turned::Later,
                [6] => Turned::Closed,
                _ => return Err(Malformed),
            }),
            6 => Self::Packet(body),
            _ => return Err(Malformed),
        })
    }

    pub fn blob(&self) -> Vec<u8> {
        let (kind, body): (u8, &[u8]) = match self {
            Self::A1(body) => (1, body),
            Self::B1(body) => (2, body),
            Self::A2(body) => (3, body),
            Self::B2(body) => (4, body),
            Self::Turned(Turned::WrongCode) => (5, &[1]),
            Self::Turned(Turned::Locked) => (5, &[2]),
            Self::Turned(Turned::Full) => (5, &[3]),
            Self::Turned(Turned::Version) => (5, &[4]),
            Self::Turned(Turned::Later) => (5, &[5]),
            Self::Turned(Turned::Closed) => (5, &[6]),
            Self::Packet(body) => (6, body),
        };
        let mut blob = Vec::with_capacity(1 + body.len());
        blob.push(kind);
        blob.extend_from_slice(body);
        blob
    }
}

fn blob(r: &mut Reader<'_>) -> Result<Vec<u8>> {
    let blob = r.rest();
    (blob.len() <= MAX_BLOB).then(|| blob.to_vec()).ok_or(Malformed)
}

/// Behind the room's nonce, the warden's key, the slot and the member's id.
const PLATES_AT: usize = 16 + 32 + 1 + 8;
pub const VERSION: u16 = 1;
/// A welcome of 16 members with full candidate lists is the largest thing that is mailed.
pub const MAX_BLOB: usize = 6_144;
/// Largest message: a mail with its header. On the wire 16 bytes of tag and 2 of length are added.
pub const MAX_MESSAGE: usize = MAX_BLOB + 16;
/// Two addresses tell whether a NAT maps per destination; more tell nothing new.
pub const MAX_PROBES: usize = 4;
/// Three relays, each with another way by TCP to port 443.
pub const MAX_OFFERS: usize = 6;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::crypto::keys::StaticKey;

    #[test]
    fn every_message_survives_its_encoding() {
        let slot = Slot::new(3).unwrap();
        let offer = Offer { relay: "0.0.0.0:47700".parse().unwrap(), body: [1; 32], kb: [2; 32] };
        let removals = Removals::with(&StaticKey::from_bytes([1; 32]), None, MemberId([2; 8]));
        for message in [
            ToServer::Hello { version: 1 },
            ToServer::Create { form: Form::Link, warden: PublicKey([3; 32]) },
            ToServer::Join { nameplate: Nameplate::Spoken(48213) },
            ToServer::Mail { to: Party::Visitor(9), blob: vec![1, 2, 3] },
            ToServer::Admit { visitor: 9, taken: 0x8001, id: MemberId([4; 8]) },
            ToServer::Tickets,
            ToServer::Reclaim { proof: [5; 91] },
            ToServer::NewCode { form: Form::Spoken },
            ToServer::Leave,
            ToServer::Ping,
            ToServer::Evict { removals: removals.clone() },
        ] {
            assert!(ToServer::decode(&message.encode()).unwrap() == message);
        }
        for message in [
            ToClient::Hello { version: 1, probes: vec!["[::]:1".parse().unwrap()] },
            ToClient::Created { room_nonce: [1; 16], nameplate: Nameplate::Link([2; 10]) },
            ToClient::Joined { room_nonce: [1; 16], visitor: 7, door: slot },
            ToClient::Mail { from: Party::Slot(slot), blob: vec![] },
            ToClient::Seat { slot, proof: [5; 91] },
            ToClient::Tickets { offers: vec![offer; MAX_OFFERS] },
            ToClient::Visitor { visitor: 1, nameplate: Nameplate::Spoken(10000) },
            ToClient::Admitted { visitor: 1, slot },
            ToClient::Present { slots: 0xffff },
            ToClient::Plate { nameplate: Nameplate::Spoken(99999) },
            ToClient::Pong,
            ToClient::Refused(Refusal::BadProof),
            ToClient::Removed { removals },
        ] {
            assert!(ToClient::decode(&message.encode()).unwrap() == message);
        }
    }

    #[test]
    fn an_unknown_type_an_extra_byte_and_an_oversized_blob_are_malformed() {
        assert!(ToServer::decode(&[0x0C]).is_err());
        assert!(ToServer::decode(&[0x0A, 0]).is_err());
        assert!(ToClient::decode(&[0x86, 4]).is_err());
        let mail = ToServer::Mail { to: Party::Visitor(1), blob: vec![0; MAX_BLOB + 1] };
        assert!(ToServer::decode(&mail.encode()).is_err());
    }

    #[test]
    fn mail_kinds_round_trip() {
        for mail in [Mail::A1(&[1]), Mail::B1(&[]), Mail::A2(&[2]), Mail::B2(&[3]), Mail::Packet(&[4])] {
            assert!(Mail::parse(&mail.blob()) == Ok(mail));
        }
        assert!(Mail::parse(&[5, 2]) == Ok(Mail::Turned(Turned::Locked)));
        assert!(Mail::parse(&[5, 9]).is_err());
        assert!(Mail::parse(&[]).is_err());
    }
}
