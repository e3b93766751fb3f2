//! Datagrams in and out: whose they are, and by what path.

use std::net::IpAddr;

use super::*;
use crate::net::forward::rate::Net;
use crate::peer::handshake::Knocked;

impl Stay {
    pub(crate) fn datagram(&mut self, world: &mut World, now: Time, from: Hop, bytes: &[u8]) {
        let Ok(packet) = Packet::parse(bytes) else {
            world.counters.malformed += 1;
            return;
        };
        match packet {
            // A relay wraps what it brings: bare, it would pass for a friend that is reached directly.
            Packet::HsInit { .. } | Packet::HsResp { .. } | Packet::Transport { .. }
                if from.socket == Socket::Tcp || self.is_relay(from) =>
            {
                world.counters.out_of_turn += 1;
            }
            Packet::HsInit { .. } | Packet::HsResp { .. } | Packet::Transport { .. } => {
                self.packet(world, now, Path::Direct(from), bytes);
            }
            Packet::Down { from: slot, inner } => match self.brought_by(from) {
                Some(carrier) => self.packet(world, now, Path::Via { carrier, slot }, inner),
                None => world.counters.unknown += 1,
            },
            Packet::Bind(_) | Packet::Up { .. } | Packet::Keep { .. } => {
                self.forward(world, now, from, bytes)
            }
            Packet::Probed { nonce, seen } => {
                let ours = match from.socket {
                    Socket::Spare(spare) => self.spare_seen(spare, nonce, seen),
                    Socket::Main | Socket::Tcp => world.surroundings.answered(now, from, nonce, seen),
                };
                if !ours {
                    world.counters.unknown += 1;
                }
            }
            _ => self.carrier_packet(world, now, from, &packet),
        }
    }

    /// A packet between members, by whatever path it came.
    pub(super) fn packet(&mut self, world: &mut World, now: Time, path: Path, bytes: &[u8]) {
        if !world.allows(&path) {
            world.counters.out_of_turn += 1;
            return;
        }
        match Packet::parse(bytes) {
            Ok(Packet::Transport { receiver, counter }) => {
                let mut bytes = bytes.to_vec();
                let Some(id) = self.owner(receiver) else {
                    return self.last_packet(world, now, path, (receiver, counter), &mut bytes);
                };
                self.with(world, now, id, |peer, scene| {
                    peer.transport(scene, path, receiver, counter, &mut bytes)
                });
            }
            Ok(Packet::HsInit { sender, noise, gated, gate }) => {
                if !self.keys.gate_opens(gated, gate) {
                    return world.counters.gate += 1;
                }
                self.knock(world, now, path, sender, noise);
            }
            Ok(Packet::HsResp { sender, receiver, noise, gated, gate }) => {
                if !self.keys.gate_opens(gated, gate) {
                    return world.counters.gate += 1;
                }
                let Some(id) = self.owner(receiver) else { return world.counters.unknown += 1 };
                let ends = (sender, receiver);
                self.with(world, now, id, |peer, scene| peer.answered(scene, path, ends, noise));
            }
            _ => world.counters.malformed += 1,
        }
    }

    /// Cheapest first: the rate of the member that the source is, else of the source, a known message again, the rate of
    /// all sources that are nobody's, then the curve, then the roster.
    fn knock(&mut self, world: &mut World, now: Time, path: Path, sender: u32, noise: &[u8; 104]) {
        // Whoever left knows enough to pass the gate: it must not use up what friends need.
        // Several may say that they are there: one that lies pays for nobody else.
        let theirs = self.peers.values_mut().any(|peer| peer.is_source(path) && peer.may_knock(now));
        if !theirs && !self.knockers.take(now, Net::household(source(path)), 1) {
            return world.counters.too_many += 1;
        }
        let known = self.peers.values().find_map(|peer| peer.known_knock(sender, noise));
        if let Some(reply) = known {
            return self.send(world, now, path, reply);
        }
        if !theirs && !self.handshakes.take(now, KNOCKS, 1) {
            return world.counters.too_many += 1;
        }
        let Some(knocked) = Knocked::read(&self.keys, sender, noise, &mut world.rng) else {
            return world.counters.forged += 1;
        };
        // Load-bearing (docs/SECURITY.md): without it any member could pose as any other.
        let Some(id) = self.peers.values().find(|peer| peer.key() == knocked.remote()).map(Peer::id) else {
            return world.counters.stranger += 1;
        };
        self.with(world, now, id, |peer, scene| peer.knock(scene, path, knocked));
    }

    pub(super) fn send(&mut self, world: &mut World, now: Time, path: Path, bytes: Vec<u8>) {
        match path {
            Path::Direct(to) => world.out.push_back(Output::Transmit { to, bytes }),
            Path::Via { carrier, slot } => self.send_via(world, now, carrier, slot, &bytes),
            // Who stands at a door may write to the doorkeeper only: anything else ends the connection.
            Path::Mail(_) if matches!(self.asked, Some(Asked::Entry(_))) => {}
            Path::Mail(slot) => {
                let blob = Mail::Packet(&bytes).blob();
                world.tell_server(&ToServer::Mail { to: Party::Slot(slot), blob });
            }
        }
    }

    fn owner(&self, index: u32) -> Option<MemberId> {
        self.peers.values().find(|peer| peer.owns(index)).map(Peer::id)
    }
}

/// All friends behind one relay share its address, not their allowance.
fn source(path: Path) -> IpAddr {
    match path {
        Path::Direct(hop) => hop.addr.ip(),
        Path::Via { slot, .. } | Path::Mail(slot) => IpAddr::from([0, 0, 0, slot.index() as u8]),
    }
}

impl World {
    fn allows(&self, path: &Path) -> bool {
        match self.policy {
            PathPolicy::Auto => true,
            PathPolicy::Direct => matches!(path, Path::Direct(_)),
            PathPolicy::Relay => matches!(path, Path::Via { carrier: Carrier::Relay(_), .. }),
        }
    }
}

/// Handshakes that cost curve work, by sources that may be anybody's.
const KNOCKS: Rate = Rate::per_second(20, 40);
