//! `voicechat-relay`: a relay of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use relay::mistyped::{address, port};
use relay::program::Failure;
use relay::{Doors, listen, program};
use vc_core::crypto::ticket::RelayKey;

/// Forwards sealed voice and chat between friends whose routers do not let them meet. It cannot open what it forwards.
#[derive(Parser)]
#[command(name = "voicechat-relay", version, after_help = EXAMPLES)]
struct Args {
    /// Address and port to listen on, UDP and TCP [default: 47700 at every address]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen: Option<SocketAddr>,
    /// One more TCP port, for friends whose networks block the first; 443 passes nearly everywhere
    #[arg(long, value_name = "PORT", value_parser = port, conflicts_with = "no_tcp")]
    also: Vec<u16>,
    /// UDP only, because another program has the TCP port
    #[arg(long)]
    no_tcp: bool,
    /// The key shared with the signaling server; made if the file does not exist
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    program::end(match program::typed(std::env::args_os()) {
        Ok(args) => run(args).await.map_err(Into::into),
        Err(stop) => Err(stop),
    })
}

#[allow(clippy::print_stdout)]
async fn run(args: Args) -> Result<(), Failure> {
    let key = program::key(&args.key_file)?;
    let id = relay::key_file::relay_id(&key);
    let seed = program::seed()?;
    let listen = args.listen.unwrap_or_else(program::usual);
    let closed = |error| program::closed("UDP", listen, &error, "Choose another port with --listen.");
    let socket = listen::udp(listen).map_err(closed)?;
    let addr = socket.local_addr().map_err(closed)?;
    let tcp = match args.no_tcp {
        true => Vec::new(),
        false => program::listen(
            addr,
            &args.also,
            "Choose another port with --listen, or leave it to the other program with --no-tcp.",
        )?,
    };
    println!("Relay is listening on UDP {addr}{}", if args.no_tcp { "" } else { " and TCP" });
    let doors = Doors::new(socket, tcp);
    let stats = relay::serve(doors, RelayKey::new(key), id, seed, relay::server::stop_signal()).await;
    let stats = stats.map_err(|error| Failure::lost(&error))?;
    println!(
        "Stopped; {} packets forwarded, {} dropped",
        stats.counters.forwarded,
        stats.counters.all_dropped()
    );
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  voicechat-relay --key-file relay.key
  voicechat serve --relay 203.0.113.7:47700 --relay-key-file relay.key   the server that offers it";
