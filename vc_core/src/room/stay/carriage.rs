//! The third parties that carry packets for us: relays by the server's tickets, friends by their own.

use super::*;
use crate::net::binding::{Binding, Errand, News};
use crate::net::candidate::HTTPS;

pub(super) struct Carriage {
    bonds: Vec<Bond>,
    tickets_at: Time,
    /// They follow a seat and our request. Unasked, the server could have us knock at new doors without end.
    awaited: bool,
    /// Offers of friends that we do not reach directly (yet).
    held: BTreeMap<MemberId, Ticket>,
}

struct Bond {
    with: With,
    binding: Binding,
    /// Where it last granted us a place from. Two routers that map by destination show each other no port that they are
    /// asked at.
    grants_from: Option<Hop>,
    /// Where our last place was, while we have none: paths by it wait for the next.
    lost: Option<Carrier>,
    /// When its ticket was issued.
    issued: Time,
    /// It will not carry any more; what is under way by it may still arrive.
    ends: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    /// As its tickets name it.
    Relay([u8; 4]),
    Host(MemberId),
}

impl Carriage {
    /// We were given a seat.
    pub(super) fn new() -> Self {
        Self { bonds: Vec::new(), tickets_at: Time::ZERO, awaited: true, held: BTreeMap::new() }
    }

    /// A place was granted from there. BOUND does not say where it was sent: one friend who forwards could else take what
    /// another of its household brings for its own.
    fn granted(&mut self, with: With, from: Hop) {
        if self.bonds.iter().any(|bond| bond.with != with && bond.is_at(from)) {
            return;
        }
        if let Some(bond) = self.bonds.iter_mut().find(|bond| bond.with == with) {
            bond.grants_from = Some(from);
        }
    }
}

impl Bond {
    /// `None` while we have no place there.
    fn carrier(&self) -> Option<Carrier> {
        let hop = self.binding.hop()?;
        Some(match self.with {
            With::Relay(_) => Carrier::Relay(hop),
            With::Host(id) => Carrier::Host(id),
        })
    }

    /// What comes from there may be its own.
    fn is_at(&self, hop: Hop) -> bool {
        self.binding.is_at(hop) || self.grants_from == Some(hop)
    }

    /// By what way we asked what this answers. A relay answers from where it is asked; a friend's answer to a BIND is known
    /// by the nonce, from whatever port of that address it comes. Others may have seen the nonce.
    fn asked_by(&self, from: Hop, packet: &Packet<'_>) -> Option<Hop> {
        let beside = |way: &Hop| (way.socket, way.addr.ip()) == (from.socket, from.addr.ip());
        match packet {
            _ if self.is_relay() => self.binding.is_at(from).then_some(from),
            Packet::Retry { nonce, .. } => self.binding.asked_by(*nonce).filter(beside),
            Packet::Bound(bound) => self.binding.asked_by(bound.nonce).filter(beside),
            _ => self.binding.hop().filter(|hop| *hop == from || self.grants_from == Some(from)),
        }
    }

    fn is_relay(&self) -> bool {
        matches!(self.with, With::Relay(_))
    }

    /// Runs the binding. The carrier, if our place there is gone by that.
    fn run<T>(&mut self, run: impl FnOnce(&mut Binding) -> T) -> (T, Option<Carrier>) {
        let before = self.carrier();
        let result = run(&mut self.binding);
        let lost = before.filter(|_| self.carrier().is_none());
        self.lost = lost.or(self.lost);
        (result, lost)
    }
}

impl Stay {
    /// Who brings us a packet that came by this hop; `None` if nobody whom we asked to.
    pub(super) fn brought_by(&mut self, hop: Hop) -> Option<Carrier> {
        // Whoever we ask there comes first: a friend may grant from an address that is not its own.
        let bonds = self.carriage.bonds.iter_mut().filter(|bond| bond.is_at(hop));
        let bond = bonds.max_by_key(|bond| bond.binding.is_at(hop))?;
        bond.binding.heard();
        bond.carrier()
    }

    pub(super) fn is_relay(&self, hop: Hop) -> bool {
        self.carriage.bonds.iter().any(|bond| bond.is_relay() && bond.binding.is_at(hop))
    }

    /// Everybody to whom packets may be given for others.
    pub(super) fn carriers(&self) -> Vec<Carrier> {
        let lasting = self.carriage.bonds.iter().filter(|bond| bond.ends.is_none());
        lasting.filter_map(Bond::carrier).collect()
    }

