//! Completions and manual pages, as packages and people get them.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::Write;
use std::process::{Command, Stdio};

#[cfg(unix)]
mod party;
#[cfg(unix)]
mod terminal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_voicechat");

fn completions(shell: &str) -> String {
    let output = Command::new(PROGRAM).args(["completions", shell]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = completions(shell);
        for word in ["create", "join", "low-latency", "relay"] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
    }
}

#[test]
fn each_shell_that_is_here_takes_its_script() {
    for (shell, only_reads) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let Ok(mut child) = Command::new(shell).arg(only_reads).stdin(Stdio::piped()).spawn() else {
            eprintln!("SKIPPED: {shell} is not installed, so it did not read its completions");
            continue;
        };
        child.stdin.take().unwrap().write_all(completions(shell).as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{shell}");
    }
}

#[test]
fn bash_completes_a_command_with_the_script() {
    let mut bash = Command::new("bash").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let ask = "COMP_WORDS=(voicechat cr); COMP_CWORD=1; _voicechat voicechat cr voicechat; echo \"${COMPREPLY[@]}\"";
    let script = completions("bash") + ask + "\n";
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "create");
}

/// A shell with our script, in a terminal; how it is begun, and how it takes the script.
#[cfg(unix)]
const SHELLS: [(&str, &str, &str); 3] = [
    ("bash", "bash --norc --noprofile", ". ./script"),
    ("zsh", "zsh -f", "autoload -U compinit; compinit -u -D; . ./script"),
    ("fish", "fish --no-config --private", "source ./script"),
];

#[cfg(unix)]
#[test]
fn tab_completes_commands_orders_and_settings_in_every_shell() {
    for (shell, begin, takes) in SHELLS {
        if Command::new(shell).arg("--version").output().is_err() {
            eprintln!("SKIPPED: {shell} is not installed, so nobody pressed Tab in it");
            continue;
        }
        let party = party::Party::new();
        let Some(terminal) = terminal::Terminal::open(&party, (120, 30), &[]) else { return };
        std::fs::write(party.path("script"), completions(shell)).unwrap();
        terminal.line(begin);
        terminal.line(takes);
        terminal.line("clear; echo ready 1");
        let mut asked = 1;
        terminal.shows("ready 1");
        for (typed, completed) in [
            ("voicechat jo", "join "),
            ("voicechat he", "help "),
            ("voicechat config he", "help "),
            ("voicechat ctl togg", "toggle "),
            ("voicechat ctl --json togg", "toggle "),
            ("voicechat ctl eve", "events "),
            ("voicechat ctl noise au", "auto "),
            ("voicechat config set low_l", "low_latency "),
            ("voicechat config unset serv", "server "),
            ("voicechat config show low_l", "low_latency "),
        ] {
            terminal.types(typed);
            terminal.press(&["Tab"]);
            terminal.types("X");
            terminal.shows(&format!("{}{completed}X", &typed[..=typed.rfind(' ').unwrap()]));
            asked += 1;
            // By a key in the stream, not by a signal, which may come late.
            terminal.press(&["C-u"]);
            terminal.line(&format!("clear; echo ready {asked}"));
            terminal.until(|seen| seen.starts_with(&format!("ready {asked}\n")));
        }
    }
}

#[test]
fn the_script_of_powershell_offers_orders_and_settings() {
    let script = completions("powershell");
    for (place, word) in [
        ("voicechat;ctl", "toggle"),
        ("voicechat;ctl;noise", "auto"),
        ("voicechat;config;set", "low_latency"),
        ("voicechat;config;set;low_latency", "true"),
        ("voicechat;config;show", "server"),
    ] {
        let (_, case) = script.split_once(&format!("'{place}' {{")).unwrap();
        let (case, _) = case.split_once("break").unwrap();
        assert!(case.contains(&format!("::new('{word}', ")), "{place} {word}: {case}");
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man");
    assert!(Command::new(PROGRAM).arg("man").arg(&pages).status().unwrap().success());
    for page in ["voicechat.1", "voicechat-create.1", "voicechat-join.1", "voicechat-serve.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains(".SH SYNOPSIS"), "{page}");
    }
    let refused = Command::new(PROGRAM).args(["man", "/proc/man"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(11));
}
