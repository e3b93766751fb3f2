//! The server by TCP and UDP, and what stands between this machine and its friends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand_core::SeedableRng;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout, timeout_at};
use vc_core::crypto::keys::Rng;
use vc_core::io::Time;
use vc_core::net::echo::Echo;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::mapping::{Mapping, Ports};
use vc_core::protocol::packet::{MAX_UDP, Packet};
use vc_core::protocol::signal::{ToClient, ToServer, VERSION};

use super::{Reach, tell};
use crate::config::Settings;
use crate::failure::Failure;
use crate::host::seed;
use crate::note::State;
use crate::place::Place;
use crate::report;
use crate::signal_link::{Link, News};
use crate::sockets::interface_addresses;
use crate::ui::Ui;

pub(super) async fn examine(settings: &Settings, ui: &Ui) -> Reach {
    ipv6(ui);
    tell(ui, "clock", State::Good, "Nothing in a call depends on this machine's clock.", "");
    let Some(place) = &settings.server else {
        let hint = "Run `voicechat serve` on a machine that all of you reach, and set it: `voicechat config set server HOST:PORT`.";
        tell(
            ui,
            "server",
            State::Doubtful,
            "No server is set, so `create` runs one here, for friends in the same network.",
            hint,
        );
        return Reach::Nearby;
    };
    let Some((server, probes)) = signaling(place, ui).await else { return Reach::Nobody };
    match datagrams(server, &probes).await {
        Ok(answers) if answers.is_empty() => {
            let hint = "Let UDP through the firewall; until then voice goes over TCP.";
            tell(
                ui,
                "udp",
                State::Doubtful,
                "The server answers by TCP, but not by UDP: a firewall blocks it.",
                hint,
            );
            Reach::Tcp
        }
        Ok(answers) => {
            let best = answers.iter().map(|answer| answer.rtt).min().unwrap_or_default();
            tell(
                ui,
                "udp",
                State::Good,
                format!("The server answers by UDP within {} ms.", best.as_millis()),
                "",
            );
            router(&answers, ui)
        }
        Err(failure) => {
            tell(ui, "udp", State::Bad, failure.what, failure.hint);
            Reach::Tcp
        }
    }
}

fn ipv6(ui: &Ui) {
    let global = interface_addresses(false).into_iter().any(|ip| match ip {
        IpAddr::V6(ip) => !ip.is_unique_local(),
        IpAddr::V4(_) => false,
    });
    let (message, hint) = match global {
        true => ("This machine has a global IPv6 address: friends with IPv6 reach it without tricks.", ""),
        false => ("This machine has no global IPv6 address; calls use IPv4.", ""),
    };
    tell(ui, "ipv6", State::Good, message, hint);
}

/// Where the server was reached, and where it wants to be asked by UDP.
async fn signaling(place: &Place, ui: &Ui) -> Option<(SocketAddr, Vec<SocketAddr>)> {
    let mut link = Link::default();
    let start = Instant::now();
    link.dial(place.clone(), seed().ok()?);
    let server = match link.next().await {
        News::Up { server, .. } => server,
        News::Down(fault) => {
            let Failure { what, hint, .. } = report::unreachable(place, fault);
            tell(ui, "server", State::Bad, what, hint);
            return None;
        }
        News::Frame(_) => return None,
    };
    let took = start.elapsed().as_millis();
    link.send(ToServer::Hello { version: VERSION }.encode());
    let answer = match timeout(PATIENCE, link.next()).await {
        Ok(News::Frame(frame)) => ToClient::decode(&frame).ok(),
        Ok(News::Up { .. } | News::Down(_)) | Err(_) => None,
    };
    link.hang();
    match answer {
        Some(ToClient::Hello { version, probes }) if version == VERSION => {
            tell(
                ui,
                "server",
                State::Good,
                format!("The server answers by TCP; connecting took {took} ms."),
                "",
            );
            Some((server, probes))
        }
        Some(ToClient::Hello { version, .. }) => {
            let hint =
                if version > VERSION { "Update this program." } else { "Its operator has to update it." };
            let what = format!(
                "The server speaks version {version} of the protocol, this program version {VERSION}."
            );
            tell(ui, "version", State::Bad, what, hint);
            None
        }
        _ => {
            let what = "The server was reached, but does not answer.";
            tell(ui, "server", State::Bad, what, "It may be full, or of another version.");
            None
        }
    }
}

