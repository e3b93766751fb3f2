//! Decides what of the microphone is worth sending: speech, and anything that is loud for a while.

/// Opens on speech, stays open over the gaps between words.
pub(crate) struct Gate {
    state: State,
    /// Milliseconds in a row that were louder than any background.
    loud: u32,
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
    pub(crate) fn new() -> Gate {
        Gate { state: State::Closed, loud: 0 }
    }

    /// Judges a frame of `len` milliseconds by its level and the probability that it is speech.
    pub(crate) fn judge(&mut self, len: u32, dbfs: f32, speech: f32) -> Verdict {
        self.loud = if dbfs > LOUD { self.loud.saturating_add(len) } else { 0 };
        let worth = speech >= SPEECH || self.loud >= LOUD_FOR;
        let (state, verdict) = match (self.state, worth) {
            (State::Closed, false) => (State::Closed, Verdict::Closed),
            (State::Closed, true) => (State::Open { left: HANG_OVER }, Verdict::Opens),
            (State::Open { .. }, true) => (State::Open { left: HANG_OVER }, Verdict::Open),
            (State::Open { left }, false) if left > len => (State::Open { left: left - len }, Verdict::Open),
            (State::Open { .. }, false) => (State::Closed, Verdict::Closes),
        };
        self.state = state;
        verdict
    }

    /// As [`Gate::judge`] while everything is meant.
    pub(crate) fn hold(&mut self, len: u32, dbfs: f32, speech: f32) -> Verdict {
        let verdict = if self.is_open() { Verdict::Open } else { Verdict::Opens };
        self.judge(len, dbfs, speech);
        if !self.is_open() {
            self.state = State::Open { left: 0 };
        }
        verdict
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Whether nobody speaks, though it may be held open.
    pub(crate) fn is_pause(&self) -> bool {
        matches!(self.state, State::Closed | State::Open { left: 0 })
    }

    /// Closes at once, as when the microphone is muted.
    pub(crate) fn close(&mut self) {
        *self = Gate::new();
    }
}

/// Full scale sine = -3 dBFS; digital silence = -100.
pub(crate) fn dbfs(pcm: &[f32]) -> f32 {
    let square = pcm.iter().map(|s| s * s).sum::<f32>() / pcm.len().max(1) as f32;
    (10.0 * square.max(1e-10).log10()).max(-100.0)
}

/// The detector's own recommendation.
pub(crate) const SPEECH: f32 = 0.5;
/// Louder than any bearable background: a whistle, a guitar or a test tone passes although it is no speech.
const LOUD: f32 = -25.0;
/// In milliseconds: a key or a mouse clicks shorter, and what is sent from before the gate opened covers the wait.
const LOUD_FOR: u32 = 60;
/// Bridges the gaps between words, in milliseconds.
const HANG_OVER: u32 = 360;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::Detector;
    use crate::sound::{noise, sine, speech};

    fn verdicts(pcm: &[f32], samples: usize) -> Vec<Verdict> {
        let (mut gate, mut detector) = (Gate::new(), Detector::new());
        let len = samples as u32 / 48;
        pcm.chunks_exact(samples).map(|f| gate.judge(len, dbfs(f), detector.hear(f))).collect()
    }

    fn open(pcm: &[f32], samples: usize) -> Vec<bool> {
        verdicts(pcm, samples).into_iter().map(|verdict| verdict != Verdict::Closed).collect()
    }

    #[test]
    fn speech_opens_and_silence_stays_shut() {
        for samples in [480, 960] {
            let speaking = open(&speech(4.0), samples);
            assert!(speaking.iter().filter(|o| **o).count() * 10 > speaking.len() * 9);
            assert!(open(&vec![0.0; 96_000], samples).iter().all(|o| !o));
        }
    }

    #[test]
    fn a_noisy_room_stays_mostly_shut() {
        for level in [0.0003, 0.003, 0.01] {
            let opened = open(&noise(level, 480_000, 7), 960).iter().filter(|o| **o).count();
            assert!(opened < 50, "{level}: {opened} of 500");
        }
    }

    #[test]
    fn a_loud_tone_passes_although_it_is_no_speech() {
        let opened = open(&sine(1000.0, 0.25, 48_000, 3.0), 960);
        assert!(opened.iter().skip(2).all(|o| *o), "what comes before is in the pre-roll");
    }

    #[test]
    fn a_click_is_no_reason_to_open() {
        let mut pcm = vec![0.0; 48_000];
        pcm[24_000..24_960].copy_from_slice(&noise(0.3, 960, 3));
        assert!(open(&pcm, 960).iter().all(|o| !o));
    }

    #[test]
    fn the_gate_closes_once_and_after_the_hang_over() {
        let mut pcm = speech(2.0);
        pcm.resize(pcm.len() + 48_000, 0.0);
        let verdicts = verdicts(&pcm, 960);
        let at = |wanted: Verdict| verdicts.iter().rposition(|v| *v == wanted);
        let (opened, closed) = (at(Verdict::Open).unwrap_or(0), at(Verdict::Closes).unwrap_or(0));
        assert_eq!(closed, opened + 1);
        let spoken = pcm.chunks_exact(960).rposition(|f| dbfs(f) > -60.0).unwrap_or(0);
        let waited = (closed - spoken) * 20;
        assert!((300..=500).contains(&waited), "{waited} ms");
    }

    #[test]
    fn a_held_key_opens_for_silence_and_letting_go_is_the_end() {
        let mut gate = Gate::new();
        assert_eq!(gate.hold(20, -100.0, 0.0), Verdict::Opens);
        assert_eq!(gate.hold(20, -30.0, 0.9), Verdict::Open);
        assert!(!gate.is_pause());
        let rest = [0; 20].map(|_| gate.hold(20, -100.0, 0.0));
        assert!(gate.is_pause() && rest == [Verdict::Open; 20]);
        assert_eq!(gate.judge(20, -100.0, 0.0), Verdict::Closes);
    }
}
