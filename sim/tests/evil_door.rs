//! The member that lets somebody in, as a liar; one who left; a stranger who shouts.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use std::net::SocketAddr;

use rand_core::SeedableRng;
use scene::{ADA, BOB, all_is_well, ms, room, secs};
use sim::{Dice, Profile};
use vc_core::crypto::keys::{Rng, StaticKey};
use vc_core::crypto::sign::Signed;
use vc_core::io::{Command, Event, Input, PathPolicy, PeerState};
use vc_core::protocol::control::Control;
use vc_core::protocol::member::{MemberId, Record, Seated};
use vc_core::protocol::signal::{Nameplate, ToClient};
use vc_core::protocol::welcome::Welcome;
use victim::Victim;
use victim::insider::{Insider, knock, knock_with};

/// Ada as a liar lets her see the room: the liar, and a Bob whose key is this one.
fn shown_a_bob(seed: u8) -> Victim {
    let mut ada = Victim::creator(1);
    let mut liar = Insider::admitted(&mut ada, 100);
    let mut peer = liar.peer(&ada);
    let packets = liar.run(&ada, &mut peer, |_, _| {});
    liar.talk(&mut ada, &mut peer, packets);
    let (me, id) =
        (ada.room.me().unwrap(), |key: &StaticKey| MemberId::of(&liar.welcome.room, &key.public()));
    let mut keys = (0..=u8::MAX)
        .map(|n| StaticKey::generate(&mut Rng::from_seed([seed, n].repeat(16).try_into().unwrap())));
    let key = keys.find(|key| id(key) < me).unwrap();
    let record = Record { key: key.public(), name: "bob".into(), relay_only: false, candidates: Vec::new() };
    ada.now = ada.now + ms(500);
    peer.tell(&Control::Add(Seated { slot: victim::slot(2), record }));
    let packets = liar.run(&ada, &mut peer, |_, _| {});
    liar.talk(&mut ada, &mut peer, packets);
    let mut bob = liar.posing_as(key);
    let mut peer = bob.peer(&ada);
    let packets = bob.run(&ada, &mut peer, |_, _| {});
    bob.talk(&mut ada, &mut peer, packets);
    ada
}

#[test]
fn whom_a_doorkeeper_invents_is_on_the_screen_and_the_room_check_differs() {
    let (honest, split) = (shown_a_bob(1), shown_a_bob(2));
    for ada in [&honest, &split] {
        let live = ada.room.peers().into_iter().filter(|peer| peer.state == PeerState::Live).count();
        let met = ada.events.iter().filter(|event| matches!(event, Event::Joined { .. })).count();
        assert_eq!((live, met), (2, 2), "whoever hears us was announced");
    }
    // To the eye, the two rooms are one.
    let names = |ada: &Victim| -> Vec<String> {
        let mut names: Vec<String> = ada.room.peers().into_iter().map(|peer| peer.name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&honest), names(&split));
    assert_ne!(honest.room.verify(), split.room.verify());
    assert_eq!(honest.room.verify(), shown_a_bob(1).room.verify());
}

#[test]
fn a_stranger_who_floods_the_port_is_never_answered_and_the_call_does_not_notice() {
    let mut world = room(1, Profile::clean(20), PathPolicy::Auto, None, 2);
    let stranger: SocketAddr = "198.51.100.66:4444".parse().unwrap();
    let mut dice = Dice::new(9);
    world.tap = Some(Vec::new());
    for client in [ADA, BOB] {
        world.speak(client, 100);
    }
    for _ in 0..200 {
        for n in 0..100 {
            let (kind, len) = match n % 4 {
                0 => (0xD0, 128),
                1 => (0xD1, 76),
                2 => (0xD2, 112),
                _ => (dice.byte(), dice.range(1, 1_200) as usize),
            };
            let mut bytes: Vec<u8> = (0..len).map(|_| dice.byte()).collect();
            bytes[0] = kind;
            if n % 4 < 2 {
                bytes[1..4].fill(0);
            }
            world.inject(stranger, ADA, bytes);
        }
        world.run(ms(10));
    }
    world.run(secs(2));
    let answered = |tapped: &sim::world::Tapped| matches!(tapped.wire, sim::world::Wired::Datagram { to, .. } if to == stranger);
    assert!(!world.tap.as_ref().unwrap().iter().any(answered));
    assert_eq!(world.reference.heard, 200);
    let counters = world.clients[ADA].room.counters();
    assert!(counters.gate >= 5_000 && counters.forged == 0, "{counters:?}");
    all_is_well(&mut world);
}

