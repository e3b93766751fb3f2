//! The roster's peers, each with its next alarm beside it: one that was not touched since need not be looked at before.

use std::collections::{BTreeMap, VecDeque};

use crate::io::Time;
use crate::peer::machine::{Counts, Peer};
use crate::protocol::member::{MAX_MEMBERS, MemberId};

#[derive(Default)]
pub(super) struct Friends(BTreeMap<MemberId, Friend>);

/// Those whose places were given up, the oldest first.
#[derive(Default)]
pub(super) struct Former(VecDeque<(MemberId, Counts)>);

struct Friend {
    peer: Peer,
    /// `None` since somebody got hold of it who may have changed what it has to do.
    alarm: Option<Alarm>,
}

type Alarm = (Time, &'static str);

impl Friends {
    pub(super) fn get(&self, id: &MemberId) -> Option<&Peer> {
        self.0.get(id).map(|friend| &friend.peer)
    }

    pub(super) fn get_mut(&mut self, id: &MemberId) -> Option<&mut Peer> {
        self.0.get_mut(id).map(Friend::touch)
    }

    pub(super) fn insert(&mut self, id: MemberId, peer: Peer) {
        self.0.insert(id, Friend { peer, alarm: None });
    }

    pub(super) fn remove(&mut self, id: &MemberId) -> Option<Peer> {
        self.0.remove(id).map(|friend| friend.peer)
    }

    pub(super) fn contains_key(&self, id: &MemberId) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &MemberId> {
        self.0.keys()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.0.values().map(|friend| &friend.peer)
    }

    /// Touches all.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.0.values_mut().map(Friend::touch)
    }

    /// Its timers are to run.
    pub(super) fn is_due(&self, id: &MemberId, now: Time) -> bool {
        self.0.get(id).is_some_and(|friend| friend.alarm.is_none_or(|(at, _)| at <= now))
    }

    /// Its timers have run.
    pub(super) fn rest(&mut self, id: &MemberId, now: Time) {
        if let Some(friend) = self.0.get_mut(id) {
            friend.alarm = Some(friend.peer.wake(now));
        }
    }

    pub(super) fn wake(&self, now: Time) -> Option<Alarm> {
        self.0.values().map(|friend| friend.alarm.unwrap_or_else(|| friend.peer.wake(now))).min()
    }
}

impl Former {
    pub(super) fn keep(&mut self, id: MemberId, counts: Counts) {
        if self.0.len() >= MAX_MEMBERS {
            self.0.pop_front();
        }
        self.0.push_back((id, counts));
    }

    pub(super) fn take(&mut self, id: &MemberId) -> Option<Counts> {
        let at = self.0.iter().position(|(former, _)| former == id)?;
        self.0.remove(at).map(|(_, counts)| counts)
    }
}

impl Friend {
    fn touch(&mut self) -> &mut Peer {
        self.alarm = None;
        &mut self.peer
    }
}
