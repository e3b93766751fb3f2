//! One friend from introduction to goodbye: handshake, sealed packets, reliable messages, liveness.

mod counts;
mod doubt;
mod frames;
mod paths;
mod timers;

pub use self::counts::Counts;

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::RngCore;

use self::doubt::Doubt;
use super::handshake::{Initiator, Keys, Knocked, Responder};
use super::hearing::Hearing;
use super::loss::Losses;
use super::news::News;
use super::session::Sessions;
use super::stream::Stream;
use super::vouched::Vouched;
use crate::crypto::keys::{PublicKey, Rng};
use crate::crypto::noise::Drop;
use crate::io::{Counters, Event, Hop, Parting, PeerState, PeerView, Rung, Time, VoiceFrame};
use crate::net::forward::rate::{Bucket, Rate};
use crate::net::ladder::Ladder;
use crate::net::path::Path;
use crate::protocol::control::{CONTROL_CLASS, Channel, Control, Frame, Frames, State, pad};
use crate::protocol::member::{Candidate, MemberId, Seated, Slot};
use crate::protocol::packet::RESP_NOISE;
use crate::protocol::text;

pub struct Peer {
    id: MemberId,
    seated: Seated,
    phase: Phase,
    role: Role,
    sessions: Sessions,
    ladder: Ladder,
    streams: [Stream; 2],
    /// For the control stream.
    news: News,
    state: State,
    /// The rung that the user was last told.
    told: Option<Rung>,
    losses: Losses,
    hearing: Hearing,
    /// Size of our last voice frame, sealed frames included.
    voiced: usize,
    chat: Bucket,
    control: Bucket,
    /// Addresses that it has named for us to ask.
    named: Bucket,
    /// Its questions by way of the server.
    mailed: Bucket,
    /// Handshakes from where it is.
    knocks: Bucket,
    /// The server's news that it is there.
    appeared: Bucket,
    /// And that it is not any more.
    doubts: Bucket,
    /// Handshakes to where it is by others' word only.
    hearsay: Bucket,
    /// What we tell others at its word.
    spread: Bucket,
    /// Its seats.
    moves: Bucket,
    /// Newcomers that it vouched for, and what addresses it gave them.
    vouched: Vouched,
}

enum Phase {
    /// Introduced; no session yet.
    Shaking {
        since: Time,
        /// The server saw its connection end.
        closed: bool,
    },
    Live {
        heard: Time,
        doubted: Option<Doubt>,
    },
    /// Silent for a while; everything is tried.
    Lost {
        heard: Time,
        /// The server lost it, too.
        closed: bool,
    },
    /// Silent for long: no keys are kept, an attempt now and then.
    Away {
        since: Time,
        retry: Time,
        past: Past,
    },
}

/// What was there before the silence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Past {
    Met,
    /// Nothing, ever; others may have told a tale.
    Unmet,
    /// Nothing, and the server saw its connection end: it went before any path to it opened, as far as can be told.
    Gone,
}

/// The smaller id initiates, always.
enum Role {
    Initiator(Initiator),
    Responder(Responder),
}

/// What a peer wants done. The room knows how.
pub enum Act {
    Send {
        path: Path,
        bytes: Vec<u8>,
    },
    Voice(VoiceFrame),
    /// A message of the control channel that concerns the room.
    Control(Box<Control>),
    /// Asked at this address, it sees our main socket there.
    Seen {
        at: SocketAddr,
        us: SocketAddr,
    },
    /// It answered there.
    Proved(Hop),
    Event(Event),
}

/// What every call needs from the room.
pub struct Scene<'a> {
    pub now: Time,
    pub keys: &'a Keys,
    pub rng: &'a mut Rng,
    pub counters: &'a mut Counters,
    pub acts: &'a mut Vec<Act>,
}

