//! A second chance for whole packets: each carries, besides its own frame, the complete packet of some frames before, or the
//! sum of two. What was lost comes back as it was, bit for bit.
//!
//! A copy helps against runs: it is sent when the run is over. Against single losses a sum helps more often: it is good for
//! either of its two packets, and what one brings back makes another one readable ([`crate::past`] reads them).
//!
//! Either travels in the padding of the Opus packet (RFC 6716, section 3.2.5) as an extension
//! (draft-ietf-mlcodec-opus-extension), so that a decoder plays the packet as if it were not there:
//! `id << 1 | 1`, length (1 byte, 2 from 255 on), and for a copy `back` (1 byte), the earlier packet without its own padding;
//! for a sum `back` of either (1 byte each), and the exclusive or of both, each with its length (2 bytes, little endian)
//! before it and as many zeros after it as the longer one needs. A packet has one of these or DRED, which uses the same place.

use std::collections::VecDeque;

use crate::opus;

/// What to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    /// So many frames later.
    Copy(u8),
    Sum,
}

/// The packets of late, to be sent again.
pub(crate) struct Copies {
    kind: Kind,
    /// Each with its number.
    past: VecDeque<(u64, Vec<u8>)>,
}

/// What a packet carries besides its own frame.
pub(crate) enum Extra<'a> {
    /// The packet of so many frames before.
    Copy { back: u8, opus: &'a [u8] },
    /// Of the packets of so many frames before.
    Sum { back: [u8; 2], record: &'a [u8] },
}

impl Copies {
    pub(crate) fn new(kind: Kind) -> Copies {
        Copies { kind, past: VecDeque::new() }
    }

    /// The packet to send for the frame `number`: `opus` with what is due again. All have one size, whether there is
    /// something to send again or not. Without copies it is `opus` itself.
    pub(crate) fn send(&mut self, number: u64, opus: Vec<u8>) -> Option<Vec<u8>> {
        let farthest = match self.kind {
            Kind::Nothing => return Some(opus),
            Kind::Copy(back) => back,
            Kind::Sum => SUMMED[1],
        };
        while self.past.front().is_some_and(|(then, _)| then + u64::from(farthest) < number) {
            self.past.pop_front();
        }
        let size = size(opus.len(), self.kind);
        let opus = opus::unpad(opus)?;
        let mut packet = opus.clone();
        opus::pad(&mut packet, size)?;
        if let (Some(extension), Some(room)) = (self.extension(number), padding(&packet)) {
            let at = packet.len() - room.len();
            if let Some(room) = packet.get_mut(at..at + extension.len()) {
                room.copy_from_slice(&extension);
            }
        }
        self.past.push_back((number, opus));
        Some(packet)
    }

    fn extension(&self, number: u64) -> Option<Vec<u8>> {
        let before = |back: u8| {
            let mut past = self.past.iter();
            past.find(|(then, _)| then + u64::from(back) == number).map(|(_, opus)| &opus[..])
        };
        let copy = |back: u8, opus| extension(COPY, &[back], opus);
        match self.kind {
            Kind::Nothing => None,
            Kind::Copy(back) => Some(copy(back, before(back)?)),
            Kind::Sum => match SUMMED.map(before) {
                [Some(near), Some(far)] => {
                    let mut record = Vec::new();
                    add(&mut record, near);
                    add(&mut record, far);
                    Some(extension(SUM, &SUMMED, &record))
                }
                // Where a talk begins there is nothing to add.
                [Some(near), None] => Some(copy(SUMMED[0], near)),
                [None, Some(far)] => Some(copy(SUMMED[1], far)),
                [None, None] => None,
            },
        }
    }
}

/// What `packet` carries besides its own frame.
pub(crate) fn extra(packet: &[u8]) -> Option<Extra<'_>> {
    let (id, rest) = padding(packet)?.split_first()?;
    let (len, rest) = laced(rest, 255)?;
    match (id >> 1, rest.get(..len)?) {
        _ if id & WITH_LENGTH == 0 => None,
        (COPY, [back, opus @ ..]) if *back > 0 && !opus.is_empty() => Some(Extra::Copy { back: *back, opus }),
        (SUM, [near, far, record @ ..]) if 0 < *near && near < far => {
            Some(Extra::Sum { back: [*near, *far], record })
        }
        _ => None,
    }
}

