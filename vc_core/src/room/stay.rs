//! Inside a room: the roster of friends, the relays we are bound to, the codes that let others in.

mod admission;
mod again;
mod carriage;
mod entrance;
mod friends;
mod hosting;
mod packets;
mod punching;
mod removal;
mod signaling;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand_core::RngCore;

use self::again::{Again, Claim, RETURN, admission};
use self::carriage::Carriage;
use self::entrance::{Draft, Mending, PutOff, first_entrance};
use self::friends::{Former, Friends};
use self::hosting::Hosting;
use self::punching::Punching;
pub(super) use self::removal::warden;
use self::removal::{Departed, Dismissed};
use self::signaling::Server;
use super::World;
use super::check;
use super::code::{fresh_secret, fresh_words, secret_of};
use super::door::{Door, Lock, Verdict};
use super::join::Joining;
use crate::crypto::keys::{PublicKey, Rng, Secret, StaticKey};
use crate::crypto::pake::Transcript;
use crate::crypto::ticket::Ticket;
use crate::error::Error;
use crate::io::{
    Denial, Event, Hop, Output, Parting, PathPolicy, PeerView, SignalOut, Socket, Time, VoiceFrame, Wake,
};
use crate::net::forward::rate::{Bucket, Rate, Sources};
use crate::net::path::{Carrier, Path};
use crate::peer::handshake::Keys;
use crate::peer::machine::{Act, Peer, Scene};
use crate::peer::vouched::Vouched;
use crate::protocol::codec::Wire;
use crate::protocol::control::{Control, State};
use crate::protocol::entrance::Entrance;
use crate::protocol::mapping::Mapping;
use crate::protocol::member::{
    Candidate, Codes, Entry, MAX_MEMBERS, MemberId, NUMBERS, Record, Seated, Slot,
};
use crate::protocol::packet::Packet;
use crate::protocol::removal::{MAX_GONE, Removals};
use crate::protocol::signal::{
    Form, Mail, Nameplate, Offer, Party, Reclaim, Refusal, ToClient, ToServer, Turned, plates_of,
};
use crate::protocol::text;
use crate::protocol::welcome::Welcome;

pub(crate) struct Stay {
    keys: Keys,
    secret: Secret<32>,
    me: MemberId,
    slot: Slot,
    proof: Reclaim,
    asked: Option<Asked>,
    claim: Claim,
    again: Again,
    server: Server,
    nonce: [u8; 16],
    creator: MemberId,
    /// The creator's key for removals.
    warden: PublicKey,
    entrance: Entrance,
    draft: Option<Draft>,
    put_off: PutOff,
    mending: Mending,
    /// The words that the door counts tries of.
    counted: Option<(u32, String)>,
    door: Door,
    peers: Friends,
    former: Former,
    /// Those that left, whose keys are never taken again; the oldest go first.
    gone: VecDeque<MemberId>,
    /// Whom others knew and we never met, as we heard when we were let in.
    absent: Vec<MemberId>,
    /// Those that the creator removed.
    removals: Option<Removals>,
    dismissed: BTreeMap<MemberId, Dismissed>,
    departed: Vec<Departed>,
    /// Whom the room check was about when it last changed.
    checked: Vec<PublicKey>,
    carriage: Carriage,
    hosting: Hosting,
    /// Candidates as the others know them.
    told: Vec<Candidate>,
    /// How our NAT maps, as the others know it.
    told_mapping: Mapping,
    punching: Punching,
    state: State,
    handshakes: Bucket,
    knockers: Sources,
    /// Friends that were ever reached.
    met: u32,
    /// By all members together.
    vouched: Vouched,
}

/// The one request that the server owes us an answer to. What it says unasked is not believed.
enum Asked {
    /// Our place, after a new connection.
    Seat,
    /// A nameplate for a code.
    Plate(Form),
    /// To be let in by the code.
    Entry(Box<Joining>),
}

/// What the server gave us: our place, its proof, and the nonce that admissions are bound to.
pub(crate) struct Seat {
    pub(crate) slot: Slot,
    pub(crate) proof: Reclaim,
    pub(crate) nonce: [u8; 16],
}

impl Stay {
    /// We made the room.
    pub(crate) fn found(world: &mut World, now: Time, key: StaticKey, seat: Seat, number: u32) -> Self {
        let mut room = [0; 16];
        world.rng.fill_bytes(&mut room);
        let secret = Secret::random(&mut world.rng);
        let codes = Codes { spoken: Some((number, fresh_words(&mut world.rng))), link: None };
        let founder = (MemberId::of(&room, &key.public()), warden(&key).public());
        let entrance = first_entrance(&key, codes.clone());
        let keys = Keys::new(key, room, &secret, &founder);
        let mut stay = Self::new(world, now, keys, secret, founder, seat, entrance);
        stay.draft = Some(Draft::of_founder(codes));
        stay
    }

