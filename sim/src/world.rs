//! The virtual clock and its queue. Each client is driven as a real driver would: tell, drain until `Wake`, sleep.

mod streams;
mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::Hasher;
use std::net::SocketAddr;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHasher};
use signaling::ConnId;
use vc_core::io::{
    Command, Config, Event, FrameLen, Hop, Input, Output, PeerState, Socket, Time, VoiceFrame,
};
use vc_core::protocol::packet::Packet;
use vc_core::room::Room;
use vc_core::room::code::Code;

use crate::dice::Dice;
use crate::link::Profile;
use crate::memory;
use crate::net::{Flight, Net, SiteId};
use crate::node::{Client, Operator, Server};
use crate::reference::Reference;
use crate::stream::{Item, Stream, Way};

pub struct World {
    pub now: Time,
    queue: BinaryHeap<Reverse<Due>>,
    /// What is due, each at the place that its entry in the queue names.
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    count: u64,
    pub net: Net,
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
    /// Who listens where.
    owners: FxHashMap<SocketAddr, Owner>,
    streams: BTreeMap<ConnId, Stream>,
    next_conn: ConnId,
    pub reference: Reference,
    /// Everything that passes any wire, if anybody wants it.
    pub tap: Option<Vec<Tapped>>,
    pub dice: Dice,
    trace: FxHasher,
}

/// When, which of those at the same time, and where it is kept.
type Due = (Time, u64, usize);

#[derive(Clone, Copy)]
enum Owner {
    Server(usize),
    /// A place that tells clients how they are seen.
    Echo,
    Client(usize, Socket),
}

enum Happening {
    Arrival { flight: Flight, bytes: Vec<u8> },
    Wake { client: usize, alarm: u64 },
    Notice { client: usize },
    Pump { conn: ConnId, way: Way },
    DialLimit { conn: ConnId },
    Speak { client: usize },
    ServerTick { server: usize },
    Passed { client: usize, to: Hop, bytes: Vec<u8> },
    Emission { server: usize, to: Hop, bytes: Vec<u8> },
}

/// What somebody on the wire, or the server itself, sees.
pub struct Tapped {
    pub at: Time,
    pub wire: Wired,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wired {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
    },
    /// A packet between this client and a relay, by TCP.
    Relayed {
        client: usize,
        way: Way,
    },
    /// A message between this client and its server, as the server sees it.
    Signal {
        client: usize,
        way: Way,
    },
}

