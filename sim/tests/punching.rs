//! Which pairs of NATs meet directly: what the model says, and nothing else.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scene;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use scene::{ADA, BOB, SERVER, all_is_well, config, ms, secs};
use sim::nat::Dependence::{Address, AddressAndPort, Endpoint};
use sim::nat::Kind;
use sim::net::SiteId;
use sim::reach::{Way, in_a_row, way};
use sim::world::{Tapped, Wired};
use sim::{Profile, World};
use vc_core::io::{Event, PathPolicy, Rung};
use vc_core::protocol::member::MAX_CANDIDATES;

/// Ada and Bob at these places, talking for so long.
fn talk(world: World, places: [(SiteId, SocketAddr); 2], seconds: u64) -> World {
    let mut world = met(world, places, |_| {});
    for client in [ADA, BOB] {
        world.speak(client, 50 * seconds as u32);
    }
    world.run(secs(seconds) + ms(500));
    world
}

/// Ada and Bob at these places, just acquainted; something happens before Bob comes.
fn met(mut world: World, places: [(SiteId, SocketAddr); 2], happens: impl Fn(&mut World)) -> World {
    let server = world.server();
    world.create(config("CANARY-ada", PathPolicy::Auto), places[0], server);
    assert!(world.run_till(secs(10), |w| w.clients[ADA].codes.is_some()), "no room");
    world.run(secs(1));
    happens(&mut world);
    let code = scene::code(&world);
    world.join(config("bob", PathPolicy::Auto), &code, places[1], SERVER);
    assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, BOB])));
    world
}

fn pair(seed: u64, a: Option<Kind>, b: Option<Kind>) -> World {
    let mut world = World::new(seed, Profile::clean(20));
    let places = [world.net.site(a), world.net.site(b)];
    talk(world, places, 14)
}

fn is_direct(world: &World) -> bool {
    let last: Vec<_> = [ADA, BOB].iter().map(|n| world.clients[*n].rungs().last().copied()).collect();
    assert!(last[0] == last[1], "{last:?}");
    last[0] == Some(Rung::Direct)
}

#[test]
fn every_pair_of_nats_reaches_what_the_model_says_and_talks_all_the_while() {
    for (n, (name_a, a)) in Kind::ALL.iter().enumerate() {
        for (name_b, b) in &Kind::ALL[n..] {
            let mut world = pair(n as u64, *a, *b);
            let expected = way(*a, *b);
            assert_eq!(is_direct(&world), expected != Way::Never, "{name_a} and {name_b}: {expected:?}");
            let heard = world.reference.heard;
            assert!(heard >= 2 * 50 * 14 - 20, "{name_a} and {name_b}: only {heard} frames");
            all_is_well(&mut world);
        }
    }
}

/// Each packet comes from another port than the one before was sent to, and all are let in.
#[test]
fn two_routers_that_map_by_destination_and_let_everybody_in_carry_a_quiet_call_for_long() {
    for seed in 0..4 {
        let mut world = World::new(seed, Profile::clean(60));
        let places = [0, 1].map(|_| world.net.site(Some(Kind::new(AddressAndPort, Endpoint))));
        let mut world = met(world, places, |_| {});
        world.run(secs(10));
        for minute in 0..8 {
            let before = world.reference.heard;
            [ADA, BOB].iter().for_each(|n| world.say(*n));
            [ADA, BOB].iter().for_each(|n| world.speak(*n, 50));
            world.run(secs(5));
            assert_eq!(world.reference.heard - before, 100, "seed {seed}, minute {minute}");
            assert!(is_direct(&world), "seed {seed}, minute {minute}");
            all_is_well(&mut world);
            world.run(secs(55));
        }
        let most = world.clients.iter().map(|client| client.load.most_sent).max().unwrap();
        assert!(most <= 200, "seed {seed}: {most} packets in a second");
    }
}

