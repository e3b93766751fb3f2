//! What a person may ask of a running engine: push-to-talk, mute, deafen, volumes, cues, stages.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use audio::{
    Config, Cue, Engine, FrameLen, FromEngine, Heard, InputSpec, OutputSpec, Playback, STEP, Trouble,
};

#[path = "../src/sound.rs"]
mod sound;

#[test]
fn with_push_to_talk_only_what_is_said_while_the_key_is_down_is_sent() {
    let (engine, events) = start(InputSpec::Tone { hz: 500.0 });
    voice(&events);
    engine.set_push_to_talk(true);
    wait(&events, |event| matches!(event, FromEngine::Voice(voice) if voice.last_of_talk));
    let silent = events.recv_timeout(Duration::from_millis(200));
    assert!(!matches!(silent, Ok(FromEngine::Voice(_))), "{silent:?}");
    engine.set_talk_key(true);
    let first = voice(&events);
    engine.set_talk_key(false);
    let mut last = first.clone();
    while !last.last_of_talk {
        last = voice(&events);
    }
    assert!(last.time - first.time >= 9, "the tail is a fifth of a second: {} to {}", first.time, last.time);
    engine.set_push_to_talk(false);
    voice(&events);
}

#[test]
fn a_held_key_sends_silence_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quiet.wav");
    write(&path, &vec![0.0; 48_000]);
    let (engine, events) = start(InputSpec::Wav { path, repeat: true });
    engine.set_push_to_talk(true);
    engine.set_talk_key(true);
    let first = voice(&events);
    assert_eq!(voice(&events).time, first.time + 1);
}

#[test]
fn without_voice_detection_silence_is_sent_too_but_not_while_muted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quiet.wav");
    write(&path, &vec![0.0; 48_000]);
    let (engine, events) = start(InputSpec::Wav { path, repeat: true });
    let silent = events.recv_timeout(Duration::from_millis(200));
    assert!(!matches!(silent, Ok(FromEngine::Voice(_))), "{silent:?}");
    engine.set_gate(false);
    let first = voice(&events);
    assert_eq!(voice(&events).time, first.time + 1);
    engine.set_muted(true);
    wait(&events, |event| matches!(event, FromEngine::Voice(voice) if voice.last_of_talk));
    let silent = events.recv_timeout(Duration::from_millis(200));
    assert!(!matches!(silent, Ok(FromEngine::Voice(_))), "{silent:?}");
    engine.set_muted(false);
    voice(&events);
    engine.set_gate(true);
    wait(&events, |event| matches!(event, FromEngine::Voice(voice) if voice.last_of_talk));
}

#[test]
fn nothing_is_sent_while_muted_and_who_talks_on_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("speech.wav");
    write(&path, &sound::speech(6.0));
    let (engine, events) = start(InputSpec::Wav { path, repeat: true });
    voice(&events);
    engine.set_muted(true);
    // What was on its way before the wish was seen.
    wait(&events, |event| matches!(event, FromEngine::Voice(voice) if voice.last_of_talk));
    let told = wait(&events, |event| matches!(event, FromEngine::Voice(_) | FromEngine::Trouble(_)));
    assert_eq!(told, FromEngine::Trouble(Trouble::TalkingWhileMuted));
}

#[test]
fn nothing_is_worked_on_while_muted_or_alone() {
    let wishes: [fn(&Engine, bool); 2] = [Engine::set_muted, Engine::set_alone];
    for wish in wishes {
        sound::in_real_time(|| {
            let (engine, events) = start(InputSpec::Tone { hz: 500.0 });
            voice(&events);
            wish(&engine, true);
            wait(&events, |event| matches!(event, FromEngine::Voice(voice) if voice.last_of_talk));
            // As old as the figures may be, and more.
            std::thread::park_timeout(Duration::from_millis(200));
            let before = engine.captured();
            std::thread::park_timeout(Duration::from_millis(400));
            let after = engine.captured();
            if before.heard > 0 && after == before { Ok(()) } else { Err(format!("{before:?}, {after:?}")) }
        });
    }
}

