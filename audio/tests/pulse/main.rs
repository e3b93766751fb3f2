//! The engine on a real PulseAudio server with null sinks, private to each test.
//!
//! The server is named by an environment variable, so each test starts its server and then itself again as a child.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, unsafe_code)]

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use audio::{Captured, Config, Engine, Error, FrameLen, FromEngine, Heard, InputSpec, OutputSpec, Trouble};

mod counting;
mod server;
#[path = "../../src/sound.rs"]
mod sound;

use server::{LOST, READY, child, is_child, load, pactl, say, unload, with_mortal_server, with_server};

#[test]
fn a_tone_goes_through_two_devices_and_stays_a_tone() {
    with_server("a_tone_goes_through_two_devices_and_stays_a_tone", || {
        for frame in [FrameLen::Ms20, FrameLen::Ms10] {
            sound::in_real_time(|| {
                // A tone is played into the sink `mic`, which is the microphone of the engine that is tested; that
                // one hears itself on `spk`, and what `spk` plays is recorded.
                let (into_mic, _) = start(InputSpec::Silence, device_out("mic"), frame);
                let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, frame, into_mic.clone());
                let (on_spk, _) = start(InputSpec::Silence, device_out("spk"), frame);
                let _tested = looped(device_in("mic.monitor"), OutputSpec::Null, frame, on_spk.clone());
                let (_recorder, events) = start(device_in("spk.monitor"), OutputSpec::Null, frame);
                let pcm = decode(&voices(&events, 1_500 / frame.as_millis() as usize), frame);
                let settled = &pcm[pcm.len() / 2..];
                let (pure, other) = (
                    sound::share_of_tone(settled, 600.0, 0.177),
                    sound::share_of_tone(settled, 700.0, 0.177),
                );
                if pure > 0.7 && other == 0.0 { Ok(()) } else { Err(format!("{frame:?}: {pure}, {other}")) }
            });
        }
    });
}

#[test]
fn devices_are_listed_with_their_kind() {
    with_server("devices_are_listed_with_their_kind", || {
        let all = audio::devices().unwrap();
        let ids: Vec<_> = all.outputs.iter().map(|d| d.id.as_str()).collect();
        assert_eq!(ids, ["spk", "mic"]);
        assert!(all.inputs.iter().any(|d| d.id == "mic.monitor" && d.is_monitor));
        assert_eq!(all.outputs.iter().filter(|d| d.is_default).count(), 1);
    });
}

#[test]
fn an_absent_device_is_answered_with_those_that_exist() {
    with_server("an_absent_device_is_answered_with_those_that_exist", || {
        let error = refuse(InputSpec::Silence, device_out("headphones"));
        assert!(error.contains("headphones") && error.contains("spk") && error.contains("mic"), "{error}");
        let error = refuse(device_in("webcam"), OutputSpec::Null);
        assert!(error.contains("webcam") && error.contains("mic.monitor"), "{error}");
    });
}

/// What an engine with a tone for a microphone makes another one play, heard on the monitor of `sink`.
fn has_tone(sink: &str) -> bool {
    let (_recorder, events) = start(device_in(&format!("{sink}.monitor")), OutputSpec::Null, FrameLen::Ms20);
    let deadline = Instant::now() + Duration::from_millis(1_500);
    let mut loudest = f32::NEG_INFINITY;
    while let Ok(event) = events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let FromEngine::Level { dbfs, .. } = event {
            loudest = loudest.max(dbfs);
        }
    }
    loudest > -40.0
}

#[test]
fn a_loudspeaker_is_changed_while_sound_flows_and_an_absent_one_changes_nothing() {
    with_server("a_loudspeaker_is_changed_while_sound_flows_and_an_absent_one_changes_nothing", || {
        let (played, _) = start(InputSpec::Silence, device_out("spk"), FrameLen::Ms20);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, played.clone());
        let switch = |spec| {
            let (done, answer) = mpsc::channel();
            played.set_output(spec, move |result| done.send(result.map_err(|e| e.to_string())).unwrap());
            answer.recv_timeout(PATIENCE).unwrap()
        };
        assert!(has_tone("spk"));
        let error = switch(device_out("headphones")).unwrap_err();
        assert!(error.contains("headphones") && error.contains("spk"), "{error}");
        assert!(has_tone("spk"));
        switch(device_out("mic")).unwrap();
        assert!(has_tone("mic") && !has_tone("spk"));
    });
}

