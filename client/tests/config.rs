//! `voicechat config` from outside: what it shows, keeps and refuses.

#![allow(clippy::unwrap_used)]

use assert_cmd::Command;
use tempfile::TempDir;

fn config(home: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voicechat"));
    command.env_clear().env("HOME", home.path()).arg("config").args(args);
    command
}

fn said(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

#[test]
fn what_is_set_is_shown_with_where_it_comes_from() {
    let home = TempDir::new().unwrap();
    let shown = said(&mut config(&home, &["show"]));
    assert!(shown.contains("# name = \"Ada\"  # the default"), "{shown}");
    said(&mut config(&home, &["set", "name", "Bob B"]));
    said(&mut config(&home, &["set", "low_latency", "true"]));
    let shown = said(config(&home, &["show"]).env("VOICECHAT_LOW_LATENCY", "false"));
    assert!(shown.contains("name = \"Bob B\"  # from the configuration file"), "{shown}");
    assert!(shown.contains("low_latency = false  # from VOICECHAT_LOW_LATENCY"), "{shown}");
    said(&mut config(&home, &["unset", "name"]));
    assert!(!said(&mut config(&home, &["show"])).contains("Bob B"));
}

#[test]
fn the_editor_gets_a_file_that_explains_everything() {
    let home = TempDir::new().unwrap();
    let path = said(&mut config(&home, &["path"]));
    said(config(&home, &["edit"]).env("EDITOR", "true"));
    let text = std::fs::read_to_string(path.trim_end()).unwrap();
    assert!(text.contains("# server = "));
    let failed = config(&home, &["edit"]).env("EDITOR", "no-such-editor").assert().code(11);
    let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(said.contains("cannot be started") && said.contains("EDITOR"), "{said}");
}

#[test]
fn what_cannot_be_set_is_refused_and_the_file_stays_as_it_was() {
    let home = TempDir::new().unwrap();
    said(&mut config(&home, &["set", "name", "Ada"]));
    for (args, says) in [
        (["set", "nmae", "x"], "Did you mean `name`?"),
        (["set", "low_latency", "perhaps"], "That is no value for `low_latency`"),
        (["set", "server", "a b"], "HOST:PORT"),
    ] {
        let failed = config(&home, &args).assert().code(2);
        let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
        assert!(said.contains(says), "{said}");
    }
    assert!(said(&mut config(&home, &["show"])).contains("name = \"Ada\""));
}

#[test]
fn a_file_without_end_is_read_within_bounds() {
    let home = TempDir::new().unwrap();
    let failed = config(&home, &["show"]).env("VOICECHAT_CONFIG", "/dev/zero").assert().code(2);
    assert!(String::from_utf8_lossy(&failed.get_output().stderr).contains("/dev/zero"));
}

#[test]
fn every_key_can_be_set_as_a_variable_and_as_an_order() {
    let home = TempDir::new().unwrap();
    for (key, value, shown) in [
        ("also", "[443, 8443]", "also = [443, 8443]"),
        ("port_mapping", "false", "port_mapping = false"),
        ("address", "home.example.org:47700", "address = \"home.example.org:47700\""),
        ("plain", "true", "plain = true"),
        ("muted", "true", "muted = true"),
    ] {
        let variable = format!("VOICECHAT_{}", key.to_uppercase());
        let text = said(config(&home, &["show"]).env(variable, value));
        assert!(text.contains(shown), "{text}");
        said(&mut config(&home, &["set", key, value]));
        assert!(said(&mut config(&home, &["show"])).contains(shown), "{key}");
    }
}
