//! Several members in the hands of the test, around one victim.

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::SeedableRng;
use vc_core::crypto::keys::{PublicKey, Rng, StaticKey};
use vc_core::io::{Event, Input};
use vc_core::net::path::Path;
use vc_core::peer::machine::{Act, Peer, Scene};
use vc_core::protocol::control::Control;
use vc_core::protocol::member::{Candidate, MemberId, Record, Seated};
use vc_core::protocol::packet::Packet;

use super::insider::Insider;
use super::{Victim, slot};

pub(crate) struct Friend {
    pub(crate) insider: Insider,
    pub(crate) peer: Peer,
    pub(crate) at: SocketAddr,
    /// Nothing comes to it or from it.
    pub(crate) cut: bool,
    pub(crate) told: Vec<Control>,
    pub(crate) lines: Vec<String>,
}

impl Friend {
    pub(crate) fn new(victim: &Victim, insider: Insider, n: u8) -> Self {
        let peer = insider.peer(victim);
        let at = SocketAddr::from(([198, 51, 100, n], 40_000));
        Self { insider, peer, at, cut: false, told: Vec::new(), lines: Vec::new() }
    }

    fn run(&mut self, victim: &Victim, run: impl FnOnce(&mut Peer, &mut Scene<'_>)) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for act in self.insider.acts(victim, &mut self.peer, run) {
            match act {
                Act::Send { bytes, .. } => sent.push(bytes),
                Act::Control(control) => self.told.push(*control),
                Act::Event(Event::Said { text, .. }) => self.lines.push(text),
                Act::Event(_) | Act::Seen { .. } | Act::Proved(_) | Act::Voice(_) => {}
            }
        }
        sent
    }

    fn hear(&mut self, victim: &Victim, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let copy = bytes.clone();
        let path = Path::Direct("203.0.113.1:40000".parse::<SocketAddr>().unwrap().into());
        self.run(victim, |peer, scene| match Packet::parse(&copy) {
            Ok(Packet::HsResp { sender, receiver, noise, .. }) => {
                peer.answered(scene, path, (sender, receiver), noise);
            }
            Ok(Packet::Transport { receiver, counter }) => {
                peer.transport(scene, path, receiver, counter, &mut bytes);
            }
            _ => {}
        })
    }
}

/// Time passes for all of them, 10 ms at a time; packets take no longer. Where the victim sent what went to none of them.
pub(crate) fn together(victim: &mut Victim, friends: &mut [Friend], span: Duration) -> Vec<SocketAddr> {
    together_under(victim, friends, span, |_| {})
}

/// The same while something else happens to the victim, each time before its friends have their turn.
pub(crate) fn together_under(
    victim: &mut Victim,
    friends: &mut [Friend],
    span: Duration,
    mut happens: impl FnMut(&mut Victim),
) -> Vec<SocketAddr> {
    let until = victim.now + span;
    let mut strangers = Vec::new();
    while victim.now < until {
        victim.pass(Duration::from_millis(10));
        happens(victim);
        let mut packets: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        for friend in friends.iter_mut().filter(|friend| !friend.cut) {
            let sent = friend.run(victim, |_, _| {});
            packets.extend(sent.into_iter().map(|bytes| (friend.at, bytes)));
        }
        for (from, bytes) in packets {
            victim.input(Input::Datagram { from: from.into(), bytes: &bytes });
        }
        let mut answers: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        for (to, bytes) in std::mem::take(&mut victim.sent) {
            match friends.iter_mut().find(|friend| friend.at == to) {
                Some(friend) if friend.cut => {}
                Some(friend) => {
                    answers.extend(friend.hear(victim, bytes).into_iter().map(|bytes| (to, bytes)));
                }
                None => strangers.push(to),
            }
        }
        for (from, bytes) in answers {
            victim.input(Input::Datagram { from: from.into(), bytes: &bytes });
        }
    }
    strangers
}

/// A key whose member id is below the victim's, so that its owner initiates.
pub(crate) fn initiating_key(victim: &Victim, room: &[u8; 16], seed: u8) -> StaticKey {
    let me = victim.room.me().unwrap();
    keys(seed).find(|key| MemberId::of(room, &key.public()) < me).unwrap()
}

/// Keys at whose doors the victim is to knock.
pub(crate) fn awaiting_keys(
    victim: &Victim,
    room: &[u8; 16],
    seed: u8,
) -> impl Iterator<Item = PublicKey> + use<> {
    let (me, room) = (victim.room.me().unwrap(), *room);
    keys(seed).map(|key| key.public()).filter(move |key| MemberId::of(&room, key) > me)
}

fn keys(seed: u8) -> impl Iterator<Item = StaticKey> + use<> {
    let seed = move |n: u16| [seed, (n >> 8) as u8, n as u8, 7].repeat(8).try_into().unwrap();
    (0..=u16::MAX).map(move |n| StaticKey::generate(&mut Rng::from_seed(seed(n))))
}

pub(crate) fn record(key: PublicKey, at: u8, candidates: Vec<Candidate>) -> Seated {
    let record = Record { key, name: format!("CANARY-{at}"), relay_only: false, candidates };
    Seated { slot: slot(at), record }
}
