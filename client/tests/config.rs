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
    assert!(shown.contains("# name = \"Ada\"  # not set; an example"), "{shown}");
    let told = said(&mut config(&home, &["set", "name", "Bob B"]));
    assert!(
        told.starts_with("name = \"Bob B\" stands in ") && told.ends_with("config.toml now.\n"),
        "{told}"
    );
    said(&mut config(&home, &["set", "low_latency", "true"]));
    let shown = said(config(&home, &["show"]).env("VOICECHAT_LOW_LATENCY", "false"));
    assert!(shown.contains("name = \"Bob B\"  # from the configuration file"), "{shown}");
    assert!(shown.contains("low_latency = false  # from VOICECHAT_LOW_LATENCY"), "{shown}");
    let told = said(config(&home, &["unset", "name"]).env("VOICECHAT_NAME", "Eve"));
    assert!(told.contains("no longer set in") && told.contains("VOICECHAT_NAME"), "{told}");
    assert!(said(&mut config(&home, &["unset", "name"])).contains("name is not set in"));
    assert!(!said(&mut config(&home, &["show"])).contains("Bob B"));
}

#[test]
fn of_one_setting_a_script_gets_the_value_that_holds_and_nothing_else() {
    let home = TempDir::new().unwrap();
    let value = |key: &str| said(config(&home, &["show", key]).env("USER", "ada"));
    for (key, holds) in [("name", "ada\n"), ("server", ""), ("noise", "auto\n"), ("low_latency", "false\n")] {
        assert_eq!(value(key), holds, "{key}");
    }
    said(&mut config(&home, &["set", "name", "Bob \"B\""]));
    said(&mut config(&home, &["set", "also", "[443, 8443]"]));
    assert_eq!(value("name"), "Bob \"B\"\n");
    assert_eq!(value("also"), "[443, 8443]\n");
    assert_eq!(said(config(&home, &["show", "name"]).env("VOICECHAT_NAME", "Eve")), "Eve\n");
    let failed = config(&home, &["show", "nmae"]).assert().code(2);
    assert!(String::from_utf8_lossy(&failed.get_output().stderr).contains("Did you mean `name`?"));
}

#[test]
fn a_name_of_nothing_is_refused_wherever_it_is_set() {
    let home = TempDir::new().unwrap();
    for name in ["", " "] {
        let failed = config(&home, &["set", "name", name]).assert().code(2);
        let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
        assert!(said.contains("a name is not empty"), "{said}");
    }
    let failed = config(&home, &["show"]).env("VOICECHAT_NAME", " ").assert().code(2);
    let why = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(why.contains("VOICECHAT_NAME is wrong") && why.contains("not blank"), "{why}");
    // What is empty in the environment is not set.
    for variable in ["VOICECHAT_SERVER", "VOICECHAT_NAME"] {
        assert!(said(config(&home, &["show"]).env(variable, "")).contains("# not set"));
    }
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
        (["set", "input", ""], "`voicechat config unset input` takes the default."),
        (["set", "name", "a\u{1b}[2Jb"], "holds what no keyboard types"),
        (["set", "name", " "], "`voicechat config unset name` takes your user name again."),
        (
            ["set", "listen", "5"],
            "`listen` takes an IP address and a port up to 65535, such as \"[::]:47700\"",
        ),
        (["set", "low_latency", "perhaps"], "`low_latency` takes true or false, not \"perhaps\""),
        (["set", "server", "a b"], "HOST:PORT"),
        (["set", "server", "999.1.1.1"], "HOST:PORT"),
        (["set", "address", "a..b"], "HOST:PORT"),
        (["set", "address", "nope"], "the address that friends dial is written HOST:PORT"),
        (["set", "server", "nope:70000"], "a port is a whole number from 1 to 65535"),
    ] {
        let failed = config(&home, &args).assert().code(2);
        let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
        assert!(said.contains(says), "{said}");
    }
    assert!(said(&mut config(&home, &["show"])).contains("name = \"Ada\""));
}

// Elsewhere there is always somebody who lists devices.
#[cfg(target_os = "linux")]
#[test]
fn what_is_not_there_now_is_kept_and_told() {
    let home = TempDir::new().unwrap();
    // More letters than one part of a name may have (RFC 1035, 2.3.4), so that no name server is asked.
    let nobody = "n".repeat(64);
    for (key, value, says) in [
        ("input", "nosuchmic", "no sound server answers"),
        ("output", "nosuchear", "no sound server answers"),
        ("input", "wav:no-such-file.wav", "There is no such file now: no-such-file.wav."),
        ("server", &nobody, &format!("No machine called {nobody} is found now")),
    ] {
        let nowhere = home.path().join("no-sound-server");
        let told = said(config(&home, &["set", key, value]).env("PULSE_SERVER", nowhere));
        assert!(told.contains(" now. ") && told.contains(says), "{told}");
        assert!(said(&mut config(&home, &["show"])).contains(&format!("{key} = \"{value}\"")));
    }
    for (key, value) in [("input", "default"), ("output", "null"), ("server", "127.0.0.1:5")] {
        let told = said(&mut config(&home, &["set", key, value]));
        assert!(told.ends_with("config.toml now.\n"), "{told}");
    }
}

