//! The playing half of the worker: what [`Playback`] mixes to wherever it goes, at the right pace.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::native::Speaker;
use crate::backend::wav::WavSink;
use crate::backend::{Change, Device};
use crate::error::{Error, Trouble};
use crate::input::Input;
use crate::playback::Playback;
use crate::reserve::Reserve;
use crate::shared::{FromEngine, STALL, Sink};
use crate::spec::{FrameLen, OutputSpec, STEP};

pub(crate) struct Output {
    frame: FrameLen,
    drain: Drain,
}

enum Drain {
    /// Steps of 10 ms since the start that are done.
    Null {
        done: u64,
    },
    Wav {
        file: WavSink,
        done: u64,
    },
    Speaker {
        device: Device<Speaker>,
        clock: PlayClock,
        feed: Feed,
    },
}

/// Keeps as much waiting before a loudspeaker as it needs.
struct Feed {
    reserve: Reserve,
    /// When the worker last came by.
    last: Duration,
    /// How often the device ran dry, as it counts, and how often that was ours to prevent.
    seen: u32,
    ran_dry: u64,
}

impl Drain {
    fn open(spec: OutputSpec, frame: FrameLen, now: Duration) -> Result<Drain, Error> {
        let speaker = |name| -> Result<Drain, Error> {
            let device = Device::open(name, frame)?;
            Ok(Drain::Speaker { device, clock: PlayClock::default(), feed: Feed::new(now) })
        };
        let done = steps_at(now);
        Ok(match spec {
            OutputSpec::Null => Drain::Null { done },
            OutputSpec::Wav { path } => Drain::Wav { file: WavSink::create(&path)?, done },
            OutputSpec::Default => speaker(None)?,
            OutputSpec::Device(name) => speaker(Some(name))?,
        })
    }
}

/// The clock of a loudspeaker, smoothed: requests come in bursts, time does not.
#[derive(Default)]
struct PlayClock {
    at: Duration,
}

impl Output {
    pub(crate) fn open(spec: OutputSpec, frame: FrameLen) -> Result<Output, Error> {
        Ok(Output { frame, drain: Drain::open(spec, frame, Duration::ZERO)? })
    }

    /// Plays somewhere else from now on; where that cannot be opened, where it did.
    pub(crate) fn switch(
        &mut self,
        spec: OutputSpec,
        now: Duration,
        playback: &mut Playback,
    ) -> Result<(), Error> {
        let drain = Drain::open(spec, self.frame, now)?;
        let old = Output { frame: self.frame, drain: std::mem::replace(&mut self.drain, drain) };
        old.finish(now, playback)
    }

    /// What the sound system calls the loudspeaker.
    pub(crate) fn id(&self) -> Option<Arc<str>> {
        match &self.drain {
            Drain::Speaker { device, .. } => device.id(),
            Drain::Null { .. } | Drain::Wav { .. } => None,
        }
    }

    /// From the mixing of a sound until it is heard, what of it waits before a loudspeaker by choice, and how often that
    /// was too little.
    pub(crate) fn latency(&self) -> (Duration, Duration, u64) {
        match &self.drain {
            Drain::Speaker { device, feed, .. } => (device.delay(), feed.reserve.length(), feed.ran_dry),
            Drain::Null { .. } | Drain::Wav { .. } => (Duration::ZERO, Duration::ZERO, 0),
        }
    }

    /// Stops or resumes a device.
    pub(crate) fn rest(&mut self, rest: bool, now: Duration) {
        if let Drain::Speaker { device, feed, .. } = &mut self.drain {
            if device.rests() && !rest {
                feed.reserve.excuse(now);
            }
            device.rest(rest);
        }
    }

