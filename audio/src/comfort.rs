//! Comfort noise: the hush of the friend's room, so that a long hole sounds like a pause and not like a dead line.
//!
//! The quietest frames of what was heard give the spectrum (a predictor of order 10 by Levinson's recursion) and the
//! level; white noise is shaped by it.

/// What is known of one friend's background.
pub(crate) struct Comfort {
    correlation: [f32; ORDER + 1],
    /// Mean square of the quietest frames, rising slowly so that a louder room is learned.
    floor: f32,
    predictor: [f32; ORDER],
    gain: f32,
    past: [f32; ORDER],
    random: u32,
}

impl Comfort {
    pub(crate) fn new() -> Comfort {
        Comfort {
            correlation: [0.0; ORDER + 1],
            floor: LOUDEST,
            predictor: [0.0; ORDER],
            gain: 0.0,
            past: [0.0; ORDER],
            random: 0x9e37_79b9,
        }
    }

    /// A frame as it was decoded.
    pub(crate) fn heard(&mut self, pcm: &[f32]) {
        let len = pcm.len().max(1) as f32;
        let level = pcm.iter().map(|s| s * s).sum::<f32>() / len;
        self.floor = (self.floor * RISE).min(LOUDEST);
        if level > self.floor * NEAR {
            return;
        }
        self.floor = self.floor.min(level);
        let mut correlation = [0.0; ORDER + 1];
        for (lag, sum) in correlation.iter_mut().enumerate() {
            let shifted = pcm.get(lag..).unwrap_or(&[]);
            *sum = pcm.iter().zip(shifted).map(|(a, b)| a * b).sum::<f32>() / len;
        }
        for (old, new) in self.correlation.iter_mut().zip(correlation) {
            *old += (new - *old) * LEARN;
        }
        self.shape();
    }

    /// Adds noise to `pcm`, its gain moving evenly from `from` to `to`.
    pub(crate) fn add(&mut self, pcm: &mut [f32], from: f32, to: f32) {
        let step = (to - from) / pcm.len().max(1) as f32;
        let mut fade = from;
        for sample in pcm {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Uniform in -1..1, times the root of three: one in mean square.
            let white = (f32::from((self.random >> 16) as u16) / 32_768.0 - 1.0) * 1.732;
            let voiced: f32 = self.predictor.iter().zip(&self.past).map(|(a, y)| a * y).sum();
            let y = (self.gain * white + voiced).clamp(-0.1, 0.1);
            self.past.rotate_right(1);
            self.past[0] = y;
            fade += step;
            *sample += fade * y;
        }
    }

    /// Levinson-Durbin.
    fn shape(&mut self) {
        let mut error = self.correlation[0] * 1.001 + 1e-12;
        let mut a = [0.0f32; ORDER];
        for i in 0..ORDER {
            let sum: f32 = (0..i).map(|j| a[j] * self.correlation[i - j]).sum();
            let k = ((self.correlation[i + 1] - sum) / error).clamp(-0.99, 0.99);
            let before = a;
            a[i] = k;
            for j in 0..i {
                a[j] = before[j] - k * before[i - 1 - j];
            }
            error *= 1.0 - k * k;
        }
        self.predictor = a;
        self.gain = error.max(0.0).sqrt();
    }
}

const ORDER: usize = 10;
/// Mean square of -46 dBFS: what is louder is no background.
const LOUDEST: f32 = 2.5e-5;
/// 3 dB: frames so near to the quietest are background as well.
const NEAR: f32 = 2.0;
/// Per frame: 1 dB in a second or so.
const RISE: f32 = 1.005;
const LEARN: f32 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::dbfs;
    use crate::sound::{noise, speech};

    #[test]
    fn the_noise_is_as_loud_as_the_room_and_not_as_the_voice() {
        let mut comfort = Comfort::new();
        let room = noise(0.001, 144_000, 5);
        let mut pcm = room.clone();
        for (sample, voice) in pcm.iter_mut().zip(speech(1.5)) {
            *sample += voice;
        }
        pcm.chunks_exact(960).for_each(|frame| comfort.heard(frame));
        let mut out = vec![0.0; 48_000];
        comfort.add(&mut out, 1.0, 1.0);
        assert!((dbfs(&out) - dbfs(&room)).abs() < 3.0, "{} for {}", dbfs(&out), dbfs(&room));
    }

    #[test]
    fn a_silent_line_stays_silent_and_a_strange_one_bounded() {
        let mut comfort = Comfort::new();
        comfort.heard(&[0.0; 960]);
        let mut out = vec![0.0; 960];
        comfort.add(&mut out, 0.0, 1.0);
        assert!(out.iter().all(|s| s.abs() < 1e-4));
        for strange in [[1e-3; 960], [-1e-20; 960]] {
            comfort.heard(&strange);
            comfort.add(&mut out, 1.0, 1.0);
            assert!(out.iter().all(|s| s.is_finite()));
        }
    }
}
