//! One process of the demo: this very program, in another role.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::failed;
use crate::config::{keys, variable};
use crate::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Server,
    Ada,
    Bob,
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Server => "The server",
            Self::Ada => "Ada",
            Self::Bob => "Bob",
        }
    }
}

/// An event of one of them.
pub(super) struct Heard {
    pub(super) who: Who,
    pub(super) event: Value,
}

impl Heard {
    pub(super) fn is(&self, event: &str) -> bool {
        self.event["event"] == event
    }
}

/// Killed when dropped.
pub(super) struct Actor {
    who: Who,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Actor {
    pub(super) fn start(
        who: Who,
        args: Vec<String>,
        work: &Path,
        to: &mpsc::Sender<Heard>,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::defect)?;
        let mut child = alone(Command::new(program), work)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&format!("{} could not be started ({error}).", who.name())))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| failed("A process has no output."))?;
        let to = to.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(event) = serde_json::from_str(&line) else { continue };
                if to.send(Heard { who, event }).await.is_err() {
                    return;
                }
            }
            let _ = to.send(Heard { who, event: json!({ "event": GONE }) }).await;
        });
        Ok(Self { who, child, stdin })
    }

    pub(super) async fn types(&mut self, line: &str) -> Result<(), Failure> {
        let stdin = self.stdin.as_mut().ok_or_else(|| failed("A process has no input."))?;
        let written = stdin.write_all(format!("{line}\n").as_bytes()).await;
        written.map_err(|_| failed(&format!("{} stopped by itself.", self.who.name())))
    }

    /// It has left by itself, and well.
    pub(super) async fn ended(&mut self, deadline: Instant) -> Result<(), Failure> {
        let wait = deadline.saturating_duration_since(Instant::now());
        match timeout(wait, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            _ => Err(failed(&format!("{} did not end well.", self.who.name()))),
        }
    }
}

/// Stands for the end of a process's output.
pub(super) const GONE: &str = "gone";

/// Away from the user's settings, pins and keys.
fn alone(mut command: Command, work: &Path) -> Command {
    for key in keys() {
        command.env_remove(variable(key));
    }
    command.env("VOICECHAT_STATE", work).env("VOICECHAT_CONFIG", work.join(super::speech::NO_SETTINGS));
    command
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_user_has_set_reaches_the_demo() {
        let mut command = Command::new("true");
        for key in keys() {
            command.env(variable(key), "x");
        }
        let command = alone(command, Path::new("/work"));
        let left = command.as_std().get_envs().filter(|(_, value)| value.is_some());
        let mut left: Vec<_> = left.map(|(name, _)| name.to_str().unwrap()).collect();
        left.sort_unstable();
        assert_eq!(left, ["VOICECHAT_CONFIG", "VOICECHAT_STATE"]);
        assert!(keys().any(|key| key == "relay_only"));
    }
}
