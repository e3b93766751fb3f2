//! One hears oneself through the whole real path.

#![allow(clippy::unwrap_used)]

mod party;
use party::{Party, asset, samples};

#[test]
fn what_is_said_comes_back_through_the_relay() {
    let party = Party::new();
    let spoken = asset("alice.wav");
    let heard = party.path("heard.wav");
    let input = format!("wav:{},loop", spoken.display());
    let output = format!("wav:{}", heard.display());
    let mut echo = party.start(&["echo", "--json", "--seconds", "8", "--input", &input, "--output", &output]);
    let measured = echo.wait(|event| event["event"] == "echo" && event["delay_ms"].is_number());
    assert!(measured["delay_ms"].as_f64().unwrap() > 20.0, "{measured}");
    let (status, _, errors) = echo.end();
    assert_eq!(status.code(), Some(0), "{errors:?}");
    let verdict = audio::measure::matches(&samples(&spoken), &samples(&heard), audio::RATE);
    assert!(verdict.matches, "{verdict:?}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let party = Party::new();
    let echo =
        party.start(&["echo", "--json", "--input", "tone", "--output", "null", "--server", "127.0.0.1:1"]);
    let (status, _, _) = echo.end();
    assert_eq!(status.code(), Some(5));
}

#[test]
fn without_a_sound_server_it_ends_and_says_what_to_do() {
    let mut party = Party::new();
    party.env.push(("PULSE_SERVER".into(), "unix:/nowhere".into()));
    let (status, events, errors) = party.start(&["echo", "--json", "--seconds", "20"]).end();
    assert_eq!(status.code(), Some(11), "{events:?} {errors:?}");
    assert!(
        !events.iter().any(|event| event["event"] == "echo" || event["event"] == "trouble"),
        "{events:?}"
    );
}

/// What a person has set for calls with friends is not for the two inside.
#[test]
fn a_talk_key_a_hook_and_a_hidden_address_do_not_concern_the_echo() {
    let mut party = Party::new();
    let (config, heard) = (party.path("config.toml"), party.path("heard"));
    let hook = format!("hook = \"cat >> {}\"\n", heard.display());
    std::fs::write(&config, hook + "push_to_talk = true\nrelay_only = true\nnotify = true\n").unwrap();
    party.env.push(("VOICECHAT_CONFIG".into(), config.display().to_string()));
    let mut echo = party.start(&["echo", "--json", "--input", "tone", "--output", "null"]);
    echo.wait(|event| event["event"] == "echo" && event["delay_ms"].is_number());
    assert!(!heard.exists());
}
