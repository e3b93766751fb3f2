//! Which rung every pair of a larger room reaches, and what becomes of the call when one breaks.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scene;

use scene::gaps::{cuts, gaps, lines, report};
use scene::{ADA, BOB, EVE, SERVER, all_is_well, alone, config, invite, ms, room, secs};
use sim::nat::{Dependence, Kind};
use sim::reference::carried;
use sim::{Dice, Profile, World};
use vc_core::io::{Command, Config, Event, Input, PathPolicy, Rung};

/// By what `client` is carried to `friend` now.
fn rung(world: &World, client: usize, friend: usize) -> Option<Rung> {
    let id = world.clients[friend].me;
    world.clients[client].room.peers().iter().find(|peer| Some(peer.id) == id).and_then(|peer| peer.rung)
}

fn hosted_by(world: &World, host: usize) -> Option<Rung> {
    world.clients[host].me.map(Rung::Host)
}

/// Ada reaches everybody; so many others reach nobody else.
fn around_ada(seed: u64, profile: Profile, others: usize) -> World {
    let mut world = alone(seed, profile, PathPolicy::Auto, None);
    for n in 0..others {
        invite(&mut world, &format!("CANARY-guest{n}"), PathPolicy::Auto, Some(Kind::SYMMETRIC));
    }
    let all: Vec<usize> = (0..=others).collect();
    assert!(world.run_till(secs(20), |w| w.reference.all_met(&all)));
    world
}

/// Two friends who do not meet, by Ada.
fn carried_by_ada(seed: u64) -> World {
    let mut world = around_ada(seed, lines(seed), 2);
    // In a quiet call, half a minute may pass before the better of two almost equal ways is known.
    let carried = |w: &World| matches!(rung(w, BOB, EVE), Some(Rung::Host(_)));
    assert!(world.run_till(secs(60), carried), "seed {seed}");
    world.run(secs(3));
    world
}

#[test]
fn friends_who_cannot_meet_are_carried_by_one_who_reaches_both() {
    let mut world = around_ada(1, Profile::clean(20), 4);
    world.run(secs(15));
    for client in 1..=4 {
        for friend in (1..=4).filter(|friend| *friend != client) {
            assert_eq!(rung(&world, client, friend), hosted_by(&world, ADA), "{client} to {friend}");
        }
        assert_eq!(rung(&world, client, ADA), Some(Rung::Direct));
    }
    let relayed = |world: &World| world.servers[SERVER].relay.as_ref().unwrap().counters().forwarded_bytes;
    let before = relayed(&world);
    for client in 0..=4 {
        world.speak(client, 500);
    }
    world.run(secs(12));
    assert_eq!(world.reference.heard, 5 * 4 * 500);
    let each = (relayed(&world) - before) / (12 * 12);
    assert!(each < 200, "{each} bytes/s of probes for each pair; voice would be 6,000");
    all_is_well(&mut world);
}

#[test]
fn with_neither_relay_nor_direct_path_a_friend_carries() {
    for seed in 0..5 {
        let mut world = alone(seed, Profile::clean(30), PathPolicy::Auto, None);
        world.stop_relay(SERVER);
        for name in ["bob", "eve"] {
            invite(&mut world, name, PathPolicy::Auto, Some(Kind::SYMMETRIC));
        }
        assert!(world.run_till(secs(20), |w| w.reference.all_met(&[ADA, BOB, EVE])));
        world.run(secs(8));
        assert_eq!(rung(&world, BOB, EVE), hosted_by(&world, ADA), "seed {seed}");
        world.speak(BOB, 250);
        world.speak(EVE, 250);
        world.run(secs(6));
        assert_eq!(world.reference.heard, 4 * 250, "seed {seed}");
        all_is_well(&mut world);
    }
}

