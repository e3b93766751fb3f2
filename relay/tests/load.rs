//! Figures of docs/PERFORMANCE.md that take a while: `cargo test --release -p relay --test load -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use relay::Doors;
use vc_core::crypto::keys::{Secret, mac16};
use vc_core::crypto::ticket::{RelayKey, TicketBody};
use vc_core::net::forward::rate::Rate;
use vc_core::net::forward::{Forwarder, Limits, Quota};
use vc_core::protocol::member::Slot;
use vc_core::protocol::packet::{self, Bind, Packet};

const SECONDS: u32 = 5;
const VALID: u32 = 5_000;
const FLOOD: u32 = 50_000;

fn key() -> RelayKey {
    RelayKey::new(Secret::new([7; 32]))
}

fn bound(relay: SocketAddr, slot: u8) -> (UdpSocket, u32) {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as u32;
    let body = TicketBody {
        relay: [1; 4],
        room: [1; 8],
        slot,
        slots: 16,
        class: 0,
        not_after: wall + 99,
        serial: [0; 8],
    };
    let ticket = key().mint(&body);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(relay).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut bind = Bind { version: 1, body: ticket.body, nonce: [3; 8], cookie: [0; 16], mac: [0; 16] };
    loop {
        bind.mac = mac16(ticket.kb.as_bytes(), &[&bind.authenticated()]);
        socket.send(&bind.packet()).unwrap();
        let mut buffer = [0; 200];
        let len = socket.recv(&mut buffer).unwrap();
        match Packet::parse(&buffer[..len]).unwrap() {
            Packet::Retry { cookie, .. } => bind.cookie = cookie,
            Packet::Bound(bound) => return (socket, bound.bind),
            other => panic!("{other:?}"),
        }
    }
}

/// Sends at this rate until told to stop; returns how many.
fn pace(per_second: u32, seconds: u32, mut send: impl FnMut(u32)) -> u32 {
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(seconds.into()) {
        let due = (start.elapsed().as_secs_f64() * f64::from(per_second)) as u32;
        (sent..due).for_each(&mut send);
        sent = due;
        thread::yield_now();
    }
    sent
}

fn run(flood: bool) -> (f64, Duration) {
    let rate = Rate::per_second(1 << 30, 1 << 30);
    let limits =
        Limits { classes: vec![Quota { bytes: rate, packets: rate }], total: rate, ..Limits::default() };
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let relay = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            tell.send(socket.local_addr().unwrap()).unwrap();
            let forwarder = Forwarder::new(key(), [1; 4], limits, [1; 32]);
            let stats = relay::serve_with(Doors::new(socket, Vec::new()), forwarder, [2; 32], async {
                drop(stopped.await)
            })
            .await
            .unwrap();
            println!("received {}, unsent {}, {:?}", stats.received, stats.unsent, stats.counters);
        });
    });
    let addr = told.recv().unwrap();
    let ((from, bind), (to, _)) = (bound(addr, 0), bound(addr, 1));
    let over = Arc::new(AtomicBool::new(false));
    let done = over.clone();
    let origin = Instant::now();
    let hearer = thread::spawn(move || {
        let (mut heard, mut delays, mut buffer) = (0_u32, Vec::new(), [0; 2_000]);
        to.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        loop {
            match to.recv(&mut buffer) {
                Ok(len) => {
                    let sent = u64::from_be_bytes(buffer[len - 8..len].try_into().unwrap());
                    delays.push(origin.elapsed().saturating_sub(Duration::from_nanos(sent)));
                    heard += 1;
                }
                Err(_) if done.load(Ordering::Relaxed) => break,
                Err(_) => {}
            }
        }
        delays.sort();
        (heard, delays[delays.len() * 99 / 100])
    });
    let flooder = flood.then(|| {
        thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut garbage = packet::up(5, Slot::new(1).unwrap(), &[0xD2; 100]);
            pace(FLOOD, SECONDS, |n| {
                garbage[1..5].copy_from_slice(&n.to_be_bytes());
                let _ = socket.send_to(&garbage, addr);
            })
        })
    });
    let sent = pace(VALID, SECONDS, |_| {
        let at = origin.elapsed().as_nanos() as u64;
        let inner = [&[0xD2; 92][..], &at.to_be_bytes()].concat();
        let _ = from.send(&packet::up(bind, Slot::new(1).unwrap(), &inner));
    });
    let flooded = flooder.map(|f| f.join().unwrap());
    over.store(true, Ordering::Relaxed);
    let (heard, p99) = hearer.join().unwrap();
    stop.send(()).unwrap();
    relay.join().unwrap();
    let lost = 1.0 - f64::from(heard) / f64::from(sent);
    println!("sent {sent}, flood {flooded:?}, lost {:.3} %, delay p99 {p99:?}", lost * 100.0);
    (lost, p99)
}

#[test]
#[ignore = "keeps two cores busy for ten seconds"]
fn five_thousand_packets_a_second_pass_under_fifty_thousand_of_garbage() {
    let (_, calm) = run(false);
    let (lost, busy) = run(true);
    assert!(lost < 0.01, "{lost}");
    println!("the flood adds {:?} at the 99th percentile", busy.saturating_sub(calm));
}
