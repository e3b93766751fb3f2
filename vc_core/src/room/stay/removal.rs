//! Who goes for good: by its own word or by the creator's. Such a key is never taken again.

use super::*;

/// Removed by us: it is told so until it has acknowledged that, and nothing else is sealed for it any more.
pub(super) struct Dismissed {
    peer: Peer,
    until: Time,
}

impl Stay {
    /// Only whoever made the room may; the right ends with that member's stay. The code is renewed, for whoever is
    /// removed knows the old one.
    pub(crate) fn kick(&mut self, world: &mut World, now: Time, id: MemberId) {
        if self.me != self.creator {
            return self.tell_user(world, Event::Denied(Denial::NotCreator));
        }
        if !self.peers.contains_key(&id) {
            return self.tell_user(world, Event::Denied(Denial::NobodyThere));
        }
        self.tell_all(&Control::Kick(id));
        self.with(world, now, id, |peer, scene| peer.part(scene, Parting::Kicked));
        if let Some(peer) = self.peers.remove(&id) {
            self.dismissed.insert(id, Dismissed { peer, until: now + DISMISSAL });
        }
        self.bury(id);
        self.kicked.push_back(id);
        if self.kicked.len() > MAX_GONE {
            self.kicked.pop_front();
        }
        self.invite(world);
    }

    /// It left, or the creator removed it.
    pub(super) fn remove(&mut self, world: &mut World, now: Time, id: MemberId, why: Parting) {
        self.with(world, now, id, |peer, scene| match why {
            Parting::Left => peer.farewell(scene),
            Parting::TimedOut | Parting::Kicked => peer.part(scene, why),
        });
        self.peers.remove(&id);
        self.bury(id);
    }

    /// A packet of one that was removed: its acknowledgement, or nothing to us.
    pub(super) fn last_packet(
        &mut self,
        world: &mut World,
        now: Time,
        path: Path,
        (index, counter): (u32, u32),
        bytes: &mut [u8],
    ) {
        let Some(dismissed) = self.dismissed.values_mut().find(|gone| gone.peer.owns(index)) else {
            return world.counters.unknown += 1;
        };
        let mut ignored = Vec::new();
        let mut scene = scene(&self.keys, world, now, &mut ignored);
        dismissed.peer.transport(&mut scene, path, index, counter, bytes);
    }

    pub(super) fn dismiss(&mut self, world: &mut World, now: Time) {
        let mut acts = Vec::new();
        for dismissed in self.dismissed.values_mut() {
            dismissed.peer.linger(&mut scene(&self.keys, world, now, &mut acts));
        }
        self.dismissed.retain(|_, gone| now < gone.until && !gone.peer.is_settled());
        for act in acts {
            if let Act::Send { path, bytes } = act {
                self.send(world, now, path, bytes);
            }
        }
    }

    pub(super) fn dismissal_wake(&self, now: Time) -> Option<Time> {
        let wakes = self
            .dismissed
            .values()
            .map(|gone| gone.peer.linger_wake(now).unwrap_or(gone.until).min(gone.until));
        wakes.min()
    }

    pub(super) fn bury(&mut self, id: MemberId) {
        if self.gone.contains(&id) {
            return;
        }
        if self.gone.len() >= MAX_GONE {
            self.gone.pop_front();
        }
        self.gone.push_back(id);
    }
}

fn scene<'a>(keys: &'a Keys, world: &'a mut World, now: Time, acts: &'a mut Vec<Act>) -> Scene<'a> {
    Scene { now, keys, rng: &mut world.rng, counters: &mut world.counters, acts }
}

/// Four tries on a line of half a second.
const DISMISSAL: Duration = Duration::from_secs(2);
