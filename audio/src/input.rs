//! The recording half of the worker: samples from wherever they come to [`Capture`], at the right pace.

use std::sync::Arc;
use std::time::Duration;

use crate::adaptation::Quality;
use crate::backend::{Change, monitored};
use crate::capture::{Capture, CaptureStats, Level};
use crate::chain::Stages;
use crate::error::{Error, Trouble};
use crate::packets::Captured;
use crate::shared::{Bearable, FromEngine, STALL, Sink};
use crate::source::Source;
use crate::spec::{FrameLen, InputSpec, STEP};
use crate::talk::Listening;
use crate::watch::Watch;

pub(crate) struct Input {
    frame: FrameLen,
    capture: Capture,
    source: Source,
    listening: Listening,
    meter: Meter,
    watch: Watch,
    pcm: Vec<f32>,
}

impl Input {
    /// A device that cannot be opened for a reason that can be borne is waited for, and the reason returned.
    pub(crate) fn open(
        spec: InputSpec,
        frame: FrameLen,
        bitrate: u32,
        bearable: &Bearable,
    ) -> Result<(Input, Option<Error>), Error> {
        let capture = Capture::new(frame, bitrate)?;
        let (source, absent) = match Source::open(spec.clone(), frame, std::thread::current()) {
            Ok(source) => (source, None),
            Err(error) => match Source::awaited(&spec, frame).filter(|_| bearable(&error)) {
                Some(source) => (source, Some(error)),
                None => return Err(error),
            },
        };
        let input = Input {
            frame,
            capture,
            source,
            listening: Listening::Freely,
            meter: Meter::default(),
            watch: Watch::default(),
            pcm: Vec::new(),
        };
        Ok((input, absent))
    }

    /// Records from somewhere else from now on.
    pub(crate) fn switch(&mut self, mut source: Source, now: Duration, sink: &mut Sink) {
        source.begin(now, self.frame);
        self.pass_to(now, sink);
        self.watch.opened();
        if let Source::Mic { device, .. } = &mut source {
            device.rest(self.listening == Listening::Alone);
        }
        self.source = source;
    }

    pub(crate) fn set_quality(&mut self, quality: Quality) {
        self.capture.set_quality(quality);
    }

    pub(crate) fn set_stages(&mut self, stages: Stages) {
        self.capture.set_stages(stages);
    }

    /// What the sound system calls the microphone.
    pub(crate) fn id(&self) -> Option<Arc<str>> {
        match &self.source {
            Source::Mic { device, .. } => device.id(),
            Source::Silence | Source::File { .. } => None,
        }
    }

    /// Whether the microphone hears what goes to the loudspeaker `speaker` by a wire.
    pub(crate) fn mind_monitor(&mut self, speaker: Option<&str>, sink: &mut Sink) {
        let mic = self.id();
        let monitored = mic.as_deref().and_then(monitored);
        tell(self.watch.monitors(monitored.is_some() && monitored == speaker), sink);
    }

    /// The next 10 ms that go to a loudspeaker. What is no microphone hears nothing of it.
    pub(crate) fn played(&mut self, pcm: &[f32; STEP]) {
        if let Source::Mic { .. } = self.source
            && self.is_heard()
        {
            self.capture.played(pcm);
        }
    }

    pub(crate) fn stats(&self) -> CaptureStats {
        self.capture.stats()
    }

    /// From the lips until a frame is encoded, besides the frame itself.
    pub(crate) fn latency(&self) -> Duration {
        let device = match &self.source {
            Source::Mic { device, .. } => device.delay(),
            Source::Silence | Source::File { .. } => Duration::ZERO,
        };
        device + self.capture.delay()
    }

    /// Begins or ends to hear the microphone.
    pub(crate) fn listen(&mut self, now: Duration, listening: Listening, sink: &mut Sink) {
        if listening == self.listening {
            return;
        }
        let heard = self.is_heard();
        let rested = self.listening == Listening::Alone;
        self.listening = listening;
        self.capture.hold(listening == Listening::Held);
        // Between talking freely and by key a running word goes on.
        if !(heard && self.is_heard()) {
            self.pass_to(now, sink);
            self.meter.tell(now, SILENT, sink);
            self.watch.turn();
        }
        if let Source::Mic { device, since, .. } = &mut self.source {
            device.rest(listening == Listening::Alone);
            if !heard {
                *since = if rested { now } else { now + device.delay() };
                device.get().into_iter().for_each(|mic| mic.read(&mut self.pcm));
                self.pcm.clear();
            }
        }
    }

    fn is_heard(&self) -> bool {
        matches!(self.listening, Listening::Freely | Listening::Held)
    }

    /// Records what is due; returns when to come again, `None` when a device will wake us.
    pub(crate) fn record(&mut self, now: Duration, sink: &mut Sink) -> Option<Duration> {
        match &mut self.source {
            Source::Silence => None,
            Source::File { .. } if self.listening == Listening::Alone => None,
            Source::File { .. } => self.record_file(now, sink),
            Source::Mic { device, .. } => {
                let change = device.tend(now);
                let retry = device.retry();
                let trouble = match change {
                    Change::Lost => Some(Trouble::MicrophoneLost),
                    Change::Back => Some(Trouble::MicrophoneBack),
                    Change::None => None,
                };
                if let Some(trouble) = trouble {
                    self.pass_to(now, sink);
                    self.watch.opened();
                    sink(FromEngine::Trouble(trouble));
                }
                self.record_mic(now, sink);
                retry
            }
        }
    }

