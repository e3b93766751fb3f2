//! The server by TCP and UDP, and what stands between this machine and its friends.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};
use vc_core::io::PathPolicy;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{Refusal, ToClient, ToServer, VERSION};

use super::nat::Nat;
use super::{Reach, tell};
use crate::config::Settings;
use crate::failure::Failure;
use crate::host::{reach, seed};
use crate::note::{self, State};
use crate::place::{PORT, Place};
use crate::plan::pinned;
use crate::portmap::{self, Found};
use crate::report::{self, Named};
use crate::signal_link::{Fault, Link, News};
use crate::sockets::interface_addresses;
use crate::ui::Ui;
use crate::words::millis;

pub(super) async fn examine(settings: &Settings, ui: &Ui) -> Result<Reach, Failure> {
    ipv6(ui);
    let asked = tokio::spawn(mapped(asks_router(settings)));
    let way = match &settings.server {
        // As a call does: the key that it showed the first time is the one that it has to show.
        Some(place) => by_server(&pinned(place.clone())?.0, settings, ui).await?,
        None => {
            let hint = "Run `voicechat serve` on a machine that all of you reach, and set it: `voicechat config set server HOST:PORT`.";
            let what = "No server is set, so `create` runs one here.";
            tell(ui, "server", State::Doubtful, what, hint);
            Reach::Nearby
        }
    };
    let opens = match asked.await {
        Ok(Some(found)) => port_mapping(&found, way, door(settings), ui),
        Ok(None) | Err(_) => false,
    };
    Ok(match way {
        Reach::Relay | Reach::Unaided if opens && settings.policy() == PathPolicy::Auto => Reach::Direct,
        Reach::Nearby if opens => Reach::Open,
        Reach::Direct if settings.policy() == PathPolicy::Relay => Reach::Relay,
        way => way,
    })
}

async fn by_server(place: &Place, settings: &Settings, ui: &Ui) -> Result<Reach, Failure> {
    let (server, probes) = match signaling(place, ui).await? {
        Ok(found) => found,
        Err(reach) => return Ok(reach),
    };
    let way = by_datagrams(server, &probes, settings, ui).await;
    let carried = relay(place, settings, ui).await;
    Ok(match way {
        Reach::Relay if !carried => Reach::Unaided,
        Reach::Tcp if !carried => Reach::Cut,
        way => way,
    })
}

/// What the last rung of the ladder carries, tried as it is in a call: by UDP, or by TCP where UDP is blocked.
async fn relay(place: &Place, settings: &Settings, ui: &Ui) -> bool {
    let settings = Settings { server: Some(place.clone()), ..settings.clone() };
    let (state, what, hint) = match timeout(RELAYED, crate::echo::tone(&settings)).await {
        Ok(Ok(ms)) => (State::Good, format!("The relay carries voice; it comes back after {ms:.0} ms."), ""),
        Ok(Err(Failure { what, .. })) => {
            (State::Doubtful, format!("No voice went through the relay. {what}"), NO_RELAY)
        }
        Err(_) => (State::Doubtful, "No voice comes through the relay.".to_owned(), NO_RELAY),
    };
    tell(ui, "relay", state, what, hint) == State::Good
}