    pub(super) fn send_via(
        &mut self,
        world: &mut World,
        now: Time,
        carrier: Carrier,
        slot: Slot,
        inner: &[u8],
    ) {
        if matches!(carrier, Carrier::Host(id) if !self.peers.contains_key(&id)) {
            return;
        }
        let bond = self.carriage.bonds.iter_mut().find(|bond| bond.carrier() == Some(carrier));
        if let Some((to, bytes)) = bond.and_then(|bond| bond.binding.wrap(now, slot, inner)) {
            world.out.push_back(Output::Transmit { to, bytes });
        }
    }

    /// An answer of a relay's or of a friend's who forwards.
    pub(super) fn carrier_packet(&mut self, world: &mut World, now: Time, from: Hop, packet: &Packet<'_>) {
        let bonds = self.carriage.bonds.iter_mut();
        let asked = bonds.filter_map(|bond| bond.asked_by(from, packet).map(|way| (bond, way)));
        let Some((bond, way)) = asked.max_by_key(|(bond, _)| bond.binding.is_at(from)) else {
            return world.counters.unknown += 1;
        };
        let before = bond.carrier().or(bond.lost);
        let news = match packet {
            Packet::Retry { nonce, cookie, .. } => bond.binding.retry(now, way, *nonce, *cookie),
            Packet::Bound(bound) => bond.binding.bound(now, way, bound),
            Packet::Kept { echo, .. } => bond.binding.kept(now, way, *echo),
            Packet::Reset { bind } => bond.binding.reset(now, way, *bind, &mut world.rng),
            _ => News::Unexpected,
        };
        let (with, is_relay, carrier) = (bond.with, bond.is_relay(), bond.carrier());
        if matches!(news, News::Bound { .. }) && carrier.is_some() {
            bond.lost = None;
        }
        if matches!(news, News::Bound { .. } | News::Prolonged) {
            self.carriage.granted(with, from);
        }
        match (news, carrier) {
            (News::Bound { seen, .. }, Some(carrier)) => {
                // What TCP connections are seen by is nobody's UDP address.
                let ours = is_relay && from.socket == Socket::Main;
                if ours && world.surroundings.bound(now, from.addr, seen) {
                    self.punch_anew();
                }
                self.bound(now, before, carrier);
            }
            (News::Bound { .. } | News::Prolonged | News::Nothing, _) => {}
            (News::Unexpected, _) => world.counters.out_of_turn += 1,
        }
    }

    /// A TCP connection could not be made, or ended.
    pub(crate) fn closed(&mut self, world: &mut World, now: Time, hop: Hop) {
        let bonds = self.carriage.bonds.iter_mut();
        let lost: Vec<Carrier> =
            bonds.filter_map(|bond| bond.run(|binding| binding.closed(now, hop, &mut world.rng)).1).collect();
        lost.into_iter().for_each(|carrier| self.interrupted(world, now, carrier));
    }

    /// Our place there is gone. What another path can carry need not wait for the next.
    fn interrupted(&mut self, world: &mut World, now: Time, carrier: Carrier) {
        for id in self.ids() {
            self.with(world, now, id, |peer, scene| peer.interrupt(scene, carrier));
        }
    }

    /// Our addresses changed, or the machine slept.
    pub(super) fn rebind(&mut self, world: &mut World, now: Time) {
        self.carriage.bonds.iter_mut().for_each(|bond| bond.binding.restart(now, &mut world.rng));
    }

    pub(super) fn await_tickets(&mut self) {
        self.carriage.awaited = true;
    }

