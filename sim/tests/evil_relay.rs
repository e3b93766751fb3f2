//! Relays, strangers and members that do what they should not.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use std::net::SocketAddr;

use rand_core::SeedableRng;
use scene::spoiler::{Spoiler, Wrong};
use scene::{ADA, BOB, EVE, SERVER, all_is_well, ms, room, secs, two};
use sim::world::Wired;
use sim::{Dice, Profile, World};
use vc_core::crypto::keys::{Rng, StaticKey};
use vc_core::io::{Command, Event, Input, PathPolicy, PeerState};
use vc_core::protocol::control::Control;
use vc_core::protocol::packet::{Packet, hs_init};
use victim::Victim;
use victim::insider::{HERE, Insider};

#[test]
fn an_evil_relay_changes_nothing_but_loss() {
    use Wrong::{Alters, Doubles, Drops, Redirects, Relabels, Reorders, Replays};
    for wrong in [Alters, Replays, Reorders, Drops, Doubles, Redirects, Relabels] {
        for seed in 0..3 {
            let mut world = room(seed, Profile::clean(20), PathPolicy::Relay, None, 3);
            let dice = world.dice.fork();
            world.servers[SERVER].operator = Some(Box::new(Spoiler::new(dice, wrong)));
            for _ in 0..20 {
                for client in [ADA, BOB, EVE] {
                    world.say(client);
                    world.speak(client, 40);
                }
                world.run(secs(1));
            }
            world.run(secs(30));
            assert_eq!(world.reference.delivered, 20 * 3 * 2, "{wrong:?}");
            let sent = 20 * 40 * 3 * 2;
            let share = world.reference.heard as f64 / f64::from(sent);
            let least = if matches!(wrong, Alters | Drops | Redirects) { 0.6 } else { 0.99 };
            assert!(share >= least, "{wrong:?}: only {share:.2} of the frames were heard");
            assert!(world.clients.iter().all(|c| c.ended.is_none()));
            all_is_well(&mut world);
        }
    }
}

#[test]
fn strangers_cost_no_curve_work_and_get_no_byte_in_return() {
    let mut world = two(1, Profile::clean(20), PathPolicy::Auto);
    world.tap = Some(Vec::new());
    let mut dice = Dice::new(1);
    let stranger: SocketAddr = "198.51.100.99:5555".parse().unwrap();
    for n in 0..20_000u32 {
        let mut noise = [0; 104];
        noise.iter_mut().for_each(|byte| *byte = dice.byte());
        let mut bytes = hs_init(n, &noise);
        match n % 4 {
            // Handshakes with a gate that is wrong,
            0 | 1 => bytes.extend((0..16).map(|_| dice.byte())),
            // answers to nobody's,
            2 => {
                bytes.truncate(60);
                bytes[0] = 0xD1;
                bytes.extend((0..16).map(|_| dice.byte()));
            }
            // anything of any length.
            _ => bytes = (0..dice.range(0, 1_300)).map(|_| dice.byte()).collect(),
        }
        world.inject(stranger, BOB, bytes);
        if n % 100 == 0 {
            world.run(ms(10));
        }
    }
    world.run(secs(1));
    let counters = world.clients[BOB].room.counters();
    assert_eq!(counters.gate, 15_000);
    assert_eq!(
        (counters.forged, counters.stranger, counters.too_many),
        (0, 0, 0),
        "nothing came to the curve"
    );
    let answered = |wire: &Wired| matches!(wire, Wired::Datagram { to, .. } if *to == stranger);
    assert!(!world.tap.as_ref().unwrap().iter().any(|tapped| answered(&tapped.wire)));
    // The call did not notice.
    world.speak(ADA, 100);
    world.run(secs(3));
    assert_eq!(world.reference.heard, 100);
    all_is_well(&mut world);
}

