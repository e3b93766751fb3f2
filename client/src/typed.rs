//! What the user types: chat, or a command after a slash. Read by a thread of its own, because a terminal can only
//! be waited for.

use std::io::{self, BufRead, IsTerminal};
use std::thread;

use tokio::sync::mpsc;
use vc_core::protocol::text::MAX_CHAT;

use crate::config::nearest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Say(String),
    Mute(bool),
    Deafen(bool),
    Peers,
    Help,
    Quit,
    /// Neither sent nor done; the sentence says why.
    Nonsense(String),
    /// Nothing more will be typed.
    End,
}

impl Typed {
    /// `None` for an empty line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.trim().is_empty() {
            return None;
        }
        // A second slash says a line that begins with one.
        let command = match line.strip_prefix('/') {
            None => return Some(said(line)),
            Some(rest) if rest.starts_with('/') => return Some(said(rest)),
            Some(command) => command.trim(),
        };
        Some(match command {
            "mute" => Self::Mute(true),
            "unmute" => Self::Mute(false),
            "deafen" => Self::Deafen(true),
            "undeafen" => Self::Deafen(false),
            "peers" => Self::Peers,
            "help" => Self::Help,
            "quit" => Self::Quit,
            _ => unknown(command),
        })
    }
}

/// Lines from stdin until its end.
pub(crate) fn lines() -> mpsc::Receiver<Typed> {
    let (to, lines) = mpsc::channel(QUEUE);
    let reader = thread::Builder::new().name("stdin".into()).stack_size(STACK);
    // Without this thread one can listen but not type; the call is worth more than the error.
    let _ = reader.spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Some(typed) = next(&mut stdin) {
            let end = typed == Typed::End;
            if to.blocking_send(typed).is_err() || end {
                return;
            }
        }
    });
    lines
}

/// Whether a person types, who means to leave with Ctrl-D.
pub(crate) fn on_terminal() -> bool {
    io::stdin().is_terminal()
}

/// The commands, for `/help`.
pub(crate) const HELP: &str = "\
just type to chat
  /mute, /unmute       your microphone
  /deafen, /undeafen   what you hear
  /peers               who is here, and by which path
  /quit                leave (so do Ctrl-C and Ctrl-D)
  //text               say /text";

fn next(stdin: &mut impl BufRead) -> Option<Typed> {
    loop {
        let typed = match line(stdin) {
            Ok(Line::Text(text)) => Typed::parse(&text),
            Ok(Line::TooLong) => Some(too_long()),
            Ok(Line::NotText) => {
                Some(Typed::Nonsense("That line is not UTF-8 text and was not sent.".into()))
            }
            Ok(Line::End) | Err(_) => return Some(Typed::End),
        };
        if typed.is_some() {
            return typed;
        }
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

fn said(text: &str) -> Typed {
    if text.len() > MAX_CHAT { too_long() } else { Typed::Say(text.to_owned()) }
}

fn too_long() -> Typed {
    Typed::Nonsense(format!("That line is longer than {MAX_CHAT} bytes and was not sent. Split it."))
}

fn unknown(command: &str) -> Typed {
    let word = vc_core::protocol::text::name(command);
    Typed::Nonsense(match nearest(command, COMMANDS.into_iter()) {
        Some(near) => format!("There is no /{word}. Did you mean /{near}?"),
        None => format!("There is no /{word}. /help lists the commands."),
    })
}

const COMMANDS: [&str; 7] = ["mute", "unmute", "deafen", "undeafen", "peers", "help", "quit"];
/// A paste of many lines waits in the pipe, not in our memory.
const QUEUE: usize = 16;
/// The longest line that could become chat or a command, with its slash and line end.
const MAX_LINE: usize = MAX_CHAT + 3;
/// The thread only moves bytes.
const STACK: usize = 128 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Typed> {
        let mut stdin = io::BufReader::with_capacity(7, bytes);
        let mut lines = Vec::new();
        while lines.last() != Some(&Typed::End) {
            lines.extend(next(&mut stdin));
        }
        lines
    }

    fn nonsense(typed: Option<Typed>) -> String {
        let Some(Typed::Nonsense(why)) = typed else { panic!("{typed:?}") };
        why
    }

    #[test]
    fn lines_are_chat_and_slashes_are_commands() {
        let lines = all(b"hello\r\n\n  \n/mute\n//mute\n/ quit \nlast");
        let said = |text: &str| Typed::Say(text.into());
        assert_eq!(
            lines,
            [said("hello"), Typed::Mute(true), said("/mute"), Typed::Quit, said("last"), Typed::End]
        );
    }

    #[test]
    fn an_unknown_command_names_the_nearest_one() {
        assert_eq!(nonsense(Typed::parse("/mtue")), "There is no /mtue. Did you mean /mute?");
        assert_eq!(nonsense(Typed::parse("/exit")), "There is no /exit. /help lists the commands.");
        assert!(!nonsense(Typed::parse("/\u{1b}[2J")).contains('\u{1b}'));
    }

    #[test]
    fn a_line_too_long_for_one_packet_is_refused_and_the_next_one_works() {
        let mut bytes = vec![b'x'; MAX_CHAT];
        bytes.push(b'\n');
        bytes.extend(vec![b'y'; MAX_CHAT + 1]);
        bytes.push(b'\n');
        bytes.extend(vec![b'z'; 1_000_000]);
        bytes.extend(b"\nok\n");
        let lines = all(&bytes);
        assert_eq!(lines[0], Typed::Say("x".repeat(MAX_CHAT)));
        assert_eq!(lines[1], too_long());
        assert_eq!(lines[2], too_long());
        assert_eq!(lines[3], Typed::Say("ok".into()));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let lines = all(b"\xff\xfe\nok\n");
        assert!(matches!(&lines[0], Typed::Nonsense(_)));
        assert_eq!(lines[1], Typed::Say("ok".into()));
    }
}
