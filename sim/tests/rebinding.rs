//! Routers forget, and providers give other addresses: who met before meets again, wherever it is seen now.
#![allow(clippy::unwrap_used)]

mod scene;

use std::net::SocketAddr;

use scene::{ADA, BOB, EVE, SERVER, all_is_well, alone, code, config, invite, secs};
use sim::nat::Kind;
use sim::net::SiteId;
use sim::{Profile, World};
use vc_core::io::{PathPolicy, Rung};

/// Ada behind a router that shows each of us another port, Bob behind a usual one; they met by prediction or spray.
fn met(seed: u64, ada: Kind) -> World {
    let mut world = alone(seed, Profile::clean(20), PathPolicy::Auto, Some(ada));
    invite(&mut world, "bob", PathPolicy::Auto, Some(Kind::PORT_RESTRICTED));
    assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, BOB])), "seed {seed}");
    talk(&mut world, 20);
    assert!(is_direct(&world, ADA, BOB), "seed {seed}: never met");
    world
}

fn talk(world: &mut World, seconds: u64) {
    for client in 0..world.clients.len() {
        world.speak(client, 50 * seconds as u32);
    }
    world.run(secs(seconds));
}

fn is_direct(world: &World, a: usize, b: usize) -> bool {
    let rung = |a: usize, b: usize| {
        let id = world.clients[b].me;
        world.clients[a].room.peers().iter().find(|peer| Some(peer.id) == id).and_then(|peer| peer.rung)
    };
    rung(a, b) == Some(Rung::Direct) && rung(b, a) == Some(Rung::Direct)
}

#[test]
fn a_router_that_forgets_and_one_with_another_address_are_met_again_where_they_are_now() {
    let forgets: fn(&mut World, SiteId) = |world, site| world.net.restart_router(site);
    let renumbered: fn(&mut World, SiteId) = |world, site| world.net.renumber(site);
    for kind in [Kind::SYMMETRIC, Kind::SYMMETRIC.sequential(1)] {
        for (what, who, happens) in
            [("forgets", BOB, forgets), ("renumbered", BOB, renumbered), ("renumbered", ADA, renumbered)]
        {
            let again = (0..3).filter(|seed| {
                let mut world = met(*seed, kind);
                // Later than the second try after a first that failed.
                world.run(secs(60));
                let site = world.clients[who].site;
                happens(&mut world, site);
                talk(&mut world, 30);
                all_is_well(&mut world);
                is_direct(&world, ADA, BOB)
            });
            assert_eq!(again.count(), 3, "{kind:?}: {what} {who}");
        }
    }
}

#[test]
fn where_no_server_is_left_friends_tell_each_other_where_they_are_seen() {
    for seed in 0..3 {
        let mut world = alone(seed, Profile::clean(20), PathPolicy::Auto, None);
        for name in ["bob", "eve"] {
            invite(&mut world, name, PathPolicy::Auto, Some(Kind::PORT_RESTRICTED));
        }
        assert!(world.run_till(secs(20), |w| w.reference.all_met(&[ADA, BOB, EVE])));
        talk(&mut world, 5);
        assert!(is_direct(&world, BOB, EVE), "seed {seed}");
        world.stop_signaling(SERVER);
        world.stop_relay(SERVER);
        let nobody: SocketAddr = "192.0.2.1:9".parse().unwrap();
        world.servers[SERVER].echoes.iter_mut().for_each(|(_, addr)| *addr = nobody);
        world.run(secs(60));
        let site = world.clients[BOB].site;
        world.net.restart_router(site);
        talk(&mut world, 45);
        assert!(is_direct(&world, BOB, EVE), "seed {seed}: Ada saw him, and nobody else knows");
        let before = world.reference.heard;
        talk(&mut world, 5);
        assert!(world.reference.heard - before >= 6 * 50 * 5 - 30, "seed {seed}: not heard");
        all_is_well(&mut world);
    }
}

#[test]
fn who_hides_its_address_learns_of_it_from_no_friend_and_tells_none() {
    let mut world = alone(1, Profile::clean(20), PathPolicy::Auto, None);
    world.tap = Some(Vec::new());
    invite(&mut world, "bob", PathPolicy::Relay, Some(Kind::PORT_RESTRICTED));
    let (code, at) = (code(&world), world.net.site(Some(Kind::PORT_RESTRICTED)));
    let eve = world.join(config("eve", PathPolicy::Auto), &code, at, SERVER);
    assert!(world.run_till(secs(20), |w| w.reference.all_met(&[ADA, BOB, eve])));
    talk(&mut world, 20);
    let site = world.clients[BOB].site;
    world.net.restart_router(site);
    talk(&mut world, 60);
    let hidden = world.net.public(site);
    let met = world.tap.as_ref().unwrap().iter().any(|tapped| match tapped.wire {
        sim::world::Wired::Datagram { from, to } => {
            let friends = [world.clients[ADA].addr.ip(), world.net.public(world.clients[eve].site)];
            (from.ip() == hidden && friends.contains(&to.ip()))
                || (to.ip() == hidden && friends.contains(&from.ip()))
        }
        _ => false,
    });
    assert!(!met);
    assert!(world.clients[BOB].rungs().iter().all(|rung| *rung == Rung::Relay));
    all_is_well(&mut world);
}
