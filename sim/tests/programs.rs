//! The programs say how they are used, rather than run for an hour where somebody mistyped.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

#[test]
fn what_nobody_knows_is_refused_and_help_is_given() {
    for program in
        [env!("CARGO_BIN_EXE_soak"), env!("CARGO_BIN_EXE_punching"), env!("CARGO_BIN_EXE_join_time")]
    {
        let help = run(program, &["--help"]);
        assert!(
            help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage:"),
            "{program}"
        );
        for wrong in ["--nonsense", "nonsense"] {
            let refused = run(program, &[wrong]);
            assert_eq!(refused.status.code(), Some(2), "{program} {wrong}");
            assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{program} {wrong}");
        }
    }
    let refused = run(env!("CARGO_BIN_EXE_soak"), &["--sessions", "many"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn an_evening_of_the_soak_is_counted() {
    let one = run(env!("CARGO_BIN_EXE_soak"), &["--sessions", "1", "--from", "7"]);
    assert!(one.status.success(), "{one:?}");
    assert!(String::from_utf8_lossy(&one.stdout).starts_with("soak: 1 sessions, 0 failed"), "{one:?}");
}
