//! The command line from outside: what it refuses, in which words, and with which exit status.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::thread;

use assert_cmd::Command;
use tempfile::TempDir;

mod outside;
use outside::{
    NO_SOUND, PATIENCE, PROGRAM, Running, environment, mistaken, room, run, run_at, server, without_key,
};

const A_CODE: &str = "48213-tiger-orbit-ocean";

#[test]
fn alone_it_names_the_two_commands_that_matter() {
    let run = run(&[]);
    assert_eq!(run.status, 0);
    assert!(run.stdout.contains("voicechat create") && run.stdout.contains("voicechat join"));
    assert!(run.stdout.lines().count() < 12, "{}", run.stdout);
}

#[test]
fn help_has_examples_and_every_exit_status() {
    let run = run(&["--help"]);
    assert_eq!(run.status, 0);
    for text in ["voicechat create", "voicechat join", "voicechat serve", "Exit statuses:", "  12  "] {
        assert!(run.stdout.contains(text), "{text}");
    }
}

#[test]
fn help_shows_no_flag_that_makes_no_sense_there() {
    for (command, senseless) in [
        ("host", &["--server", "--relay-only"][..]),
        ("echo", &["--bell", "--hook"]),
        ("doctor", &["--no-sounds"]),
    ] {
        let run = run(&[command, "--help"]);
        assert!(run.stdout.contains("--noise") && run.stdout.contains("--input"), "{}", run.stdout);
        assert!(senseless.iter().all(|flag| !run.stdout.contains(flag)), "{}", run.stdout);
    }
    let run = run(&["create", "--help"]);
    for flag in ["--server", "--relay-only", "--push-to-talk", "--no-sounds", "--hook", "--echo"] {
        assert!(run.stdout.contains(flag), "{flag}");
    }
}

