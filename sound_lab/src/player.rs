//! The real receive path, and two simpler ones to compare it with.

use std::time::Duration;

use anyhow::Result;
use audio::{Decoder, Dred, Encoder, FrameLen, FriendStats, Heard, Playback, Protection, STEP};

use crate::network::Trace;

/// Everything said, in packets.
pub(crate) fn encode(
    said: &[f32],
    len: FrameLen,
    bitrate: u32,
    protection: Protection,
) -> Result<Vec<Vec<u8>>> {
    let mut encoder = Encoder::new(len, bitrate)?;
    encoder.protect(protection)?;
    Ok(said.chunks_exact(len.samples()).filter_map(|pcm| encoder.encode(pcm).ok()).collect())
}

/// Jitter buffer, decoder and mixer of the program, asked every 10 ms; `watch` sees the figures at each.
pub(crate) fn ours(
    packets: &[Vec<u8>],
    len: FrameLen,
    trace: &Trace,
    mut watch: impl FnMut(&FriendStats),
) -> Vec<f32> {
    let mut arrivals: Vec<(i64, usize)> =
        trace.iter().enumerate().filter_map(|(i, at)| Some(((*at)?, i))).collect();
    arrivals.sort_unstable();
    let mut arrivals = arrivals.into_iter().peekable();
    let mut playback = Playback::new();
    let mut heard = Vec::new();
    let end = (trace.len() as i64 * i64::from(len.as_millis()) + 500) * 1000;
    for step in 0..end / STEP_MICROS {
        // The mixer and the sender keep different time.
        let now = step * STEP_MICROS + PHASE;
        while let Some((at, i)) = arrivals.next_if(|(at, _)| *at <= now) {
            let opus = packets[i % packets.len()].clone();
            let frame = Heard { time: i as u32, len, opus, last_of_talk: false };
            playback.hear(Duration::from_micros(at as u64), 1, frame);
        }
        let mut out = [0.0; STEP];
        playback.mix(Duration::from_micros(now as u64), &mut out);
        if let Some((_, stats)) = playback.stats().first() {
            watch(stats);
        }
        heard.extend_from_slice(&out);
    }
    heard
}

/// As good with losses, but every frame is played `delay` after it was sent and no sooner or later.
pub(crate) fn fixed(packets: &[Vec<u8>], len: FrameLen, trace: &Trace, delay: i64) -> Result<Vec<f32>> {
    let mut decoder = Decoder::new()?;
    let mut dred = Dred::new()?;
    let samples = len.samples();
    let mut heard = vec![0.0; packets.len() * samples];
    for (i, out) in heard.chunks_exact_mut(samples).enumerate() {
        let due = i as i64 * i64::from(len.as_millis()) * 1000 + delay;
        let here = |i: usize| matches!(trace.get(i), Some(Some(at)) if *at <= due);
        let next = (i..(i + 60).min(packets.len())).find(|i| here(*i));
        let done = match next {
            Some(next) if next == i => decoder.decode(&packets[i], out),
            Some(next) if next == i + 1 && audio::has_fec(&packets[next]) => {
                decoder.recover(&packets[next], out)
            }
            Some(next) if dred.unpack(&packets[next]) > 0 => {
                dred.decode(&mut decoder, (next - i) * samples, out).or_else(|_| decoder.conceal(out))
            }
            _ => decoder.conceal(out),
        };
        if done.is_err() {
            out.fill(0.0);
        }
    }
    Ok(heard)
}

/// No FEC, no neural concealment, and time enough for every packet that comes at all.
pub(crate) fn plain(packets: &[Vec<u8>], len: FrameLen, trace: &Trace) -> Result<Vec<f32>> {
    let mut decoder = Decoder::plain()?;
    let mut heard = vec![0.0; packets.len() * len.samples()];
    for ((packet, at), out) in packets.iter().zip(trace).zip(heard.chunks_exact_mut(len.samples())) {
        let done = if at.is_some() { decoder.decode(packet, out) } else { decoder.conceal(out) };
        if done.is_err() {
            out.fill(0.0);
        }
    }
    Ok(heard)
}

const STEP_MICROS: i64 = 10_000;
const PHASE: i64 = 3_700;
