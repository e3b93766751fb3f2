//! A member's machinery in the hands of the test: it proves the code, holds the room's secret, and then does what it
//! likes with it.

use rand_core::SeedableRng;
use vc_core::crypto::keys::{PublicKey, Rng, Secret, StaticKey};
use vc_core::crypto::pake::{self, Context};
use vc_core::crypto::sign::Signed;
use vc_core::io::{Counters, Input};
use vc_core::net::path::Path;
use vc_core::peer::handshake::Keys;
use vc_core::peer::machine::{Act, Peer, Scene};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::member::{Entry, MemberId, Record, Seated};
use vc_core::protocol::packet::Packet;
use vc_core::protocol::signal::{Mail, Nameplate, Party, ToClient, Turned};
use vc_core::protocol::welcome::Welcome;

use super::{NONCE, NUMBER, Victim, slot};

pub(crate) const HERE: &str = "198.51.100.7:40000";

pub(crate) struct Insider {
    pub(crate) welcome: Welcome,
    pub(crate) key: StaticKey,
    pub(crate) rng: Rng,
}

impl Insider {
    /// Gets in with the right words; its id is below the victim's, so that it is the one to initiate.
    pub(crate) fn admitted(victim: &mut Victim, visitor: u32) -> Self {
        for seed in 100..=u8::MAX {
            let key = StaticKey::generate(&mut Rng::from_seed([seed; 32]));
            let welcome = knock(victim, visitor + u32::from(seed), &key.public()).expect("let in");
            let insider = Self { welcome, key, rng: Rng::from_seed([77; 32]) };
            if insider.id() < victim.room.me().unwrap() {
                let visitor = visitor + u32::from(seed);
                victim.tell(ToClient::Admitted { visitor, slot: slot(1) });
                victim.said.clear();
                return insider;
            }
        }
        unreachable!("half of all ids are below")
    }

    pub(crate) fn id(&self) -> MemberId {
        MemberId::of(&self.welcome.room, &self.key.public())
    }

    /// The same secrets with another static key.
    pub(crate) fn posing_as(&self, key: StaticKey) -> Self {
        Self { welcome: self.welcome.clone(), key, rng: Rng::from_seed([78; 32]) }
    }

    pub(crate) fn keys(&self) -> Keys {
        let key = StaticKey::from_bytes(*self.key.to_bytes().as_bytes());
        let founder = (self.welcome.creator, self.welcome.warden);
        Keys::new(key, self.welcome.room, &Secret::new(self.welcome.secret), &founder)
    }

    /// Its view of the victim.
    pub(crate) fn peer(&self, victim: &Victim) -> Peer {
        let host = victim.room.me().unwrap();
        let seated: &Seated = self
            .welcome
            .members
            .iter()
            .find(|m| MemberId::of(&self.welcome.room, &m.record.key) == host)
            .unwrap();
        // Whatever the ids say, this one initiates.
        let mut peer = Peer::new(victim.now, MemberId([0; 8]), host, seated);
        peer.offer(
            victim.now,
            Path::Direct("203.0.113.1:40000".parse::<std::net::SocketAddr>().unwrap().into()),
        );
        peer
    }

