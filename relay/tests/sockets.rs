//! A relay with real sockets on loopback.
#![allow(clippy::unwrap_used)]

mod scene;

use std::net::SocketAddr;
use std::time::Duration;

use scene::{Client, Running, slot, ticket};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use vc_core::net::forward::{Limits, Reason};
use vc_core::protocol::packet::{self, Bind};

#[tokio::test]
async fn two_clients_hear_each_other_through_the_relay() {
    let relay = Running::start(Limits::default()).await;
    let (a, b) = (Client::bind(relay.addr, 0).await, Client::bind(relay.addr, 5).await);
    for len in [1, 100, packet::MAX_INNER] {
        let inner = vec![0xD2; len];
        a.say(5, &inner).await;
        assert_eq!(b.heard().await, packet::down(slot(0), &inner));
        b.say(0, &inner).await;
        assert_eq!(a.heard().await, packet::down(slot(5), &inner));
    }
    let stats = relay.stop().await;
    assert_eq!((stats.counters.forwarded, stats.counters.all_dropped(), stats.unsent), (6, 0, 0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn whoever_asks_at_one_of_several_addresses_is_answered_from_it() {
    for any in ["0.0.0.0:0", "[::]:0"] {
        let relay = Running::start_at(any.parse().unwrap(), Limits::default()).await;
        // Each hears only what comes from where it sent to: the sockets are connected.
        let at = |n: u8| SocketAddr::from(([127, 0, 0, n], relay.addr.port()));
        let (a, b) = (Client::bind(at(1), 0).await, Client::bind(at(2), 5).await);
        let mut c = Client::bind(at(3), 7).await;
        for (from, to, n, m) in [(&a, &b, 0, 5), (&b, &a, 5, 0)] {
            from.say(m, &[0xD2; 40]).await;
            assert_eq!(to.heard().await, packet::down(slot(n), &[0xD2; 40]), "{any}");
        }
        // Who comes to another address of ours is found from there.
        c.moves_to(at(4)).await;
        c.rebind(7).await;
        a.say(7, &[0xD2; 40]).await;
        assert_eq!(c.heard().await, packet::down(slot(0), &[0xD2; 40]), "{any}");
        relay.stop().await;
    }
}

#[tokio::test]
async fn garbage_is_counted_and_answered_by_nothing() {
    let relay = Running::start(Limits::default()).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.connect(relay.addr).await.unwrap();
    let mut buffer = [0; 2_000];
    for n in 0..200_u8 {
        let mut garbage = vec![n; usize::from(n) * 7];
        // What a relay does answer begins with these.
        if matches!(n, 0xE0 | 0xE2 | 0xE5 | 0xE7) {
            garbage[0] = 0;
        }
        stranger.send(&garbage).await.unwrap();
        if n % 20 == 19 {
            // Its answer comes first, so nothing before it was answered; and the socket's buffer is empty again.
            stranger.send(&packet::probe([n; 8])).await.unwrap();
            let len =
                timeout(Duration::from_secs(5), stranger.recv(&mut buffer)).await.expect("silence").unwrap();
            assert_eq!(&buffer[..len], packet::probed([n; 8], stranger.local_addr().unwrap()));
        }
    }
    let stats = relay.stop().await;
    assert_eq!((stats.counters.replies, stats.counters.all_dropped()), (10, 200));
}

#[tokio::test]
async fn a_restarted_relay_answers_by_reset_and_a_new_bind_brings_the_client_back() {
    let relay = Running::start(Limits::default()).await;
    let addr = relay.addr;
    let (a, mut b) = (Client::bind(addr, 0).await, Client::bind(addr, 1).await);
    relay.stop().await;
    let relay = Running::start_at(addr, Limits::default()).await;
    let mut a = a;
    for (client, n) in [(&mut a, 0), (&mut b, 1)] {
        client.say(1 - n, &[0xD2; 50]).await;
        assert_eq!(client.heard().await, packet::reset(client.bind));
        client.rebind(n).await;
    }
    a.say(1, &[0xD2; 50]).await;
    assert_eq!(b.heard().await, packet::down(slot(0), &[0xD2; 50]));
    relay.stop().await;
}

#[tokio::test]
async fn a_client_that_went_away_does_not_disturb_the_others() {
    let relay = Running::start(Limits::default()).await;
    let (a, b) = (Client::bind(relay.addr, 0).await, Client::bind(relay.addr, 1).await);
    let gone = Client::bind(relay.addr, 2).await;
    drop(gone);
    for _ in 0..20 {
        // Each makes the system report "port unreachable" to the relay's socket.
        a.say(2, &[0xD2; 50]).await;
        a.say(1, &[0xD2; 60]).await;
        assert_eq!(b.heard().await.len(), 62);
    }
    assert_eq!(relay.stop().await.counters.forwarded, 40);
}

#[tokio::test]
async fn voice_goes_on_under_a_flood_of_garbage() {
    let relay = Running::start(scene::unmetered()).await;
    let (a, b) = (Client::bind(relay.addr, 0).await, Client::bind(relay.addr, 1).await);
    let flood = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut heard = 0;
    for n in 0..200_u32 {
        // Ten of a stranger's, of kinds that cost most, to one of a member's.
        for _ in 0..4 {
            flood.send_to(&[0xE5; 100], relay.addr).await.unwrap();
            flood.send_to(&[0xD2; 1_100], relay.addr).await.unwrap();
        }
        let mut bind =
            Bind { version: 1, body: ticket(3).body, nonce: [0; 8], cookie: [1; 16], mac: [0; 16] };
        flood.send_to(&bind.packet(), relay.addr).await.unwrap();
        bind.body[0] ^= 1;
        flood.send_to(&bind.packet(), relay.addr).await.unwrap();
        a.say(1, &[&[0xD2; 96][..], &n.to_be_bytes()].concat()).await;
        heard += u32::from(b.heard().await.ends_with(&n.to_be_bytes()));
    }
    assert_eq!(heard, 200);
    let stats = relay.stop().await;
    assert_eq!(stats.counters.dropped(Reason::NotForUs), 800);
    assert_eq!(stats.counters.dropped(Reason::BadTicket), 200);
    assert_eq!(stats.counters.forwarded, 200);
}