#[test]
fn a_mistyped_key_in_the_file_is_taken_out_as_it_is_told() {
    let home = TempDir::new().unwrap();
    let path = said(&mut config(&home, &["path"]));
    said(&mut config(&home, &["set", "name", "Ada"]));
    let good = std::fs::read_to_string(path.trim_end()).unwrap();
    std::fs::write(path.trim_end(), format!("{good}nmae = \"Bob\" # oh\n")).unwrap();
    let failed = config(&home, &["show"]).assert().code(2);
    let told = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(told.contains("`voicechat config edit` opens the file"), "{told}");
    assert!(told.contains("`voicechat config unset nmae` takes it out"), "{told}");
    assert!(said(&mut config(&home, &["unset", "nmae"])).starts_with("nmae is no longer set in"));
    assert_eq!(std::fs::read_to_string(path.trim_end()).unwrap(), good);
    let failed = config(&home, &["unset", "nmae"]).assert().code(2);
    assert!(String::from_utf8_lossy(&failed.get_output().stderr).contains("Did you mean `name`?"));
}

#[test]
fn two_mistyped_keys_are_taken_out_one_after_the_other_as_each_is_told() {
    let home = TempDir::new().unwrap();
    let path = said(&mut config(&home, &["path"]));
    said(&mut config(&home, &["set", "name", "Ada"]));
    let good = std::fs::read_to_string(path.trim_end()).unwrap();
    std::fs::write(path.trim_end(), format!("{good}nmae = \"Bob\"\nmtued = true\n")).unwrap();
    for key in ["mtued", "nmae"] {
        let failed = config(&home, &["show"]).assert().code(2);
        let told = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
        assert!(told.contains(&format!("`voicechat config unset {key}` takes it out")), "{told}");
        said(&mut config(&home, &["unset", key]));
    }
    assert_eq!(std::fs::read_to_string(path.trim_end()).unwrap(), good);
    said(&mut config(&home, &["show"]));
}

#[test]
fn what_is_told_to_mend_a_wrong_value_mends_it() {
    let home = TempDir::new().unwrap();
    let path = said(&mut config(&home, &["path"]));
    said(config(&home, &["edit"]).env("EDITOR", "true"));
    let refused = |args: &[&str]| {
        let failed = config(&home, args).assert().code(2);
        String::from_utf8_lossy(&failed.get_output().stderr).into_owned()
    };
    std::fs::write(path.trim_end(), "name = \"Ada\"\nmuted = \"yes\" # quiet\n").unwrap();
    let told = refused(&["show"]);
    assert!(told.contains("is wrong on line 2: `muted` takes true or false, not \"yes\"."), "{told}");
    assert!(told.contains("`voicechat config set muted false` mends it"), "{told}");
    said(&mut config(&home, &["set", "muted", "false"]));
    assert_eq!(std::fs::read_to_string(path.trim_end()).unwrap(), "name = \"Ada\"\nmuted = false # quiet\n");
    std::fs::write(path.trim_end(), "name = \"Ada\"\nmuted = \"yes\" # quiet\n").unwrap();
    assert!(refused(&["show"]).contains("`voicechat config unset muted` takes it out"));
    assert!(said(&mut config(&home, &["unset", "muted"])).starts_with("muted is no longer set in "));
    assert!(said(&mut config(&home, &["unset", "muted"])).starts_with("muted is not set in "));
    // One of two mistakes alone is not mended: the file would stay one that nothing starts with.
    std::fs::write(path.trim_end(), "bell = 1\nmuted = 1\n").unwrap();
    assert!(refused(&["set", "muted", "false"]).contains("on line 1: `bell` takes true or false, not 1"));
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

#[test]
fn a_table_in_the_file_does_not_swallow_what_is_set_after_it() {
    let home = TempDir::new().unwrap();
    let path = said(&mut config(&home, &["path"]));
    said(config(&home, &["edit"]).env("EDITOR", "true"));
    let example = std::fs::read_to_string(path.trim_end()).unwrap();
    let mine = example.replace("# volumes = { \"Bob\" = 120 }", "[volumes]\nBob = 120");
    std::fs::write(path.trim_end(), mine).unwrap();
    said(&mut config(&home, &["set", "sounds", "false"]));
    let shown = said(&mut config(&home, &["show"]));
    assert!(shown.contains("\nsounds = false  # from the configuration file"), "{shown}");
}

#[test]
fn a_file_that_the_environment_names_is_made_when_something_is_set() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("new/mine.toml");
    let mine = |args: &[&str]| {
        let mut command = config(&home, args);
        command.env("VOICECHAT_CONFIG", &path);
        command
    };
    let failed = mine(&["show"]).assert().code(2);
    let hint = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(hint.contains("There is no configuration file") && hint.contains("config edit"), "{hint}");
    said(&mut mine(&["set", "name", "Ada"]));
    assert!(said(&mut mine(&["show"])).contains("name = \"Ada\"  # from"));
}

#[cfg(unix)]
#[test]
fn a_linked_file_stays_linked_and_open_to_whom_it_was() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let home = TempDir::new().unwrap();
    let path = said(&mut config(&home, &["path"]));
    let path = std::path::Path::new(path.trim_end());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let real = home.path().join("dotfiles.toml");
    symlink(&real, path).unwrap();
    said(&mut config(&home, &["set", "name", "Ada"]));
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o644)).unwrap();
    said(&mut config(&home, &["set", "bell", "true"]));
    assert!(path.is_symlink());
    let text = std::fs::read_to_string(&real).unwrap();
    assert!(text.contains("name = \"Ada\"") && text.contains("bell = true"), "{text}");
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn two_who_set_something_at_once_both_have_their_way() {
    let home = TempDir::new().unwrap();
    let settings =
        [("name", "Ada"), ("bell", "true"), ("sounds", "false"), ("path", "relay"), ("level", "false")];
    let set = |(key, value): &(&str, &str)| config(&home, &["set", key, value]).unwrap();
    std::thread::scope(|scope| {
        for setting in &settings {
            scope.spawn(move || set(setting));
        }
    });
    let shown = said(&mut config(&home, &["show"]));
    assert_eq!(shown.matches("from the configuration file").count(), settings.len(), "{shown}");
}
