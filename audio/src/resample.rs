//! Any rate to any rate, one channel, sample by sample in, whatever is ready out.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

/// Converts a mono signal from one rate to another without changing its pitch or its length in seconds.
pub struct Resampler {
    kind: Kind,
}

enum Kind {
    /// Both rates are the same.
    Through,
    Sinc {
        sinc: Box<Async<f32>>,
        waiting: Vec<f32>,
        ready: Vec<f32>,
        /// What the filter puts before the first real sample.
        skip: usize,
        heard: u64,
        given: u64,
        ratio: f64,
    },
}

impl Resampler {
    /// Rates in Hz, each from 4 000 to 384 000; `None` for anything else.
    pub fn new(from: u32, to: u32) -> Option<Resampler> {
        if !RATES.contains(&from) || !RATES.contains(&to) {
            return None;
        }
        if from == to {
            return Some(Resampler { kind: Kind::Through });
        }
        let ratio = f64::from(to) / f64::from(from);
        let parameters = SincInterpolationParameters {
            sinc_len: 64,
            f_cutoff: None,
            interpolation: SincInterpolationType::Cubic,
            oversampling_factor: 128,
            window: WindowFunction::BlackmanHarris2,
        };
        let chunk = (from / 100) as usize;
        let sinc = Async::new_sinc(ratio, 1.0, &parameters, chunk, 1, FixedAsync::Input).ok()?;
        let (ready, skip) = (vec![0.0; sinc.output_frames_max()], sinc.output_delay());
        let waiting = Vec::with_capacity(2 * chunk);
        Some(Resampler {
            kind: Kind::Sinc { sinc: Box::new(sinc), waiting, ready, skip, heard: 0, given: 0, ratio },
        })
    }

    /// Takes `pcm` and appends what is ready to `out`.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        match &mut self.kind {
            Kind::Through => out.extend_from_slice(pcm),
            Kind::Sinc { heard, waiting, .. } => {
                *heard += pcm.len() as u64;
                waiting.extend_from_slice(pcm);
                self.run(out);
            }
        }
    }

    /// The signal has ended: appends the rest, so that the whole lasts as long as what came in.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        while let Kind::Sinc { sinc, waiting, heard, given, ratio, .. } = &mut self.kind {
            let missing = ((*heard as f64 * *ratio).round() as u64).saturating_sub(*given);
            if missing == 0 {
                return;
            }
            let before = out.len();
            waiting.resize(sinc.input_frames_next(), 0.0);
            self.run(out);
            out.truncate(before + missing as usize);
        }
    }

    fn run(&mut self, out: &mut Vec<f32>) {
        let Kind::Sinc { sinc, waiting, ready, skip, given, .. } = &mut self.kind else { return };
        let mut used = 0;
        loop {
            let chunk = sinc.input_frames_next();
            if waiting.len() - used < chunk {
                break;
            }
            let room = ready.len();
            let input = SequentialSlice::new(&waiting[used..], 1, chunk);
            let output = SequentialSlice::new_mut(ready, 1, room);
            let (Ok(input), Ok(mut output)) = (input, output) else { break };
            let Ok((consumed, produced)) = sinc.process_into_buffer(&input, &mut output, None::<&Indexing>)
            else {
                break;
            };
            used += consumed;
            let skipped = produced.min(*skip);
            *skip -= skipped;
            out.extend_from_slice(&ready[skipped..produced]);
            *given += (produced - skipped) as u64;
        }
        waiting.drain(..used);
    }
}

/// From telephone rates to twice the fastest sound card; outside of it a header is more likely wrong than right.
pub(crate) const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sound::{correlation, rms, sine, tonality};
    use proptest::prelude::*;

    fn convert(pcm: &[f32], from: u32, piece: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(from, 48_000).unwrap();
        let mut out = Vec::new();
        for piece in pcm.chunks(piece) {
            resampler.push(piece, &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    #[test]
    fn pitch_length_and_level_survive_every_usual_rate() {
        for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000] {
            let out = convert(&sine(1000.0, 0.5, rate, 1.0), rate, 441);
            assert!(out.len().abs_diff(48_000) <= 1, "{rate}: {}", out.len());
            let middle = &out[4_800..43_200];
            assert!(tonality(middle, 1000.0, 48_000) > 0.999, "{rate}");
            assert!((rms(middle) - 0.5 / 2f32.sqrt()).abs() < 0.01, "{rate}");
        }
    }

    #[test]
    fn a_frame_of_44100_hz_is_converted_and_not_padded() {
        // 882 samples are 20 ms at 44.1 kHz; filling up with zeros to 960 raised the pitch and clicked.
        let out = convert(&sine(440.0, 0.5, 44_100, 1.0), 44_100, 882);
        let expected = sine(440.0, 0.5, 48_000, 1.0);
        assert!(correlation(&out[4_800..43_200], &expected[4_800..43_200]) > 0.9999);
        let click = out[960..43_200].windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(click < 0.5 * 440.0 * std::f32::consts::TAU / 48_000.0 * 1.1, "{click}");
    }

    #[test]
    fn absurd_rates_are_refused() {
        for rate in [0, 1, 3_999, 384_001, u32::MAX] {
            assert!(Resampler::new(rate, 48_000).is_none());
        }
    }

    proptest! {
        #[test]
        fn the_cutting_of_the_input_does_not_matter(piece in 1usize..3000, rate in 4_000u32..100_000) {
            let pcm = sine(300.0, 0.5, rate, 0.25);
            let whole = convert(&pcm, rate, pcm.len());
            prop_assert_eq!(convert(&pcm, rate, piece), whole);
        }
    }
}
