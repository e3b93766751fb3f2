//! What a friend's program plays, as it records it: voices as loud as they were set, and who comes and goes.

#![allow(clippy::unwrap_used)]

use std::fs;

mod party;
#[path = "../../audio/src/sound.rs"]
mod sound;

use party::{Friend, Party, samples};

/// What the cues of the engine are made of, in Hz.
const LOW: f32 = 587.33;
const HIGH: f32 = 880.0;
const VOICE: f32 = 500.0;

#[test]
fn a_friend_is_as_loud_as_was_set_and_also_in_the_next_call() {
    sound::in_real_time(|| {
        let party = Party::new();
        let (_server, place) = party.serve();
        let voice = format!("tone:{VOICE}");
        let (mut bob, code) = party.create(&place, "Bob", &["--input", &voice, "--output", "null"]);
        // The level of a voice is evened out with time.
        bob.say("/level off");
        bob.wait_for("answer");
        let mut levels = Vec::new();
        for (tape, orders) in [
            ("usual.wav", &["/volume Bob 50", "/save"][..]),
            ("kept.wav", &["/volume Bob 100"]),
            ("set.wav", &[]),
        ] {
            let output = format!("wav:{}", party.path(tape).display());
            let mut ada = party.join(&place, "Ada", &code, &["--input", "silence", "--output", &output]);
            ada.wait(|event| event["event"] == "stats" && event["peers"][0]["heard"].as_u64() > Some(100));
            for order in orders {
                ada.say(order);
                assert_eq!(ada.wait_for("answer")["done"], true, "{order}");
            }
            leaves(ada);
            bob.wait_for("left");
            levels.push(level(&samples(&party.path(tape))));
        }
        // The order of the second call was not saved.
        let (kept, set) = (levels[1] / levels[0], levels[2] / levels[0]);
        let half = |share: f32| (share - 0.5).abs() < 0.05;
        if half(kept) && half(set) { Ok(()) } else { Err(format!("{levels:?}")) }
    });
}

#[test]
fn who_comes_and_who_goes_is_heard_unless_sounds_are_off() {
    for (config, wanted) in [("", &[LOW, HIGH, HIGH, LOW][..]), ("sounds = false\n", &[])] {
        sound::in_real_time(|| {
            let mut party = Party::new();
            let (path, tape) = (party.path("config.toml"), party.path("tape.wav"));
            fs::write(&path, config).unwrap();
            party.env.push(("VOICECHAT_CONFIG".into(), path.display().to_string()));
            let (_server, place) = party.serve();
            let output = format!("wav:{}", tape.display());
            let (mut ada, code) = party.create(&place, "Ada", &["--input", "silence", "--output", &output]);
            let mut bob = party.join(&place, "Bob", &code, &["--input", "silence", "--output", "null"]);
            ada.wait_for("joined");
            bob.wait_for("joined");
            ada.seconds(2);
            // Who is removed is told of at once, who goes soon after coming later.
            ada.say("/kick Bob");
            ada.wait_for("left");
            ada.seconds(2);
            leaves(ada);
            let heard = notes(&samples(&tape));
            if heard == wanted { Ok(()) } else { Err(format!("{heard:?}")) }
        });
    }
}

fn leaves(mut friend: Friend) {
    friend.say("/quit");
    assert!(friend.end().0.success());
}

/// Of the voice, without what a stall of the machine left of it.
fn level(pcm: &[f32]) -> f32 {
    let pure = |piece: &&[f32]| sound::tonality(piece, VOICE, audio::RATE) > 0.9;
    let mut levels: Vec<f32> = pcm.chunks_exact(2_400).filter(pure).map(sound::rms).collect();
    levels.sort_by(f32::total_cmp);
    levels.get(levels.len() / 2).copied().unwrap_or_default()
}

/// The notes of all cues, in their order.
fn notes(pcm: &[f32]) -> Vec<f32> {
    const NOTE: usize = 5_760;
    const STEP: usize = 480;
    let mut notes: Vec<Option<f32>> = pcm.windows(NOTE).step_by(STEP).map(note).collect();
    notes.dedup();
    notes.into_iter().flatten().collect()
}

/// A note that swells and fades has two thirds of its energy at its pitch.
fn note(pcm: &[f32]) -> Option<f32> {
    let is = |hz: &f32| sound::tonality(pcm, *hz, audio::RATE) > 0.5;
    [LOW, HIGH].into_iter().find(|hz| sound::rms(pcm) > 0.01 && is(hz))
}
