//! What a friend heard against what was said: where it lies, how intelligible it is, whether it is the same speech.
//!
//! Signals are mono, in -1..1, both at the same `rate` in Hz. Everything works on copies at 10 kHz, the rate ESTOI is
//! defined for, so an alignment is as fine as the correlation's peak can be interpolated: about 0.02 ms.

use std::ops::Range;

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use crate::estoi::{Estoi, RATE};

/// Where a reference was found in a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alignment {
    /// Index in the recording of the reference's first sample; negative when the recording began later than that.
    /// Of several repetitions this is the first.
    pub offset_samples: i64,
    /// Correlation there of the two signals, 0..1, both pre-emphasised.
    pub confidence: f64,
}

/// Whether a recording is the reference speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// From the reference's start to where it is, or would be, in the recording: the median over the recording. The
    /// reference counts as endlessly repeated, and the repetition nearest to the first sound is meant.
    pub delay_ms: f64,
    /// Extended short-time objective intelligibility of all that was heard, weighted by the energy of the speech.
    pub estoi: f64,
    /// Seconds of the recording that could be compared, silence left out.
    pub heard_s: f64,
    /// Whether enough was heard and is intelligible as the reference.
    pub matches: bool,
}

/// Finds `reference` in `recording`; `None` when nothing there resembles it.
pub fn align(reference: &[f32], recording: &[f32], rate: u32) -> Option<Alignment> {
    let found =
        Fft::new().find(&emphasised(&resample(reference, rate)), &emphasised(&resample(recording, rate)))?;
    (found.confidence >= SAME_WAVEFORM).then(|| Alignment {
        offset_samples: (found.lag * f64::from(rate) / f64::from(RATE)).round() as i64,
        confidence: found.confidence,
    })
}

/// Extended short-time objective intelligibility of `heard`, sample-aligned to the clean `said` (Jensen and Taal,
/// IEEE/ACM TASLP 24(11), 2016): about 1 for the same, about 0 for something else. `None` with less than 0.4 s of speech.
pub fn estoi(said: &[f32], heard: &[f32], rate: u32) -> Option<f64> {
    let len = said.len().min(heard.len());
    Estoi::new().score(&resample(said.get(..len)?, rate), &resample(heard.get(..len)?, rate))
}

/// Judges whether `recording` is what `reference` says, cut up, repeated, late and damaged as it may be.
///
/// Each stretch of sound in the recording is taken in pieces of at most 2.4 s, each piece is looked for anywhere in the
/// (repeated) reference, and ESTOI is measured at the place found. So a delay that changes on the way costs only the
/// piece it changes in, and neither pauses nor the start of the recording count. The voices of several friends
/// talking at once are not separated: record one talker at a time.
pub fn matches(reference: &[f32], recording: &[f32], rate: u32) -> Verdict {
    let said = resample(reference, rate);
    let heard = resample(recording, rate);
    let (mut fft, estoi) = (Fft::new(), Estoi::new());
    let mut repeated = said.clone();
    repeated.extend(said.iter().cycle().take(if said.is_empty() { 0 } else { PIECE }));
    let (repeated_flat, heard_flat) = (emphasised(&repeated), emphasised(&heard));

    let (mut weighted, mut weights, mut pieces) = (0.0, 0.0, 0);
    let mut lags = Vec::new();
    for piece in sounding(&heard) {
        let Some(found) = fft.find(&heard_flat[piece.clone()], &repeated_flat) else { continue };
        let (said, heard) = overlap(&repeated, &heard[piece.clone()], found.lag);
        let Some(score) = estoi.score(said, heard) else { continue };
        let weight = energy(said);
        weighted += weight * score;
        weights += weight;
        pieces += heard.len();
        lags.push(piece.start as f64 - found.lag);
    }
    let estoi = if weights > 0.0 { weighted / weights } else { 0.0 };
    let heard_s = pieces as f64 / f64::from(RATE);
    Verdict {
        delay_ms: delay(&lags, &said, &heard) * 1000.0 / f64::from(RATE),
        estoi,
        heard_s,
        matches: estoi >= SAME_SPEECH && heard_s >= ENOUGH_S,
    }
}