#[test]
fn two_routers_in_a_row_behave_as_the_stricter_of_both() {
    let homes = [Kind::PORT_RESTRICTED, Kind::SYMMETRIC];
    let carriers = [Kind::new(Endpoint, Endpoint), Kind::PORT_RESTRICTED, Kind::SYMMETRIC.sequential(1)];
    let friends =
        [None, Some(Kind::new(Endpoint, Address)), Some(Kind::PORT_RESTRICTED), Some(Kind::SYMMETRIC)];
    for home in homes {
        for carrier in carriers {
            for friend in friends {
                let mut world = World::new(3, Profile::clean(20));
                let provider = world.net.carrier(carrier);
                let places = [world.net.customer(home, provider), world.net.site(friend)];
                let mut world = talk(world, places, 14);
                let expected = way(Some(in_a_row(home, carrier)), friend);
                assert_eq!(is_direct(&world), expected != Way::Never, "{home:?} {carrier:?} {friend:?}");
                all_is_well(&mut world);
            }
        }
    }
}

#[test]
fn customers_of_one_carrier_meet_only_if_it_lets_them() {
    for (carrier, direct) in [(Kind::PORT_RESTRICTED, false), (Kind::PORT_RESTRICTED.hairpin(), true)] {
        let mut world = World::new(1, Profile::clean(20));
        let provider = world.net.carrier(carrier);
        let places = [0, 1].map(|_| world.net.customer(Kind::PORT_RESTRICTED, provider));
        let mut world = talk(world, places, 8);
        assert_eq!(is_direct(&world), direct);
        all_is_well(&mut world);
    }
}

#[test]
fn two_in_one_house_find_the_path_inside_with_hairpin_and_without() {
    for kind in [Kind::PORT_RESTRICTED, Kind::PORT_RESTRICTED.hairpin(), Kind::SYMMETRIC.hairpin()] {
        let mut world = World::new(1, Profile::clean(20));
        let ada = world.net.site(Some(kind));
        let bob = (ada.0, world.net.housemate(ada.0));
        let mut world = talk(world, [ada, bob], 5);
        assert!(is_direct(&world));
        let rtt = world.clients[ADA].room.peers()[0].rtt.unwrap();
        assert!(rtt < ms(10), "{kind:?}: {rtt:?}, not by the inside");
        all_is_well(&mut world);
    }
}

/// Datagrams between the two houses, so far.
fn between(world: &World) -> usize {
    let public = [ADA, BOB].map(|n| world.net.public(world.clients[n].site));
    let tap = world.tap.as_ref().unwrap();
    let passes = |from: SocketAddr, to: SocketAddr| {
        public.contains(&to.ip()) && (public.contains(&from.ip()) || from.ip().to_string().starts_with("10."))
    };
    let datagram = |wire| matches!(wire, Wired::Datagram { from, to } if passes(from, to));
    tap.iter().filter(|tapped| datagram(tapped.wire)).count()
}

/// Somebody opens ports beside its first.
fn opens(world: &World) -> bool {
    world.clients.iter().any(|client| !client.spares.is_empty())
}

/// At how many ports of Ada's house Bob knocked.
fn knocked(world: &World) -> usize {
    let [ada, bob] = [ADA, BOB].map(|n| world.net.public(world.clients[n].site));
    let port = |tapped: &Tapped| match tapped.wire {
        Wired::Datagram { from, to } if from.ip() == bob && to.ip() == ada => Some(to.port()),
        _ => None,
    };
    world.tap.as_ref().unwrap().iter().filter_map(port).collect::<BTreeSet<_>>().len()
}

fn tapped(seed: u64, a: Option<Kind>, b: Option<Kind>) -> (World, [(SiteId, SocketAddr); 2]) {
    let mut world = World::new(seed, Profile::clean(20));
    world.tap = Some(Vec::new());
    let places = [world.net.site(a), world.net.site(b)];
    (world, places)
}

