//! Noise suppression by a recurrent network (RNNoise), used where there is noise: on a clean microphone it would harm.

use nnnoiseless::DenoiseState;

use crate::spec::{BLOCK, Switch};

/// The suppressor of one microphone.
pub(crate) struct Noise {
    /// Made when it is first needed; it delays by one block.
    network: Option<Box<DenoiseState<'static>>>,
    working: bool,
    /// The block before, as it came.
    before: [f32; BLOCK],
    cleaned: [f32; BLOCK],
}

impl Noise {
    pub(crate) fn new() -> Noise {
        Noise { network: None, working: false, before: [0.0; BLOCK], cleaned: [0.0; BLOCK] }
    }

    /// Decides whether to work from now on. `speech` and `floor` are the loudness of the voice and of the room in dBFS,
    /// as far as they are known; in a pause is the time to change by oneself.
    pub(crate) fn decide(&mut self, switch: Switch, speech: Option<f32>, floor: Option<f32>, pause: bool) {
        self.working = match switch {
            Switch::On => true,
            Switch::Off => false,
            Switch::Auto if !pause => self.working,
            Switch::Auto => match floor {
                None => self.working,
                Some(floor) => {
                    let distance = speech.unwrap_or(USUAL_SPEECH) - floor;
                    distance < if self.working { CLEAN } else { NOISY }
                }
            },
        };
    }

    pub(crate) fn is_working(&self) -> bool {
        self.working
    }

    /// Works in place on one block.
    pub(crate) fn suppress(&mut self, pcm: &mut [f32; BLOCK]) {
        let was = self.network.is_some();
        if !self.working && !was {
            return;
        }
        let network = self.network.get_or_insert_with(DenoiseState::new);
        let scaled = pcm.map(|sample| sample * FULL_SCALE);
        network.process_frame(&mut self.cleaned, &scaled);
        let late = std::mem::replace(&mut self.before, *pcm);
        let wet = |i: usize| self.cleaned[i] / FULL_SCALE * (1.0 - DRY) + late[i] * DRY;
        match (was, self.working) {
            (true, true) => (0..BLOCK).for_each(|i| pcm[i] = wet(i)),
            // One block of both, for they are a block apart.
            (false, _) => (0..BLOCK).for_each(|i| pcm[i] = mixed(pcm[i], wet(i), i)),
            (true, false) => {
                (0..BLOCK).for_each(|i| pcm[i] = mixed(wet(i), pcm[i], i));
                *self = Noise::new();
            }
        }
    }
}

fn mixed(from: f32, to: f32, at: usize) -> f32 {
    from + (to - from) * at as f32 / BLOCK as f32
}

/// In samples, while it works.
pub(crate) const DELAY: u64 = BLOCK as u64;
/// The network was trained on 16-bit values.
const FULL_SCALE: f32 = 32_768.0;
/// What is left of the noise, 26 dB below it: without it pauses sound dead and words cut out.
const DRY: f32 = 0.05;
/// A voice of usual loudness in front of a usual microphone, in dBFS.
const USUAL_SPEECH: f32 = -24.0;
/// In dB between voice and room. Below this the network gains quality, above it only harms; see docs/SOUND.md.
const NOISY: f32 = 26.0;
/// Somewhat more, so that it does not come and go.
const CLEAN: f32 = 30.0;
