//! Steps of the microphone to packets of whatever length and protection is wanted at the moment.
//!
//! A packet begins where its length divides the sender's clock, so numbers and lengths together always give a place in
//! time, also when the length changes in the middle of a word.

use crate::adaptation::Quality;
use crate::copies::{self, Copies, Kind};
use crate::error::Error;
use crate::opus::{Again, Encoder};
use crate::spec::FrameLen;

/// A frame of speech from the microphone, ready to be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Intervals of `len` since the start, sent or not: sequence number and timestamp in one.
    pub time: u32,
    pub len: FrameLen,
    pub opus: Vec<u8>,
    /// Nothing follows until the next talk spurt.
    pub last_of_talk: bool,
}

/// The encoding half of [`crate::Capture`].
pub struct Packets {
    wanted: Quality,
    used: Quality,
    /// The encoder's memory is only taken by who talks.
    encoder: Option<Encoder>,
    copies: Copies,
    /// What is said since the packet's beginning, and where that is, in milliseconds.
    pcm: Vec<f32>,
    start: u64,
}

impl Packets {
    pub fn new(quality: Quality) -> Result<Packets, Error> {
        // Made once to find a wrong bitrate now and not at the first word.
        Encoder::new(quality.frame, quality.bitrate)?;
        Ok(Packets {
            wanted: quality,
            used: quality,
            encoder: None,
            copies: Copies::new(kind(quality)),
            pcm: Vec::new(),
            start: 0,
        })
    }

    /// What is wanted from the next packet on that can begin with it.
    pub fn set(&mut self, quality: Quality) {
        self.wanted = quality;
    }

    /// Takes what was said from `at` (ms) on; returns a packet when one is full, and at the end of the talk in any case.
    pub fn push(&mut self, at: u64, pcm: &[f32], last_of_talk: bool) -> Option<Captured> {
        if self.pcm.is_empty() {
            self.begin(at);
        }
        self.pcm.extend_from_slice(pcm);
        let full = self.used.frame.samples();
        if self.pcm.len() < full && !last_of_talk {
            return None;
        }
        self.pcm.resize(full, 0.0);
        let opus = self.encoder.as_mut()?.encode(&self.pcm).ok();
        self.pcm.clear();
        let len = self.used.frame;
        let number = self.start / u64::from(len.as_millis());
        let opus = self.copies.send(number, opus?)?;
        Some(Captured { time: number as u32, len, opus, last_of_talk })
    }

    /// A packet that begins at `at`, or before it with silence.
    fn begin(&mut self, at: u64) {
        let grid = u64::from(self.wanted.frame.as_millis());
        let goes_on = self.start + u64::from(self.used.frame.as_millis()) == at;
        if self.wanted != self.used && (!goes_on || at.is_multiple_of(grid)) {
            if !self.used.has_packets_like(self.wanted) {
                self.copies = Copies::new(kind(self.wanted));
            }
            self.used = self.wanted;
            if let Some(encoder) = &mut self.encoder
                && let Err(error) = tune(encoder, self.used)
            {
                tracing::warn!(%error, "sound quality not changed");
            }
        }
        if self.encoder.is_none() {
            self.encoder = Encoder::new(self.used.frame, self.used.bitrate).ok();
            if let Some(encoder) = &mut self.encoder
                && let Err(error) = tune(encoder, self.used)
            {
                tracing::warn!(%error, "sound quality not set");
            }
        }
        let grid = u64::from(self.used.frame.as_millis());
        self.start = at / grid * grid;
        self.pcm.resize((at - self.start) as usize * 48, 0.0);
    }
}

fn tune(encoder: &mut Encoder, quality: Quality) -> Result<(), Error> {
    let Quality { frame, bitrate, protection } = quality;
    let bitrate = match kind(quality) {
        Kind::Nothing => bitrate,
        kind => frame.bitrate(copies::each(frame.bytes(bitrate), kind)),
    };
    encoder.tune(frame, bitrate)?;
    encoder.protect(protection)
}

fn kind(quality: Quality) -> Kind {
    match quality.protection.again {
        Again::Nothing => Kind::Nothing,
        Again::Copy { ms } => match u32::from(ms) / quality.frame.as_millis() {
            0 => Kind::Nothing,
            back => Kind::Copy(u8::try_from(back).unwrap_or(u8::MAX)),
        },
        Again::Sum => Kind::Sum,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::opus::lasts;
    use crate::spec::FrameLen;

    fn quality(frame: FrameLen, bitrate: u32) -> Quality {
        Quality { frame, bitrate, ..Quality::default() }
    }

    #[test]
    fn a_change_of_length_in_the_middle_of_a_word_leaves_no_hole() {
        let mut packets = Packets::new(quality(FrameLen::Ms20, 32_000)).unwrap();
        let wanted = [(20, FrameLen::Ms60), (40, FrameLen::Ms40), (60, FrameLen::Ms10), (90, FrameLen::Ms20)];
        let (mut end, mut lens) = (None, Vec::new());
        for step in 0..400u64 {
            if let Some((_, len)) = wanted.iter().find(|(at, _)| *at == step) {
                packets.set(quality(*len, 24_000));
            }
            let Some(packet) = packets.push(1_000 + step * 10, &[0.1; 480], false) else { continue };
            let ms = u64::from(packet.len.as_millis());
            let start = u64::from(packet.time) * ms;
            assert_eq!(start, end.unwrap_or(start));
            assert!(lasts(&packet.opus, packet.len));
            if lens.last() != Some(&packet.len) {
                lens.push(packet.len);
            }
            end = Some(start + ms);
        }
        assert_eq!(lens, [FrameLen::Ms20, FrameLen::Ms60, FrameLen::Ms40, FrameLen::Ms10, FrameLen::Ms20]);
    }

    #[test]
    fn a_talk_begins_and_ends_anywhere() {
        let mut packets = Packets::new(quality(FrameLen::Ms60, 16_000)).unwrap();
        assert!(packets.push(130, &[0.1; 480], false).is_none());
        let last = packets.push(140, &[0.1; 480], true).unwrap();
        assert_eq!((last.time, last.opus.len(), last.last_of_talk), (2, 120, true));
    }

    #[test]
    fn every_setting_has_one_size() {
        for (len, bitrate, bytes) in [
            (FrameLen::Ms10, 32_000, 40),
            (FrameLen::Ms20, 32_000, 80),
            (FrameLen::Ms20, 64_000, 160),
            (FrameLen::Ms40, 24_000, 120),
            (FrameLen::Ms60, 16_000, 120),
        ] {
            let mut packets = Packets::new(quality(len, bitrate)).unwrap();
            for (step, pcm) in crate::sound::speech(1.0).chunks_exact(480).enumerate() {
                if let Some(packet) = packets.push(step as u64 * 10, pcm, false) {
                    assert_eq!(packet.opus.len(), bytes, "{len:?}");
                }
            }
        }
    }
}
