//! The input line: editing, history, completion. Keys in, a submitted line out; what is typed survives whatever
//! arrives meanwhile.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use rustyline::line_buffer::{ChangeListener, DeleteListener, Direction, LineBuffer};
use rustyline::{At, Word};
use unicode_segmentation::UnicodeSegmentation;
use vc_core::protocol::text::{MAX_CHAT, harmless};

use super::row::columns;

/// Where a word starts that can be completed, and each way to do it.
pub(super) type Completions = (usize, Vec<String>);

pub(super) struct Editor {
    line: LineBuffer,
    cut: Cut,
    history: Vec<String>,
    /// Which earlier line is shown, and what was being typed before.
    recalled: Option<(usize, String)>,
    /// What stands there was not typed now: new text takes its place, other keys mend it.
    offered: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing that anybody else must know.
    Edited,
    Line(String),
    /// Tab can become each of these.
    Choices(Vec<String>),
    /// More was pasted than a line holds.
    Overfull,
    End,
    Redraw,
    Suspend,
}

impl Editor {
    pub(super) fn new() -> Self {
        Self {
            line: LineBuffer::with_capacity(LONGEST),
            cut: Cut::default(),
            history: Vec::new(),
            recalled: None,
            offered: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Instead of what is there.
    pub(super) fn set(&mut self, text: &str) {
        self.line.update(text, text.len(), &mut Cut::default());
    }

    /// To be sent again, mended, or replaced by whatever is typed.
    pub(super) fn offer(&mut self, text: &str) {
        self.set(text);
        self.offered = true;
    }

    /// Text that comes at once; its line ends are blanks.
    pub(super) fn paste(&mut self, text: &str) -> Typed {
        self.replace_offer();
        let text = harmless(text.trim_end_matches(['\r', '\n']));
        let room = LONGEST.saturating_sub(self.line.len());
        let mut fits = text.len().min(room);
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        let at = self.line.pos();
        self.line.insert_str(at, &text[..fits], &mut Cut::default());
        self.line.set_pos(at + fits);
        if fits < text.len() { Typed::Overfull } else { Typed::Edited }
    }

    pub(super) fn key(
        &mut self,
        key: KeyEvent,
        remember: bool,
        completions: impl FnOnce(&str) -> Completions,
    ) -> Typed {
        let is_text = matches!(key.code, KeyCode::Char(_))
            && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
        // What is mended most often: a code that lacks the place of its room.
        if is_text && key.code != KeyCode::Char('@') {
            self.replace_offer();
        }
        self.offered = false;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter => return self.submit(remember),
            KeyCode::Tab => return self.complete(completions),
            KeyCode::Up => self.recall(true),
            KeyCode::Down => self.recall(false),
            KeyCode::Char(c) if control => return self.control(c, remember),
            KeyCode::Char(c) if alt => self.alternative(c),
            KeyCode::Char(c) => {
                if let text = harmless(c.encode_utf8(&mut [0; 4]))
                    && self.line.len() + text.len() <= LONGEST
                {
                    let at = self.line.pos();
                    self.line.insert_str(at, &text, &mut Cut::default());
                    self.line.set_pos(at + text.len());
                }
            }
            KeyCode::Backspace if control || alt => self.delete_word(),
            KeyCode::Backspace => {
                self.line.backspace(1, &mut Cut::default());
            }
            KeyCode::Delete => {
                self.line.delete(1, &mut Cut::default());
            }
            KeyCode::Left if control || alt => {
                self.line.move_to_prev_word(Word::Emacs, 1);
            }
            KeyCode::Right if control || alt => {
                self.line.move_to_next_word(At::AfterEnd, Word::Emacs, 1);
            }
            KeyCode::Left => {
                self.line.move_backward(1);
            }
            KeyCode::Right => {
                self.line.move_forward(1);
            }
            KeyCode::Home => {
                self.line.move_home();
            }
            KeyCode::End => {
                self.line.move_end();
            }
            _ => {}
        }
        Typed::Edited
    }

    /// The text before and after the cursor that fits into so many columns, the cursor among them.
    pub(super) fn visible(&self, width: usize) -> (String, String) {
        let (before, after) = self.line.as_str().split_at(self.line.pos());
        let width = width.saturating_sub(1);
        let mut start = before.len();
        let mut used = 0;
        for (index, grapheme) in before.grapheme_indices(true).rev() {
            used += columns(grapheme);
            if used > width {
                break;
            }
            start = index;
        }
        let before = &before[start..];
        let mut left = (width + 1).saturating_sub(columns(before));
        let shown = after.graphemes(true).take_while(|grapheme| {
            let wide = columns(grapheme);
            let fits = wide <= left;
            left = left.saturating_sub(wide);
            fits
        });
        (before.to_owned(), shown.collect())
    }

    fn replace_offer(&mut self) {
        if std::mem::take(&mut self.offered) {
            self.set("");
        }
    }

    /// As in shells.
    fn control(&mut self, c: char, remember: bool) -> Typed {
        match c {
            'a' => drop(self.line.move_home()),
            'e' => drop(self.line.move_end()),
            'b' => drop(self.line.move_backward(1)),
            'f' => drop(self.line.move_forward(1)),
            'h' => drop(self.line.backspace(1, &mut Cut::default())),
            'd' if self.line.is_empty() => return Typed::End,
            'd' => drop(self.line.delete(1, &mut Cut::default())),
            'k' => self.cutting(|line, cut| line.kill_line(cut)),
            'u' => self.cutting(|line, cut| line.discard_line(cut)),
            'w' => self.delete_word(),
            'y' => return self.paste(&self.cut.0.clone()),
            't' => drop(self.line.transpose_chars(&mut Cut::default())),
            'p' => self.recall(true),
            'n' => self.recall(false),
            'j' | 'm' => return self.submit(remember),
            'l' => return Typed::Redraw,
            'z' => return Typed::Suspend,
            _ => {}
        }
        Typed::Edited
    }

    fn alternative(&mut self, c: char) {
        match c {
            'b' => drop(self.line.move_to_prev_word(Word::Emacs, 1)),
            'f' => drop(self.line.move_to_next_word(At::AfterEnd, Word::Emacs, 1)),
            'd' => self.cutting(|line, cut| line.delete_word(At::AfterEnd, Word::Emacs, 1, cut)),
            _ => {}
        }
    }

    fn delete_word(&mut self) {
        self.cutting(|line, cut| line.delete_prev_word(Word::Big, 1, cut));
    }

    fn cutting(&mut self, edit: impl FnOnce(&mut LineBuffer, &mut Cut) -> bool) {
        let mut cut = Cut::default();
        if edit(&mut self.line, &mut cut) {
            self.cut = cut;
        }
    }

    fn submit(&mut self, remember: bool) -> Typed {
        let line = self.line.as_str().to_owned();
        self.set("");
        self.recalled = None;
        if remember && !line.trim().is_empty() && self.history.last() != Some(&line) {
            if self.history.len() >= HISTORY {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        Typed::Line(line)
    }

    fn recall(&mut self, earlier: bool) {
        let (at, draft) = match self.recalled.take() {
            Some(recalled) => recalled,
            None if earlier => (self.history.len(), self.line.as_str().to_owned()),
            None => return,
        };
        let to = if earlier { at.saturating_sub(1) } else { at + 1 };
        match self.history.get(to).cloned() {
            Some(line) => {
                self.set(&line);
                self.recalled = Some((to, draft));
            }
            None => self.set(&draft),
        }
    }

    /// As far as all possibilities agree; when that is nowhere, they are told.
    fn complete(&mut self, completions: impl FnOnce(&str) -> Completions) -> Typed {
        let at = self.line.pos();
        let (start, choices) = completions(&self.line.as_str()[..at]);
        let Some(first) = choices.first() else { return Typed::Edited };
        let common = choices.iter().fold(first.as_str(), |common, choice| agreed(common, choice));
        let Some(typed) = self.line.as_str().get(start..at) else { return Typed::Edited };
        if choices.len() > 1 && common.chars().count() <= typed.chars().count() {
            return Typed::Choices(
                choices.iter().map(|choice| choice.trim_end_matches([' ', '-']).to_owned()).collect(),
            );
        }
        if self.line.len() - typed.len() + common.len() <= LONGEST {
            self.line.replace(start..at, common, &mut Cut::default());
        }
        Typed::Edited
    }
}

/// The beginning that both have.
fn agreed<'a>(a: &'a str, b: &str) -> &'a str {
    let differs = a.char_indices().zip(b.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    let end = differs.unwrap_or_else(|| a.len().min(b.len()));
    a.get(..end).unwrap_or(a)
}

/// What was cut last, for Ctrl-Y.
#[derive(Default)]
struct Cut(String);

impl DeleteListener for Cut {
    fn delete(&mut self, _: usize, text: &str, direction: Direction) {
        match direction {
            Direction::Forward => self.0.push_str(text),
            Direction::Backward => self.0.insert_str(0, text),
        }
    }
}

impl ChangeListener for Cut {
    fn insert_char(&mut self, _: usize, _: char) {}

    fn insert_str(&mut self, _: usize, _: &str) {}

    fn replace(&mut self, _: usize, _: &str, _: &str) {}
}

/// A chat line, and a slash in front.
const LONGEST: usize = MAX_CHAT + 1;
/// An evening's worth; it is forgotten at the end.
const HISTORY: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, keys: &str) -> Typed {
        let mut last = Typed::Edited;
        for c in keys.chars() {
            let (code, modifiers) = match c {
                '\n' => (KeyCode::Enter, KeyModifiers::NONE),
                '\t' => (KeyCode::Tab, KeyModifiers::NONE),
                '←' => (KeyCode::Left, KeyModifiers::NONE),
                '↑' => (KeyCode::Up, KeyModifiers::NONE),
                '↓' => (KeyCode::Down, KeyModifiers::NONE),
                '⌫' => (KeyCode::Backspace, KeyModifiers::NONE),
                'Ⓐ'..='Ⓩ' => {
                    let letter = u32::from(c) - u32::from('Ⓐ') + u32::from('a');
                    (KeyCode::Char(char::from_u32(letter).unwrap_or('a')), KeyModifiers::CONTROL)
                }
                c => (KeyCode::Char(c), KeyModifiers::NONE),
            };
            last = editor.key(KeyEvent::new(code, modifiers), true, |before| {
                let start = before.rfind(' ').map_or(0, |at| at + 1);
                let names = ["Bob: ", "Bobby: ", "Cem: "].into_iter();
                (start, names.filter(|name| name.starts_with(&before[start..])).map(str::to_owned).collect())
            });
        }
        last
    }

