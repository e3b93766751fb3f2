//! The program from outside: what it says of what cannot be, and what it ends with.
// Each system has words of its own for what it refuses.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::process::Command;

fn refused(args: &[&str]) -> (Option<i32>, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_voicechat-relay"));
    let output = program.args(args).env("RUST_BACKTRACE", "1").output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_meant_is_said_in_a_sentence_with_what_to_do_in_another() {
    for (args, what, hint) in [
        (
            &[][..],
            "`voicechat-relay` needs --key-file as well.",
            "`voicechat-relay --help` shows what it takes.",
        ),
        (&["--lisen", "x"], "`voicechat-relay` has no option `--lisen`.", "Did you mean `--listen`?"),
        (
            &["--listen", "47700"],
            "`--listen` does not take `47700`.",
            "It takes an IP address and a port, such as 192.0.2.7:5000 or [::]:47700.",
        ),
        (
            &["--also", "70000"],
            "`--also` does not take `70000`.",
            "It takes a port, a whole number up to 65535.",
        ),
        (
            &["--key-file", "k", "--no-tcp", "--also", "443"],
            "`--no-tcp` and `--also` exclude each other.",
            "Leave one of them out.",
        ),
    ] {
        assert_eq!(refused(args), (Some(2), format!("{what}\n{hint}\n")), "{args:?}");
    }
}

#[test]
fn what_the_machine_does_not_give_is_said_without_the_systems_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("relay.key");
    let key = key.to_str().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    assert_eq!(
        refused(&["--key-file", key, "--listen", &place]),
        (
            Some(11),
            format!(
                "UDP {place} cannot be opened (address already in use).\nChoose another port with --listen.\n"
            )
        )
    );
    // Kept for documentation (RFC 5737), so no machine's own.
    let (status, said) = refused(&["--key-file", key, "--listen", "203.0.113.9:47700"]);
    assert_eq!(status, Some(11));
    assert!(said.starts_with("UDP 203.0.113.9:47700 cannot be opened ("), "{said}");
    assert!(said.ends_with(").\nName an address of this machine with --listen.\n"), "{said}");
    let nowhere = dir.path().join("none/relay.key");
    let (status, said) = refused(&["--key-file", nowhere.to_str().unwrap()]);
    assert_eq!(status, Some(11));
    assert!(said.contains("relay.key cannot be used (no such file or directory).\n"), "{said}");
    assert!(!said.contains("os error"), "{said}");
}
