//! Words after a pause, through gate, jitter buffer and decoder in virtual time: none is cut, and the delay is that of the
//! rest soon after, although the gate opens later than they begin.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use audio::{Capture, FrameLen, Heard, Playback, Resampler, STEP};

#[path = "../src/sound.rs"]
mod sound;

#[test]
fn the_delay_after_a_pause_is_back_at_its_target_within_a_fifth_of_a_second() {
    for (voice, room) in [("bob.wav", QUIET), ("bob.wav", NOISY), ("alice.wav", QUIET), ("alice.wav", NOISY)]
    {
        let said = apart(&read(voice));
        for len in [FrameLen::Ms10, FrameLen::Ms20] {
            let spurts = heard(&said.pcm, room, len);
            assert!(spurts.len() >= 5, "{voice}, {room}: {} words", spurts.len());
            for spurt in &spurts {
                let late = &spurt.late[200 / 10..600 / 10];
                assert!(late.iter().all(|ms| ms.abs() <= 10), "{voice}, {room}, {len:?}: {:?}", spurt.late);
            }
            // Nothing of what the gate held back stays in the word.
            let mut rest: Vec<i64> =
                spurts.iter().flat_map(|spurt| &spurt.late[300 / 10..600 / 10]).copied().collect();
            rest.sort_unstable();
            let (median, p95) = (rest[rest.len() / 2], rest[rest.len() * 95 / 100]);
            assert!(median <= 2 && p95 <= 5, "{voice}, {room}, {len:?}: {median} and {p95} ms late");
            // At the vowel at which the gate opened, and at the next ones.
            for (at, most) in [(40, 35), (80, 20), (120, 10)] {
                let mean = spurts.iter().map(|spurt| spurt.late[at / 10]).sum::<i64>() / spurts.len() as i64;
                assert!(mean <= most, "{voice}, {room}, {len:?}: {mean} ms late after {at} ms");
            }
        }
    }
}

#[test]
fn in_a_quiet_room_every_word_is_sent_from_its_first_sound_on_and_little_more() {
    for voice in ["bob.wav", "alice.wav"] {
        let said = apart(&read(voice));
        for len in [FrameLen::Ms10, FrameLen::Ms20] {
            let spurts = heard(&said.pcm, QUIET, len);
            let end = said.pcm.len() as u64 / 48 - 1_000;
            let begins: Vec<u64> =
                said.begins.iter().copied().filter(|at| (SETTLED + 200..end).contains(at)).collect();
            assert!(begins.len() >= 4, "{voice}: {begins:?}");
            for at in begins {
                let sent = |spurt: &Spurt| (at.saturating_sub(100)..=at).contains(&spurt.first);
                let near =
                    spurts.iter().map(|spurt| spurt.first as i64 - at as i64).min_by_key(|ms| ms.abs());
                assert!(spurts.iter().any(sent), "{voice}, {len:?}: sent from {near:?} ms after {at} on");
            }
        }
    }
}

struct Said {
    pcm: Vec<f32>,
    /// When each word begins, in milliseconds; a breath is none.
    begins: Vec<u64>,
}

struct Spurt {
    /// The clock of its first frame, in milliseconds.
    first: u64,
    /// Every 10 ms from the opening of the gate on: by how much what is played is later than the target, in milliseconds.
    late: Vec<i64>,
}

/// What a friend gets of `said` in a room of the level `room` (rms) on a steady path of 20 ms, once the buffer has settled.
fn heard(said: &[f32], room: f32, len: FrameLen) -> Vec<Spurt> {
    let mic: Vec<f32> = said.iter().zip(sound::noise(room, said.len(), 5)).map(|(s, n)| s + n).collect();
    let (mut capture, mut playback) = (Capture::new(len, 32_000).unwrap(), Playback::new());
    let (ms, mut open) = (u64::from(len.as_millis()), false);
    let mut spurts: Vec<Spurt> = Vec::new();
    for (i, pcm) in mic.chunks_exact(len.samples()).enumerate() {
        let now = (i as u64 + 1) * ms;
        capture.frame(pcm, &mut |voice| {
            if !open {
                spurts.push(Spurt { first: u64::from(voice.time) * ms, late: Vec::new() });
            }
            open = !voice.last_of_talk;
            let frame = Heard {
                time: voice.time,
                len: voice.len,
                opus: voice.opus,
                last_of_talk: voice.last_of_talk,
            };
            playback.hear(Duration::from_millis(now + 20), 1, frame);
        });
        for step in 0..ms / 10 {
            // The mixer and the sender keep different time.
            playback.mix(Duration::from_micros((now + 23 + step * 10) * 1_000 + 700), &mut [0.0; STEP]);
            if let (Some(spurt), Some((_, stats))) = (spurts.last_mut(), playback.stats().first()) {
                spurt.late.push(i64::from(stats.buffer_ms) - i64::from(stats.target_ms));
            }
        }
    }
    spurts.retain(|spurt| spurt.first > SETTLED && spurt.late.len() >= 60);
    spurts
}

/// The words of `voice` with a pause of most of a second wherever there is one of 60 ms.
fn apart(voice: &[f32]) -> Said {
    let is_loud = |block: &[f32]| sound::rms(block) > SPOKEN;
    let (mut pcm, mut quiet) = (vec![0.0; 48_000], 0);
    for block in voice.chunks_exact(STEP) {
        quiet = if is_loud(block) { 0 } else { quiet + 1 };
        match quiet {
            0..6 => pcm.extend_from_slice(block),
            6 => pcm.resize(pcm.len() + 43_200, 0.0),
            _ => {}
        }
    }
    let loud: Vec<bool> = pcm.chunks_exact(STEP).map(is_loud).collect();
    let voiced: Vec<bool> = pcm.chunks_exact(STEP).map(|block| sound::rms(block) > VOICED).collect();
    let first = |i: &usize| {
        let soon = &voiced[*i..voiced.len().min(i + 20)];
        loud[*i] && !loud[i - 60..*i].contains(&true) && soon.contains(&true)
    };
    let begins = (60..loud.len()).filter(first).map(|i| i as u64 * 10).collect();
    Said { pcm, begins }
}

/// Some twenty seconds of the speech that the demo speaks, at 48 kHz.
fn read(name: &str) -> Vec<f32> {
    let path = format!("{}/../client/assets/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut wav = hound::WavReader::open(path).unwrap();
    let pcm: Vec<f32> = wav.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32_768.0).collect();
    let (mut out, mut resampler) = (Vec::new(), Resampler::new(wav.spec().sample_rate, 48_000).unwrap());
    resampler.push(&pcm, &mut out);
    resampler.finish(&mut out);
    out.iter().copied().cycle().take(48_000 * 24).collect()
}

/// Rms of a block in which something is said: -50 dBFS; the rooms in which the voices were recorded lie below.
const SPOKEN: f32 = 0.003_2;
/// Rms of a vowel, at least: -32 dBFS.
const VOICED: f32 = 0.025;
/// Rms of the room: -75 and -48 dBFS.
const QUIET: f32 = 0.000_18;
const NOISY: f32 = 0.004;
/// Milliseconds after which the buffer's first guess is forgotten.
const SETTLED: u64 = 8_000;
