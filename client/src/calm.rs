//! Keeps flapping networks and nervous keys from filling the conversation: what is over before a person would have
//! read it is not told, and what changes again and again is told now and then. Programs get every event.

use std::collections::BTreeMap;
use std::time::Duration;

use vc_core::io::Time;

use crate::note::Note;

#[derive(Default)]
pub(crate) struct Calm(BTreeMap<(String, Matter), Told>);

/// What can flap, of each friend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    Presence,
    Path,
    Microphone,
}

#[derive(Default)]
struct Told {
    state: Option<&'static str>,
    at: Option<Time>,
    /// What is to be told then, if it stays so.
    next: Option<(Time, &'static str, Note)>,
}

impl Calm {
    /// What of it is to be told at once.
    pub(crate) fn hear(&mut self, now: Time, note: Note) -> Option<Note> {
        let (id, matter, state) = match &note {
            Note::Left { id, .. } => {
                self.0.retain(|(friend, _), _| *friend != id.0);
                return Some(note);
            }
            Note::Reconnecting { id, .. } => (id, Matter::Presence, LOST),
            Note::Back { id, .. } => (id, Matter::Presence, THERE),
            Note::Path { id, rung, .. } => (id, Matter::Path, *rung),
            Note::Muted { id, muted, .. } => (id, Matter::Microphone, if *muted { "off" } else { "on" }),
            _ => return Some(note),
        };
        let told = self.0.entry((id.0.clone(), matter)).or_default();
        let usual = match matter {
            Matter::Presence => Some(THERE),
            Matter::Microphone => Some("on"),
            Matter::Path => None,
        };
        if told.state.or(usual) == Some(state) {
            told.next = None;
            return None;
        }
        let patient = if state == LOST { now + GRACE } else { now };
        let again = told.at.filter(|_| matter != Matter::Presence).map_or(now, |at| at + PAUSE);
        let due = patient.max(again);
        if due <= now {
            told.tell(now, state);
            return Some(note);
        }
        told.next = Some((due, state, note));
        None
    }

    /// What has stayed so for long enough.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Note> {
        let due = |told: &mut Told| {
            let (_, state, note) = told.next.take_if(|(at, _, _)| *at <= now)?;
            told.tell(now, state);
            Some(note)
        };
        self.0.values_mut().filter_map(due).collect()
    }
}

impl Told {
    fn tell(&mut self, now: Time, state: &'static str) {
        *self = Self { state: Some(state), at: Some(now), next: None };
    }
}

const LOST: &str = "lost";
const THERE: &str = "there";
/// A change of the network, or a lift, is over by then.
const GRACE: Duration = Duration::from_secs(4);
/// Nobody wants to read more often by which path, or who plays with the mute key.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Id;

    const NAME: fn() -> String = || "Bob".to_owned();

    fn lost() -> Note {
        Note::Reconnecting { id: Id("b".into()), name: NAME() }
    }

    fn back() -> Note {
        Note::Back { id: Id("b".into()), name: NAME() }
    }

    fn path(rung: &'static str) -> Note {
        Note::Path { id: Id("b".into()), name: NAME(), rung, via: None }
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_short_silence_is_no_news_and_a_long_one_is_told_once() {
        let mut calm = Calm::default();
        for second in [0, 10, 20] {
            assert_eq!(calm.hear(at(second), lost()), None);
            assert_eq!(calm.hear(at(second + 2), back()), None);
            assert_eq!(calm.due(at(second + 9)), []);
        }
        assert_eq!(calm.hear(at(30), lost()), None);
        assert_eq!(calm.due(at(34)), [lost()]);
        assert_eq!(calm.due(at(35)), []);
        assert_eq!(calm.hear(at(36), back()), Some(back()));
    }

    #[test]
    fn the_first_path_is_told_at_once_and_a_flapping_one_now_and_then() {
        let mut calm = Calm::default();
        assert_eq!(calm.hear(at(0), path("relay")), Some(path("relay")));
        let mut told = 0;
        for second in 1..60 {
            let rung = if second % 2 == 0 { "relay" } else { "direct" };
            told += calm.hear(at(second), path(rung)).into_iter().count() + calm.due(at(second)).len();
        }
        assert!((1..=5).contains(&told), "{told}");
    }

    #[test]
    fn a_friend_who_leaves_and_comes_again_is_told_anew() {
        let mut calm = Calm::default();
        let left = Note::Left { id: Id("b".into()), name: NAME(), why: "left" };
        assert_eq!(calm.hear(at(0), lost()), None);
        assert_eq!(calm.hear(at(1), left.clone()), Some(left));
        assert_eq!(calm.due(at(60)), []);
    }
}
