//! Friends whom plain probes do not reach because our NAT or theirs shows each of us another port: prediction and the
//! birthday spray (`net/punch`). Only while somebody else carries the call, one friend at a time, within a budget.

use std::collections::BTreeSet;

use super::*;
use crate::net::punch::{Guesses, MOST, PREDICTED, SPRAYED, Volley};
use crate::protocol::mapping::Ports;
use crate::protocol::member::Kind;
use crate::protocol::packet::probe;

#[derive(Default)]
pub(super) struct Punching {
    friends: BTreeMap<MemberId, Friend>,
    opening: Option<Opening>,
    /// Spare sockets that the edge has for us.
    spares: BTreeSet<u16>,
    last_spare: u16,
    budget: Bucket,
    wake: Option<Time>,
}

#[derive(Default)]
struct Friend {
    mapping: Mapping,
    /// Since when somebody else carries us to it, and nothing does directly.
    carried: Option<Time>,
    tries: u32,
    not_before: Time,
    budget: Bucket,
    /// One after the other.
    knocking: Vec<Knocking>,
}

/// It opens ports, we knock.
struct Knocking {
    guesses: Guesses,
    volley: Volley,
    ports: Ports,
}

/// We open ports, it knocks.
struct Opening {
    friend: MemberId,
    to: SocketAddr,
    until: Time,
    /// A direct path answered: time to see which of them is best.
    met: bool,
    step: Step,
}

enum Step {
    /// The outside port of each of these spares is asked for; the next of the sequence is the one towards our friend.
    Predict {
        step: i16,
        asked: Vec<(u16, [u8; 8])>,
    },
    Spray(Volley),
}

impl Stay {
    pub(super) fn told_mapping(&mut self, from: MemberId, mapping: Mapping) {
        self.punching.friends.entry(from).or_default().mapping = mapping;
    }

    /// The network is another: what failed before may work now.
    pub(super) fn punch_anew(&mut self) {
        for friend in self.punching.friends.values_mut() {
            (friend.carried, friend.tries, friend.not_before) = (None, 0, Time::ZERO);
        }
    }

    /// A friend is seen elsewhere than before.
    pub(super) fn punch_anew_with(&mut self, id: MemberId) {
        if let Some(friend) = self.punching.friends.get_mut(&id) {
            (friend.tries, friend.not_before) = (0, Time::ZERO);
        }
    }

    pub(super) fn punch(&mut self, world: &mut World, now: Time) {
        for peer in self.peers.values() {
            let friend = self.punching.friends.entry(peer.id()).or_default();
            friend.carried = peer.is_only_carried().then(|| friend.carried.unwrap_or(now));
        }
        self.punching.friends.retain(|id, _| self.peers.contains_key(id));
        self.begin(world, now);
        self.open_ports(world, now);
        self.knock_ports(world, now);
        self.close_spares(world);
        self.punching.wake = self.next_punch(world);
    }

    pub(super) fn punch_wake(&self) -> Option<Time> {
        self.punching.wake
    }

    /// A friend opens ports towards us. An insider could name a stranger's address: docs/SECURITY.md has the bounds.
    pub(super) fn meet(
        &mut self,
        world: &mut World,
        now: Time,
        from: MemberId,
        at: SocketAddr,
        ports: Ports,
    ) {
        let Some(peer) = self.peers.get(&from) else { return };
        let each_another = world.surroundings.mapping().ports().is_some();
        if peer.is_reached_directly() || world.policy != PathPolicy::Auto || each_another {
            return;
        }
        let outside =
            |candidate: &Candidate| candidate.kind == Kind::ServerReflexive && candidate.addr.ip() == at.ip();
        let named = peer.candidates().iter().any(outside);
        if !named || !world.surroundings.touches(&Candidate { kind: Kind::ServerReflexive, addr: at }) {
            return world.counters.out_of_turn += 1;
        }
        let punching = &mut self.punching;
        let wide = |friend: &Friend| friend.knocking.iter().any(|knocking| knocking.ports == Ports::Random);
        let busy = ports == Ports::Random && punching.friends.values().any(wide);
        let friend = punching.friends.entry(from).or_default();
        let guesses = Guesses::new(at, ports, &mut world.rng);
        let cost = guesses.len() as u64;
        if busy || !friend.budget.take(now, EACH, cost) || !punching.budget.take(now, ALL, cost) {
            return world.counters.too_many += 1;
        }
        let volley = Volley::new(guesses.len(), now);
        friend.knocking.push(Knocking { guesses, volley, ports });
    }

