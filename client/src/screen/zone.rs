//! The rows that stay at the foot of the terminal while the conversation scrolls away above them. Every movement is
//! relative to the cursor, so nothing is asked of the terminal, and what is printed above belongs to it: it wraps,
//! reflows, scrolls and is copied like the output of any program.

use super::row::Row;

/// What is to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Above the input line.
    pub(super) rows: Vec<Row>,
    /// The input line, around the cursor.
    pub(super) before: Row,
    pub(super) after: Row,
}

/// What is seen now. Every change is a string of bytes to be written at once.
pub(super) struct Zone {
    shown: Option<Frame>,
    colours: bool,
    /// Whether the terminal wraps anew what is too long after it was narrowed.
    reflows: bool,
}

impl Zone {
    pub(super) fn new(colours: bool, reflows: bool) -> Self {
        Self { shown: None, colours, reflows }
    }

    /// Changes only the rows that differ.
    pub(super) fn draw(&mut self, out: &mut Vec<u8>, frame: Frame) {
        match &self.shown {
            Some(shown) if *shown == frame => return,
            Some(shown) if shown.rows.len() == frame.rows.len() => self.change(out, shown, &frame),
            _ => {
                out.extend(BEGIN);
                self.clear(out);
                self.all(out, &frame);
                out.extend(END);
            }
        }
        self.shown = Some(frame);
    }

    /// These lines go into the conversation.
    pub(super) fn print(&mut self, out: &mut Vec<u8>, lines: &[Row], frame: Frame) {
        out.extend(BEGIN);
        self.clear(out);
        for line in lines {
            line.write(out, self.colours);
            out.extend(b"\r\n");
        }
        self.all(out, &frame);
        out.extend(END);
        self.shown = Some(frame);
    }

    /// Leaves the cursor where the zone began.
    pub(super) fn erase(&mut self, out: &mut Vec<u8>) {
        self.clear(out);
        self.shown = None;
    }

    /// The terminal has another width now, and may have wrapped what is shown.
    pub(super) fn resized(&mut self, out: &mut Vec<u8>, width: usize) {
        if let Some(shown) = self.shown.take() {
            let wrapped =
                |columns: usize| if self.reflows { columns.saturating_sub(1) / width.max(1) } else { 0 };
            let above: usize = shown.rows.iter().map(|row| 1 + wrapped(row.width())).sum();
            let within = if self.reflows { shown.before.width() / width.max(1) } else { 0 };
            clear(out, above + within);
        }
    }

    fn clear(&self, out: &mut Vec<u8>) {
        if let Some(shown) = &self.shown {
            clear(out, shown.rows.len());
        }
    }

    fn all(&self, out: &mut Vec<u8>, frame: &Frame) {
        // Should the terminal think a character wider than we do, the row is cut rather than wrapped.
        out.extend(b"\x1b[?7l");
        for row in &frame.rows {
            row.write(out, self.colours);
            out.extend(b"\r\n");
        }
        self.input(out, frame);
        out.extend(b"\x1b[?7h");
    }

    /// The terminal itself remembers the cursor's place: it knows best how wide its characters are.
    fn input(&self, out: &mut Vec<u8>, frame: &Frame) {
        out.push(b'\r');
        frame.before.write(out, self.colours);
        out.extend(b"\x1b7");
        frame.after.write(out, self.colours);
        out.extend(b"\x1b[K\x1b8");
    }

    fn change(&self, out: &mut Vec<u8>, shown: &Frame, frame: &Frame) {
        out.extend(BEGIN);
        let count = frame.rows.len();
        if shown.rows != frame.rows {
            out.extend(b"\x1b7\x1b[?7l");
            let mut at = count;
            for (index, row) in frame.rows.iter().enumerate().rev() {
                if shown.rows.get(index) != Some(row) {
                    up(out, at - index);
                    at = index;
                    out.push(b'\r');
                    row.write(out, self.colours);
                    out.extend(b"\x1b[K");
                }
            }
            out.extend(b"\x1b[?7h\x1b8");
        }
        if (&shown.before, &shown.after) != (&frame.before, &frame.after) {
            out.extend(b"\x1b[?7l");
            self.input(out, frame);
            out.extend(b"\x1b[?7h");
        }
        out.extend(END);
    }
}

/// Of so many rows above the cursor, and all below. Not from the very corner of the window on: some terminals take
/// that for the end of a page, and keep it.
fn clear(out: &mut Vec<u8>, above: usize) {
    up(out, above);
    out.extend(b"\r\x1b[2K");
    if above > 0 {
        out.extend(b"\x1b[1B\x1b[J\x1b[1A");
    }
}

fn up(out: &mut Vec<u8>, rows: usize) {
    if rows > 0 {
        out.extend(format!("\x1b[{rows}A").bytes());
    }
}

/// Terminals that know synchronised updates show what follows in one go; the others pass over it. The cursor is not
/// seen on its way.
const BEGIN: &[u8] = b"\x1b[?2026h\x1b[?25l";
const END: &[u8] = b"\x1b[?25h\x1b[?2026l";

#[cfg(test)]
mod tests {
    use super::super::row::Ink;
    use super::*;

