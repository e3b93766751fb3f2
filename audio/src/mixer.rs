//! Adds the friends up and keeps the sum inside -1..1 without the rasp of clipping.

/// A peak limiter with instant attack and slow release.
pub struct Limiter {
    envelope: f32,
}

impl Limiter {
    pub fn new() -> Limiter {
        Limiter { envelope: 0.0 }
    }

    /// Works in place on samples at 48 kHz.
    pub fn limit(&mut self, pcm: &mut [f32]) {
        for sample in pcm {
            if !sample.is_finite() {
                *sample = 0.0;
            }
            self.envelope = sample.abs().max(self.envelope * RELEASE);
            if self.envelope > CEILING {
                *sample *= CEILING / self.envelope;
            }
        }
    }
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter::new()
    }
}

/// Adds `voice` to `sum`.
pub(crate) fn add(sum: &mut [f32], voice: &[f32]) {
    for (sum, voice) in sum.iter_mut().zip(voice) {
        *sum += voice;
    }
}

/// -0.9 dBFS: headroom for the converters behind us.
const CEILING: f32 = 0.9;
/// Half back after 100 ms, slower than a pitch period, so the gain does not follow the waveform.
const RELEASE: f32 = 0.999_855_6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::{rms, sine, speaker, tonality};

    #[test]
    fn five_loud_talkers_do_not_clip() {
        let mut sum = vec![0.0; 96_000];
        for seed in 1..=5 {
            add(&mut sum, &speaker(2.0, seed).iter().map(|s| s * 5.0).collect::<Vec<_>>());
        }
        assert!(sum.iter().any(|s| s.abs() > 1.5));
        Limiter::new().limit(&mut sum);
        assert!(sum.iter().all(|s| s.abs() <= CEILING * 1.0001));
        assert!(rms(&sum) > 0.1);
    }

    #[test]
    fn what_is_not_loud_passes_unchanged() {
        let quiet = sine(440.0, 0.8, 48_000, 0.5);
        let mut limited = quiet.clone();
        Limiter::new().limit(&mut limited);
        assert_eq!(limited, quiet);
    }

    #[test]
    fn an_overloud_tone_stays_a_tone() {
        let mut loud = sine(440.0, 3.0, 48_000, 1.0);
        Limiter::new().limit(&mut loud);
        assert!(tonality(&loud[4_800..], 440.0, 48_000) > 0.999);
    }

    #[test]
    fn a_sample_that_is_no_number_is_silence() {
        let mut pcm = [f32::NAN, f32::INFINITY, 0.5];
        Limiter::new().limit(&mut pcm);
        assert_eq!(pcm, [0.0, 0.0, 0.5]);
    }
}
