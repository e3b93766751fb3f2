//! One network namespace, and what is done inside it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Gone when dropped, with its interfaces.
pub(crate) struct Ns {
    name: String,
}

impl Ns {
    pub(crate) fn new(name: String) -> Result<Self> {
        let added = Command::new("ip").args(["netns", "add", &name]).status()?;
        if !added.success() {
            bail!("namespace {name} cannot be made");
        }
        let ns = Self { name };
        // Bridges are cables: rules about routing are not about them. Addresses are ours alone: no need to ask whether
        // somebody has them.
        ns.sh("ip link set lo up
             for calls in iptables ip6tables; do
               switch=/proc/sys/net/bridge/bridge-nf-call-$calls
               if [ -e $switch ]; then echo 0 > $switch; fi
             done
             echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
             echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad")?;
        Ok(ns)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a shell script inside; the first command that fails ends it and is told.
    pub(crate) fn sh(&self, script: &str) -> Result<String> {
        self.feed(self.command("sh").args(["-e", "-s"]), script)
    }

    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        self.feed(self.command("nft").args(["-f", "-"]), rules).map(drop)
    }

    /// A program that will run inside.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// A thread of ours, inside.
    pub(crate) fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let place = File::open(format!("/run/netns/{}", self.name)).context("the namespace is gone")?;
        let name = self.name.clone();
        Ok(thread::Builder::new().name(name).spawn(move || {
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root of the cage may enter its own namespaces");
            work()
        })?)
    }

    fn feed(&self, command: &mut Command, input: &str) -> Result<String> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have ended before it read everything; its status tells.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("in {}: {}\n{input}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Ns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}
