//! TCP connections to relays, for networks that block UDP. Opened by the first packet, closed when the room says so.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use relay::stream::{News, Sender, carry};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vc_core::io::{Hop, Socket};

use crate::dial::{Ports, first};

pub(crate) struct Streams {
    /// By the relay's own address, whichever of its ports was reached.
    open: BTreeMap<SocketAddr, Open>,
    next: u64,
    /// The machine that our user chose as the server, once it is known, and at which ports it is tried.
    server: Option<(IpAddr, Ports)>,
    news: mpsc::Sender<(Key, News)>,
    inbox: mpsc::Receiver<(Key, News)>,
}

struct Open {
    number: u64,
    sender: Sender,
    /// Ours, once there is a connection.
    local: Arc<OnceLock<IpAddr>>,
    task: JoinHandle<()>,
}

/// The number tells a connection from an earlier one to the same relay.
type Key = (SocketAddr, u64);

impl Default for Streams {
    fn default() -> Self {
        let (news, inbox) = mpsc::channel(ARRIVED);
        Self { open: BTreeMap::new(), next: 0, server: None, news, inbox }
    }
}

impl Streams {
    /// Never waits. Says whether the packet will go out, as far as can be told now.
    pub(crate) fn send(&mut self, to: SocketAddr, packet: &[u8]) -> bool {
        if !self.open.contains_key(&to) && self.open.len() >= MAX_STREAMS {
            return false;
        }
        let ports = self.ports(to);
        let open = self.open.entry(to).or_insert_with(|| {
            self.next += 1;
            Open::dial((to, self.next), ports, self.news.clone())
        });
        !open.sender.send(packet)
    }

    /// Only the server is tried at a port that nobody named: the user asked for that machine. Of all others, whoever
    /// offers their relays says where they are.
    fn ports(&self, to: SocketAddr) -> Ports {
        match self.server {
            Some((server, ports)) if server == to.ip().to_canonical() => ports,
            _ => Ports::Own,
        }
    }

    pub(crate) fn set_server(&mut self, server: IpAddr, ports: Ports) {
        self.server = Some((server.to_canonical(), ports));
    }

    pub(crate) fn close(&mut self, to: SocketAddr) {
        self.open.remove(&to);
    }

    /// What came of the connections next; waits for ever while nothing does.
    pub(crate) async fn next(&mut self) -> (Hop, News) {
        loop {
            let Some(((addr, number), news)) = self.inbox.recv().await else {
                return std::future::pending().await;
            };
            // What is left of a connection that was closed is of no interest.
            if self.open.get(&addr).is_none_or(|open| open.number != number) {
                continue;
            }
            if news == News::Closed {
                self.open.remove(&addr);
            }
            return (Hop { socket: Socket::Tcp, addr }, news);
        }
    }

    /// Ends those whose own address this machine has no longer: they would be silent for a long time first.
    pub(crate) fn mend(&mut self, addresses: &[IpAddr]) -> Vec<Hop> {
        let orphan = |open: &Open| open.local.get().is_some_and(|local| !addresses.contains(local));
        let ended = self.open.extract_if(.., |_, open| orphan(open));
        ended.map(|(addr, _)| Hop { socket: Socket::Tcp, addr }).collect()
    }
}

impl Open {
    fn dial(key: Key, ports: Ports, news: mpsc::Sender<(Key, News)>) -> Self {
        let (sender, local) = (Sender::default(), Arc::new(OnceLock::new()));
        let (outgoing, ours) = (sender.clone(), local.clone());
        let task = tokio::spawn(async move {
            let dialled = timeout(PATIENCE, first(&[key.0], ports, TcpStream::connect)).await;
            let Ok(Ok(stream)) = dialled else {
                let _ = news.send((key, News::Closed)).await;
                return;
            };
            if let Ok(addr) = stream.local_addr() {
                let _ = ours.set(addr.ip());
            }
            carry(stream, &[], &outgoing, key, &news).await;
        });
        Self { number: key.1, sender, local, task }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Three relays by two ways each, and as many while tickets change.
const MAX_STREAMS: usize = 12;
/// A SYN and its repetitions after 1 and 3 s (RFC 6298); the room tries again.
const PATIENCE: Duration = Duration::from_secs(5);
/// A full queue slows the network, not the call.
const ARRIVED: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn relay() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    #[tokio::test]
    async fn the_first_packet_opens_a_connection_that_carries_both_ways_until_the_relay_ends_it() {
        let (listener, addr) = relay().await;
        let mut streams = Streams::default();
        assert!(streams.send(addr, b"one") && streams.send(addr, b"two"));
        let (mut far, _) = listener.accept().await.unwrap();
        let mut heard = [0; 10];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"\0\x03one\0\x03two");
        far.write_all(b"\0\x02hi").await.unwrap();
        let hop = Hop { socket: Socket::Tcp, addr };
        assert_eq!(streams.next().await, (hop, News::Packet(b"hi".to_vec())));
        drop(far);
        assert_eq!(streams.next().await, (hop, News::Closed));
        assert!(streams.send(addr, b"again"));
        listener.accept().await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_connection_ends_at_once_and_says_nothing_more() {
        let (listener, addr) = relay().await;
        let mut streams = Streams::default();
        streams.send(addr, b"one");
        let (mut far, _) = listener.accept().await.unwrap();
        streams.close(addr);
        let mut all = Vec::new();
        let _ = far.read_to_end(&mut all).await;
        streams.send(addr, b"two");
        let (mut far, _) = listener.accept().await.unwrap();
        far.write_all(b"\0\x02hi").await.unwrap();
        assert_eq!(streams.next().await.1, News::Packet(b"hi".to_vec()));
    }

    #[tokio::test]
    async fn only_the_server_itself_is_tried_at_the_open_port() {
        let mut streams = Streams::default();
        let [server, relay] = ["203.0.113.1:5000", "203.0.113.2:5000"].map(|at| at.parse().unwrap());
        assert!(streams.ports(server) == Ports::Own && streams.ports(relay) == Ports::Own);
        streams.set_server("::ffff:203.0.113.1".parse().unwrap(), Ports::AndOpen);
        assert!(streams.ports(server) == Ports::AndOpen && streams.ports(relay) == Ports::Own);
    }

    #[tokio::test]
    async fn connections_are_few_and_those_of_a_lost_address_end() {
        let (listener, addr) = relay().await;
        let mut streams = Streams::default();
        streams.send(addr, b"one");
        listener.accept().await.unwrap();
        while streams.open[&addr].local.get().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(streams.mend(&["127.0.0.1".parse().unwrap()]).is_empty());
        assert_eq!(streams.mend(&["192.0.2.1".parse().unwrap()]), [Hop { socket: Socket::Tcp, addr }]);
        for port in 1..=MAX_STREAMS as u16 {
            assert!(streams.send(SocketAddr::from(([127, 0, 0, 1], port)), b"x"));
        }
        assert!(!streams.send(addr, b"x"));
    }
}
