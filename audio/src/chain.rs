//! What is done to the microphone's sound before it is encoded, in blocks of 10 ms: high-pass, echo, noise, level,
//! limiter. Each stage can be switched while it runs, and costs nothing while it is off.

use crate::detector::Detector;
use crate::echo::Echo;
use crate::floor::Floor;
use crate::gate::{SPEECH, dbfs};
use crate::highpass::HighPass;
use crate::level::Level;
use crate::mixer::Limiter;
use crate::noise::Noise;

/// Samples of one block, 10 ms.
pub(crate) const BLOCK: usize = 480;

/// When a stage of the capture chain works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// When it improves what the friends hear.
    #[default]
    Auto,
    On,
    Off,
}

/// Which stages work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Echo cancellation: takes out of the microphone what the loudspeaker plays.
    pub echo: Switch,
    /// Noise suppression.
    pub noise: Switch,
    /// Automatic level: makes all friends equally loud.
    pub level: bool,
}

impl Default for Stages {
    fn default() -> Stages {
        Stages { echo: Switch::Auto, noise: Switch::Auto, level: true }
    }
}

/// The chain of one microphone.
pub(crate) struct Chain {
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
pub(crate) struct Found {
    /// Before noise suppression and level.
    pub(crate) dbfs: f32,
    /// The probability of speech.
    pub(crate) speech: f32,
}

impl Chain {
    pub(crate) fn new() -> Chain {
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

    pub(crate) fn set(&mut self, stages: Stages) {
        self.stages = stages;
    }

    /// A block goes to the loudspeaker that the microphone may hear.
    pub(crate) fn played(&mut self, pcm: &[f32; BLOCK]) {
        self.echo.played(pcm);
    }

    /// Whether the loudspeaker is heard in the microphone and nothing is done about it.
    pub(crate) fn echoes(&self) -> bool {
        self.echo.is_heard() && !self.echo.is_working()
    }

    /// Whether echo cancellation works at this moment.
    pub(crate) fn cancels_echo(&self) -> bool {
        self.echo.is_working()
    }

    /// Whether noise suppression works at this moment.
    pub(crate) fn suppresses_noise(&self) -> bool {
        self.noise.is_working()
    }

    /// Works in place on one block; `pause` when nothing is being sent.
    pub(crate) fn work(&mut self, pcm: &mut [f32; BLOCK], pause: bool) -> Found {
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
        self.noise.decide(self.stages.noise, self.level.speech_dbfs(), floor, pause);
        self.noise.suppress(pcm);
        if speech >= SPEECH {
            self.level.learn(dbfs, floor.unwrap_or(UNKNOWN_FLOOR));
        }
        if !self.stages.level {
            self.level.release();
        }
        if !self.level.is_neutral() {
            self.level.apply(pcm);
        }
        self.limiter.limit(pcm);
        Found { dbfs, speech }
    }

    /// What follows does not continue what was heard.
    pub(crate) fn rest(&mut self) {
        self.echo.rest();
        self.detector.rest();
        self.floor = Floor::new();
    }
}

/// In dBFS. Below it even a whisper is drowned by any room; no need to ask the detector.
const NOTHING: f32 = -65.0;
/// The share of echo in a block above which what speaks there is not at this end.
const MOSTLY_ECHO: f32 = 0.5;
/// In dBFS, in the first half second: a quiet room.
const UNKNOWN_FLOOR: f32 = -60.0;
