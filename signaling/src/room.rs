//! All rooms and connections of a server, pure: connections open, speak and close; messages come out.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand_core::{RngCore, SeedableRng};
use vc_core::crypto::keys::{PublicKey, Rng, Secret, kdf};
use vc_core::crypto::ticket::TicketBody;
use vc_core::io::Time;
use vc_core::net::forward::rate::{Bucket, Net, Rate, Sources};
use vc_core::protocol::member::{MAX_MEMBERS, Slot};
use vc_core::protocol::signal::{
    Form, MAX_OFFERS, MAX_PROBES, Nameplate, Offer, Party, Reclaim, Refusal, ToClient, VERSION,
};

use crate::config::{Config, Limits, RelayInfo};
use crate::plates::Plates;
use crate::proof::Claim;
use crate::protocol::{Place, Request, Standing};
use crate::seats::{ConnId, Nonce, Room};

pub struct Rooms {
    relays: Vec<RelayInfo>,
    probes: Vec<SocketAddr>,
    limits: Limits,
    proofs: Secret<32>,
    tags: Secret<32>,
    rng: Rng,
    rooms: BTreeMap<Nonce, Room>,
    plates: Plates,
    conns: BTreeMap<ConnId, Conn>,
    arrivals: Sources,
    creates: Sources,
    joins: Sources,
    out: VecDeque<Output>,
    swept: Time,
    counters: Counters,
}

pub enum Input<'a> {
    /// A TCP connection was accepted; nothing has been read from it yet.
    Opened {
        conn: ConnId,
        from: IpAddr,
    },
    /// One message, opened and taken out of its frame.
    Frame {
        conn: ConnId,
        bytes: &'a [u8],
    },
    Closed {
        conn: ConnId,
    },
    /// Time has passed.
    Tick,
}

pub enum Output {
    Say {
        conn: ConnId,
        message: ToClient,
    },
    /// After everything said to it. The core knows nothing of this connection any more.
    Close {
        conn: ConnId,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub opened: u64,
    /// For want of room or because their source has too many.
    pub turned_away: u64,
    pub frames: u64,
    pub refused: u64,
    pub admitted: u64,
    pub mail: u64,
    /// To somebody who was not there, or too much.
    pub mail_lost: u64,
}

struct Conn {
    net: Option<Net>,
    standing: Standing,
    opened: Time,
    heard: Time,
    frames: Bucket,
    mail: Bucket,
}

impl Rooms {
    pub fn new(config: Config) -> Self {
        let secret = config.key.to_bytes();
        let mut rng = Rng::from_seed(config.seed);
        Self {
            proofs: kdf(secret.as_bytes(), "reclaim", &[]),
            tags: kdf(secret.as_bytes(), "relay room", &[]),
            relays: config.relays,
            probes: config.probes.into_iter().take(MAX_PROBES).collect(),
            rooms: BTreeMap::new(),
            plates: Plates::default(),
            conns: BTreeMap::new(),
            arrivals: Sources::new(config.limits.arrivals, &mut rng),
            creates: Sources::new(config.limits.creates, &mut rng),
            joins: Sources::new(config.limits.joins, &mut rng),
            limits: config.limits,
            rng,
            out: VecDeque::new(),
            swept: Time::ZERO,
            counters: Counters::default(),
        }
    }

