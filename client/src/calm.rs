//! Keeps flapping networks and nervous keys from filling the conversation: what is over before a person would have
//! read it is not told, and what changes again and again is told now and then. Programs get every event.

use std::collections::BTreeMap;
use std::time::Duration;

use vc_core::io::{Parting, Time};

use crate::note::{self, Id, Note};

#[derive(Default)]
pub(crate) struct Calm(BTreeMap<(String, Matter), Told>);

/// What can flap, of each friend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    /// In the room or not. By name: one who comes again may have another id.
    Room,
    Presence,
    Path,
    Microphone,
    Name,
}

#[derive(Default)]
struct Told {
    state: Option<String>,
    at: Option<Time>,
    /// How often, since it was last quiet for long.
    times: u32,
    /// When it last changed or was told.
    stirred: Time,
    /// What is to be told then, if it stays so.
    next: Option<(Time, String, Note)>,
}

impl Calm {
    /// What is to be told at once, in this order.
    pub(crate) fn hear(&mut self, now: Time, note: Note) -> Vec<Note> {
        let gone = match &note {
            Note::Left { id, .. } => Some(id.clone()),
            Note::Renamed { id, name, .. } => {
                self.call_anew(id, name);
                None
            }
            _ => None,
        };
        let told = self.weigh(now, note).map_or_else(Vec::new, |note| self.introduced(now, note));
        if let Some(id) = gone {
            self.0.retain(|(friend, matter), _| *friend != id.0 || *matter == Matter::Room);
        }
        told
    }

    /// Whether it is to be told at once.
    fn weigh(&mut self, now: Time, mut note: Note) -> Option<Note> {
        let (whose, matter, state) = match &note {
            Note::Joined { name, .. } => (name, Matter::Room, THERE),
            Note::Left { name, .. } => (name, Matter::Room, GONE),
            Note::Reconnecting { id, .. } => (&id.0, Matter::Presence, LOST),
            Note::Back { id, .. } => (&id.0, Matter::Presence, THERE),
            Note::Path { id, rung, via: None, .. } => (&id.0, Matter::Path, *rung),
            Note::Path { id, via: Some(via), .. } => (&id.0, Matter::Path, via.via.0.as_str()),
            Note::Muted { id, muted, .. } => (&id.0, Matter::Microphone, if *muted { "off" } else { "on" }),
            Note::Renamed { id, name, .. } => (&id.0, Matter::Name, name.as_str()),
            _ => return Some(note),
        };
        // Somebody else of the same name is no return.
        let state = match &note {
            Note::Joined { id, .. } => format!("{state} {}", id.0),
            _ => state.to_owned(),
        };
        let told = self.0.entry((whose.clone(), matter)).or_default();
        told.stirred = now;
        let usual = match matter {
            Matter::Presence => Some(THERE),
            Matter::Microphone => Some("on"),
            Matter::Room | Matter::Path | Matter::Name => None,
        };
        if matches!(note, Note::Left { why: KICKED, .. }) {
            // Whoever is talked about afterwards is another matter.
            told.tell(now, state);
            return Some(note);
        }
        if told.state.as_deref().or(usual) == Some(state.as_str()) {
            told.next = None;
            return None;
        }
        let settling = matter == Matter::Path && told.state.is_none();
        let patient = match &told.next {
            _ if state == LOST => now + GRACE,
            Some((due, ..)) if settling => *due,
            None if settling => now + SETTLED,
            _ => now,
        };
        let again = match (matter, told.at) {
            (Matter::Presence, _) | (_, None) => now,
            (Matter::Room, _) if told.times < TURNS => now,
            (Matter::Room, Some(at)) => at + LONG_PAUSE,
            (Matter::Path | Matter::Microphone | Matter::Name, Some(at)) => at + PAUSE,
        };
        let due = patient.max(again);
        if let (Note::Renamed { was, .. }, Some(before)) = (&mut note, &told.state) {
            // The name that people have read, whatever came in between.
            was.clone_from(before);
        }
        if due <= now {
            told.tell(now, state);
            return Some(note);
        }
        told.next = Some((due, state, note));
        None
    }

    /// What has stayed so for long enough.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Note> {
        // Names come and go without end; after so long a quiet each is told at once again.
        self.0.retain(|(_, matter), told| {
            let over = told.next.is_none() && told.stirred + LONG_PAUSE <= now;
            !(over && *matter == Matter::Room)
        });
        let due = self.0.values_mut().filter_map(|told| told.take(now, |at| at <= now));
        let mut due: Vec<Note> = due.collect();
        due.sort_by_key(|note| !matches!(note, Note::Renamed { .. }));
        due.into_iter().flat_map(|note| self.introduced(now, note)).collect()
    }

    /// Nobody is told of under a name that has not been told: a rename that waits goes first.
    fn introduced(&mut self, now: Time, note: Note) -> Vec<Note> {
        let renamed = whose(&note).and_then(|id| self.0.get_mut(&(id.0.clone(), Matter::Name)));
        let renamed = renamed.and_then(|told| told.take(now, |_| true));
        renamed.into_iter().chain([note]).collect()
    }

    /// What waits to be told is told under the name of then.
    fn call_anew(&mut self, id: &Id, new: &str) {
        for told in self.0.values_mut() {
            match &mut told.next {
                Some((
                    ..,
                    Note::Reconnecting { id: whose, name, .. }
                    | Note::Back { id: whose, name }
                    | Note::Path { id: whose, name, .. }
                    | Note::Muted { id: whose, name, .. },
                )) if whose == id => new.clone_into(name),
                _ => {}
            }
        }
    }
}

