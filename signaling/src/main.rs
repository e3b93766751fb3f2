//! `voicechat-signaling`: a meeting place of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use signaling::{Config, Limits, RelayInfo};
use tokio::net::TcpListener;
use vc_core::crypto::keys::StaticKey;
use vc_core::crypto::ticket::RelayKey;
use vc_core::room::code::base32;

/// Introduces friends to each other. It sees room numbers and addresses, never words, names, keys or content.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address and TCP port to listen on
    #[arg(long, default_value = "0.0.0.0:47700")]
    listen: SocketAddr,
    /// This server's key; made if the file does not exist
    #[arg(long)]
    key_file: PathBuf,
    /// A relay's address for clients; 0.0.0.0:PORT means the host that this server is reached at
    #[arg(long, requires = "relay_key_file")]
    relay: Option<SocketAddr>,
    /// The key shared with that relay
    #[arg(long, requires = "relay")]
    relay_key_file: Option<PathBuf>,
    /// Another place that tells clients their public address (any relay does); given up to twice
    #[arg(long)]
    probe: Vec<SocketAddr>,
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
    let key = StaticKey::from_bytes(*load(&args.key_file)?.as_bytes());
    let relays = match (args.relay, &args.relay_key_file) {
        (Some(addr), Some(path)) => {
            let key = load(path)?;
            vec![RelayInfo { addr, id: relay::key_file::relay_id(&key), key: RelayKey::new(key) }]
        }
        _ => Vec::new(),
    };
    let probes = args.relay.into_iter().chain(args.probe).collect();
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("The system gives no random bytes")?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("TCP {} cannot be opened (choose another with --listen)", args.listen))?;
    let addr = listener.local_addr()?;
    let key_text = base32(&key.public().0);
    if addr.ip().is_unspecified() {
        // Only the operator knows under which name the machine is reached.
        println!("Friends reach this server at HOST:{}#{key_text}", addr.port());
    } else {
        println!("Friends reach this server at {addr}#{key_text}");
    }
    let config = Config { key, relays, probes, limits: Limits::default(), seed };
    signaling::serve(listener, config, relay::server::stop_signal()).await?;
    Ok(())
}

fn load(path: &std::path::Path) -> anyhow::Result<vc_core::crypto::keys::Secret<32>> {
    relay::key_file::load_or_create(path).with_context(|| {
        format!("The key file {} cannot be used (choose another, or mend it)", path.display())
    })
}
