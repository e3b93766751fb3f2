//! Extended short-time objective intelligibility (Jensen and Taal, IEEE/ACM TASLP 24(11), 2016).

use std::ops::Range;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// In Hz; everything that is measured is brought to it.
pub(crate) const RATE: u32 = 10_000;

/// The measure at 10 kHz, with the window and bands computed once.
pub(crate) struct Estoi {
    fft: Arc<dyn RealToComplex<f64>>,
    window: [f64; FRAME],
    bands: [Range<usize>; BANDS],
}

impl Estoi {
    pub(crate) fn new() -> Estoi {
        let bin = |hz: f64| (hz * POINTS as f64 / f64::from(RATE)).round() as usize;
        Estoi {
            fft: RealFftPlanner::new().plan_fft_forward(POINTS),
            // A Hann window without its two zeros.
            window: std::array::from_fn(|i| {
                0.5 - 0.5 * (std::f64::consts::TAU * (i + 1) as f64 / (FRAME + 1) as f64).cos()
            }),
            bands: std::array::from_fn(|band| {
                let edge = |sixths: f64| bin(LOWEST_HZ * 2f64.powf((2.0 * band as f64 + sixths) / 6.0));
                edge(-1.0)..edge(1.0)
            }),
        }
    }

    /// `heard` against the clean `said`, sample-aligned and equally long; `None` with less than 0.4 s of speech.
    pub(crate) fn score(&self, said: &[f32], heard: &[f32]) -> Option<f64> {
        let (said, heard) = self.without_silence(said, heard);
        let (said, heard) = (self.spectrogram(&said), self.spectrogram(&heard));
        let segments = said.windows(SEGMENT).zip(heard.windows(SEGMENT));
        let count = segments.len();
        let sum: f64 = segments.map(|(said, heard)| segment_score(said, heard)).sum();
        (count > 0).then(|| sum / count as f64)
    }

    /// Both signals without the frames in which the clean one is 40 dB below its loudest frame.
    fn without_silence(&self, said: &[f32], heard: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let starts = || (0..said.len().saturating_sub(FRAME)).step_by(HOP);
        let norms: Vec<f64> =
            starts().map(|at| self.windowed(&said[at..]).map(|s| s * s).sum::<f64>().sqrt()).collect();
        let loudest = norms.iter().copied().fold(0.0, f64::max);
        let kept: Vec<usize> = starts()
            .zip(&norms)
            .filter(|(_, norm)| **norm * DYNAMIC_RANGE > loudest)
            .map(|(at, _)| at)
            .collect();
        let rebuild = |signal: &[f32]| {
            let mut out = vec![0.0; if kept.is_empty() { 0 } else { (kept.len() - 1) * HOP + FRAME }];
            for (i, at) in kept.iter().enumerate() {
                for (out, s) in out[i * HOP..].iter_mut().zip(self.windowed(&signal[*at..])) {
                    *out += s;
                }
            }
            out
        };
        (rebuild(said), rebuild(heard))
    }

    fn windowed(&self, signal: &[f32]) -> impl Iterator<Item = f64> {
        self.window.iter().zip(signal).map(|(w, s)| w * f64::from(*s))
    }

    fn spectrogram(&self, signal: &[f64]) -> Vec<Bands> {
        let mut frame = self.fft.make_input_vec();
        let mut bins = self.fft.make_output_vec();
        let mut of_frame = |at: usize| -> Bands {
            frame.fill(0.0);
            for ((frame, w), s) in frame.iter_mut().zip(&self.window).zip(&signal[at..]) {
                *frame = w * s;
            }
            self.fft.process(&mut frame, &mut bins).expect("both buffers were made for this transform");
            std::array::from_fn(|band| {
                bins[self.bands[band].clone()].iter().map(Complex::norm_sqr).sum::<f64>().sqrt()
            })
        };
        (0..signal.len().saturating_sub(FRAME)).step_by(HOP).map(&mut of_frame).collect()
    }
}

