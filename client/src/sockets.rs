//! The datagram sockets, one per IP version, and the addresses they have here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use socket2::Domain;
use tokio::net::UdpSocket;
use vc_core::io::{self as edge, Hop};

use crate::spares::{Spares, datagram_socket};

pub(crate) struct Sockets {
    v4: Option<Open>,
    v6: Option<Open>,
    spares: Spares,
    /// Datagrams that the system did not take.
    pub(crate) unsent: u64,
}

struct Open {
    socket: UdpSocket,
    port: u16,
    /// Failed receptions in a row.
    failures: u32,
}

impl Sockets {
    /// A machine without one of the versions uses the other.
    pub(crate) async fn bind() -> io::Result<Self> {
        let v4 = Open::bind(Domain::IPV4).await;
        let v6 = Open::bind(Domain::IPV6).await;
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok(Self { v4: v4.ok(), v6: v6.ok(), spares: Spares::default(), unsent: 0 }),
        }
    }

    /// Never waits: a datagram that has to queue is late already, and the engine repeats what matters.
    pub(crate) fn send(&mut self, to: Hop, bytes: &[u8]) {
        let open = match (to.socket, to.addr.is_ipv4()) {
            (edge::Socket::Main, true) => &self.v4,
            (edge::Socket::Main, false) => &self.v6,
            (edge::Socket::Spare(spare), _) => {
                if !self.spares.send(spare, to.addr, bytes) {
                    self.unsent += 1;
                }
                return;
            }
            (edge::Socket::Tcp, _) => &None,
        };
        let sent = open.as_ref().map(|open| open.socket.try_send_to(bytes, to.addr));
        if !matches!(sent, Some(Ok(_))) {
            self.unsent += 1;
        }
    }

    /// Of the main socket for IPv4, which routers map.
    pub(crate) fn port(&self) -> Option<NonZeroU16> {
        NonZeroU16::new(self.v4.as_ref()?.port)
    }

    pub(crate) fn close_spare(&mut self, spare: u16) {
        self.spares.close(spare);
    }

    /// Until a datagram may be there; [`Self::take`] it.
    pub(crate) async fn readable(&self) {
        tokio::select! {
            () = readable(self.v4.as_ref()) => {}
            () = readable(self.v6.as_ref()) => {}
            () = self.spares.readable() => {}
        }
    }

    /// The next datagram that is there, at the front of `buffer`.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> Option<(usize, Hop)> {
        let main = take(&mut self.v4, buffer).or_else(|| take(&mut self.v6, buffer));
        main.map(|(len, addr)| (len, addr.into())).or_else(|| self.spares.take(buffer))
    }

    /// Opens again what had to be given up. Worth calling when the network may have changed.
    pub(crate) async fn mend(&mut self) {
        if self.v4.is_none() {
            self.v4 = Open::bind(Domain::IPV4).await.ok();
        }
        if self.v6.is_none() {
            self.v6 = Open::bind(Domain::IPV6).await.ok();
        }
    }

    /// Where other machines may reach the sockets, the likeliest first. `loopback`: others on this machine are
    /// wanted too, because that is where the server is.
    pub(crate) fn addresses(&self, loopback: bool) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = interface_addresses(loopback)
            .into_iter()
            .filter_map(|ip| {
                let open = if ip.is_ipv4() { &self.v4 } else { &self.v6 };
                Some(SocketAddr::new(ip, open.as_ref()?.port))
            })
            .collect();
        addresses.truncate(MAX_ADDRESSES);
        addresses
    }
}

impl Open {
    async fn bind(domain: Domain) -> io::Result<Self> {
        let socket = datagram_socket(domain)?;
        // A fresh socket answers "would block" to the first sends until the reactor has seen it once.
        socket.writable().await?;
        let port = socket.local_addr()?.port();
        Ok(Self { socket, port, failures: 0 })
    }
}

/// The address that this machine uses towards the internet; asks the routing table, sends nothing.
pub(crate) fn outward() -> Option<IpAddr> {
    towards(SOMEWHERE.into()).filter(leads_outward)
}

/// The same towards anybody.
pub(crate) fn towards(far: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match far {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn leads_outward(ip: &IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_loopback()
}

/// This machine's addresses without those that nobody else can use, the likeliest first.
pub(crate) fn interface_addresses(loopback: bool) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| usable(ip, loopback))
        .collect();
    // Which of several networks leads outward is of interest by itself: another order is another situation.
    let outward = [outward(), towards(SOMEWHERE_V6.into()).filter(leads_outward)];
    addresses.sort_by_key(|ip| (!ip.is_loopback(), !outward.contains(&Some(*ip)), ip.is_ipv6(), *ip));
    addresses.dedup();
    addresses
}

fn usable(ip: &IpAddr, loopback: bool) -> bool {
    if ip.is_unspecified() || ip.is_multicast() {
        return false;
    }
    match ip {
        _ if ip.is_loopback() => loopback,
        IpAddr::V4(ip) => !ip.is_link_local(),
        // Link-local addresses mean nothing without the interface's number, which differs per machine.
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    }
}

async fn readable(open: Option<&Open>) {
    match open {
        Some(open) if open.socket.readable().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

fn take(slot: &mut Option<Open>, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    let open = slot.as_mut()?;
    loop {
        match open.socket.try_recv_from(buffer) {
            Ok(datagram) => {
                open.failures = 0;
                return Some(datagram);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            // Some systems report an earlier datagram's ICMP answer here; while paths are probed that is normal.
            Err(_) => open.failures += 1,
        }
        if open.failures > MAX_FAILURES {
            *slot = None;
            return None;
        }
    }
}

/// A record holds no more of them.
const MAX_ADDRESSES: usize = vc_core::protocol::member::MAX_CANDIDATES;
/// No burst of probes gets as many ICMP answers; a socket that fails so often is broken, and would spin.
const MAX_FAILURES: u32 = 256;
/// TEST-NET-3 (RFC 5737): routed like any other address, owned by nobody.
const SOMEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 1), 9);
/// The same for IPv6 (RFC 3849).
const SOMEWHERE_V6: (Ipv6Addr, u16) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_datagram_of_a_fresh_socket_arrives() {
        let (mut a, mut b) = (Sockets::bind().await.unwrap(), Sockets::bind().await.unwrap());
        let to = b.addresses(true).into_iter().find(|addr| addr.ip().is_loopback()).unwrap();
        a.send(to.into(), b"hello");
        assert_eq!(a.unsent, 0);
        b.readable().await;
        let mut buffer = [0; 64];
        let (len, _) = b.take(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"hello");
        assert!(b.take(&mut buffer).is_none());
    }

    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_is_counted() {
        let mut sockets = Sockets::bind().await.unwrap();
        sockets.send("127.0.0.1:9".parse::<SocketAddr>().unwrap().into(), &[0; 70_000]);
        assert_eq!(sockets.unsent, 1);
    }

    #[test]
    fn only_addresses_that_others_can_use_are_told() {
        let told = |ip: &str| usable(&ip.parse().unwrap(), false);
        assert!(told("192.168.1.5") && told("2001:db8::1") && told("fd00::1"));
        assert!(!told("127.0.0.1") && !told("::1") && !told("fe80::1") && !told("169.254.3.4"));
        assert!(usable(&"127.0.0.1".parse().unwrap(), true));
    }
}