    /// A server's answer to one of our spare sockets. False if it answers no question of ours.
    pub(super) fn spare_seen(&mut self, spare: u16, nonce: [u8; 8], seen: SocketAddr) -> bool {
        let Some(Opening { friend, step: Step::Predict { step, asked }, .. }) = &mut self.punching.opening
        else {
            return false;
        };
        let Some(at) = asked.iter().position(|ours| *ours == (spare, nonce)) else { return false };
        asked.remove(at);
        if let Some(peer) = self.peers.get_mut(friend) {
            peer.tell(&Control::Meet { at: seen, ports: Ports::Sequential { step: *step } });
        }
        true
    }

    /// Whom we could meet by opening ports, where it listens, and when that is due.
    fn wanted(&self, world: &World) -> impl Iterator<Item = (MemberId, SocketAddr, Time)> {
        let ports = world.surroundings.mapping().ports().filter(|_| world.policy == PathPolicy::Auto);
        let patience = match ports {
            Some(Ports::Sequential { .. }) => BEFORE_PREDICTION,
            Some(Ports::Random) | None => BEFORE_SPRAY,
        };
        let friends = self.punching.friends.iter().filter(move |_| ports.is_some());
        friends.filter(|(_, friend)| friend.mapping == Mapping::Independent).filter_map(
            move |(id, friend)| {
                let outside =
                    |c: &&Candidate| c.kind == Kind::ServerReflexive && world.surroundings.touches(c);
                let to = self.peers.get(id)?.candidates().iter().find(outside)?.addr;
                Some((*id, to, friend.not_before.max(friend.carried? + patience)))
            },
        )
    }

    fn begin(&mut self, world: &mut World, now: Time) {
        if self.punching.opening.is_some() {
            return;
        }
        let Some((id, to, _)) = self.wanted(world).find(|(.., due)| *due <= now) else { return };
        let Some(ports) = world.surroundings.mapping().ports() else { return };
        let Some(friend) = self.punching.friends.get_mut(&id) else { return };
        friend.tries += 1;
        friend.not_before = now + if friend.tries == 1 { SECOND_TRY } else { LATER_TRY };
        let cost = (2 * PREDICTED + SPRAYED) as u64;
        if !friend.budget.take(now, EACH, cost) || !self.punching.budget.take(now, ALL, cost) {
            return;
        }
        let (until, step) = match (ports, world.surroundings.probe_server()) {
            (Ports::Sequential { step }, Some(server)) => {
                let asked = self.predict(world, now, id, to, server);
                (now + PREDICTION, Step::Predict { step, asked })
            }
            _ => (now + SPRAY, self.spray(world, now, id)),
        };
        self.punching.opening = Some(Opening { friend: id, to, until, met: false, step });
    }

    /// Two packets from each spare: what the server sees of the first tells where the second comes from.
    fn predict(
        &mut self,
        world: &mut World,
        now: Time,
        id: MemberId,
        to: SocketAddr,
        server: SocketAddr,
    ) -> Vec<(u16, [u8; 8])> {
        let mut asked = Vec::new();
        for _ in 0..PREDICTED {
            let spare = self.punching.fresh_spare();
            let mut nonce = [0; 8];
            world.rng.fill_bytes(&mut nonce);
            let hop = Hop { socket: Socket::Spare(spare), addr: server };
            world.out.push_back(Output::Transmit { to: hop, bytes: probe(nonce) });
            let hop = Hop { socket: Socket::Spare(spare), addr: to };
            self.with(world, now, id, |peer, scene| peer.challenge_by(scene, [Path::Direct(hop)]));
            asked.push((spare, nonce));
        }
        asked
    }

    fn spray(&mut self, world: &World, now: Time, id: MemberId) -> Step {
        let seen = |c: &Candidate| c.kind == Kind::ServerReflexive;
        let at = world
            .surroundings
            .candidates()
            .iter()
            .find(|candidate| seen(candidate))
            .map(|candidate| candidate.addr);
        if let (Some(peer), Some(at)) = (self.peers.get_mut(&id), at) {
            peer.tell(&Control::Meet { at, ports: Ports::Random });
        }
        Step::Spray(Volley::new(SPRAYED, now))
    }

