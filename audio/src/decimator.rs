//! Fewer samples per second, for what need not hear everything.

/// 48 kHz to a whole fraction of it: a windowed-sinc low-pass of which only every `step`-th value is computed.
pub(crate) struct Decimator {
    taps: Vec<f32>,
    step: usize,
    /// What the next value needs: the last samples, and those that were too few for a value.
    past: Vec<f32>,
}

impl Decimator {
    pub(crate) fn new(step: usize) -> Decimator {
        let count = TAPS_PER_STEP * step;
        let cutoff = EDGE / step as f32;
        let mut taps: Vec<f32> = (0..count)
            .map(|i| {
                let x = (i as f32 - (count - 1) as f32 / 2.0) * cutoff;
                let sinc = if x.abs() < 1e-6 {
                    1.0
                } else {
                    (std::f32::consts::PI * x).sin() / (std::f32::consts::PI * x)
                };
                let window = 0.54 - 0.46 * (std::f32::consts::TAU * i as f32 / (count - 1) as f32).cos();
                sinc * window
            })
            .collect();
        let sum: f32 = taps.iter().sum();
        taps.iter_mut().for_each(|tap| *tap /= sum);
        let past = vec![0.0; count - 1];
        Decimator { taps, step, past }
    }

    /// Takes samples at 48 kHz and appends what they give to `out`.
    pub(crate) fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        self.past.extend_from_slice(pcm);
        let mut used = 0;
        while let Some(window) = self.past.get(used..used + self.taps.len()) {
            out.push(window.iter().zip(&self.taps).map(|(sample, tap)| sample * tap).sum());
            used += self.step;
        }
        self.past.drain(..used);
    }
}

/// Enough that what would alias lies 40 dB down.
const TAPS_PER_STEP: usize = 16;
/// Just below half of the new rate, as a share of it.
const EDGE: f32 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::dbfs;
    use crate::sound::sine;

    #[test]
    fn the_low_pass_keeps_speech_and_drops_what_would_alias() {
        let level = |step: usize, hz: f32| {
            let mut out = Vec::new();
            Decimator::new(step).push(&sine(hz, 0.5, 48_000, 0.5), &mut out);
            dbfs(&out[100..])
        };
        for (step, kept, dropped) in [(3, 1_000.0, 10_000.0), (8, 500.0, 4_000.0)] {
            assert!((level(step, kept) + 9.03).abs() < 0.3);
            assert!(level(step, dropped) < -45.0, "{}", level(step, dropped));
        }
    }
}
