//! What reaches a person who looks elsewhere: soft sounds, the bell, a notification of the desktop, a command of their
//! own.

use std::env;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::Cue;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
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
    /// Commands that have not ended, or wait for their turn.
    running: JoinSet<()>,
    turns: Arc<Semaphore>,
    /// When somebody was called last.
    called: Option<Instant>,
}

impl Alerts {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            sounds: settings.sounds.unwrap_or(true),
            bell: settings.bell.unwrap_or(false),
            notify: settings.notify.unwrap_or(false),
            hook: settings.hook.clone().filter(|hook| !hook.trim().is_empty()),
            running: JoinSet::new(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            called: None,
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
        if !self.may_call(Instant::now()) {
            return;
        }
        if self.bell {
            ui.bell();
        }
        if !self.notify {
            return;
        }
        match desktop(text) {
            Some(command) => self.spawn(command, None),
            None => ui.notify(text),
        }
    }

    fn may_call(&mut self, now: Instant) -> bool {
        let may = self.called.is_none_or(|called| now - called >= SELDOM);
        if may {
            self.called = Some(now);
        }
        may
    }

    fn run(&mut self, note: &Note) {
        if let Some(hook) = self.hook() {
            self.spawn(hook, Some(ui::json(note)));
        }
    }

    fn hook(&self) -> Option<Command> {
        let (shell, option) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        let mut command = Command::new(shell);
        command.arg(option).arg(self.hook.as_ref()?);
        Some(command)
    }

    /// The last event. Its command is not waited for, so it may take as long as it likes.
    pub(crate) async fn end(mut self, note: &Note) {
        let Some(mut command) = self.hook() else { return };
        // Those that read what came before have the first word.
        let _ = timeout(FAREWELL, async { while self.running.join_next().await.is_some() {} }).await;
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return };
        if let Some(mut pipe) = child.stdin.take() {
            let _ = timeout(FAREWELL, pipe.write_all(ui::json(note).as_bytes())).await;
        }
    }

    /// Without waiting for it. A few at a time, in their order: a command that hangs must not pile up.
    fn spawn(&mut self, mut command: Command, stdin: Option<String>) {
        while self.running.try_join_next().is_some() {}
        if self.running.len() >= WAITING {
            tracing::warn!("a command was not run: too many wait");
            return;
        }
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let turns = self.turns.clone();
        self.running.spawn(async move {
            let Ok(_turn) = turns.acquire().await else { return };
            let Ok(mut child) = command.spawn() else { return };
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
        command.args(["--app-name=voicechat", "--", "voicechat", &unmarked(text)]);
        command
    })
}

/// The text of a notification is markup: a name must not be able to draw or link anything.
fn unmarked(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A lively chat is no reason for a bell or a notification each second.
const SELDOM: Duration = Duration::from_secs(5);
/// What a machine that plays a game does aside.
const AT_ONCE: usize = 4;
/// A room full of friends who come at once, and what is told of each.
const WAITING: usize = 64;
/// As long as one who leaves likes to wait, twice.
const FAREWELL: Duration = Duration::from_millis(500);
/// What takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lively_chat_rings_now_and_then() {
        let mut alerts = Alerts::new(&Settings { bell: Some(true), ..Settings::default() });
        let start = Instant::now();
        let rung = (0..60).filter(|second| alerts.may_call(start + Duration::from_secs(*second)));
        assert_eq!(rung.count(), 12);
    }

    #[test]
    fn a_name_draws_and_links_nothing_in_a_notification() {
        assert_eq!(unmarked("<b>A & B</b>"), "&lt;b&gt;A &amp; B&lt;/b&gt;");
    }
}
