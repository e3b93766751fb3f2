//! One friend's frames to samples: jitter buffer, decoder, what fills the holes, splices.

use std::time::Duration;

use crate::comfort::Comfort;
use crate::dred::Dred;
use crate::jitter::{Counts, EARLY, FADED, Fit, Frame, Heard, Jitter, LATE};
use crate::opus::{self, Decoder};
use crate::past::Past;
use crate::spec::{FrameLen, STEP};
use crate::splice;

/// How well one friend is heard; counts are frames from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FriendStats {
    /// Decoded as they came.
    pub played: u64,
    /// Lost, and there in time as a copy inside a later packet; counted as played as well.
    pub again: u64,
    /// Lost, and recovered from the coarse copy in the next frame.
    pub fec: u64,
    /// Lost, and recovered from the coarse copy of the past in a later packet.
    pub dred: u64,
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

pub(crate) struct Receiver {
    jitter: Jitter,
    past: Past,
    codec: Option<Codec>,
    /// Decoded and not yet played.
    ready: Vec<f32>,
    /// A splice that waits for enough samples.
    fit: Fit,
    /// Samples played since the last splice.
    since_splice: usize,
    /// Samples played since the friend began to talk.
    spoken: usize,
    /// Of the voice; 0 when what is invented has faded out.
    gain: f32,
    /// Of the comfort noise.
    hush: f32,
    pub(crate) stats: FriendStats,
}

struct Codec {
    decoder: Decoder,
    dred: Option<Dred>,
    comfort: Comfort,
}

impl Receiver {
    pub(crate) fn new() -> Receiver {
        Receiver {
            jitter: Jitter::new(),
            past: Past::new(),
            codec: None,
            ready: Vec::new(),
            fit: Fit::Keep,
            since_splice: REST,
            spoken: 0,
            gain: 1.0,
            hush: 0.0,
            stats: FriendStats { level_dbfs: -100.0, ..FriendStats::default() },
        }
    }

    /// A frame that arrived at `now`.
    pub(crate) fn hear(&mut self, now: Duration, heard: Heard) {
        if !opus::lasts(&heard.opus, heard.len) {
            self.stats.refused += 1;
            return;
        }
        let Heard { time, len, .. } = heard;
        let again = self.past.heard(time, len, &heard.opus);
        let fec = opus::has_fec(&heard.opus);
        let missing = self.jitter.push(now, heard);
        if missing > 0 {
            let known = self.reach();
            self.jitter.could_bring_back(1..=missing.min(known));
        }
        self.knows(fec, time.wrapping_sub(1), len, 1);
        for (earlier, opus) in again {
            if opus::lasts(&opus, len) {
                let (back, fec) = (time.wrapping_sub(earlier), opus::has_fec(&opus));
                let copy = Heard { time: earlier, len, opus, last_of_talk: false };
                let reach = self.past.reach();
                if self.jitter.again(now, copy) && back <= reach {
                    // Which of its frames a sum brings back is chance; who waits for one waits for either.
                    self.jitter.could_bring_back(std::iter::once(reach));
                }
                self.knows(fec, earlier.wrapping_sub(1), len, back.saturating_add(1));
            }
        }
    }

    /// A packet that came `back` frames after the one of `time` has FEC for it.
    fn knows(&mut self, fec: bool, time: u32, len: FrameLen, back: u32) {
        if fec && self.jitter.knows(time, len) {
            self.jitter.could_bring_back(std::iter::once(back));
        }
    }

    /// How many frames before it DRED in the newest packet knows.
    fn reach(&mut self) -> u32 {
        match (&mut self.codec, self.jitter.newest()) {
            (Some(codec), Some((opus, len))) => codec.reach(opus, len),
            _ => 0,
        }
    }

    /// The samples that are to be heard from `now` on, at most [`STEP`]; none when nobody talks.
    pub(crate) fn take(&mut self, now: Duration, out: &mut [f32; STEP]) -> usize {
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
        if self.ready.is_empty() {
            return self.rest(out);
        }
        let len = self.ready.len().min(STEP);
        out[..len].copy_from_slice(&self.ready[..len]);
        self.since_splice += len;
        self.spoken += len;
        self.ready.drain(..len);
        len
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.ready.is_empty() && self.hush <= 0.0 && self.jitter.is_quiet()
    }

    pub(crate) fn set_muted(&mut self, muted: bool) {
        self.jitter.set_muted(muted);
    }

    /// Gives the decoder's memory back.
    pub(crate) fn sleep(&mut self) {
        self.codec = None;
        self.ready = Vec::new();
    }

    pub(crate) fn stats(&self) -> FriendStats {
        let Counts { late, duplicates, again, skipped, .. } = self.jitter.counts();
        let (at, target) = self.jitter.delay();
        FriendStats {
            late,
            duplicates,
            again,
            skipped,
            buffer_ms: at.as_millis() as u32,
            target_ms: target.as_millis() as u32,
            ..self.stats
        }
    }

    /// Appends the next frame to `ready`; `false` when nobody talks.
    fn decode_next(&mut self, now: Duration) -> bool {
        let frame = self.jitter.pull(now);
        let samples = match &frame {
            Frame::Voice { len, .. } => len.samples(),
            Frame::Recover { samples, .. } | Frame::Conceal { samples, .. } => *samples,
            Frame::Silence => return false,
        };
        if self.codec.is_none() {
            self.codec = Codec::new();
        }
        let Some(codec) = &mut self.codec else { return false };
        let start = self.ready.len();
        self.ready.resize(start + samples, 0.0);
        let pcm = &mut self.ready[start..];
        let (source, since) = match frame {
            Frame::Voice { opus, fit, .. } => {
                self.fit = if self.fit == Fit::Keep { fit } else { self.fit };
                (codec.play(opus, pcm), Duration::ZERO)
            }
            Frame::Recover { next, back, since, .. } => (codec.recover(next, back, pcm), since),
            Frame::Conceal { since, .. } => (codec.conceal(pcm), since),
            Frame::Silence => return false,
        };
        let len = Duration::from_micros(samples as u64 * 1000 / 48);
        let gain = match source {
            Source::Invented => fade_out(since + len),
            Source::Frame | Source::Fec | Source::Dred => 1.0,
        };
        match source {
            Source::Frame => self.stats.played += 1,
            Source::Fec => self.stats.fec += 1,
            Source::Dred => self.stats.dred += 1,
            Source::Invented => self.stats.concealed += 1,
        }
        self.blend(start, gain);
        true
    }

