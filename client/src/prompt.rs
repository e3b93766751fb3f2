//! Asks for the code. On a terminal Tab completes its words; from a pipe it is the first line.

use std::io::{self, BufRead, IsTerminal, Read};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use vc_core::room::code::{BadCode, Code, completions};

use crate::failure::Failure;
use crate::ui;

/// A code that can be one; nothing was sent for it yet.
pub(crate) fn code() -> Result<Code, Failure> {
    if io::stdin().is_terminal() {
        return ask();
    }
    let mut line = Vec::new();
    // The lock's buffer is the process's: what follows the code stays there for the chat.
    let mut stdin = io::stdin().lock().take(LONGEST);
    stdin.read_until(b'\n', &mut line).map_err(Failure::defect)?;
    if line.is_empty() {
        return Err(none());
    }
    parse(&String::from_utf8_lossy(&line))
}

/// What was typed on the command line.
pub(crate) fn parse(text: &str) -> Result<Code, Failure> {
    text.parse().map_err(|bad| Failure::usage(WRONG, sentence(&bad)))
}

fn ask() -> Result<Code, Failure> {
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<Words, MemHistory> =
        Editor::with_history(config, MemHistory::new()).map_err(Failure::defect)?;
    editor.set_helper(Some(Words));
    loop {
        match editor.readline("Code: ") {
            Ok(line) => match line.parse() {
                Ok(code) => return Ok(code),
                Err(bad) => ui::say(&format!("{}\n", sentence(&bad))),
            },
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Err(none()),
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                ui::say("That is not UTF-8 text.\n");
            }
            Err(error) => return Err(Failure::defect(error)),
        }
    }
}

fn none() -> Failure {
    Failure::usage("No code was given.", "Ask the friend who created the room for it.")
}

fn sentence(bad: &BadCode) -> String {
    let text = bad.to_string();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => text,
    }
}

struct Words;

impl Completer for Words {
    type Candidate = String;

    /// After the number and a separator, the word that is being typed.
    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).unwrap_or(line);
        let Some(start) = typed.rfind(['-', ' ']).map(|dash| dash + 1) else { return Ok((at, Vec::new())) };
        let words = completions(&typed[start..]).into_iter().map(str::to_owned).collect();
        Ok((start, words))
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

const WRONG: &str = "That is not a code.";
/// Longer than any link.
const LONGEST: u64 = 1_024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tab_completes_the_word_at_the_cursor() {
        let history = MemHistory::new();
        let complete = |line: &str| Words.complete(line, line.len(), &Context::new(&history)).unwrap();
        assert_eq!(complete("48213-tige"), (6, vec!["tiger".to_owned()]));
        assert_eq!(complete("48213 tiger orbi"), (12, vec!["orbit".to_owned()]));
        assert!(complete("482").1.is_empty());
        assert_eq!(complete("48213-xq"), (6, vec![]));
    }
}
