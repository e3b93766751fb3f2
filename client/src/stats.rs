//! How a call is, in numbers: what `stats`, `status` and `peers` carry (docs/EVENTS.md).

use serde::Serialize;
use vc_core::io::Counters;

use crate::note::{Id, Via};
use crate::sound::Presence;
use crate::volumes::AS_SENT;

/// The state of the call, once a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Stats {
    pub(crate) captured: u64,
    pub(crate) sent: u64,
    pub(crate) level_dbfs: Option<f32>,
    pub(crate) talking: bool,
    pub(crate) muted: bool,
    pub(crate) deafened: bool,
    pub(crate) push_to_talk: bool,
    /// It is down.
    pub(crate) talk_key: bool,
    /// The room is unlocked.
    pub(crate) open: bool,
    pub(crate) microphone: Presence,
    pub(crate) loudspeaker: Presence,
    /// The microphone is off, because nobody is there to hear it.
    pub(crate) resting: bool,
    pub(crate) capture_ms: f32,
    pub(crate) playback_ms: f32,
    pub(crate) reserve_ms: f32,
    pub(crate) ran_dry: u64,
    pub(crate) peers: Vec<PeerStats>,
    pub(crate) drops: Drops,
}

/// How the call is, in short for people and whole for programs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    /// None while no words let anybody in: see `App::codes`.
    pub(crate) code: Option<String>,
    pub(crate) server: String,
    /// Whether the server is there.
    pub(crate) up: bool,
    #[serde(flatten)]
    pub(crate) stats: Stats,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PeerStats {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) rung: Option<&'static str>,
    #[serde(flatten)]
    pub(crate) via: Option<Via>,
    pub(crate) rtt_ms: Option<f32>,
    pub(crate) rtt_var_ms: Option<f32>,
    pub(crate) jitter_ms: Option<f32>,
    pub(crate) loss_in: f32,
    pub(crate) loss_out: f32,
    pub(crate) muted: bool,
    pub(crate) deafened: bool,
    /// How loud we hear them, in percent of what they send.
    pub(crate) volume: u16,
    pub(crate) heard: u64,
    #[serde(flatten)]
    pub(crate) sound: Option<PeerSound>,
}

impl Default for PeerStats {
    fn default() -> Self {
        Self {
            id: Id::default(),
            name: String::new(),
            state: "connecting",
            rung: None,
            via: None,
            rtt_ms: None,
            rtt_var_ms: None,
            jitter_ms: None,
            loss_in: 0.0,
            loss_out: 0.0,
            muted: false,
            deafened: false,
            volume: AS_SENT,
            heard: 0,
            sound: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct PeerSound {
    pub(crate) played: u64,
    pub(crate) again: u64,
    pub(crate) fec: u64,
    pub(crate) dred: u64,
    pub(crate) concealed: u64,
    pub(crate) late: u64,
    pub(crate) duplicates: u64,
    pub(crate) skipped: u64,
    pub(crate) refused: u64,
    pub(crate) buffer_ms: u32,
    pub(crate) target_ms: u32,
    pub(crate) level_dbfs: f32,
    pub(crate) delay_ms: Option<f32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Drops {
    pub(crate) unsent: u64,
    pub(crate) voice: u64,
    pub(crate) garbage: Garbage,
}

/// What came from the network and was dropped, by reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Garbage {
    pub(crate) malformed: u64,
    pub(crate) unknown: u64,
    pub(crate) replayed: u64,
    pub(crate) forged: u64,
    pub(crate) gate: u64,
    pub(crate) stranger: u64,
    pub(crate) too_many: u64,
    pub(crate) out_of_turn: u64,
}

impl From<&Counters> for Garbage {
    fn from(counters: &Counters) -> Self {
        Self {
            malformed: counters.malformed,
            unknown: counters.unknown,
            replayed: counters.replayed,
            forged: counters.forged,
            gate: counters.gate,
            stranger: counters.stranger,
            too_many: counters.too_many,
            out_of_turn: counters.out_of_turn,
        }
    }
}
