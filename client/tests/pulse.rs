//! The whole call on a real PulseAudio server: each friend has a microphone and a loudspeaker of its own (null sinks).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use audio::measure::matches;

mod party;
#[path = "../../audio/src/sound.rs"]
mod sound;
mod sound_server;

use party::{Friend, Party, asset, recording, samples};
use sound_server::Sound;

/// Friends with a sound server, unless there is none to be had.
fn with_sound() -> Option<(Party, Sound)> {
    let mut party = Party::new();
    let Some(server) = Sound::start(&party.path("")) else {
        eprintln!("SKIPPED: pulseaudio or its tools are not installed, so no real sound server was tried");
        return None;
    };
    party.env.push(("PULSE_SERVER".into(), server.address()));
    Some((party, server))
}

#[test]
fn two_friends_hear_each_other_through_a_real_sound_server() {
    sound::in_real_time(two_friends_talk);
}

fn two_friends_talk() -> Result<(), String> {
    let Some((party, server)) = with_sound() else { return Ok(()) };
    let (_server, mut ada, mut bob) = two_friends(&party);
    talk(&party, &server, [&mut ada, &mut bob])
}

/// The room's server, Ada and Bob, each with devices of their own.
fn two_friends(party: &Party) -> (Friend, Friend, Friend) {
    let (server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &["--input", "ada_mic.monitor", "--output", "ada_ear"]);
    let mut bob = party.join(&place, "Bob", &code, &["--input", "bob_mic.monitor", "--output", "bob_ear"]);
    bob.wait_for("joined");
    ada.wait_for("joined");
    (server, ada, bob)
}

/// Each says something, and what the other's loudspeaker played is that.
fn talk(party: &Party, server: &Sound, friends: [&mut Friend; 2]) -> Result<(), String> {
    let at_ada = server.record("ada_ear", &party.path("ada.wav"));
    let at_bob = server.record("bob_ear", &party.path("bob.wav"));
    // alice.wav takes 3.7 s; twice, so that one is whole between start and end of the recording.
    for _ in 0..2 {
        server.play("ada_mic", &asset("alice.wav"));
    }
    server.play("bob_mic", &cut(&asset("bob.wav"), 9, &party.path("bob-says.wav")));
    for friend in friends {
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
fn a_sound_server_that_breaks_off_is_told_once_chat_goes_on_and_voices_come_back() {
    sound::in_real_time(|| {
        let Some((party, mut server)) = with_sound() else { return Ok(()) };
        let (_server, mut ada, mut bob) = two_friends(&party);
        server.stop();
        for friend in [&mut ada, &mut bob] {
            friend.wait(|event| event["microphone"] == "awaited" && event["loudspeaker"] == "awaited");
        }
        ada.say("no sound here");
        assert_eq!(bob.wait_for("chat")["text"], "no sound here");
        bob.say("nor here");
        assert_eq!(ada.wait_for("chat")["text"], "nor here");
        server.restart();
        for friend in [&mut ada, &mut bob] {
            friend.wait(|event| event["microphone"] == "there" && event["loudspeaker"] == "there");
        }
        talk(&party, &server, [&mut ada, &mut bob])?;
        for friend in [&mut ada, &mut bob] {
            friend.seconds(1);
            for sentence in DEVICES_GO_AND_COME {
                let told = troubles(friend).iter().filter(|told| told.starts_with(sentence)).count();
                assert_eq!(told, 1, "{sentence} {:#?}", troubles(friend));
            }
        }
        server.stop();
        for friend in [&mut ada, &mut bob] {
            let now =
                friend.wait(|event| event["microphone"] == "awaited" && event["loudspeaker"] == "awaited");
            assert!(now["level_dbfs"].is_null() && now["talking"] == false, "{now}");
            assert_eq!(now["peers"][0]["level_dbfs"], -100.0, "{now}");
        }
        Ok(())
    });
}

const DEVICES_GO_AND_COME: [&str; 4] = [
    "The microphone is gone.",
    "The loudspeaker is gone.",
    "The microphone is there",
    "The loudspeaker is there",
];

/// What was told of devices: that one is back is no trouble.
fn troubles(friend: &Friend) -> Vec<&str> {
    let is_told =
        |event: &&serde_json::Value| ["trouble", "notice"].iter().any(|kind| event["event"] == *kind);
    let troubles = friend.log.iter().filter(is_told);
    troubles.map(|event| event["message"].as_str().unwrap()).collect()
}

#[test]
fn a_microphone_that_gives_nothing_is_told_in_a_sentence() {
    let Some((party, _sound)) = with_sound() else { return };
    let (_server, mut ada, _bob) = two_friends(&party);
    let told = ada.wait_for("trouble");
    let message = told["message"].as_str().unwrap();
    assert!(message.starts_with("The microphone gives no sound at all."), "{message}");
}

/// As a laptop that is closed and opened again.
#[test]
fn a_program_that_stood_still_speaks_and_is_heard_without_delay_again() {
    sound::in_real_time(|| {
        let Some((party, server)) = with_sound() else { return Ok(()) };
        let (_server, mut ada, mut bob) = two_friends(&party);
        let (speech, said, heard) =
            (party.path("speech.wav"), party.path("said.wav"), party.path("heard.wav"));
        // Nothing in it is like anything else in it, so that a delay has one length.
        recording(&speech, sound::speech(45.0));
        let _speaker = server.begin_to_play("ada_mic", &speech);
        let at_ada = server.record("ada_mic", &said);
        let began = Instant::now();
        let at_bob = server.record("bob_ear", &heard);
        let mut moments = Vec::new();
        let mut all_heard = |bob: &mut Friend| {
            // Five to recover, and three to be compared.
            bob.seconds(8);
            moments.push(began.elapsed().as_secs_f32());
        };
        all_heard(&mut bob);
        stands_still(&ada, &mut bob);
        all_heard(&mut bob);
        stands_still(&bob, &mut ada);
        all_heard(&mut bob);
        at_ada.stop();
        at_bob.stop();
        let (said, heard) = (samples(&said), samples(&heard));
        let delays: Vec<_> = moments.iter().map(|moment| delay(&said, &heard, *moment)).collect();
        let [Some(before), Some(ada_stood), Some(bob_stood)] = delays[..] else {
            return Err(format!("{delays:?}"));
        };
        let as_before = |delay: f32| (delay - before).abs() < 0.1;
        if as_before(ada_stood) && as_before(bob_stood) { Ok(()) } else { Err(format!("{delays:?}")) }
    });
}

fn stands_still(friend: &Friend, other: &mut Friend) {
    signal(friend, "STOP");
    other.seconds(3);
    signal(friend, "CONT");
}

fn signal(friend: &Friend, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &friend.id().to_string()]).status().unwrap().success());
}