    pub(super) fn tickets(&mut self, world: &mut World, now: Time, offers: Vec<Offer>) {
        if !std::mem::take(&mut self.carriage.awaited) {
            return world.counters.out_of_turn += 1;
        }
        self.carriage.tickets_at = now + TICKET_RENEWAL;
        if world.policy == PathPolicy::Direct {
            return;
        }
        let mut relays: Vec<([u8; 4], Vec<SocketAddr>, Ticket)> = Vec::new();
        for offer in offers {
            let Some(addr) = world.surroundings.resolve(offer.relay) else { continue };
            let (id, ticket) =
                (relay_of(&offer.body), Ticket { body: offer.body, kb: Secret::new(offer.kb) });
            match relays.iter_mut().find(|(known, ..)| *known == id) {
                Some((_, addrs, _)) => addrs.push(addr),
                None => relays.push((id, vec![addr], ticket)),
            }
        }
        // All members are told of them in one order.
        relays.truncate(MAX_RELAYS);
        let offered: Vec<With> = relays.iter().map(|(id, ..)| With::Relay(*id)).collect();
        for (id, addrs, ticket) in relays {
            let with = With::Relay(id);
            // A relay that is not offered any more serves as long as its ticket does, unless another needs its place.
            let others = |bond: &Bond| bond.is_relay() && bond.with != with;
            if self.carriage.bonds.iter().filter(|bond| others(bond)).count() >= MAX_RELAYS {
                let stale = |bond: &Bond| others(bond) && !offered.contains(&bond.with);
                if let Some(at) = self.carriage.bonds.iter().position(stale) {
                    self.unbind(world, now, at);
                }
            }
            let ways = ways(&addrs, world.surroundings.is_by_https());
            self.bind(world, now, with, &ways, ticket);
        }
    }

    /// A friend offers to forward. Not for those whose address it must not learn.
    pub(super) fn offered(&mut self, world: &mut World, now: Time, from: MemberId, ticket: Ticket) {
        if world.policy != PathPolicy::Auto {
            return world.counters.out_of_turn += 1;
        }
        match self.peers.get(&from).and_then(Peer::direct) {
            Some(hop) => self.accept(world, now, from, hop, ticket),
            None => drop(self.carriage.held.insert(from, ticket)),
        }
    }

    fn accept(&mut self, world: &mut World, now: Time, from: MemberId, hop: Hop, ticket: Ticket) {
        let with = With::Host(from);
        let others = |bond: &Bond| !bond.is_relay() && bond.with != with;
        if self.carriage.bonds.iter().filter(|bond| others(bond)).count() >= MAX_HOSTS
            && let Some(oldest) = self.carriage.bonds.iter().position(others)
        {
            self.unbind(world, now, oldest);
        }
        self.bind(world, now, with, &[hop], ticket);
    }

    /// A friend stops forwarding soon: whatever goes by it moves now.
    pub(super) fn withdrawn(&mut self, world: &mut World, now: Time, from: MemberId) {
        self.carriage.held.remove(&from);
        let bond = self.carriage.bonds.iter_mut().find(|bond| bond.with == With::Host(from));
        if let Some(bond) = bond {
            bond.ends = Some(now + UNDER_WAY);
            self.abandon(world, now, Carrier::Host(from));
        }
    }

    /// It forwarded for us and is gone for good: what it sent before may still come, and it gets nothing any more.
    fn is_departed(&self, at: usize) -> bool {
        let with = self.carriage.bonds.get(at).map(|bond| bond.with);
        matches!(with, Some(With::Host(id)) if !self.peers.contains_key(&id))
    }

    pub(super) fn tick_carriage(&mut self, world: &mut World, now: Time) {
        self.carriage.held.retain(|id, _| self.peers.contains_key(id));
        let reached = |id: &MemberId| self.peers.get(id).and_then(Peer::direct);
        let ready = self.carriage.held.extract_if(.., |id, _| reached(id).is_some());
        let ready: Vec<_> = ready.filter_map(|(id, ticket)| Some((id, reached(&id)?, ticket))).collect();
        for (id, hop, ticket) in ready {
            self.accept(world, now, id, hop, ticket);
        }
        for at in (0..self.carriage.bonds.len()).rev() {
            let Some(bond) = self.carriage.bonds.get_mut(at) else { continue };
            let (mut over, mut lead) = (bond.ends.is_some_and(|end| end <= now), None);
            match bond.with {
                With::Relay(_) => over |= now - bond.issued >= TICKET_LIFE,
                With::Host(id) => match self.peers.get(&id).filter(|host| !host.is_away()) {
                    Some(host) => lead = host.direct(),
                    None if bond.ends.is_none() => {
                        self.withdrawn(world, now, id);
                        continue;
                    }
                    None => {}
                },
            }
            if over {
                self.unbind(world, now, at);
                continue;
            }
            if self.is_departed(at) {
                continue;
            }
            let Some(bond) = self.carriage.bonds.get_mut(at) else { continue };
            if let Some(hop) = lead {
                bond.binding.lead(&[hop], now, &mut world.rng);
            }
            if bond.is_relay() && world.surroundings.is_udp_silent(now) {
                bond.binding.hurry(now);
            }
            let (errands, lost) = bond.run(|binding| binding.tick(now, &mut world.rng));
            run(world, errands);
            if let Some(carrier) = lost {
                self.interrupted(world, now, carrier);
            }
        }
        let relays = self.carriage.bonds.iter().any(Bond::is_relay);
        if relays && self.carriage.tickets_at <= now && world.link.is_up() && self.is_seated() {
            // The request or its answer may be lost with the connection.
            self.carriage.tickets_at = now + TICKET_RETRY;
            self.await_tickets();
            world.tell_server(&ToServer::Tickets);
        }
    }