#[test]
fn help_says_of_a_server_what_it_is_there_for_and_ends_with_what_every_command_takes() {
    for (command, server) in [
        ("create", "The server to meet at"),
        ("join", "Where the room is"),
        ("echo", "Whose relay your voice goes through"),
        ("doctor", "Which one to examine"),
    ] {
        let help = run(&[command, "--help"]).stdout;
        assert!(help.contains(server), "{help}");
        let (own, general) = help.split_once("On every command:").unwrap();
        assert!(own.contains("--seconds") && own.contains("Sound:") && !own.contains("--log"), "{help}");
        let (general, _) = general.split_once("Examples:").unwrap();
        assert!(general.contains("--verbose") && general.contains("--log"), "{help}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    for args in [
        &["frobnicate"][..],
        &["create", "--frobnicate"],
        &["create", "--server", "a b"],
        &["create", "--server", "host:1#notakey"],
        &["create", "--path", "sideways"],
        &["create", "--noise", "loud"],
        &["create", "--seconds", "0"],
        &["create", "--listen", "here"],
        &["serve", "--listen", "47700"],
        &["demo", "--seconds", "1"],
    ] {
        let run = run(args);
        run.fails(2, "`");
        // What is wrong, and what to do.
        assert_eq!(run.stderr.lines().count(), 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.lines().all(|line| line.ends_with(['.', '?'])), "{args:?}: {}", run.stderr);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn that_there_is_no_sound_server_is_told_in_the_call_and_not_before_it() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let run = |args: &[&str], stdin: &[u8]| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().envs(environment(home.path())).env("PULSE_SERVER", "unix:/nowhere");
        let output = command.args(args).write_stdin(stdin).timeout(PATIENCE).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let (_ada, code) = room(home.path(), &place, &NO_SOUND);
    for (code, says) in
        [(mistaken(&code), "The words of the code"), (A_CODE.to_owned(), "No room has this code")]
    {
        let said = run(&["join", "--server", &place], code.as_bytes());
        assert!(said.contains(says) && !said.contains("sound server"), "{said}");
    }
    for command in ["create", "echo"] {
        let said = run(&[command, "--server", "127.0.0.1:1"], b"");
        assert!(said.contains("Nothing runs at") && !said.contains("sound server"), "{said}");
    }
    for (args, stdin) in [(["create", "--seconds", "1"], ""), (["join", "--seconds", "1"], code.as_str())] {
        let said = run(&[&args[..], &["--server", &place]].concat(), stdin.as_bytes());
        assert_eq!(said.matches("No sound server").count(), 1, "{said}");
    }
    let said = run(&["create", "--json", "--seconds", "1", "--server", &place], b"");
    let told = |event: &str| said.find(event).unwrap();
    assert!(told("\"invite\"") < told("\"trouble\""), "the code stands first: {said}");
}

#[test]
fn programs_read_on_stdout_why_a_command_comes_to_nothing() {
    let dir = TempDir::new().unwrap();
    for (typed, status, code) in
        [(&["devices", "--json"][..], 11, "machine"), (&["ctl", "status", "--json"], 13, "no_call")]
    {
        let run = run_at(dir.path(), typed, b"");
        assert_eq!(run.status, status, "{typed:?}");
        let said: serde_json::Value = serde_json::from_str(run.stdout.trim_end()).unwrap();
        assert_eq!((said["event"].as_str(), said["code"].as_str()), (Some("error"), Some(code)), "{said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_call_whose_words_cannot_be_written_ends_and_says_so() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let dir = TempDir::new().unwrap();
    let mut command = std::process::Command::new(PROGRAM);
    let ended =
        command.args(["host", "--listen", "127.0.0.1:0", "--input", "silence", "--output", "null", "--json"]);
    let ended = ended
        .envs(environment(dir.path()))
        .stdin(std::process::Stdio::piped())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(11));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("cannot be written (no space left on device)"), "{said}");
}

#[test]
fn what_cannot_be_a_code_never_reaches_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap().to_string();
    for (code, says) in [
        ("hello", "a number, then three words"),
        ("48213-tiger-lampe-ocean", "The second word is not in the list"),
        ("vc://1.2.3.4:5/#1.x.y.z", "The link is damaged"),
        ("vc://1.2.3.4:5/#2.x.y.z", "newer version"),
    ] {
        run(&["join", code, "--server", &server]).fails(2, says);
        let home = TempDir::new().unwrap();
        run_at(home.path(), &["join", "--server", &server], format!("{code}\n").as_bytes()).fails(2, says);
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn a_room_on_this_machine_needs_no_server_and_hides_no_address() {
    run(&["host", "--server", "127.0.0.1:1"]).fails(2, "opens a room without a server");
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let call = |args: &[&str]| {
        run_at(home.path(), &[args, &NO_SOUND, &["--listen", "127.0.0.1:0", "--seconds", "1"]].concat(), b"")
    };
    for command in ["host", "create"] {
        for hides in [&["--relay-only"][..], &["--path", "relay"], &["--path=relay"]] {
            let refused = call(&[&[command], hides].concat());
            refused.fails(2, "cannot hide its address");
            let flag = hides.concat().replace("path=", "path").replace("path", "path ");
            let says = format!(
                "`voicechat create --relay-only --server HOST:PORT`, or here with --path auto instead of {flag}."
            );
            assert!(refused.stderr.contains(&says), "{}", refused.stderr);
        }
        assert_eq!(call(&[command, "--path", "auto"]).status, 0);
    }
    assert_eq!(call(&["create", "--relay-only", "--server", &place]).status, 0);
    fs::write(home.path().join("config.toml"), "relay_only = true\n").unwrap();
    call(&["host"]).fails(2, "or here with --path auto.\n");
    assert_eq!(call(&["host", "--path", "auto"]).status, 0);
}

#[test]
fn a_code_with_the_server_behind_it_lets_in_who_neither_uses_nor_knows_that_server() {
    let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_server, place) = server(home.path());
    let (ada, code) = room(home.path(), &place, &NO_SOUND);
    let args = [&["join", "--name", "Bob", "--seconds", "1"][..], &NO_SOUND].concat();
    let joins = |code: String| run_at(other.path(), &args, code.as_bytes());
    joins(code.clone()).fails(2, "does not say which server");
    assert_eq!(joins(format!("{code}@{}", without_key(&place))).status, 0);
    assert_eq!(ada.event("joined")["name"], "Bob");
}

#[test]
fn lines_piped_in_behind_the_code_wait_for_the_call_and_its_end_for_the_lines() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let (ada, code) = room(home.path(), &place, &NO_SOUND);
    let args = [&["join", "--server", &place][..], &NO_SOUND].concat();
    // More than a friend reads at once.
    let lines: Vec<_> = (0..30).map(|n| format!("line {n}")).collect();
    let piped = format!("{code}\n{}\n/peers\n/quit\n", lines.join("\n"));
    let bob = run_at(home.path(), &args, piped.as_bytes());
    assert_eq!(bob.status, 0, "{}", bob.stderr);
    assert!(bob.stdout.contains("\n* Ada: ") && !bob.stdout.contains("no path"), "{}", bob.stdout);
    assert_eq!(ada.chat_till("left"), lines);
    // With nothing before it, it leaves at once: nobody answers there.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let args = [&["join", "--server", &silent][..], &NO_SOUND].concat();
    let bob = run_at(home.path(), &args, format!("{code}\n/mute\n/quit\nhello\n").as_bytes());
    assert_eq!(bob.status, 0, "{}", bob.stderr);
    assert!(bob.stdout.contains("You left before the call began."), "{}", bob.stdout);
}

#[test]
fn a_code_needs_a_server_and_a_prompt_needs_an_answer() {
    run(&["join", A_CODE]).fails(2, "does not say which server");
    run(&["join"]).fails(2, "No code was given");
}

#[test]
fn a_wrong_configuration_is_named_with_its_file_and_line() {
    let home = TempDir::new().unwrap();
    let config = home.path().join("config.toml");
    for (text, says) in [
        ("sever = \"x\"", "Did you mean `server`?"),
        ("name = 1", "is wrong on line 1"),
        ("\nname = \"Ada", "cannot be understood on line 2"),
        ("server = \"a b\"", "a server is written HOST:PORT"),
    ] {
        fs::write(&config, text).unwrap();
        let run = run_at(home.path(), &["create"], b"");
        run.fails(2, says);
        assert!(run.stderr.contains("config.toml"));
    }
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    run_at(home.path(), &["create"], b"").fails(2, "cannot be read");
}

#[test]
fn a_wrong_variable_is_named() {
    let home = TempDir::new().unwrap();
    let mut command = Command::new(PROGRAM);
    command.env_clear().envs(environment(home.path())).env("VOICECHAT_LISTEN", "x").arg("create");
    let output = command.timeout(PATIENCE).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("VOICECHAT_LISTEN is wrong"));
}

