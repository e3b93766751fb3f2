//! The room: all of us.

pub mod code;
