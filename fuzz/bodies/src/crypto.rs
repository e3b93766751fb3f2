//! Tickets, admission and handshakes: nothing opens but what was made for it, unchanged, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_core::SeedableRng;
use vc_core::crypto::keys::{PublicKey, Rng, Secret, StaticKey};
use vc_core::crypto::pake::{self, Context};
use vc_core::crypto::ticket::{RelayKey, TicketBody};
use vc_core::io::Time;
use vc_core::peer::handshake::{Initiator, Keys, Knocked, Responder};
use vc_core::peer::session::{Session, Sessions};
use vc_core::protocol::member::MemberId;
use vc_core::protocol::packet::{MAX_UDP, Packet};

use crate::script::{MAX_STEPS, Script};

pub fn ticket(data: &[u8]) {
    let Some(body) = data.first_chunk::<32>() else { return };
    let Some(decoded) = TicketBody::decode(body) else { return };
    assert!(decoded.encode() == *body, "two spellings of one ticket");
    assert!(decoded.slot < decoded.slots && decoded.slots <= 16);
    let key = RelayKey::new(Secret::new([7; 32]));
    let ticket = key.mint(&decoded);
    assert!(ticket.body == *body && ticket.kb.as_bytes() == key.bind_key(body).as_bytes());
}

/// Four letters, each of which may be changed on its way; with the right code or a wrong one.
pub fn admission(data: &[u8]) {
    let mut script = Script::new(data);
    let mut rng = Rng::from_seed([5; 32]);
    let context = Context { nameplate: &[0, 0, 0, 188, 85], room_nonce: [3; 16] };
    let right = script.byte().is_multiple_of(2);
    let typed: &[u8] = if right { CODE } else { b"tiger-lamp-octopus" };

    let (joiner, a1) = pake::Joiner::start(typed, &context, &mut rng);
    let got_a1 = script.distort(&a1);
    let mut intact = got_a1 == a1;
    let Ok((door, b1)) = pake::answer(CODE, &context, &got_a1, &mut rng) else {
        return assert!(!intact, "a genuine A1 is refused");
    };
    let got_b1 = script.distort(&b1);
    let Ok(keys) = joiner.read(&got_b1) else {
        return assert!(got_b1 != b1, "a genuine B1 is refused");
    };
    intact &= got_b1 == b1;
    let (knock, a2) = keys.seal(b"a record");
    let got_a2 = script.distort(&a2);
    intact &= got_a2 == a2;
    let opened = door.open(&got_a2);
    assert!(opened.is_ok() == (intact && right), "the door opens for who proved the code, and nobody else");
    let Ok((admitted, record)) = opened else { return };
    assert!(record == b"a record");
    let b2 = admitted.seal(b"a welcome");
    let got_b2 = script.distort(&b2);
    match knock.open(&got_b2) {
        Ok(welcome) => assert!(got_b2 == b2 && welcome == b"a welcome"),
        Err(_) => assert!(got_b2 != b2, "a genuine B2 is refused"),
    }
}

/// Two members whose every packet may be kept back, changed, repeated, reflected or made up.
pub fn handshake(data: &[u8]) {
    let mut script = Script::new(data);
    let mut pair = Pair::new();
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        match script.byte() % 5 {
            0 => pair.shake(),
            1 | 2 => {
                let genuine = script.pick(&pair.sent).cloned().unwrap_or_default();
                let (to, bytes) = (usize::from(script.byte() % 2), script.distort(&genuine));
                pair.deliver(to, &bytes);
            }
            3 => {
                let by = usize::from(script.byte() % 2);
                pair.seal(by, script.bytes());
            }
            _ => pair.pass(Duration::from_millis(u64::from(script.u16()) * 20)),
        }
    }
}

struct Pair {
    now: Time,
    rng: Rng,
    members: [Member; 2],
    /// Every packet that either ever made.
    sent: Vec<Vec<u8>>,
    /// By whom a sealed packet was made, and of what.
    sealed: BTreeMap<Vec<u8>, (usize, Vec<u8>)>,
    opened: BTreeSet<Vec<u8>>,
    initiator: Initiator,
    responder: Responder,
}

struct Member {
    keys: Keys,
    public: PublicKey,
    sessions: Sessions,
}

impl Pair {
    fn new() -> Self {
        let member = |n: u8| {
            let key = StaticKey::from_bytes([n; 32]);
            let public = key.public();
            let keys =
                Keys::new(key, [9; 16], &Secret::new([8; 32]), &(MemberId([7; 8]), PublicKey([6; 32])));
            Member { keys, public, sessions: Sessions::default() }
        };
        Self {
            now: Time::ZERO,
            rng: Rng::from_seed([6; 32]),
            members: [member(1), member(2)],
            sent: Vec::new(),
            sealed: BTreeMap::new(),
            opened: BTreeSet::new(),
            initiator: Initiator::default(),
            responder: Responder::default(),
        }
    }

    fn shake(&mut self) {
        if !self.initiator.is_running() {
            let [me, friend] = &self.members;
            self.initiator.start(self.now, &me.keys, &friend.public, &mut self.rng);
        }
        self.sent.extend(self.initiator.tick(self.now));
    }

    fn seal(&mut self, by: usize, text: &[u8]) {
        let text = &text[..text.len().min(vc_core::protocol::control::MAX_PLAINTEXT)];
        if let Some(packet) = self.members[by].sessions.seal(text) {
            assert!(packet.len() <= MAX_UDP);
            self.sealed.insert(packet.clone(), (by, text.to_vec()));
            self.sent.push(packet);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.sent.extend(self.initiator.tick(self.now));
        self.members.iter_mut().for_each(|member| member.sessions.expire(self.now));
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let now = self.now;
        let genuine = self.sent.iter().any(|sent| sent == bytes);
        match Packet::parse(bytes) {
            Ok(Packet::HsInit { sender, noise, gated, gate }) => {
                let me = &self.members[to].keys;
                assert!(me.gate_opens(gated, gate) == genuine, "the gate opens to strangers");
                if !genuine || self.responder.again(sender, noise).is_some() {
                    return;
                }
                let Some(knocked) = Knocked::read(me, sender, noise, &mut self.rng) else {
                    return assert!(to == 0, "a genuine message is refused");
                };
                assert!(to == 1 && *knocked.remote() == self.members[0].public, "a reflected message opens");
                if let Some((session, reply)) = self.responder.answer(now, me, knocked, &mut self.rng) {
                    assert!(reply.len() <= bytes.len(), "the answer is longer than the question");
                    self.members[1].sessions.expect(session);
                    self.sent.push(reply);
                }
            }
            Ok(Packet::HsResp { sender, receiver, noise, gated, gate }) => {
                assert!(
                    self.members[to].keys.gate_opens(gated, gate) == genuine,
                    "the gate opens to strangers"
                );
                if genuine && to == 0 && self.initiator.owns(receiver) {
                    let session: Option<Session> = self.initiator.finish(now, sender, noise);
                    self.members[0].sessions.adopt(session.expect("a genuine reply"), now);
                }
            }
            Ok(Packet::Transport { receiver, counter }) => {
                let mut packet = bytes.to_vec();
                let Ok(text) = self.members[to].sessions.open(now, receiver, counter, &mut packet) else {
                    return;
                };
                let (by, sealed) = self.sealed.get(bytes).expect("a packet that nobody sealed opens");
                assert!(*by != to && text == sealed, "sealed for another, or changed");
                assert!(self.opened.insert(bytes.to_vec()), "a packet opens twice");
            }
            _ => {}
        }
    }
}

const CODE: &[u8] = b"tiger-lamp-ocean";
