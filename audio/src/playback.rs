//! From the friends' frames to one signal: a jitter buffer and a decoder each, mixed in steps of 10 ms. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cue::{Cue, Cues};
use crate::gate::dbfs;
use crate::jitter::{Counts, FADED, Fit, Frame, Heard, Jitter};
use crate::mixer::{self, Limiter};
use crate::opus::{self, Decoder};
use crate::splice;

/// Samples of one mixing step, 10 ms.
pub const STEP: usize = 480;

/// How well one friend is heard; counts are frames from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FriendStats {
    /// Decoded as they came.
    pub played: u64,
    /// Lost, and recovered from the copy in the next frame.
    pub fec: u64,
    /// Invented in the place of lost or late ones.
    pub concealed: u64,
    /// Came after their turn.
    pub late: u64,
    pub duplicates: u64,
    /// Thrown away to catch up after a stall.
    pub skipped: u64,
    /// Not Opus, or not as long as announced.
    pub refused: u64,
    /// How far behind the quickest possible moment the voice is played.
    pub buffer_ms: u32,
    /// How far behind it should be played for the jitter seen.
    pub target_ms: u32,
    /// Level of the last 10 ms as sent, before the volume; -100 when silent.
    pub level_dbfs: f32,
    /// Being played at this moment.
    pub talking: bool,
}

/// The playback side of one call.
pub struct Playback {
    friends: BTreeMap<u64, Friend>,
    cues: Cues,
    deafened: bool,
    limiter: Limiter,
}

struct Friend {
    jitter: Jitter,
    decoder: Option<Decoder>,
    /// Decoded and not yet mixed.
    ready: Vec<f32>,
    /// A splice that waits for enough samples.
    fit: Fit,
    /// Samples played since the last splice.
    since_splice: usize,
    /// Of concealment.
    gain: f32,
    volume: Volume,
    silent_steps: u32,
    stats: FriendStats,
}

/// What the person chose for a friend, as a factor.
struct Volume {
    chosen: f32,
    /// What the last sample was multiplied by.
    at: f32,
}

impl Playback {
    pub fn new() -> Playback {
        Playback { friends: BTreeMap::new(), cues: Cues::default(), deafened: false, limiter: Limiter::new() }
    }

    /// A frame of `friend` that arrived at `now`.
    pub fn hear(&mut self, now: Duration, friend: u64, heard: Heard) {
        if self.deafened {
            return;
        }
        let Some(friend) = self.friend(friend) else { return };
        if opus::lasts(&heard.opus, heard.len) {
            friend.jitter.push(now, heard);
        } else {
            friend.stats.refused += 1;
        }
    }

    pub fn forget(&mut self, friend: u64) {
        self.friends.remove(&friend);
    }

    /// In percent of what was sent, at most 400; kept until the friend is forgotten.
    pub fn set_volume(&mut self, friend: u64, percent: u16) {
        if let Some(friend) = self.friend(friend) {
            friend.volume.chosen = f32::from(percent.min(MOST_PERCENT)) / 100.0;
        }
    }

    /// While deafened, frames are dropped and only cues are heard.
    pub fn set_deafened(&mut self, deafened: bool) {
        self.deafened = deafened;
    }

    pub fn play(&mut self, cue: Cue) {
        self.cues.play(cue);
    }

    /// Mixes the 10 ms that are to be heard at `now`.
    pub fn mix(&mut self, now: Duration, out: &mut [f32; STEP]) {
        out.fill(0.0);
        for friend in self.friends.values_mut() {
            friend.mix(now, out);
        }
        if self.deafened {
            out.fill(0.0);
        }
        self.cues.add(out);
        self.limiter.limit(out);
    }

    /// Whether [`Playback::mix`] can only give silence until the next frame comes.
    pub fn is_quiet(&self) -> bool {
        self.cues.is_quiet()
            && self.friends.values().all(|friend| friend.ready.is_empty() && friend.jitter.is_quiet())
    }

    pub fn stats(&self) -> Vec<(u64, FriendStats)> {
        self.friends.iter().map(|(id, friend)| (*id, friend.stats())).collect()
    }

    fn friend(&mut self, friend: u64) -> Option<&mut Friend> {
        if self.friends.len() >= MAX_FRIENDS && !self.friends.contains_key(&friend) {
            return None;
        }
        Some(self.friends.entry(friend).or_insert_with(Friend::new))
    }
}

impl Default for Playback {
    fn default() -> Playback {
        Playback::new()
    }
}

impl Friend {
    fn new() -> Friend {
        Friend {
            jitter: Jitter::new(),
            decoder: None,
            ready: Vec::new(),
            fit: Fit::Keep,
            since_splice: REST,
            gain: 1.0,
            volume: Volume { chosen: 1.0, at: 1.0 },
            silent_steps: 0,
            stats: FriendStats { level_dbfs: -100.0, ..FriendStats::default() },
        }
    }

