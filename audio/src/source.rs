//! Where the microphone's sound comes from.

use std::thread::Thread;
use std::time::Duration;

use crate::backend::Device;
use crate::backend::native::Mic;
use crate::backend::tone::Tone;
use crate::backend::wav::WavSource;
use crate::error::{Error, Trouble};
use crate::spec::{FrameLen, InputSpec};

pub(crate) enum Source {
    /// Nothing will come.
    Silence,
    /// Frames since the start that are done.
    File { file: File, done: u64 },
    Mic {
        device: Device<Mic>,
        heard: Duration,
        /// What comes earlier was said before one was to be heard.
        since: Duration,
        /// When sound came again after a time without any.
        resumed: Option<Duration>,
    },
}

impl Source {
    /// Takes as long as the sound server does; what comes from a device wakes `worker`.
    pub(crate) fn open(spec: InputSpec, frame: FrameLen, worker: Thread) -> Result<Source, Error> {
        let file = |file| Source::File { file, done: 0 };
        Ok(match spec {
            InputSpec::Silence => Source::Silence,
            InputSpec::Tone { hz } => file(File::Tone(Tone::new(hz))),
            InputSpec::Wav { path, repeat } => file(File::Wav(Box::new(WavSource::open(&path, repeat)?))),
            InputSpec::Default => Source::mic(Device::open(None, frame, worker)?),
            InputSpec::Device(name) => Source::mic(Device::open(Some(name), frame, worker)?),
        })
    }

    /// The microphone of `spec`, which is not there; nothing where that is no device.
    pub(crate) fn awaited(spec: &InputSpec, frame: FrameLen) -> Option<Source> {
        let name = match spec {
            InputSpec::Default => None,
            InputSpec::Device(name) => Some(name.clone()),
            InputSpec::Silence | InputSpec::Tone { .. } | InputSpec::Wav { .. } => return None,
        };
        Some(Source::mic(Device::awaited(name, frame)))
    }

    fn mic(device: Device<Mic>) -> Source {
        Source::Mic { device, heard: Duration::ZERO, since: Duration::ZERO, resumed: None }
    }

    /// Begins at `now`.
    pub(crate) fn begin(&mut self, now: Duration, frame: FrameLen) {
        match self {
            Source::Silence => {}
            Source::File { done, .. } => *done = frame.count(now),
            Source::Mic { heard, since, .. } => (*heard, *since) = (now, now),
        }
    }
}

pub(crate) enum File {
    Wav(Box<WavSource>),
    Tone(Tone),
}

impl File {
    /// Fills `out` as far as there is sound; one that is damaged ends there.
    pub(crate) fn read(&mut self, out: &mut [f32]) -> Result<usize, Trouble> {
        match self {
            File::Tone(tone) => {
                tone.read(out);
                Ok(out.len())
            }
            File::Wav(wav) => wav
                .read(out)
                .map_err(|reason| Trouble::WavInputBroken { path: wav.path().to_owned(), reason }),
        }
    }
}