/// Mean correlation of the spectra of two segments whose bands were first brought to the same mean and variance.
fn segment_score(said: &[Bands], heard: &[Bands]) -> f64 {
    let level = |segment: &[Bands]| {
        let mut bands: Vec<Bands> = segment.to_vec();
        for band in 0..BANDS {
            let mut row: Vec<f64> = bands.iter().map(|frame| frame[band]).collect();
            normalise(&mut row);
            bands.iter_mut().zip(row).for_each(|(frame, value)| frame[band] = value);
        }
        bands.iter_mut().for_each(|frame| normalise(frame));
        bands
    };
    let (said, heard) = (level(said), level(heard));
    let products = said.iter().flatten().zip(heard.iter().flatten()).map(|(a, b)| a * b);
    products.sum::<f64>() / SEGMENT as f64
}

/// To mean 0 and length 1, or to zeros when there is nothing but rounding noise.
fn normalise(values: &mut [f64]) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter_mut().for_each(|v| *v -= mean);
    let length = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let scale = if length > mean.abs() * 1e-12 && length > f64::MIN_POSITIVE { 1.0 / length } else { 0.0 };
    values.iter_mut().for_each(|v| *v *= scale);
}

/// One spectrum in 15 third-octave bands.
type Bands = [f64; BANDS];

/// Frames of 25.6 ms every 12.8 ms, their transform, and segments of 384 ms.
const FRAME: usize = 256;
const HOP: usize = FRAME / 2;
const POINTS: usize = 2 * FRAME;
const SEGMENT: usize = 30;
/// Third octaves from 150 Hz to 3.8 kHz, the part of speech that carries its meaning.
const BANDS: usize = 15;
const LOWEST_HZ: f64 = 150.0;
/// ESTOI leaves out what is more than 40 dB below the loudest.
const DYNAMIC_RANGE: f64 = 100.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::measure::estoi;
    use crate::measure::tests::{load, noise};

    /// Against `pystoi` 0.4.1, `extended=True`, on the first 8 s of the shipped speech, damaged as below.
    #[test]
    fn estoi_agrees_with_the_reference_implementation() {
        let alice = [1.0, 0.9912, 0.8907, 0.4161, 0.7337, 0.9655, 0.7293, 0.7988, 0.0457];
        let bob = [1.0, 0.9043, 0.6129, 0.1975, 0.7223, 0.9702, 0.7375, 0.7738, -0.0275];
        for (name, references) in [("alice", alice), ("bob", bob)] {
            let (pcm, rate) = load(name);
            let pcm = &pcm[..pcm.len().min(8 * rate as usize)];
            for (i, reference) in references.into_iter().enumerate() {
                let score = estoi(pcm, &damaged(pcm, rate as usize, i), rate).unwrap();
                assert!(
                    (score - reference).abs() < 0.001,
                    "{name}, damage {i}: {score} instead of {reference}"
                );
            }
        }
    }

    fn damaged(pcm: &[f32], rate: usize, how: usize) -> Vec<f32> {
        let noisy = |gain: f32| pcm.iter().zip(noise(pcm.len())).map(|(s, n)| s + gain * n).collect();
        match how {
            0 => pcm.to_vec(),
            1 => noisy(0.01),
            2 => noisy(0.05),
            3 => noisy(0.3),
            4 => pcm.iter().map(|s| s.clamp(-0.03, 0.03)).collect(),
            5 => {
                let taps = rate / 1000;
                let padded = [vec![0.0; taps - 1], pcm.to_vec()].concat();
                padded.windows(taps).map(|w| w.iter().sum::<f32>() / taps as f32).collect()
            }
            6 => pcm
                .iter()
                .enumerate()
                .map(|(i, s)| if (i / (rate / 50)).is_multiple_of(3) { 0.0 } else { *s })
                .collect(),
            7 => [vec![0.0; rate / 100], pcm[..pcm.len() - rate / 100].to_vec()].concat(),
            _ => pcm.iter().rev().copied().collect(),
        }
    }
}