    /// `wall` is Unix seconds. Then `poll` until `None`.
    pub fn handle(&mut self, now: Time, wall: u32, input: Input<'_>) {
        match input {
            Input::Opened { conn, from } => self.opened(now, conn, from),
            Input::Frame { conn, bytes } => self.frame(now, wall, conn, bytes),
            Input::Closed { conn } => self.drop_conn(now, conn),
            Input::Tick => {}
        }
        if now - self.swept >= SWEEP {
            self.sweep(now);
        }
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When a `Tick` is due.
    pub fn next_tick(&self) -> Option<Time> {
        let idle = self.conns.is_empty() && self.rooms.is_empty() && self.plates.is_empty();
        (!idle).then(|| self.swept + SWEEP)
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Whether this connection was let in and is still wanted.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    fn opened(&mut self, now: Time, conn: ConnId, from: IpAddr) {
        let net = (!from.to_canonical().is_loopback()).then(|| Net::household(from));
        let room = self.conns.len() < self.limits.connections;
        let mine = self.conns.values().filter(|c| net.is_some() && c.net == net).count();
        if !room || mine >= self.limits.per_source || !within(&mut self.arrivals, now, net) {
            self.counters.turned_away += 1;
            self.out.push_back(Output::Close { conn });
            return;
        }
        self.counters.opened += 1;
        let (frames, mail) = (Bucket::default(), Bucket::default());
        self.conns.insert(conn, Conn { net, standing: Standing::New, opened: now, heard: now, frames, mail });
    }

    fn frame(&mut self, now: Time, wall: u32, conn: ConnId, bytes: &[u8]) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        self.counters.frames += 1;
        c.heard = now;
        if !c.frames.take(now, FRAMES, 1) {
            return self.turn_away(now, conn, Refusal::TooFast);
        }
        match c.standing.read(bytes) {
            Ok(request) => self.serve(now, wall, conn, request),
            Err(refusal) => self.turn_away(now, conn, refusal),
        }
    }

    fn serve(&mut self, now: Time, wall: u32, conn: ConnId, request: Request) {
        let outcome = match request {
            Request::Create(form, warden) => self.create(now, wall, conn, form, warden),
            Request::Knock(plate) => self.knock(now, conn, plate),
            Request::Return(proof) => self.come_back(now, wall, conn, &proof),
            Request::MailDoor { room, id, to, blob } => self.mail_door(now, conn, (room, id), to, blob),
            Request::NewCode(place, form) => self.new_code(now, wall, conn, place, form),
            Request::Greet => return self.greet(conn),
            Request::Ping => return self.say(conn, ToClient::Pong),
            Request::Withdraw { room, id } => return self.withdraw(conn, room, id),
            Request::Mail { from, to, blob } => return self.mail(now, conn, from, to, blob),
            Request::Admit { by, visitor, taken, id } => return self.admit(wall, by, visitor, taken, id),
            Request::Tickets(place) => return self.provide(wall, conn, place),
            Request::Leave(place) => return self.leave(now, conn, place),
            Request::Evict(place, removals) => return self.evict(now, conn, place, removals),
        };
        match outcome {
            Ok(()) => {}
            Err(No::Refused(refusal)) => self.refuse(conn, refusal),
            Err(No::Closed(refusal)) => self.turn_away(now, conn, refusal),
        }
    }

    fn greet(&mut self, conn: ConnId) {
        self.stand(conn, Standing::Greeted);
        self.say(conn, ToClient::Hello { version: VERSION, probes: self.probes.clone() });
    }

    fn create(&mut self, now: Time, wall: u32, conn: ConnId, form: Form, warden: PublicKey) -> Outcome {
        self.may_create(now, conn)?;
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        let mut room = Room::new(warden);
        let nameplate = self.name(&mut room, nonce, form)?;
        let slot = room.seat(conn, wall, 0, None).ok_or(No::Refused(Refusal::Busy))?;
        self.rooms.insert(nonce, room);
        let place = Place { room: nonce, slot };
        self.stand(conn, Standing::Seated(place));
        self.say(conn, ToClient::Created { room_nonce: nonce, nameplate });
        self.provide(wall, conn, place);
        self.present(nonce);
        Ok(())
    }

    fn come_back(&mut self, now: Time, wall: u32, conn: ConnId, proof: &Reclaim) -> Outcome {
        let claim = Claim::verify(&self.proofs, proof, wall).ok_or(No::Refused(Refusal::BadProof))?;
        if !self.rooms.contains_key(&claim.room) {
            self.may_create(now, conn)?;
            self.rooms.insert(claim.room, Room::restored(now, claim.warden, 0));
        }
        let room = self.rooms.get_mut(&claim.room).ok_or(No::Refused(Refusal::BadProof))?;
        let Ok(old) = room.reseat(claim.slot, conn, (claim.id, claim.expiry)) else {
            self.remind(conn, claim.room);
            return Err(No::Refused(Refusal::BadProof));
        };
        if let Some(old) = old {
            self.conns.remove(&old);
            self.out.push_back(Output::Close { conn: old });
        }
        let renamed = self.adopt_plates(now, &claim);
        let place = Place { room: claim.room, slot: claim.slot };
        self.stand(conn, Standing::Seated(place));
        self.provide(wall, conn, place);
        if renamed {
            self.renew_proofs(wall, claim.room, Some(claim.slot));
        }
        self.remind(conn, claim.room);
        self.present(claim.room);
        Ok(())
    }

    fn mail(&mut self, now: Time, conn: ConnId, from: Place, to: Party, blob: Vec<u8>) {
        let found = self.rooms.get_mut(&from.room).and_then(|room| match to {
            Party::Slot(slot) => Some((room.conn(slot)?, false)),
            Party::Visitor(id) => {
                let visitor = room.visitors.get_mut(&id).filter(|v| v.door == from.slot)?;
                Some((visitor.conn, visitor.answered()))
            }
        });
        match found.filter(|(to, _)| *to != conn) {
            // Members may find other ways to each other; a visitor waits for this one.
            Some((to, true)) => self.hand(to, Party::Slot(from.slot), blob),
            other => self.deliver(now, conn, other.map(|(to, _)| to), Party::Slot(from.slot), blob),
        }
    }

    fn new_code(&mut self, now: Time, wall: u32, conn: ConnId, place: Place, form: Form) -> Outcome {
        let net = self.conns.get(&conn).and_then(|c| c.net);
        if !within(&mut self.creates, now, net) {
            return Err(No::Refused(Refusal::TooFast));
        }
        // Taken out while it is named, so that the table of nameplates can be written beside it.
        let Some(mut room) = self.rooms.remove(&place.room) else { return Ok(()) };
        let old = match form {
            Form::Spoken => room.spoken.map(Nameplate::Spoken),
            Form::Link => room.link.map(Nameplate::Link),
        };
        let named = self.name(&mut room, place.room, form);
        if named.is_ok() {
            room.renamed();
            old.into_iter().for_each(|old| self.plates.release(now, old));
        }
        self.rooms.insert(place.room, room);
        self.say(conn, ToClient::Plate { nameplate: named? });
        self.renew_proofs(wall, place.room, None);
        Ok(())
    }

    fn leave(&mut self, now: Time, conn: ConnId, place: Place) {
        self.stand(conn, Standing::Greeted);
        if let Some(room) = self.rooms.get_mut(&place.room) {
            room.free(place.slot);
        }
        self.door_gone(now, place);
        self.end_if_over(now, place.room);
    }

    /// A member's proof and relay tickets. They travel together, so that a place lasts while its owner renews tickets.
    fn provide(&mut self, wall: u32, conn: ConnId, place: Place) {
        let Some(proof) = self.proof(wall, place) else { return };
        self.say(conn, ToClient::Seat { slot: place.slot, proof });
        let offers = self.offers(wall, place);
        self.say(conn, ToClient::Tickets { offers });
    }

    fn proof(&mut self, wall: u32, place: Place) -> Option<Reclaim> {
        let room = self.rooms.get_mut(&place.room)?;
        let expiry = room.proof_expiry(place.slot, wall);
        let (spoken, link, warden) = (room.spoken, room.link, room.warden);
        let (slot, id) = (place.slot, room.owner_id(place.slot));
        Some(Claim { room: place.room, warden, slot, id, spoken, link, expiry }.sign(&self.proofs))
    }

    fn offers(&mut self, wall: u32, place: Place) -> Vec<Offer> {
        // The same for all of a room, before and after a restart of ours; it tells nothing of the room's nonce.
        let tag = *kdf::<8>(self.tags.as_bytes(), "tag", &place.room).as_bytes();
        let first = usize::from(tag[0]);
        let mut offers = Vec::new();
        for n in 0..self.relays.len().min(MAX_OFFERS) {
            let Some(relay) = self.relays.get((first + n) % self.relays.len()) else { continue };
            let mut serial = [0; 8];
            self.rng.fill_bytes(&mut serial);
            let ticket = relay.key.mint(&TicketBody {
                relay: relay.id,
                room: tag,
                slot: place.slot.index() as u8,
                slots: MAX_MEMBERS as u8,
                class: 0,
                not_after: wall.saturating_add(TICKET_LIFE),
                serial,
            });
            offers.push(Offer { relay: relay.addr, body: ticket.body, kb: *ticket.kb.as_bytes() });
        }
        offers
    }

    fn renew_proofs(&mut self, wall: u32, nonce: Nonce, except: Option<Slot>) {
        let Some(room) = self.rooms.get(&nonce) else { return };
        let here: Vec<_> = room.here().filter(|(slot, _)| Some(*slot) != except).collect();
        for (slot, conn) in here {
            if let Some(proof) = self.proof(wall, Place { room: nonce, slot }) {
                self.out.push_back(Output::Say { conn, message: ToClient::Seat { slot, proof } });
            }
        }
    }

    /// Gives the room a nameplate of this form.
    fn name(&mut self, room: &mut Room, nonce: Nonce, form: Form) -> Result<Nameplate, No> {
        Ok(match form {
            Form::Spoken => {
                let number = self.plates.spoken(nonce, &mut self.rng).ok_or(No::Refused(Refusal::Busy))?;
                room.spoken = Some(number);
                Nameplate::Spoken(number)
            }
            Form::Link => {
                let random = self.plates.link(nonce, &mut self.rng);
                room.link = Some(random);
                Nameplate::Link(random)
            }
        })
    }

    /// A restored room is found where the latest of its proofs says, as far as nobody else is found there.
    fn adopt_plates(&mut self, now: Time, claim: &Claim) -> bool {
        let Some(room) = self.rooms.get_mut(&claim.room) else { return false };
        if claim.expiry <= room.plates_from {
            return false;
        }
        room.plates_from = claim.expiry;
        let before = (room.spoken, room.link);
        let spoken = claim.spoken.filter(|n| self.plates.adopt_spoken(claim.room, *n));
        let link = claim.link.filter(|l| self.plates.adopt_link(claim.room, *l));
        (room.spoken, room.link) = (spoken, link);
        if let (Some(old), _) = before
            && spoken != Some(old)
        {
            self.plates.release(now, Nameplate::Spoken(old));
        }
        if let (_, Some(old)) = before
            && link != Some(old)
        {
            self.plates.release(now, Nameplate::Link(old));
        }
        before != (spoken, link)
    }

    fn may_create(&mut self, now: Time, conn: ConnId) -> Outcome {
        let net = self.conns.get(&conn).and_then(|c| c.net);
        if !within(&mut self.creates, now, net) {
            return Err(No::Refused(Refusal::TooFast));
        }
        (self.rooms.len() < self.limits.rooms).then_some(()).ok_or(No::Refused(Refusal::Busy))
    }

    /// Mail is lost, silently, when nobody is there or its sender writes too much: nothing may rely on it alone.
    fn deliver(&mut self, now: Time, by: ConnId, to: Option<ConnId>, from: Party, blob: Vec<u8>) {
        let may = self.conns.get_mut(&by).is_some_and(|c| c.mail.take(now, MAIL, 1));
        match to.filter(|_| may) {
            Some(to) => self.hand(to, from, blob),
            None => self.counters.mail_lost += 1,
        }
    }

    fn hand(&mut self, to: ConnId, from: Party, blob: Vec<u8>) {
        self.counters.mail += 1;
        self.say(to, ToClient::Mail { from, blob });
    }

    fn present(&mut self, nonce: Nonce) {
        let Some(room) = self.rooms.get(&nonce) else { return };
        let slots = room.here().map(|(slot, _)| slot.bit()).sum();
        for (_, conn) in room.here() {
            self.out.push_back(Output::Say { conn, message: ToClient::Present { slots } });
        }
    }

    fn drop_conn(&mut self, now: Time, conn: ConnId) {
        let Some(c) = self.conns.remove(&conn) else { return };
        match c.standing {
            Standing::New | Standing::Greeted => {}
            Standing::Visitor { room, id } => {
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.visitors.remove(&id);
                }
            }
            Standing::Seated(place) => {
                if let Some(room) = self.rooms.get_mut(&place.room) {
                    room.away(now, place.slot);
                }
                self.door_gone(now, place);
            }
        }
    }

