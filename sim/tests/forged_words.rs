//! What members pass on counts as its maker's word, and as nobody else's.
#![allow(clippy::unwrap_used)]

mod scene;
mod victim;

use scene::ms;
use vc_core::crypto::keys::StaticKey;
use vc_core::io::Event;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::control::Control;
use vc_core::protocol::entrance::{Agreed, Entrance, Latest};
use vc_core::protocol::member::{Codes, MemberId};
use vc_core::protocol::removal::Removals;
use victim::Victim;
use victim::insider::Insider;

/// A creator, and a member that says what it likes.
fn pair() -> (Victim, Insider) {
    let mut victim = Victim::creator(1);
    let insider = Insider::admitted(&mut victim, 100);
    (victim, insider)
}

fn tells(victim: &mut Victim, insider: &mut Insider, controls: &[Control]) {
    let mut peer = insider.peer(victim);
    let packets = insider.run(victim, &mut peer, |_, _| {});
    insider.talk(victim, &mut peer, packets);
    victim.events.clear();
    for control in controls {
        victim.now = victim.now + ms(500);
        peer.tell(control);
        let packets = insider.run(victim, &mut peer, |_, _| {});
        insider.talk(victim, &mut peer, packets);
    }
}

/// The next value of its kind, made with this key but under the name of that one.
fn next<T: Agreed>(held: &Latest<T>, value: T, key: &StaticKey, name: &[u8; 32]) -> Latest<T> {
    let mut next = held.clone();
    next.replace(key, value);
    let mut bytes = next.encode();
    bytes[4..36].copy_from_slice(name);
    Latest::decode(&bytes).unwrap()
}

fn codes() -> Codes {
    Codes { spoken: Some((54_321, "ocean-orbit-tiger".into())), link: None }
}

#[test]
fn a_lock_and_a_code_under_another_s_name_are_dropped_and_counted() {
    let (mut victim, mut insider) = pair();
    let held = insider.welcome.entrance.clone();
    let theirs = held.locked.by().0;
    let (key, before) = (insider.key.clone(), victim.room.counters().forged);
    let locked = next(&held.locked, true, &key, &theirs);
    let renewed = next(&held.codes, codes(), &key, &theirs);
    let forged = [
        Control::Entrance(Entrance { locked, codes: held.codes.clone() }),
        Control::Entrance(Entrance { locked: held.locked.clone(), codes: renewed }),
    ];
    tells(&mut victim, &mut insider, &forged);
    assert_eq!(victim.room.counters().forged, before + 2);
    assert!(!victim.events.iter().any(|e| matches!(e, Event::Door { .. } | Event::NewCode { .. })));
    assert!(!victim.events.iter().any(|e| matches!(e, Event::Invite(_))));
}

#[test]
fn a_lock_and_a_code_of_one_s_own_are_shown_as_that() {
    let (mut victim, mut insider) = pair();
    let held = insider.welcome.entrance.clone();
    let (key, id) = (insider.key.clone(), insider.id());
    let own = Entrance {
        locked: next(&held.locked, true, &key, &key.public().0),
        codes: next(&held.codes, codes(), &key, &key.public().0),
    };
    tells(&mut victim, &mut insider, &[Control::Entrance(own)]);
    assert!(victim.events.contains(&Event::Door { open: false, by: id }));
    assert!(victim.events.contains(&Event::NewCode { by: id }));
    assert_eq!(victim.room.counters().forged, 0);
}

#[test]
fn nobody_makes_the_creator_s_removals_but_the_creator() {
    let (mut victim, mut insider) = pair();
    let (me, key) = (victim.room.me().unwrap(), insider.key.clone());
    let warden = key.derive("warden");
    let forged = [(&key, me), (&warden, me), (&key, MemberId([9; 8]))]
        .map(|(key, id)| Control::Removals(Removals::with(key, None, id)));
    tells(&mut victim, &mut insider, &forged);
    assert_eq!(victim.room.counters().forged, 3);
    assert!(victim.end().is_none() && victim.room.peers().len() == 1);
}
