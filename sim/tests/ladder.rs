//! Which path carries, when it changes, and what a change costs.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scene;

use scene::gaps::{cuts, gaps, lines, report};
use scene::{ADA, BOB, SERVER, all_is_well, alone, invite, met_directly, ms, room, secs, two};
use sim::nat::Kind;
use sim::{Profile, World};
use vc_core::io::{PathPolicy, Rung};

/// Both behind routers, the line between them opening only later.
fn begun_by_relay(seed: u64) -> World {
    let mut world = alone(seed, Profile::clean(40), PathPolicy::Auto, None);
    let at = world.net.site(None);
    let (ada, bob) = (world.clients[ADA].site, at.0);
    world.net.cut(ada, bob, world.now + secs(6));
    let code = scene::code(&world);
    world.join(scene::config("bob", PathPolicy::Auto), &code, at, SERVER);
    assert!(world.run_till(secs(4), |w| w.reference.all_met(&[ADA, BOB])));
    world
}

#[test]
fn the_relay_carries_first_and_direct_takes_over_without_a_frame_lost_or_doubled() {
    for seed in 0..20 {
        let mut world = begun_by_relay(seed);
        world.run_till(secs(2), |w| w.clients.iter().all(|c| c.rungs().contains(&Rung::Relay)));
        world.run(ms(300));
        for client in [ADA, BOB] {
            world.speak(client, 50 * 60);
        }
        world.run(secs(62));
        for client in [ADA, BOB] {
            let real: Vec<Rung> =
                world.clients[client].rungs().into_iter().filter(|r| *r != Rung::Mail).collect();
            assert_eq!(real, [Rung::Relay, Rung::Direct], "seed {seed}");
        }
        assert_eq!(world.reference.heard, 2 * 50 * 60, "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn a_direct_path_that_grows_long_is_left_for_the_relay_and_taken_again_without_a_frame_lost_or_doubled() {
    for seed in 0..20 {
        let mut world = two(seed, Profile::clean(25), PathPolicy::Auto);
        let (ada, bob) = (world.clients[ADA].site, world.clients[BOB].site);
        for client in [ADA, BOB] {
            world.speak(client, 50 * 60);
        }
        world.run(secs(10));
        world.net.line(ada, bob, Profile::clean(250));
        world.run(secs(25));
        world.net.line(ada, bob, Profile::clean(25));
        world.run(secs(27));
        for client in [ADA, BOB] {
            let mut rungs = world.clients[client].rungs();
            // By which the two met.
            let first = rungs.iter().position(|rung| *rung == Rung::Direct).unwrap();
            rungs.drain(..first);
            assert_eq!(rungs, [Rung::Direct, Rung::Relay, Rung::Direct], "seed {seed}");
        }
        assert_eq!(world.reference.heard, 2 * 50 * 60, "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn friends_behind_port_restricted_routers_meet_directly() {
    let world = room(1, Profile::clean(25), PathPolicy::Auto, Some(Kind::PORT_RESTRICTED), 2);
    for client in &world.clients {
        assert_eq!(client.rungs().last(), Some(&Rung::Direct));
    }
}

#[test]
fn friends_behind_symmetric_routers_talk_by_the_relay() {
    let mut world = room(1, Profile::clean(25), PathPolicy::Auto, Some(Kind::SYMMETRIC), 2);
    world.speak(ADA, 500);
    world.run(secs(12));
    assert_eq!(world.reference.heard, 500);
    assert_eq!(world.clients[BOB].rungs().last(), Some(&Rung::Relay));
    all_is_well(&mut world);
}

/// What each relay has carried, in packets.
fn carried(world: &World) -> [u64; 3] {
    [0, 1, 2].map(|n| world.servers[n].relay.as_ref().unwrap().counters().forwarded)
}

#[test]
fn of_three_relays_the_nearest_carries_also_when_another_one_becomes_that() {
    for nearest in 0..3 {
        let mut world = World::new(nearest as u64, Profile::clean(20));
        let server = world.server_with(2);
        let places = [(); 2].map(|()| world.net.site(Some(Kind::SYMMETRIC)));
        let lines = |world: &mut World, nearest: usize| {
            for (n, delay) in [20, 60, 120].into_iter().enumerate() {
                let relay = world.servers[(nearest + n) % 3].site;
                places.iter().for_each(|(site, _)| world.net.line(*site, relay, Profile::clean(delay)));
            }
        };
        lines(&mut world, nearest);
        world.create(scene::config("ada", PathPolicy::Auto), places[0], server);
        assert!(world.run_till(secs(10), |w| w.clients[ADA].codes.is_some()));
        world.run(secs(1));
        let code = scene::code(&world);
        world.join(scene::config("bob", PathPolicy::Auto), &code, places[1], server);
        assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, BOB])));
        for client in [ADA, BOB] {
            world.speak(client, 50 * 70);
        }
        for (nearest, settled) in [(nearest, secs(10)), (nearest + 1, secs(40))] {
            lines(&mut world, nearest);
            world.run(settled);
            let before = carried(&world);
            world.run(secs(10));
            let after = carried(&world);
            let grown = [0, 1, 2].map(|n| after[(nearest + n) % 3] - before[(nearest + n) % 3]);
            println!("packets by the nearest, the next and the farthest relay: {grown:?}");
            assert!(grown[0] >= 2 * 500, "{nearest}: {grown:?}");
            // A probe and its answer, each way, every two seconds.
            assert!(grown[1..].iter().all(|probes| *probes <= 30), "{nearest}: {grown:?}");
        }
        all_is_well(&mut world);
    }
}

