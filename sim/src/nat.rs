//! A router that translates addresses, as RFC 4787 classifies them: how it maps, what it lets in, when it forgets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

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
    mappings: BTreeMap<u16, Mapping>,
    /// Where a sequence stands.
    last: u16,
    dice: Dice,
}

struct Mapping {
    inside: SocketAddr,
    /// The part of the destination that this mapping is for.
    to: Option<(IpAddr, Option<u16>)>,
    /// Whom a packet was sent to, and when last.
    sent: BTreeMap<SocketAddr, Time>,
    used: Time,
}

impl Nat {
    pub fn new(kind: Kind, public: IpAddr, mut dice: Dice) -> Self {
        let last = dice.range(u64::from(FIRST), u64::from(u16::MAX)) as u16;
        Self { kind, public, mappings: BTreeMap::new(), last, dice }
    }

    /// It was switched off and on: all mappings are gone.
    pub fn restart(&mut self) {
        self.mappings.clear();
    }

    pub fn hairpins(&self) -> bool {
        self.kind.hairpin
    }

    /// The source of a packet as the outside sees it.
    pub fn outbound(&mut self, now: Time, inside: SocketAddr, to: SocketAddr) -> SocketAddr {
        let expiry = self.kind.expiry;
        self.mappings.retain(|_, mapping| now - mapping.used < expiry);
        let part = part(self.kind.mapping, to);
        let known =
            self.mappings.iter().find(|(_, m)| m.inside == inside && m.to == part).map(|(port, _)| *port);
        let port = known.unwrap_or_else(|| self.free_port(inside.port()));
        let fresh = || Mapping { inside, to: part, sent: BTreeMap::new(), used: now };
        let mapping = self.mappings.entry(port).or_insert_with(fresh);
        mapping.used = now;
        mapping.sent.insert(to, now);
        SocketAddr::new(self.public, port)
    }

    /// Who inside gets a packet to `port` from outside.
    pub fn inbound(&mut self, now: Time, port: u16, from: SocketAddr) -> Option<SocketAddr> {
        let (expiry, filtering) = (self.kind.expiry, self.kind.filtering);
        let mapping = self.mappings.get_mut(&port).filter(|mapping| now - mapping.used < expiry)?;
        let open = mapping
            .sent
            .iter()
            .any(|(to, at)| now - *at < expiry && part(filtering, *to) == part(filtering, from));
        // Most routers refresh on what comes in, too; those that do not are the harder case.
        open.then_some(mapping.inside)
    }

    fn free_port(&mut self, inside: u16) -> u16 {
        if self.kind.ports == Ports::Kept && !self.mappings.contains_key(&inside) {
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
            if !self.mappings.contains_key(&port) {
                return port;
            }
        }
    }

    /// Who inside owns this public port, whatever the filter says.
    pub fn owner(&self, port: u16) -> Option<SocketAddr> {
        self.mappings.get(&port).map(|mapping| mapping.inside)
    }
}

fn part(dependence: Dependence, addr: SocketAddr) -> Option<(IpAddr, Option<u16>)> {
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
    fn a_symmetric_router_shows_each_destination_another_port() {
        let mut nat = Nat::new(Kind::SYMMETRIC, addr("203.0.113.1:1").ip(), Dice::new(1));
        let inside = addr("10.0.0.2:5000");
        let a = nat.outbound(at(0), inside, addr("198.51.100.1:7"));
        assert!(a != nat.outbound(at(0), inside, addr("198.51.100.1:8")));
        assert_eq!(a, nat.outbound(at(0), inside, addr("198.51.100.1:7")));
    }
}
