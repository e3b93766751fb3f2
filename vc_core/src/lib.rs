//! The engine of a private room for voice and text: admission, sessions, paths, peers. It is told everything and
//! asks nothing: no socket, clock, thread, file or environment is touched here.
//!
//! One machine, [`room::Room`], is driven by one loop:
//!
//! 1. tell it what happened: `room.handle(now, input)`;
//! 2. do what it wants: `room.poll()` until it answers [`io::Output::Wake`];
//! 3. wait for a datagram, a signaling frame, a microphone frame, a command, or the time in `Wake`; go to 1.
//!
//! What comes from the network and makes no sense is dropped and counted ([`room::Room::counters`]). When a stay is
//! over the room says so once, with [`io::Event::Ended`]. A panic is a bug of ours.

#![forbid(unsafe_code)]

pub mod crypto;
pub mod error;
pub mod io;
pub mod net;
pub mod peer;
pub mod protocol;
pub mod room;

pub use error::Error;
