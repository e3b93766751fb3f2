//! The signaling server: a mailbox where members of a room meet. It knows nameplates, slots and sizes; it never sees
//! words, names, keys or candidates, and it logs nothing about anyone (docs/PROTOCOL.md, "Signaling").
//!
//! [`room::Rooms`] is pure: `handle(now, wall, Input)`, then `poll()` until it answers `None`. [`line::Line`] is the
//! pure framing and sealing of one connection. [`server::serve`] is the edge with the sockets.

#![forbid(unsafe_code)]

mod config;
pub mod line;
mod plates;
mod proof;
mod protocol;
pub mod room;
mod seats;
pub mod server;

pub use config::{Config, Limits, RelayInfo};
pub use room::{Counters, Input, Output, Rooms};
pub use seats::ConnId;
pub use server::{Doors, serve};
