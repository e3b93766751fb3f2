//! The engine on its own thread: files in, files out, and everything that can be wrong with them.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use audio::{Captured, Config, Engine, FrameLen, FromEngine, Heard, InputSpec, OutputSpec};

#[path = "../src/sound.rs"]
mod sound;

#[test]
fn a_wav_is_heard_by_the_other_side_as_it_was_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let spoken = dir.path().join("spoken.wav");
    let speech = sound::speech(1.6);
    write(&spoken, &speech, 44_100);
    // Taken at 44.1 kHz, the file is 8.8 % slower than it was spoken.
    let (said, other) = (stretch(&speech, 44_100), stretch(&sound::speaker(1.6, 2), 44_100));
    for frame in [FrameLen::Ms20, FrameLen::Ms10] {
        sound::in_real_time(|| {
            let heard = told(&spoken, &dir.path().join("heard.wav"), frame);
            let (share, wrong) = (share_heard(&said, &heard), share_heard(&other, &heard));
            check(share > 0.6 && wrong < 0.3, || format!("{frame:?}: {share} of it, {wrong} of another"))
        });
    }
}

/// What a listener records of the file `spoken`.
fn told(spoken: &Path, recorded: &Path, frame: FrameLen) -> Vec<f32> {
    let listener = Engine::start(config(InputSpec::Silence, wav_out(recorded), frame), |_| ()).unwrap();
    let listener = Arc::new(listener);
    let (told, events) = mpsc::channel();
    let ear = listener.clone();
    let speaker = Engine::start(config(wav_in(spoken, false), OutputSpec::Null, frame), move |event| {
        if let FromEngine::Voice(voice) = &event {
            ear.hear(7, heard(voice, frame));
        }
        let _ = told.send(event);
    })
    .unwrap();
    wait(&events, |event| matches!(event, FromEngine::InputEnded));
    // What is still in the listener's buffer is played within its delay.
    std::thread::park_timeout(Duration::from_millis(300));
    let stats = listener.stats();
    assert_eq!((stats.len(), stats[0].0), (1, 7));
    speaker.finish().unwrap();
    Arc::into_inner(listener).unwrap().finish().unwrap();
    let (rate, heard) = read(recorded);
    assert_eq!(rate, 48_000);
    heard
}

#[test]
fn a_tone_of_any_rate_and_format_keeps_its_pitch() {
    let dir = tempfile::tempdir().unwrap();
    let formats = [
        (8_000, 1, 8, false),
        (44_100, 1, 16, false),
        (96_000, 2, 24, false),
        (22_050, 2, 32, false),
        (48_000, 6, 32, true),
    ];
    for (rate, channels, bits, float) in formats {
        let path = dir.path().join(format!("{rate}.wav"));
        write_as(&path, &sound::sine(600.0, 0.4, rate, 0.6), rate, channels, bits, float);
        sound::in_real_time(|| {
            let frames = say(&path);
            let pcm = decode(&frames);
            let whole = frames.windows(2).all(|w| w[1].time == w[0].time + 1);
            check(whole && pcm.len() >= 28_800, || format!("{rate}: {} samples", pcm.len()))?;
            let (purity, level) =
                (sound::tonality(&pcm[4_800..24_000], 600.0, 48_000), sound::rms(&pcm[4_800..24_000]));
            check(purity > 0.98 && (level - 0.28).abs() < 0.03, || format!("{rate}: {purity}, {level}"))?;
            let last = frames.last().is_some_and(|frame| frame.last_of_talk && frame.opus.len() == 80);
            check(last, || format!("{rate}: no end"))
        });
    }
}

#[test]
fn a_looped_file_and_a_tone_never_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("short.wav");
    write(&path, &sound::sine(300.0, 0.4, 48_000, 0.05), 48_000);
    for input in [wav_in(&path, true), InputSpec::Tone { hz: 440.0 }] {
        let (engine, events) = start(config(input, OutputSpec::Null, FrameLen::Ms10));
        for _ in 0..40 {
            wait(&events, |event| matches!(event, FromEngine::Voice(_)));
        }
        engine.finish().unwrap();
    }
}

