//! Lines that a pipe brings before anybody can take them wait for the call, in their order.

use std::collections::VecDeque;

use crate::order::{Order, Refusal};

pub(super) type Line = Result<Order, Refusal>;

#[derive(Default)]
pub(super) struct Ahead(VecDeque<Line>);

impl Ahead {
    pub(super) fn hold(&mut self, line: Line) {
        self.0.push_back(line);
    }

    pub(super) fn first(&self) -> Option<&Line> {
        self.0.front()
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

    #[test]
    fn so_many_lines_wait_here_and_the_rest_in_the_pipe() {
        let mut ahead = Ahead::default();
        for n in 0..LINES {
            assert!(!ahead.is_full());
            ahead.hold(Ok(Order::Say(n.to_string())));
        }
        assert!(ahead.is_full());
        for n in 0..LINES {
            assert_eq!(ahead.next(), Some(Ok(Order::Say(n.to_string()))));
        }
        assert!(ahead.is_empty());
    }
}