#[test]
fn a_wav_file_that_is_none_is_refused_before_any_room_is_opened() {
    let home = TempDir::new().unwrap();
    let not_wav = home.path().join("not.wav");
    fs::write(&not_wav, "RIFF, or so it says").unwrap();
    let not_wav = not_wav.to_str().unwrap();
    for (input, output) in [
        (format!("wav:{not_wav}"), "null".to_owned()),
        ("wav:/no/such/file.wav".to_owned(), "null".to_owned()),
        ("silence".to_owned(), "wav:/no/such/directory/x.wav".to_owned()),
    ] {
        let run = run_at(home.path(), &["create", "--json", "--input", &input, "--output", &output], b"");
        run.fails(11, "wav");
        assert!(!run.stdout.contains("invite"));
        assert!(run.stdout.contains("\"code\":\"machine\""), "{}", run.stdout);
    }
}

#[test]
fn a_server_that_is_not_there_is_status_5() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let args = |server| [&["join", A_CODE, "--server", server][..], &NO_SOUND].concat();
    run(&args(&closed)).fails(5, "Nothing runs at");
    // No name may have so long a part, so nobody is asked for it.
    let nameless = format!("{}.example:47700", "x".repeat(64));
    run(&args(&nameless)).fails(5, "cannot be found");
    run(&[&["create", "--server", &closed][..], &NO_SOUND].concat()).fails(5, "Nothing runs at");
}

#[test]
fn a_server_of_another_kind_is_status_5() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    run(&[&["join", A_CODE, "--server", &address][..], &NO_SOUND].concat())
        .fails(5, "is no voicechat server");
}

#[test]
fn wrong_words_are_status_3_and_too_many_in_a_row_status_6() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let (ada, code) = room(home.path(), &place, &NO_SOUND);
    let wrong = mistaken(&code);
    let args = [&["join", "--server", &place][..], &NO_SOUND].concat();
    let attempt = || run_at(home.path(), &args, format!("{wrong}\n").as_bytes());
    for tries in 1..=5 {
        attempt().fails(3, "The words of the code are wrong.");
        assert_eq!(ada.event("wrong_code")["tries"], tries);
    }
    attempt().fails(6, "too many tries");
}

