//! A second chance for whole packets: each carries, besides its own frame, the complete packet of some frames before.
//! What a burst took comes back as it was, bit for bit, once the burst is over.
//!
//! The copy travels in the padding of the Opus packet (RFC 6716, section 3.2.5) as an extension
//! (draft-ietf-mlcodec-opus-extension), so that a decoder plays the packet as if it were not there:
//! `id << 1 | 1`, length (1 byte, 2 from 255 on), `back` (1 byte), the earlier packet without its own padding.
//! A packet has either this or DRED, which uses the same place.

use std::collections::VecDeque;

use crate::opus;

/// The packets of late, to be sent again.
pub(crate) struct Copies {
    /// How many frames later.
    back: u8,
    /// Each with its number.
    past: VecDeque<(u64, Vec<u8>)>,
}

impl Copies {
    /// None for 0.
    pub(crate) fn new(back: u8) -> Copies {
        Copies { back, past: VecDeque::new() }
    }

    /// The packet to send for the frame `number`: `opus` with the copy that is due. All have one size, whether there is
    /// something to send again or not. Without copies it is `opus` itself.
    pub(crate) fn send(&mut self, number: u64, opus: Vec<u8>) -> Option<Vec<u8>> {
        if self.back == 0 {
            return Some(opus);
        }
        while self.past.front().is_some_and(|(then, _)| then + u64::from(self.back) < number) {
            self.past.pop_front();
        }
        let due = match self.past.front() {
            Some((then, _)) if then + u64::from(self.back) == number => self.past.pop_front(),
            _ => None,
        };
        let size = size(opus.len());
        let opus = opus::unpad(opus)?;
        let mut packet = opus.clone();
        opus::pad(&mut packet, size)?;
        if let (Some((_, old)), Some(room)) = (due, padding(&packet)) {
            let (at, extension) = (packet.len() - room.len(), self.extension(&old));
            if let Some(room) = packet.get_mut(at..at + extension.len()) {
                room.copy_from_slice(&extension);
            }
        }
        self.past.push_back((number, opus));
        Some(packet)
    }

    fn extension(&self, old: &[u8]) -> Vec<u8> {
        let mut extension = vec![EXTENSION << 1 | WITH_LENGTH];
        let mut len = old.len() + 1;
        while len >= 255 {
            extension.push(255);
            len -= 255;
        }
        extension.extend([len as u8, self.back]);
        extension.extend_from_slice(old);
        extension
    }
}

/// The copy in `packet`, and how many frames before it belongs.
pub fn copy(packet: &[u8]) -> Option<(u8, &[u8])> {
    let (id, rest) = padding(packet)?.split_first()?;
    let (len, rest) = laced(rest, 255)?;
    match rest.get(..len)? {
        [back, old @ ..] if *id == EXTENSION << 1 | WITH_LENGTH && *back > 0 && !old.is_empty() => {
            Some((*back, old))
        }
        _ => None,
    }
}

/// How long a frame may be so that it and a copy of another fill at most `bytes`.
pub(crate) fn each(bytes: usize) -> usize {
    let each = bytes.saturating_sub(OVERHEAD) / 2;
    // The lengths of long ones take two bytes more.
    if size(each) > bytes { each.saturating_sub(1) } else { each }
}

/// Of a packet with a frame of `each` bytes and a copy of the same size.
fn size(each: usize) -> usize {
    2 * each + OVERHEAD + usize::from(each + 1 >= 255) + usize::from(each + EXTENSION_HEADER > SHORT_PADDING)
}

/// What follows the frames of a packet of code 3.
fn padding(packet: &[u8]) -> Option<&[u8]> {
    let [toc, count, rest @ ..] = packet else { return None };
    if toc & 3 != 3 || count & HAS_PADDING == 0 {
        return None;
    }
    let (len, rest) = laced(rest, SHORT_PADDING)?;
    rest.get(rest.len().checked_sub(len)?..)
}

