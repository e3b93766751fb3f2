//! A member that left and still knows the room's secret: what it can keep others from.
#![allow(clippy::unwrap_used)]

mod victim;

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::{RngCore, SeedableRng};
use vc_core::crypto::keys::{Rng, kdf, mac16};
use vc_core::io::{Input, PeerState};
use vc_core::protocol::control::Control;
use vc_core::protocol::member::{Candidate, Kind};
use vc_core::protocol::packet::hs_init;
use victim::Victim;
use victim::friends::{Friend, initiating_key, record, together, together_under};
use victim::insider::Insider;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn live(victim: &Victim) -> usize {
    victim.room.peers().iter().filter(|peer| peer.state == PeerState::Live).count()
}

/// Handshakes with a right gate, from addresses that are anybody's.
struct Flood {
    gate: [u8; 32],
    rng: Rng,
    sent: u64,
}

impl Flood {
    fn new(insider: &Insider) -> Self {
        let gate = *kdf(&insider.welcome.secret, "gate", &[]).as_bytes();
        Self { gate, rng: Rng::from_seed([5; 32]), sent: 0 }
    }

    /// A hundred a second if called each 10 ms.
    fn surge(&mut self, victim: &mut Victim) {
        let mut noise = [0; 104];
        self.rng.fill_bytes(&mut noise);
        let mut bytes = hs_init(self.rng.next_u32(), &noise);
        bytes.extend_from_slice(&mac16(&self.gate, &[&bytes]));
        self.sent += 1;
        let from = SocketAddr::from(([203, 0, 113, 10 + (self.sent % 80) as u8], 40_000));
        victim.input(Input::Datagram { from: from.into(), bytes: &bytes });
    }
}

#[test]
fn who_left_can_keep_out_neither_a_newcomer_nor_a_friend_who_comes_back() {
    let mut ada = Victim::creator(1);
    let leaver = Insider::admitted(&mut ada, 100);
    let room = leaver.welcome.room;
    let bob = leaver.posing_as(initiating_key(&ada, &room, 1));
    let zoe = leaver.posing_as(initiating_key(&ada, &room, 2));
    let mut flood = Flood::new(&leaver);
    let mut friends =
        vec![Friend::new(&ada, leaver, 1), Friend::new(&ada, bob, 2), Friend::new(&ada, zoe, 3)];
    let vouched = |friend: &Friend, slot: u8| {
        let candidates = vec![Candidate { kind: Kind::ServerReflexive, addr: friend.at }];
        Control::Add(record(friend.insider.key.public(), slot, candidates))
    };
    friends[2].cut = true;
    let bob = vouched(&friends[1], 2);
    friends[0].peer.tell(&bob);
    together(&mut ada, &mut friends, secs(8));
    friends[0].peer.tell(&Control::Leave);
    together(&mut ada, &mut friends, secs(2));
    friends.remove(0);
    assert_eq!(live(&ada), 1);

    together_under(&mut ada, &mut friends, secs(20), |ada| flood.surge(ada));
    let zoe = vouched(&friends[1], 3);
    friends[0].peer.tell(&zoe);
    friends[1].cut = false;
    together_under(&mut ada, &mut friends, secs(8), |ada| flood.surge(ada));
    assert_eq!(live(&ada), 2, "the newcomer is heard");

    friends[0].cut = true;
    together_under(&mut ada, &mut friends, secs(80), |ada| flood.surge(ada));
    assert_eq!(live(&ada), 1);
    friends[0].cut = false;
    together_under(&mut ada, &mut friends, secs(8), |ada| flood.surge(ada));
    assert_eq!(live(&ada), 2, "he is back");
    assert!(ada.room.counters().too_many > flood.sent / 2);
}
