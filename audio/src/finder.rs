//! Looks for what was played in what was recorded, and says how late it came.
//!
//! The generalised cross-correlation with a flattened spectrum (Knapp and Carter 1976) at 6 kHz, summed over some
//! windows: an echo has one sharp peak there, two different voices have none.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::chain::BLOCK;
use crate::decimator::Decimator;

pub(crate) struct Finder {
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    narrow: [Decimator; 2],
    /// The last second of what was played, the last half of what was recorded.
    far: Vec<f32>,
    near: Vec<f32>,
    sum: Vec<Complex<f32>>,
    /// The last window's peak, in samples at 6 kHz.
    peak: Option<usize>,
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
            peak: None,
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
        let before = self.peak.replace(best);
        // One window may be a coincidence; two at the same place are none.
        if lags[best] > SHARP * spread && before.is_some_and(|before| before.abs_diff(best) <= SAME) {
            Sight::Seen { lag: best * STEP }
        } else {
            Sight::Unseen
        }
    }

    /// Of what was played, or of what was recorded at its place in the same stretch of time.
    fn spectrum(&self, near: bool) -> Vec<Complex<f32>> {
        let mut time = self.forward.make_input_vec();
        let far = &self.far[self.far.len() - 2 * WINDOW..];
        if near {
            time[WINDOW..2 * WINDOW].copy_from_slice(&self.near[..WINDOW]);
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
const SHARP: f32 = 7.0;
/// 1.5 ms at 6 kHz.
const SAME: usize = 9;
