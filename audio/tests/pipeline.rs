//! Capture to playback without threads or devices, in virtual time: what a friend hears of what was said.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use audio::{Capture, Captured, FrameLen, Heard, Playback, STEP, measure};

#[path = "../src/sound.rs"]
mod sound;

#[test]
fn speech_arrives_whole_for_every_frame_length() {
    for len in [FrameLen::Ms10, FrameLen::Ms20] {
        let mut spoken = sound::speech(6.0);
        spoken.resize(spoken.len() + 48_000, 0.0);
        let call = Call::new(len).hear(&spoken, |_| true);
        // By intelligibility, for the high-pass turns the phases of the lowest tones.
        let verdict = audio::measure::matches(&spoken, &call.heard, audio::RATE);
        assert!(verdict.matches && verdict.estoi > 0.85 && verdict.heard_s > 4.0, "{len:?}: {verdict:?}");
        assert!(!call.capture.stats().noise, "a clean voice is left as it is");
        assert_eq!((call.stats().concealed, call.stats().fec, call.stats().late), (0, 0, 0));
        assert_eq!(call.stats().played, call.sent as u64);
    }
}

#[test]
fn losses_are_recovered_from_the_next_frame_when_they_are_expected() {
    let spoken = sound::speech(12.0);
    let lossy = |i: usize| i % 7 != 3;
    let mut forewarned = Call::new(FrameLen::Ms20);
    let protection = audio::Protection { loss: 14, fec: true, ..audio::Protection::default() };
    forewarned.capture.set_quality(audio::Quality { protection, ..Default::default() });
    let forewarned = forewarned.hear(&spoken, lossy);
    let unaware = Call::new(FrameLen::Ms20).hear(&spoken, lossy);
    assert!(forewarned.stats().fec > 50 && forewarned.stats().concealed < 20, "{:?}", forewarned.stats());
    assert!(unaware.stats().fec == 0 && unaware.stats().concealed > 50, "{:?}", unaware.stats());
    let (with, without) = (likeness(&spoken, &forewarned.heard), likeness(&spoken, &unaware.heard));
    assert!(with > without, "{with} with recovery, {without} without");
}

#[test]
fn what_a_run_of_losses_took_comes_again_whole() {
    let spoken = sound::speech(12.0);
    // 80 ms of each 600.
    let lossy = |i: usize| i < 100 || i % 30 >= 4;
    let heard = |protection, bitrate| {
        let mut call = Call::new(FrameLen::Ms20);
        call.capture.set_quality(audio::Quality { protection, bitrate, ..Default::default() });
        call.hear(&spoken, lossy)
    };
    let copies = audio::Protection { loss: 10, fec: true, dred_ms: 0, again: audio::Again::Copy { ms: 100 } };
    let (with, without) = (heard(copies, 48_000), heard(audio::Protection::default(), 32_000));
    assert!(with.stats().again > 50 && with.stats().concealed < 20, "{:?}", with.stats());
    assert!(without.stats().again == 0 && without.stats().concealed > 50, "{:?}", without.stats());
    let scores = [with.heard, without.heard].map(|heard| measure::matches(&spoken, &heard, 48_000).estoi);
    assert!(scores[0] > scores[1] + 0.02, "{scores:?}");
}

#[test]
fn what_many_single_losses_took_comes_back_by_sums_of_two() {
    let spoken = sound::speech(12.0);
    // A fifth, in no order.
    let lossy = |i: usize| i < 50 || (i as u32).wrapping_mul(2_654_435_761) >> 16 >= 13_107;
    let heard = |protection| {
        let mut call = Call::new(FrameLen::Ms20);
        call.capture.set_quality(audio::Quality { protection, ..Default::default() });
        call.hear(&spoken, lossy)
    };
    let sums = audio::Protection { loss: 5, again: audio::Again::Sum, ..Default::default() };
    let (with, without) = (heard(sums), heard(audio::Protection::default()));
    assert!(with.stats().again > 50 && with.stats().concealed < 25, "{:?}", with.stats());
    assert!(without.stats().again == 0 && without.stats().concealed > 50, "{:?}", without.stats());
    let scores = [with.heard, without.heard].map(|heard| measure::matches(&spoken, &heard, 48_000).estoi);
    assert!(scores[0] > scores[1] + 0.02, "{scores:?}");
}

