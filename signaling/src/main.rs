//! `voicechat-signaling`: a meeting place of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use relay::mistyped::{address, port};
use relay::program::{self, Failure};
use signaling::{Config, Doors, Limits, RelayInfo};
use vc_core::crypto::keys::StaticKey;
use vc_core::crypto::ticket::RelayKey;
use vc_core::net::candidate::HTTPS;
use vc_core::room::code::base32;

/// Introduces friends to each other. It sees room numbers and addresses, never words, names, keys or content.
#[derive(Parser)]
#[command(name = "voicechat-signaling", version, after_help = EXAMPLES)]
struct Args {
    /// Address and TCP port to listen on; UDP one port above tells clients how their routers map [default: 47700
    /// at every address]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen: Option<SocketAddr>,
    /// One more TCP port, for friends whose networks block the first; 443 passes nearly everywhere
    #[arg(long, value_name = "PORT", value_parser = port)]
    also: Vec<u16>,
    /// This server's key; made if the file does not exist
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// A relay's address for clients; 0.0.0.0:PORT means the host that this server is reached at. May be given again:
    /// each room gets three of them
    #[arg(long, value_name = "ADDR:PORT", value_parser = address, requires = "relay_key_file")]
    relay: Vec<SocketAddr>,
    /// The key shared with that relay, once for each
    #[arg(long, value_name = "FILE", requires = "relay")]
    relay_key_file: Vec<PathBuf>,
    /// Another place that tells clients their public address (any relay does); given up to twice
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    probe: Vec<SocketAddr>,
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
    if args.relay.len() != args.relay_key_file.len() {
        return Err(Failure::usage(
            "Not every --relay has its --relay-key-file.",
            "Give both for each relay, in the same order.",
        ));
    }
    let key = StaticKey::from_bytes(*program::key(&args.key_file)?.as_bytes());
    let mut relays = Vec::new();
    for (addr, file) in args.relay.iter().zip(&args.relay_key_file) {
        let key = program::key(file)?;
        relays.push(RelayInfo { addr: *addr, id: relay::key_file::relay_id(&key), key: RelayKey::new(key) });
    }
    let seed = program::seed()?;
    let listen = args.listen.unwrap_or_else(program::usual);
    let tcp = program::listen(listen, &args.also, "Choose another port with --listen.")?;
    let lost = |error: std::io::Error| Failure::lost(&error);
    let first = tcp.first().map(tokio::net::TcpListener::local_addr).transpose().map_err(lost)?;
    let at = first.unwrap_or(listen);
    let echo = relay::echo::bind(at).map_err(|error| program::portless("UDP", at.ip(), &error))?;
    // One relay, a port of ours, and others elsewhere: together they tell most about a client's router.
    let ours = SocketAddr::from(([0, 0, 0, 0], echo.local_addr().map_err(lost)?.port()));
    let (one, more) = args.relay.split_at(args.relay.len().min(1));
    let probes = one.iter().copied().chain([ours]).chain(args.probe).chain(more.iter().copied());
    // Probes are datagrams.
    let probes = probes.filter(|addr| addr.port() != HTTPS).collect();
    tokio::spawn(relay::echo::serve(echo, program::seed()?));
    let key_text = base32(&key.public().0);
    if let Some(addr) = first {
        match addr.ip().is_unspecified() {
            // Only the operator knows under which name the machine is reached.
            true => println!("Friends reach this server at HOST:{}#{key_text}", addr.port()),
            false => println!("Friends reach this server at {addr}#{key_text}"),
        }
    }
    let config = Config { key, relays, probes, limits: Limits::default(), seed };
    signaling::serve(Doors { tcp, relay: None }, config, relay::server::stop_signal()).await.map_err(lost)?;
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  voicechat-signaling --key-file server.key
  voicechat-signaling --key-file server.key --relay 0.0.0.0:47710 --relay-key-file relay.key";
