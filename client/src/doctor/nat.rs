//! The router as the server sees it: what it maps our port to, and what it lets in (RFC 4787).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand_core::{RngCore, SeedableRng};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use vc_core::crypto::keys::Rng;
use vc_core::io::Time;
use vc_core::net::echo::Echo;
use vc_core::protocol::mapping::{Mapping, Ports};
use vc_core::protocol::packet::{By, MAX_UDP, Packet, probe_by};

use super::Reach;
use crate::failure::Failure;
use crate::host::{reach, seed};
use crate::note::{self, State};
use crate::sockets::towards;

/// What the server's ports saw of one socket of ours, and what came through to it.
pub(super) struct Nat {
    answers: Vec<Answer>,
    filtering: Filtering,
}

struct Answer {
    asked: SocketAddr,
    seen: SocketAddr,
    local: SocketAddr,
    rtt: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filtering {
    /// What comes from another port of an address that we wrote to comes through.
    AtMostByAddress,
    ByPort,
    /// The server has no second port, or is too old to know the question.
    Unknown,
}

/// A sentence, what to do, and how bad it is.
pub(super) type Finding = (State, String, &'static str);

impl Nat {
    /// All ports asked from one socket, in the order of the list. `None` if nothing comes back.
    pub(super) async fn explored(server: SocketAddr, probes: &[SocketAddr]) -> Result<Option<Self>, Failure> {
        let socket = UdpSocket::bind(any(server)).await.map_err(Failure::defect)?;
        let mut rng = Rng::from_seed(seed()?);
        let answers = answers(&socket, server, probes, &mut rng).await?;
        if answers.is_empty() {
            return Ok(None);
        }
        let asked: Vec<SocketAddr> = answers.iter().map(|answer| answer.asked).collect();
        let filtering = filtering(&socket, &asked, &mut rng).await;
        Ok(Some(Self { answers, filtering }))
    }

    pub(super) fn rtt(&self) -> Duration {
        self.answers.iter().map(|answer| answer.rtt).min().unwrap_or_default()
    }

    /// `None` where no router changes our address.
    fn mapping(&self) -> Option<Mapping> {
        if self.answers.iter().any(|answer| answer.seen == answer.local) {
            return None;
        }
        let seen: Vec<_> = self.answers.iter().map(|answer| (answer.asked, answer.seen)).collect();
        Some(Mapping::observed(&seen))
    }

    /// Whether other addresses than the one server's had a say.
    fn several_hosts(&self) -> bool {
        self.answers.iter().zip(self.answers.iter().skip(1)).any(|(a, b)| a.asked.ip() != b.asked.ip())
    }

    /// Whether the internet sees us as the server does.
    fn is_public(&self) -> bool {
        self.answers.iter().any(|answer| reach(answer.seen.ip()) == note::Reach::Public)
    }

    pub(super) fn reach(&self) -> Reach {
        match self.mapping() {
            Some(Mapping::Address(_) | Mapping::AddressAndPort(_)) => Reach::Relay,
            Some(Mapping::Independent | Mapping::Unknown) | None => Reach::Direct,
        }
    }

    pub(super) fn maps(&self) -> Finding {
        match self.mapping() {
            None => {
                let mut what = "No router changes this machine's address on the way to the server.".to_owned();
                if !self.is_public() {
                    what += " What one does on the way to friends elsewhere only a server there could tell.";
                }
                (State::Good, what, "")
            }
            Some(Mapping::Independent) => {
                let mut what = "The router keeps one outside port for every port of the server: direct connections \
                                work with nearly everybody."
                    .to_owned();
                if !self.several_hosts() {
                    what += " Whether it takes another one for another address only a second server could tell.";
                }
                (State::Good, what, "")
            }
            Some(Mapping::Unknown) => (
                State::Doubtful,
                "This machine is behind a router; how it maps ports cannot be told, because only one port of the \
                 server answered."
                    .to_owned(),
                "The operator can open the server's second UDP port, the one after the first.",
            ),
            Some(Mapping::Address(ports) | Mapping::AddressAndPort(ports)) => {
                let how = match ports {
                    Ports::Sequential { .. } => "the next port for each friend, which can be predicted",
                    Ports::Random => "a random port for each friend",
                };
                let what = format!(
                    "The router takes {how} (a symmetric NAT): direct connections work with friends whose routers are \
                     easier, all others go through a friend or the relay."
                );
                (State::Doubtful, what, "Switch on PCP, NAT-PMP or UPnP in the router, or use IPv6.")
            }
        }
    }

    pub(super) fn filters(&self) -> Finding {
        let (state, what, hint) = match (self.filtering, self.mapping().is_some()) {
            (Filtering::AtMostByAddress, true) => (
                State::Good,
                "The router lets in what comes from any port of an address that this machine wrote to, which calls \
                 need; whether strangers get in, too, only a second server could tell.",
                "",
            ),
            (Filtering::AtMostByAddress, false) => (
                State::Good,
                "No firewall keeps out what comes from any port of an address that this machine wrote to, which calls \
                 need; whether strangers get in, too, only a second server could tell.",
                "",
            ),
            (Filtering::ByPort, true) => (
                State::Good,
                "The router lets in only what was asked for, as most do: calls work all the same, for both sides ask at \
                 once.",
                "",
            ),
            (Filtering::ByPort, false) => (
                State::Good,
                "A firewall lets in only what was asked for, as most do: calls work all the same, for both sides ask at \
                 once.",
                "",
            ),
            (Filtering::Unknown, _) => (
                State::Doubtful,
                "What the router lets in cannot be told with this server.",
                "Its operator can update it, and open its second UDP port.",
            ),
        };
        (state, what.to_owned(), hint)
    }
}

fn any(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

async fn answers(
    socket: &UdpSocket,
    server: SocketAddr,
    probes: &[SocketAddr],
    rng: &mut Rng,
) -> Result<Vec<Answer>, Failure> {
    let port = socket.local_addr().map_err(Failure::defect)?.port();
    let start = Instant::now();
    let now = || Time::from_micros(start.elapsed().as_micros() as u64);
    let mut echoes: Vec<(Echo, Option<Instant>)> =
        probes
            .iter()
            .map(|probe| {
                if probe.ip().is_unspecified() { SocketAddr::new(server.ip(), probe.port()) } else { *probe }
            })
            .filter(|probe| probe.is_ipv4() == server.is_ipv4())
            .map(|probe| (Echo::new(probe, now(), rng), None))
            .collect();
    let mut answers = Vec::new();
    while answers.len() < echoes.len() && start.elapsed() < PATIENCE {
        for (echo, asked) in &mut echoes {
            if let Some((to, bytes)) = echo.tick(now()) {
                *asked = Some(Instant::now());
                // Lost here is as lost as anywhere.
                let _ = socket.send_to(&bytes, to).await;
            }
        }
        let Some((from, nonce, seen)) = probed(socket, Instant::now() + STEP).await else { continue };
        for (echo, asked) in &mut echoes {
            if echo.answer(now(), from, nonce, seen) {
                let local = SocketAddr::new(towards(from).unwrap_or(any(from).ip()), port);
                let rtt = asked.map(|asked| asked.elapsed()).unwrap_or_default();
                answers.push(Answer { asked: from, seen, local, rtt });
            }
        }
    }
    Ok(answers)
}

/// Repeated, for each packet may be lost; what comes from a port that was never written to settles it.
async fn filtering(socket: &UdpSocket, asked: &[SocketAddr], rng: &mut Rng) -> Filtering {
    let mut nonces = [[0; 8]; 2];
    nonces.iter_mut().for_each(|nonce| rng.fill_bytes(nonce));
    let [another, this] = nonces;
    let mut known = false;
    for round in 0..ROUNDS {
        for to in asked {
            for packet in [probe_by(another, By::AnotherPort), probe_by(this, By::ThisPort)] {
                let _ = socket.send_to(&packet, to).await;
            }
        }
        // The last answers may have a long way.
        let end = Instant::now() + if round + 1 < ROUNDS { ROUND } else { LAST };
        while let Some((from, nonce, _)) = probed(socket, end).await {
            let host = asked.iter().any(|asked| asked.ip() == from.ip());
            if nonce == another && host && !asked.contains(&from) {
                return Filtering::AtMostByAddress;
            }
            known |= nonce == this && asked.contains(&from);
        }
    }
    if known { Filtering::ByPort } else { Filtering::Unknown }
}

/// The next PROBED that comes until then.
async fn probed(socket: &UdpSocket, end: Instant) -> Option<(SocketAddr, [u8; 8], SocketAddr)> {
    let mut buffer = [0; MAX_UDP];
    loop {
        // Errors are ICMP answers to something sent earlier.
        let Ok((len, from)) = timeout_at(end, socket.recv_from(&mut buffer)).await.ok()? else { continue };
        if let Ok(Packet::Probed { nonce, seen }) = Packet::parse(buffer.get(..len).unwrap_or_default()) {
            return Some((from, nonce, seen));
        }
    }
}

/// A round trip around the world and its repetitions.
const PATIENCE: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(50);
/// Five losses in a row are no accident.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_millis(700);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn nat(seen: &[(&str, &str)], filtering: Filtering) -> Nat {
        let answer = |(asked, seen): &(&str, &str)| Answer {
            asked: asked.parse().unwrap(),
            seen: seen.parse().unwrap(),
            local: "192.168.1.5:4000".parse().unwrap(),
            rtt: Duration::from_millis(20),
        };
        Nat { answers: seen.iter().map(answer).collect(), filtering }
    }

    #[test]
    fn what_only_a_second_address_could_tell_is_not_claimed() {
        let one = nat(
            &[("203.0.113.7:1", "198.51.100.1:9"), ("203.0.113.7:2", "198.51.100.1:9")],
            Filtering::AtMostByAddress,
        );
        assert!(one.maps().1.contains("second server") && one.filters().1.contains("second server"));
        let two = nat(
            &[("203.0.113.7:1", "198.51.100.1:9"), ("203.0.113.8:1", "198.51.100.1:9")],
            Filtering::ByPort,
        );
        assert!(!two.maps().1.contains("second server"));
        assert_eq!((one.reach(), two.reach()), (Reach::Direct, Reach::Direct));
    }

    #[test]
    fn a_port_of_its_own_for_each_destination_means_the_relay_for_most() {
        let nat = nat(
            &[("203.0.113.7:1", "198.51.100.1:9"), ("203.0.113.7:2", "198.51.100.1:7000")],
            Filtering::ByPort,
        );
        assert_eq!(nat.reach(), Reach::Relay);
        assert!(nat.maps().0 == State::Doubtful && nat.maps().1.contains("a random port"));
    }

    #[test]
    fn without_a_router_filtering_is_a_matter_of_the_firewall() {
        let nat = nat(&[("192.168.1.9:1", "192.168.1.5:4000")], Filtering::ByPort);
        assert!(nat.maps().1.starts_with("No router") && nat.filters().1.starts_with("A firewall"));
        assert_eq!(nat.reach(), Reach::Direct);
    }

    #[test]
    fn a_server_in_the_same_network_says_nothing_of_the_way_to_friends_elsewhere() {
        let seen_at = |address: &str| {
            let address = address.parse().unwrap();
            let answer = Answer { asked: address, seen: address, local: address, rtt: Duration::ZERO };
            Nat { answers: vec![answer], filtering: Filtering::ByPort }.maps().1
        };
        assert!(seen_at("192.168.1.5:4000").contains("elsewhere"));
        assert!(!seen_at("8.8.8.8:4000").contains("elsewhere"));
    }

    #[tokio::test]
    async fn a_server_that_does_not_know_the_question_leaves_it_open() {
        let old = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let there = old.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = [0; MAX_UDP];
            loop {
                let (len, from) = old.recv_from(&mut buffer).await.unwrap();
                if let Ok(Packet::Probe { nonce }) = Packet::parse(&buffer[..len]) {
                    let answer = vc_core::protocol::packet::probed(nonce, from);
                    old.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let nat = Nat::explored(there, &[there]).await.unwrap().unwrap();
        assert_eq!(nat.filtering, Filtering::Unknown);
        task.abort();
    }

    #[tokio::test]
    async fn on_a_machine_that_filters_nothing_another_port_comes_through() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let there = server.local_addr().unwrap();
        let task = tokio::spawn(relay::echo::serve(server, [1; 32]));
        let nat = Nat::explored(there, &[there]).await.unwrap().unwrap();
        assert_eq!(nat.filtering, Filtering::AtMostByAddress);
        assert!(nat.maps().1.starts_with("No router"));
        task.abort();
    }
}