#[test]
fn what_a_long_run_of_losses_took_comes_back_by_dred() {
    let spoken = sound::speech(12.0);
    // 200 ms of each second: the next packet knows all of it, and most of that is waited for.
    let lossy = |i: usize| i < 100 || i % 50 >= 10;
    let heard = |protection| {
        let mut call = Call::new(FrameLen::Ms20);
        call.capture.set_quality(audio::Quality { protection, bitrate: 64_000, ..Default::default() });
        call.hear(&spoken, lossy)
    };
    let dred = audio::Protection { loss: 20, dred_ms: 300, ..Default::default() };
    let (with, without) = (heard(dred), heard(audio::Protection::default()));
    assert!(with.stats().dred > 20, "{:?}", with.stats());
    assert!(without.stats().dred == 0 && without.stats().concealed > 20, "{:?}", without.stats());
    let scores = [with.heard, without.heard].map(|heard| measure::matches(&spoken, &heard, 48_000).estoi);
    assert!(scores[0] > scores[1] + 0.02, "{scores:?}");
}

#[test]
fn what_only_fec_in_the_copy_of_the_next_frame_knows_is_waited_for() {
    let spoken = sound::speech(12.0);
    // The first of three goes with its copy, and with the next frame, whose copy comes.
    let lossy = |i: usize| i < 100 || i % 30 >= 3;
    let mut call = Call::new(FrameLen::Ms20);
    let again = audio::Again::Copy { ms: 40 };
    let protection = audio::Protection { loss: 10, fec: true, dred_ms: 0, again };
    call.capture.set_quality(audio::Quality { protection, bitrate: 48_000, ..Default::default() });
    let call = call.hear(&spoken, lossy);
    let stats = call.stats();
    assert!(stats.again > 15 && stats.fec > 8 && stats.concealed < 12, "{stats:?}");
}

#[test]
fn the_first_syllable_is_not_clipped() {
    let mut spoken = vec![0.0; 48_000];
    spoken.extend(sound::speech(2.0));
    // Where the first vowel begins; the hiss of its consonant lies before it.
    let loud = spoken.chunks(480).position(|c| sound::rms(c) > 0.03).unwrap();
    let mut capture = Capture::new(FrameLen::Ms20, 32_000).unwrap();
    let mut sent = Vec::new();
    for pcm in spoken.chunks_exact(960) {
        capture.frame(pcm, &mut |voice| sent.push(voice));
    }
    let before = loud * 10 - sent[0].time as usize * 20;
    assert!((40..=100).contains(&before), "{before} ms before the vowel");
    assert!(sent.windows(2).all(|w| w[1].time == w[0].time + 1));
}

#[test]
fn silence_sends_nothing_and_costs_no_encoder() {
    let mut capture = Capture::new(FrameLen::Ms20, 32_000).unwrap();
    for _ in 0..500 {
        capture.frame(&[0.0; 960], &mut |_| panic!("silence was sent"));
    }
    assert_eq!(capture.stats().sent, 0);
}

#[test]
fn a_pause_ends_a_spurt_and_time_goes_on() {
    let mut spoken = sound::speech(1.0);
    spoken.resize(96_000, 0.0);
    spoken.extend(sound::speech(1.0));
    let mut capture = Capture::new(FrameLen::Ms20, 32_000).unwrap();
    let mut sent: Vec<Captured> = Vec::new();
    for pcm in spoken.chunks_exact(960) {
        capture.frame(pcm, &mut |voice| sent.push(voice));
    }
    capture.pass(0, &mut |voice| sent.push(voice));
    let ends: Vec<_> = sent.iter().filter(|f| f.last_of_talk).map(|f| f.time).collect();
    assert_eq!(ends.len(), 2);
    assert!(sent.iter().all(|f| f.opus.len() == 80));
    let second = sent.iter().find(|f| f.time > ends[0]).unwrap().time;
    assert!((95..=105).contains(&second), "{second}");
}

