//! Many members, servers and NATs on one virtual clock. The members and servers are the real ones (`vc_core::room`,
//! `signaling::Rooms`, `vc_core::net::forward`); the network and the drivers are simulated. One seed decides
//! everything, so the same seed leaves the same trace.

#![forbid(unsafe_code)]

pub mod departed;
pub mod dice;
pub mod link;
mod memory;
pub mod nat;
pub mod net;
pub mod node;
pub mod reach;
pub mod reference;
pub mod session;
pub mod stream;
pub mod world;

pub use dice::Dice;
pub use link::{Bursts, Profile};
pub use world::World;
