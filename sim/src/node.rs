//! What stands at the ends of the lines: a member's program around a `Room`, and a server with signaling and relay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use signaling::{Config, ConnId, Limits, RelayInfo, Rooms};
use vc_core::crypto::keys::{Rng, Secret, StaticKey};
use vc_core::crypto::ticket::RelayKey;
use vc_core::io::{Ended, Event, Hop, Rung, Time};
use vc_core::net::forward::Forwarder;
use vc_core::protocol::member::{Codes, MemberId};
use vc_core::protocol::signal::ToClient;
use vc_core::room::Room;
use vc_core::room::code::Code;

use crate::dice::Dice;
use crate::net::SiteId;

/// A member's program: everything a real driver keeps beside the room.
pub struct Client {
    pub room: Room,
    pub site: SiteId,
    pub addr: SocketAddr,
    /// Sockets that the room opened beside the first.
    pub spares: BTreeMap<u16, SocketAddr>,
    /// Where they sent to: servers, and whoever was searched for an open port.
    pub searched: BTreeSet<IpAddr>,
    pub server: usize,
    /// What becomes of packets that this member forwards for others.
    pub operator: Option<Box<dyn Operator>>,
    pub(crate) conn: Option<ConnId>,
    /// Connections to relays.
    pub(crate) tcp: BTreeMap<SocketAddr, ConnId>,
    /// Only the latest promise to wake counts.
    pub(crate) alarm: u64,
    pub(crate) asleep: Option<Time>,
    pub(crate) speaking: u32,
    pub(crate) clock: u32,
    pub log: Vec<(Time, Event)>,
    pub codes: Option<Codes>,
    pub me: Option<MemberId>,
    pub ended: Option<Ended>,
    pub lines: u32,
    pub load: Load,
    /// Bytes that its room holds, and held at most.
    pub holds: i64,
    pub held: i64,
}

/// How busy the driver was, by the second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    second: u64,
    wakes: u32,
    sent: u32,
    pub most_wakes: u32,
    pub most_sent: u32,
    pub longest_drain: u32,
}

impl Client {
    pub fn new(room: Room, site: SiteId, addr: SocketAddr, server: usize) -> Self {
        Self {
            room,
            site,
            addr,
            spares: BTreeMap::new(),
            searched: BTreeSet::new(),
            server,
            operator: None,
            conn: None,
            tcp: BTreeMap::new(),
            alarm: 0,
            asleep: None,
            speaking: 0,
            clock: 0,
            log: Vec::new(),
            codes: None,
            me: None,
            ended: None,
            lines: 0,
            load: Load::default(),
            holds: 0,
            held: 0,
        }
    }

    /// The code that this member would read out.
    pub fn code(&self) -> Option<Code> {
        let (number, words) = self.codes.as_ref()?.spoken.clone()?;
        Some(Code::Spoken { number, words, server: None })
    }

    pub fn events(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.log.iter().filter(|(_, event)| wanted(event)).count()
    }

    pub fn first(&self, wanted: impl Fn(&Event) -> bool) -> Option<Time> {
        self.log.iter().find(|(_, event)| wanted(event)).map(|(at, _)| *at)
    }

    pub fn rungs(&self) -> Vec<Rung> {
        let rung = |event: &Event| match event {
            Event::Moved { rung, .. } => Some(*rung),
            _ => None,
        };
        self.log.iter().filter_map(|(_, event)| rung(event)).collect()
    }

    pub fn met_anybody(&self) -> bool {
        self.log.iter().any(|(_, event)| matches!(event, Event::Joined { .. }))
    }

    /// The time of the last frame that this member spoke.
    pub fn spoken(&self) -> u32 {
        self.clock
    }

    /// Its room took so many bytes more.
    pub(crate) fn takes(&mut self, bytes: i64) {
        self.holds += bytes;
        self.held = self.held.max(self.holds);
    }

    pub(crate) fn is_in(&self) -> bool {
        self.me.is_some() && self.ended.is_none()
    }
}

