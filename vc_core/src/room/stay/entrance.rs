//! Locking the room and changing its code: any member may, and all end with the latest word of anyone.

use super::*;
use crate::protocol::entrance::{Agreed, Entrance, Forged, Latest};

/// New codes in the making: the server gives one nameplate after the other.
pub(super) struct Draft {
    codes: Codes,
    /// Forms still to be asked for, the next one first.
    wanted: Vec<Form>,
    /// What the server gave none for: it names only so many in a minute.
    refused: Vec<Form>,
    /// Until those are asked for again; `None` while there is something else to ask for.
    again: Option<Time>,
    /// How often it gave less than was asked for.
    refusals: u32,
}

impl Draft {
    fn new(codes: Codes, wanted: Vec<Form>) -> Self {
        Self { codes, wanted, refused: Vec::new(), again: None, refusals: 0 }
    }

    /// The room was made with a number to say; a link to paste is to follow.
    pub(super) fn of_founder(codes: Codes) -> Self {
        Self::new(codes, vec![Form::Link])
    }

    pub(super) fn wake(&self) -> Option<Time> {
        self.again
    }

    /// A code was made of what the server gave; the rest of it may never come.
    fn is_of_use(&self) -> bool {
        self.again.is_some() && self.codes != Codes::default()
    }

    /// When the server is asked again for what it did not give; never, if the code can do without and it had its time.
    fn refused(&mut self, now: Time) -> Option<Time> {
        let pause = if self.refusals == 0 { REFUSED_FIRST } else { REFUSED_NEXT };
        self.refusals += 1;
        let hopeless = self.refusals >= REFUSALS && self.codes != Codes::default();
        (!hopeless).then(|| now + pause)
    }
}

/// What friends tell faster than we pass it on: of each the latest word, for a little later.
#[derive(Default)]
pub(super) struct PutOff {
    words: BTreeMap<MemberId, Entrance>,
    /// Where they sit now.
    seats: BTreeMap<MemberId, Seated>,
    /// For whom there is no place yet, and until when one is looked for.
    newcomers: BTreeMap<MemberId, (Seated, Time)>,
    until: Time,
}

impl PutOff {
    pub(super) fn wake(&self) -> Option<Time> {
        (!self.is_empty()).then_some(self.until)
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.seats.is_empty() && self.newcomers.is_empty()
    }

    fn begin(&mut self, now: Time) {
        if self.is_empty() {
            self.until = now + PUT_OFF;
        }
    }

    /// Its own word.
    pub(super) fn seat(&mut self, now: Time, id: MemberId, seated: &Seated) {
        self.begin(now);
        self.seats.insert(id, seated.clone());
    }

    /// Others know already that somebody left, and let this one in.
    pub(super) fn newcomer(&mut self, now: Time, id: MemberId, seated: &Seated) {
        self.begin(now);
        if self.newcomers.len() < MAX_MEMBERS {
            self.newcomers.entry(id).or_insert((seated.clone(), now + NEWCOMER_WAITS));
        }
    }

    /// It sits where it was.
    pub(super) fn stays(&mut self, id: &MemberId) {
        self.seats.remove(id);
    }
}

/// A code of ours that leads nowhere is replaced. Two members may ask for new ones at the same moment: the members agree
/// on one of them, the server on the one that it was asked for last.
#[derive(Default)]
pub(super) struct Mending {
    due: Option<Time>,
    done: Bucket,
}

impl Mending {
    pub(super) fn wake(&self) -> Option<Time> {
        self.due
    }
}

impl Stay {
    pub(crate) fn lock(&mut self, world: &mut World, locked: bool) {
        if *self.entrance.locked.get() != locked {
            self.entrance.locked.replace(&self.keys.me, locked);
            self.tell_all(&Control::Entrance(self.entrance.clone()));
            self.tell_user(world, Event::Door { open: !locked, by: self.me });
        }
    }

    /// From now on nobody gets in with the old code; the new one follows when the server has named it.
    pub(crate) fn invite(&mut self, world: &mut World) {
        self.entrance.codes.replace(&self.keys.me, Codes::default());
        self.tell_all(&Control::Entrance(self.entrance.clone()));
        self.draft = Some(Draft::new(Codes::default(), vec![Form::Spoken, Form::Link]));
        if !world.link.is_up() || !self.is_seated() {
            self.tell_user(world, Event::Denied(Denial::NoServer));
        }
        self.ask_for_plate(world);
    }

