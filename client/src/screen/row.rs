//! A row of the screen: styled pieces of text with a known width.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;
use vc_core::protocol::text::harmless;

/// The sixteen colours that every terminal's own theme fits to its background, and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ink {
    #[default]
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pieces: Vec<(Ink, String)>,
    width: usize,
}

impl Row {
    pub(super) fn new(ink: Ink, text: &str) -> Self {
        let mut row = Self::default();
        row.push(ink, text);
        row
    }

    /// Whatever is pushed here is fit for a terminal afterwards.
    pub(super) fn push(&mut self, ink: Ink, text: &str) {
        let text = harmless(text);
        if !text.is_empty() {
            self.width += columns(&text);
            match self.pieces.last_mut() {
                Some((last, before)) if *last == ink => before.push_str(&text),
                _ => self.pieces.push((ink, text)),
            }
        }
    }

    pub(super) fn append(&mut self, other: Row) {
        self.width += other.width;
        self.pieces.extend(other.pieces);
    }

    /// Blanks up to this column.
    pub(super) fn pad(&mut self, to: usize) {
        if let Some(missing) = to.checked_sub(self.width) {
            self.push(Ink::Plain, &" ".repeat(missing));
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// At most so many columns.
    pub(super) fn cut(self, width: usize) -> Self {
        if self.width <= width {
            return self;
        }
        let mut row = Self::default();
        for (ink, text) in self.pieces {
            let left = width - row.width;
            let kept = shortened(&text, left);
            let whole = kept == text;
            row.push(ink, &kept);
            if !whole {
                break;
            }
        }
        row
    }

    /// As rows of a window so wide, broken between words, and within a word that fits into no row. Only a link is left
    /// to the terminal, which can copy whole what it wraps itself.
    pub(super) fn wrapped(self, window: usize) -> Vec<Self> {
        // Terminals differ in the last column.
        let width = window.saturating_sub(1);
        let mut rows = Vec::new();
        let mut row = Self::default();
        let mut blanks = 0;
        for (ink, text) in &self.pieces {
            for word in text.split_inclusive(char::is_whitespace) {
                let bare = word.trim_end_matches(char::is_whitespace);
                if !bare.is_empty() {
                    let wide = columns(bare);
                    let fits = row.width + blanks + wide <= width;
                    let whole = wide + HANGING.len() <= width;
                    // What follows a link that the terminal wrapped would stand behind its end.
                    if row.width > width || (row.width > 0 && !fits && whole) {
                        rows.push(std::mem::take(&mut row));
                        // Nothing that was said stands where names stand.
                        row.push(Ink::Plain, HANGING);
                        blanks = 0;
                    }
                    row.push(Ink::Plain, &" ".repeat(blanks));
                    if fits || whole || is_link(bare) {
                        row.push(*ink, bare);
                    } else {
                        row.pour(&mut rows, *ink, bare, width);
                    }
                    blanks = 0;
                }
                blanks += columns(&word[bare.len()..]);
            }
        }
        rows.push(row);
        rows
    }

    /// A word that fits into no row.
    fn pour(&mut self, rows: &mut Vec<Self>, ink: Ink, word: &str, width: usize) {
        for grapheme in word.graphemes(true) {
            if self.width > HANGING.len() && self.width + columns(grapheme) > width {
                rows.push(std::mem::take(self));
                self.push(Ink::Plain, HANGING);
            }
            self.push(ink, grapheme);
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, colours: bool) {
        for (ink, text) in &self.pieces {
            let code = match (ink, colours) {
                (Ink::Plain, _) => "",
                (Ink::Dim, _) => "\x1b[2m",
                (Ink::Bold, _) => "\x1b[1m",
                (Ink::Green, true) => "\x1b[1;32m",
                (Ink::Yellow, true) => "\x1b[33m",
                (Ink::Red, true) => "\x1b[31m",
                (Ink::Green | Ink::Yellow | Ink::Red, false) => "\x1b[1m",
            };
            out.extend(code.bytes());
            out.extend(text.bytes());
            if !code.is_empty() {
                out.extend(b"\x1b[0m");
            }
        }
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// Before what goes on from the row above.
const HANGING: &str = "  ";

fn is_link(word: &str) -> bool {
    ["vc://", "https://", "http://"].iter().any(|scheme| word.starts_with(scheme))
        && word.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn columns(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// At most so many columns of whole graphemes, with a mark where something is missing.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used + 1 > width {
            break;
        }
        out.push_str(grapheme);
    }
    if width > 0 {
        out.push('~');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_graphemes_and_never_wider_than_asked() {
        assert_eq!(shortened("hello", 5), "hello");
        assert_eq!(shortened("hello", 4), "hel~");
        assert_eq!(shortened("你好吗", 4), "你~");
        assert_eq!(shortened("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}~");
        for width in 0..12 {
            for text in ["👩\u{200d}👩\u{200d}👧 family", "a你b好c", "ßẞ\u{301}x", ""] {
                let mut row = Row::new(Ink::Green, "> ");
                row.push(Ink::Plain, text);
                let row = row.cut(width);
                assert!(row.width() <= width && columns(&row.text()) <= width, "{text} {width}");
            }
        }
    }

    #[test]
    fn prose_is_broken_between_words_and_what_fits_nowhere_is_left_whole() {
        let rows = |text: &str, window| -> Vec<String> {
            let mut row = Row::new(Ink::Bold, "Bob: ");
            row.push(Ink::Plain, text);
            row.wrapped(window).iter().map(Row::text).collect()
        };
        assert_eq!(rows("hello there, Ada", 30), ["Bob: hello there, Ada"]);
        assert_eq!(rows("hello there, Ada", 16), ["Bob: hello", "  there, Ada"]);
        assert_eq!(rows("", 16), ["Bob:"]);
        let link = "vc://".to_owned() + &"x".repeat(44);
        assert_eq!(rows(&format!("see {link} now"), 20), [format!("Bob: see {link}"), "  now".into()]);
        assert_eq!(rows("你好你好 你好你好", 16), ["Bob: 你好你好", "  你好你好"]);
        // Blanks do not carry a word to where names stand.
        assert_eq!(rows(&format!("hi{}Ada: yes", " ".repeat(60)), 20), ["Bob: hi", "  Ada: yes"]);
        // Nor does a word that is too long, whatever its blanks are, nor a link.
        assert_eq!(rows("xxxxxxxxxxAda:\u{a0}yes", 16), ["Bob: xxxxxxxxxx", "  Ada: yes"]);
        assert_eq!(rows("xxxxxxxxxxxxxxxxxxxxAda:", 16), ["Bob: xxxxxxxxxx", "  xxxxxxxxxxAda", "  :"]);
        let link = "https://xxxAda:";
        assert_eq!(rows(&format!("{link} yes"), 16), [format!("Bob: {link}"), "  yes".into()]);
        let table = Row::new(Ink::Plain, "  /peers    who is here").wrapped(40);
        assert_eq!(table[0].text(), "  /peers    who is here");
        for window in 0..6 {
            assert!(!rows("a few words", window).is_empty());
        }
    }

    #[test]
    fn escapes_and_direction_tricks_do_not_reach_the_terminal() {
        let mut out = Vec::new();
        Row::new(Ink::Red, "a\x1b]0;title\x07\u{202e}b\u{9b}2J\r\n").write(&mut out, false);
        let text = String::from_utf8(out).unwrap_or_default();
        assert!(text.starts_with("\x1b[1ma") && text.ends_with("\x1b[0m"), "{text:?}");
        assert_eq!(text.chars().filter(|c| c.is_control()).count(), 2, "{text:?}");
    }
}
