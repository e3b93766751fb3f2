//! The bodies of all fuzz targets: each takes arbitrary bytes and asserts what must hold whatever they are. Compiled
//! and replayed on stable (`tests/corpus.rs`); driven by coverage in `fuzz/fuzz_targets` (`scripts/fuzz.sh`).

#![forbid(unsafe_code)]
// A body proves things by panicking.
#![allow(clippy::unwrap_used)]

mod crypto;
mod room;
pub mod script;
mod servers;
mod sound;
mod wire;
mod words;

pub use crypto::{admission, handshake, ticket};
pub use room::room_inputs;
pub use servers::{forwarder, signaling_connection};
pub use sound::opus;
pub use wire::{
    control, frames, mail, packet, signal_to_client, signal_to_server, stream, welcome_and_records,
};
pub use words::{code_text, sanitiser};

pub struct Target {
    /// Also the name of its corpus.
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const TARGETS: [Target; 17] = [
    Target { name: "packet", run: packet },
    Target { name: "frames", run: frames },
    Target { name: "control", run: control },
    Target { name: "stream", run: stream },
    Target { name: "welcome_and_records", run: welcome_and_records },
    Target { name: "signal_to_client", run: signal_to_client },
    Target { name: "signal_to_server", run: signal_to_server },
    Target { name: "mail", run: mail },
    Target { name: "code_text", run: code_text },
    Target { name: "sanitiser", run: sanitiser },
    Target { name: "ticket", run: ticket },
    Target { name: "admission", run: admission },
    Target { name: "handshake", run: handshake },
    Target { name: "signaling_connection", run: signaling_connection },
    Target { name: "forwarder", run: forwarder },
    Target { name: "room_inputs", run: room_inputs },
    Target { name: "opus", run: opus },
];