#[test]
fn friends_with_different_frame_lengths_are_mixed() {
    let (low, high) = (sound::sine(400.0, 0.3, 48_000, 2.0), sound::sine(1100.0, 0.3, 48_000, 2.0));
    let mut playback = Playback::new();
    let mut captures = [(FrameLen::Ms10, low), (FrameLen::Ms20, high)]
        .map(|(len, pcm)| (len, Capture::new(len, 32_000).unwrap(), pcm));
    let mut heard = Vec::new();
    for step in 0..180u64 {
        let now = Duration::from_millis(step * 10 + 10);
        for (friend, (len, capture, pcm)) in captures.iter_mut().enumerate() {
            let steps = u64::from(len.as_millis()) / 10;
            if step % steps == steps - 1 {
                let at = (step / steps) as usize * len.samples();
                capture.frame(&pcm[at..at + len.samples()], &mut |voice| {
                    playback.hear(now, friend as u64, frame(voice, *len));
                });
            }
        }
        let mut out = [0.0; STEP];
        playback.mix(now, &mut out);
        heard.extend_from_slice(&out);
    }
    let middle = &heard[24_000..72_000];
    for hz in [400.0, 1100.0] {
        let share = sound::tonality(middle, hz, 48_000);
        assert!((0.4..0.6).contains(&share), "{hz} Hz has {share}");
    }
}

#[test]
fn a_friend_who_vanishes_fades_without_a_click() {
    let spoken = sound::sine(300.0, 0.4, 48_000, 3.0);
    let call = Call::new(FrameLen::Ms20).hear(&spoken, |i| i < 50);
    let end = call.heard.iter().rposition(|s| s.abs() > 0.001).unwrap();
    assert!(call.heard.len() - end > 48_000, "silent within 200 ms");
    let steepest = call.heard[24_000..].windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
    assert!(steepest < 0.05, "{steepest}");
    assert_eq!(call.stats().concealed, 6);
}

#[test]
fn what_is_no_opus_is_refused_and_does_no_harm() {
    let mut playback = Playback::new();
    for (i, opus) in [vec![], vec![0xff; 3], vec![0; 2000]].into_iter().enumerate() {
        playback.hear(
            Duration::ZERO,
            1,
            Heard { time: i as u32, len: FrameLen::Ms20, opus, last_of_talk: false },
        );
    }
    let mut out = [0.0; STEP];
    for step in 0..20 {
        playback.mix(Duration::from_millis(step * 10), &mut out);
    }
    let stats = playback.stats()[0].1;
    assert!(stats.refused >= 2, "{stats:?}");
}

#[test]
fn forgetting_a_friend_ends_the_voice_at_once() {
    let mut call = Call::new(FrameLen::Ms20).hear(&sound::sine(300.0, 0.4, 48_000, 1.0), |_| true);
    call.playback.forget(FRIEND);
    assert!(call.playback.is_quiet() && call.playback.stats().is_empty());
}

/// One speaker, one listener, a path of no delay.
struct Call {
    len: FrameLen,
    capture: Capture,
    playback: Playback,
    heard: Vec<f32>,
    sent: usize,
}

impl Call {
    fn new(len: FrameLen) -> Call {
        let capture = Capture::new(len, 32_000).unwrap();
        Call { len, capture, playback: Playback::new(), heard: Vec::new(), sent: 0 }
    }

    fn hear(mut self, spoken: &[f32], arrives: impl Fn(usize) -> bool) -> Call {
        let len = self.len;
        for (i, pcm) in spoken.chunks_exact(len.samples()).enumerate() {
            let now = Duration::from_millis((i as u64 + 1) * u64::from(len.as_millis()));
            let (playback, sent) = (&mut self.playback, &mut self.sent);
            self.capture.frame(pcm, &mut |voice| {
                if arrives(*sent) {
                    playback.hear(now, FRIEND, frame(voice, len));
                }
                *sent += 1;
            });
            for step in 0..u64::from(len.as_millis()) / 10 {
                let mut out = [0.0; STEP];
                self.playback.mix(now + Duration::from_millis(step * 10), &mut out);
                self.heard.extend_from_slice(&out);
            }
        }
        self
    }

    fn stats(&self) -> audio::FriendStats {
        self.playback.stats()[0].1
    }
}

fn frame(voice: Captured, len: FrameLen) -> Heard {
    Heard { time: voice.time, len, opus: voice.opus, last_of_talk: voice.last_of_talk }
}

/// The mean of the best correlations of half-second pieces, each found near where it belongs.
fn likeness(spoken: &[f32], heard: &[f32]) -> f32 {
    let pieces: Vec<f32> = (0..spoken.len() / 24_000 - 1)
        .map(|i| &spoken[i * 24_000..(i + 1) * 24_000])
        .enumerate()
        .filter(|(_, piece)| sound::rms(piece) > 0.02)
        .map(|(i, piece)| sound::find(piece, &heard[i * 24_000..], 12_000).0)
        .collect();
    pieces.iter().sum::<f32>() / pieces.len() as f32
}

const FRIEND: u64 = 3;