    pub(super) fn carriage_wake(&self, world: &World, now: Time) -> Option<(Time, &'static str)> {
        let bonds = self.carriage.bonds.iter();
        let there = bonds.clone().enumerate().filter(|(at, _)| !self.is_departed(*at));
        let bindings = there.filter_map(|(_, bond)| bond.binding.wake()).map(|at| (at, "relay"));
        let ends = bonds.clone().filter_map(|bond| Some((bond.ends?, "friend stops forwarding")));
        let mut relays = bonds.filter(|bond| bond.is_relay());
        let silent =
            world.surroundings.silent_from().filter(|_| relays.clone().any(|bond| bond.binding.waits()));
        let silent = silent.map(|at| (at, "UDP silent"));
        let tickets =
            relays.next().map(|_| (self.carriage.tickets_at.max(now + TICKET_PAUSE), "ticket renewal"));
        bindings.chain(ends).chain(tickets).chain(silent).min()
    }

    fn bind(&mut self, world: &mut World, now: Time, with: With, ways: &[Hop], ticket: Ticket) {
        if let Some(bond) = self.carriage.bonds.iter_mut().find(|bond| bond.with == with) {
            let ended = bond.ends.take().is_some();
            bond.issued = now;
            bond.binding.lead(ways, now, &mut world.rng);
            bond.binding.renew(ticket, now, &mut world.rng);
            if let Some(carrier) = bond.carrier().filter(|_| ended) {
                self.bound(now, None, carrier);
            }
            return;
        }
        let silent = matches!(with, With::Relay(_)) && world.surroundings.is_udp_silent(now);
        let binding = Binding::new(ways, ticket, silent, now, &mut world.rng);
        let bond = Bond { with, binding, grants_from: None, lost: None, issued: now, ends: None };
        self.carriage.bonds.push(bond);
    }

    fn unbind(&mut self, world: &mut World, now: Time, at: usize) {
        let bond = self.carriage.bonds.remove(at);
        let carrier = bond.carrier().or(bond.lost);
        run(world, bond.binding.close());
        if let Some(carrier) = carrier {
            self.abandon(world, now, carrier);
        }
    }

    /// We have a place at this carrier now, or reach it in another way than before.
    fn bound(&mut self, now: Time, before: Option<Carrier>, carrier: Carrier) {
        for peer in self.peers.values_mut() {
            if let Some(before) = before {
                peer.reroute(now, before, carrier);
            }
            match carrier {
                Carrier::Host(id) if id == peer.id() || peer.is_relay_only() => continue,
                Carrier::Host(_) => {}
                Carrier::Relay(_) if before.is_none() => peer.restart(now),
                Carrier::Relay(_) => {}
            }
            peer.offer(now, Path::Via { carrier, slot: peer.slot() });
        }
    }

    fn abandon(&mut self, world: &mut World, now: Time, carrier: Carrier) {
        for id in self.ids() {
            self.with(world, now, id, |peer, scene| peer.abandon(scene, carrier));
        }
    }
}

fn run(world: &mut World, errands: Vec<Errand>) {
    world.out.extend(errands.into_iter().map(|errand| match errand {
        Errand::Send(to, bytes) => Output::Transmit { to, bytes },
        Errand::Close(hop) => Output::Close(hop),
    }));
}

/// How to reach a relay, best first. UDP is not tried on the port that only serves those who can use no other; where that
/// port is offered, it is the second by TCP, since what blocks one unusual port blocks all, or the first if it led to the
/// server.
fn ways(addrs: &[SocketAddr], https_first: bool) -> Vec<Hop> {
    let (https, plain): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addrs.iter().partition(|addr| addr.port() == HTTPS);
    let (sooner, later) = plain.split_at(usize::from(!https_first).min(plain.len()));
    let tcp = [sooner, &https, later].concat();
    let udp = plain.into_iter().map(Hop::from);
    udp.chain(tcp.into_iter().map(|addr| Hop { socket: Socket::Tcp, addr })).collect()
}

