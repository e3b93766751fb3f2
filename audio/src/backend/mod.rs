//! Where sound really comes from and goes to. Device callbacks move samples through a ring and nothing else.

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
pub(crate) trait Native: Sized {
    /// Opens the device `name`, or the default one; `worker` is woken when there is something to do.
    fn open(name: Option<&str>, frame: FrameLen, worker: Thread) -> Result<Self, Error>;
    fn is_lost(&self) -> bool;
    /// Stops or resumes the device.
    fn rest(&mut self, rest: bool);
    /// Of a microphone: how old its sound is when it is read, besides the piece that has to be full. Of a loudspeaker:
    /// how long it takes to be heard after it was written. Zero until known.
    fn delay(&self) -> Duration;
    /// What the sound system calls it; `None` where a loudspeaker's sound cannot be chosen as a microphone.
    fn id(&self) -> Option<&str> {
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
    Lost { retry: Duration },
}

/// What [`Device::tend`] found.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Change {
    None,
    Lost,
    Back,
}

impl<T: Native> Device<T> {
    pub(crate) fn open(name: Option<String>, frame: FrameLen) -> Result<Device<T>, Error> {
        let state = State::Open(T::open(name.as_deref(), frame, std::thread::current())?);
        Ok(Device { name, frame, state, resting: false })
    }

    pub(crate) fn id(&self) -> Option<&str> {
        match &self.state {
            State::Open(device) => device.id(),
            State::Lost { .. } => None,
        }
    }

    /// As [`Native::delay`].
    pub(crate) fn delay(&self) -> Duration {
        match &self.state {
            State::Open(device) => device.delay(),
            State::Lost { .. } => Duration::ZERO,
        }
    }

    pub(crate) fn get(&mut self) -> Option<&mut T> {
        match &mut self.state {
            State::Open(device) => Some(device),
            State::Lost { .. } => None,
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
                match T::open(self.name.as_deref(), self.frame, std::thread::current()) {
                    Ok(mut device) => {
                        device.rest(self.resting);
                        self.state = State::Open(device);
                        Change::Back
                    }
                    Err(_) => {
                        self.state = State::Lost { retry: now + RETRY };
                        Change::None
                    }
                }
            }
            _ => Change::None,
        }
    }

    /// When [`Device::tend`] is to be called again although the device is silent.
    pub(crate) fn retry(&self) -> Option<Duration> {
        match &self.state {
            State::Open(_) => None,
            State::Lost { retry } => Some(*retry),
        }
    }
}

/// A headset that is plugged in again, or a restarted server, is there within a second or two.
const RETRY: Duration = Duration::from_secs(1);
/// How much sound a ring between a device and the worker holds, in samples: a worker that was held up for longer
/// has lost the conversation anyway.
pub(crate) const RING: usize = 48 * 200;
