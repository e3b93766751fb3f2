//! A reliable, ordered message stream to one peer over datagrams that get lost: numbered, acknowledged, resent on
//! whatever path carries, delivered exactly once. It knows nothing of sessions or paths and survives both.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::io::Time;

#[derive(Default)]
pub struct Stream {
    outgoing: VecDeque<Outgoing>,
    /// Number of the last message that was queued; the first is 1.
    queued: u32,
    /// All up to here was delivered to us.
    delivered: u32,
    held: BTreeMap<u32, Vec<u8>>,
    ack_at: Option<Time>,
}

struct Outgoing {
    seq: u32,
    data: Vec<u8>,
    sent: Option<Time>,
    tries: u32,
    acked: bool,
}

/// The stream takes no more until the peer has acknowledged some.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Stream {
    pub fn push(&mut self, data: Vec<u8>) -> Result<(), Full> {
        if self.outgoing.len() >= QUEUE {
            return Err(Full);
        }
        self.queued += 1;
        self.outgoing.push_back(Outgoing { seq: self.queued, data, sent: None, tries: 0, acked: false });
        Ok(())
    }

    /// The next message to (re)send now, with its number. `rto` as of RFC 6298, before back-off.
    pub fn due(&mut self, now: Time, rto: Duration) -> Option<(u32, &[u8])> {
        let message = self
            .outgoing
            .iter_mut()
            .take(WINDOW)
            .find(|m| !m.acked && m.sent.is_none_or(|sent| sent + m.backed_off(rto) <= now))?;
        message.sent = Some(now);
        message.tries += 1;
        Some((message.seq, &message.data))
    }

    /// When `due` has something, if nothing else happens.
    pub fn wake(&self, now: Time, rto: Duration) -> Option<Time> {
        let resend = self
            .outgoing
            .iter()
            .take(WINDOW)
            .filter(|m| !m.acked)
            .map(|m| m.sent.map_or(now, |sent| sent + m.backed_off(rto)))
            .min();
        [resend, self.ack_at].into_iter().flatten().min()
    }

    /// A message came. Returns those that are now in order; a copy returns none and is acknowledged again.
    pub fn receive(&mut self, now: Time, seq: u32, data: &[u8]) -> Vec<Vec<u8>> {
        let ahead = seq.wrapping_sub(self.delivered);
        let known = seq <= self.delivered || self.held.contains_key(&seq);
        if seq == 0 || (!known && ahead > WINDOW as u32) {
            return Vec::new();
        }
        self.ack_at.get_or_insert(now + ACK_DELAY);
        if known {
            return Vec::new();
        }
        self.held.insert(seq, data.to_vec());
        let mut ready = Vec::new();
        while let Some(data) = self.held.remove(&(self.delivered + 1)) {
            self.delivered += 1;
            ready.push(data);
        }
        ready
    }

    /// An acknowledgement to send now: all up to the number, and a bit for each held behind the first gap.
    pub fn ack(&mut self, now: Time, ride_along: bool) -> Option<(u32, u64)> {
        let at = self.ack_at?;
        if at > now && !ride_along {
            return None;
        }
        self.ack_at = None;
        let bits = self
            .held
            .keys()
            .map(|seq| seq - self.delivered - 2)
            .filter(|bit| *bit < 64)
            .fold(0u64, |bits, bit| bits | 1 << bit);
        Some((self.delivered, bits))
    }

    /// The peer's acknowledgement. A message that three later ones overtook is resent at once.
    pub fn acked(&mut self, now: Time, upto: u32, bits: u64, rtt: Duration) {
        let has = |seq: u32| {
            seq <= upto || seq.checked_sub(upto + 2).is_some_and(|bit| bit < 64 && bits >> bit & 1 == 1)
        };
        for message in &mut self.outgoing {
            message.acked |= message.tries > 0 && has(message.seq);
        }
        while self.outgoing.front().is_some_and(|message| message.acked) {
            self.outgoing.pop_front();
        }
        let mut later = 0;
        for message in self.outgoing.iter_mut().take(WINDOW).rev() {
            if message.acked {
                later += 1;
            } else if later >= OVERTAKEN && message.sent.is_some_and(|sent| now - sent >= rtt) {
                message.sent = None;
            }
        }
    }

    /// The peer is reached again: what waits since it was not is sent at once.
    pub fn hurry(&mut self) {
        let waiting = self.outgoing.iter_mut().take(WINDOW).filter(|m| !m.acked && m.tries > PATIENT_AFTER);
        waiting.for_each(|message| (message.sent, message.tries) = (None, PATIENT_AFTER));
    }

    /// Messages of ours that are not acknowledged.
    pub fn under_way(&self) -> usize {
        self.outgoing.len()
    }

    /// A number may be known at both ends: of what the peer told us, or of what was sent to it.
    pub fn is_used(&self) -> bool {
        self.delivered > 0
            || self.queued as usize > self.outgoing.len()
            || self.outgoing.iter().any(|message| message.tries > 0)
    }

    /// Nothing of ours waits for an acknowledgement.
    pub fn is_idle(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// What the peer never acknowledged, oldest first. Their numbers stay, with nothing in them: a peer that comes
    /// back must not wait for ever for a number that was given out.
    pub fn abandon(&mut self) -> Vec<Vec<u8>> {
        let unacked = self.outgoing.iter_mut().filter(|message| !message.acked);
        unacked.map(|message| std::mem::take(&mut message.data)).filter(|data| !data.is_empty()).collect()
    }
}

