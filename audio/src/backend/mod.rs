//! Where sound really comes from and goes to. Device callbacks move samples through a ring and nothing else.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::Thread;
use std::time::Duration;

use crate::error::Error;
use crate::spec::FrameLen;

pub(crate) mod tone;
pub(crate) mod wav;

#[cfg(not(target_os = "linux"))]
mod cpal_host;
#[cfg(target_os = "linux")]
mod pulse;
#[cfg(target_os = "linux")]
mod pulse_socket;

/// `Mic`, `Speaker` and `devices` of this platform, with the same verbs everywhere.
pub(crate) mod native {
    #[cfg(not(target_os = "linux"))]
    pub(crate) use super::cpal_host::{Mic, Speaker, devices};
    #[cfg(target_os = "linux")]
    pub(crate) use super::pulse::{Mic, Speaker, devices};
}

/// What the worker does with a device of either direction.
pub(crate) trait Native: Sized + Send + 'static {
    /// Opens the device `name`, or the default one; `worker` is woken when there is something to do.
    fn open(name: Option<&str>, frame: FrameLen, worker: Thread) -> Result<Self, Error>;
    fn is_lost(&self) -> bool;
    /// Stops or resumes the device.
    fn rest(&mut self, rest: bool);
    /// Of a microphone: how old its sound is when it is read, besides the piece that has to be full. Of a loudspeaker:
    /// how long it takes to be heard after it was written. Zero until known.
    fn delay(&self) -> Duration;
    /// What the sound system calls it, as in [`crate::Device`].
    fn id(&self) -> Option<Arc<str>>;
}

/// A device by its name, or the default one; opened again and again while it is away.
pub(crate) struct Device<T> {
    name: Option<String>,
    frame: FrameLen,
    state: State<T>,
    resting: bool,
}

enum State<T> {
    Open(T),
    Lost {
        retry: Duration,
    },
    /// A sound server that is slow to answer holds up this thread instead of the other direction's sound.
    Opening(Receiver<Result<T, Error>>),
}

/// What [`Device::tend`] found.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Change {
    None,
    Lost,
    Back,
}

impl<T: Native> Device<T> {
    pub(crate) fn open(name: Option<String>, frame: FrameLen, worker: Thread) -> Result<Device<T>, Error> {
        let state = State::Open(T::open(name.as_deref(), frame, worker)?);
        Ok(Device { name, frame, state, resting: false })
    }

    /// One that is not there, and is used as soon as it is.
    pub(crate) fn awaited(name: Option<String>, frame: FrameLen) -> Device<T> {
        Device { name, frame, state: State::Lost { retry: RETRY }, resting: false }
    }

    pub(crate) fn id(&self) -> Option<Arc<str>> {
        match &self.state {
            State::Open(device) => device.id(),
            State::Lost { .. } | State::Opening(_) => None,
        }
    }

    /// As [`Native::delay`].
    pub(crate) fn delay(&self) -> Duration {
        match &self.state {
            State::Open(device) => device.delay(),
            State::Lost { .. } | State::Opening(_) => Duration::ZERO,
        }
    }

    pub(crate) fn get(&mut self) -> Option<&mut T> {
        match &mut self.state {
            State::Open(device) => Some(device),
            State::Lost { .. } | State::Opening(_) => None,
        }
    }

    /// Stops or resumes the device, also one that is away now.
    pub(crate) fn rest(&mut self, rest: bool) {
        self.resting = rest;
        if let State::Open(device) = &mut self.state {
            device.rest(rest);
        }
    }

    pub(crate) fn rests(&self) -> bool {
        self.resting
    }

    /// Sees whether it is still there, and tries to open it again now and then when it is not.
    pub(crate) fn tend(&mut self, now: Duration) -> Change {
        match &self.state {
            State::Open(device) if device.is_lost() => {
                self.state = State::Lost { retry: now + RETRY };
                Change::Lost
            }
            State::Lost { retry } if now >= *retry => {
                self.state = match self.reopen() {
                    Ok(opened) => State::Opening(opened),
                    Err(_) => State::Lost { retry: now + RETRY },
                };
                Change::None
            }
            State::Opening(opened) => match opened.try_recv() {
                Ok(Ok(mut device)) => {
                    device.rest(self.resting);
                    self.state = State::Open(device);
                    Change::Back
                }
                Ok(Err(_)) | Err(TryRecvError::Disconnected) => {
                    self.state = State::Lost { retry: now + RETRY };
                    Change::None
                }
                Err(TryRecvError::Empty) => Change::None,
            },
            _ => Change::None,
        }
    }

