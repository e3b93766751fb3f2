//! What is looked after each second.

use audio::Reception;
use tokio::time::Instant;
use vc_core::io::{Command, Input, PeerState, PeerView, SignalIn};

use super::happened::CODE_FOLLOWS;
use super::{App, held};
use crate::note::Note;
use crate::order::{Given, TalkKey};
use crate::sockets::interface_addresses;

impl App<'_> {
    pub(super) async fn second(&mut self) {
        self.counts.seconds += 1;
        for note in self.calm.due(self.clock.now()) {
            self.announce(&note);
        }
        self.tell_renewed(Instant::now());
        // A code may be long in coming.
        if self.entered.is_some_and(|since| since.elapsed() > CODE_FOLLOWS) {
            self.tell_ailment();
        }
        self.glance();
        if self.talk_key.is_lost(Instant::now()) {
            drop(self.order_talk(TalkKey::Down(false), Given::InTheCall));
            if self.plan.habits.push_to_talk {
                self.ui.trouble(held::LOST);
            }
        }
        let peers = self.room.peers();
        self.plan.sound.set_alone(is_alone(&peers));
        self.plan.sound.told(reported(&peers));
        let echoes = self.plan.sound.echoes();
        self.tell(Input::Command(Command::Echoes(echoes)));
        if self.ui.is_followed() && self.room.me().is_some() {
            self.ui.beat(&Note::Stats(self.stats()));
        }
        if self.counts.seconds.is_multiple_of(ADDRESSES_EVERY) {
            self.look_around().await;
        }
    }

    /// The network may be another one than before.
    pub(super) async fn look_around(&mut self) {
        self.sockets.mend().await;
        let addresses = interface_addresses(true);
        for hop in self.streams.mend(&addresses) {
            self.tell(Input::Closed(hop));
        }
        self.tell_addresses();
        if self.link.mend(&addresses) {
            self.tell(Input::Signal(SignalIn::Down));
        }
    }
}

/// Nobody hears us, nor will by themselves. One whose path is lost hears us at once when it is found again.
fn is_alone(peers: &[PeerView]) -> bool {
    !peers.iter().any(|peer| matches!(peer.state, PeerState::Live | PeerState::Reconnecting))
}

/// What those who hear us make of it.
fn reported(peers: &[PeerView]) -> Reception {
    let live = peers.iter().filter(|peer| peer.state == PeerState::Live);
    live.map(|peer| Reception {
        loss: peer.loss_out,
        burst: peer.burst_out,
        queue: peer.queue_out,
        listeners: 1,
    })
    .fold(Reception::default(), Reception::worst)
}

/// Where the system does not tell, a changed network is noticed before the paths over the old one are given up.
const ADDRESSES_EVERY: u64 = 5;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::volumes::tests::friend;

    #[test]
    fn the_microphone_does_not_rest_while_a_lost_friend_may_come_back() {
        assert!(is_alone(&[]));
        assert!(is_alone(&[friend(PeerState::Connecting)]));
        assert!(!is_alone(&[friend(PeerState::Live)]));
        assert!(!is_alone(&[friend(PeerState::Connecting), friend(PeerState::Reconnecting)]));
    }

    #[test]
    fn one_friend_s_single_losses_do_not_hide_another_s_runs_and_who_is_not_there_reports_nothing() {
        let lossy = |state, loss_out, burst_out, queue| PeerView {
            loss_out,
            burst_out,
            queue_out: Duration::from_millis(queue),
            ..friend(state)
        };
        let (live, away) = (PeerState::Live, PeerState::Reconnecting);
        let singles = lossy(live, 0.1, 1.0, 0);
        let runs = lossy(live, 0.09, 9.0, 20);
        let gone = lossy(away, 0.9, 40.0, 300);
        let worst = Reception { loss: 0.1, burst: 9.0, queue: Duration::from_millis(20), listeners: 2 };
        assert_eq!(reported(&[singles.clone(), runs.clone(), gone.clone()]), worst);
        assert_eq!(reported(&[gone, runs, singles]), worst);
        assert_eq!(reported(&[]), Reception::default());
    }
}
