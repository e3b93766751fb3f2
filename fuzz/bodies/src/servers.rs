//! What stands open to the internet: the signaling server's connections and the forwarder.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand_core::SeedableRng;
use signaling::line::{Line, MAX_FRAME};
use signaling::{Config, ConnId, Input, Limits, Output, RelayInfo, Rooms};
use vc_core::crypto::keys::{Rng, Secret, StaticKey, mac16};
use vc_core::crypto::link::{Dial, Sealed};
use vc_core::crypto::ticket::{RelayKey, TicketBody};
use vc_core::io::Time;
use vc_core::net::forward::{self, Forwarder, Verdict};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::member::{MemberId, Slot};
use vc_core::protocol::packet::{Bind, Packet, keep, up};
use vc_core::protocol::removal::Removals;
use vc_core::protocol::signal::{MAX_BLOB, Nameplate, Party, Reclaim, ToClient, ToServer};
use vc_core::protocol::stream::{Frames, frame};

use crate::script::{MAX_STEPS, Script};

/// A few clients that speak truly, wrongly or not at all, down to the bytes of the stream.
pub fn signaling_connection(data: &[u8]) {
    let mut script = Script::new(data);
    let mut server = Server::new();
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        let op = script.byte() % 7;
        let client = script.byte() % CLIENTS;
        match op {
            0 => server.open(client, script.byte()),
            1 => server.say(client, script.bytes()),
            2 => {
                let message = server.sensible(&mut script).encode();
                server.say(client, &message);
            }
            3 => server.receive(client, script.bytes()),
            4 => server.garble(client, &mut script),
            5 => server.close(client),
            _ => server.pass(script.byte(), Duration::from_secs(1)),
        }
    }
    (0..CLIENTS).for_each(|client| server.close(client));
    server.pass(65, Duration::from_secs(20));
    assert!(server.rooms.next_tick().is_none(), "something is kept for ever");
}

struct Server {
    rooms: Rooms,
    key: Arc<StaticKey>,
    now: Time,
    next: ConnId,
    clients: BTreeMap<u8, Client>,
    known: Known,
}

struct Client {
    conn: ConnId,
    line: Line,
    frames: Frames,
    sealed: Sealed,
}

/// What was ever said to anybody, to be said again by somebody else.
#[derive(Default)]
struct Known {
    nameplates: Vec<Nameplate>,
    visitors: Vec<u32>,
    proofs: Vec<Reclaim>,
    removals: Vec<Removals>,
}

impl Server {
    fn new() -> Self {
        let key = StaticKey::from_bytes([1; 32]);
        let relay = |n: u8| RelayInfo {
            addr: SocketAddr::from(([192, 0, 2, n], 47_700)),
            id: [n; 4],
            key: RelayKey::new(Secret::new([n; 32])),
        };
        let rooms = Rooms::new(Config {
            key: key.clone(),
            relays: (1..3).map(relay).collect(),
            probes: vec![SocketAddr::from(([0; 4], 47_700))],
            limits: Limits { rooms: MAX_ROOMS, ..Limits::default() },
            seed: [2; 32],
        });
        Self {
            rooms,
            key: Arc::new(key),
            now: Time::ZERO,
            next: 1,
            clients: BTreeMap::new(),
            known: Known::default(),
        }
    }

    fn open(&mut self, client: u8, house: u8) {
        if self.clients.contains_key(&client) {
            return;
        }
        let conn = self.next;
        self.next += 1;
        let mut seed = [conn as u8; 32];
        let mut line = Line::new(self.key.clone(), Rng::from_seed(seed));
        seed[0] ^= 255;
        let (dial, hello) = Dial::start(&mut Rng::from_seed(seed));
        let answer = line.feed(&frame(&hello)).unwrap().answer;
        let mut frames = Frames::up_to(MAX_FRAME);
        frames.push(&answer);
        let (sealed, server) = dial.finish(&frames.next().unwrap().unwrap()).unwrap();
        assert!(server == self.key.public());
        self.clients.insert(client, Client { conn, line, frames, sealed });
        self.tell(Input::Opened { conn, from: IpAddr::from([198, 51, 100, house]) });
    }

    fn say(&mut self, client: u8, message: &[u8]) {
        let message = &message[..message.len().min(MAX_BLOB)];
        if let Some(c) = self.clients.get_mut(&client) {
            let sealed = frame(&c.sealed.seal(message));
            self.receive(client, &sealed);
        }
    }

