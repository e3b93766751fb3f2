//! Microphone to Opus frames, Opus frames to loudspeaker. Knows nothing of networks, rooms or keys.
//!
//! [`Engine`] is the whole thing behind one thread. What it is made of is pure and can be driven alone, faster than
//! time: [`Capture`] turns samples into frames (through a [`Chain`]), [`Playback`] turns the friends' frames into samples, [`Jitter`] is
//! the buffer of one friend.

mod adaptation;
mod backend;
mod canceller;
mod capture;
mod chain;
mod comfort;
mod copies;
mod cue;
mod decimator;
mod delay;
mod detector;
mod device;
mod drain;
mod dred;
mod drift;
mod echo;
mod engine;
mod error;
mod estoi;
mod finder;
mod floor;
mod gate;
mod highpass;
mod input;
mod jitter;
mod level;
pub mod measure;
mod mixer;
mod noise;
mod opus;
mod output;
mod packets;
mod past;
mod playback;
mod preroll;
mod receiver;
mod resample;
mod reserve;
mod shared;
#[cfg(test)]
mod sound;
mod source;
mod spec;
mod splice;
mod talk;
mod watch;
mod worker;

pub use adaptation::{Adaptation, Quality, Reception};
pub use capture::{Capture, CaptureStats, Level};
pub use chain::{Chain, Found, Stages};
pub use cue::Cue;
pub use device::{Device, Devices, InUse, devices};
pub use dred::Dred;
pub use engine::Engine;
pub use error::{Direction, Error, Existing, Trouble};
pub use highpass::HighPass;
pub use jitter::{Counts, Fit, Frame, Heard, Jitter};
pub use mixer::Limiter;
pub use opus::{Again, Decoder, Encoder, Protection, Refused, has_fec};
pub use packets::{Captured, Packets};
pub use past::Past;
pub use playback::Playback;
pub use receiver::FriendStats;
pub use resample::Resampler;
pub use shared::{Absent, FromEngine, Latency};
pub use spec::{Config, FrameLen, InputSpec, OutputSpec, RATE, STEP, Switch};
