//! Takes an echo out of the microphone: an adaptive filter that learns the way from the loudspeaker, and a gentle
//! suppressor for what the filter leaves. Pure, in blocks of 10 ms, 1.3 ms of delay.
//!
//! The filter is a partitioned-block Kalman filter in the frequency domain (Enzner and Vary 2006; Kuech, Mabande and
//! Enzner 2014): it weighs each bin's doubt about the path against the power that the path does not explain. So a
//! voice at this end stops the learning by itself, and is never taken for echo.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::drift::{BINS, Drift, SPAN};
use crate::spec::BLOCK;

pub(crate) struct Canceller {
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    /// The far end: the two newest blocks, and the spectra of the newest [`PARTITIONS`] pairs, newest at `newest`.
    far: [f32; SPAN],
    spectra: Vec<[Complex<f32>; BINS]>,
    powers: Vec<[f32; BINS]>,
    newest: usize,
    /// The path, a spectrum per block of delay.
    path: Vec<[Complex<f32>; BINS]>,
    /// How far each bin of it may be off, as power.
    doubt: Vec<[f32; BINS]>,
    /// The power of what the path does not explain.
    unexplained: [f32; BINS],
    /// Of the partitions, the one whose path is confined to its block in this step.
    confined: usize,
    drift: Drift,
    residue: Residue,
    time: [f32; SPAN],
    bins: [Complex<f32>; BINS],
    error: [Complex<f32>; BINS],
    expected: [Complex<f32>; BINS],
}

/// The suppressor of what the filter leaves, as a short filter that is computed anew for each block.
struct Residue {
    /// Mean power of the error and of the echo estimate.
    error: [f32; BINS],
    echo: [f32; BINS],
    /// How the error's power moves with the echo's, and the echo's with itself.
    together: [f32; BANDS],
    alone: [f32; BANDS],
    /// The share of what is left that may be echo, over some blocks.
    share: f32,
    taps: [f32; TAPS],
    /// The end of the block before.
    past: [f32; TAPS],
    inverse: Arc<dyn ComplexToReal<f32>>,
    gains: Vec<Complex<f32>>,
    response: Vec<f32>,
}

impl Canceller {
    pub(crate) fn new() -> Canceller {
        let mut planner = RealFftPlanner::new();
        let zero = Complex::new(0.0, 0.0);
        Canceller {
            forward: planner.plan_fft_forward(SPAN),
            backward: planner.plan_fft_inverse(SPAN),
            far: [0.0; SPAN],
            spectra: vec![[zero; BINS]; PARTITIONS],
            powers: vec![[0.0; BINS]; PARTITIONS],
            newest: 0,
            path: vec![[zero; BINS]; PARTITIONS],
            doubt: vec![[DOUBT; BINS]; PARTITIONS],
            unexplained: [1.0; BINS],
            confined: 0,
            drift: Drift::new(),
            residue: Residue::new(&mut planner),
            time: [0.0; SPAN],
            bins: [zero; BINS],
            error: [zero; BINS],
            expected: [zero; BINS],
        }
    }

    /// Takes the echo of `far` out of `near`, in place; returns the share of what is left that may still be echo, 0..1.
    pub(crate) fn cancel(&mut self, far: &[f32; BLOCK], near: &mut [f32; BLOCK]) -> f32 {
        self.take_far(far);
        let echo_power = self.estimate();
        self.spell_expected();
        for (near, echo) in near.iter_mut().zip(&self.time[BLOCK..]) {
            *near -= echo;
        }
        self.time[..BLOCK].fill(0.0);
        self.time[BLOCK..].copy_from_slice(near);
        let _ = self.forward.process(&mut self.time, &mut self.error);
        let doubtful = self.learn();
        self.residue.suppress(near, &self.error, &echo_power, &doubtful)
    }

    /// Asked after each [`Canceller::cancel`]: now and then, by how many samples the echo comes later than it should.
    pub(crate) fn lag(&mut self) -> Option<f32> {
        self.drift.watch(&self.expected, &self.error)
    }

    /// As [`Canceller::cancel`] when nothing was played for longer than the path is: only the delay stays.
    pub(crate) fn pass(&mut self, near: &mut [f32; BLOCK]) -> f32 {
        self.residue.pass(near);
        self.residue.share = 0.0;
        0.0
    }

    /// The far end is now read `blocks` later than before: what was learnt moves with it.
    pub(crate) fn shift(&mut self, blocks: isize) {
        let by = blocks.unsigned_abs();
        self.drift = Drift::new();
        if by >= PARTITIONS {
            *self = Canceller::new();
            return;
        }
        let fresh = |range: std::ops::Range<usize>, canceller: &mut Canceller| {
            for i in range {
                canceller.path[i].fill(Complex::new(0.0, 0.0));
                canceller.doubt[i].fill(DOUBT);
            }
        };
        if blocks > 0 {
            self.path.rotate_left(by);
            self.doubt.rotate_left(by);
            fresh(PARTITIONS - by..PARTITIONS, self);
        } else {
            self.path.rotate_right(by);
            self.doubt.rotate_right(by);
            fresh(0..by, self);
        }
    }

