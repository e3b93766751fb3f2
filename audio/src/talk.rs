//! Whether the microphone is to be heard at this moment.

use std::time::Duration;

/// How a person talks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Talk {
    /// Whenever speech is heard.
    #[default]
    Freely,
    /// While the talk key is down.
    ByKey { down: bool },
}

/// What is done with the microphone's sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listening {
    /// What is worth it is sent.
    Freely,
    /// All of it is sent.
    Held,
    /// Not a sample is looked at, but the device runs: a key wants to be answered at once.
    Released,
    /// Only whether somebody talks in spite of it is looked for.
    Muted,
    /// Nobody is there to hear it; the device rests.
    Alone,
}

/// The talk key's memory: a word is not over when the finger is.
#[derive(Default)]
pub(crate) struct Key {
    until: Duration,
}

impl Key {
    pub(crate) fn listening(&mut self, now: Duration, alone: bool, muted: bool, talk: Talk) -> Listening {
        if talk == (Talk::ByKey { down: true }) && !muted {
            self.until = now + TAIL;
        }
        match (alone, muted, talk) {
            (true, ..) => Listening::Alone,
            (_, true, _) => {
                self.until = Duration::ZERO;
                Listening::Muted
            }
            (_, _, Talk::Freely) => Listening::Freely,
            (_, _, Talk::ByKey { .. }) if now < self.until => Listening::Held,
            (_, _, Talk::ByKey { .. }) => Listening::Released,
        }
    }

    /// When the answer changes by itself.
    pub(crate) fn deadline(&self, now: Duration) -> Option<Duration> {
        (self.until > now).then_some(self.until)
    }
}

/// The last sound of a word comes about this long after the decision to end it.
const TAIL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_released_key_is_held_for_the_tail_and_no_longer() {
        let mut key = Key::default();
        let mut ask = |ms, down| key.listening(at(ms), false, false, Talk::ByKey { down });
        assert_eq!(ask(0, false), Listening::Released);
        assert_eq!(ask(10, true), Listening::Held);
        assert_eq!(ask(1_000, true), Listening::Held);
        assert_eq!(ask(1_010, false), Listening::Held);
        assert_eq!(ask(1_199, false), Listening::Held);
        assert_eq!(ask(1_200, false), Listening::Released);
    }

    #[test]
    fn mute_ends_the_tail_at_once() {
        let mut key = Key::default();
        let down = Talk::ByKey { down: true };
        assert_eq!(key.listening(at(0), false, false, down), Listening::Held);
        assert_eq!(key.listening(at(10), false, true, down), Listening::Muted);
        assert_eq!(key.deadline(at(10)), None);
        assert_eq!(key.listening(at(20), false, false, Talk::ByKey { down: false }), Listening::Released);
    }
}