/// How much later than in the one recording in the other is what was said shortly before this moment, in seconds, the
/// start of the one against the other included. `None` where it was not heard within two seconds.
fn delay(said: &[f32], heard: &[f32], moment: f32) -> Option<f32> {
    let at = |seconds: f32| (seconds.max(0.0) * audio::RATE as f32) as usize;
    let one = |moment: f32| {
        let piece = said.get(at(moment - 2.0)..at(moment - 0.7))?;
        let around = heard.get(at(moment - 2.5)..heard.len().min(at(moment + 1.3)))?;
        let found = audio::measure::align(piece, around, audio::RATE)?;
        Some(found.offset_samples as f32 / audio::RATE as f32 - 0.5)
    };
    // A piece with much of a pause in it may be found elsewhere.
    let mut delays: Vec<f32> = (0..5).filter_map(|fifth| one(moment - fifth as f32 / 5.0)).collect();
    delays.sort_by(f32::total_cmp);
    (delays.len() > 2).then(|| delays[delays.len() / 2])
}

#[test]
fn devices_are_listed_for_programs() {
    let Some((party, _sound)) = with_sound() else { return };
    let listed = party.command(&["devices", "--json"]).output().unwrap();
    let devices: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(devices["event"], "devices");
    let ear = devices["outputs"].as_array().unwrap().iter().find(|device| device["device"] == "ada_ear");
    assert!(ear.is_some(), "{devices}");
}

#[test]
fn what_the_call_uses_is_marked_among_the_devices_of_the_machine() {
    let Some((party, server)) = with_sound() else { return };
    server.load(&["module-remap-source", "master=ada_mic.monitor", "source_name=headset"]);
    let (_server, place) = party.serve();
    let (mut ada, _) = party.create(&place, "Ada", &["--input", "headset"]);
    let used = |ada: &mut Friend| {
        ada.say("/devices");
        let listed = ada.wait_for("devices");
        let used = |list: &str| {
            let all = listed[list].as_array().unwrap().iter();
            let used = all.filter(|device| device["used"] == true).map(|device| device["device"].to_string());
            used.collect::<Vec<_>>().join(" ").replace('"', "")
        };
        (used("inputs"), used("outputs"))
    };
    // The first one is the default.
    assert_eq!(used(&mut ada), ("headset".into(), "ada_mic".into()));
    ada.say("/output ada_ear");
    ada.wait_for("answer");
    ada.say("/input silence");
    ada.wait_for("answer");
    assert_eq!(used(&mut ada), (String::new(), "ada_ear".into()));
    let outside = party.command(&["ctl", "devices"]).output().unwrap();
    let outside = String::from_utf8(outside.stdout).unwrap();
    assert!(outside.contains("  ada_ear  (Null Output, in use)\n"), "{outside}");
    assert_eq!(outside.matches("in use").count(), 1, "{outside}");
    // Whatever is the default, and wherever a desktop's mixer puts the voices.
    ada.say("/output default");
    ada.wait_for("answer");
    assert_eq!(used(&mut ada).1, "ada_mic");
    server.control(&["move-sink-input", &server.played(), "ada_ear"]);
    let moved = (0..100).any(|_| used(&mut ada).1 == "ada_ear");
    assert!(moved, "{:?}", used(&mut ada));
}

