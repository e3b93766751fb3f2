//! Soft sounds that tell who comes and goes, synthesised.

use std::collections::VecDeque;
use std::f32::consts::{PI, TAU};

use crate::spec::RATE;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cue {
    /// Two notes up.
    Joined,
    /// Two notes down.
    Left,
}

/// Plays cues one after the other.
#[derive(Default)]
pub(crate) struct Cues {
    waiting: VecDeque<Cue>,
    /// Samples of the first one that are played.
    at: usize,
}

impl Cues {
    pub(crate) fn play(&mut self, cue: Cue) {
        if self.waiting.len() < MOST {
            self.waiting.push_back(cue);
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds what is due to `out`.
    pub(crate) fn add(&mut self, out: &mut [f32]) {
        let Some(cue) = self.waiting.front() else { return };
        let notes = match cue {
            Cue::Joined => [LOW, HIGH],
            Cue::Left => [HIGH, LOW],
        };
        for sample in out {
            let note = notes.get(self.at / NOTE);
            *sample += note.map_or(0.0, |hz| tone(*hz, self.at % NOTE));
            self.at += 1;
        }
        if self.at >= notes.len() * NOTE {
            self.waiting.pop_front();
            self.at = 0;
        }
    }
}

/// A note that swells and fades, so that it clicks nowhere.
fn tone(hz: f32, at: usize) -> f32 {
    let swell = (PI * at as f32 / NOTE as f32).sin().powi(2);
    VOLUME * swell * (TAU * hz * at as f32 / RATE as f32).sin()
}

/// Ten friends that come at once are not worth two seconds of bells.
const MOST: usize = 3;
/// In samples, 120 ms; whole mixing steps.
const NOTE: usize = 5_760;
/// -29 dBFS at its loudest, below any voice.
const VOLUME: f32 = 0.05;
/// D5 and A5, in Hz: a fifth, which small loudspeakers carry and nobody takes for an alarm.
const LOW: f32 = 587.33;
const HIGH: f32 = 880.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::tonality;

    fn played(cue: Cue) -> Vec<f32> {
        let mut cues = Cues::default();
        cues.play(cue);
        let mut pcm = Vec::new();
        while !cues.is_quiet() {
            let mut out = [0.0; 480];
            cues.add(&mut out);
            pcm.extend(out);
        }
        pcm
    }

    #[test]
    fn who_comes_rises_and_who_goes_falls() {
        let (up, down) = (played(Cue::Joined), played(Cue::Left));
        // A swelling tone has two thirds of its energy at its pitch.
        assert!(tonality(&up[..NOTE], LOW, RATE) > 0.6 && tonality(&up[NOTE..], HIGH, RATE) > 0.6);
        assert!(tonality(&down[..NOTE], HIGH, RATE) > 0.6 && tonality(&down[NOTE..], LOW, RATE) > 0.6);
    }

    #[test]
    fn a_cue_is_soft_short_and_without_a_click() {
        let pcm = played(Cue::Joined);
        assert!(pcm.iter().all(|s| s.abs() <= VOLUME) && pcm.len() <= 48_000 / 4);
        assert!(pcm[0].abs() < 1e-4 && pcm[pcm.len() - 1].abs() < 1e-4);
    }

    #[test]
    fn a_crowd_does_not_ring_for_long() {
        let mut cues = Cues::default();
        (0..10).for_each(|_| cues.play(Cue::Joined));
        let mut steps = 0;
        while !cues.is_quiet() {
            cues.add(&mut [0.0; 480]);
            steps += 1;
        }
        assert!(steps <= 75, "{steps}");
    }
}