    fn take_far(&mut self, far: &[f32; BLOCK]) {
        self.far.copy_within(BLOCK.., 0);
        self.far[BLOCK..].copy_from_slice(far);
        self.newest = (self.newest + PARTITIONS - 1) % PARTITIONS;
        self.time.copy_from_slice(&self.far);
        let spectrum = &mut self.spectra[self.newest];
        let _ = self.forward.process(&mut self.time, spectrum);
        for (power, bin) in self.powers[self.newest].iter_mut().zip(spectrum) {
            *power = bin.norm_sqr();
        }
    }

    /// The echo as the path explains it, into the second half of `time`; returns its spectrum's power.
    fn estimate(&mut self) -> [f32; BINS] {
        self.bins.fill(Complex::new(0.0, 0.0));
        for (i, path) in self.path.iter().enumerate() {
            let spectrum = &self.spectra[(self.newest + i) % PARTITIONS];
            for ((sum, w), x) in self.bins.iter_mut().zip(path).zip(spectrum) {
                *sum += w * x;
            }
        }
        let power = std::array::from_fn(|k| self.bins[k].norm_sqr() * HALF);
        self.bins[0].im = 0.0;
        self.bins[BINS - 1].im = 0.0;
        let _ = self.backward.process(&mut self.bins, &mut self.time);
        self.time.iter_mut().for_each(|sample| *sample /= SPAN as f32);
        power
    }

    /// The spectrum of the block's own part of the estimate.
    fn spell_expected(&mut self) {
        let mut alone = [0.0; SPAN];
        alone[BLOCK..].copy_from_slice(&self.time[BLOCK..]);
        let _ = self.forward.process(&mut alone, &mut self.expected);
    }

    /// Improves the path by the error; returns the power of the error that doubt about the path explains.
    fn learn(&mut self) -> [f32; BINS] {
        let mut doubtful = [0.0; BINS];
        for (i, doubt) in self.doubt.iter().enumerate() {
            let power = &self.powers[(self.newest + i) % PARTITIONS];
            for ((sum, p), x) in doubtful.iter_mut().zip(doubt).zip(power) {
                *sum += p * x * HALF;
            }
        }
        let mut step = [Complex::new(0.0, 0.0); BINS];
        for k in 0..BINS {
            let error = self.error[k].norm_sqr();
            self.unexplained[k] += (error - self.unexplained[k]) * FORGET;
            step[k] = self.error[k] / (doubtful[k] + self.unexplained[k] + TINY);
        }
        for i in 0..PARTITIONS {
            let at = (self.newest + i) % PARTITIONS;
            let (spectrum, power) = (&self.spectra[at], &self.powers[at]);
            let (path, doubt) = (&mut self.path[i], &mut self.doubt[i]);
            for k in 0..BINS {
                let total = doubtful[k] + self.unexplained[k] + TINY;
                path[k] += spectrum[k].conj() * step[k] * doubt[k];
                let known = 1.0 - HALF * doubt[k] * power[k] / total;
                doubt[k] = STEADY * known * doubt[k] + (1.0 - STEADY) * path[k].norm_sqr() + TINY;
            }
        }
        for _ in 0..CONFINE {
            self.confine();
        }
        doubtful
    }

    /// A partition may only reach over its own block: the other half of its response is a wrap-around.
    fn confine(&mut self) {
        self.confined = (self.confined + 1) % PARTITIONS;
        self.bins.copy_from_slice(&self.path[self.confined]);
        self.bins[0].im = 0.0;
        self.bins[BINS - 1].im = 0.0;
        let _ = self.backward.process(&mut self.bins, &mut self.time);
        self.time[BLOCK..].fill(0.0);
        self.time[..BLOCK].iter_mut().for_each(|sample| *sample /= SPAN as f32);
        let path = &mut self.path[self.confined];
        let _ = self.forward.process(&mut self.time, path);
    }
}

impl Residue {
    fn new(planner: &mut RealFftPlanner<f32>) -> Residue {
        let inverse = planner.plan_fft_inverse(TAPS);
        Residue {
            error: [0.0; BINS],
            echo: [0.0; BINS],
            together: [0.1 * TINY; BANDS],
            alone: [TINY; BANDS],
            share: 0.0,
            taps: through(),
            past: [0.0; TAPS],
            gains: inverse.make_input_vec(),
            response: inverse.make_output_vec(),
            inverse,
        }
    }