impl World {
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut dice = Dice::new(seed);
        let net = Net::new(profile, dice.fork());
        Self {
            now: Time::ZERO,
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            free: Vec::new(),
            count: 0,
            net,
            clients: Vec::new(),
            servers: Vec::new(),
            owners: FxHashMap::default(),
            streams: BTreeMap::new(),
            next_conn: 1,
            reference: Reference::default(),
            tap: None,
            dice,
            trace: FxHasher::default(),
        }
    }

    /// A machine with signaling and relay.
    pub fn server(&mut self) -> usize {
        let at = self.net.site(None);
        let echoes = [(at.0, self.net.socket(at)), self.net.site(None)];
        let server = self.servers.len();
        self.owners.insert(at.1, Owner::Server(server));
        self.owners.extend(echoes.map(|(_, addr)| (addr, Owner::Echo)));
        self.servers.push(Server::new(at, echoes, self.dice.fork()));
        server
    }

    /// The same, whose tickets are also for so many further relays on machines of their own.
    pub fn server_with(&mut self, relays: usize) -> usize {
        let server = self.server();
        for _ in 0..relays {
            let relay = self.server();
            self.servers[relay].signaling = None;
            let info = self.servers[relay].relay_info();
            self.servers[server].others.push(info);
        }
        self.servers[server].start_signaling();
        server
    }

    pub fn create(&mut self, config: Config, at: (SiteId, SocketAddr), server: usize) -> usize {
        let seed = self.dice.seed();
        let (room, taken) = memory::taken(|| Room::create(config, seed, self.now));
        self.start(room, taken, at, server)
    }

    pub fn join(&mut self, config: Config, code: &Code, at: (SiteId, SocketAddr), server: usize) -> usize {
        let seed = self.dice.seed();
        let (room, taken) = memory::taken(|| Room::join(config, code, seed, self.now));
        self.start(room, taken, at, server)
    }

    pub fn run_until(&mut self, end: Time) {
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= end
        {
            self.step();
        }
        self.now = self.now.max(end);
    }

    pub fn run(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Runs until it holds, at most so long. True if it held.
    pub fn run_till(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if self.queue.peek().is_none_or(|Reverse((at, ..))| *at > end) {
                self.now = end;
                return false;
            }
            self.step();
        }
        true
    }

    /// A number for everything that happened so far.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// The clients that are in their room.
    pub fn present(&self) -> Vec<usize> {
        (0..self.clients.len()).filter(|n| self.clients[*n].is_in()).collect()
    }

    /// Everybody who is in hears everybody else.
    pub fn all_live(&self) -> bool {
        let present = self.present();
        present.iter().all(|n| {
            let peers = self.clients[*n].room.peers();
            let live = |id| peers.iter().any(|peer| Some(peer.id) == id && peer.state == PeerState::Live);
            present.iter().all(|other| other == n || live(self.clients[*other].me))
        })
    }

    /// Its machine runs, and it has not gone.
    pub fn is_up(&self, client: usize) -> bool {
        self.clients[client].is_in() && self.clients[client].asleep.is_none()
    }

    pub fn tell(&mut self, client: usize, input: Input<'_>) {
        self.note(&[1, client as u64]);
        let (now, given) = (self.now, memory::of_input(&input));
        let room = &mut self.clients[client].room;
        let ((), taken) = memory::taken(|| room.handle(now, input));
        self.clients[client].takes(given + taken);
        self.drain(client);
    }

    /// The next numbered line of this member.
    pub fn say(&mut self, client: usize) {
        if !self.clients[client].is_in() || self.clients[client].asleep.is_some() {
            return;
        }
        self.clients[client].lines += 1;
        let n = self.clients[client].lines;
        self.reference.says(client, n);
        self.tell(client, Input::Command(Command::Say(Reference::line(client, n))));
    }

    /// So many frames of 20 ms, from now on.
    pub fn speak(&mut self, client: usize, frames: u32) {
        let silent = self.clients[client].speaking == 0;
        self.clients[client].speaking += frames;
        if silent && frames > 0 {
            self.schedule(self.now, Happening::Speak { client });
        }
    }

    /// The driver stops for so long: its machine sleeps.
    pub fn suspend(&mut self, client: usize, span: Duration) {
        if self.clients[client].ended.is_some() {
            return;
        }
        self.clients[client].asleep = Some(self.now + span);
        let alarm = self.clients[client].alarm;
        self.schedule(self.now + span, Happening::Wake { client, alarm });
    }

    /// It wakes, and something else than its alarm stirs first.
    pub fn rouse(&mut self, client: usize) {
        self.clients[client].asleep = None;
    }

    /// The machine is in another network from now on. Its connections die without a word.
    pub fn roam(&mut self, client: usize, to: (SiteId, SocketAddr)) {
        let c = &mut self.clients[client];
        self.owners.remove(&c.addr);
        self.owners.insert(to.1, Owner::Client(client, Socket::Main));
        (c.site, c.addr) = to;
        for (spare, addr) in &mut c.spares {
            self.net.close(*addr);
            self.owners.remove(addr);
            *addr = self.net.socket(to);
            self.owners.insert(*addr, Owner::Client(client, Socket::Spare(*spare)));
        }
        self.streams.retain(|_, stream| stream.client != client);
        self.clients[client].tcp.clear();
    }

    /// The program looks at its machine's addresses, when that is awake.
    pub fn notice(&mut self, client: usize) {
        match self.clients[client].asleep.filter(|until| self.now < *until) {
            Some(until) => self.schedule(until, Happening::Notice { client }),
            None if self.clients[client].ended.is_none() => {
                let addr = self.clients[client].addr;
                self.tell(client, Input::LocalAddrs(&[addr]));
            }
            None => {}
        }
    }

    /// The process is gone, without a word.
    pub fn kill(&mut self, client: usize) {
        self.clients[client].ended = Some(vc_core::io::Ended::Left);
        self.clients[client].asleep = Some(FOREVER);
        if let Some(conn) = self.clients[client].conn.take() {
            self.push(conn, Way::Up, Item::Close, Duration::ZERO);
        }
        for relay in self.clients[client].tcp.keys().copied().collect::<Vec<_>>() {
            self.close_tcp(client, relay);
        }
    }

    pub fn stop_signaling(&mut self, server: usize) {
        self.servers[server].signaling = None;
        self.hang_up_all(|stream| stream.server == server && !stream.is_relayed());
    }

    /// One that runs starts anew, and what was connected to it learns that.
    pub fn start_signaling(&mut self, server: usize) {
        if self.servers[server].signaling.is_some() {
            self.stop_signaling(server);
        }
        self.servers[server].start_signaling();
    }

    pub fn stop_relay(&mut self, server: usize) {
        self.servers[server].relay = None;
        self.hang_up_all(|stream| stream.server == server && stream.is_relayed());
    }

    /// As with signaling.
    pub fn start_relay(&mut self, server: usize) {
        if self.servers[server].relay.is_some() {
            self.stop_relay(server);
        }
        self.servers[server].start_relay();
    }

    /// A datagram by nobody in particular, from any address to any.
    pub fn inject(&mut self, from: SocketAddr, client: usize, bytes: Vec<u8>) {
        let (site, to) = (self.clients[client].site, self.clients[client].addr);
        let flight = Flight { site, from, to };
        self.schedule(self.now, Happening::Arrival { flight, bytes });
    }

    /// A message to a client as if its server had said it.
    pub fn whisper(&mut self, client: usize, message: &[u8]) {
        if let Some(conn) = self.clients[client].conn {
            self.push(conn, Way::Down, Item::Data(message.to_vec()), Duration::ZERO);
        }
    }

    fn start(&mut self, room: Room, taken: i64, (site, addr): (SiteId, SocketAddr), server: usize) -> usize {
        let client = self.clients.len();
        self.clients.push(Client::new(room, site, addr, server));
        self.owners.insert(addr, Owner::Client(client, Socket::Main));
        self.clients[client].takes(taken);
        self.tell(client, Input::LocalAddrs(&[addr]));
        client
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, place))) = self.queue.pop() else { return };
        let Some(happening) = self.happenings.get_mut(place).and_then(Option::take) else { return };
        self.free.push(place);
        self.now = self.now.max(at);
        match happening {
            Happening::Arrival { flight, bytes } => self.arrive(flight, &bytes),
            Happening::Wake { client, alarm } => self.wake(client, alarm),
            Happening::Notice { client } => self.notice(client),
            Happening::Pump { conn, way } => self.pump(conn, way),
            Happening::DialLimit { conn } => self.dial_limit(conn),
            Happening::Speak { client } => self.frame(client),
            Happening::ServerTick { server } => self.server_tick(server),
            Happening::Passed { client, to, bytes } => self.send(client, to, bytes),
            Happening::Emission { server, to, bytes } => {
                let (site, addr) = (self.servers[server].site, self.servers[server].addr);
                match to.socket {
                    Socket::Tcp => self.reply_by_tcp(to, bytes),
                    Socket::Main | Socket::Spare(_) => self.transmit(site, addr, to.addr, bytes),
                }
            }
        }
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.count += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.happenings[place] = Some(happening);
                place
            }
            None => {
                self.happenings.push(Some(happening));
                self.happenings.len() - 1
            }
        };
        self.queue.push(Reverse((at.max(self.now), self.count, place)));
    }

    fn trace_bytes(&mut self, bytes: &[u8]) {
        self.trace.write(bytes);
    }

    fn note(&mut self, words: &[u64]) {
        self.trace.write_u64(self.now.as_micros());
        words.iter().for_each(|word| self.trace.write_u64(*word));
    }
}

