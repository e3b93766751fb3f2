//! A whole room, told arbitrary things in arbitrary order: by the network, by the server, by a visitor, by its user,
//! and by a friend inside who has all the keys and no manners.

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::SeedableRng;
use vc_core::crypto::keys::{Rng, Secret, StaticKey, kdf, mac16};
use vc_core::crypto::noise::{self, Opener, Pair, Pending, Sealer};
use vc_core::crypto::pake::{self, Context};
use vc_core::crypto::ticket::{RelayKey, TicketBody};
use vc_core::io::{
    Command, Config, Event, FrameLen, Input, Output, PathPolicy, SignalIn, SignalOut, Time, VoiceFrame, Wake,
};
use vc_core::net::forward::{Forwarder, Limits, Verdict};
use vc_core::peer::handshake::pair_psk;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::control::{Channel, Frame, Frames, MAX_PLAINTEXT};
use vc_core::protocol::entrance::{Entrance, Latest};
use vc_core::protocol::member::{Candidate, Codes, Entry, Kind, MemberId, Record, Seated, Slot};
use vc_core::protocol::packet::{MAX_UDP, Packet, TRANSPORT_HEADER, hs_init, hs_resp, transport_header};
use vc_core::protocol::signal::{Mail, Nameplate, Offer, Party, Reclaim, ToClient, ToServer};
use vc_core::protocol::text;
use vc_core::protocol::welcome::Welcome;
use vc_core::room::Room;
use vc_core::room::code::Code;

use crate::script::{MAX_STEPS, Script};

pub fn room_inputs(data: &[u8]) {
    let mut script = Script::new(data);
    let policy = [PathPolicy::Auto, PathPolicy::Direct, PathPolicy::Relay];
    let policy = script.pick(&policy).copied().unwrap_or_default();
    let mut stage = match script.byte() % 4 {
        0 => Stage::creator(policy),
        1 => Stage::joiner(policy),
        n => Stage::with_friend(policy, n),
    };
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        stage.step(&mut script);
    }
    stage.lapse(70_000);
}

struct Stage {
    room: Room,
    now: Time,
    wake: Wake,
    over: bool,
    friend: Option<Friend>,
    relay: Forwarder,
    codes: Option<Codes>,
    /// What the room last told the server.
    told: Vec<ToServer>,
    rng: Rng,
}

/// A member whose keys we have.
struct Friend {
    key: StaticKey,
    secret: Secret<32>,
    room_key: vc_core::crypto::keys::PublicKey,
    pending: Option<(u32, Pending)>,
    counter: u64,
    session: Option<(u32, Sealer, Opener)>,
    seqs: [u32; 2],
    sent: Vec<Vec<u8>>,
}

impl Stage {
    fn new(room: Room) -> Self {
        let wake = Wake { at: Time::ZERO, why: "start" };
        let relay = Forwarder::new(RelayKey::new(Secret::new([9; 32])), [1; 4], Limits::default(), [3; 32]);
        let mut stage = Self {
            room,
            now: Time::ZERO,
            wake,
            over: false,
            friend: None,
            relay,
            codes: None,
            told: Vec::new(),
            rng: Rng::from_seed([4; 32]),
        };
        stage.tell(Input::LocalAddrs(&[SocketAddr::from(([192, 168, 1, 2], 5_000))]));
        stage.tell(Input::Signal(SignalIn::Up { server: SERVER }));
        stage.server(&ToClient::Hello { version: 1, probes: vec![relay_addr()] });
        stage
    }

    fn creator(policy: PathPolicy) -> Self {
        let mut stage = Self::new(Room::create(config(policy), [1; 32], Time::ZERO));
        stage.server(&ToClient::Created { room_nonce: NONCE, nameplate: Nameplate::Spoken(NUMBER) });
        stage.server(&ToClient::Seat { slot: Slot::all().next().unwrap(), proof: proof([7; 10]) });
        stage.server(&ToClient::Plate { nameplate: Nameplate::Link([7; 10]) });
        stage
    }

    fn joiner(policy: PathPolicy) -> Self {
        let code: Code = CODE.parse().unwrap();
        Self::new(Room::join(config(policy), &code, [1; 32], Time::ZERO))
    }

