//! A router opens a port for us in the midst of a call, gives another one, and closes it again.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scene;

use scene::gaps::{cuts, gaps, lines, report};
use scene::{ADA, BOB, EVE, all_is_well, alone, invite, secs};
use sim::World;
use sim::nat::Kind;
use vc_core::io::{Input, PathPolicy, Rung};

/// Behind routers through which no search for a port leads; so many friends with Ada.
fn walled_in(seed: u64, friends: usize) -> World {
    let mut world = alone(seed, lines(seed), PathPolicy::Auto, Some(Kind::SYMMETRIC));
    for n in 0..friends {
        invite(&mut world, &format!("CANARY-guest{n}"), PathPolicy::Auto, Some(Kind::SYMMETRIC));
    }
    let all: Vec<usize> = (0..=friends).collect();
    assert!(world.run_till(secs(20), |w| w.reference.all_met(&all)), "seed {seed}");
    world.run(secs(20));
    assert_eq!(rungs(&world, ADA, BOB), [Some(Rung::Relay); 2], "seed {seed}");
    world
}

/// By what the one is carried to the other, and back.
fn rungs(world: &World, a: usize, b: usize) -> [Option<Rung>; 2] {
    [(a, b), (b, a)].map(|(from, to)| {
        let id = world.clients[to].me;
        world.clients[from].room.peers().iter().find(|peer| Some(peer.id) == id).and_then(|peer| peer.rung)
    })
}

fn is_direct(world: &World, a: usize, b: usize) -> bool {
    rungs(world, a, b) == [Some(Rung::Direct); 2]
}

/// Ada's router opens a port, or another than before, and her program learns of it.
fn granted(world: &mut World) {
    let at = (world.clients[ADA].site, world.clients[ADA].addr);
    let outside = world.net.grant_port(at).unwrap();
    world.tell(ADA, Input::Mapped(&[outside]));
}

/// The port is closed. The program may learn of it, or not before it asks again.
fn closed(world: &mut World, told: bool) {
    let at = (world.clients[ADA].site, world.clients[ADA].addr);
    world.net.revoke_port(at);
    if told {
        world.tell(ADA, Input::Mapped(&[]));
    }
}

#[test]
fn a_port_that_a_router_opens_late_is_used_and_another_after_that_while_all_is_heard() {
    for seed in 0..5 {
        let mut world = walled_in(seed, 1);
        for another in [false, true] {
            let heard = world.reference.heard;
            for client in [ADA, BOB] {
                world.speak(client, 50 * 10);
                world.say(client);
            }
            granted(&mut world);
            let met = another || world.run_till(secs(8), |w| is_direct(w, ADA, BOB));
            assert!(met, "seed {seed}: {:?}", rungs(&world, ADA, BOB));
            world.run(secs(12));
            assert!(is_direct(&world, ADA, BOB), "seed {seed}: {:?}", rungs(&world, ADA, BOB));
            // Nothing breaks where there was none before.
            assert!(another || world.reference.heard - heard == 2 * 500, "seed {seed}");
        }
        all_is_well(&mut world);
    }
}

#[test]
fn a_call_by_a_port_that_changes_or_is_closed_goes_on_and_comes_back_to_another_rung() {
    type Change = fn(&mut World);
    let changes: [(&str, Change, Rung); 4] = [
        ("another port", granted, Rung::Direct),
        ("closed, and told", |world| closed(world, true), Rung::Relay),
        ("closed, and not told", |world| closed(world, false), Rung::Relay),
        (
            "router with another address, and a port again",
            |world| {
                let site = world.clients[ADA].site;
                world.net.renumber(site);
                granted(world);
            },
            Rung::Direct,
        ),
    ];
    for (what, change, rung) in changes {
        let mut all = Vec::new();
        for seed in 0..cuts() {
            let mut world = walled_in(seed, 1);
            granted(&mut world);
            world.run(secs(15));
            assert!(is_direct(&world, ADA, BOB), "seed {seed}");
            all.extend(gaps(&mut world, (ADA, BOB), change));
            assert_eq!(rungs(&world, ADA, BOB), [Some(rung); 2], "{what}, seed {seed}");
            world.say(ADA);
            world.say(BOB);
            world.run(secs(3));
            all_is_well(&mut world);
        }
        report(what, all, secs(2));
    }
}

#[test]
fn who_has_a_port_opened_carries_friends_who_cannot_meet_until_it_is_closed() {
    let mut world = walled_in(1, 2);
    assert_eq!(rungs(&world, BOB, EVE), [Some(Rung::Relay); 2]);
    granted(&mut world);
    let host = world.clients[ADA].me.map(Rung::Host);
    assert!(world.run_till(secs(60), |w| rungs(w, BOB, EVE) == [host; 2]), "{:?}", rungs(&world, BOB, EVE));
    closed(&mut world, true);
    assert!(world.run_till(secs(60), |w| rungs(w, BOB, EVE) == [Some(Rung::Relay); 2]));
    for client in [BOB, EVE] {
        world.speak(client, 100);
    }
    let heard = world.reference.heard;
    world.run(secs(5));
    assert_eq!(world.reference.heard - heard, 4 * 100);
    all_is_well(&mut world);
}

#[test]
fn a_port_that_is_named_and_leads_nowhere_changes_nothing() {
    let mut world = walled_in(1, 1);
    let outside = std::net::SocketAddr::new(world.net.public(world.clients[ADA].site), 50_000);
    world.tell(ADA, Input::Mapped(&[outside]));
    for client in [ADA, BOB] {
        world.speak(client, 50 * 20);
    }
    world.run(secs(22));
    assert_eq!(rungs(&world, ADA, BOB), [Some(Rung::Relay); 2]);
    assert_eq!(world.reference.heard, 2 * 50 * 20);
    all_is_well(&mut world);
}
