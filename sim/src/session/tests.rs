//! What an evening is judged by at last fails when what it forbids happens in a room where all was well.

use signaling::ConnId;
use vc_core::io::Hop;
use vc_core::protocol::packet::Packet;
use vc_core::protocol::signal::ToClient;

use super::*;
use crate::nat::Dependence;
use crate::node::{Operator, Turn};

/// What should never happen.
type Mishap = fn(&mut World, &mut Vec<Person>);

/// Friends who all know each other, half a minute later.
fn evening(nats: &[Option<Kind>]) -> (World, Vec<Person>) {
    let mut world = World::new(1, Profile::clean(20));
    let server = world.server();
    let mut people: Vec<Person> = Vec::new();
    for nat in nats {
        let (at, comes, policy) = (world.net.site(*nat), world.now, PathPolicy::Auto);
        let mut person =
            Person { at, nat: *nat, policy, comes, client: None, tries: 0, gone: false, lost: false };
        person.attend(&mut world, server);
        people.push(person);
        world.run(Duration::from_secs(3));
    }
    world.run(Duration::from_secs(30));
    assert!(strangers(&world, &world.present()).is_none() && world.present().len() == nats.len());
    (world, people)
}

/// The faults that are found after that has happened; there were none before.
fn faults(nats: &[Option<Kind>], happens: Mishap) -> Vec<String> {
    let judged = |happens: Mishap| {
        let (mut world, mut people) = evening(nats);
        happens(&mut world, &mut people);
        climb(&mut world, &people);
        outcome(world, &people).faults
    };
    let before = judged(|_, _| {});
    assert!(before.is_empty(), "{before:?}");
    judged(happens)
}

#[test]
fn who_wakes_sends_or_holds_too_much_and_who_drops_what_nobody_damaged_is_at_fault() {
    let broken: [(&str, Mishap); 6] = [
        ("0 woke 256 times in a second", |world, _| {
            let second = world.now + Duration::from_secs(1);
            (0..256).for_each(|_| world.clients[0].load.wake(second));
        }),
        ("1 sent 801 packets in a second", |world, _| {
            let second = world.now + Duration::from_secs(1);
            (0..801).for_each(|_| world.clients[1].load.sent(second));
        }),
        ("0 spins", |world, _| {
            let second = world.now + Duration::from_millis(100);
            (0..=1_000).for_each(|_| world.clients[0].load.wake(second));
            world.run(Duration::from_secs(20));
        }),
        ("the room of 1 held ", |world, _| world.clients[1].takes(MOST_HELD)),
        ("1 dropped what nobody damaged", |world, _| {
            world.inject(world.clients[0].addr, 1, vec![0xFF; 40]);
            world.run(Duration::from_secs(1));
        }),
        ("1 was with its friends and had to come again: no path", |world, _| {
            world.clients[1].ended = Some(Ended::Failed(Error::NoPath));
        }),
    ];
    for (fault, happens) in broken {
        let found = faults(&[None; 2], happens);
        let begins = fault.split(": ").next().unwrap_or(fault);
        assert!(found.iter().any(|found| found.starts_with(begins)), "{fault}: {found:?}");
    }
}

#[test]
fn a_pair_on_another_rung_than_its_routers_and_wishes_lead_to_is_a_fault() {
    let wall = Some(Kind::SYMMETRIC);
    let broken: [(&str, &[Option<Kind>], Mishap); 6] = [
        ("0 and 1 do not meet", &[None; 2], |world, people| {
            world.net.cut(people[0].at.0, people[1].at.0, world.now + HOUR);
            world.run(Duration::from_secs(45));
        }),
        ("0 and 1 meet where no packet could pass", &[None; 2], |_, people| {
            people.iter_mut().for_each(|person| person.nat = Some(Kind::SYMMETRIC));
        }),
        // A search might have hit these, but nobody searched.
        ("0 and 1 meet where no packet could pass", &[None; 2], |_, people| {
            let nat = Some(Kind::new(Dependence::Address, Dependence::Address));
            people.iter_mut().for_each(|person| person.nat = nat);
        }),
        ("0 and 1 met against their wish", &[None; 2], |_, people| people[1].policy = PathPolicy::Relay),
        ("0 and 1 talk by Some(Mail)", &[wall; 2], |world, _| {
            world.stop_relay(0);
            world.run(Duration::from_secs(45));
        }),
        // Ada says that she forwards, and does not.
        ("1 and 2 talk by Some(Relay)", &[None, wall, wall], |world, _| {
            world.clients[0].operator = Some(Box::new(Lossy(u32::MAX)));
            world.run(Duration::from_secs(60));
        }),
    ];
    for (fault, nats, happens) in broken {
        let found = faults(nats, happens);
        assert!(found.iter().any(|found| found.starts_with(fault)), "{fault}: {found:?}");
    }
}

/// Loses what it is to carry from one member to another, so often.
struct Lossy(u32);

impl Lossy {
    fn loses(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

impl Operator for Lossy {
    fn say(&mut self, conn: ConnId, message: ToClient) -> Vec<Turn> {
        let lost = matches!(message, ToClient::Mail { .. }) && self.loses();
        if lost { Vec::new() } else { vec![Turn::Out(conn, message)] }
    }

    fn datagram(&mut self, to: Hop, bytes: Vec<u8>) -> Vec<(Duration, Hop, Vec<u8>)> {
        let lost = matches!(Packet::parse(&bytes), Ok(Packet::Down { .. })) && self.loses();
        if lost { Vec::new() } else { vec![(Duration::ZERO, to, bytes)] }
    }
}

/// Two by the relay, who lost each other, and so many packets more that are lost after all is well again.
fn settled(lost: u32) -> (Duration, Vec<String>) {
    let (mut world, mut people) = evening(&[Some(Kind::SYMMETRIC); 2]);
    world.servers[0].operator = Some(Box::new(Lossy(u32::MAX)));
    for client in 0..2 {
        world.speak(client, 100);
    }
    assert!(world.run_till(Duration::from_secs(30), |world| !world.all_live()));
    world.servers[0].operator = Some(Box::new(Lossy(lost)));
    let converged = settle(&mut world, &mut Dice::new(1), &mut people, 0);
    (converged, world.reference.faults)
}

#[test]
fn friends_who_hear_each_other_late_after_the_last_fault_are_a_fault() {
    let (converged, faults) = settled(0);
    assert!(converged < CONVERGE && faults.is_empty(), "{converged:?}: {faults:?}");
    let (converged, faults) = settled(LATE);
    assert!(converged > CONVERGE, "{converged:?}");
    assert_eq!(faults, [format!("all heard each other only {converged:?} after the last fault")]);
}

const HOUR: Duration = Duration::from_secs(3_600);
/// What two who lost each other send in some fifteen seconds.
const LATE: u32 = 400;