    /// One request at a time, and only while the server knows us.
    pub(super) fn ask_for_plate(&mut self, world: &mut World) {
        let next = self.draft.as_ref().and_then(|draft| draft.wanted.first().copied());
        if let (None, Some(form)) = (&self.asked, next)
            && world.link.is_up()
        {
            self.asked = Some(Asked::Plate(form));
            world.tell_server(&ToServer::NewCode { form });
        }
    }

    /// The answer to the request for a nameplate of this form; `None` if the server gives none (now).
    pub(super) fn plate(&mut self, world: &mut World, now: Time, form: Form, plate: Option<Nameplate>) {
        self.asked = None;
        let Some(draft) = &mut self.draft else { return };
        draft.wanted.retain(|wanted| *wanted != form);
        match plate {
            Some(Nameplate::Spoken(number)) if NUMBERS.contains(&number) => {
                draft.codes.spoken = Some((number, fresh_words(&mut world.rng)));
            }
            Some(Nameplate::Link(plate)) => {
                draft.codes.link = Some((plate, fresh_secret(&mut world.rng)));
            }
            Some(Nameplate::Spoken(_)) | None => draft.refused.push(form),
        }
        if !draft.wanted.is_empty() {
            return self.ask_for_plate(world);
        }
        let (codes, first) = (draft.codes.clone(), draft.refusals == 0);
        draft.again = if draft.refused.is_empty() { None } else { draft.refused(now) };
        if draft.again.is_none() {
            self.draft = None;
        }
        self.publish(world, now, codes, first);
    }

    /// What the server did not give is asked for again.
    pub(super) fn ask_again(&mut self, world: &mut World, now: Time) {
        if let Some(draft) = &mut self.draft
            && draft.again.is_some_and(|at| at <= now)
        {
            draft.again = None;
            draft.wanted = std::mem::take(&mut draft.refused);
            self.ask_for_plate(world);
        }
    }

    fn publish(&mut self, world: &mut World, now: Time, codes: Codes, first: bool) {
        let news = codes != *self.entrance.codes.get();
        if codes == Codes::default() {
            return if first {
                self.tell_user(world, Event::Denied(Denial::NoServer))
            };
        }
        if news {
            self.changed_words(now, &codes);
            self.entrance.codes.replace(&self.keys.me, codes.clone());
            self.tell_all(&Control::Entrance(self.entrance.clone()));
        }
        if news || first {
            self.tell_user(world, Event::Invite(codes));
        }
        if news && self.door.is_locked() {
            self.tell_user(world, Event::Locked);
        }
    }

    /// Whoever made the code does it; for one who is gone, another.
    pub(super) fn mend_code(&mut self, world: &mut World, now: Time) {
        let drafting = self.draft.as_ref().is_some_and(|draft| !draft.is_of_use());
        let idle = !drafting && self.asked.is_none() && world.link.is_up();
        if !idle || !self.code_is_dead() {
            self.mending.due = None;
            return;
        }
        let patience = match MemberId::of(&self.keys.room, self.entrance.codes.by()) == self.me {
            true => MAKER_WAITS,
            false => OTHERS_WAIT + OTHERS_WAIT / 4 * self.slot.index() as u32,
        };
        if *self.mending.due.get_or_insert(now + patience) > now {
            return;
        }
        self.mending.due = Some(now + OTHERS_WAIT);
        if self.mending.done.take(now, MENDS, 1) {
            self.invite(world);
        }
    }

    /// The server leads here from elsewhere than our code says, or whoever was to make one did not.
    fn code_is_dead(&self) -> bool {
        let codes = self.entrance.codes.get();
        if *codes == Codes::default() {
            return true;
        }
        let (spoken, link) = plates_of(&self.proof);
        let spoken_moved = codes.spoken.as_ref().is_some_and(|(number, _)| spoken != Some(*number));
        let link_moved = codes.link.as_ref().is_some_and(|(plate, _)| link != Some(*plate));
        spoken_moved || link_moved
    }

    /// A friend's word, which all others hear from us if it is news. One friend could fill the time that others have for
    /// each other.
    pub(super) fn told_entrance(&mut self, world: &mut World, now: Time, from: MemberId, told: Entrance) {
        let may = |stay: &mut Self| stay.peers.get_mut(&from).is_some_and(|peer| peer.may_spread(now));
        if !self.entrance.is_behind(&told) || may(self) {
            self.put_off.words.remove(&from);
            return self.learn(world, now, Some(from), told);
        }
        world.counters.too_many += 1;
        self.put_off.begin(now);
        self.put_off.words.insert(from, told);
    }