#[test]
fn a_muted_microphone_sends_nothing_and_time_goes_on() {
    let began = Instant::now();
    let (engine, events) = start(config(InputSpec::Tone { hz: 440.0 }, OutputSpec::Null, FrameLen::Ms20));
    let before = voice(&events);
    engine.set_muted(true);
    // The spurt is ended by one frame of silence.
    let FromEngine::Voice(last) = wait(&events, |e| matches!(e, FromEngine::Voice(v) if v.last_of_talk))
    else {
        unreachable!()
    };
    assert!(last.time > before.time);
    assert!(
        wait(&events, |e| matches!(e, FromEngine::Level { .. }))
            == FromEngine::Level { dbfs: -100.0, talking: false }
    );
    std::thread::park_timeout(Duration::from_millis(200));
    assert!(!events.try_iter().any(|e| matches!(e, FromEngine::Voice(_))));
    engine.set_muted(false);
    let after = voice(&events);
    assert!(after.time >= last.time + 8, "{} after {}", after.time, last.time);
    assert!(u128::from(after.time) <= began.elapsed().as_millis() / 20, "{}", after.time);
    engine.finish().unwrap();
}

#[test]
fn a_file_waits_while_nobody_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("greeting.wav");
    write(&path, &sound::sine(300.0, 0.4, 48_000, 0.2), 48_000);
    sound::in_real_time(|| {
        let (engine, events) = start(config(wav_in(&path, false), OutputSpec::Null, FrameLen::Ms20));
        engine.set_alone(true);
        std::thread::park_timeout(Duration::from_millis(300));
        let sound = |e: &FromEngine| matches!(e, FromEngine::Voice(_) | FromEngine::InputEnded);
        check(!events.try_iter().any(|e| sound(&e)), || "it did not wait".into())?;
        engine.set_alone(false);
        let first = voice(&events);
        assert!(first.time >= 14, "{}", first.time);
        wait(&events, |e| matches!(e, FromEngine::InputEnded));
        engine.finish().unwrap();
        Ok(())
    });
}

#[test]
fn a_wrong_input_file_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let good = {
        let path = dir.path().join("good.wav");
        write(&path, &[0.1; 100], 48_000);
        std::fs::read(path).unwrap()
    };
    let patched = |at: usize, bytes: &[u8]| {
        let mut wav = good.clone();
        wav[at..at + bytes.len()].copy_from_slice(bytes);
        wav
    };
    let cases = [
        (dir.path().join("missing.wav"), "no such file"),
        (dir.path().to_owned(), "not a file"),
        (file("empty.wav", b""), "empty"),
        (file("text.wav", b"this is no sound at all, it is only a line of text"), "no proper wav"),
        (file("cut.wav", &good[..20]), "cut off"),
        (file("silent.wav", &good[..44]), "no sound"),
        (file("channels.wav", &patched(22, &[0, 0])), ""),
        (file("rate.wav", &patched(24, &[1, 0, 0, 0])), ""),
        (file("bits.wav", &patched(34, &[0, 0])), ""),
    ];
    for (path, reason) in cases {
        let error =
            match Engine::start(config(wav_in(&path, false), OutputSpec::Null, FrameLen::Ms20), |_| ()) {
                Ok(_) => panic!("{} was taken", path.display()),
                Err(error) => error.to_string(),
            };
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains(reason), "{error} should say `{reason}`");
    }
}

#[test]
fn a_file_that_promises_more_than_it_holds_ends_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("torn.wav");
    write(&path, &sound::sine(500.0, 0.4, 48_000, 0.4), 48_000);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2 - 1]).unwrap();
    sound::in_real_time(|| {
        let frames = say(&path).len();
        check((9..=12).contains(&frames), || format!("{frames} frames"))
    });
}

