//! Nobody sends anything to a member after it learnt that this member left or was removed: neither to its address nor
//! sealed for it, by whatever way.

use std::time::Duration;

use rustc_hash::FxHashMap;
use vc_core::io::{Parting, Time};
use vc_core::protocol::packet::Packet;

use crate::net::SiteId;

#[derive(Default)]
pub struct Departed {
    /// Whose sessions these are, by the index that their owner chose.
    sessions: FxHashMap<u32, usize>,
    /// Who knows that the other is gone, and from when it must be silent.
    known: FxHashMap<(usize, usize), Time>,
}

impl Departed {
    /// `client` is told that `friend` is gone.
    pub(crate) fn learns(&mut self, now: Time, client: usize, friend: usize, why: Parting) {
        let from = match why {
            Parting::Left => now,
            // Whoever removed it tells it so until it has acknowledged that.
            Parting::Kicked => now + DISMISSAL,
            // It may come back, and is tried.
            Parting::TimedOut => return,
        };
        self.known.insert((client, friend), from);
    }

    /// How many partings were watched.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }

    /// A packet by `client`; `at` tells the member at the address that it goes to, if one is there, and `house` where a
    /// member lives. What is wrong with it?
    pub(crate) fn sends(
        &mut self,
        now: Time,
        client: usize,
        at: impl FnOnce() -> Option<usize>,
        house: impl Fn(usize) -> SiteId,
        bytes: &[u8],
    ) -> Option<String> {
        let (sealed_for, forwarded) = self.read(client, bytes);
        if self.known.is_empty() {
            return None;
        }
        let silent = |friend: &usize| self.known.get(&(client, *friend)).is_some_and(|from| *from <= now);
        if let Some(friend) = sealed_for.filter(|friend| !forwarded && silent(friend)) {
            return Some(format!("{client} sealed a packet for {friend}, whom it knows to be gone"));
        }
        let friend = at().filter(silent)?;
        // Who searches a friend's house for an open port knocks at those of its housemates, too.
        if sealed_for.is_some_and(|other| house(other) == house(friend)) {
            return None;
        }
        let what = Packet::parse(bytes);
        Some(format!("{now:?}: {client} sent {what:?} to the address of {friend}, whom it knows to be gone"))
    }

    /// For whom it is sealed, and whether somebody else did that.
    fn read(&mut self, by: usize, bytes: &[u8]) -> (Option<usize>, bool) {
        match Packet::parse(bytes) {
            Ok(Packet::HsInit { sender, .. }) => {
                self.sessions.insert(sender, by);
                (None, false)
            }
            Ok(Packet::HsResp { sender, receiver, .. }) => {
                self.sessions.insert(sender, by);
                (self.sessions.get(&receiver).copied(), false)
            }
            Ok(Packet::Transport { receiver, .. }) => (self.sessions.get(&receiver).copied(), false),
            Ok(Packet::Up { inner, .. }) => self.read(by, inner),
            Ok(Packet::Down { .. }) => (None, true),
            _ => (None, false),
        }
    }
}

/// As long as the engine takes for it.
const DISMISSAL: Duration = Duration::from_millis(2_100);
