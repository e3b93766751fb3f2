//! How likely it is that somebody speaks: the `earshot` network on 16 ms at 16 kHz.

use crate::decimator::Decimator;

/// Samples at 48 kHz in, the newest probability out.
pub(crate) struct Detector {
    network: Box<earshot::Detector>,
    narrow: Decimator,
    waiting: Vec<f32>,
    last: f32,
}

impl Detector {
    pub(crate) fn new() -> Detector {
        Detector {
            network: Box::default(),
            narrow: Decimator::new(THIRD),
            waiting: Vec::with_capacity(2 * PIECE),
            last: 0.0,
        }
    }

    /// The probability of speech, 0..1, as of the last whole piece.
    pub(crate) fn hear(&mut self, pcm: &[f32]) -> f32 {
        let before = self.waiting.len();
        self.narrow.push(pcm, &mut self.waiting);
        // The network's bounds, which a filter leaves where a loud microphone was clipped.
        for sample in self.waiting.iter_mut().skip(before) {
            *sample = sample.clamp(-1.0, 1.0);
        }
        let mut used = 0;
        while let Some(piece) = self.waiting.get(used..used + PIECE) {
            self.last = self.network.predict_f32(piece);
            used += PIECE;
        }
        self.waiting.drain(..used);
        self.last
    }

    /// What follows does not continue what was heard.
    pub(crate) fn rest(&mut self) {
        self.waiting.clear();
        self.last = 0.0;
    }
}

/// What the network takes at a time: 16 ms at 16 kHz.
const PIECE: usize = 256;
/// 48 kHz is so many times 16 kHz.
const THIRD: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;
    use crate::sound::speech;
    use crate::spec::BLOCK;

    #[test]
    fn a_microphone_that_is_far_too_loud_is_still_heard() {
        let clipped: Vec<f32> = speech(3.0).iter().map(|sample| (sample * 40.0).clamp(-1.0, 1.0)).collect();
        let (mut detector, mut chain) = (Detector::new(), Chain::new());
        let mut likely: f32 = 0.0;
        for block in clipped.chunks_exact(BLOCK) {
            likely = likely.max(detector.hear(block));
            let mut block: [f32; BLOCK] = block.try_into().unwrap_or([0.0; BLOCK]);
            chain.work(&mut block, false);
        }
        assert!(likely > crate::gate::SPEECH, "{likely}");
        // Edges as steep as can be.
        let square: Vec<f32> = (0..48_000).map(|i| if i / 24 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        detector.hear(&square);
    }
}
