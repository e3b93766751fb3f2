//! What the two server programs do alike: the command line, keys, ports, the last word.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use vc_core::crypto::keys::Secret;

use crate::{listen, mistyped};

/// Why a server program stopped other than on request. The exit statuses are those of `voicechat` (docs/EVENTS.md).
#[derive(Debug)]
pub struct Failure {
    status: u8,
    /// What happened, a sentence.
    what: String,
    /// What to do, a sentence.
    hint: String,
}

impl Failure {
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: USAGE, what: what.into(), hint: hint.into() }
    }

    pub fn machine(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: MACHINE, what: what.into(), hint: hint.into() }
    }

    /// The server ran, and its sockets do no more.
    pub fn lost(error: &io::Error) -> Self {
        Self::machine(format!("The server lost its sockets ({}).", reason(error)), "Start it again.")
    }
}

/// The command line. Ends the program where help was asked for.
pub fn typed<A: Parser>() -> Result<A, Failure> {
    A::try_parse().map_err(|error| {
        if mistyped::is_help(&error) {
            error.exit();
        }
        let (what, hint) = mistyped::told(&error, A::command().get_name());
        Failure::usage(what, hint)
    })
}

/// The last word, and what the process ends with.
#[allow(clippy::print_stderr)]
pub fn end(result: Result<(), Failure>) -> ExitCode {
    let Err(Failure { status, what, hint }) = result else { return ExitCode::SUCCESS };
    eprintln!("{what}\n{hint}");
    ExitCode::from(status)
}

pub fn key(file: &Path) -> Result<Secret<32>, Failure> {
    crate::key_file::load_or_create(file).map_err(|error| {
        Failure::machine(
            format!("The key file {} cannot be used ({}).", file.display(), reason(&error)),
            "Make it readable, name another place for it, or remove it to get a new key.",
        )
    })
}

pub fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Failure::machine(
            format!("The system gives no random bytes ({error})."),
            "Without them nothing is private.",
        )
    })?;
    Ok(seed)
}

/// Where to listen when nobody says so.
pub fn usual() -> SocketAddr {
    SocketAddr::new(listen::everywhere(), PORT)
}

/// Listens there, and at each of these ports of the same address.
pub fn listen(first: SocketAddr, also: &[u16], hint: &str) -> Result<Vec<TcpListener>, Failure> {
    let others =
        also.iter().map(|port| (SocketAddr::new(first.ip(), *port), "Choose another port with --also."));
    [(first, hint)]
        .into_iter()
        .chain(others)
        .map(|(addr, hint)| listen::tcp(addr).map_err(|error| closed("TCP", addr, &error, hint)))
        .collect()
}

/// A port that cannot be had.
pub fn closed(protocol: &str, addr: SocketAddr, error: &io::Error, hint: &str) -> Failure {
    Failure::machine(format!("{protocol} {addr} cannot be opened ({}).", reason(error)), hint)
}

/// The system's word for it, without the number that Rust appends.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Both protocols; unassigned by IANA.
pub const PORT: u16 = 47_700;
/// What was typed cannot be meant.
const USAGE: u8 = 2;
/// This machine does not give what is needed.
const MACHINE: u8 = 11;