/// Whom it names.
fn whose(note: &Note) -> Option<&Id> {
    match note {
        Note::Left { id, .. }
        | Note::Path { id, .. }
        | Note::Chat { from: id, .. }
        | Note::Undelivered { to: id, .. }
        | Note::Muted { id, .. }
        | Note::Door { by: id, .. }
        | Note::NewCode { by: id, .. }
        | Note::Echoes { id, .. }
        | Note::Reconnecting { id, .. }
        | Note::Back { id, .. } => Some(id),
        _ => None,
    }
}

impl Told {
    fn tell(&mut self, now: Time, state: String) {
        *self = Self { state: Some(state), at: Some(now), times: self.times + 1, stirred: now, next: None };
    }

    /// What waits, if its time will do.
    fn take(&mut self, now: Time, will_do: impl Fn(Time) -> bool) -> Option<Note> {
        let (_, state, note) = self.next.take_if(|(at, _, _)| will_do(*at))?;
        self.tell(now, state);
        Some(note)
    }
}

const KICKED: &str = note::parting(Parting::Kicked);
const LOST: &str = "lost";
const THERE: &str = "there";
const GONE: &str = "gone";
/// A change of the network, or a lift, is over by then.
const GRACE: Duration = Duration::from_secs(4);
/// Most paths begin at the relay and find the direct way before anybody has said a word.
const SETTLED: Duration = Duration::from_secs(3);
/// Nobody wants to read more often by which path, or who plays with the mute key.
const PAUSE: Duration = Duration::from_secs(10);
/// Who comes for a moment, goes, and comes once more is told each time at once; what goes on after that is a line that
/// flaps.
const TURNS: u32 = 3;
/// Nobody wants to read more often that such a one came or went.
const LONG_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Via;

    const NAME: fn() -> String = || "Bob".to_owned();

    fn lost() -> Note {
        Note::Reconnecting { id: Id("b".into()), name: NAME(), cause: None }
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
            assert_eq!(calm.hear(at(second), lost()), []);
            assert_eq!(calm.hear(at(second + 2), back()), []);
            assert_eq!(calm.due(at(second + 9)), []);
        }
        assert_eq!(calm.hear(at(30), lost()), []);
        assert_eq!(calm.due(at(34)), [lost()]);
        assert_eq!(calm.due(at(35)), []);
        assert_eq!(calm.hear(at(36), back()), [back()]);
    }

    #[test]
    fn the_first_path_is_told_once_it_is_settled_and_a_flapping_one_now_and_then() {
        let mut calm = Calm::default();
        assert_eq!(calm.hear(at(0), path("relay")), []);
        assert_eq!(calm.hear(at(1), path("direct")), []);
        assert!(calm.due(at(2)).is_empty());
        assert_eq!(calm.due(at(3)), [path("direct")]);
        let mut told = 0;
        for second in 4..60 {
            let rung = if second % 2 == 0 { "relay" } else { "direct" };
            told += calm.hear(at(second), path(rung)).len() + calm.due(at(second)).len();
        }
        assert!((1..=5).contains(&told), "{told}");
    }

    fn through(host: &str) -> Note {
        let via = Some(Via { via: Id(host.into()), via_name: host.into() });
        Note::Path { id: Id("b".into()), name: NAME(), rung: "host", via }
    }

    #[test]
    fn another_friend_on_the_way_is_news() {
        let mut calm = Calm::default();
        assert_eq!(calm.hear(at(0), through("Ada")), []);
        assert_eq!(calm.due(at(3)), [through("Ada")]);
        assert_eq!(calm.hear(at(20), through("Ada")), []);
        assert_eq!(calm.hear(at(20), through("Cem")), [through("Cem")]);
    }

    #[test]
    fn one_who_comes_and_goes_without_end_is_told_now_and_then() {
        let mut calm = Calm::default();
        let mut told = Vec::new();
        for second in 0..60 {
            // Another id each time, as for one who quits and joins.
            let id = Id(format!("{second}"));
            let note = match second % 2 {
                0 => Note::Joined { id, name: NAME() },
                _ => Note::Left { id, name: NAME(), why: "left" },
            };
            told.extend(calm.hear(at(second), note));
            told.extend(calm.due(at(second)));
        }
        told.extend(calm.due(at(90)));
        assert!((2..=7).contains(&told.len()), "{told:?}");
        assert!(matches!(told.last(), Some(Note::Left { .. })), "what is true at last is told");
        assert_eq!(calm.due(at(120)), []);
        assert!(calm.0.is_empty());
    }

    #[test]
    fn one_who_never_stops_coming_and_going_gets_no_second_three_turns() {
        let mut calm = Calm::default();
        let mut told = Vec::new();
        for second in 0..300 {
            let id = Id(format!("{second}"));
            let note = match second % 2 {
                0 => Note::Joined { id, name: NAME() },
                _ => Note::Left { id, name: NAME(), why: "left" },
            };
            let now = calm.due(at(second)).into_iter().chain(calm.hear(at(second), note));
            told.extend(now.map(|_| second));
        }
        let turns = TURNS as usize;
        let pauses = told.windows(2).skip(turns - 1).map(|pair| pair[1] - pair[0]);
        assert!(told.len() > turns && pauses.clone().all(|pause| pause >= LONG_PAUSE.as_secs()), "{told:?}");
    }

    #[test]
    fn one_who_comes_for_a_moment_is_told_to_come_and_to_go_at_once() {
        let mut calm = Calm::default();
        let joined = |id: &str| Note::Joined { id: Id(id.into()), name: NAME() };
        let left = |id: &str| Note::Left { id: Id(id.into()), name: NAME(), why: "left" };
        for hour in [at(0), at(3_600)] {
            let after = |seconds| hour + Duration::from_secs(seconds);
            for (second, note) in [(0, joined("b")), (1, left("b")), (4, joined("c"))] {
                assert_eq!(calm.hear(after(second), note.clone()), [note], "at {second}");
            }
            assert_eq!(calm.hear(after(6), left("c")), [], "it flaps");
            assert_eq!(calm.due(after(33)), []);
            assert_eq!(calm.due(after(34)), [left("c")], "what is true at last is told");
            assert_eq!(calm.due(after(70)), []);
        }
    }

    #[test]
    fn a_name_that_changes_again_and_again_is_told_from_the_one_that_was_read() {
        let mut calm = Calm::default();
        let renamed =
            |was: &str, name: &str| Note::Renamed { id: Id("b".into()), name: name.into(), was: was.into() };
        assert_eq!(calm.hear(at(0), renamed("Bob", "B1")), [renamed("Bob", "B1")]);
        assert_eq!(calm.hear(at(1), renamed("B1", "B2")), []);
        assert_eq!(calm.hear(at(2), renamed("B2", "Ada")), []);
        assert_eq!(calm.due(at(10)), [renamed("B1", "Ada")]);
    }

    #[test]
    fn nobody_is_told_of_under_a_name_that_has_not_been_told() {
        let mut calm = Calm::default();
        let id = || Id("b".into());
        let renamed = |was: &str, name: &str| Note::Renamed { id: id(), name: name.into(), was: was.into() };
        let says = |name: &str| Note::Chat { from: id(), name: name.into(), text: "hi".into() };
        assert_eq!(calm.hear(at(0), path("direct")), []);
        assert_eq!(calm.hear(at(0), renamed("Bob", "B1")), [renamed("Bob", "B1")]);
        assert_eq!(calm.hear(at(1), says("B1")), [says("B1")]);
        assert_eq!(calm.hear(at(1), renamed("B1", "B2")), []);
        assert_eq!(calm.hear(at(2), renamed("B2", "B3")), []);
        assert_eq!(calm.hear(at(2), says("B3")), [renamed("B1", "B3"), says("B3")]);
        assert_eq!(calm.hear(at(2), says("B3")), [says("B3")]);
        let Note::Path { id: whose, rung, via, .. } = path("direct") else { return };
        assert_eq!(calm.due(at(3)), [Note::Path { id: whose, name: "B3".into(), rung, via }]);
        assert_eq!(calm.hear(at(4), renamed("B3", "B4")), []);
        let left = Note::Left { id: id(), name: "B4".into(), why: "left" };
        assert_eq!(calm.hear(at(4), left.clone()), [renamed("B3", "B4"), left]);
        assert_eq!(calm.due(at(60)), []);
        let muted = |name: &str| Note::Muted { id: id(), name: name.into(), muted: true };
        for (second, name) in [(70, "B5"), (71, "B6")] {
            calm.hear(at(second), renamed("B4", name));
        }
        assert_eq!(calm.hear(at(72), muted("B6")), [renamed("B5", "B6"), muted("B6")]);
    }

    #[test]
    fn a_friend_who_leaves_and_comes_again_is_told_anew() {
        let mut calm = Calm::default();
        let left = Note::Left { id: Id("b".into()), name: NAME(), why: "left" };
        assert_eq!(calm.hear(at(0), lost()), []);
        assert_eq!(calm.hear(at(1), left.clone()), [left]);
        assert_eq!(calm.due(at(60)), []);
    }
}
