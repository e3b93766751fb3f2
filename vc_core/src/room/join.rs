//! How we get in: find the room by its nameplate, prove the code to its doorkeeper, take our seat.

use std::time::Duration;

use zeroize::Zeroizing;

use super::code::nameplate_bytes;
use crate::crypto::keys::{Rng, StaticKey};
use crate::crypto::pake::{self, Context, Refused, Transcript};
use crate::error::Error;
use crate::io::Time;
use crate::protocol::codec::Wire;
use crate::protocol::member::{Entry, Slot};
use crate::protocol::signal::{Mail, Nameplate, Party, Reclaim, Refusal, ToClient, ToServer, Turned};
use crate::protocol::welcome::Welcome;

pub(crate) struct Joining {
    plate: Nameplate,
    secret: Zeroizing<Vec<u8>>,
    deadline: Time,
    step: Step,
    /// The doors that were asked, by their slots: each once.
    doors: u16,
}

enum Step {
    Calling,
    Asked,
    Proving { pake: pake::Joiner, door: Slot, nonce: [u8; 16] },
    Knocking { knock: pake::Knock, door: Slot, nonce: [u8; 16] },
    Admitted { welcome: Box<Welcome>, nonce: [u8; 16] },
}

/// What a message from the server leads to.
pub(crate) enum Progress {
    Send(ToServer),
    /// Our proof of the code: whoever poses as the door can check one guess by it.
    Prove(ToServer),
    Entered {
        welcome: Box<Welcome>,
        nonce: [u8; 16],
        slot: Slot,
        proof: Reclaim,
    },
    Failed(Error),
    /// Nothing of ours; the room counts it.
    Ignored,
    /// The door has proved the code, too.
    Waiting,
}

impl Joining {
    /// `secret` is what the code of this nameplate says.
    pub(crate) fn new(plate: Nameplate, secret: Zeroizing<Vec<u8>>, now: Time) -> Self {
        Self { plate, secret, deadline: now + LIMIT, step: Step::Calling, doors: 0 }
    }

    /// Signaling answers: ask for the room.
    pub(crate) fn ask(&mut self, now: Time) -> ToServer {
        self.deadline = now + LIMIT;
        (self.step, self.doors) = (Step::Asked, 0);
        ToServer::Join { nameplate: self.plate }
    }

    /// `record` is what we say of ourselves, once the door has shown that it knows a code too.
    pub(crate) fn receive(
        &mut self,
        message: &ToClient,
        me: impl FnOnce(&Transcript) -> Entry,
        rng: &mut Rng,
    ) -> Progress {
        match message {
            // Once more when a doorkeeper did not answer. Not when one has: a server that poses as several would guess
            // at the code once for each.
            ToClient::Joined { room_nonce, door, .. }
                if matches!(self.step, Step::Asked | Step::Proving { .. })
                    && self.doors & door.bit() == 0 =>
            {
                self.doors |= door.bit();
                let plate = nameplate_bytes(self.plate);
                let context = Context { nameplate: &plate, room_nonce: *room_nonce };
                let (pake, a1) = pake::Joiner::start(&self.secret, &context, rng);
                self.step = Step::Proving { pake, door: *door, nonce: *room_nonce };
                Progress::Send(mail(*door, Mail::A1(&a1)))
            }
            ToClient::Mail { from: Party::Slot(from), blob } => match Mail::parse(blob) {
                Ok(letter) => self.letter(*from, &letter, me),
                Err(_) => Progress::Ignored,
            },
            ToClient::Seat { slot, proof } => match std::mem::replace(&mut self.step, Step::Calling) {
                Step::Admitted { welcome, nonce } => {
                    Progress::Entered { welcome, nonce, slot: *slot, proof: *proof }
                }
                other => {
                    self.step = other;
                    Progress::Ignored
                }
            },
            ToClient::Refused(refusal) => Progress::Failed(refused(*refusal)),
            _ => Progress::Ignored,
        }
    }

    /// Nobody finished with us in time.
    pub(crate) fn expired(&self, now: Time) -> Option<Error> {
        (now >= self.deadline).then_some(match self.step {
            Step::Calling | Step::Asked => Error::Unreachable,
            _ => Error::NobodyHome,
        })
    }

    /// Its code is one of words.
    pub(crate) fn is_guessable(&self) -> bool {
        matches!(self.plate, Nameplate::Spoken(_))
    }

    /// The door has our proof.
    pub(crate) fn has_proved(&self) -> bool {
        matches!(self.step, Step::Knocking { .. } | Step::Admitted { .. })
    }

    pub(crate) fn wake(&self) -> Time {
        self.deadline
    }

    fn letter(&mut self, from: Slot, letter: &Mail<'_>, me: impl FnOnce(&Transcript) -> Entry) -> Progress {
        match (std::mem::replace(&mut self.step, Step::Calling), letter) {
            (Step::Proving { pake, door, nonce }, Mail::B1(b1)) if door == from => match pake.read(b1) {
                Ok(keys) => {
                    let entry = me(&keys.transcript());
                    let (knock, a2) = keys.seal(&entry.encode());
                    self.step = Step::Knocking { knock, door, nonce };
                    Progress::Prove(mail(door, Mail::A2(&a2)))
                }
                Err(refused) => Progress::Failed(turned_by_proof(refused)),
            },
            (Step::Knocking { knock, door, nonce }, Mail::B2(b2)) if door == from => match knock.open(b2) {
                Ok(bytes) => match Welcome::decode(&bytes) {
                    Ok(welcome) => {
                        self.step = Step::Admitted { welcome: Box::new(welcome), nonce };
                        Progress::Waiting
                    }
                    Err(_) => Progress::Failed(Error::Version),
                },
                Err(refused) => Progress::Failed(turned_by_proof(refused)),
            },
            (Step::Proving { door, .. } | Step::Knocking { door, .. }, Mail::Turned(why)) if door == from => {
                Progress::Failed(turned(*why))
            }
            (step, _) => {
                self.step = step;
                Progress::Ignored
            }
        }
    }
}

/// The blob travels to the doorkeeper's slot.
fn mail(door: Slot, letter: Mail<'_>) -> ToServer {
    ToServer::Mail { to: Party::Slot(door), blob: letter.blob() }
}

fn turned(why: Turned) -> Error {
    match why {
        Turned::WrongCode => Error::WrongCode,
        Turned::Locked => Error::Locked,
        Turned::Full => Error::Full,
        Turned::Version => Error::Version,
        Turned::Later => Error::TooFast,
        Turned::Closed => Error::Closed,
    }
}

fn turned_by_proof(refused: Refused) -> Error {
    match refused {
        Refused::WrongCode => Error::WrongCode,
        Refused::Version { .. } => Error::Version,
        // A damaged answer proves nothing about the code, but whoever sent it does not know it either.
        Refused::Malformed => Error::WrongCode,
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NoSuchRoom => Error::NoSuchRoom,
        Refusal::NobodyHome => Error::NobodyHome,
        Refusal::Full => Error::Full,
        Refusal::TooFast | Refusal::Busy => Error::TooFast,
        Refusal::Version => Error::Version,
        Refusal::OutOfTurn | Refusal::BadProof => Error::Unreachable,
    }
}

/// A fresh static key for this stay.
pub(crate) fn fresh_key(rng: &mut Rng) -> StaticKey {
    StaticKey::generate(rng)
}

/// Connecting is limited by the edge; each of the four messages has seconds even on a bad line.
const LIMIT: Duration = Duration::from_secs(15);