    /// We were let in.
    pub(crate) fn enter(world: &mut World, now: Time, key: StaticKey, seat: Seat, welcome: Welcome) -> Self {
        let secret = Secret::new(welcome.secret);
        let founder = (welcome.creator, welcome.warden);
        let keys = Keys::new(key, welcome.room, &secret, &founder);
        let mut stay = Self::new(world, now, keys, secret, founder, seat, welcome.entrance);
        stay.told = world.surroundings.candidates().to_vec();
        stay.gone = welcome.gone.into_iter().collect();
        stay.absent = welcome.absent;
        stay.learn_removals(world, now, None, welcome.removals);
        for member in welcome.members {
            stay.add(world, now, None, &member);
        }
        stay
    }

    fn new(
        world: &mut World,
        now: Time,
        keys: Keys,
        secret: Secret<32>,
        (creator, warden): (MemberId, PublicKey),
        seat: Seat,
        entrance: Entrance,
    ) -> Self {
        Self {
            me: MemberId::of(&keys.room, &keys.me.public()),
            keys,
            secret,
            slot: seat.slot,
            proof: seat.proof,
            asked: None,
            claim: Claim::Proof,
            again: Again::new(now),
            server: Server::Reached { here: 0 },
            nonce: seat.nonce,
            creator,
            warden,
            counted: entrance.codes.get().spoken.clone(),
            entrance,
            draft: None,
            put_off: PutOff::default(),
            mending: Mending::default(),
            door: Door::default(),
            peers: Friends::default(),
            former: Former::default(),
            gone: VecDeque::new(),
            absent: Vec::new(),
            removals: None,
            dismissed: BTreeMap::new(),
            departed: Vec::new(),
            checked: Vec::new(),
            carriage: Carriage::new(),
            hosting: Hosting::default(),
            told: Vec::new(),
            told_mapping: Mapping::Unknown,
            punching: Punching::default(),
            state: State { name: world.name.clone(), forwards: world.forwards, ..State::default() },
            handshakes: Bucket::default(),
            knockers: Sources::new(KNOCKS_EACH, &mut world.rng),
            met: 0,
            vouched: Vouched::default(),
        }
    }

    pub(crate) fn me(&self) -> MemberId {
        self.me
    }

    fn is_creator(&self) -> bool {
        self.me == self.creator
    }

    /// The codes to hand on; `None` while they are in the making.
    pub(crate) fn codes(&self) -> Option<&Codes> {
        Some(self.entrance.codes.get()).filter(|codes| self.draft.is_none() && **codes != Codes::default())
    }

    /// The room check over all whom we hear and who hear us.
    pub(crate) fn check(&self) -> [&'static str; 5] {
        check::words(&self.keys.room, self.present().copied().chain([self.keys.me.public()]).collect())
    }

    fn present(&self) -> impl Iterator<Item = &PublicKey> {
        self.peers.values().filter(|peer| peer.is_here()).map(Peer::key)
    }

    pub(crate) fn peers(&self, now: Time) -> Vec<PeerView> {
        let shown = self.peers.values().filter(|peer| !peer.has_left());
        shown.map(|peer| peer.view(now, self.display(peer))).collect()
    }

    /// Let in, and nobody in the room could ever be reached.
    pub(crate) fn is_stranded(&self, now: Time) -> bool {
        let nobody = self.met == 0 && !self.is_creator() && self.peers.values().all(Peer::is_away);
        nobody && !self.has_hope(now)
    }

    pub(crate) fn voice(&mut self, world: &mut World, now: Time, frame: &VoiceFrame) {
        if self.state.muted {
            return;
        }
        for id in self.ids() {
            self.with(world, now, id, |peer, scene| peer.voice(scene, frame));
        }
    }

    pub(crate) fn say(&mut self, world: &mut World, text: &str) {
        let line = text::line(text);
        if line.is_empty() {
            return;
        }
        for peer in self.peers.values_mut().filter(|peer| !peer.is_away()) {
            if !peer.say(&line) {
                let lost = Event::Undelivered { to: peer.id(), text: line.clone() };
                world.out.push_back(Output::Event(lost));
            }
        }
    }

    pub(crate) fn set_state(&mut self, change: impl FnOnce(&mut State)) {
        let before = self.state.clone();
        change(&mut self.state);
        if self.state != before {
            self.tell_all(&Control::State(self.state.clone()));
        }
    }

    /// Everybody learns that we go.
    pub(crate) fn leave(&mut self, world: &mut World) {
        self.tell_all(&Control::Leave);
        world.tell_server(&ToServer::Leave);
    }

