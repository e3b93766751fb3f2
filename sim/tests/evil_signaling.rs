//! Signaling in the hands of an enemy: it carries all admission mail and may say anything to anyone.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use scene::{ADA, BOB, SERVER, alone, code, config, invite, secs};
use signaling::ConnId;
use sim::node::{Operator, Turn};
use sim::{Dice, Profile, World};
use vc_core::io::{Command, Ended, Event, Input, PathPolicy, PeerState, SignalIn};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{Form, Nameplate, Party, Refusal, ToClient, ToServer};
use vc_core::room::code::Code;
use victim::{LINK, NONCE, NUMBER, Victim, proof, slot};

/// Records all admission letters, and rewrites them as the test likes.
type Rewrite = Box<dyn FnMut(usize, Vec<u8>) -> Option<Vec<u8>>>;

struct Postman {
    letters: Rc<RefCell<Vec<Vec<u8>>>>,
    count: usize,
    rewrite: Rewrite,
}

impl Operator for Postman {
    fn say(&mut self, conn: ConnId, message: ToClient) -> Vec<Turn> {
        let ToClient::Mail { from, blob } = message else { return vec![Turn::Out(conn, message)] };
        self.letters.borrow_mut().push(blob.clone());
        self.count += 1;
        let blob = (self.rewrite)(self.count - 1, blob);
        blob.map(|blob| Turn::Out(conn, ToClient::Mail { from, blob })).into_iter().collect()
    }
}

/// Bob joins Ada while the server rewrites their letters; what became of it, and the letters.
fn joined_through(seed: u64, rewrite: Rewrite) -> (World, Vec<Vec<u8>>) {
    let mut world = alone(seed, Profile::clean(10), PathPolicy::Auto, None);
    let letters = Rc::new(RefCell::new(Vec::new()));
    world.servers[SERVER].operator = Some(Box::new(Postman { letters: letters.clone(), count: 0, rewrite }));
    invite(&mut world, "bob", PathPolicy::Auto, None);
    world.run(secs(30));
    world.servers[SERVER].operator = None;
    let letters = letters.borrow().clone();
    (world, letters)
}

fn nobody_got_in(world: &World, client: usize) {
    assert!(world.clients[client].me.is_none());
    assert!(matches!(world.clients[client].ended, Some(Ended::Failed(_))));
    // A joiner that proved the code and never read its welcome is on the roster, and never comes.
    assert!(world.clients[ADA].room.peers().iter().all(|peer| peer.state != PeerState::Live));
    assert_eq!(world.clients[ADA].events(|e| matches!(e, Event::Joined { .. })), 0);
}

/// Whatever was tried, an honest friend gets in afterwards.
fn an_honest_friend_gets_in(world: &mut World) {
    let carol = invite(world, "carol", PathPolicy::Auto, None);
    assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, carol])));
}

#[test]
fn unchanged_letters_let_in() {
    let (world, letters) = joined_through(1, Box::new(|_, blob| Some(blob)));
    assert!(world.reference.all_met(&[ADA, BOB]));
    assert!(letters.len() >= 4);
}

#[test]
fn a_flipped_bit_anywhere_in_any_letter_keeps_out() {
    let mut dice = Dice::new(1);
    for letter in 0..4 {
        for n in 0..40 {
            let (at, bit) = (dice.range(0, 1 << 20) as usize, dice.range(0, 8));
            // The first byte says which letter it is; all others are covered too.
            let (mut world, letters) = joined_through(
                n,
                Box::new(move |count, mut blob| {
                    if count == letter {
                        let at = if n < 4 { n as usize } else { at % blob.len() };
                        blob[at] ^= 1 << bit;
                    }
                    Some(blob)
                }),
            );
            assert!(letters.len() > letter);
            nobody_got_in(&world, BOB);
            an_honest_friend_gets_in(&mut world);
        }
    }
}

#[test]
fn rewritten_versions_keep_out() {
    for (letter, at, value) in [(0, 1, 0u8), (0, 1, 2), (0, 2, 0), (0, 2, 9), (1, 1, 0), (1, 1, 2)] {
        let (mut world, _) = joined_through(
            1,
            Box::new(move |count, mut blob| {
                if count == letter {
                    blob[at] = value;
                }
                Some(blob)
            }),
        );
        nobody_got_in(&world, BOB);
        an_honest_friend_gets_in(&mut world);
    }
}