    /// Plays what is due; returns when to come again, `None` when a device or a frame will wake us.
    pub(crate) fn play(
        &mut self,
        now: Duration,
        playback: &mut Playback,
        input: &mut Input,
        sink: &mut Sink,
    ) -> Option<Duration> {
        let mut pcm = [0.0; STEP];
        match &mut self.drain {
            Drain::Null { done } => {
                let due = steps_at(now);
                *done = (*done).max(due.saturating_sub(steps_at(STALL)));
                while *done < due && !playback.is_quiet() {
                    *done += 1;
                    playback.mix(step_time(*done), &mut pcm);
                }
                *done = due;
                (!playback.is_quiet()).then(|| self.next_wake(due))
            }
            Drain::Wav { file, done } => {
                let due = steps_at(now);
                if let Err(reason) = record(file, done, due, playback) {
                    let path = file.path().to_owned();
                    sink(FromEngine::Trouble(Trouble::RecordingStopped { path, reason }));
                    self.drain = Drain::Null { done: due };
                }
                Some(if playback.is_quiet() { step_time(due + QUIET_STEPS) } else { self.next_wake(due) })
            }
            Drain::Speaker { device, clock, feed } => {
                match device.tend(now) {
                    Change::Lost => sink(FromEngine::Trouble(Trouble::SpeakerLost)),
                    Change::Back => {
                        device.get().into_iter().for_each(|speaker| feed.reopened(now, speaker));
                        sink(FromEngine::Trouble(Trouble::SpeakerBack));
                    }
                    Change::None => {}
                }
                if let Some(speaker) = device.get() {
                    feed.tend(now, speaker, playback.is_quiet());
                    while speaker.wanted() >= STEP {
                        playback.mix(clock.step(now), &mut pcm);
                        input.played(&pcm);
                        speaker.write(&pcm);
                    }
                }
                device.retry()
            }
        }
    }

    /// Completes a file.
    pub(crate) fn finish(self, now: Duration, playback: &mut Playback) -> Result<(), Error> {
        match self.drain {
            Drain::Wav { mut file, mut done } => {
                let path = file.path().to_owned();
                record(&mut file, &mut done, steps_at(now), playback)
                    .map_err(|reason| Error::WavOutput { path, reason })?;
                file.finish()
            }
            Drain::Null { .. } | Drain::Speaker { .. } => Ok(()),
        }
    }

    /// When the next frame of the usual length is due; frames of 20 ms let the thread sleep over two steps.
    fn next_wake(&self, due: u64) -> Duration {
        let steps = u64::from(self.frame.as_millis()) / 10;
        step_time((due / steps + 1) * steps)
    }
}

/// A recording is as long as the call, so after a stall it gets its silence too, within bounds.
fn record(file: &mut WavSink, done: &mut u64, due: u64, playback: &mut Playback) -> Result<(), String> {
    let mut pcm = [0.0; STEP];
    *done = (*done).max(due.saturating_sub(LONGEST_GAP));
    while *done < due {
        *done += 1;
        playback.mix(step_time(*done), &mut pcm);
        file.write(&pcm)?;
    }
    Ok(())
}

impl Feed {
    fn new(now: Duration) -> Feed {
        let mut feed = Feed { reserve: Reserve::new(), last: now, seen: 0, ran_dry: 0 };
        feed.reserve.excuse(now);
        feed
    }

    /// What the device needs is not forgotten while it is away.
    fn reopened(&mut self, now: Duration, speaker: &mut Speaker) {
        self.seen = 0;
        self.reserve.excuse(now);
        speaker.keep(self.reserve.samples());
    }

    fn tend(&mut self, now: Duration, speaker: &mut Speaker, quiet: bool) {
        if now.saturating_sub(std::mem::replace(&mut self.last, now)) > HOPELESS {
            self.reserve.excuse(now);
        }
        let dry = speaker.ran_dry();
        let changed = if dry != std::mem::replace(&mut self.seen, dry) {
            self.ran_dry += 1;
            self.reserve.ran_dry(now)
        } else {
            quiet && self.reserve.rest(now)
        };
        if changed {
            speaker.keep(self.reserve.samples());
        }
    }
}

impl PlayClock {
    fn step(&mut self, now: Duration) -> Duration {
        self.at += step_time(1);
        let (ahead, behind) = (self.at.saturating_sub(now), now.saturating_sub(self.at));
        if ahead.max(behind) > RESET_CLOCK {
            self.at = now;
        } else {
            self.at = self.at + behind / FOLLOW - ahead / FOLLOW;
        }
        self.at
    }
}

fn steps_at(time: Duration) -> u64 {
    time.as_millis() as u64 / STEP_MS
}

fn step_time(step: u64) -> Duration {
    Duration::from_millis(step * STEP_MS)
}

/// Whoever is held up for longer cannot be helped by any reserve.
const HOPELESS: Duration = Duration::from_millis(100);
/// Of [`STEP`] samples.
const STEP_MS: u64 = 10;
/// Silence is written to a file twice a second.
const QUIET_STEPS: u64 = 50;
/// Ten minutes: beyond it the machine slept, and nobody wants that on tape.
const LONGEST_GAP: u64 = 60_000;
/// A device that was stopped starts with a new clock.
const RESET_CLOCK: Duration = Duration::from_millis(100);
/// Follows within half a second, which evens bursts of requests out.
const FOLLOW: u32 = 50;
