//! Looks for what was played in what was recorded, and says how late it came.
//!
//! The generalised cross-correlation with a flattened spectrum (Knapp and Carter 1976) at 6 kHz, summed over some
//! windows: an echo has one sharp peak there, two different voices have none.

use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::decimator::Decimator;
use crate::spec::BLOCK;

pub(crate) struct Finder {
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    narrow: [Decimator; 2],
    /// The last second of what was played, the last half of what was recorded.
    far: Vec<f32>,
    near: Vec<f32>,
    sum: Vec<Complex<f32>>,
    /// The last window's peak, in samples at 6 kHz, and how many windows in a row it was sharp and there.
    peak: usize,
    steady: u32,
}

/// What the last window said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sight {
    /// Nothing was played, or nothing recorded.
    Nothing,
    /// Much was played and is not in the recording.
    Unseen,
    Seen {
        /// How much later than played it was recorded, in samples at 48 kHz.
        lag: usize,
    },
}

impl Finder {
    pub(crate) fn new() -> Finder {
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(SPAN);
        let sum = forward.make_output_vec();
        Finder {
            forward,
            backward: planner.plan_fft_inverse(SPAN),
            narrow: [Decimator::new(STEP), Decimator::new(STEP)],
            far: Vec::with_capacity(2 * WINDOW + BLOCK),
            near: Vec::with_capacity(WINDOW + BLOCK),
            sum,
            peak: 0,
            steady: 0,
        }
    }

    /// Takes a block of both; every half second says what is seen.
    pub(crate) fn look(&mut self, far: &[f32; BLOCK], near: &[f32; BLOCK]) -> Option<Sight> {
        self.narrow[0].push(far, &mut self.far);
        self.narrow[1].push(near, &mut self.near);
        if self.near.len() < WINDOW {
            return None;
        }
        let sight = if self.far.len() < 2 * WINDOW { Sight::Nothing } else { self.correlate() };
        self.far.drain(..self.far.len().saturating_sub(WINDOW));
        self.near.clear();
        Some(sight)
    }

    fn correlate(&mut self) -> Sight {
        let loud = |pcm: &[f32]| pcm.iter().map(|s| s * s).sum::<f32>() / pcm.len() as f32 > AUDIBLE;
        if !loud(&self.far[self.far.len() - WINDOW..]) || !loud(&self.near) {
            return Sight::Nothing;
        }
        let far = self.spectrum(false);
        let near = self.spectrum(true);
        for ((sum, far), near) in self.sum.iter_mut().zip(&far).zip(&near) {
            let cross = near * far.conj();
            *sum = *sum * KEEP + cross / (cross.norm().powf(FLATNESS) + TINY);
        }
        let mut spectrum = self.sum.clone();
        spectrum[0] = Complex::new(0.0, 0.0);
        spectrum[SPAN / 2].im = 0.0;
        let mut lags = self.backward.make_output_vec();
        if self.backward.process(&mut spectrum, &mut lags).is_err() {
            return Sight::Nothing;
        }
        let lags = &lags[..WINDOW];
        let spread = (lags.iter().map(|c| c * c).sum::<f32>() / WINDOW as f32).sqrt();
        let best = lags.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(lag, _)| lag);
        let sharp = lags[best] > SHARP * spread;
        let before = std::mem::replace(&mut self.peak, best);
        self.steady = match sharp {
            true if before.abs_diff(best) <= SAME => self.steady + 1,
            true => 1,
            false => 0,
        };
        if self.steady >= NO_COINCIDENCE { Sight::Seen { lag: best * STEP } } else { Sight::Unseen }
    }

    /// Of what was played, or of what was recorded at its place in the same stretch of time.
    fn spectrum(&self, near: bool) -> Vec<Complex<f32>> {
        let mut time = self.forward.make_input_vec();
        let far = &self.far[self.far.len() - 2 * WINDOW..];
        if near {
            // Faded at both ends: two signals that are cut at the same moment are alike there.
            for (i, (time, near)) in time[WINDOW..].iter_mut().zip(&self.near[..WINDOW]).enumerate() {
                *time = near * (0.5 - 0.5 * (TAU * (i as f32 + 0.5) / WINDOW as f32).cos());
            }
        } else {
            time[..2 * WINDOW].copy_from_slice(far);
        }
        let mut bins = self.forward.make_output_vec();
        let _ = self.forward.process(&mut time, &mut bins);
        bins
    }
}

/// To 6 kHz: most of a voice is below 2.7 kHz.
const STEP: usize = 8;
/// 510 ms at 6 kHz, whole blocks; also the longest lag that can be seen. Network speakers are later, and hopeless.
const WINDOW: usize = 51 * BLOCK / STEP;
/// Both windows of what was played and the reach of the lags without wrap-around.
const SPAN: usize = 9_216;
/// -65 dBFS, as power.
const AUDIBLE: f32 = 3e-7;
/// Some windows are summed, so that a voice at this end does not hide the echo.
const KEEP: f32 = 0.7;
/// Between none (0) and all (1) of the level taken out: silent bins must not count as much as loud ones.
const FLATNESS: f32 = 0.8;
const TINY: f32 = 1e-12;
/// Of noise, the highest of so many lags lies at 4 times their spread.
const SHARP: f32 = 8.0;
/// Two voices may agree by chance, for as long as the sum remembers one window.
const NO_COINCIDENCE: u32 = 3;
/// 1.5 ms at 6 kHz.
const SAME: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::{noise, speaker};

    fn seen(far: &[f32], near: &[f32]) -> Vec<Sight> {
        let mut finder = Finder::new();
        let (far, near) = (far.as_chunks::<BLOCK>().0, near.as_chunks::<BLOCK>().0);
        far.iter().zip(near).filter_map(|(far, near)| finder.look(far, near)).collect()
    }

    fn late(pcm: &[f32], by: usize, gain: f32) -> Vec<f32> {
        std::iter::repeat_n(0.0, by).chain(pcm.iter().map(|s| s * gain)).take(pcm.len()).collect()
    }

    #[test]
    fn an_echo_is_seen_where_it_is_even_under_a_voice_and_noise() {
        let (far, voice, room) = (speaker(6.0, 1), speaker(6.0, 2), noise(0.001, 288_000, 3));
        for delay in [480, 4_000, 20_000] {
            let echo = late(&far, delay, 0.2);
            let near: Vec<f32> = (0..far.len()).map(|i| echo[i] + 0.3 * voice[i] + room[i]).collect();
            let sights = seen(&far, &near);
            let at = |sight: &Sight| matches!(sight, Sight::Seen { lag } if lag.abs_diff(delay) < 96);
            assert!(
                sights.iter().filter(|sight| at(sight)).count() >= sights.len() / 2,
                "{delay}: {sights:?}"
            );
        }
    }

    #[test]
    fn another_voice_is_no_echo() {
        for seed in 2..5 {
            let sights = seen(&speaker(10.0, 1), &speaker(10.0, seed));
            assert!(sights.iter().all(|sight| !matches!(sight, Sight::Seen { .. })), "{sights:?}");
        }
    }

    #[test]
    fn silence_says_nothing() {
        let voice = speaker(3.0, 1);
        let quiet = vec![0.0; voice.len()];
        for (far, near) in [(&voice, &quiet), (&quiet, &voice)] {
            assert!(seen(far, near).iter().all(|sight| *sight == Sight::Nothing));
        }
    }
}
