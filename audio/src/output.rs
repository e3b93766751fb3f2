//! The playing half of the worker: what [`Playback`] mixes to wherever it goes, at the right pace.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Change;
use crate::backend::wav::WavSink;
use crate::drain::{Drain, step_time, steps_at};
use crate::error::{Error, Trouble};
use crate::input::Input;
use crate::playback::Playback;
use crate::shared::{Bearable, FromEngine, STALL, Sink};
use crate::spec::{FrameLen, OutputSpec, STEP};

pub(crate) struct Output {
    frame: FrameLen,
    drain: Drain,
}

impl Output {
    /// A device that cannot be opened for a reason that can be borne is waited for, and the reason returned.
    pub(crate) fn open(
        spec: OutputSpec,
        frame: FrameLen,
        bearable: &Bearable,
    ) -> Result<(Output, Option<Error>), Error> {
        let (drain, absent) = match Drain::open(spec.clone(), frame, std::thread::current()) {
            Ok(drain) => (drain, None),
            Err(error) => match Drain::awaited(&spec, frame).filter(|_| bearable(&error)) {
                Some(drain) => (drain, Some(error)),
                None => return Err(error),
            },
        };
        Ok((Output { frame, drain }, absent))
    }

    /// Plays somewhere else from now on; fails where a recording that ran cannot be completed.
    pub(crate) fn switch(
        &mut self,
        mut drain: Drain,
        now: Duration,
        playback: &mut Playback,
    ) -> Result<(), Error> {
        drain.begin(now);
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

/// Silence is written to a file twice a second.
const QUIET_STEPS: u64 = 50;
/// Ten minutes: beyond it the machine slept, and nobody wants that on tape.
const LONGEST_GAP: u64 = 60_000;