#[test]
fn ports_are_opened_only_after_the_plain_way_had_its_time_under_a_relay() {
    for (ada, patience) in [(Kind::SYMMETRIC.sequential(1), ms(1_500)), (Kind::SYMMETRIC, ms(2_500))] {
        for seed in 0..5 {
            let (world, places) = tapped(seed, Some(ada), Some(Kind::PORT_RESTRICTED));
            let mut world = met(world, places, |_| {});
            assert!(world.run_till(secs(10), opens), "{ada:?}");
            let relayed = |event: &Event| matches!(event, Event::Moved { rung: Rung::Relay, .. });
            let waited = world.now - world.clients[ADA].first(relayed).unwrap();
            assert!(waited >= patience, "{ada:?}: after {waited:?}");
            let plain = knocked(&world);
            assert!(plain <= MAX_CANDIDATES, "{ada:?}: {plain} ports before");
            world.run(secs(5));
            assert!(is_direct(&world) && knocked(&world) > plain);
            all_is_well(&mut world);
        }
    }
}

#[test]
fn no_port_is_opened_where_the_plain_way_leads_there() {
    let address = Kind::new(Endpoint, Address);
    for (ada, bob) in [
        (Some(Kind::SYMMETRIC), None),
        (Some(Kind::SYMMETRIC.sequential(1)), None),
        (Some(Kind::SYMMETRIC.sequential(1)), Some(address)),
        (Some(Kind::PORT_RESTRICTED), Some(Kind::PORT_RESTRICTED)),
    ] {
        let (world, places) = tapped(1, ada, bob);
        let mut world = met(world, places, |_| {});
        assert!(!world.run_till(secs(60), opens), "{ada:?} and {bob:?}");
        assert!(is_direct(&world) && knocked(&world) <= MAX_CANDIDATES);
        all_is_well(&mut world);
    }
}

#[test]
fn no_port_is_opened_while_nothing_else_carries_voice() {
    for ada in [Kind::SYMMETRIC.sequential(1), Kind::SYMMETRIC] {
        let (world, places) = tapped(1, Some(ada), Some(Kind::PORT_RESTRICTED));
        let mut world = met(world, places, |world| world.stop_relay(SERVER));
        assert!(!world.run_till(secs(60), opens), "{ada:?}");
        assert!(world.clients.iter().all(|client| client.rungs() == [Rung::Mail]));
        assert!(knocked(&world) <= MAX_CANDIDATES);
        world.start_relay(SERVER);
        assert!(world.run_till(secs(60), opens), "{ada:?}: the relay carries again");
        world.run(secs(6));
        assert!(is_direct(&world));
        all_is_well(&mut world);
    }
}

#[test]
fn a_spray_that_never_meets_is_short_and_seldom() {
    let mut world = World::new(1, Profile::clean(20));
    world.tap = Some(Vec::new());
    let places = [Some(Kind::SYMMETRIC), Some(Kind::PORT_RESTRICTED)].map(|kind| world.net.site(kind));
    // Something between the two drops all.
    world.net.cut(places[0].0, places[1].0, world.now + secs(100_000));
    let mut world = talk(world, places, 20);
    assert!(!is_direct(&world));
    let first = between(&world);
    assert!((2_000..2_400).contains(&first), "{first}");
    world.run(secs(40));
    let second = between(&world) - first;
    assert!(second < 2_400, "{second}");
    world.tap = Some(Vec::new());
    world.run(secs(800));
    let later = between(&world);
    assert!(later < 200, "{later}");
    assert!(world.clients.iter().all(|client| client.spares.is_empty()));
    all_is_well(&mut world);
}

#[test]
fn one_spare_socket_stays_and_holds_for_hours_until_the_network_changes() {
    let mut world = pair(1, Some(Kind::SYMMETRIC), Some(Kind::PORT_RESTRICTED));
    assert!(is_direct(&world));
    world.run(secs(3_600));
    assert!(is_direct(&world));
    assert_eq!(world.clients[ADA].spares.len(), 1);
    let gone = world.clients[ADA].rungs().iter().filter(|rung| **rung == Rung::Direct).count();
    assert_eq!(gone, 1, "the path did not hold");
    all_is_well(&mut world);
}