    fn end_if_over(&mut self, now: Time, nonce: Nonce) {
        if !self.rooms.get(&nonce).is_some_and(Room::is_over) {
            return;
        }
        let Some(room) = self.rooms.remove(&nonce) else { return };
        for plate in
            [room.spoken.map(Nameplate::Spoken), room.link.map(Nameplate::Link)].into_iter().flatten()
        {
            self.plates.release(now, plate);
        }
    }

    fn sweep(&mut self, now: Time) {
        self.swept = now;
        let late = |c: &Conn| match c.standing {
            Standing::New => now - c.opened >= HANDSHAKE,
            Standing::Greeted | Standing::Visitor { .. } | Standing::Seated(_) => now - c.heard >= DEAD,
        };
        let mut dead: Vec<_> = self.conns.iter().filter(|(_, c)| late(c)).map(|(conn, _)| *conn).collect();
        dead.extend(self.rooms.values().flat_map(|room| room.overdue(now)));
        for conn in dead {
            // It may have gone with its doorkeeper a moment ago.
            if self.conns.contains_key(&conn) {
                self.out.push_back(Output::Close { conn });
                self.drop_conn(now, conn);
            }
        }
        let silent = self.rooms.iter().flat_map(|(n, room)| room.unanswered(now).map(|id| (*n, id)));
        for (nonce, id) in silent.collect::<Vec<_>>() {
            self.show_to_next_door(nonce, id);
        }
        self.rooms.values_mut().for_each(|room| room.expire(now));
        let over: Vec<_> = self.rooms.iter().filter(|(_, room)| room.is_over()).map(|(n, _)| *n).collect();
        over.into_iter().for_each(|nonce| self.end_if_over(now, nonce));
        self.plates.expire(now);
    }