    fn reopen(&self) -> std::io::Result<Receiver<Result<T, Error>>> {
        let (done, opened) = mpsc::channel();
        let (name, frame, worker) = (self.name.clone(), self.frame, std::thread::current());
        std::thread::Builder::new().name("device".into()).spawn(move || {
            // Dropped in this order, also by a panic: the worker is woken when there is something to see.
            let _wake = Wake(worker.clone());
            let done = done;
            let _ = done.send(T::open(name.as_deref(), frame, worker));
        })?;
        Ok(opened)
    }

    /// When [`Device::tend`] is to be called again although the device is silent.
    pub(crate) fn retry(&self) -> Option<Duration> {
        match &self.state {
            State::Open(_) | State::Opening(_) => None,
            State::Lost { retry } => Some(*retry),
        }
    }
}

/// The loudspeaker whose sound this microphone is: PulseAudio and PipeWire both give a monitor its sink's name and this end.
pub(crate) fn monitored(source: &str) -> Option<&str> {
    source.strip_suffix(".monitor")
}

struct Wake(Thread);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// A headset that is plugged in again, or a restarted server, is there within a second or two.
const RETRY: Duration = Duration::from_secs(1);
/// How much sound a ring between a device and the worker holds, in samples: a worker that was held up for longer
/// has lost the conversation anyway.
pub(crate) const RING: usize = 48 * 200;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::error::Direction;

    /// There while its file is, and a defect while that says so.
    struct Plug(PathBuf);

    impl Native for Plug {
        fn open(name: Option<&str>, _: FrameLen, _: Thread) -> Result<Plug, Error> {
            let path = PathBuf::from(name.unwrap());
            match std::fs::read_to_string(&path) {
                Ok(said) if said == "defect" => panic!("on purpose"),
                Ok(_) => Ok(Plug(path)),
                Err(gone) => Err(Error::Device { direction: Direction::Input, reason: gone.to_string() }),
            }
        }

        fn id(&self) -> Option<Arc<str>> {
            None
        }

        fn is_lost(&self) -> bool {
            !self.0.exists()
        }

        fn rest(&mut self, _: bool) {}

        fn delay(&self) -> Duration {
            Duration::from_millis(7)
        }
    }

    fn device(path: &Path) -> Device<Plug> {
        Device::awaited(Some(path.to_str().unwrap().to_owned()), FrameLen::Ms20)
    }

    /// Tends it until it has tried to open and was told how that went; time goes by as it asks for.
    fn tried(device: &mut Device<Plug>, now: &mut Duration) -> Change {
        *now = device.retry().unwrap();
        assert!(device.tend(*now) == Change::None && device.retry().is_none());
        loop {
            // Whoever opens wakes its worker, also when that fails.
            std::thread::park();
            let change = device.tend(*now);
            if change != Change::None || device.retry().is_some() {
                return change;
            }
        }
    }

    #[test]
    fn what_is_not_there_is_tried_until_it_is_and_again_when_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headset");
        let (mut device, mut now) = (device(&path), Duration::ZERO);
        assert!(tried(&mut device, &mut now) == Change::None);
        assert!(tried(&mut device, &mut now) == Change::None && device.get().is_none());
        std::fs::write(&path, "").unwrap();
        assert!(tried(&mut device, &mut now) == Change::Back && device.get().is_some());
        assert_eq!((device.retry(), device.delay()), (None, Duration::from_millis(7)));
        std::fs::remove_file(&path).unwrap();
        assert!(device.tend(now) == Change::Lost && device.get().is_none());
        std::fs::write(&path, "").unwrap();
        assert!(tried(&mut device, &mut now) == Change::Back);
    }

    #[test]
    fn a_defect_while_opening_is_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headset");
        std::fs::write(&path, "defect").unwrap();
        let (mut device, mut now) = (device(&path), Duration::ZERO);
        assert!(tried(&mut device, &mut now) == Change::None);
        std::fs::write(&path, "").unwrap();
        assert!(tried(&mut device, &mut now) == Change::Back);
    }
}
