//! A place of our own: process, mount, network and (without privileges) user namespaces. The kernel takes all of it
//! away with its first process, so nothing is left behind however we end.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

pub(crate) enum Cage {
    /// This process is inside.
    Inside,
    /// The work was done by a process inside, which ended so.
    Done(ExitCode),
    /// This machine gives no such place; the sentence says why.
    Refused(String),
}

/// Starts this very program again, inside.
pub(crate) fn enter() -> Result<Cage> {
    if std::env::var_os(MARK).is_some() {
        furnish()?;
        return Ok(Cage::Inside);
    }
    if let Err(error) = missing_tools() {
        return Ok(Cage::Refused(format!("{error:#}")));
    }
    let Some(flags) = [&ROOT[..], &USER[..]].into_iter().find(|flags| possible(flags)) else {
        return Ok(Cage::Refused("namespaces need root here".into()));
    };
    let program = std::env::current_exe().context("this program has no name")?;
    let mut child = Command::new("unshare")
        .args(flags)
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        // Never written to: its end tells those inside that we are gone.
        .stdin(Stdio::piped())
        .spawn()
        .context("unshare does not start")?;
    let lifeline = child.stdin.take();
    let status = child.wait()?;
    drop(lifeline);
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(Cage::Done(ExitCode::from(u8::try_from(code).unwrap_or(1))))
}

fn furnish() -> Result<()> {
    thread::Builder::new().name("lifeline".into()).spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    })?;
    // `ip netns` keeps its names there.
    let script = "mount -t tmpfs lab /run && mkdir /run/netns";
    let status = Command::new("sh").args(["-c", script]).status()?;
    if !status.success() {
        bail!("no place for the names of namespaces");
    }
    Ok(())
}

fn possible(flags: &[&str]) -> bool {
    let inside =
        "mount -t tmpfs lab /run && mkdir /run/netns && ip netns add a && ip netns exec a nft list ruleset";
    let status = Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", inside])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn missing_tools() -> Result<()> {
    for (tool, flag) in
        [("unshare", "--version"), ("ip", "-V"), ("nft", "-v"), ("conntrack", "-V"), ("ethtool", "--version")]
    {
        let ran = Command::new(tool).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.map_err(|_| anyhow::anyhow!("`{tool}` is not installed"))?;
    }
    Ok(())
}

const MARK: &str = "VOICECHAT_LAB_INSIDE";
const ROOT: [&str; 7] = ["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"];
const USER: [&str; 9] = [
    "--user",
    "--map-root-user",
    "--mount",
    "--net",
    "--pid",
    "--ipc",
    "--fork",
    "--kill-child",
    "--mount-proc",
];
