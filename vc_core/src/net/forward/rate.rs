//! How much of something a source may do, in virtual time. Used by the forwarder and by signaling.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use rand_core::RngCore;

use crate::crypto::keys::Rng;
use crate::io::Time;

/// So many a minute in the long run, and `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_minute: u64,
    pub burst: u64,
}

impl Rate {
    pub const fn per_second(n: u64, burst: u64) -> Self {
        Self { per_minute: n.saturating_mul(60), burst }
    }
}

/// A token bucket, full when new. It holds what is spent, in millionths of a 60th of a unit, so that microseconds
/// times units per minute need no division.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    spent: u64,
    at: Time,
}

impl Bucket {
    /// Takes `n` if they are there; else takes nothing.
    pub fn take(&mut self, now: Time, rate: Rate, n: u64) -> bool {
        let elapsed = u64::try_from((now - self.at).as_micros()).unwrap_or(u64::MAX);
        self.spent = self.spent.saturating_sub(elapsed.saturating_mul(rate.per_minute));
        self.at = self.at.max(now);
        let wanted = self.spent.saturating_add(n.saturating_mul(UNIT));
        let there = wanted <= rate.burst.saturating_mul(UNIT);
        if there {
            self.spent = wanted;
        }
        there
    }

    /// Gives back what was taken for a reason that turned out to be good.
    pub fn give_back(&mut self, n: u64) {
        self.spent = self.spent.saturating_sub(n.saturating_mul(UNIT));
    }
}

/// Whoever pays for one user's traffic: all addresses that one user can easily send from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Net([u8; 8]);

impl Net {
    /// IPv4 /32, IPv6 /56 (what a home gets): one household, for streams whose source is proven.
    pub fn household(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self([4, a, b, c, d, 0, 0, 0])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, ..] = v6.octets();
                Self([6, a, b, c, d, e, f, g])
            }
        }
    }

    /// IPv4 /24, IPv6 /56: one neighbourhood, for datagrams whose source may be forged.
    pub fn neighbourhood(ip: IpAddr) -> Self {
        let mut net = Self::household(ip);
        if net.0[0] == 4 {
            net.0[4] = 0;
        }
        net
    }
}

/// A rate for each source, in a table of fixed size. Sources that share a bucket (which ones nobody can predict)
/// share a rate: at worst someone innocent has to try again.
pub struct Sources {
    rate: Rate,
    key: u64,
    buckets: Vec<Bucket>,
}

impl Sources {
    pub fn new(rate: Rate, rng: &mut Rng) -> Self {
        Self { rate, key: rng.next_u64(), buckets: vec![Bucket::default(); BUCKETS] }
    }

    pub fn take(&mut self, now: Time, net: Net, n: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.key);
        hasher.write(&net.0);
        let at = hasher.finish() % BUCKETS as u64;
        self.buckets.get_mut(at as usize).is_some_and(|bucket| bucket.take(now, self.rate, n))
    }
}

/// One unit: a minute in microseconds.
const UNIT: u64 = 60_000_000;
/// 64 KiB of table. A flood from a thousand networks still leaves three of four buckets untouched.
const BUCKETS: usize = 4_096;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_core::SeedableRng;
    use std::time::Duration;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let rate = Rate { per_minute: 6, burst: 3 };
        let mut bucket = Bucket::default();
        let start = Time::from_micros(5);
        assert!(bucket.take(start, rate, 3));
        assert!(!bucket.take(start + Duration::from_millis(9_999), rate, 1));
        assert!(bucket.take(start + Duration::from_secs(10), rate, 1));
        assert!(!bucket.take(start + Duration::from_secs(10), rate, 1));
        assert!(bucket.take(start + Duration::from_secs(3600), rate, 3));
        assert!(!bucket.take(start + Duration::from_secs(3600), rate, 1));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let rate = Rate { per_minute: 6, burst: 3 };
        let mut bucket = Bucket::default();
        assert!(bucket.take(Time::ZERO, rate, 3));
        bucket.give_back(2);
        assert!(bucket.take(Time::ZERO, rate, 2) && !bucket.take(Time::ZERO, rate, 1));
        bucket.give_back(99);
        assert!(bucket.take(Time::ZERO, rate, 3) && !bucket.take(Time::ZERO, rate, 1));
    }

    #[test]
    fn mapped_addresses_and_neighbours_are_the_same_source() {
        let net = |text: &str| Net::household(text.parse().unwrap());
        assert!(net("::ffff:192.0.2.7") == net("192.0.2.7"));
        assert!(net("192.0.2.7") != net("192.0.2.8"));
        assert!(net("2001:db8:0:12aa::1") == net("2001:db8:0:1234::2"));
        assert!(net("2001:db8:0:1200::1") != net("2001:db8:0:1300::1"));
        let hood = |text: &str| Net::neighbourhood(text.parse().unwrap());
        assert!(hood("192.0.2.7") == hood("192.0.2.8"));
        assert!(hood("192.0.2.7") != hood("192.0.3.7"));
    }

    #[test]
    fn one_source_does_not_spend_for_another() {
        let rate = Rate::per_second(1, 2);
        let mut sources = Sources::new(rate, &mut crate::crypto::keys::Rng::from_seed([1; 32]));
        let (a, b) = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
        assert!(sources.take(Time::ZERO, Net::household(a), 2));
        assert!(!sources.take(Time::ZERO, Net::household(a), 1));
        assert!(sources.take(Time::ZERO, Net::household(b), 2));
    }

    proptest! {
        #[test]
        fn a_bucket_never_gives_more_than_burst_plus_rate(
            per_minute in 0u64..100_000,
            burst in 0u64..1_000,
            asks in prop::collection::vec((0u64..3_000_000, 0u64..50), 1..200),
        ) {
            let rate = Rate { per_minute, burst };
            let (mut bucket, mut now, mut given) = (Bucket::default(), 0, 0);
            for (wait, n) in asks {
                now += wait;
                if bucket.take(Time::from_micros(now), rate, n) {
                    given += n;
                }
                prop_assert!(given * UNIT <= burst * UNIT + now * per_minute);
            }
        }
    }
}
