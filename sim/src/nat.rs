//! A router that translates addresses, as RFC 4787 classifies them: how it maps, what it lets in, when it forgets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustc_hash::FxHashMap;
use vc_core::io::Time;

use crate::dice::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub mapping: Dependence,
    pub filtering: Dependence,
    pub ports: Ports,
    /// Lets those inside meet at its outside address.
    pub hairpin: bool,
    /// A mapping without a packet for so long is forgotten.
    pub expiry: Duration,
}

/// How a new mapping gets its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    Random,
    /// The one inside if it is free, else any.
    Kept,
    /// The next one; others of the house may have taken up to `crowd` in between.
    Sequential {
        crowd: u16,
    },
}

/// On what part of the remote address a mapping or a filter depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    Endpoint,
    Address,
    AddressAndPort,
}

impl Kind {
    /// One mapping for all destinations; lets in only whom a packet was sent to. The usual home router.
    pub const PORT_RESTRICTED: Self = Self::new(Dependence::Endpoint, Dependence::AddressAndPort);
    /// A mapping for each destination: what one server sees tells another friend nothing.
    pub const SYMMETRIC: Self = Self::new(Dependence::AddressAndPort, Dependence::AddressAndPort);

    /// What friends live behind; `None` is a public address.
    pub const ALL: [(&str, Option<Self>); 12] = {
        use Dependence::{Address, AddressAndPort, Endpoint};
        [
            ("public", None),
            ("full cone", Some(Self::new(Endpoint, Endpoint))),
            ("address-restricted", Some(Self::new(Endpoint, Address))),
            ("port-restricted", Some(Self::PORT_RESTRICTED)),
            ("port-restricted, port kept", Some(Self::PORT_RESTRICTED.keeping_ports())),
            ("by address, open filter", Some(Self::new(Address, Endpoint))),
            ("by address, address filter", Some(Self::new(Address, Address))),
            ("by address", Some(Self::new(Address, AddressAndPort))),
            ("symmetric, open filter", Some(Self::new(AddressAndPort, Endpoint))),
            ("symmetric, address filter", Some(Self::new(AddressAndPort, Address))),
            ("symmetric", Some(Self::SYMMETRIC)),
            ("symmetric, sequential", Some(Self::SYMMETRIC.sequential(1))),
        ]
    };

    /// Random ports, no hairpin, a minute.
    pub const fn new(mapping: Dependence, filtering: Dependence) -> Self {
        Self { mapping, filtering, ports: Ports::Random, hairpin: false, expiry: Duration::from_secs(60) }
    }

    pub const fn sequential(self, crowd: u16) -> Self {
        Self { ports: Ports::Sequential { crowd }, ..self }
    }

    pub const fn keeping_ports(self) -> Self {
        Self { ports: Ports::Kept, ..self }
    }

    pub const fn hairpin(self) -> Self {
        Self { hairpin: true, ..self }
    }
}

pub struct Nat {
    kind: Kind,
    public: IpAddr,
    mappings: FxHashMap<u16, Mapping>,
    /// The port of each inside address and part of the destination.
    ports: FxHashMap<(SocketAddr, Part), u16>,
    /// What was asked for by PCP, NAT-PMP or UPnP-IGD, by the port outside.
    granted: FxHashMap<u16, Granted>,
    /// Where a sequence stands.
    last: u16,
    dice: Dice,
}

/// Leads inside, whoever sends. What goes out does so as ever, but for answers to what came in by it.
struct Granted {
    inside: SocketAddr,
    /// Who came in by it, and when it was last used with each.
    used: FxHashMap<SocketAddr, Time>,
}

struct Mapping {
    inside: SocketAddr,
    /// The part of the destination that this mapping is for.
    to: Part,
    /// When a packet was last sent to each, as far as the filter tells them apart.
    sent: FxHashMap<Part, Time>,
    used: Time,
}

/// What of an address matters.
type Part = Option<(IpAddr, Option<u16>)>;

impl Nat {
    pub fn new(kind: Kind, public: IpAddr, mut dice: Dice) -> Self {
        let last = dice.range(u64::from(FIRST), u64::from(u16::MAX)) as u16;
        let (mappings, ports) = (FxHashMap::default(), FxHashMap::default());
        Self { kind, public, mappings, ports, granted: FxHashMap::default(), last, dice }
    }

    /// It was switched off and on: all mappings are gone.
    pub fn restart(&mut self) {
        self.mappings.clear();
        self.ports.clear();
        self.granted.clear();
    }

    /// A port outside for this one inside, instead of what it had.
    pub fn grant(&mut self, inside: SocketAddr) -> SocketAddr {
        self.revoke(inside);
        let port = self.free_port(inside.port());
        self.granted.insert(port, Granted { inside, used: FxHashMap::default() });
        SocketAddr::new(self.public, port)
    }

    pub fn revoke(&mut self, inside: SocketAddr) {
        self.granted.retain(|_, granted| granted.inside != inside);
    }

    /// It has another public address.
    pub fn renumber(&mut self, public: IpAddr) {
        self.public = public;
        self.restart();
    }

    pub fn hairpins(&self) -> bool {
        self.kind.hairpin
    }

    /// The source of a packet as the outside sees it.
    pub fn outbound(&mut self, now: Time, inside: SocketAddr, to: SocketAddr) -> SocketAddr {
        let (expiry, filtering) = (self.kind.expiry, self.kind.filtering);
        for (port, Granted { used, .. }) in self.granted.iter_mut().filter(|(_, g)| g.inside == inside) {
            if let Some(at) = used.get_mut(&to).filter(|at| now - **at < expiry) {
                *at = now;
                return SocketAddr::new(self.public, *port);
            }
        }
        let part_of_it = part(self.kind.mapping, to);
        let known = self.ports.get(&(inside, part_of_it)).copied();
        let alive = |port: &u16| self.mappings.get(port).is_some_and(|m| now - m.used < expiry);
        let port = known.filter(alive).unwrap_or_else(|| self.fresh(now, inside, part_of_it));
        if let Some(mapping) = self.mappings.get_mut(&port) {
            mapping.used = now;
            mapping.sent.insert(part(filtering, to), now);
        }
        SocketAddr::new(self.public, port)
    }

