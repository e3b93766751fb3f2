//! One room: who has which slot, who waits at the door.

use std::collections::BTreeMap;
use std::time::Duration;

use vc_core::crypto::keys::PublicKey;
use vc_core::io::Time;
use vc_core::protocol::member::{MAX_MEMBERS, MemberId, Slot};
use vc_core::protocol::removal::Removals;
use vc_core::protocol::signal::Nameplate;

/// Chosen by the edge; never used twice.
pub type ConnId = u64;

/// The room's name inside the server and in proofs; admissions are bound to it.
pub(crate) type Nonce = [u8; 16];

pub(crate) struct Room {
    /// What is signed with this key evicts.
    pub(crate) warden: PublicKey,
    /// Who has no seat any more.
    pub(crate) removed: Option<Removals>,
    seats: [Seat; MAX_MEMBERS],
    pub(crate) visitors: BTreeMap<u32, Visitor>,
    pub(crate) spoken: Option<u32>,
    pub(crate) link: Option<[u8; 10]>,
    /// Expiry of the proof that told us the nameplates; `u32::MAX` when we gave them out ourselves. A later proof
    /// knows better.
    pub(crate) plates_from: u32,
    /// The latest expiry in any proof of this room. A new owner's proofs come after all of a former owner's.
    newest: u32,
    /// No fresh proof expires earlier: those with the present nameplates come after those with former ones.
    floor: u32,
}

#[derive(Clone, Copy)]
enum Seat {
    Free,
    /// In a room restored from a proof: its owner may yet return.
    Perhaps {
        since: Time,
    },
    Away {
        since: Time,
        owner: Owner,
    },
    Here {
        conn: ConnId,
        owner: Owner,
    },
}

#[derive(Clone, Copy)]
struct Owner {
    /// As other members know it; nobody's is the creator's.
    id: Option<MemberId>,
    /// The earliest expiry in a proof of this owner; what is earlier is a former owner's.
    from: u32,
}

pub(crate) struct Visitor {
    pub(crate) conn: ConnId,
    pub(crate) nameplate: Nameplate,
    pub(crate) since: Time,
    pub(crate) door: Slot,
    pub(crate) answer: Answer,
    /// Every slot that was its doorkeeper, a bit each.
    asked: u16,
    /// What it may still mail to this one.
    pub(crate) bytes: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// The visitor has said nothing yet.
    NotDue,
    Awaited {
        since: Time,
    },
    /// With so many more letters that are certain to arrive.
    Given {
        more: u8,
    },
}

impl Visitor {
    pub(crate) fn new(now: Time, conn: ConnId, nameplate: Nameplate, door: Slot) -> Self {
        Self {
            conn,
            nameplate,
            since: now,
            door,
            answer: Answer::NotDue,
            asked: door.bit(),
            bytes: VISITOR_BYTES,
        }
    }

    pub(crate) fn has_asked(&self, slot: Slot) -> bool {
        self.asked & slot.bit() != 0
    }

    pub(crate) fn turn_to(&mut self, door: Slot) {
        self.door = door;
        self.answer = Answer::NotDue;
        self.asked |= door.bit();
        self.bytes = VISITOR_BYTES;
    }

    /// Its doorkeeper writes to it. True if the letter is one of those that every admission needs.
    pub(crate) fn answered(&mut self) -> bool {
        let (more, owed) = match self.answer {
            Answer::NotDue | Answer::Awaited { .. } => (LETTERS - 1, true),
            Answer::Given { more } => (more.saturating_sub(1), more > 0),
        };
        self.answer = Answer::Given { more };
        owed
    }

    /// Its doorkeeper seems to be out of reach, though its connection has not ended.
    fn waits_in_vain(&self, now: Time) -> bool {
        matches!(self.answer, Answer::Awaited { since } if now - since >= DOOR_PATIENCE)
    }
}

/// Why a returning member does not get its seat.
pub(crate) struct NotYours;

impl Room {
    pub(crate) fn new(warden: PublicKey) -> Self {
        Self::of(warden, [Seat::Free; MAX_MEMBERS], u32::MAX)
    }

    /// After a restart: any slot may have an owner.
    pub(crate) fn restored(now: Time, warden: PublicKey, plates_from: u32) -> Self {
        Self::of(warden, [Seat::Perhaps { since: now }; MAX_MEMBERS], plates_from)
    }

