//! A running relay and clients with UDP sockets.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use relay::{Doors, Stats};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vc_core::crypto::keys::{Secret, mac16};
use vc_core::crypto::ticket::{RelayKey, Ticket, TicketBody};
use vc_core::net::forward::rate::Rate;
use vc_core::net::forward::{Forwarder, Limits, Quota};
use vc_core::protocol::member::Slot;
use vc_core::protocol::packet::{self, Bind, Packet};

const ID: [u8; 4] = [4; 4];

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<Stats>>,
}

impl Running {
    pub(crate) async fn start(limits: Limits) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), limits).await
    }

    pub(crate) async fn start_at(addr: SocketAddr, limits: Limits) -> Self {
        let (udp, tcp) = ports(addr).await;
        let addr = udp.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let forwarder = Forwarder::new(key(), ID, limits, [addr.port() as u8; 32]);
        let doors = Doors::new(udp, vec![tcp]);
        let task = tokio::spawn(relay::serve_with(doors, forwarder, [2; 32], async {
            let _ = stopped.await;
        }));
        Self { addr, stop, task }
    }

    pub(crate) async fn stop(self) -> Stats {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap()
    }
}

fn key() -> RelayKey {
    RelayKey::new(Secret::new([7; 32]))
}

pub(crate) fn ticket(slot: u8) -> Ticket {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as u32;
    let body = TicketBody {
        relay: ID,
        room: [1; 8],
        slot,
        slots: 16,
        class: 0,
        not_after: wall + 3_600,
        serial: [0; 8],
    };
    key().mint(&body)
}

pub(crate) fn slot(n: u8) -> Slot {
    Slot::new(n).unwrap()
}

/// A bound client.
pub(crate) struct Client {
    socket: UdpSocket,
    pub(crate) bind: u32,
}

impl Client {
    pub(crate) async fn bind(relay: SocketAddr, n: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(relay).await.unwrap();
        let mut client = Self { socket, bind: 0 };
        client.rebind(n).await;
        client
    }

    /// The same socket towards another address.
    pub(crate) async fn moves_to(&mut self, relay: SocketAddr) {
        self.socket.connect(relay).await.unwrap();
    }

    pub(crate) async fn rebind(&mut self, n: u8) {
        let ticket = ticket(n);
        let mut bind = Bind { version: 1, body: ticket.body, nonce: [3; 8], cookie: [0; 16], mac: [0; 16] };
        loop {
            bind.mac = mac16(ticket.kb.as_bytes(), &[&bind.authenticated()]);
            self.socket.send(&bind.packet()).await.unwrap();
            match Packet::parse(&self.heard().await).unwrap() {
                Packet::Retry { cookie, .. } => bind.cookie = cookie,
                Packet::Bound(bound) => {
                    self.bind = bound.bind;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn heard(&self) -> Vec<u8> {
        let mut buffer = [0; 2_000];
        let len =
            timeout(Duration::from_secs(5), self.socket.recv(&mut buffer)).await.expect("silence").unwrap();
        buffer[..len].to_vec()
    }

    pub(crate) async fn say(&self, to: u8, inner: &[u8]) {
        self.socket.send(&packet::up(self.bind, slot(to), inner)).await.unwrap();
    }
}

pub(crate) fn unmetered() -> Limits {
    let rate = Rate::per_second(1 << 30, 1 << 30);
    Limits { classes: vec![Quota { bytes: rate, packets: rate }], total: rate, ..Limits::default() }
}

/// One port number for both; another one if only half of it is free.
async fn ports(addr: SocketAddr) -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind(addr).await.unwrap();
        match TcpListener::bind(udp.local_addr().unwrap()).await {
            Ok(tcp) => return (udp, tcp),
            Err(error) => assert!(addr.port() == 0, "{error}"),
        }
    }
}