    /// Who inside gets a packet to `port` from outside.
    pub fn inbound(&mut self, now: Time, port: u16, from: SocketAddr) -> Option<SocketAddr> {
        let (expiry, filtering) = (self.kind.expiry, self.kind.filtering);
        if let Some(Granted { inside, used }) = self.granted.get_mut(&port) {
            used.insert(from, now);
            return Some(*inside);
        }
        let mapping = self.mappings.get(&port).filter(|mapping| now - mapping.used < expiry)?;
        let open = mapping.sent.get(&part(filtering, from)).is_some_and(|at| now - *at < expiry);
        // Most routers refresh on what comes in, too; those that do not are the harder case.
        open.then_some(mapping.inside)
    }

    /// A mapping with a port that is free by now.
    fn fresh(&mut self, now: Time, inside: SocketAddr, to: Part) -> u16 {
        let expiry = self.kind.expiry;
        for (_, old) in self.mappings.extract_if(|_, mapping| now - mapping.used >= expiry) {
            self.ports.remove(&(old.inside, old.to));
        }
        let port = self.free_port(inside.port());
        self.ports.insert((inside, to), port);
        self.mappings.insert(port, Mapping { inside, to, sent: FxHashMap::default(), used: now });
        port
    }

    fn free_port(&mut self, inside: u16) -> u16 {
        if self.kind.ports == Ports::Kept && !self.is_taken(inside) {
            return inside;
        }
        loop {
            let port = match self.kind.ports {
                Ports::Random | Ports::Kept => self.dice.range(u64::from(FIRST), 65_536) as u16,
                Ports::Sequential { crowd } => {
                    let step = 1 + self.dice.range(0, u64::from(crowd) + 1) as u16;
                    self.last.checked_add(step).unwrap_or(FIRST)
                }
            };
            self.last = port;
            if !self.is_taken(port) {
                return port;
            }
        }
    }

    fn is_taken(&self, port: u16) -> bool {
        self.mappings.contains_key(&port) || self.granted.contains_key(&port)
    }

    /// Who inside owns this public port, whatever the filter says.
    pub fn owner(&self, port: u16) -> Option<SocketAddr> {
        let granted = self.granted.get(&port).map(|granted| granted.inside);
        granted.or(self.mappings.get(&port).map(|mapping| mapping.inside))
    }
}

fn part(dependence: Dependence, addr: SocketAddr) -> Part {
    match dependence {
        Dependence::Endpoint => None,
        Dependence::Address => Some((addr.ip(), None)),
        Dependence::AddressAndPort => Some((addr.ip(), Some(addr.port()))),
    }
}

const FIRST: u16 = 1_024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(secs: u64) -> Time {
        Time::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn a_port_restricted_router_keeps_one_mapping_and_lets_in_only_the_called() {
        let mut nat = Nat::new(Kind::PORT_RESTRICTED, addr("203.0.113.1:1").ip(), Dice::new(1));
        let (inside, a, b) = (addr("10.0.0.2:5000"), addr("198.51.100.1:7"), addr("198.51.100.2:7"));
        let seen = nat.outbound(at(0), inside, a);
        assert_eq!(nat.inbound(at(0), seen.port(), a), Some(inside));
        assert_eq!(nat.inbound(at(0), seen.port(), b), None);
        assert_eq!(nat.inbound(at(0), seen.port(), addr("198.51.100.1:8")), None);
        assert_eq!(nat.outbound(at(1), inside, b), seen);
        assert_eq!(nat.inbound(at(1), seen.port(), b), Some(inside));
        assert_eq!(nat.inbound(at(62), seen.port(), b), None);
        assert!(nat.outbound(at(62), inside, b) != seen);
    }

    #[test]
    fn a_port_that_was_asked_for_lets_in_everybody_and_only_answers_leave_by_it() {
        let mut nat = Nat::new(Kind::SYMMETRIC, addr("203.0.113.1:1").ip(), Dice::new(1));
        let (inside, a, b) = (addr("10.0.0.2:5000"), addr("198.51.100.1:7"), addr("198.51.100.2:7"));
        let open = nat.grant(inside);
        assert_eq!(
            (nat.inbound(at(0), open.port(), a), nat.owner(open.port())),
            (Some(inside), Some(inside))
        );
        assert_eq!(nat.outbound(at(1), inside, a), open);
        assert!(nat.outbound(at(1), inside, b) != open && nat.outbound(at(62), inside, a) != open);
        let another = nat.grant(inside);
        assert!(another != open && nat.inbound(at(63), another.port(), b) == Some(inside));
        assert_eq!(nat.inbound(at(63), open.port(), b), None);
        nat.revoke(inside);
        assert_eq!(nat.inbound(at(63), another.port(), b), None);
    }

    #[test]
    fn a_symmetric_router_shows_each_destination_another_port() {
        let mut nat = Nat::new(Kind::SYMMETRIC, addr("203.0.113.1:1").ip(), Dice::new(1));
        let inside = addr("10.0.0.2:5000");
        let a = nat.outbound(at(0), inside, addr("198.51.100.1:7"));
        assert!(a != nat.outbound(at(0), inside, addr("198.51.100.1:8")));
        assert_eq!(a, nat.outbound(at(0), inside, addr("198.51.100.1:7")));
    }
}