    /// Brings the voice in `ready` from `start` on to `gain`; what it lacks is filled with the hush of the room.
    fn blend(&mut self, start: usize, gain: f32) {
        let pcm = &mut self.ready[start..];
        if gain == 1.0 && self.gain == 1.0 && self.hush == 0.0 {
            return;
        }
        let hush = 1.0 - gain;
        let step = (gain - self.gain) / pcm.len() as f32;
        for sample in pcm.iter_mut() {
            self.gain += step;
            *sample *= self.gain;
        }
        if let Some(codec) = &mut self.codec {
            codec.comfort.add(pcm, self.hush, hush);
        }
        (self.gain, self.hush) = (gain, hush);
    }

    /// Does the splice that was asked for: at once where it is quiet or late, else seldom enough not to be heard.
    fn splice(&mut self) {
        let fit = std::mem::replace(&mut self.fit, Fit::Keep);
        let (at, target) = self.jitter.delay();
        // The sender's gate held the first frames back; nothing was said before them whose pace they could break.
        let begins = fit == Fit::Shrink && self.spoken < BEGINNING;
        let off = at.abs_diff(target);
        let alike = match off {
            _ if off > URGENT => splice::UNLIKE,
            _ if begins && off.as_micros() as i64 > LATE => splice::ALIKE_AT_FIRST,
            _ if begins => splice::ALIKE,
            _ if self.since_splice >= REST || splice::is_quiet(&self.ready) => splice::ALIKE,
            _ => return,
        };
        let done = match fit {
            Fit::Shrink => {
                let most = off.as_micros() as usize + EARLY as usize;
                splice::shrink(&mut self.ready, alike, most * 48 / 1000)
            }
            Fit::Stretch => splice::stretch(&mut self.ready, alike),
            Fit::Keep => false,
        };
        if done {
            self.since_splice = 0;
        }
    }

    /// Nobody talks; a hush that is still there goes out.
    fn rest(&mut self, out: &mut [f32; STEP]) -> usize {
        self.gain = 1.0;
        self.spoken = 0;
        if self.hush <= 0.0 {
            return 0;
        }
        let to = (self.hush - 1.0 / HUSH_STEPS).max(0.0);
        out.fill(0.0);
        if let Some(codec) = &mut self.codec {
            codec.comfort.add(out, self.hush, to);
        }
        self.hush = to;
        out.len()
    }
}

/// Where a piece of voice came from.
enum Source {
    Frame,
    Fec,
    Dred,
    Invented,
}

impl Codec {
    fn new() -> Option<Codec> {
        Some(Codec { decoder: Decoder::new().ok()?, dred: None, comfort: Comfort::new() })
    }

    /// How many frames before it `opus` knows.
    fn reach(&mut self, opus: &[u8], len: FrameLen) -> u32 {
        self.dred().map_or(0, |dred| (dred.unpack(opus) / len.samples()) as u32)
    }

    fn play(&mut self, opus: &[u8], pcm: &mut [f32]) -> Source {
        if self.decoder.decode(opus, pcm).is_err() {
            // The decoder refused what looked like a packet; its state is sound, its output is not.
            pcm.fill(0.0);
            return Source::Invented;
        }
        self.comfort.heard(pcm);
        Source::Frame
    }

    /// The piece that begins `back` samples before the voice in `next`.
    fn recover(&mut self, next: &[u8], back: usize, pcm: &mut [f32]) -> Source {
        if back == pcm.len() && opus::has_fec(next) && self.decoder.recover(next, pcm).is_ok() {
            return Source::Fec;
        }
        let mut dred = self.dred.take().or_else(|| Dred::new().ok());
        let known = dred.as_mut().is_some_and(|dred| {
            dred.unpack(next) >= back && dred.decode(&mut self.decoder, back, pcm).is_ok()
        });
        self.dred = dred;
        if known { Source::Dred } else { self.conceal(pcm) }
    }

    fn conceal(&mut self, pcm: &mut [f32]) -> Source {
        if self.decoder.conceal(pcm).is_err() {
            pcm.fill(0.0);
        }
        Source::Invented
    }

    fn dred(&mut self) -> Option<&mut Dred> {
        if self.dred.is_none() {
            self.dred = Dred::new().ok();
        }
        self.dred.as_mut()
    }
}

/// The gain after `since` of concealment: what is invented for longer than half of it sounds like a robot.
fn fade_out(since: Duration) -> f32 {
    let faded = FADED as f32 / 1e6;
    (2.0 - 2.0 * since.as_secs_f32() / faded).clamp(0.0, 1.0)
}

/// One splice of about 8 ms in 60 ms changes the tempo by an eighth, which passes for eager speech.
const REST: usize = 60 * 48;
/// 250 ms: in half of it all that a gate holds back is made up for.
const BEGINNING: usize = 250 * 48;
/// With so much too much delay any splice will do.
const URGENT: Duration = Duration::from_millis(100);
/// The hush after a voice that broke off goes out within half a second, in mixing steps.
const HUSH_STEPS: f32 = 50.0;
