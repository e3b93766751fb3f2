//! The doorkeeper: lets in who proves the code, counts who does not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::code::{nameplate_bytes, secret_of};
use crate::crypto::keys::{PublicKey, Rng};
use crate::crypto::pake::{self, Context, DoorKeys, Refused, Transcript};
use crate::io::Time;
use crate::net::forward::rate::{Bucket, Rate};
use crate::protocol::codec::Wire;
use crate::protocol::member::{Codes, Entry, Record};
use crate::protocol::signal::{Mail, Nameplate, Turned};
use crate::protocol::welcome::Welcome;

#[derive(Default)]
pub(crate) struct Door {
    visitors: BTreeMap<u32, Visitor>,
    /// Wrong words since the code was made, at this door or, as others say, at theirs; at most `BUDGET`.
    tries: u32,
    /// Guesses at the words.
    pace: Bucket,
    /// First letters answered, of those who know the number, and of those who know the link.
    answered: [Bucket; 2],
    /// Counts begun anew.
    reopened: Bucket,
}

struct Visitor {
    since: Time,
    step: Step,
}

enum Step {
    Expected {
        nameplate: Nameplate,
    },
    Answered {
        nameplate: Nameplate,
        keys: DoorKeys,
    },
    /// Welcomed; its slot is still to be told by the server.
    Welcomed {
        record: Record,
    },
}

/// What a code has to fit: our codes, and the nonce that binds admissions to this room.
pub(crate) struct Lock<'a> {
    pub(crate) codes: &'a Codes,
    pub(crate) nonce: [u8; 16],
}

struct Caller {
    now: Time,
    visitor: u32,
    since: Time,
    nameplate: Nameplate,
}

/// What a visitor's letter leads to.
pub(crate) enum Verdict {
    /// The letter to answer with.
    Reply(Vec<u8>),
    /// It proved the code: mail this, then tell the server to seat the owner of this key.
    Admit { letter: Vec<u8>, key: PublicKey },
    /// Wrong words; so many in all now.
    Wrong { reply: Vec<u8>, tries: u32 },
    /// Not in turn, or nonsense.
    Dropped,
}

impl Door {
    pub(crate) fn expect(&mut self, now: Time, visitor: u32, nameplate: Nameplate) {
        self.visitors.retain(|_, v| now - v.since < ADMISSION_LIMIT);
        if self.visitors.len() < MAX_VISITORS {
            self.visitors.insert(visitor, Visitor { since: now, step: Step::Expected { nameplate } });
        }
    }

    /// `welcome` makes the welcome for a record, or says why not.
    pub(crate) fn letter(
        &mut self,
        now: Time,
        visitor: u32,
        letter: &Mail<'_>,
        lock: &Lock<'_>,
        welcome: impl FnOnce(&Entry, &Transcript) -> Result<Welcome, Turned>,
        rng: &mut Rng,
    ) -> Verdict {
        let Some(Visitor { since, step }) = self.visitors.remove(&visitor) else { return Verdict::Dropped };
        if now - since >= ADMISSION_LIMIT {
            return Verdict::Dropped;
        }
        match (step, letter) {
            (Step::Expected { nameplate }, Mail::A1(a1)) => {
                self.answer(Caller { now, visitor, since, nameplate }, a1, lock, rng)
            }
            (Step::Answered { nameplate, keys }, Mail::A2(a2)) => {
                self.judge(Caller { now, visitor, since, nameplate }, keys, a2, welcome)
            }
            _ => Verdict::Dropped,
        }
    }

    /// The server has seated a visitor that we welcomed.
    pub(crate) fn seated(&mut self, visitor: u32) -> Option<Record> {
        match self.visitors.remove(&visitor)?.step {
            Step::Welcomed { record } => Some(record),
            Step::Expected { .. } | Step::Answered { .. } => None,
        }
    }

    /// New words: the count begins anew, but not as often as a server can make us change them.
    pub(crate) fn reopen(&mut self, now: Time) {
        if self.tries > 0 && self.reopened.take(now, REOPENED, REOPENED.burst / 4) {
            self.tries = 0;
        }
    }

    /// Our own words go to one who may only guess them. True if that closes the door.
    pub(crate) fn shown(&mut self) -> bool {
        self.told(self.tries + 1)
    }

    /// It knew them.
    pub(crate) fn shown_to_a_friend(&mut self) {
        self.tries = self.tries.saturating_sub(1);
    }

    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// What another member counted. It knows of all that was told to it, so the larger number is the truer one; doors
    /// that fail at the same moment may count one try for both. True if that closes the door.
    pub(crate) fn told(&mut self, tries: u32) -> bool {
        let was_locked = self.is_locked();
        self.tries = self.tries.max(tries.min(BUDGET));
        !was_locked && self.is_locked()
    }