/// The median of `lags` (samples), each brought to the repetition of `said` nearest to where `heard` begins to sound.
fn delay(lags: &[f64], said: &[f32], heard: &[f32]) -> f64 {
    let first_sound = |signal: &[f32]| sounding(signal).first().map_or(0, |piece| piece.start) as f64;
    let expected = first_sound(heard) - first_sound(said);
    let period = said.len().max(1) as f64;
    let mut lags: Vec<f64> =
        lags.iter().map(|lag| lag - ((lag - expected) / period).round() * period).collect();
    lags.sort_by(f64::total_cmp);
    lags.get(lags.len() / 2).copied().unwrap_or(0.0)
}

/// The pieces of `signal` (at [`RATE`]) that sound, pauses within speech included.
fn sounding(signal: &[f32]) -> Vec<Range<usize>> {
    let levels: Vec<f64> = signal.chunks(BLOCK).map(|block| energy(block) / block.len() as f64).collect();
    let threshold = (levels.iter().copied().fold(0.0, f64::max) * BELOW_LOUDEST).max(AUDIBLE);
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for at in
        levels.iter().enumerate().filter(|(_, level)| **level >= threshold).map(|(block, _)| block * BLOCK)
    {
        let end = (at + BLOCK).min(signal.len());
        match stretches.last_mut() {
            Some(last) if at - last.end <= PAUSE => last.end = end,
            _ => stretches.push(at..end),
        }
    }
    let cut = |stretch: Range<usize>| {
        let pieces = stretch.len().div_ceil(PIECE).max(1);
        let len = stretch.len() / pieces;
        (0..pieces).map(move |i| stretch.start + i * len..stretch.start + (i + 1) * len)
    };
    stretches.into_iter().filter(|stretch| stretch.len() >= SHORTEST).flat_map(cut).collect()
}

/// The part of `haystack` that lies under `needle` placed `lag` samples into it, and that part of `needle`.
fn overlap<'a>(haystack: &'a [f32], needle: &'a [f32], lag: f64) -> (&'a [f32], &'a [f32]) {
    let lag = lag.round() as i64;
    let skip = (-lag).clamp(0, needle.len() as i64) as usize;
    let start = lag.clamp(0, haystack.len() as i64) as usize;
    let len = (haystack.len() - start).min(needle.len() - skip);
    (&haystack[start..start + len], &needle[skip..skip + len])
}

fn energy(signal: &[f32]) -> f64 {
    signal.iter().map(|s| f64::from(*s).powi(2)).sum()
}

/// Levels the spectrum of speech, so that the correlation peaks at one lag and not at every period of the voice.
fn emphasised(signal: &[f32]) -> Vec<f32> {
    let mut last = 0.0;
    signal.iter().map(|&s| s - EMPHASIS * std::mem::replace(&mut last, s)).collect()
}

struct Found {
    /// Samples from the haystack's start to the needle's start.
    lag: f64,
    confidence: f64,
}

/// Real transforms of any length, planned once each.
struct Fft(RealFftPlanner<f32>);

impl Fft {
    fn new() -> Fft {
        Fft(RealFftPlanner::new())
    }

