//! A lid is closed and opened again.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scene;

use scene::{ADA, BOB, all_is_well, is_live, room, secs};
use sim::Profile;
use sim::nat::Kind;
use vc_core::io::{Event, PathPolicy};

/// Both speak and write; everything must arrive.
fn all_flows(world: &mut sim::World) {
    let (heard, delivered) = (world.reference.heard, world.reference.delivered);
    for client in [ADA, BOB] {
        world.say(client);
        world.speak(client, 100);
    }
    world.run(secs(5));
    assert_eq!(world.reference.heard - heard, 200);
    assert_eq!(world.reference.delivered - delivered, 2);
}

#[test]
fn after_forty_seconds_asleep_the_same_room_goes_on() {
    for (seed, sleeper) in [(1, ADA), (2, BOB), (3, ADA), (4, BOB)] {
        for nat in [None, Some(Kind::PORT_RESTRICTED), Some(Kind::SYMMETRIC)] {
            let mut world = room(seed, Profile::clean(30), PathPolicy::Auto, nat, 2);
            world.suspend(sleeper, secs(40));
            world.run(secs(20));
            // Said into the silence: it waits.
            world.say(ADA + BOB - sleeper);
            world.run(secs(20));
            assert!(world.run_till(secs(3), |w| is_live(w, ADA, BOB) && is_live(w, BOB, ADA)));
            world.run(secs(5));
            assert_eq!(world.reference.delivered, 1);
            assert!(world.clients.iter().all(|c| c.events(scene::left) == 0));
            all_flows(&mut world);
            all_is_well(&mut world);
        }
    }
}

#[test]
fn after_five_minutes_asleep_the_same_room_is_found_without_a_new_code() {
    let mut slowest = secs(0);
    for (seed, sleeper) in [(1, ADA), (2, BOB), (3, ADA), (4, BOB), (5, ADA), (6, BOB)] {
        for nat in [None, Some(Kind::PORT_RESTRICTED), Some(Kind::SYMMETRIC)] {
            let mut world = room(seed, Profile::clean(30), PathPolicy::Auto, nat, 2);
            let other = ADA + BOB - sleeper;
            world.suspend(sleeper, secs(300));
            world.run(secs(300));
            assert_eq!(world.clients[other].events(scene::left), 1, "given up after a minute");
            let woke = world.now;
            assert!(world.run_till(secs(20), |w| is_live(w, ADA, BOB) && is_live(w, BOB, ADA)));
            slowest = slowest.max(world.now - woke);
            world.run(secs(15));
            assert!(world.clients[sleeper].events(|e| matches!(e, Event::Signaling { up: true })) > 0);
            all_flows(&mut world);
            all_is_well(&mut world);
        }
    }
    println!("after five minutes asleep: together again within {slowest:?}");
}

#[test]
fn who_talks_in_its_waking_is_heard_within_two_seconds() {
    let mut slowest = secs(0);
    for (seed, sleeper) in [(1, ADA), (2, BOB), (3, ADA), (4, BOB), (5, ADA), (6, BOB)] {
        for nat in [None, Some(Kind::PORT_RESTRICTED), Some(Kind::SYMMETRIC)] {
            let mut world = room(seed, Profile::clean(30), PathPolicy::Auto, nat, 2);
            let other = ADA + BOB - sleeper;
            world.suspend(sleeper, secs(80));
            world.run(secs(75));
            // The microphone is the first to stir.
            world.rouse(sleeper);
            let (woke, since) = (world.now, world.clients.iter().map(|c| c.spoken()).max().unwrap());
            for client in [sleeper, other] {
                world.speak(client, 500);
            }
            let heard = |w: &sim::World, by, to| w.reference.heard_of(to, by, since..u32::MAX) > 0;
            let both = |w: &sim::World| heard(w, ADA, BOB) && heard(w, BOB, ADA);
            assert!(world.run_till(secs(20), both));
            slowest = slowest.max(world.now - woke);
        }
    }
    println!("after 75 s asleep: both heard within {slowest:?}");
    assert!(slowest <= secs(2));
}
