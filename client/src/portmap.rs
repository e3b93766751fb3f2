//! Asks the router for a port outside that leads to one of ours: PCP (RFC 6887), NAT-PMP (RFC 6886), UPnP-IGD.
//! In a task of its own, so that no slow router delays the call; renewed while the call lasts, given back after it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::pin::pin;
use std::time::Duration;

use crab_nat::{InternetProtocol, PortMapping, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{PortMappingProtocol, SearchOptions};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::host::reach;
use crate::note::Reach;
use crate::sockets::outward;

/// What a port outside is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// The socket of a call: UDP, at any port outside, which friends are told.
    Call,
    /// A server of ours: TCP and UDP, at its own port number, for it tells no other.
    Server,
}

/// By which protocol a router answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Pcp,
    NatPmp,
    Upnp,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        }
    }
}

/// What there is to ask, and what came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This machine has a public address, or none for the internet.
    NoRouter,
    Silent,
    Mapped(Way, SocketAddr),
}

pub(crate) struct PortMap {
    outside: watch::Receiver<Option<SocketAddr>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PortMap {
    pub(crate) fn start(port: NonZeroU16, purpose: Use) -> Self {
        let (told, outside) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        Self { outside, stop, task: tokio::spawn(keep(port, purpose, told, stopped)) }
    }

    /// The address outside, once it is known, and every change of it.
    pub(crate) async fn changed(&mut self) -> Option<SocketAddr> {
        if self.outside.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.outside.borrow_and_update()
    }

    /// Gives the port back, if the router answers soon.
    pub(crate) async fn release(self) {
        let _ = self.stop.send(());
        let _ = timeout(FAREWELL, self.task).await;
    }
}

/// Whether a router maps ports: asks for this one and gives it back.
pub(crate) async fn find(port: NonZeroU16) -> Found {
    if local().is_none() {
        return Found::NoRouter;
    }
    match ask(local(), port, Use::Call).await {
        Some((held, outside)) => {
            let way = held.way();
            held.release().await;
            Found::Mapped(way, outside)
        }
        None => Found::Silent,
    }
}

/// Ports that a router maps to us, one for each protocol.
enum Held {
    Port { mappings: Vec<PortMapping>, told: Instant },
    Igd { gateway: Box<Gateway<Tokio>>, local: SocketAddr, port: u16, protocols: Vec<PortMappingProtocol> },
}

/// What a router says when it is asked again.
#[derive(PartialEq, Eq)]
enum Still {
    Yes,
    /// It does not answer, or began anew and with it all that it maps.
    No,
}

async fn keep(
    port: NonZeroU16,
    purpose: Use,
    told: watch::Sender<Option<SocketAddr>>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let local = local();
        let asking = ask(local, port, purpose);
        let Some(mut held) = unless_stopped(&mut stopped, asking, |(held, _)| held.release()).await else {
            return;
        };
        told.send_replace(held.as_ref().map(|(_, outside)| *outside));
        let mut due = Instant::now() + held.as_ref().map_or(AGAIN, |(held, _)| held.patience());
        loop {
            tokio::select! {
                _ = &mut stopped => {
                    if let Some((held, _)) = held {
                        held.release().await;
                    }
                    return;
                }
                () = sleep_until(due.min(Instant::now() + LOOK)) => {}
            }
            if self::local() != local {
                break;
            }
            if Instant::now() >= due {
                let Some((held, _)) = &mut held else { break };
                if held.renew().await == Still::No {
                    break;
                }
                due = Instant::now() + held.patience();
            }
        }
        told.send_replace(None);
    }
}

/// What is asked for; `None` if the call is over meanwhile. Then it is given back, for the router may have granted it.
async fn unless_stopped<T, F: Future<Output = ()>>(
    stopped: &mut oneshot::Receiver<()>,
    asking: impl Future<Output = Option<T>>,
    give_back: impl FnOnce(T) -> F,
) -> Option<Option<T>> {
    let mut asking = pin!(asking);
    tokio::select! {
        biased;
        _ = stopped => {}
        held = &mut asking => return Some(held),
    }
    if let Some(held) = asking.await {
        give_back(held).await;
    }
    None
}

/// The private address by which we go out; a public one needs no mapping.
fn local() -> Option<Ipv4Addr> {
    match outward()? {
        IpAddr::V4(ip) if reach(ip.into()) == Reach::Lan => Some(ip),
        _ => None,
    }
}

