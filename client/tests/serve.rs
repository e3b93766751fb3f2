//! `voicechat serve` from outside.

#![allow(clippy::unwrap_used)]

use std::fs;
#[cfg(unix)]
use std::io::Read;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::process::Stdio;

use tempfile::TempDir;

mod outside;
use outside::{NO_SOUND, room, run, run_at, server, without_key};
#[cfg(unix)]
use outside::{PROGRAM, environment};

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

#[test]
fn what_its_flags_say_a_file_can_say_and_the_flags_win() {
    let home = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let keys = [home.path().join("mine.key"), home.path().join("relay.key")];
    let config = format!(
        "listen = \"127.0.0.1:0\"\nalso = [{port}]\nkey_file = {:?}\n\
         relays = [{{ address = \"127.0.0.1:9\", key_file = {:?} }}]\n",
        keys[0], keys[1]
    );
    fs::write(home.path().join("config.toml"), config).unwrap();
    run_at(home.path(), &["serve", "--seconds", "1"], b"").fails(11, &format!("Port {port} is in use"));
    assert!(keys.iter().all(|key| key.exists()), "the keys that the file names are made");
    let free = ["serve", "--also", "0", "--seconds", "1"];
    run_at(home.path(), &free, b"").fails(0, "voicechat create --server 127.0.0.1:");
}
