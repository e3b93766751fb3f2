//! A TCP-like connection to a server: reliable, in order, held up by cuts, told when the other end goes.

use std::collections::VecDeque;

use vc_core::io::{Hop, Time};

use crate::net::SiteId;

/// What travels in one direction.
pub enum Item {
    /// To the server: a client connects. To the client: it is connected.
    Open,
    Data(Vec<u8>),
    Close,
}

pub struct Stream {
    pub client: usize,
    pub server: usize,
    pub sites: (SiteId, SiteId),
    pub end: End,
    /// The client knows that it is connected.
    pub is_open: bool,
    pub up: Lane,
    pub down: Lane,
}

/// What is connected to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Signaling,
    /// The relay, which sees the client as this.
    Relay(Hop),
}

#[derive(Default)]
pub struct Lane {
    queue: VecDeque<(Time, Item)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Up,
    Down,
}

impl Stream {
    pub fn new(client: usize, server: usize, sites: (SiteId, SiteId), end: End) -> Self {
        Self { client, server, sites, end, is_open: false, up: Lane::default(), down: Lane::default() }
    }

    pub fn is_relayed(&self) -> bool {
        matches!(self.end, End::Relay(_))
    }

    pub fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Lane {
    /// Returns when to look: not before what was sent earlier.
    pub fn push(&mut self, at: Time, item: Item) -> Time {
        let at = self.queue.back().map_or(at, |(last, _)| at.max(*last));
        self.queue.push_back((at, item));
        at
    }

    pub fn pop(&mut self, now: Time) -> Option<Item> {
        self.queue.front().filter(|(at, _)| *at <= now)?;
        self.queue.pop_front().map(|(_, item)| item)
    }
}