#[test]
fn who_knows_the_code_and_a_members_key_but_not_its_secret_is_not_let_in_as_that_member() {
    let mut ada = Victim::creator(1);
    let member = Insider::admitted(&mut ada, 100);
    assert!(knock(&mut ada, 1_000, &member.key.public()).is_none());
    let another = StaticKey::generate(&mut Rng::from_seed([9; 32])).public();
    assert!(knock(&mut ada, 1_001, &another).is_some());
    let admission = |transcript: &[u8; 32]| [&member.welcome.room[..], transcript].concat();
    let mut shown = None;
    let mut returns = |visitor, proof: &mut dyn FnMut(&[u8; 32]) -> Option<Signed>| {
        knock_with(&mut ada, visitor, &member.key.public(), proof).is_some()
    };
    assert!(!returns(1_002, &mut |transcript| {
        let another = StaticKey::generate(&mut Rng::from_seed([9; 32]));
        Some(another.sign("return", &admission(transcript)))
    }));
    assert!(returns(1_003, &mut |transcript| {
        shown = Some(member.key.sign("return", &admission(transcript)));
        shown
    }));
    // What one admission showed is worth nothing at another.
    assert!(!returns(1_004, &mut |_| shown));
}

#[test]
fn whom_a_door_told_of_another_founder_reaches_nobody_but_that_door() {
    // A newcomer that was told this of the room shakes hands with Ada, who was told the truth.
    let meets = |lie: &dyn Fn(&mut Welcome)| {
        let mut ada = Victim::creator(1);
        let mut bob = Insider::admitted(&mut ada, 100);
        lie(&mut bob.welcome);
        let mut peer = bob.peer(&ada);
        let packets = bob.run(&ada, &mut peer, |_, _| {});
        bob.talk(&mut ada, &mut peer, packets);
        ada.room.peers().iter().any(|peer| peer.state == PeerState::Live) || peer.is_live()
    };
    assert!(meets(&|_| {}));
    assert!(!meets(&|welcome| welcome.creator = MemberId([9; 8])));
    assert!(!meets(&|welcome| {
        welcome.warden = StaticKey::generate(&mut Rng::from_seed([9; 32])).public();
    }));
}

#[test]
fn who_was_removed_before_sixty_four_others_still_is_not_let_in() {
    let mut ada = Victim::creator(1);
    let mut dice = Rng::from_seed([5; 32]);
    let keys: Vec<StaticKey> = (0..66).map(|_| StaticKey::generate(&mut dice)).collect();
    for (visitor, key) in (100..).zip(&keys) {
        let welcome = knock(&mut ada, visitor, &key.public()).expect("let in");
        ada.tell(ToClient::Admitted { visitor, slot: victim::slot(1) });
        ada.input(Input::Command(Command::Kick(MemberId::of(&welcome.room, &key.public()))));
        ada.tell(ToClient::Plate { nameplate: Nameplate::Spoken(victim::NUMBER) });
        ada.tell(ToClient::Plate { nameplate: Nameplate::Link(victim::LINK) });
    }
    for (visitor, key) in (1_000..).zip(&keys) {
        assert!(knock(&mut ada, visitor, &key.public()).is_none());
    }
}