    fn open_ports(&mut self, world: &mut World, now: Time) {
        let Some(mut opening) = self.punching.opening.take() else { return };
        let id = opening.friend;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.is_reached_directly() && !opening.met {
            opening.met = true;
            opening.until = opening.until.min(now + CHOICE);
        }
        if opening.until <= now {
            if opening.met || matches!(opening.step, Step::Spray { .. }) {
                return peer.keep_one_spare(now);
            }
            opening.step = self.spray(world, now, id);
            opening.until = now + SPRAY;
        }
        if let Step::Spray(volley) = &mut opening.step
            && !opening.met
        {
            let burst = volley.tick(now);
            let sockets = (0..burst).map(|_| Socket::Spare(self.punching.fresh_spare()));
            let hops: Vec<Path> =
                sockets.map(|socket| Path::Direct(Hop { socket, addr: opening.to })).collect();
            self.with(world, now, id, |peer, scene| peer.challenge_by(scene, hops));
        }
        self.punching.opening = Some(opening);
    }

    fn knock_ports(&mut self, world: &mut World, now: Time) {
        for id in self.ids() {
            let direct = self.peers.get(&id).is_none_or(Peer::is_reached_directly);
            let Some(friend) = self.punching.friends.get_mut(&id) else { continue };
            if direct {
                friend.knocking.clear();
            }
            let mut paths = Vec::new();
            if let Some(knocking) = friend.knocking.first_mut() {
                let burst = knocking.volley.tick(now);
                paths.extend(knocking.guesses.by_ref().take(burst).map(|addr| Path::Direct(addr.into())));
            }
            friend.knocking.retain(|knocking| knocking.volley.wake().is_some());
            if !paths.is_empty() {
                self.with(world, now, id, |peer, scene| peer.challenge_by(scene, paths));
            }
        }
    }

    /// Spares that no path uses.
    fn close_spares(&mut self, world: &mut World) {
        if self.punching.opening.is_some() {
            return;
        }
        let unused = |spare: &u16| !self.peers.values().any(|peer| peer.uses_spare(*spare));
        for spare in self.punching.spares.extract_if(.., |spare| unused(spare)) {
            world.out.push_back(Output::CloseSpare(spare));
        }
    }

    fn next_punch(&self, world: &World) -> Option<Time> {
        let knocks = self.punching.friends.values().filter_map(|friend| friend.knocking.first());
        let knocks = knocks.filter_map(|knocking| knocking.volley.wake());
        let own = match &self.punching.opening {
            Some(Opening { step: Step::Spray(volley), until, met: false, .. }) => {
                volley.wake().into_iter().chain([*until]).min()
            }
            Some(opening) => Some(opening.until),
            None => self.wanted(world).map(|(.., due)| due).min(),
        };
        knocks.chain(own).min()
    }
}

impl Punching {
    fn fresh_spare(&mut self) -> u16 {
        loop {
            self.last_spare = self.last_spare.wrapping_add(1);
            if self.spares.insert(self.last_spare) {
                return self.last_spare;
            }
        }
    }
}

/// Plain probes go at 0, 0.1, 0.3 and 0.7 s.
const BEFORE_PREDICTION: Duration = Duration::from_millis(1_500);
/// And at 1.5 s; another rung carries meanwhile.
const BEFORE_SPRAY: Duration = Duration::from_millis(2_500);
/// Two round trips through a relay (our question, our news to the friend), one of them lost.
const PREDICTION: Duration = Duration::from_secs(2);
/// All knocks of the friend, who hears of it a moment later than we begin.
const SPRAY: Duration = Duration::from_secs(5);
/// Several ports may meet; the nearest stays.
const CHOICE: Duration = Duration::from_secs(1);
const SECOND_TRY: Duration = Duration::from_secs(30);
/// Something in between does not allow it; a changed network is tried at once.
const LATER_TRY: Duration = Duration::from_secs(900);
/// Packets that one friend may have us send: two full tries at once, another in twenty minutes.
const EACH: Rate = Rate { per_minute: 100, burst: 2 * MOST };
/// All friends: five full tries at once, one more in four minutes.
const ALL: Rate = Rate { per_minute: 500, burst: 5 * MOST };