#[test]
fn a_microphone_is_changed_while_it_is_heard() {
    with_server("a_microphone_is_changed_while_it_is_heard", || {
        let (engine, events) = start(InputSpec::Silence, OutputSpec::Null, FrameLen::Ms20);
        let (done, answer) = mpsc::channel();
        engine.set_input(InputSpec::Tone { hz: 600.0 }, move |result| done.send(result.is_ok()).unwrap());
        assert!(answer.recv_timeout(PATIENCE).unwrap());
        voices(&events, 10);
        let (done, answer) = mpsc::channel();
        engine.set_input(device_in("webcam"), move |result| done.send(result.is_ok()).unwrap());
        assert!(!answer.recv_timeout(PATIENCE).unwrap());
        voices(&events, 10);
    });
}

#[test]
fn who_plays_to_the_default_follows_it() {
    with_server("who_plays_to_the_default_follows_it", || {
        let default = |sink: &str| {
            pactl(&["set-default-sink", sink]);
        };
        default("spk");
        let (played, _) = start(InputSpec::Silence, OutputSpec::Default, FrameLen::Ms20);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, played.clone());
        assert!(has_tone("spk"));
        default("mic");
        assert!(has_tone("mic") && !has_tone("spk"));
    });
}

#[test]
fn a_monitor_is_not_taken_for_a_microphone() {
    with_server("a_monitor_is_not_taken_for_a_microphone", || {
        let error = refuse(InputSpec::Default, OutputSpec::Null);
        assert!(error.contains("microphone"), "{error}");
        assert!(
            Engine::start(config(InputSpec::Silence, OutputSpec::Default, FrameLen::Ms20), |_| ()).is_ok()
        );
    });
}

#[test]
fn a_server_that_dies_and_comes_back_is_used_again() {
    with_mortal_server("a_server_that_dies_and_comes_back_is_used_again", || {
        let (_engine, events) = start(device_in("mic.monitor"), device_out("spk"), FrameLen::Ms20);
        say(READY);
        let mut lost = Vec::new();
        while lost.len() < 2 {
            lost.push(trouble(&events));
        }
        assert!(lost.contains(&Trouble::MicrophoneLost) && lost.contains(&Trouble::SpeakerLost), "{lost:?}");
        say(LOST);
        let mut back = Vec::new();
        while back.len() < 2 {
            back.push(trouble(&events));
        }
        assert!(back.contains(&Trouble::MicrophoneBack) && back.contains(&Trouble::SpeakerBack), "{back:?}");
        let (into_mic, _) = start(InputSpec::Silence, device_out("mic"), FrameLen::Ms20);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, into_mic);
        assert_eq!(voices(&events, 20).len(), 20);
    });
}

#[test]
fn chosen_devices_come_back_as_they_were_and_the_call_goes_on_meanwhile() {
    with_mortal_server("chosen_devices_come_back_as_they_were_and_the_call_goes_on_meanwhile", || {
        let (engine, events) = start(device_in("mic.monitor"), device_out("spk"), FrameLen::Ms20);
        say(READY);
        while trouble(&events) != Trouble::SpeakerLost {}
        // A friend talks on, and is heard out although no loudspeaker is there.
        let talker = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, engine.clone());
        say(LOST);
        while trouble(&events) != Trouble::SpeakerBack {}
        assert!(has_tone("spk"));
        drop(talker);
    });
}

#[test]
fn a_chosen_device_that_is_unplugged_is_waited_for_and_nobody_is_heard_by_another() {
    with_server("a_chosen_device_that_is_unplugged_is_waited_for_and_nobody_is_heard_by_another", || {
        let (microphone, headphones) = (plug("usb_in"), plug("usb_out"));
        let (engine, events) = start(device_in("usb_in.monitor"), device_out("usb_out"), FrameLen::Ms20);
        let _talker = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, engine);
        assert!(has_tone("usb_out"));
        unload(&microphone);
        assert_eq!(trouble(&events), Trouble::MicrophoneLost);
        unload(&headphones);
        assert_eq!(trouble(&events), Trouble::SpeakerLost);
        assert!(!has_tone("spk") && !has_tone("mic"));
        come_back(&events);
    });
}

#[test]
fn devices_that_are_not_there_at_the_start_are_used_as_soon_as_they_are() {
    with_server("devices_that_are_not_there_at_the_start_are_used_as_soon_as_they_are", || {
        let (told, events) = mpsc::channel();
        let wanted = || config(device_in("usb_in.monitor"), device_out("usb_out"), FrameLen::Ms20);
        let sink = move |event| {
            let _ = told.send(event);
        };
        let missing = |error: &Error| matches!(error, Error::NoSuchDevice { .. });
        assert!(Engine::start(wanted(), |_| ()).is_err_and(|error| missing(&error)));
        let (engine, absent) = Engine::start_bearing(wanted(), missing, sink).unwrap();
        assert!(absent.microphone.is_some_and(|error| missing(&error)));
        assert!(absent.loudspeaker.is_some_and(|error| missing(&error)));
        let _talker =
            looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, Arc::new(engine));
        come_back(&events);
    });
}

