//! Carries sealed packets between the slots of one room (docs/PROTOCOL.md, "Relay"); run by a relay and by a member
//! that forwards for others.
//!
//! It never sends to an address that has not proven itself by returning a cookie; no packet names an address. One packet
//! in is at most one packet out, and what answers a stranger is no longer than what the stranger sent.

pub mod rate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use rand_core::{RngCore, SeedableRng};

use crate::crypto::keys::{Rng, Secret, mac16, same};
use crate::crypto::ticket::{RelayKey, TicketBody};
use crate::io::{Hop, Socket, Time};
use crate::protocol::codec::Wire;
use crate::protocol::member::{MAX_MEMBERS, Slot};
use crate::protocol::packet::{self, Bind, Bound, Packet};
use rate::{Bucket, Net, Rate, Sources};

pub struct Forwarder {
    key: RelayKey,
    id: [u8; 4],
    limits: Limits,
    rng: Rng,
    cookies: Cookies,
    rooms: BTreeMap<Tag, Box<Room>>,
    /// Where a bind number points; the place there holds the same number.
    binds: BTreeMap<u32, (Tag, Slot)>,
    total: Bucket,
    probes: Sources,
    resets: Sources,
    all_resets: Bucket,
    swept: Time,
    counters: Counters,
}

/// What to do with the packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Drop(Reason),
    /// To where the packet came from, the way it came.
    Reply(Vec<u8>),
    /// Send `header` and then these bytes of the packet.
    Forward {
        to: Hop,
        header: [u8; 2],
        inner: Range<usize>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Malformed,
    /// A packet of ours, but none that a forwarder takes.
    NotForUs,
    TooManyProbes,
    /// Another relay's or version's ticket, an unknown class, or one past its time.
    BadTicket,
    BadMac,
    /// The place was taken with a later ticket: its former owner is back.
    OldTicket,
    TooManyRooms,
    /// Nobody is bound by this number at this address, and enough has been said about that.
    Unbound,
    /// The destination is not bound.
    NobodyThere,
    OverQuota,
    OverTotal,
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Rooms with a place taken, at about 1.5 KiB each.
    pub rooms: usize,
    /// What one place may send, by the class in its ticket.
    pub classes: Vec<Quota>,
    /// Bytes that all places together may send.
    pub total: Rate,
}

#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub bytes: Rate,
    pub packets: Rate,
}

#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub forwarded: u64,
    /// Sum of the lengths of what was forwarded, headers included.
    pub forwarded_bytes: u64,
    pub replies: u64,
    dropped: [u64; Reason::ALL.len()],
}

type Tag = [u8; 8];
type Room = [Option<Place>; MAX_MEMBERS];

struct Place {
    bind: u32,
    hop: Hop,
    /// The number that its owner had where it was before, for packets under way.
    before: Option<Before>,
    heard: Time,
    not_after: u32,
    /// `not_after` on our clock.
    until: Time,
    quota: Quota,
    bytes: Bucket,
    packets: Bucket,
}

#[derive(Clone, Copy)]
struct Before {
    bind: u32,
    hop: Hop,
    until: Time,
}

impl Forwarder {
    /// `id` must be in every ticket; `key` is what tickets are minted with.
    pub fn new(key: RelayKey, id: [u8; 4], limits: Limits, seed: [u8; 32]) -> Self {
        let mut rng = Rng::from_seed(seed);
        Self {
            key,
            id,
            limits,
            cookies: Cookies::new(&mut rng),
            rooms: BTreeMap::new(),
            binds: BTreeMap::new(),
            total: Bucket::default(),
            probes: Sources::new(PROBES, &mut rng),
            resets: Sources::new(RESETS, &mut rng),
            all_resets: Bucket::default(),
            swept: Time::ZERO,
            counters: Counters::default(),
            rng,
        }
    }

    /// `from` names the socket and the sender's address; an address that came by TCP has proven itself. `wall` is Unix
    /// seconds, or any clock of seconds that also dates the tickets.
    pub fn handle(&mut self, now: Time, wall: u32, from: Hop, packet: &[u8]) -> Verdict {
        let verdict = self.judge(now, wall, from, packet).unwrap_or_else(Verdict::Drop);
        match &verdict {
            Verdict::Drop(reason) => self.counters.drop_one(*reason),
            Verdict::Reply(_) => self.counters.replies += 1,
            Verdict::Forward { header, inner, .. } => {
                self.counters.forwarded += 1;
                self.counters.forwarded_bytes += (header.len() + inner.len()) as u64;
            }
        }
        verdict
    }

