//! The paths to one peer that are known, and what became of each.

use std::time::Duration;

use crate::io::Time;
use crate::net::path::{Path, Probes};

/// A handful: looking through them beats any index.
#[derive(Default)]
pub(super) struct Paths(Vec<(Path, Tried)>);

pub(super) struct Tried {
    pub(super) probes: Probes,
    /// Answers in a row by which it was clearly better than the carrying path.
    pub(super) wins: u32,
    /// Voice did not arrive by it, so often.
    strikes: u32,
    distrusted: Time,
}

impl Paths {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
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
    /// Asked first at this time.
    pub(super) fn new(at: Time) -> Self {
        Self { probes: Probes::new(at), wins: 0, strikes: 0, distrusted: Time::ZERO }
    }

    pub(super) fn is_answering(&self) -> bool {
        self.probes.answered().is_some()
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

/// A peer's eight candidates, three relays, mail, and a few addresses that its packets really come from.
pub(super) const MOST: usize = 16;
/// A path that drops voice gets another chance, four times later each time; a line that loses probes, too, as early as
/// before.
const DISTRUST: Duration = Duration::from_secs(60);
const MAX_STRIKES: u32 = 3;
/// More than any round trip: it carries only if nothing else answers.
const DISTRUSTED: Duration = Duration::from_secs(3);
/// Longer than the round trip of any path that answers, distrusted or not.
const UNKNOWN: Duration = Duration::from_secs(5);
