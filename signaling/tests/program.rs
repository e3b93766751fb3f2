//! The program from outside: what it says of what cannot be, and what it ends with.
// Each system has words of its own for what it refuses.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::Command;

fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_voicechat-signaling")).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_meant_is_said_in_a_sentence_with_what_to_do_in_another() {
    for (args, what, hint) in [
        (
            &[][..],
            "`voicechat-signaling` needs --key-file as well.",
            "`voicechat-signaling --help` shows what it takes.",
        ),
        (
            &["--key-file", "k", "--relay", "h:1"],
            "`--relay` does not take `h:1`.",
            "It takes an IP address and a port, such as 192.0.2.7:5000 or [::]:47700.",
        ),
        (
            &["--key-file", "k", "--relay", "[::1]:1", "--relay", "[::1]:2", "--relay-key-file", "r"],
            "Not every --relay has its --relay-key-file.",
            "Give both for each relay, in the same order.",
        ),
    ] {
        assert_eq!(refused(args), (Some(2), format!("{what}\n{hint}\n")), "{args:?}");
    }
}

#[test]
fn a_port_that_another_program_has_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("server.key");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let told = format!(
        "TCP {place} cannot be opened (address already in use).\nChoose another port with --listen.\n"
    );
    let key = key.to_str().unwrap();
    assert_eq!(refused(&["--key-file", key, "--listen", &place]), (Some(11), told));
    // Kept for documentation (RFC 5737), so no machine's own.
    let (status, said) = refused(&["--key-file", key, "--listen", "203.0.113.9:47700"]);
    assert_eq!(status, Some(11));
    assert!(said.starts_with("TCP 203.0.113.9:47700 cannot be opened ("), "{said}");
    assert!(said.ends_with(").\nName an address of this machine with --listen.\n"), "{said}");
}