#[test]
fn yesterdays_letters_open_nothing_on_either_side() {
    let (mut world, old) = joined_through(1, Box::new(|_, blob| Some(blob)));
    assert!(world.reference.all_met(&[ADA, BOB]));
    for mask in 1..16usize {
        let (old, letters) = (old.clone(), Rc::new(RefCell::new(Vec::new())));
        let rewrite: Rewrite = Box::new(move |count, blob| {
            // Carol's admission with some of the letters replaced by those of Bob's; the rest is as it comes.
            Some(if count < 4 && mask >> count & 1 == 1 { old[count].clone() } else { blob })
        });
        world.servers[SERVER].operator = Some(Box::new(Postman { letters, count: 0, rewrite }));
        let carol = invite(&mut world, "carol", PathPolicy::Auto, None);
        world.run(secs(40));
        assert!(world.clients[carol].me.is_none(), "letters {mask:04b}");
        assert_eq!(world.clients[ADA].events(|e| matches!(e, Event::Joined { .. })), 1);
    }
    world.servers[SERVER].operator = None;
    let dave = invite(&mut world, "dave", PathPolicy::Auto, None);
    assert!(world.run_till(secs(10), |w| w.reference.all_met(&[ADA, BOB, dave])));
}

/// Two rooms, two joiners; the letters of the one go to the other's.
#[derive(Default)]
struct Crossed {
    doors: Vec<ConnId>,
    joiners: Vec<ConnId>,
    visitors: BTreeMap<ConnId, u32>,
    what: Crossing,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Crossing {
    #[default]
    All,
    ToDoors,
    ToJoiners,
}

impl Crossed {
    fn other(list: &[ConnId], conn: ConnId) -> Option<ConnId> {
        let at = list.iter().position(|c| *c == conn)?;
        list.get(1 - at).copied()
    }
}

impl Operator for Crossed {
    fn frame(&mut self, conn: ConnId, bytes: Vec<u8>) -> Vec<Turn> {
        match ToServer::decode(&bytes) {
            Ok(ToServer::Create { .. }) => self.doors.push(conn),
            Ok(ToServer::Join { .. }) => self.joiners.push(conn),
            _ => {}
        }
        vec![Turn::In(conn, bytes)]
    }