impl Peer {
    pub fn new(now: Time, me: MemberId, id: MemberId, seated: &Seated) -> Self {
        let role = match me < id {
            true => Role::Initiator(Initiator::default()),
            false => Role::Responder(Responder::default()),
        };
        let state = State { name: text::name(&seated.record.name), ..State::default() };
        Self {
            id,
            seated: seated.clone(),
            phase: Phase::Shaking { since: now, closed: false },
            role,
            sessions: Sessions::default(),
            ladder: Ladder::default(),
            streams: Default::default(),
            news: News::default(),
            state,
            told: None,
            losses: Losses::default(),
            hearing: Hearing::default(),
            voiced: 0,
            chat: Bucket::default(),
            control: Bucket::default(),
            named: Bucket::default(),
            mailed: Bucket::default(),
            knocks: Bucket::default(),
            appeared: Bucket::default(),
            doubts: Bucket::default(),
            hearsay: Bucket::default(),
            spread: Bucket::default(),
            moves: Bucket::default(),
            vouched: Vouched::default(),
        }
    }

    pub fn id(&self) -> MemberId {
        self.id
    }

    pub fn key(&self) -> &PublicKey {
        &self.seated.record.key
    }

    pub fn slot(&self) -> Slot {
        self.seated.slot
    }

    /// It has another place now.
    pub fn sits(&mut self, now: Time, slot: Slot) {
        self.seated.slot = slot;
        self.ladder.reseat(now, slot);
    }

    /// Since when it has been tried, if it was never reached.
    pub fn shaking_since(&self) -> Option<Time> {
        match self.phase {
            Phase::Shaking { since, .. } => Some(since),
            Phase::Live { .. } | Phase::Lost { .. } | Phase::Away { .. } => None,
        }
    }

    /// The record to pass on, as current as we know it.
    pub fn seated(&self) -> Seated {
        let mut seated = self.seated.clone();
        seated.record.name.clone_from(&self.state.name);
        seated
    }

    pub fn candidates(&self) -> &[Candidate] {
        &self.seated.record.candidates
    }

    /// Replaces the list before. What of that never answered is not asked any more.
    pub fn set_candidates(&mut self, candidates: Vec<Candidate>) {
        self.ladder.retain_direct(|hop| candidates.iter().any(|candidate| Hop::from(candidate.addr) == *hop));
        self.seated.record.candidates = candidates;
    }

