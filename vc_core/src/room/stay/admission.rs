//! Who is let in at our door, and who becomes a friend by another's word.

use super::*;

impl Stay {
    pub(super) fn visitor(&mut self, world: &mut World, now: Time, visitor: u32, letter: &Mail<'_>) {
        let mut door = std::mem::take(&mut self.door);
        let lock = Lock { codes: self.entrance.codes.get(), nonce: self.nonce };
        let candidates = world.surroundings.candidates();
        let relay_only = world.policy == PathPolicy::Relay;
        let welcome = |record: &Record| {
            let id = MemberId::of(&self.keys.room, &record.key);
            if *self.entrance.locked.get() {
                return Err(Turned::Closed);
            }
            if self.gone.contains(&id) || self.peers.contains_key(&id) || id == self.me {
                return Err(Turned::Locked);
            }
            if self.peers.values().filter(|peer| !peer.is_away()).count() + 1 >= MAX_MEMBERS {
                return Err(Turned::Full);
            }
            Ok(self.welcome(relay_only, candidates))
        };
        let verdict = door.letter(now, visitor, letter, &lock, welcome, &mut world.rng);
        self.door = door;
        let to = Party::Visitor(visitor);
        match verdict {
            Verdict::Reply(blob) => world.tell_server(&ToServer::Mail { to, blob }),
            Verdict::Admit(blob) => {
                world.tell_server(&ToServer::Mail { to, blob });
                let held = self.peers.values().map(Peer::slot).chain([self.slot]);
                let taken = held.fold(0, |mask, slot| mask | slot.bit());
                world.tell_server(&ToServer::Admit { visitor, taken });
            }
            Verdict::Wrong { reply, tries } => {
                world.tell_server(&ToServer::Mail { to, blob: reply });
                world.out.push_back(Output::Event(Event::WrongCode { tries }));
                if self.door.is_locked() {
                    world.out.push_back(Output::Event(Event::Locked));
                }
                self.tell_all(&Control::Fails(tries));
            }
            Verdict::Dropped => world.counters.out_of_turn += 1,
        }
    }

    fn welcome(&self, relay_only: bool, candidates: Vec<Candidate>) -> Welcome {
        let myself = Seated {
            slot: self.slot,
            record: Record {
                key: self.keys.me.public(),
                name: self.state.name.clone(),
                relay_only,
                candidates,
            },
        };
        let others = self.peers.values().filter(|peer| !peer.is_away()).map(Peer::seated);
        Welcome {
            room: self.keys.room,
            secret: *self.secret.as_bytes(),
            creator: self.creator,
            entrance: self.entrance.clone(),
            members: std::iter::once(myself).chain(others).collect(),
            gone: self.gone.iter().copied().collect(),
        }
    }

    /// We let a new member in: everybody else learns it from us.
    pub(super) fn introduce(&mut self, world: &mut World, now: Time, seated: Seated) {
        self.tell_all(&Control::Add(seated.clone()));
        self.add(world, now, &seated);
    }

    pub(super) fn add(&mut self, world: &World, now: Time, seated: &Seated) {
        let id = MemberId::of(&self.keys.room, &seated.record.key);
        let known = id == self.me || self.peers.contains_key(&id) || self.gone.contains(&id);
        if known || !self.makes_room() {
            return;
        }
        let mut peer = Peer::new(now, self.me, id, seated);
        for carrier in self.carriers() {
            if matches!(carrier, Carrier::Relay(_)) || !peer.is_relay_only() {
                peer.offer(now, Path::Via { carrier, slot: seated.slot });
            }
        }
        offer_candidates(world, now, &mut peer);
        if world.policy == PathPolicy::Auto {
            peer.offer(now, Path::Mail(seated.slot));
        }
        self.peers.insert(id, peer);
    }

    /// There is a place for one more, if need be that of the member that has been away longest.
    fn makes_room(&mut self) -> bool {
        if self.peers.len() + 1 < MAX_MEMBERS {
            return true;
        }
        let longest = self.peers.values().filter_map(|peer| Some((peer.away_since()?, peer.id()))).min();
        longest.is_some_and(|(_, id)| self.peers.remove(&id).is_some())
    }
}
