//! Both roles of the pairwise handshake (docs/PROTOCOL.md, "Pairwise handshake"). The member with the smaller id
//! initiates, always, so two never cross.

use std::time::Duration;

use rand_core::RngCore;

use super::session::Session;
use crate::crypto::keys::{PublicKey, Rng, Secret, StaticKey, kdf, mac16, same};
use crate::crypto::noise::{self, Pair, Pending};
use crate::io::Time;
use crate::protocol::member::{MemberId, RoomId};
use crate::protocol::packet::{INIT_NOISE, RESP_NOISE, hs_init, hs_resp};

/// What every handshake of a room stay shares.
pub struct Keys {
    pub me: StaticKey,
    pub room: RoomId,
    psk: Secret<32>,
    gate: Secret<32>,
}

impl Keys {
    /// `secret` is the room secret R; `founder` are the creator's id and its key for removals.
    pub fn new(me: StaticKey, room: RoomId, secret: &Secret<32>, founder: &(MemberId, PublicKey)) -> Self {
        let psk = pair_psk(secret, founder);
        let gate = kdf(secret.as_bytes(), "gate", &[]);
        Self { me, room, psk, gate }
    }

    /// Strangers do not know R: one MAC keeps them from making us do curve work.
    pub fn gate_opens(&self, gated: &[u8], gate: &[u8; 16]) -> bool {
        same(&mac16(self.gate.as_bytes(), &[gated]), gate)
    }

    fn close(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let gate = mac16(self.gate.as_bytes(), &[&packet]);
        packet.extend_from_slice(&gate);
        packet
    }

    fn pair(&self) -> Pair<'_> {
        Pair { me: &self.me, room_id: self.room, psk: &self.psk }
    }
}

/// Who made the room is the door's word only: one that lies about it leads to nobody but itself.
pub fn pair_psk(secret: &Secret<32>, (creator, warden): &(MemberId, PublicKey)) -> Secret<32> {
    kdf(secret.as_bytes(), "pair psk", &[&creator.0[..], &warden.0].concat())
}

/// The initiator's side with one peer.
#[derive(Default)]
pub struct Initiator {
    attempt: Option<Attempt>,
    /// Grows with every attempt, since the responder takes none twice. No smaller than the time in microseconds: attempts
    /// that were forgotten together with that friend are outdone, too.
    counter: u64,
}

struct Attempt {
    pending: Pending,
    index: u32,
    packet: Vec<u8>,
    since: Time,
    tries: usize,
    due: Time,
}

impl Initiator {
    pub fn start(&mut self, now: Time, keys: &Keys, remote: &PublicKey, rng: &mut Rng) {
        self.counter = (self.counter + 1).max(now.as_micros());
        let (pending, noise) = noise::initiate(&keys.pair(), remote, self.counter, rng);
        let index = rng.next_u32();
        let packet = keys.close(hs_init(index, &noise));
        self.attempt = Some(Attempt { pending, index, packet, since: now, tries: 0, due: now });
    }

    /// There is a new path: the packet should go by it at once.
    pub fn hurry(&mut self, now: Time) {
        if let Some(attempt) = &mut self.attempt {
            // What was sent before went where nobody was: the close repeats begin anew.
            (attempt.since, attempt.tries, attempt.due) = (now, 0, now);
        }
    }

    /// What was begun is given up.
    pub fn at_rest(self) -> Self {
        Self { attempt: None, ..self }
    }

    pub fn is_running(&self) -> bool {
        self.attempt.is_some()
    }

    pub fn owns(&self, index: u32) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.index == index)
    }

    /// The packet to send on every path now. An attempt that nobody answered in time is over.
    pub fn tick(&mut self, now: Time) -> Option<Vec<u8>> {
        let attempt = self.attempt.as_mut().filter(|attempt| attempt.due <= now)?;
        attempt.tries += 1;
        if attempt.tries > RETRY_MS.len() {
            self.attempt = None;
            return None;
        }
        let wait = RETRY_MS.get(attempt.tries).copied().unwrap_or(ROUND_MS);
        attempt.due = attempt.since + Duration::from_millis(wait);
        Some(attempt.packet.clone())
    }

    pub fn wake(&self) -> Option<Time> {
        self.attempt.as_ref().map(|attempt| attempt.due)
    }

    /// The reply. Junk changes nothing.
    pub fn finish(&mut self, now: Time, sender: u32, noise: &[u8; RESP_NOISE]) -> Option<Session> {
        let attempt = self.attempt.as_mut()?;
        let keys = attempt.pending.finish(noise)?;
        let session = Session::new(attempt.index, sender, keys, now);
        self.attempt = None;
        Some(session)
    }
}

/// The responder's side with one peer.
#[derive(Default)]
pub struct Responder {
    last: Option<Answered>,
}

struct Answered {
    counter: u64,
    sender: u32,
    noise: [u8; INIT_NOISE],
    reply: Vec<u8>,
}

/// A message 1 that opened: who sent it is known, whether it is fresh is not.
pub struct Knocked {
    init: noise::Init,
    sender: u32,
    noise: [u8; INIT_NOISE],
}

impl Knocked {
    /// The curve work. `None` for anything that does not open.
    pub fn read(keys: &Keys, sender: u32, noise: &[u8; INIT_NOISE], rng: &mut Rng) -> Option<Self> {
        let init = noise::read_init(&keys.pair(), noise, rng)?;
        Some(Self { init, sender, noise: *noise })
    }

    pub fn remote(&self) -> &PublicKey {
        &self.init.remote
    }
}

impl Responder {
    /// The copy of a message 1 that was answered already, come by another path or sent again: the same answer.
    pub fn again(&self, sender: u32, noise: &[u8; INIT_NOISE]) -> Option<Vec<u8>> {
        self.last
            .as_ref()
            .filter(|last| last.sender == sender && last.noise == *noise)
            .map(|last| last.reply.clone())
    }

    /// The caller has found `knocked.remote()` to be this peer. `None` for a replay of an older message.
    pub fn answer(
        &mut self,
        now: Time,
        keys: &Keys,
        knocked: Knocked,
        rng: &mut Rng,
    ) -> Option<(Session, Vec<u8>)> {
        if self.last.as_ref().is_some_and(|last| knocked.init.counter <= last.counter) {
            return None;
        }
        let counter = knocked.init.counter;
        let index = rng.next_u32();
        let (noise, sealer, opener) = knocked.init.reply();
        let reply = keys.close(hs_resp(index, knocked.sender, &noise));
        self.last =
            Some(Answered { counter, sender: knocked.sender, noise: knocked.noise, reply: reply.clone() });
        Some((Session::new(index, knocked.sender, (sealer, opener), now), reply))
    }
}

/// One attempt is the same packet at these times, on every path; each path may be the first that works. Close at first:
/// the peer may be binding itself to its relay at this very moment, and what is lost now is silence in somebody's ears.
const RETRY_MS: [u64; 13] = [0, 50, 100, 150, 200, 300, 450, 650, 900, 1_200, 1_700, 2_500, 3_500];
/// Then the attempt is over; a fresh one may fare better on paths that changed.
const ROUND_MS: u64 = 5_000;
