//! What is done to the microphone's sound before it is encoded, in blocks of 10 ms: high-pass, echo, noise, level,
//! limiter. Each stage can be switched while it runs, and costs nothing while it is off.

use std::time::Duration;

use crate::canceller;
use crate::detector::Detector;
use crate::echo::Echo;
use crate::floor::Floor;
use crate::gate::{SPEECH, dbfs};
use crate::highpass::HighPass;
use crate::level::Level;
use crate::mixer::Limiter;
use crate::noise::{self, Noise};
use crate::spec::{BLOCK, Switch};

/// Which stages work. The high-pass and the limiter always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Echo cancellation: takes out of the microphone what the loudspeaker plays.
    pub echo: Switch,
    /// Noise suppression.
    pub noise: Switch,
    /// Automatic level: makes all friends equally loud.
    pub level: bool,
    /// Voice detection: only speech is sent, and what is loud for a while. Without it all that the microphone gives.
    pub gate: bool,
}

impl Default for Stages {
    fn default() -> Stages {
        Stages { echo: Switch::Auto, noise: Switch::Auto, level: true, gate: true }
    }
}

/// The chain of one microphone. Pure: blocks in, blocks out.
pub struct Chain {
    stages: Stages,
    highpass: HighPass,
    echo: Echo,
    detector: Detector,
    floor: Floor,
    noise: Noise,
    level: Level,
    limiter: Limiter,
}

/// What a block holds.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Before noise suppression and level.
    pub dbfs: f32,
    /// The probability that somebody at this end speaks, 0..1.
    pub speech: f32,
    /// The share of it that may be echo, 0..1.
    pub echo: f32,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain::new()
    }
}

impl Chain {
    pub fn new() -> Chain {
        Chain {
            stages: Stages::default(),
            highpass: HighPass::new(),
            echo: Echo::new(),
            detector: Detector::new(),
            floor: Floor::new(),
            noise: Noise::new(),
            level: Level::new(),
            limiter: Limiter::new(),
        }
    }

    /// Which stages work from now on.
    pub fn set(&mut self, stages: Stages) {
        self.stages = stages;
    }

    /// A block goes to the loudspeaker that the microphone may hear.
    pub fn played(&mut self, pcm: &[f32; BLOCK]) {
        self.echo.played(pcm);
    }

    /// Whether the loudspeaker is heard in the microphone and nothing is done about it.
    pub fn echoes(&self) -> bool {
        self.echo.is_heard() && !self.echo.is_working()
    }

    /// Whether echo cancellation works at this moment.
    pub fn cancels_echo(&self) -> bool {
        self.echo.is_working()
    }

    /// Whether noise suppression works at this moment.
    pub fn suppresses_noise(&self) -> bool {
        self.noise.is_working()
    }

    /// By how much what it gives is late at this moment.
    pub fn delay(&self) -> Duration {
        let of = |works: bool, samples: u64| {
            if works { Duration::from_micros(samples * 1_000 / 48) } else { Duration::ZERO }
        };
        of(self.noise.is_working(), noise::DELAY) + of(self.echo.is_working(), canceller::DELAY)
    }

    /// Works in place on one block; `pause` when nothing is being sent.
    pub fn work(&mut self, pcm: &mut [f32; BLOCK], pause: bool) -> Found {
        self.highpass.filter(pcm);
        let echo = self.echo.work(self.stages.echo, pcm);
        let dbfs = dbfs(pcm);
        self.floor.hear(dbfs);
        let mut speech = if dbfs > NOTHING { self.detector.hear(pcm) } else { 0.0 };
        if echo > MOSTLY_ECHO {
            // A voice, but a friend's.
            speech = 0.0;
        }
        let floor = self.floor.dbfs();
        // Who spoke for long without a pause has hidden the room, which shows only some time after the last word.
        let pause = pause && !self.floor.falls();
        self.noise.decide(self.stages.noise, self.level.speech_dbfs(), floor, pause);
        self.noise.suppress(pcm);
        if speech >= SPEECH && echo < SOME_ECHO {
            self.level.learn(dbfs, floor.unwrap_or(UNKNOWN_FLOOR));
        }
        if !self.stages.level {
            self.level.release();
        }
        if !self.level.is_neutral() {
            self.level.apply(pcm);
        }
        self.limiter.limit(pcm);
        Found { dbfs, speech, echo }
    }

    /// What follows does not continue what was heard.
    pub fn rest(&mut self) {
        self.echo.rest();
        self.detector.rest();
        self.floor = Floor::new();
    }
}