/// Every packet of theirs comes from another port than the one that the other sends to.
#[test]
fn a_friend_carries_where_routers_show_each_other_other_ports_than_they_let_in_by() {
    let open = Kind::new(Dependence::AddressAndPort, Dependence::Endpoint);
    for seed in 0..3 {
        let mut world = alone(seed, Profile::clean(30), PathPolicy::Auto, Some(open));
        world.stop_relay(SERVER);
        let code = scene::code(&world);
        let sites = [Some(open), None].map(|nat| world.net.site(nat));
        world.net.cut(sites[0].0, sites[1].0, world.now + secs(36_000));
        for (name, at) in ["bob", "eve"].into_iter().zip(sites) {
            world.join(config(name, PathPolicy::Auto), &code, at, SERVER);
        }
        assert!(world.run_till(secs(20), |w| w.reference.all_met(&[ADA, BOB, EVE])), "seed {seed}");
        for minute in 0..3 {
            world.run(secs(60));
            assert_eq!(rung(&world, BOB, EVE), hosted_by(&world, ADA), "seed {seed}, minute {minute}");
            assert_eq!(rung(&world, EVE, BOB), hosted_by(&world, ADA), "seed {seed}, minute {minute}");
        }
        let before = world.reference.heard;
        world.speak(BOB, 250);
        world.speak(EVE, 250);
        world.run(secs(6));
        assert_eq!(world.reference.heard - before, 4 * 250, "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn who_does_not_want_to_forward_does_not() {
    let mut world = World::new(1, Profile::clean(20));
    let server = world.server();
    let at = world.net.site(None);
    world.create(Config { forward: false, ..config("ada", PathPolicy::Auto) }, at, server);
    assert!(world.run_till(secs(10), |w| w.clients[ADA].codes.is_some()));
    world.run(secs(1));
    for name in ["bob", "eve"] {
        invite(&mut world, name, PathPolicy::Auto, Some(Kind::SYMMETRIC));
    }
    world.run(secs(40));
    assert_eq!(rung(&world, BOB, EVE), Some(Rung::Relay));
    all_is_well(&mut world);
}

#[test]
fn relay_only_members_neither_carry_nor_are_carried_by_a_friend() {
    let mut world = alone(1, Profile::clean(20), PathPolicy::Auto, None);
    world.tap = Some(Vec::new());
    invite(&mut world, "bob", PathPolicy::Relay, None);
    invite(&mut world, "eve", PathPolicy::Auto, Some(Kind::SYMMETRIC));
    world.run(secs(60));
    assert!(world.clients[BOB].rungs().iter().all(|rung| *rung == Rung::Relay));
    assert_eq!(rung(&world, EVE, BOB), Some(Rung::Relay));
    assert!(!scene::met_directly(&world, ADA, BOB) && !scene::met_directly(&world, BOB, EVE));
    all_is_well(&mut world);
}

/// A room of these many members of whom these pairs do not reach each other, whatever they try.
fn apart(seed: u64, members: usize, pairs: &[(usize, usize)], relays: usize) -> World {
    let mut world = World::new(seed, Profile::clean(20));
    let server = world.server_with(relays);
    let sites: Vec<_> = (0..members).map(|_| world.net.site(None)).collect();
    for (a, b) in pairs {
        world.net.cut(sites[*a].0, sites[*b].0, world.now + secs(36_000));
    }
    world.create(config("CANARY-0", PathPolicy::Auto), sites[0], server);
    assert!(world.run_till(secs(10), |w| w.clients[ADA].codes.is_some()));
    world.run(secs(1));
    let code = scene::code(&world);
    for (n, at) in sites.iter().enumerate().skip(1) {
        world.join(config(&format!("CANARY-{n}"), PathPolicy::Auto), &code, *at, server);
        // The server lets four wait at the door.
        world.run(ms(500));
    }
    let all: Vec<usize> = (0..members).collect();
    assert!(
        world.run_till(secs(20), |w| w.reference.all_met(&all)),
        "seed {seed}: not all met, cut {pairs:?}"
    );
    world
}

#[test]
fn every_room_reaches_the_rungs_that_are_predicted() {
    let mut dice = Dice::new(7);
    let (mut direct, mut hosted, mut relayed) = (0, 0, 0);
    for seed in 0..40 {
        let members = dice.range(3, 8) as usize;
        let density = dice.range(1, 8) as f64 / 10.0;
        let all = (0..members).flat_map(|a| (a + 1..members).map(move |b| (a, b)));
        let cut: Vec<_> = all.filter(|_| dice.chance(density)).collect();
        let mut world = apart(seed, members, &cut, 0);
        world.run(secs(45));
        let ids: Vec<_> = world.clients.iter().map(|c| c.me.unwrap()).collect();
        let hosts = sim::reference::hosts(&ids, Some(ADA), &cut);
        for a in 0..members {
            for b in (0..members).filter(|b| *b != a) {
                let got = rung(&world, a, b);
                match carried(&hosts, &cut, a, b) {
                    None => {
                        direct += 1;
                        assert_eq!(got, Some(Rung::Direct), "seed {seed}: {a} to {b}");
                    }
                    Some(by) if by.is_empty() => {
                        relayed += 1;
                        assert_eq!(got, Some(Rung::Relay), "seed {seed}: {a} to {b}, cut {cut:?}");
                    }
                    Some(by) => {
                        hosted += 1;
                        let fits = by.iter().any(|host| got == Some(Rung::Host(ids[*host])));
                        assert!(fits, "seed {seed}: {a} to {b} by {got:?}, cut {cut:?}");
                    }
                }
            }
        }
        for client in 0..members {
            world.say(client);
            world.speak(client, 50);
        }
        world.run(secs(5));
        assert_eq!(world.reference.heard, (members * (members - 1) * 50) as u64, "seed {seed}");
        all_is_well(&mut world);
    }
    println!("rungs as predicted: {direct} direct, {hosted} by a friend, {relayed} by the relay");
    assert!(direct > 100 && hosted > 100 && relayed > 10);
}

#[test]
fn a_friend_who_would_carry_for_more_takes_over_after_twenty_seconds_without_a_frame_lost_or_doubled() {
    // Guests 3 to 6 do not meet. Ada reaches 3 and 4, Bob 5 and 6, and Eve 3 and 5, to begin with.
    let guests = [(3, 4), (3, 5), (3, 6), (4, 5), (4, 6), (5, 6)];
    let apart_for_good = [&guests[..], &[(ADA, 5), (ADA, 6), (BOB, 3), (BOB, 4), (EVE, 4)]].concat();
    for seed in 0..2 {
        let mut world = apart(seed, 7, &[&apart_for_good[..], &[(EVE, 6)]].concat(), 0);
        world.run(secs(45));
        let by = |world: &World, host: usize| {
            [(5, 6), (6, 5)].iter().all(|(a, b)| rung(world, *a, *b) == hosted_by(world, host))
        };
        assert!(by(&world, BOB), "seed {seed}");
        for client in [5, 6] {
            world.speak(client, 50 * 140);
        }
        // Nothing stands between Eve and 6 any more: she bridges six pairs, Bob three.
        world.net.heal(Profile::clean(20));
        for (a, b) in &apart_for_good {
            let sites = [*a, *b].map(|n| world.clients[n].site);
            world.net.cut(sites[0], sites[1], world.now + secs(36_000));
        }
        let meets =
            |w: &World| [(EVE, 6), (6, EVE)].iter().all(|(a, b)| rung(w, *a, *b) == Some(Rung::Direct));
        assert!(world.run_till(secs(90), meets), "seed {seed}");
        let since = world.now;
        assert!(!world.run_till(secs(20), |w| !by(w, BOB)), "seed {seed}: {:?} later", world.now - since);
        // An election each ten seconds, and a place to take.
        assert!(world.run_till(secs(15), |w| by(w, EVE)), "seed {seed}");
        world.run(secs(150) - (world.now - since));
        assert!(by(&world, EVE), "seed {seed}");
        assert_eq!(world.reference.heard, 2 * 6 * 50 * 140, "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn voice_is_back_two_seconds_after_the_direct_path_dies_under_a_friend_who_carries() {
    let mut all = Vec::new();
    for seed in 0..cuts() {
        let mut world = around_ada(seed, lines(seed), 3);
        // Bob and another friend meet now, with Ada forwarding for the others.
        let at = world.net.site(None);
        let code = scene::code(&world);
        let zoe = world.join(config("zoe", PathPolicy::Auto), &code, at, SERVER);
        world.run(secs(12));
        world.stop_relay(SERVER);
        world.run(secs(1));
        assert_eq!(rung(&world, BOB, zoe), Some(Rung::Direct), "seed {seed}");
        let sites = [BOB, zoe].map(|n| world.clients[n].site);
        all.extend(gaps(&mut world, (BOB, zoe), |w| w.net.cut(sites[0], sites[1], w.now + secs(600))));
        all_is_well(&mut world);
    }
    report("direct cut, a friend carries", all, secs(2));
}

#[test]
fn voice_is_back_two_seconds_after_a_carrying_friend_falls_silent_over_a_relay() {
    let mut all = Vec::new();
    for seed in 0..cuts() {
        let mut world = carried_by_ada(seed);
        all.extend(gaps(&mut world, (BOB, EVE), |w| w.kill(ADA)));
        assert_eq!(rung(&world, BOB, EVE), Some(Rung::Relay), "seed {seed}");
        all_is_well(&mut world);
    }
    report("carrying friend silent, relay alive", all, secs(2));
}

#[test]
fn voice_is_back_two_seconds_after_one_relay_dies_under_another() {
    let mut all = Vec::new();
    for seed in 0..cuts() {
        let mut world = World::new(seed, lines(seed));
        let server = world.server_with(2);
        let ada = world.net.site(Some(Kind::SYMMETRIC));
        world.create(config("ada", PathPolicy::Auto), ada, server);
        assert!(world.run_till(secs(10), |w| w.clients[ADA].codes.is_some()));
        world.run(secs(1));
        invite(&mut world, "bob", PathPolicy::Auto, Some(Kind::SYMMETRIC));
        assert!(world.run_till(secs(20), |w| w.reference.all_met(&[ADA, BOB])));
        world.run(secs(10));
        all.extend(gaps(&mut world, (ADA, BOB), |w| {
            // Whichever they use: no relay serves more than these two.
            let busiest = (0..3)
                .max_by_key(|n| w.servers[*n].relay.as_ref().map(|relay| relay.counters().forwarded_bytes));
            w.stop_relay(busiest.unwrap());
        }));
        all_is_well(&mut world);
    }
    report("relay dead, another alive", all, secs(2));
}

#[test]
fn voice_is_back_two_seconds_after_udp_is_blocked() {
    let mut all = Vec::new();
    for seed in 0..cuts() {
        let mut world = room(seed, lines(seed), PathPolicy::Auto, Some(Kind::SYMMETRIC), 2);
        world.run(secs(5));
        let site = world.clients[BOB].site;
        all.extend(gaps(&mut world, (ADA, BOB), |w| w.net.block_udp(site, w.now + secs(600))));
        all_is_well(&mut world);
    }
    report("UDP blocked, TCP open", all, secs(2));
}

#[test]
fn voice_is_back_soon_after_a_move_to_another_network_told_or_not() {
    for (told, nat) in
        [(true, None), (false, None), (true, Some(Kind::SYMMETRIC)), (false, Some(Kind::SYMMETRIC))]
    {
        let mut all = Vec::new();
        for seed in 0..cuts() {
            let mut world = room(seed, lines(seed), PathPolicy::Auto, nat, 3);
            world.run(secs(5));
            all.extend(gaps(&mut world, (ADA, BOB), |w| {
                let to = w.net.site(nat);
                w.roam(BOB, to);
                if told {
                    w.tell(BOB, Input::LocalAddrs(&[to.1]));
                }
            }));
            let events =
                |c: &sim::node::Client| c.events(|e| matches!(e, Event::Left { .. } | Event::Joined { .. }));
            assert!(world.clients.iter().all(|c| events(c) == 2), "seed {seed}: nobody left or joined");
            all_is_well(&mut world);
        }
        report(&format!("moved (told: {told}, {})", nat.map_or("direct", |_| "relay")), all, secs(2));
    }
}

#[test]
fn who_has_no_udp_talks_by_tcp_and_by_udp_as_soon_as_it_may_without_a_frame_lost_or_doubled() {
    for seed in 0..10 {
        let mut world = alone(seed, Profile::clean(25), PathPolicy::Auto, Some(Kind::SYMMETRIC));
        let at = world.net.site(Some(Kind::SYMMETRIC));
        let opens = world.now + secs(20);
        world.net.block_udp(at.0, opens);
        let code = scene::code(&world);
        world.join(config("bob", PathPolicy::Auto), &code, at, SERVER);
        assert!(world.run_till(secs(5), |w| w.reference.all_met(&[ADA, BOB])));
        assert!(world.run_till(secs(3), |w| rung(w, ADA, BOB) == Some(Rung::Relay)), "seed {seed}");
        world.run(ms(500));
        world.speak(ADA, 50 * 40);
        world.speak(BOB, 50 * 40);
        world.tap = Some(Vec::new());
        world.run(secs(42));
        let late = opens + secs(12);
        let relayed = |t: &&sim::world::Tapped| matches!(t.wire, sim::world::Wired::Relayed { .. });
        let by_tcp = world.tap.as_ref().unwrap().iter().filter(relayed);
        assert!(by_tcp.clone().count() > 1_000, "seed {seed}: voice went by TCP");
        assert_eq!(by_tcp.filter(|t| t.at > late).count(), 0, "seed {seed}: and does no more");
        assert_eq!(world.reference.heard, 2 * 50 * 40, "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn climbing_from_relay_to_friend_to_direct_loses_and_doubles_no_frame() {
    for seed in 0..10 {
        let mut world = World::new(seed, Profile::clean(25));
        let server = world.server();
        let sites: Vec<_> = (0..3).map(|_| world.net.site(None)).collect();
        // Bob and Eve meet nobody but the relay, then Ada, then each other.
        for (a, b, span) in [(0, 1, 15), (0, 2, 15), (1, 2, 45)] {
            world.net.cut(sites[a].0, sites[b].0, world.now + secs(span));
        }
        world.create(config("ada", PathPolicy::Auto), sites[0], server);
        assert!(world.run_till(secs(10), |w| w.clients[ADA].codes.is_some()));
        world.run(secs(1));
        let code = scene::code(&world);
        for at in &sites[1..] {
            world.join(config("guest", PathPolicy::Auto), &code, *at, server);
        }
        assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, BOB, EVE])));
        world.run(secs(1));
        world.speak(BOB, 50 * 100);
        world.speak(EVE, 50 * 100);
        world.run(secs(105));
        let to = |world: &World, client: usize, friend: usize| -> Vec<Rung> {
            let id = world.clients[friend].me;
            let moved = |event: &Event| match event {
                Event::Moved { id: who, rung } if Some(*who) == id => Some(*rung),
                _ => None,
            };
            world.clients[client].log.iter().filter_map(|(_, event)| moved(event)).collect()
        };
        let host = hosted_by(&world, ADA).unwrap();
        for (client, friend) in [(BOB, EVE), (EVE, BOB)] {
            let mut rungs = to(&world, client, friend);
            rungs.retain(|rung| *rung != Rung::Mail);
            assert_eq!(rungs, [Rung::Relay, host, Rung::Direct], "seed {seed}");
        }
        assert_eq!(world.reference.heard, 4 * 50 * 100, "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn a_friend_who_carries_and_leaves_costs_no_frame_where_a_relay_stands_by() {
    for seed in 0..10 {
        let mut world = around_ada(seed, Profile::clean(25), 2);
        world.run(secs(12));
        assert!(matches!(rung(&world, BOB, EVE), Some(Rung::Host(_))));
        let longest = gaps(&mut world, (BOB, EVE), |w| w.tell(ADA, Input::Command(Command::Leave)));
        assert!(longest.iter().all(|gap| *gap <= ms(60)), "seed {seed}: {longest:?}");
        all_is_well(&mut world);
    }
    let mut all = Vec::new();
    for seed in 0..cuts() {
        let mut world = carried_by_ada(seed);
        all.extend(gaps(&mut world, (BOB, EVE), |w| w.tell(ADA, Input::Command(Command::Leave))));
        all_is_well(&mut world);
    }
    assert!(all.iter().all(|gap| *gap <= ms(60)), "{:?}", all.iter().max());
    report("carrying friend leaves, relay alive", all, ms(60));
}

/// Ada and Zoe reach everybody; two friends do not reach each other, and one of the two carries.
fn bridged_by_two(seed: u64, relay: bool) -> (World, usize, [usize; 2]) {
    let mut world = alone(seed, lines(seed), PathPolicy::Auto, None);
    if !relay {
        world.stop_relay(SERVER);
    }
    let zoe = invite(&mut world, "zoe", PathPolicy::Auto, None);
    let friends = ["bob", "eve"].map(|n| invite(&mut world, n, PathPolicy::Auto, Some(Kind::SYMMETRIC)));
    let everybody = [ADA, zoe, friends[0], friends[1]];
    assert!(world.run_till(secs(20), |w| w.reference.all_met(&everybody)));
    world.run(secs(30));
    (world, zoe, friends)
}

#[test]
fn when_the_host_of_a_room_without_servers_quits_the_others_talk_on() {
    let mut all = Vec::new();
    for seed in 0..cuts() {
        let (mut world, _, friends) = bridged_by_two(seed, true);
        // Signaling and relay are in Ada's program.
        all.extend(gaps(&mut world, (friends[0], friends[1]), |w| {
            w.tell(ADA, Input::Command(Command::Leave));
            w.stop_signaling(SERVER);
            w.stop_relay(SERVER);
        }));
        all_is_well(&mut world);
    }
    report("host with servers and relay quits, another friend", all, secs(3));
}

#[test]
fn without_a_relay_the_next_friend_carries_on_when_the_first_dies() {
    let mut all = Vec::new();
    for seed in 0..cuts() {
        let (mut world, zoe, friends) = bridged_by_two(seed, false);
        let Some(Rung::Host(host)) = rung(&world, friends[0], friends[1]) else { panic!("seed {seed}") };
        let host = if world.clients[ADA].me == Some(host) { ADA } else { zoe };
        all.extend(gaps(&mut world, (friends[0], friends[1]), |w| w.kill(host)));
        all_is_well(&mut world);
    }
    report("carrying friend dead, no relay, another friend", all, secs(3));
}

#[test]
fn tickets_that_expire_in_the_middle_of_a_call_cost_no_frame() {
    let mut world = room(1, Profile::clean(25), PathPolicy::Relay, None, 2);
    // Signaling is away when half of the hour is over, and comes back in time.
    world.run(secs(1_000));
    world.stop_signaling(SERVER);
    world.run(secs(1_500));
    world.start_signaling(SERVER);
    world.run(secs(1_000));
    world.speak(ADA, 50 * 300);
    world.run(secs(310));
    assert_eq!(world.reference.heard, 50 * 300);
    all_is_well(&mut world);
}
