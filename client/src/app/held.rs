//! Whether the talk key is down, as far as one can know: that it was let go may never be told.

use tokio::time::{Duration, Instant};

#[derive(Default)]
pub(super) enum Held {
    #[default]
    Up,
    Down {
        told: Instant,
    },
}

impl Held {
    pub(super) fn tell(&mut self, down: bool, now: Instant) {
        *self = if down { Self::Down { told: now } } else { Self::Up };
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }

    /// Nobody holds a key for so long.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        matches!(self, Self::Down { told } if *told + LONGEST <= now)
    }
}

pub(super) const LOST: &str = "The talk key was down for two minutes without a word that it was let go, so you are not \
                               heard any more. Press it again to talk; if you had let it go, see that its release \
                               runs `voicechat ctl ptt up`.";
/// A microphone that stays open unseen is worse than a sentence cut off. Radios end a call in one key after one to three
/// minutes for the same reason.
const LONGEST: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_whose_release_was_lost_is_not_down_for_ever() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut held = Held::default();
        assert!(!held.is_down() && !held.is_lost(at(1_000)));
        held.tell(true, at(0));
        assert!(held.is_down() && !held.is_lost(at(119)) && held.is_lost(at(120)));
        // Pressed again, or repeated: somebody is there.
        held.tell(true, at(100));
        assert!(!held.is_lost(at(219)) && held.is_lost(at(220)));
        held.tell(false, at(220));
        assert!(!held.is_down() && !held.is_lost(at(1_000)));
    }
}
