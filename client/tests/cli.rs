//! The real binary from outside: what it prints, what it ends with. Every port is the system's choice; nothing waits
//! but for an event, and for that not for ever.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_voicechat");
/// A busy machine starts a process late; a hanging one must fail the test all the same.
const PATIENCE: Duration = Duration::from_secs(40);
const A_CODE: &str = "48213-tiger-orbit-ocean";
const NO_SOUND: [&str; 4] = ["--input", "silence", "--output", "null"];

/// A run that ends by itself.
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

fn environment(home: &Path) -> Vec<(&'static str, std::path::PathBuf)> {
    let config = home.join("config.toml");
    if !config.exists() {
        fs::write(&config, "").unwrap();
    }
    vec![("HOME", home.to_owned()), ("VOICECHAT_STATE", home.join("state")), ("VOICECHAT_CONFIG", config)]
}

fn run_at(home: &Path, args: &[&str], stdin: &[u8]) -> Run {
    let mut command = Command::new(PROGRAM);
    command.env_clear().envs(environment(home)).args(args).write_stdin(stdin).timeout(PATIENCE);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let status = output.status.code().unwrap_or_else(|| panic!("{args:?} was killed: {output:?}"));
    Run { status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(args: &[&str]) -> Run {
    run_at(TempDir::new().unwrap().path(), args, b"")
}

impl Run {
    /// This status, with this in the sentences on stderr, and nothing that only a programmer understands.
    #[track_caller]
    fn fails(&self, status: i32, says: &str) {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(says), "{:?} is not in {:?}", says, self.stderr);
        for internal in ["panicked", "os error", "Error {", "RUST_BACKTRACE", "src/"] {
            assert!(!self.stderr.contains(internal), "{}", self.stderr);
        }
    }
}

/// A program that goes on, watched through its events. Killed when dropped.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<Value>,
}

impl Running {
    fn start(home: &Path, args: &[&str]) -> Self {
        let mut child = std::process::Command::new(PROGRAM)
            .env_clear()
            .envs(environment(home))
            .args(args)
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, events) = channel();
        let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in std::io::BufRead::lines(stdout).map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                if to.send(event).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, events }
    }

    #[track_caller]
    fn event(&self, name: &str) -> Value {
        let mut seen = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) if event["event"] == name => return event,
                Ok(event) => seen.push(event["event"].clone()),
                Err(_) => panic!("no {name} after {seen:?}"),
            }
        }
    }

    fn types(&mut self, line: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_ref()).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    /// Its exit status, after its last event.
    #[track_caller]
    fn ends(&mut self) -> i32 {
        let ended = self.event("ended");
        let status = self.child.wait().unwrap().code().unwrap();
        assert_eq!(ended["exit"], status);
        status
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on loopback, and the line that it hands out.
fn server(home: &Path) -> (Running, String) {
    let server = Running::start(home, &["serve", "--listen", "127.0.0.1:0"]);
    let place = server.event("serving")["place"].as_str().unwrap().to_owned();
    (server, place)
}

/// A room on that server, and its code.
fn room(home: &Path, place: &str, more: &[&str]) -> (Running, String) {
    let args = [&["create", "--server", place, "--name", "Ada"][..], more].concat();
    let room = Running::start(home, &args);
    let code = room.event("invite")["code"].as_str().unwrap().to_owned();
    (room, code)
}

/// The same number with other words.
fn mistaken(code: &str) -> String {
    let number = code.split('-').next().unwrap();
    let words = if code.ends_with("abandon-ability-able") { "zoo-zoo-zoo" } else { "abandon-ability-able" };
    format!("{number}-{words}")
}

fn without_key(place: &str) -> &str {
    place.split('#').next().unwrap()
}

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
fn wrong_usage_is_status_2() {
    for args in [
        &["frobnicate"][..],
        &["create", "--frobnicate"],
        &["create", "--server", "a b"],
        &["create", "--server", "host:1#notakey"],
        &["create", "--path", "sideways"],
        &["create", "--seconds", "0"],
        &["create", "--listen", "here"],
        &["serve", "--listen", "47700"],
        &["demo", "--seconds", "1"],
    ] {
        let run = run(args);
        assert_eq!(run.status, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
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
    run(&["host", "--relay-only", "--input", "silence", "--output", "null"])
        .fails(2, "cannot hide its address");
    run(&["create", "--relay-only", "--input", "silence", "--output", "null"])
        .fails(2, "cannot hide its address");
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
        ("\nname = \"Ada", "is not valid TOML on line 2"),
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
    assert!(refused.stderr.contains("known_servers") && !refused.stderr.contains('#'), "{}", refused.stderr);
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
    run_at(home.path(), &args, b"").fails(8, "another key");
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    run(&["serve", "--listen", &address]).fails(11, "is in use by another program");
    run(&[&["create", "--listen", &address][..], &NO_SOUND].concat())
        .fails(11, "is in use by another program");
}

#[test]
fn a_server_keeps_its_key_and_survives_garbage() {
    let home = TempDir::new().unwrap();
    let (first, place) = server(home.path());
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 3000], &[0, 32]] {
        let mut stream = TcpStream::connect(without_key(&place)).unwrap();
        stream.write_all(garbage).unwrap();
        drop(stream);
    }
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 32, 1400] {
        udp.send_to(&vec![0xe0; length], without_key(&place)).unwrap();
    }
    let (ada, _) = room(home.path(), &place, &NO_SOUND);
    drop((ada, first));
    let (_second, again) = server(home.path());
    assert_eq!(place.split('#').nth(1), again.split('#').nth(1));
}

