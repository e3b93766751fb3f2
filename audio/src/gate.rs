//! Decides what of the microphone is worth sending: speech, and anything that is loud.

use crate::spec::{FrameLen, RATE};

/// Opens on speech, stays open over the gaps between words.
pub(crate) struct Gate {
    detector: Box<earshot::Detector>,
    narrow: Decimator,
    waiting: Vec<f32>,
    frame: FrameLen,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Closed,
    Open {
        /// Milliseconds until it closes unless speech is heard again.
        left: u32,
    },
}

/// What is to happen with the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Closed,
    /// The first of a talk spurt: what was kept from before belongs to it.
    Opens,
    Open,
    /// Still sent, and the last.
    Closes,
}

impl Gate {
    pub(crate) fn new(frame: FrameLen) -> Gate {
        Gate {
            detector: Box::default(),
            narrow: Decimator::new(),
            waiting: Vec::with_capacity(2 * DETECTOR_FRAME),
            frame,
            state: State::Closed,
        }
    }

    /// Judges one frame at 48 kHz whose level is `dbfs`.
    pub(crate) fn judge(&mut self, pcm: &[f32], dbfs: f32) -> Verdict {
        let speech = dbfs > NOTHING && (self.detect(pcm) || dbfs > LOUD);
        let len = self.frame.as_millis();
        let (state, verdict) = match (self.state, speech) {
            (State::Closed, false) => (State::Closed, Verdict::Closed),
            (State::Closed, true) => (State::Open { left: HANG_OVER }, Verdict::Opens),
            (State::Open { .. }, true) => (State::Open { left: HANG_OVER }, Verdict::Open),
            (State::Open { left }, false) if left > len => (State::Open { left: left - len }, Verdict::Open),
            (State::Open { .. }, false) => (State::Closed, Verdict::Closes),
        };
        self.state = state;
        verdict
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Closes at once, as when the microphone is muted.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.waiting.clear();
    }

    fn detect(&mut self, pcm: &[f32]) -> bool {
        self.narrow.push(pcm, &mut self.waiting);
        let mut speech = false;
        let mut used = 0;
        while let Some(piece) = self.waiting.get(used..used + DETECTOR_FRAME) {
            speech |= self.detector.predict_f32(piece) >= SPEECH;
            used += DETECTOR_FRAME;
        }
        self.waiting.drain(..used);
        speech
    }
}

/// Full scale sine = -3 dBFS; digital silence = -100.
pub(crate) fn dbfs(pcm: &[f32]) -> f32 {
    let square = pcm.iter().map(|s| s * s).sum::<f32>() / pcm.len().max(1) as f32;
    (10.0 * square.max(1e-10).log10()).max(-100.0)
}

/// 48 kHz to the detector's 16 kHz: a windowed-sinc low-pass, every third value computed.
struct Decimator {
    taps: [f32; TAPS],
    /// What the next value needs: the last samples, and those that were one too few for a value.
    past: Vec<f32>,
}

impl Decimator {
    fn new() -> Decimator {
        let mut taps = [0.0; TAPS];
        for (i, tap) in taps.iter_mut().enumerate() {
            let x = (i as f32 - (TAPS - 1) as f32 / 2.0) * 2.0 * CUTOFF / RATE as f32;
            let sinc = if x.abs() < 1e-6 {
                1.0
            } else {
                (std::f32::consts::PI * x).sin() / (std::f32::consts::PI * x)
            };
            let window = 0.54 - 0.46 * (std::f32::consts::TAU * i as f32 / (TAPS - 1) as f32).cos();
            *tap = sinc * window;
        }
        let sum: f32 = taps.iter().sum();
        taps.iter_mut().for_each(|tap| *tap /= sum);
        Decimator { taps, past: vec![0.0; TAPS - 1] }
    }

    fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        self.past.extend_from_slice(pcm);
        let mut used = 0;
        while let Some(window) = self.past.get(used..used + TAPS) {
            out.push(window.iter().zip(&self.taps).map(|(sample, tap)| sample * tap).sum());
            used += 3;
        }
        self.past.drain(..used);
    }
}

/// The detector works on 16 ms at 16 kHz.
const DETECTOR_FRAME: usize = 256;
/// The detector's own recommendation.
const SPEECH: f32 = 0.5;
/// Below it even a whisper is drowned by any room; no need to ask the detector.
const NOTHING: f32 = -65.0;
/// Louder than any bearable background: a whistle, a guitar or a test tone passes although it is no speech.
const LOUD: f32 = -30.0;
/// Bridges the gaps between words, in milliseconds.
const HANG_OVER: u32 = 360;
const TAPS: usize = 48;
/// Just below half of 16 kHz, in Hz.
const CUTOFF: f32 = 7_200.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::{noise, sine, speech};

    fn open(pcm: &[f32], frame: FrameLen) -> Vec<bool> {
        let mut gate = Gate::new(frame);
        pcm.chunks_exact(frame.samples()).map(|f| gate.judge(f, dbfs(f)) != Verdict::Closed).collect()
    }

    #[test]
    fn speech_opens_and_silence_stays_shut() {
        for frame in [FrameLen::Ms10, FrameLen::Ms20] {
            let speaking = open(&speech(4.0), frame);
            assert!(speaking.iter().filter(|o| **o).count() * 10 > speaking.len() * 9);
            assert!(open(&vec![0.0; 96_000], frame).iter().all(|o| !o));
        }
    }

    #[test]
    fn a_noisy_room_stays_mostly_shut() {
        for level in [0.0003, 0.003, 0.01] {
            let opened = open(&noise(level, 480_000, 7), FrameLen::Ms20).iter().filter(|o| **o).count();
            assert!(opened < 50, "{level}: {opened} of 500");
        }
    }

    #[test]
    fn a_loud_tone_passes_although_it_is_no_speech() {
        let opened = open(&sine(1000.0, 0.25, 48_000, 3.0), FrameLen::Ms20);
        assert!(opened.iter().all(|o| *o));
    }

    #[test]
    fn the_gate_closes_once_and_after_the_hang_over() {
        let mut pcm = speech(2.0);
        pcm.resize(pcm.len() + 48_000, 0.0);
        let mut gate = Gate::new(FrameLen::Ms20);
        let verdicts: Vec<_> = pcm.chunks_exact(960).map(|f| gate.judge(f, dbfs(f))).collect();
        let at = |wanted: Verdict| verdicts.iter().rposition(|v| *v == wanted);
        let (opened, closed) = (at(Verdict::Open).unwrap_or(0), at(Verdict::Closes).unwrap_or(0));
        assert_eq!(closed, opened + 1);
        let spoken = pcm.chunks_exact(960).rposition(|f| dbfs(f) > -60.0).unwrap_or(0);
        let waited = (closed - spoken) * 20;
        assert!((300..=500).contains(&waited), "{waited} ms");
        assert!(!gate.is_open());
    }

    #[test]
    fn the_low_pass_keeps_speech_and_drops_what_would_alias() {
        let level = |hz: f32| {
            let mut out = Vec::new();
            Decimator::new().push(&sine(hz, 0.5, 48_000, 0.5), &mut out);
            dbfs(&out[100..])
        };
        assert!((level(1000.0) + 9.03).abs() < 0.3);
        assert!(level(10_000.0) < -45.0);
    }
}
