//! What the doctor finds on a machine that is known: real server, sound from files.

#![allow(clippy::unwrap_used)]

use serde_json::Value;

mod party;
use party::{Party, asset};

fn examined(party: &Party, args: &[&str]) -> (i32, Vec<Value>) {
    let args: Vec<&str> = ["doctor", "--json", "--seconds", "3"].iter().chain(args).copied().collect();
    let (status, log, _) = party.start(&args).end();
    (status.code().unwrap(), log)
}

#[track_caller]
fn finding<'a>(log: &'a [Value], topic: &str) -> &'a Value {
    log.iter()
        .find(|event| event["event"] == "finding" && event["topic"] == topic)
        .unwrap_or_else(|| panic!("{log:#?}"))
}

#[test]
fn a_machine_where_all_is_well_is_told_so() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let speech = format!("wav:{},loop", asset("alice.wav").display());
    let (status, log) = examined(&party, &["--server", &place, "--input", &speech, "--output", "null"]);
    for topic in ["microphone", "loudspeaker", "server", "udp", "nat", "filtering", "ipv6", "clock"] {
        assert_eq!(finding(&log, topic)["state"], "good", "{log:#?}");
    }
    assert_eq!(status, 0, "{log:#?}");
}

#[test]
fn a_dead_microphone_is_named_with_its_cure() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (status, log) = examined(&party, &["--server", &place, "--input", "silence", "--output", "null"]);
    let microphone = finding(&log, "microphone");
    assert_eq!(microphone["state"], "bad");
    assert!(microphone["hint"].as_str().unwrap().contains("--input"), "{microphone}");
    assert_eq!(status, 11);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let party = Party::new();
    let (status, log) = examined(&party, &["--server", "127.0.0.1:1", "--input", "tone", "--output", "null"]);
    assert_eq!(finding(&log, "server")["state"], "bad");
    assert_eq!(status, 5);
}

#[test]
fn without_a_server_calls_are_for_the_neighbours() {
    let party = Party::new();
    let speech = format!("wav:{},loop", asset("alice.wav").display());
    let (status, log) = examined(&party, &["--input", &speech, "--output", "null", "--no-port-mapping"]);
    assert_eq!(finding(&log, "server")["state"], "doubtful");
    assert_eq!(status, 0);
}

#[test]
fn the_exit_status_tells_by_which_rung_a_call_comes_about() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let speech = format!("wav:{},loop", asset("alice.wav").display());
    let sound = ["--server", &place, "--input", &speech, "--output", "null"];
    let (status, log) = examined(&party, &[&sound[..], &["--relay-only"]].concat());
    assert_eq!(finding(&log, "path")["state"], "doubtful");
    assert_eq!(status, 14, "{log:#?}");
}

/// A signaling server alone, without a UDP port that answers.
#[test]
fn a_server_that_only_tcp_reaches_means_a_call_over_tcp() {
    let party = Party::new();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let probes = vec![silent.local_addr().unwrap()];
    let (told, place) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap().to_string()).unwrap();
            let config = signaling::Config {
                key: vc_core::crypto::keys::StaticKey::from_bytes([7; 32]),
                relays: Vec::new(),
                probes,
                limits: signaling::Limits::default(),
                seed: [1; 32],
            };
            let doors = signaling::Doors { tcp: vec![listener], relay: None };
            signaling::serve(doors, config, std::future::pending()).await.unwrap();
        });
    });
    let place = place.recv().unwrap();
    let speech = format!("wav:{},loop", asset("alice.wav").display());
    let (status, log) = examined(&party, &["--server", &place, "--input", &speech, "--output", "null"]);
    assert_eq!(finding(&log, "udp")["state"], "doubtful");
    assert_eq!(status, 15, "{log:#?}");
}
