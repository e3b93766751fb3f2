//! What reaches a person who looks elsewhere: soft sounds, the bell, a notification of the desktop, a command of their
//! own.

use std::env;
use std::process::Stdio;
use std::time::{Duration, Instant};

use audio::Cue;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Settings;
use crate::note::Note;
use crate::sound::Sound;
use crate::ui::{self, Ui};

pub(crate) struct Alerts {
    sounds: bool,
    bell: bool,
    notify: bool,
    hook: Option<String>,
    /// Commands of the user's that have not ended.
    running: JoinSet<()>,
    /// When the last notification was shown.
    shown: Option<Instant>,
}

impl Alerts {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            sounds: settings.sounds.unwrap_or(true),
            bell: settings.bell.unwrap_or(false),
            notify: settings.notify.unwrap_or(false),
            hook: settings.hook.clone().filter(|hook| !hook.trim().is_empty()),
            running: JoinSet::new(),
            shown: None,
        }
    }

    pub(crate) fn tell(&mut self, note: &Note, ui: &Ui, sound: &Sound) {
        match note {
            Note::Joined { name, .. } => {
                self.cue(sound, Cue::Joined);
                self.call(ui, &format!("{name} is here."));
            }
            Note::Left { .. } => self.cue(sound, Cue::Left),
            // Not what was written: a lock screen would show it.
            Note::Chat { name, .. } => self.call(ui, &format!("{name} wrote something.")),
            _ => {}
        }
        self.run(note);
    }

    fn cue(&self, sound: &Sound, cue: Cue) {
        if self.sounds {
            sound.play(cue);
        }
    }

    fn call(&mut self, ui: &Ui, text: &str) {
        if self.bell {
            ui.bell();
        }
        let now = Instant::now();
        if !self.notify || self.shown.is_some_and(|shown| now - shown < SELDOM) {
            return;
        }
        self.shown = Some(now);
        match desktop(text) {
            Some(command) => self.spawn(command, None),
            None => ui.notify(text),
        }
    }

    fn run(&mut self, note: &Note) {
        let Some(hook) = &self.hook else { return };
        let (shell, option) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        let mut command = Command::new(shell);
        command.arg(option).arg(hook);
        self.spawn(command, Some(ui::json(note)));
    }

    /// Without waiting, and no more than a few at a time: a command that hangs must not pile up.
    fn spawn(&mut self, mut command: Command, stdin: Option<String>) {
        while self.running.try_join_next().is_some() {}
        if self.running.len() >= AT_ONCE {
            tracing::warn!("a command was not run: too many have not ended");
            return;
        }
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let Ok(mut child) = command.spawn() else { return };
        self.running.spawn(async move {
            let ends = async {
                if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin) {
                    // A command need not read it.
                    let _ = pipe.write_all(text.as_bytes()).await;
                }
                let _ = child.wait().await;
            };
            let _ = timeout(PATIENCE, ends).await;
        });
    }
}

/// The desktop's own program for it. `None` where there is none, or no desktop.
fn desktop(text: &str) -> Option<Command> {
    if cfg!(target_os = "macos") {
        let mut command = Command::new("osascript");
        command.args([
            "-e",
            "on run texts",
            "-e",
            "display notification (item 1 of texts) with title \"voicechat\"",
        ]);
        command.args(["-e", "end run", text]);
        return Some(command);
    }
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let path = env::var_os("PATH")?;
    let there = env::split_paths(&path).any(|dir| dir.join("notify-send").is_file());
    (there && (set("DISPLAY") || set("WAYLAND_DISPLAY"))).then(|| {
        let mut command = Command::new("notify-send");
        command.args(["--app-name=voicechat", "--", "voicechat", text]);
        command
    })
}

/// A lively chat is no reason for a notification each second.
const SELDOM: Duration = Duration::from_secs(5);
/// Enough for a burst of friends who come at once.
const AT_ONCE: usize = 4;
/// What takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
