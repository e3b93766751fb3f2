//! What is looked after each second.

use audio::Reception;
use tokio::time::Instant;
use vc_core::io::{Command, Input, PeerState, PeerView, SignalIn};

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
        self.glance();
        if self.talk_key.is_lost(Instant::now()) {
            self.order_talk(TalkKey::Down(false), Given::InTheCall);
            if self.plan.habits.push_to_talk {
                self.ui.trouble(held::LOST);
            }
        }
        let peers = self.room.peers();
        let live = || peers.iter().filter(|peer| peer.state == PeerState::Live);
        self.plan.sound.set_alone(is_alone(&peers));
        let reception = live().fold(Reception::default(), |worst, peer| Reception {
            loss: worst.loss.max(peer.loss_out),
            burst: if peer.loss_out > worst.loss { peer.burst_out } else { worst.burst },
            queue: worst.queue.max(peer.queue_out),
            listeners: worst.listeners + 1,
        });
        self.plan.sound.told(reception);
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

/// Where the system does not tell, a changed network is noticed before the paths over the old one are given up.
const ADDRESSES_EVERY: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::tests::friend;

    #[test]
    fn the_microphone_does_not_rest_while_a_lost_friend_may_come_back() {
        assert!(is_alone(&[]));
        assert!(is_alone(&[friend(PeerState::Connecting)]));
        assert!(!is_alone(&[friend(PeerState::Live)]));
        assert!(!is_alone(&[friend(PeerState::Connecting), friend(PeerState::Reconnecting)]));
    }
}
