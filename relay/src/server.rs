//! The edge: receives by UDP and TCP, asks the forwarder, sends.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use rand_core::SeedableRng;
use socket2::SockRef;
use tokio::time::Instant;
use vc_core::crypto::keys::{Rng, kdf};
use vc_core::crypto::ticket::RelayKey;
use vc_core::io::{Hop, Socket, Time};
use vc_core::net::forward::{Counters, Forwarder, Limits, Verdict};
use vc_core::protocol::packet::Packet;

use crate::doors::{Doors, welcome};
use crate::streams::Streams;
use crate::udp::{self, Homes, Udp};

/// What a relay did. Numbers only.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub received: u64,
    /// What the system refused to send, because its buffer was full or it knows no route, and what a slow TCP
    /// connection did not take in time.
    pub unsent: u64,
    /// TCP connections for which there was no room.
    pub turned_away: u64,
    pub counters: Counters,
}

/// Serves until `shutdown` is ready. Fails only if the UDP socket does for good.
pub async fn serve(
    doors: Doors,
    key: RelayKey,
    relay_id: [u8; 4],
    seed: [u8; 32],
    shutdown: impl Future<Output = ()>,
) -> io::Result<Stats> {
    let tcp = *kdf::<32>(&seed, "tcp sources", &[]).as_bytes();
    serve_with(doors, Forwarder::new(key, relay_id, Limits::default(), seed), tcp, shutdown).await
}

/// The same with limits of one's own. `seed` spreads TCP's sources over their buckets.
pub async fn serve_with(
    doors: Doors,
    forwarder: Forwarder,
    seed: [u8; 32],
    shutdown: impl Future<Output = ()>,
) -> io::Result<Stats> {
    let Doors { udp, tcp, hand, mut accepted } = doors;
    // The system may grant less; then floods cost more.
    let _ = SockRef::from(&udp).set_recv_buffer_size(BUFFER);
    let _ = SockRef::from(&udp).set_send_buffer_size(BUFFER);
    let mut welcoming = tokio::task::JoinSet::new();
    welcoming.spawn(welcome(tcp, hand));
    let streams = Streams::new(&mut Rng::from_seed(seed));
    let mut edge = Edge {
        udp: Udp::new(udp)?,
        homes: Homes::default(),
        buffer: vec![0; udp::BUFFER],
        streams,
        forwarder,
        start: Instant::now(),
        stats: Stats::default(),
    };
    // Until readiness was awaited once, a try_send would only say "would block".
    edge.udp.writable().await?;
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            ready = edge.udp.readable() => {
                ready?;
                edge.batch();
            }
            (from, packet) = edge.streams.next() => edge.streamed(from, packet),
            Some(accepted) = accepted.recv() => edge.streams.add(edge.now(), accepted),
            _ = sweep.tick() => edge.sweep(),
        }
    }
    edge.stats.counters = edge.forwarder.counters().clone();
    edge.stats.turned_away = edge.streams.turned_away;
    Ok(edge.stats)
}

/// Ready when the process is asked to stop.
pub async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        else {
            let _ = interrupt.await;
            return;
        };
        tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = interrupt.await;
}

struct Edge {
    udp: Udp,
    homes: Homes,
    buffer: Vec<u8>,
    streams: Streams,
    forwarder: Forwarder,
    start: Instant,
    stats: Stats,
}

impl Edge {
    /// Takes what has arrived, within measure: timers and shutdown must have their turn in a flood.
    fn batch(&mut self) {
        let (now, wall) = (self.now(), wall());
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..BATCH {
            match self.udp.try_recv(&mut buffer) {
                Ok(came) => {
                    for packet in came.datagrams(&mut buffer) {
                        self.packet(now, wall, came.from.into(), came.at, packet);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP message about something sent earlier; anybody can cause it and it says nothing of this socket.
                Err(_) => {}
            }
        }
        self.buffer = buffer;
    }

    fn streamed(&mut self, from: SocketAddr, mut packet: Vec<u8>) {
        let now = self.now();
        if self.packet(now, wall(), Hop { socket: Socket::Tcp, addr: from }, None, &mut packet) {
            self.streams.is_of_use(now, from);
        }
    }

    /// True if it came from the owner of a place. `at`: our own address that it was sent to.
    fn packet(&mut self, now: Time, wall: u32, from: Hop, at: Option<IpAddr>, packet: &mut [u8]) -> bool {
        self.stats.received += 1;
        match self.forwarder.handle(now, wall, from, packet) {
            Verdict::Drop(_) => false,
            Verdict::Reply(reply) => {
                self.send(&reply, from, at);
                let owner = matches!(Packet::parse(&reply), Ok(Packet::Bound(_) | Packet::Kept { .. }));
                if let Some(at) = at.filter(|_| owner) {
                    self.homes.found(now, from.addr, at);
                }
                owner
            }
            Verdict::Forward { to, header, inner } => {
                // The header goes where the longer one of the packet up was, so the inner packet stays in place.
                let start = inner.start.saturating_sub(header.len());
                if let Some(down) = packet.get_mut(start..inner.end) {
                    down[..header.len()].copy_from_slice(&header);
                    self.send(down, to, self.homes.of(to.addr));
                }
                true
            }
        }
    }

    /// Voice that cannot be sent now is worth nothing later.
    fn send(&mut self, bytes: &[u8], to: Hop, at: Option<IpAddr>) {
        let sent = match to.socket {
            Socket::Tcp => self.streams.send(to.addr, bytes),
            Socket::Main | Socket::Spare(_) => self.udp.try_send(bytes, to.addr, at).is_ok(),
        };
        self.stats.unsent += u64::from(!sent);
    }

    fn sweep(&mut self) {
        let now = self.now();
        if self.forwarder.next_expiry().is_some_and(|at| at <= now) {
            self.forwarder.expire(now);
        }
        self.streams.sweep(now);
        self.homes.sweep(now);
    }

    fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// Unix seconds.
fn wall() -> u32 {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(wall.as_secs()).unwrap_or(u32::MAX)
}

/// A tenth of a second of 200 Mbit/s: what arrives while the process is not scheduled.
const BUFFER: usize = 4 << 20;
/// About a millisecond's work.
const BATCH: usize = 64;
/// Shorter than the forwarder's own interval, which decides.
const SWEEP: Duration = Duration::from_secs(5);
