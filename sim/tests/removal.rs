//! A removal is final, wherever those were whom it concerns.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use scene::forgetful::forget_a_seat;
use scene::{ADA, BOB, EVE, SERVER, all_is_well, config, is_live, met_directly, ms, room, secs};
use sim::{Profile, World};
use vc_core::Error;
use vc_core::io::{Command, Denial, Ended, Event, Input, Parting, PathPolicy};
use vc_core::protocol::control::Control;
use vc_core::protocol::signal::{ToClient, ToServer};
use victim::Victim;
use victim::insider::Insider;

const DAVE: usize = 3;

fn four(seed: u64) -> World {
    room(seed, Profile::clean(20), PathPolicy::Auto, None, 4)
}

fn order(world: &mut World, client: usize, command: Command) {
    world.tell(client, Input::Command(command));
}

/// No packet passes between the two, nor to the server where one of these stands for it.
fn cut(world: &mut World, a: &[usize], b: &[usize], server: &[usize], until: u64) {
    let site = |world: &World, n: usize| world.clients[n].site;
    for n in a {
        for m in b {
            let (from, to) = (site(world, *n), site(world, *m));
            world.net.cut(from, to, world.now + secs(until));
        }
    }
    for n in server {
        let (from, to) = (site(world, *n), world.servers[SERVER].site);
        world.net.cut(from, to, world.now + secs(until));
    }
}

fn knows(world: &World, client: usize, friend: usize) -> bool {
    let id = world.clients[friend].me;
    world.clients[client].room.peers().iter().any(|peer| Some(peer.id) == id)
}

fn saw_it_kicked(world: &World, client: usize, friend: usize) -> bool {
    let gone = Event::Left { id: world.clients[friend].me.unwrap(), why: Parting::Kicked };
    world.clients[client].log.iter().filter(|(_, event)| *event == gone).count() == 1
}

fn is_removed(world: &World, client: usize) -> bool {
    world.clients[client].ended == Some(Ended::Failed(Error::Kicked))
}

#[test]
fn who_was_out_of_reach_learns_of_a_removal_from_others_after_the_creator_has_left() {
    for (seed, away) in (0..12).zip([16, 25, 40, 70].into_iter().cycle()) {
        let mut world = four(seed);
        cut(&mut world, &[BOB], &[ADA, DAVE], &[BOB, EVE], away);
        cut(&mut world, &[EVE], &[ADA, DAVE], &[], 600);
        world.run(secs(5));
        let eve = world.clients[EVE].me.unwrap();
        order(&mut world, ADA, Command::Kick(eve));
        world.run(secs(2));
        order(&mut world, ADA, Command::Leave);
        world.run(secs(away - 7));
        assert!(is_live(&world, BOB, EVE) && !knows(&world, DAVE, EVE), "seed {seed}");
        let agree = |w: &World| {
            let out = !knows(w, BOB, EVE) && is_removed(w, EVE);
            let one_code = w.clients[BOB].code() == w.clients[DAVE].code();
            is_live(w, BOB, DAVE) && is_live(w, DAVE, BOB) && out && one_code
        };
        assert!(world.run_till(secs(10), agree), "seed {seed}");
        world.run(secs(1));
        assert!(saw_it_kicked(&world, BOB, EVE));
        world.say(BOB);
        world.say(DAVE);
        world.run(secs(2));
        all_is_well(&mut world);
    }
}

/// The server names six codes in a minute.
#[test]
fn five_removals_within_twenty_seconds_leave_a_room_with_a_code() {
    for seed in 0..3 {
        let mut world = room(seed, Profile::clean(20), PathPolicy::Auto, None, 7);
        for n in 2..7 {
            let id = world.clients[n].me.unwrap();
            order(&mut world, ADA, Command::Kick(id));
            world.run(secs(3));
        }
        assert!(
            world.clients[ADA].events(|e| matches!(e, Event::Denied(Denial::NoServer))) > 0,
            "no limit met"
        );
        world.run(secs(30));
        let codes = world.clients[BOB].codes.clone().unwrap();
        assert!(codes.spoken.is_some() && codes.link.is_some(), "seed {seed}: half a code");
        let (code, at) = (world.clients[BOB].code().unwrap(), world.net.site(None));
        let zoe = world.join(config("CANARY-zoe", PathPolicy::Auto), &code, at, SERVER);
        assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, BOB, zoe])), "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn a_code_that_its_maker_did_not_live_to_make_is_made_by_another() {
    let mut world = four(1);
    world.stop_signaling(SERVER);
    world.run(secs(2));
    order(&mut world, ADA, Command::Invite);
    world.run(secs(1));
    order(&mut world, ADA, Command::Leave);
    world.run(secs(1));
    world.start_signaling(SERVER);
    world.run(secs(60));
    let code = world.clients[BOB].code().unwrap();
    let at = world.net.site(None);
    let zoe = world.join(config("CANARY-zoe", PathPolicy::Auto), &code, at, SERVER);
    assert!(world.run_till(secs(10), |w| w.reference.all_met(&[BOB, EVE, DAVE, zoe])));
    all_is_well(&mut world);
}

