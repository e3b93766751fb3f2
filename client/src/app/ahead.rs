//! Lines that a pipe brings before anybody can take them wait for the call, in their order.

use std::collections::VecDeque;

use crate::order::{Order, Refusal};

type Line = Result<Order, Refusal>;

#[derive(Default)]
pub(super) struct Ahead(VecDeque<Line>);

impl Ahead {
    /// Given back if it may be acted on at once: it needs nobody, and nothing that came before it waits.
    pub(super) fn hold(&mut self, line: Line) -> Option<Line> {
        let waits = !self.0.is_empty() || matches!(&line, Ok(order) if order.needs_the_call());
        if !waits {
            return Some(line);
        }
        self.0.push_back(line);
        None
    }

    pub(super) fn next(&mut self) -> Option<Line> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What comes then waits in the pipe.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= LINES
    }
}

/// 64 KB of the longest lines, as much as a pipe of Linux holds; a quarter of what the queue to a friend takes at once.
const LINES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Order::line(text).unwrap_or_else(|| unreachable!())
    }

    #[test]
    fn what_needs_nobody_is_done_at_once_and_nothing_overtakes_what_waits() {
        let mut ahead = Ahead::default();
        for now in ["/quit", "/mute", "/nonsense"] {
            assert_eq!(ahead.hold(line(now)), Some(line(now)));
        }
        let wait = ["hello", "/mute", "/nonsense", "/peers", "/quit"];
        assert!(wait.iter().all(|text| ahead.hold(line(text)).is_none()));
        assert_eq!(wait.map(|_| ahead.next()), wait.map(|text| Some(line(text))));
        assert!(ahead.is_empty());
    }

    #[test]
    fn so_many_lines_wait_here_and_the_rest_in_the_pipe() {
        let mut ahead = Ahead::default();
        for _ in 0..LINES {
            assert!(!ahead.is_full() && ahead.hold(line("hello")).is_none());
        }
        assert!(ahead.is_full());
    }
}