async fn ask(local: Option<Ipv4Addr>, port: NonZeroU16, purpose: Use) -> Option<(Held, SocketAddr)> {
    let local = local?;
    if let Some(gateway) = gateway(local)
        && let Some(held) = by_pcp(gateway, local, port, purpose).await
    {
        return Some(held);
    }
    by_upnp(SocketAddr::from((local, port.get())), purpose).await
}

/// PCP, or NAT-PMP where the router knows only that.
async fn by_pcp(
    gateway: Ipv4Addr,
    local: Ipv4Addr,
    port: NonZeroU16,
    purpose: Use,
) -> Option<(Held, SocketAddr)> {
    let protocols: &[InternetProtocol] = match purpose {
        Use::Call => &[InternetProtocol::Udp],
        Use::Server => &[InternetProtocol::Udp, InternetProtocol::Tcp],
    };
    let mut mappings = Vec::new();
    for protocol in protocols {
        let options = PortMappingOptions {
            external_port: Some(port),
            lifetime_seconds: u32::try_from(LEASE.as_secs()).ok(),
            timeout_config: Some(PATIENCE),
        };
        let asked = PortMapping::new(gateway.into(), local.into(), *protocol, port, options).await.ok();
        let fits = asked.as_ref().is_some_and(|it| purpose == Use::Call || it.external_port() == port);
        mappings.extend(asked);
        if !fits {
            Held::Port { mappings, told: Instant::now() }.release().await;
            return None;
        }
    }
    let mapping = mappings.first()?;
    let outside = mapping.external_port().get();
    let ip = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => Some(external_ip.to_canonical()),
        PortMappingType::NatPmp => {
            let asked = natpmp::external_address(gateway.into(), Some(PATIENCE)).await;
            asked.ok().map(IpAddr::from)
        }
    };
    let held = Held::Port { mappings, told: Instant::now() };
    let Some(ip) = ip else {
        held.release().await;
        return None;
    };
    Some((held, SocketAddr::new(ip, outside)))
}

async fn by_upnp(local: SocketAddr, purpose: Use) -> Option<(Held, SocketAddr)> {
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::new(local.ip(), 0);
    options.timeout = Some(SEARCH);
    let gateway = Box::new(search_gateway(options).await.ok()?);
    let ip = gateway.get_external_ip().await.ok()?;
    let protocols: &[PortMappingProtocol] = match purpose {
        Use::Call => &[PortMappingProtocol::UDP],
        Use::Server => &[PortMappingProtocol::UDP, PortMappingProtocol::TCP],
    };
    let lease = LEASE.as_secs() as u32;
    let mut held = Vec::new();
    for protocol in protocols {
        match gateway.add_port(*protocol, local.port(), local, lease, NAME).await {
            Ok(()) => held.push(*protocol),
            Err(_) => break,
        }
    }
    // The same port outside if it is free: some routers know no other way.
    let mut port = local.port();
    if held.len() < protocols.len() {
        if purpose == Use::Server {
            Held::Igd { gateway, local, port, protocols: held }.release().await;
            return None;
        }
        port = gateway.add_any_port(PortMappingProtocol::UDP, local, lease, NAME).await.ok()?;
        held.push(PortMappingProtocol::UDP);
    }
    Some((Held::Igd { gateway, local, port, protocols: held }, SocketAddr::new(ip, port)))
}

impl Held {
    fn way(&self) -> Way {
        match self {
            Self::Port { mappings, .. } => match mappings.first().map(PortMapping::mapping_type) {
                Some(PortMappingType::NatPmp) => Way::NatPmp,
                Some(PortMappingType::Pcp { .. }) | None => Way::Pcp,
            },
            Self::Igd { .. } => Way::Upnp,
        }
    }

    /// Until it is asked again.
    fn patience(&self) -> Duration {
        match self {
            Self::Port { .. } => LOOK_AFTER,
            Self::Igd { .. } => LOOK_AFTER_IGD,
        }
    }

    async fn renew(&mut self) -> Still {
        match self {
            Self::Port { mappings, told } => {
                let elapsed = std::mem::replace(told, Instant::now()).elapsed();
                for mapping in mappings {
                    let (epoch, before) = (mapping.gateway_epoch(), outside(mapping));
                    let renewed = mapping.renew().await.is_ok();
                    let went_on = goes_on(epoch, elapsed, mapping.gateway_epoch());
                    if !(renewed && went_on && outside(mapping) == before) {
                        return Still::No;
                    }
                }
            }
            Self::Igd { gateway, local, port, protocols } => {
                for protocol in protocols {
                    let lease = LEASE.as_secs() as u32;
                    if gateway.add_port(*protocol, *port, *local, lease, NAME).await.is_err() {
                        return Still::No;
                    }
                }
            }
        }
        Still::Yes
    }

