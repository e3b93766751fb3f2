//! What the doctor finds on a machine that is known: real server, sound from files.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use vc_core::crypto::keys::Secret;
use vc_core::crypto::ticket::RelayKey;

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
    for topic in ["microphone", "loudspeaker", "server", "udp", "nat", "filtering", "relay"] {
        assert_eq!(finding(&log, topic)["state"], "good", "{log:#?}");
    }
    assert_eq!(status, 0, "{log:#?}");
}

/// A recording of its own, `change`d from the speech.
fn recorded(party: &Party, change: impl Fn(usize, f32) -> f32) -> String {
    let path = party.path("recorded.wav");
    let speech = party::samples(&asset("alice.wav"));
    party::recording(&path, speech.into_iter().enumerate().map(|(i, sample)| change(i, sample)));
    format!("wav:{},loop", path.display())
}

#[test]
fn a_microphone_that_is_too_loud_or_too_quiet_is_named() {
    let party = Party::new();
    for (factor, says) in [(0.01, "quiet"), (12.0, "distorts")] {
        let speech = recorded(&party, |_, sample| sample * factor);
        let (_, log) = examined(&party, &["--input", &speech, "--output", "null", "--no-port-mapping"]);
        let microphone = finding(&log, "microphone");
        assert_eq!(microphone["state"], "doubtful", "{microphone}");
        assert!(microphone["message"].as_str().unwrap().contains(says), "{microphone}");
    }
}

#[test]
fn a_fan_is_not_taken_for_an_echo() {
    let party = Party::new();
    // Steady, as far as levels go, with a cough behind the notes.
    let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 - 0.5;
    let fan = recorded(&party, |i, _| noise(i) * 0.02);
    let (_, log) = examined(&party, &["--input", &fan, "--output", "null", "--no-port-mapping"]);
    assert_eq!(finding(&log, "echo")["state"], "good", "{log:#?}");
}

#[test]
fn a_server_with_another_key_than_the_known_one_is_no_firewall() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let address = place.split('#').next().unwrap();
    // From another server, so that it is a key.
    let mut other = Party::new();
    other.env.clear();
    let (_other, stranger) = other.serve();
    let key = stranger.split('#').nth(1).unwrap();
    let wrong = format!("{address}#{key}");
    let (status, log) = examined(&party, &["--server", &wrong, "--input", "tone", "--output", "null"]);
    finding(&log, "clock");
    assert_eq!(finding(&log, "server")["state"], "bad");
    let what = finding(&log, "server")["message"].as_str().unwrap();
    assert!(what.contains("another key"), "{log:#?}");
    assert_eq!(status, 8, "{log:#?}");
    let call =
        party.command(&["create", "--server", &wrong, "--input", "silence", "--output", "null"]).output();
    let (call, hint) = (call.unwrap(), finding(&log, "server")["hint"].as_str().unwrap());
    assert!(
        hint.contains("--server")
            && String::from_utf8(call.stderr).unwrap().ends_with(&format!("\n{hint}\n"))
    );
    let again = log.iter().filter(|event| event.to_string().contains(what)).count();
    assert_eq!(again, 1, "{log:#?}");

    // The same where the key is remembered from a call.
    let known = party.path("voicechat");
    std::fs::create_dir_all(&known).unwrap();
    std::fs::write(known.join("known_servers"), format!("{address} {key}\n")).unwrap();
    let (status, log) = examined(&party, &["--server", address, "--input", "tone", "--output", "null"]);
    assert_eq!(status, 8, "{log:#?}");
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
    let end = log.iter().find(|event| event["event"] == "error").unwrap();
    assert!(end["message"].as_str().unwrap().ends_with("would be without your voice."), "{end}");
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

/// A server behind a firewall that lets TCP through and nothing else, with or without a relay.
fn behind_a_firewall(with_relay: bool) -> String {
    let (told, place) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            // Somewhere else, so that nothing answers by UDP where it is asked for.
            let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let id = relay::key_file::relay_id(&Secret::new([9; 32]));
            let key = RelayKey::new(Secret::new([9; 32]));
            let config = signaling::Config {
                key: vc_core::crypto::keys::StaticKey::from_bytes([7; 32]),
                relays: match with_relay {
                    true => vec![signaling::RelayInfo { addr: address, id, key: key.clone() }],
                    false => Vec::new(),
                },
                probes: vec![address],
                limits: signaling::Limits::default(),
                seed: [1; 32],
            };
            let doors = relay::Doors::new(silent, Vec::new());
            let hand = doors.hand();
            told.send(address.to_string()).unwrap();
            let both = signaling::Doors { tcp: vec![listener], relay: Some(hand) };
            let _ = tokio::join!(
                signaling::serve(both, config, std::future::pending()),
                relay::serve(doors, key, id, [2; 32], std::future::pending()),
            );
        });
    });
    place.recv().unwrap()
}

#[test]
fn a_server_that_only_tcp_reaches_means_a_call_over_tcp_if_it_relays() {
    let speech = format!("wav:{},loop", asset("alice.wav").display());
    for (with_relay, relays, ends) in [(true, "good", 15), (false, "doubtful", 7)] {
        let party = Party::new();
        let place = behind_a_firewall(with_relay);
        let (status, log) = examined(&party, &["--server", &place, "--input", &speech, "--output", "null"]);
        assert_eq!(finding(&log, "udp")["state"], "doubtful");
        assert_eq!(finding(&log, "relay")["state"], relays, "{log:#?}");
        // It may be this network that lets none of its packets through.
        let hint = finding(&log, "relay")["hint"].as_str().unwrap().to_owned();
        assert_eq!(hint.contains("try another network"), !with_relay, "{hint}");
        assert_eq!(status, ends, "{log:#?}");
    }
}