    #[test]
    fn a_code_is_not_remembered_by_whatever_key_it_is_entered() {
        for enter in [KeyCode::Enter, KeyCode::Char('j'), KeyCode::Char('m')] {
            let mut editor = Editor::new();
            editor.set("48213-tiger-orbit-ocean");
            let entered = editor.key(KeyEvent::new(enter, KeyModifiers::CONTROL), false, |_| (0, vec![]));
            assert!(matches!(entered, Typed::Line(_)));
            press(&mut editor, "↑");
            assert_eq!(text(&editor), "|");
        }
    }

    fn text(editor: &Editor) -> String {
        editor.visible(1_000).0 + "|" + &editor.visible(1_000).1
    }

    #[test]
    fn a_line_is_edited_as_in_a_shell() {
        let mut editor = Editor::new();
        press(&mut editor, "hello wrold←←←⌫⌫orⒺ!");
        assert_eq!(text(&editor), "hello orold!|");
        press(&mut editor, "Ⓦworld");
        assert_eq!(text(&editor), "hello world|");
        press(&mut editor, "ⓊⓎⓎ");
        assert_eq!(text(&editor), "hello worldhello world|");
        assert_eq!(press(&mut editor, "\n"), Typed::Line("hello worldhello world".into()));
        assert_eq!(text(&editor), "|");
        assert_eq!(press(&mut editor, "Ⓓ"), Typed::End);
    }

