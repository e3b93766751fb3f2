//! The server by TCP and UDP, and what stands between this machine and its friends.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};
use vc_core::io::PathPolicy;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{ToClient, ToServer, VERSION};

use super::nat::Nat;
use super::{Reach, tell};
use crate::config::Settings;
use crate::failure::Failure;
use crate::host::{reach, seed};
use crate::note::{self, State};
use crate::place::Place;
use crate::plan::pinned;
use crate::portmap::{self, Found};
use crate::report;
use crate::signal_link::{Fault, Link, News};
use crate::sockets::interface_addresses;
use crate::ui::Ui;

pub(super) async fn examine(settings: &Settings, ui: &Ui) -> Result<Reach, Failure> {
    ipv6(ui);
    tell(ui, "clock", State::Good, "Nothing in a call depends on this machine's clock.", "");
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
        Ok(Some(found)) => port_mapping(&found, way, ui),
        Ok(None) | Err(_) => false,
    };
    Ok(match way {
        Reach::Relay if opens && settings.policy() == PathPolicy::Auto => Reach::Direct,
        Reach::Nearby if opens => Reach::Open,
        Reach::Direct if settings.policy() == PathPolicy::Relay => Reach::Relay,
        way => way,
    })
}

async fn by_server(place: &Place, settings: &Settings, ui: &Ui) -> Result<Reach, Failure> {
    let Some((server, probes)) = signaling(place, ui).await? else { return Ok(Reach::Nobody) };
    let way = by_datagrams(server, &probes, settings, ui).await;
    let carried = relay(place, settings, ui).await;
    Ok(match way {
        Reach::Relay | Reach::Tcp if !carried => Reach::Unaided,
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
            let rtt = nat.rtt().as_millis();
            tell(ui, "udp", State::Good, format!("The server answers by UDP within {rtt} ms."), "");
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
        true => "This machine has a global IPv6 address; calls try it beside IPv4.",
        false => "This machine has no global IPv6 address; calls use IPv4.",
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
fn port_mapping(found: &Found, way: Reach, ui: &Ui) -> bool {
    let (state, what, hint) = match found {
        Found::NoRouter => {
            (State::Good, "There is no router that would have to open a port.".to_owned(), "")
        }
        Found::Mapped(by, outside) if reach(outside.ip()) == note::Reach::Public => {
            (State::Good, format!("The router opens ports for calls ({}).", by.name()), "")
        }
        Found::Mapped(by, _) => (
            State::Doubtful,
            format!(
                "The router opens ports ({}), but is itself behind another one, which does not.",
                by.name()
            ),
            "Ask the provider for an address of your own, or for IPv6.",
        ),
        Found::Silent => (
            if way == Reach::Relay { State::Doubtful } else { State::Good },
            "The router opens no ports for programs: it knows neither PCP, NAT-PMP nor UPnP, or they are off.".to_owned(),
            if way == Reach::Relay { "Switch one of them on in the router." } else { "" },
        ),
    };
    tell(ui, "port_mapping", state, what, hint);
    matches!(found, Found::Mapped(_, outside) if reach(outside.ip()) == note::Reach::Public)
}

/// Where the server was reached, and where it wants to be asked by UDP.
async fn signaling(place: &Place, ui: &Ui) -> Result<Option<(SocketAddr, Vec<SocketAddr>)>, Failure> {
    let mut link = Link::default();
    let start = Instant::now();
    link.dial(place.clone(), seed()?);
    let server = match link.next().await {
        News::Up { server, .. } => server,
        News::Down(Fault::Key(_)) => {
            let failure = report::key_changed(place);
            tell(ui, "server", State::Bad, failure.what.clone(), failure.hint.clone());
            return Err(failure);
        }
        News::Down(fault) => {
            let Failure { what, hint, .. } = report::unreachable(place, fault);
            tell(ui, "server", State::Bad, what, hint);
            return Ok(None);
        }
        News::Frame(_) => return Ok(None),
    };
    let took = start.elapsed().as_millis();
    link.send(ToServer::Hello { version: VERSION }.encode());
    let answer = match timeout(PATIENCE, link.next()).await {
        Ok(News::Frame(frame)) => ToClient::decode(&frame).ok(),
        Ok(News::Up { .. } | News::Down(_)) | Err(_) => None,
    };
    link.hang();
    Ok(match greeted(answer) {
        Ok(probes) => {
            let what = format!("The server answers by TCP; connecting took {took} ms.");
            tell(ui, "server", State::Good, what, "");
            Some((server, probes))
        }
        Err((topic, what, hint)) => {
            tell(ui, topic, State::Bad, what, hint);
            None
        }
    })
}

/// The ports to ask by UDP, or what is wrong with a server that greets so, and what to do.
fn greeted(answer: Option<ToClient>) -> Result<Vec<SocketAddr>, (&'static str, String, &'static str)> {
    match answer {
        Some(ToClient::Hello { version: VERSION, probes }) => Ok(probes),
        Some(ToClient::Hello { version, .. }) => {
            let hint =
                if version > VERSION { "Update this program." } else { "Its operator has to update it." };
            let what = format!(
                "The server speaks version {version} of the protocol, this program version {VERSION}."
            );
            Err(("version", what, hint))
        }
        _ => {
            let what = "The server was reached, but does not answer.".to_owned();
            Err(("server", what, "It may be full, or of another version."))
        }
    }
}

const NO_RELAY: &str =
    "Friends who cannot be reached directly will not hear you; ask whoever runs the server.";
/// Entering a room, the fall back to TCP, and the first voice.
const RELAYED: Duration = Duration::from_secs(20);
/// A round trip around the world and its repetitions.
const PATIENCE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_versions_the_older_one_is_to_be_updated() {
        let hint = |version| {
            let greeted = greeted(Some(ToClient::Hello { version, probes: Vec::new() }));
            greeted.err().map(|(topic, what, hint)| {
                assert!(topic == "version" && what.contains(&format!("version {version} ")), "{what}");
                hint
            })
        };
        assert_eq!(hint(VERSION), None);
        assert_eq!(hint(VERSION + 1), Some("Update this program."));
        assert_eq!(hint(VERSION - 1), Some("Its operator has to update it."));
    }
}