    fn record_mic(&mut self, now: Duration, sink: &mut Sink) {
        let is_heard = self.is_heard();
        let Source::Mic { device, heard, since, resumed } = &mut self.source else { return };
        let Some(mic) = device.get() else { return };
        mic.read(&mut self.pcm);
        if !is_heard {
            // Also what was still on its way when the device was put to rest.
            if self.listening == Listening::Muted {
                tell(self.watch.hear_muted(now, &self.pcm), sink);
            }
            self.pcm.clear();
            return;
        }
        if self.pcm.len() < self.frame.samples() {
            return;
        }
        // A suspended program or a stuck device: time went on without sound, and what was kept of it is over.
        if now.saturating_sub(*heard) > STALL {
            if now - *resumed.get_or_insert(now) < BACKLOG {
                self.pcm.clear();
                return;
            }
            let passed = self.frame.count(now - *heard);
            self.capture.pass(passed as u32, &mut |voice| sink(FromEngine::Voice(voice)));
        }
        *resumed = None;
        *heard = now;
        if now < *since {
            self.pcm.fill(0.0);
        }
        let mut used = 0;
        while let Some(pcm) = self.pcm.get(used..used + self.frame.samples()) {
            used += pcm.len();
            tell(self.watch.hear(pcm), sink);
            let level = self.capture.frame(pcm, &mut |voice| sink(FromEngine::Voice(voice)));
            self.meter.tell(now, level, sink);
        }
        tell(self.watch.echoes(self.capture.stats().echoes), sink);
        self.pcm.drain(..used);
    }

    fn record_file(&mut self, now: Duration, sink: &mut Sink) -> Option<Duration> {
        let Source::File { file, done } = &mut self.source else { return None };
        let due = self.frame.count(now);
        let behind = due.saturating_sub(*done);
        if behind > self.frame.count(STALL) {
            self.capture.pass(behind as u32, &mut |voice| sink(FromEngine::Voice(voice)));
            *done = due;
        }
        self.pcm.resize(self.frame.samples(), 0.0);
        while *done < due {
            *done += 1;
            let got = file.read(&mut self.pcm).unwrap_or_else(|broken| {
                tell(Some(broken), sink);
                0
            });
            self.pcm[got..].fill(0.0);
            if self.listening == Listening::Muted {
                tell(self.watch.hear_muted(now, &self.pcm), sink);
            }
            let voice: &mut dyn FnMut(Captured) = &mut |voice| sink(FromEngine::Voice(voice));
            let level = match self.listening {
                Listening::Freely | Listening::Held => self.capture.frame(&self.pcm, voice),
                Listening::Released | Listening::Muted | Listening::Alone => {
                    self.capture.pass(1, voice);
                    SILENT
                }
            };
            if got < self.pcm.len() {
                self.capture.pass(0, voice);
                self.meter.tell(now, SILENT, sink);
                sink(FromEngine::InputEnded);
                self.source = Source::Silence;
                return None;
            }
            self.meter.tell(now, level, sink);
        }
        Some(self.frame.time_of(due + 1))
    }

    /// Ends a running talk spurt and lets the time go by that was not recorded.
    fn pass_to(&mut self, now: Duration, sink: &mut Sink) {
        let passed = match &mut self.source {
            Source::Silence => 0,
            Source::File { done, .. } => {
                let due = self.frame.count(now);
                due.saturating_sub(std::mem::replace(done, due))
            }
            Source::Mic { heard, .. } => self.frame.count(now.saturating_sub(std::mem::replace(heard, now))),
        };
        self.capture.pass(passed as u32, &mut |voice| sink(FromEngine::Voice(voice)));
        self.pcm.clear();
    }
}

fn tell(trouble: Option<Trouble>, sink: &mut Sink) {
    if let Some(trouble) = trouble {
        sink(FromEngine::Trouble(trouble));
    }
}

/// Tells the own level when it changed, and not too often; that it fell silent always, for nothing may follow.
#[derive(Default)]
struct Meter {
    told: Option<(Duration, Level)>,
}

impl Meter {
    fn tell(&mut self, now: Duration, level: Level, sink: &mut Sink) {
        if let Some((when, told)) = self.told
            && (told.talking == level.talking && (told.dbfs - level.dbfs).abs() < NOTABLE
                || level != SILENT && now.saturating_sub(when) < BETWEEN_LEVELS)
        {
            return;
        }
        self.told = Some((now, level));
        sink(FromEngine::Level { dbfs: level.dbfs, talking: level.talking });
    }
}

/// Within it a sound server has handed over all that it kept for a program that stood still.
const BACKLOG: Duration = Duration::from_millis(100);
const SILENT: Level = Level { dbfs: -100.0, talking: false };
/// Ten times a second is as fast as a bar on a screen can be followed.
const BETWEEN_LEVELS: Duration = Duration::from_millis(100);
/// In dB; smaller changes are not seen.
const NOTABLE: f32 = 1.5;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_microphone_that_comes_to_rest_in_the_middle_of_a_word_is_told_to_be_silent() {
        let (to, told) = mpsc::channel();
        let mut sink: Sink = Box::new(move |event| drop(to.send(event)));
        let mut meter = Meter::default();
        meter.tell(Duration::ZERO, Level { dbfs: -20.0, talking: true }, &mut sink);
        meter.tell(Duration::from_millis(10), Level { dbfs: -40.0, talking: true }, &mut sink);
        meter.tell(Duration::from_millis(20), SILENT, &mut sink);
        meter.tell(Duration::from_millis(500), SILENT, &mut sink);
        let told: Vec<FromEngine> = told.try_iter().collect();
        let level = |dbfs, talking| FromEngine::Level { dbfs, talking };
        assert_eq!(told, [level(-20.0, true), level(-100.0, false)]);
    }
}
