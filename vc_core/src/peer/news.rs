//! What a friend is still to be told: of each matter one word, the latest. The reliable stream is fed from here, so that
//! whoever makes us say a thing over and over takes one place in the queue and no other news waits for it.

use std::collections::VecDeque;

use crate::crypto::keys::PublicKey;
use crate::protocol::control::Control;

#[derive(Default)]
pub struct News {
    waiting: VecDeque<Control>,
    /// Something found no room.
    missed: bool,
}

/// What a message is about. Of two about the same, the friend needs the later one only.
#[derive(PartialEq)]
enum Matter {
    State,
    Candidates,
    Mapping,
    Entrance,
    Fails,
    Forwarding,
    Farewell,
    Member(PublicKey),
    Removals,
    /// As such.
    Meeting,
}

impl News {
    pub fn push(&mut self, control: Control) {
        let matter = Matter::of(&control);
        if matter == Matter::Farewell {
            // Nobody cares for the rest.
            self.waiting.clear();
        }
        let room = self.waiting.len() < MOST || matter.is_ours();
        match self.waiting.iter_mut().find(|known| matter.is_one() && Matter::of(known) == matter) {
            Some(known) => *known = control,
            None if room => self.waiting.push_back(control),
            None => self.missed = true,
        }
    }

    /// Nothing else any more.
    pub fn only(&mut self, control: Control) {
        self.waiting = VecDeque::from([control]);
        self.missed = false;
    }

    pub fn pop(&mut self) -> Option<Control> {
        self.waiting.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Something was lost, and there is room to tell everything anew. True once.
    pub fn missed(&mut self) -> bool {
        self.is_empty() && std::mem::take(&mut self.missed)
    }
}

impl Matter {
    fn of(control: &Control) -> Self {
        match control {
            Control::Add(seated) => Self::Member(seated.record.key),
            Control::Leave => Self::Farewell,
            Control::Removals(_) => Self::Removals,
            Control::Candidates(_) => Self::Candidates,
            Control::State(_) => Self::State,
            Control::Offer { .. } | Control::Withdraw => Self::Forwarding,
            Control::Fails(_) => Self::Fails,
            Control::Entrance(_) => Self::Entrance,
            Control::Mapping(_) => Self::Mapping,
            Control::Meet { .. } => Self::Meeting,
        }
    }

    /// Each port of a meeting is to be knocked at.
    fn is_one(&self) -> bool {
        *self != Self::Meeting
    }

    /// There are a handful of these, however many members come, go and are spoken of.
    fn is_ours(&self) -> bool {
        !matches!(self, Self::Member(_) | Self::Meeting)
    }
}

/// Full rooms of comers and goers, four times over.
const MOST: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::control::State;
    use crate::protocol::member::{Record, Seated, Slot};

    fn state(direct: u16) -> Control {
        Control::State(State { direct, ..State::default() })
    }

    fn member(n: u64) -> Control {
        let mut key = PublicKey([0; 32]);
        key.0[..8].copy_from_slice(&n.to_be_bytes());
        let record = Record { key, name: String::new(), relay_only: false, candidates: Vec::new() };
        Control::Add(Seated { slot: Slot::new(1).unwrap(), record })
    }

    fn all(news: &mut News) -> Vec<Control> {
        std::iter::from_fn(|| news.pop()).collect()
    }

    #[test]
    fn of_one_matter_only_the_latest_word_waits() {
        let mut news = News::default();
        for n in 0..1_000 {
            news.push(state(n));
            news.push(Control::Fails(n.into()));
            news.push(member(1));
        }
        let expected = [state(999), Control::Fails(999), member(1)];
        assert!(all(&mut news) == expected);
        assert!(!news.missed());
    }

    #[test]
    fn what_found_no_room_is_owed_and_what_we_say_of_ourselves_always_finds_some() {
        let mut news = News::default();
        for n in 0..1_000u64 {
            news.push(member(n));
        }
        news.push(state(7));
        assert!(!news.missed(), "not while there is no room");
        let told = all(&mut news);
        assert!(told.len() == MOST + 1 && told.last() == Some(&state(7)));
        assert!(news.missed() && !news.missed());
    }

    #[test]
    fn who_leaves_says_nothing_else_any_more() {
        let mut news = News::default();
        news.push(state(1));
        news.push(Control::Leave);
        assert!(all(&mut news) == [Control::Leave]);
    }
}
