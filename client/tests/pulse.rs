//! The whole call on a real PulseAudio server: each friend has a microphone and a loudspeaker of its own (null sinks).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use audio::measure::matches;

mod party;
#[path = "../../audio/src/sound.rs"]
mod sound;
mod sound_server;

use party::{Party, asset, samples};
use sound_server::Sound;

#[test]
fn two_friends_hear_each_other_through_a_real_sound_server() {
    sound::in_real_time(two_friends_talk);
}

fn two_friends_talk() -> Result<(), String> {
    let mut party = Party::new();
    let Some(server) = Sound::start(&party.path("")) else {
        eprintln!("SKIPPED: pulseaudio or its tools are not installed, so no real sound server was tried");
        return Ok(());
    };
    party.env.push(("PULSE_SERVER".into(), server.address()));
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &["--input", "ada_mic.monitor", "--output", "ada_ear"]);
    let mut bob = party.join(&place, "Bob", &code, &["--input", "bob_mic.monitor", "--output", "bob_ear"]);
    bob.wait_for("joined");
    ada.wait_for("joined");

    let at_ada = server.record("ada_ear", &party.path("ada.wav"));
    let at_bob = server.record("bob_ear", &party.path("bob.wav"));
    // alice.wav takes 3.7 s; twice, so that one is whole between start and end of the recording.
    for _ in 0..2 {
        server.play("ada_mic", &asset("alice.wav"));
    }
    server.play("bob_mic", &cut(&asset("bob.wav"), 9, &party.path("bob-says.wav")));
    for friend in [&mut ada, &mut bob] {
        friend.wait(|event| event["event"] == "stats" && event["peers"][0]["heard"].as_u64() > Some(100));
    }
    at_ada.stop();
    at_bob.stop();
    for (said, heard) in [(asset("alice.wav"), "bob.wav"), (party.path("bob-says.wav"), "ada.wav")] {
        let verdict = matches(&samples(&said), &samples(&party.path(heard)), audio::RATE);
        if !verdict.matches || verdict.heard_s < 2.0 {
            return Err(format!("{heard}: {verdict:?}"));
        }
    }
    Ok(())
}

#[test]
fn devices_are_listed_for_programs() {
    let mut party = Party::new();
    let Some(server) = Sound::start(&party.path("")) else {
        eprintln!("SKIPPED: pulseaudio or its tools are not installed, so no real sound server was tried");
        return;
    };
    party.env.push(("PULSE_SERVER".into(), server.address()));
    let listed = party.command(&["devices", "--json"]).output().unwrap();
    let devices: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(devices["event"], "devices");
    let ear = devices["outputs"].as_array().unwrap().iter().find(|device| device["device"] == "ada_ear");
    assert!(ear.is_some(), "{devices}");
}

/// The first seconds of a recording.
fn cut(from: &Path, seconds: u32, to: &Path) -> PathBuf {
    let mut wav = hound::WavReader::open(from).unwrap();
    let spec = wav.spec();
    let mut out = hound::WavWriter::create(to, spec).unwrap();
    for sample in wav.samples::<i16>().take((seconds * spec.sample_rate) as usize) {
        out.write_sample(sample.unwrap()).unwrap();
    }
    out.finalize().unwrap();
    to.to_owned()
}