/// Clients.
impl World {
    fn drain(&mut self, client: usize) {
        let mut drained = 0;
        loop {
            let room = &mut self.clients[client].room;
            let (output, taken) = memory::taken(|| room.poll());
            self.clients[client].takes(taken - memory::of_output(&output));
            drained += 1;
            match output {
                Output::Transmit { to, bytes } => match self.operator_of(client, &bytes) {
                    Some(operator) => {
                        for (later, to, bytes) in operator.datagram(to, bytes) {
                            self.schedule(self.now + later, Happening::Passed { client, to, bytes });
                        }
                    }
                    None => self.send(client, to, bytes),
                },
                Output::CloseSpare(spare) => {
                    if let Some(addr) = self.clients[client].spares.remove(&spare) {
                        self.net.close(addr);
                        self.owners.remove(&addr);
                    }
                }
                Output::Close(hop) => self.close_tcp(client, hop.addr),
                Output::Signal(signal) => self.signal(client, signal),
                Output::Voice { from, frame } => {
                    self.note(&[2, client as u64, from.as_u64(), u64::from(frame.time)]);
                    self.reference.voice(client, from, &frame);
                }
                Output::Event(event) => self.event(client, event),
                Output::Wake(wake) => {
                    let load = &mut self.clients[client].load;
                    load.longest_drain = load.longest_drain.max(drained);
                    self.clients[client].alarm += 1;
                    let alarm = self.clients[client].alarm;
                    // Timers of a real machine are late by a little.
                    let late = self.dice.within(Duration::ZERO, TIMER_LATE);
                    self.schedule(wake.at.max(self.now) + late, Happening::Wake { client, alarm });
                    return;
                }
            }
        }
    }

