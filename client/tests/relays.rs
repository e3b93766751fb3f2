//! Real friends over real relays that block, die and come back.

#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread::{self, JoinHandle};

use relay::Doors;
use signaling::{Config, Limits, RelayInfo};
use tokio::sync::oneshot;
use vc_core::crypto::keys::{Secret, StaticKey};
use vc_core::crypto::ticket::RelayKey;
use vc_core::room::code::base32;

mod party;

use party::{Friend, Party};

#[test]
fn voice_and_chat_flow_over_tcp_where_udp_is_swallowed() {
    let party = Party::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    // What is sent to the relay's port by UDP arrives nowhere; the relay itself waits for it elsewhere.
    let _swallows = UdpSocket::bind(addr).unwrap();
    let _relay = Relay::start(UdpSocket::bind("127.0.0.1:0").unwrap(), tcp, 1);
    let (_signaling, place) = signaling(&[(addr, 1)]);
    let (mut ada, mut bob) = talking(&party, &place);
    for friend in [&mut ada, &mut bob] {
        assert_eq!(friend.wait(|event| event["event"] == "path" && event["rung"] != "mail")["rung"], "relay");
        hears(friend, 100);
    }
    ada.say("over TCP");
    assert_eq!(bob.wait_for("chat")["text"], "over TCP");
}

#[test]
fn of_two_relays_either_may_die() {
    let party = Party::new();
    let mut relays = [Relay::anywhere(1), Relay::anywhere(2)];
    let places = [(relays[0].addr, 1), (relays[1].addr, 2)];
    let (_signaling, place) = signaling(&places);
    let (mut ada, mut bob) = talking(&party, &place);
    for friend in [&mut ada, &mut bob] {
        hears(friend, 50);
    }
    for (n, (addr, key)) in places.into_iter().enumerate() {
        relays[n].stop();
        for friend in [&mut ada, &mut bob] {
            hears(friend, 100);
            assert!(!friend.log.iter().any(|event| event["event"] == "left"));
        }
        relays[n] = Relay::start(UdpSocket::bind(addr).unwrap(), TcpListener::bind(addr).unwrap(), key);
        // Both know it again before the other one dies.
        for friend in [&mut ada, &mut bob] {
            hears(friend, 400);
        }
    }
}

#[test]
fn a_relay_that_dies_with_its_server_is_named_and_leaves_no_figures() {
    let party = Party::new();
    let (server, place) = party.serve();
    let (mut ada, mut bob) = talking(&party, &place);
    hears(&mut ada, 100);
    hears(&mut bob, 100);
    let figures = |event: &serde_json::Value| event["peers"][0]["rtt_ms"].is_number();
    ada.wait(|event| event["event"] == "stats" && figures(event));
    let bobs = serde_json::Value::from("Bob");
    drop(server);
    // Before anybody is called lost.
    let blank =
        ada.wait(|event| event["event"] == "reconnecting" || event["event"] == "stats" && !figures(event));
    assert_eq!((&blank["event"], &blank["peers"][0]["state"]), (&"stats".into(), &"live".into()), "{blank}");
    let lost = ada.wait_for("reconnecting");
    assert_eq!((&lost["name"], &lost["cause"]), (&bobs, &"relay".into()), "{lost}");
}

/// Two friends that hear a tone of each other, never directly.
fn talking(party: &Party, place: &str) -> (Friend, Friend) {
    let args = ["--input", "tone", "--output", "null", "--path", "relay"];
    let (mut ada, code) = party.create(place, "Ada", &args);
    let mut bob = party.join(place, "Bob", &code, &args);
    bob.wait_for("joined");
    ada.wait_for("joined");
    (ada, bob)
}

/// Until so many more frames of the other have arrived.
fn hears(friend: &mut Friend, more: u64) {
    let heard = |event: &serde_json::Value| event["peers"][0]["heard"].as_u64();
    let start = heard(&friend.wait(|event| event["event"] == "stats" && heard(event).is_some())).unwrap();
    friend.wait(|event| event["event"] == "stats" && heard(event) >= Some(start + more));
}

/// A relay that dies as if its machine did.
struct Relay {
    addr: SocketAddr,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Relay {
    fn anywhere(key: u8) -> Self {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                return Self::start(udp, tcp, key);
            }
        }
    }

    fn start(udp: UdpSocket, tcp: TcpListener, key: u8) -> Self {
        let addr = tcp.local_addr().unwrap();
        let running = run(async move |stopped| {
            udp.set_nonblocking(true).unwrap();
            tcp.set_nonblocking(true).unwrap();
            let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
            let doors = Doors::new(udp, vec![tokio::net::TcpListener::from_std(tcp).unwrap()]);
            relay::serve(doors, relay_key(key), [key; 4], [key; 32], stopped).await.unwrap();
        });
        Self { addr, running: Some(running) }
    }

    fn stop(&mut self) {
        let Running { stop, thread } = self.running.take().unwrap();
        stop.send(()).unwrap();
        thread.join().unwrap();
    }
}

/// A server that offers these relays, by address and key.
fn signaling(relays: &[(SocketAddr, u8)]) -> (Running, String) {
    let key = StaticKey::from_bytes([1; 32]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("{}#{}", listener.local_addr().unwrap(), base32(&key.public().0));
    let relay = |&(addr, key): &(SocketAddr, u8)| RelayInfo { addr, id: [key; 4], key: relay_key(key) };
    let relays = relays.iter().map(relay).collect();
    let config = Config { key, relays, probes: Vec::new(), limits: Limits::default(), seed: [2; 32] };
    let running = run(async move |stopped| {
        listener.set_nonblocking(true).unwrap();
        let tcp = vec![tokio::net::TcpListener::from_std(listener).unwrap()];
        signaling::serve(signaling::Doors { tcp, relay: None }, config, stopped).await.unwrap();
    });
    (running, place)
}

fn relay_key(key: u8) -> RelayKey {
    RelayKey::new(Secret::new([key; 32]))
}

type Stopped = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// On a thread of its own, until told to stop or forgotten.
fn run(serve: impl AsyncFnOnce(Stopped) + Send + 'static) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(Box::pin(async { drop(stopped.await) })));
    });
    Running { stop, thread }
}