    fn mix(&mut self, now: Duration, out: &mut [f32; STEP]) {
        loop {
            let wanted = if self.fit == Fit::Keep { STEP } else { splice::NEEDED.max(STEP) };
            if self.ready.len() >= wanted {
                self.splice();
                if self.ready.len() >= STEP {
                    break;
                }
            }
            let buffered = Duration::from_micros(self.ready.len() as u64 * 1000 / 48);
            if !self.decode_next(now + buffered) {
                self.fit = Fit::Keep;
                break;
            }
        }
        let len = self.ready.len().min(STEP);
        let voice = &mut self.ready[..len];
        if voice.is_empty() {
            self.rest();
            return;
        }
        self.silent_steps = 0;
        self.stats.level_dbfs = dbfs(voice);
        self.stats.talking = true;
        self.volume.apply(voice);
        mixer::add(out, voice);
        self.since_splice += len;
        self.ready.drain(..len);
    }

    /// Appends the next frame to `ready`; `false` when nobody talks.
    fn decode_next(&mut self, now: Duration) -> bool {
        let frame = self.jitter.pull(now);
        let len = match &frame {
            Frame::Voice { len, .. } | Frame::Recover { len, .. } | Frame::Conceal { len, .. } => *len,
            Frame::Silence => return false,
        };
        if self.decoder.is_none() {
            self.decoder = Decoder::new().ok();
        }
        let Some(decoder) = &mut self.decoder else { return false };
        let start = self.ready.len();
        self.ready.resize(start + len.samples(), 0.0);
        let pcm = &mut self.ready[start..];
        let mut gain = 1.0;
        let done = match frame {
            Frame::Voice { opus, fit, .. } => {
                self.stats.played += 1;
                self.fit = if self.fit == Fit::Keep { fit } else { self.fit };
                decoder.decode(opus, pcm)
            }
            Frame::Recover { next, .. } if opus::has_fec(next) => {
                self.stats.fec += 1;
                decoder.recover(next, pcm)
            }
            Frame::Recover { .. } => {
                self.stats.concealed += 1;
                decoder.conceal(pcm)
            }
            Frame::Conceal { since, .. } => {
                self.stats.concealed += 1;
                gain = fade_out(since + Duration::from_millis(u64::from(len.as_millis())));
                decoder.conceal(pcm)
            }
            Frame::Silence => Ok(()),
        };
        if done.is_err() {
            // The decoder refused what looked like a packet; its state is sound, its output is not.
            pcm.fill(0.0);
        }
        let step = (gain - self.gain) / pcm.len() as f32;
        if step != 0.0 || gain != 1.0 {
            for sample in pcm {
                self.gain += step;
                *sample *= self.gain;
            }
        }
        self.gain = gain;
        true
    }

    /// Does the splice that was asked for: at once where it is quiet or late, else seldom enough not to be heard.
    fn splice(&mut self) {
        let fit = std::mem::replace(&mut self.fit, Fit::Keep);
        let (at, target) = self.jitter.delay();
        let urgent = at.abs_diff(target) > URGENT;
        if fit == Fit::Keep || !(urgent || self.since_splice >= REST || splice::is_quiet(&self.ready)) {
            return;
        }
        let done = match fit {
            Fit::Shrink => splice::shrink(&mut self.ready, urgent),
            Fit::Stretch | Fit::Keep => splice::stretch(&mut self.ready, urgent),
        };
        if done {
            self.since_splice = 0;
        }
    }

    fn rest(&mut self) {
        self.stats.level_dbfs = -100.0;
        self.stats.talking = false;
        self.volume.at = self.volume.chosen;
        self.gain = 1.0;
        self.silent_steps = self.silent_steps.saturating_add(1);
        if self.silent_steps == DECODER_REST {
            self.decoder = None;
            self.ready = Vec::new();
        }
    }

    fn stats(&self) -> FriendStats {
        let Counts { late, duplicates, skipped, .. } = self.jitter.counts();
        let (at, target) = self.jitter.delay();
        FriendStats {
            late,
            duplicates,
            skipped,
            buffer_ms: at.as_millis() as u32,
            target_ms: target.as_millis() as u32,
            ..self.stats
        }
    }
}

impl Volume {
    /// Slides to the chosen volume within the piece.
    fn apply(&mut self, pcm: &mut [f32]) {
        if self.chosen == 1.0 && self.at == 1.0 {
            return;
        }
        let step = (self.chosen - self.at) / pcm.len().max(1) as f32;
        for sample in pcm {
            self.at += step;
            *sample *= self.at;
        }
        self.at = self.chosen;
    }
}

/// The gain after `since` of concealment: what is invented for longer than half of it sounds like a robot.
fn fade_out(since: Duration) -> f32 {
    let faded = FADED as f32 / 1e6;
    (2.0 - 2.0 * since.as_secs_f32() / faded).clamp(0.0, 1.0)
}

/// More than any room holds; a bound for memory, not for people.
const MAX_FRIENDS: usize = 64;
/// 12 dB: whoever needs more speaks into a switched-off microphone.
const MOST_PERCENT: u16 = 400;
/// 30 s after the last word the decoder's 190 kB are given back, in mixing steps.
const DECODER_REST: u32 = 3_000;
/// One splice of about 8 ms in 60 ms changes the tempo by an eighth, which passes for eager speech.
const REST: usize = 60 * 48;
/// With so much too much delay any splice will do.
const URGENT: Duration = Duration::from_millis(100);
