//! Signaling in the hands of an enemy: it carries all admission mail and may say anything to anyone.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rand_core::SeedableRng;
use scene::{ADA, BOB, SERVER, alone, code, config, invite, secs};
use signaling::ConnId;
use sim::node::{Operator, Turn};
use sim::{Dice, Profile, World};
use vc_core::Error;
use vc_core::crypto::keys::{Rng, StaticKey};
use vc_core::crypto::pake::{self, Context};
use vc_core::io::{Command, Ended, Event, Input, PathPolicy, PeerState, SignalIn, Time};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{Form, Mail, Nameplate, Party, Refusal, ToClient, ToServer, Turned};
use vc_core::room::code::Code;
use victim::insider::{Answer, knock_by};
use victim::{LINK, NONCE, NUMBER, Victim, proof, slot};

/// The server as a joiner who guesses: A1 now, A2 later.
struct Guess {
    visitor: u32,
    joiner: Option<pake::Joiner>,
}

impl Guess {
    fn begin(victim: &mut Victim, visitor: u32, words: &str, rng: &mut Rng) -> Self {
        let nameplate = Nameplate::Spoken(NUMBER);
        victim.tell(ToClient::Visitor { visitor, nameplate });
        let context = Context { nameplate: &nameplate.encode(), room_nonce: NONCE };
        let (joiner, a1) = pake::Joiner::start(words.as_bytes(), &context, rng);
        let blob = Mail::A1(&a1).blob();
        victim.tell(ToClient::Mail { from: Party::Visitor(visitor), blob });
        Self { visitor, joiner: Some(joiner) }
    }

    /// Sends A2. False if the door did not even answer.
    fn prove(&mut self, victim: &mut Victim, letters: &[(Party, Vec<u8>)]) -> bool {
        let answer = letters.iter().find(|(to, _)| *to == Party::Visitor(self.visitor));
        let Some(Ok(Mail::B1(b1))) = answer.map(|(_, blob)| Mail::parse(blob)) else { return false };
        let (_, a2) = self.joiner.take().unwrap().read(b1).unwrap().seal(b"record");
        let blob = Mail::A2(&a2).blob();
        victim.tell(ToClient::Mail { from: Party::Visitor(self.visitor), blob });
        true
    }
}

/// One guess after another; how many the door judged until it answered no more.
fn guess_on(victim: &mut Victim, rounds: u32, mut meanwhile: impl FnMut(&mut Victim, u32)) -> u32 {
    let mut rng = Rng::from_seed([9; 32]);
    let mut judged = 0;
    for round in 0..rounds {
        victim.pass(secs(11));
        let mut guess = Guess::begin(victim, round, "abandon-ability-able", &mut rng);
        let letters = victim.letters();
        judged += u32::from(guess.prove(victim, &letters));
        let answers = victim.letters();
        assert!(answers.iter().all(|(_, blob)| !matches!(Mail::parse(blob), Ok(Mail::B2(_)))));
        meanwhile(victim, round);
    }
    judged
}

#[test]
fn a_server_that_guesses_as_a_joiner_has_a_hundred_tries_and_then_the_code_is_dead() {
    let mut victim = Victim::creator(1);
    assert_eq!(guess_on(&mut victim, 150, |_, _| {}), 100);
    assert_eq!(victim.wrong_codes(), 100);
    assert!(victim.is_locked());
    // Now the right words do not help either.
    let words = victim.spoken();
    victim.pass(secs(60));
    Guess::begin(&mut victim, 1_000, &words, &mut Rng::from_seed([2; 32]));
    let letters = victim.letters();
    assert!(matches!(Mail::parse(&letters[0].1), Ok(Mail::Turned(Turned::Locked))));
}

#[test]
fn tries_come_five_at_once_and_then_one_in_ten_seconds() {
    let mut victim = Victim::creator(1);
    let mut rng = Rng::from_seed([9; 32]);
    for visitor in 0..600u32 {
        victim.pass(secs(1));
        let mut guess = Guess::begin(&mut victim, visitor, "abandon-ability-able", &mut rng);
        let letters = victim.letters();
        guess.prove(&mut victim, &letters);
        let answers = victim.letters();
        assert!(answers.iter().all(|(_, blob)| !matches!(Mail::parse(blob), Ok(Mail::B2(_)))));
    }
    let judged = victim.wrong_codes();
    assert!((60..=66).contains(&judged), "{judged} tries in ten minutes");
}

