//! Everything the client has to say, once: `--json` prints it as it is (docs/EVENTS.md), ui.rs in words.

use std::borrow::Cow;

use serde::Serialize;
use vc_core::io::{Denial, Parting, Rung};
use vc_core::protocol::member::MemberId;
use vc_core::protocol::text;

use crate::failure::Failure;
use crate::message::Message;
use crate::order::Given;
use crate::stats::{PeerStats, Stats, Status};

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Note {
    Invite {
        code: Option<String>,
        link: Option<String>,
        server: String,
        reach: Reach,
        #[serde(flatten)]
        entrance: Entrance,
    },
    Entered {
        me: Id,
    },
    Joined {
        id: Id,
        name: String,
    },
    Left {
        id: Id,
        name: String,
        why: &'static str,
    },
    Path {
        id: Id,
        name: String,
        rung: &'static str,
        #[serde(flatten)]
        via: Option<Via>,
    },
    Chat {
        from: Id,
        name: String,
        text: String,
    },
    /// A line of our own, on its way.
    Said {
        text: String,
    },
    Undelivered {
        to: Id,
        name: String,
        text: String,
    },
    Muted {
        id: Id,
        name: String,
        muted: bool,
    },
    Renamed {
        id: Id,
        name: String,
        was: String,
    },
    Door {
        open: bool,
        by: Id,
        name: String,
    },
    NewCode {
        by: Id,
        name: String,
    },
    CheckChanged,
    Denied {
        why: &'static str,
        message: &'static str,
    },
    /// Where an echo comes from.
    Echoes {
        id: Id,
        name: String,
    },
    Reconnecting {
        id: Id,
        name: String,
        /// `relay`: it carried for them, and the server is lost as well.
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<&'static str>,
    },
    Back {
        id: Id,
        name: String,
    },
    Unreachable {
        id: Id,
        name: String,
    },
    WrongCode {
        tries: u32,
    },
    Locked,
    Signaling {
        up: bool,
        /// Nobody else is here, which people read in the same sentence.
        #[serde(skip)]
        alone: bool,
    },
    Level {
        dbfs: f32,
        talking: bool,
    },
    Stats(Stats),
    Status(Box<Status>),
    /// What we do ourselves: each change, wherever it was ordered.
    Own {
        muted: bool,
        deafened: bool,
        push_to_talk: bool,
        talk_key: bool,
    },
    /// The answer to an order that changes something, or was refused.
    Answer {
        order: Option<Cow<'static, str>>,
        done: bool,
        message: Message,
    },
    Peers {
        peers: Vec<PeerStats>,
    },
    Verify {
        words: [&'static str; 5],
    },
    Devices {
        inputs: Vec<Device>,
        outputs: Vec<Device>,
    },
    /// Lines that the reader did not take in time.
    Missed {
        lines: u64,
    },
    Notice {
        message: String,
    },
    Trouble {
        message: String,
    },
    /// What `voicechat doctor` found out.
    Finding {
        topic: &'static str,
        state: State,
        message: String,
        hint: String,
    },
    /// What comes back of us, in `voicechat echo`.
    Echo {
        level_dbfs: Option<f32>,
        delay_ms: Option<f32>,
        rtt_ms: Option<f32>,
        loss: f32,
    },
    Serving {
        place: String,
        address: String,
        key: String,
        reach: Reach,
    },
    Error {
        code: &'static str,
        message: String,
        hint: String,
    },
    Ended {
        reason: &'static str,
        exit: u8,
    },
}

/// The friend who carries for another.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Via {
    pub(crate) via: Id,
    pub(crate) via_name: String,
}

/// A microphone or a loudspeaker.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Device {
    /// What `--input` and `--output` take.
    pub(crate) device: String,
    pub(crate) title: String,
    pub(crate) default: bool,
    /// Hears what a loudspeaker plays.
    pub(crate) monitor: bool,
    /// By the call that lists it.
    pub(crate) used: bool,
}

impl Device {
    pub(crate) fn new(device: &audio::Device, used: bool) -> Self {
        Self {
            device: text::harmless(&device.id),
            title: text::harmless(&device.name),
            default: device.is_default,
            monitor: device.is_monitor,
            used,
        }
    }
}

