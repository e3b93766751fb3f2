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
    /// What the sound system calls it; `None` where a loudspeaker's sound cannot be chosen as a microphone.
    fn id(&self) -> Option<Arc<str>> {
        None
    }
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
            let _ = done.send(T::open(name.as_deref(), frame, worker.clone()));
            worker.unpark();
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

/// A headset that is plugged in again, or a restarted server, is there within a second or two.
const RETRY: Duration = Duration::from_secs(1);
/// How much sound a ring between a device and the worker holds, in samples: a worker that was held up for longer
/// has lost the conversation anyway.
pub(crate) const RING: usize = 48 * 200;
