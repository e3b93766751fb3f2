//! Which packet counters were seen: the sliding window of RFC 4303 (section 3.4.3 and appendix A), 1,024 wide.

/// The counters of one direction of one session. `check`, then authenticate, then `mark`: a forged packet must not
/// move the window.
pub struct Window {
    /// One past the highest counter marked.
    next: u64,
    /// A ring: the bit of counter c is c mod [`WINDOW`].
    seen: [u64; WORDS],
}

impl Window {
    pub fn new() -> Self {
        Self { next: 0, seen: [0; WORDS] }
    }

    /// The 64-bit counter whose low half was sent: of all that share it, the nearest to the next one expected
    /// (RFC 9000, appendix A.3).
    pub fn restore(&self, low: u32) -> u64 {
        let near = (self.next & !LOW) | u64::from(low);
        if near.saturating_add(HALF) <= self.next {
            near.checked_add(LOW + 1).unwrap_or(near)
        } else if near > self.next.saturating_add(HALF) {
            near.checked_sub(LOW + 1).unwrap_or(near)
        } else {
            near
        }
    }

    /// Whether this counter is neither marked nor too old to know.
    pub fn check(&self, counter: u64) -> bool {
        match self.next.checked_sub(counter) {
            // The last counter of all has no successor to point `next` at.
            None | Some(0) => counter != u64::MAX,
            Some(age) => age <= WINDOW && self.seen[word(counter)] & bit(counter) == 0,
        }
    }

    /// Notes an authenticated packet whose counter passed [`Window::check`].
    pub fn mark(&mut self, counter: u64) {
        if counter >= self.next {
            if counter - self.next >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (self.next..counter).for_each(|skipped| self.seen[word(skipped)] &= !bit(skipped));
            }
            self.next = counter.saturating_add(1);
        }
        self.seen[word(counter)] |= bit(counter);
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

fn word(counter: u64) -> usize {
    (counter % WINDOW) as usize / 64
}

fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

/// How far a packet may lag: 1,024 at 50 packets a second is 20 s, more than any path reorders, in 128 bytes.
pub const WINDOW: u64 = 1024;
const WORDS: usize = WINDOW as usize / 64;

const LOW: u64 = u32::MAX as u64;
const HALF: u64 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_counter_passes_once() {
        let mut window = Window::new();
        for counter in [0, 1, 5, 3, 2_000, 1_500, u64::from(u32::MAX), 1 << 33] {
            assert!(window.check(counter));
            window.mark(counter);
            assert!(!window.check(counter));
        }
    }

    #[test]
    fn the_window_is_exactly_as_wide_as_it_says() {
        let mut window = Window::new();
        window.mark(5_000);
        assert!(window.check(5_001 - WINDOW));
        assert!(!window.check(5_000 - WINDOW));
    }

    #[test]
    fn a_counter_skipped_long_ago_does_not_count_as_seen_one_turn_later() {
        let mut window = Window::new();
        window.mark(3);
        window.mark(WINDOW);
        window.mark(WINDOW + 4);
        assert!(window.check(WINDOW + 3));
    }

    #[test]
    fn the_low_half_finds_its_way_over_the_boundary_both_ways() {
        let edge = 1 << 32;
        let mut window = Window::new();
        window.mark(edge - 2);
        assert_eq!(window.restore(u32::MAX), edge - 1);
        assert_eq!(window.restore(0), edge);
        assert_eq!(window.restore(7), edge + 7);
        window.mark(edge + 3);
        assert_eq!(window.restore(u32::MAX), edge - 1);
        assert_eq!(window.restore(4), edge + 4);
    }

    #[test]
    fn the_first_and_the_last_counters_do_not_wrap() {
        assert_eq!(Window::new().restore(u32::MAX), u64::from(u32::MAX));
        let mut window = Window::new();
        window.mark(u64::MAX - 1);
        assert_eq!(window.restore(u32::MAX), u64::MAX);
        assert_eq!(window.restore(0), u64::MAX - u64::from(u32::MAX));
        assert!(!window.check(u64::MAX));
    }

    /// What the window must do, with all of the past remembered.
    #[derive(Default)]
    struct Model(BTreeSet<u64>);

    impl Model {
        fn check(&self, counter: u64) -> bool {
            !self.0.contains(&counter) && self.0.last().is_none_or(|top| counter + WINDOW > *top)
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_all_counters(
            start in prop_oneof![Just(0), Just((1u64 << 32) - 700), any::<u32>().prop_map(u64::from)],
            steps in prop::collection::vec(prop_oneof![8 => -40i64..40, 2 => -1_100i64..1_100, 1 => -3_000i64..3_000], 1..400),
        ) {
            let (mut window, mut model, mut at) = (Window::new(), Model::default(), start);
            for step in steps {
                at = at.saturating_add_signed(step);
                prop_assert_eq!(window.check(at), model.check(at));
                if model.check(at) {
                    window.mark(at);
                    model.0.insert(at);
                }
            }
        }

        #[test]
        fn the_low_half_restores_any_counter_nearby(top in 0u64..1 << 40, off in -2_000_000i64..2_000_000) {
            let mut window = Window::new();
            window.mark(top);
            let counter = top.saturating_add_signed(off);
            prop_assert_eq!(window.restore(counter as u32), counter);
        }
    }
}
