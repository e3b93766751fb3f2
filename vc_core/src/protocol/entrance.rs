//! How one gets into a room, as its members agree on it without anybody in charge: of two values, the later counts.

use super::codec::{Malformed, Reader, Result, Wire};
use super::member::Codes;
use crate::crypto::keys::{PublicKey, StaticKey};
use crate::crypto::sign::Signed;

/// Whether the door is open, and the codes that open it. The two change apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Entrance {
    /// True: the members let nobody in.
    pub locked: Latest<bool>,
    pub codes: Latest<Codes>,
}

/// A value that any member may replace. Every two are ordered, so all members end with the same one in whatever order
/// they hear of them. It is signed, so that it can be passed on and still is known to be its maker's: a key is for one
/// stay in one room, which binds what it signs to that room.
#[derive(Clone, PartialEq, Eq)]
pub struct Latest<T> {
    /// Grows by one with each replacement.
    turn: u32,
    by: PublicKey,
    value: T,
    signature: Signed,
}

impl Entrance {
    /// Something of `other` would replace something here.
    pub fn is_behind(&self, other: &Self) -> bool {
        self.locked.is_behind(&other.locked) || self.codes.is_behind(&other.codes)
    }
}

/// What can be agreed on like that.
pub trait Agreed: Wire + Clone {
    /// Names it in the signature.
    const LABEL: &'static str;
}

impl Agreed for bool {
    const LABEL: &'static str = "locked";
}

impl Agreed for Codes {
    const LABEL: &'static str = "codes";
}

/// It is under the name of one who did not make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

impl<T: Agreed> Latest<T> {
    pub fn first(by: &StaticKey, value: T) -> Self {
        Self::signed(0, by, value)
    }

    pub fn get(&self) -> &T {
        &self.value
    }

    /// Who replaced it last.
    pub fn by(&self) -> &PublicKey {
        &self.by
    }

    pub fn replace(&mut self, by: &StaticKey, value: T) {
        *self = Self::signed(self.turn.saturating_add(1), by, value);
    }

    /// True if `other` took the place of what was here.
    pub fn merge(&mut self, other: Self) -> std::result::Result<bool, Forged> {
        if !self.is_behind(&other) {
            return Ok(false);
        }
        if !other.by.signed(T::LABEL, &other.words(), &other.signature) {
            return Err(Forged);
        }
        *self = other;
        Ok(true)
    }

    fn is_behind(&self, other: &Self) -> bool {
        let near = other.turn.saturating_sub(self.turn) <= FARTHEST_AHEAD;
        near && other.rank() > self.rank()
    }

    fn signed(turn: u32, by: &StaticKey, value: T) -> Self {
        let mut latest = Self { turn, by: by.public(), value, signature: [0; 64] };
        latest.signature = by.sign(T::LABEL, &latest.words());
        latest
    }

    /// What is signed.
    fn words(&self) -> Vec<u8> {
        [&self.turn.to_be_bytes()[..], &self.by.0, &self.value.encode()].concat()
    }

    fn rank(&self) -> (u32, PublicKey, Vec<u8>) {
        (self.turn, self.by, self.value.encode())
    }
}

impl<T: Wire> Wire for Latest<T> {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { turn: r.u32()?, by: PublicKey(r.array()?), value: T::read(r)?, signature: r.array()? })
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(&self.turn.to_be_bytes());
        w.extend_from_slice(&self.by.0);
        self.value.write(w);
        w.extend_from_slice(&self.signature);
    }
}

impl Wire for Entrance {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { locked: Latest::read(r)?, codes: Latest::read(r)? })
    }

    fn write(&self, w: &mut Vec<u8>) {
        self.locked.write(w);
        self.codes.write(w);
    }
}

impl Wire for bool {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        match r.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.push(u8::from(*self));
    }
}

/// More changes than a room makes while one of its members is away. A member that claims a turn near the last number,
/// to have the last word for ever, needs more than a day of lies to get there.
const FARTHEST_AHEAD: u32 = 4_096;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(by: u8) -> StaticKey {
        StaticKey::from_bytes([by; 32])
    }

    fn value(turn: u32, by: u8, value: bool) -> Latest<bool> {
        Latest::signed(turn, &key(by), value)
    }

    #[test]
    fn all_who_hear_of_the_same_changes_end_with_the_same_one_in_any_order() {
        let changes = [value(1, 1, true), value(1, 2, false), value(2, 1, false), value(2, 1, true)];
        for first in 0..changes.len() {
            let mut held = value(0, 1, false);
            for n in 0..changes.len() {
                held.merge(changes[(first + n) % changes.len()].clone()).unwrap();
            }
            assert!(held == value(2, 1, true));
        }
    }

    #[test]
    fn what_is_known_or_older_or_far_ahead_changes_nothing() {
        let mut held = value(5, 5, true);
        for other in [value(5, 5, true), value(4, 9, false), value(5, 5, false), value(u32::MAX, 9, false)] {
            assert_eq!(held.merge(other), Ok(false));
        }
        assert_eq!(held.merge(value(5 + FARTHEST_AHEAD, 0, false)), Ok(true));
        held.replace(&key(7), true);
        assert!(*held.get() && *held.by() == key(7).public());
    }

    #[test]
    fn nobody_can_make_a_change_under_another_s_name_nor_change_one() {
        let mut held = value(1, 1, true);
        let honest = value(2, 2, false);
        let mut alias = honest.by;
        alias.0[31] ^= 0x80;
        let forgeries = [
            Latest { by: alias, ..honest.clone() },
            Latest { by: key(3).public(), ..honest.clone() },
            Latest { value: true, ..honest.clone() },
            Latest { turn: 3, ..honest.clone() },
            Latest { signature: held.signature, ..honest.clone() },
        ];
        for forged in forgeries {
            assert_eq!(held.merge(forged), Err(Forged));
        }
        assert!(held == value(1, 1, true));
        assert_eq!(held.merge(honest), Ok(true));
    }

    #[test]
    fn it_survives_its_encoding() {
        let codes = Codes { spoken: Some((48_213, "tiger-orbit-ocean".into())), link: None };
        let entrance = Entrance { locked: value(3, 1, true), codes: Latest::first(&key(2), codes) };
        assert!(Entrance::decode(&entrance.encode()).unwrap() == entrance);
        let mut bytes = value(3, 1, true).encode();
        bytes[36] = 2;
        assert!(Latest::<bool>::decode(&bytes).is_err());
    }
}
