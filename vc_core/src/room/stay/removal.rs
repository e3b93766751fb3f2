//! Who goes for good: by its own word or by the creator's. Such a key is never taken again.

use super::*;

/// Removed by us: it is told so until it has acknowledged that, and nothing else is sealed for it any more.
pub(super) struct Dismissed {
    peer: Peer,
    until: Time,
}

/// It said goodbye to us; whether to the server as well is looked at a little later, and again.
pub(super) struct Departed {
    id: MemberId,
    slot: Slot,
    look: Time,
    looks: u32,
}

impl Stay {
    /// Only whoever made the room may; the right ends with that member's stay. The code is renewed, for whoever is
    /// removed knows the old one.
    pub(crate) fn kick(&mut self, world: &mut World, now: Time, id: MemberId) {
        if !self.is_creator() {
            return self.tell_user(world, Event::Denied(Denial::NotCreator));
        }
        if !self.peers.contains_key(&id) {
            return self.tell_user(world, Event::Denied(Denial::NobodyThere));
        }
        self.banish(world, now, id);
        self.invite(world);
    }

    fn banish(&mut self, world: &mut World, now: Time, id: MemberId) {
        let removals = Removals::with(&warden(&self.keys.me), self.removals.as_ref(), id);
        self.enforce(world, now, None, removals);
    }

    /// By the word of `from`, of the door that let us in or of the server: it counts if it is the creator's.
    pub(super) fn learn_removals(
        &mut self,
        world: &mut World,
        now: Time,
        from: Option<MemberId>,
        told: Option<Removals>,
    ) {
        let Some(told) = told.filter(|told| told.is_later_than(self.removals.as_ref())) else { return };
        if !told.is_by(&self.warden) {
            return world.counters.forged += 1;
        }
        if told.contains(&self.me) {
            if let Some(from) = from {
                self.with(world, now, from, |peer, scene| peer.acknowledge(scene));
            }
            return world.over = Some(Error::Kicked);
        }
        self.enforce(world, now, from, told);
    }

    /// Everybody passes it on, also to those that it concerns: they may be out of the creator's reach.
    fn enforce(&mut self, world: &mut World, now: Time, from: Option<MemberId>, removals: Removals) {
        let told = Control::Removals(removals.clone());
        let others = self.peers.values_mut().filter(|peer| Some(peer.id()) != from && !peer.is_away());
        others.for_each(|peer| peer.tell(&told));
        for id in self.ids().into_iter().filter(|id| removals.contains(id)) {
            self.with(world, now, id, |peer, scene| {
                peer.tell_last(&told);
                peer.part(scene, Parting::Kicked);
            });
            if let Some(peer) = self.peers.remove(&id) {
                self.dismissed.insert(id, Dismissed { peer, until: now + DISMISSAL });
            }
        }
        if let Some(before) = self.removals.take() {
            before.dropped_by(&removals).for_each(|id| self.bury(id));
        }
        self.removals = Some(removals);
        self.evict(world);
    }

    /// The server takes their seats: it can tell whose word that is, so everybody may bring it, again after a restart.
    pub(super) fn evict(&self, world: &mut World) {
        if let Some(removals) = self.removals.clone().filter(|_| self.is_seated()) {
            world.tell_server(&ToServer::Evict { removals });
        }
    }

    /// It said goodbye.
    pub(super) fn departed(&mut self, world: &mut World, now: Time, id: MemberId) {
        self.with(world, now, id, |peer, scene| peer.farewell(scene));
        if let Some(peer) = self.peers.remove(&id)
            && self.is_creator()
            && self.departed.len() < MAX_GONE
        {
            self.departed.push(Departed { id, slot: peer.slot(), look: now + LINGERING, looks: LOOKS });
        }
        self.bury(id);
    }

    /// Who has gone does not stay at the server to answer those who come: if it is still there, it is removed.
    pub(super) fn see_out(&mut self, world: &mut World, now: Time) {
        for mut gone in self.departed.extract_if(.., |gone| gone.look <= now).collect::<Vec<_>>() {
            let heirs = self.peers.values().any(|peer| peer.slot() == gone.slot);
            if self.here() & gone.slot.bit() != 0 && !heirs {
                self.banish(world, now, gone.id);
                continue;
            }
            // Without the server nothing is seen.
            gone.looks -= u32::from(self.here() != 0);
            if gone.looks > 0 && !heirs {
                gone.look = now + LINGERING;
                self.departed.push(gone);
            }
        }
    }

    /// Its key is never taken again.
    pub(super) fn is_gone(&self, id: &MemberId) -> bool {
        self.gone.contains(id) || self.removals.as_ref().is_some_and(|removals| removals.contains(id))
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
        // First: we may have slept.
        self.dismissed.retain(|_, gone| now < gone.until && !gone.peer.is_settled());
        let mut acts = Vec::new();
        for dismissed in self.dismissed.values_mut() {
            dismissed.peer.linger(&mut scene(&self.keys, world, now, &mut acts));
        }
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
        let departed = self.departed.iter().map(|gone| gone.look);
        wakes.chain(departed).min()
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

/// The creator's key for removals: the server and those who come learn it, and nobody can tell whose it is.
pub(in crate::room) fn warden(creator: &StaticKey) -> StaticKey {
    creator.derive("warden")
}

fn scene<'a>(keys: &'a Keys, world: &'a mut World, now: Time, acts: &'a mut Vec<Act>) -> Scene<'a> {
    Scene { now, keys, rng: &mut world.rng, counters: &mut world.counters, acts }
}

/// A goodbye to the server takes a round trip, and a connection that nobody closed ends it for honest members.
const LINGERING: Duration = Duration::from_secs(10);
/// A minute, in which it may come back to the server.
const LOOKS: u32 = 6;
/// Four tries on a line of half a second.
const DISMISSAL: Duration = Duration::from_secs(2);