    fn say(&mut self, conn: ConnId, message: ToClient) -> Vec<Turn> {
        if let ToClient::Joined { visitor, .. } = message {
            self.visitors.insert(conn, visitor);
        }
        let (conn, message) = match message {
            ToClient::Mail { from: Party::Visitor(id), blob } if self.what != Crossing::ToJoiners => {
                let joiner = self.visitors.iter().find(|(_, v)| **v == id).map(|(conn, _)| *conn);
                let other = joiner.and_then(|joiner| Self::other(&self.joiners, joiner));
                let id = other.and_then(|other| self.visitors.get(&other).copied()).unwrap_or(id);
                let from = Party::Visitor(id);
                (Self::other(&self.doors, conn).unwrap_or(conn), ToClient::Mail { from, blob })
            }
            message @ ToClient::Mail { from: Party::Slot(_), .. } if self.what != Crossing::ToDoors => {
                (Self::other(&self.joiners, conn).unwrap_or(conn), message)
            }
            message => (conn, message),
        };
        vec![Turn::Out(conn, message)]
    }
}

#[test]
fn crossed_letters_of_two_rooms_let_nobody_into_either() {
    for what in [Crossing::All, Crossing::ToDoors, Crossing::ToJoiners] {
        let mut world = World::new(1, Profile::clean(10));
        let server = world.server();
        world.servers[server].operator = Some(Box::new(Crossed { what, ..Crossed::default() }));
        for name in ["ada", "bea"] {
            let at = world.net.site(None);
            world.create(config(name, PathPolicy::Auto), at, server);
        }
        world.run(secs(3));
        let codes: Vec<Code> = (0..2).map(|n| world.clients[n].code().unwrap()).collect();
        for (name, code) in ["cid", "dan"].iter().zip(&codes) {
            let at = world.net.site(None);
            world.join(config(name, PathPolicy::Auto), code, at, server);
        }
        world.run(secs(40));
        for client in 0..2 {
            assert!(world.clients[client].room.peers().is_empty(), "{what:?}");
            assert!(world.clients[client + 2].me.is_none(), "{what:?}");
        }
    }
}

#[test]
fn a_server_cannot_seat_whom_the_door_did_not_let_in() {
    let mut world = alone(1, Profile::clean(10), PathPolicy::Auto, None);
    world.whisper(ADA, &ToClient::Admitted { visitor: 77, slot: slot(1) }.encode());
    world.run(secs(1));
    assert!(world.clients[ADA].room.peers().is_empty());
    assert_eq!(world.clients[ADA].room.counters().out_of_turn, 1);

    let mut joiner = Victim::joiner(&code(&world), 1);
    joiner.tell(ToClient::Seat { slot: slot(1), proof: [0; 91] });
    joiner.tell(ToClient::Joined { room_nonce: NONCE, visitor: 1, door: slot(0) });
    joiner.tell(ToClient::Seat { slot: slot(1), proof: [0; 91] });
    assert!(!joiner.has_entered());
}

#[test]
fn a_seat_that_is_refused_is_asked_for_again_and_signaling_is_not_called_back_before() {
    let mut victim = Victim::creator(1);
    victim.input(Input::Signal(SignalIn::Down));
    victim.events.clear();
    let refused = ToClient::Refused(vc_core::protocol::signal::Refusal::TooFast);
    for _ in 0..5 {
        victim.now = victim.now + secs(10);
        victim.connect();
        assert!(victim.said.iter().any(|m| matches!(m, ToServer::Reclaim { .. })));
        victim.said.clear();
        victim.tell(refused.clone());
    }
    assert!(victim.events.is_empty(), "{:?}", victim.events);
    victim.now = victim.now + secs(10);
    victim.connect();
    victim.tell(ToClient::Seat { slot: slot(0), proof: [1; 91] });
    assert!(matches!(victim.events[..], [Event::Signaling { up: true }]));
}

#[test]
fn tickets_are_taken_after_a_seat_and_not_unasked() {
    let mut victim = Victim::creator(1);
    let before = victim.room.counters().out_of_turn;
    for unasked in 0..3 {
        victim.tell(ToClient::Tickets { offers: Vec::new() });
        assert_eq!(victim.room.counters().out_of_turn - before, unasked);
    }
}

#[test]
fn a_code_whose_number_leads_to_nobody_any_more_is_renewed() {
    let renewed = |proof| {
        let mut victim = Victim::creator(1);
        victim.tell(ToClient::Seat { slot: slot(0), proof });
        for _ in 0..5 {
            victim.pass(secs(1));
        }
        victim.said.iter().any(|said| matches!(said, ToServer::NewCode { .. }))
    };
    assert!(!renewed(proof(NUMBER, LINK)));
    assert!(renewed(proof(NUMBER + 1, LINK)));
    assert!(renewed(proof(0, LINK)));
    assert!(renewed(proof(NUMBER, [0; 10])));
}

/// For so many seconds the server gives the number that it is asked for, and no link. How often it was asked for either.
fn without_links(victim: &mut Victim, number: u32, seconds: u32) -> (usize, usize) {
    let (mut numbers, mut links) = (0, 0);
    for _ in 0..seconds {
        victim.pass(secs(1));
        while let Some(at) = victim.said.iter().position(|said| matches!(said, ToServer::NewCode { .. })) {
            match victim.said.remove(at) {
                ToServer::NewCode { form: Form::Spoken } => {
                    numbers += 1;
                    victim.tell(ToClient::Plate { nameplate: Nameplate::Spoken(number) });
                }
                _ => {
                    links += 1;
                    victim.tell(ToClient::Refused(Refusal::TooFast));
                }
            }
        }
    }
    (numbers, links)
}

#[test]
fn a_code_is_mended_though_the_server_gives_no_link_for_it_and_that_is_not_asked_for_for_ever() {
    let numberless = |number| proof(number, [0; 10]);
    // While the link is still asked for, and when that was given up.
    for waits in [60, 1_000] {
        let mut victim = Victim::creator(1);
        victim.tell(ToClient::Seat { slot: slot(0), proof: numberless(NUMBER) });
        victim.input(Input::Command(Command::Invite));
        let (numbers, links) = without_links(&mut victim, NUMBER, waits);
        assert!(numbers == 1 && (2..=10).contains(&links), "{numbers}, {links} in {waits} s");
        assert_eq!(without_links(&mut victim, NUMBER, 60).1 == 0, waits == 1_000);
        let before = victim.spoken();
        victim.tell(ToClient::Seat { slot: slot(0), proof: numberless(NUMBER + 1) });
        assert_eq!(without_links(&mut victim, NUMBER + 1, 30).0, 1);
        assert_ne!(victim.spoken(), before);
    }
}

#[test]
fn a_code_of_which_the_server_gives_nothing_is_asked_for_until_it_does() {
    let mut victim = Victim::creator(1);
    victim.input(Input::Command(Command::Invite));
    let before = victim.spoken();
    victim.events.clear();
    for _ in 0..1_000 {
        victim.pass(secs(1));
        while let Some(at) = victim.said.iter().position(|said| matches!(said, ToServer::NewCode { .. })) {
            victim.said.remove(at);
            victim.tell(ToClient::Refused(Refusal::TooFast));
        }
    }
    let denied = |event: &&Event| matches!(event, Event::Denied(_));
    assert_eq!(victim.events.iter().filter(denied).count(), 1, "{:?}", victim.events.len());
    assert_eq!(without_links(&mut victim, NUMBER, 60).0, 1);
    assert_ne!(victim.spoken(), before);
}

#[test]
fn a_server_that_shows_a_joiner_one_door_after_the_other_gets_one_letter_for_each_slot() {
    let code: Code = "48213-tiger-orbit-ocean".parse().unwrap();
    let mut victim = Victim::joiner(&code, 1);
    let mut letters = 0;
    for n in 0..200 {
        victim.tell(ToClient::Joined { room_nonce: [n; 16], visitor: 1, door: slot(n % 16) });
        letters += victim.letters().len();
    }
    assert_eq!(letters, 16);
}
