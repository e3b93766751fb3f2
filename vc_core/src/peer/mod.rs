//! One friend: its handshake, its sessions, its message streams, its paths.

pub mod handshake;
pub mod hearing;
pub mod loss;
pub mod machine;
pub mod news;
pub mod session;
pub mod stream;
pub mod vouched;
