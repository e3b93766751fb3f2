//! What the two server programs do alike: keys, ports, the last word.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tokio::net::TcpListener;
use vc_core::crypto::keys::Secret;

use crate::listen;

/// Says what went wrong in one line, without the system's number for it and whatever the environment asks anyhow to add.
#[allow(clippy::print_stderr)]
pub fn end(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let text = format!("{error:#}");
    eprintln!("{}.", text.split(" (os error").next().unwrap_or_default());
    ExitCode::FAILURE
}

pub fn key(file: &Path) -> anyhow::Result<Secret<32>> {
    crate::key_file::load_or_create(file).with_context(|| {
        format!("The key file {} cannot be used (choose another, or mend it)", file.display())
    })
}

pub fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("The system gives no random bytes")?;
    Ok(seed)
}

/// Where to listen when nobody says so.
pub fn usual() -> SocketAddr {
    SocketAddr::new(listen::everywhere(), PORT)
}

/// Listens there, and at each of these ports of the same address.
pub fn listen(first: SocketAddr, also: &[u16], hint: &str) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(1 + also.len());
    let others = also.iter().map(|port| (SocketAddr::new(first.ip(), *port), "choose another with --also"));
    for (addr, hint) in [(first, hint)].into_iter().chain(others) {
        let listener = listen::tcp(addr);
        listeners.push(listener.with_context(|| format!("TCP {addr} cannot be opened ({hint})"))?);
    }
    Ok(listeners)
}

/// Both protocols; unassigned by IANA.
pub const PORT: u16 = 47_700;