/// Adds a packet to a sum, or takes it out of it.
pub(crate) fn add(record: &mut Vec<u8>, opus: &[u8]) {
    let len = u16::try_from(opus.len()).unwrap_or(u16::MAX).to_le_bytes();
    let needed = len.len() + opus.len();
    if record.len() < needed {
        record.resize(needed, 0);
    }
    for (sum, byte) in record.iter_mut().zip(len.iter().chain(opus)) {
        *sum ^= byte;
    }
}

/// The packet that is left of a sum.
pub(crate) fn left(record: &[u8]) -> Option<&[u8]> {
    let (len, rest) = record.split_first_chunk()?;
    rest.get(..usize::from(u16::from_le_bytes(*len))).filter(|opus| !opus.is_empty())
}

/// How long a frame may be so that it and what is sent again fill at most `bytes`.
pub(crate) fn each(bytes: usize, kind: Kind) -> usize {
    if kind == Kind::Nothing {
        return bytes;
    }
    let each = bytes.saturating_sub(COUNT_AND_PADDING + header(kind)) / 2;
    // The lengths of long ones take two bytes more.
    if size(each, kind) > bytes { each.saturating_sub(1) } else { each }
}

/// Of a packet with a frame of `each` bytes and as much again.
fn size(each: usize, kind: Kind) -> usize {
    let header = header(kind);
    let long_body = each + header - ID_AND_LENGTH >= 255;
    2 * each
        + COUNT_AND_PADDING
        + header
        + usize::from(long_body)
        + usize::from(each + header > SHORT_PADDING)
}

/// Of the extension.
fn header(kind: Kind) -> usize {
    match kind {
        Kind::Nothing => 0,
        Kind::Copy(_) => ID_AND_LENGTH + 1,
        Kind::Sum => ID_AND_LENGTH + SUMMED.len() + size_of::<u16>(),
    }
}