impl Load {
    pub(crate) fn wake(&mut self, now: Time) {
        self.turn(now);
        self.wakes += 1;
        self.most_wakes = self.most_wakes.max(self.wakes);
    }

    pub(crate) fn sent(&mut self, now: Time) {
        self.turn(now);
        self.sent += 1;
        self.most_sent = self.most_sent.max(self.sent);
    }

    fn turn(&mut self, now: Time) {
        let second = now.as_micros() / 1_000_000;
        if second != self.second {
            (self.second, self.wakes, self.sent) = (second, 0, 0);
        }
    }
}

/// One machine that runs both servers on one port.
pub struct Server {
    pub site: SiteId,
    pub addr: SocketAddr,
    /// Other places that tell clients how they are seen: another port of the same machine, another machine.
    pub echoes: [(SiteId, SocketAddr); 2],
    key: StaticKey,
    relay_key: RelayKey,
    /// Relays elsewhere that its tickets are for, too.
    pub(crate) others: Vec<RelayInfo>,
    dice: Dice,
    pub signaling: Option<Rooms>,
    pub relay: Option<Forwarder>,
    pub operator: Option<Box<dyn Operator>>,
    pub(crate) ticking: bool,
}

/// Whoever runs a server or forwards reads and rewrites what passes. The honest one does nothing of the kind.
pub trait Operator {
    /// A message from a client: what happens instead.
    fn frame(&mut self, conn: ConnId, bytes: Vec<u8>) -> Vec<Turn> {
        vec![Turn::In(conn, bytes)]
    }

    /// A message of the signaling core to a client: what happens instead.
    fn say(&mut self, conn: ConnId, message: ToClient) -> Vec<Turn> {
        vec![Turn::Out(conn, message)]
    }

    /// A datagram that the relay, or a member that forwards, is about to send: what leaves instead, and how much later.
    fn datagram(&mut self, to: Hop, bytes: Vec<u8>) -> Vec<(Duration, Hop, Vec<u8>)> {
        vec![(Duration::ZERO, to, bytes)]
    }
}

pub enum Turn {
    /// Given to the signaling core as if this client had said it.
    In(ConnId, Vec<u8>),
    Out(ConnId, ToClient),
}

impl Server {
    pub fn new(
        (site, addr): (SiteId, SocketAddr),
        echoes: [(SiteId, SocketAddr); 2],
        mut dice: Dice,
    ) -> Self {
        use rand_core::SeedableRng;
        let mut rng = Rng::from_seed(dice.seed());
        let (key, relay_key) = (StaticKey::generate(&mut rng), RelayKey::new(Secret::random(&mut rng)));
        let mut server = Self {
            site,
            addr,
            echoes,
            key,
            relay_key,
            others: Vec::new(),
            dice,
            signaling: None,
            relay: None,
            operator: None,
            ticking: false,
        };
        server.start_signaling();
        server.start_relay();
        server
    }

    /// With an empty memory and the key it always had.
    pub(crate) fn start_signaling(&mut self) {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], self.addr.port()));
        self.signaling = Some(Rooms::new(Config {
            key: StaticKey::from_bytes(*self.key.to_bytes().as_bytes()),
            relays: [RelayInfo { addr: unspecified, ..self.relay_info() }]
                .into_iter()
                .chain(self.others.iter().cloned())
                .collect(),
            probes: vec![
                unspecified,
                SocketAddr::new(unspecified.ip(), self.echoes[0].1.port()),
                self.echoes[1].1,
            ],
            limits: Limits::default(),
            seed: self.dice.seed(),
        }));
    }

    pub(crate) fn relay_info(&self) -> RelayInfo {
        let [.., a, b] = match self.addr.ip() {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(_) => [0; 4],
        };
        RelayInfo { addr: self.addr, id: [b's', b'm', a, b], key: self.relay_key.clone() }
    }

    pub(crate) fn start_relay(&mut self) {
        let (key, seed) = (self.relay_key.clone(), self.dice.seed());
        self.relay = Some(Forwarder::new(key, self.relay_info().id, Default::default(), seed));
    }
}
