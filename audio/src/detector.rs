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
        self.narrow.push(pcm, &mut self.waiting);
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