    fn garble(&mut self, client: u8, script: &mut Script<'_>) {
        let message = self.sensible(script).encode();
        if let Some(c) = self.clients.get_mut(&client) {
            let sealed = script.distort(&frame(&c.sealed.seal(&message)));
            self.receive(client, &sealed);
        }
    }

    fn receive(&mut self, client: u8, bytes: &[u8]) {
        let Some(c) = self.clients.get_mut(&client) else { return };
        let conn = c.conn;
        match c.line.feed(bytes) {
            Ok(fed) => {
                assert!(fed.answer.is_empty(), "a handshake is answered once");
                for message in fed.messages {
                    self.tell(Input::Frame { conn, bytes: &message });
                }
            }
            Err(_) => self.close(client),
        }
    }

    fn close(&mut self, client: u8) {
        if let Some(gone) = self.clients.remove(&client) {
            self.tell(Input::Closed { conn: gone.conn });
        }
    }

    fn pass(&mut self, ticks: u8, each: Duration) {
        for _ in 0..ticks {
            self.now = self.now + each;
            self.tell(Input::Tick);
        }
    }

    fn sensible(&self, script: &mut Script<'_>) -> ToServer {
        let form = |n: u8| if n.is_multiple_of(2) { FORMS[0] } else { FORMS[1] };
        let visitor = |script: &mut Script<'_>| script.pick(&self.known.visitors).copied().unwrap_or(7);
        match script.byte() % 9 {
            0 => ToServer::Hello { version: 1 },
            1 => ToServer::Create { form: form(script.byte()), warden: warden(0).public() },
            2 => {
                let unknown = Nameplate::Spoken(12_345);
                ToServer::Join { nameplate: script.pick(&self.known.nameplates).copied().unwrap_or(unknown) }
            }
            3 => ToServer::Admit {
                visitor: visitor(script),
                taken: script.u16(),
                id: MemberId([script.byte() % 4; 8]),
            },
            4 => ToServer::Reclaim { proof: script.pick(&self.known.proofs).copied().unwrap_or([0; 91]) },
            5 => ToServer::NewCode { form: form(script.byte()) },
            6 => {
                let to = match Slot::new(script.byte()) {
                    Some(slot) => Party::Slot(slot),
                    None => Party::Visitor(visitor(script)),
                };
                let blob = script.bytes();
                ToServer::Mail { to, blob: blob[..blob.len().min(MAX_BLOB)].to_vec() }
            }
            7 => {
                let id = MemberId([script.byte() % 4; 8]);
                let before = script.pick(&self.known.removals).cloned();
                let removals = Removals::with(&warden(script.byte() / 200), before.as_ref(), id);
                ToServer::Evict { removals }
            }
            _ => ToServer::Leave,
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        let wall = WALL + (self.now - Time::ZERO).as_secs() as u32;
        self.rooms.handle(self.now, wall, input);
        let mut said = 0;
        while let Some(output) = self.rooms.poll() {
            said += 1;
            assert!(said <= MAX_SAID, "one word of one client sets off an avalanche");
            match output {
                Output::Say { conn, message } => self.heard(conn, message),
                Output::Close { conn } => self.clients.retain(|_, c| c.conn != conn),
            }
        }
        assert!(self.rooms.rooms() <= MAX_ROOMS && self.rooms.connections() <= usize::from(CLIENTS));
    }

    /// All the way to the client: sealed, framed, cut out, opened.
    fn heard(&mut self, conn: ConnId, message: ToClient) {
        let Some(c) = self.clients.values_mut().find(|c| c.conn == conn) else {
            // An error on the line; the core hears of it next.
            return;
        };
        let bytes = message.encode();
        c.frames.push(&c.line.seal(&bytes).unwrap());
        let frame = c.frames.next().unwrap().unwrap();
        assert!(c.sealed.open(&frame).unwrap() == bytes && ToClient::decode(&bytes).unwrap() == message);
        match message {
            ToClient::Created { nameplate, .. } | ToClient::Plate { nameplate } => {
                self.known.nameplates.push(nameplate);
            }
            ToClient::Visitor { visitor, .. } => self.known.visitors.push(visitor),
            ToClient::Seat { proof, .. } => self.known.proofs.push(proof),
            ToClient::Removed { removals } => {
                assert!(removals.is_by(&warden(0).public()), "somebody else's word counted");
                self.known.removals.push(removals);
            }
            _ => {}
        }
    }
}

/// Packets from a few addresses, with honest tickets and with none.
pub fn forwarder(data: &[u8]) {
    let mut script = Script::new(data);
    let mut net = Net::new();
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        let op = script.byte() % 6;
        let from = SocketAddr::from(([192, 0, 2, script.byte() % 5], 4_000));
        match op {
            0 => net.send(from, script.bytes()),
            1 => {
                let packet = net.bind(&mut script);
                net.send(from, &packet);
            }
            2 | 3 => {
                let number = script.pick(&net.numbers).copied().unwrap_or(7);
                let packet = match Slot::new(script.byte()) {
                    Some(to) if op == 2 => up(number, to, &[&[0xD2][..], script.bytes()].concat()),
                    _ => keep(number, script.u32()),
                };
                net.send(from, &packet);
            }
            4 => {
                let packet = net.bind(&mut script);
                net.send(from, &script.distort(&packet));
            }
            _ => net.pass(Duration::from_millis(u64::from(script.u16()))),
        }
    }
    net.pass(Duration::from_secs(2 * 3_600));
    assert!(
        net.forwarder.bound() == 0 && net.forwarder.next_expiry().is_none(),
        "something is kept for ever"
    );
}

