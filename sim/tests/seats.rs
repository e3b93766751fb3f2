//! Where a member sits is its own to say: whoever has it from others, who may know less, hears it from that one itself.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use scene::{ms, secs};
use vc_core::crypto::keys::PublicKey;
use vc_core::protocol::control::Control;
use victim::Victim;
use victim::friends::{Friend, initiating_key, record, together};
use victim::insider::Insider;

/// Ada, Eve whom she let in, and Bob whom Eve brought: at 0, 1 and 2.
fn ada_eve_and_bob(seed: u8) -> (Victim, [Friend; 2]) {
    let mut ada = Victim::creator(seed);
    let eve = Insider::admitted(&mut ada, 100);
    let bob = eve.posing_as(initiating_key(&ada, &eve.welcome.room, seed));
    let mut friends = [Friend::new(&ada, eve, 1), Friend::new(&ada, bob, 2)];
    let brought = record(friends[1].insider.key.public(), 2, Vec::new());
    friends[EVE].peer.tell(&Control::Add(brought));
    together(&mut ada, &mut friends, secs(8));
    (ada, friends)
}

/// The places of this member that Ada named to this friend, one after the other.
fn named(friend: &Friend, key: PublicKey) -> Vec<usize> {
    let seat = |control: &Control| match control {
        Control::Add(seated) if seated.record.key == key => Some(seated.slot.index()),
        _ => None,
    };
    friend.told.iter().filter_map(seat).collect()
}

#[test]
fn whoever_is_reached_is_told_where_others_say_that_it_sits() {
    let (_, friends) = ada_eve_and_bob(1);
    let bob = friends[BOB].insider.key.public();
    assert_eq!(named(&friends[BOB], bob), [2]);
}

#[test]
fn a_friend_that_has_us_on_another_seat_is_told_which_is_ours_and_one_that_has_it_right_is_not() {
    let (mut ada, mut friends) = ada_eve_and_bob(1);
    let me = friends[EVE].insider.welcome.members[0].record.key;
    for at in [0, 9] {
        friends[EVE].told.clear();
        friends[EVE].peer.tell(&Control::Add(record(me, at, Vec::new())));
        together(&mut ada, &mut friends, secs(1));
        let answer: &[usize] = if at == 0 { &[] } else { &[0] };
        assert_eq!(named(&friends[EVE], me), answer, "at {at}");
    }
}

#[test]
fn an_older_word_on_a_silent_friends_seat_is_put_right_by_that_friend() {
    let (mut ada, mut friends) = ada_eve_and_bob(1);
    let bob = friends[BOB].insider.key.public();
    // It moves, and says so; Eve did not hear of it, and it falls silent.
    friends[BOB].peer.tell(&Control::Add(record(bob, 5, Vec::new())));
    together(&mut ada, &mut friends, secs(1));
    friends[BOB].cut = true;
    together(&mut ada, &mut friends, secs(30));
    friends[EVE].peer.tell(&Control::Add(record(bob, 2, Vec::new())));
    together(&mut ada, &mut friends, secs(1));
    friends.iter_mut().for_each(|friend| friend.told.clear());
    friends[BOB].cut = false;
    let back = |friends: &[Friend; 2]| named(&friends[BOB], bob) == [2];
    for _ in 0..100 {
        together(&mut ada, &mut friends, ms(200));
        if back(&friends) {
            break;
        }
    }
    assert!(back(&friends), "it is not asked: {:?}", named(&friends[BOB], bob));
    friends[BOB].peer.tell(&Control::Add(record(bob, 5, Vec::new())));
    together(&mut ada, &mut friends, secs(1));
    assert_eq!(named(&friends[EVE], bob), [5], "what others hear is its own word");
}

const EVE: usize = 0;
const BOB: usize = 1;
