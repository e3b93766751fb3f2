//! Where we are: our own addresses, as the interfaces and as the servers see them.

use std::net::{IpAddr, SocketAddr};

use crate::crypto::keys::Rng;
use crate::io::{Hop, PathPolicy, Socket, Time};
use crate::net::candidate::{FIRST_PORT, HTTPS, Known, gathered, is_private, permitted};
use crate::net::echo::Echo;
use crate::protocol::mapping::Mapping;
use crate::protocol::member::{Candidate, Kind};

pub(crate) struct Surroundings {
    policy: PathPolicy,
    local: Vec<SocketAddr>,
    /// What routers map to us.
    mapped: Vec<SocketAddr>,
    server: Option<SocketAddr>,
    echoes: Vec<Echo>,
    /// As relays told us when they bound us: (relay, seen).
    relayed: Vec<(SocketAddr, SocketAddr)>,
    /// What follows from all that.
    candidates: Vec<Candidate>,
    mapping: Mapping,
}

impl Surroundings {
    pub(crate) fn new(policy: PathPolicy) -> Self {
        Self {
            policy,
            local: Vec::new(),
            mapped: Vec::new(),
            server: None,
            echoes: Vec::new(),
            relayed: Vec::new(),
            candidates: Vec::new(),
            mapping: Mapping::Unknown,
        }
    }

    /// True if that changed anything.
    pub(crate) fn set_local(&mut self, now: Time, local: &[SocketAddr]) -> bool {
        if self.local == local {
            return false;
        }
        self.local = local.to_vec();
        self.restart(now);
        true
    }

    pub(crate) fn set_mapped(&mut self, mapped: &[SocketAddr]) {
        self.mapped = mapped.to_vec();
        self.conclude();
    }

    /// The network may have changed.
    pub(crate) fn restart(&mut self, now: Time) {
        self.relayed.clear();
        self.echoes.iter_mut().for_each(|echo| echo.restart(now));
        self.conclude();
    }

    pub(crate) fn set_server(&mut self, server: SocketAddr) {
        self.server = Some(server);
        self.conclude();
    }

    /// Ask these how they see us.
    pub(crate) fn ask(&mut self, now: Time, probes: &[SocketAddr], rng: &mut Rng) {
        let resolved = probes.iter().filter_map(|addr| self.resolve(*addr));
        // Probes are datagrams.
        let probes: Vec<SocketAddr> = resolved.filter(|addr| addr.port() != HTTPS).collect();
        self.echoes.retain(|echo| probes.contains(&echo.server()));
        for server in probes {
            match self.echoes.iter_mut().find(|echo| echo.server() == server) {
                Some(known) => known.restart(now),
                None => self.echoes.push(Echo::new(server, now, rng)),
            }
        }
        self.conclude();
    }

    /// Servers that do not know their own address say "the host that you reach me at". `None` for an address that a
    /// server must not make us touch.
    pub(crate) fn resolve(&self, addr: SocketAddr) -> Option<SocketAddr> {
        match self.server {
            Some(server) if addr.ip().is_unspecified() => Some(SocketAddr::new(server.ip(), addr.port())),
            Some(server) if addr.ip() == server.ip() => Some(addr),
            _ => self.is_somebody(addr).then_some(addr),
        }
    }

    /// Whether another host than the server may be asked at its word: a public server knows nobody in our house, and of
    /// the services' ports only the one that relays share with the web is of use.
    fn is_somebody(&self, addr: SocketAddr) -> bool {
        let loopback = self.is_loopback();
        let at_home = self.server.is_some_and(|server| loopback || is_private(server.ip()));
        let port = if addr.port() == HTTPS { FIRST_PORT } else { addr.port() };
        permitted(&SocketAddr::new(addr.ip(), port), loopback) && (at_home || !is_private(addr.ip()))
    }

