//! The lab's short cut, with the programs as they are now.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn friends_reach_each_other_as_predicted_and_survive_a_cut_and_a_rebind() {
    let lab = Path::new(env!("CARGO_BIN_EXE_lab"));
    let dir = lab.parent().unwrap();
    build_if_absent(dir);
    let output =
        Command::new(lab).arg("short").stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    // 77: it has said on stderr, which is not captured, what this machine lacks.
    if output.status.code() != Some(77) {
        assert!(output.status.success(), "\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// `cargo test --workspace` has built them; `cargo test -p lab` has not.
fn build_if_absent(dir: &Path) {
    if ["voicechat", "voicechat-signaling", "voicechat-relay"].iter().all(|name| dir.join(name).exists()) {
        return;
    }
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--workspace", "--bins", "--target-dir"]).arg(dir.parent().unwrap());
    if dir.ends_with("release") {
        command.arg("--release");
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    assert!(command.current_dir(workspace).status().unwrap().success());
}

#[test]
fn a_killed_lab_takes_everything_with_it() {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("kinds")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(lab.stdout.take().unwrap());
    let mut line = String::new();
    // Nothing is said where it cannot run.
    if said.read_line(&mut line).unwrap() > 0 {
        lab.kill().unwrap();
    }
    lab.wait().unwrap();
    // This ends when the last process that inherited the pipe has ended.
    said.read_to_string(&mut line).unwrap();
    assert!(!line.contains("only443"), "it was killed too late to show anything");
}