    fn suppress(
        &mut self,
        near: &mut [f32; BLOCK],
        error: &[Complex<f32>; BINS],
        echo: &[f32; BINS],
        doubtful: &[f32; BINS],
    ) -> f32 {
        let (mut all, mut left) = (TINY, 0.0);
        // Where only a friend talks, rather too much than too little.
        let over = 1.0 + (self.share - BOTH_TALK).max(0.0) * FIRMNESS;
        let mut gains = [1.0f32; BINS];
        for band in 0..BANDS {
            let bins = band * BAND..((band + 1) * BAND).min(BINS);
            // A voice at this end rises and falls by itself; what leaks rises and falls with the echo.
            let (mut together, mut alone) = (0.0, 0.0);
            for k in bins.clone() {
                let power = error[k].norm_sqr();
                let (error, echo) = (power - self.error[k], echo[k] - self.echo[k]);
                self.error[k] += error * SMOOTH;
                self.echo[k] += echo * SMOOTH;
                together += error * echo;
                alone += echo * echo;
            }
            self.together[band] += (together - self.together[band]) * LEARN;
            self.alone[band] += (alone - self.alone[band]) * LEARN;
            let leak = (self.together[band] / (self.alone[band] + TINY)).clamp(LEAST_LEAK, 1.0);
            for k in bins {
                let power = error[k].norm_sqr().max(self.error[k]);
                let residue = (leak * self.echo[k].max(echo[k])).max(doubtful[k]).min(power);
                all += power;
                left += residue;
                gains[k] = (1.0 - over * residue / (power + TINY)).max(LEAST * LEAST).sqrt();
            }
        }
        self.filter(near, &gains);
        self.share += (left / all - self.share) * SETTLE;
        self.share
    }

    fn pass(&mut self, near: &mut [f32; BLOCK]) {
        if self.taps != through() {
            return self.filter(near, &[1.0; BINS]);
        }
        let mut input = [0.0; TAPS + BLOCK];
        input[..TAPS].copy_from_slice(&self.past);
        input[TAPS..].copy_from_slice(near);
        self.past.copy_from_slice(&input[BLOCK..]);
        near.copy_from_slice(&input[TAPS / 2..TAPS / 2 + BLOCK]);
    }

    /// Applies `gains` as a short symmetric filter, sliding from the one before.
    fn filter(&mut self, near: &mut [f32; BLOCK], gains: &[f32; BINS]) {
        let per = (BINS - 1) / (self.gains.len() - 1);
        for (i, bin) in self.gains.iter_mut().enumerate() {
            let from = (i * per).saturating_sub(per / 2);
            let to = (i * per + per / 2 + 1).min(BINS);
            let mean = gains[from..to].iter().sum::<f32>() / (to - from) as f32;
            *bin = Complex::new(mean, 0.0);
        }
        let _ = self.inverse.process(&mut self.gains, &mut self.response);
        let flat = gains.iter().all(|gain| *gain == 1.0);
        let taps: [f32; TAPS] = if flat {
            through()
        } else {
            std::array::from_fn(|i| {
                let window = 0.5 - 0.5 * (std::f32::consts::TAU * i as f32 / TAPS as f32).cos();
                self.response[(i + TAPS / 2) % TAPS] * window / TAPS as f32
            })
        };
        let mut input = [0.0; TAPS + BLOCK];
        input[..TAPS].copy_from_slice(&self.past);
        input[TAPS..].copy_from_slice(near);
        self.past.copy_from_slice(&input[BLOCK..]);
        let dot = |window: &[f32], taps: &[f32; TAPS]| -> f32 {
            window.iter().rev().zip(taps).map(|(x, h)| x * h).sum()
        };
        for (i, out) in near.iter_mut().enumerate() {
            let window = &input[i + 1..=i + TAPS];
            let (old, new) = (dot(window, &self.taps), dot(window, &taps));
            *out = old + (new - old) * (i + 1) as f32 / BLOCK as f32;
        }
        self.taps = taps;
    }
}

/// The filter that only delays.
fn through() -> [f32; TAPS] {
    std::array::from_fn(|i| if i == TAPS / 2 { 1.0 } else { 0.0 })
}

