//! Whether the talk key is held. Few terminals tell when a key is let go; in the others it is let go when it no longer
//! repeats.

use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Hold {
    /// Held, and until when unless it repeats.
    until: Option<Instant>,
    releases: Releases,
}

/// Whether the terminal tells of them.
#[derive(Default, PartialEq, Eq)]
enum Releases {
    #[default]
    Unknown,
    Told,
    Untold,
}

impl Hold {
    /// The key went down, or repeats. Each verb tells whether the key is held, where that has changed.
    pub(super) fn pressed(&mut self, now: Instant) -> Option<bool> {
        let first = self.until.is_none();
        self.until = Some(now + if first { FIRST } else { NEXT });
        first.then_some(true)
    }

    pub(super) fn released(&mut self) -> Option<bool> {
        self.releases = Releases::Told;
        self.until.take().map(|_| false)
    }

    /// Time went by.
    pub(super) fn passed(&mut self, now: Instant) -> Option<bool> {
        self.until.take_if(|until| *until <= now).map(|_| false)
    }

    /// Whether it turned out, which it does once, that the terminal does not tell: after a key has been let go unnoticed.
    pub(super) fn is_found_out(&mut self) -> bool {
        let found = self.releases == Releases::Unknown;
        if found {
            self.releases = Releases::Untold;
        }
        found
    }

    /// When it counts as let go unless it repeats.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// Desktops wait up to two thirds of a second before a held key repeats.
const FIRST: Duration = Duration::from_millis(800);
/// Then it comes at least ten times a second.
const NEXT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_repeats_is_held_until_it_no_longer_does() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut hold = Hold::default();
        assert_eq!(hold.pressed(at(0)), Some(true));
        assert_eq!(hold.passed(at(700)), None);
        for millis in (700..2_000).step_by(100) {
            assert_eq!(hold.pressed(at(millis)), None);
            assert_eq!(hold.passed(at(millis + 90)), None);
        }
        assert_eq!(hold.passed(at(2_200)), Some(false));
        assert_eq!(hold.passed(at(2_300)), None);
        assert!(hold.is_found_out() && !hold.is_found_out());
    }

    #[test]
    fn where_the_terminal_tells_it_is_let_go_at_once() {
        let mut hold = Hold::default();
        assert_eq!(hold.pressed(Instant::now()), Some(true));
        assert_eq!(hold.released(), Some(false));
        assert_eq!(hold.released(), None);
        assert!(!hold.is_found_out());
    }
}
