//! In again with the stored code, without anybody's doing: when the server has given our seat away, or when those who
//! are there do not know us (any more). The key stays the same, so that friends who do know us notice nothing.

use super::*;
use crate::peer::machine::FORGET_AFTER;
use crate::room::join::{Joining, Progress};

/// How we get a seat on the next connection.
pub(super) enum Claim {
    /// By the proof that the server gave us.
    Proof,
    /// By the code, at the door.
    Code,
}

/// When this was last needed, so that it is not tried without end.
pub(super) struct Again {
    entered: Time,
    /// All are away since then.
    alone: Option<Time>,
    next: Time,
    pause: Duration,
    /// How often the room was full in this attempt.
    full: u32,
}

impl Again {
    pub(super) fn new(now: Time) -> Self {
        Self { entered: now, alone: None, next: now, pause: PAUSE_MIN, full: 0 }
    }
}

impl Stay {
    /// The server does not give us our seat: it does not know it (any more), or not yet.
    pub(super) fn unseated(&mut self, world: &mut World, now: Time, why: Refusal) {
        self.asked = None;
        if why == Refusal::BadProof {
            self.try_code(now);
        }
        world.redial(now);
    }

    pub(super) fn ask_at_door(&mut self, world: &mut World, now: Time) {
        let Some(code) = self.way_in() else { return };
        let Some(secret) = secret_of(self.entrance.codes.get(), code) else { return };
        let mut joining = Box::new(Joining::new(code, secret, now));
        world.tell_server(&joining.ask(now));
        self.asked = Some(Asked::Entry(joining));
    }

    /// The code to come back by. A server may throw us out to guess at our words, as if it were the door: those tries
    /// count like others.
    fn way_in(&self) -> Option<Nameplate> {
        let codes = self.entrance.codes.get();
        let link = codes.link.as_ref().map(|(plate, _)| Nameplate::Link(*plate));
        let spoken = codes.spoken.as_ref().filter(|_| !self.door.is_locked());
        link.or(spoken.map(|(number, _)| Nameplate::Spoken(*number)))
    }

    /// What we were told of members that were away then still holds.
    pub(super) fn knows_absent(&self, now: Time) -> bool {
        now - self.again.entered < FORGET_AFTER
    }

    /// A message while we stand at the door.
    pub(super) fn at_door(
        &mut self,
        world: &mut World,
        now: Time,
        mut joining: Box<Joining>,
        message: ToClient,
    ) {
        let record = self.record(world.policy == PathPolicy::Relay, world.surroundings.candidates().to_vec());
        let keys = &self.keys;
        let signed = |transcript: &Transcript| keys.me.sign(RETURN, &admission(keys, transcript));
        let entry = |transcript: &Transcript| Entry { record, known: Some(signed(transcript)) };
        let proved = joining.has_proved();
        match joining.receive(&message, entry, &mut world.rng) {
            Progress::Send(message) => world.tell_server(&message),
            Progress::Prove(message) => {
                world.tell_server(&message);
                if joining.is_guessable() && self.door.shown() {
                    world.out.push_back(Output::Event(Event::Locked));
                }
            }
            Progress::Ignored => world.counters.out_of_turn += 1,
            Progress::Waiting if joining.is_guessable() => self.door.shown_to_a_friend(),
            Progress::Waiting => {}
            Progress::Failed(why) => {
                self.asked = Some(Asked::Entry(joining));
                let claim = if proved && why == Error::Full { self.once_more() } else { Claim::Proof };
                return self.turned_away(world, now, claim);
            }
            Progress::Entered { welcome, nonce, slot, proof } => {
                return self.readmitted(world, now, *welcome, Seat { slot, proof, nonce });
            }
        }
        self.asked = Some(Asked::Entry(joining));
    }

    /// Whether we ought to be somewhere else than we are, and what follows.
    pub(super) fn reconsider(&mut self, world: &mut World, now: Time) {
        if let Some(Asked::Entry(joining)) = &self.asked
            && joining.expired(now).is_some()
        {
            return self.turned_away(world, now, Claim::Proof);
        }
        if !self.peers.values().all(Peer::is_away) {
            (self.again.alone, self.again.pause) = (None, PAUSE_MIN);
        } else {
            self.again.alone.get_or_insert(now);
        }
        if self.asked.is_none()
            && world.link.is_up()
            && self.is_unknown(world.policy, now)
            && self.try_code(now)
        {
            world.redial(now);
        }
    }

    pub(super) fn reconsider_wake(&self, world: &World, now: Time) -> Option<Time> {
        if let Some(Asked::Entry(joining)) = &self.asked {
            return Some(joining.wake());
        }
        let others = self.here() & !self.slot.bit() != 0;
        let wanted = self.asked.is_none() && world.link.is_up() && others;
        let alone = self.again.alone.map(|since| since + self.patience(ALONE_FOR));
        let stranger = self.ignored_since(world.policy).map(|since| since + self.patience(IGNORED_FOR));
        let marks = [alone, stranger].into_iter().flatten().map(|at| at.max(self.again.next));
        marks.filter(|at| wanted && *at > now).min()
    }

