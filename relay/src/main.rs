//! `voicechat-relay`: a relay of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::net::UdpSocket;
use vc_core::crypto::ticket::RelayKey;

/// Forwards sealed voice and chat between friends whose routers do not let them meet. It cannot open what it forwards.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address and UDP port to listen on
    #[arg(long, default_value = "0.0.0.0:47700")]
    listen: SocketAddr,
    /// The key shared with the signaling server; made if the file does not exist
    #[arg(long)]
    key_file: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stderr)]
async fn main() -> ExitCode {
    let Err(error) = run(Args::parse()).await else { return ExitCode::SUCCESS };
    // One line, without the system's number for it and whatever the environment asks anyhow to add.
    let text = format!("{error:#}");
    eprintln!("{}.", text.split(" (os error").next().unwrap_or_default());
    ExitCode::FAILURE
}

#[allow(clippy::print_stdout)]
async fn run(args: Args) -> anyhow::Result<()> {
    let key = relay::key_file::load_or_create(&args.key_file).with_context(|| {
        format!("The key file {} cannot be used (choose another, or mend it)", args.key_file.display())
    })?;
    let id = relay::key_file::relay_id(&key);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("The system gives no random bytes")?;
    let socket = UdpSocket::bind(args.listen)
        .await
        .with_context(|| format!("UDP {} cannot be opened (choose another with --listen)", args.listen))?;
    println!("Relay is listening on UDP {}", socket.local_addr()?);
    let stats = relay::serve(socket, RelayKey::new(key), id, seed, relay::server::stop_signal()).await?;
    println!(
        "Stopped; {} packets forwarded, {} dropped",
        stats.counters.forwarded,
        stats.counters.all_dropped()
    );
    Ok(())
}
