//! A server that guesses at the code: as one who joins, as the door, one guess after the other or side by side.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use rand_core::SeedableRng;
use scene::secs;
use vc_core::Error;
use vc_core::crypto::keys::{Rng, StaticKey};
use vc_core::crypto::pake::{self, Context};
use vc_core::io::{Command, Ended, Event, Input, SignalIn, Time};
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
