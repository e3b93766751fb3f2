//! Whether the talk key is held. Some terminals tell when a key is let go; in the others it is let go when it no longer
//! repeats.

use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Hold {
    key: Key,
    releases: Releases,
}

#[derive(Clone, Copy, Default)]
enum Key {
    #[default]
    Up,
    Down,
    /// Unless it repeats (again).
    DownUntil {
        at: Instant,
        repeated: bool,
    },
}

/// Whether the terminal tells of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Releases {
    #[default]
    Unknown,
    /// A key that no longer repeated, or never did, was taken for let go. Desktops may not repeat keys: then its release is
    /// still to come.
    Doubted {
        repeated: bool,
    },
    Told,
    Untold,
}

impl Hold {
    /// The key went down, or repeats. The other verbs tell whether the key is held, where that has changed.
    pub(super) fn pressed(&mut self, now: Instant) {
        let first = matches!(self.key, Key::Up);
        self.key = match self.releases {
            Releases::Told => Key::Down,
            Releases::Unknown | Releases::Doubted { .. } | Releases::Untold => {
                Key::DownUntil { at: now + if first { FIRST } else { NEXT }, repeated: !first }
            }
        };
    }

    /// Any key was let go, or said to repeat, which only terminals do that tell.
    pub(super) fn told(&mut self) {
        self.releases = Releases::Told;
        if let Key::DownUntil { .. } = self.key {
            self.key = Key::Down;
        }
    }

    pub(super) fn released(&mut self) -> Option<bool> {
        self.releases = Releases::Told;
        self.left()
    }

    /// Keys go to another window from now on.
    pub(super) fn left(&mut self) -> Option<bool> {
        match std::mem::take(&mut self.key) {
            Key::Up => None,
            Key::Down | Key::DownUntil { .. } => Some(false),
        }
    }

    /// Time went by.
    pub(super) fn passed(&mut self, now: Instant) -> Option<bool> {
        match self.key {
            Key::DownUntil { at, repeated } if at <= now => {
                self.key = Key::Up;
                if self.releases == Releases::Unknown {
                    self.releases = Releases::Doubted { repeated };
                }
                Some(false)
            }
            Key::Up | Key::Down | Key::DownUntil { .. } => None,
        }
    }

    /// Whether it turned out, which it does once, that the terminal does not tell: a key goes down again that was never
    /// told to be let go. Whether it had at least repeated.
    pub(super) fn found_out(&mut self) -> Option<bool> {
        let Releases::Doubted { repeated } = self.releases else { return None };
        if matches!(self.key, Key::Up) {
            return None;
        }
        self.releases = Releases::Untold;
        Some(repeated)
    }

    /// When it counts as let go unless it repeats.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.key {
            Key::DownUntil { at, .. } => Some(at),
            Key::Up | Key::Down => None,
        }
    }
}

pub(super) const UNTOLD: &str = "This terminal does not tell when a key is let go, so you are heard a moment longer. Keys of the desktop bound to \
     `voicechat ctl ptt down` and `ptt up` end at once, and so does the space bar in kitty, foot, WezTerm, Ghostty and \
     others with the kitty keyboard protocol.";
/// To talk on until the next key would be easy here, and keep the microphone open of one who only tapped it.
pub(super) const UNREPEATED: &str = "This terminal does not tell when a key is let go, and the space bar did not repeat: if you held it, you were cut \
     off within a second. Switch key repeat on in your desktop's settings, bind keys of the desktop to \
     `voicechat ctl ptt down` and `ptt up`, or use kitty, foot, WezTerm, Ghostty or another terminal with the kitty \
     keyboard protocol.";
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
        hold.pressed(at(0));
        assert_eq!(hold.passed(at(700)), None);
        for millis in (700..2_000).step_by(100) {
            hold.pressed(at(millis));
            assert_eq!(hold.passed(at(millis + 90)), None);
        }
        assert_eq!(hold.passed(at(2_200)), Some(false));
        assert_eq!(hold.passed(at(2_300)), None);
        assert_eq!(hold.found_out(), None, "its release may be to come");
        hold.pressed(at(4_000));
        assert_eq!((hold.found_out(), hold.found_out()), (Some(true), None));
    }

    #[test]
    fn a_key_that_neither_repeats_nor_is_told_of_is_found_out_as_such() {
        let start = Instant::now();
        let mut hold = Hold::default();
        hold.pressed(start);
        assert_eq!(hold.passed(start + FIRST), Some(false));
        hold.pressed(start + 2 * FIRST);
        assert_eq!((hold.found_out(), hold.found_out()), (Some(false), None));
    }

    #[test]
    fn where_the_terminal_tells_it_is_let_go_at_once() {
        let mut hold = Hold::default();
        hold.pressed(Instant::now());
        assert_eq!(hold.released(), Some(false));
        assert_eq!(hold.released(), None);
        assert_eq!(hold.found_out(), None);
    }

    #[test]
    fn a_release_that_comes_after_its_key_was_taken_for_let_go_is_believed() {
        let start = Instant::now();
        let mut hold = Hold::default();
        hold.pressed(start);
        assert_eq!(hold.passed(start + FIRST), Some(false));
        assert_eq!(hold.released(), None);
        hold.pressed(start + 2 * FIRST);
        assert_eq!((hold.passed(start + 20 * FIRST), hold.found_out()), (None, None));
    }

    #[test]
    fn a_key_that_never_repeats_is_held_for_as_long_as_the_terminal_does_not_tell_otherwise() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut hold = Hold::default();
        hold.pressed(at(0));
        // Some other key is let go.
        hold.told();
        assert_eq!((hold.passed(at(20_000)), hold.until()), (None, None));
        assert_eq!(hold.released(), Some(false));
        hold.pressed(at(30_000));
        assert_eq!((hold.passed(at(60_000)), hold.until()), (None, None));
        assert_eq!(hold.released(), Some(false));
    }
}
