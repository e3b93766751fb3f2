//! What a peer wrote, made fit for a terminal: at receipt, before storage, log or screen.

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_width::UnicodeWidthChar;

/// One line of chat: no control, no escape, no bidi override, no invisible payload. At most `MAX_CHAT` bytes.
pub fn line(text: &str) -> String {
    clean(text, MAX_CHAT, usize::MAX, Joiners::Kept)
}

/// A name: as `line`, trimmed, at most `NAME_COLUMNS` wide, never empty.
pub fn name(text: &str) -> String {
    let cleaned = clean(text, super::member::MAX_NAME, NAME_COLUMNS, Joiners::Dropped);
    let trimmed = cleaned.trim();
    if trimmed.is_empty() { "someone".to_owned() } else { trimmed.to_owned() }
}

/// A line of any length, as `line` but whole: what this machine's own parts are called, or will say.
pub fn harmless(text: &str) -> String {
    clean(text, usize::MAX, usize::MAX, Joiners::Kept)
}

/// Whether a reader would see nothing: blanks, and what takes no room or shows nothing in it.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.width().unwrap_or(0) == 0 || BLANKS.contains(&c))
}

/// Two names that a hurried eye takes for one: case, look-alike digits and Cyrillic or Greek look-alikes folded.
pub fn looks_like(a: &str, b: &str) -> bool {
    skeleton(a) == skeleton(b)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joiners {
    Kept,
    Dropped,
}

fn clean(text: &str, max_bytes: usize, max_columns: usize, joiners: Joiners) -> String {
    let mut out = String::with_capacity(text.len().min(max_bytes));
    let mut columns = 0;
    let mut marks = 0;
    for c in text.chars() {
        let Some(c) = permitted(c, joiners) else { continue };
        if is_mark(c) || is_joiner(c) {
            marks += 1;
            if marks > MAX_MARKS {
                continue;
            }
        } else {
            marks = 0;
        }
        columns += c.width().unwrap_or(0);
        if out.len() + c.len_utf8() > max_bytes || columns > max_columns {
            break;
        }
        out.push(c);
    }
    out
}

fn permitted(c: char, joiners: Joiners) -> Option<char> {
    match c {
        '\t' | '\n' | '\r' => return Some(' '),
        _ if is_joiner(c) => return (joiners == Joiners::Kept).then_some(c),
        _ => {}
    }
    if joiners == Joiners::Dropped && BLANKS.contains(&c) {
        return None;
    }
    match get_general_category(c) {
        // Format covers the bidi controls, zero-width space, BOM and the tag characters.
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate
        | GeneralCategory::Unassigned => Some(char::REPLACEMENT_CHARACTER),
        _ => Some(c),
    }
}

fn is_mark(c: char) -> bool {
    matches!(
        get_general_category(c),
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark | GeneralCategory::SpacingMark
    )
}

/// Zero-width (non-)joiner: scripts and emoji need them, between letters.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn skeleton(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .filter(|c| !is_mark(*c) && !c.is_whitespace())
        .map(|c| match c {
            '0' | 'о' | 'ο' => 'o',
            '1' | 'l' | '|' | 'і' | 'ι' => 'i',
            'а' | 'α' => 'a',
            'е' | 'ε' => 'e',
            'р' | 'ρ' => 'p',
            'с' => 'c',
            'у' => 'y',
            'х' | 'χ' => 'x',
            'к' | 'κ' => 'k',
            'ν' => 'v',
            'т' | 'τ' => 't',
            'м' => 'm',
            'в' => 'b',
            'н' => 'h',
            'ѕ' => 's',
            _ => c,
        })
        .collect()
}

/// Letters and symbols that show nothing: a name or a line of them would look like none.
const BLANKS: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];
/// A chat line travels in one datagram.
pub const MAX_CHAT: usize = 1_000;
/// Wide enough for any real name, narrow enough for one status line.
pub const NAME_COLUMNS: usize = 24;
/// Real scripts stack two or three marks on a letter; more is a weapon against the line above. Joiners count as well:
/// they must neither begin a new stack nor hide a message of their own.
const MAX_MARKS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_and_bidi_tricks_never_survive() {
        let nasty = "a\x1b[31mred\x07\u{9b}2J\u{202e}evil\u{2066}\u{feff}\u{e0041}b\u{2028}\u{85}";
        let clean = line(nasty);
        assert!(clean.chars().all(|c| !c.is_control()), "{clean:?}");
        for bad in ['\u{1b}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{e0041}', '\u{2028}'] {
            assert!(!clean.contains(bad));
        }
        assert_eq!(line("two\nlines\there"), "two lines here");
    }

    #[test]
    fn stacked_marks_are_thinned_and_emoji_families_stay_whole() {
        let zalgo: String = std::iter::once('z').chain(std::iter::repeat_n('\u{301}', 50)).collect();
        assert_eq!(line(&zalgo).chars().count(), 1 + MAX_MARKS);
        let joined = "z".to_owned() + &"\u{301}\u{200c}".repeat(20);
        assert_eq!(line(&joined).chars().count(), 1 + MAX_MARKS);
        assert_eq!(line("👩\u{200d}👩\u{200d}👧"), "👩\u{200d}👩\u{200d}👧");
        assert_eq!(line("привет שלום 你好"), "привет שלום 你好");
    }

    #[test]
    fn names_are_short_and_never_empty() {
        assert_eq!(name("  \n "), "someone");
        assert_eq!(name("\u{3164}\u{2800}"), "someone");
        assert_eq!(name(&"x".repeat(500)).len(), NAME_COLUMNS);
        assert_eq!(name("  ada  "), "ada");
        assert!(looks_like("Bob", "ВОВ") && looks_like("al", "aI") && !looks_like("bob", "rob"));
    }

    proptest! {
        #[test]
        fn nothing_dangerous_leaves(text in any::<String>()) {
            for out in [line(&text), name(&text)] {
                prop_assert!(out.len() <= MAX_CHAT);
                let dangerous = out.chars().any(|c| {
                    c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
                });
                prop_assert!(!dangerous);
            }
        }

        #[test]
        fn cleaning_twice_changes_nothing(text in any::<String>()) {
            prop_assert_eq!(line(&line(&text)), line(&text));
        }
    }
}