/// How a finding of `voicechat doctor` is meant; the later the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Good,
    /// A call works, but not as well as it could.
    Doubtful,
    Bad,
}

/// Whether a code lets friends in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Entrance {
    /// The server is there to let them in.
    pub(crate) up: bool,
    /// The room is unlocked.
    pub(crate) open: bool,
}

/// How far an address is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reach {
    /// This machine only.
    Loopback,
    /// The same network.
    Lan,
    Public,
    /// A name or a server of somebody else: as far as that goes.
    Server,
}

/// A member, as 16 hexadecimal digits: programs' numbers are often too short for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Id(pub(crate) String);

impl From<MemberId> for Id {
    fn from(id: MemberId) -> Self {
        Self(format!("{:016x}", id.as_u64()))
    }
}

impl Note {
    /// As programs outside the call read it: what answers an order names it as it was `called` there.
    pub(crate) fn outside(self, called: Option<&'static str>) -> Self {
        match self {
            Self::Answer { order, done, message } => Self::Answer {
                order: called.map(Cow::Borrowed).or(order),
                done,
                message: message.read(Given::Outside).into(),
            },
            note => note,
        }
    }

    /// The last event of a call or of any other run.
    pub(crate) fn ended(result: &Result<(), Failure>) -> Self {
        match result {
            Ok(()) => Self::Ended { reason: "left", exit: 0 },
            Err(failure) => Self::Ended { reason: failure.kind.name(), exit: failure.kind.status() },
        }
    }
}

pub(crate) fn rung(rung: Rung) -> &'static str {
    match rung {
        Rung::Direct => "direct",
        Rung::Host(_) => "host",
        Rung::Relay => "relay",
        Rung::Mail => "mail",
    }
}

pub(crate) const fn parting(why: Parting) -> &'static str {
    match why {
        Parting::Left => "left",
        Parting::TimedOut => "timed_out",
        Parting::Kicked => "kicked",
    }
}

pub(crate) fn denied(denial: Denial) -> Note {
    let (why, message) = denied_words(denial);
    Note::Denied { why, message }
}

