//! Keys and sealed bytes, without any I/O: who may enter, what two members say to each other, what a relay will carry.
//!
//! Every random byte comes from the caller's [`keys::Rng`]; the same seed gives the same bytes.

mod aead;
pub mod keys;
pub mod link;
pub mod noise;
pub mod pake;
pub mod replay;
pub mod sign;
pub mod ticket;

#[cfg(test)]
#[path = "../../tests/vectors/parse.rs"]
mod vectors;
