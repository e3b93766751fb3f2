//! Where the friends' voices go.

use std::thread::Thread;
use std::time::Duration;

use crate::backend::Device;
use crate::backend::native::Speaker;
use crate::backend::wav::WavSink;
use crate::error::Error;
use crate::reserve::Reserve;
use crate::spec::{FrameLen, OutputSpec};

pub(crate) enum Drain {
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
pub(crate) struct Feed {
    pub(crate) reserve: Reserve,
    /// When the worker last came by.
    last: Duration,
    /// How often the device ran dry, as it counts, and how often that was ours to prevent.
    seen: u32,
    pub(crate) ran_dry: u64,
}

impl Drain {
    /// Takes as long as the sound server does; `worker` is woken when a device wants more.
    pub(crate) fn open(spec: OutputSpec, frame: FrameLen, worker: Thread) -> Result<Drain, Error> {
        Ok(match spec {
            OutputSpec::Null => Drain::Null { done: 0 },
            OutputSpec::Wav { path } => Drain::Wav { file: WavSink::create(&path)?, done: 0 },
            OutputSpec::Default => Drain::speaker(Device::open(None, frame, worker)?),
            OutputSpec::Device(name) => Drain::speaker(Device::open(Some(name), frame, worker)?),
        })
    }

    /// The loudspeaker of `spec`, which is not there; nothing where that is no device.
    pub(crate) fn awaited(spec: &OutputSpec, frame: FrameLen) -> Option<Drain> {
        let name = match spec {
            OutputSpec::Default => None,
            OutputSpec::Device(name) => Some(name.clone()),
            OutputSpec::Null | OutputSpec::Wav { .. } => return None,
        };
        Some(Drain::speaker(Device::awaited(name, frame)))
    }

    fn speaker(device: Device<Speaker>) -> Drain {
        Drain::Speaker { device, clock: PlayClock::default(), feed: Feed::new(Duration::ZERO) }
    }

    /// Begins at `now`.
    pub(crate) fn begin(&mut self, now: Duration) {
        match self {
            Drain::Null { done } | Drain::Wav { done, .. } => *done = steps_at(now),
            Drain::Speaker { feed, .. } => *feed = Feed::new(now),
        }
    }
}

/// The clock of a loudspeaker, smoothed: requests come in bursts, time does not.
#[derive(Default)]
pub(crate) struct PlayClock {
    at: Duration,
}

impl Feed {
    fn new(now: Duration) -> Feed {
        let mut feed = Feed { reserve: Reserve::new(), last: now, seen: 0, ran_dry: 0 };
        feed.reserve.excuse(now);
        feed
    }

    /// What the device needs is not forgotten while it is away.
    pub(crate) fn reopened(&mut self, now: Duration, speaker: &mut Speaker) {
        self.seen = 0;
        self.reserve.excuse(now);
        speaker.keep(self.reserve.samples());
    }

    pub(crate) fn tend(&mut self, now: Duration, speaker: &mut Speaker, quiet: bool) {
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
    pub(crate) fn step(&mut self, now: Duration) -> Duration {
        self.at += step_time(1);
        let (ahead, behind) = (self.at.saturating_sub(now), now.saturating_sub(self.at));
        if ahead.max(behind) > RESET_CLOCK {
            self.at = now;
        } else {
            self.at = self.at + behind / FOLLOW - ahead / RETREAT;
        }
        self.at
    }
}

pub(crate) fn steps_at(time: Duration) -> u64 {
    time.as_millis() as u64 / STEP_MS
}

pub(crate) fn step_time(step: u64) -> Duration {
    Duration::from_millis(step * STEP_MS)
}

/// Whoever is held up for longer cannot be helped by any reserve.
const HOPELESS: Duration = Duration::from_millis(100);
/// Of [`STEP`] samples.
const STEP_MS: u64 = 10;
/// A device that was stopped starts with a new clock.
const RESET_CLOCK: Duration = Duration::from_millis(100);
/// Follows within a second, which evens bursts of requests out.
const FOLLOW: u32 = 100;
/// A clock that is ahead asks for what cannot have come yet: what is taken early in a burst counts.
const RETREAT: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_asked_for_that_cannot_have_come_yet_though_requests_come_in_bursts() {
        // A device that takes two steps at a time, the second of which is not due before 10 ms later.
        let mut clock = PlayClock::default();
        for burst in 0..500u32 {
            let now = Duration::from_secs(1) + Duration::from_millis(20) * burst;
            let ahead = [clock.step(now), clock.step(now)].map(|at| at.saturating_sub(now));
            assert!(burst < 100 || ahead.iter().all(|ahead| *ahead < Duration::from_millis(2)), "{ahead:?}");
        }
    }

    #[test]
    fn what_fills_a_device_at_its_start_is_never_far_ahead_and_the_clock_is_even_soon() {
        for start in [0, 1_000, 60_000].map(Duration::from_millis) {
            let mut clock = PlayClock::default();
            let mut before = Duration::ZERO;
            let filled = [(); 8].map(|()| {
                let at = clock.step(start);
                assert!(at >= before, "{at:?} after {before:?}");
                before = at;
                at - start
            });
            // Not 70 ms, as eight steps last.
            assert!(filled[7] <= step_time(3), "{filled:?}");
            for i in 1..500 {
                let now = start + step_time(i);
                let at = clock.step(now);
                assert!(at >= before, "{at:?} after {before:?}");
                let ahead = at.saturating_sub(now);
                assert!(i < 10 || ahead < Duration::from_millis(2), "{ahead:?} at {i}");
                before = at;
            }
        }
    }

    proptest! {
        #[test]
        fn the_clock_never_goes_backwards(pauses in proptest::collection::vec(prop_oneof![Just(0), 0..300_000u64], 1..400)) {
            let mut clock = PlayClock::default();
            let (mut now, mut before) = (Duration::ZERO, Duration::ZERO);
            for pause in pauses {
                now += Duration::from_micros(pause);
                let at = clock.step(now);
                prop_assert!(at >= before, "{:?} after {:?}", at, before);
                before = at;
            }
        }
    }

    #[test]
    fn the_clock_of_the_steps_is_smooth() {
        // Requests up to 4 ms late.
        let mut clock = PlayClock::default();
        let steps: Vec<Duration> = (0..1_000u64)
            .map(|i| clock.step(Duration::from_micros(1_000_000 + i * 10_000 + i * 7_919 % 4_000)))
            .collect();
        for pair in steps[200..].windows(2) {
            let step = pair[1].checked_sub(pair[0]).unwrap_or_default();
            assert!((8..=11).contains(&step.as_millis()), "{step:?}");
        }
    }
}
