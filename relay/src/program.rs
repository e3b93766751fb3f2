//! What the two server programs do alike: the command line, keys, ports, the last word.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use thiserror::Error;
use tokio::net::TcpListener;
use vc_core::crypto::keys::Secret;

use crate::{listen, mistyped};

/// Why a server program stopped other than on request. The exit statuses are those of `voicechat` (docs/EVENTS.md).
#[derive(Debug, Error)]
#[error("{what}\n{hint}")]
pub struct Failure {
    status: u8,
    /// What happened, a sentence.
    what: String,
    /// What to do, a sentence.
    hint: String,
}

/// Why there is nothing more to do.
#[derive(Debug, Error)]
pub enum Stop {
    /// It was asked for, or is the answer to half a command.
    #[error("{0}")]
    Help(clap::Error),
    #[error(transparent)]
    Failed(#[from] Failure),
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

/// The command line, from the name of the program on.
pub fn typed<A: Parser>(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<A, Stop> {
    A::try_parse_from(words).map_err(|error| {
        if mistyped::is_help(&error) {
            return Stop::Help(error);
        }
        let (what, hint) = mistyped::told(&error, A::command().get_name());
        Failure::usage(what, hint).into()
    })
}

/// The last word, and what the process ends with.
#[allow(clippy::print_stderr)]
pub fn end(result: Result<(), Stop>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Help(help)) => {
            // Whoever does not listen has no use for it.
            let _ = help.print();
            if help.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        }
        Err(Stop::Failed(failure)) => {
            eprintln!("{failure}");
            ExitCode::from(failure.status)
        }
    }
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

/// Listens there, and at each of these ports of the same address. `taken` is what to do where another program has the
/// first.
pub fn listen(first: SocketAddr, also: &[u16], taken: &str) -> Result<Vec<TcpListener>, Failure> {
    let others =
        also.iter().map(|port| (SocketAddr::new(first.ip(), *port), "Choose another port with --also."));
    [(first, taken)]
        .into_iter()
        .chain(others)
        .map(|(addr, taken)| listen::tcp(addr).map_err(|error| closed("TCP", addr, &error, taken)))
        .collect()
}

/// A port that cannot be had; `taken` is what to do where another program has it.
pub fn closed(protocol: &str, addr: SocketAddr, error: &io::Error, taken: &str) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => taken,
        io::ErrorKind::PermissionDenied => {
            "Choose a port above 1023, or give the program the right to lower ones (`setcap cap_net_bind_service=+ep`)."
        }
        // Nothing else is wrong with any port.
        _ => "Name an address of this machine with --listen.",
    };
    Failure::machine(format!("{protocol} {addr} cannot be opened ({}).", reason(error)), hint)
}

/// As [`closed`], where any port would have done.
pub fn portless(protocol: &str, ip: IpAddr, error: &io::Error) -> Failure {
    Failure::machine(
        format!("No {protocol} port of {ip} can be opened ({}).", reason(error)),
        "Let this program open one, or name another address of this machine with --listen.",
    )
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[arg(long)]
        listen: Option<SocketAddr>,
    }

    #[test]
    fn who_asks_for_help_is_told_and_it_is_the_program_itself_that_ends() {
        let help = typed::<Args>(["relay", "--help"]).unwrap_err();
        assert!(matches!(&help, Stop::Help(_)) && help.to_string().contains("--listen"), "{help}");
        let wrong = typed::<Args>(["relay", "--listen"]).unwrap_err();
        assert!(matches!(wrong, Stop::Failed(Failure { status: USAGE, .. })), "{wrong}");
        assert!(typed::<Args>(["relay", "--listen", "[::]:1"]).unwrap().listen.is_some());
    }

    #[test]
    fn what_is_advised_where_a_port_cannot_be_had_fits_the_reason() {
        let addr = SocketAddr::from(([203, 0, 113, 9], 443));
        let told = |kind: io::ErrorKind| closed("TCP", addr, &kind.into(), "Choose another.").to_string();
        for (kind, hint) in [
            (io::ErrorKind::AddrInUse, "Choose another."),
            (io::ErrorKind::AddrNotAvailable, "Name an address of this machine with --listen."),
            (io::ErrorKind::PermissionDenied, "Choose a port above 1023,"),
        ] {
            let told = told(kind);
            assert!(
                told.starts_with("TCP 203.0.113.9:443 cannot be opened (") && told.contains(hint),
                "{told}"
            );
        }
        let none = portless("UDP", addr.ip(), &io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(
            none.starts_with("No UDP port of 203.0.113.9 can be opened (") && !none.contains("443"),
            "{none}"
        );
    }
}
