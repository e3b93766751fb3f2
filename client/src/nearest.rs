//! What was meant by a mistyped word.

/// The name that was probably meant.
pub(crate) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    names
        .map(|name| (name, name.to_lowercase()))
        .filter(|(_, low)| is_near(&typed, low))
        .map(|(name, low)| (strsim::jaro_winkler(&typed, &low), name))
        .filter(|(likeness, _)| *likeness > LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The beginning of it, or not more than every second letter wrong: of a word of one letter nothing is left then.
fn is_near(typed: &str, name: &str) -> bool {
    let letters = typed.chars().count();
    let begins = letters >= BEGINS && name.starts_with(typed);
    begins || strsim::osa_distance(typed, name) * 2 <= letters
}

/// Above it lie a forgotten letter, swapped ones, and a dash for an underscore; below, other words.
const LIKE: f64 = 0.75;
/// In letters: fewer begin too many words to be meant as one.
const BEGINS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_is_near_however_short_it_is() {
        let words = ["echo", "level", "lock", "noise", "ptt", "Xerxes"];
        let near = |typed: &str| nearest(typed, words.into_iter());
        for (typed, name) in
            [("ecoh", "echo"), ("levl", "level"), ("noi", "noise"), ("tp", ""), ("pt", "ptt")]
        {
            assert_eq!(near(typed), Some(name).filter(|name| !name.is_empty()), "{typed}");
        }
        assert_eq!(near("xerxs"), Some("Xerxes"));
        for typed in ["e", "l", "x", "xe", "no", "cho-cho", ""] {
            assert_eq!(near(typed), None, "{typed}");
        }
    }
}
