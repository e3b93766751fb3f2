//! Datagrams to a peer and back: where it may be, which paths work, which one carries.

pub mod forward;
