//! The room's words and numbers as notes.

use std::collections::BTreeMap;
use std::time::Duration;

use vc_core::io::{Event, PeerState, PeerView, Rung, VoiceFrame};
use vc_core::protocol::member::MemberId;
use vc_core::room::Room;

use crate::failure::{Failure, Kind};
use crate::names::Names;
use crate::note::{self, Entrance, Note, Via};
use crate::place::Place;
use crate::plan::Plan;
use crate::signal_link::Fault;
use crate::sound::Presence;
use crate::stats::{Drops, PeerSound, PeerStats, Stats};

/// What the loop counts itself.
#[derive(Default)]
pub(crate) struct Counts {
    /// Voice frames given to the room.
    pub(crate) sent: u64,
    /// The own microphone: dBFS, and whether it is being sent.
    pub(crate) level: Option<(f32, bool)>,
    pub(crate) seconds: u64,
    heard: BTreeMap<MemberId, Came>,
}

/// What came of a friend's voice.
#[derive(Clone, Copy, Default)]
struct Came {
    frames: u64,
    /// From their lips until the last frame was full, in milliseconds.
    age_ms: f32,
}

impl Counts {
    pub(crate) fn heard(&mut self, from: MemberId, frame: &VoiceFrame) {
        let came = self.heard.entry(from).or_default();
        came.frames += 1;
        came.age_ms = f32::from(frame.age_ms) + millis(frame.len.duration());
    }

    pub(crate) fn forget(&mut self, id: MemberId) {
        self.heard.remove(&id);
    }

    pub(crate) fn stats(&self, room: &Room, names: &Names, plan: &Plan) -> Stats {
        let sound = &plan.sound;
        let sounds = sound.stats();
        let latency = sound.latency();
        let (microphone, loudspeaker) = sound.presence();
        let mut peers = room.peers();
        peers.sort_by_key(|peer| names.place(peer.id));
        let peers = peers.into_iter().map(|peer| {
            let came = self.heard.get(&peer.id).copied().unwrap_or_default();
            let heard = sounds.iter().find(|(friend, _)| *friend == peer.id.as_u64()).map(|(_, stats)| stats);
            // A volume that was set before the first word is no sound, and nothing has a delay yet.
            let heard = heard.filter(|stats| stats.played > 0);
            let sound = heard.map(|heard| PeerSound {
                played: heard.played,
                again: heard.again,
                fec: heard.fec,
                dred: heard.dred,
                concealed: heard.concealed,
                late: heard.late,
                duplicates: heard.duplicates,
                skipped: heard.skipped,
                refused: heard.refused,
                buffer_ms: heard.buffer_ms,
                target_ms: heard.target_ms,
                level_dbfs: if loudspeaker == Presence::There { heard.level_dbfs } else { SILENCE },
                delay_ms: peer.rtt.map(|rtt| delay_ms(came, rtt, heard.buffer_ms, latency.playback)),
            });
            let volume = plan.habits.volumes.of(peer.id);
            PeerStats { volume, heard: came.frames, sound, ..peer_stats(peer, names) }
        });
        // Of a microphone that is gone the last is what it was, not what is.
        let level = self.level.filter(|_| microphone == Presence::There);
        Stats {
            captured: sound.captured(),
            sent: self.sent,
            level_dbfs: level.map(|(dbfs, _)| dbfs),
            talking: level.is_some_and(|(_, talking)| talking),
            microphone,
            loudspeaker,
            resting: sound.rests(),
            capture_ms: millis(latency.capture),
            playback_ms: millis(latency.playback),
            reserve_ms: millis(latency.reserve),
            ran_dry: latency.ran_dry,
            peers: peers.collect(),
            drops: Drops { unsent: 0, voice: sound.dropped(), garbage: room.counters().into() },
            ..Stats::default()
        }
    }
}

/// `None` for what is said elsewhere.
pub(crate) fn note(
    event: &Event,
    plan: &Plan,
    names: &Names,
    entrance: Entrance,
    alone: bool,
) -> Option<Note> {
    let name = |id: &MemberId| names.of(*id);
    Some(match event {
        Event::Invite(codes) => plan.invitation(codes, entrance),
        Event::Entered { me } => Note::Entered { me: (*me).into() },
        Event::Joined { id, name } => Note::Joined { id: (*id).into(), name: name.clone() },
        Event::Moved { id, rung } => {
            Note::Path { id: (*id).into(), name: name(id), rung: note::rung(*rung), via: via(*rung, names) }
        }
        Event::Reconnecting { id, rung } => {
            // One machine may run both.
            let relay = *rung == Some(Rung::Relay) && !entrance.up;
            Note::Reconnecting { id: (*id).into(), name: name(id), cause: relay.then_some("relay") }
        }
        Event::Back { id } => Note::Back { id: (*id).into(), name: name(id) },
        Event::Left { id, why } => Note::Left { id: (*id).into(), name: name(id), why: note::parting(*why) },
        Event::Said { from, text } => {
            Note::Chat { from: (*from).into(), name: name(from), text: text.clone() }
        }
        Event::Undelivered { to, text } => {
            Note::Undelivered { to: (*to).into(), name: name(to), text: text.clone() }
        }
        Event::Echoes { id } => Note::Echoes { id: (*id).into(), name: name(id) },
        Event::Muted { id, muted } => Note::Muted { id: (*id).into(), name: name(id), muted: *muted },
        Event::Renamed { id, name: new } => {
            Note::Renamed { id: (*id).into(), name: new.clone(), was: name(id) }
        }
        Event::Door { open, by } => Note::Door { open: *open, by: (*by).into(), name: name(by) },
        Event::NewCode { by } => Note::NewCode { by: (*by).into(), name: name(by) },
        Event::CheckChanged => Note::CheckChanged,
        Event::Denied(denial) => note::denied(*denial),
        Event::Unreachable { id, name } => Note::Unreachable { id: (*id).into(), name: name.clone() },
        Event::WrongCode { tries } => Note::WrongCode { tries: *tries },
        Event::Locked => Note::Locked,
        Event::Signaling { up } => Note::Signaling { up: *up, alone },
        // The end is told with its exit status, last of all.
        Event::Ended(_) => return None,
    })
}

