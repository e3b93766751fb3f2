//! Lines from stdin, read by a thread of its own because a pipe can only be waited for. What they mean is order.rs.

use std::io::{self, BufRead};
use std::thread;

use tokio::sync::mpsc;
use vc_core::protocol::text::MAX_CHAT;

use crate::order::too_long;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Line(String),
    /// A line that cannot be one; the sentence says why.
    Nonsense(String),
    /// The talk key went down or up.
    Talk(bool),
    /// Ctrl-C where it is a key.
    Interrupt,
    /// Nothing more will be typed.
    End,
}

/// Lines from stdin until its end.
pub(crate) fn lines() -> mpsc::Receiver<Typed> {
    let (to, lines) = mpsc::channel(QUEUE);
    let reader = thread::Builder::new().name("stdin".into()).stack_size(STACK);
    // Without this thread one can listen but not type; the call is worth more than the error.
    let _ = reader.spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let typed = next(&mut stdin);
            let end = typed == Typed::End;
            if to.blocking_send(typed).is_err() || end {
                return;
            }
        }
    });
    lines
}

fn next(stdin: &mut impl BufRead) -> Typed {
    match line(stdin) {
        Ok(Line::Text(text)) => Typed::Line(text.trim_end_matches(['\r', '\n']).to_owned()),
        Ok(Line::TooLong) => Typed::Nonsense(too_long().why),
        Ok(Line::NotText) => Typed::Nonsense("That line is not UTF-8 text and was not sent.".into()),
        Ok(Line::End) | Err(_) => Typed::End,
    }
}

enum Line {
    Text(String),
    TooLong,
    NotText,
    End,
}

/// One line, holding no more of an endless one than could be sent.
fn line(stdin: &mut impl BufRead) -> io::Result<Line> {
    let mut bytes = Vec::new();
    let mut too_long = false;
    loop {
        let piece = match stdin.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            piece => piece?,
        };
        let (taken, whole) = match piece.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (piece.len(), false),
        };
        if taken == 0 && bytes.is_empty() && !too_long {
            return Ok(Line::End);
        }
        too_long |= bytes.len() + taken > MAX_LINE;
        if too_long {
            bytes.clear();
        } else {
            bytes.extend_from_slice(&piece[..taken]);
        }
        stdin.consume(taken);
        if whole || taken == 0 {
            return Ok(match String::from_utf8(bytes) {
                _ if too_long => Line::TooLong,
                Ok(text) => Line::Text(text),
                Err(_) => Line::NotText,
            });
        }
    }
}

/// A paste of many lines waits in the pipe, not in our memory.
pub(crate) const QUEUE: usize = 16;
/// The longest line that could become chat or a command, with its slash and line end.
const MAX_LINE: usize = MAX_CHAT + 3;
/// The thread only moves bytes.
const STACK: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Typed> {
        let mut stdin = io::BufReader::with_capacity(7, bytes);
        let mut lines = Vec::new();
        while lines.last() != Some(&Typed::End) {
            lines.push(next(&mut stdin));
        }
        lines
    }

    fn line(text: &str) -> Typed {
        Typed::Line(text.into())
    }

    #[test]
    fn lines_come_without_their_ends_and_the_last_one_needs_none() {
        assert_eq!(all(b"hello\r\n\nlast"), [line("hello"), line(""), line("last"), Typed::End]);
    }

    #[test]
    fn a_line_too_long_for_one_packet_is_refused_and_the_next_one_works() {
        let mut bytes = vec![b'z'; 1_000_000];
        bytes.extend(b"\nok\n");
        assert_eq!(all(&bytes), [Typed::Nonsense(too_long().why), line("ok"), Typed::End]);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let lines = all(b"\xff\xfe\nok\n");
        assert!(matches!(&lines[0], Typed::Nonsense(_)));
        assert_eq!(lines[1], line("ok"));
    }
}
