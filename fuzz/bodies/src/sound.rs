//! What friends send as speech goes through a codec in C: nothing may come out that a loudspeaker must not get.

use std::time::Duration;

use audio::{Decoder, FrameLen, Heard, Playback, RATE, STEP};

use crate::script::{MAX_STEPS, Script};

/// Arbitrary frames at arbitrary times, through jitter buffer, decoder and mixer; then the decoder alone.
pub fn opus(data: &[u8]) {
    let mut script = Script::new(data);
    let mut playback = Playback::new();
    let mut decoder = Decoder::new().unwrap_or_else(|_| panic!("no decoder"));
    let mut now = Duration::ZERO;
    let mut out = [0.0; STEP];
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        let len = if script.byte().is_multiple_of(4) { FrameLen::Ms10 } else { FrameLen::Ms20 };
        match script.byte() % 4 {
            0 | 1 => {
                let (friend, time, last) = (u64::from(script.byte() % 3), script.u32(), script.byte() > 200);
                let opus = script.bytes().to_vec();
                playback.hear(now, friend, Heard { time, len, opus, last_of_talk: last });
            }
            2 => {
                for _ in 0..script.byte() % 8 {
                    playback.mix(now, &mut out);
                    assert!(out.iter().all(|s| s.abs() <= 1.0), "louder than a loudspeaker takes");
                    now += Duration::from_secs(STEP as u64) / RATE;
                }
            }
            _ => {
                let mut pcm = vec![0.0; len.samples()];
                let done = match script.byte() % 3 {
                    0 => decoder.decode(script.bytes(), &mut pcm),
                    1 => decoder.recover(script.bytes(), &mut pcm),
                    _ => decoder.conceal(&mut pcm),
                };
                assert!(done.is_err() || pcm.iter().all(|s| s.is_finite()), "no number at all");
            }
        }
    }
}