    /// Seats a newcomer. The lowest free slot; one that may have an owner only if there is no other, and then the
    /// highest, since rooms fill from below; at last the one whose owner has been away longest. One of `taken` only
    /// when there is no other: its owner may come back to it.
    pub(crate) fn seat(&mut self, conn: ConnId, wall: u32, taken: u16, id: Option<MemberId>) -> Option<Slot> {
        let free = |slot: &Slot| matches!(self.get(*slot), Seat::Free);
        let perhaps = |slot: &Slot| matches!(self.get(*slot), Seat::Perhaps { .. });
        let choose = |among: u16| {
            let slots = || Slot::all().filter(move |slot| slot.bit() & among != 0);
            let away = |slot: Slot| match self.get(slot) {
                Seat::Away { since, .. } => Some((since, slot)),
                Seat::Free | Seat::Perhaps { .. } | Seat::Here { .. } => None,
            };
            let longest_away = || slots().filter_map(away).min().map(|(_, slot)| slot);
            slots().find(free).or_else(|| slots().filter(perhaps).last()).or_else(longest_away)
        };
        let slot = choose(!taken).or_else(|| choose(taken))?;
        let from = wall.saturating_add(PROOF_LIFE).max(self.newest.saturating_add(1));
        self.newest = from;
        self.put(slot, Seat::Here { conn, owner: Owner { id, from } });
        Some(slot)
    }

    /// Seats an owner again, on a new connection; returns the one it had until now.
    pub(crate) fn reseat(
        &mut self,
        slot: Slot,
        conn: ConnId,
        (id, expiry): (Option<MemberId>, u32),
    ) -> Result<Option<ConnId>, NotYours> {
        let (from, old) = match self.get(slot) {
            Seat::Free => return Err(NotYours),
            Seat::Perhaps { .. } => (0, None),
            Seat::Away { owner, .. } => (owner.from, None),
            Seat::Here { conn, owner } => (owner.from, Some(conn)),
        };
        if expiry < from || self.is_removed(id) {
            return Err(NotYours);
        }
        self.newest = self.newest.max(expiry);
        self.put(slot, Seat::Here { conn, owner: Owner { id, from: expiry } });
        Ok(old)
    }

    /// The expiry for a fresh proof of this seat.
    pub(crate) fn proof_expiry(&mut self, slot: Slot, wall: u32) -> u32 {
        let from = self.owner(slot).map_or(0, |owner| owner.from);
        let expiry = wall.saturating_add(PROOF_LIFE).max(from).max(self.floor);
        self.newest = self.newest.max(expiry);
        expiry
    }

    /// The nameplates are now ours and others than in all proofs so far.
    pub(crate) fn renamed(&mut self) {
        self.plates_from = u32::MAX;
        self.floor = self.newest.saturating_add(1);
    }

    pub(crate) fn away(&mut self, now: Time, slot: Slot) {
        if let Seat::Here { owner, .. } = self.get(slot) {
            self.put(slot, Seat::Away { since: now, owner });
        }
    }

    pub(crate) fn free(&mut self, slot: Slot) {
        self.put(slot, Seat::Free);
    }

    /// These lose their seats, if whoever made the room says so and said nothing later; returns the connections of those
    /// that are here. `None` if nothing changes.
    pub(crate) fn evict(&mut self, removals: Removals) -> Option<Vec<ConnId>> {
        if !removals.is_later_than(self.removed.as_ref()) || !removals.is_by(&self.warden) {
            return None;
        }
        self.removed = Some(removals);
        let mut here = Vec::new();
        for slot in Slot::all() {
            if self.is_removed(self.owner_id(slot)) {
                here.extend(self.conn(slot));
                self.free(slot);
            }
        }
        Some(here)
    }

    pub(crate) fn is_removed(&self, id: Option<MemberId>) -> bool {
        id.zip(self.removed.as_ref()).is_some_and(|(id, removed)| removed.contains(&id))
    }

    pub(crate) fn owner_id(&self, slot: Slot) -> Option<MemberId> {
        self.owner(slot)?.id
    }

