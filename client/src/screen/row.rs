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
        self.broken(window, is_link)
    }

    fn broken(self, window: usize, is_kept_whole: impl Fn(&str) -> bool) -> Vec<Self> {
        // Terminals differ in the last column.
        let width = window.saturating_sub(1);
        let hanging = self.hanging(width);
        let mut rows = Vec::new();
        let mut row = Self::default();
        let mut blanks = 0;
        for (ink, text) in &self.pieces {
            for word in words(text, width.saturating_sub(hanging.len())) {
                let bare = word.trim_end_matches(char::is_whitespace);
                if !bare.is_empty() {
                    let wide = columns(bare);
                    let fits = row.width + blanks + wide <= width;
                    let whole = wide + hanging.len() <= width;
                    // What follows a link that the terminal wrapped would stand behind its end.
                    if row.width > width || (row.width > 0 && !fits && whole) {
                        rows.push(std::mem::take(&mut row));
                        // Nothing that was said stands where names stand.
                        row.push(Ink::Plain, hanging);
                        blanks = 0;
                    }
                    row.push(Ink::Plain, &" ".repeat(blanks));
                    if fits || whole || is_kept_whole(bare) {
                        row.push(*ink, bare);
                    } else {
                        row.pour(&mut rows, (*ink, bare), hanging, width);
                    }
                    blanks = 0;
                }
                blanks += columns(&word[bare.len()..]);
            }
        }
        rows.push(row);
        rows
    }

    /// What stands before each row that goes on: deeper where the line itself stands in, as in a table, so that a row of
    /// it is told from the next.
    fn hanging(&self, width: usize) -> &'static str {
        let stands_in = self.pieces.first().is_some_and(|(_, text)| text.starts_with(HANGING));
        if stands_in && width >= 4 * DEEPER.len() { DEEPER } else { HANGING }
    }

    /// A word that fits into no row.
    fn pour(&mut self, rows: &mut Vec<Self>, (ink, word): (Ink, &str), hanging: &str, width: usize) {
        for grapheme in word.graphemes(true) {
            if self.width > hanging.len() && self.width + columns(grapheme) > width {
                rows.push(std::mem::take(self));
                self.push(Ink::Plain, hanging);
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

/// Prose outside a call, for a window so wide. What people copy stays whole, so that the terminal wraps it itself: every
/// word, and every line that stands in.
pub(crate) fn prose(text: &str, window: usize) -> String {
    let set = |line: &str| {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if line.starts_with(STANDS_IN) {
            return format!("{line}{end}");
        }
        let rows = Row::new(Ink::Plain, line).broken(window, |_| true);
        let rows: Vec<String> =
            rows.into_iter().map(|row| row.pieces.into_iter().map(|piece| piece.1).collect()).collect();
        rows.join("\n") + end
    };
    text.split_inclusive('\n').map(set).collect()
}

/// With the blanks behind them. A command in backticks is one word if that fits into a row.
fn words(text: &str, width: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let blank = |text: &str| text.find(char::is_whitespace).unwrap_or(text.len());
        let mut end = blank(rest);
        let quoted = rest.get(..end)?.find('`').map(|open| open + 1);
        if let Some(open) = quoted
            && let Some(close) = rest.get(open..)?.find('`').map(|close| open + close)
            && let whole = close + blank(rest.get(close..)?)
            && columns(rest.get(..whole)?) <= width
        {
            end = whole.max(end);
        }
        let after = rest.get(end..)?;
        end += after.len() - after.trim_start_matches(char::is_whitespace).len();
        let (word, left) = rest.split_at_checked(end)?;
        rest = left;
        (!word.is_empty()).then_some(word)
    })
}

/// Before codes, links and commands.
const STANDS_IN: &str = "    ";
/// Before what goes on from the row above.
const HANGING: &str = "  ";
const DEEPER: &str = "      ";

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
        // What goes on of a row of a table does not stand where the next one begins.
        let table = Row::new(Ink::Plain, "  /volume [FRIEND]  how loud you hear").wrapped(34);
        assert_eq!(
            table.iter().map(Row::text).collect::<Vec<_>>(),
            ["  /volume [FRIEND]  how loud you", "      hear"]
        );
        let quoted = "as `voicechat host` does.";
        assert_eq!(rows(quoted, 22), ["Bob: as", "  `voicechat host`", "  does."]);
        assert_eq!(rows("x `a b c` `d`", 80), ["Bob: x `a b c` `d`"]);
        assert_eq!(rows("`voicechat host does", 17), ["Bob: `voicechat", "  host does"]);
        assert_eq!(rows("`voicechat host does it`", 17), ["Bob: `voicechat", "  host does it`"]);
        for window in 0..6 {
            assert!(!rows("a few words", window).is_empty());
        }
    }

    #[test]
    fn prose_outside_a_call_keeps_whole_what_is_to_be_copied() {
        let text = "Type this, and then wait:\n\n    voicechat create --server HOST:47700#KEY\n\nSee /a/very/long/path/it.toml now\n";
        let set = "Type this, and then\n  wait:\n\n    voicechat create --server HOST:47700#KEY\n\n\
                   See /a/very/long/path/it.toml\n  now\n";
        assert_eq!(prose(text, 20), set);
        assert_eq!(prose(text, 80), text);
        assert_eq!(prose("no end", 6), "no\n  end");
        assert_eq!(prose("", 80), "");
        assert!(!prose("\u{1b}[2Jx", 80).contains('\u{1b}'));
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