    async fn release(self) {
        match self {
            Self::Port { mappings, .. } => {
                for mapping in mappings {
                    drop(mapping.try_drop().await);
                }
            }
            Self::Igd { gateway, port, protocols, .. } => {
                for protocol in protocols {
                    drop(gateway.remove_port(protocol, port).await);
                }
            }
        }
    }
}

/// As far as the answer to a renewal tells.
fn outside(mapping: &PortMapping) -> (Option<IpAddr>, NonZeroU16) {
    let ip = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => Some(external_ip),
        PortMappingType::NatPmp => None,
    };
    (ip, mapping.external_port())
}

/// Whether a router's clock went on since it was last seen, or began anew (RFC 6886, 3.6; RFC 6887, 8.5: two seconds and
/// a sixteenth for clocks that differ). One that is ahead is no harm: ours may have slept.
fn goes_on(before: u32, elapsed: Duration, after: u32) -> bool {
    let expected = u64::from(before) + elapsed.as_secs() * 15 / 16;
    u64::from(after) + 2 >= expected
}

/// The router that leads out: from the routing table where it can be read, else the first address of our network,
/// which most routers have.
fn gateway(local: Ipv4Addr) -> Option<Ipv4Addr> {
    match std::fs::read_to_string("/proc/net/route") {
        Ok(table) => default_route(&table),
        Err(_) => {
            let [a, b, c, _] = local.octets();
            Some(Ipv4Addr::new(a, b, c, 1))
        }
    }
}

/// Columns: interface, destination, gateway, ...; addresses as the machine's own words in hexadecimal.
fn default_route(table: &str) -> Option<Ipv4Addr> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (destination, gateway) = (columns.next()?, columns.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    })
}

const NAME: &str = "voicechat";
/// A port that was not given back is free again after an hour.
const LEASE: Duration = Duration::from_secs(3_600);
/// A router that knows none of the three may be another one later.
const AGAIN: Duration = Duration::from_secs(600);
/// A router that was switched off and on has forgotten us; asking costs it a packet.
const LOOK_AFTER: Duration = Duration::from_secs(60);
/// It tells no time, and asking is a connection.
const LOOK_AFTER_IGD: Duration = Duration::from_secs(300);
/// How soon another network is noticed.
const LOOK: Duration = Duration::from_secs(10);
/// A router is one hop away.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_secs(1)),
};
const SEARCH: Duration = Duration::from_secs(4);
/// Nobody waits for a router when the call is over.
const FAREWELL: Duration = Duration::from_millis(700);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_granted_while_the_call_ends_is_given_back() {
        let (stop, mut stopped) = oneshot::channel();
        let (grant, granted) = oneshot::channel();
        let mut given_back = None;
        let back = &mut given_back;
        let asking = async { granted.await.ok() };
        let give_back = move |port: u16| async move { *back = Some(port) };
        let asked = unless_stopped(&mut stopped, asking, give_back);
        let ends = async {
            let _ = stop.send(());
            tokio::task::yield_now().await;
            grant.send(47_700).unwrap();
        };
        let (asked, ()) = tokio::join!(asked, ends);
        assert_eq!((asked, given_back), (None, Some(47_700)));
    }

    #[test]
    fn a_router_whose_clock_goes_back_or_stands_still_was_switched_off() {
        let minute = Duration::from_secs(60);
        assert!(
            goes_on(1_000, minute, 1_060) && goes_on(1_000, minute, 1_055) && goes_on(1_000, minute, 1_090)
        );
        assert!(!goes_on(1_000, minute, 3) && !goes_on(1_000, minute, 1_000) && !goes_on(100, minute, 153));
        // One that started a moment before we asked first.
        assert!(goes_on(0, Duration::ZERO, 0) && goes_on(u32::MAX, Duration::ZERO, u32::MAX));
    }

    #[test]
    fn the_default_route_is_found_among_others() {
        let table = "Iface\tDestination\tGateway \tFlags\n\
                     eth0\t0001A8C0\t00000000\t0001\n\
                     eth0\t00000000\t0101A8C0\t0003\n";
        if cfg!(target_endian = "little") {
            assert_eq!(default_route(table), Some(Ipv4Addr::new(192, 168, 1, 1)));
        }
        assert_eq!(default_route("Iface\tDestination\tGateway\n"), None);
    }
}
