//! All that passes any wire, searched for what nobody on the way may read.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use std::collections::{BTreeMap, BTreeSet};

use scene::{ADA, BOB, EVE, SERVER, all_is_well, config, secs};
use sim::nat::Kind;
use sim::reference::{LINE, VOICE};
use sim::world::Wired;
use sim::{Profile, World};
use vc_core::io::PathPolicy;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::packet::Packet;
use victim::Victim;
use victim::insider::Insider;

/// An evening with everything in it, recorded from the first byte: creation, admissions, direct and relayed voice,
/// chat while only mail works, a restart of signaling, a goodbye.
fn recorded(paths: PathPolicy, nat: Option<Kind>) -> World {
    let mut world = World::new(7, Profile { loss: 0.02, ..Profile::clean(20) });
    world.tap = Some(Vec::new());
    let server = world.server();
    let at = world.net.site(nat);
    world.create(config("CANARY-ada", paths), at, server);
    world.run(secs(3));
    let code = scene::code(&world);
    for name in ["CANARY-bob", "CANARY-eve"] {
        let at = world.net.site(nat);
        world.join(config(name, paths), &code, at, server);
        world.run(secs(3));
    }
    assert!(world.reference.all_met(&[ADA, BOB, EVE]));
    for _ in 0..20 {
        for client in [ADA, BOB, EVE] {
            world.say(client);
            world.speak(client, 30);
        }
        world.run(secs(1));
    }
    world.stop_signaling(server);
    world.stop_relay(server);
    world.run(secs(5));
    world.start_signaling(server);
    world.run(secs(12));
    world.say(ADA);
    world.run(secs(20));
    world.start_relay(server);
    world.run(secs(30));
    all_is_well(&mut world);
    world
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Everything that only members may know.
fn secrets(world: &World) -> Vec<Vec<u8>> {
    let codes = world.clients[ADA].codes.clone().unwrap();
    let (_, words) = codes.spoken.unwrap();
    let (_, link) = codes.link.unwrap();
    let mut secrets: Vec<Vec<u8>> =
        vec![LINE.into(), VOICE.to_vec(), b"CANARY".to_vec(), words.clone().into_bytes(), link.to_vec()];
    // Four letters are met by chance in a megabyte of noise once in four thousand.
    secrets.extend(words.split('-').filter(|word| word.len() > 3).map(|word| word.as_bytes().to_vec()));
    secrets
}

#[test]
fn no_wire_and_no_server_carries_a_voice_a_line_a_name_or_a_word_in_the_clear() {
    for (paths, nat) in [
        (PathPolicy::Auto, None),
        (PathPolicy::Auto, Some(Kind::SYMMETRIC)),
        (PathPolicy::Relay, None),
        (PathPolicy::Direct, None),
    ] {
        let world = recorded(paths, nat);
        let tap = world.tap.as_ref().unwrap();
        let datagrams = tap.iter().filter(|t| matches!(t.wire, Wired::Datagram { .. })).count();
        assert!(datagrams > 3_000 && tap.len() - datagrams > 30, "{datagrams} of {}", tap.len());
        for secret in secrets(&world) {
            let found = tap.iter().find(|tapped| contains(&tapped.bytes, &secret));
            assert!(found.is_none(), "{:?} on {:?}", String::from_utf8_lossy(&secret), found.unwrap().wire);
        }
    }
}

#[test]
fn a_search_that_finds_nothing_would_find_something() {
    let mut world = recorded(PathPolicy::Auto, None);
    let words = world.clients[ADA].codes.clone().unwrap().spoken.unwrap().1;
    let last = world.tap.as_mut().unwrap().last_mut().unwrap();
    last.bytes.extend_from_slice(words.as_bytes());
    let tap = world.tap.as_ref().unwrap();
    assert!(secrets(&world).iter().any(|secret| tap.iter().any(|tapped| contains(&tapped.bytes, secret))));
}

#[test]
fn the_server_never_sees_a_members_key_or_the_rooms_secret() {
    let mut victim = Victim::creator(1);
    let insider = Insider::admitted(&mut victim, 100);
    let welcome = &insider.welcome;
    let mut secrets = vec![welcome.secret.to_vec(), welcome.room.to_vec(), insider.key.public().0.to_vec()];
    secrets.extend(welcome.members.iter().map(|member| member.record.key.0.to_vec()));
    secrets.extend(welcome.members.iter().map(|member| member.record.encode()));
    for secret in secrets {
        assert!(!victim.bytes.iter().any(|bytes| contains(bytes, &secret)));
    }
}

#[test]
fn all_voice_packets_of_a_call_have_one_size() {
    let world = recorded(PathPolicy::Direct, None);
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for tapped in world.tap.as_ref().unwrap() {
        if let Ok(Packet::Transport { .. }) = Packet::parse(&tapped.bytes) {
            *sizes.entry(tapped.bytes.len()).or_default() += 1;
        }
    }
    // Voice is the most frequent; all else is padded to a few sizes.
    let (voice, count) = sizes.iter().max_by_key(|(_, count)| **count).unwrap();
    assert!(*count >= 20 * 30 * 3 * 2, "{sizes:?}");
    assert!(sizes.len() <= 12, "{sizes:?}");
    assert_eq!(*voice, 9 + 6 + 80 + 16);
}

#[test]
fn no_counter_of_a_session_is_ever_used_twice() {
    let world = recorded(PathPolicy::Auto, None);
    let mut seen: BTreeMap<u32, BTreeMap<u32, BTreeSet<Vec<u8>>>> = BTreeMap::new();
    for tapped in world.tap.as_ref().unwrap() {
        let inner = match Packet::parse(&tapped.bytes) {
            Ok(Packet::Up { inner, .. } | Packet::Down { inner, .. }) => inner,
            _ => &tapped.bytes,
        };
        if let Ok(Packet::Transport { receiver, counter }) = Packet::parse(inner) {
            seen.entry(receiver).or_default().entry(counter).or_default().insert(inner.to_vec());
        }
    }
    assert!(seen.len() >= 6, "three pairs, two directions");
    // One packet may travel by two paths; two packets never share a counter.
    assert!(seen.values().flat_map(BTreeMap::values).all(|packets| packets.len() == 1));
    assert!(world.servers[SERVER].relay.is_some());
}
