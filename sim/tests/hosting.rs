//! A friend that carries for others keeps its places as they are: for those who come late, come back or sit elsewhere,
//! and for nobody else.
#![allow(clippy::unwrap_used)]

mod scene;

use scene::{ADA, BOB, EVE, SERVER, all_is_well, alone, config, invite, ms, secs};
use signaling::ConnId;
use sim::nat::Kind;
use sim::node::{Operator, Turn};
use sim::world::Wired;
use sim::{Profile, World};
use vc_core::io::{Command, Input, PathPolicy, Rung};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{Refusal, ToClient, ToServer};

/// Ada reaches all, the others nobody else, and there is no relay.
fn around_ada(seed: u64, profile: Profile, others: usize) -> World {
    let mut world = alone(seed, profile, PathPolicy::Auto, None);
    world.stop_relay(SERVER);
    for n in 0..others {
        invite(&mut world, &format!("CANARY-guest{n}"), PathPolicy::Auto, Some(Kind::SYMMETRIC));
    }
    let all: Vec<usize> = (0..=others).collect();
    assert!(world.run_till(secs(30), |w| w.reference.all_met(&all)), "seed {seed}: not all met");
    assert!(world.run_till(secs(60), |w| carries(w, others)), "seed {seed}: Ada does not carry");
    world
}

/// Ada carries for every pair of these others.
fn carries(world: &World, others: usize) -> bool {
    (1..=others).all(|a| (1..=others).all(|b| a == b || is_carried(world, a, b)))
}

fn is_carried(world: &World, client: usize, friend: usize) -> bool {
    let id = world.clients[friend].me;
    let peers = world.clients[client].room.peers();
    let rung = peers.iter().find(|peer| Some(peer.id) == id).and_then(|peer| peer.rung);
    rung.is_some() && rung == world.clients[ADA].me.map(Rung::Host)
}

/// All of them talk, and every frame arrives.
fn all_hear(world: &mut World, members: usize) {
    let before = world.reference.heard;
    for client in 0..members {
        world.speak(client, 100);
    }
    world.run(secs(4));
    assert_eq!(world.reference.heard - before, (members * (members - 1) * 100) as u64);
    all_is_well(world);
}

#[test]
fn who_was_away_is_carried_again_as_soon_as_it_is_back() {
    for seed in 0..5 {
        let mut world = around_ada(seed, Profile::clean(20), 3);
        world.suspend(EVE, secs(90));
        world.run(secs(90));
        world.run(secs(20));
        assert!(carries(&world, 3), "seed {seed}: not carried 20 s after its return");
        all_hear(&mut world, 4);
    }
}

#[test]
fn who_comes_by_a_bad_line_while_a_friend_carries_already_is_carried_too() {
    let mut late = Vec::new();
    for seed in 0..20 {
        let mut world = around_ada(seed, Profile::clean(20), 2);
        world.net.heal(Profile { loss: 0.2, ..Profile::clean(20) });
        invite(&mut world, "CANARY-late", PathPolicy::Auto, Some(Kind::SYMMETRIC));
        assert!(world.run_till(secs(60), |w| w.clients[3].me.is_some()), "seed {seed}: not let in");
        if !world.run_till(secs(45), |w| carries(w, 3)) {
            late.push(seed);
        }
    }
    assert!(late.is_empty(), "not carried after 45 s: {late:?}");
}

/// Refuses the next claim, as a server does that gave the seat away.
struct Forgetful {
    refuse: u32,
}

impl Operator for Forgetful {
    fn frame(&mut self, conn: ConnId, bytes: Vec<u8>) -> Vec<Turn> {
        match ToServer::decode(&bytes) {
            Ok(ToServer::Reclaim { .. }) if self.refuse > 0 => {
                self.refuse -= 1;
                vec![Turn::Out(conn, ToClient::Refused(Refusal::BadProof))]
            }
            _ => vec![Turn::In(conn, bytes)],
        }
    }
}

#[test]
fn who_got_another_seat_is_carried_there() {
    let mut world = around_ada(1, Profile::clean(20), 2);
    world.servers[SERVER].operator = Some(Box::new(Forgetful { refuse: 1 }));
    let (there, bob) = (world.servers[SERVER].site, world.clients[BOB].site);
    world.net.cut(there, bob, world.now + secs(100));
    world.run(secs(145));
    // Its place was for the old seat; in another network it has to take one anew.
    let to = world.net.site(Some(Kind::SYMMETRIC));
    world.roam(BOB, to);
    world.tell(BOB, Input::LocalAddrs(&[to.1]));
    // In a quiet call, the path to where he was is left after 25 s.
    world.run(secs(30));
    assert!(carries(&world, 2), "not carried in its new seat");
    all_hear(&mut world, 3);
}

#[test]
fn nothing_is_carried_from_or_to_one_who_left() {
    for seed in 0..5 {
        let mut world = around_ada(seed, Profile::clean(20), 2);
        world.tap = Some(Vec::new());
        world.speak(EVE, 50);
        world.run(secs(2));
        let ada = world.clients[ADA].addr;
        let outside = world.net.public(world.clients[EVE].site);
        let sent = world.tap.take().unwrap().into_iter();
        let (from, up) = sent
            .filter_map(|t| match t.wire {
                Wired::Datagram { from, to } if from.ip() == outside && to == ada => Some((from, t.bytes)),
                _ => None,
            })
            .rfind(|(_, bytes)| bytes[0] == UP)
            .unwrap();
        world.tell(EVE, Input::Command(Command::Leave));
        world.run(secs(2));
        world.tap = Some(Vec::new());
        let strangers = world.clients[ADA].room.counters().unknown;
        world.inject(from, ADA, up);
        // Whoever comes next has her seat.
        let (code, at) = (scene::code(&world), world.net.site(Some(Kind::SYMMETRIC)));
        let zoe = world.join(config("CANARY-zoe", PathPolicy::Auto), &code, at, SERVER);
        assert!(world.run_till(secs(20), |w| w.reference.all_met(&[ADA, BOB, zoe])));
        world.run(ms(500));
        assert!(world.clients[ADA].room.counters().unknown > strangers);
        let to_her = |wire| matches!(wire, Wired::Datagram { to, .. } if to.ip() == outside);
        let after = world.tap.take().unwrap().into_iter().filter(|t| to_her(t.wire) && t.bytes[0] == DOWN);
        assert_eq!(after.count(), 0, "seed {seed}: what is for Zoe goes to Eve");
        all_is_well(&mut world);
    }
}

/// First bytes of a packet to and from a forwarder (docs/PROTOCOL.md, "Relay").
const UP: u8 = 0xE5;
const DOWN: u8 = 0xE6;