    /// Frees the seats whose owners did not come back.
    pub(crate) fn expire(&mut self, now: Time) {
        let kept = if self.here().next().is_some() { SEAT_KEPT_BY_FRIENDS } else { SEAT_KEPT };
        for seat in &mut self.seats {
            match *seat {
                Seat::Perhaps { since } if now - since >= SEAT_KEPT => *seat = Seat::Free,
                Seat::Away { since, .. } if now - since >= kept => *seat = Seat::Free,
                _ => {}
            }
        }
    }

    /// Visitors whose time at the door is over.
    pub(crate) fn overdue(&self, now: Time) -> impl Iterator<Item = ConnId> {
        self.visitors.values().filter(move |v| now - v.since >= ADMISSION).map(|v| v.conn)
    }

    /// Visitors whose doorkeeper has said nothing for too long.
    pub(crate) fn unanswered(&self, now: Time) -> impl Iterator<Item = u32> {
        self.visitors.iter().filter(move |(_, v)| v.waits_in_vain(now)).map(|(id, _)| *id)
    }

    /// Who answers a visitor that got no answer from its doorkeepers so far.
    pub(crate) fn next_door(&self, visitor: &Visitor) -> Option<(Slot, ConnId)> {
        self.here().find(|(slot, _)| !visitor.has_asked(*slot))
    }

    pub(crate) fn conn(&self, slot: Slot) -> Option<ConnId> {
        match self.get(slot) {
            Seat::Here { conn, .. } => Some(conn),
            Seat::Free | Seat::Perhaps { .. } | Seat::Away { .. } => None,
        }
    }

    pub(crate) fn here(&self) -> impl Iterator<Item = (Slot, ConnId)> {
        Slot::all().filter_map(|slot| Some((slot, self.conn(slot)?)))
    }

    /// Who answers the door: the creator, else the lowest connected slot.
    pub(crate) fn door(&self) -> Option<(Slot, ConnId)> {
        self.here().next()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.seats.iter().all(|seat| matches!(seat, Seat::Here { .. }))
    }

    /// Nobody is here and nobody can come back.
    pub(crate) fn is_over(&self) -> bool {
        self.seats.iter().all(|seat| matches!(seat, Seat::Free))
    }

    fn of(warden: PublicKey, seats: [Seat; MAX_MEMBERS], plates_from: u32) -> Self {
        Self {
            warden,
            removed: None,
            seats,
            visitors: BTreeMap::new(),
            spoken: None,
            link: None,
            plates_from,
            newest: 0,
            floor: 0,
        }
    }

    fn owner(&self, slot: Slot) -> Option<Owner> {
        match self.get(slot) {
            Seat::Free | Seat::Perhaps { .. } => None,
            Seat::Away { owner, .. } | Seat::Here { owner, .. } => Some(owner),
        }
    }

    fn get(&self, slot: Slot) -> Seat {
        self.seats.get(slot.index()).copied().unwrap_or(Seat::Free)
    }

    fn put(&mut self, slot: Slot, seat: Seat) {
        if let Some(place) = self.seats.get_mut(slot.index()) {
            *place = seat;
        }
    }
}