#[test]
fn no_damage_to_a_wav_file_makes_the_reader_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.wav");
    write(&path, &sound::sine(500.0, 0.4, 48_000, 0.01), 48_000);
    let whole = std::fs::read(&path).unwrap();
    let mut random = sound::Random(99);
    for _ in 0..300 {
        let mut wav = whole.clone();
        for _ in 0..3 {
            let at = (random.next() * 60.0) as usize;
            wav[at] = (random.next() * 256.0) as u8;
        }
        std::fs::write(&path, &wav).unwrap();
        if let Ok(engine) =
            Engine::start(config(wav_in(&path, false), OutputSpec::Null, FrameLen::Ms10), |_| ())
        {
            engine.finish().unwrap();
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_or_a_wrong_place_is_said_at_the_start() {
    for (path, reason) in
        [("/dev/full", "no space"), ("/nowhere/at/all.wav", "no such file"), ("/", "not a file")]
    {
        let output = wav_out(Path::new(path));
        let error = match Engine::start(config(InputSpec::Silence, output, FrameLen::Ms20), |_| ()) {
            Ok(_) => panic!("{path} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(path) && error.contains(reason), "{error}");
    }
}

#[test]
#[cfg(unix)]
fn a_pipe_without_a_reader_does_not_hang_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    for config in [
        config(InputSpec::Silence, wav_out(&path), FrameLen::Ms20),
        config(wav_in(&path, false), OutputSpec::Null, FrameLen::Ms20),
    ] {
        let error = Engine::start(config, |_| ()).err().unwrap().to_string();
        assert!(error.contains("not a file"), "{error}");
    }
}

#[test]
fn a_recording_lasts_as_long_as_the_call_and_is_whole_after_finish() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quiet.wav");
    let began = Instant::now();
    let (engine, _events) = start(config(InputSpec::Silence, wav_out(&path), FrameLen::Ms20));
    let started = Instant::now();
    std::thread::park_timeout(Duration::from_millis(350));
    let lasted = started.elapsed();
    engine.finish().unwrap();
    let (_, pcm) = read(&path);
    let recorded = Duration::from_micros(pcm.len() as u64 * 1000 / 48);
    assert!(
        recorded <= began.elapsed() && recorded + Duration::from_millis(20) > lasted,
        "{recorded:?} of {lasted:?}"
    );
    assert!(pcm.iter().all(|s| *s == 0.0));
}

#[test]
fn dropping_the_engine_completes_the_recording_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dropped.wav");
    let (engine, events) = start(config(InputSpec::Tone { hz: 440.0 }, wav_out(&path), FrameLen::Ms10));
    voice(&events);
    drop(engine);
    assert!(!read(&path).1.is_empty());
}

#[test]
fn an_engine_that_is_held_up_drops_the_oldest_and_counts() {
    let (release, held) = mpsc::channel::<()>();
    let (told, events) = mpsc::channel();
    let config = config(InputSpec::Tone { hz: 440.0 }, OutputSpec::Null, FrameLen::Ms20);
    let engine = Engine::start(config, move |_| {
        let _ = told.send(());
        let _ = held.recv();
    })
    .unwrap();
    events.recv().unwrap();
    let frame = Heard { time: 0, len: FrameLen::Ms20, opus: vec![1; 80], last_of_talk: false };
    for _ in 0..1600 {
        engine.hear(1, frame.clone());
    }
    assert_eq!(engine.dropped(), 100);
    drop(release);
    engine.finish().unwrap();
}

fn config(input: InputSpec, output: OutputSpec, frame: FrameLen) -> Config {
    Config { input, output, frame, bitrate: 32_000 }
}

fn wav_in(path: &Path, repeat: bool) -> InputSpec {
    InputSpec::Wav { path: path.to_owned(), repeat }
}

fn wav_out(path: &Path) -> OutputSpec {
    OutputSpec::Wav { path: path.to_owned() }
}

fn start(config: Config) -> (Engine, Receiver<FromEngine>) {
    let (told, events) = mpsc::channel();
    let engine = Engine::start(config, move |event| {
        let _ = told.send(event);
    });
    (engine.unwrap(), events)
}

fn check(good: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(what()) }
}

