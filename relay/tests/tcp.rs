//! Packets over TCP with real sockets on loopback.
#![allow(clippy::unwrap_used)]

mod scene;

use std::net::SocketAddr;
use std::time::Duration;

use scene::{Client, Running, slot, ticket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vc_core::crypto::keys::mac16;
use vc_core::net::forward::{Limits, Reason};
use vc_core::protocol::packet::{self, BIND_LEN, Bind, MAX_INNER, Packet};
use vc_core::protocol::stream::frame;

/// A client whose network blocks UDP.
struct Walled {
    stream: TcpStream,
    bind: u32,
}

impl Walled {
    async fn bind(relay: SocketAddr, n: u8) -> Self {
        let mut client = Self { stream: TcpStream::connect(relay).await.unwrap(), bind: 0 };
        client.send(&bind_packet(n)).await;
        let heard = client.heard().await;
        let Packet::Bound(bound) = Packet::parse(&heard).unwrap() else { panic!("asked to prove more") };
        assert_eq!(bound.seen, client.stream.local_addr().unwrap());
        client.bind = bound.bind;
        client
    }

    async fn send(&mut self, packet: &[u8]) {
        self.stream.write_all(&frame(packet)).await.unwrap();
    }

    async fn say(&mut self, to: u8, inner: &[u8]) {
        self.send(&packet::up(self.bind, slot(to), inner)).await;
    }

    async fn heard(&mut self) -> Vec<u8> {
        let packet = async {
            let mut packet = vec![0; usize::from(self.stream.read_u16().await.unwrap())];
            self.stream.read_exact(&mut packet).await.unwrap();
            packet
        };
        timeout(Duration::from_secs(5), packet).await.expect("silence")
    }

    /// Whether the relay has closed it.
    async fn is_over(&mut self) -> bool {
        let mut byte = [0];
        let read = timeout(Duration::from_secs(20), self.stream.read(&mut byte)).await.expect("still open");
        !matches!(read, Ok(1..))
    }
}

fn bind_packet(n: u8) -> Vec<u8> {
    let ticket = ticket(n);
    let mut bind = Bind { version: 1, body: ticket.body, nonce: [3; 8], cookie: [0; 16], mac: [0; 16] };
    bind.mac = mac16(ticket.kb.as_bytes(), &[&bind.authenticated()]);
    bind.packet()
}

#[tokio::test]
async fn friends_by_tcp_and_by_udp_hear_each_other() {
    let relay = Running::start(Limits::default()).await;
    let (mut a, mut b) = (Walled::bind(relay.addr, 0).await, Walled::bind(relay.addr, 1).await);
    let c = Client::bind(relay.addr, 2).await;
    for len in [20, 100, MAX_INNER] {
        let inner = vec![0xD2; len];
        a.say(1, &inner).await;
        assert_eq!(b.heard().await, packet::down(slot(0), &inner));
        b.say(2, &inner).await;
        assert_eq!(c.heard().await, packet::down(slot(1), &inner));
        c.say(0, &inner).await;
        assert_eq!(a.heard().await, packet::down(slot(2), &inner));
    }
    a.send(&packet::keep(a.bind, 7)).await;
    assert_eq!(a.heard().await, packet::kept(7, 0b111));
    let stats = relay.stop().await;
    assert_eq!((stats.counters.forwarded, stats.counters.all_dropped(), stats.unsent), (9, 0, 0));
}

#[tokio::test]
async fn a_member_moves_from_tcp_to_udp_and_back_and_is_reached_where_it_is() {
    let relay = Running::start(Limits::default()).await;
    let mut a = Walled::bind(relay.addr, 0).await;
    let mut b = Walled::bind(relay.addr, 1).await;
    let roamed = Client::bind(relay.addr, 1).await;
    a.say(1, &[0xD2; 50]).await;
    assert_eq!(roamed.heard().await, packet::down(slot(0), &[0xD2; 50]));
    b.send(&bind_packet(1)).await;
    assert!(matches!(Packet::parse(&b.heard().await), Ok(Packet::Bound(_))));
    a.say(1, &[0xD2; 60]).await;
    assert_eq!(b.heard().await, packet::down(slot(0), &[0xD2; 60]));
    relay.stop().await;
}

#[tokio::test]
async fn what_is_no_stream_of_packets_is_closed_and_its_neighbours_go_on() {
    let relay = Running::start(Limits::default()).await;
    let (mut a, mut b) = (Walled::bind(relay.addr, 0).await, Walled::bind(relay.addr, 1).await);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0], &[0xff; 40]] {
        let mut stranger = Walled { stream: TcpStream::connect(relay.addr).await.unwrap(), bind: 0 };
        stranger.stream.write_all(garbage).await.unwrap();
        assert!(stranger.is_over().await);
    }
    a.say(1, &[0xD2; 50]).await;
    assert_eq!(b.heard().await, packet::down(slot(0), &[0xD2; 50]));
    relay.stop().await;
}

#[tokio::test]
async fn a_forged_ticket_is_met_with_silence() {
    let relay = Running::start(Limits::default()).await;
    let mut stranger = Walled { stream: TcpStream::connect(relay.addr).await.unwrap(), bind: 0 };
    let mut forged = bind_packet(1);
    forged[BIND_LEN - 30] ^= 1;
    stranger.send(&forged).await;
    stranger.send(&packet::probe([1; 8])).await;
    assert_eq!(stranger.heard().await, packet::probed([1; 8], stranger.stream.local_addr().unwrap()));
    let stats = relay.stop().await;
    assert_eq!(stats.counters.dropped(Reason::BadMac), 1);
}

#[tokio::test]
async fn a_listener_that_reads_nothing_loses_voice_and_costs_the_others_nothing() {
    let relay = Running::start(scene::unmetered()).await;
    let (mut a, mut b) = (Walled::bind(relay.addr, 0).await, Walled::bind(relay.addr, 1).await);
    let _deaf = Walled::bind(relay.addr, 2).await;
    let voice = [0xD2; 1_100];
    for n in 0..=6_000_u32 {
        a.say(2, &voice).await;
        if n % 100 == 0 {
            a.say(1, &[&voice[..], &n.to_be_bytes()].concat()).await;
            assert!(b.heard().await.ends_with(&n.to_be_bytes()));
        }
    }
    let stats = relay.stop().await;
    assert_eq!(stats.counters.forwarded, 6_062);
    assert!(stats.unsent > 0, "nothing was ever too much");
}