#[test]
fn relay_only_members_tell_no_address_and_never_meet_directly() {
    let mut world = alone(1, Profile::clean(25), PathPolicy::Relay, None);
    world.tap = Some(Vec::new());
    invite(&mut world, "bob", PathPolicy::Relay, None);
    assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, BOB])));
    world.run(secs(2));
    world.speak(ADA, 250);
    world.say(BOB);
    world.run(secs(60));
    assert_eq!((world.reference.heard, world.reference.delivered), (250, 1));
    assert!(!met_directly(&world, ADA, BOB));
    assert!(world.clients.iter().all(|c| c.rungs() == [Rung::Relay]));
    all_is_well(&mut world);
}

#[test]
fn one_relay_only_member_is_never_reached_directly_by_an_open_one() {
    for (ada, bob) in [(PathPolicy::Auto, PathPolicy::Relay), (PathPolicy::Relay, PathPolicy::Auto)] {
        let mut world = alone(1, Profile::clean(25), ada, None);
        world.tap = Some(Vec::new());
        invite(&mut world, "bob", bob, None);
        assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, BOB])));
        world.speak(ADA, 100);
        world.run(secs(60));
        let open = if ada == PathPolicy::Auto { ADA } else { BOB };
        let closed = ADA + BOB - open;
        let (from, to) = (world.clients[open].addr, world.clients[closed].addr);
        let touched = world.tap.as_ref().unwrap().iter().any(|tapped| {
            matches!(tapped.wire, sim::world::Wired::Datagram { from: f, to: t } if f == from && t == to)
        });
        assert!(!touched, "its address left it");
        assert!(!met_directly(&world, ADA, BOB));
        all_is_well(&mut world);
    }
}

#[test]
fn direct_only_members_use_no_relay_and_no_mail() {
    let mut world = two(1, Profile::clean(25), PathPolicy::Direct);
    world.speak(ADA, 250);
    world.say(BOB);
    world.run(secs(60));
    assert!(world.clients.iter().all(|c| c.rungs() == [Rung::Direct]));
    assert_eq!(world.servers[SERVER].relay.as_ref().unwrap().counters().forwarded, 0);
    assert_eq!((world.reference.heard, world.reference.delivered), (250, 1));
    all_is_well(&mut world);
}

#[test]
fn voice_is_back_two_seconds_after_the_direct_path_dies_in_silence() {
    let mut all = Vec::new();
    for seed in 0..cuts().max(100) {
        let mut world = two(seed, lines(seed), PathPolicy::Auto);
        all.extend(gaps(&mut world, (ADA, BOB), |w| {
            let (ada, bob) = (w.clients[ADA].site, w.clients[BOB].site);
            w.net.cut(ada, bob, w.now + secs(600));
        }));
        all_is_well(&mut world);
    }
    assert!(all.iter().all(|gap| *gap <= secs(3)), "{:?}", all.iter().max());
    report("direct cut, relay alive", all, secs(2));
}

#[test]
fn a_dead_relay_under_a_direct_call_costs_no_frame() {
    for seed in 0..10 {
        let mut world = two(seed, lines(seed), PathPolicy::Auto);
        assert_eq!(gaps(&mut world, (ADA, BOB), |w| w.stop_relay(SERVER)), [ms(20); 2]);
        all_is_well(&mut world);
    }
}

#[test]
fn a_relay_that_restarts_is_back_in_the_call_within_two_seconds() {
    let mut all = Vec::new();
    for seed in 0..cuts().max(50) {
        let mut world = two(seed, lines(seed), PathPolicy::Relay);
        all.extend(gaps(&mut world, (ADA, BOB), |w| {
            w.stop_relay(SERVER);
            w.start_relay(SERVER);
        }));
        all_is_well(&mut world);
    }
    assert!(all.iter().all(|gap| *gap <= secs(2)), "{:?}", all.iter().max());
    report("relay restarted", all, secs(2));
}

#[test]
fn ten_minutes_without_signaling_cost_no_frame_and_the_code_still_lets_in() {
    let mut world = two(1, Profile::clean(25), PathPolicy::Auto);
    let code = scene::code(&world);
    world.speak(ADA, 50 * 640);
    world.run(secs(5));
    world.stop_signaling(SERVER);
    world.run(secs(600));
    world.start_signaling(SERVER);
    let back = world.now;
    // A friend who tries every second, as friends do.
    let joined = (0..10).find_map(|_| {
        let at = world.net.site(None);
        let eve = world.join(scene::config("eve", PathPolicy::Auto), &code, at, SERVER);
        let met = world.run_till(secs(1), |w| w.reference.all_met(&[ADA, BOB, eve]));
        met.then_some(world.now)
    });
    let joined = joined.unwrap_or_else(|| panic!("not in after {:?}", world.now - back));
    println!("signaling back after ten minutes: a newcomer is in after {:?}", joined - back);
    assert!(joined - back <= secs(10));
    world.run(secs(40));
    assert_eq!(world.reference.heard_of(BOB, ADA, 0..u32::MAX), 50 * 640);
    assert!(world.clients[..2].iter().all(|c| c.events(scene::left) == 0));
    all_is_well(&mut world);
}