/// What one of the server's ports saw of us.
struct Answer {
    asked: SocketAddr,
    seen: SocketAddr,
    local: SocketAddr,
    rtt: Duration,
}

/// All ports asked from one socket, in the order of the list.
async fn datagrams(server: SocketAddr, probes: &[SocketAddr]) -> Result<Vec<Answer>, Failure> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(Failure::defect)?;
    let port = socket.local_addr().map_err(Failure::defect)?.port();
    let mut rng = Rng::from_seed(seed()?);
    let start = Instant::now();
    let now = || Time::from_micros(start.elapsed().as_micros() as u64);
    let mut echoes: Vec<(Echo, Option<Instant>)> =
        probes
            .iter()
            .map(|probe| {
                if probe.ip().is_unspecified() { SocketAddr::new(server.ip(), probe.port()) } else { *probe }
            })
            .filter(|probe| probe.is_ipv4() == server.is_ipv4())
            .map(|probe| (Echo::new(probe, now(), &mut rng), None))
            .collect();
    let mut answers = Vec::new();
    let mut buffer = [0; MAX_UDP];
    while answers.len() < echoes.len() && start.elapsed() < PATIENCE {
        for (echo, asked) in &mut echoes {
            if let Some((to, bytes)) = echo.tick(now()) {
                *asked = Some(Instant::now());
                // Lost here is as lost as anywhere.
                let _ = socket.send_to(&bytes, to).await;
            }
        }
        let Ok(Ok((len, from))) = timeout_at(Instant::now() + STEP, socket.recv_from(&mut buffer)).await
        else {
            continue;
        };
        let Ok(Packet::Probed { nonce, seen }) = Packet::parse(buffer.get(..len).unwrap_or_default()) else {
            continue;
        };
        for (echo, asked) in &mut echoes {
            if echo.answer(from, nonce, seen) {
                let local = SocketAddr::new(own_address(from).unwrap_or(any.ip()), port);
                let rtt = asked.map(|asked| asked.elapsed()).unwrap_or_default();
                answers.push(Answer { asked: from, seen, local, rtt });
            }
        }
    }
    Ok(answers)
}

/// The address that this machine uses towards `far`; asks the routing table, sends nothing.
fn own_address(far: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr =
        if far.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn router(answers: &[Answer], ui: &Ui) -> Reach {
    if answers.iter().any(|answer| answer.seen == answer.local) {
        tell(
            ui,
            "nat",
            State::Good,
            "No router changes this machine's address on the way to the server.",
            "",
        );
        return Reach::Direct;
    }
    let seen: Vec<_> = answers.iter().map(|answer| (answer.asked, answer.seen)).collect();
    match Mapping::observed(&seen) {
        Mapping::Independent => {
            let what = "The router gives one outside port for all friends: direct connections work with nearly everybody.";
            tell(ui, "nat", State::Good, what, "");
            Reach::Direct
        }
        Mapping::Unknown => {
            let what = "This machine is behind a router; how it maps ports cannot be told with this server.";
            tell(ui, "nat", State::Doubtful, what, "The operator can open the server's second UDP port.");
            Reach::Direct
        }
        Mapping::Address(ports) | Mapping::AddressAndPort(ports) => {
            let how = match ports {
                Ports::Sequential { .. } => "the next port for each friend, which can be predicted",
                Ports::Random => "a random port for each friend",
            };
            let what = format!(
                "The router takes {how} (a symmetric NAT): direct connections work with friends whose routers are easier, \
                 all others go through a friend or the relay."
            );
            tell(ui, "nat", State::Doubtful, what, "Switch on UPnP or NAT-PMP in the router, or use IPv6.");
            Reach::Relay
        }
    }
}

/// A round trip around the world and its repetitions.
const PATIENCE: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(50);