    /// Frees what nobody holds any more. Nothing expired is ever used, whether this was called or not.
    pub fn expire(&mut self, now: Time) {
        self.swept = now;
        let binds = &mut self.binds;
        self.rooms.retain(|_, room| {
            for place in room.iter_mut() {
                if let Some(before) = place.as_mut().and_then(|p| p.before.take_if(|b| b.until <= now)) {
                    binds.remove(&before.bind);
                }
                if let Some(dead) = place.take_if(|p| !p.alive(now)) {
                    for bind in dead.numbers() {
                        binds.remove(&bind);
                    }
                }
            }
            room.iter().any(Option::is_some)
        });
    }

    /// Nobody has this place any more, whatever ticket it was taken with.
    pub fn vacate(&mut self, tag: &[u8; 8], slot: Slot) {
        let room = self.rooms.get_mut(tag);
        let place = room.and_then(|room| room.get_mut(slot.index())).and_then(Option::take);
        for bind in place.iter().flat_map(Place::numbers) {
            self.binds.remove(&bind);
        }
    }

    /// Whose place is there, or was a moment ago, if something of its owner's came lately.
    pub fn holder(&self, now: Time, tag: &[u8; 8], hop: Hop) -> Option<Slot> {
        let holds = |place: &Place| place.is_at(now, hop) && now - place.heard < LATELY;
        Slot::all().find(|slot| self.place(tag, *slot).is_some_and(holds))
    }

