//! What packets bring back of the frames before them: copies, and sums of two frames of which one may be known
//! ([`crate::copies`] makes them). A sum may have to wait for what another one tells.

use std::collections::VecDeque;

use crate::copies::{self, Extra, extra};
use crate::opus;
use crate::spec::FrameLen;

/// The packets of late, as far as they are needed to read the next ones.
#[derive(Default)]
pub struct Past {
    /// Each with the number of its frame, without what it carried besides.
    whole: VecDeque<(u32, Vec<u8>)>,
    unsolved: VecDeque<Sum>,
    /// The highest number of late, and the length that all these frames have: others are numbered otherwise.
    newest: Option<(u32, FrameLen)>,
    reach: u32,
}

struct Sum {
    frames: [u32; 2],
    record: Vec<u8>,
}

impl Past {
    pub fn new() -> Past {
        Past::default()
    }

    /// The packet of the frame `time`, which is `len` long, came. Returns the earlier frames that are known by it, each with its number; what they
    /// are worth is for the caller to check.
    pub fn heard(&mut self, time: u32, len: FrameLen, packet: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let Some(own) = opus::unpad(packet.to_vec()) else { return Vec::new() };
        self.reach = 0;
        if !self.advance(time, len) {
            return Vec::new();
        }
        self.learn(time, own);
        let mut back = Vec::new();
        match extra(packet) {
            None => {}
            Some(Extra::Copy { back: by, opus }) => {
                self.reach = by.into();
                let time = time.wrapping_sub(by.into());
                if self.learn(time, opus.to_vec()) {
                    back.push((time, opus.to_vec()));
                }
            }
            Some(Extra::Sum { back: by, record }) => {
                self.reach = by[1].into();
                let frames = by.map(|by| time.wrapping_sub(by.into()));
                if self.unsolved.len() >= KEPT as usize {
                    self.unsolved.pop_front();
                }
                self.unsolved.push_back(Sum { frames, record: record.to_vec() });
            }
        }
        while let Some((time, opus)) = self.solve() {
            self.learn(time, opus.clone());
            back.push((time, opus));
        }
        back
    }

    /// How many frames before its own the last packet tells of. What comes back later than that does so by sums of sums,
    /// too seldom to wait for it.
    pub(crate) fn reach(&self) -> u32 {
        self.reach
    }

    /// Whether it is news.
    fn learn(&mut self, time: u32, opus: Vec<u8>) -> bool {
        let news = self.known(time).is_none();
        if news {
            self.whole.push_back((time, opus));
        }
        news
    }

    fn known(&self, time: u32) -> Option<&[u8]> {
        self.whole.iter().find(|(known, _)| *known == time).map(|(_, opus)| &opus[..])
    }

    /// A frame of which one sum tells, by now.
    fn solve(&mut self) -> Option<(u32, Vec<u8>)> {
        let mut solved = None;
        let mut unsolved = std::mem::take(&mut self.unsolved);
        unsolved.retain_mut(|sum| match sum.frames.map(|frame| self.known(frame)) {
            [Some(_), Some(_)] => false,
            [Some(known), None] | [None, Some(known)] if solved.is_none() => {
                let lacking = sum.frames[usize::from(self.known(sum.frames[0]).is_some())];
                copies::add(&mut sum.record, known);
                solved = copies::left(&sum.record).map(|opus| (lacking, opus.to_vec()));
                false
            }
            _ => true,
        });
        self.unsolved = unsolved;
        solved
    }

    /// Forgets what nothing can refer to any more, and what another clock said. False if this packet itself comes too late
    /// to tell anything.
    fn advance(&mut self, time: u32, len: FrameLen) -> bool {
        let ahead = match self.newest {
            Some((newest, of)) if of == len => Some(time.wrapping_sub(newest) as i32),
            Some(_) | None => None,
        };
        match ahead {
            Some(ahead) if ahead > 0 => {}
            Some(ahead) if ahead.unsigned_abs() <= KEPT => return true,
            Some(ahead) if ahead.unsigned_abs() <= STRAGGLER => return false,
            Some(_) | None => {
                self.whole.clear();
                self.unsolved.clear();
            }
        }
        self.newest = Some((time, len));
        self.forget(time);
        true
    }

    fn forget(&mut self, newest: u32) {
        let near = |then: u32| (then.wrapping_sub(newest) as i32).unsigned_abs() <= KEPT;
        self.whole.retain(|(then, _)| near(*then));
        self.unsolved.retain(|sum| sum.frames.iter().all(|then| near(*then)));
    }
}

