//! Who is let in at our door, and who becomes a friend by another's word.

use super::*;

impl Stay {
    pub(super) fn visitor(&mut self, world: &mut World, now: Time, visitor: u32, letter: &Mail<'_>) {
        let mut door = std::mem::take(&mut self.door);
        let lock = Lock { codes: self.entrance.codes.get(), nonce: self.nonce };
        let candidates = world.surroundings.candidates().to_vec();
        let relay_only = world.policy == PathPolicy::Relay;
        let welcome = |entry: &Entry, transcript: &Transcript| {
            let id = MemberId::of(&self.keys.room, &entry.record.key);
            if self.is_gone(&id) || id == self.me {
                return Err(Turned::Locked);
            }
            // Whoever shows a member's key could else read the welcome without anybody's seeing a newcomer.
            let returns = self.peers.contains_key(&id) || self.absent_now(now).any(|absent| absent == id);
            if (returns || *self.entrance.locked.get()) && !(returns && self.is_proven(entry, transcript)) {
                return Err(Turned::Closed);
            }
            let others = self.peers.values().filter(|peer| !self.has_ended(peer) && peer.id() != id);
            if others.count() + 1 >= MAX_MEMBERS {
                return Err(Turned::Full);
            }
            Ok(self.welcome(now, relay_only, candidates))
        };
        let verdict = door.letter(now, visitor, letter, &lock, welcome, &mut world.rng);
        self.door = door;
        let to = Party::Visitor(visitor);
        match verdict {
            Verdict::Reply(blob) => world.tell_server(&ToServer::Mail { to, blob }),
            Verdict::Admit { letter, key } => {
                world.tell_server(&ToServer::Mail { to, blob: letter });
                let held = self.peers.values().map(Peer::slot).chain([self.slot]);
                let taken = held.fold(0, |mask, slot| mask | slot.bit());
                let id = MemberId::of(&self.keys.room, &key);
                world.tell_server(&ToServer::Admit { visitor, taken, id });
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

    fn welcome(&self, now: Time, relay_only: bool, candidates: Vec<Candidate>) -> Welcome {
        let myself = Seated { slot: self.slot, record: self.record(relay_only, candidates) };
        let others = self.peers.values().filter(|peer| !self.is_missing(peer)).map(Peer::seated);
        Welcome {
            room: self.keys.room,
            secret: *self.secret.as_bytes(),
            creator: self.creator,
            warden: self.warden,
            entrance: self.entrance.clone(),
            members: std::iter::once(myself).chain(others).collect(),
            gone: self.gone.iter().copied().collect(),
            removals: self.removals.clone(),
            absent: self.absent_now(now).take(MAX_MEMBERS).collect(),
        }
    }

    pub(super) fn record(&self, relay_only: bool, candidates: Vec<Candidate>) -> Record {
        Record { key: self.keys.me.public(), name: self.state.name.clone(), relay_only, candidates }
    }

    /// The owner of its key, rather than one that has only seen it.
    fn is_proven(&self, entry: &Entry, transcript: &Transcript) -> bool {
        let words = admission(&self.keys, transcript);
        entry.known.is_some_and(|shown| entry.record.key.signed(RETURN, &words, &shown))
    }

    /// Members that are away, by our own knowledge or by that of the door that let us in.
    fn absent_now(&self, now: Time) -> impl Iterator<Item = MemberId> {
        let away = |peer: &Peer| peer.away().is_some_and(|(met, _)| met);
        let ours = self.peers.values().filter(move |peer| away(peer)).map(Peer::id);
        let told = self.absent.iter().copied().filter(move |_| self.knows_absent(now));
        ours.chain(told.filter(|id| !self.peers.contains_key(id) && !self.is_gone(id)))
    }

    /// We let a member in: everybody else learns it from us.
    pub(super) fn introduce(&mut self, world: &mut World, now: Time, seated: Seated) {
        self.tell_all(&Control::Add(seated.clone()));
        self.add(world, now, None, &seated);
    }

    /// By the word of a friend: of newcomers, within limits.
    pub(super) fn vouched_for(&mut self, world: &mut World, now: Time, by: MemberId, seated: &Seated) {
        let id = MemberId::of(&self.keys.room, &seated.record.key);
        let newcomer = id != self.me && !self.is_gone(&id) && !self.peers.contains_key(&id);
        let Some(teller) = self.peers.get_mut(&by).filter(|_| newcomer) else {
            return self.add(world, now, Some(by), seated);
        };
        if !teller.vouched().member(now) {
            return world.counters.too_many += 1;
        }
        let count = seated.record.candidates.len();
        let mut seated = seated.clone();
        if !teller.vouched().addresses(now, count) || !self.vouched.addresses_in_all(now, count) {
            world.counters.too_many += 1;
            seated.record.candidates.clear();
        }
        self.add(world, now, Some(by), &seated);
    }

    /// By the word of `from`, or of the door that let us in or is ours.
    pub(super) fn add(&mut self, world: &mut World, now: Time, from: Option<MemberId>, seated: &Seated) {
        let id = MemberId::of(&self.keys.room, &seated.record.key);
        if id == self.me {
            return self.say_seat(world, from, seated.slot);
        }
        if self.is_gone(&id) {
            return;
        }
        if let Some(mut peer) = self.peers.remove(&id) {
            // Others may be wrong about one that we hear ourselves.
            let by_itself = from == Some(id);
            let wants = peer.slot() != seated.slot && (by_itself || !peer.is_live());
            let moves = wants && (!by_itself || peer.may_move(now));
            match moves {
                true => {
                    peer.sits(now, seated.slot);
                    self.offer_seat(world, now, &mut peer);
                    // Whoever says so itself is reached. Two places by turns must not have us knock at its addresses
                    // without end.
                    if !by_itself {
                        peer.appear(now);
                        // The word may be older than what it said itself, which it will not say again unasked.
                        peer.tell(&Control::Add(peer.seated()));
                    }
                    self.put_off.stays(&id);
                }
                false if wants => {
                    world.counters.too_many += 1;
                    self.put_off.seat(now, id, seated);
                }
                false if by_itself => self.put_off.stays(&id),
                false => {}
            }
            self.peers.insert(id, peer);
            if moves && by_itself {
                // Whom it does not reach would go on knocking at its old place.
                let others = self.peers.values_mut().filter(|peer| peer.id() != id && !peer.is_away());
                others.for_each(|peer| peer.tell(&Control::Add(seated.clone())));
            }
        } else if self.makes_room(world, now, seated.slot) {
            let mut peer = Peer::new(now, self.me, id, seated);
            self.former.take(&id).into_iter().for_each(|counts| peer.resume(counts));
            self.offer_seat(world, now, &mut peer);
            offer_candidates(world, now, &mut peer);
            self.peers.insert(id, peer);
        } else {
            self.put_off.newcomer(now, id, seated);
        }
    }

    /// A friend takes us to sit there.
    fn say_seat(&mut self, world: &World, to: Option<MemberId>, told: Slot) {
        let own = self.own_seat(world);
        if let Some(peer) = to.and_then(|id| self.peers.get_mut(&id)).filter(|_| told != own.slot) {
            peer.tell(&Control::Add(own));
        }
    }

    pub(super) fn own_seat(&self, world: &World) -> Seated {
        let candidates = world.surroundings.candidates().to_vec();
        Seated { slot: self.slot, record: self.record(world.policy == PathPolicy::Relay, candidates) }
    }

    /// The paths that lead to its place.
    fn offer_seat(&self, world: &World, now: Time, peer: &mut Peer) {
        let slot = peer.slot();
        for carrier in self.carriers() {
            if matches!(carrier, Carrier::Relay(_)) || !peer.is_relay_only() {
                peer.offer(now, Path::Via { carrier, slot });
            }
        }
        if world.policy == PathPolicy::Auto {
            peer.offer(now, Path::Mail(slot));
        }
    }

    /// Silent, and the server is not connected with it either: its program may have ended.
    fn is_missing(&self, peer: &Peer) -> bool {
        peer.is_away() || (peer.is_lost() && self.here() != 0 && self.here() & peer.slot().bit() == 0)
    }

    /// As far as anybody can tell: one that is cut off is expected back for a minute.
    fn has_ended(&self, peer: &Peer) -> bool {
        peer.is_away() || (self.is_missing(peer) && peer.is_closed())
    }

    /// There is a place for one more, if need be that of the member that has been away longest; rather of one that was
    /// never there; then of one that seems to have ended; at last of one whose slot the server gave to the newcomer.
    fn makes_room(&mut self, world: &mut World, now: Time, slot: Slot) -> bool {
        if self.peers.len() + 1 < MAX_MEMBERS {
            return true;
        }
        let replaced = |peer: &Peer| peer.is_lost() && peer.slot() == slot;
        let missing = self.peers.values().filter(|peer| self.has_ended(peer) || replaced(peer));
        let longest = missing.min_by_key(|peer| (!peer.is_away(), !self.has_ended(peer), peer.away()));
        let Some((id, told)) = longest.map(|peer| (peer.id(), peer.is_away())) else { return false };
        if !told {
            self.with(world, now, id, |peer, scene| peer.part(scene, Parting::TimedOut));
        }
        self.give_up(&id);
        true
    }

    /// Its place is another's, or nobody's.
    pub(super) fn give_up(&mut self, id: &MemberId) {
        if let Some(counts) = self.peers.remove(id).and_then(Peer::counts) {
            self.former.keep(*id, counts);
        }
    }
}
