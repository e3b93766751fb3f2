//! The real servers of one world, killed and started again at will.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::world::{Killed, World, server};

/// `voicechat-signaling` and a relay on one machine, a second relay elsewhere: two places that tell friends how they are
/// seen.
pub(crate) struct Servers {
    signaling: Option<Killed>,
    relays: [Option<Killed>; 2],
    /// The server's key as people write it.
    key: String,
}

impl Servers {
    pub(crate) fn start(world: &World) -> Result<Self> {
        let mut servers = Self { signaling: None, relays: [None, None], key: String::new() };
        servers.start_relay(world, 0)?;
        servers.start_relay(world, 1)?;
        servers.start_signaling(world)?;
        Ok(servers)
    }

    pub(crate) fn start_signaling(&mut self, world: &World) -> Result<()> {
        let work = world.work.path();
        let mut command = world.servers.command(world.programs.path("voicechat-signaling"));
        command.args(["--listen", &format!("[::]:{PORT}"), "--also", "443"]);
        command.arg("--key-file").arg(work.join("signaling.key"));
        // The host that signaling is reached at: the same relay for IPv4 and for IPv6.
        let relays = [
            (0, format!("0.0.0.0:{FIRST}")),
            (1, format!("{}:{PORT}", server(3, true))),
            (1, format!("[{}]:{PORT}", server(3, false))),
            (1, format!("{}:443", server(3, true))),
            (1, format!("[{}]:443", server(3, false))),
        ];
        for (n, addr) in relays {
            let key = work.join(format!("relay{n}.key"));
            command.args(["--relay", &addr, "--relay-key-file"]).arg(key);
        }
        let (program, line) = started(&mut command)?;
        self.signaling = Some(program);
        let (_, key) = line.split_once('#').with_context(|| format!("signaling said `{line}`"))?;
        self.key = key.trim().to_owned();
        Ok(())
    }

    pub(crate) fn start_relay(&mut self, world: &World, n: u8) -> Result<()> {
        let (ns, port) = if n == 0 { (&world.servers, FIRST) } else { (&world.elsewhere, PORT) };
        let mut command = ns.command(world.programs.path("voicechat-relay"));
        command.args(["--listen", &format!("[::]:{port}")]);
        if n > 0 {
            command.args(["--also", "443"]);
        }
        command.arg("--key-file").arg(world.work.path().join(format!("relay{n}.key")));
        self.relays[usize::from(n)] = Some(started(&mut command)?.0);
        Ok(())
    }

    pub(crate) fn kill_signaling(&mut self) {
        self.signaling = None;
    }

    pub(crate) fn kill_relay(&mut self, n: u8) {
        self.relays[usize::from(n)] = None;
    }

    /// What friends give to `--server`.
    pub(crate) fn place(&self, v4: bool) -> String {
        match server(1, v4) {
            std::net::IpAddr::V4(ip) => format!("{ip}:{PORT}#{}", self.key),
            std::net::IpAddr::V6(ip) => format!("[{ip}]:{PORT}#{}", self.key),
        }
    }
}

/// The program once it listens, and the line by which it says so.
fn started(command: &mut Command) -> Result<(Killed, String)> {
    let mut child = Killed(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let stdout = child.0.stdout.take().context("a server has no output")?;
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    anyhow::ensure!(!line.is_empty(), "a server does not start");
    // What else it says goes nowhere, but must not stop it.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    Ok((child, line))
}

const PORT: u16 = 47_700;
/// Of the relay beside signaling, which has the usual one.
const FIRST: u16 = 47_701;