/// For programs, and as a sentence.
pub(crate) fn denied_words(denial: Denial) -> (&'static str, &'static str) {
    match denial {
        Denial::NotCreator => ("not_creator", "Only whoever made the room can remove somebody."),
        Denial::NobodyThere => ("nobody_there", "There is no such member."),
        Denial::NoServer => (
            "no_server",
            "The old code is dead. A new one needs the server, which gives none at the moment; it follows when it does.",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::stats::PeerSound;

    const PAGE: &str = include_str!("../../docs/EVENTS.md");

    /// One of each. A variant that is missing here fails to compile below.
    pub(crate) fn all() -> Vec<Note> {
        let id = || Id("0123456789abcdef".into());
        let name = || "Ada".to_owned();
        let text = || "hi".to_owned();
        let sound = Some(PeerSound::default());
        let via = Some(Via::default());
        let peers = vec![PeerStats { sound, via: via.clone(), ..PeerStats::default() }];
        vec![
            Note::Invite {
                code: None,
                link: None,
                server: text(),
                reach: Reach::Lan,
                entrance: Entrance { up: true, open: true },
            },
            Note::Entered { me: id() },
            Note::Joined { id: id(), name: name() },
            Note::Left { id: id(), name: name(), why: parting(Parting::Left) },
            Note::Path { id: id(), name: name(), rung: "host", via },
            Note::Chat { from: id(), name: name(), text: text() },
            Note::Said { text: text() },
            Note::Undelivered { to: id(), name: name(), text: text() },
            Note::Muted { id: id(), name: name(), muted: true },
            Note::Renamed { id: id(), name: name(), was: name() },
            Note::Door { open: false, by: id(), name: name() },
            Note::NewCode { by: id(), name: name() },
            Note::CheckChanged,
            denied(Denial::NotCreator),
            Note::Echoes { id: id(), name: name() },
            Note::Reconnecting { id: id(), name: name(), cause: Some("relay") },
            Note::Back { id: id(), name: name() },
            Note::Unreachable { id: id(), name: name() },
            Note::WrongCode { tries: 1 },
            Note::Locked,
            Note::Signaling { up: true, alone: false },
            Note::Level { dbfs: -20.0, talking: true },
            Note::Stats(Stats { peers, ..Stats::default() }),
            Note::Status(Box::default()),
            Note::Own { muted: true, deafened: false, push_to_talk: false, talk_key: false },
            Note::Answer { order: Some("mute".into()), done: true, message: text().into() },
            Note::Peers { peers: vec![PeerStats::default()] },
            Note::Verify { words: ["abandon"; 5] },
            Note::Devices { inputs: vec![Device::default()], outputs: vec![Device::default()] },
            Note::Missed { lines: 3 },
            Note::Notice { message: text() },
            Note::Trouble { message: text() },
            Note::Finding { topic: "nat", state: State::Good, message: text(), hint: text() },
            Note::Echo { level_dbfs: Some(-20.0), delay_ms: Some(70.0), rtt_ms: Some(1.0), loss: 0.0 },
            Note::Serving { place: text(), address: text(), key: text(), reach: Reach::Public },
            Note::Error { code: "usage", message: text(), hint: text() },
            Note::Ended { reason: "left", exit: 0 },
        ]
    }

    #[test]
    fn the_names_of_devices_are_made_harmless() {
        let name = "\u{1b}]0;x\u{7}\u{202e}Mic\u{9b}2J".to_owned();
        let device = audio::Device { id: name.clone(), name, is_default: false, is_monitor: false };
        let device = Device::new(&device, true);
        assert!(device.title.contains("Mic") && device.device == device.title);
        assert!(!device.title.contains(|c: char| c.is_control() || c == '\u{202e}'), "{device:?}");
    }

    fn kinds(note: &Note) -> usize {
        match note {
            Note::Invite { .. }
            | Note::Entered { .. }
            | Note::Joined { .. }
            | Note::Left { .. }
            | Note::Path { .. }
            | Note::Chat { .. }
            | Note::Said { .. }
            | Note::Undelivered { .. }
            | Note::Muted { .. }
            | Note::Renamed { .. }
            | Note::Door { .. }
            | Note::NewCode { .. }
            | Note::CheckChanged
            | Note::Denied { .. }
            | Note::Echoes { .. }
            | Note::Reconnecting { .. }
            | Note::Back { .. }
            | Note::Unreachable { .. }
            | Note::WrongCode { .. }
            | Note::Locked
            | Note::Signaling { .. }
            | Note::Level { .. }
            | Note::Stats(_)
            | Note::Status(_)
            | Note::Own { .. }
            | Note::Answer { .. }
            | Note::Peers { .. }
            | Note::Verify { .. }
            | Note::Devices { .. }
            | Note::Missed { .. }
            | Note::Notice { .. }
            | Note::Trouble { .. }
            | Note::Finding { .. }
            | Note::Echo { .. }
            | Note::Serving { .. }
            | Note::Error { .. }
            | Note::Ended { .. } => all().len(),
        }
    }

    fn fields(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    found.push(key.clone());
                    fields(value, found);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_event_and_every_field_is_described() {
        let notes = all();
        assert!(notes.iter().all(|note| kinds(note) == notes.len()));
        for note in notes {
            let value = serde_json::to_value(&note).unwrap();
            let event = value["event"].as_str().unwrap();
            let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{event}` |")));
            let row = row.unwrap_or_else(|| panic!("{event} has no row"));
            let mut found = Vec::new();
            fields(&value, &mut found);
            let stats = matches!(note, Note::Stats(_) | Note::Status(_) | Note::Peers { .. });
            for field in found.iter().filter(|field| *field != "event") {
                let place = if stats { PAGE } else { row };
                assert!(place.contains(&format!("`{field}`")), "{event}: {field}");
            }
        }
    }

    #[test]
    fn every_described_event_exists() {
        let events: Vec<String> = all()
            .iter()
            .map(|note| serde_json::to_value(note).unwrap()["event"].as_str().unwrap().into())
            .collect();
        let table = PAGE.split("## Events").nth(1).unwrap().split("### `stats`").next().unwrap();
        for row in
            table.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| !row.starts_with("event`"))
        {
            let event = row.split('`').next().unwrap();
            assert!(events.iter().any(|known| known == event), "{event}");
        }
    }
}