/// A number of which each byte 255 stands for `step` and for another byte to come; and what follows it.
fn laced(mut bytes: &[u8], step: usize) -> Option<(usize, &[u8])> {
    let mut sum = 0;
    loop {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        if *byte < 255 {
            return Some((sum + usize::from(*byte), bytes));
        }
        sum += step;
    }
}

/// One that is left to experiments, next to DRED's 126.
const EXTENSION: u8 = 125;
const WITH_LENGTH: u8 = 1;
/// Id, length, back.
const EXTENSION_HEADER: usize = 3;
/// Frame count and length of the padding, besides.
const OVERHEAD: usize = 2 + EXTENSION_HEADER;
/// As long as one byte can tell.
const SHORT_PADDING: usize = 254;
const HAS_PADDING: u8 = 0x40;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::opus::{Decoder, Encoder, lasts};
    use crate::sound::speech;
    use crate::spec::FrameLen;
    use proptest::prelude::*;

    #[test]
    fn what_was_sent_comes_again_bit_for_bit() {
        for (len, bytes) in
            [(FrameLen::Ms10, 40), (FrameLen::Ms20, 80), (FrameLen::Ms20, 120), (FrameLen::Ms60, 480)]
        {
            let voice = each(bytes);
            let sent = packets(len, voice);
            let bare: Vec<_> = sent.iter().map(|opus| opus::unpad(opus.clone()).unwrap()).collect();
            for back in [2, 5] {
                let mut copies = Copies::new(back);
                for (i, opus) in sent.iter().enumerate() {
                    let packet = copies.send(i as u64, opus.clone()).unwrap();
                    assert_eq!(packet.len(), size(voice), "{len:?}");
                    assert!((bytes - 1..=bytes).contains(&packet.len()) && lasts(&packet, len));
                    let before = i.checked_sub(usize::from(back)).map(|i| (back, &bare[i][..]));
                    assert_eq!(copy(&packet), before, "packet {i}");
                }
            }
        }
    }

    #[test]
    fn a_decoder_plays_the_packet_as_if_there_were_no_copy() {
        let (mut with, mut without) = (Decoder::new().unwrap(), Decoder::new().unwrap());
        let mut copies = Copies::new(2);
        for (i, opus) in packets(FrameLen::Ms20, 58).into_iter().enumerate() {
            let (mut a, mut b) = ([0.0; 960], [0.0; 960]);
            without.decode(&opus, &mut a).unwrap();
            with.decode(&copies.send(i as u64, opus).unwrap(), &mut b).unwrap();
            assert_eq!(a, b, "packet {i}");
        }
    }

    #[test]
    fn after_a_pause_nothing_stale_is_sent() {
        let sent = packets(FrameLen::Ms20, 38);
        let mut copies = Copies::new(2);
        let numbers = [0, 1, 2, 50, 51, 52, 53];
        let again: Vec<_> = numbers
            .iter()
            .zip(sent)
            .map(|(number, opus)| copy(&copies.send(*number, opus).unwrap()).is_some())
            .collect();
        assert_eq!(again, [false, false, true, false, false, true, true]);
    }

    #[test]
    fn two_frames_fit_where_they_should() {
        for bytes in 20..720 {
            assert!((bytes - 3..=bytes).contains(&size(each(bytes))), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn garbage_has_no_copy_beyond_its_end(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some((back, old)) = copy(&packet) {
                prop_assert!(back > 0 && old.len() + OVERHEAD <= packet.len());
            }
        }
    }

    fn packets(len: FrameLen, bytes: usize) -> Vec<Vec<u8>> {
        let mut encoder =
            Encoder::new(len, (bytes * 8000).div_ceil(len.as_millis() as usize) as u32).unwrap();
        encoder.expect_loss(10).unwrap();
        speech(1.0).chunks_exact(len.samples()).map(|pcm| encoder.encode(pcm).unwrap()).collect()
    }
}