/// In dBFS. Below it even a whisper is drowned by any room; no need to ask the detector.
const NOTHING: f32 = -65.0;
/// The share of what may be echo above which the voice is not at this end: it is 0.1 at most when both talk, and 0.2 to
/// 0.9 when only friends do.
const MOSTLY_ECHO: f32 = 0.2;
/// Above this its level says nothing about the voice at this end.
const SOME_ECHO: f32 = 0.1;
/// In dBFS, in the first half second: a quiet room.
const UNKNOWN_FLOOR: f32 = -60.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Gate, Verdict};
    use crate::sound::{noise, sine, speaker, speech};

    struct Run {
        chain: Chain,
        out: Vec<f32>,
        /// Blocks sent, and blocks in which noise suppression worked.
        open: usize,
        suppressed: usize,
    }

    fn run(stages: Stages, far: Option<&[f32]>, near: &[f32]) -> Run {
        let mut run = Run { chain: Chain::new(), out: Vec::new(), open: 0, suppressed: 0 };
        run.chain.set(stages);
        let mut gate = Gate::new();
        for (i, block) in near.as_chunks::<BLOCK>().0.iter().enumerate() {
            if let Some(far) = far {
                run.chain.played(&far.as_chunks::<BLOCK>().0[i]);
            }
            let mut block = *block;
            let found = run.chain.work(&mut block, !gate.is_open());
            run.open += usize::from(gate.judge(10, found.dbfs, found.speech) != Verdict::Closed);
            run.suppressed += usize::from(run.chain.suppresses_noise());
            run.out.extend(block);
        }
        run
    }

    #[test]
    fn a_voice_leaves_equally_loud_whether_it_comes_quiet_or_loud() {
        let ends = [0.075, 0.3, 1.2].map(|gain| {
            let pcm: Vec<f32> = speech(8.0).iter().map(|s| s * gain).collect();
            dbfs(&run(Stages::default(), None, &pcm).out[192_000..])
        });
        let spread =
            ends.iter().fold(f32::MIN, |a, b| a.max(*b)) - ends.iter().fold(f32::MAX, |a, b| a.min(*b));
        assert!(spread < 1.5, "{ends:?}");
    }

    #[test]
    fn a_clean_microphone_pays_for_no_suppression_and_a_noisy_one_gets_it() {
        let mut clean = speech(8.0);
        clean.splice(0..0, noise(0.0002, 48_000, 3));
        let noisy: Vec<f32> = clean.iter().zip(noise(0.01, clean.len(), 4)).map(|(s, n)| s + n).collect();
        assert_eq!(run(Stages::default(), None, &clean).suppressed, 0);
        let run = run(Stages::default(), None, &noisy);
        assert!(run.chain.suppresses_noise());
        let pause = dbfs(&noisy[24_000..48_000]) - dbfs(&run.out[24_000..48_000]);
        assert!(pause < 20.0, "half a second was needed to know the room");
    }

    #[test]
    fn what_hides_a_quiet_room_for_seconds_does_not_make_it_noisy() {
        let mut pcm = sine(200.0, 0.09, 48_000, 6.0);
        let voice = pcm.len();
        pcm.extend(noise(0.0018, 48_000, 3));
        let mut chain = Chain::new();
        for (i, block) in pcm.as_chunks::<BLOCK>().0.iter().enumerate() {
            chain.work(&mut block.clone(), i * BLOCK >= voice);
            assert!(!chain.suppresses_noise(), "{i}");
        }
        assert!(chain.floor.dbfs().is_some_and(|floor| floor < -50.0), "{:?}", chain.floor.dbfs());
    }

    #[test]
    fn a_friend_from_the_loudspeaker_is_found_cancelled_and_not_sent_back() {
        let far = speaker(12.0, 1);
        let near: Vec<f32> =
            std::iter::repeat_n(0.0, 2_400).chain(far.iter().map(|s| s * 0.3)).take(far.len()).collect();
        let auto = run(Stages::default(), Some(&far), &near);
        assert!(auto.chain.cancels_echo() && !auto.chain.echoes());
        assert!(auto.open < 350, "open for {} of 1200 blocks", auto.open);
        let off = run(Stages { echo: Switch::Off, ..Stages::default() }, Some(&far), &near);
        assert!(!off.chain.cancels_echo() && off.chain.echoes());
        assert!(off.open > 900, "open for {} of 1200 blocks", off.open);
    }

    #[test]
    fn a_headset_is_left_alone() {
        let (far, near) = (speaker(12.0, 1), speaker(12.0, 2));
        let plain = run(Stages::default(), None, &near);
        let headset = run(Stages::default(), Some(&far), &near);
        assert!(!headset.chain.cancels_echo());
        assert_eq!(headset.out, plain.out);
    }

    #[test]
    fn stages_are_switched_while_they_run_without_a_click() {
        let pcm = sine(300.0, 0.1, 48_000, 4.0);
        let mut chain = Chain::new();
        let mut out = Vec::new();
        for (i, block) in pcm.as_chunks::<BLOCK>().0.iter().enumerate() {
            let on = i / 50 % 2 == 1;
            chain.set(Stages {
                noise: if on { Switch::On } else { Switch::Off },
                echo: Switch::Off,
                level: on,
                gate: true,
            });
            let mut block = *block;
            chain.work(&mut block, false);
            out.extend(block);
        }
        let steepest = out.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.02, "{steepest}");
    }
}
