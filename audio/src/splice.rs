//! Makes speech a pitch period shorter or longer without changing its pitch (after the overlap-add methods of
//! Verhelst and Roelands, "WSOLA", ICASSP 1993, reduced to a single splice).

/// Leaves one period of at most `most` samples out of the start of `pcm`; `false` when no place is `alike`.
pub(crate) fn shrink(pcm: &mut Vec<f32>, alike: f32, most: usize) -> bool {
    let Some(period) = period(pcm, alike, most) else { return false };
    for i in 0..FADE {
        pcm[i] = fade(i, pcm[i], pcm[period + i]);
    }
    pcm.drain(FADE..FADE + period);
    true
}

/// Repeats one period at the start of `pcm`; `false` when no place is `alike`.
pub(crate) fn stretch(pcm: &mut Vec<f32>, alike: f32) -> bool {
    let Some(period) = period(pcm, alike, LONGEST) else { return false };
    let tail: Vec<f32> = pcm[period..].to_vec();
    pcm.extend_from_within(pcm.len() - period..);
    let old_len = pcm.len() - period;
    pcm.copy_within(0..old_len, period);
    for i in 0..FADE {
        pcm[period + i] = fade(i, tail[i], pcm[period + i]);
    }
    true
}

/// Whether the start of `pcm` is so quiet that any splice goes unheard.
pub(crate) fn is_quiet(pcm: &[f32]) -> bool {
    let quiet = |piece: &[f32]| piece.iter().map(|s| s * s).sum::<f32>() < QUIET * piece.len() as f32;
    pcm.len() >= WINDOW && pcm[..pcm.len().min(NEEDED)].chunks(WINDOW).all(quiet)
}

/// The lag at which `pcm` resembles itself most; the longest one where nothing is to be heard anyway.
fn period(pcm: &[f32], alike: f32, most: usize) -> Option<usize> {
    let longest = LONGEST.min(most).min(pcm.len().checked_sub(WINDOW)?);
    if longest < SHORTEST {
        return None;
    }
    if is_quiet(pcm) {
        return Some(longest);
    }
    let score = |lag: usize, step: usize| {
        let dot = |a: usize, b: usize| {
            let (a, b) = (&pcm[a..a + WINDOW], &pcm[b..b + WINDOW]);
            a.iter().step_by(step).zip(b.iter().step_by(step)).map(|(a, b)| a * b).sum::<f32>()
        };
        dot(0, lag) / (dot(0, 0) * dot(lag, lag)).sqrt().max(1e-9)
    };
    let best = |lags: &mut dyn Iterator<Item = usize>, step: usize| {
        lags.map(|lag| (score(lag, step), lag)).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (_, lag) = best(&mut (SHORTEST..=longest).step_by(COARSE), COARSE)?;
    let around = lag.saturating_sub(COARSE).max(SHORTEST)..=(lag + COARSE).min(longest);
    let (likeness, lag) = best(&mut around.into_iter(), 1)?;
    (likeness > alike).then_some(lag)
}

fn fade(i: usize, from: f32, to: f32) -> f32 {
    let at = (i as f32 + 0.5) / FADE as f32;
    from + (to - from) * at
}

/// Samples that [`shrink`] and [`stretch`] need to work on.
pub(crate) const NEEDED: usize = LONGEST + WINDOW;
/// 2.5 ms, the period of a child's 400 Hz.
const SHORTEST: usize = 120;
/// 13.5 ms, the period of a deep 74 Hz.
const LONGEST: usize = 650;
/// What is compared: 6.5 ms.
const WINDOW: usize = 310;
/// 5 ms of cross-fade hide what does not fit.
const FADE: usize = 240;
/// The search looks at every fourth sample first.
const COARSE: usize = 4;
/// Below this likeness a splice is audible as a roughness; the next frame may suit better.
pub(crate) const ALIKE: f32 = 0.7;
/// Enough where a word begins: a soft consonant or a noisy room seldom offers more, and a word that waits for its vowel is
/// late until past it.
pub(crate) const ALIKE_AT_FIRST: f32 = 0.4;
/// Any place will do.
pub(crate) const UNLIKE: f32 = f32::NEG_INFINITY;
/// Mean square of -44 dBFS: the room before and between words.
const QUIET: f32 = 4e-5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::{sine, speech, tonality};

    #[test]
    fn a_splice_keeps_the_pitch_and_makes_no_click() {
        for hz in [90.0, 150.0, 310.0] {
            let original = sine(hz, 0.5, 48_000, 0.02);
            let steepest = |pcm: &[f32]| pcm.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
            let mut short = original.clone();
            assert!(shrink(&mut short, ALIKE, LONGEST));
            let mut long = original.clone();
            assert!(stretch(&mut long, ALIKE));
            assert!(short.len() < original.len() && long.len() > original.len());
            let cut = original.len() - short.len();
            assert!(
                (cut as f32 * hz / 48_000.0).fract().min(1.0 - (cut as f32 * hz / 48_000.0).fract()) < 0.05
            );
            assert!(steepest(&short) < steepest(&original) * 1.2);
            assert!(steepest(&long) < steepest(&original) * 1.2);
            assert!(tonality(&long, hz, 48_000) > 0.9);
        }
    }

    #[test]
    fn silence_gives_way_at_once() {
        let mut pcm = vec![0.0; 960];
        assert!(shrink(&mut pcm, ALIKE, LONGEST));
        assert_eq!(pcm.len(), 960 - LONGEST);
    }

    #[test]
    fn white_hiss_is_left_alone_unless_it_is_urgent() {
        let hiss = crate::sound::noise(0.1, 960, 3);
        assert!(!shrink(&mut hiss.clone(), ALIKE, LONGEST));
        assert!(!shrink(&mut hiss.clone(), ALIKE_AT_FIRST, LONGEST));
        assert!(shrink(&mut hiss.clone(), UNLIKE, LONGEST));
    }

    #[test]
    fn most_speech_offers_a_place() {
        let speech = speech(5.0);
        let done = speech.chunks_exact(960).filter(|f| shrink(&mut f.to_vec(), ALIKE, LONGEST)).count();
        assert!(done * 2 > speech.len() / 960, "{done}");
    }

    #[test]
    fn too_little_sound_is_left_as_it_is() {
        let mut pcm = vec![0.0; WINDOW - 1];
        assert!(!stretch(&mut pcm, UNLIKE));
        assert_eq!(pcm.len(), WINDOW - 1);
    }
}
