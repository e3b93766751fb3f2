//! Automatic level: every voice leaves here equally loud. Follows the loudness of speech alone, so that noise in the
//! pauses is never raised, and moves only while somebody speaks.

/// The gain of one microphone.
pub(crate) struct Level {
    /// Mean power of the speech heard.
    power: f32,
    /// Blocks of speech heard, up to [`MEMORY`].
    blocks: u32,
    gain_db: f32,
    /// What the last sample was multiplied by.
    gain: f32,
}

impl Level {
    pub(crate) fn new() -> Level {
        Level { power: 0.0, blocks: 0, gain_db: 0.0, gain: 1.0 }
    }

    /// Learns from a block of level `dbfs` in which somebody near is speaking; the room's noise lies at `floor`.
    pub(crate) fn learn(&mut self, dbfs: f32, floor: f32) {
        let power = 10f32.powf(dbfs / 10.0);
        // The ends of words and faint breaths are no measure of how loud somebody speaks.
        if dbfs < floor + ABOVE_FLOOR || (self.blocks >= ENOUGH && power < self.power * FAINT) {
            return;
        }
        self.blocks = (self.blocks + 1).min(MEMORY);
        self.power += (power - self.power) / self.blocks as f32;
        if self.blocks < ENOUGH {
            return;
        }
        let wanted = (TARGET - self.loudness()).clamp(LEAST_GAIN, MOST_GAIN);
        // A noisy microphone is not raised until its noise is as loud as a voice.
        let wanted = wanted.min((NOISE_LIMIT - floor).max(0.0));
        let (up, down) = if self.blocks < MEMORY / 2 { (FAST, FAST) } else { (SLOW, FAST) };
        let step = wanted - self.gain_db;
        if step.abs() > CLOSE_ENOUGH || self.blocks < MEMORY {
            self.gain_db += step.clamp(-down, up);
        }
    }

    /// Applies the gain, without a step from block to block.
    pub(crate) fn apply(&mut self, pcm: &mut [f32]) {
        let target = 10f32.powf(self.gain_db / 20.0);
        let step = (target - self.gain) / pcm.len().max(1) as f32;
        for sample in pcm {
            self.gain += step;
            *sample *= self.gain;
        }
        self.gain = target;
    }

    /// Back to no gain, gently: the next block slides there.
    pub(crate) fn release(&mut self) {
        self.gain_db = 0.0;
    }

    pub(crate) fn is_neutral(&self) -> bool {
        self.gain_db == 0.0 && self.gain == 1.0
    }

    /// Of the speech heard, in dBFS; `None` before enough was heard.
    pub(crate) fn speech_dbfs(&self) -> Option<f32> {
        (self.blocks >= ENOUGH).then(|| self.loudness())
    }

    fn loudness(&self) -> f32 {
        10.0 * self.power.max(1e-10).log10()
    }
}

/// In dBFS while speaking: peaks of speech lie some 15 dB above, so the limiter has little to do.
const TARGET: f32 = -20.0;
/// In dB. A whisper into a bad headset; a shout into a hot one.
const MOST_GAIN: f32 = 27.0;
const LEAST_GAIN: f32 = -18.0;
/// In dBFS: where raised noise begins to be worse than a quiet voice.
const NOISE_LIMIT: f32 = -32.0;
/// In dB: a block this near to the noise is mostly noise.
const ABOVE_FLOOR: f32 = 6.0;
/// 15 dB below the mean, as power.
const FAINT: f32 = 0.03;
/// A third of a second of speech, in blocks of 10 ms: one syllable says nothing about a voice.
const ENOUGH: u32 = 30;
/// Four seconds of speech; longer memory follows a changed distance too late.
const MEMORY: u32 = 400;
/// In dB per block: the first words are brought up within a second, later changes are not to be heard as such.
const FAST: f32 = 0.5;
const SLOW: f32 = 0.04;
/// In dB; a settled gain that is nearly right stays.
const CLOSE_ENOUGH: f32 = 0.7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::dbfs;
    use crate::sound::{noise, speaker};

    fn levelled(pcm: &[f32]) -> Vec<f32> {
        let mut level = Level::new();
        let mut out = pcm.to_vec();
        for block in out.chunks_exact_mut(480) {
            let loud = dbfs(block);
            if loud > -55.0 {
                level.learn(loud, -70.0);
            }
            level.apply(block);
        }
        out
    }

    #[test]
    fn quiet_and_loud_talkers_come_out_alike() {
        let ends: Vec<f32> = [0.25, 1.0, 4.0]
            .into_iter()
            .enumerate()
            .map(|(seed, gain)| {
                let pcm: Vec<f32> = speaker(12.0, seed as u32 + 1).iter().map(|s| s * gain * 0.2).collect();
                dbfs(&levelled(&pcm)[288_000..])
            })
            .collect();
        let spread =
            ends.iter().copied().fold(f32::MIN, f32::max) - ends.iter().copied().fold(f32::MAX, f32::min);
        assert!(spread < 3.0, "{ends:?}");
    }

    #[test]
    fn without_speech_the_gain_stays() {
        let mut level = Level::new();
        let mut room = noise(0.001, 480, 3);
        let before = room.clone();
        level.apply(&mut room);
        assert_eq!(room, before);
        assert!(level.is_neutral());
    }

    #[test]
    fn noise_is_not_raised_to_the_level_of_a_voice() {
        let mut level = Level::new();
        (0..1000).for_each(|_| level.learn(-45.0, -52.0));
        assert!(level.gain_db <= 20.0, "{}", level.gain_db);
    }

    #[test]
    fn the_gain_slides() {
        let mut level = Level::new();
        (0..200).for_each(|_| level.learn(-40.0, -80.0));
        let mut steady = vec![0.01; 480];
        level.apply(&mut steady);
        let steepest = steady.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.001, "{steepest}");
    }
}