#[cfg(unix)]
#[test]
fn a_server_prints_one_line_and_stops_when_asked() {
    let home = TempDir::new().unwrap();
    let mut child = std::process::Command::new(PROGRAM)
        .env_clear()
        .envs(environment(home.path()))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert!(
        line.starts_with("127.0.0.1:") && line.trim().split('#').nth(1).is_some_and(|key| key.len() == 52)
    );
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").arg(&id).status().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}

#[test]
fn a_server_stops_after_its_time() {
    run(&["serve", "--listen", "127.0.0.1:0", "--seconds", "1"])
        .fails(0, "voicechat create --server 127.0.0.1:");
}

#[cfg(unix)]
#[test]
fn a_device_in_place_of_a_key_file_is_status_11() {
    run(&["serve", "--listen", "127.0.0.1:0", "--key-file", "/dev/zero"]).fails(11, "cannot be used");
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_would_leave_no_core() {
    let home = TempDir::new().unwrap();
    let (server, _) = server(home.path());
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
}

/// Ada and Bob in one room, connected.
fn two_friends(home: &Path, place: &str, more: &[&str]) -> (Running, Running) {
    let (ada, code) = room(home, place, more);
    let args = [&["join", "--server", place, "--name", "Bob"][..], more].concat();
    let mut bob = Running::start(home, &args);
    bob.types(&code);
    for (friend, other) in [(&ada, "Bob"), (&bob, "Ada")] {
        assert_eq!(friend.event("joined")["name"], other);
        friend.event("path");
    }
    (ada, bob)
}

#[test]
fn typed_lines_are_chat_commands_or_a_clear_answer() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let (mut ada, mut bob) = two_friends(home.path(), &place, &NO_SOUND);
    let answer = |friend: &Running| friend.event("answer")["message"].as_str().unwrap().to_owned();

    ada.types("x".repeat(1001));
    assert!(answer(&ada).contains("longer than 1000 bytes"));
    ada.types("y".repeat(2_000_000));
    assert!(answer(&ada).contains("longer than 1000 bytes"));
    ada.types(b"\xff\xfe");
    assert!(answer(&ada).contains("not UTF-8"));
    ada.types("/mtue");
    assert!(answer(&ada).contains("/mute"));
    ada.types("/help");
    assert!(answer(&ada).contains("/quit"));
    ada.types("//shrug");
    ada.types("esc \u{1b}[31m and \u{202e}bidi");
    ada.types("z".repeat(1000));
    assert_eq!(bob.event("chat")["text"], "/shrug");
    let tricky = bob.event("chat")["text"].as_str().unwrap().to_owned();
    assert!(tricky.starts_with("esc ") && !tricky.contains(['\u{1b}', '\u{202e}']), "{tricky:?}");
    assert_eq!(bob.event("chat")["text"], "z".repeat(1000));

    ada.types("/mute");
    assert_eq!(bob.event("muted")["muted"], true);
    assert!(answer(&ada).contains("off;"));
    ada.types("/mute");
    assert!(answer(&ada).contains("off already"));
    ada.types("/unmute");
    assert_eq!(bob.event("muted")["muted"], false);
    bob.types("/peers");
    assert_eq!(bob.event("peers")["peers"][0]["name"], "Ada");
    bob.types("/invite");
    assert!(bob.event("invite")["link"].is_string());
    bob.types("/quit now");
    assert_eq!(bob.event("answer")["done"], false);
    bob.types("/quit");
    assert_eq!(bob.ends(), 0);
    assert_eq!(ada.event("left")["why"], "left");
}

#[test]
fn the_log_holds_neither_words_nor_names_nor_chat_nor_addresses() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let log = home.path().join("log");
    let more = [&NO_SOUND[..], &["--log", log.to_str().unwrap()]].concat();
    let (mut ada, code) = room(home.path(), &place, &more);
    let args = [&["join", "--server", &place, "--name", "Bartholomew"][..], &NO_SOUND].concat();
    let mut bob = Running::start(home.path(), &args);
    bob.types(&code);
    ada.event("path");
    bob.event("path");
    bob.types("a secret line");
    assert_eq!(ada.event("chat")["text"], "a secret line");
    ada.types("/quit");
    assert_eq!(ada.ends(), 0);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("Said("), "{text}");
    let words = code.split_once('-').unwrap().1;
    for private in ["Bartholomew", "secret", words, "127.0.0.1", &code] {
        assert!(!text.contains(private), "{private}");
    }
}