#[test]
fn a_number_that_no_room_has_is_status_4() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let args = [&["join", A_CODE, "--server", &place][..], &NO_SOUND].concat();
    run_at(home.path(), &args, b"").fails(4, "No room has this code.");
}

#[cfg(unix)]
#[test]
fn a_room_where_nobody_answers_is_status_4() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let (ada, code) = room(home.path(), &place, &NO_SOUND);
    ada.signal("STOP");
    let args = [&["join", "--server", &place][..], &NO_SOUND].concat();
    run_at(home.path(), &args, code.as_bytes()).fails(4, "nobody in it answered");
}

#[test]
fn one_who_was_let_in_but_can_reach_nobody_ends_with_status_7() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let (ada, code) = room(home.path(), &place, &[&NO_SOUND[..], &["--path", "relay"]].concat());
    let args = [&["join", "--server", &place, "--path", "direct"][..], &NO_SOUND].concat();
    run_at(home.path(), &args, code.as_bytes()).fails(7, "no connection to anybody in the room works");
    ada.event("unreachable");
}

#[test]
fn another_key_than_last_time_is_status_8_until_it_is_accepted() {
    let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (first, place) = server(home.path());
    let address = without_key(&place).to_owned();
    let (ada, _) = room(home.path(), &address, &NO_SOUND);
    drop((ada, first));
    let impostor = Running::start(other.path(), &["serve", "--listen", &address]);
    let new_place = impostor.event("serving")["place"].as_str().unwrap().to_owned();
    let create = |place: &str| {
        run_at(home.path(), &[&["create", "--server", place, "--seconds", "1"][..], &NO_SOUND].concat(), b"")
    };
    let refused = create(&address);
    refused.fails(8, "another key");
    let advice = "`voicechat serve` prints now: `--server` takes it for one call, `voicechat config set server` for all.";
    assert!(refused.stderr.contains(advice) && !refused.stderr.contains('#'), "{}", refused.stderr);
    assert_eq!(run_at(home.path(), &["config", "set", "server", &place], b"").status, 0);
    let refused = run_at(home.path(), &[&["create"][..], &NO_SOUND].concat(), b"");
    refused.fails(8, advice);
    // It leads out, whichever way the old key is known.
    assert_eq!(run_at(home.path(), &["config", "set", "server", &new_place], b"").status, 0);
    assert_eq!(run_at(home.path(), &[&["create", "--seconds", "1"][..], &NO_SOUND].concat(), b"").status, 0);
    assert_eq!(create(&new_place).status, 0);
    assert_eq!(create(&address).status, 0);
}

#[test]
fn a_link_is_refused_by_a_server_with_another_key() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let ada = Running::start(home.path(), &[&["create", "--server", &place][..], &NO_SOUND].concat());
    let link = ada.event("invite")["link"].as_str().unwrap().to_owned();
    let (rest, key) = link.rsplit_once('.').unwrap();
    let first = if key.starts_with('a') { 'b' } else { 'a' };
    let forged = format!("{rest}.{first}{}", &key[1..]);
    let args = [&["join", &forged][..], &NO_SOUND].concat();
    run_at(home.path(), &args, b"").fails(8, "the room has to be opened anew there");
}

#[test]
fn what_happens_inside_goes_to_stderr_and_to_the_log_where_both_are_wanted() {
    let home = TempDir::new().unwrap();
    let log = home.path().join("log");
    let both = ["-v", "--log", log.to_str().unwrap(), "create", "--server", "127.0.0.1:1"];
    let inside = |args: &[&str]| {
        let told = run_at(home.path(), &[args, &NO_SOUND].concat(), b"");
        told.fails(5, "Nothing runs at");
        let logged = std::fs::read_to_string(&log).unwrap_or_default();
        (told.stderr.contains(" DEBUG "), logged.contains(" DEBUG "))
    };
    assert_eq!(inside(&["-v", "create", "--server", "127.0.0.1:1"]), (true, false));
    assert_eq!(inside(&both), (true, true));
    assert_eq!(inside(&both[1..]), (false, true));
}
