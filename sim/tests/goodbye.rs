//! The last words and the end.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scene;

use scene::{ADA, BOB, EVE, SERVER, all_is_well, alone, invite, ms, room, secs, two};
use sim::Profile;
use vc_core::Error;
use vc_core::io::{Command, Ended, Event, Input, Parting, PathPolicy, PeerState};

#[test]
fn what_was_said_just_before_leaving_arrives() {
    let mut lost = 0;
    for seed in 0..400 {
        let profile = Profile { jitter: ms(30), loss: 0.1, late: 0.05, ..Profile::clean(15) };
        let mut world = two(seed, profile, PathPolicy::Auto);
        for _ in 0..3 {
            world.say(ADA);
        }
        world.tell(ADA, Input::Command(Command::Leave));
        world.run(secs(5));
        assert_eq!(world.clients[ADA].ended, Some(Ended::Left));
        lost += 3 - world.reference.delivered;
        all_is_well(&mut world);
    }
    println!("{lost} of 1,200 last lines lost at 10 % loss");
    assert!(lost <= 12, "{lost} of 1,200");
}

#[test]
fn who_leaves_too_soon_for_its_lines_learns_which_were_not_read() {
    let missed = |event: &Event| matches!(event, Event::Undelivered { .. });
    for waits in [false, true] {
        let mut world = two(1, Profile::clean(20), PathPolicy::Auto);
        // A friend takes twenty at once.
        for _ in 0..60 {
            world.say(ADA);
        }
        assert_eq!(world.clients[ADA].room.unread(), 60);
        if waits {
            assert!(world.run_till(secs(15), |w| w.clients[ADA].room.unread() == 0));
        }
        world.tell(ADA, Input::Command(Command::Leave));
        world.run(secs(5));
        assert_eq!(world.clients[ADA].ended, Some(Ended::Left));
        let (read, missed) = (world.reference.delivered as usize, world.clients[ADA].events(missed));
        assert!((20..=60).contains(&read) && read + missed == 60, "{read}, {missed}");
        assert_eq!(missed == 0, waits);
        all_is_well(&mut world);
    }
}

#[test]
fn whoever_leaves_is_gone_at_once_and_says_so() {
    let mut world = room(1, Profile::clean(40), PathPolicy::Auto, None, 3);
    let began = world.now;
    world.tell(ADA, Input::Command(Command::Leave));
    assert!(world.run_till(secs(2), |w| w.clients[ADA].ended.is_some()));
    assert!(world.now - began <= ms(300), "{:?}", world.now - began);
    world.run(secs(1));
    for client in [BOB, EVE] {
        assert_eq!(world.clients[client].events(|e| matches!(e, Event::Left { why: Parting::Left, .. })), 1);
        assert_eq!(world.clients[client].room.peers().len(), 1);
    }
    // The room lives on without its creator, and still lets in.
    let dave = invite_by(&mut world, BOB);
    assert!(world.run_till(secs(10), |w| w.reference.all_met(&[BOB, EVE, dave])));
    all_is_well(&mut world);
}

#[test]
fn who_came_again_where_it_crashed_and_then_left_is_not_looked_for_under_its_former_name() {
    // Either may be the one who begins handshakes.
    for seed in 0..12 {
        let mut world = two(seed, Profile::clean(20), PathPolicy::Auto);
        let at = (world.clients[BOB].site, world.clients[BOB].addr);
        world.kill(BOB);
        let again = world.join(scene::config("bob", PathPolicy::Auto), &scene::code(&world), at, SERVER);
        assert!(world.run_till(secs(20), |w| w.reference.all_met(&[ADA, again])), "seed {seed}");
        world.run(secs(5));
        if seed >= 6 {
            // Ada is at another address as well: everybody is looked for anew where it may be.
            let (own, other) = (world.clients[ADA].addr, "203.0.113.7:40000".parse().unwrap());
            world.tell(ADA, Input::LocalAddrs(&[own, other]));
            world.run(secs(5));
        }
        world.tell(again, Input::Command(Command::Leave));
        world.run(secs(90));
        assert_eq!(world.clients[ADA].events(scene::left), 2, "seed {seed}");
        all_is_well(&mut world);
    }
}

#[test]
fn leaving_takes_less_than_a_second_also_when_nobody_answers() {
    let mut world = two(1, Profile::clean(40), PathPolicy::Auto);
    world.kill(BOB);
    world.say(ADA);
    let began = world.now;
    world.tell(ADA, Input::Command(Command::Leave));
    assert!(world.run_till(secs(2), |w| w.clients[ADA].ended.is_some()));
    assert!(world.now - began <= secs(1));
}

#[test]
fn a_room_where_friends_crash_and_return_all_evening_is_never_full() {
    let mut world = alone(1, Profile::clean(20), PathPolicy::Auto, None);
    for n in 0..40 {
        let guest = invite(&mut world, "clumsy", PathPolicy::Auto, None);
        assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, guest])), "visit {n}");
        world.run(secs(1));
        world.kill(guest);
        world.run(secs(30));
    }
}