#[cfg(unix)]
#[test]
fn being_asked_to_stop_tells_the_others_and_completes_the_recording() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let tape = home.path().join("tape.wav");
    let output = format!("wav:{}", tape.display());
    for signal in ["TERM", "INT", "HUP"] {
        let (ada, mut bob) = two_friends(home.path(), &place, &["--input", "tone", "--output", &output]);
        bob.event("stats");
        bob.signal(signal);
        assert_eq!(bob.ends(), 0);
        assert_eq!(ada.event("left")["why"], "left");
        assert!(hound::WavReader::open(&tape).unwrap().duration() > 0);
    }
}

#[test]
fn the_end_of_a_pipe_does_not_end_the_call_but_its_time_does() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let (mut ada, _) = room(home.path(), &place, &[&NO_SOUND[..], &["--seconds", "3"]].concat());
    drop(ada.stdin.take());
    ada.event("stats");
    ada.event("stats");
    assert_eq!(ada.ends(), 0);
}

#[test]
fn when_nobody_reads_its_output_any_more_it_leaves() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    let mut child = std::process::Command::new(PROGRAM)
        .env_clear()
        .envs(environment(home.path()))
        .args(["create", "--json", "--server", &place])
        .args(NO_SOUND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_server_create_brings_its_own_and_the_code_says_where() {
    let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let args = [&["create", "--listen", "127.0.0.1:0", "--name", "Ada"][..], &NO_SOUND].concat();
    let mut ada = Running::start(home.path(), &args);
    let invite = ada.event("invite");
    assert_eq!(invite["reach"], "loopback");
    let code = invite["code"].as_str().unwrap();
    assert!(code.contains("@127.0.0.1:"), "{code}");
    for typed in [code, invite["link"].as_str().unwrap()] {
        let mut bob = Running::start(other.path(), &[&["join", "--name", "Bob"][..], &NO_SOUND].concat());
        bob.types(typed);
        bob.event("path");
        bob.types("hello");
        assert_eq!(ada.event("chat")["text"], "hello");
        bob.types("/quit");
        assert_eq!(bob.ends(), 0);
        ada.event("left");
    }
    ada.types("/quit");
    assert_eq!(ada.ends(), 0);
}

#[test]
fn the_demo_ends_well_and_leaves_what_was_heard() {
    let home = TempDir::new().unwrap();
    let kept = home.path().join("heard");
    for path in ["direct", "relay"] {
        let args = ["demo", "--seconds", "8", "--path", path, "--keep", kept.to_str().unwrap()];
        let run = run_at(home.path(), &args, b"");
        assert_eq!(run.status, 0, "{}\n{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("4 of 4 lines, each once and in order"), "{}", run.stdout);
        assert_eq!(run.stdout.matches("the recording is that speech").count(), 2, "{}", run.stdout);
        for name in ["ada-heard.wav", "bob-heard.wav"] {
            assert!(hound::WavReader::open(kept.join(name)).unwrap().duration() > 48_000);
        }
    }
}
