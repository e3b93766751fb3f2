//! Friends in a room, quickly.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout)]

pub(crate) mod forgetful;
pub(crate) mod gaps;
pub(crate) mod spoiler;

use std::time::Duration;

use sim::nat::Kind;
use sim::world::Wired;
use sim::{Profile, World};
use vc_core::io::{Config, Event, PathPolicy, PeerState};
use vc_core::room::code::Code;

pub(crate) const ADA: usize = 0;
pub(crate) const BOB: usize = 1;
pub(crate) const EVE: usize = 2;
pub(crate) const SERVER: usize = 0;

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn config(name: &str, paths: PathPolicy) -> Config {
    Config { name: name.into(), paths, forward: true }
}

/// Ada's room on a fresh server; nobody else yet.
pub(crate) fn alone(seed: u64, profile: Profile, paths: PathPolicy, nat: Option<Kind>) -> World {
    let mut world = World::new(seed, profile);
    let server = world.server();
    let at = world.net.site(nat);
    world.create(config("CANARY-ada", paths), at, server);
    assert!(world.run_till(secs(10), |w| w.clients[ADA].codes.is_some()), "no room");
    // The link's code comes a moment later.
    world.run(secs(1));
    world
}

pub(crate) fn code(world: &World) -> Code {
    world.clients[ADA].code().unwrap()
}

/// One more friend; not there yet.
pub(crate) fn invite(world: &mut World, name: &str, paths: PathPolicy, nat: Option<Kind>) -> usize {
    let (code, at) = (code(world), world.net.site(nat));
    world.join(config(name, paths), &code, at, SERVER)
}

/// So many members, all acquainted, two seconds later.
pub(crate) fn room(
    seed: u64,
    profile: Profile,
    paths: PathPolicy,
    nat: Option<Kind>,
    members: usize,
) -> World {
    let mut world = alone(seed, profile, paths, nat);
    for n in 1..members {
        invite(&mut world, &format!("CANARY-guest{n}"), paths, nat);
    }
    let all: Vec<usize> = (0..members).collect();
    assert!(world.run_till(secs(20), |w| w.reference.all_met(&all)), "not all met");
    world.run(secs(2));
    world
}

pub(crate) fn two(seed: u64, profile: Profile, paths: PathPolicy) -> World {
    room(seed, profile, paths, None, 2)
}

/// Nothing is owed and nothing went wrong.
pub(crate) fn all_is_well(world: &mut World) {
    let present = world.present();
    world.reference.settled(&present);
    assert!(world.reference.faults.is_empty(), "{:?}", world.reference.faults);
}

pub(crate) fn is_live(world: &World, client: usize, friend: usize) -> bool {
    let id = world.clients[friend].me;
    let peers = world.clients[client].room.peers();
    peers.iter().any(|peer| Some(peer.id) == id && peer.state == PeerState::Live)
}

pub(crate) fn left(event: &Event) -> bool {
    matches!(event, Event::Left { .. })
}

/// Does any datagram go from the one member's address to the other's?
pub(crate) fn met_directly(world: &World, a: usize, b: usize) -> bool {
    let (a, b) = (world.clients[a].addr.ip(), world.clients[b].addr.ip());
    world.tap.as_ref().unwrap().iter().any(|tapped| match tapped.wire {
        Wired::Datagram { from, to } => (from.ip() == a && to.ip() == b) || (from.ip() == b && to.ip() == a),
        Wired::Signal { .. } | Wired::Relayed { .. } => false,
    })
}
