//! Datagrams to a peer and back: where it may be, which paths work, which one carries.

pub mod binding;
pub mod candidate;
pub mod echo;
pub mod forward;
pub mod ladder;
pub mod outbox;
pub mod path;
pub mod punch;
