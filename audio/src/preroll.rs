//! What the microphone gave before the gate opened, and how much of that belongs to the word: the detector wakes at the
//! vowel, and a hiss or a stop comes before it. What is quiet before these is not sent, for all that is sent from before
//! the opening makes the word late at the friends by as much.

use std::collections::VecDeque;

use crate::spec::FrameLen;

pub(crate) struct PreRoll {
    frame: FrameLen,
    frames: VecDeque<Frame>,
    /// What left here unsent last, which is the room.
    room: VecDeque<Sounds>,
}

struct Frame {
    pcm: Vec<f32>,
    sounds: Sounds,
}

/// The power of the loudest piece of a frame: of all of it, and of its treble, where consonants stand out of a hum.
#[derive(Clone, Copy)]
struct Sounds {
    all: f32,
    treble: f32,
}

impl PreRoll {
    pub(crate) fn new(frame: FrameLen) -> PreRoll {
        PreRoll { frame, frames: VecDeque::new(), room: VecDeque::new() }
    }

    /// Keeps a frame that is not sent for now.
    pub(crate) fn keep(&mut self, pcm: &[f32]) {
        let mut buffer = Vec::new();
        if self.frames.len() >= self.count(LONGEST)
            && let Some(oldest) = self.frames.pop_front()
        {
            if self.room.len() >= self.count(MEMORY) {
                self.room.pop_front();
            }
            self.room.push_back(oldest.sounds);
            buffer = oldest.pcm;
        }
        buffer.clear();
        buffer.extend_from_slice(pcm);
        self.frames.push_back(Frame { sounds: Sounds::of(&buffer), pcm: buffer });
    }

    /// What belongs to the word that begins now, oldest first.
    pub(crate) fn word(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let hush = self.hush();
        let len = self.frames.len();
        let onset = self.frames.iter().position(|frame| frame.sounds.is_above(hush)).unwrap_or(len);
        let least = if hush.all > NOTHING { self.count(HIDDEN) } else { 0 };
        let start = onset.saturating_sub(self.count(SOFT)).min(len.saturating_sub(least));
        self.frames.range(start..).map(|frame| &frame.pcm[..])
    }

    /// It was sent, or what follows does not continue it. The room stays as it is.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }

    /// The median: keys and clicks do not make a room louder.
    fn hush(&self) -> Sounds {
        let median = |of: fn(&Sounds) -> f32| {
            let mut all: Vec<f32> = self.room.iter().map(of).collect();
            all.sort_by(f32::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(0.0)
        };
        Sounds { all: median(|sounds| sounds.all), treble: median(|sounds| sounds.treble) }
    }

    fn count(&self, ms: u32) -> usize {
        (ms / self.frame.as_millis()) as usize
    }
}

impl Sounds {
    fn of(pcm: &[f32]) -> Sounds {
        let power = |piece: &[f32]| piece.iter().map(|s| s * s).sum::<f32>() / PIECE as f32;
        let treble =
            |piece: &[f32]| piece.windows(2).map(|w| (w[1] - w[0]).powi(2)).sum::<f32>() / PIECE as f32;
        let loudest = |of: &dyn Fn(&[f32]) -> f32| pcm.chunks(PIECE).map(of).fold(0.0, f32::max);
        Sounds { all: loudest(&power), treble: loudest(&treble) }
    }

    /// Whether this is more than the room, as far as that is known.
    fn is_above(self, hush: Sounds) -> bool {
        self.all > (hush.all * RISE).max(NOTHING) || self.treble > (hush.treble * RISE).max(NOTHING_TREBLE)
    }
}

/// In milliseconds: as long as a hiss before a vowel lasts, and as the detector needs where there is noise.
const LONGEST: u32 = 120;
/// In milliseconds: what is sent at least where the room is to be heard, in which a hiss need not stand out by its level.
const HIDDEN: u32 = 60;
/// In milliseconds: a sound begins before it stands out of the room.
const SOFT: u32 = 20;
/// 5 ms: the burst of a stop fills it.
const PIECE: usize = 240;
/// Of the room, in milliseconds: longer than any consonant, and clicks fill less than half of it.
const MEMORY: u32 = 1_000;
/// As power, 3 dB: the loudest piece of steady noise stays below it.
const RISE: f32 = 2.0;
/// Mean square of -65 dBFS: less is drowned by any room, and a room of less drowns nothing.
const NOTHING: f32 = 3e-7;
/// The same of differences from sample to sample, of a hiss at 5 kHz.
const NOTHING_TREBLE: f32 = 1.3e-7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::noise;

    /// How much of `before` (ms of what level, rms) belongs to a word, in milliseconds; the room's level is that of its first second.
    fn sent(room: f32, before: &[(usize, f32)]) -> usize {
        let mut pcm = noise(room, 48_000, 5);
        pcm.extend(then(room, before));
        kept(&pcm)
    }

    /// The same among clicks of 3 ms and 0.02 rms, seven a second.
    fn sent_among_clicks(room: f32, before: &[(usize, f32)]) -> usize {
        let mut pcm = noise(room, 96_000, 5);
        for click in pcm.chunks_exact_mut(48_000 / 7) {
            click.iter_mut().zip(noise(0.02, 144, 3)).for_each(|(a, b)| *a += b);
        }
        pcm.extend(then(room, before));
        kept(&pcm)
    }

    fn then(room: f32, before: &[(usize, f32)]) -> Vec<f32> {
        let piece = |(ms, level): &(usize, f32)| {
            let said = noise(*level, ms * 48, 7);
            said.into_iter().zip(noise(room, ms * 48, 9)).map(|(a, b)| a + b).collect::<Vec<_>>()
        };
        before.iter().flat_map(piece).collect()
    }

    fn kept(pcm: &[f32]) -> usize {
        let mut preroll = PreRoll::new(FrameLen::Ms10);
        pcm.chunks_exact(480).for_each(|frame| preroll.keep(frame));
        10 * preroll.word().len()
    }

    #[test]
    fn of_a_quiet_room_little_is_sent() {
        for room in [0.0, 0.0001, 0.0004] {
            assert_eq!(sent(room, &[]), SOFT as usize, "{room}");
        }
    }

    #[test]
    fn a_hiss_before_the_vowel_is_sent_whole_and_a_pause_after_it_too() {
        for (hiss, pause) in [(30, 0), (80, 0), (20, 60), (100, 0)] {
            let whole = hiss + pause + SOFT as usize;
            assert_eq!(sent(0.0003, &[(hiss, 0.003), (pause, 0.0)]), whole, "{hiss} {pause}");
        }
        assert_eq!(sent(0.0003, &[(300, 0.003)]), LONGEST as usize);
    }

    #[test]
    fn what_a_room_hides_is_sent_unseen() {
        for (room, hiss) in [(0.01, 0.003), (0.002_5, 0.001_8), (0.000_8, 0.000_5)] {
            assert_eq!(sent(room, &[(40, hiss)]), HIDDEN as usize, "{room}");
        }
        assert_eq!(sent(0.01, &[(80, 0.03)]), 80 + SOFT as usize);
    }

    #[test]
    fn a_hiss_is_seen_among_clicks() {
        for room in [0.000_1, 0.000_3, 0.000_56] {
            for hiss in [0.001_8, 0.003] {
                let said = [(200, 0.0), (80, hiss)];
                assert_eq!(sent_among_clicks(room, &said), 80 + SOFT as usize, "{room}, {hiss}");
            }
        }
    }
}
