//! Each check of an evening fails when what it forbids happens in a room where all was well.
#![allow(clippy::unwrap_used)]

mod scene;

use scene::{ADA, BOB, all_is_well, secs, two};
use sim::reference::Reference;
use sim::{Profile, World};
use vc_core::io::{Event, FrameLen, Parting, PathPolicy, VoiceFrame};

/// What should never happen.
type Mishap = fn(&mut World);

/// Two friends who have talked, and of whom nothing bad is known.
fn after_a_talk() -> World {
    let mut world = two(1, Profile::clean(20), PathPolicy::Auto);
    for client in [ADA, BOB] {
        world.say(client);
        world.speak(client, 50);
    }
    world.run(secs(3));
    all_is_well(&mut world);
    world
}

fn told(world: &mut World, client: usize, event: &Event) {
    let now = world.now;
    world.reference.event(now, client, event);
}

/// Bob reads that line of Ada's (again).
fn read(world: &mut World, by: usize, n: u32) {
    let from = world.clients[ADA].me.unwrap();
    told(world, BOB, &Event::Said { from, text: Reference::line(by, n) });
}

/// Bob hears that frame of Ada's (again).
fn hear(world: &mut World, time: u32) {
    let from = world.clients[ADA].me.unwrap();
    let opus = Reference::opus(ADA, time);
    let frame = VoiceFrame { time, len: FrameLen::Ms20, last_of_talk: false, age_ms: 0, opus };
    world.reference.voice(BOB, from, &frame);
}

fn part(world: &mut World, why: Parting) {
    let id = world.clients[BOB].me.unwrap();
    told(world, ADA, &Event::Left { id, why });
}

#[test]
fn a_line_that_is_lost_doubled_overtaken_or_somebody_elses_is_a_fault() {
    let broken: [(&str, Mishap); 5] = [
        ("1 misses 1 lines of 0", |world| world.reference.says(ADA, 2)),
        ("1 read line 1 of 0 after 1", |world| read(world, ADA, 1)),
        ("1 read line 3 of 0 before 2", |world| {
            (2..4).for_each(|n| world.reference.says(ADA, n));
            read(world, ADA, 3);
        }),
        ("1 read a line of 1 as of 0", |world| read(world, BOB, 9)),
        ("1 never got 1 lines of 0, and both stayed", |world| {
            world.reference.says(ADA, 2);
            let to = world.clients[BOB].me.unwrap();
            told(world, ADA, &Event::Undelivered { to, text: Reference::line(ADA, 2) });
        }),
    ];
    for (fault, happens) in broken {
        let mut world = after_a_talk();
        happens(&mut world);
        world.reference.settled(&[ADA, BOB]);
        world.reference.stayed(&[ADA, BOB], |_, _| false);
        assert!(world.reference.faults.iter().any(|f| f == fault), "{fault}: {:?}", world.reference.faults);
    }
}

#[test]
fn a_frame_that_is_doubled_or_was_never_spoken_is_a_fault() {
    let mut world = after_a_talk();
    let time = world.reference.heard_times(BOB, ADA).next().unwrap();
    hear(&mut world, time);
    assert_eq!(world.reference.faults, [format!("1 heard frame {time} of 0 twice")]);
    let mut world = after_a_talk();
    hear(&mut world, 10_000);
    assert_eq!(world.reference.faults, ["1 heard what 0 never spoke"]);
}

#[test]
fn to_lose_one_who_stayed_and_to_send_to_one_who_left_are_faults() {
    let mut world = after_a_talk();
    part(&mut world, Parting::TimedOut);
    world.reference.stayed(&[ADA, BOB], |_, _| false);
    assert_eq!(world.reference.faults, ["0 was told that 1 is gone, TimedOut, who stayed"]);
    // Ada goes on as if nothing had happened.
    let mut world = after_a_talk();
    part(&mut world, Parting::Left);
    world.speak(ADA, 10);
    world.run(secs(1));
    let sealed = |fault: &String| fault == "0 sealed a packet for 1, whom it knows to be gone";
    assert!(world.reference.faults.iter().any(sealed), "{:?}", world.reference.faults);
}
