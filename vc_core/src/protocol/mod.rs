//! Bytes to types and back (docs/PROTOCOL.md). No state, no decisions.

pub mod codec;
pub mod control;
pub mod entrance;
pub mod mapping;
pub mod member;
pub mod packet;
pub mod removal;
pub mod signal;
pub mod stream;
pub mod text;
pub mod welcome;