struct Net {
    forwarder: Forwarder,
    now: Time,
    cookies: Vec<[u8; 16]>,
    numbers: Vec<u32>,
    /// Addresses that showed that they get what is sent to them.
    proven: BTreeSet<SocketAddr>,
}

impl Net {
    fn new() -> Self {
        let limits = forward::Limits { rooms: 2, ..forward::Limits::default() };
        let forwarder = Forwarder::new(RelayKey::new(Secret::new([9; 32])), [1; 4], limits, [3; 32]);
        Self { forwarder, now: Time::ZERO, cookies: Vec::new(), numbers: Vec::new(), proven: BTreeSet::new() }
    }

    fn bind(&self, script: &mut Script<'_>) -> Vec<u8> {
        let (room, slot) = (script.byte() % 4, script.byte() % 17);
        let body = TicketBody {
            relay: [1; 4],
            room: [room; 8],
            slot,
            slots: 16,
            class: script.byte() / 250,
            not_after: WALL + 600 + u32::from(script.byte()),
            serial: [0; 8],
        };
        let ticket = RelayKey::new(Secret::new([9; 32])).mint(&body);
        let cookie = script.pick(&self.cookies).copied().unwrap_or_default();
        let mut bind = Bind { version: 1, body: ticket.body, nonce: [slot; 8], cookie, mac: [0; 16] };
        bind.mac = mac16(ticket.kb.as_bytes(), &[&bind.authenticated()]);
        bind.packet()
    }

    fn send(&mut self, from: SocketAddr, packet: &[u8]) {
        let wall = WALL + (self.now - Time::ZERO).as_secs() as u32;
        match self.forwarder.handle(self.now, wall, from.into(), packet) {
            Verdict::Drop(_) => {}
            Verdict::Reply(reply) => {
                assert!(reply.len() <= packet.len(), "a reply longer than its request");
                match Packet::parse(&reply) {
                    Ok(Packet::Retry { cookie, seen, .. }) => {
                        assert!(seen == from);
                        self.cookies.push(cookie);
                    }
                    Ok(Packet::Bound(bound)) => {
                        assert!(bound.seen == from);
                        self.numbers.push(bound.bind);
                        self.proven.insert(from);
                    }
                    Ok(Packet::Probed { seen, .. }) => assert!(seen == from),
                    Ok(Packet::Kept { .. } | Packet::Reset { .. }) => {}
                    _ => panic!("no answer of a forwarder's"),
                }
            }
            Verdict::Forward { to, header, inner } => {
                assert!(
                    self.proven.contains(&to.addr) && self.proven.contains(&from),
                    "sent to whom it may not reach"
                );
                let sent = [&header[..], packet.get(inner).unwrap()].concat();
                assert!(sent.len() <= packet.len(), "more goes out than came in");
                assert!(matches!(Packet::parse(&sent), Ok(Packet::Down { .. })));
            }
        }
        assert!(self.forwarder.bound() <= 2 * 16);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        if self.forwarder.next_expiry().is_some_and(|at| at <= self.now) {
            self.forwarder.expire(self.now);
        }
    }
}

/// The creator's, and others that nobody asked.
fn warden(n: u8) -> StaticKey {
    StaticKey::from_bytes([n + 1; 32])
}

const CLIENTS: u8 = 5;
const MAX_ROOMS: usize = 3;
/// Five clients hear at most a refusal, a seat, tickets and who is there, twice.
const MAX_SAID: usize = 48;
const WALL: u32 = 1_700_000_000;
const FORMS: [vc_core::protocol::signal::Form; 2] =
    [vc_core::protocol::signal::Form::Spoken, vc_core::protocol::signal::Form::Link];
