//! A member that was let in, as a liar and a nuisance: what it can keep others from saying to each other, and where it
//! can make them knock.
#![allow(clippy::unwrap_used)]

mod victim;

use std::time::Duration;

use vc_core::io::{Command, Input, PeerState};
use vc_core::protocol::control::Control;
use vc_core::protocol::entrance::Entrance;
use victim::Victim;
use victim::friends::{Friend, initiating_key, record, together};
use victim::insider::Insider;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Ada with a liar and an honest Bob, all live.
fn ada_with_a_liar_and_bob(seed: u8) -> (Victim, [Friend; 2]) {
    let mut ada = Victim::creator(seed);
    let liar = Insider::admitted(&mut ada, 100);
    let bob = liar.posing_as(initiating_key(&ada, &liar.welcome.room, seed));
    let mut friends = [Friend::new(&ada, liar, 1), Friend::new(&ada, bob, 2)];
    let vouched = record(friends[1].insider.key.public(), 2, Vec::new());
    friends[0].peer.tell(&Control::Add(vouched));
    together(&mut ada, &mut friends, secs(8));
    assert_eq!(ada.room.peers().iter().filter(|peer| peer.state == PeerState::Live).count(), 2);
    (ada, friends)
}

fn entrance(friend: &Friend) -> Entrance {
    let told = friend.told.iter().rev();
    let mut entrances = told.filter_map(|control| match control {
        Control::Entrance(entrance) => Some(entrance.clone()),
        _ => None,
    });
    entrances.next().unwrap_or_else(|| friend.insider.welcome.entrance.clone())
}

fn entrances(friend: &Friend) -> usize {
    friend.told.iter().filter(|control| matches!(control, Control::Entrance(_))).count()
}

/// One more turn of the lock, under the liar's own name.
fn turned(entrance: &mut Entrance, liar: &Friend) -> Control {
    let locked = !entrance.locked.get();
    entrance.locked.replace(&liar.insider.key, locked);
    Control::Entrance(entrance.clone())
}

#[test]
fn a_member_that_turns_the_lock_without_end_delays_nothing_that_two_friends_say() {
    for seed in 1..4 {
        let (mut ada, mut friends) = ada_with_a_liar_and_bob(seed);
        let mut held = entrance(&friends[0]);
        let before = entrances(&friends[1]);
        for n in 0..100 {
            for _ in 0..10 {
                let told = turned(&mut held, &friends[0]);
                friends[0].peer.tell(&told);
            }
            if n % 10 == 0 {
                ada.input(Input::Command(Command::Say(format!("line {n}"))));
                ada.input(Input::Command(Command::Mute(n % 20 == 0)));
                together(&mut ada, &mut friends, Duration::from_millis(300));
                assert_eq!(friends[1].lines.last(), Some(&format!("line {n}")), "seed {seed}");
                assert_eq!(friends[1].peer.state().muted, n % 20 == 0, "seed {seed}");
            } else {
                together(&mut ada, &mut friends, Duration::from_millis(300));
            }
        }
        // Sixteen at once, and then one in 2.4 s for half a minute.
        let passed_on = entrances(&friends[1]) - before;
        assert!((16..=16 + 14).contains(&passed_on), "seed {seed}: {passed_on} of 1,000");
        // Put off, not forgotten.
        together(&mut ada, &mut friends, secs(5));
        assert!(entrance(&friends[1]).locked.get() == held.locked.get(), "seed {seed}");
    }
}

#[test]
fn who_is_out_of_reach_while_a_liar_talks_hears_every_line_and_ends_with_what_is_true() {
    for seed in 1..4 {
        let (mut ada, mut friends) = ada_with_a_liar_and_bob(seed);
        let mut held = entrance(&friends[0]);
        friends[1].cut = true;
        let mut lines = Vec::new();
        for n in 0..50 {
            let told = turned(&mut held, &friends[0]);
            friends[0].peer.tell(&told);
            ada.input(Input::Command(Command::Mute(n % 2 == 0)));
            ada.input(Input::Command(Command::Rename(format!("ada {n}"))));
            lines.push(format!("line {n}"));
            ada.input(Input::Command(Command::Say(format!("line {n}"))));
            together(&mut ada, &mut friends, Duration::from_millis(200));
        }
        let before = friends[1].told.len();
        friends[1].cut = false;
        together(&mut ada, &mut friends, secs(15));
        assert_eq!(friends[1].lines, lines, "seed {seed}");
        assert_eq!(friends[1].peer.name(), "ada 49");
        assert!(entrance(&friends[1]).locked.get() == held.locked.get());
        let news = friends[1].told.len() - before;
        assert!(news <= 40, "seed {seed}: {news} messages for what is one state");
    }
}