fn wait(events: &Receiver<FromEngine>, wanted: impl Fn(&FromEngine) -> bool) -> FromEngine {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let event = events.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap();
        if wanted(&event) {
            return event;
        }
    }
}

fn voice(events: &Receiver<FromEngine>) -> Captured {
    match wait(events, |event| matches!(event, FromEngine::Voice(_))) {
        FromEngine::Voice(voice) => voice,
        _ => unreachable!(),
    }
}

/// All frames of a file.
fn say(path: &Path) -> Vec<Captured> {
    let (engine, events) = start(config(wav_in(path, false), OutputSpec::Null, FrameLen::Ms20));
    let mut frames = Vec::new();
    let told = |e: &FromEngine| matches!(e, FromEngine::Voice(_) | FromEngine::InputEnded);
    while let FromEngine::Voice(voice) = wait(&events, told) {
        frames.push(voice);
    }
    engine.finish().unwrap();
    frames
}

fn decode(frames: &[Captured]) -> Vec<f32> {
    let mut decoder = audio::Decoder::new().unwrap();
    let mut pcm = vec![0.0; frames.len() * 960];
    for (frame, out) in frames.iter().zip(pcm.chunks_exact_mut(960)) {
        decoder.decode(&frame.opus, out).unwrap();
    }
    pcm
}

fn heard(voice: &Captured, len: FrameLen) -> Heard {
    Heard { time: voice.time, len, opus: voice.opus.clone(), last_of_talk: voice.last_of_talk }
}

fn write(path: &Path, pcm: &[f32], rate: u32) {
    write_as(path, pcm, rate, 1, 16, false);
}

fn write_as(path: &Path, pcm: &[f32], rate: u32, channels: u16, bits: u16, float: bool) {
    let sample_format = if float { hound::SampleFormat::Float } else { hound::SampleFormat::Int };
    let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    for sample in pcm {
        for _ in 0..channels {
            if float {
                wav.write_sample(*sample).unwrap();
            } else {
                wav.write_sample((f64::from(*sample) * (f64::from(1u32 << (bits - 1)) - 1.0)) as i32)
                    .unwrap();
            }
        }
    }
    wav.finalize().unwrap();
}

fn read(path: &Path) -> (u32, Vec<f32>) {
    let mut wav = hound::WavReader::open(path).unwrap();
    let pcm = wav.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32768.0).collect();
    (wav.spec().sample_rate, pcm)
}

/// The share of `said` that is in `heard`, both at 48 kHz. Pieces of 125 ms are looked for one by one and count when
/// they lie beside each other as they were said: a stall of a busy machine costs the pieces it happens in, and speech
/// of another text, voice or pitch is scattered.
fn share_heard(said: &[f32], heard: &[f32]) -> f32 {
    let place = |(i, piece): (usize, &[f32])| {
        let found = audio::measure::align(piece, heard, 48_000)?;
        Some(found.offset_samples - (i * piece.len()) as i64)
    };
    let places: Vec<_> = said
        .chunks_exact(6_000)
        .enumerate()
        .filter(|(_, piece)| sound::rms(piece) > 0.03)
        .map(place)
        .collect();
    let beside =
        |a: &Option<i64>, b: &Option<i64>| matches!((a, b), (Some(a), Some(b)) if a.abs_diff(*b) < 960);
    let pairs = places.windows(2).filter(|pair| beside(&pair[0], &pair[1])).count();
    pairs as f32 / (places.len() - 1) as f32
}

/// What 48 kHz samples sound like when they are labelled as `rate`.
fn stretch(pcm: &[f32], rate: u32) -> Vec<f32> {
    let mut out = Vec::new();
    let mut resampler = audio::Resampler::new(rate, 48_000).unwrap();
    resampler.push(pcm, &mut out);
    resampler.finish(&mut out);
    out
}