#[test]
fn who_knows_the_number_and_guesses_nothing_keeps_nobody_out() {
    let mut victim = Victim::creator(1);
    let mut rng = Rng::from_seed([9; 32]);
    let invite = victim.events.iter().rev().find_map(|event| match event {
        Event::Invite(codes) => Some(codes.clone()),
        _ => None,
    });
    let (plate, secret) = invite.unwrap().link.unwrap();
    let words = victim.spoken();
    for visitor in 0..100 {
        victim.pass(secs(2));
        Guess::begin(&mut victim, visitor, "abandon-ability-able", &mut rng);
    }
    let key = |n| StaticKey::generate(&mut Rng::from_seed([n; 32])).public();
    let lets_in = |answer| matches!(answer, Answer::Welcome(_));
    let link = (Nameplate::Link(plate), &secret[..]);
    assert!(lets_in(knock_by(&mut victim, 200, link, &key(50), |_| None)), "by the link");
    let right = (Nameplate::Spoken(NUMBER), words.as_bytes());
    assert!(lets_in(knock_by(&mut victim, 201, right, &key(51), |_| None)), "by the words");
    assert_eq!(victim.wrong_codes(), 0);
    // One who does guess slows down the words, not the link.
    for visitor in 300..340 {
        victim.pass(secs(2));
        let mut guess = Guess::begin(&mut victim, visitor, "abandon-ability-able", &mut rng);
        let letters = victim.letters();
        guess.prove(&mut victim, &letters);
    }
    assert!(lets_in(knock_by(&mut victim, 400, link, &key(52), |_| None)), "by the link");
    let paced = knock_by(&mut victim, 401, right, &key(53), |_| None);
    assert!(matches!(paced, Answer::Refused(Turned::Later)), "by the words");
}

/// The server takes the code away, and gives what it is asked for then.
fn another_code(victim: &mut Victim) {
    let before = victim.spoken();
    victim.tell(ToClient::Seat { slot: slot(0), proof: proof(NUMBER + 1, LINK) });
    for _ in 0..200 {
        victim.pass(secs(1));
        let asked = victim.said.drain(..).find_map(|message| match message {
            ToServer::NewCode { form } => Some(form),
            _ => None,
        });
        match asked {
            Some(Form::Spoken) => victim.tell(ToClient::Plate { nameplate: Nameplate::Spoken(NUMBER) }),
            Some(Form::Link) => victim.tell(ToClient::Plate { nameplate: Nameplate::Link(LINK) }),
            None => continue,
        }
        if victim.spoken() != before {
            break;
        }
    }
    assert!(victim.spoken() != before, "the code is mended");
    victim.tell(ToClient::Seat { slot: slot(0), proof: proof(NUMBER, LINK) });
    victim.said.clear();
}

#[test]
fn a_server_that_takes_our_codes_away_has_four_budgets_more_and_then_one_an_hour() {
    let mut victim = Victim::creator(1);
    let rounds = 12;
    for _ in 0..rounds {
        guess_on(&mut victim, 102, |_, _| {});
        another_code(&mut victim);
    }
    let hours = (victim.now - Time::ZERO).as_secs() as usize / 3_600;
    let tries = victim.wrong_codes();
    assert!((500..=100 * (5 + hours)).contains(&tries) && tries < 100 * rounds, "{tries} in {hours} h");
}

#[test]
fn guesses_that_run_side_by_side_cannot_share_the_last_try() {
    let mut victim = Victim::creator(1);
    assert_eq!(guess_on(&mut victim, 98, |_, _| {}), 98);
    victim.pass(secs(120));
    let mut rng = Rng::from_seed([3; 32]);
    let mut guesses: Vec<Guess> =
        (2_000..2_008).map(|v| Guess::begin(&mut victim, v, "abandon-ability-able", &mut rng)).collect();
    let letters = victim.letters();
    let proven = guesses.iter_mut().filter_map(|g| g.prove(&mut victim, &letters).then_some(())).count();
    assert!(proven >= 5);
    assert_eq!(victim.wrong_codes(), 100);
    assert!(victim.is_locked());
}

#[test]
fn new_nameplates_that_nobody_asked_for_change_nothing_and_refill_no_budget() {
    let mut victim = Victim::creator(1);
    let words = victim.spoken();
    let judged = guess_on(&mut victim, 150, |victim, round| {
        let nameplate = match round % 2 {
            0 => Nameplate::Link([round as u8; 10]),
            _ => Nameplate::Spoken(NUMBER),
        };
        victim.tell(ToClient::Plate { nameplate });
    });
    assert_eq!(judged, 100);
    assert!(victim.spoken() == words, "the code on the screen stays");
}

