//! `voicechat-relay`: a relay of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use relay::{Doors, listen, program};
use vc_core::crypto::ticket::RelayKey;

/// Forwards sealed voice and chat between friends whose routers do not let them meet. It cannot open what it forwards.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address and port to listen on, UDP and TCP [default: 47700 at every address]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// One more TCP port, for friends whose networks block the first; 443 passes nearly everywhere
    #[arg(long, value_name = "PORT", conflicts_with = "no_tcp")]
    also: Vec<u16>,
    /// UDP only, because another program has the TCP port
    #[arg(long)]
    no_tcp: bool,
    /// The key shared with the signaling server; made if the file does not exist
    #[arg(long)]
    key_file: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    program::end(run(Args::parse()).await)
}

#[allow(clippy::print_stdout)]
async fn run(args: Args) -> anyhow::Result<()> {
    let key = program::key(&args.key_file)?;
    let id = relay::key_file::relay_id(&key);
    let seed = program::seed()?;
    let listen = args.listen.unwrap_or_else(program::usual);
    let socket = listen::udp(listen)
        .with_context(|| format!("UDP {listen} cannot be opened (choose another with --listen)"))?;
    let addr = socket.local_addr()?;
    let tcp = match args.no_tcp {
        true => Vec::new(),
        false => {
            program::listen(addr, &args.also, "choose another with --listen, or leave it with --no-tcp")?
        }
    };
    println!("Relay is listening on UDP {addr}{}", if args.no_tcp { "" } else { " and TCP" });
    let doors = Doors::new(socket, tcp);
    let stats = relay::serve(doors, RelayKey::new(key), id, seed, relay::server::stop_signal()).await?;
    println!(
        "Stopped; {} packets forwarded, {} dropped",
        stats.counters.forwarded,
        stats.counters.all_dropped()
    );
    Ok(())
}