/// Frames; nobody waits longer for any of them.
const KEPT: u32 = 16;
/// Frames; what is farther back than any path holds a packet is no straggler but of a clock that began anew.
const STRAGGLER: u32 = 250;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::copies::{Copies, Kind};
    use crate::opus::Encoder;
    use crate::sound::speech;
    use crate::spec::FrameLen;
    use proptest::prelude::*;

    #[test]
    fn a_copy_is_told_once_and_only_of_what_did_not_come() {
        let (sent, bare) = stream(Kind::Copy(2));
        let mut past = Past::new();
        for (i, packet) in sent.iter().enumerate().filter(|(i, _)| i % 7 != 3) {
            let back = past.heard(i as u32, FrameLen::Ms20, packet);
            let expected: Vec<_> =
                (i % 7 == 5).then(|| (i as u32 - 2, bare[i - 2].clone())).into_iter().collect();
            assert_eq!(back, expected, "packet {i}");
            assert_eq!(past.heard(i as u32, FrameLen::Ms20, packet), []);
        }
    }

    #[test]
    fn sums_bring_back_what_two_copies_could_not() {
        let (sent, bare) = stream(Kind::Sum);
        // Runs of three, as long as a sum reaches.
        let lost = |i: usize| matches!(i % 12, 3..=5);
        let mut past = Past::new();
        let mut back = Vec::new();
        for (i, packet) in sent.iter().enumerate().filter(|(i, _)| !lost(*i)) {
            back.extend(past.heard(i as u32, FrameLen::Ms20, packet));
        }
        assert!(back.iter().all(|(time, opus)| lost(*time as usize) && *opus == bare[*time as usize]));
        assert_eq!(back.len(), (0..sent.len() - 9).filter(|i| lost(*i)).count());
    }

    #[test]
    fn of_single_losses_of_a_fifth_sums_leave_less_than_half_of_what_copies_leave() {
        let left = |kind| {
            let (sent, bare) = stream(kind);
            let (mut past, mut lost, mut brought, mut dice) = (Past::new(), 0, 0, 1u32);
            for round in 0..20 {
                for (i, packet) in sent.iter().enumerate() {
                    dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if dice >> 16 < 13_107 {
                        lost += 1;
                        continue;
                    }
                    for (time, opus) in past.heard(i as u32 + round * 1_000, FrameLen::Ms20, packet) {
                        assert_eq!(opus, bare[time as usize % 1_000]);
                        brought += 1;
                    }
                }
            }
            f64::from(lost - brought) / f64::from(lost)
        };
        let (copies, sums) = (left(Kind::Copy(2)), left(Kind::Sum));
        assert!(sums < copies / 2.0, "{sums} of sums, {copies} of copies");
    }

    #[test]
    fn a_packet_that_comes_much_too_late_takes_nothing_away_from_those_that_came() {
        let (sent, bare) = stream(Kind::Sum);
        let mut past = Past::new();
        for i in (5..40).filter(|i| !matches!(i, 37 | 38)) {
            past.heard(i as u32, FrameLen::Ms20, &sent[i]);
        }
        assert_eq!(past.heard(0, FrameLen::Ms20, &sent[0]), []);
        // The sum of 37 and 39.
        assert_eq!(past.heard(40, FrameLen::Ms20, &sent[40]), [(37, bare[37].clone())]);
    }

    #[test]
    fn frames_of_another_length_are_not_taken_for_those_of_the_same_number() {
        let (sent, _) = stream(Kind::Sum);
        let mut past = Past::new();
        for (i, packet) in sent[..17].iter().enumerate() {
            past.heard(i as u32, FrameLen::Ms40, packet);
        }
        // A sum of 15 and 17, of which the first is known in the other numbering only.
        assert_eq!(past.heard(18, FrameLen::Ms20, &sent[40]), []);
    }

    #[test]
    fn a_clock_that_began_anew_is_followed() {
        let (sent, bare) = stream(Kind::Copy(2));
        let mut past = Past::new();
        past.heard(9_000, FrameLen::Ms20, &sent[50]);
        past.heard(1, FrameLen::Ms20, &sent[1]);
        assert_eq!(past.heard(5, FrameLen::Ms20, &sent[5]), [(3, bare[3].clone())]);
    }

    proptest! {
        #[test]
        fn garbage_stays_in_bounds(
            packets in proptest::collection::vec((any::<u32>(), proptest::collection::vec(any::<u8>(), 0..40)), 1..80),
        ) {
            let mut past = Past::new();
            for (time, mut packet) in packets {
                // As if it were one with a sum or a copy.
                packet.splice(0..0, [0x0b, 0x41, 30, 0, 0, 124 << 1 | 1]);
                past.heard(time % 40, FrameLen::Ms20, &packet);
                prop_assert!(past.whole.len() <= 2 * KEPT as usize + 1 && past.unsolved.len() <= KEPT as usize);
            }
        }
    }

    /// Packets with something of others in them, and without.
    fn stream(kind: Kind) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut encoder = Encoder::new(FrameLen::Ms20, 15_000).unwrap();
        let mut copies = Copies::new(kind);
        let encoded: Vec<_> = speech(2.0).chunks_exact(960).map(|pcm| encoder.encode(pcm).unwrap()).collect();
        let bare = encoded.iter().map(|packet| opus::unpad(packet.clone()).unwrap()).collect();
        let sent = (0..).zip(encoded).map(|(i, packet)| copies.send(i, packet).unwrap()).collect();
        (sent, bare)
    }
}
