//! Programs of different versions meet over the real wire: the sealed stream of signaling, with a version that is not
//! ours in it.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use rand_core::SeedableRng;
use tempfile::TempDir;
use vc_core::crypto::keys::{Rng, StaticKey};
use vc_core::crypto::link::{ANSWER, Dial, HELLO, Sealed, accept};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{Refusal, ToClient, ToServer, VERSION};
use vc_core::protocol::stream::frame;

mod outside;
use outside::{NO_SOUND, run, server, without_key};

const NEWER: u16 = VERSION + 1;
const OLDER: u16 = VERSION - 1;

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut bytes = vec![0; u16::from_be_bytes(len).into()];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// What a server of another version says to each who greets it.
fn another_server(says: ToClient) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let says = says.clone();
            thread::spawn(move || answer(&mut stream, &says));
        }
    });
    address
}

fn answer(stream: &mut TcpStream, says: &ToClient) -> Option<()> {
    let hello = read_frame(stream).filter(|hello| hello.len() == HELLO)?;
    let (mut sealed, shaken) = accept(&StaticKey::from_bytes([7; 32]), &hello, &mut Rng::from_seed([1; 32]))?;
    stream.write_all(&frame(&shaken)).ok()?;
    let greeting = sealed.open(&read_frame(stream)?)?;
    assert!(matches!(ToServer::decode(&greeting), Ok(ToServer::Hello { version: VERSION })));
    stream.write_all(&frame(&sealed.seal(&says.encode()))).ok()?;
    // Until the other side has heard enough.
    read_frame(stream).map(drop)
}

/// The ways in which a server of another version may answer: as one that greets, and as ours do.
fn answers() -> [ToClient; 3] {
    let greets = |version| ToClient::Hello { version, probes: Vec::new() };
    [greets(NEWER), greets(OLDER), ToClient::Refused(Refusal::Version)]
}

#[test]
fn with_a_server_of_another_version_a_call_ends_with_status_10_and_says_what_to_do() {
    for says in answers() {
        let server = another_server(says);
        for command in [&["create"][..], &["join", "48213-tiger-orbit-ocean"], &["echo"]] {
            let run = run(&[command, &["--server", &server], &NO_SOUND].concat());
            run.fails(10, "runs another version of voicechat");
            let said = run.stderr.lines().rev().take(2).collect::<Vec<_>>();
            assert!(said[0].starts_with("Update ") && said[0].ends_with('.'), "{}", run.stderr);
            assert!(said[1].contains("another version") && said[1].ends_with('.'), "{}", run.stderr);
        }
    }
}

#[test]
fn the_doctor_says_which_of_the_two_is_to_be_updated() {
    for (says, hint) in answers().into_iter().zip([
        "Update this program.",
        "Its operator has to update it.",
        "Update this program, or ask its operator to update it: whichever is older.",
    ]) {
        let server = another_server(says);
        let args = ["doctor", "--seconds", "1", "--no-port-mapping", "--server", &server];
        let run = run(&[&args[..], &NO_SOUND].concat());
        assert!(run.stdout.contains("version") && run.stdout.contains(hint), "{}", run.stdout);
        run.fails(10, "No call will come about");
    }
}

#[test]
fn a_server_tells_a_program_of_another_version_that_it_is_one() {
    let home = TempDir::new().unwrap();
    let (_server, place) = server(home.path());
    for version in [NEWER, OLDER] {
        let mut stream = TcpStream::connect(without_key(&place)).unwrap();
        let (dial, hello) = Dial::start(&mut Rng::from_seed([3; 32]));
        stream.write_all(&frame(&hello)).unwrap();
        let shaken = read_frame(&mut stream).unwrap();
        assert_eq!(shaken.len(), ANSWER);
        let (mut sealed, _): (Sealed, _) = dial.finish(&shaken).unwrap();
        stream.write_all(&frame(&sealed.seal(&ToServer::Hello { version }.encode()))).unwrap();
        let told = sealed.open(&read_frame(&mut stream).unwrap()).unwrap();
        assert!(matches!(ToClient::decode(&told), Ok(ToClient::Refused(Refusal::Version))));
        // It has nothing more to say to such a one.
        assert!(read_frame(&mut stream).is_none());
    }
}