#[test]
fn a_server_that_poses_as_the_door_learns_nothing_and_the_joiner_tries_once() {
    let code: Code = "48213-tiger-orbit-ocean".parse().unwrap();
    for (words, right) in [("abandon-ability-able", false), ("tiger-orbit-ocean", true)] {
        let mut victim = Victim::joiner(&code, 1);
        victim.tell(ToClient::Joined { room_nonce: NONCE, visitor: 1, door: slot(0) });
        let letters = victim.letters();
        let Ok(Mail::A1(a1)) = Mail::parse(&letters[0].1) else { panic!() };
        let nameplate = Nameplate::Spoken(NUMBER).encode();
        let context = Context { nameplate: &nameplate, room_nonce: NONCE };
        let (keys, b1) = pake::answer(words.as_bytes(), &context, a1, &mut Rng::from_seed([5; 32])).unwrap();
        victim.tell(ToClient::Mail { from: Party::Slot(slot(0)), blob: Mail::B1(&b1).blob() });
        let letters = victim.letters();
        let Ok(Mail::A2(a2)) = Mail::parse(&letters[0].1) else { panic!() };
        // Only the right words open the record: one guess for one code that a person typed.
        assert_eq!(keys.open(a2).is_ok(), right);
        if right {
            continue;
        }
        let blob = Mail::B2(&[0; 300]).blob();
        victim.tell(ToClient::Mail { from: Party::Slot(slot(0)), blob });
        assert_eq!(victim.end(), Some(Ended::Failed(Error::WrongCode)));
        victim.tell(ToClient::Joined { room_nonce: NONCE, visitor: 2, door: slot(0) });
        victim.pass(secs(60));
        assert!(victim.letters().is_empty() && !victim.has_entered());
    }
}

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

/// Whoever poses as the door to a member that was thrown out: it checks its guess by the member's proof, and hangs up.
fn guess_as_door(victim: &mut Victim, rng: &mut Rng) -> bool {
    let nameplate = Nameplate::Spoken(NUMBER);
    victim.tell(ToClient::Joined { room_nonce: NONCE, visitor: 1, door: slot(3) });
    let letters = victim.letters();
    let Some(Ok(Mail::A1(a1))) = letters.first().map(|(_, blob)| Mail::parse(blob)) else { return false };
    let context = Context { nameplate: &nameplate.encode(), room_nonce: NONCE };
    let (keys, b1) = pake::answer(b"abandon-ability-able", &context, a1, rng).unwrap();
    victim.tell(ToClient::Mail { from: Party::Slot(slot(3)), blob: Mail::B1(&b1).blob() });
    let letters = victim.letters();
    let Some(Ok(Mail::A2(a2))) = letters.first().map(|(_, blob)| Mail::parse(blob)) else { return false };
    assert!(keys.open(a2).is_err());
    true
}

/// A creator whose code has no link.
fn with_words_only() -> Victim {
    let mut victim = Victim::creator(1);
    victim.input(Input::Command(Command::Invite));
    victim.tell(ToClient::Plate { nameplate: Nameplate::Spoken(NUMBER) });
    victim.tell(ToClient::Refused(Refusal::Busy));
    victim.tell(ToClient::Seat { slot: slot(0), proof: proof(NUMBER, [0; 10]) });
    victim
}

#[test]
fn a_server_that_says_full_without_end_has_a_member_ask_at_the_door_five_times_and_then_for_its_seat() {
    let mut victim = with_words_only();
    let mut rng = Rng::from_seed([5; 32]);
    let again = |victim: &mut Victim, pause: u64| {
        victim.input(Input::Signal(SignalIn::Down));
        victim.now = victim.now + secs(pause);
        victim.said.clear();
        victim.connect();
        !victim.said.iter().any(|said| matches!(said, ToServer::Reclaim { .. }))
    };
    let full = ToClient::Mail { from: Party::Slot(slot(3)), blob: Mail::Turned(Turned::Full).blob() };
    for proves in [true, false, true] {
        assert!(!again(&mut victim, 1_000));
        victim.tell(ToClient::Refused(Refusal::BadProof));
        let mut asked = 0;
        while asked < 20 && again(&mut victim, 8) {
            asked += 1;
            if proves {
                assert!(guess_as_door(&mut victim, &mut rng));
            } else {
                victim.tell(ToClient::Joined { room_nonce: NONCE, visitor: 1, door: slot(3) });
            }
            victim.tell(full.clone());
        }
        assert_eq!(asked, if proves { 5 } else { 1 }, "proves: {proves}");
    }
}

#[test]
fn a_server_that_throws_a_member_out_to_guess_at_its_words_has_a_hundred_tries_too() {
    let mut victim = with_words_only();
    let (mut rng, mut guesses) = (Rng::from_seed([4; 32]), 0);
    for round in 0..150 {
        // The connection ends before the answer, or a false answer is given, or the seat is given back.
        victim.now = victim.now + secs(1_000);
        victim.input(Input::Signal(SignalIn::Down));
        victim.connect();
        victim.tell(ToClient::Refused(Refusal::BadProof));
        victim.input(Input::Signal(SignalIn::Down));
        victim.now = victim.now + secs(100);
        victim.said.clear();
        victim.connect();
        guesses += u32::from(guess_as_door(&mut victim, &mut rng));
        if round % 2 == 0 {
            victim.tell(ToClient::Mail { from: Party::Slot(slot(3)), blob: Mail::B2(&[0; 300]).blob() });
        }
    }
    assert_eq!(guesses, 100);
    assert!(victim.is_locked());
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