#[test]
fn a_default_microphone_that_goes_is_followed_by_the_next_and_never_by_a_monitor() {
    with_server("a_default_microphone_that_goes_is_followed_by_the_next_and_never_by_a_monitor", || {
        let plug =
            |name: &str| load(&["module-remap-source", "master=mic.monitor", &format!("source_name={name}")]);
        let (laptop, headset) = (plug("laptop"), plug("headset"));
        pactl(&["set-default-source", "headset"]);
        let (_engine, events) = start(InputSpec::Default, device_out("spk"), FrameLen::Ms20);
        let (into_mic, _) = start(InputSpec::Silence, device_out("mic"), FrameLen::Ms20);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, into_mic);
        voices(&events, 10);
        pactl(&["set-default-source", "laptop"]);
        unload(&headset);
        voices(&events, 50);
        unload(&laptop);
        assert_eq!(trouble(&events), Trouble::MicrophoneLost);
        plug("laptop");
        pactl(&["set-default-source", "laptop"]);
        assert_eq!(trouble(&events), Trouble::MicrophoneBack);
        voices(&events, 10);
    });
}

#[test]
fn devices_of_any_rate_and_channels_sound_right() {
    with_server("devices_of_any_rate_and_channels_sound_right", || {
        load(&["module-null-sink", "sink_name=cd", "rate=44100", "channels=2", "norewinds=1"]);
        load(&["module-null-sink", "sink_name=left", "rate=44100", "channels=1", "norewinds=1"]);
        load(&["module-null-sink", "sink_name=wide", "rate=96000", "channels=6", "norewinds=1"]);
        for sink in ["cd", "left", "wide"] {
            sound::in_real_time(|| {
                let (into, _) = start(InputSpec::Silence, device_out(sink), FrameLen::Ms20);
                let _tone =
                    looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, into.clone());
                let (_recorder, events) =
                    start(device_in(&format!("{sink}.monitor")), OutputSpec::Null, FrameLen::Ms20);
                let pcm = decode(&voices(&events, 75), FrameLen::Ms20);
                let pure = sound::share_of_tone(&pcm[pcm.len() / 2..], 600.0, 0.177);
                if pure > 0.7 { Ok(()) } else { Err(format!("{sink}: {pure}")) }
            });
        }
    });
}

#[test]
fn suspended_devices_go_on_when_they_wake() {
    with_server("suspended_devices_go_on_when_they_wake", || {
        let suspend = |sink: &str, state: &str| {
            pactl(&["suspend-sink", sink, state]);
        };
        let (into_mic, _) = start(InputSpec::Silence, device_out("mic"), FrameLen::Ms20);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, into_mic);
        let (on_spk, events) = start(device_in("mic.monitor"), device_out("spk"), FrameLen::Ms20);
        let _other = looped(InputSpec::Tone { hz: 700.0 }, OutputSpec::Null, FrameLen::Ms20, on_spk.clone());
        voices(&events, 10);
        // A monitor sleeps with its sink.
        suspend("spk", "1");
        suspend("mic", "1");
        // What was under way still comes; then nothing does, and nothing breaks.
        let quiet = || (0..50).all(|_| events.recv_timeout(Duration::from_millis(300)).is_ok());
        assert!(!quiet());
        suspend("mic", "0");
        suspend("spk", "0");
        voices(&events, 20);
        assert!(has_tone("spk"));
    });
}

#[test]
fn the_delay_of_the_devices_is_known() {
    with_server("the_delay_of_the_devices_is_known", || {
        let (into_mic, _) = start(InputSpec::Silence, device_out("mic"), FrameLen::Ms20);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, into_mic);
        let (engine, events) = start(device_in("mic.monitor"), device_out("spk"), FrameLen::Ms20);
        let deadline = Instant::now() + PATIENCE;
        let known = loop {
            voices(&events, 10);
            let latency = engine.latency();
            // A monitor hears at once what its sink takes, so nothing need be known of the microphone.
            if latency.playback > Duration::ZERO {
                break latency;
            }
            assert!(Instant::now() < deadline, "{latency:?}");
        };
        // A stalled machine makes it longer, within what the server is believed.
        assert!(
            known.playback < Duration::from_secs(2) && known.capture < Duration::from_secs(2),
            "{known:?}"
        );
        assert!((20..=80).contains(&known.reserve.as_millis()), "{known:?}");
    });
}