    /// When to call `expire` next.
    pub fn next_expiry(&self) -> Option<Time> {
        (!self.rooms.is_empty()).then(|| self.swept + SWEEP)
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many places are taken.
    pub fn bound(&self) -> usize {
        self.rooms.values().flat_map(|room| room.iter().flatten()).count()
    }

    fn judge(&mut self, now: Time, wall: u32, from: Hop, packet: &[u8]) -> Result<Verdict, Reason> {
        match Packet::parse(packet).map_err(|_| Reason::Malformed)? {
            Packet::Up { bind, to, inner } => {
                let Some((tag, slot)) = self.enter(now, from, bind, packet.len())? else {
                    return self.reset(now, from, bind);
                };
                let to = self.place(&tag, to).filter(|p| p.alive(now) && !p.numbers().any(|n| n == bind));
                let to = to.ok_or(Reason::NobodyThere)?.hop;
                if !self.total.take(now, self.limits.total, packet.len() as u64) {
                    return Err(Reason::OverTotal);
                }
                let inner = packet.len() - inner.len()..packet.len();
                Ok(Verdict::Forward { to, header: [DOWN, slot.index() as u8], inner })
            }
            Packet::Keep { bind, echo } => {
                let Some((tag, _)) = self.enter(now, from, bind, packet.len())? else {
                    return self.reset(now, from, bind);
                };
                Ok(Verdict::Reply(packet::kept(echo, self.present(now, &tag))))
            }
            Packet::Probe { nonce } => {
                if !self.probes.take(now, Net::neighbourhood(from.addr.ip()), 1) {
                    return Err(Reason::TooManyProbes);
                }
                Ok(Verdict::Reply(packet::probed(nonce, from.addr)))
            }
            Packet::Bind(bind) => self.bind(now, wall, from, bind),
            Packet::HsInit { .. }
            | Packet::HsResp { .. }
            | Packet::Transport { .. }
            | Packet::ProbeBy { .. }
            | Packet::Probed { .. }
            | Packet::Retry { .. }
            | Packet::Bound(_)
            | Packet::Down { .. }
            | Packet::Kept { .. }
            | Packet::Reset { .. } => Err(Reason::NotForUs),
        }
    }

    /// Whose place this is, if it is the sender's; charged for the packet.
    fn enter(&mut self, now: Time, from: Hop, bind: u32, len: usize) -> Result<Option<(Tag, Slot)>, Reason> {
        let Some(&(tag, slot)) = self.binds.get(&bind) else { return Ok(None) };
        let room = self.rooms.get_mut(&tag);
        let place = room.and_then(|room| room.get_mut(slot.index())).and_then(Option::as_mut);
        let Some(place) = place.filter(|p| p.alive(now) && p.owns(now, from, bind)) else { return Ok(None) };
        place.heard = now;
        let within = place.packets.take(now, place.quota.packets, 1)
            && place.bytes.take(now, place.quota.bytes, len as u64);
        within.then_some(Some((tag, slot))).ok_or(Reason::OverQuota)
    }

    /// A known number from another address is answered as an unknown one is: nobody can search for numbers, and a
    /// member whose address changed hears at once that it must bind again.
    fn reset(&mut self, now: Time, from: Hop, bind: u32) -> Result<Verdict, Reason> {
        let may = self.resets.take(now, Net::neighbourhood(from.addr.ip()), 1)
            && self.all_resets.take(now, ALL_RESETS, 1);
        may.then(|| Verdict::Reply(packet::reset(bind))).ok_or(Reason::Unbound)
    }

    fn bind(&mut self, now: Time, wall: u32, from: Hop, bind: Bind) -> Result<Verdict, Reason> {
        let ticket = self.ticket(wall, &bind).ok_or(Reason::BadTicket)?;
        let (body, slot, quota) = ticket;
        let proven = from.socket == Socket::Tcp || self.cookies.accepts(now, &mut self.rng, from.addr, &bind);
        if !proven {
            let cookie = self.cookies.bake(now, &mut self.rng, from.addr, &bind);
            return Ok(Verdict::Reply(packet::retry(bind.nonce, cookie, from.addr)));
        }
        let kb = self.key.bind_key(&bind.body);
        if !same(&mac16(kb.as_bytes(), &[&bind.authenticated()]), &bind.mac) {
            return Err(Reason::BadMac);
        }
        let number = self.seat(now, wall, from, (&body, slot, quota))?;
        let mut bound = Bound {
            nonce: bind.nonce,
            bind: number,
            slot,
            ttl: TTL.as_secs() as u16,
            seen: from.addr,
            mac: [0; 16],
        };
        bound.mac = mac16(kb.as_bytes(), &[&bound.authenticated()]);
        Ok(Verdict::Reply(bound.packet()))
    }

    /// What the body says for itself, before anything is known of who sent it.
    fn ticket(&self, wall: u32, bind: &Bind) -> Option<(TicketBody, Slot, Quota)> {
        let body = TicketBody::decode(&bind.body)?;
        let sound = bind.version == packet::VERSION && body.relay == self.id && body.not_after > wall;
        let quota = self.limits.classes.get(usize::from(body.class))?;
        sound.then_some((body, Slot::new(body.slot)?, *quota))
    }

    /// Gives the place to `from`, whoever had it with this or an earlier ticket, and numbers it.
    fn seat(
        &mut self,
        now: Time,
        wall: u32,
        from: Hop,
        (body, slot, quota): (&TicketBody, Slot, Quota),
    ) -> Result<u32, Reason> {
        if !self.rooms.contains_key(&body.room) && self.rooms.len() >= self.limits.rooms {
            return Err(Reason::TooManyRooms);
        }
        let held = self.place(&body.room, slot);
        if held.is_some_and(|p| p.alive(now) && p.not_after > body.not_after) {
            return Err(Reason::OldTicket);
        }
        // A repeated BIND gets the same number, so that a lost BOUND costs nothing; so does a renewed ticket.
        let kept = held.filter(|p| p.hop == from).map(|p| p.bind);
        let bind = kept.unwrap_or_else(|| fresh(&mut self.rng, &self.binds));
        let room = self.rooms.entry(body.room).or_default();
        let Some(place) = room.get_mut(slot.index()) else { return Err(Reason::BadTicket) };
        let (mut bytes, mut packets, mut before) = (Bucket::default(), Bucket::default(), None);
        if let Some(old) = place.take() {
            for bind in old.numbers() {
                self.binds.remove(&bind);
            }
            before = old.left_behind(now, bind, body.not_after);
            // Moving to another address must not refill the quota.
            (bytes, packets) = (old.bytes, old.packets);
        }
        let until = now + Duration::from_secs(u64::from(body.not_after.saturating_sub(wall)));
        let not_after = body.not_after;
        let fresh = Place { bind, hop: from, before, heard: now, not_after, until, quota, bytes, packets };
        for number in fresh.numbers() {
            self.binds.insert(number, (body.room, slot));
        }
        *place = Some(fresh);
        Ok(bind)
    }

    fn place(&self, tag: &Tag, slot: Slot) -> Option<&Place> {
        self.rooms.get(tag)?.get(slot.index())?.as_ref()
    }

    /// The slots of this room whose places are taken.
    pub fn present(&self, now: Time, tag: &[u8; 8]) -> u16 {
        Slot::all().filter(|slot| self.place(tag, *slot).is_some_and(|p| p.alive(now))).map(Slot::bit).sum()
    }
}

impl Place {
    fn alive(&self, now: Time) -> bool {
        now < self.until && now - self.heard < TTL
    }

    /// Those by which packets for other places may come.
    fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        [Some(self.bind), self.before.map(|before| before.bind)].into_iter().flatten()
    }