impl Outgoing {
    fn backed_off(&self, rto: Duration) -> Duration {
        let rto = rto.clamp(RTO_MIN, RTO_MAX);
        (rto * 2u32.pow(self.tries.saturating_sub(PATIENT_AFTER).min(6))).min(RTO_CEILING)
    }
}

/// Messages under way at once; an ACK's bits cover them.
const WINDOW: usize = 64;
/// More lines than anybody types in a minute without an answer.
const QUEUE: usize = 256;
/// Lets an acknowledgement ride along with an answer.
const ACK_DELAY: Duration = Duration::from_millis(25);
const RTO_MIN: Duration = Duration::from_millis(100);
const RTO_MAX: Duration = Duration::from_secs(2);
/// A peer that comes back after silence gets its lines within this.
const RTO_CEILING: Duration = Duration::from_secs(4);
/// Sent so often before the pauses grow: on a bad radio line the second repeat still makes it in time for ears and
/// rosters.
const PATIENT_AFTER: u32 = 2;
/// RFC 5681's three duplicates.
const OVERTAKEN: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    const RTO: Duration = Duration::from_millis(200);

    fn ms(n: u64) -> Time {
        Time::from_micros(n * 1_000)
    }

    #[test]
    fn an_old_number_is_acknowledged_again_and_delivered_never() {
        let mut stream = Stream::default();
        assert_eq!(stream.receive(ms(0), 1, b"a"), [b"a"]);
        assert!(stream.ack(ms(25), false).is_some());
        assert!(stream.receive(ms(30), 1, b"a").is_empty());
        assert_eq!(stream.ack(ms(60), false), Some((1, 0)));
        assert!(stream.receive(ms(70), 0, b"z").is_empty());
        assert!(stream.receive(ms(70), 1_000, b"z").is_empty());
        assert_eq!(stream.ack(ms(100), false), None);
    }

    #[test]
    fn a_message_that_three_others_overtook_is_resent_without_waiting() {
        let mut stream = Stream::default();
        for n in 1..=4u8 {
            assert_eq!(stream.push(vec![n]), Ok(()));
            assert!(stream.due(ms(0), RTO).is_some());
        }
        assert!(stream.due(ms(60), RTO).is_none());
        stream.acked(ms(60), 0, 0b111, Duration::from_millis(50));
        assert_eq!(stream.due(ms(60), RTO), Some((1, &[1u8][..])));
    }

    #[test]
    fn a_lying_acknowledgement_frees_only_what_was_sent() {
        let mut stream = Stream::default();
        assert_eq!(stream.push(vec![1]), Ok(()));
        stream.acked(ms(0), u32::MAX - 2, u64::MAX, RTO);
        assert!(!stream.is_idle());
        stream.acked(ms(0), u32::MAX, u64::MAX, RTO);
        assert_eq!(stream.due(ms(0), RTO), Some((1, &[1u8][..])));
    }

    #[test]
    fn the_queue_is_bounded_and_what_was_not_delivered_is_named() {
        let mut stream = Stream::default();
        for n in 0..QUEUE {
            assert_eq!(stream.push(vec![n as u8]), Ok(()));
        }
        assert_eq!(stream.push(vec![0]), Err(Full));
        assert_eq!(stream.abandon().len(), QUEUE);
    }

    proptest! {
        /// Two ends, a lossy, duplicating, reordering wire; the model is a plain queue.
        #[test]
        fn everything_arrives_exactly_once_in_order(
            count in 1u32..150,
            wire in prop::collection::vec((any::<bool>(), any::<bool>(), 1u64..300), 64).prop_map(|w| w),
        ) {
            let (mut a, mut b) = (Stream::default(), Stream::default());
            let mut expected = Vec::new();
            for n in 0..count {
                expected.push(n.to_be_bytes().to_vec());
                prop_assert_eq!(a.push(n.to_be_bytes().to_vec()), Ok(()));
            }
            type Wired = Result<(u32, Vec<u8>), (u32, u64)>;
            let mut flying: Vec<(u64, Wired)> = Vec::new();
            let mut fates = wire.iter().cycle();
            let mut got = Vec::new();
            for t in 0..600_000u64 {
                let due: Vec<_> = flying.extract_if(.., |(at, _)| *at <= t).collect();
                for (_, packet) in due {
                    match packet {
                        Ok((seq, data)) => got.extend(b.receive(ms(t), seq, &data)),
                        Err((upto, bits)) => a.acked(ms(t), upto, bits, Duration::from_millis(100)),
                    }
                }
                let mut fate = |t: u64| {
                    let (lost, twice, delay) = fates.next().copied().unwrap_or((false, false, 1));
                    // Never all lost: every seventh millisecond is kind.
                    let copies = match (lost && !t.is_multiple_of(7), twice) { (true, _) => 0, (_, true) => 2, _ => 1 };
                    (0..copies).map(move |copy| t + delay * (1 + copy))
                };
                while let Some((seq, data)) = a.due(ms(t), RTO) {
                    let data = data.to_vec();
                    flying.extend(fate(t).map(|at| (at, Ok((seq, data.clone())))));
                }
                if let Some(ack) = b.ack(ms(t), false) {
                    flying.extend(fate(t).map(|at| (at, Err(ack))));
                }
                if a.is_idle() {
                    break;
                }
            }
            prop_assert!(a.is_idle());
            prop_assert_eq!(got, expected);
        }
    }
}