#[test]
fn a_loudspeaker_that_runs_dry_is_given_more() {
    with_server("a_loudspeaker_that_runs_dry_is_given_more", || {
        let (told, events) = mpsc::channel();
        // The engine's own thread is held up, shorter than what is excused and longer than any first reserve.
        let engine = Engine::start(
            config(InputSpec::Tone { hz: 600.0 }, device_out("spk"), FrameLen::Ms20),
            move |event| {
                if let FromEngine::Voice(voice) = event {
                    if voice.time % 50 == 49 {
                        // The device wakes this thread all the while.
                        let until = Instant::now() + Duration::from_millis(60);
                        while let Some(rest) = until.checked_duration_since(Instant::now()) {
                            std::thread::park_timeout(rest);
                        }
                    }
                    let _ = told.send(());
                }
            },
        )
        .unwrap();
        let first = engine.latency().reserve;
        let deadline = Instant::now() + PATIENCE;
        loop {
            events.recv_timeout(PATIENCE).unwrap();
            let latency = engine.latency();
            if latency.ran_dry > 0 && latency.reserve > first.max(Duration::from_millis(25)) {
                break;
            }
            assert!(Instant::now() < deadline, "{latency:?}");
        }
    });
}

#[test]
fn without_a_server_the_start_fails_soon_and_says_what_to_do() {
    if !is_child() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = dir.path().join("nothing");
        let hung = dir.path().join("hung");
        let _listener = UnixListener::bind(&hung).unwrap();
        for socket in [nothing, hung] {
            let mut child = child("without_a_server_the_start_fails_soon_and_says_what_to_do", &socket);
            assert!(child.wait().unwrap().success());
        }
        return;
    }
    let began = Instant::now();
    for (input, output) in
        [(InputSpec::Default, OutputSpec::Null), (InputSpec::Silence, OutputSpec::Device("spk".into()))]
    {
        let error = Engine::start(config(input, output, FrameLen::Ms20), |_| ()).err().unwrap();
        assert!(matches!(error, Error::NoSoundServer { .. }), "{error}");
        assert!(error.to_string().contains("Start PulseAudio or PipeWire"), "{error}");
    }
    // Two tries of a second each, and what a busy machine adds.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_resting_engine_is_woken_and_heard_at_once() {
    with_server("a_resting_engine_is_woken_and_heard_at_once", || {
        let (into_mic, _) = start(InputSpec::Silence, device_out("mic"), FrameLen::Ms20);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, into_mic);
        let (engine, events) = start(device_in("mic.monitor"), device_out("spk"), FrameLen::Ms20);
        voices(&events, 5);
        engine.set_alone(true);
        loop {
            if voices(&events, 1)[0].last_of_talk {
                break;
            }
        }
        let quiet = events.recv_timeout(Duration::from_millis(300));
        assert!(!matches!(quiet, Ok(FromEngine::Voice(_))), "{quiet:?}");
        engine.set_alone(false);
        let frames = voices(&events, 40);
        assert!(frames.windows(2).filter(|w| w[1].time == w[0].time + 1).count() > 20);
    });
}

#[test]
fn nothing_a_microphone_gives_is_worked_on_while_muted_or_alone() {
    with_server("nothing_a_microphone_gives_is_worked_on_while_muted_or_alone", || {
        let (into_mic, _) = start(InputSpec::Silence, device_out("mic"), FrameLen::Ms20);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms20, into_mic);
        let wishes: [fn(&Engine, bool); 2] = [Engine::set_muted, Engine::set_alone];
        for wish in wishes {
            sound::in_real_time(|| {
                let (engine, events) = start(device_in("mic.monitor"), OutputSpec::Null, FrameLen::Ms20);
                voices(&events, 1);
                wish(&engine, true);
                while !voices(&events, 1)[0].last_of_talk {}
                // As old as the figures may be, and more.
                std::thread::park_timeout(Duration::from_millis(200));
                let before = engine.captured();
                std::thread::park_timeout(Duration::from_millis(400));
                let after = engine.captured();
                if before.heard > 0 && after == before {
                    Ok(())
                } else {
                    Err(format!("{before:?}, {after:?}"))
                }
            });
        }
    });
}

