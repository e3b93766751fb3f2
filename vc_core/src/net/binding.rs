//! Our place at one third party, relay or friend: asked for with a ticket, kept warm, asked for again when it forgot us
//! or another way to it is better. The place that we have is used until a better one is granted.

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::RngCore;

use crate::crypto::keys::{Rng, mac16, same};
use crate::crypto::ticket::Ticket;
use crate::io::{Hop, Socket, Time};
use crate::protocol::member::Slot;
use crate::protocol::packet::{self, Bind, Bound, VERSION};

pub struct Binding {
    ticket: Ticket,
    /// Best first: TCP only where UDP fails.
    ways: Vec<Way>,
    /// The next way by TCP; `None` once all of them are asked, or none need be.
    turn: Option<Turn>,
    place: Option<Place>,
    rtt: Duration,
}

struct Way {
    hop: Hop,
    step: Step,
}

/// Ways by TCP are asked one after the other, each with a head start before the next.
enum Turn {
    /// UDP has its head start.
    First(Time),
    Next(Time),
}

enum Step {
    /// Nothing is asked there; our place may be.
    Idle,
    Asking(Asking),
    /// A TCP connection that is not needed any more; what is under way may still arrive, our own BIND among it.
    Closing(Time, Option<Asking>),
    /// No way to it any more, but our place is there until another is granted.
    Stale,
}

struct Asking {
    nonce: [u8; 8],
    cookie: [u8; 16],
    tries: u32,
    due: Time,
    sent: Option<Time>,
}

struct Place {
    hop: Hop,
    /// Of the BIND that was granted: what was sent close behind it is answered as well.
    nonce: [u8; 8],
    bind: u32,
    echo: u32,
    /// KEEPs in a row without an answer.
    unanswered: u32,
    kept: Time,
    due: Time,
    /// Since when we send by it without hearing anything.
    unheard: Option<Time>,
}

/// What a binding wants done.
pub enum Errand {
    Send(Hop, Vec<u8>),
    /// The TCP connection is not needed any more.
    Close(Hop),
}

/// What a third party's packet changed.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// We have a place now; this is how the third party sees us. `before`: by what way it was reached until now.
    Bound {
        seen: SocketAddr,
        before: Option<Hop>,
    },
    /// A place that we had is ours for longer.
    Prolonged,
    Nothing,
    /// It answers nothing that we asked: drop and count.
    Unexpected,
}

impl Binding {
    /// `silent`: UDP seems to be blocked, so ways by TCP are asked at once.
    pub fn new(ways: &[Hop], ticket: Ticket, silent: bool, now: Time, rng: &mut Rng) -> Self {
        let mut binding = Self { ticket, ways: Vec::new(), turn: None, place: None, rtt: RTT_GUESS };
        binding.lead(ways, now, rng);
        if silent {
            binding.hurry(now);
        }
        binding
    }

    /// UDP seems to be blocked: no reason to wait for it.
    pub fn hurry(&mut self, now: Time) {
        if let Some(Turn::First(at)) = &mut self.turn {
            *at = now.min(*at);
        }
    }

    /// UDP has its head start before TCP.
    pub fn waits(&self) -> bool {
        matches!(self.turn, Some(Turn::First(_)))
    }

    /// A ticket issued anew: our place is prolonged with it while the old one still holds.
    pub fn renew(&mut self, ticket: Ticket, now: Time, rng: &mut Rng) {
        self.ticket = ticket;
        let used = self.place.as_ref().map(|place| place.hop);
        for way in &mut self.ways {
            if used.is_none_or(|used| used == way.hop) {
                way.ask(now, rng);
            }
        }
    }

    /// These are the ways to it now. The place that we have stays until another is granted.
    pub fn lead(&mut self, ways: &[Hop], now: Time, rng: &mut Rng) {
        let led = self.ways.iter().filter(|way| !matches!(way.step, Step::Stale)).map(|way| way.hop);
        if led.eq(ways.iter().copied()) {
            return;
        }
        let mut old = std::mem::take(&mut self.ways);
        for hop in ways.iter().take(MAX_WAYS) {
            let known = old.iter().position(|way| way.hop == *hop).map(|at| old.remove(at));
            let step = known.map(|way| way.step).filter(|step| !matches!(step, Step::Stale));
            self.ways.push(Way { hop: *hop, step: step.unwrap_or(Step::Idle) });
        }
        if let Some(used) = self.hop().filter(|used| old.iter().any(|way| way.hop == *used)) {
            self.ways.push(Way { hop: used, step: Step::Stale });
        }
        self.ask(now, rng);
    }

