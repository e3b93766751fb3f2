//! How loud the room is when nobody speaks: the least level of the last five seconds, for between words it shows.

/// Follows the noise floor of blocks of 10 ms.
pub(crate) struct Floor {
    /// Power, of the last block and smoothed.
    last: f32,
    smooth: f32,
    /// The least of the running and of past half seconds.
    least: [f32; PIECES],
    piece: usize,
    blocks: u32,
}

impl Floor {
    pub(crate) fn new() -> Floor {
        Floor { last: 0.0, smooth: 0.0, least: [f32::MAX; PIECES], piece: 0, blocks: 0 }
    }

    /// Takes the level of a block.
    pub(crate) fn hear(&mut self, dbfs: f32) {
        let power = 10f32.powf(dbfs / 10.0);
        self.smooth = if self.blocks == 0 { power } else { self.smooth + (power - self.smooth) * SMOOTH };
        self.last = power;
        self.blocks += 1;
        if self.blocks.is_multiple_of(PIECE) {
            self.piece = (self.piece + 1) % PIECES;
            self.least[self.piece] = f32::MAX;
        }
        if self.blocks >= SETTLED {
            self.least[self.piece] = self.least[self.piece].min(self.smooth);
        }
    }

    /// In dBFS; `None` in the first half second.
    pub(crate) fn dbfs(&self) -> Option<f32> {
        let least = self.least.iter().copied().fold(f32::MAX, f32::min);
        (self.blocks > PIECE).then(|| 10.0 * least.max(1e-10).log10() + BIAS)
    }

    /// Whether the average still falls, as right after a word: then the room is quieter than it seems.
    pub(crate) fn falls(&self) -> bool {
        self.last < self.smooth * FALLS
    }
}

/// As power, 1 dB below the average.
const FALLS: f32 = 0.8;
/// Of half a second each.
const PIECES: usize = 10;
const PIECE: u32 = 50;
/// Averages over about 80 ms, so that a single quiet block is no floor.
const SMOOTH: f32 = 0.125;
/// Blocks until the average is one.
const SETTLED: u32 = 16;
/// The least of an average lies below the mean of steady noise by this much, in dB.
const BIAS: f32 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::dbfs;
    use crate::sound::{noise, speech};

    fn floor(pcm: &[f32]) -> f32 {
        let mut floor = Floor::new();
        pcm.chunks_exact(480).for_each(|block| floor.hear(dbfs(block)));
        floor.dbfs().unwrap_or(0.0)
    }

    #[test]
    fn the_floor_of_noise_is_its_level() {
        for level in [0.001, 0.03] {
            let pcm = noise(level, 96_000, 5);
            assert!((floor(&pcm) - dbfs(&pcm)).abs() < 1.5, "{}", floor(&pcm));
        }
    }

    #[test]
    fn speech_over_noise_does_not_hide_the_floor() {
        let room = noise(0.003, 480_000, 5);
        let both: Vec<f32> = speech(10.0).iter().zip(&room).map(|(s, n)| s + n).collect();
        assert!((floor(&both) - dbfs(&room)).abs() < 5.0, "{}", floor(&both));
    }
}
