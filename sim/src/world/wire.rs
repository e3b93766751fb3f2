//! What servers are told and say, and datagrams on the wire.

use std::net::SocketAddr;
use std::time::Duration;

use vc_core::io::{Hop, Input, Time};
use vc_core::net::forward::Verdict;
use vc_core::protocol::packet::{self, Packet};

use super::{Happening, Owner, Tapped, Wired, World};
use crate::net::{Flight, SiteId};
use crate::node::Turn;
use crate::stream::{Item, Way};

impl World {
    pub(super) fn tell_server(&mut self, server: usize, input: signaling::Input<'_>) {
        let (now, wall) = (self.now, self.wall());
        let Some(rooms) = &mut self.servers[server].signaling else { return };
        rooms.handle(now, wall, input);
        let mut said = Vec::new();
        while let Some(output) = rooms.poll() {
            said.push(output);
        }
        let next = rooms.next_tick();
        for output in said {
            match output {
                signaling::Output::Say { conn, message } => {
                    let turns = match &mut self.servers[server].operator {
                        Some(operator) => operator.say(conn, message),
                        None => vec![Turn::Out(conn, message)],
                    };
                    self.turns(server, turns);
                }
                signaling::Output::Close { conn } => self.push(conn, Way::Down, Item::Close, Duration::ZERO),
            }
        }
        if let Some(at) = next
            && !self.servers[server].ticking
        {
            self.servers[server].ticking = true;
            self.schedule(at, Happening::ServerTick { server });
        }
    }

    pub(super) fn server_tick(&mut self, server: usize) {
        self.servers[server].ticking = false;
        let now = self.now;
        if let Some(relay) = &mut self.servers[server].relay
            && relay.next_expiry().is_some_and(|at| at <= now)
        {
            relay.expire(now);
        }
        self.tell_server(server, signaling::Input::Tick);
    }

    pub(super) fn transmit(&mut self, site: SiteId, local: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some((flight, [first, second])) = self.net.send(self.now, site, local, to) else {
            return self.tapped(Wired::Datagram { from: local, to }, &bytes);
        };
        self.tapped(Wired::Datagram { from: flight.from, to }, &bytes);
        if let Some(at) = second {
            let bytes = bytes.clone();
            self.schedule(at, Happening::Arrival { flight, bytes });
        }
        if let Some(at) = first {
            self.schedule(at, Happening::Arrival { flight, bytes });
        }
    }

    pub(super) fn arrive(&mut self, flight: Flight, bytes: &[u8]) {
        let Some(host) = self.net.deliver(self.now, &flight) else { return };
        self.trace_bytes(bytes);
        match self.owners.get(&host).copied() {
            Some(Owner::Server(server)) => self.relay(server, flight.from.into(), bytes),
            Some(Owner::Echo) => self.echo(&flight, host, bytes),
            Some(Owner::Client(client, socket))
                if self.clients[client].ended.is_none() && self.is_awake(client) =>
            {
                self.tell(client, Input::Datagram { from: Hop { socket, addr: flight.from }, bytes });
            }
            Some(Owner::Client(..)) | None => {}
        }
    }

    fn echo(&mut self, flight: &Flight, host: SocketAddr, bytes: &[u8]) {
        if let Ok(Packet::Probe { nonce }) = Packet::parse(bytes) {
            self.transmit(flight.site, host, flight.from, packet::probed(nonce, flight.from));
        }
    }

    pub(super) fn relay(&mut self, server: usize, from: Hop, bytes: &[u8]) {
        let (now, wall) = (self.now, self.wall());
        let Some(relay) = &mut self.servers[server].relay else { return };
        let (to, bytes) = match relay.handle(now, wall, from, bytes) {
            Verdict::Drop(_) => return,
            Verdict::Reply(reply) => {
                assert!(reply.len() <= bytes.len(), "a stranger's packet is never answered by a longer one");
                (from, reply)
            }
            Verdict::Forward { to, header, inner } => {
                (to, [&header[..], bytes.get(inner).unwrap_or_default()].concat())
            }
        };
        let emissions = match &mut self.servers[server].operator {
            Some(operator) => operator.datagram(to, bytes),
            None => vec![(Duration::ZERO, to, bytes)],
        };
        for (later, to, bytes) in emissions {
            self.schedule(now + later, Happening::Emission { server, to, bytes });
        }
    }

    pub(super) fn tapped(&mut self, wire: Wired, bytes: &[u8]) {
        let at = self.now;
        if let Some(tap) = &mut self.tap {
            tap.push(Tapped { at, wire, bytes: bytes.to_vec() });
        }
    }

    fn wall(&self) -> u32 {
        WALL + (self.now - Time::ZERO).as_secs() as u32
    }
}

/// Any day in history.
const WALL: u32 = 1_700_000_000;
