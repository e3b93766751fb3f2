//! The cost of one frame at each station between microphone and loudspeaker.
//!
//! `cargo bench -p audio`

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use audio::{Capture, Decoder, Encoder, Frame, FrameLen, Heard, Jitter, Limiter, Playback, Resampler, STEP};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

#[path = "../src/sound.rs"]
mod sound;

fn codec(c: &mut Criterion) {
    let pcm = sound::speech(6.0);
    for (name, len) in [("20 ms", FrameLen::Ms20), ("10 ms", FrameLen::Ms10)] {
        for loss in [0, 10] {
            let mut encoder = Encoder::new(len, 32_000).unwrap();
            encoder.expect_loss(loss).unwrap();
            let mut frames = pcm.chunks_exact(len.samples()).cycle();
            c.bench_function(&format!("encode {name}, expected loss {loss} %"), |b| {
                b.iter(|| encoder.encode(black_box(frames.next().unwrap())).unwrap())
            });
        }
        let mut encoder = Encoder::new(len, 32_000).unwrap();
        encoder.expect_loss(10).unwrap();
        let opus: Vec<_> = pcm.chunks_exact(len.samples()).map(|f| encoder.encode(f).unwrap()).collect();
        let mut out = vec![0.0; len.samples()];
        let mut decoder = Decoder::new().unwrap();
        let mut frames = opus.iter().cycle();
        c.bench_function(&format!("decode {name}"), |b| {
            b.iter(|| decoder.decode(black_box(frames.next().unwrap()), &mut out).unwrap())
        });
        let mut frames = opus.iter().cycle();
        c.bench_function(&format!("recover {name} from the next frame"), |b| {
            b.iter(|| decoder.recover(black_box(frames.next().unwrap()), &mut out).unwrap())
        });
        // One lost frame between good ones, as concealment is used.
        let mut frames = opus.iter().cycle();
        c.bench_function(&format!("conceal {name} and decode the one after"), |b| {
            b.iter(|| {
                decoder.conceal(&mut out).unwrap();
                decoder.decode(black_box(frames.next().unwrap()), &mut out).unwrap();
            })
        });
    }
}

fn gate(c: &mut Criterion) {
    let room = sound::noise(0.002, 48_000, 5);
    let mut capture = Capture::new(FrameLen::Ms20, 32_000).unwrap();
    let mut frames = room.chunks_exact(960).cycle();
    c.bench_function("20 ms of a quiet room through the closed gate", |b| {
        b.iter(|| capture.frame(black_box(frames.next().unwrap()), &mut |_| ()))
    });
    let mut resampler = Resampler::new(44_100, 48_000).unwrap();
    let mut out = Vec::new();
    c.bench_function("resample 20 ms from 44.1 kHz", |b| {
        b.iter(|| {
            out.clear();
            resampler.push(black_box(&room[..882]), &mut out);
        })
    });
}

fn jitter(c: &mut Criterion) {
    let mut jitter = Jitter::new();
    let mut time = 0u32;
    c.bench_function("push and pull of the jitter buffer", |b| {
        b.iter_batched(
            || vec![0; 80],
            |opus| {
                let now = Duration::from_millis(u64::from(time) * 20);
                jitter.push(now, Heard { time, len: FrameLen::Ms20, opus, last_of_talk: false });
                time += 1;
                matches!(jitter.pull(now), Frame::Voice { .. })
            },
            BatchSize::SmallInput,
        )
    });
}

fn mix(c: &mut Criterion) {
    let mut pcm = sound::speech(0.01);
    let mut limiter = Limiter::new();
    c.bench_function("limit 10 ms", |b| b.iter(|| limiter.limit(black_box(&mut pcm))));
    for talkers in [1, 5, 15] {
        let spoken = sound::speech(6.0);
        let mut encoder = Encoder::new(FrameLen::Ms20, 32_000).unwrap();
        let opus: Vec<_> = spoken.chunks_exact(960).map(|f| encoder.encode(f).unwrap()).collect();
        let (mut playback, mut time) = (Playback::new(), 0u32);
        let mut out = [0.0; STEP];
        c.bench_function(&format!("20 ms of playback with {talkers} talking"), |b| {
            b.iter(|| {
                let now = Duration::from_millis(u64::from(time) * 20);
                for friend in 0..talkers {
                    let opus = opus[time as usize % opus.len()].clone();
                    playback.hear(
                        now,
                        friend,
                        Heard { time, len: FrameLen::Ms20, opus, last_of_talk: false },
                    );
                }
                playback.mix(now, &mut out);
                playback.mix(now + Duration::from_millis(10), &mut out);
                time += 1;
            })
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    targets = codec, gate, jitter, mix
}
criterion_main!(benches);