    /// One of the ways to it.
    pub fn is_at(&self, hop: Hop) -> bool {
        self.ways.iter().any(|way| way.hop == hop)
    }

    /// The way by which we sent the BIND with this nonce.
    pub fn asked_by(&self, nonce: [u8; 8]) -> Option<Hop> {
        let granted = self.place.as_ref().filter(|place| place.nonce == nonce).map(|place| place.hop);
        let asks = |way: &&Way| matches!(&way.step, Step::Asking(asking) if asking.nonce == nonce);
        granted.or_else(|| self.ways.iter().find(asks).map(|way| way.hop))
    }

    /// The way that our place is reached by.
    pub fn hop(&self) -> Option<Hop> {
        self.place.as_ref().map(|place| place.hop)
    }

    /// A member's packet, addressed to the place `to`; `None` while we have none ourselves.
    pub fn wrap(&mut self, now: Time, to: Slot, inner: &[u8]) -> Option<(Hop, Vec<u8>)> {
        let place = self.place.as_mut()?;
        place.unheard.get_or_insert(now);
        Some((place.hop, packet::up(place.bind, to, inner)))
    }

    /// Something that it forwarded came.
    pub fn heard(&mut self) {
        if let Some(place) = &mut self.place {
            place.unheard = None;
        }
    }

    /// Our own address may have changed: it must learn the new one.
    pub fn restart(&mut self, now: Time, rng: &mut Rng) {
        if let Some(place) = &mut self.place {
            place.due = now;
        }
        self.ask(now, rng);
    }

    /// Nothing of this is needed any more.
    pub fn close(self) -> Vec<Errand> {
        let used = self.hop();
        let open = |way: &Way| match &way.step {
            Step::Asking(asking) => asking.sent.is_some() || Some(way.hop) == used,
            Step::Closing(..) => true,
            Step::Idle | Step::Stale => Some(way.hop) == used,
        };
        let tcp = self.ways.iter().filter(|way| way.hop.socket == Socket::Tcp && open(way));
        tcp.map(|way| Errand::Close(way.hop)).collect()
    }

    /// What to do now.
    pub fn tick(&mut self, now: Time, rng: &mut Rng) -> Vec<Errand> {
        let mut errands = Vec::new();
        self.keep(now, rng, &mut errands);
        if self.turn.as_ref().is_some_and(|turn| turn.at() <= now) {
            self.take_turn(now, rng);
        }
        let used = self.hop();
        for way in &mut self.ways {
            match &mut way.step {
                Step::Asking(asking) if asking.due <= now => {
                    let tcp = way.hop.socket == Socket::Tcp;
                    if tcp && asking.tries as usize > TCP_RETRY_MS.len() && used != Some(way.hop) {
                        // Nobody listens there, or the network swallows it.
                        errands.push(Errand::Close(way.hop));
                        *asking = Asking::new(now + TCP_PAUSE, rng);
                        continue;
                    }
                    let needed = !tcp && used.is_none_or(|used| used == way.hop);
                    let slow = if needed { RETRY_NEEDED } else { RETRY_SLOW };
                    let pauses = if tcp { &TCP_RETRY_MS[..] } else { &RETRY_MS[..] };
                    errands.push(Errand::Send(way.hop, asking.bind(&self.ticket, now, pauses, slow)));
                }
                Step::Closing(at, _) if *at <= now => {
                    way.step = Step::Idle;
                    errands.push(Errand::Close(way.hop));
                }
                Step::Idle | Step::Asking(_) | Step::Closing(..) | Step::Stale => {}
            }
        }
        errands
    }

    pub fn wake(&self) -> Option<Time> {
        let place = self.place.as_ref().map(|place| place.wake());
        let ways = self.ways.iter().filter_map(|way| match &way.step {
            Step::Idle | Step::Stale => None,
            Step::Asking(asking) => Some(asking.due),
            Step::Closing(at, _) => Some(*at),
        });
        let turn = self.turn.as_ref().map(Turn::at);
        ways.chain(place).chain(turn).min()
    }