    /// Of what we said, whoever is there misses so many lines at most.
    pub(crate) fn unread(&self) -> usize {
        self.peers.values().map(Peer::unread).max().unwrap_or_default()
    }

    /// Whoever leaves knows what was not read.
    pub(crate) fn report_undelivered(&mut self, world: &mut World, now: Time) {
        for id in self.ids() {
            self.with(world, now, id, |peer, scene| peer.report_undelivered(scene));
        }
    }

    /// Everybody who can has learnt it.
    pub(crate) fn has_left(&self) -> bool {
        self.peers.values().all(Peer::is_settled)
    }

    /// Our addresses changed, or the machine slept.
    pub(crate) fn restart(&mut self, world: &mut World, now: Time) {
        self.rebind(world, now);
        for peer in self.peers.values_mut() {
            // A private address that was another friend's where we were may be its own where we are.
            offer_candidates(world, now, peer);
            peer.restart(now);
        }
        self.punch_anew();
        // Who was silent while we slept is doubted before a word of ours to it counts as talk that just began.
        for id in self.ids() {
            self.with(world, now, id, |peer, scene| peer.tick(scene));
        }
    }

    pub(crate) fn tick(&mut self, world: &mut World, now: Time) {
        self.tick_carriage(world, now);
        let candidates = world.surroundings.candidates();
        if candidates != self.told {
            self.told = candidates.to_vec();
            self.tell_all(&Control::Candidates(self.told.clone()));
        }
        let mapping = world.surroundings.mapping();
        if mapping != self.told_mapping && world.policy == PathPolicy::Auto {
            self.told_mapping = mapping;
            self.tell_all(&Control::Mapping(mapping));
        }
        for id in self.ids() {
            if self.peers.is_due(&id, now) {
                self.with(world, now, id, |peer, scene| peer.tick(scene));
                if self.peers.get_mut(&id).is_some_and(Peer::missed_news) {
                    self.brief(id);
                }
                self.peers.rest(&id, now);
            }
        }
        self.tick_hosting(world, now);
        let forgotten = self.peers.values().filter(|peer| peer.is_forgotten(now)).map(Peer::id);
        forgotten.collect::<Vec<_>>().iter().for_each(|id| self.give_up(id));
        self.punch(world, now);
        self.dismiss(world, now);
        self.see_out(world, now);
        self.hear_put_off(world, now);
        self.ask_again(world, now);
        self.mend_code(world, now);
        self.reconsider(world, now);
        if !self.present().eq(&self.checked) {
            self.checked = self.present().copied().collect();
            self.tell_user(world, Event::CheckChanged);
        }
    }

    pub(crate) fn wake(&self, world: &World, now: Time) -> Wake {
        let peers = self.peers.wake(now).into_iter();
        let carriage = self.carriage_wake(world, now);
        let hosting = self.hosting_wake(world, now);
        let dismissal = self.dismissal_wake(now).map(|at| (at, "dismissal"));
        let punching = self.punch_wake().map(|at| (at, "punching"));
        let put_off = self.put_off.wake().map(|at| (at, "news put off"));
        let mending = self.mending.wake().map(|at| (at, "dead code"));
        let refused = self.draft.as_ref().and_then(Draft::wake).map(|at| (at, "code refused"));
        let entrance = put_off.into_iter().chain(mending).chain(refused);
        let again = self.reconsider_wake(world, now).map(|at| (at, "readmission"));
        let soonest = peers
            .chain(carriage)
            .chain(hosting)
            .chain(dismissal)
            .chain(punching)
            .chain(entrance)
            .chain(again)
            .min();
        soonest.map_or(Wake { at: now + FAR, why: "nothing" }, |(at, why)| Wake { at, why })
    }

