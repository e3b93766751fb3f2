//! `voicechat-relay`: a relay of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;

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
#[allow(clippy::print_stdout)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let key = relay::key_file::load_or_create(&args.key_file)
        .with_context(|| format!("The key file {} cannot be used.", args.key_file.display()))?;
    let id = relay::key_file::relay_id(&key);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("The system gives no random bytes.")?;
    let socket = UdpSocket::bind(args.listen)
        .await
        .with_context(|| format!("UDP {} cannot be opened; is it in use?", args.listen))?;
    println!("Relay is listening on UDP {}", socket.local_addr()?);
    let stats = relay::serve(socket, RelayKey::new(key), id, seed, relay::server::stop_signal()).await?;
    println!(
        "Stopped; {} packets forwarded, {} dropped",
        stats.counters.forwarded,
        stats.counters.all_dropped()
    );
    Ok(())
}
