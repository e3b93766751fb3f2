//! Which nameplate leads to which room.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::RngCore;
use vc_core::crypto::keys::Rng;
use vc_core::io::Time;
use vc_core::protocol::signal::Nameplate;

use crate::seats::Nonce;

#[derive(Default)]
pub(crate) struct Plates {
    spoken: BTreeMap<u32, Use>,
    /// 80 random bits never meet by chance, so these need no rest.
    link: BTreeMap<[u8; 10], Nonce>,
}

enum Use {
    Leads(Nonce),
    /// Given up: a friend who still has the old code must not be led to strangers.
    Resting {
        until: Time,
        of: Nonce,
    },
}

impl Plates {
    pub(crate) fn find(&self, plate: Nameplate) -> Option<Nonce> {
        match plate {
            Nameplate::Spoken(number) => match self.spoken.get(&number)? {
                Use::Leads(room) => Some(*room),
                Use::Resting { .. } => None,
            },
            Nameplate::Link(random) => self.link.get(&random).copied(),
        }
    }

    /// `None` when numbers are so scarce that the server is full.
    pub(crate) fn spoken(&mut self, room: Nonce, rng: &mut Rng) -> Option<u32> {
        let (low, count) =
            if self.spoken.len() <= FIVE_DIGITS_UP_TO { (10_000, 90_000) } else { (100_000, 900_000) };
        let free = (0..DRAWS).map(|_| low + rng.next_u32() % count).find(|n| !self.spoken.contains_key(n))?;
        self.spoken.insert(free, Use::Leads(room));
        Some(free)
    }

    pub(crate) fn link(&mut self, room: Nonce, rng: &mut Rng) -> [u8; 10] {
        let mut random = [0; 10];
        rng.fill_bytes(&mut random);
        self.link.insert(random, room);
        random
    }

    /// Takes the nameplates of a proof where nobody else has them.
    pub(crate) fn adopt_spoken(&mut self, room: Nonce, number: u32) -> bool {
        let free = match self.spoken.get(&number) {
            None => true,
            Some(Use::Leads(of) | Use::Resting { of, .. }) => *of == room,
        };
        if free {
            self.spoken.insert(number, Use::Leads(room));
        }
        free
    }

    pub(crate) fn adopt_link(&mut self, room: Nonce, random: [u8; 10]) -> bool {
        *self.link.entry(random).or_insert(room) == room
    }

    pub(crate) fn release(&mut self, now: Time, plate: Nameplate) {
        match plate {
            Nameplate::Spoken(number) => {
                if let Some(plate) = self.spoken.get_mut(&number)
                    && let Use::Leads(of) = *plate
                {
                    *plate = Use::Resting { until: now + REST, of };
                }
            }
            Nameplate::Link(random) => {
                self.link.remove(&random);
            }
        }
    }

    pub(crate) fn expire(&mut self, now: Time) {
        self.spoken.retain(|_, plate| match plate {
            Use::Leads(_) => true,
            Use::Resting { until, .. } => now < *until,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spoken.is_empty() && self.link.is_empty()
    }
}

/// Long enough to notice that a code is outdated.
const REST: Duration = Duration::from_secs(600);
/// A tenth of the five-digit numbers: a guessed one leads nowhere nine times of ten.
const FIVE_DIGITS_UP_TO: usize = 9_000;
/// At half of the six-digit numbers in use, 32 misses in a row happen once in 2^32 draws.
const DRAWS: usize = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    fn at(secs: u64) -> Time {
        Time::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn a_given_up_number_leads_nowhere_and_is_not_given_out_until_it_rested() {
        let (mut plates, mut rng) = (Plates::default(), Rng::from_seed([1; 32]));
        let number = plates.spoken([1; 16], &mut rng).unwrap();
        plates.release(at(0), Nameplate::Spoken(number));
        assert!(plates.find(Nameplate::Spoken(number)).is_none());
        assert!(!plates.adopt_spoken([2; 16], number));
        plates.expire(at(599));
        assert!(!plates.is_empty());
        assert!(plates.adopt_spoken([1; 16], number), "its own room may have it back");
        plates.release(at(600), Nameplate::Spoken(number));
        plates.expire(at(1_200));
        assert!(plates.is_empty());
    }

    #[test]
    fn numbers_have_five_digits_until_a_tenth_is_in_use_and_never_repeat() {
        let (mut plates, mut rng) = (Plates::default(), Rng::from_seed([1; 32]));
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..10_000 {
            let number = plates.spoken([1; 16], &mut rng).unwrap();
            assert!(seen.insert(number));
            assert!(if n <= FIVE_DIGITS_UP_TO { number < 100_000 } else { number >= 100_000 });
            assert!((10_000..1_000_000).contains(&number));
        }
    }

    #[test]
    fn a_link_of_another_room_is_not_adopted() {
        let (mut plates, mut rng) = (Plates::default(), Rng::from_seed([1; 32]));
        let link = plates.link([1; 16], &mut rng);
        assert!(!plates.adopt_link([2; 16], link));
        assert!(plates.adopt_link([1; 16], link));
        plates.release(at(0), Nameplate::Link(link));
        assert!(plates.adopt_link([2; 16], link));
    }
}