    /// It wants to see that we are where we say.
    pub fn retry(&mut self, now: Time, from: Hop, nonce: [u8; 8], cookie: [u8; 16]) -> News {
        if self.has_granted(from, nonce) {
            return News::Nothing;
        }
        match self.asking(from) {
            Some(asking) if asking.nonce == nonce => {
                if asking.cookie != cookie {
                    (asking.cookie, asking.tries, asking.due) = (cookie, 0, now);
                }
                News::Nothing
            }
            _ => News::Unexpected,
        }
    }

    pub fn bound(&mut self, now: Time, from: Hop, bound: &Bound) -> News {
        let mac = mac16(self.ticket.kb.as_bytes(), &[&bound.authenticated()]);
        if !same(&mac, &bound.mac) {
            return News::Unexpected;
        }
        if self.has_granted(from, bound.nonce) || self.moved_by(now, from, bound.nonce) {
            return News::Nothing;
        }
        let Some(asking) = self.asking(from).filter(|asking| asking.nonce == bound.nonce) else {
            return News::Unexpected;
        };
        if let Some(sent) = asking.sent {
            self.rtt = now - sent;
        }
        let before = self.place.take();
        let (bind, due) = (bound.bind, now + KEEP);
        let nonce = bound.nonce;
        self.place =
            Some(Place { hop: from, nonce, bind, echo: 0, unanswered: 0, kept: now, due, unheard: None });
        if let Some(way) = self.ways.iter_mut().find(|way| way.hop == from) {
            way.step = Step::Idle;
        }
        self.settle(now, before.as_ref().map(|old| old.hop));
        match before {
            Some(old) if old.hop == from && old.bind == bind => News::Prolonged,
            old => News::Bound { seen: bound.seen, before: old.map(|old| old.hop) },
        }
    }

    /// A BIND by a connection that we leave came late, and moved our place there: it is asked for anew where we are, as
    /// long as the connection brings what comes.
    fn moved_by(&mut self, now: Time, from: Hop, nonce: [u8; 8]) -> bool {
        let Some(way) = self.ways.iter_mut().find(|way| way.hop == from) else { return false };
        let Step::Closing(at, asked) = &mut way.step else { return false };
        let Some(asked) = asked.take_if(|asked| asked.nonce == nonce) else { return false };
        *at = now + UNDER_WAY;
        let used = self.hop();
        if let Some(way) = self.ways.iter_mut().find(|way| Some(way.hop) == used) {
            way.step = Step::Asking(Asking { cookie: [0; 16], tries: 0, due: now, sent: None, ..asked });
        }
        true
    }

    pub fn kept(&mut self, now: Time, from: Hop, answered: u32) -> News {
        let Some(place) = self.place.as_mut().filter(|place| place.hop == from) else {
            return News::Unexpected;
        };
        // An answer to an earlier KEEP is as good, where the way is longer than we thought.
        let ago = place.echo.wrapping_sub(answered);
        if ago >= place.unanswered {
            return News::Unexpected;
        }
        let in_doubt = place.unanswered >= DOUBTED;
        if ago == 0 {
            self.rtt = (self.rtt * 7 + (now - place.kept)) / 8;
        }
        (place.unanswered, place.due, place.unheard) = (0, now + KEEP, None);
        if in_doubt {
            self.settle(now, None);
        }
        News::Nothing
    }

    /// It does not know our place (any more): a restart, or a forged packet by one who saw our bind number. The place
    /// is used until we have another, so that a forger gains nothing.
    pub fn reset(&mut self, now: Time, from: Hop, forgotten: u32, rng: &mut Rng) -> News {
        match &self.place {
            Some(place) if place.bind == forgotten && place.hop == from => {
                if self.asking(from).is_none() {
                    self.ask(now, rng);
                }
                News::Nothing
            }
            _ => News::Unexpected,
        }
    }