    /// Runs its side; the packets it would send.
    pub(crate) fn run(
        &mut self,
        victim: &Victim,
        peer: &mut Peer,
        act: impl FnOnce(&mut Peer, &mut Scene<'_>),
    ) -> Vec<Vec<u8>> {
        let sent = |act| match act {
            Act::Send { bytes, .. } => Some(bytes),
            Act::Voice(_) | Act::Control(_) | Act::Seen { .. } | Act::Proved(_) | Act::Event(_) => None,
        };
        self.acts(victim, peer, act).into_iter().filter_map(sent).collect()
    }

    /// Runs its side; all that comes of it.
    pub(crate) fn acts(
        &mut self,
        victim: &Victim,
        peer: &mut Peer,
        act: impl FnOnce(&mut Peer, &mut Scene<'_>),
    ) -> Vec<Act> {
        let (keys, mut counters, mut acts) = (self.keys(), Counters::default(), Vec::new());
        let mut scene = Scene {
            now: victim.now,
            keys: &keys,
            rng: &mut self.rng,
            counters: &mut counters,
            acts: &mut acts,
        };
        act(peer, &mut scene);
        peer.tick(&mut scene);
        acts
    }

    /// Hands packets to the victim, and what it answers back to the peer, until nobody has anything to say.
    pub(crate) fn talk(&mut self, victim: &mut Victim, peer: &mut Peer, mut packets: Vec<Vec<u8>>) {
        for _ in 0..20 {
            for bytes in std::mem::take(&mut packets) {
                victim.input(Input::Datagram {
                    from: HERE.parse::<std::net::SocketAddr>().unwrap().into(),
                    bytes: &bytes,
                });
            }
            for (_, mut bytes) in std::mem::take(&mut victim.sent) {
                let path = Path::Direct("203.0.113.1:40000".parse::<std::net::SocketAddr>().unwrap().into());
                let copy = bytes.clone();
                packets.extend(self.run(victim, peer, |peer, scene| match Packet::parse(&copy) {
                    Ok(Packet::HsResp { sender, receiver, noise, .. }) => {
                        peer.answered(scene, path, (sender, receiver), noise);
                    }
                    Ok(Packet::Transport { receiver, counter }) => {
                        peer.transport(scene, path, receiver, counter, &mut bytes);
                    }
                    _ => {}
                }));
            }
        }
    }
}

/// What a door says to one who knocks.
pub(crate) enum Answer {
    Unanswered,
    /// Before the visitor could show anything.
    Busy(Turned),
    /// After the visitor proved the code.
    Refused(Turned),
    Welcome(Box<Welcome>),
}

/// Proves the code with this static key, but not that it is ours; the welcome, if the door gives one.
pub(crate) fn knock(victim: &mut Victim, visitor: u32, key: &PublicKey) -> Option<Welcome> {
    knock_with(victim, visitor, key, |_| None)
}

/// And shows something as the proof that the key is ours. None if the door judged that, and does not let it in.
pub(crate) fn knock_with(
    victim: &mut Victim,
    visitor: u32,
    key: &PublicKey,
    proof: impl FnOnce(&[u8; 32]) -> Option<Signed>,
) -> Option<Welcome> {
    let words = victim.spoken();
    // Wrong words are taken once in ten seconds.
    victim.pass(std::time::Duration::from_secs(11));
    match knock_by(victim, visitor, (Nameplate::Spoken(NUMBER), words.as_bytes()), key, proof) {
        Answer::Welcome(welcome) => Some(*welcome),
        Answer::Refused(Turned::Closed | Turned::Locked) => None,
        Answer::Unanswered => panic!("no answer"),
        Answer::Busy(why) | Answer::Refused(why) => panic!("the door judged nothing: {why:?}"),
    }
}

/// By this code, now.
pub(crate) fn knock_by(
    victim: &mut Victim,
    visitor: u32,
    (nameplate, secret): (Nameplate, &[u8]),
    key: &PublicKey,
    proof: impl FnOnce(&[u8; 32]) -> Option<Signed>,
) -> Answer {
    victim.said.clear();
    victim.tell(ToClient::Visitor { visitor, nameplate });
    let context = Context { nameplate: &nameplate.encode(), room_nonce: NONCE };
    let (joiner, a1) = pake::Joiner::start(secret, &context, &mut Rng::from_seed([3; 32]));
    let from = Party::Visitor(visitor);
    victim.tell(ToClient::Mail { from, blob: Mail::A1(&a1).blob() });
    let letters = victim.letters();
    let b1 = match letters.first().map(|(_, blob)| Mail::parse(blob).unwrap()) {
        Some(Mail::B1(b1)) => b1,
        Some(Mail::Turned(why)) => return Answer::Busy(why),
        Some(_) => panic!("no letter of a door"),
        None => return Answer::Unanswered,
    };
    let record =
        Record { key: *key, name: "CANARY-insider".into(), relay_only: false, candidates: Vec::new() };
    let keys = joiner.read(b1).unwrap();
    let known = proof(&keys.transcript());
    let (knock, a2) = keys.seal(&Entry { record, known }.encode());
    victim.tell(ToClient::Mail { from, blob: Mail::A2(&a2).blob() });
    let letters = victim.letters();
    match letters.first().map(|(_, blob)| Mail::parse(blob).unwrap()) {
        Some(Mail::B2(b2)) => Answer::Welcome(Box::new(Welcome::decode(&knock.open(b2).unwrap()).unwrap())),
        Some(Mail::Turned(why)) => Answer::Refused(why),
        Some(_) => panic!("no letter of a door"),
        None => Answer::Unanswered,
    }
}
