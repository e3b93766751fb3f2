//! The loudspeaker's clock against the microphone's: by how much the echo runs away from what is known of it, and the far
//! end read as if it did not. Pure.
//!
//! Where two clocks differ, what the canceller expects lags behind the echo that comes. The lag is where the
//! cross-correlation of both is highest; what is read of the far end follows it, and learns how fast it moves.

use realfft::num_complex::Complex;

use crate::spec::BLOCK;

/// How much later the echo comes than is expected.
pub(crate) struct Drift {
    cross: [Complex<f32>; BINS],
    /// Energy of what came and of what was expected.
    came: f32,
    expected: f32,
    blocks: u32,
}

impl Drift {
    pub(crate) fn new() -> Drift {
        Drift { cross: [Complex::new(0.0, 0.0); BINS], came: 0.0, expected: 0.0, blocks: 0 }
    }

    /// Takes the spectra of each block's echo as expected and of what is left when it is taken out; now and then says by
    /// how many samples it comes later.
    pub(crate) fn watch(
        &mut self,
        expected: &[Complex<f32>; BINS],
        left: &[Complex<f32>; BINS],
    ) -> Option<f32> {
        for k in FROM..UNTIL {
            let came = expected[k] + left[k];
            self.cross[k] += came * expected[k].conj();
            self.came += came.norm_sqr();
            self.expected += expected[k].norm_sqr();
        }
        self.blocks += 1;
        if self.blocks < EVERY {
            return None;
        }
        let lag = self.lag();
        *self = Drift::new();
        lag
    }

    fn lag(&self) -> Option<f32> {
        let alike: f32 = self.cross[FROM..UNTIL].iter().map(|bin| bin.norm()).sum();
        // A voice at this end, or a path that is not known yet, says nothing.
        if alike < ALIKE * (self.came * self.expected).sqrt() || self.expected < AUDIBLE {
            return None;
        }
        let at = |step: i32| -> f32 {
            let turn = std::f32::consts::TAU * step as f32 * STEP / SPAN as f32;
            let (turn, mut phase) =
                (Complex::from_polar(1.0, turn), Complex::from_polar(1.0, turn * FROM as f32));
            let mut sum = 0.0;
            for bin in &self.cross[FROM..UNTIL] {
                // Between none and all of the level taken out: what is loud is known best, what is high says most.
                sum += (bin * phase).re / (bin.norm().sqrt() + f32::MIN_POSITIVE);
                phase *= turn;
            }
            sum
        };
        let best = (-REACH..=REACH).max_by(|a, b| at(*a).total_cmp(&at(*b)))?;
        let (left, peak, right) = (at(best - 1), at(best), at(best + 1));
        let bend = left - 2.0 * peak + right;
        let between = if bend < 0.0 { 0.5 * (left - right) / bend } else { 0.0 };
        Some((best as f32 + between.clamp(-0.5, 0.5)) * STEP)
    }
}

/// The far end, read later and later, or earlier and earlier, as the echo comes.
pub(crate) struct Pace {
    /// By how many samples for each block.
    rate: f32,
    /// How late it is read, in samples, at least [`SIDE`] and less than that and a block.
    late: f32,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace { rate: 0.0, late: SIDE as f32 }
    }

    /// The echo comes by `lag` samples later than it should, as [`Drift::watch`] says.
    pub(crate) fn follow(&mut self, lag: f32) {
        self.late += lag * AT_ONCE;
        self.rate = (self.rate + lag * LEARN / EVERY as f32).clamp(-MOST, MOST);
    }

    /// A block later; returns by how many whole blocks later the reading has become.
    pub(crate) fn step(&mut self) -> isize {
        self.late += self.rate;
        if self.late >= (SIDE + BLOCK) as f32 {
            self.late -= BLOCK as f32;
            1
        } else if self.late < SIDE as f32 {
            self.late += BLOCK as f32;
            -1
        } else {
            0
        }
    }

    /// How much later it is read than at first, in whole samples.
    pub(crate) fn beyond(&self) -> usize {
        (self.late as usize).saturating_sub(SIDE)
    }

    /// There is nothing else to be read.
    pub(crate) fn stay(&mut self) {
        (self.late, self.rate) = (SIDE as f32, 0.0);
    }

    /// Reads out of three blocks in a row, the oldest first.
    pub(crate) fn read(&self, blocks: [&[f32; BLOCK]; 3]) -> [f32; BLOCK] {
        let whole = self.late.ceil();
        let mut span = [0.0; 3 * BLOCK];
        for (part, block) in span.chunks_exact_mut(BLOCK).zip(blocks) {
            part.copy_from_slice(block);
        }
        // The sample before the wanted place, and how far the place is behind it.
        let first = 2 * BLOCK - whole as usize;
        let part = whole - self.late;
        if part == 0.0 {
            return std::array::from_fn(|i| span[first + i]);
        }
        let taps: [f32; 2 * SIDE] = std::array::from_fn(|i| {
            let x = std::f32::consts::PI * (i as f32 - (SIDE as f32 - 1.0) - part);
            x.sin() / x * (0.5 + 0.5 * (x / (SIDE as f32 + 1.0)).cos())
        });
        std::array::from_fn(|i| {
            let from = first + i + 1 - SIDE;
            span[from..from + 2 * SIDE].iter().zip(&taps).map(|(sample, tap)| sample * tap).sum()
        })
    }
}

