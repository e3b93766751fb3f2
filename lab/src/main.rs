//! The lab: networks made of namespaces, nftables and bad lines, in which the real programs call each other.
//! Nothing leaves the machine and nothing is left on it.

#[cfg(target_os = "linux")]
mod cage;
#[cfg(target_os = "linux")]
mod call;
#[cfg(target_os = "linux")]
mod cell;
#[cfg(target_os = "linux")]
mod cli;
mod doctor;
#[cfg(target_os = "linux")]
mod event;
#[cfg(target_os = "linux")]
mod matrix;
#[cfg(target_os = "linux")]
mod nat;
#[cfg(target_os = "linux")]
mod ns;
#[cfg(target_os = "linux")]
mod predict;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod room;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod wire;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::print_stderr)]
fn main() -> std::process::ExitCode {
    eprintln!("SKIPPED: the lab is made of Linux's network namespaces.");
    std::process::ExitCode::from(77)
}