    fn owns(&self, now: Time, from: Hop, bind: u32) -> bool {
        let before = self.before.filter(|before| now < before.until);
        (self.bind, self.hop) == (bind, from) || before.is_some_and(|b| (b.bind, b.hop) == (bind, from))
    }

    fn is_at(&self, now: Time, hop: Hop) -> bool {
        self.hop == hop || self.before.is_some_and(|before| before.hop == hop && now < before.until)
    }

    /// What still counts of this place once its owner has number `bind` by a ticket dated `not_after`. Another date may
    /// be another owner's.
    fn left_behind(&self, now: Time, bind: u32, not_after: u32) -> Option<Before> {
        if self.bind == bind {
            return self.before;
        }
        let until = now + UNDER_WAY;
        (self.not_after == not_after).then_some(Before { bind: self.bind, hop: self.hop, until })
    }
}

fn fresh(rng: &mut Rng, taken: &BTreeMap<u32, (Tag, Slot)>) -> u32 {
    loop {
        let bind = rng.next_u32();
        if !taken.contains_key(&bind) {
            return bind;
        }
    }
}

impl Reason {
    pub const ALL: [Reason; 11] = [
        Self::Malformed,
        Self::NotForUs,
        Self::TooManyProbes,
        Self::BadTicket,
        Self::BadMac,
        Self::OldTicket,
        Self::TooManyRooms,
        Self::Unbound,
        Self::NobodyThere,
        Self::OverQuota,
        Self::OverTotal,
    ];
}

impl Counters {
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    fn drop_one(&mut self, reason: Reason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { rooms: 4_096, classes: vec![Quota::default()], total: Rate::per_second(62_500_000, 4 << 20) }
    }
}

impl Default for Quota {
    /// 1.5 Mbit/s and 1,600 packets/s: 15 listeners at 10 ms frames, with room for chat and probes.
    fn default() -> Self {
        Self { bytes: Rate::per_second(187_500, 64 << 10), packets: Rate::per_second(1_600, 640) }
    }
}

/// Proof that a sender gets what is sent to its address, without a memory of who asked.
struct Cookies {
    /// The present secret and the one before it, so that a cookie lives for one to two turns.
    secrets: [Secret<32>; 2],
    turned: Time,
}

impl Cookies {
    fn new(rng: &mut Rng) -> Self {
        Self { secrets: [Secret::random(rng), Secret::random(rng)], turned: Time::ZERO }
    }

    fn bake(&mut self, now: Time, rng: &mut Rng, from: SocketAddr, bind: &Bind) -> [u8; 16] {
        self.turn(now, rng);
        cookie(&self.secrets[0], from, bind)
    }

    fn accepts(&mut self, now: Time, rng: &mut Rng, from: SocketAddr, bind: &Bind) -> bool {
        self.turn(now, rng);
        bind.cookie != [0; 16] && self.secrets.iter().any(|s| same(&cookie(s, from, bind), &bind.cookie))
    }

    fn turn(&mut self, now: Time, rng: &mut Rng) {
        let age = now - self.turned;
        if age >= COOKIE_TURN {
            self.secrets.swap(0, 1);
            self.secrets[0] = Secret::random(rng);
            if age >= COOKIE_TURN * 2 {
                self.secrets[1] = Secret::random(rng);
            }
            self.turned = now;
        }
    }
}

fn cookie(secret: &Secret<32>, from: SocketAddr, bind: &Bind) -> [u8; 16] {
    mac16(secret.as_bytes(), &[&from.encode(), &bind.body])
}

/// Type of a packet down, see `protocol::packet`.
const DOWN: u8 = 0xE6;
/// Ten times the longest interval between KEEPs: a place survives a bad minute, not a dead owner.
const TTL: Duration = Duration::from_secs(60);
/// KEEPs come every 5 s, and every second while they are in vain: fifteen or so were lost, or its owner is elsewhere.
const LATELY: Duration = Duration::from_secs(20);
/// A round trip: what its owner sends until it knows its new number.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// A round trip and a retry fit many times over; a copied cookie is soon worthless.
const COOKIE_TURN: Duration = Duration::from_secs(60);
/// Only memory depends on it.
const SWEEP: Duration = Duration::from_secs(10);
/// A /24 full of friends that all ask three times; useless as a reflector.
const PROBES: Rate = Rate::per_second(20, 60);
/// After a restart every member needs one; a forger who uses up a neighbourhood's only delays its re-binds.
const RESETS: Rate = Rate::per_second(10, 32);
const ALL_RESETS: Rate = Rate::per_second(1_000, 1_000);

#[cfg(test)]
mod tests;
