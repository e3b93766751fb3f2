//! What a joiner gets who proved the code.

use super::codec::{Reader, Result, Wire, write_list};
use super::entrance::Entrance;
use super::member::{MAX_MEMBERS, MemberId, RoomId, Seated};
use super::removal::{MAX_GONE, Removals};
use crate::crypto::keys::PublicKey;

/// What the doorkeeper gives (B2). `members` includes the doorkeeper itself, first.
#[derive(Clone)]
pub struct Welcome {
    pub room: RoomId,
    /// The room secret R: source of the gate key and of every pair's psk.
    pub secret: [u8; 32],
    pub creator: MemberId,
    /// The creator's key for removals.
    pub warden: PublicKey,
    pub entrance: Entrance,
    pub members: Vec<Seated>,
    /// Members that left; their keys are never taken again.
    pub gone: Vec<MemberId>,
    pub removals: Option<Removals>,
    /// Members that are away, who may come back to a door that never met them.
    pub absent: Vec<MemberId>,
}

impl Wire for Welcome {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            room: r.array()?,
            secret: r.array()?,
            creator: MemberId::read(r)?,
            warden: PublicKey(r.array()?),
            entrance: Entrance::read(r)?,
            members: r.list(MAX_MEMBERS)?,
            gone: r.list(MAX_GONE)?,
            removals: if bool::read(r)? { Some(Removals::read(r)?) } else { None },
            absent: r.list(MAX_MEMBERS)?,
        })
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(&self.room);
        w.extend_from_slice(&self.secret);
        self.creator.write(w);
        w.extend_from_slice(&self.warden.0);
        self.entrance.write(w);
        write_list(w, &self.members);
        write_list(w, &self.gone);
        self.removals.is_some().write(w);
        self.removals.iter().for_each(|removals| removals.write(w));
        write_list(w, &self.absent);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::entrance::Latest;
    use super::super::member::{Candidate, Codes, Kind, MAX_CANDIDATES, MAX_NAME, Record, Slot};
    use super::*;
    use crate::crypto::keys::StaticKey;

    #[test]
    fn a_welcome_survives_its_encoding_and_fits_one_mail() {
        let record = Record {
            key: PublicKey([7; 32]),
            name: "n".repeat(MAX_NAME),
            relay_only: true,
            candidates: vec![
                Candidate { kind: Kind::ServerReflexive, addr: "192.0.2.1:9".parse().unwrap() };
                MAX_CANDIDATES
            ],
        };
        let codes =
            Codes { spoken: Some((48213, "tiger-orbit-ocean".into())), link: Some(([1; 10], [2; 16])) };
        let creator = StaticKey::from_bytes([3; 32]);
        let removals = (0..MAX_GONE as u8)
            .fold(None, |before, n| Some(Removals::with(&creator, before.as_ref(), MemberId([n; 8]))));
        let welcome = Welcome {
            room: [1; 16],
            secret: [2; 32],
            creator: MemberId([3; 8]),
            warden: creator.public(),
            entrance: Entrance {
                locked: Latest::first(&creator, false),
                codes: Latest::first(&creator, codes),
            },
            members: vec![Seated { slot: Slot::new(15).unwrap(), record }; MAX_MEMBERS],
            gone: vec![MemberId([9; 8]); MAX_GONE],
            removals,
            absent: vec![MemberId([8; 8]); MAX_MEMBERS],
        };
        let bytes = welcome.encode();
        assert!(bytes.len() + 64 <= super::super::signal::MAX_BLOB, "{}", bytes.len());
        assert_eq!(Welcome::decode(&bytes).unwrap().encode(), bytes);
    }
}
