//! Takes away what no voice holds: the offset of cheap converters, rumble, most of the mains' hum.

use std::f64::consts::PI;

use crate::spec::RATE;

/// A Butterworth high-pass of fourth order.
pub(crate) struct HighPass {
    sections: [Section; 2],
}

/// One second-order section, transposed direct form II. In `f64`, for the poles lie close to the unit circle.
struct Section {
    b: [f64; 3],
    a: [f64; 2],
    state: [f64; 2],
}

impl HighPass {
    pub(crate) fn new() -> HighPass {
        // The quality factors of a fourth-order Butterworth filter: 1 / (2 cos(pi/8)) and 1 / (2 cos(3 pi/8)).
        let quality = |angle: f64| 1.0 / (2.0 * angle.cos());
        HighPass {
            sections: [
                Section::new(CUTOFF, quality(PI / 8.0)),
                Section::new(CUTOFF, quality(3.0 * PI / 8.0)),
            ],
        }
    }

    /// Works in place on samples at 48 kHz.
    pub(crate) fn filter(&mut self, pcm: &mut [f32]) {
        for sample in pcm {
            // A broken driver's infinity would stay in the filter for ever.
            let mut x = if sample.is_finite() { f64::from(*sample) } else { 0.0 };
            for section in &mut self.sections {
                x = section.step(x);
            }
            *sample = x as f32;
        }
    }
}

impl Section {
    /// Coefficients by the bilinear transform (RBJ's cookbook formulae).
    fn new(hz: f64, quality: f64) -> Section {
        let omega = 2.0 * PI * hz / f64::from(RATE);
        let alpha = omega.sin() / (2.0 * quality);
        let a0 = 1.0 + alpha;
        let b = (1.0 + omega.cos()) / 2.0 / a0;
        Section { b: [b, -2.0 * b, b], a: [-2.0 * omega.cos() / a0, (1.0 - alpha) / a0], state: [0.0; 2] }
    }

    fn step(&mut self, x: f64) -> f64 {
        let y = self.b[0] * x + self.state[0];
        self.state[0] = self.b[1] * x - self.a[0] * y + self.state[1];
        self.state[1] = self.b[2] * x - self.a[1] * y;
        y
    }
}

/// In Hz: below the lowest male voice (85 Hz), so that speech keeps its colour; 50 Hz sinks by 14 dB.
const CUTOFF: f64 = 75.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::dbfs;
    use crate::sound::sine;

    fn gain(hz: f32) -> f32 {
        let mut pcm = sine(hz, 0.5, 48_000, 1.0);
        let before = dbfs(&pcm);
        HighPass::new().filter(&mut pcm);
        dbfs(&pcm[24_000..]) - before
    }

    #[test]
    fn hum_sinks_and_voices_stay() {
        assert!(gain(50.0) < -13.0, "{}", gain(50.0));
        assert!(gain(20.0) < -40.0, "{}", gain(20.0));
        assert!(gain(110.0) > -0.3, "{}", gain(110.0));
        assert!(gain(1_000.0).abs() < 0.05, "{}", gain(1_000.0));
    }

    #[test]
    fn an_offset_is_taken_away_and_an_infinity_passes_through_nothing() {
        let mut pcm = vec![0.3; 48_000];
        pcm[100] = f32::INFINITY;
        HighPass::new().filter(&mut pcm);
        assert!(dbfs(&pcm[24_000..]) < -90.0);
    }
}