    /// Let in by a friend, who may turn out to be the one that initiates handshakes, or the other.
    fn with_friend(policy: PathPolicy, n: u8) -> Self {
        let mut stage = Self::joiner(policy);
        let door = Slot::all().next().unwrap();
        stage.server(&ToClient::Joined { room_nonce: NONCE, visitor: 7, door });
        let plate = Nameplate::Spoken(NUMBER).encode();
        let context = Context { nameplate: &plate, room_nonce: NONCE };
        let Some(Mail::A1(a1)) = stage.last_mail() else { panic!("no A1") };
        let (keys, b1) = pake::answer(WORDS, &context, a1, &mut Rng::from_seed([2; 32])).unwrap();
        stage.mail(Party::Slot(door), Mail::B1(&b1));
        let Some(Mail::A2(a2)) = stage.last_mail() else { panic!("no A2") };
        let (admitted, record) = keys.open(a2).unwrap();
        let friend = Friend::new(StaticKey::from_bytes([n; 32]), Entry::decode(&record).unwrap().record.key);
        let welcome = friend.welcome();
        stage.mail(Party::Slot(door), Mail::B2(&admitted.seal(&welcome.encode())));
        stage.friend = Some(friend);
        stage.server(&ToClient::Seat { slot: Slot::new(1).unwrap(), proof: proof([0; 10]) });
        assert!(stage.room.me().is_some(), "an honest door lets nobody in");
        stage
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 13 {
            0 => {
                let from = address(script.byte());
                self.tell(Input::Datagram { from: from.into(), bytes: script.bytes() });
            }
            1 => self.tell(Input::Signal(SignalIn::Frame(script.bytes()))),
            2 => self.by_friend(script, |friend, script| friend.seal(script.bytes())),
            3 => self.by_friend(script, |friend, script| {
                let channel = Channel::ALL[usize::from(script.byte() % 2)];
                let seq = friend.seqs[channel.index()];
                friend.seqs[channel.index()] += 1;
                let mut plaintext = Vec::new();
                Frame::Stream { channel, seq, data: script.bytes() }.write(&mut plaintext);
                friend.seal(&plaintext)
            }),
            4 => self.by_friend(script, |friend, script| {
                let mut plaintext = Vec::new();
                for channel in Channel::ALL {
                    let (upto, bits) = (u32::from(script.byte()), u64::from(script.byte()));
                    Frame::Ack { channel, upto, bits }.write(&mut plaintext);
                }
                friend.seal(&plaintext)
            }),
            5 => self.by_friend(script, |friend, script| {
                let old = script.pick(&friend.sent).cloned()?;
                Some(script.distort(&old))
            }),
            6 => {
                let mut rng = Rng::from_seed([script.byte(); 32]);
                self.by_friend(script, |friend, _| Some(friend.initiate(&mut rng)));
            }
            7 => self.lapse(u64::from(script.u16())),
            8 => self.command(script),
            9 => {
                let (time, last_of_talk) = (script.u32(), script.byte() > 200);
                let opus = vec![0xFC; usize::from(script.byte()) + 1];
                let frame = VoiceFrame { time, len: FrameLen::Ms20, last_of_talk, age_ms: 0, opus };
                self.tell(Input::Voice(frame));
            }
            10 => self.surroundings(script),
            11 => self.visitor(script),
            _ => self.tickets(script),
        }
    }

    fn command(&mut self, script: &mut Script<'_>) {
        let command = match script.byte() % 12 {
            0..4 => Command::Say(String::from_utf8_lossy(script.bytes()).into_owned()),
            4 | 5 => Command::Mute(script.byte().is_multiple_of(2)),
            6 => Command::Deafen(script.byte().is_multiple_of(2)),
            7 => Command::Leave,
            8 => Command::Rename(String::from_utf8_lossy(script.bytes()).into_owned()),
            9 => Command::Lock(script.byte().is_multiple_of(2)),
            10 => Command::Invite,
            _ => match script.pick(&self.room.peers()) {
                Some(peer) => Command::Kick(peer.id),
                None => Command::Kick(MemberId([1; 8])),
            },
        };
        self.tell(Input::Command(command));
    }

    fn surroundings(&mut self, script: &mut Script<'_>) {
        match script.byte() % 3 {
            0 => self.tell(Input::Signal(SignalIn::Up { server: SERVER })),
            1 => self.tell(Input::Signal(SignalIn::Down)),
            _ => {
                let addrs: Vec<SocketAddr> = script.bytes().iter().take(4).map(|n| address(*n)).collect();
                self.tell(Input::LocalAddrs(&addrs));
            }
        }
    }

