//! Nobody ever has to come in again by hand: neither who lost its seat, nor who was forgotten, nor who was never
//! introduced.
#![allow(clippy::unwrap_used)]

mod scene;

use std::cell::RefCell;
use std::rc::Rc;

use scene::forgetful::forget_a_seat;
use scene::{ADA, BOB, EVE, SERVER, all_is_well, invite, is_live, left, room, secs};
use sim::{Profile, World};
use vc_core::Error;
use vc_core::io::{Command, Ended, Event, Input, PathPolicy, Rung};

/// The server loses Bob, and his seat with it.
fn without_a_seat(world: &mut World) -> Rc<RefCell<u32>> {
    let joins = forget_a_seat(world);
    let (there, bob) = (world.servers[SERVER].site, world.clients[BOB].site);
    world.net.cut(there, bob, world.now + secs(100));
    world.run(secs(100));
    joins
}

/// Neither came nor went, as far as anybody saw.
fn nobody_noticed(world: &World, members: usize) {
    for client in &world.clients[..members] {
        assert_eq!(client.events(|e| matches!(e, Event::Joined { .. })), members - 1);
        assert_eq!(client.events(left) + client.events(|e| matches!(e, Event::Reconnecting { .. })), 0);
        assert_eq!(client.events(|e| matches!(e, Event::Entered { .. })), 1);
    }
}

#[test]
fn a_member_whose_seat_is_given_away_gets_another_and_nobody_notices() {
    for (seed, locked) in [(1, false), (2, true)] {
        let mut world = room(seed, Profile::clean(20), PathPolicy::Auto, None, 3);
        if locked {
            world.tell(ADA, Input::Command(Command::Lock(true)));
        }
        let joins = without_a_seat(&mut world);
        world.run(secs(15));
        assert_eq!(*joins.borrow(), 1, "locked: {locked}");
        world.run(secs(30));
        nobody_noticed(&world, 3);
        // The new seat is one: the relay carries to it when nothing else does.
        let (ada, bob) = (world.clients[ADA].site, world.clients[BOB].site);
        world.net.cut(ada, bob, world.now + secs(60));
        world.run(secs(30));
        let rung = |world: &World, of: usize, to: usize| {
            let id = world.clients[to].me;
            world.clients[of].room.peers().into_iter().find(|p| Some(p.id) == id).and_then(|p| p.rung)
        };
        for (of, to) in [(ADA, BOB), (BOB, ADA)] {
            assert!(matches!(rung(&world, of, to), Some(Rung::Relay | Rung::Host(_))));
        }
        assert!(world.clients[BOB].events(left) == 0);
        world.say(ADA);
        world.say(BOB);
        world.run(secs(5));
        assert_eq!(*joins.borrow(), 1);
        all_is_well(&mut world);
    }
}

#[test]
fn who_slept_until_everybody_forgot_it_is_back_without_a_code() {
    let mut world = room(3, Profile::clean(20), PathPolicy::Auto, None, 2);
    world.suspend(BOB, secs(5 * 3600));
    world.run(secs(5 * 3600));
    assert!(world.clients[ADA].room.peers().is_empty());
    assert!(world.run_till(secs(60), |w| is_live(w, BOB, ADA) && is_live(w, ADA, BOB)));
    assert_eq!(world.clients[BOB].events(|e| matches!(e, Event::Entered { .. })), 1);
    for client in [ADA, BOB] {
        world.say(client);
        world.speak(client, 50);
    }
    world.run(secs(5));
    all_is_well(&mut world);
}

#[test]
fn who_was_forgotten_and_comes_back_gets_the_next_line_though_many_were_said_before() {
    for seed in 1..4 {
        let mut world = room(seed, Profile::clean(20), PathPolicy::Auto, None, 2);
        for _ in 0..20 {
            world.say(ADA);
            world.say(BOB);
            world.run(secs(1));
        }
        world.suspend(BOB, secs(5 * 3600));
        world.run(secs(5 * 3600));
        assert!(world.clients[ADA].room.peers().is_empty());
        assert!(world.run_till(secs(60), |w| is_live(w, BOB, ADA) && is_live(w, ADA, BOB)), "seed {seed}");
        for client in [ADA, BOB] {
            world.say(client);
        }
        world.run(secs(5));
        assert_eq!(world.reference.delivered, 21 * 2, "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn a_newcomer_whose_doorkeeper_dies_before_telling_anybody_is_introduced_all_the_same() {
    for seed in 1..6 {
        let mut world = room(seed, Profile::clean(20), PathPolicy::Auto, None, 2);
        let eve = invite(&mut world, "eve", PathPolicy::Auto, None);
        assert!(world.run_till(secs(10), |w| w.clients[eve].me.is_some()));
        world.kill(ADA);
        assert!(world.run_till(secs(20), |w| w.reference.all_met(&[BOB, eve])), "seed {seed}");
        world.run(secs(90));
        assert!(world.clients[eve].ended.is_none() && is_live(&world, BOB, eve));
        world.say(eve);
        world.say(BOB);
        world.run(secs(2));
        all_is_well(&mut world);
    }
}

#[test]
fn signaling_that_is_gone_for_ten_minutes_costs_a_call_nothing_and_its_code_works_again_at_once() {
    let mut world = room(4, Profile::clean(20), PathPolicy::Auto, None, 3);
    let code = world.clients[ADA].code().unwrap();
    let heard = world.reference.heard;
    world.stop_signaling(SERVER);
    for _ in 0..60 {
        for client in [ADA, BOB, EVE] {
            world.speak(client, 100);
            world.say(client);
        }
        world.run(secs(10));
    }
    world.run(secs(1));
    assert_eq!(world.reference.heard - heard, 3 * 2 * 60 * 100);
    assert_eq!(world.reference.delivered, 3 * 2 * 60);
    world.start_signaling(SERVER);
    world.run(secs(10));
    let at = world.net.site(None);
    let carol = world.join(scene::config("carol", PathPolicy::Auto), &code, at, SERVER);
    assert!(world.run_till(secs(3), |w| w.reference.all_met(&[ADA, BOB, EVE, carol])));
    for client in [ADA, BOB, EVE] {
        assert_eq!(world.clients[client].events(|e| matches!(e, Event::Signaling { .. })), 2);
        assert_eq!(world.clients[client].events(|e| matches!(e, Event::Reconnecting { .. })), 0);
    }
    all_is_well(&mut world);
}

#[test]
fn who_comes_back_to_a_locked_room_is_let_in_by_one_that_it_never_met() {
    for seed in 1..4 {
        let mut world = room(seed, Profile::clean(20), PathPolicy::Auto, None, 2);
        world.suspend(BOB, secs(300));
        world.run(secs(100));
        let eve = invite(&mut world, "eve", PathPolicy::Auto, None);
        assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, eve])));
        world.tell(ADA, Input::Command(Command::Lock(true)));
        world.run(secs(1));
        world.tell(ADA, Input::Command(Command::Leave));
        let joins = forget_a_seat(&mut world);
        world.run(secs(190));
        assert!(world.run_till(secs(60), |w| is_live(w, BOB, eve) && is_live(w, eve, BOB)), "seed {seed}");
        assert!((1..=2).contains(&*joins.borrow()), "seed {seed}: by the door");
        // A stranger with the code is not.
        let mallory = invite(&mut world, "mallory", PathPolicy::Auto, None);
        world.run(secs(10));
        assert_eq!(world.clients[mallory].ended, Some(Ended::Failed(Error::Closed)), "seed {seed}");
        world.say(BOB);
        world.say(eve);
        world.run(secs(5));
        all_is_well(&mut world);
    }
}
