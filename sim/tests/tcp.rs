//! Where UDP is blocked: how soon friends hear each other by TCP, and how soon they notice that a connection is gone.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scene;

use std::time::Duration;

use scene::{ADA, BOB, SERVER, all_is_well, alone, code, config, ms, secs};
use sim::nat::Kind;
use sim::{Profile, World};
use vc_core::io::PathPolicy;

#[test]
fn who_has_no_udp_is_heard_within_a_second_and_a_half() {
    let mut times = Vec::new();
    for seed in 0..100 {
        let line = Profile { jitter: ms(5), ..Profile::clean(25) };
        let mut world = alone(seed, line, PathPolicy::Auto, Some(Kind::PORT_RESTRICTED));
        world.run(secs(8));
        let moment = world.dice.within(Duration::ZERO, secs(5));
        world.run(moment);
        let at = world.net.site(Some(Kind::PORT_RESTRICTED));
        world.net.block_udp(at.0, world.now + secs(600));
        let code = code(&world);
        let began = world.now;
        let bob = world.join(config("CANARY-bob", PathPolicy::Auto), &code, at, SERVER);
        world.speak(bob, 50 * 20);
        world.speak(ADA, 50 * 20);
        let both = |w: &World| {
            w.reference.heard_of(ADA, bob, 0..u32::MAX) > 0 && w.reference.heard_of(bob, ADA, 0..u32::MAX) > 0
        };
        assert!(world.run_till(secs(20), both), "seed {seed}");
        times.push(world.now - began);
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("both heard by TCP after p50 {:?}, p95 {:?}, at most {:?}", at(50), at(95), at(100));
    assert!(at(95) <= ms(1_500));
}

#[test]
fn a_connection_that_ends_is_left_at_once_for_another_relay() {
    for seed in 0..10 {
        let mut world = World::new(seed, Profile::clean(20));
        let server = world.server_with(2);
        let places = [0, 1].map(|_| world.net.site(Some(Kind::SYMMETRIC)));
        for (site, _) in places {
            world.net.block_udp(site, world.now + secs(36_000));
        }
        world.create(config("CANARY-ada", PathPolicy::Auto), places[0], server);
        assert!(world.run_till(secs(10), |w| w.clients[ADA].codes.is_some()));
        world.run(secs(1));
        let code = code(&world);
        world.join(config("CANARY-bob", PathPolicy::Auto), &code, places[1], server);
        assert!(world.run_till(secs(20), |w| w.reference.all_met(&[ADA, BOB])));
        world.run(secs(10));
        for client in [ADA, BOB] {
            world.speak(client, 50 * 20);
        }
        world.run(secs(8));
        let carried = |w: &World, n: usize| w.servers[n].relay.as_ref().map(|r| r.counters().forwarded_bytes);
        let busiest = (0..3).max_by_key(|n| carried(&world, *n)).unwrap();
        let clock = world.clients[ADA].spoken();
        world.stop_relay(busiest);
        world.run(secs(6));
        for (by, to) in [(ADA, BOB), (BOB, ADA)] {
            let heard = world.reference.heard_of(to, by, clock..clock + 150);
            assert!(heard >= 150 - 20, "seed {seed}: {by} to {to}, {heard} of 150 frames");
        }
        world.run(secs(10));
        all_is_well(&mut world);
    }
}