    /// True if it answers a question of ours.
    pub(crate) fn answered(&mut self, from: Hop, nonce: [u8; 8], seen: SocketAddr) -> bool {
        let answers = from.socket == Socket::Main
            && self.echoes.iter_mut().any(|echo| echo.answer(from.addr, nonce, seen));
        if answers {
            self.conclude();
        }
        answers
    }

    pub(crate) fn bound(&mut self, relay: SocketAddr, seen: SocketAddr) {
        self.relayed.retain(|(known, _)| *known != relay);
        if self.relayed.len() < MAX_SEEN {
            self.relayed.push((relay, seen));
        }
        self.conclude();
    }

    /// A server that answers PROBEs.
    pub(crate) fn probe_server(&self) -> Option<SocketAddr> {
        self.echoes.iter().find(|echo| echo.seen_lately().is_some()).map(Echo::server)
    }

    /// How the NAT in front of us maps.
    pub(crate) fn mapping(&self) -> Mapping {
        self.mapping
    }

    fn conclude(&mut self) {
        self.mapping = self.observed();
        self.candidates = self.gathered();
    }

    fn observed(&self) -> Mapping {
        let asked = self.echoes.iter().filter_map(|echo| Some((echo.server(), echo.seen_lately()?)));
        let others =
            self.relayed.iter().filter(|(relay, _)| self.echoes.iter().all(|e| e.server() != *relay));
        Mapping::observed(&asked.chain(others.copied()).collect::<Vec<_>>())
    }

    pub(crate) fn tick(&mut self, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
        self.echoes.iter_mut().filter_map(|echo| echo.tick(now)).collect()
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        self.echoes.iter().filter_map(Echo::wake).min()
    }

    /// What we tell members. Nothing when none of our addresses may reach them.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    fn gathered(&self) -> Vec<Candidate> {
        if self.policy == PathPolicy::Relay {
            return Vec::new();
        }
        let relayed = self.relayed.iter().map(|(_, seen)| *seen);
        let reflexive = self.echoes.iter().filter_map(Echo::seen).chain(relayed).collect();
        let known = Known { local: self.local.clone(), mapped: self.mapped.clone(), reflexive };
        gathered(&known, self.is_loopback())
    }

    /// Whether to touch this address of a peer's.
    pub(crate) fn touches(&self, candidate: &Candidate) -> bool {
        let same_family = |addr: &SocketAddr| addr.is_ipv4() == candidate.addr.is_ipv4();
        let reachable =
            candidate.kind != Kind::Host || self.local.is_empty() || self.local.iter().any(same_family);
        self.policy != PathPolicy::Relay && reachable && permitted(&candidate.addr, self.is_loopback())
    }

    /// The room meets over this very machine.
    fn is_loopback(&self) -> bool {
        self.server.is_some_and(|server| match server.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        })
    }
}

/// Three relays see at most as many addresses.
const MAX_SEEN: usize = 3;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_public_server_names_no_address_of_our_house_and_of_low_ports_only_that_of_the_web() {
        let mut surroundings = Surroundings::new(PathPolicy::Auto);
        let mut touched = |server: &str, addr: &str| {
            surroundings.set_server(server.parse().unwrap());
            surroundings.resolve(addr.parse().unwrap()).is_some()
        };
        let public = "203.0.113.9:47700";
        for addr in ["10.0.0.1:5000", "192.168.1.1:443", "100.64.0.1:5000", "[fd00::1]:5000", "192.0.2.1:80"]
        {
            assert!(!touched(public, addr), "{addr}");
        }
        for addr in ["192.0.2.1:5000", "192.0.2.1:443", "[2001:db8::1]:443", "203.0.113.9:80", "0.0.0.0:5000"]
        {
            assert!(touched(public, addr), "{addr}");
        }
        assert!(
            touched("192.168.1.9:47700", "192.168.1.10:5000")
                && !touched("192.168.1.9:47700", "127.0.0.1:5000")
        );
    }
}