    /// For the words. Nobody guesses the secret of a link, so wrong words do not close that.
    pub(crate) fn is_locked(&self) -> bool {
        self.tries >= BUDGET
    }

    fn bars(&self, nameplate: Nameplate) -> bool {
        self.is_locked() && matches!(nameplate, Nameplate::Spoken(_))
    }

    fn answer(&mut self, caller: Caller, a1: &[u8], lock: &Lock<'_>, rng: &mut Rng) -> Verdict {
        let Caller { now, visitor, since, nameplate } = caller;
        // An old nameplate opens nothing: its words are gone.
        let Some(secret) = secret_of(lock.codes, nameplate) else { return turn(Turned::Locked) };
        if self.bars(nameplate) {
            return turn(Turned::Locked);
        }
        let [by_words, by_link] = &mut self.answered;
        let answered = if matches!(nameplate, Nameplate::Spoken(_)) { by_words } else { by_link };
        if !answered.take(now, ANSWERED, 1) {
            return turn(Turned::Later);
        }
        let plate = nameplate_bytes(nameplate);
        let context = Context { nameplate: &plate, room_nonce: lock.nonce };
        match pake::answer(&secret, &context, a1, rng) {
            Ok((keys, b1)) => {
                self.visitors.insert(visitor, Visitor { since, step: Step::Answered { nameplate, keys } });
                Verdict::Reply(Mail::B1(&b1).blob())
            }
            Err(Refused::Version { .. }) => turn(Turned::Version),
            Err(Refused::Malformed | Refused::WrongCode) => Verdict::Dropped,
        }
    }

    /// The budget is looked at and spent in this one step: visitors that prove at the same time cannot share a try.
    fn judge(
        &mut self,
        caller: Caller,
        keys: DoorKeys,
        a2: &[u8],
        welcome: impl FnOnce(&Entry, &Transcript) -> Result<Welcome, Turned>,
    ) -> Verdict {
        let Caller { now, visitor, since, nameplate } = caller;
        if self.bars(nameplate) {
            return turn(Turned::Locked);
        }
        let guess = matches!(nameplate, Nameplate::Spoken(_));
        if guess && !self.pace.take(now, PACE, 1) {
            return turn(Turned::Later);
        }
        let transcript = keys.transcript();
        let (admitted, entry) = match keys.open(a2) {
            Ok(open) => open,
            Err(Refused::WrongCode) if !guess => return turn(Turned::WrongCode),
            Err(Refused::WrongCode) => {
                self.tries += 1;
                return Verdict::Wrong { reply: Mail::Turned(Turned::WrongCode).blob(), tries: self.tries };
            }
            Err(_) => return Verdict::Dropped,
        };
        // Only wrong guesses are slowed down: sixteen friends may arrive together.
        if guess {
            self.pace.give_back(1);
        }
        let Ok(entry) = Entry::decode(&entry) else { return turn(Turned::Version) };
        match welcome(&entry, &transcript) {
            Ok(welcome) => {
                let (b2, key) = (admitted.seal(&welcome.encode()), entry.record.key);
                self.visitors
                    .insert(visitor, Visitor { since, step: Step::Welcomed { record: entry.record } });
                Verdict::Admit { letter: Mail::B2(&b2).blob(), key }
            }
            Err(why) => turn(why),
        }
    }
}

fn turn(why: Turned) -> Verdict {
    Verdict::Reply(Mail::Turned(why).blob())
}

/// Wrong words after which the words are dead. With 33 bits and 16 doors that a lying server has guessed at in step, so
/// that each try counts once for all, it wins with probability 1,600 / 2^33.
pub(crate) const BUDGET: u32 = 100;
/// Four budgets for words that members change, then one an hour: a server that takes our codes away so that we make
/// others has eleven in an evening of six hours, at each door that stays.
const REOPENED: Rate = Rate { per_minute: 1, burst: 4 * 60 };
/// Each costs half a millisecond and tells nothing, and whoever knows the number can ask for it.
const ANSWERED: Rate = Rate::per_second(20, 40);
/// A friend who mistypes twice does not notice; guessing takes a quarter of an hour. Right words are given back, so a
/// whole room may arrive at the same moment.
const PACE: Rate = Rate { per_minute: 6, burst: 5 };
/// As long as the server waits for us.
const ADMISSION_LIMIT: Duration = Duration::from_secs(20);
/// As many as the server lets wait; a lying one gains nothing by more.
const MAX_VISITORS: usize = 16;
