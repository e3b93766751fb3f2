//! Whom the maker of a room removed has no place at its server.

use vc_core::protocol::removal::Removals;

use super::*;

const EVE: MemberId = MemberId([9; 8]);
const BOB: MemberId = MemberId([8; 8]);

fn warden() -> StaticKey {
    StaticKey::from_bytes([5; 32])
}

/// Ada made it on connection 1, then Eve came on 2 and Bob on 3; the proofs of the three.
fn room(w: &mut World) -> (Nameplate, [Reclaim; 3]) {
    let (_, nameplate, ada) = w.create_with(1, Form::Link, warden().public());
    let (_, eve) = w.enter_as(2, 1, nameplate, EVE);
    let (_, bob) = w.enter_as(3, 1, nameplate, BOB);
    w.said.clear();
    (nameplate, [ada, eve, bob])
}

fn without_eve() -> Removals {
    Removals::with(&warden(), None, EVE)
}

fn evict(w: &mut World, conn: ConnId, removals: &Removals) {
    w.say(conn, ToServer::Evict { removals: removals.clone() });
}

#[test]
fn who_is_evicted_is_told_why_and_has_no_seat_any_more() {
    let mut w = World::new();
    let (_, [_, eve, _]) = room(&mut w);
    let removed = ToClient::Removed { removals: without_eve() };
    // Any member brings the word.
    evict(&mut w, 3, &without_eve());
    assert!(w.heard(2) == [removed.clone(), ToClient::Refused(Refusal::BadProof)] && w.closed.contains(&2));
    assert!(w.heard(1) == [removed.clone(), ToClient::Present { slots: 0b101 }]);
    assert!(w.heard(3) == [ToClient::Present { slots: 0b101 }]);
    assert!(w.reclaim(4, eve) == [removed, ToClient::Refused(Refusal::BadProof)]);
    evict(&mut w, 1, &without_eve());
    assert!(w.heard(1).is_empty() && w.heard(3).is_empty(), "said once");
}

#[test]
fn nobody_but_the_maker_of_the_room_evicts() {
    let mut w = World::new();
    room(&mut w);
    evict(&mut w, 2, &Removals::with(&StaticKey::from_bytes([6; 32]), None, BOB));
    assert!((1..=3).all(|conn| w.heard(conn).is_empty()) && w.closed.is_empty());
    // An old list does not take the place of a later one.
    evict(&mut w, 1, &Removals::with(&warden(), Some(&without_eve()), BOB));
    evict(&mut w, 1, &without_eve());
    assert!(w.closed.contains(&2) && w.closed.contains(&3));
    assert!(w.heard(1) == [ToClient::Present { slots: 1 }, ToClient::Present { slots: 1 }]);
}

#[test]
fn the_seat_of_one_who_is_evicted_is_free_and_waiting_visitors_are_shown_to_the_next() {
    let mut w = World::new();
    let (nameplate, _) = room(&mut w);
    w.say(1, ToServer::Leave);
    w.greeted(4);
    let (visitor, door) = w.join(4, nameplate).unwrap();
    assert!(door == slot(1));
    evict(&mut w, 3, &without_eve());
    assert!(matches!(w.heard(4)[..], [ToClient::Joined { door, .. }] if door == slot(2)));
    w.say(3, ToServer::Admit { visitor, taken: 0, id: ID });
    let seated = w.heard(4);
    assert!(seated.iter().any(|m| matches!(m, ToClient::Seat { slot: s, .. } if *s == slot(0))));
    assert!(seated.contains(&ToClient::Removed { removals: without_eve() }));
}

#[test]
fn a_door_that_lets_in_who_was_removed_is_told_better() {
    let mut w = World::new();
    let (nameplate, _) = room(&mut w);
    evict(&mut w, 3, &without_eve());
    w.said.clear();
    w.greeted(4);
    let (visitor, _) = w.join(4, nameplate).unwrap();
    w.heard(1);
    w.say(1, ToServer::Admit { visitor, taken: 0, id: EVE });
    let removed = ToClient::Removed { removals: without_eve() };
    assert!(w.heard(1) == [removed.clone()]);
    assert!(w.heard(4) == [removed, ToClient::Refused(Refusal::BadProof)]);
}

#[test]
fn after_a_restart_of_the_server_the_first_who_knows_makes_it_know_again() {
    let mut w = World::new();
    let (_, [_, eve, bob]) = room(&mut w);
    evict(&mut w, 3, &without_eve());
    w.restart();
    assert!(proof_in(&w.reclaim(12, eve)).is_some(), "it cannot know");
    w.reclaim(13, bob);
    w.heard(12);
    evict(&mut w, 13, &without_eve());
    assert_eq!(refused(&w.heard(12)), Some(Refusal::BadProof));
    assert!(w.closed.contains(&12));
    assert_eq!(refused(&w.reclaim(14, eve)), Some(Refusal::BadProof));
}