    /// A TCP connection could not be made, or ended.
    pub fn closed(&mut self, now: Time, hop: Hop, rng: &mut Rng) {
        let Some(way) = self.ways.iter_mut().find(|way| way.hop == hop) else { return };
        way.step = match way.step {
            Step::Asking(_) => Step::Asking(Asking::new(now + TCP_PAUSE, rng)),
            Step::Idle | Step::Closing(..) | Step::Stale => Step::Idle,
        };
        if let Some(Turn::Next(at)) = &mut self.turn {
            // Nothing to wait for.
            *at = now;
        }
        if self.place.take_if(|place| place.hop == hop).is_some() {
            self.ask(now, rng);
        }
    }

    /// Keeps the place warm, and doubts it: one that stopped answering is asked for again by every way.
    fn keep(&mut self, now: Time, rng: &mut Rng, errands: &mut Vec<Errand>) {
        let Some(place) = self.place.as_mut().filter(|place| place.wake() <= now) else { return };
        place.echo = place.echo.wrapping_add(1);
        place.unanswered = place.unanswered.saturating_add(1);
        place.kept = now;
        place.due = now + if place.unanswered <= DOUBTED { doubt(self.rtt) } else { KEEP_DOUBT };
        place.unheard = None;
        errands.push(Errand::Send(place.hop, packet::keep(place.bind, place.echo)));
        let (hop, unanswered) = (place.hop, place.unanswered);
        if hop.socket == Socket::Tcp && unanswered > TCP_DOUBTED {
            // The system would wait for minutes before it said so.
            errands.push(Errand::Close(hop));
            self.place = None;
            self.ask_by(now, Duration::ZERO, rng);
        } else if unanswered == DOUBTED {
            // TCP is worth a connection once this KEEP is in vain as well.
            self.ask_by(now, doubt(self.rtt), rng);
        }
    }

    fn ask(&mut self, now: Time, rng: &mut Rng) {
        self.ask_by(now, TCP_AFTER, rng);
    }

    /// Asks by every way. UDP has a head start.
    fn ask_by(&mut self, now: Time, head_start: Duration, rng: &mut Rng) {
        let used = self.hop();
        self.turn = Some(Turn::First(now + head_start));
        for way in &mut self.ways {
            match (way.hop.socket, &way.step) {
                (_, Step::Stale) => {}
                // The connection that we have proves itself, or ends.
                (Socket::Tcp, _) if used == Some(way.hop) => {}
                // One that failed before has its turn again.
                (Socket::Tcp, Step::Asking(asking)) if asking.sent.is_none() => way.step = Step::Idle,
                (Socket::Tcp, _) => {}
                (Socket::Main | Socket::Spare(_), _) => way.ask(now, rng),
            }
        }
    }

    fn take_turn(&mut self, now: Time, rng: &mut Rng) {
        let used = self.hop();
        let waits = |way: &&mut Way| {
            let idle = matches!(way.step, Step::Idle | Step::Closing(..));
            way.hop.socket == Socket::Tcp && idle && used != Some(way.hop)
        };
        let mut waiting = self.ways.iter_mut().filter(waits);
        if let Some(way) = waiting.next() {
            way.ask(now, rng);
        }
        self.turn = waiting.next().map(|_| Turn::Next(now + TCP_STEP));
    }

    /// Drops what is not needed beside the place that we have. While that is by TCP, UDP is tried on.
    fn settle(&mut self, now: Time, before: Option<Hop>) {
        let Some(used) = self.hop() else { return };
        self.turn = None;
        let by_tcp = used.socket == Socket::Tcp;
        self.ways.retain(|way| way.hop == used || !matches!(way.step, Step::Stale));
        for way in self.ways.iter_mut().filter(|way| way.hop != used) {
            let tcp = way.hop.socket == Socket::Tcp;
            way.step = match std::mem::replace(&mut way.step, Step::Idle) {
                Step::Asking(asking) if by_tcp && !tcp => Step::Asking(asking.slowly(now)),
                Step::Asking(asking) if tcp && asking.sent.is_some() => {
                    Step::Closing(now + UNDER_WAY, Some(asking))
                }
                Step::Asking(_) => Step::Idle,
                Step::Idle if tcp && before == Some(way.hop) => Step::Closing(now + UNDER_WAY, None),
                step @ (Step::Idle | Step::Closing(..) | Step::Stale) => step,
            };
        }
    }

