//! The real receive path, and two simpler ones to compare it with.

use std::time::Duration;

use anyhow::Result;
use audio::{Decoder, Dred, FrameLen, FriendStats, Heard, Packets, Past, Playback, Quality, STEP};

use crate::network::Trace;

/// Everything said, in packets as the program sends them.
pub(crate) fn encode(said: &[f32], quality: Quality) -> Result<Vec<Vec<u8>>> {
    let mut packets = Packets::new(quality)?;
    let steps = said.chunks_exact(STEP).enumerate();
    Ok(steps.filter_map(|(i, pcm)| packets.push(10 * i as u64, pcm, false)).map(|sent| sent.opus).collect())
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

/// As good with losses, but every frame is played `delay` microseconds after it was sent and no sooner or later.
pub(crate) fn fixed(packets: &[Vec<u8>], len: FrameLen, trace: &Trace, delay: i64) -> Result<Vec<f32>> {
    let mut decoder = Decoder::new()?;
    let mut dred = Dred::new()?;
    let samples = len.samples();
    let again = brought_back(packets, len, trace);
    let mut heard = vec![0.0; packets.len() * samples];
    for (i, out) in heard.chunks_exact_mut(samples).enumerate() {
        let due = i as i64 * i64::from(len.as_millis()) * 1000 + delay;
        let came = |i: usize| matches!(trace.get(i), Some(Some(at)) if *at <= due);
        let here = |i: usize| match packets.get(i) {
            Some(packet) if came(i) => Some(&packet[..]),
            _ => again.get(i)?.as_ref().filter(|(at, _)| *at <= due).map(|(_, packet)| &packet[..]),
        };
        let next = (i..i + FARTHEST).find_map(|i| Some((i, here(i)?)));
        let done = match next {
            Some((next, packet)) if next == i => decoder.decode(packet, out),
            Some((next, packet)) if next == i + 1 && audio::has_fec(packet) => decoder.recover(packet, out),
            Some((next, packet)) if dred.unpack(packet) > 0 => {
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

/// Of each frame: the packet that later ones bring back, and when.
fn brought_back(packets: &[Vec<u8>], len: FrameLen, trace: &Trace) -> Vec<Option<(i64, Vec<u8>)>> {
    let mut again = vec![None; packets.len()];
    let mut past = Past::new();
    for (i, packet) in packets.iter().enumerate() {
        // None overtakes another.
        let Some(Some(at)) = trace.get(i) else { continue };
        for (time, opus) in past.heard(i as u32, len, packet) {
            if let Some(again) = again.get_mut(time as usize) {
                *again = Some((*at, opus));
            }
        }
    }
    again
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

/// Packets; what comes later is not waited for by anybody.
const FARTHEST: usize = 30;
const STEP_MICROS: i64 = 10_000;
const PHASE: i64 = 3_700;