/// Seconds: an evening and the next morning.
const PROOF_LIFE: u32 = 24 * 3_600;
/// A member's friends give it up after a minute; this also outlasts a router that restarts.
const SEAT_KEPT: Duration = Duration::from_secs(600);
/// While somebody is there: as long as friends keep a member that is away. Newcomers take such seats if need be.
const SEAT_KEPT_BY_FRIENDS: Duration = Duration::from_secs(4 * 3_600);
/// Two round trips with the doorkeeper, and a doorkeeper on a very bad line.
const ADMISSION: Duration = Duration::from_secs(20);
/// First and second message of an admission with the longest record are below 2 KiB. More would let someone who knows
/// only the number fill the doorkeeper's queue.
pub(crate) const VISITOR_BYTES: usize = 4_096;
/// A machine that sleeps or lost its network stays connected for a minute as far as TCP tells. An answer takes two
/// network delays and a millisecond.
const DOOR_PATIENCE: Duration = Duration::from_secs(3);
/// B1, then B2 or why not.
const LETTERS: u8 = 2;
/// A whole room may arrive at once.
pub(crate) const MAX_VISITORS: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WALL: u32 = 1_000;
    const WARDEN: PublicKey = PublicKey([3; 32]);

    fn slot(n: u8) -> Slot {
        Slot::new(n).unwrap()
    }

    fn at(secs: u64) -> Time {
        Time::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn slots_fill_from_below_and_a_freed_one_is_next() {
        let mut room = Room::new(WARDEN);
        for n in 0..16 {
            assert!(room.seat(u64::from(n), WALL, 0, None) == Some(slot(n)));
        }
        assert!(room.is_full() && room.seat(99, WALL, 0, None).is_none());
        room.free(slot(3));
        assert!(room.seat(99, WALL, 0, None) == Some(slot(3)));
        assert!(room.door() == Some((slot(0), 0)));
    }

    #[test]
    fn in_a_room_without_a_free_seat_the_one_longest_away_makes_room() {
        let mut room = Room::new(WARDEN);
        let proofs: Vec<u32> = (0..16)
            .map(|n| {
                room.seat(u64::from(n), WALL, 0, None);
                room.proof_expiry(slot(n), WALL)
            })
            .collect();
        room.away(at(2), slot(5));
        room.away(at(1), slot(9));
        assert!(!room.is_full());
        assert!(room.seat(99, WALL, 0, None) == Some(slot(9)));
        assert!(room.reseat(slot(9), 100, (None, proofs[9])).is_err(), "it came too late");
        assert!(matches!(room.reseat(slot(5), 101, (None, proofs[5])), Ok(None)));
        assert!(room.is_full() && room.seat(102, WALL, 0, None).is_none());
    }

    #[test]
    fn a_former_owner_does_not_get_the_seat_of_a_new_one() {
        let mut room = Room::new(WARDEN);
        room.seat(1, WALL, 0, None);
        let old = room.proof_expiry(slot(0), WALL);
        room.free(slot(0));
        assert!(room.reseat(slot(0), 2, (None, old)).is_err(), "left is left");
        room.seat(3, WALL, 0, None);
        assert!(room.reseat(slot(0), 2, (None, old)).is_err());
        let new = room.proof_expiry(slot(0), WALL);
        assert!(matches!(room.reseat(slot(0), 4, (None, new)), Ok(Some(3))));
    }

    #[test]
    fn a_seat_is_kept_ten_minutes_for_an_owner_that_is_away() {
        let mut room = Room::new(WARDEN);
        room.seat(1, WALL, 0, None);
        let proof = room.proof_expiry(slot(0), WALL);
        room.away(at(0), slot(0));
        room.expire(at(599));
        assert!(matches!(room.reseat(slot(0), 2, (None, proof)), Ok(None)));
        room.away(at(600), slot(0));
        room.expire(at(1_200));
        assert!(room.is_over() && room.reseat(slot(0), 2, (None, proof)).is_err());
    }

    #[test]
    fn while_friends_are_there_the_seat_of_one_who_is_away_is_kept_for_hours() {
        let mut room = Room::new(WARDEN);
        room.seat(1, WALL, 0, None);
        room.seat(2, WALL, 0, None);
        let proof = room.proof_expiry(slot(1), WALL);
        room.away(at(0), slot(1));
        room.expire(at(4 * 3_600 - 1));
        assert!(matches!(room.reseat(slot(1), 3, (None, proof)), Ok(None)));
        room.away(at(0), slot(1));
        room.expire(at(4 * 3_600));
        assert!(room.reseat(slot(1), 3, (None, proof)).is_err() && !room.is_over());
    }

    #[test]
    fn in_a_restored_room_newcomers_keep_away_from_slots_that_owners_may_want() {
        let mut room = Room::restored(at(0), WARDEN, WALL);
        assert!(matches!(room.reseat(slot(2), 1, (None, WALL + 5)), Ok(None)));
        assert!(room.seat(2, WALL, 0, None) == Some(slot(15)));
        assert!(matches!(room.reseat(slot(0), 3, (None, WALL + 5)), Ok(None)));
        assert!(
            room.seat(5, WALL, slot(14).bit() | slot(13).bit(), None) == Some(slot(12)),
            "members said so"
        );
        room.expire(at(600));
        assert!(room.seat(4, WALL, 0, None) == Some(slot(1)));
        assert!(room.seat(6, WALL, slot(3).bit(), None) == Some(slot(4)));
    }
}