#[test]
fn each_failure_to_get_in_has_its_own_reason() {
    let mut world = alone(1, Profile::clean(20), PathPolicy::Auto, None);
    let nowhere = "99999-abandon-ability-able".parse().unwrap();
    let at = world.net.site(None);
    let lost = world.join(scene::config("lost", PathPolicy::Auto), &nowhere, at, SERVER);
    world.run(secs(3));
    assert_eq!(world.clients[lost].ended, Some(Ended::Failed(Error::NoSuchRoom)));

    world.stop_signaling(SERVER);
    let late = invite(&mut world, "late", PathPolicy::Auto, None);
    world.run(secs(3));
    assert_eq!(world.clients[late].ended, Some(Ended::Failed(Error::Unreachable)));
    world.start_signaling(SERVER);
    world.run(secs(12));

    // Only a relay, and the relay is dead.
    world.stop_relay(SERVER);
    let alone = invite(&mut world, "alone", PathPolicy::Relay, None);
    world.run(secs(40));
    assert_eq!(world.clients[alone].ended, Some(Ended::Failed(Error::NoPath)));

    let code = scene::code(&world);
    world.kill(ADA);
    world.run(secs(2));
    let at = world.net.site(None);
    let nobody = world.join(scene::config("nobody", PathPolicy::Auto), &code, at, SERVER);
    world.run(secs(20));
    assert_eq!(world.clients[nobody].ended, Some(Ended::Failed(Error::NobodyHome)));
}

fn invite_by(world: &mut sim::World, host: usize) -> usize {
    let code = world.clients[host].code().unwrap();
    let at = world.net.site(None);
    world.join(scene::config("dave", PathPolicy::Auto), &code, at, SERVER)
}

#[test]
fn a_crash_in_a_quiet_call_is_noticed_in_five_seconds_since_the_server_saw_the_connection_end() {
    for seed in 1..4 {
        let mut world = two(seed, Profile::clean(20), PathPolicy::Auto);
        world.run(secs(30));
        world.kill(BOB);
        let began = world.now;
        let lost = |event: &Event| matches!(event, Event::Reconnecting { .. });
        assert!(world.run_till(secs(20), |w| w.clients[ADA].events(lost) == 1));
        let after = world.now - began;
        assert!((secs(5)..secs(6)).contains(&after), "seed {seed}: {after:?}");
    }
}

#[test]
fn one_that_crashed_is_gone_from_the_list_and_what_it_never_got_is_told_before_it_goes() {
    let mut world = two(1, Profile::clean(20), PathPolicy::Auto);
    world.run(secs(5));
    world.kill(BOB);
    world.say(ADA);
    world.run(secs(20));
    let bob = world.clients[ADA].room.peers().remove(0);
    assert_eq!((bob.state, bob.rung, bob.rtt), (PeerState::Reconnecting, None, None));
    world.run(secs(60));
    assert!(world.clients[ADA].room.peers().is_empty());
    let place = |is: fn(&Event) -> bool| world.clients[ADA].log.iter().position(|(_, event)| is(event));
    let missed = place(|event| matches!(event, Event::Undelivered { .. })).unwrap();
    let left = place(|event| matches!(event, Event::Left { why: Parting::TimedOut, .. })).unwrap();
    assert!(missed < left);
}

#[test]
fn no_figures_are_shown_of_one_from_whom_nothing_comes() {
    let figures = |world: &sim::World| world.clients[ADA].room.peers()[0].rtt.is_some();
    // The relay dies with the server while they talk; a friend crashes while nobody does.
    for talk in [true, false] {
        let paths = if talk { PathPolicy::Relay } else { PathPolicy::Auto };
        let mut world = two(1, Profile::clean(20), paths);
        world.run(secs(30));
        let speak = |world: &mut sim::World| {
            world.speak(ADA, 500);
            world.speak(BOB, 500);
        };
        if talk {
            speak(&mut world);
            world.run(secs(5));
        }
        assert!(figures(&world), "talk {talk}");
        match talk {
            true => {
                world.stop_signaling(SERVER);
                world.stop_relay(SERVER);
            }
            false => world.kill(BOB),
        }
        world.run(ms(1_600));
        assert!(!figures(&world), "talk {talk}");
        for _ in 0..200 {
            world.run(ms(100));
            assert!(!figures(&world), "talk {talk}");
        }
    }
    // Where all is well a quiet friend keeps them.
    let mut world = two(1, Profile { loss: 0.02, ..Profile::clean(20) }, PathPolicy::Auto);
    world.run(secs(5));
    for _ in 0..300 {
        world.run(ms(100));
        assert!(figures(&world), "quiet");
    }
}