    #[test]
    fn what_is_offered_is_replaced_by_text_and_mended_by_other_keys() {
        let mut editor = Editor::new();
        editor.offer("48213-zoo-zoo-zo");
        press(&mut editor, "4");
        assert_eq!(text(&editor), "4|");
        editor.offer("48213-zoo-zoo-zo");
        editor.paste("48213-tiger-orbit-ocean");
        assert_eq!(text(&editor), "48213-tiger-orbit-ocean|");
        editor.offer("48213-zoo-zoo-zo");
        press(&mut editor, "⌫⌫oo");
        assert_eq!(text(&editor), "48213-zoo-zoo-oo|");
        editor.offer("again");
        assert_eq!(press(&mut editor, "\n"), Typed::Line("again".into()));
    }

    #[test]
    fn a_grapheme_is_one_step_and_one_deletion() {
        let mut editor = Editor::new();
        editor.paste("a👩\u{200d}👩\u{200d}👧e\u{301}你");
        press(&mut editor, "←←");
        assert_eq!(text(&editor), "a👩\u{200d}👩\u{200d}👧|e\u{301}你");
        press(&mut editor, "⌫");
        assert_eq!(text(&editor), "a|e\u{301}你");
    }

    #[test]
    fn earlier_lines_come_back_and_so_does_the_unfinished_one() {
        let mut editor = Editor::new();
        press(&mut editor, "one\ntwo\ntwo\nthr");
        press(&mut editor, "↑");
        assert_eq!(text(&editor), "two|");
        press(&mut editor, "↑↑↑");
        assert_eq!(text(&editor), "one|");
        press(&mut editor, "↓↓");
        assert_eq!(text(&editor), "thr|");
    }