fn extension(id: u8, back: &[u8], body: &[u8]) -> Vec<u8> {
    let mut extension = vec![id << 1 | WITH_LENGTH];
    let mut len = back.len() + body.len();
    while len >= 255 {
        extension.push(255);
        len -= 255;
    }
    extension.push(len as u8);
    extension.extend_from_slice(back);
    extension.extend_from_slice(body);
    extension
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

/// Two that are left to experiments, next to DRED's 126.
const COPY: u8 = 125;
const SUM: u8 = 124;
/// Sums of these two leave fewer of many single losses than sums of one and two, or of two and three frames before.
const SUMMED: [u8; 2] = [1, 3];
const WITH_LENGTH: u8 = 1;
const ID_AND_LENGTH: usize = 2;
const COUNT_AND_PADDING: usize = 2;
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
            let voice = each(bytes, Kind::Copy(1));
            let sent = packets(len, voice);
            let bare: Vec<_> = sent.iter().map(|opus| opus::unpad(opus.clone()).unwrap()).collect();
            for back in [2, 5] {
                let mut copies = Copies::new(Kind::Copy(back));
                for (i, opus) in sent.iter().enumerate() {
                    let packet = copies.send(i as u64, opus.clone()).unwrap();
                    assert_eq!(packet.len(), size(voice, Kind::Copy(back)), "{len:?}");
                    assert!((bytes - 1..=bytes).contains(&packet.len()) && lasts(&packet, len));
                    let before = i.checked_sub(usize::from(back)).map(|i| (back, bare[i].clone()));
                    assert_eq!(copied(&packet), before, "packet {i}");
                }
            }
        }
    }

    #[test]
    fn a_decoder_plays_the_packet_as_if_there_was_nothing_besides_its_own_frame() {
        for kind in [Kind::Copy(2), Kind::Sum] {
            let (mut with, mut without) = (Decoder::new().unwrap(), Decoder::new().unwrap());
            let mut copies = Copies::new(kind);
            let mut carried = 0;
            for (i, opus) in packets(FrameLen::Ms20, 58).into_iter().enumerate() {
                let (mut a, mut b) = ([0.0; 960], [0.0; 960]);
                without.decode(&opus, &mut a).unwrap();
                let packet = copies.send(i as u64, opus).unwrap();
                carried += usize::from(extra(&packet).is_some());
                with.decode(&packet, &mut b).unwrap();
                assert_eq!(a, b, "packet {i} {kind:?}");
            }
            assert!(carried > 40, "{kind:?}");
        }
    }

    #[test]
    fn after_a_pause_nothing_stale_is_sent() {
        let sent = packets(FrameLen::Ms20, 38);
        let mut copies = Copies::new(Kind::Copy(2));
        let numbers = [0, 1, 2, 50, 51, 52, 53];
        let again: Vec<_> = numbers
            .iter()
            .zip(sent)
            .map(|(number, opus)| extra(&copies.send(*number, opus).unwrap()).is_some())
            .collect();
        assert_eq!(again, [false, false, true, false, false, true, true]);
    }

    #[test]
    fn two_frames_fit_where_they_should() {
        for (bytes, kind) in (20..720).flat_map(|bytes| [(bytes, Kind::Copy(5)), (bytes, Kind::Sum)]) {
            assert!((bytes - 3..=bytes).contains(&size(each(bytes, kind), kind)), "{bytes} {kind:?}");
        }
    }

    #[test]
    fn a_sum_less_the_one_is_the_other_and_all_packets_have_one_size() {
        for (len, bytes) in [(FrameLen::Ms20, 80), (FrameLen::Ms20, 120), (FrameLen::Ms60, 520)] {
            let sent = packets(len, each(bytes, Kind::Sum));
            let bare: Vec<_> = sent.iter().map(|opus| opus::unpad(opus.clone()).unwrap()).collect();
            let mut copies = Copies::new(Kind::Sum);
            for (i, opus) in sent.into_iter().enumerate() {
                let packet = copies.send(i as u64, opus).unwrap();
                assert!(
                    (bytes - 1..=bytes).contains(&packet.len()) && lasts(&packet, len),
                    "{}",
                    packet.len()
                );
                match (i, extra(&packet)) {
                    (0, extra) => assert!(extra.is_none()),
                    (1 | 2, extra) => {
                        assert!(matches!(extra, Some(Extra::Copy { back: 1, opus }) if opus == bare[i - 1]))
                    }
                    (_, Some(Extra::Sum { back: [1, 3], record })) => {
                        let mut record = record.to_vec();
                        add(&mut record, &bare[i - 3]);
                        assert_eq!(left(&record), Some(&bare[i - 1][..]), "packet {i}");
                    }
                    _ => panic!("packet {i} has no sum"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn garbage_has_nothing_beyond_its_end(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            in_bounds(&packet)?;
        }

        /// As if it were a packet of code 3 with a copy or a sum.
        #[test]
        fn what_looks_like_a_copy_or_a_sum_has_nothing_beyond_its_end(
            id in prop_oneof![Just(COPY), Just(SUM)],
            padding in any::<u8>(),
            (len, back) in (0u8..60, any::<[u8; 2]>()),
            // Of a short record, or of any.
            size in prop_oneof![(0u8..60).prop_map(|len| [len, 0]), any::<[u8; 2]>()],
            rest in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let body = [&[id << 1 | WITH_LENGTH, len][..], &back, &size, &rest].concat();
            in_bounds(&[&[0x0b, 0x41, padding][..], &body].concat())?;
            in_bounds(&[&[0x0b, 0x41, body.len() as u8][..], &body].concat())?;
        }
    }

    fn in_bounds(packet: &[u8]) -> Result<(), TestCaseError> {
        match extra(packet) {
            Some(Extra::Copy { back, opus: old }) => prop_assert!(back > 0 && old.len() + 5 <= packet.len()),
            Some(Extra::Sum { back: [near, far], record }) => {
                prop_assert!(0 < near && near < far);
                prop_assert!(left(record).is_none_or(|old| !old.is_empty() && old.len() + 8 <= packet.len()));
            }
            None => {}
        }
        Ok(())
    }

    fn copied(packet: &[u8]) -> Option<(u8, Vec<u8>)> {
        match extra(packet)? {
            Extra::Copy { back, opus } => Some((back, opus.to_vec())),
            Extra::Sum { .. } => None,
        }
    }

    fn packets(len: FrameLen, bytes: usize) -> Vec<Vec<u8>> {
        let mut encoder =
            Encoder::new(len, (bytes * 8000).div_ceil(len.as_millis() as usize) as u32).unwrap();
        encoder.expect_loss(10).unwrap();
        speech(1.0).chunks_exact(len.samples()).map(|pcm| encoder.encode(pcm).unwrap()).collect()
    }
}
