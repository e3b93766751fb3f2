//! The first world: two friends, a server, everything real but the wires.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use sim::{Profile, World};
use vc_core::io::{Config, Counters, Event, PathPolicy, Rung};

fn config(name: &str) -> Config {
    Config { name: name.into(), paths: PathPolicy::Auto, forward: true }
}

fn two(seed: u64, profile: Profile) -> World {
    let mut world = World::new(seed, profile);
    let server = world.server();
    let at = world.net.site(None);
    let ada = world.create(config("ada"), at, server);
    assert!(world.run_till(Duration::from_secs(5), |w| w.clients[ada].codes.is_some()));
    let code = world.clients[ada].code().unwrap();
    let at = world.net.site(None);
    world.join(config("bob"), &code, at, server);
    world
}

#[test]
fn two_friends_meet_talk_and_chat() {
    let mut world = two(1, Profile::clean(25));
    assert!(
        world.run_till(Duration::from_secs(5), |w| w.reference.all_met(&[0, 1])),
        "{:?} {:?}",
        world.clients[0].log,
        world.clients[1].log
    );
    world.run(Duration::from_secs(2));
    for client in [0, 1] {
        world.say(client);
        world.speak(client, 250);
    }
    world.run(Duration::from_secs(10));
    world.reference.settled(&[0, 1]);
    assert!(world.reference.faults.is_empty(), "{:?}", world.reference.faults);
    assert_eq!(world.reference.heard, 500);
    assert_eq!(world.reference.delivered, 2);
    for client in &world.clients {
        assert_eq!(*client.room.counters(), Counters::default());
        assert_eq!(client.rungs().last(), Some(&Rung::Direct));
        assert_eq!(client.events(|e| matches!(e, Event::Joined { .. })), 1);
    }
}
