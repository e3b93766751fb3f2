//! Microphone to Opus frames, Opus frames to loudspeaker. Knows nothing of networks, rooms or keys.
//!
//! [`Engine`] is the whole thing behind one thread. What it is made of is pure and can be driven alone, faster than
//! time: [`Capture`] turns samples into frames, [`Playback`] turns the friends' frames into samples, [`Jitter`] is
//! the buffer of one friend.

mod backend;
mod capture;
mod delay;
mod device;
mod engine;
mod error;
mod estoi;
mod gate;
mod input;
mod jitter;
pub mod measure;
mod mixer;
mod opus;
mod output;
mod playback;
mod resample;
#[cfg(test)]
mod sound;
mod spec;
mod splice;
mod worker;

pub use capture::{Capture, CaptureStats, Captured, Level};
pub use device::{Device, Devices, devices};
pub use engine::{Engine, FromEngine};
pub use error::{Direction, Error, Existing, Trouble};
pub use jitter::{Counts, Fit, Frame, Heard, Jitter};
pub use mixer::Limiter;
pub use opus::{Decoder, Encoder, Refused};
pub use playback::{FriendStats, Playback, STEP};
pub use resample::Resampler;
pub use spec::{Config, FrameLen, InputSpec, OutputSpec, RATE};
