//! How one gets into a room, as its members agree on it without anybody in charge: of two values, the later counts.

use super::codec::{Malformed, Reader, Result, Wire};
use super::member::{Codes, MemberId};

/// Whether the door is open, and the codes that open it. The two change apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Entrance {
    /// True: the members let nobody in.
    pub locked: Latest<bool>,
    pub codes: Latest<Codes>,
}

/// A value that any member may replace. Every two are ordered, so all members end with the same one in whatever order
/// they hear of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Latest<T> {
    /// Grows by one with each replacement.
    turn: u32,
    by: MemberId,
    value: T,
}

impl Entrance {
    /// Something of `other` would replace something here.
    pub fn is_behind(&self, other: &Self) -> bool {
        self.locked.is_behind(&other.locked) || self.codes.is_behind(&other.codes)
    }
}

impl<T: Wire + Clone> Latest<T> {
    pub fn first(by: MemberId, value: T) -> Self {
        Self { turn: 0, by, value }
    }

    pub fn get(&self) -> &T {
        &self.value
    }

    /// Who replaced it last.
    pub fn by(&self) -> MemberId {
        self.by
    }

    pub fn replace(&mut self, by: MemberId, value: T) {
        *self = Self { turn: self.turn.saturating_add(1), by, value };
    }

    /// True if `other` took the place of what was here.
    pub fn merge(&mut self, other: Self) -> bool {
        let later = self.is_behind(&other);
        if later {
            *self = other;
        }
        later
    }

    fn is_behind(&self, other: &Self) -> bool {
        let near = other.turn.saturating_sub(self.turn) <= FARTHEST_AHEAD;
        near && other.rank() > self.rank()
    }

    fn rank(&self) -> (u32, MemberId, Vec<u8>) {
        (self.turn, self.by, self.value.encode())
    }
}

impl<T: Wire> Wire for Latest<T> {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { turn: r.u32()?, by: MemberId::read(r)?, value: T::read(r)? })
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(&self.turn.to_be_bytes());
        self.by.write(w);
        self.value.write(w);
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

    fn value(turn: u32, by: u8, value: bool) -> Latest<bool> {
        Latest { turn, by: MemberId([by; 8]), value }
    }

    #[test]
    fn all_who_hear_of_the_same_changes_end_with_the_same_one_in_any_order() {
        let changes = [value(1, 1, true), value(1, 2, false), value(2, 1, false), value(2, 1, true)];
        for first in 0..changes.len() {
            let mut held = value(0, 1, false);
            for n in 0..changes.len() {
                held.merge(changes[(first + n) % changes.len()].clone());
            }
            assert!(held == value(2, 1, true));
        }
    }

    #[test]
    fn what_is_known_or_older_or_far_ahead_changes_nothing() {
        let mut held = value(5, 5, true);
        for other in [value(5, 5, true), value(4, 9, false), value(5, 4, false), value(u32::MAX, 9, false)] {
            assert!(!held.merge(other));
        }
        assert!(held.merge(value(5 + FARTHEST_AHEAD, 0, false)));
        held.replace(MemberId([7; 8]), true);
        assert!(*held.get() && held.by() == MemberId([7; 8]));
    }

    #[test]
    fn it_survives_its_encoding() {
        let codes = Codes { spoken: Some((48_213, "tiger-orbit-ocean".into())), link: None };
        let entrance = Entrance { locked: value(3, 1, true), codes: Latest::first(MemberId([2; 8]), codes) };
        assert!(Entrance::decode(&entrance.encode()).unwrap() == entrance);
        assert!(Latest::<bool>::decode(&[0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]).is_err());
    }
}
