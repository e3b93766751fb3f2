//! A second port that tells clients how their packets look from outside: only by comparing two does a client learn
//! whether its router shows everyone the same port. And a third that answers unasked, if a client wants to know whether
//! its router lets that through.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rand_core::SeedableRng;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use vc_core::crypto::keys::Rng;
use vc_core::io::Time;
use vc_core::net::forward::rate::{Net, Rate, Sources};
use vc_core::protocol::packet::{By, Packet, probed};

use crate::listen;
use crate::udp::{BUFFER, Udp};

/// A socket one port above `beside`, or at any port of that machine if it is taken.
pub fn bind(beside: SocketAddr) -> io::Result<UdpSocket> {
    match listen::udp(SocketAddr::new(beside.ip(), beside.port().saturating_add(1))) {
        Ok(socket) => Ok(socket),
        Err(_) => listen::udp(SocketAddr::new(beside.ip(), 0)),
    }
}

/// Answers for ever, each from the address at which it was asked.
pub async fn serve(socket: UdpSocket, seed: [u8; 32]) {
    let mut sources = Sources::new(PROBES, &mut Rng::from_seed(seed));
    let start = Instant::now();
    let unasked = unasked(&socket).await.and_then(Udp::new).ok();
    let Ok(udp) = Udp::new(socket) else { return };
    let mut buffer = vec![0; BUFFER];
    loop {
        let came = match udp.readable().await.and_then(|()| udp.try_recv(&mut buffer)) {
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // Errors are ICMP answers to something sent earlier, and say nothing of this socket.
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let now = Time::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
        for packet in came.datagrams(&mut buffer) {
            let (nonce, by) = match (Packet::parse(packet), &unasked) {
                (Ok(Packet::Probe { nonce }), _) => (nonce, &udp),
                (Ok(Packet::ProbeBy { nonce, by: By::AnotherPort }), Some(unasked)) => (nonce, unasked),
                (Ok(Packet::ProbeBy { nonce, by: By::ThisPort }), Some(_)) => (nonce, &udp),
                _ => continue,
            };
            if sources.take(now, Net::neighbourhood(came.from.ip()), 1) {
                // A socket for both families sees IPv4 addresses in their IPv6 form.
                let seen = SocketAddr::new(came.from.ip().to_canonical(), came.from.port());
                let _ = by.try_send(&probed(nonce, seen), came.from, came.at);
            }
        }
    }
}

/// A port of the same machine that nobody is told of. What arrives there is never read.
async fn unasked(beside: &UdpSocket) -> io::Result<UdpSocket> {
    let socket = listen::udp(SocketAddr::new(beside.local_addr()?.ip(), 0))?;
    // A fresh socket answers "would block" until the reactor has seen it once.
    socket.writable().await?;
    Ok(socket)
}

/// Two rooms of friends behind one router, and their repeats.
const PROBES: Rate = Rate::per_second(20, 100);

/// A socket that is broken must not spin.
const PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vc_core::protocol::packet::{probe, probe_by};

    use super::*;

    #[tokio::test]
    async fn a_probe_learns_where_it_came_from_and_nothing_else_is_answered() {
        let beside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = bind(beside.local_addr().unwrap()).unwrap();
        let there = socket.local_addr().unwrap();
        assert_ne!(there.port(), beside.local_addr().unwrap().port());
        let task = tokio::spawn(serve(socket, [1; 32]));
        let asking = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        asking.send_to(b"who am I?", there).await.unwrap();
        asking.send_to(&probe([7; 8]), there).await.unwrap();
        let mut buffer = [0; 64];
        let (len, _) = asking.recv_from(&mut buffer).await.unwrap();
        let seen = asking.local_addr().unwrap();
        assert_eq!(Packet::parse(&buffer[..len]), Ok(Packet::Probed { nonce: [7; 8], seen }));
        task.abort();
    }

    #[tokio::test]
    async fn a_question_is_answered_by_the_port_that_it_names() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let there = socket.local_addr().unwrap();
        let task = tokio::spawn(serve(socket, [1; 32]));
        let asking = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 64];
        for (by, same) in [(By::ThisPort, true), (By::AnotherPort, false)] {
            asking.send_to(&probe_by([by as u8; 8], by), there).await.unwrap();
            let (len, from) = asking.recv_from(&mut buffer).await.unwrap();
            assert_eq!((from.ip(), from == there), (there.ip(), same));
            let seen = asking.local_addr().unwrap();
            assert_eq!(Packet::parse(&buffer[..len]), Ok(Packet::Probed { nonce: [by as u8; 8], seen }));
        }
        task.abort();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn whoever_asks_at_one_of_several_addresses_is_answered_from_it() {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let socket = UdpSocket::bind(any).await.unwrap();
            let port = socket.local_addr().unwrap().port();
            let task = tokio::spawn(serve(socket, [1; 32]));
            for n in 1..4 {
                let asking = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                // From elsewhere it hears nothing.
                asking.connect((std::net::Ipv4Addr::new(127, 0, 0, n), port)).await.unwrap();
                asking.send(&probe([n; 8])).await.unwrap();
                let mut buffer = [0; 64];
                let len = asking.recv(&mut buffer).await.unwrap();
                assert!(matches!(Packet::parse(&buffer[..len]), Ok(Packet::Probed { .. })));
            }
            task.abort();
        }
    }
}
