//! The UDP edge: receives, asks the forwarder, sends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use vc_core::crypto::ticket::RelayKey;
use vc_core::io::Time;
use vc_core::net::forward::{Counters, Forwarder, Limits, Verdict};
use vc_core::protocol::packet::MAX_UDP;

/// What a relay did. Numbers only.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub received: u64,
    /// Sends that the system refused: its buffer was full, or it knows no route.
    pub unsent: u64,
    pub counters: Counters,
}

/// Serves until `shutdown` is ready. Fails only if the socket does for good.
pub async fn serve(
    socket: UdpSocket,
    key: RelayKey,
    relay_id: [u8; 4],
    seed: [u8; 32],
    shutdown: impl Future<Output = ()>,
) -> io::Result<Stats> {
    serve_with(socket, Forwarder::new(key, relay_id, Limits::default(), seed), shutdown).await
}

/// The same with limits of one's own.
pub async fn serve_with(
    socket: UdpSocket,
    forwarder: Forwarder,
    shutdown: impl Future<Output = ()>,
) -> io::Result<Stats> {
    // The system may grant less; then floods cost more.
    let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
    let _ = SockRef::from(&socket).set_send_buffer_size(BUFFER);
    let mut edge = Edge { socket, forwarder, start: Instant::now(), stats: Stats::default() };
    // Until readiness was awaited once, a try_send would only say "would block".
    edge.socket.writable().await?;
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            ready = edge.socket.readable() => {
                ready?;
                edge.batch();
            }
            _ = sweep.tick() => edge.sweep(),
        }
    }
    edge.stats.counters = edge.forwarder.counters().clone();
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
    socket: UdpSocket,
    forwarder: Forwarder,
    start: Instant,
    stats: Stats,
}

impl Edge {
    /// Takes what has arrived, within measure: timers and shutdown must have their turn in a flood.
    fn batch(&mut self) {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = u32::try_from(wall.as_secs()).unwrap_or(u32::MAX);
        let now = self.now();
        // One byte longer than any packet of ours, so that what was cut off is malformed, too.
        let mut buffer = [0; MAX_UDP + 1];
        for _ in 0..BATCH {
            match self.socket.try_recv_from(&mut buffer) {
                Ok((len, from)) => self.packet(now, wall, from, &mut buffer, len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP message about something sent earlier; anybody can cause it and it says nothing of this socket.
                Err(_) => {}
            }
        }
    }

    fn packet(&mut self, now: Time, wall: u32, from: SocketAddr, buffer: &mut [u8], len: usize) {
        self.stats.received += 1;
        let packet = buffer.get(..len).unwrap_or_default();
        match self.forwarder.handle(now, wall, from.into(), packet) {
            Verdict::Drop(_) => {}
            Verdict::Reply(reply) => self.send(&reply, from),
            Verdict::Forward { to, header, inner } => {
                // The header goes where the longer one of the packet up was, so the inner packet stays in place.
                let start = inner.start.saturating_sub(header.len());
                if let Some(down) = buffer.get_mut(start..inner.end) {
                    down[..header.len()].copy_from_slice(&header);
                    self.send(down, to.addr);
                }
            }
        }
    }

    /// Voice that cannot be sent now is worth nothing later.
    fn send(&mut self, bytes: &[u8], to: SocketAddr) {
        if self.socket.try_send_to(bytes, to).is_err() {
            self.stats.unsent += 1;
        }
    }

    fn sweep(&mut self) {
        let now = self.now();
        if self.forwarder.next_expiry().is_some_and(|at| at <= now) {
            self.forwarder.expire(now);
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// A tenth of a second of 200 Mbit/s: what arrives while the process is not scheduled.
const BUFFER: usize = 4 << 20;
/// About a millisecond's work.
const BATCH: usize = 64;
/// Shorter than the forwarder's own interval, which decides.
const SWEEP: Duration = Duration::from_secs(5);
