//! Sessions grow old and are replaced, and nobody hears it.
#![allow(clippy::unwrap_used)]

mod scene;

use std::cell::Cell;
use std::collections::BTreeMap;

use std::rc::Rc;
use std::time::Duration;

use scene::{ADA, BOB, SERVER, all_is_well, ms, secs, two};
use sim::node::Operator;
use sim::world::{Tapped, Wired};
use sim::{Profile, World};
use vc_core::io::{Hop, PathPolicy, Time};
use vc_core::protocol::packet::Packet;

/// For each session index on the wire: first seen, last seen.
fn sessions(tap: &[Tapped]) -> BTreeMap<u32, (Time, Time)> {
    let mut seen: BTreeMap<u32, (Time, Time)> = BTreeMap::new();
    for tapped in tap.iter().filter(|tapped| matches!(tapped.wire, Wired::Datagram { .. })) {
        let inner = match Packet::parse(&tapped.bytes) {
            Ok(Packet::Up { inner, .. }) => inner,
            Ok(_) => &tapped.bytes,
            Err(_) => continue,
        };
        if let Ok(Packet::Transport { receiver, .. }) = Packet::parse(inner) {
            seen.entry(receiver).or_insert((tapped.at, tapped.at)).1 = tapped.at;
        }
    }
    seen
}

fn talk(world: &mut World, span: Duration) {
    let end = world.now + span;
    while world.now < end {
        for client in [ADA, BOB] {
            world.speak(client, 3);
        }
        world.run(secs(1));
    }
}

#[test]
fn two_hours_of_talk_rekey_every_ten_minutes_and_lose_no_frame() {
    let mut world = two(1, Profile::clean(30), PathPolicy::Auto);
    world.tap = Some(Vec::new());
    talk(&mut world, secs(7_200));
    world.run(secs(1));
    let seen = sessions(&world.tap.take().unwrap());
    // One index for each direction.
    assert_eq!(seen.len(), 2 * (7_200 / 600 + 1), "{seen:?}");
    for (first, last) in seen.values() {
        assert!(*last - *first <= secs(602), "a session was used for {:?}", *last - *first);
    }
    assert_eq!(world.reference.heard, 2 * 3 * 7_200);
    all_is_well(&mut world);
}

#[test]
fn rekeying_loses_nothing_on_a_bad_line() {
    for seed in 0..10 {
        let profile = Profile { jitter: ms(30), loss: 0.2, copies: 0.05, late: 0.05, ..Profile::clean(60) };
        let mut world = two(seed, profile, PathPolicy::Auto);
        for _ in 0..1_300 {
            world.say(ADA);
            world.say(BOB);
            world.run(secs(1));
        }
        world.net.heal(Profile::clean(60));
        world.run(secs(30));
        assert_eq!(world.reference.delivered, 2 * 1_300);
        all_is_well(&mut world);
    }
}

#[test]
fn what_an_old_session_sealed_is_refused_after_a_minute() {
    let mut world = two(1, Profile::clean(30), PathPolicy::Auto);
    world.run(secs(560));
    world.tap = Some(Vec::new());
    world.speak(ADA, 50);
    world.run(secs(2));
    let (from, to) = (world.clients[ADA].addr, world.clients[BOB].addr);
    let wanted = Wired::Datagram { from, to };
    let old: Vec<Vec<u8>> =
        world.tap.take().unwrap().into_iter().filter(|t| t.wire == wanted).map(|t| t.bytes).collect();
    assert!(old.len() >= 50);
    world.speak(ADA, 100 * 50);
    world.run(secs(48));

    let before = world.clients[BOB].room.counters().clone();
    old.iter().for_each(|bytes| world.inject(from, BOB, bytes.clone()));
    world.run(ms(1));
    let lingering = world.clients[BOB].room.counters().clone();
    assert_eq!(lingering.replayed - before.replayed, old.len() as u64, "within the minute: known and seen");

    world.run(secs(61));
    let before = world.clients[BOB].room.counters().clone();
    old.iter().for_each(|bytes| world.inject(from, BOB, bytes.clone()));
    world.run(ms(1));
    let after = world.clients[BOB].room.counters().clone();
    assert_eq!(after.unknown - before.unknown, old.len() as u64, "after it: the key is gone");
    all_is_well(&mut world);
}

/// A relay that lets no handshake pass while told so.
struct NoHandshakes(Rc<Cell<bool>>);

impl Operator for NoHandshakes {
    fn datagram(&mut self, to: Hop, bytes: Vec<u8>) -> Vec<(Duration, Hop, Vec<u8>)> {
        let handshake = matches!(bytes.get(2), Some(0xD0 | 0xD1)) && bytes.first() == Some(&0xE6);
        if handshake && self.0.get() { Vec::new() } else { vec![(Duration::ZERO, to, bytes)] }
    }
}

#[test]
fn a_session_that_cannot_be_replaced_is_not_used_beyond_fifteen_minutes() {
    let mut world = two(1, Profile::clean(30), PathPolicy::Relay);
    let blocked = Rc::new(Cell::new(true));
    world.servers[SERVER].operator = Some(Box::new(NoHandshakes(blocked.clone())));
    world.tap = Some(Vec::new());
    talk(&mut world, secs(1_000));
    let seen = sessions(world.tap.as_ref().unwrap());
    assert_eq!(seen.len(), 2);
    for (first, last) in seen.values() {
        let used = *last - *first;
        assert!((secs(890)..=secs(901)).contains(&used), "{used:?}");
    }
    blocked.set(false);
    world.run(secs(40));
    let heard = world.reference.heard;
    talk(&mut world, secs(10));
    world.run(secs(1));
    assert_eq!(world.reference.heard - heard, 2 * 3 * 10);
    all_is_well(&mut world);
}
