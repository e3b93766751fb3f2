//! Meeting a friend whose NAT shows each of us another port: where to knock, and how fast.
//!
//! The friend opens ports towards us from spare sockets; we knock at the next ports of its sequence, or at random ones
//! until two meet (the birthday paradox: 256 open ports of 64,512 and 1,920 knocks miss once in two thousand runs).

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand_core::RngCore;

use crate::crypto::keys::Rng;
use crate::io::Time;
use crate::protocol::mapping::Ports;

/// Addresses to knock at, none twice.
pub struct Guesses {
    at: SocketAddr,
    next: u32,
    stride: u32,
    left: usize,
}

impl Guesses {
    /// `at` is the last port that the friend saw itself take.
    pub fn new(at: SocketAddr, ports: Ports, rng: &mut Rng) -> Self {
        match ports {
            Ports::Sequential { step } => {
                let stride = i32::from(step).rem_euclid(SPAN as i32).unsigned_abs();
                Self { at, next: u32::from(at.port()) + SPAN - FIRST + stride, stride, left: NEAR }
            }
            // Steps that share no factor with the number of ports visit every one before they repeat.
            Ports::Random => {
                let stride = loop {
                    let stride = rng.next_u32() % SPAN;
                    if !FACTORS.iter().any(|factor| stride.is_multiple_of(*factor)) {
                        break stride;
                    }
                };
                Self { at, next: rng.next_u32() % SPAN, stride, left: ANYWHERE }
            }
        }
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.left
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl Iterator for Guesses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        self.left = self.left.checked_sub(1)?;
        let port = FIRST + self.next % SPAN;
        self.next = (self.next % SPAN) + self.stride;
        Some(SocketAddr::new(self.at.ip(), port as u16))
    }
}

/// So many packets, a few at a time: routers drop what comes all at once.
pub struct Volley {
    left: usize,
    due: Time,
}

impl Volley {
    pub fn new(count: usize, now: Time) -> Self {
        Self { left: count, due: now }
    }

    /// How many to send now.
    pub fn tick(&mut self, now: Time) -> usize {
        if self.left == 0 || self.due > now {
            return 0;
        }
        let burst = BURST.min(self.left);
        self.left -= burst;
        self.due = now + PAUSE;
        burst
    }

    pub fn wake(&self) -> Option<Time> {
        (self.left > 0).then_some(self.due)
    }
}

/// Spare sockets for one sequence: each is a try of its own, for others of the house take ports, too.
pub const PREDICTED: usize = 4;
/// Spare sockets of a spray.
pub const SPRAYED: usize = 256;
/// Knocks per predicted port: the sequence went on while the news was under way.
const NEAR: usize = 16;
/// Knocks of a spray. With the spare sockets, below 2,200 packets.
const ANYWHERE: usize = 1_920;
/// The most that one friend can have us send in one try: all predictions, then a spray.
pub const MOST: u64 = (PREDICTED * NEAR + ANYWHERE) as u64;
/// NATs leave the well-known ports alone.
const FIRST: u32 = *PORTS.start() as u32;
const SPAN: u32 = *PORTS.end() as u32 + 1 - FIRST;
const PORTS: RangeInclusive<u16> = 1_024..=65_535;
/// The primes in `SPAN`.
const FACTORS: [u32; 3] = [2, 3, 7];
/// 800 packets of 85 bytes a second: less than a video call, and each is a new entry in a router's table.
const BURST: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use rand_core::SeedableRng;

    use super::*;

    fn guesses(at: &str, ports: Ports) -> Vec<u16> {
        Guesses::new(at.parse().unwrap(), ports, &mut Rng::from_seed([1; 32])).map(|a| a.port()).collect()
    }

    #[test]
    fn a_sequence_is_followed_up_or_down_and_around_the_end() {
        let next = |at, step| guesses(at, Ports::Sequential { step })[..3].to_vec();
        assert_eq!(next("192.0.2.1:5000", 2), [5_002, 5_004, 5_006]);
        assert_eq!(next("192.0.2.1:5000", -1), [4_999, 4_998, 4_997]);
        assert_eq!(next("192.0.2.1:65534", 1), [65_535, 1_024, 1_025]);
        assert_eq!(next("192.0.2.1:1024", -1), [65_535, 65_534, 65_533]);
    }

    #[test]
    fn random_knocks_are_many_apart_and_never_twice_at_one_port() {
        assert!(FACTORS.iter().all(|factor| SPAN.is_multiple_of(*factor)));
        let ports = guesses("192.0.2.1:5000", Ports::Random);
        let distinct: BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(distinct.len(), ANYWHERE);
        assert!(distinct.first().is_some_and(|port| *port >= 1_024));
        const { assert!(SPRAYED + ANYWHERE <= 2_200) };
    }

    #[test]
    fn a_volley_takes_its_time() {
        let mut volley = Volley::new(ANYWHERE, Time::ZERO);
        let (mut sent, mut now) = (0, Time::ZERO);
        while let Some(at) = volley.wake() {
            now = at;
            sent += volley.tick(now);
            assert_eq!(volley.tick(now), 0);
        }
        assert_eq!(sent, ANYWHERE);
        assert!(now - Time::ZERO > Duration::from_secs(2));
    }
}