/// 160 ms of echo after the loudspeaker's sound arrives: what a room adds later is 30 dB below.
pub(crate) const PARTITIONS: usize = 16;
/// The share of a transform that is new sound.
const HALF: f32 = 0.5;
/// At the start nothing is known about the path; a loudspeaker as loud as its signal is the most to expect.
const DOUBT: f32 = 1.0;
/// How steady the path is from block to block: people and laptops move.
const STEADY: f32 = 0.999;
const FORGET: f32 = 0.2;
const TINY: f32 = 1e-9;
/// Partitions confined per block; all of them come round within five blocks.
const CONFINE: usize = 4;
/// Of the suppressing filter.
const TAPS: usize = 120;
/// In samples, by the middle of that filter.
pub(crate) const DELAY: u64 = TAPS as u64 / 2;
const SMOOTH: f32 = 0.3;
/// The leak is learnt by bands of 1 kHz.
const BAND: usize = 20;
const BANDS: usize = BINS.div_ceil(BAND);
/// Over about a second.
const LEARN: f32 = 0.01;
const LEAST_LEAK: f32 = 0.003;
/// The share of echo up to which a voice at this end is heard, too.
const BOTH_TALK: f32 = 0.15;
const FIRMNESS: f32 = 5.0;
/// Five blocks or so; a beginning word is in the pre-roll for as long.
const SETTLE: f32 = 0.25;
/// -20 dB.
const LEAST: f32 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::dbfs;
    use crate::sound::{correlation, speaker};

    /// A loudspeaker on a table: the direct sound after 12 ms and a tail of 80 ms.
    fn echo_of(far: &[f32]) -> Vec<f32> {
        let mut random = crate::sound::Random(9);
        let path: Vec<(usize, f32)> = std::iter::once((576, 0.5))
            .chain((1..60).map(|i| (576 + i * 64, 0.2 * (random.next() - 0.5) * 0.93f32.powi(i as i32))))
            .collect();
        let reach =
            |i: usize| path.iter().filter(move |(lag, _)| *lag <= i).map(move |(lag, g)| far[i - lag] * g);
        (0..far.len()).map(|i| reach(i).sum()).collect()
    }

    fn cancelled(far: &[f32], near: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let mut canceller = Canceller::new();
        let (mut out, mut shares) = (Vec::new(), Vec::new());
        for (far, near) in far.as_chunks::<BLOCK>().0.iter().zip(near.as_chunks::<BLOCK>().0) {
            let mut block = *near;
            shares.push(canceller.cancel(far, &mut block));
            out.extend(block);
        }
        (out, shares)
    }

    #[test]
    fn an_echo_alone_is_taken_out_and_known_for_what_it_is() {
        let far = speaker(8.0, 1);
        let echo = echo_of(&far);
        let (out, shares) = cancelled(&far, &echo);
        let gain = dbfs(&echo[192_000..]) - dbfs(&out[192_000..]);
        assert!(gain > 25.0, "{gain} dB");
        let known = shares[400..].iter().filter(|share| **share > 0.2).count();
        assert!(known > 300, "{known} of 400");
    }

    #[test]
    fn a_voice_over_the_echo_passes_whole() {
        let (far, mut voice) = (speaker(12.0, 1), speaker(12.0, 2));
        voice[..288_000].fill(0.0);
        let near: Vec<f32> = echo_of(&far).iter().zip(&voice).map(|(e, v)| e + v).collect();
        let (out, _) = cancelled(&far, &near);
        let delay = TAPS / 2;
        let likeness = correlation(&voice[288_000..570_000], &out[288_000 + delay..570_000 + delay]);
        assert!(likeness > 0.97, "{likeness}");
        let change = dbfs(&out[288_000..]) - dbfs(&voice[288_000..]);
        assert!(change.abs() < 1.0, "{change} dB");
    }

    #[test]
    fn without_an_echo_a_voice_only_waits() {
        let voice = speaker(4.0, 2);
        let (out, shares) = cancelled(&vec![0.0; voice.len()], &voice);
        let delay = TAPS / 2;
        let off = voice.iter().zip(&out[delay..]).map(|(v, o)| (v - o).abs()).fold(0.0, f32::max);
        assert!(off < 1e-3, "{off}");
        assert!(shares.iter().all(|share| *share < 0.01));
    }

    #[test]
    fn what_was_learnt_moves_with_the_reading() {
        let far = speaker(10.0, 1);
        let echo = echo_of(&far);
        let mut canceller = Canceller::new();
        let (far, echo) = (far.as_chunks::<BLOCK>().0, echo.as_chunks::<BLOCK>().0);
        let mut left = Vec::new();
        for i in 1..far.len() {
            let mut block = echo[i];
            // From half-time on the far end is read a block later.
            if i == far.len() / 2 {
                canceller.shift(1);
            }
            canceller.cancel(&far[if i < far.len() / 2 { i } else { i - 1 }], &mut block);
            left.extend(block);
        }
        let after = far.len() / 2 * BLOCK + 8 * BLOCK;
        let gain = dbfs(echo.as_flattened().get(after..after + 48_000).unwrap_or(&[]))
            - dbfs(&left[after..after + 48_000]);
        assert!(gain > 18.0, "{gain} dB");
    }
}
