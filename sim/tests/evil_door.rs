//! The member that lets somebody in, as a liar; one who left; a stranger who shouts.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use std::net::SocketAddr;

use rand_core::SeedableRng;
use scene::{ADA, BOB, all_is_well, ms, room, secs};
use sim::{Dice, Profile};
use vc_core::crypto::keys::{Rng, StaticKey};
use vc_core::crypto::pake::{self, Context};
use vc_core::crypto::sign::Signed;
use vc_core::io::{Command, Event, Input, PathPolicy, PeerState};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::control::Control;
use vc_core::protocol::member::{Entry, MemberId, Record, Seated};
use vc_core::protocol::signal::{Mail, Nameplate, Party, ToClient};
use vc_core::protocol::welcome::Welcome;
use vc_core::room::code::Code;
use victim::friends::{Friend, initiating_key, together};
use victim::insider::{Insider, knock, knock_with};
use victim::{NONCE, NUMBER, Victim};

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

/// One victim and those that the door shows it: the door itself, and a false friend that is the door as well.
struct Shown {
    victim: Victim,
    friends: [Friend; 2],
}

impl Shown {
    /// The false friend, as this victim has it on the screen.
    fn false_friend(&self) -> Option<String> {
        let id = self.friends[1].insider.id();
        let peers = self.victim.room.peers().into_iter();
        peers.filter(|peer| peer.id == id && peer.state == PeerState::Live).map(|peer| peer.name).next()
    }

    /// What the victim says, as its false friend hears it.
    fn says(&mut self, line: &str) -> Option<String> {
        self.victim.input(Input::Command(Command::Say(line.to_owned())));
        together(&mut self.victim, &mut self.friends, secs(1));
        self.friends[1].lines.pop()
    }

    /// The false friend says this; whether the victim reads it as that friend's.
    fn reads(&mut self, line: &str) -> bool {
        assert!(self.friends[1].peer.say(line));
        together(&mut self.victim, &mut self.friends, secs(1));
        let from = self.friends[1].insider.id();
        let said =
            |event: &Event| matches!(event, Event::Said { from: f, text } if *f == from && text == line);
        self.victim.events.iter().any(said)
    }
}

/// Comes in with Ada's code by the door of this member, which shows it a room of the door's own making: the true one's
/// secrets, and in Ada's place a false one, who founded it.
fn let_in_by(door: &Insider, code: &Code, seed: u8) -> Shown {
    let mut bob = Victim::joiner(code, seed);
    bob.input(Input::Command(Command::Rename("bob".into())));
    bob.tell(ToClient::Joined { room_nonce: NONCE, visitor: 1, door: victim::slot(1) });
    let letter = |bob: &mut Victim| bob.letters().remove(0).1;
    let told = |bob: &mut Victim, letter: Mail<'_>| {
        bob.tell(ToClient::Mail { from: Party::Slot(victim::slot(1)), blob: letter.blob() });
    };
    let Code::Spoken { words, .. } = code else { panic!("a code of words") };
    let nameplate = Nameplate::Spoken(NUMBER).encode();
    let context = Context { nameplate: &nameplate, room_nonce: NONCE };
    let a1 = letter(&mut bob);
    let Ok(Mail::A1(a1)) = Mail::parse(&a1) else { panic!("no first letter") };
    let mut rng = Rng::from_seed([5; 32]);
    let (keys, b1) = pake::answer(words.as_bytes(), &context, a1, &mut rng).unwrap();
    told(&mut bob, Mail::B1(&b1));
    let a2 = letter(&mut bob);
    let Ok(Mail::A2(a2)) = Mail::parse(&a2) else { panic!("no second letter") };
    let (admitted, entry) = keys.open(a2).unwrap();
    let entry = Entry::decode(&entry).unwrap();
    let room = door.welcome.room;
    let bob_id = MemberId::of(&room, &entry.record.key);
    let mut made = (0..=u8::MAX).map(|n| StaticKey::generate(&mut Rng::from_seed([n; 32])));
    let mut below = || made.find(|key| MemberId::of(&room, &key.public()) < bob_id).unwrap();
    // Of the door's key that Ada knows nothing has to be true here either.
    let (own, ada) = (below(), below());
    let mut welcome = door.welcome.clone();
    welcome.creator = MemberId::of(&room, &ada.public());
    welcome.warden = StaticKey::generate(&mut rng).public();
    let seated = |at: u8, key: &StaticKey, name: &str| Seated {
        slot: victim::slot(at),
        record: Record { key: key.public(), name: name.into(), relay_only: false, candidates: Vec::new() },
    };
    welcome.members = vec![seated(1, &own, "doorkeeper"), seated(0, &ada, "ada")];
    told(&mut bob, Mail::B2(&admitted.seal(&welcome.encode())));
    bob.tell(ToClient::Seat { slot: victim::slot(2), proof: victim::proof(NUMBER, victim::LINK) });
    assert!(bob.has_entered());
    welcome.members.push(Seated { slot: victim::slot(2), record: entry.record });
    let posing = Insider { welcome, key: own, rng };
    let friends = [posing.posing_as(ada), posing].map(|insider| Friend::new(&bob, insider, 0));
    let [mut ada, mut own] = friends;
    (ada.at, own.at) = ("198.51.100.1:1".parse().unwrap(), "198.51.100.1:2".parse().unwrap());
    let mut shown = Shown { victim: bob, friends: [own, ada] };
    together(&mut shown.victim, &mut shown.friends, secs(5));
    shown
}

#[test]
fn a_door_that_sits_between_two_who_trust_it_is_found_out_by_the_room_check() {
    let mut ada = Victim::creator(1);
    ada.input(Input::Command(Command::Rename("ada".into())));
    let door = Insider::admitted(&mut ada, 100);
    let code = Code::Spoken { number: NUMBER, words: ada.spoken(), server: None };
    let mut bob = let_in_by(&door, &code, 7);
    let false_bob = door.posing_as(initiating_key(&ada, &door.welcome.room, 3));
    let vouched = Control::Add(Seated {
        slot: victim::slot(2),
        record: Record {
            key: false_bob.key.public(),
            name: "bob".into(),
            relay_only: false,
            candidates: Vec::new(),
        },
    });
    let friends = [Friend::new(&ada, door, 1), Friend::new(&ada, false_bob, 2)];
    let mut ada = Shown { victim: ada, friends };
    ada.friends[0].peer.tell(&vouched);
    together(&mut ada.victim, &mut ada.friends, secs(5));
    // Each has the other on the screen, and what they say gets there: by the liar, who reads it.
    assert_eq!(ada.false_friend().as_deref(), Some("bob"));
    assert_eq!(bob.false_friend().as_deref(), Some("ada"));
    for line in ["how are you", "fine"] {
        let heard = ada.says(line).unwrap();
        assert!(bob.reads(&heard));
        let heard = bob.says(line).unwrap();
        assert!(ada.reads(&heard));
    }
    for shown in [&ada, &bob] {
        let met = shown.victim.events.iter().filter(|event| matches!(event, Event::Joined { .. })).count();
        assert_eq!((shown.victim.room.peers().len(), met), (2, 2));
    }
    // It could not show them one room: they would have met in it.
    assert_ne!(ada.victim.room.verify().unwrap(), bob.victim.room.verify().unwrap());
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