/// The canceller's transform covers two blocks.
pub(crate) const SPAN: usize = 2 * BLOCK;
pub(crate) const BINS: usize = BLOCK + 1;
/// Blocks: half a second.
const EVERY: u32 = 50;
/// 200 Hz to 8 kHz, where voices are.
const FROM: usize = 4;
const UNTIL: usize = 160;
/// In samples, as finely as lags are looked at, and how many steps of it to each side.
const STEP: f32 = 0.25;
const REACH: i32 = 80;
/// The share of what came that has to be what was expected, as amplitude.
const ALIKE: f32 = 0.6;
/// Energy in half a second, about -65 dBFS.
const AUDIBLE: f32 = 0.01;
/// The shares of a lag that are made up for at once, and taken for the clocks' difference in half a second.
const AT_ONCE: f32 = 0.3;
const LEARN: f32 = 0.15;
/// Of 480 samples: 300 ppm, more than any sound card is off.
const MOST: f32 = 0.144;
/// Samples to each side that an interpolated one is made of.
const SIDE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_read_at_another_pace_is_that_of_the_other_clock() {
        // 1 kHz, half as loud as can be, at a clock that is 100 ppm off.
        let tone = |at: f64| 0.5 * (std::f64::consts::TAU * at / 48.0).sin() as f32;
        let far: Vec<f32> = (0..48_000).map(|i| tone(f64::from(i))).collect();
        let blocks = far.as_chunks::<BLOCK>().0;
        let mut pace = Pace { rate: 0.048, late: SIDE as f32 };
        for i in 2..blocks.len() {
            assert_eq!(pace.step(), 0);
            let read = pace.read([&blocks[i - 2], &blocks[i - 1], &blocks[i]]);
            for (k, sample) in read.iter().enumerate() {
                let wanted = tone((i * BLOCK + k) as f64 - f64::from(pace.late));
                assert!((sample - wanted).abs() < 0.005, "{i}: {sample} for {wanted}");
            }
        }
    }

    #[test]
    fn whole_samples_are_read_as_they_are() {
        let blocks: [[f32; BLOCK]; 3] =
            std::array::from_fn(|b| std::array::from_fn(|i| (b * BLOCK + i) as f32));
        let read = Pace::new().read([&blocks[0], &blocks[1], &blocks[2]]);
        assert_eq!(read[0], (2 * BLOCK - SIDE) as f32);
        assert_eq!(read[BLOCK - 1], (3 * BLOCK - SIDE - 1) as f32);
    }

    fn spectrum(lag: f32, seed: u32) -> [Complex<f32>; BINS] {
        let mut random = crate::sound::Random(seed);
        std::array::from_fn(|k| {
            let turn = std::f32::consts::TAU * (random.next() - k as f32 * lag / SPAN as f32);
            Complex::from_polar(1.0, turn)
        })
    }

    #[test]
    fn an_echo_that_comes_later_than_expected_is_measured() {
        for lag in [-7.3, -0.4, 0.0, 2.1] {
            let mut drift = Drift::new();
            let told: Vec<f32> = (1..=100)
                .filter_map(|i| {
                    let (expected, came) = (spectrum(0.0, i), spectrum(lag, i));
                    drift.watch(&expected, &std::array::from_fn(|k| came[k] - expected[k]))
                })
                .collect();
            assert_eq!(told.len(), 2);
            assert!(told.iter().all(|told| (told - lag).abs() < 0.1), "{lag}: {told:?}");
        }
    }

    #[test]
    fn what_is_not_the_echo_says_nothing() {
        let mut drift = Drift::new();
        for i in 1..500 {
            let (expected, came) = (spectrum(0.0, i), spectrum(0.0, i + 1_000));
            assert_eq!(drift.watch(&expected, &std::array::from_fn(|k| came[k] - expected[k])), None);
        }
    }
}