    /// The earliest of the best places for `needle` in `haystack`, which it may overlap in part.
    fn find(&mut self, needle: &[f32], haystack: &[f32]) -> Option<Found> {
        if needle.is_empty() || haystack.is_empty() {
            return None;
        }
        let correlation = self.correlate(needle, haystack);
        let overlapped = Overlaps::new(needle, haystack);
        let scores: Vec<f64> =
            correlation.iter().enumerate().map(|(i, c)| f64::from(c.abs()) / overlapped.norm(i)).collect();
        let best = scores.iter().copied().fold(0.0, f64::max);
        if best.is_nan() || best <= 0.0 {
            return None;
        }
        let near = scores.iter().position(|score| *score >= best * AS_GOOD)?;
        let end = (near + SHOULDER).min(scores.len());
        let at = (near..end).max_by(|a, b| scores[*a].total_cmp(&scores[*b]))?;
        let peak = |i: Option<usize>| i.and_then(|i| scores.get(i)).copied().unwrap_or(0.0);
        let (before, top, after) = (peak(at.checked_sub(1)), scores[at], peak(Some(at + 1)));
        let bend = before - 2.0 * top + after;
        let between = if bend < 0.0 { 0.5 * (before - after) / bend } else { 0.0 };
        Some(Found { lag: at as f64 + between - (needle.len() - 1) as f64, confidence: top.min(1.0) })
    }

    /// Element `i` belongs to `needle` starting at `i - (needle.len() - 1)` in `haystack`.
    fn correlate(&mut self, needle: &[f32], haystack: &[f32]) -> Vec<f32> {
        let places = needle.len() + haystack.len() - 1;
        let size = places.next_power_of_two();
        let mut a = self.spectrum(haystack.iter().copied(), size);
        let b = self.spectrum(needle.iter().rev().copied(), size);
        for (a, b) in a.iter_mut().zip(b) {
            *a = *a * b / size as f32;
        }
        let mut out = self.signal(a, size);
        out.truncate(places);
        out
    }

    fn spectrum(&mut self, signal: impl Iterator<Item = f32>, size: usize) -> Vec<Complex<f32>> {
        let fft = self.0.plan_fft_forward(size);
        let mut input: Vec<f32> = signal.collect();
        input.resize(size, 0.0);
        let mut output = fft.make_output_vec();
        fft.process(&mut input, &mut output).expect("both buffers were made for this transform");
        output
    }

    /// The inverse, times `size`; the two bins that a real signal has no phase in are taken as real.
    fn signal(&mut self, mut spectrum: Vec<Complex<f32>>, size: usize) -> Vec<f32> {
        let fft = self.0.plan_fft_inverse(size);
        spectrum.resize(size / 2 + 1, Complex::default());
        spectrum[0].im = 0.0;
        if size.is_multiple_of(2) {
            spectrum[size / 2].im = 0.0;
        }
        let mut output = fft.make_output_vec();
        fft.process(&mut spectrum, &mut output).expect("both buffers were made for this transform");
        output
    }
}

/// Energies of the overlapping parts of two signals, from running sums.
struct Overlaps {
    needle: Vec<f64>,
    haystack: Vec<f64>,
    floor: f64,
}

impl Overlaps {
    fn new(needle: &[f32], haystack: &[f32]) -> Overlaps {
        let sums = |signal: &[f32]| -> Vec<f64> {
            let sum = signal.iter().scan(0.0, |sum, s| {
                *sum += f64::from(*s).powi(2);
                Some(*sum)
            });
            std::iter::once(0.0).chain(sum).collect()
        };
        let mut overlaps = Overlaps { needle: sums(needle), haystack: sums(haystack), floor: 0.0 };
        let places = needle.len() + haystack.len() - 1;
        let most = (0..places).map(|i| overlaps.product(i)).fold(0.0, f64::max);
        overlaps.floor = (most * SMALL_OVERLAP).max(f64::MIN_POSITIVE);
        overlaps
    }

    fn norm(&self, place: usize) -> f64 {
        self.product(place).max(self.floor).sqrt()
    }

    fn product(&self, place: usize) -> f64 {
        let (needle, haystack) = (self.needle.len() - 1, self.haystack.len() - 1);
        let skip = (needle - 1).saturating_sub(place);
        let start = (place + 1).saturating_sub(needle);
        let len = (haystack - start).min(needle - skip);
        (self.needle[skip + len] - self.needle[skip]) * (self.haystack[start + len] - self.haystack[start])
    }
}