async fn by_datagrams(server: SocketAddr, probes: &[SocketAddr], settings: &Settings, ui: &Ui) -> Reach {
    match Nat::explored(server, probes).await {
        Ok(None) => {
            let hint = "Let UDP through the firewall; until then voice goes over TCP.";
            let what = "The server answers by TCP, but not by UDP: a firewall blocks it.";
            tell(ui, "udp", State::Doubtful, what, hint);
            Reach::Tcp
        }
        Ok(Some(nat)) => {
            let rtt = millis(nat.rtt().as_secs_f32() * 1_000.0);
            tell(ui, "udp", State::Good, format!("The server answers by UDP in {rtt}."), "");
            for (topic, (state, what, hint)) in [("nat", nat.maps()), ("filtering", nat.filters())] {
                tell(ui, topic, state, what, hint);
            }
            if settings.policy() == PathPolicy::Relay {
                let what =
                    "Your settings send everything through a relay, which hides your address from friends.";
                tell(ui, "path", State::Doubtful, what, "`relay_only = false` allows direct connections.");
            }
            nat.reach()
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
    let what = match global {
        true => {
            "This machine has an IPv6 address of the internet: calls try it beside IPv4, you need not choose."
        }
        false => {
            "This machine has no IPv6 address of the internet: calls use IPv4, which is enough for most."
        }
    };
    tell(ui, "ipv6", State::Good, what, "");
}

/// As in a call: not where no address of ours may reach friends, not while everything is on this machine.
fn asks_router(settings: &Settings) -> bool {
    let here = settings.server.as_ref().is_some_and(|place| {
        place.host == "localhost" || place.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    });
    settings.port_mapping != Some(false) && settings.policy() != PathPolicy::Relay && !here
}

async fn mapped(asks: bool) -> Option<Found> {
    // A port of ours, for as long as the question takes.
    let socket = if asks { UdpSocket::bind("0.0.0.0:0").await.ok()? } else { return None };
    let port = NonZeroU16::new(socket.local_addr().ok()?.port())?;
    Some(portmap::find(port).await)
}

/// Whether friends from anywhere get in by the port that the router opens.
fn port_mapping(found: &Found, way: Reach, door: u16, ui: &Ui) -> bool {
    let told = match found {
        Found::NoRouter => (
            State::Good,
            "There is no router here, so there is no port to forward.".to_owned(),
            String::new(),
        ),
        Found::Mapped(by, outside) if reach(outside.ip()) == note::Reach::Public => (
            State::Good,
            format!("The router opens ports for calls ({}): you need not forward any by hand.", by.name()),
            String::new(),
        ),
        Found::Mapped(by, _) => (
            State::Doubtful,
            format!(
                "The router opens ports ({}), but is itself behind another one, which does not.",
                by.name()
            ),
            "Ask the provider for an address of your own, or for IPv6.".to_owned(),
        ),
        Found::Silent => match unopened(way, door) {
            Some((state, what, hint)) => (state, what.to_owned(), hint),
            None => return false,
        },
    };
    let (state, what, hint) = told;
    tell(ui, "port_mapping", state, what, hint);
    matches!(found, Found::Mapped(_, outside) if reach(outside.ip()) == note::Reach::Public)
}

/// What it means for calls that the router opens no ports. `None` where something else is to be mended
/// first.
fn unopened(way: Reach, door: u16) -> Option<(State, &'static str, String)> {
    Some(match way {
        Reach::Relay => (
            State::Doubtful,
            "The router opens no ports for programs, so calls need the relay more often.",
            OPEN.to_owned() + ".",
        ),
        Reach::Unaided => (
            State::Doubtful,
            "The router opens no ports for programs; an open one would let friends in without the relay.",
            OPEN.to_owned() + ".",
        ),
        Reach::Nearby => (
            State::Doubtful,
            "The router opens no ports for programs, so only friends in this network reach a room on this machine.",
            format!("{OPEN}, or forward port {door} there, UDP and TCP."),
        ),
        Reach::Direct | Reach::Open => (
            State::Good,
            "The router opens no ports for programs; calls find their way without.",
            String::new(),
        ),
        Reach::Tcp | Reach::Cut | Reach::Nobody | Reach::Doubted | Reach::Estranged => return None,
    })
}

/// Where a room on this machine listens.
fn door(settings: &Settings) -> u16 {
    settings.listen.map(|listen| listen.port()).filter(|port| *port != 0).unwrap_or(PORT)
}

/// Where the server was reached, and where it wants to be asked by UDP; else how far that leads.
type Met = Result<(SocketAddr, Vec<SocketAddr>), Reach>;

async fn signaling(place: &Place, ui: &Ui) -> Result<Met, Failure> {
    let mut link = Link::default();
    let start = Instant::now();
    link.dial(place.clone(), seed()?);
    let server = match link.next().await {
        News::Up { server, .. } => server,
        News::Down(Fault::Key(_)) => {
            let Failure { what, hint, .. } = report::key_changed(place, Named::ByUser);
            tell(ui, "server", State::Bad, what, hint);
            return Ok(Err(Reach::Doubted));
        }
        News::Down(fault) => {
            let Failure { what, hint, .. } = report::unreachable(place, fault);
            tell(ui, "server", State::Bad, what, hint);
            return Ok(Err(Reach::Nobody));
        }
        News::Frame(_) => return Ok(Err(Reach::Nobody)),
    };
    let took = millis(start.elapsed().as_secs_f32() * 1_000.0);
    link.send(ToServer::Hello { version: VERSION }.encode());
    let answer = match timeout(PATIENCE, link.next()).await {
        Ok(News::Frame(frame)) => ToClient::decode(&frame).ok(),
        Ok(News::Up { .. } | News::Down(_)) | Err(_) => None,
    };
    link.hang();
    Ok(match greeted(answer) {
        Ok(probes) => {
            let what = format!("The server answers by TCP; connecting took {took}.");
            tell(ui, "server", State::Good, what, "");
            Ok((server, probes))
        }
        Err(Unmet { reach, what, hint }) => {
            let topic = if reach == Reach::Estranged { "version" } else { "server" };
            tell(ui, topic, State::Bad, what, hint);
            Err(reach)
        }
    })
}

/// What is wrong with a server that was reached, and what to do.
struct Unmet {
    reach: Reach,
    what: String,
    hint: &'static str,
}

/// The ports to ask by UDP.
fn greeted(answer: Option<ToClient>) -> Result<Vec<SocketAddr>, Unmet> {
    Err(match answer {
        Some(ToClient::Hello { version: VERSION, probes }) => return Ok(probes),
        Some(ToClient::Hello { version, .. }) => Unmet {
            reach: Reach::Estranged,
            what: format!(
                "The server speaks version {version} of the protocol, this program version {VERSION}."
            ),
            hint: if version > VERSION { "Update this program." } else { "Its operator has to update it." },
        },
        // It does not say its own.
        Some(ToClient::Refused(Refusal::Version)) => Unmet {
            reach: Reach::Estranged,
            what: format!(
                "The server does not speak version {VERSION} of the protocol, which this program speaks."
            ),
            hint: "Update this program, or ask its operator to update it: whichever is older.",
        },
        _ => Unmet {
            reach: Reach::Nobody,
            what: "The server was reached, but does not answer.".to_owned(),
            hint: "It may be full, or busy: try again in a minute, then ask its operator.",
        },
    })
}
const OPEN: &str = "Switch on UPnP, NAT-PMP or PCP in the router's settings";
const NO_RELAY: &str = "Friends who cannot be reached directly will not hear you; try another network, and if it is the \
                        same there, ask whoever runs the server.";
/// Entering a room, the fall back to TCP, and the first voice.
const RELAYED: Duration = Duration::from_secs(20);
/// A round trip around the world and its repetitions.
const PATIENCE: Duration = Duration::from_secs(4);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_two_versions_the_older_one_is_to_be_updated() {
        let hint = |version| {
            let greeted = greeted(Some(ToClient::Hello { version, probes: Vec::new() }));
            greeted.err().map(|Unmet { reach, what, hint }| {
                assert!(reach == Reach::Estranged && what.contains(&format!("version {version} ")), "{what}");
                hint
            })
        };
        assert_eq!(hint(VERSION), None);
        assert_eq!(hint(VERSION + 1), Some("Update this program."));
        assert_eq!(hint(VERSION - 1), Some("Its operator has to update it."));
    }

    #[test]
    fn what_is_said_of_a_router_that_opens_nothing_fits_the_verdict() {
        for way in [Reach::Tcp, Reach::Cut, Reach::Nobody, Reach::Doubted, Reach::Estranged] {
            assert_eq!(unopened(way, PORT), None);
        }
        assert!(unopened(Reach::Direct, PORT).unwrap().0 == State::Good);
        for way in [Reach::Relay, Reach::Unaided, Reach::Nearby] {
            let (state, what, hint) = unopened(way, PORT).unwrap();
            assert!(state == State::Doubtful && hint.contains("UPnP"), "{what} {hint}");
        }
    }

    #[test]
    fn the_port_to_forward_is_the_one_that_a_room_here_listens_at() {
        let forward = |listen: Option<&str>| {
            let listen = listen.and_then(|listen| listen.parse().ok());
            unopened(Reach::Nearby, door(&Settings { listen, ..Settings::default() })).unwrap().2
        };
        assert!(forward(None).contains("port 47700 "));
        assert!(forward(Some("0.0.0.0:5000")).contains("port 5000 "));
    }
}
