//! Ada before her terminal. What it looks like is kept in tests/screens; `UPDATE_SCREENS=1` renews it.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use crate::party::{Friend, Party};
use crate::terminal::Terminal;

pub(crate) const QUIET: &str = "--input silence --output null";

/// Ada before her terminal, in a room of her own.
pub(crate) struct Scene {
    pub(crate) terminal: Terminal,
    pub(crate) place: String,
    pub(crate) code: String,
    _server: Friend,
    /// Last, since the way to the terminal lies among its files: without it nobody could end what runs there.
    pub(crate) party: Party,
}

impl Scene {
    pub(crate) fn new(size: (u32, u32), env: &[(&str, &str)], more: &str) -> Option<Self> {
        let party = Party::new();
        let terminal = Terminal::open(&party, size, env)?;
        let (server, place) = party.serve();
        terminal.line(&format!("clear; sh call create --server {place} --name Ada {more}"));
        terminal.until(|_| code(&terminal.all()).is_some());
        let code = code(&terminal.all()).unwrap();
        Some(Self { party, terminal, place, code, _server: server })
    }

    pub(crate) fn friend(&self, name: &str, more: &str) -> Friend {
        let more: Vec<&str> = more.split(' ').collect();
        let mut friend = self.party.join(&self.place, name, &self.code, &more);
        friend.wait_for("joined");
        self.terminal.until(|seen| seen.contains(&format!("{name} is here.")));
        self.terminal.until(|seen| seen.contains(" direct"));
        friend
    }

    /// All that was printed, without what differs from run to run.
    pub(crate) fn keeps(&self, name: &str) {
        self.kept(name, &self.terminal.all());
    }

    /// Only what is in the window, from the first friend on: where the link wraps is chance.
    pub(crate) fn looks(&self, name: &str) {
        self.looks_from("* Bob", name);
    }

    pub(crate) fn looks_from(&self, first: &str, name: &str) {
        let seen = self.terminal.seen();
        self.kept(name, &seen[seen.find(first).unwrap_or(0)..]);
    }

    #[track_caller]
    pub(crate) fn kept(&self, name: &str, screen: &str) {
        let screen = screen.replace(&self.place, "SERVER").replace(&self.code, "CODE");
        let address = self.place.split('#').next().unwrap();
        kept(name, &masked(&screen.replace(address, "ADDRESS")));
    }
}

/// Compares with what was kept under this name, or keeps it.
#[track_caller]
pub(crate) fn kept(name: &str, screen: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        fs::write(&file, screen).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(screen, kept, "{name}: UPDATE_SCREENS=1 keeps the new one; it is:\n{screen}");
}

pub(crate) fn code(screen: &str) -> Option<String> {
    let is_code = |line: &&str| {
        let parts: Vec<&str> = line.trim().split('-').collect();
        let letters = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase()) && word.len() > 2;
        parts.len() == 4 && parts[0].parse::<u32>().is_ok() && parts[1..].iter().all(letters)
    };
    screen.lines().find(is_code).map(|line| line.trim().to_owned())
}

/// Numbers with their units, and links.
pub(crate) fn masked(screen: &str) -> String {
    let line = |line: &str| {
        let line = match line.find("vc://") {
            Some(at) => format!("{}LINK", &line[..at]),
            None => line.to_owned(),
        };
        let mut out = String::new();
        let mut rest = line.as_str();
        while let Some(c) = rest.chars().next() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
            if c.is_ascii_digit() && UNITS.iter().any(|unit| rest[digits..].starts_with(unit)) {
                out = out.trim_end().to_owned() + " #";
                rest = &rest[digits..];
            } else {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        // How wide the numbers were shows in what stands behind them.
        while out.contains('▯') && out.contains("    ") {
            out = out.replace("    ", "   ");
        }
        out
    };
    // How fast the machine is shows in no screen.
    screen.replace("under 1 ms", "0 ms").lines().map(|text| line(text) + "\n").collect()
}

pub(crate) fn inputs(screen: &str) -> usize {
    screen.lines().filter(|line| line.starts_with("> ") || *line == ">").count()
}

const UNITS: [&str; 3] = [" ms", " %", " dBFS"];
