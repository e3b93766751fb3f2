//! Why a room is over for us. Garbage from the network is never an error; it is dropped and counted.

use thiserror::Error;

/// The end of a room stay. Every variant is final: the room does nothing more afterwards.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("the words of the code are wrong")]
    WrongCode,
    #[error("no room answers to this code")]
    NoSuchRoom,
    #[error("nobody in the room answered")]
    NobodyHome,
    #[error("the room is full")]
    Full,
    #[error("the room takes no new members: too many wrong codes were tried")]
    Locked,
    #[error("the room is locked: its members let nobody in")]
    Closed,
    #[error("the other side speaks another version of the protocol")]
    Version,
    #[error("the signaling server cannot be reached")]
    Unreachable,
    #[error("too many tries in a short time")]
    TooFast,
    #[error("admitted, but no path to anyone in the room works")]
    NoPath,
    #[error("the creator removed you from the room")]
    Kicked,
}
