//! Notices what a person with a wrong set-up cannot: a microphone that gives nothing, words said while muted.

use std::time::Duration;

use crate::detector::Detector;
use crate::error::Trouble;
use crate::gate::{SPEECH, dbfs};

/// Watches one microphone.
#[derive(Default)]
pub(crate) struct Watch {
    /// Time in a row without sound, while somebody could hear it.
    silent: Duration,
    /// It gave sound at some time since it was opened.
    alive: bool,
    told_silent: bool,
    detector: Option<Detector>,
    /// Speech in spite of being muted, leaking away in pauses.
    spoken: Duration,
    told_muted: Option<Duration>,
    /// Muted or unmuted since it was told.
    turned: bool,
    echoed: bool,
    monitored: bool,
}

impl Watch {
    /// The device was opened anew.
    pub(crate) fn opened(&mut self) {
        *self = Watch { told_muted: self.told_muted, ..Watch::default() };
    }

    /// Takes sound of a device as it came, while it is listened to.
    pub(crate) fn hear(&mut self, pcm: &[f32]) -> Option<Trouble> {
        if dbfs(pcm) > SILENT {
            (self.silent, self.alive, self.told_silent) = (Duration::ZERO, true, false);
            return None;
        }
        self.silent += lasting(pcm);
        let patience = if self.alive { FELL_SILENT } else { NEVER_HEARD };
        if self.told_silent || self.silent < patience {
            return None;
        }
        self.told_silent = true;
        Some(Trouble::MicrophoneSilent)
    }

    /// Takes sound that came at `now` and is not to be sent.
    pub(crate) fn hear_muted(&mut self, now: Duration, pcm: &[f32]) -> Option<Trouble> {
        if dbfs(pcm) < TALKING {
            self.spoken = self.spoken.saturating_sub(lasting(pcm) / LEAK);
            return None;
        }
        let detector = self.detector.get_or_insert_with(Detector::new);
        if detector.hear(pcm) < SPEECH {
            self.spoken = self.spoken.saturating_sub(lasting(pcm) / LEAK);
            return None;
        }
        self.spoken += lasting(pcm);
        let again = if self.turned { AGAIN } else { STILL };
        if self.spoken < MEANT || self.told_muted.is_some_and(|told| now.saturating_sub(told) < again) {
            return None;
        }
        (self.told_muted, self.turned) = (Some(now), false);
        Some(Trouble::TalkingWhileMuted)
    }

    /// Whether it hears what goes to the loudspeaker, by a wire.
    pub(crate) fn monitors(&mut self, monitors: bool) -> Option<Trouble> {
        let before = std::mem::replace(&mut self.monitored, monitors);
        (monitors && !before).then_some(Trouble::InputIsMonitor)
    }

    /// Whether the friends hear themselves from here.
    pub(crate) fn echoes(&mut self, echoes: bool) -> Option<Trouble> {
        let before = std::mem::replace(&mut self.echoed, echoes);
        (echoes && !before).then_some(Trouble::EchoFromHere)
    }

    /// No longer muted, or just now.
    pub(crate) fn turn(&mut self) {
        self.spoken = Duration::ZERO;
        self.silent = Duration::ZERO;
        self.turned = true;
        self.detector = None;
    }
}

fn lasting(pcm: &[f32]) -> Duration {
    Duration::from_micros(pcm.len() as u64 * 1_000 / 48)
}

/// In dBFS: every microphone that is on has more noise of its own.
const SILENT: f32 = -70.0;
const NEVER_HEARD: Duration = Duration::from_secs(5);
/// Headsets exist that switch themselves off between words, and people who only listen.
const FELL_SILENT: Duration = Duration::from_secs(60);
/// In dBFS: who is understood at the other side of a table is louder.
const TALKING: f32 = -45.0;
/// Half a sentence; a cough or a word aside is none.
const MEANT: Duration = Duration::from_millis(700);
/// Pauses count for a quarter, so that a sentence need not be without gaps.
const LEAK: u32 = 4;
/// Whoever has been told and goes on talks to somebody in the room.
const STILL: Duration = Duration::from_secs(300);
/// Whoever was heard in between may have muted by mistake, but not each second.
const AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::{noise, speech};

    /// Muted anew after so many seconds.
    fn muted(pcm: &[f32], anew: &[u64]) -> Vec<Duration> {
        let mut watch = Watch::default();
        let at = |i: usize| Duration::from_millis(i as u64 * 10);
        let told = |(i, pcm)| {
            if anew.iter().any(|second| at(i) == Duration::from_secs(*second)) {
                watch.turn();
            }
            watch.hear_muted(at(i), pcm).map(|_| at(i))
        };
        pcm.chunks_exact(480).enumerate().filter_map(told).collect()
    }

    #[test]
    fn words_said_while_muted_are_noticed_once_in_minutes_and_sooner_when_muted_anew() {
        let told = muted(&speech(100.0), &[]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0] < Duration::from_secs(3));
        assert_eq!(muted(&speech(100.0), &[10, 20]).len(), 2);
    }

    #[test]
    fn a_noisy_room_is_not_told_that_it_is_muted() {
        assert_eq!(muted(&noise(0.02, 480_000, 4), &[]), []);
    }

    #[test]
    fn a_microphone_that_never_gave_anything_is_told_once() {
        let mut watch = Watch::default();
        let told: Vec<_> = (0..3_000).filter(|_| watch.hear(&[0.0; 480]).is_some()).collect();
        assert_eq!(told, [499]);
        assert!(watch.hear(&[0.01; 480]).is_none());
        assert!((0..5_900).all(|_| watch.hear(&[0.0; 480]).is_none()), "it worked a minute ago");
    }
}
