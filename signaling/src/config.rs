//! What a server is told once.

use std::net::SocketAddr;

use vc_core::crypto::keys::StaticKey;
use vc_core::crypto::ticket::RelayKey;
use vc_core::net::forward::rate::Rate;

pub struct Config {
    /// Clients may pin its public half; proofs are made with it.
    pub key: StaticKey,
    /// Members of one room are sent to the same (at most three) of these.
    pub relays: Vec<RelayInfo>,
    /// Where a client may ask how its UDP packets look from outside; relays answer that. Two ports of one host and another host tell most.
    pub probes: Vec<SocketAddr>,
    pub limits: Limits,
    pub seed: [u8; 32],
}

#[derive(Clone)]
pub struct RelayInfo {
    /// An unspecified IP address: the host that this server is reached at.
    pub addr: SocketAddr,
    pub id: [u8; 4],
    pub key: RelayKey,
}

/// A source is an IPv4 address or an IPv6 /56. Loopback is no source: it is the operator, or the operator's proxy.
#[derive(Clone, Debug)]
pub struct Limits {
    pub connections: usize,
    pub per_source: usize,
    pub rooms: usize,
    /// New connections of one source.
    pub arrivals: Rate,
    /// Rooms and new codes of one source.
    pub creates: Rate,
    /// Knocks of one source.
    pub joins: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 16 rooms of 16 in each of 80 houses; about 30 MiB with their keys and buffers.
            connections: 20_000,
            // Two full rooms behind one router.
            per_source: 32,
            rooms: 20_000,
            // A full room behind one router reconnects at once, and again; each costs a handshake.
            arrivals: Rate { per_minute: 120, burst: 64 },
            creates: Rate { per_minute: 6, burst: 6 },
            // All the friends of a house at once.
            joins: Rate { per_minute: 12, burst: 16 },
        }
    }
}