#[test]
fn nothing_is_sealed_for_one_who_does_not_hear_that_it_was_removed() {
    for seed in 0..6 {
        let mut world = four(seed);
        cut(&mut world, &[BOB, EVE], &[ADA, DAVE], &[BOB, EVE], 30);
        world.run(secs(5));
        let eve = world.clients[EVE].me.unwrap();
        order(&mut world, ADA, Command::Kick(eve));
        world.run(secs(2));
        order(&mut world, ADA, Command::Leave);
        world.run(secs(21));
        world.suspend(EVE, secs(120));
        assert!(world.run_till(secs(12), |w| !knows(w, BOB, EVE)), "seed {seed}");
        // It is told for two seconds.
        world.run(secs(3));
        world.tap = Some(Vec::new());
        let heard = world.reference.heard;
        for _ in 0..30 {
            for client in [BOB, DAVE] {
                world.say(client);
                world.speak(client, 50);
            }
            world.run(secs(5));
        }
        assert_eq!(world.reference.heard - heard, 2 * 30 * 50, "seed {seed}");
        // Awake again, it knocks for a while; nobody answers.
        let by_others = |world: &World, n: usize| {
            let (from, to) = (world.clients[n].addr, world.clients[EVE].addr);
            let tap = world.tap.as_ref().unwrap();
            tap.iter().any(|t| t.wire == sim::world::Wired::Datagram { from, to })
        };
        assert!(met_directly(&world, BOB, EVE), "it did not even try");
        assert!(!by_others(&world, BOB) && !by_others(&world, DAVE), "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn who_stays_on_with_those_who_were_not_told_is_out_as_soon_as_they_are() {
    for seed in 0..6 {
        let mut world = four(seed);
        // The server is on the side that does not know.
        cut(&mut world, &[BOB, EVE], &[ADA, DAVE], &[ADA, DAVE], 60);
        world.run(secs(3));
        let eve = world.clients[EVE].me.unwrap();
        order(&mut world, ADA, Command::Kick(eve));
        world.run(secs(30));
        assert!(is_live(&world, BOB, EVE) && !is_removed(&world, EVE));
        world.run(secs(27));
        assert!(world.run_till(secs(10), |w| is_removed(w, EVE) && !knows(w, BOB, EVE)), "seed {seed}");
        world.run(ms(500));
        assert!([ADA, BOB, DAVE].iter().all(|n| saw_it_kicked(&world, *n, EVE)));
        all_is_well(&mut world);
    }
}

#[test]
fn who_was_let_in_again_by_one_who_had_not_heard_is_out_as_soon_as_that_one_hears() {
    let mut world = four(1);
    cut(&mut world, &[BOB, EVE], &[ADA, DAVE], &[ADA, DAVE], 300);
    world.run(secs(3));
    let eve = world.clients[EVE].me.unwrap();
    order(&mut world, ADA, Command::Kick(eve));
    // The server has given up those it lost, so that Bob is the door; now it loses Eve, too.
    world.run(secs(80));
    let joins = forget_a_seat(&mut world);
    cut(&mut world, &[], &[], &[EVE], 100);
    world.run(secs(130));
    assert!(*joins.borrow() == 1 && is_live(&world, BOB, EVE), "let in again");
    world.run(secs(87));
    assert!(world.run_till(secs(10), |w| is_removed(w, EVE) && is_live(w, BOB, DAVE)));
    world.run(ms(500));
    assert!([ADA, BOB, DAVE].iter().all(|n| saw_it_kicked(&world, *n, EVE) && !knows(&world, *n, EVE)));
    all_is_well(&mut world);
}

/// Bob, who has the lowest seat but Ada's, sleeps while she removes him; his connection stays.
fn with_bob_evicted(seed: u64) -> World {
    let mut world = four(seed);
    world.suspend(BOB, secs(60));
    let bob = world.clients[BOB].me.unwrap();
    order(&mut world, ADA, Command::Kick(bob));
    world.run(secs(2));
    world
}

#[test]
fn who_was_removed_has_no_seat_at_the_server_and_a_newcomer_gets_in_at_once_by_the_fresh_code() {
    for seed in 0..4 {
        let mut world = with_bob_evicted(seed);
        let connected = |world: &World| world.servers[SERVER].signaling.as_ref().unwrap().connections();
        assert_eq!(connected(&world), 3, "seed {seed}");
        order(&mut world, ADA, Command::Leave);
        world.run(secs(1));
        let (code, at) = (world.clients[DAVE].code().unwrap(), world.net.site(None));
        let guest = world.join(scene::config("guest", PathPolicy::Auto), &code, at, SERVER);
        assert!(world.run_till(secs(2), |w| w.reference.all_met(&[EVE, DAVE, guest])), "seed {seed}");
        assert!(!knows(&world, guest, BOB));
        // Awake again, out of everybody's reach but the server's.
        cut(&mut world, &[BOB], &[EVE, DAVE, guest], &[], 600);
        assert!(world.run_till(secs(100), |w| is_removed(w, BOB)), "seed {seed}");
        assert_eq!(connected(&world), 3);
        all_is_well(&mut world);
    }
}

#[test]
fn a_server_that_restarted_learns_from_anybody_who_was_removed() {
    for seed in 0..4 {
        let mut world = four(seed);
        world.stop_signaling(SERVER);
        cut(&mut world, &[BOB], &[ADA, EVE, DAVE], &[], 600);
        let bob = world.clients[BOB].me.unwrap();
        order(&mut world, ADA, Command::Kick(bob));
        world.run(secs(2));
        order(&mut world, ADA, Command::Leave);
        world.run(secs(1));
        // Bob is the first who is back, with a proof that the server cannot know to be worthless.
        cut(&mut world, &[], &[], &[EVE, DAVE], 30);
        world.start_signaling(SERVER);
        world.run(secs(20));
        let up = Event::Signaling { up: true };
        assert!(world.clients[BOB].log.iter().any(|(_, event)| *event == up), "seed {seed}");
        assert!(world.run_till(secs(30), |w| is_removed(w, BOB)), "seed {seed}");
        world.run(secs(10));
        order(&mut world, DAVE, Command::Invite);
        world.run(secs(2));
        let (code, at) = (world.clients[EVE].code().unwrap(), world.net.site(None));
        let guest = world.join(scene::config("guest", PathPolicy::Auto), &code, at, SERVER);
        assert!(world.run_till(secs(2), |w| w.reference.all_met(&[EVE, DAVE, guest])), "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn who_says_goodbye_to_its_friends_and_not_to_the_server_loses_its_seat_all_the_same() {
    for (slots, stays) in [(0b11, true), (0b01, false)] {
        let mut victim = Victim::creator(1);
        let mut insider = Insider::admitted(&mut victim, 100);
        let mut peer = insider.peer(&victim);
        let packets = insider.run(&victim, &mut peer, |_, _| {});
        insider.talk(&mut victim, &mut peer, packets);
        victim.now = victim.now + ms(500);
        peer.tell(&Control::Leave);
        let packets = insider.run(&victim, &mut peer, |_, _| {});
        insider.talk(&mut victim, &mut peer, packets);
        assert!(victim.room.peers().is_empty());
        victim.tell(ToClient::Present { slots });
        victim.pass(secs(9));
        let evicts = |victim: &Victim| {
            let named =
                |m: &ToServer| matches!(m, ToServer::Evict { removals } if removals.contains(&insider.id()));
            victim.said.iter().any(named)
        };
        assert!(!evicts(&victim));
        victim.pass(secs(2));
        assert_eq!(evicts(&victim), stays);
        // It comes back there a little later.
        victim.tell(ToClient::Present { slots: 0b11 });
        victim.pass(secs(10));
        assert!(evicts(&victim));
    }
}
