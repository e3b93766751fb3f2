//! The paths to one peer that are known, and what became of each.

use std::time::Duration;

use crate::io::Time;
use crate::net::path::{Path, Probes};

/// A handful: looking through them beats any index.
#[derive(Default)]
pub(super) struct Paths(Vec<(Path, Tried)>);

pub(super) struct Tried {
    pub(super) probes: Probes,
    pub(super) origin: Origin,
    learnt: Time,
    /// Answers in a row by which it was clearly better than the carrying path.
    pub(super) wins: u32,
    /// Voice did not arrive by it, so often.
    strikes: u32,
    distrusted: Time,
}

/// How we learnt of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The peer named it, or somebody who carries offers it.
    Told,
    /// Packets of the peer's come by it. Where both routers map by destination each of ours brings one from yet another
    /// port.
    Heard,
}

impl Paths {
    /// Makes room for one more, if there is any to be made. What is in use stays.
    pub(super) fn make_room(&mut self, now: Time, origin: Origin, used: [Option<Path>; 2]) -> bool {
        let is_heard = |tried: &Tried| tried.origin == Origin::Heard;
        let heard = self.iter().filter(|(_, tried)| is_heard(tried)).count();
        if self.0.len() < MOST && (origin == Origin::Told || heard < MOST_HEARD) {
            return true;
        }
        let first = |gives_way: &dyn Fn(&Path, &Tried) -> bool| {
            self.0.iter().position(|(path, tried)| !used.contains(&Some(*path)) && gives_way(path, tried))
        };
        let silent = |tried: &Tried| !tried.is_answering();
        let place = match origin {
            // The way through the server is offered once, and often the last that is left.
            Origin::Told => first(&|_, tried| is_heard(tried) && silent(tried))
                .or_else(|| first(&|_, tried| is_heard(tried)))
                .or_else(|| first(&|path, tried| silent(tried) && !matches!(path, Path::Mail(_)))),
            Origin::Heard => {
                first(&|_, tried| is_heard(tried) && !tried.is_open(now) && now - tried.learnt >= KEPT_OPEN)
            }
        };
        place.map(|at| self.0.remove(at)).is_some()
    }

    pub(super) fn push(&mut self, path: Path, tried: Tried) {
        self.0.push((path, tried));
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Tried> {
        self.iter().find(|(known, _)| *known == path).map(|(_, tried)| tried)
    }

    pub(super) fn get_mut(&mut self, path: &Path) -> Option<&mut Tried> {
        self.iter_mut().find(|(known, _)| *known == path).map(|(_, tried)| tried)
    }

    pub(super) fn remove(&mut self, path: &Path) -> Option<Tried> {
        let at = self.0.iter().position(|(known, _)| known == path)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn retain(&mut self, keeps: impl Fn(&Path, &Tried) -> bool) {
        self.0.retain(|(path, tried)| keeps(path, tried));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &Tried)> {
        self.0.iter().map(|(path, tried)| (path, tried))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Path, &mut Tried)> {
        self.0.iter_mut().map(|(path, tried)| (&*path, tried))
    }

    pub(super) fn give_up(&mut self, now: Time, path: &Path) {
        self.get_mut(path).into_iter().for_each(|tried| tried.give_up(now));
    }
}

impl Tried {
    /// Asked first at this turn.
    pub(super) fn new(now: Time, turn: Time, origin: Origin) -> Self {
        let probes = Probes::new(turn);
        Self { probes, origin, learnt: now, wins: 0, strikes: 0, distrusted: Time::ZERO }
    }

    pub(super) fn is_answering(&self) -> bool {
        self.probes.answered().is_some()
    }

    /// Packets of the peer's come by it.
    pub(super) fn is_open(&self, now: Time) -> bool {
        self.probes.heard_at().is_some_and(|at| now - at < KEPT_OPEN)
    }

    pub(super) fn ask_anew(&mut self, at: Time) {
        self.probes.restart(at);
        self.wins = 0;
    }

    /// It went silent.
    pub(super) fn give_up(&mut self, now: Time) {
        self.probes.give_up(now);
        self.wins = 0;
    }

    pub(super) fn is_trusted(&self, now: Time) -> bool {
        self.distrusted <= now
    }

    /// Its line is bad.
    pub(super) fn distrust_line(&mut self, now: Time) {
        self.distrusted = now + DISTRUST;
    }

    /// It promises more than it keeps.
    pub(super) fn distrust_promise(&mut self, now: Time) {
        self.distrusted = now + DISTRUST * 4u32.pow(self.strikes);
        self.strikes = (self.strikes + 1).min(MAX_STRIKES);
    }

    pub(super) fn forgive(&mut self) {
        (self.distrusted, self.strikes) = (Time::ZERO, 0);
    }
}

/// What paths are compared by; less is better.
pub(super) fn score(now: Time, path: &Path, tried: &Tried) -> Duration {
    let doubt = if tried.is_trusted(now) { Duration::ZERO } else { DISTRUSTED };
    tried.probes.srtt().unwrap_or(UNKNOWN) + path.penalty() + doubt
}

/// A peer's eight candidates, three relays, two friends who forward, mail, and the addresses that its packets really come
/// from.
pub(super) const MOST: usize = 14 + MOST_HEARD;
/// A search for an open port finds four on average; where each packet comes from another port, one is enough.
const MOST_HEARD: usize = 8;
/// The shortest lifetime of a mapping on record is 15 s, and a path is asked every six at least.
const KEPT_OPEN: Duration = Duration::from_secs(20);
/// A path that drops voice gets another chance, four times later each time; a line that loses probes, too, as early as
/// before.
const DISTRUST: Duration = Duration::from_secs(60);
const MAX_STRIKES: u32 = 3;
/// More than any round trip: it carries only if nothing else answers.
const DISTRUSTED: Duration = Duration::from_secs(3);
/// Longer than the round trip of any path that answers, distrusted or not.
const UNKNOWN: Duration = Duration::from_secs(5);