#[test]
fn of_a_device_that_is_set_it_is_told_whether_it_is_there() {
    let Some((party, _sound)) = with_sound() else { return };
    let set = |key: &str, value: &str| {
        String::from_utf8(party.command(&["config", "set", key, value]).output().unwrap().stdout).unwrap()
    };
    assert!(set("output", "ada_ear").ends_with(" now.\n"));
    let told = set("input", "nosuchmic");
    assert!(
        told.ends_with("No microphone of that name is there now; `voicechat devices` lists what is.\n"),
        "{told}"
    );
}

#[test]
fn a_headset_that_is_elsewhere_today_is_told_and_used_as_soon_as_it_is_plugged_in() {
    let Some((mut party, server)) = with_sound() else { return };
    party.env.push(("VOICECHAT_INPUT".into(), "headset".into()));
    let (_server, place) = party.serve();
    let mut ada =
        party.start(&["create", "--json", "--server", &place, "--name", "Ada", "--output", "ada_ear"]);
    let told = ada.wait_for("trouble");
    let message = told["message"].as_str().unwrap();
    assert!(message.starts_with("Your microphone (headset) is not there."), "{message}");
    assert!(message.contains("cannot hear you"), "{message}");
    server.load(&["module-remap-source", "master=ada_mic.monitor", "source_name=headset"]);
    ada.wait(|event| {
        event["event"] == "notice"
            && event["message"].as_str().unwrap().starts_with("The microphone is there")
    });
}

#[test]
fn where_the_only_microphone_hears_the_loudspeaker_none_is_used_and_the_way_to_another_is_told() {
    let Some((party, _sound)) = with_sound() else { return };
    let (_server, place) = party.serve();
    let (mut ada, _) = party.create(&place, "Ada", &["--output", "ada_ear"]);
    let told = ada.wait_for("trouble");
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("hears what the loudspeaker plays") && message.contains("/input"), "{message}");
    // No other program keeps it.
    let echo = party.command(&["echo", "--server", &place]).output().unwrap();
    let echo = String::from_utf8(echo.stderr).unwrap();
    assert!(
        echo.contains("There is no microphone to use unasked (") && echo.contains("with --input"),
        "{echo}"
    );
    ada.say("/status");
    assert_eq!(ada.wait_for("status")["microphone"], "awaited");
    ada.say("/input bob_mic.monitor");
    assert_eq!(ada.wait_for("answer")["done"], true);
    ada.say("/status");
    assert_eq!(ada.wait_for("status")["microphone"], "there");
}

#[test]
fn a_device_that_is_typed_wrong_is_refused_and_the_names_of_the_others_are_harmless() {
    let Some((party, server)) = with_sound() else { return };
    let evil = "sink_properties=device.description='B\x1b[31m\x1b]0;owned\x07\u{202e}gpj'";
    server.load(&["module-null-sink", "sink_name=evil", evil]);
    let refused = party.command(&["create", "--output", "nothing"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(11));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("no loudspeaker called `nothing`") && words.contains("gpj"), "{words}");
    assert!(!words.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{words:?}");
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

#[test]
fn the_doctor_tells_a_microphone_that_hears_the_loudspeaker_from_its_monitor() {
    for (microphone, mouth, topic, says) in [
        ("ada_ear.monitor", "ada_ear", "monitor", "hears what the loudspeaker plays"),
        ("room", "ada_ear", "echo", "The microphone hears the loudspeaker"),
        ("ada_mic.monitor", "ada_mic", "echo", "does not hear the loudspeaker"),
    ] {
        sound::in_real_time(|| examined(microphone, mouth, topic, says));
    }
}

/// What the doctor says of this microphone when somebody speaks into `mouth`, and then no more.
fn examined(microphone: &str, mouth: &str, topic: &str, says: &str) -> Result<(), String> {
    let Some((party, server)) = with_sound() else { return Ok(()) };
    server.load(&["module-remap-source", "master=ada_ear.monitor", "source_name=room"]);
    let words = party.path("words.wav");
    // Shorter than the doctor listens.
    cut(&asset("alice.wav"), 2, &words);
    let devices = ["--input", microphone, "--output", "ada_ear", "--no-port-mapping"];
    let mut doctor = party.start(&[&["doctor", "--json", "--seconds", "4"][..], &devices].concat());
    doctor.wait(|event| event["message"].as_str().is_some_and(|message| message.starts_with("Speak for")));
    server.play(mouth, &words);
    let (_, log, _) = doctor.end();
    let found = |topic: &str| log.iter().find(|event| event["event"] == "finding" && event["topic"] == topic);
    assert_eq!(found("devices").unwrap()["state"], "good", "{log:#?}");
    match found(topic) {
        Some(finding) if finding["message"].as_str().unwrap().contains(says) => Ok(()),
        _ => Err(format!("{microphone}: {log:#?}")),
    }
}