#[test]
fn a_flood_of_genuine_looking_transport_changes_nothing() {
    let mut world = two(1, Profile::clean(20), PathPolicy::Auto);
    world.tap = Some(Vec::new());
    world.speak(ADA, 50);
    world.run(secs(2));
    let (from, to) = (world.clients[ADA].addr, world.clients[BOB].addr);
    let wire = Wired::Datagram { from, to };
    let genuine: Vec<Vec<u8>> = world
        .tap
        .take()
        .unwrap()
        .into_iter()
        .filter(|t| t.wire == wire && t.bytes[0] == 0xD2)
        .map(|t| t.bytes)
        .collect();
    let mut dice = Dice::new(2);
    let before = world.clients[BOB].room.counters().clone();
    let elsewhere: SocketAddr = "198.51.100.99:5555".parse().unwrap();
    for n in 0..20_000 {
        let mut bytes = genuine[n % genuine.len()].clone();
        // The index stays: it passes the table and meets the window and the seal. Counters far ahead must not move it.
        let at = dice.range(5, bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.range(0, 8);
        world.inject(elsewhere, BOB, bytes);
    }
    world.run(ms(100));
    let after = world.clients[BOB].room.counters().clone();
    assert_eq!(after.forged - before.forged + after.replayed - before.replayed, 20_000);
    world.speak(ADA, 100);
    world.say(ADA);
    world.run(secs(3));
    assert_eq!(world.reference.heard, 150);
    all_is_well(&mut world);
}

#[test]
fn one_who_knows_the_rooms_secret_and_is_on_no_roster_is_refused_in_silence() {
    let mut victim = Victim::creator(1);
    let member = Insider::admitted(&mut victim, 100);
    let mut poser = member.posing_as(StaticKey::generate(&mut Rng::from_seed([200; 32])));
    let mut peer = poser.peer(&victim);
    victim.sent.clear();
    let packets = poser.run(&victim, &mut peer, |_, _| {});
    assert!(matches!(Packet::parse(&packets[0]), Ok(Packet::HsInit { .. })));
    poser.talk(&mut victim, &mut peer, packets);
    assert_eq!(victim.room.counters().stranger, 1, "it came as far as the roster");
    assert_eq!(victim.room.counters().gate, 0);
    assert!(!peer.is_live());
    assert!(!victim.events.iter().any(|e| matches!(e, Event::Joined { .. })));
}

#[test]
fn a_member_that_was_let_in_is_answered_and_one_that_left_never_again() {
    let mut victim = Victim::creator(1);
    let mut member = Insider::admitted(&mut victim, 100);
    let mut peer = member.peer(&victim);
    let packets = member.run(&victim, &mut peer, |_, _| {});
    let knock = packets[0].clone();
    member.talk(&mut victim, &mut peer, packets);
    victim.now = victim.now + ms(500);
    let packets = member.run(&victim, &mut peer, |_, _| {});
    member.talk(&mut victim, &mut peer, packets);
    assert!(peer.is_live() && victim.room.peers()[0].state == PeerState::Live);

    peer.tell(&Control::Leave);
    let packets = member.run(&victim, &mut peer, |_, _| {});
    member.talk(&mut victim, &mut peer, packets);
    assert!(victim.room.peers().is_empty());
    victim.sent.clear();

    // The old handshake again, and a fresh one by the same key.
    victim.now = victim.now + secs(5);
    let strangers = victim.room.counters().stranger;
    victim
        .input(Input::Datagram { from: HERE.parse::<std::net::SocketAddr>().unwrap().into(), bytes: &knock });
    let mut peer = member.peer(&victim);
    let packets = member.run(&victim, &mut peer, |_, _| {});
    member.talk(&mut victim, &mut peer, packets);
    assert_eq!(victim.room.counters().stranger - strangers, 2);
    assert!(!peer.is_live() && victim.sent.is_empty());
}

#[test]
fn a_members_packets_are_never_taken_for_anothers() {
    let mut world = room(1, Profile::clean(20), PathPolicy::Auto, None, 3);
    world.tap = Some(Vec::new());
    world.speak(ADA, 20);
    world.speak(EVE, 20);
    world.run(secs(2));
    let to = world.clients[BOB].addr;
    let by = |world: &World, who: usize| -> Vec<Vec<u8>> {
        let wire = Wired::Datagram { from: world.clients[who].addr, to };
        let tap = world.tap.as_ref().unwrap();
        tap.iter().filter(|t| t.wire == wire && t.bytes[0] == 0xD2).map(|t| t.bytes.clone()).collect()
    };
    let (adas, eves) = (by(&world, ADA), by(&world, EVE));
    let before = world.clients[BOB].room.counters().forged;
    let mut forged = 0;
    for (ada, eve) in adas.iter().zip(&eves) {
        // What Eve sealed, under the number of Ada's session and a counter that is not used up.
        let mut bytes = eve.clone();
        bytes[1..5].copy_from_slice(&ada[1..5]);
        bytes[5..9].copy_from_slice(&(900 + forged as u32).to_be_bytes());
        world.inject(world.clients[ADA].addr, BOB, bytes);
        forged += 1;
    }
    world.run(ms(10));
    assert_eq!(world.clients[BOB].room.counters().forged - before, forged);
    assert_eq!(world.reference.heard, 2 * 2 * 20);
    all_is_well(&mut world);
}

#[test]
fn what_one_sealed_is_refused_when_it_comes_back() {
    let mut world = two(1, Profile::clean(20), PathPolicy::Auto);
    world.tap = Some(Vec::new());
    world.speak(ADA, 20);
    world.speak(BOB, 20);
    world.run(secs(2));
    let tap = world.tap.take().unwrap();
    let by = |from: usize, to: usize| -> Vec<&Vec<u8>> {
        let wire = Wired::Datagram { from: world.clients[from].addr, to: world.clients[to].addr };
        tap.iter().filter(|t| t.wire == wire && t.bytes[0] == 0xD2).map(|t| &t.bytes).collect()
    };
    let mirrored: Vec<Vec<u8>> = by(ADA, BOB)
        .into_iter()
        .zip(by(BOB, ADA))
        .map(|(ours, theirs)| [&theirs[..5], &ours[5..]].concat())
        .collect();
    let (before, count) = (world.clients[ADA].room.counters().clone(), mirrored.len() as u64);
    for (n, mut bytes) in mirrored.into_iter().enumerate() {
        bytes[5..9].copy_from_slice(&(900 + n as u32).to_be_bytes());
        world.inject(world.clients[BOB].addr, ADA, bytes);
    }
    world.run(ms(10));
    assert_eq!(world.clients[ADA].room.counters().forged - before.forged, count);
    world.tell(ADA, Input::Command(Command::Leave));
    all_is_well(&mut world);
}
