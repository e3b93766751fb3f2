//! The relay: forwards sealed packets between the members of a room that cannot meet. It sees slots, addresses, sizes
//! and times; it holds no key to any content and logs no address (docs/PROTOCOL.md, "Relay").
//!
//! All decisions are [`vc_core::net::forward::Forwarder`]'s; [`server::serve`] is the edge with the sockets.

#![forbid(unsafe_code)]

pub mod doors;
pub mod echo;
pub mod key_file;
pub mod listen;
pub mod mistyped;
pub mod program;
pub mod server;
pub mod stream;
mod streams;
mod udp;

pub use doors::Doors;
pub use server::{Stats, serve, serve_with};