    fn has_granted(&self, from: Hop, nonce: [u8; 8]) -> bool {
        self.place.as_ref().is_some_and(|place| place.hop == from && place.nonce == nonce)
    }

    fn asking(&mut self, from: Hop) -> Option<&mut Asking> {
        self.ways.iter_mut().find(|way| way.hop == from).and_then(|way| match &mut way.step {
            Step::Asking(asking) => Some(asking),
            Step::Idle | Step::Closing(..) | Step::Stale => None,
        })
    }
}

impl Turn {
    fn at(&self) -> Time {
        match self {
            Self::First(at) | Self::Next(at) => *at,
        }
    }
}

impl Way {
    fn ask(&mut self, at: Time, rng: &mut Rng) {
        self.step = Step::Asking(Asking::new(at, rng));
    }
}

impl Asking {
    fn new(due: Time, rng: &mut Rng) -> Self {
        let mut nonce = [0; 8];
        rng.fill_bytes(&mut nonce);
        Self { nonce, cookie: [0; 16], tries: 0, due, sent: None }
    }

    fn slowly(mut self, now: Time) -> Self {
        self.tries = self.tries.max(RETRY_MS.len() as u32);
        self.due = self.due.max(now + RETRY_SLOW);
        self
    }

    /// The next BIND.
    fn bind(&mut self, ticket: &Ticket, now: Time, pauses: &[u64], slow: Duration) -> Vec<u8> {
        let pause = pauses.get(self.tries as usize);
        self.due = now + pause.map_or(slow, |ms| Duration::from_millis(*ms));
        self.tries = self.tries.saturating_add(1);
        self.sent = Some(now);
        let (body, nonce, cookie) = (ticket.body, self.nonce, self.cookie);
        let mut bind = Bind { version: VERSION, body, nonce, cookie, mac: [0; 16] };
        bind.mac = mac16(ticket.kb.as_bytes(), &[&bind.authenticated()]);
        bind.packet()
    }
}

impl Place {
    fn wake(&self) -> Time {
        match self.unheard {
            Some(since) if self.unanswered == 0 => self.due.min(since + UNHEARD),
            _ => self.due,
        }
    }
}

/// How long an answer may take before the next KEEP.
fn doubt(rtt: Duration) -> Duration {
    (rtt * 3 / 2).clamp(DOUBT_LEAST, KEEP_DOUBT)
}

/// UDP may be lost; the first seconds decide how soon friends hear each other.
const RETRY_MS: [u64; 9] = [50, 50, 100, 150, 250, 500, 1_000, 2_000, 4_000];
/// As often as a KEEP: a relay that comes back is found within that.
const RETRY_NEEDED: Duration = Duration::from_secs(5);
/// Where another way serves, or the last repeat by TCP.
const RETRY_SLOW: Duration = Duration::from_secs(10);
/// UDP is that much faster to answer than it is lost; a network that swallows it is found out by then.
const TCP_AFTER: Duration = Duration::from_secs(1);
/// Two round trips, to connect and to bind, of a relay far away.
const TCP_STEP: Duration = Duration::from_millis(500);
/// TCP repeats by itself: a BIND is sent again for a relay that restarted behind the same connection.
const TCP_RETRY_MS: [u64; 2] = [2_000, 6_000];
/// Until a way by TCP that failed is tried again.
const TCP_PAUSE: Duration = Duration::from_secs(30);
/// A round trip.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// A third of the shortest NAT lifetime on record (15 s).
const KEEP: Duration = Duration::from_secs(5);
/// What we send is answered sooner by somebody, if only a probe: then ask the third party itself.
const UNHEARD: Duration = Duration::from_millis(500);
/// KEEPs without an answer from which on every way is tried; the loss of one is common.
const DOUBTED: u32 = 2;
/// TCP repeats what is lost, and holds up what follows for as long.
const TCP_DOUBTED: u32 = 4;
const DOUBT_LEAST: Duration = Duration::from_millis(250);
const KEEP_DOUBT: Duration = Duration::from_secs(1);
/// Until it was measured.
const RTT_GUESS: Duration = Duration::from_millis(200);
/// UDP and TCP by both IP versions, and port 443.
const MAX_WAYS: usize = 6;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