    /// One knocks who knows the code, or nearly, and says of itself what it likes.
    fn visitor(&mut self, script: &mut Script<'_>) {
        let Some((number, words)) = self.codes.as_ref().and_then(|codes| codes.spoken.clone()) else {
            return;
        };
        let (visitor, nameplate) = (u32::from(script.byte() % 4), Nameplate::Spoken(number));
        let words = if script.byte() > 250 { "wrong-wrong-wrong".to_owned() } else { words };
        let plate = nameplate.encode();
        let context = Context { nameplate: &plate, room_nonce: NONCE };
        self.server(&ToClient::Visitor { visitor, nameplate });
        let (joiner, a1) = pake::Joiner::start(words.as_bytes(), &context, &mut self.rng);
        let a1 = script.distort(&a1);
        self.told.clear();
        self.mail(Party::Visitor(visitor), Mail::A1(&a1));
        let Some(Mail::B1(b1)) = self.last_mail() else { return };
        let Ok(keys) = joiner.read(b1) else { return };
        let (_, a2) = keys.seal(script.bytes());
        self.mail(Party::Visitor(visitor), Mail::A2(&a2));
        if let Some(slot) = Slot::new(script.byte() % 20) {
            self.server(&ToClient::Admitted { visitor, slot });
        }
    }

    fn tickets(&mut self, script: &mut Script<'_>) {
        let key = RelayKey::new(Secret::new([9; 32]));
        let body = TicketBody {
            relay: [1; 4],
            room: [5; 8],
            slot: 1,
            slots: 16,
            class: 0,
            not_after: WALL + 3_600,
            serial: [script.byte(); 8],
        };
        let ticket = key.mint(&body);
        let relay = if script.byte() > 200 { address(script.byte()) } else { relay_addr() };
        let offers = vec![Offer { relay, body: ticket.body, kb: *ticket.kb.as_bytes() }];
        self.server(&ToClient::Tickets { offers });
    }

    fn by_friend(
        &mut self,
        script: &mut Script<'_>,
        make: impl FnOnce(&mut Friend, &mut Script<'_>) -> Option<Vec<u8>>,
    ) {
        let Some(friend) = &mut self.friend else { return };
        let Some(packet) = make(friend, script) else { return };
        friend.sent.push(packet.clone());
        match script.byte() % 16 {
            0 => self.mail(Party::Slot(Slot::all().next().unwrap()), Mail::Packet(&packet)),
            1 => self.tell(Input::Datagram { from: address(script.byte()).into(), bytes: &packet }),
            2 => {
                let down = vc_core::protocol::packet::down(Slot::all().next().unwrap(), &packet);
                self.tell(Input::Datagram { from: relay_addr().into(), bytes: &down });
            }
            _ => self.tell(Input::Datagram { from: FRIEND.into(), bytes: &packet }),
        }
    }

    /// Time passes as the room wants it to; whoever wants to be woken all the time is broken.
    fn lapse(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        let mut turns = 0;
        while self.wake.at <= until && !self.over {
            self.now = self.now.max(self.wake.at);
            let why = self.wake.why;
            self.tell(Input::Tick);
            turns += 1;
            assert!(turns <= 64 + millis / 2, "woken for {why} without an end");
        }
        self.now = until;
        self.tell(Input::Tick);
    }

    fn server(&mut self, message: &ToClient) {
        self.tell(Input::Signal(SignalIn::Frame(&message.encode())));
    }

    fn mail(&mut self, from: Party, letter: Mail<'_>) {
        self.server(&ToClient::Mail { from, blob: letter.blob() });
    }

    fn last_mail(&self) -> Option<Mail<'_>> {
        self.told.iter().rev().find_map(|message| match message {
            ToServer::Mail { blob, .. } => Mail::parse(blob).ok(),
            _ => None,
        })
    }

    /// Tells the room, and those who answer by themselves whatever it sends: the relay, and the friend's handshakes.
    fn tell(&mut self, input: Input<'_>) {
        self.room.handle(self.now, input);
        let mut sent = self.drain();
        for _ in 0..MAX_ROUNDS {
            let answers: Vec<_> =
                sent.drain(..).filter_map(|(to, packet)| self.answer(to, &packet)).collect();
            if answers.is_empty() {
                break;
            }
            for (from, packet) in answers {
                self.room.handle(self.now, Input::Datagram { from: from.into(), bytes: &packet });
                sent.extend(self.drain());
            }
        }
        assert!(self.room.peers().len() < 16);
    }

    fn answer(&mut self, to: SocketAddr, packet: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        if to == relay_addr() {
            let wall = WALL + (self.now - Time::ZERO).as_secs() as u32;
            return match self.relay.handle(self.now, wall, US.into(), packet) {
                Verdict::Reply(reply) => Some((to, reply)),
                Verdict::Drop(_) | Verdict::Forward { .. } => None,
            };
        }
        let friend = self.friend.as_mut().filter(|_| to == FRIEND)?;
        Some((to, friend.hear(packet, &mut self.rng)?))
    }

    fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        for _ in 0..MAX_OUTPUTS {
            match self.room.poll() {
                Output::Wake(wake) => {
                    self.wake = wake;
                    return sent;
                }
                Output::Transmit { to, bytes } => {
                    assert!(!self.over && bytes.len() <= MAX_UDP && Packet::parse(&bytes).is_ok());
                    sent.push((to.addr, bytes));
                }
                Output::Signal(SignalOut::Frame(bytes)) => {
                    assert!(!self.over);
                    self.told.push(ToServer::decode(&bytes).unwrap());
                }
                Output::Close(_)
                | Output::CloseSpare(_)
                | Output::Signal(SignalOut::Dial | SignalOut::Hang) => {}
                Output::Voice { frame, .. } => assert!(!self.over && !frame.opus.is_empty()),
                Output::Event(event) => self.event(event),
            }
        }
        panic!("one input, and no end of outputs");
    }

    fn event(&mut self, event: Event) {
        assert!(!self.over, "an event after the end");
        match event {
            Event::Invite(codes) => self.codes = Some(codes),
            Event::Said { text, .. } | Event::Undelivered { text, .. } => assert!(text::line(&text) == text),
            Event::Joined { name, .. } | Event::Unreachable { name, .. } | Event::Renamed { name, .. } => {
                assert!(!name.is_empty() && text::line(&name) == name);
            }
            Event::Ended(_) => self.over = true,
            _ => {}
        }
    }
}

/// A place in a room that is found by its number and by this link.
fn proof(link: [u8; 10]) -> Reclaim {
    let mut proof = [0; 91];
    proof[57..61].copy_from_slice(&NUMBER.to_be_bytes());
    proof[61..71].copy_from_slice(&link);
    proof
}

impl Friend {
    fn new(key: StaticKey, room_key: vc_core::crypto::keys::PublicKey) -> Self {
        Self {
            key,
            secret: Secret::new([8; 32]),
            room_key,
            pending: None,
            counter: 0,
            session: None,
            seqs: [0; 2],
            sent: Vec::new(),
        }
    }

    fn welcome(&self) -> Welcome {
        let record = Record {
            key: self.key.public(),
            name: "friend".to_owned(),
            relay_only: false,
            candidates: vec![Candidate { kind: Kind::ServerReflexive, addr: FRIEND }],
        };
        let creator = MemberId::of(&ROOM, &self.key.public());
        let codes = Codes { spoken: Some((NUMBER, String::from_utf8_lossy(WORDS).into_owned())), link: None };
        Welcome {
            room: ROOM,
            secret: *self.secret.as_bytes(),
            creator,
            warden: self.key.public(),
            entrance: Entrance {
                locked: Latest::first(&self.key, false),
                codes: Latest::first(&self.key, codes),
            },
            members: vec![Seated { slot: Slot::all().next().unwrap(), record }],
            gone: Vec::new(),
            removals: None,
            absent: Vec::new(),
        }
    }

    fn psk(&self) -> Secret<32> {
        let key = self.key.public();
        pair_psk(&self.secret, &(MemberId::of(&ROOM, &key), key))
    }

    fn initiate(&mut self, rng: &mut Rng) -> Vec<u8> {
        self.counter += 1;
        let index = self.counter as u32;
        let psk = self.psk();
        let pair = Pair { me: &self.key, room_id: ROOM, psk: &psk };
        let (pending, noise) = noise::initiate(&pair, &self.room_key, self.counter, rng);
        self.pending = Some((index, pending));
        self.gate(hs_init(index, &noise))
    }

    fn seal(&mut self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let (remote, sealer, _) = self.session.as_mut()?;
        let counter = sealer.next()?;
        let mut packet = transport_header(*remote, counter.low()).to_vec();
        packet.extend_from_slice(&plaintext[..plaintext.len().min(MAX_PLAINTEXT)]);
        sealer.seal(counter, &mut packet, TRANSPORT_HEADER);
        Some(packet)
    }

