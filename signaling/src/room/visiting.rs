//! Who is not in yet: shown to a doorkeeper, passed on to the next when that does not answer, seated or sent away.

use rand_core::RngCore;
use vc_core::io::Time;
use vc_core::protocol::member::{MemberId, Slot};
use vc_core::protocol::removal::Removals;
use vc_core::protocol::signal::{Nameplate, Party, Refusal, ToClient};

use super::{ConnId, MAIL, No, Outcome, Rooms, within};
use crate::proof::NOBODY;
use crate::protocol::{Place, Standing};
use crate::seats::{Answer, MAX_VISITORS, Nonce, Visitor};

impl Rooms {
    pub(super) fn knock(&mut self, now: Time, conn: ConnId, plate: Nameplate) -> Outcome {
        let net = self.conns.get(&conn).and_then(|c| c.net);
        if !within(&mut self.joins, now, net) {
            return Err(No::Refused(Refusal::TooFast));
        }
        let nonce = self.plates.find(plate).ok_or(No::Refused(Refusal::NoSuchRoom))?;
        let room = self.rooms.get_mut(&nonce).ok_or(No::Refused(Refusal::NoSuchRoom))?;
        let (door, door_conn) = room.door().ok_or(No::Refused(Refusal::NobodyHome))?;
        if room.is_full() {
            return Err(No::Refused(Refusal::Full));
        }
        if room.visitors.len() >= MAX_VISITORS {
            return Err(No::Refused(Refusal::TooFast));
        }
        let id = loop {
            let id = self.rng.next_u32();
            if !room.visitors.contains_key(&id) {
                break id;
            }
        };
        room.visitors.insert(id, Visitor::new(now, conn, plate, door));
        self.stand(conn, Standing::Visitor { room: nonce, id });
        self.say(conn, ToClient::Joined { room_nonce: nonce, visitor: id, door });
        self.say(door_conn, ToClient::Visitor { visitor: id, nameplate: plate });
        Ok(())
    }

    pub(super) fn mail_door(
        &mut self,
        now: Time,
        conn: ConnId,
        (nonce, id): (Nonce, u32),
        to: Slot,
        blob: Vec<u8>,
    ) -> Outcome {
        let room = self.rooms.get_mut(&nonce).ok_or(No::Closed(Refusal::NobodyHome))?;
        let visitor = room.visitors.get_mut(&id).ok_or(No::Closed(Refusal::NobodyHome))?;
        if visitor.door != to {
            // On the way while the visitor was shown to another door.
            return if visitor.has_asked(to) { Ok(()) } else { Err(No::Closed(Refusal::OutOfTurn)) };
        }
        visitor.bytes = visitor.bytes.checked_sub(blob.len()).ok_or(No::Closed(Refusal::TooFast))?;
        if matches!(visitor.answer, Answer::NotDue) {
            visitor.answer = Answer::Awaited { since: now };
        }
        let to = room.conn(to);
        self.deliver(now, conn, to, Party::Visitor(id), blob);
        Ok(())
    }

    pub(super) fn withdraw(&mut self, conn: ConnId, nonce: Nonce, id: u32) {
        self.stand(conn, Standing::Greeted);
        if let Some(room) = self.rooms.get_mut(&nonce) {
            room.visitors.remove(&id);
        }
    }

    /// A visitor that has gone meanwhile is no fault of the doorkeeper's, so nothing is said about it.
    pub(super) fn admit(&mut self, wall: u32, by: Place, visitor: u32, taken: u16, id: MemberId) {
        let Some(room) = self.rooms.get_mut(&by.room) else { return };
        if room.visitors.get(&visitor).is_none_or(|v| v.door != by.slot) || id == NOBODY {
            return;
        }
        let Some(Visitor { conn, .. }) = room.visitors.remove(&visitor) else { return };
        if room.is_removed(Some(id)) {
            let door = room.conn(by.slot);
            self.stand(conn, Standing::Greeted);
            door.into_iter().chain([conn]).for_each(|conn| self.remind(conn, by.room));
            return self.refuse(conn, Refusal::BadProof);
        }
        let Some(slot) = room.seat(conn, wall, taken, Some(id)) else {
            self.stand(conn, Standing::Greeted);
            return self.refuse(conn, Refusal::Full);
        };
        let door = room.conn(by.slot);
        let place = Place { room: by.room, slot };
        self.counters.admitted += 1;
        self.stand(conn, Standing::Seated(place));
        self.provide(wall, conn, place);
        if let Some(door) = door {
            self.say(door, ToClient::Admitted { visitor, slot });
        }
        self.remind(conn, by.room);
        self.present(by.room);
    }

    /// Whom the room's maker removed has no seat any more, and those who are there learn it from us, too.
    pub(super) fn evict(&mut self, now: Time, conn: ConnId, place: Place, removals: Removals) {
        // A signature costs as much work as some mail.
        if !self.conns.get_mut(&conn).is_some_and(|c| c.mail.take(now, MAIL, 1)) {
            return;
        }
        let Some(room) = self.rooms.get_mut(&place.room) else { return };
        let others: Vec<_> = room.here().map(|(_, other)| other).filter(|other| *other != conn).collect();
        let Some(evicted) = room.evict(removals) else { return };
        others.into_iter().for_each(|other| self.remind(other, place.room));
        evicted.into_iter().for_each(|conn| self.turn_away(now, conn, Refusal::BadProof));
    }

    pub(super) fn remind(&mut self, conn: ConnId, nonce: Nonce) {
        if let Some(removals) = self.rooms.get(&nonce).and_then(|room| room.removed.clone()) {
            self.say(conn, ToClient::Removed { removals });
        }
    }

    /// The others learn that this member is not connected; who waits for its answer waits in vain.
    pub(super) fn door_gone(&mut self, now: Time, place: Place) {
        self.present(place.room);
        let Some(room) = self.rooms.get(&place.room) else { return };
        let waiting: Vec<_> =
            room.visitors.iter().filter(|(_, v)| v.door == place.slot).map(|(id, v)| (*id, v.conn)).collect();
        for (id, conn) in waiting {
            if !self.show_to_next_door(place.room, id) {
                self.turn_away(now, conn, Refusal::NobodyHome);
            }
        }
    }

    /// False if no other member is there to ask, or the visitor is in the middle of its proof: that it gives one member
    /// only, so that whoever poses as several gets no second guess.
    pub(super) fn show_to_next_door(&mut self, nonce: Nonce, id: u32) -> bool {
        let Some(room) = self.rooms.get_mut(&nonce) else { return false };
        let next = room.visitors.get(&id).and_then(|visitor| match visitor.answer {
            Answer::NotDue | Answer::Awaited { .. } => room.next_door(visitor),
            Answer::Given { .. } => None,
        });
        let (Some((door, door_conn)), Some(visitor)) = (next, room.visitors.get_mut(&id)) else {
            return false;
        };
        visitor.turn_to(door);
        let (conn, nameplate) = (visitor.conn, visitor.nameplate);
        self.say(conn, ToClient::Joined { room_nonce: nonce, visitor: id, door });
        self.say(door_conn, ToClient::Visitor { visitor: id, nameplate });
        true
    }
}
