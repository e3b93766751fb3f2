//! How far a word for a newcomer goes: whoever vouches for made-up members would else have us knock wherever it likes,
//! and fill the room. Sixteen honest members that come together stay below all of it.

use crate::io::Time;
use crate::net::forward::rate::{Bucket, Rate};
use crate::protocol::member::{MAX_CANDIDATES, MAX_MEMBERS};

/// What one member, or all of them, vouched for.
#[derive(Clone, Copy, Default)]
pub struct Vouched {
    members: Bucket,
    addresses: Bucket,
}

impl Vouched {
    /// By the word of one.
    pub fn member(&mut self, now: Time) -> bool {
        self.members.take(now, MEMBERS, 1)
    }

    /// So many addresses of a newcomer's, by the word of one.
    pub fn addresses(&mut self, now: Time, count: usize) -> bool {
        self.addresses.take(now, ADDRESSES, count as u64)
    }

    /// By the words of all together.
    pub fn addresses_in_all(&mut self, now: Time, count: usize) -> bool {
        self.addresses.take(now, ALL_ADDRESSES, count as u64)
    }
}

/// A full room, and all of it again after a mishap; then one in ten seconds. Whoever is not taken by the word of one is
/// by another's.
const MEMBERS: Rate = Rate { per_minute: 6, burst: 2 * MAX_MEMBERS as u64 };
/// A full room of members with as many addresses as a record holds; then two such members a minute. Beyond that a
/// newcomer is reached by relay or mail, and names its addresses itself.
const ADDRESSES: Rate = Rate { per_minute: 16, burst: FULL_ROOM };
/// A liar leaves the others as much as they need.
const ALL_ADDRESSES: Rate = Rate { per_minute: 32, burst: 2 * FULL_ROOM };
const FULL_ROOM: u64 = (MAX_MEMBERS * MAX_CANDIDATES) as u64;
