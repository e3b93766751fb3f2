//! What reaches a person who looks elsewhere than at the call: the bell, the desktop, the clipboard.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

mod party;
mod scene;
mod terminal;

use party::{PATIENCE, Party};
use scene::{QUIET, Scene};

/// A desktop of which only this program is there: what it is given is kept beside it.
struct Desktop(tempfile::TempDir);

impl Desktop {
    fn with(program: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(program);
        // Arguments a line each, then what comes by the pipe; put there in one piece.
        let kept = dir.path().join("kept").display().to_string();
        let script =
            format!("#!/bin/sh\n{{ printf '%s\\n' \"$@\"; cat; }} >>{kept}.part\nmv {kept}.part {kept}\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn path(&self) -> String {
        format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap())
    }

    fn was_given(&self) -> String {
        given(&self.0.path().join("kept"))
    }
}

fn given(file: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(file) {
            Ok(text) => return text,
            Err(_) => assert!(Instant::now() < deadline, "nothing was given"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_asks_for_it_is_called_by_the_bell_and_by_the_desktop_which_learns_no_words() {
    let desktop = Desktop::with("notify-send");
    let env = [("PATH", desktop.path()), ("DISPLAY", ":7".to_owned())];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let Some(scene) = Scene::new((100, 24), &env, &format!("{QUIET} --bell --notify")) else { return };
    assert!(!scene.terminal.rang());
    let mut friend = scene.party.join(&scene.place, "Bob <b>", &scene.code, &["--muted", "--output", "null"]);
    friend.wait_for("joined");
    friend.say("a secret");
    assert_eq!(desktop.was_given(), "--app-name=voicechat\n--\nvoicechat\nBob &lt;b&gt; is here.\n");
    scene.terminal.until(|_| scene.terminal.rang());
}

#[test]
fn nobody_is_called_who_did_not_ask_for_it() {
    let desktop = Desktop::with("notify-send");
    let env = [("PATH", desktop.path()), ("DISPLAY", ":7".to_owned())];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // Its command is started after those that call anybody.
    let heard = desktop.0.path().join("heard");
    let hook = format!("--hook 'cat >>{}'", heard.display());
    let Some(scene) = Scene::new((100, 24), &env, &format!("{QUIET} {hook}")) else { return };
    let mut bob = scene.party.join(&scene.place, "Bob", &scene.code, &["--muted", "--output", "null"]);
    bob.wait_for("joined");
    bob.say("hello");
    scene.terminal.until(|_| fs::read_to_string(&heard).is_ok_and(|events| events.contains("hello")));
    assert!(!scene.terminal.rang());
    assert!(!desktop.0.path().join("kept").exists());
}

#[test]
fn the_invite_is_put_into_the_clipboard_of_the_desktop() {
    let desktop = Desktop::with("xclip");
    let env = [("PATH", desktop.path()), ("DISPLAY", ":7".to_owned())];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let Some(scene) = Scene::new((120, 30), &env, QUIET) else { return };
    scene.terminal.line("/copy");
    scene.terminal.shows("The invite is in the clipboard (xclip).");
    let given = desktop.was_given();
    let link = given.strip_prefix("-selection\nclipboard\n").unwrap();
    assert!(link.starts_with("vc://") && scene.terminal.all().contains(link), "{link}");
}

#[test]
fn without_a_desktop_the_terminal_is_given_the_invite() {
    let Some(scene) = Scene::new((120, 30), &[], QUIET) else { return };
    scene.terminal.keeps_what_it_is_given();
    scene.terminal.line("/copy");
    scene.terminal.shows("asked to put this");
    let link = scene.terminal.clipboard();
    assert!(link.starts_with("vc://") && scene.terminal.all().contains(&link), "{link}");
}

/// Over ssh the terminal is somewhere else: everything passes a pseudo-terminal of the server's.
#[test]
fn a_call_over_ssh_looks_and_ends_as_one_that_is_not() {
    let party = Party::new();
    let Some(ssh) = ssh(&party) else {
        eprintln!("SKIPPED: no OpenSSH server is installed and set up, so no call was made over ssh");
        return;
    };
    let Some(terminal) = terminal::Terminal::open(&party, (90, 20), &[]) else { return };
    let (_server, place) = party.serve();
    let home = party.path("").display().to_string();
    let call = format!(
        "VOICECHAT_STATE={home} VOICECHAT_CONFIG=/dev/null {} create --server {place} --name Ada {QUIET}",
        env!("CARGO_BIN_EXE_voicechat")
    );
    fs::write(party.path("over"), format!("exec {ssh} -t friend '{call}'\n")).unwrap();
    terminal.line("clear; sh over");
    terminal.until(|_| scene::code(&terminal.all()).is_some());
    let code = scene::code(&terminal.all()).unwrap();
    let mut bob = party.join(&place, "Bob", &code, &["--input", "silence", "--output", "null"]);
    bob.wait_for("joined");
    terminal.shows(" direct");
    terminal.types("half a li");
    bob.say("over ssh, too");
    terminal.until(|seen| seen.contains("Bob: over ssh, too") && seen.contains("> half a li"));
    terminal.resize(60, 16);
    terminal
        .until(|seen| seen.contains("> half a li") && seen.lines().all(|line| line.chars().count() <= 60));
    terminal.press(&["C-u"]);
    terminal.line("/quit");
    bob.wait_for("left");
    terminal.shows("Connection to friend closed.");
    terminal.is_restored();
}

/// A client's command that runs a server of its own for one session; nobody else can reach it.
fn ssh(party: &Party) -> Option<String> {
    let sshd =
        ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).is_file())?;
    let file = |name: &str| party.path(name).display().to_string();
    for key in ["host", "friend"] {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]).status();
        made.ok().filter(ExitStatus::success)?;
    }
    fs::copy(party.path("friend.pub"), party.path("welcome")).unwrap();
    let server = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n",
        file("host"),
        file("welcome")
    );
    fs::write(party.path("sshd"), server).unwrap();
    let willing = Command::new(sshd).args(["-t", "-f", &file("sshd")]).output().unwrap();
    if !willing.status.success() {
        return None;
    }
    let client = format!(
        "Host friend\nProxyCommand {sshd} -i -e -f {}\nIdentityFile {}\nIdentitiesOnly yes\nStrictHostKeyChecking no\nUserKnownHostsFile {}\n",
        file("sshd"),
        file("friend"),
        file("known")
    );
    fs::write(party.path("ssh"), client).unwrap();
    Some(format!("ssh -F {}", file("ssh")))
}
