//! Where we are: our own addresses, as the interfaces and as the servers see them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::crypto::keys::Rng;
use crate::io::{Hop, PathPolicy, Socket, Time};
use crate::net::candidate::{FIRST_PORT, HTTPS, Known, gathered, is_private, permitted};
use crate::net::echo::Echo;
use crate::net::forward::rate::{Bucket, Rate};
use crate::protocol::mapping::Mapping;
use crate::protocol::member::{Candidate, Kind, MemberId};

pub(crate) struct Surroundings {
    policy: PathPolicy,
    local: Vec<SocketAddr>,
    /// What routers map to us.
    mapped: Vec<SocketAddr>,
    server: Option<SocketAddr>,
    /// When it was reached, and how long its first answer took.
    reached: Time,
    trip: Duration,
    /// When it was last asked by UDP how it sees us.
    asked: Time,
    echoes: Vec<Echo>,
    /// As relays told us when they bound us.
    relayed: Vec<(SocketAddr, Seen)>,
    /// Moves of ours that relays told us of.
    moves: Bucket,
    /// As friends told us, each by the address at which we asked it.
    told: BTreeMap<(MemberId, SocketAddr), Told>,
    /// What was seen before may be of a network that we have left.
    since: Time,
    /// What follows from all that.
    candidates: Vec<Candidate>,
    mapping: Mapping,
}

/// Our main socket from outside, and when somebody said so first.
#[derive(Clone, Copy)]
struct Seen {
    addr: SocketAddr,
    at: Time,
}

struct Told {
    seen: Seen,
    /// When it was said last.
    last: Time,
}

