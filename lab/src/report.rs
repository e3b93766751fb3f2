//! What the lab says: plain lines that also stand in a document.

use std::io::{Write, stderr, stdout};

/// Nobody may be reading any more; the lab still has to take down what it built.
pub(crate) fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

pub(crate) fn complain(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// The nearest rank of a sorted list; 0 for an empty one.
pub(crate) fn percentile(sorted: &[u64], share: usize) -> u64 {
    let rank = (sorted.len() * share).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u64> = (1..=20).collect();
        assert_eq!(
            (percentile(&values, 50), percentile(&values, 95), percentile(&values, 100)),
            (10, 19, 20)
        );
        assert_eq!((percentile(&[7], 50), percentile(&[], 95)), (7, 0));
    }
}
