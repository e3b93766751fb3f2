//! The whole edge of the engine on one page: what goes in, what comes out, what can be asked.
//!
//! `handle(now, Input)` then `poll()` until it answers `Output::Wake`: that is the contract of every machine here.

use std::fmt;
use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::error::Error;
use crate::protocol::member::{Codes, MemberId};

/// Microseconds since an origin that the caller chose; it only ever moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    pub const ZERO: Time = Time(0);

    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Zero when `rhs` is later.
impl Sub for Time {
    type Output = Duration;

    fn sub(self, rhs: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(rhs.0))
    }
}

/// One of our sockets. The edge opens each when it is first sent by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// The UDP socket whose addresses we tell.
    Main,
    /// One more UDP socket, with a port of its own: many of them meet a NAT that picks ports at random.
    Spare(u16),
    /// A TCP connection to that address, for networks that block UDP. Carries the same packets, each behind its
    /// length (u16). In a relay: the connection that came from there.
    Tcp,
}

/// A socket of ours and the address at the far end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    pub socket: Socket,
    pub addr: SocketAddr,
}

/// Addresses do not print by accident.
impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hop({:?})", self.socket)
    }
}

impl From<SocketAddr> for Hop {
    fn from(addr: SocketAddr) -> Self {
        Self { socket: Socket::Main, addr }
    }
}

/// What the room is told.
pub enum Input<'a> {
    /// A packet arrived.
    Datagram {
        from: Hop,
        bytes: &'a [u8],
    },
    /// A TCP connection of ours could not be made, or has ended. Nothing more comes by it; sending opens another.
    Closed(Hop),
    /// News of the connection to the signaling server.
    Signal(SignalIn<'a>),
    /// The addresses of our socket, port included. Told at start and whenever they change.
    LocalAddrs(&'a [SocketAddr]),
    /// The addresses outside that routers map to our main socket at our request (PCP, NAT-PMP, UPnP-IGD). Told whenever
    /// they change.
    Mapped(&'a [SocketAddr]),
    /// A frame from the microphone.
    Voice(VoiceFrame),
    Command(Command),
    /// Time has passed; nothing else happened.
    Tick,
}

pub enum SignalIn<'a> {
    /// Connected and sealed. `server` is the address that was reached.
    Up { server: SocketAddr },
    /// One message, opened and taken out of its frame.
    Frame(&'a [u8]),
    /// Not reachable, refused, or broken off.
    Down,
}

/// What the user wants.
pub enum Command {
    Say(String),
    Mute(bool),
    Deafen(bool),
    /// Our microphone hears our loudspeaker, or does not any more.
    Echoes(bool),
    /// From now on I am called that.
    Rename(String),
    /// Remove this member for good, and renew the code. Only whoever made the room may.
    Kick(MemberId),
    /// Let nobody in any more, or again; whatever code they have.
    Lock(bool),
    /// A fresh code; the old one is dead at once. `Event::Invite` follows when the server has answered.
    Invite,
    /// Leave the room; `Event::Ended(Ended::Left)` follows when the others have our last lines and know, or after a
    /// second.
    Leave,
}

/// What the room wants done.
pub enum Output {
    Transmit {
        to: Hop,
        bytes: Vec<u8>,
    },
    /// This TCP connection is not needed any more. `Input::Closed` need not follow.
    Close(Hop),
    Signal(SignalOut),
    /// This spare socket is not needed any more.
    CloseSpare(u16),
    /// A friend's frame, for the jitter buffer.
    Voice {
        from: MemberId,
        frame: VoiceFrame,
    },
    Event(Event),
    /// Nothing more to do before `at` unless something arrives; `why` names the timer for the curious.
    Wake(Wake),
}

pub enum SignalOut {
    /// Connect (again); answer with `SignalIn::Up` or `Down`.
    Dial,
    Frame(Vec<u8>),
    Hang,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    pub at: Time,
    pub why: &'static str,
}

/// One frame of speech, encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct VoiceFrame {
    /// Counts frame intervals, sent or not: sequence number and timestamp in one. Wraps.
    pub time: u32,
    pub len: FrameLen,
    /// The last one before silence.
    pub last_of_talk: bool,
    /// How long the sender's devices had held the sound when the frame was full, in milliseconds; told in steps of 4, at
    /// most 124.
    pub age_ms: u8,
    pub opus: Vec<u8>,
}

impl fmt::Debug for VoiceFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VoiceFrame({}, {} bytes)", self.time, self.opus.len())
    }
}

/// Frame durations that the protocol knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameLen {
    Ms10,
    Ms20,
    Ms40,
    Ms60,
}

impl FrameLen {
    pub const fn duration(self) -> Duration {
        Duration::from_millis(match self {
            Self::Ms10 => 10,
            Self::Ms20 => 20,
            Self::Ms40 => 40,
            Self::Ms60 => 60,
        })
    }
}

/// The step of the connection ladder that carries a friend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    Direct,
    /// Through a friend who forwards what it cannot open.
    Host(MemberId),
    Relay,
    /// Through signaling: carries handshakes and chat until a real path opens; never voice.
    Mail,
}

