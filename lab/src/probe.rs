//! Whether a router maps and filters as its kind says: asked from inside, by plain sockets, as RFC 5780 does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::nat::{Asked, Dependence, Kind};
use crate::report::say;
use crate::world::{Programs, World, server};

/// True if all of them do.
pub(crate) fn check(kinds: &[Kind]) -> Result<bool> {
    let mut good = true;
    for kind in kinds.iter().filter(|kind| kind.access().v4.is_some()) {
        let verdict = measure(*kind).with_context(|| kind.name())?;
        let access = kind.access();
        let expected = match access.udp {
            true => access.v4.map(|nat| (nat.mapping, nat.filtering)),
            false => None,
        };
        let found = verdict.as_ref().map(|seen| (seen.mapping, seen.filtering));
        good &= found == expected;
        let mark = if found == expected { "ok " } else { "NOT" };
        let text = match &verdict {
            Some(seen) => format!(
                "mapping by {:?}, filtering by {:?}, ports {:?}, port kept: {}",
                seen.mapping, seen.filtering, seen.ports, seen.kept
            ),
            None => "no UDP".to_owned(),
        };
        say(&format!("{mark} {:<8} {text}", kind.name()));
    }
    Ok(good)
}

struct Seen {
    mapping: Dependence,
    filtering: Dependence,
    ports: Vec<u16>,
    kept: bool,
}

fn measure(kind: Kind) -> Result<Option<Seen>> {
    let world = World::new(&Programs::none())?;
    let mut site = world.site(kind)?;
    let seat = world.seat(&mut site, None)?;
    let places: Vec<SocketAddr> =
        [(1, 5_001), (1, 5_002), (2, 5_001)].map(|(n, port)| SocketAddr::new(server(n, true), port)).into();
    let echoes = echo(&world, &places)?;
    let asked = places.clone();
    let seen = seat.ns.thread(move || -> Result<(u16, Vec<Option<u16>>, UdpSocket)> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let ports = asked.iter().map(|to| ask(&socket, *to)).collect();
        Ok((socket.local_addr()?.port(), ports, socket))
    })?;
    let (inside, ports, _socket) = seen.join().map_err(|_| anyhow::anyhow!("the prober panicked"))??;
    drop(echoes);
    let ports: Vec<u16> = ports.into_iter().flatten().collect();
    if ports.is_empty() {
        return Ok(None);
    }
    ensure!(ports.len() == places.len(), "only {} of {} answers", ports.len(), places.len());
    let mapping = match (ports[0] == ports[1], ports[0] == ports[2]) {
        (true, true) => Dependence::Endpoint,
        (true, false) => Dependence::Address,
        _ => Dependence::Port,
    };
    let kept = ports[0] == inside;
    // What is asked by UPnP alone, `voicechat doctor` asks for (`lab doctor`).
    if kind.access().opens_ports == Some(Asked::Any) {
        ensure!(opened(&world, &seat)?, "the router does not open a port that it was asked for");
    }
    Ok(Some(Seen { mapping, filtering: filtering(&world, &seat)?, ports, kept }))
}

/// A fresh socket calls one place; then others try to answer.
fn filtering(world: &World, seat: &crate::world::Seat) -> Result<Dependence> {
    let called = SocketAddr::new(server(1, true), 5_003);
    let [same_address, stranger] =
        [(1, 5_004), (2, 5_004)].map(|(n, port)| SocketAddr::new(server(n, true), port));
    let (ready, bound) = std::sync::mpsc::channel();
    let answers = world.servers.thread(move || -> Result<()> {
        let sockets = [called, same_address, stranger].map(UdpSocket::bind);
        let [Ok(called), Ok(same), Ok(stranger)] = sockets else { anyhow::bail!("no sockets") };
        called.set_read_timeout(Some(PATIENCE))?;
        ready.send(())?;
        let (_, from) = called.recv_from(&mut [0; 64])?;
        for socket in [&same, &stranger] {
            socket.send_to(b"!", from)?;
        }
        Ok(())
    })?;
    bound.recv()?;
    let caller = seat.ns.thread(move || -> Result<Vec<SocketAddr>> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send_to(b"?", called)?;
        let mut heard = Vec::new();
        while let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
            heard.push(from);
        }
        Ok(heard)
    })?;
    answers.join().map_err(|_| anyhow::anyhow!("the answerer panicked"))??;
    let heard = caller.join().map_err(|_| anyhow::anyhow!("the caller panicked"))??;
    Ok(match (heard.contains(&same_address), heard.contains(&stranger)) {
        (_, true) => Dependence::Endpoint,
        (true, false) => Dependence::Address,
        (false, false) => Dependence::Port,
    })
}

/// Asks the router by NAT-PMP (RFC 6886) for a port, and lets a stranger use it.
fn opened(world: &World, seat: &crate::world::Seat) -> Result<bool> {
    let (tell, told) = std::sync::mpsc::channel();
    let inside = seat.ns.thread(move || -> Result<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let port = socket.local_addr()?.port().to_be_bytes();
        // Map UDP for a minute, the same port outside if it is free.
        let ask = [&[0, 1, 0, 0][..], &port, &port, &60u32.to_be_bytes()].concat();
        let mut answer = [0; 16];
        for _ in 0..PATIENCE_TRIES {
            socket.send_to(&ask, (Ipv4Addr::new(192, 168, 1, 1), 5_351))?;
            if let Ok((16, _)) = socket.recv_from(&mut answer) {
                break;
            }
        }
        ensure!(answer[1] == 129 && answer[2..4] == [0, 0], "NAT-PMP answers {answer:?}");
        tell.send(u16::from_be_bytes([answer[10], answer[11]]))?;
        Ok(socket.recv_from(&mut [0; 16]).is_ok())
    })?;
    if let Ok(port) = told.recv_timeout(PATIENCE * (PATIENCE_TRIES + 1)) {
        let to = SocketAddr::new(crate::world::HOUSE.into(), port);
        let stranger = world.servers.thread(move || -> Result<()> {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.send_to(b"!", to)?;
            Ok(())
        })?;
        stranger.join().map_err(|_| anyhow::anyhow!("the stranger panicked"))??;
    }
    inside.join().map_err(|_| anyhow::anyhow!("the asker panicked"))?
}

/// Answers with the port that a question came from, a few seconds long.
fn echo(world: &World, places: &[SocketAddr]) -> Result<Vec<std::thread::JoinHandle<()>>> {
    let mut threads = Vec::new();
    for place in places.iter().copied() {
        let (ready, bound) = std::sync::mpsc::channel();
        threads.push(world.servers.thread(move || {
            let Ok(socket) = UdpSocket::bind(place) else { return };
            let _ = ready.send(());
            let _ = socket.set_read_timeout(Some(PATIENCE * 4));
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let IpAddr::V4(_) = from.ip() else { continue };
                let _ = socket.send_to(&from.port().to_be_bytes(), from);
            }
        })?);
        bound.recv()?;
    }
    Ok(threads)
}

fn ask(socket: &UdpSocket, to: SocketAddr) -> Option<u16> {
    socket.send_to(b"?", to).ok()?;
    let mut answer = [0; 64];
    match socket.recv_from(&mut answer).ok()? {
        (2, from) if from == to => Some(u16::from_be_bytes([answer[0], answer[1]])),
        _ => None,
    }
}

/// An answer on this machine takes a millisecond.
const PATIENCE: Duration = Duration::from_millis(400);
/// A daemon takes a moment to start.
const PATIENCE_TRIES: u32 = 10;