/// The key that it shows is not told: whoever is in between would have it accepted.
pub(crate) fn key_changed(place: &Place, named: Named) -> Failure {
    let mend = match named {
        Named::ByUser => NEW_LINE,
        Named::ByCode => NEW_LINK,
    };
    Failure::new(Kind::KeyChanged, format!("{}.", another_key(&place.address())), format!("{ASK} {mend}"))
}

/// Who said where the server is, and which key it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// By a flag, a setting, or a call before.
    ByUser,
    ByCode,
}

/// The same, in a call that goes on.
pub(crate) fn another_server(place: &Place) -> String {
    format!("{}. The call goes on without it. {ASK}", another_key(&place.address()))
}

fn another_key(address: &str) -> String {
    format!("The server at {address} shows another key than the one you know; somebody may be in between")
}

/// More precise than "unreachable", where the attempt told more.
pub(crate) fn unreachable(place: &Place, fault: Fault) -> Failure {
    let address = place.address();
    let (what, hint) = match fault {
        Fault::Lookup => (
            format!("The server's name in {address} cannot be found."),
            "Check its spelling and your connection.",
        ),
        Fault::Refused => (
            format!("Nothing runs at {address}."),
            "Check the address and the port; the server may have been stopped.",
        ),
        Fault::NoRoute => (
            format!("No network of this machine leads to {address}."),
            "Check the address and your connection.",
        ),
        Fault::Silent | Fault::Key(_) => (
            format!("The server at {address} does not answer."),
            "Check the address and your connection; a firewall may be in the way.",
        ),
        Fault::Foreign => {
            (format!("What answers at {address} is no voicechat server."), "Check the address and the port.")
        }
        Fault::Broken => (
            format!("The connection to the server at {address} breaks off."),
            "Try again; if it happens again, the server may be full or of another version.",
        ),
    };
    Failure::new(Kind::Unreachable, what, hint)
}

fn via(rung: Rung, names: &Names) -> Option<Via> {
    match rung {
        Rung::Host(host) => Some(Via { via: host.into(), via_name: names.of(host) }),
        Rung::Direct | Rung::Relay | Rung::Mail => None,
    }
}

fn peer_stats(peer: PeerView, names: &Names) -> PeerStats {
    PeerStats {
        id: peer.id.into(),
        name: peer.name,
        state: match peer.state {
            PeerState::Connecting => "connecting",
            PeerState::Live => "live",
            PeerState::Reconnecting => "reconnecting",
            PeerState::Gone => "gone",
        },
        rung: peer.rung.map(note::rung),
        via: peer.rung.and_then(|rung| via(rung, names)),
        rtt_ms: peer.rtt.map(millis),
        rtt_var_ms: peer.rtt_var.map(millis),
        jitter_ms: peer.rtt.map(|_| millis(peer.jitter_out)),
        loss_in: share(peer.loss_in),
        loss_out: share(peer.loss_out),
        muted: peer.muted,
        deafened: peer.deafened,
        ..PeerStats::default()
    }
}

/// From their lips to our ears: their microphone, and a frame has to be full, the codec looks ahead, half a round trip, the
/// jitter buffer, our loudspeaker.
fn delay_ms(came: Came, rtt: Duration, buffer_ms: u32, playback: Duration) -> f32 {
    let delay = came.age_ms + LOOK_AHEAD_MS + millis(rtt) / 2.0 + buffer_ms as f32 + millis(playback);
    (delay * 10.0).round() / 10.0
}

/// To a hundredth of a percent: what is less is what an average forgets last.
fn share(part: f32) -> f32 {
    (part * 10_000.0).round() / 10_000.0
}

fn millis(duration: Duration) -> f32 {
    (duration.as_secs_f32() * 100_000.0).round() / 100.0
}

const ASK: &str = "Ask whoever runs it, by another way, whether its key was changed.";
/// A key that is typed beats each that is known, and is remembered.
const NEW_LINE: &str = "If it was, let them send you the line that `voicechat serve` prints now: `--server` takes it for one \
                        call, `voicechat config set server` for all.";
const NEW_LINK: &str =
    "If it was, the room has to be opened anew there: let whoever opens it send you its new link.";
/// As the engine has it, in dBFS.
const SILENCE: f32 = -100.0;
/// Of Opus at 48 kHz (RFC 6716 and the encoder's own figure, 312 samples).
const LOOK_AHEAD_MS: f32 = 6.5;
