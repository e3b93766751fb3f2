//! A real terminal for tests: tmux runs the program, types, and tells what a person would see.

#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::party::{PATIENCE, Party};

pub(crate) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// A shell in a window of this size, at home with the party. `None` where tmux is not installed.
    pub(crate) fn open(party: &Party, (columns, rows): (u32, u32), env: &[(&str, &str)]) -> Option<Self> {
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: tmux is not installed, so no real terminal was tried");
            return None;
        }
        let count = fs::read_dir(party.path("")).unwrap().count();
        let terminal = Self { socket: party.path(&format!("tmux{count}")) };
        fs::write(party.path("call"), format!("exec {} \"$@\"\n", env!("CARGO_BIN_EXE_voicechat"))).unwrap();
        fs::write(party.path("rc"), "PS1='$ '\n").unwrap();
        let rc = party.path("rc").to_str().unwrap().to_owned();
        let size = [columns.to_string(), rows.to_string()];
        // The first window has its PATH from who opens it, whatever `-e` says.
        let path = env.iter().find(|(name, _)| *name == "PATH").map(|(_, value)| value.into());
        let path = path.or_else(|| std::env::var_os("PATH")).unwrap();
        let mut command = Command::new("tmux");
        command.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8");
        command.current_dir(party.path("")).args(["-u", "-f", "/dev/null", "-S"]).arg(&terminal.socket);
        command.args(["new-session", "-d", "-x", &size[0], "-y", &size[1]]);
        let home = party.path("").to_str().unwrap().to_owned();
        for (name, value) in [("HOME", home.as_str()), ("ENV", &rc), ("LC_ALL", "C.UTF-8")]
            .into_iter()
            .chain(env.iter().copied())
            .chain([("VOICECHAT_STATE", home.as_str()), ("VOICECHAT_CONFIG", "/dev/null")])
        {
            command.arg("-e").arg(format!("{name}={value}"));
        }
        // Job control, and nothing of the machine's own shell set-up.
        assert!(command.arg("sh -im").status().unwrap().success());
        terminal.until(|seen| seen.contains('$'));
        Some(terminal)
    }

    /// As if typed, letter by letter.
    pub(crate) fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// All at once, as from a clipboard.
    pub(crate) fn pastes(&self, text: &str) {
        let file = self.socket.with_extension("paste");
        fs::write(&file, text).unwrap();
        self.tmux(&["load-buffer", file.to_str().unwrap()]);
        self.tmux(&["paste-buffer", "-p"]);
    }

    /// Keys by their names in tmux.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn line(&self, text: &str) {
        self.types(text);
        self.press(&["Enter"]);
    }

    pub(crate) fn resize(&self, columns: u32, rows: u32) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What stands in the window, without blanks at the ends of lines.
    pub(crate) fn seen(&self) -> String {
        trimmed(&self.tmux(&["capture-pane", "-p"]))
    }

    /// The same with its colours.
    pub(crate) fn coloured(&self) -> String {
        trimmed(&self.tmux(&["capture-pane", "-p", "-e"]))
    }

    /// With everything that has scrolled away, each wrapped line whole again.
    pub(crate) fn all(&self) -> String {
        trimmed(&self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]))
    }

    pub(crate) fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            if wanted(&seen) {
                return seen;
            }
            assert!(Instant::now() < deadline, "it was never to be seen; this is:\n{}", self.all());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub(crate) fn shows(&self, text: &str) -> String {
        self.until(|seen| seen.contains(text))
    }

    /// Whether the shell has the terminal back as it was: lines, echo, a cursor.
    pub(crate) fn is_restored(&self) {
        self.line("stty -a | grep -oE '[-]?(icanon|echo|opost)\\b' | tr '\\n' ' '");
        self.shows("opost icanon echo");
        assert_eq!(self.tmux(&["display-message", "-p", "#{cursor_flag} #{wrap_flag}"]).trim(), "1 1");
    }

    /// Whether a bell rang; nobody is attached, so it is kept.
    pub(crate) fn rang(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{window_bell_flag}"]).trim() == "1"
    }

    /// Programs may fill the clipboard (OSC 52).
    pub(crate) fn keeps_what_it_is_given(&self) {
        self.tmux(&["set-option", "-s", "set-clipboard", "on"]);
    }

    pub(crate) fn clipboard(&self) -> String {
        self.tmux(&["show-buffer"])
    }

    /// The process in the foreground, which is not the shell.
    pub(crate) fn program(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = Command::new("pgrep").args(["-P", shell.trim()]).output().unwrap();
        String::from_utf8(children.stdout).unwrap().trim().to_owned()
    }

    /// The process that plays the terminal.
    pub(crate) fn server(&self) -> String {
        self.tmux(&["display-message", "-p", "#{pid}"]).trim().to_owned()
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .stderr(Stdio::null())
            .status();
    }
}

pub(crate) fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args(["-s", name, process]).status().unwrap().success(), "{name} {process}");
}

fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}