    /// As the peer calls itself, sanitised.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    pub fn owns(&self, index: u32) -> bool {
        self.sessions.owns(index) || matches!(&self.role, Role::Initiator(initiator) if initiator.owns(index))
    }

    pub fn is_away(&self) -> bool {
        matches!(self.phase, Phase::Away { .. })
    }

    /// Whether it was ever there, and since when it is not.
    pub fn away(&self) -> Option<(bool, Time)> {
        match self.phase {
            Phase::Away { since, past, .. } => Some((past == Past::Met, since)),
            Phase::Shaking { .. } | Phase::Live { .. } | Phase::Lost { .. } => None,
        }
    }

    /// Away for so long that its place is given up.
    pub fn is_forgotten(&self, now: Time) -> bool {
        matches!(self.phase, Phase::Away { since, .. } if now - since >= FORGET_AFTER)
    }

    /// We seal for it, or did a moment ago.
    pub fn is_here(&self) -> bool {
        matches!(self.phase, Phase::Live { .. } | Phase::Lost { .. })
    }

    /// Silent, and tried by all means.
    pub fn is_lost(&self) -> bool {
        matches!(self.phase, Phase::Lost { .. })
    }

    /// Silent since, or while, the server saw its connection end, as that of a program that ends does.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Lost { closed: true, .. })
    }

    /// It was told to have left, and is expected back all the same.
    pub fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Away { past: Past::Met, .. })
    }

    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    /// Some direct path answers.
    pub fn is_reached_directly(&self) -> bool {
        self.ladder.is_direct()
    }

    /// Somebody else carries our voice to it, and nothing does directly.
    pub fn is_only_carried(&self) -> bool {
        let voice = self.ladder.carrying().is_some_and(|path| path.carries_voice());
        self.is_live() && voice && !self.is_reached_directly()
    }

    pub fn uses_spare(&self, spare: u16) -> bool {
        self.ladder.uses_spare(spare)
    }

    /// One port is enough once it works.
    pub fn keep_one_spare(&mut self, now: Time) {
        self.ladder.keep_one_spare(now);
    }

    /// One challenge by all these paths, none of which is watched: the one that is answered becomes known by that.
    pub fn challenge_by(&mut self, scene: &mut Scene, paths: impl IntoIterator<Item = Path>) {
        let mut token = [0; 8];
        scene.rng.fill_bytes(&mut token);
        let mut plaintext = Vec::new();
        Frame::Challenge { token }.write(&mut plaintext);
        pad(&mut plaintext, CONTROL_CLASS);
        let Some(bytes) = self.sessions.seal(&plaintext) else { return };
        scene.acts.extend(paths.into_iter().map(|path| Act::Send { path, bytes: bytes.clone() }));
    }

    pub fn offer(&mut self, now: Time, path: Path) {
        self.ladder.offer(now, path);
    }

    /// An address that the peer named.
    pub fn offer_candidate(&mut self, now: Time, addr: SocketAddr) {
        let path = Path::Direct(addr.into());
        if !self.ladder.knows(&path) && self.named.take(now, NAMED_RATE, 1) {
            self.ladder.offer(now, path);
        }
    }

    /// The network may have changed: ask every path at once.
    pub fn restart(&mut self, now: Time) {
        self.ladder.restart(now);
        if let Role::Initiator(initiator) = &mut self.role {
            initiator.hurry(now);
        }
        if let Phase::Away { retry, .. } = &mut self.phase {
            *retry = now;
        }
    }

    /// The server says that it has just come: as good as a changed network, if it does not say so all the time.
    pub fn appear(&mut self, now: Time) {
        if self.appeared.take(now, APPEARED_RATE, 1) {
            self.restart(now);
        }
    }

    /// Whether what it says now may go on to all others.
    pub fn may_spread(&mut self, now: Time) -> bool {
        self.spread.take(now, SPREAD_RATE, 1)
    }

    /// Whether it may sit elsewhere by its own word, and others be told.
    pub fn may_move(&mut self, now: Time) -> bool {
        self.moves.take(now, MOVE_RATE, 1)
    }

    pub fn vouched(&mut self) -> &mut Vouched {
        &mut self.vouched
    }

    /// Message 1 of a peer that the room found in its roster by `knocked.remote()`.
    pub fn knock(&mut self, scene: &mut Scene, path: Path, knocked: Knocked) {
        let Role::Responder(responder) = &mut self.role else {
            scene.counters.stranger += 1;
            return;
        };
        match responder.answer(scene.now, scene.keys, knocked, scene.rng) {
            Some((session, reply)) => {
                self.sessions.expect(session);
                self.ladder.notice(scene.now, path);
                scene.acts.push(Act::Send { path, bytes: reply });
            }
            None => scene.counters.stranger += 1,
        }
    }

    /// The answer to a message 1 that this peer sent before, if these bytes are that message.
    pub fn known_knock(
        &self,
        sender: u32,
        noise: &[u8; crate::protocol::packet::INIT_NOISE],
    ) -> Option<Vec<u8>> {
        match &self.role {
            Role::Responder(responder) => responder.again(sender, noise),
            Role::Initiator(_) => None,
        }
    }

    /// Message 2, addressed to `receiver`.
    pub fn answered(
        &mut self,
        scene: &mut Scene,
        path: Path,
        (sender, receiver): (u32, u32),
        noise: &[u8; RESP_NOISE],
    ) {
        let attempt = match &mut self.role {
            Role::Initiator(initiator) if initiator.owns(receiver) => initiator,
            // The same answer came by another path before: each copy of message 1 is answered.
            Role::Initiator(_) | Role::Responder(_) => return scene.counters.replayed += 1,
        };
        let Some(session) = attempt.finish(scene.now, sender, noise) else {
            scene.counters.forged += 1;
            return;
        };
        self.sessions.adopt(session, scene.now);
        self.heard(scene, path);
        // The responder may use the session once it has seen a packet of it.
        self.send_by(scene, path, CONTROL_CLASS, |w| w.push(0));
    }

    /// A sealed packet for one of our sessions. `bytes` is opened in place.
    pub fn transport(&mut self, scene: &mut Scene, path: Path, index: u32, counter: u32, bytes: &mut [u8]) {
        let plaintext = match self.sessions.open(scene.now, index, counter, bytes) {
            Ok(plaintext) => plaintext,
            Err(Drop::Replayed) => return scene.counters.replayed += 1,
            Err(Drop::Forged | Drop::Short) => return scene.counters.forged += 1,
        };
        self.heard(scene, path);
        let mut challenged = false;
        for frame in Frames::of(plaintext) {
            match frame {
                // One packet in, one out: a friend's probes carry one each.
                Ok(Frame::Challenge { .. }) if std::mem::replace(&mut challenged, true) => {
                    scene.counters.too_many += 1;
                }
                Ok(frame) => self.frame(scene, path, frame),
                Err(_) => scene.counters.malformed += 1,
            }
        }
    }

    /// One frame of our microphone. Only to friends that a real path reaches.
    pub fn voice(&mut self, scene: &mut Scene, frame: &VoiceFrame) {
        let mut voiced: Vec<Path> = self.ladder.routes(scene.now).filter(Path::carries_voice).collect();
        if voiced.is_empty() {
            voiced.extend(self.ladder.opened(scene.now));
        }
        if voiced.is_empty() || !self.sessions.can_seal() {
            return;
        }
        self.ladder.media(scene.now);
        let mut plaintext = Vec::with_capacity(8 + frame.opus.len());
        Frame::Voice(frame.clone()).write(&mut plaintext);
        self.voiced = plaintext.len();
        let Some(bytes) = self.sessions.seal(&plaintext) else { return };
        if self.ladder.is_answering(scene.now) && self.hearing.spoke(scene.now, frame.len.duration()) {
            self.ladder.distrust(scene.now);
        }
        for path in voiced {
            scene.acts.push(Act::Send { path, bytes: bytes.clone() });
        }
    }

    pub fn tell(&mut self, control: &Control) {
        self.news.push(control.clone());
    }

    /// The last that it is told.
    pub fn tell_last(&mut self, control: &Control) {
        self.news.only(control.clone());
    }

    /// It was not told something, for there was too much: it is to be told all. True once.
    pub fn missed_news(&mut self) -> bool {
        self.news.missed()
    }

    /// A line of chat. False if too many wait for this peer already.
    pub fn say(&mut self, line: &str) -> bool {
        self.streams[Channel::Chat.index()].push(line.as_bytes().to_vec()).is_ok()
    }

    /// All that we told it has arrived.
    pub fn is_settled(&self) -> bool {
        !self.is_live() || (self.news.is_empty() && self.streams.iter().all(Stream::is_idle))
    }

    /// Lines of ours that have not arrived, as long as it is reached.
    pub fn unread(&self) -> usize {
        if self.is_live() { self.streams[Channel::Chat.index()].under_way() } else { 0 }
    }

    /// Its last message is acknowledged at once: it waits for that before it goes.
    pub fn farewell(&mut self, scene: &mut Scene) {
        self.acknowledge(scene);
        self.part(scene, Parting::Left);
    }

    /// At once, rather than with the next message.
    pub fn acknowledge(&mut self, scene: &mut Scene) {
        let mut acks = Vec::new();
        self.write_acks(scene.now, true, &mut acks);
        self.send_sealed(scene, CONTROL_CLASS, acks);
    }

    /// After its removal: only what it was told before.
    pub fn linger(&mut self, scene: &mut Scene) {
        self.flush(scene);
    }

    pub fn linger_wake(&self, now: Time) -> Option<Time> {
        let can_send = self.sessions.can_seal() && self.ladder.carrying().is_some();
        self.unsent(now).filter(|_| can_send)
    }

    /// Nothing of it is sent again.
    pub fn report_undelivered(&mut self, scene: &mut Scene) {
        for line in self.streams[Channel::Chat.index()].abandon() {
            if let Ok(text) = String::from_utf8(line) {
                scene.acts.push(Act::Event(Event::Undelivered { to: self.id, text }));
            }
        }
    }

    /// The end: what it never got is reported.
    pub fn part(&mut self, scene: &mut Scene, why: Parting) {
        // While it still has a name.
        self.report_undelivered(scene);
        if matches!(self.phase, Phase::Live { .. } | Phase::Lost { .. }) {
            scene.acts.push(Act::Event(Event::Left { id: self.id, why }));
        }
    }

    pub fn view(&self, now: Time, name: String) -> PeerView {
        let live = self.is_live();
        let rtt = self.ladder.rtt().filter(|_| !self.is_silent(now));
        PeerView {
            id: self.id,
            name,
            own_name: self.state.name.clone(),
            state: match self.phase {
                Phase::Away { past: Past::Gone, .. } => PeerState::Gone,
                Phase::Shaking { .. } | Phase::Away { .. } => PeerState::Connecting,
                Phase::Live { .. } => PeerState::Live,
                Phase::Lost { .. } => PeerState::Reconnecting,
            },
            rung: self.ladder.carrying().filter(|_| live).map(|path| path.rung()),
            rtt: rtt.map(|(rtt, _)| rtt),
            rtt_var: rtt.map(|(_, var)| var),
            loss_in: self.losses.inbound,
            loss_out: self.losses.outbound,
            burst_out: self.losses.burst,
            jitter_out: Duration::from_secs_f32(self.losses.jitter),
            queue_out: Duration::from_secs_f32(self.losses.queue),
            muted: self.state.muted,
            deafened: self.state.deafened,
        }
    }

    /// Nothing comes, though it was asked: what was measured is of before.
    fn is_silent(&self, now: Time) -> bool {
        let Phase::Live { heard, doubted } = self.phase else { return true };
        let asked = doubted.and_then(|doubt| doubt.asked_since());
        let owes = asked.is_some_and(|since| now - heard.max(since) >= self.ladder.prompt());
        owes || self.ladder.misses(now, heard)
    }

    /// An authentic packet came.
    fn heard(&mut self, scene: &mut Scene, path: Path) {
        let doubted = match self.phase {
            Phase::Live { doubted, .. } => doubted.filter(|doubt| doubt.outlasts_news(scene.now)),
            _ => None,
        };
        let before = std::mem::replace(&mut self.phase, Phase::Live { heard: scene.now, doubted });
        self.ladder.heard(scene.now, path);
        match before {
            Phase::Live { .. } => return,
            Phase::Lost { .. } => scene.acts.push(Act::Event(Event::Back { id: self.id })),
            Phase::Shaking { .. } | Phase::Away { .. } => {
                scene.acts.push(Act::Event(Event::Joined { id: self.id, name: self.state.name.clone() }));
                if let Some(rung) = self.told {
                    scene.acts.push(Act::Event(Event::Moved { id: self.id, rung }));
                }
            }
        }
        self.ladder.restart(scene.now);
        self.streams.iter_mut().for_each(Stream::hurry);
    }

    fn moved(&mut self, scene: &mut Scene, path: Path) {
        self.streams.iter_mut().for_each(Stream::hurry);
        let rung = path.rung();
        if self.told != Some(rung) {
            self.told = Some(rung);
            scene.acts.push(Act::Event(Event::Moved { id: self.id, rung }));
        }
    }

    /// Those who carry for us cannot tell it from voice by its size, and so treat it no better.
    fn send_probe(&mut self, scene: &mut Scene, path: Path, frame: &Frame<'_>) {
        let veiled = path.carrier().is_some() && self.ladder.is_hot(scene.now);
        let class = if veiled { self.voiced.max(CONTROL_CLASS) } else { CONTROL_CLASS };
        self.send_by(scene, path, class, |w| frame.write(w));
    }

    fn send_by(&mut self, scene: &mut Scene, path: Path, class: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mut plaintext = Vec::new();
        write(&mut plaintext);
        pad(&mut plaintext, class);
        if let Some(bytes) = self.sessions.seal(&plaintext) {
            scene.acts.push(Act::Send { path, bytes });
        }
    }

    fn send_sealed(&mut self, scene: &mut Scene, class: usize, mut plaintext: Vec<u8>) {
        pad(&mut plaintext, class);
        let Some(bytes) = self.sessions.seal(&plaintext) else { return };
        for path in self.ladder.routes(scene.now) {
            scene.acts.push(Act::Send { path, bytes: bytes.clone() });
        }
    }
}

/// A laptop that slept through a pause still finds its room.
pub const FORGET_AFTER: Duration = Duration::from_secs(4 * 3600);
/// Two full lists at once, then an address a second: friends are no means to knock at a stranger's door.
const NAMED_RATE: Rate = Rate::per_second(1, 16);
/// Once in five seconds: a restart asks every path several times.
const APPEARED_RATE: Rate = Rate { per_minute: 12, burst: 1 };
/// Locks and codes change a few times an evening. Twelve who change them without end leave a friend half of what it may
/// be told in a second.
const SPREAD_RATE: Rate = Rate { per_minute: 25, burst: 16 };
/// Whoever comes back by the code does so every half minute at most. Paths to a seat are asked anew after each.
const MOVE_RATE: Rate = Rate { per_minute: 4, burst: 4 };