impl Surroundings {
    pub(crate) fn new(policy: PathPolicy) -> Self {
        Self {
            policy,
            local: Vec::new(),
            mapped: Vec::new(),
            server: None,
            reached: Time::ZERO,
            trip: Duration::ZERO,
            asked: Time::ZERO,
            echoes: Vec::new(),
            relayed: Vec::new(),
            moves: Bucket::default(),
            told: BTreeMap::new(),
            since: Time::ZERO,
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
        (self.since, self.asked) = (now, now);
        self.relayed.clear();
        self.told.clear();
        self.echoes.iter_mut().for_each(|echo| echo.restart(now));
        self.conclude();
    }

    pub(crate) fn set_server(&mut self, now: Time, server: SocketAddr) {
        (self.server, self.reached) = (Some(server), now);
        self.conclude();
    }

    /// It was reached by the port that networks leave open that close others.
    pub(crate) fn is_by_https(&self) -> bool {
        self.server.is_some_and(|server| server.port() == HTTPS)
    }

    /// Servers that answer by TCP do not by UDP, and have had the time to: it may be blocked.
    pub(crate) fn is_udp_silent(&self, now: Time) -> bool {
        self.silent_from().is_some_and(|from| from <= now)
    }

    /// When servers have had the time to answer by UDP, none of which has.
    pub(crate) fn silent_from(&self) -> Option<Time> {
        let silent = self.echoes.iter().all(|echo| echo.seen_lately().is_none());
        (!self.echoes.is_empty() && silent).then(|| self.asked + self.trip * 2)
    }

    /// Ask these how they see us.
    pub(crate) fn ask(&mut self, now: Time, probes: &[SocketAddr], rng: &mut Rng) {
        (self.trip, self.asked) = (now - self.reached, now);
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
    pub(crate) fn answered(&mut self, now: Time, from: Hop, nonce: [u8; 8], seen: SocketAddr) -> bool {
        let answers = from.socket == Socket::Main
            && self.echoes.iter_mut().any(|echo| echo.answer(now, from.addr, nonce, seen));
        if answers {
            self.conclude();
        }
        answers
    }

    /// A relay bound us. True if it sees us elsewhere than before: our router has forgotten us, or has another address.
    pub(crate) fn bound(&mut self, now: Time, relay: SocketAddr, addr: SocketAddr) -> bool {
        let before = self.relayed.iter().find(|(known, _)| *known == relay).map(|(_, seen)| *seen);
        let moved = match before {
            Some(before) if before.addr == addr => return false,
            // It may be lying: servers and friends are not asked at its word without end.
            Some(_) if !self.moves.take(now, MOVES, 1) => return false,
            before => before.is_some(),
        };
        if moved {
            self.restart(now);
        }
        self.relayed.retain(|(known, _)| *known != relay);
        if self.relayed.len() < MAX_SEEN {
            self.relayed.push((relay, Seen { addr, at: now }));
        }
        self.conclude();
        moved
    }

    /// A friend that we asked at `there` says where our packets come from. True if that is elsewhere than it said before.
    pub(crate) fn told(&mut self, now: Time, friend: MemberId, there: SocketAddr, addr: SocketAddr) -> bool {
        if self.policy == PathPolicy::Relay || !permitted(&addr, self.is_loopback()) {
            return false;
        }
        self.prune(now);
        let before = self.told.get_mut(&(friend, there));
        let moved = match before {
            Some(told) if told.seen.addr == addr => {
                told.last = now;
                return false;
            }
            // It may be lying: servers are not asked at its word without end.
            before => before.is_some() && now - self.since >= BELIEVED,
        };
        if moved {
            self.restart(now);
        }
        self.told.insert((friend, there), Told { seen: Seen { addr, at: now }, last: now });
        self.conclude();
        moved
    }

    fn prune(&mut self, now: Time) {
        let before = self.told.len();
        self.told.retain(|_, told| now - told.last < CURRENT);
        if self.told.len() < before {
            self.conclude();
        }
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
        let answers: Vec<_> = asked.chain(others.map(|(relay, seen)| (*relay, seen.addr))).collect();
        let v4 = answers.iter().any(|(server, _)| server.is_ipv4());
        let mut awaited = self.echoes.iter().filter(|echo| echo.is_awaited());
        match Mapping::observed(&answers) {
            // Two ports of one host see the same where another host may not. Those of the IP version that is not judged say
            // nothing of it.
            Mapping::Independent if awaited.any(|echo| !v4 || echo.server().is_ipv4()) => Mapping::Unknown,
            mapping => mapping,
        }
    }

    pub(crate) fn tick(&mut self, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
        let questions: Vec<_> = self.echoes.iter_mut().filter_map(|echo| echo.tick(now)).collect();
        if !questions.is_empty() {
            self.conclude();
        }
        questions
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
        let known =
            Known { local: self.local.clone(), mapped: self.mapped.clone(), reflexive: self.reflexive() };
        gathered(&known, self.is_loopback())
    }

    /// Where we are seen, the latest news first; what is from before a change only while there is nothing else.
    fn reflexive(&self) -> Vec<SocketAddr> {
        let mut seen: Vec<Seen> = self.served().chain(self.vouched()).collect();
        if seen.iter().any(|seen| seen.at >= self.since) {
            seen.retain(|seen| seen.at >= self.since);
        }
        seen.sort_by_key(|seen| Reverse(seen.at));
        seen.into_iter().map(|seen| seen.addr).collect()
    }

    /// What servers saw.
    fn served(&self) -> impl Iterator<Item = Seen> {
        let echoes = self.echoes.iter().filter_map(|echo| echo.seen().map(|(addr, at)| Seen { addr, at }));
        echoes.chain(self.relayed.iter().map(|(_, seen)| *seen))
    }

    /// What friends saw, where it takes more than one liar to have others knock at a stranger's door: two say the same,
    /// or the IP address is ours by what servers, routers or interfaces say.
    fn vouched(&self) -> Vec<Seen> {
        if self.mapping().ports().is_some() {
            // Each friend sees another port: none is of use to the next.
            return Vec::new();
        }
        let ours: Vec<IpAddr> = (self.served().map(|seen| seen.addr))
            .chain(self.mapped.iter().copied())
            .chain(self.local.iter().copied())
            .map(|addr| addr.ip())
            .collect();
        let mut seen: Vec<Seen> = Vec::new();
        for ((friend, _), Told { seen: new, .. }) in &self.told {
            let same =
                |((other, _), told): (&(MemberId, _), &Told)| other != friend && told.seen.addr == new.addr;
            let believed = ours.contains(&new.addr.ip()) || self.told.iter().any(same);
            let known = self.local.contains(&new.addr) || seen.iter().any(|known| known.addr == new.addr);
            if believed && !known && seen.len() < MAX_TOLD {
                seen.push(*new);
            }
        }
        seen
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
/// One of each IP version.
const MAX_TOLD: usize = 2;
/// Routers forget us a few times a day.
const BELIEVED: Duration = Duration::from_secs(30);
/// A router that forgets us or gets another address does so now and then.
const MOVES: Rate = Rate { per_minute: 2, burst: 4 };
/// A path that answers is asked every six seconds at least.
const CURRENT: Duration = Duration::from_secs(30);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    /// Behind a router, seen by one server as `seen`.
    fn behind(policy: PathPolicy, seen: &str) -> Surroundings {
        let mut surroundings = Surroundings::new(policy);
        surroundings.set_server(at(1), "203.0.113.9:47700".parse().unwrap());
        surroundings.set_local(at(1), &["10.0.0.2:5000".parse().unwrap()]);
        surroundings.bound(at(2), "203.0.113.9:47700".parse().unwrap(), seen.parse().unwrap());
        surroundings
    }

    fn outside(surroundings: &Surroundings) -> Vec<String> {
        let reflexive = surroundings.candidates().iter().filter(|c| c.kind == Kind::ServerReflexive);
        reflexive.map(|candidate| candidate.addr.to_string()).collect()
    }

    #[test]
    fn a_friend_is_believed_about_our_port_two_about_our_address_and_nobody_if_we_hide() {
        let friend = |n: u8| MemberId([n; 8]);
        let mut told = behind(PathPolicy::Auto, "192.0.2.1:6000");
        let mut says = |seconds: u64, n: u8, seen: &str| {
            told.told(at(seconds), friend(n), "192.0.2.77:4000".parse().unwrap(), seen.parse().unwrap());
            outside(&told)
        };

        assert_eq!(says(3, 1, "192.0.2.1:7000"), ["192.0.2.1:7000", "192.0.2.1:6000"]);
        assert_eq!(says(4, 1, "198.51.100.1:7000"), ["192.0.2.1:6000"]);
        assert_eq!(says(5, 2, "198.51.100.1:7000"), ["198.51.100.1:7000", "192.0.2.1:6000"]);
        assert_eq!(says(20, 2, "198.51.100.1:7000"), ["198.51.100.1:7000", "192.0.2.1:6000"]);
        // The first has said nothing for long.
        assert_eq!(says(40, 2, "198.51.100.1:7000"), ["192.0.2.1:6000"]);
        let mut hidden = behind(PathPolicy::Relay, "192.0.2.1:6000");
        for n in 1..4 {
            let [there, seen] = ["192.0.2.77:4000", "192.0.2.1:7000"].map(|text| text.parse().unwrap());
            assert!(!hidden.told(at(40), friend(n), there, seen));
        }
        assert!(hidden.candidates().is_empty());
    }

    #[test]
    fn a_new_address_is_told_first_and_those_before_are_forgotten() {
        let mut surroundings = behind(PathPolicy::Auto, "192.0.2.1:6000");
        let probes = ["203.0.113.9:47700", "203.0.113.9:47701"].map(|text| text.parse().unwrap());
        surroundings.ask(at(3), &probes, &mut rand_core::SeedableRng::from_seed([1; 32]));
        let asked = surroundings.tick(at(3));
        assert_eq!(asked.len(), 2);
        for (server, question) in asked {
            let nonce = question[1..9].try_into().unwrap();
            assert!(surroundings.answered(at(3), server.into(), nonce, "192.0.2.1:6000".parse().unwrap()));
        }
        assert!(surroundings.mapping() == Mapping::Independent && surroundings.tick(at(4)).is_empty());
        let relay = "203.0.113.9:47700".parse().unwrap();
        assert!(surroundings.bound(at(60), relay, "192.0.2.2:6001".parse().unwrap()));
        assert_eq!(outside(&surroundings), ["192.0.2.2:6001"]);
        assert_eq!(surroundings.tick(at(60)).len(), 2, "servers are asked again");
        assert!(surroundings.mapping() == Mapping::Unknown);
    }

    /// What is concluded when the first so many of these have answered that they see us there.
    fn concluded(servers: &[&str], answers: &[&str]) -> Mapping {
        let mut surroundings = Surroundings::new(PathPolicy::Auto);
        surroundings.set_server(at(1), "203.0.113.9:47700".parse().unwrap());
        let servers: Vec<SocketAddr> = servers.iter().map(|text| text.parse().unwrap()).collect();
        surroundings.ask(at(1), &servers, &mut rand_core::SeedableRng::from_seed([1; 32]));
        let asked = surroundings.tick(at(1));
        for ((server, question), seen) in asked.into_iter().zip(answers) {
            let nonce = question[1..9].try_into().unwrap();
            assert!(surroundings.answered(at(1), server.into(), nonce, seen.parse().unwrap()));
        }
        surroundings.mapping()
    }

    #[test]
    fn one_mapping_for_all_is_concluded_when_all_servers_of_the_ip_version_answered_and_many_before() {
        let (here, another) = ("192.0.2.1:6000", "192.0.2.1:6077");
        let v4 = ["203.0.113.9:47700", "203.0.113.9:47701", "198.51.100.1:47700", "[2001:db8::1]:47700"];
        assert!(concluded(&v4, &[here, here]) == Mapping::Unknown);
        assert!(concluded(&v4, &[here, another]).ports().is_some());
        assert!(concluded(&v4, &[here, here, another]).ports().is_some());
        // Where there is no IPv6, its servers never answer.
        assert!(concluded(&v4, &[here; 3]) == Mapping::Independent);
        // IPv4, if it answers at all, is what counts.
        let v6 = ["[2001:db8::1]:47700", "[2001:db8::2]:47700", "203.0.113.9:47700"];
        assert!(concluded(&v6, &["[2001:db8::7]:6000"; 2]) == Mapping::Unknown);
    }

    #[test]
    fn a_relay_that_says_without_end_that_we_moved_is_believed_now_and_then() {
        let mut surroundings = Surroundings::new(PathPolicy::Auto);
        surroundings.set_server(at(1), "203.0.113.9:47700".parse().unwrap());
        let (relay, minutes) = ("203.0.113.9:3478".parse().unwrap(), 10u16);
        let (mut believed, mut told) = (0, surroundings.candidates().to_vec());
        let mut news = 0;
        for n in 0..minutes * 600 {
            let seen = SocketAddr::from(([192, 0, 2, 1], 2_000 + n));
            let now = at(1) + Duration::from_millis(100 * u64::from(n));
            believed += u16::from(surroundings.bound(now, relay, seen));
            if surroundings.candidates() != told {
                (news, told) = (news + 1, surroundings.candidates().to_vec());
            }
        }
        assert!((20..=4 + 2 * minutes).contains(&believed), "{believed} moves");
        assert!(news <= believed + 1, "friends are told {news} times");
    }

    #[test]
    fn udp_is_silent_when_servers_that_answer_by_tcp_had_two_round_trips_to_answer_by_it() {
        let mut surroundings = Surroundings::new(PathPolicy::Auto);
        surroundings.set_server(at(10), "203.0.113.9:443".parse().unwrap());
        assert!(surroundings.is_by_https() && !surroundings.is_udp_silent(at(20)));
        let probes = ["0.0.0.0:47700".parse().unwrap()];
        surroundings.ask(at(11), &probes, &mut rand_core::SeedableRng::from_seed([1; 32]));
        let (server, question) = surroundings.tick(at(11)).remove(0);
        assert!(!surroundings.is_udp_silent(at(12)) && surroundings.is_udp_silent(at(13)));
        let nonce = question[1..9].try_into().unwrap();
        assert!(surroundings.answered(at(13), server.into(), nonce, "192.0.2.1:6000".parse().unwrap()));
        assert!(!surroundings.is_udp_silent(at(14)));
    }

    #[test]
    fn a_public_server_names_no_address_of_our_house_and_of_low_ports_only_that_of_the_web() {
        let mut surroundings = Surroundings::new(PathPolicy::Auto);
        let mut touched = |server: &str, addr: &str| {
            surroundings.set_server(at(1), server.parse().unwrap());
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