/// What happened, for people and programs.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// We are in a room; these codes let others in. Said again when they change.
    Invite(Codes),
    /// We are in the room (after `create`, or after admission).
    Entered {
        me: MemberId,
    },
    Joined {
        id: MemberId,
        name: String,
    },
    /// A friend's first path, and every change of it.
    Moved {
        id: MemberId,
        rung: Rung,
    },
    /// Nothing heard from a friend; we keep trying.
    Reconnecting {
        id: MemberId,
        /// What was told last of how they were reached.
        rung: Option<Rung>,
    },
    Back {
        id: MemberId,
    },
    Left {
        id: MemberId,
        why: Parting,
    },
    Said {
        from: MemberId,
        text: String,
    },
    /// A line of ours that this friend never got; `text` as it was said.
    Undelivered {
        to: MemberId,
        text: String,
    },
    Muted {
        id: MemberId,
        muted: bool,
    },
    /// A friend is called that now.
    Renamed {
        id: MemberId,
        name: String,
    },
    /// This member (or we) locked the room, so that nobody gets in, or opened it again.
    Door {
        open: bool,
        by: MemberId,
    },
    /// This member made a new code, and the old one is dead. `Invite` follows.
    NewCode {
        by: MemberId,
    },
    /// Whom we talk to has changed, and with it what `Room::verify` says.
    CheckChanged,
    /// A command of ours came to nothing.
    Denied(Denial),
    /// The echo that others hear of themselves comes from this friend.
    Echoes {
        id: MemberId,
    },
    /// No path to this member works (so far; we keep trying).
    Unreachable {
        id: MemberId,
        name: String,
    },
    /// Somebody tried wrong words.
    WrongCode {
        tries: u32,
    },
    /// Too many wrong words: this code admits nobody any more; a new one does.
    Locked,
    /// Signaling is lost (calls go on, nobody can join) or back.
    Signaling {
        up: bool,
    },
    Ended(Ended),
}

/// Chat text, names and codes do not print by accident.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invite(_) => write!(f, "Invite"),
            Self::Entered { me } => write!(f, "Entered({me:?})"),
            Self::Joined { id, .. } => write!(f, "Joined({id:?})"),
            Self::Moved { id, rung } => write!(f, "Moved({id:?}, {rung:?})"),
            Self::Reconnecting { id, rung } => write!(f, "Reconnecting({id:?}, {rung:?})"),
            Self::Back { id } => write!(f, "Back({id:?})"),
            Self::Left { id, why } => write!(f, "Left({id:?}, {why:?})"),
            Self::Said { from, text } => write!(f, "Said({from:?}, {} bytes)", text.len()),
            Self::Undelivered { to, text } => write!(f, "Undelivered({to:?}, {} bytes)", text.len()),
            Self::Muted { id, muted } => write!(f, "Muted({id:?}, {muted})"),
            Self::Renamed { id, .. } => write!(f, "Renamed({id:?})"),
            Self::Door { open, by } => write!(f, "Door({open}, {by:?})"),
            Self::NewCode { by } => write!(f, "NewCode({by:?})"),
            Self::CheckChanged => write!(f, "CheckChanged"),
            Self::Denied(why) => write!(f, "Denied({why:?})"),
            Self::Echoes { id } => write!(f, "Echoes({id:?})"),
            Self::Unreachable { id, .. } => write!(f, "Unreachable({id:?})"),
            Self::WrongCode { tries } => write!(f, "WrongCode({tries})"),
            Self::Locked => write!(f, "Locked"),
            Self::Signaling { up } => write!(f, "Signaling({up})"),
            Self::Ended(ended) => write!(f, "Ended({ended:?})"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    Left,
    /// Silent for longer than we keep trying.
    TimedOut,
    Kicked,
}

/// Why a command came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Only whoever made the room may remove somebody.
    NotCreator,
    /// There is no such member.
    NobodyThere,
    /// The old code is dead; a new one needs the server, which does not answer (yet).
    NoServer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// We asked for it.
    Left,
    Failed(Error),
}

/// A friend, as one asks at any moment.
#[derive(Clone)]
pub struct PeerView {
    pub id: MemberId,
    /// Sanitised and unique in the room.
    pub name: String,
    /// The same without what sets them apart from others of that name.
    pub own_name: String,
    pub state: PeerState,
    /// What carries us to them, of a live one only.
    pub rung: Option<Rung>,
    /// Like its variation, of one only from whom something comes: no figure outlives what it was measured of by much.
    pub rtt: Option<Duration>,
    /// Variation of the round trip (RFC 6298's RTTVAR).
    pub rtt_var: Option<Duration>,
    /// Share of their packets that did not reach us, 0.0 to 1.0, over the last seconds.
    pub loss_in: f32,
    /// Share of ours that did not reach them, as they report.
    pub loss_out: f32,
    /// Mean number of ours that got lost in a row, as they report; below 1 while hardly any was.
    pub burst_out: f32,
    /// Interarrival jitter (RFC 3550) of our voice, as they report.
    pub jitter_out: Duration,
    /// By how much our voice comes later to them than it could, as they report: the queue on the way.
    pub queue_out: Duration,
    pub muted: bool,
    pub deafened: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    Connecting,
    Live,
    Reconnecting,
    /// Never met, and the server saw its connection end: it has probably left before any path to it opened.
    Gone,
}

/// How a room treats the ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathPolicy {
    /// Every rung, the best that works.
    #[default]
    Auto,
    /// Only direct paths; no relay is used.
    Direct,
    /// Only relays: none of our addresses reaches another member.
    Relay,
}

#[derive(Clone)]
pub struct Config {
    pub name: String,
    pub paths: PathPolicy,
    /// Carry sealed packets between friends who cannot reach each other. Only with `PathPolicy::Auto`.
    pub forward: bool,
}

/// What arrived and was dropped, by reason. Never with an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Not of any form that we know.
    pub malformed: u64,
    /// For a session, relay or question that we do not have.
    pub unknown: u64,
    /// Seen before, or too old to tell.
    pub replayed: u64,
    /// The seal does not hold.
    pub forged: u64,
    /// A handshake by one who does not know the room's secret.
    pub gate: u64,
    /// A handshake by one who is not (or no longer) a member, or an old one again.
    pub stranger: u64,
    /// More than we take in that time.
    pub too_many: u64,
    /// Makes no sense in this state.
    pub out_of_turn: u64,
}