/// A ticket's first field names the relay.
fn relay_of(body: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = *body;
    [a, b, c, d]
}

/// Half of a ticket's hour.
const TICKET_RENEWAL: Duration = Duration::from_secs(1_800);
/// By then it is void, whatever became of its renewal.
const TICKET_LIFE: Duration = Duration::from_secs(3_600);
const TICKET_RETRY: Duration = Duration::from_secs(30);
/// Signaling may be down when renewal is due.
const TICKET_PAUSE: Duration = Duration::from_secs(5);
/// A round trip by a way that is given up.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// One in use, two to fall back to.
const MAX_RELAYS: usize = 3;
/// Two are elected; their predecessors may still be on the way out.
const MAX_HOSTS: usize = 4;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;
    use crate::protocol::packet::Bound;

    const HOST: &str = "192.0.2.1:40000";

    fn hop(text: &str) -> Hop {
        text.parse::<SocketAddr>().unwrap().into()
    }

    /// We asked this friend for a place.
    fn asked(with: With) -> Bond {
        let mut rng = Rng::from_seed([1; 32]);
        let ticket = Ticket { body: [1; 32], kb: Secret::new([2; 32]) };
        let binding = Binding::new(&[hop(HOST)], ticket, false, Time::ZERO, &mut rng);
        Bond { with, binding, grants_from: None, lost: None, issued: Time::ZERO, ends: None }
    }

    fn host(n: u8) -> With {
        With::Host(MemberId::of(&[n; 16], &StaticKey::from_bytes([n; 32]).public()))
    }

    #[test]
    fn a_friend_answers_from_any_port_of_its_address_and_from_no_other_address() {
        let mut bond = asked(host(1));
        let sent = bond.binding.tick(Time::ZERO, &mut Rng::from_seed([3; 32]));
        let [Errand::Send(_, bytes)] = &sent[..] else { panic!() };
        let Ok(Packet::Bind(bind)) = Packet::parse(bytes) else { panic!() };
        let nonce = bind.nonce;
        let retry = Packet::Retry { nonce, cookie: [4; 16], seen: HOST.parse().unwrap() };
        let bound = Bound {
            nonce,
            bind: 7,
            slot: Slot::new(1).unwrap(),
            ttl: 60,
            seen: HOST.parse().unwrap(),
            mac: [0; 16],
        };
        for packet in [retry, Packet::Bound(bound)] {
            let way = |from: &str| bond.asked_by(hop(from), &packet);
            assert!([HOST, "192.0.2.1:50000"].iter().all(|from| way(from) == Some(hop(HOST))));
            assert!(way("192.0.2.2:40000").is_none());
            let tcp = Hop { socket: Socket::Tcp, addr: HOST.parse().unwrap() };
            assert!(bond.asked_by(tcp, &packet).is_none());
        }
    }

    #[test]
    fn a_friend_who_forwards_cannot_say_that_it_grants_from_where_another_does() {
        let mut carriage = Carriage::new();
        carriage.bonds = [1, 2].map(|n| asked(host(n))).into();
        let from = hop("192.0.2.1:50000");
        carriage.granted(host(2), from);
        carriage.granted(host(1), from);
        carriage.granted(host(1), hop("192.0.2.1:50001"));
        let ports = carriage.bonds.iter().map(|bond| bond.grants_from.unwrap().addr.port());
        assert!(ports.eq([50_001, 50_000]));
    }

    #[test]
    fn the_port_that_led_to_the_server_is_the_first_by_tcp() {
        let addrs = ["192.0.2.1:47700", "192.0.2.1:443"].map(|text| text.parse().unwrap());
        let ports = |https_first| {
            let ways = ways(&addrs, https_first).into_iter();
            ways.map(|hop| (hop.socket == Socket::Tcp, hop.addr.port())).collect::<Vec<_>>()
        };
        assert_eq!(ports(false), [(false, 47_700), (true, 47_700), (true, 443)]);
        assert_eq!(ports(true), [(false, 47_700), (true, 443), (true, 47_700)]);
    }
}