    /// This member may still be let in anew, and then meet those whom it never reached.
    pub(super) fn has_hope(&self, now: Time) -> bool {
        matches!(self.claim, Claim::Code) || now - self.again.entered < HOPE
    }

    /// Nobody is reached though somebody is there; or a member ignores us that the server reaches, which whoever let us
    /// in did not live to tell of us.
    fn is_unknown(&self, policy: PathPolicy, now: Time) -> bool {
        let alone = self.again.alone.is_some_and(|since| now - since >= self.patience(ALONE_FOR));
        let ignored =
            self.ignored_since(policy).is_some_and(|since| now - since >= self.patience(IGNORED_FOR));
        (alone && self.met > 0 && self.here() & !self.slot.bit() != 0) || ignored
    }

    /// Only newcomers can be unknown, and only signaling tells a member that ignores us from one that is not reached.
    fn ignored_since(&self, policy: PathPolicy) -> Option<Time> {
        let ignoring = self.peers.values().filter(|peer| peer.slot().bit() & self.here() != 0);
        let since = ignoring.filter_map(Peer::shaking_since).min()?;
        (policy == PathPolicy::Auto && since - self.again.entered < NEWCOMER).then_some(since)
    }

    fn patience(&self, least: Duration) -> Duration {
        least + STAGGER * self.slot.index() as u32
    }

    /// True if the code is to be tried now.
    fn try_code(&mut self, now: Time) -> bool {
        let may = now >= self.again.next && self.way_in().is_some();
        if may {
            self.claim = Claim::Code;
            self.again.full = 0;
            self.again.next = now + self.again.pause;
            self.again.pause = (self.again.pause * 2).min(PAUSE_MAX);
        }
        may
    }

    /// `next` is how we get a seat on the connection after this one.
    fn turned_away(&mut self, world: &mut World, now: Time, next: Claim) {
        self.given_up();
        self.claim = next;
        world.redial(now);
    }

    /// The room is full. Somebody may be gone without a word, which friends notice in a moment; but a server that
    /// lies about it has us away from our seat for that long only.
    fn once_more(&mut self) -> Claim {
        if self.again.full >= FULL_TRIES {
            return Claim::Proof;
        }
        self.again.full += 1;
        Claim::Code
    }

    /// What we asked the server for comes to nothing.
    pub(super) fn given_up(&mut self) {
        if let Some(Asked::Entry(_)) = self.asked.take()
            && self.door.tries() > 0
        {
            self.tell_all(&Control::Fails(self.door.tries()));
        }
    }

    fn readmitted(&mut self, world: &mut World, now: Time, welcome: Welcome, seat: Seat) {
        if welcome.room != self.keys.room {
            return self.turned_away(world, now, Claim::Proof);
        }
        (self.slot, self.proof, self.nonce) = (seat.slot, seat.proof, seat.nonce);
        self.claim = Claim::Proof;
        self.again.entered = now;
        for id in welcome.gone {
            if !self.peers.get(&id).is_some_and(Peer::is_here) {
                self.peers.remove(&id);
                self.bury(id);
            }
        }
        self.learn_removals(world, now, None, welcome.removals);
        self.absent = welcome.absent;
        for member in &welcome.members {
            self.add(world, now, None, member);
        }
        self.peers.values_mut().filter(|peer| !peer.is_live()).for_each(|peer| peer.restart(now));
        self.learn(world, now, None, welcome.entrance);
        self.tell_all(&Control::Add(self.own_seat(world)));
        self.seated(world);
    }
}

/// What a member signs to come back: this admission to this room, so that nobody can show it at another door.
pub(super) fn admission(keys: &Keys, transcript: &Transcript) -> Vec<u8> {
    [&keys.room[..], transcript].concat()
}

pub(super) const RETURN: &str = "return";

/// From when all are away. By then the server has dropped whoever fell silent when they did, so that who is there is
/// awake.
const ALONE_FOR: Duration = Duration::from_secs(20);
/// Two that do not know each other must not both leave their seats at once: the other is the door.
const STAGGER: Duration = Duration::from_millis(300);
/// One whole handshake attempt and half of the next, over signaling too.
const IGNORED_FOR: Duration = Duration::from_secs(8);
/// All members of a room are told of a newcomer long before.
const NEWCOMER: Duration = Duration::from_secs(60);
/// A little longer than a member is tried before it counts as out of reach.
const HOPE: Duration = Duration::from_secs(25);
/// A door that turned us away for a reason does so again.
const PAUSE_MIN: Duration = Duration::from_secs(30);
/// By then a friend that fell silent is known to be gone; each try counts as one at the code.
const FULL_TRIES: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_secs(900);