    /// A terminal emulator that shows what a person would see.
    struct Terminal {
        vt: vt100::Parser,
        zone: Zone,
    }

    impl Terminal {
        fn new(rows: u16, columns: u16) -> Self {
            let size = |n: u16| n.try_into().expect("a size");
            Self { vt: vt100::Parser::new(size(rows), size(columns), 1_000), zone: Zone::new(true, false) }
        }

        fn does(&mut self, act: impl FnOnce(&mut Zone, &mut Vec<u8>)) {
            let mut out = Vec::new();
            act(&mut self.zone, &mut out);
            self.vt.process(&out);
        }

        fn seen(&self) -> Vec<String> {
            let screen = self.vt.screen();
            let mut rows: Vec<String> =
                screen.rows(0, screen.size().1.into()).map(|row| row.trim_end().to_owned()).collect();
            while rows.last().is_some_and(String::is_empty) {
                rows.pop();
            }
            rows
        }
    }

    fn row(text: &str) -> Row {
        Row::new(Ink::Plain, text)
    }

    fn frame(rows: &[&str], before: &str, after: &str) -> Frame {
        Frame { rows: rows.iter().map(|text| row(text)).collect(), before: row(before), after: row(after) }
    }

    #[test]
    fn the_conversation_goes_by_above_and_the_zone_stays() {
        let mut terminal = Terminal::new(6, 20);
        terminal.vt.process(b"$ voicechat create\r\n");
        terminal.does(|zone, out| zone.draw(out, frame(&["Bob", "you"], "> ", "")));
        for n in 0..10 {
            let line = [row(&format!("line {n}"))];
            terminal.does(|zone, out| zone.print(out, &line, frame(&["Bob", "you"], "> hel", "lo")));
        }
        assert_eq!(terminal.seen(), ["line 7", "line 8", "line 9", "Bob", "you", "> hello"]);
        assert_eq!(terminal.vt.screen().cursor_position(), (5, 5));
        terminal.vt.screen_mut().set_scrollback(100);
        assert_eq!(terminal.seen()[0], "$ voicechat create");
    }

    #[test]
    fn a_changed_level_touches_neither_the_other_rows_nor_the_cursor() {
        let mut terminal = Terminal::new(6, 20);
        terminal.does(|zone, out| zone.draw(out, frame(&["Bob ..", "Cem ..", "you"], "> a", "bc")));
        let mut bytes = Vec::new();
        terminal.does(|zone, out| {
            zone.draw(out, frame(&["Bob ##", "Cem ..", "you"], "> a", "bc"));
            bytes = out.clone();
        });
        assert!(bytes.len() < 70 && !String::from_utf8_lossy(&bytes).contains("Cem"));
        assert_eq!(terminal.seen(), ["Bob ##", "Cem ..", "you", "> abc"]);
        assert_eq!(terminal.vt.screen().cursor_position(), (3, 3));
        terminal.does(|zone, out| {
            zone.draw(out, frame(&["Bob ##", "Cem ..", "you"], "> a", "bc"));
            assert!(out.is_empty());
        });
    }

    #[test]
    fn rows_come_and_go_and_nothing_stays_behind() {
        let mut terminal = Terminal::new(5, 20);
        terminal.does(|zone, out| zone.draw(out, frame(&["one"], "> ", "")));
        terminal.does(|zone, out| zone.draw(out, frame(&["one", "two", "three"], "> ", "")));
        terminal.does(|zone, out| zone.draw(out, frame(&[], "> ", "")));
        assert_eq!(terminal.seen(), [">"]);
        terminal.does(|zone, out| zone.erase(out));
        assert_eq!(terminal.seen(), [""; 0]);
    }

    #[test]
    fn a_long_line_wraps_by_itself_and_can_be_copied_whole() {
        let mut terminal = Terminal::new(8, 20);
        let long = "x".repeat(50);
        terminal.does(|zone, out| zone.draw(out, frame(&["Bob"], "> ", "")));
        terminal.does(|zone, out| zone.print(out, &[row(&long)], frame(&["Bob"], "> ", "")));
        assert!(terminal.vt.screen().row_wrapped(0) && terminal.vt.screen().row_wrapped(1));
        assert_eq!(terminal.seen()[3..], ["Bob", ">"]);
    }

    #[test]
    fn after_narrowing_the_rows_that_the_terminal_wrapped_are_erased_as_well() {
        let mut zone = Zone::new(true, true);
        zone.draw(&mut Vec::new(), frame(&["x".repeat(30).as_str(), "y"], "> ", ""));
        let mut out = Vec::new();
        zone.resized(&mut out, 20);
        assert_eq!(out, b"\x1b[3A\r\x1b[2K\x1b[1B\x1b[J\x1b[1A");
        let mut fixed = Zone::new(true, false);
        fixed.draw(&mut Vec::new(), frame(&["x".repeat(30).as_str(), "y"], "> ", ""));
        out.clear();
        fixed.resized(&mut out, 20);
        assert_eq!(out, b"\x1b[2A\r\x1b[2K\x1b[1B\x1b[J\x1b[1A");
    }
}