#[test]
fn volumes_are_kept_from_before_the_first_word_until_the_friend_is_forgotten() {
    let loud = |percent: Option<u16>| {
        let mut playback = Playback::new();
        if let Some(percent) = percent {
            playback.set_volume(FRIEND, percent);
        }
        sound::rms(&play(&mut playback, 60)[24_000..])
    };
    let usual = loud(None);
    for (percent, factor) in [(0, 0.0), (50, 0.5), (100, 1.0), (200, 2.0), (u16::MAX, 4.0)] {
        let got = loud(Some(percent)) / usual;
        assert!((got - factor).abs() < 0.05, "{percent} %: {got}");
    }
    let mut playback = Playback::new();
    playback.set_volume(FRIEND, 0);
    playback.forget(FRIEND);
    assert!(sound::rms(&play(&mut playback, 60)[24_000..]) > usual * 0.9);
}

#[test]
fn who_is_deafened_hears_cues_and_nobody() {
    let mut playback = Playback::new();
    playback.set_deafened(true);
    assert!(play(&mut playback, 40).iter().all(|s| *s == 0.0));
    playback.play(Cue::Joined);
    assert!(sound::rms(&play(&mut playback, 10)) > 0.005);
    playback.set_deafened(false);
    assert!(sound::rms(&play(&mut playback, 40)) > 0.01);
}

#[test]
fn five_talkers_at_once_are_mixed_without_clipping() {
    let mut playback = Playback::new();
    let mut callers: Vec<Caller> =
        (0..5).map(|friend| Caller::new(friend, &sound::speaker(4.0, friend as u32 + 1), 2.0)).collect();
    let mut heard = Vec::new();
    for step in 0..400 {
        callers.iter_mut().for_each(|caller| caller.say(step, &mut playback));
        heard.extend(mix(step, &mut playback));
    }
    assert!(heard.iter().all(|s| s.abs() < 0.95));
    assert!(sound::rms(&heard) > 0.1);
    assert!(playback.stats().iter().any(|(_, friend)| friend.talking && friend.level_dbfs > -60.0));
}

fn play(playback: &mut Playback, steps: u64) -> Vec<f32> {
    let mut caller = Caller::new(FRIEND, &sound::sine(400.0, 0.1, 48_000, 1.0), 1.0);
    let mut heard = Vec::new();
    for step in 0..steps {
        caller.say(step, playback);
        heard.extend(mix(step, playback));
    }
    heard
}

fn mix(step: u64, playback: &mut Playback) -> [f32; STEP] {
    let mut out = [0.0; STEP];
    playback.mix(Duration::from_millis(step * 10), &mut out);
    out
}

/// A friend who says something over and over, on a path of no delay.
struct Caller {
    friend: u64,
    encoder: audio::Encoder,
    frames: Vec<Vec<f32>>,
}

impl Caller {
    fn new(friend: u64, pcm: &[f32], gain: f32) -> Caller {
        let frames = pcm.chunks_exact(STEP).map(|f| f.iter().map(|s| s * gain).collect()).collect();
        Caller { friend, encoder: audio::Encoder::new(FrameLen::Ms10, 32_000).unwrap(), frames }
    }

    fn say(&mut self, step: u64, playback: &mut Playback) {
        let opus = self.encoder.encode(&self.frames[step as usize % self.frames.len()]).unwrap();
        let heard = Heard { time: step as u32, len: FrameLen::Ms10, opus, last_of_talk: false };
        playback.hear(Duration::from_millis(step * 10), self.friend, heard);
    }
}

fn start(input: InputSpec) -> (Engine, Receiver<FromEngine>) {
    let (told, events) = mpsc::channel();
    let config = Config { input, output: OutputSpec::Null, ..Config::default() };
    let engine = Engine::start(config, move |event| {
        let _ = told.send(event);
    });
    (engine.unwrap(), events)
}

fn wait(events: &Receiver<FromEngine>, wanted: impl Fn(&FromEngine) -> bool) -> FromEngine {
    loop {
        let event = events.recv_timeout(PATIENCE).unwrap();
        if wanted(&event) {
            return event;
        }
    }
}

fn voice(events: &Receiver<FromEngine>) -> audio::Captured {
    match wait(events, |event| matches!(event, FromEngine::Voice(_))) {
        FromEngine::Voice(voice) => voice,
        _ => unreachable!(),
    }
}

fn write(path: &Path, pcm: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    pcm.iter().for_each(|s| wav.write_sample((s * 32_767.0) as i16).unwrap());
    wav.finalize().unwrap();
}

const FRIEND: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(20);