    pub(super) fn hear_put_off(&mut self, world: &mut World, now: Time) {
        if self.put_off.until > now {
            return;
        }
        let PutOff { words, seats, newcomers, .. } = std::mem::take(&mut self.put_off);
        for (from, told) in
            words.into_iter().filter(|(id, _)| self.peers.contains_key(id)).collect::<Vec<_>>()
        {
            self.told_entrance(world, now, from, told);
        }
        for (id, seated) in
            seats.into_iter().filter(|(id, _)| self.peers.contains_key(id)).collect::<Vec<_>>()
        {
            self.add(world, now, Some(id), &seated);
        }
        for (id, (seated, until)) in newcomers.into_iter().filter(|(_, (_, until))| *until > now) {
            self.add(world, now, None, &seated);
            if let Some((_, limit)) = self.put_off.newcomers.get_mut(&id) {
                *limit = until;
            }
        }
    }

    /// What `from` knows of the entrance. Who learns something new tells the others: some may not reach `from`.
    pub(super) fn learn(&mut self, world: &mut World, now: Time, from: Option<MemberId>, told: Entrance) {
        let (was_locked, before) = (*self.entrance.locked.get(), self.entrance.codes.get().clone());
        let Entrance { locked, codes } = told;
        let renewed = take(world, &mut self.entrance.codes, codes);
        if !(take(world, &mut self.entrance.locked, locked) | renewed) {
            return;
        }
        // Ours were not the last word: whoever has it makes the next.
        let outdone = renewed && self.draft.take().is_some();
        let told = Control::Entrance(self.entrance.clone());
        let others = self.peers.values_mut().filter(|peer| Some(peer.id()) != from && !peer.is_away());
        others.for_each(|peer| peer.tell(&told));
        let Entrance { locked, codes } = &self.entrance;
        let mut events = Vec::new();
        if *locked.get() != was_locked {
            events.push(Event::Door { open: was_locked, by: MemberId::of(&self.keys.room, locked.by()) });
        }
        let (codes, by) = (codes.get().clone(), MemberId::of(&self.keys.room, codes.by()));
        if outdone || (before.spoken.is_some() && before.spoken != codes.spoken) {
            events.push(Event::NewCode { by });
        }
        if codes != before {
            self.changed_words(now, &codes);
            if codes != Codes::default() {
                events.push(Event::Invite(codes));
            }
        }
        events.into_iter().for_each(|event| self.tell_user(world, event));
    }

    /// The words are what can be guessed: only new ones have a budget of their own.
    fn changed_words(&mut self, now: Time, codes: &Codes) {
        if codes.spoken.is_some() && codes.spoken != self.counted {
            self.counted.clone_from(&codes.spoken);
            self.door.reopen(now);
        }
    }
}

/// True if it is new to us.
fn take<T: Agreed>(world: &mut World, held: &mut Latest<T>, told: Latest<T>) -> bool {
    held.merge(told).unwrap_or_else(|Forged| {
        world.counters.forged += 1;
        false
    })
}

pub(super) fn first_entrance(by: &StaticKey, codes: Codes) -> Entrance {
    Entrance { locked: Latest::first(by, false), codes: Latest::first(by, codes) }
}

/// A server that names six in a minute has another after ten seconds.
const REFUSED_FIRST: Duration = Duration::from_secs(15);
const REFUSED_NEXT: Duration = Duration::from_secs(30);
/// Five minutes, in which a server gives what it has: one that has no links, or no numbers, is left in peace then.
const REFUSALS: u32 = 10;
/// Another's news by way of friends may come after the server's.
const MAKER_WAITS: Duration = Duration::from_secs(2);
const OTHERS_WAIT: Duration = Duration::from_secs(20);
/// A server that takes our codes away again and again gets no new ones for that.
const MENDS: Rate = Rate { per_minute: 1, burst: 4 };
/// A silent friend is given up after a minute.
const NEWCOMER_WAITS: Duration = Duration::from_secs(75);
/// About as long as one of the words that were put off needs.
const PUT_OFF: Duration = Duration::from_secs(2);