/// Band-limited copy at [`RATE`], by cutting or padding the spectrum.
fn resample(signal: &[f32], rate: u32) -> Vec<f32> {
    if rate == RATE || signal.is_empty() || rate == 0 {
        return signal.to_vec();
    }
    let common = gcd(rate, RATE);
    let (from, to) = ((rate / common) as usize, (RATE / common) as usize);
    // A power of two times the smallest whole ratio keeps the transform fast and both lengths whole.
    let times = signal.len().div_ceil(from).next_power_of_two();
    let (size_in, size_out) = (times * from, times * to);
    let mut fft = Fft::new();
    let mut spectrum = fft.spectrum(signal.iter().map(|s| s / size_in as f32), size_in);
    spectrum.truncate(size_out / 2);
    let mut out = fft.signal(spectrum, size_out);
    out.truncate((signal.len() * to).div_ceil(from));
    out
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// 2.4 s: long enough to be unmistakable among half a minute of speech, short enough to be cut by few delay changes.
const PIECE: usize = 24_000;
/// 20 ms, in which a level is measured.
const BLOCK: usize = 200;
/// Half a second: longer than a pause between words, shorter than the silence between talk spurts.
const PAUSE: usize = 5_000;
/// 0.5 s: ESTOI needs 0.4 s.
const SHORTEST: usize = 5_000;
/// Mean squares: 35 dB below the loudest block is between words, and -70 dBFS is the silence of a null device.
const BELOW_LOUDEST: f64 = 3.2e-4;
const AUDIBLE: f64 = 1e-7;

/// Voices fall by about 6 dB per octave above the first formant; this first difference undoes it.
const EMPHASIS: f32 = 0.9;
/// Repetitions through a lossy network correlate within 20 % of each other; neighbouring voice periods do not.
const AS_GOOD: f64 = 0.8;
/// 20 ms: the longest period of a voice, within which the peak itself follows its own shoulder.
const SHOULDER: usize = 200;
/// Overlaps with less than 5 % of the most energy are judged as if they had that: a few samples always correlate.
const SMALL_OVERLAP: f64 = 0.05;
/// Real speech at 30 % loss correlates by 0.59 and more, mixed with a louder voice by 0.3; the best accidental place
/// of another voice, of noise or of reversed speech stays below 0.2.
const SAME_WAVEFORM: f64 = 0.2;
/// Real speech through Opus at 32 kbit/s scores 0.98 without loss, 0.95 at 10 % and 0.89 at 30 %, and 0.87 is the least
/// seen with synthetic speech; what is not the same scores 0.27 (played at the wrong rate) or less. The middle.
const SAME_SPEECH: f64 = 0.55;
/// One word can be alike by accident; a second of speech is several.
const ENOUGH_S: f64 = 1.0;

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::opus::{Decoder, Encoder, has_fec};
    use crate::spec::FrameLen;
    use proptest::prelude::*;

    /// libopus delays by 312 samples at 48 kHz.
    const CODEC_SAMPLES: i64 = 312;
    const CODEC_MS: f64 = 6.5;

    #[test]
    fn speech_through_the_codec_and_losses_is_the_same_speech() {
        for name in ["alice", "bob"] {
            let said = at_48k(name);
            for (loss, at_least) in [(0, 0.97), (10, 0.93), (30, 0.85)] {
                let verdict = matches(&said, &lossy(&said, loss), 48_000);
                assert!(verdict.matches && verdict.estoi > at_least, "{name}, {loss} %: {verdict:?}");
                assert!((verdict.delay_ms - CODEC_MS).abs() < 0.2, "{name}, {loss} %: {verdict:?}");
            }
        }
    }

    #[test]
    fn what_was_not_said_does_not_match() {
        let said = at_48k("bob");
        let pitched = |ratio: f64| -> Vec<f32> {
            let at = |i: usize| i as f64 * ratio;
            let len = ((said.len() - 1) as f64 / ratio) as usize;
            (0..len)
                .map(|i| {
                    said[at(i) as usize]
                        + at(i).fract() as f32 * (said[at(i) as usize + 1] - said[at(i) as usize])
                })
                .collect()
        };
        let others = [
            ("nothing", vec![]),
            ("silence", vec![0.0; 480_000]),
            ("noise", noise(480_000).iter().map(|n| 0.1 * n).collect()),
            ("another talker", at_48k("alice")),
            ("backwards", said.iter().rev().copied().collect()),
            ("44.1 kHz taken for 48", pitched(44.1 / 48.0)),
            ("48 kHz taken for 44.1", pitched(48.0 / 44.1)),
            ("half a second", said[48_000..72_000].to_vec()),
        ];
        for (what, heard) in others {
            let verdict = matches(&said, &heard, 48_000);
            assert!(!verdict.matches, "{what}: {verdict:?}");
            assert!(what == "half a second" || verdict.estoi < 0.3, "{what}: {verdict:?}");
            assert!(what == "half a second" || align(&said, &heard, 48_000).is_none(), "{what}");
        }
    }

    #[test]
    fn speech_is_found_after_a_silence() {
        let said = at_48k("bob");
        let heard = [vec![0.0; 100_000], lossy(&said, 10)].concat();
        let found = align(&said, &heard, 48_000).unwrap();
        assert!((found.offset_samples - 100_000 - CODEC_SAMPLES).abs() < 10, "{found:?}");
        let verdict = matches(&said, &heard, 48_000);
        assert!(verdict.matches && (verdict.delay_ms - 100.0 / 0.048 - CODEC_MS).abs() < 0.2, "{verdict:?}");
    }

    #[test]
    fn a_recording_may_begin_in_the_middle_and_go_round_and_round() {
        for name in ["alice", "bob"] {
            let said = at_48k(name);
            let heard: Vec<f32> =
                lossy(&said, 10).iter().cycle().skip(30_000).take(576_000).copied().collect();
            let found = align(&said, &heard, 48_000).unwrap();
            assert!((found.offset_samples + 30_000 - CODEC_SAMPLES).abs() < 10, "{name}: {found:?}");
            let verdict = matches(&said, &heard, 48_000);
            assert!(verdict.matches && verdict.heard_s > 8.0, "{name}: {verdict:?}");
            assert!((verdict.delay_ms + 625.0 - CODEC_MS).abs() < 5.0, "{name}: {verdict:?}");
        }
    }

    #[test]
    fn of_several_repetitions_the_first_is_found() {
        let said = at_48k("alice");
        let heard = [vec![0.0; 4_800], lossy(&said, 30), lossy(&said, 0), lossy(&said, 10)].concat();
        let found = align(&said, &heard, 48_000).unwrap();
        assert!((found.offset_samples - 4_800 - CODEC_SAMPLES).abs() < 10, "{found:?}");
    }

    #[test]
    fn a_delay_that_grows_on_the_way_costs_little() {
        let said = at_48k("bob");
        let mut heard = lossy(&said, 10);
        for (at, ms) in [(200_000, 20), (500_000, 40), (800_000, 60)] {
            let again = heard[at - 48 * ms..at].to_vec();
            heard.splice(at..at, again);
        }
        let verdict = matches(&said, &heard, 48_000);
        assert!(verdict.matches && verdict.estoi > 0.82, "{verdict:?}");
        assert!((6.0..127.0).contains(&verdict.delay_ms), "{verdict:?}");
    }

    #[test]
    fn talk_spurts_count_and_the_silence_between_them_does_not() {
        let said = at_48k("bob");
        let mut heard = lossy(&said, 10);
        for (i, sample) in heard.iter_mut().enumerate() {
            if i / 144_000 % 2 == 1 {
                *sample = 0.0;
            }
        }
        let verdict = matches(&said, &heard, 48_000);
        assert!(verdict.matches && verdict.estoi > 0.9, "{verdict:?}");
        assert!((8.0..13.0).contains(&verdict.heard_s), "{verdict:?}");
    }

    #[test]
    fn loudness_and_polarity_do_not_matter() {
        let said = at_48k("alice");
        let heard: Vec<f32> = lossy(&said, 10).iter().map(|s| -0.03 * s).collect();
        let verdict = matches(&said, &heard, 48_000);
        assert!(verdict.matches && verdict.estoi > 0.93, "{verdict:?}");
    }

    #[test]
    fn resampling_keeps_what_ten_kilohertz_can_carry() {
        for rate in [8_000, 16_000, 44_100, 48_000] {
            let sine = |rate: u32, i: usize| (1000.0 * std::f32::consts::TAU * i as f32 / rate as f32).sin();
            let resampled = resample(&(0..rate as usize).map(|i| sine(rate, i)).collect::<Vec<_>>(), rate);
            assert_eq!(resampled.len(), 10_000);
            // The edges ring: the sine starts and ends there.
            let off = (500..9_500).map(|i| (resampled[i] - sine(RATE, i)).abs()).fold(0.0, f32::max);
            assert!(off < 0.01, "{rate}: {off}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_signal_gets_a_verdict(
            said in proptest::collection::vec(any::<f32>(), 0..3_000),
            heard in proptest::collection::vec(-1f32..1.0, 0..9_000),
            rate in prop_oneof![Just(0), Just(8_000), Just(10_000), Just(11_025), Just(48_000)],
        ) {
            let _ = (align(&said, &heard, rate), estoi(&said, &heard, rate), matches(&said, &heard, rate));
            let _ = (align(&heard, &said, rate), matches(&heard, &said, rate));
        }
    }

    fn lossy(pcm: &[f32], percent: u8) -> Vec<f32> {
        let mut encoder = Encoder::new(FrameLen::Ms20, 32_000).unwrap();
        encoder.expect_loss(percent).unwrap();
        let frames: Vec<_> = pcm.chunks_exact(960).map(|pcm| encoder.encode(pcm).unwrap()).collect();
        let lost: Vec<bool> =
            noise(frames.len()).iter().map(|n| (n + 1.0) * 50.0 < f32::from(percent)).collect();
        let mut decoder = Decoder::new().unwrap();
        let mut heard = vec![0.0; frames.len() * 960];
        for (i, out) in heard.chunks_exact_mut(960).enumerate() {
            match frames.get(i + 1) {
                _ if !lost[i] => decoder.decode(&frames[i], out).unwrap(),
                Some(next) if !lost[i + 1] && has_fec(next) => decoder.recover(next, out).unwrap(),
                _ => decoder.conceal(out).unwrap(),
            }
        }
        heard
    }

    /// Uniform in -1..1, the same on every call.
    pub(crate) fn noise(len: usize) -> Vec<f32> {
        let mut state = 1u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    /// Whole frames of 20 ms, so that the codec returns as much as it was given.
    pub(crate) fn at_48k(name: &str) -> Vec<f32> {
        let (pcm, rate) = load(name);
        let times = 48_000 / rate as usize;
        let between = |pair: &[f32], i: usize| pair[0] + (pair[1] - pair[0]) * i as f32 / times as f32;
        let mut out: Vec<f32> =
            pcm.windows(2).flat_map(|pair| (0..times).map(move |i| between(pair, i))).collect();
        out.truncate(out.len() / 960 * 960);
        out
    }

    pub(crate) fn load(name: &str) -> (Vec<f32>, u32) {
        let path = format!("{}/../client/assets/{name}.wav", env!("CARGO_MANIFEST_DIR"));
        let mut wav = hound::WavReader::open(path).unwrap();
        let pcm = wav.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32_768.0).collect();
        (pcm, wav.spec().sample_rate)
    }
}