    #[test]
    fn tab_goes_as_far_as_the_names_agree_and_then_tells_them() {
        let mut editor = Editor::new();
        press(&mut editor, "C\t");
        assert_eq!(text(&editor), "Cem: |");
        press(&mut editor, "ⓊB\t");
        assert_eq!(text(&editor), "Bob|");
        assert_eq!(press(&mut editor, "\t"), Typed::Choices(vec!["Bob:".into(), "Bobby:".into()]));
        press(&mut editor, "Ⓤx\t");
        assert_eq!(text(&editor), "x|");
    }

    #[test]
    fn a_paste_is_one_line_without_escapes_and_no_longer_than_a_packet() {
        let mut editor = Editor::new();
        assert_eq!(editor.paste("two\nlines\x1b[31m\r\n"), Typed::Edited);
        assert_eq!(text(&editor), "two lines\u{fffd}[31m|");
        editor.set("");
        assert_eq!(editor.paste(&"é".repeat(10_000)), Typed::Overfull);
        assert_eq!(editor.line.len(), LONGEST - 1);
    }

    #[test]
    fn only_the_part_around_the_cursor_is_shown_when_there_is_no_room() {
        let mut editor = Editor::new();
        editor.paste("0123456789你好");
        assert_eq!(editor.visible(6), ("9你好".into(), String::new()));
        press(&mut editor, "Ⓐ");
        assert_eq!(editor.visible(6), (String::new(), "012345".into()));
        press(&mut editor, "Ⓔ←");
        assert_eq!(editor.visible(6), ("789你".into(), String::new()));
        assert_eq!(editor.visible(0), (String::new(), String::new()));
    }
}