    /// Whoever spoils what this client forwards, if these bytes are that.
    fn operator_of(&mut self, client: usize, bytes: &[u8]) -> Option<&mut Box<dyn Operator>> {
        let forwarded = matches!(Packet::parse(bytes), Ok(Packet::Down { .. }));
        self.clients[client].operator.as_mut().filter(|_| forwarded)
    }

    fn send(&mut self, client: usize, to: Hop, bytes: Vec<u8>) {
        self.clients[client].load.sent(self.now);
        if to.socket == Socket::Tcp {
            self.suspect(client, None, &bytes);
            return self.send_by_tcp(client, to.addr, bytes);
        }
        if matches!(to.socket, Socket::Spare(_)) {
            self.clients[client].searched.insert(to.addr.ip());
        }
        let (site, addr) = (self.clients[client].site, self.socket(client, to.socket));
        self.suspect(client, Some((site, to.addr)), &bytes);
        self.transmit(site, addr, to.addr, bytes);
    }

    /// Is this packet for somebody who is gone? `way` is the house that it leaves and where it goes.
    pub(super) fn suspect(&mut self, client: usize, way: Option<(SiteId, SocketAddr)>, bytes: &[u8]) {
        let (net, owners, clients) = (&self.net, &self.owners, &self.clients);
        let at = || match owners.get(&way.and_then(|(site, to)| net.resident(site, to))?)? {
            Owner::Client(at, _) => Some(*at),
            Owner::Server(_) | Owner::Echo => None,
        };
        if let Some(fault) = self.reference.departed.sends(self.now, client, at, |n| clients[n].site, bytes) {
            self.reference.fault(fault);
        }
    }

    /// The address of this socket, opened now if it was not.
    fn socket(&mut self, client: usize, socket: Socket) -> SocketAddr {
        let c = &mut self.clients[client];
        match socket {
            Socket::Spare(spare) => *c.spares.entry(spare).or_insert_with(|| {
                let addr = self.net.socket((c.site, c.addr));
                self.owners.insert(addr, Owner::Client(client, socket));
                addr
            }),
            Socket::Main | Socket::Tcp => c.addr,
        }
    }

    fn event(&mut self, client: usize, event: Event) {
        self.trace.write(format!("{event:?}").as_bytes());
        self.reference.event(self.now, client, &event);
        let c = &mut self.clients[client];
        match &event {
            Event::Entered { me } => c.me = Some(*me),
            Event::Invite(codes) => c.codes = Some(codes.clone()),
            Event::Ended(ended) => c.ended = Some(*ended),
            _ => {}
        }
        c.log.push((self.now, event));
    }

    fn wake(&mut self, client: usize, alarm: u64) {
        if self.clients[client].alarm != alarm || !self.is_awake(client) {
            return;
        }
        self.clients[client].load.wake(self.now);
        if self.clients[client].load.most_wakes > SPINNING {
            self.reference.fault(format!("{client} spins"));
            self.clients[client].asleep = Some(FOREVER);
            return;
        }
        self.tell(client, Input::Tick);
    }

    fn frame(&mut self, client: usize) {
        let c = &mut self.clients[client];
        c.speaking = c.speaking.saturating_sub(1);
        c.clock += 1;
        let (time, last) = (c.clock, c.speaking == 0);
        if !last {
            self.schedule(self.now + FrameLen::Ms20.duration(), Happening::Speak { client });
        }
        if !self.is_awake(client) {
            return;
        }
        self.reference.speaks(client, time);
        let opus = Reference::opus(client, time);
        let frame = VoiceFrame { time, len: FrameLen::Ms20, last_of_talk: last, age_ms: 0, opus };
        self.tell(client, Input::Voice(frame));
    }

    fn is_awake(&mut self, client: usize) -> bool {
        let c = &mut self.clients[client];
        if c.asleep.is_some_and(|until| self.now < until) {
            return false;
        }
        c.asleep = None;
        true
    }
}

const TIMER_LATE: Duration = Duration::from_micros(1_500);
/// Timer wakes in one second that no honest schedule needs.
const SPINNING: u32 = 1_000;
const FOREVER: Time = Time::from_micros(u64::MAX);