    fn control(&mut self, world: &mut World, now: Time, from: MemberId, control: Control) {
        match control {
            Control::Add(seated) => self.vouched_for(world, now, from, &seated),
            Control::Leave => self.departed(world, now, from),
            Control::Removals(removals) => self.learn_removals(world, now, Some(from), Some(removals)),
            Control::Candidates(candidates) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    let before = peer.outside();
                    peer.set_candidates(candidates);
                    offer_candidates(world, now, peer);
                    if peer.outside() != before {
                        self.punch_anew_with(from);
                    }
                }
            }
            Control::Fails(count) => {
                if self.door.told(count) {
                    world.out.push_back(Output::Event(Event::Locked));
                }
            }
            Control::Entrance(entrance) => self.told_entrance(world, now, from, entrance),
            Control::Mapping(mapping) => self.told_mapping(from, mapping),
            Control::Meet { at, ports } => self.meet(world, now, from, at, ports),
            // The peer keeps its own state.
            Control::State(_) => self.stir(now),
            Control::Offer { body, kb } => {
                self.offered(world, now, from, Ticket { body, kb: Secret::new(kb) });
            }
            Control::Withdraw => self.withdrawn(world, now, from),
        }
    }

    /// Runs a peer and does what it wants done.
    fn with(&mut self, world: &mut World, now: Time, id: MemberId, run: impl FnOnce(&mut Peer, &mut Scene)) {
        let mut acts = Vec::new();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut scene = Scene {
            now,
            keys: &self.keys,
            rng: &mut world.rng,
            counters: &mut world.counters,
            acts: &mut acts,
        };
        run(peer, &mut scene);
        for act in acts {
            match act {
                Act::Send { path, bytes } => self.send(world, now, path, bytes),
                Act::Voice(frame) => world.out.push_back(Output::Voice { from: id, frame }),
                Act::Control(control) => self.control(world, now, id, *control),
                Act::Seen { at, us } => {
                    if world.surroundings.told(now, id, at, us) {
                        self.punch_anew();
                    }
                }
                Act::Proved(hop) => self.proved(world, now, id, hop),
                Act::Event(event) => self.tell_user(world, event),
            }
        }
    }

    /// An address is one member's at a time. Of who came again after a crash, the former self would be looked for where the
    /// new one is, and on after that has left.
    fn proved(&mut self, world: &mut World, now: Time, id: MemberId, hop: Hop) {
        for other in self.ids() {
            if other != id && self.peers.get(&other).is_some_and(|peer| peer.is_sought(hop)) {
                self.with(world, now, other, |peer, scene| peer.give_away(scene, hop));
            }
        }
    }

    fn tell_user(&mut self, world: &mut World, mut event: Event) {
        match &mut event {
            Event::Joined { id, name } | Event::Unreachable { id, name } | Event::Renamed { id, name } => {
                if let Some(peer) = self.peers.get(id) {
                    *name = self.display(peer);
                }
            }
            _ => {}
        }
        if let Event::Joined { id, .. } = event {
            self.met += 1;
            self.greet(id);
        }
        world.out.push_back(Output::Event(event));
    }

    /// What a friend that is reached (again) may not know yet, and what others may not know of it: who came while it was
    /// away was not told. Rosters merge by union, so nobody has to be asked.
    fn greet(&mut self, id: MemberId) {
        let Some(friend) = self.peers.get(&id).map(Peer::seated) else { return };
        let others = self.peers.values_mut().filter(|peer| peer.id() != id && !peer.is_away());
        others.for_each(|peer| peer.tell(&Control::Add(friend.clone())));
        self.brief(id);
    }

    /// All that a friend should know, and where we take it to sit: it knows better if we were told late.
    fn brief(&mut self, id: MemberId) {
        let (told, mapping) = (self.told.clone(), self.told_mapping);
        let roster: Vec<Seated> =
            self.peers.values().filter(|peer| !peer.is_away()).map(Peer::seated).collect();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        self.removals.iter().for_each(|removals| peer.tell(&Control::Removals(removals.clone())));
        peer.tell(&Control::State(self.state.clone()));
        peer.tell(&Control::Candidates(told));
        if mapping != Mapping::Unknown {
            peer.tell(&Control::Mapping(mapping));
        }
        peer.tell(&Control::Entrance(self.entrance.clone()));
        if self.door.tries() > 0 {
            peer.tell(&Control::Fails(self.door.tries()));
        }
        for seated in roster {
            peer.tell(&Control::Add(seated));
        }
    }

    fn tell_all(&mut self, control: &Control) {
        self.peers.values_mut().filter(|peer| !peer.is_away()).for_each(|peer| peer.tell(control));
    }

    fn ids(&self) -> Vec<MemberId> {
        self.peers.keys().copied().collect()
    }

    /// A name that no other member's looks like: where two do, both carry the start of their id.
    fn display(&self, peer: &Peer) -> String {
        let mine = [self.state.name.as_str(), OWN_LINES].into_iter();
        let others = self.peers.values().filter(|other| other.id() != peer.id()).map(Peer::name);
        match mine.chain(others).any(|other| text::looks_like(other, peer.name())) {
            true => format!("{} #{:04x}", peer.name(), peer.id().as_u64() >> 48),
            false => peer.name().to_owned(),
        }
    }
}

fn offer_candidates(world: &World, now: Time, peer: &mut Peer) {
    let addrs: Vec<SocketAddr> =
        peer.candidates().iter().filter(|c| world.surroundings.touches(c)).map(|c| c.addr).collect();
    for addr in addrs {
        peer.offer_candidate(now, addr);
    }
}

/// As whose each reads what they wrote themselves: no friend's lines may look like it.
const OWN_LINES: &str = "you";
/// From one household, which may hold several friends.
const KNOCKS_EACH: Rate = Rate::per_second(5, 20);
const FAR: Duration = Duration::from_secs(3_600);