    fn stand(&mut self, conn: ConnId, standing: Standing) {
        if let Some(c) = self.conns.get_mut(&conn) {
            c.standing = standing;
        }
    }

    fn say(&mut self, conn: ConnId, message: ToClient) {
        self.out.push_back(Output::Say { conn, message });
    }

    fn refuse(&mut self, conn: ConnId, refusal: Refusal) {
        self.counters.refused += 1;
        self.out.push_back(Output::Say { conn, message: ToClient::Refused(refusal) });
    }

    fn turn_away(&mut self, now: Time, conn: ConnId, refusal: Refusal) {
        self.refuse(conn, refusal);
        self.out.push_back(Output::Close { conn });
        self.drop_conn(now, conn);
    }
}

/// A request that is not granted: the connection goes on, or it ends.
enum No {
    Refused(Refusal),
    Closed(Refusal),
}

type Outcome = Result<(), No>;

fn within(sources: &mut Sources, now: Time, net: Option<Net>) -> bool {
    net.is_none_or(|net| sources.take(now, net, 1))
}

/// All timers here are tens of seconds and more.
const SWEEP: Duration = Duration::from_secs(1);
/// From the accepted connection to HELLO: four round trips on the worst line that carries speech.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Two and a half PINGs.
const DEAD: Duration = Duration::from_secs(75);
/// Handshakes and control with 15 friends that lost all other paths.
const MAIL: Rate = Rate::per_second(40, 80);
/// Above what mail, PINGs and requests need together.
const FRAMES: Rate = Rate::per_second(100, 300);
/// Seconds; renewed at half time.
const TICKET_LIFE: u32 = 3_600;

mod visiting;

#[cfg(test)]
mod tests;
