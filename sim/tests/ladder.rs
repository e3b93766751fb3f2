//! Which path carries, when it changes, and what a change costs.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scene;

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

/// How long after each cut the next frame was heard, in frames of 20 ms.
fn gaps(seeds: std::ops::Range<u64>, cut: impl Fn(&mut World)) -> Vec<u32> {
    let mut gaps = Vec::new();
    for seed in seeds {
        let mut world =
            two(seed, Profile { jitter: ms(5), ..Profile::clean(20 + seed % 40) }, PathPolicy::Auto);
        for client in [ADA, BOB] {
            world.speak(client, 50 * 20);
        }
        let moment = world.dice.within(secs(5), secs(8));
        world.run(moment);
        let clock = world.clients[ADA].spoken();
        cut(&mut world);
        world.run(secs(15));
        for (by, to) in [(ADA, BOB), (BOB, ADA)] {
            let (before, _) = world.reference.heard_around(to, by, clock);
            let mut last = before.unwrap();
            let mut longest = 0;
            while let (_, Some(next)) = world.reference.heard_around(to, by, last + 1) {
                longest = longest.max(next - last);
                last = next;
            }
            assert!(last > clock + 500, "seed {seed}: voice never came back");
            gaps.push(longest);
        }
        all_is_well(&mut world);
    }
    gaps.sort_unstable();
    gaps
}

#[test]
fn voice_is_back_two_seconds_after_the_direct_path_dies_in_silence() {
    let gaps = gaps(0..100, |world| {
        let (ada, bob) = (world.clients[ADA].site, world.clients[BOB].site);
        world.net.cut(ada, bob, world.now + secs(600));
    });
    let (p50, p95, max) =
        (gaps[gaps.len() / 2] * 20, gaps[gaps.len() * 95 / 100] * 20, gaps[gaps.len() - 1] * 20);
    println!("silent cut, relay alive: voice back after p50 {p50} ms, p95 {p95} ms, at most {max} ms");
    assert!(p95 <= 2_000 && max <= 3_000, "p95 {p95} ms, max {max} ms");
}

#[test]
fn a_dead_relay_under_a_direct_call_costs_no_frame() {
    let gaps = gaps(0..10, |world| world.stop_relay(SERVER));
    assert_eq!(gaps.last(), Some(&1));
}

#[test]
fn a_relay_that_restarts_is_back_in_the_call_within_two_seconds() {
    let mut worst = 0;
    for seed in 0..50 {
        let mut world = two(seed, Profile::clean(25), PathPolicy::Relay);
        for client in [ADA, BOB] {
            world.speak(client, 50 * 20);
        }
        let moment = world.dice.within(secs(5), secs(8));
        world.run(moment);
        world.stop_relay(SERVER);
        world.start_relay(SERVER);
        let clock = world.clients[ADA].spoken();
        world.run(secs(15));
        for (by, to) in [(ADA, BOB), (BOB, ADA)] {
            let (before, after) = world.reference.heard_around(to, by, clock + 5);
            worst = worst.max(after.unwrap() - before.unwrap());
        }
        all_is_well(&mut world);
    }
    println!("relay restarted: voice back after at most {} ms", worst * 20);
    assert!(worst * 20 <= 2_000);
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