    /// Completes handshakes and answers challenges; everything else is the script's.
    fn hear(&mut self, packet: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
        match Packet::parse(packet).ok()? {
            Packet::HsInit { sender, noise, .. } => {
                let psk = self.psk();
                let pair = Pair { me: &self.key, room_id: ROOM, psk: &psk };
                let init = noise::read_init(&pair, noise, rng).expect("the room speaks to us");
                let (noise, sealer, opener) = init.reply();
                self.session = Some((sender, sealer, opener));
                Some(self.gate(hs_resp(1_000, sender, &noise)))
            }
            Packet::HsResp { sender, receiver, noise, .. } => {
                let (_, mut pending) = self.pending.take_if(|(index, _)| *index == receiver)?;
                let (sealer, opener) = pending.finish(noise)?;
                self.session = Some((sender, sealer, opener));
                self.seal(&[0])
            }
            Packet::Transport { counter, .. } => {
                let mut bytes = packet.to_vec();
                let (_, _, opener) = self.session.as_mut()?;
                let plaintext = opener.open(counter, &mut bytes, TRANSPORT_HEADER).ok()?;
                let mut reply = Vec::new();
                for frame in Frames::of(plaintext) {
                    if let Frame::Challenge { token } = frame.expect("the room's own frames are well-formed")
                    {
                        Frame::Response { token, seen: None }.write(&mut reply);
                    }
                }
                (!reply.is_empty()).then(|| self.seal(&reply))?
            }
            _ => None,
        }
    }

    fn gate(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let gate = mac16(kdf::<32>(self.secret.as_bytes(), "gate", &[]).as_bytes(), &[&packet]);
        packet.extend_from_slice(&gate);
        packet
    }
}

fn config(paths: PathPolicy) -> Config {
    Config { name: "me".to_owned(), paths, forward: true }
}

fn relay_addr() -> SocketAddr {
    SocketAddr::new(SERVER.ip(), 47_701)
}

/// Few enough that the same ones come again: friends', servers', our own, and those that nobody may be made to ask.
fn address(n: u8) -> SocketAddr {
    match n % 8 {
        0 => FRIEND,
        1 => relay_addr(),
        2 => US,
        3 => SocketAddr::from(([127, 0, 0, 1], 22)),
        4 => SocketAddr::from(([0xFE80, 0, 0, 0, 0, 0, 0, 1], 9)),
        5 => SocketAddr::from(([10, 0, 0, n], 4_000)),
        6 => SocketAddr::from(([0x2001, 0xDB8, 0, 0, 0, 0, 0, u16::from(n)], 4_000)),
        _ => SocketAddr::from(([203, 0, 113, n], 4_000)),
    }
}

const CODE: &str = "48213-tiger-lamp-ocean";
const WORDS: &[u8] = b"tiger-lamp-ocean";
const NUMBER: u32 = 48_213;
const NONCE: [u8; 16] = [3; 16];
const ROOM: [u8; 16] = [6; 16];
const WALL: u32 = 1_700_000_000;
const US: SocketAddr = v4([198, 51, 100, 7], 5_000);
const FRIEND: SocketAddr = v4([198, 51, 100, 9], 6_000);
const SERVER: SocketAddr = v4([203, 0, 113, 5], 47_700);
/// A full room of friends, each with all the paths it may have, all asked at once.
const MAX_OUTPUTS: usize = 2_048;
/// Answers to answers: a challenge each way and back; what goes on longer would go on for ever.
const MAX_ROUNDS: usize = 8;

const fn v4([a, b, c, d]: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(a, b, c, d), port))
}

#[cfg(test)]
mod tests {
    use vc_core::io::PeerState;

    use super::*;

    #[test]
    fn the_stage_is_deep_friends_are_live_heard_and_the_relay_has_a_place_for_us() {
        for n in [2, 3] {
            let mut stage = Stage::with_friend(PathPolicy::Auto, n);
            for act in [&[6, 1, 9][..], &[7, 1, 44], &[12, 1, 1], &[7, 4, 0], &[3, 1, 0, 2, b'h', b'i', 9]] {
                stage.step(&mut Script::new(act));
            }
            assert!(matches!(&stage.room.peers()[..], [peer] if peer.state == PeerState::Live));
            assert_eq!(stage.relay.bound(), 1);
            assert!(stage.friend.as_ref().is_some_and(|friend| friend.session.is_some()));
        }
    }

    #[test]
    fn a_visitor_with_the_words_is_let_in() {
        let mut stage = Stage::creator(PathPolicy::Auto);
        let record = Record {
            key: StaticKey::from_bytes([5; 32]).public(),
            name: "guest".to_owned(),
            relay_only: false,
            candidates: Vec::new(),
        };
        let record = Entry { record, known: None }.encode();
        let act = [&[11, 0, 0, 0, 0, record.len() as u8][..], &record, &[3]].concat();
        stage.step(&mut Script::new(&act));
        assert_eq!(stage.room.peers().len(), 1);
    }
}
