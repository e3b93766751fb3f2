//! From the friends' frames to one signal: a jitter buffer and a decoder each, mixed in steps of 10 ms. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cue::{Cue, Cues};
use crate::gate::dbfs;
use crate::jitter::Heard;
use crate::mixer::{self, Limiter};
use crate::receiver::{FriendStats, Receiver};
use crate::spec::STEP;

/// The playback side of one call.
pub struct Playback {
    friends: BTreeMap<u64, Friend>,
    cues: Cues,
    deafened: bool,
    limiter: Limiter,
}

struct Friend {
    receiver: Receiver,
    volume: Volume,
    silent_steps: u32,
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
        friend.receiver.hear(now, heard);
    }

    pub fn forget(&mut self, friend: u64) {
        self.friends.remove(&friend);
    }

    /// A friend who mutes sends no end of what was being said.
    pub fn set_muted(&mut self, friend: u64, muted: bool) {
        if let Some(friend) = self.friends.get_mut(&friend) {
            friend.receiver.set_muted(muted);
        }
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
        self.cues.is_quiet() && self.friends.values().all(|friend| friend.receiver.is_quiet())
    }

    pub fn stats(&self) -> Vec<(u64, FriendStats)> {
        self.friends.iter().map(|(id, friend)| (*id, friend.receiver.stats())).collect()
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
        Friend { receiver: Receiver::new(), volume: Volume { chosen: 1.0, at: 1.0 }, silent_steps: 0 }
    }

    fn mix(&mut self, now: Duration, out: &mut [f32; STEP]) {
        let mut voice = [0.0; STEP];
        let voice = match self.receiver.take(now, &mut voice) {
            0 => return self.rest(),
            len => &mut voice[..len],
        };
        self.silent_steps = 0;
        self.receiver.stats.level_dbfs = dbfs(voice);
        self.receiver.stats.talking = true;
        self.volume.apply(voice);
        mixer::add(out, voice);
    }

    fn rest(&mut self) {
        self.receiver.stats.level_dbfs = -100.0;
        self.receiver.stats.talking = false;
        self.volume.at = self.volume.chosen;
        self.silent_steps = self.silent_steps.saturating_add(1);
        if self.silent_steps == DECODER_REST {
            self.receiver.sleep();
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

/// More than any room holds; a bound for memory, not for people.
const MAX_FRIENDS: usize = 64;
/// 12 dB: whoever needs more speaks into a switched-off microphone.
const MOST_PERCENT: u16 = 400;
/// 30 s after the last word the decoder's 190 kB are given back, in mixing steps.
const DECODER_REST: u32 = 3_000;