#[test]
fn device_threads_allocate_nothing_while_sound_flows() {
    with_server("device_threads_allocate_nothing_while_sound_flows", || {
        let (into_mic, _) = start(InputSpec::Silence, device_out("mic"), FrameLen::Ms10);
        let _tone = looped(InputSpec::Tone { hz: 600.0 }, OutputSpec::Null, FrameLen::Ms10, into_mic.clone());
        let (on_spk, _) = start(InputSpec::Silence, device_out("spk"), FrameLen::Ms10);
        let (told, events) = mpsc::channel();
        let input = device_in("mic.monitor");
        let _both = Engine::start(config(input, device_out("spk"), FrameLen::Ms10), move |event| {
            if let FromEngine::Voice(Captured { time, opus, last_of_talk, .. }) = event {
                on_spk.hear(1, Heard { time, len: FrameLen::Ms10, opus, last_of_talk });
                let _ = told.send(());
            }
        });
        let flow = |frames| (0..frames).for_each(|_| events.recv_timeout(PATIENCE).unwrap());
        // Buffers grow to their size once.
        flow(100);
        // Three engines play, one of them records as well.
        assert!(counting::device_threads() >= 4, "{}", counting::device_threads());
        let (device_threads, others) = counting::allocations(|| flow(300));
        assert_eq!(device_threads, 0);
        assert!(others > 0, "other threads do allocate, or nothing was counted");
    });
}

#[test]
fn a_microphone_that_gives_no_sound_at_all_is_told() {
    with_server("a_microphone_that_gives_no_sound_at_all_is_told", || {
        // Nobody plays into the sink.
        let (_engine, events) = start(device_in("mic.monitor"), OutputSpec::Null, FrameLen::Ms20);
        assert_eq!(trouble(&events), Trouble::MicrophoneSilent);
    });
}

#[test]
fn a_microphone_that_hears_the_loudspeaker_by_wire_is_told() {
    with_server("a_microphone_that_hears_the_loudspeaker_by_wire_is_told", || {
        let (_engine, events) = start(device_in("spk.monitor"), device_out("spk"), FrameLen::Ms20);
        assert_eq!(trouble(&events), Trouble::InputIsMonitor);
    });
}

/// Both devices are plugged in, one after the other, and used.
fn come_back(events: &Receiver<FromEngine>) {
    plug("usb_out");
    assert_eq!(trouble(events), Trouble::SpeakerBack);
    plug("usb_in");
    assert_eq!(trouble(events), Trouble::MicrophoneBack);
    assert!(has_tone("usb_out"));
}

fn plug(sink: &str) -> String {
    load(&["module-null-sink", &format!("sink_name={sink}"), "norewinds=1"])
}

fn config(input: InputSpec, output: OutputSpec, frame: FrameLen) -> Config {
    Config { input, output, frame, bitrate: 32_000 }
}

fn device_in(name: &str) -> InputSpec {
    InputSpec::Device(name.into())
}

fn device_out(name: &str) -> OutputSpec {
    OutputSpec::Device(name.into())
}

fn start(input: InputSpec, output: OutputSpec, frame: FrameLen) -> (Arc<Engine>, Receiver<FromEngine>) {
    let (told, events) = mpsc::channel();
    let engine = Engine::start(config(input, output, frame), move |event| {
        let _ = told.send(event);
    });
    (Arc::new(engine.unwrap()), events)
}

/// Everything this engine records is played by `ear`.
fn looped(input: InputSpec, output: OutputSpec, frame: FrameLen, ear: Arc<Engine>) -> Engine {
    Engine::start(config(input, output, frame), move |event| {
        if let FromEngine::Voice(Captured { time, opus, last_of_talk, .. }) = event {
            ear.hear(1, Heard { time, len: frame, opus, last_of_talk });
        }
    })
    .unwrap()
}

fn refuse(input: InputSpec, output: OutputSpec) -> String {
    match Engine::start(config(input, output, FrameLen::Ms20), |_| ()) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

fn voices(events: &Receiver<FromEngine>, count: usize) -> Vec<Captured> {
    let mut voices = Vec::new();
    while voices.len() < count {
        if let FromEngine::Voice(voice) = events.recv_timeout(PATIENCE).unwrap() {
            voices.push(voice);
        }
    }
    voices
}

fn trouble(events: &Receiver<FromEngine>) -> Trouble {
    loop {
        if let FromEngine::Trouble(trouble) = events.recv_timeout(PATIENCE).unwrap() {
            return trouble;
        }
    }
}

fn decode(frames: &[Captured], len: FrameLen) -> Vec<f32> {
    let mut decoder = audio::Decoder::new().unwrap();
    let mut pcm = vec![0.0; frames.len() * len.samples()];
    for (frame, out) in frames.iter().zip(pcm.chunks_exact_mut(len.samples())) {
        decoder.decode(&frame.opus, out).unwrap();
    }
    pcm
}

const PATIENCE: Duration = Duration::from_secs(20);
