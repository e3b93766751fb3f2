//! Spare datagram sockets: hundreds for a few seconds while ports are tried, afterwards the one or two that met a friend.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::net::UdpSocket;
use vc_core::io::{Hop, Socket};

pub(crate) struct Spares {
    open: BTreeMap<u16, UdpSocket>,
    most: usize,
}

impl Default for Spares {
    fn default() -> Self {
        Self { open: BTreeMap::new(), most: descriptors().saturating_sub(LEFT) }
    }
}

impl Spares {
    /// Opens it if this is its first datagram. True if the system took the datagram.
    pub(crate) fn send(&mut self, spare: u16, to: SocketAddr, bytes: &[u8]) -> bool {
        let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let full = self.open.len() >= self.most;
        let socket = match self.open.entry(spare) {
            Entry::Occupied(open) => open.into_mut(),
            // Where the system grants few sockets, fewer ports are tried.
            Entry::Vacant(_) if full => return false,
            Entry::Vacant(closed) => match datagram_socket(domain) {
                Ok(socket) => closed.insert(socket),
                Err(_) => return false,
            },
        };
        // Past the reactor, which has not seen a fresh socket writable yet.
        SockRef::from(&*socket).send_to(bytes, &to.into()).is_ok()
    }

    pub(crate) fn close(&mut self, spare: u16) {
        self.open.remove(&spare);
    }

    /// Until a datagram may be there; never without open sockets.
    pub(crate) async fn readable(&self) {
        poll_fn(|cx| {
            // All of them, so that each wakes us.
            let ready = self.open.values().filter(|socket| socket.poll_recv_ready(cx).is_ready()).count();
            if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The next datagram that is there, at the front of `buffer`.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> Option<(usize, Hop)> {
        self.open.iter().find_map(|(spare, socket)| {
            // An error is an earlier datagram's ICMP answer: most ports that are tried are closed.
            let (len, addr) = (0..ERRORS).find_map(|_| match socket.try_recv_from(buffer) {
                Ok(datagram) => Some(Some(datagram)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Some(None),
                Err(_) => None,
            })??;
            Some((len, Hop { socket: Socket::Spare(*spare), addr }))
        })
    }
}

/// A fresh socket, at any port.
pub(crate) fn datagram_socket(domain: Domain) -> io::Result<UdpSocket> {
    let socket = RawSocket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    let any: SocketAddr = match domain {
        Domain::IPV6 => {
            socket.set_only_v6(true)?;
            (Ipv6Addr::UNSPECIFIED, 0).into()
        }
        _ => (Ipv4Addr::UNSPECIFIED, 0).into(),
    };
    socket.set_nonblocking(true)?;
    socket.bind(&any.into())?;
    UdpSocket::from_std(socket.into())
}

/// Files and sockets that this program may have open.
fn descriptors() -> usize {
    #[cfg(unix)]
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        return usize::try_from(limit).unwrap_or(usize::MAX);
    }
    usize::MAX
}

/// Descriptors for everything else: a server for two full rooms, sound, names, files.
const LEFT: usize = 96;
/// ICMP answers taken from one socket in a turn.
const ERRORS: usize = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_spare_has_a_port_of_its_own_and_is_answered_there() {
        let mut spares = Spares::default();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for spare in [7, 300] {
            assert!(spares.send(spare, far.local_addr().unwrap(), b"hello"));
        }
        let mut buffer = [0; 64];
        for _ in 0..2 {
            let (len, from) = far.recv_from(&mut buffer).await.unwrap();
            far.send_to(&buffer[..len], from).await.unwrap();
        }
        let mut came = Vec::new();
        while came.len() < 2 {
            spares.readable().await;
            while let Some((len, hop)) = spares.take(&mut buffer) {
                assert_eq!((&buffer[..len], hop.addr), (&b"hello"[..], far.local_addr().unwrap()));
                came.push(hop.socket);
            }
        }
        came.sort();
        assert_eq!(came, [Socket::Spare(7), Socket::Spare(300)]);
    }

    #[tokio::test]
    async fn where_sockets_are_few_others_find_some_left() {
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = far.local_addr().unwrap();
        let mut spares = Spares { most: 2, ..Spares::default() };
        assert_eq!([1, 2, 3, 1].map(|spare| spares.send(spare, to, b"hello")), [true, true, false, true]);
        spares.close(2);
        assert!(spares.send(3, to, b"hello"));
        let granted = descriptors();
        assert!(granted > LEFT && Spares::default().most == granted - LEFT);
    }

    #[tokio::test]
    async fn a_closed_spare_is_another_socket_when_used_again() {
        let mut spares = Spares::default();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (to, mut buffer) = (far.local_addr().unwrap(), [0; 64]);
        spares.send(1, to, b"first");
        let (_, first) = far.recv_from(&mut buffer).await.unwrap();
        // It holds the port, so that the next one gets another.
        spares.close(1);
        let _taken = UdpSocket::bind(("127.0.0.1", first.port())).await.unwrap();
        spares.send(1, to, b"second");
        let (_, second) = far.recv_from(&mut buffer).await.unwrap();
        assert_ne!(first, second);
    }
}
