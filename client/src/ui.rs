//! Where the program speaks and listens: the live screen of a terminal, plain lines, or one JSON event per line. All
//! of it goes through a thread of its own: a terminal that stands still must not stop the voice.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::clipboard::Terminal;
use crate::failure::Failure;
use crate::lines::{self, Typed};
use crate::note::Note;
use crate::order::Answer;
use crate::words::{self, Words};

pub(crate) struct Ui {
    mode: Mode,
    printer: SyncSender<Print>,
    printed: Receiver<()>,
    /// Until nobody reads stdout any more.
    broken: Option<oneshot::Receiver<()>>,
    /// Read from the first question on.
    lines: Option<mpsc::Receiver<Typed>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Json,
    Plain,
}

enum Print {
    Out(String),
    Err(String),
}

impl Ui {
    pub(crate) fn new(mode: Mode) -> Result<Self, Failure> {
        let (printer, prints) = sync_channel(QUEUE);
        let (done, printed) = sync_channel(1);
        let (breaks, broken) = oneshot::channel();
        thread::Builder::new()
            .name("printer".into())
            .stack_size(STACK)
            .spawn(move || {
                print(&prints, breaks);
                // The other end waits only at the very end, if at all.
                let _ = done.send(());
            })
            .map_err(Failure::defect)?;
        Ok(Self { mode, printer, printed, broken: Some(broken), lines: None })
    }

    pub(crate) fn is_json(&self) -> bool {
        self.mode == Mode::Json
    }

    /// Whether somebody who can be asked again sits there.
    pub(crate) fn is_person(&self) -> bool {
        !self.is_json() && io::stdin().is_terminal()
    }

    pub(crate) fn show(&self, note: &Note) {
        match self.mode {
            Mode::Json => self.print(Print::Out(json(note))),
            Mode::Plain => {
                if let Some(words) = Words::of(note) {
                    self.words(words);
                }
            }
        }
    }

    pub(crate) fn notice(&self, message: impl Into<String>) {
        self.show(&Note::Notice { message: message.into() });
    }

    pub(crate) fn trouble(&self, message: impl Into<String>) {
        self.show(&Note::Trouble { message: message.into() });
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.show(&answer.unwrap_or_else(Note::from));
    }

    /// For one who was let in: how to let others in, in a line.
    pub(crate) fn invite_as_guest(&self, note: &Note) {
        match note {
            Note::Invite { code: Some(code), .. } if !self.is_json() => {
                self.words(words::invitation_of_a_guest(code));
            }
            _ => self.show(note),
        }
    }

    /// A way to the clipboard that only a live screen has.
    pub(crate) fn clipboard(&self) -> Option<Terminal> {
        None
    }

    /// What is asked of a person.
    pub(crate) fn ask(&self, question: &str) {
        if self.is_person() {
            self.print(Print::Out(question.to_owned()));
        }
    }

    /// What was typed next. Waits for ever after the end.
    pub(crate) async fn typed(&mut self) -> Typed {
        let lines = self.lines.get_or_insert_with(lines::lines);
        tokio::select! {
            Some(typed) = lines.recv() => typed,
            () = broken(&mut self.broken) => Typed::Interrupt,
        }
    }

    pub(crate) async fn broken(&mut self) {
        broken(&mut self.broken).await;
    }

    /// The last words, printed before this returns unless stdout is stuck.
    pub(crate) fn end(self, result: &Result<(), Failure>) {
        match result {
            Ok(()) => self.show(&Note::Ended { reason: "left", exit: 0 }),
            Err(failure) => {
                self.show(&Note::Error {
                    code: failure.kind.name(),
                    message: failure.what.clone(),
                    hint: failure.hint.clone(),
                });
                self.show(&Note::Ended { reason: failure.kind.name(), exit: failure.kind.status() });
            }
        }
        drop(self.printer);
        let _ = self.printed.recv_timeout(LAST_WORDS);
    }

    fn words(&self, words: Words) {
        if let Some(print) = plain(words) {
            self.print(print);
        }
    }

    fn print(&self, print: Print) {
        // A terminal that has stood still for so long loses lines rather than the call.
        let _ = self.printer.try_send(print);
    }
}

/// To stdout, at once; for what is printed outside a call. A reader that has gone is no error of ours.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// To stderr: what happened, what to do.
pub(crate) fn fail(failure: &Failure) {
    let _ = writeln!(io::stderr().lock(), "{failure}");
}

async fn broken(broken: &mut Option<oneshot::Receiver<()>>) {
    let Some(breaks) = broken else { return std::future::pending().await };
    let broke = breaks.await;
    *broken = None;
    if broke.is_err() {
        std::future::pending().await
    }
}

fn print(prints: &Receiver<Print>, breaks: oneshot::Sender<()>) {
    while let Ok(print) = prints.recv() {
        let written = match &print {
            Print::Out(text) => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Print::Err(text) => io::stderr().lock().write_all(text.as_bytes()),
        };
        if written.is_err() && matches!(print, Print::Out(_)) {
            let _ = breaks.send(());
            return;
        }
    }
}

fn json(note: &Note) -> String {
    #[derive(Serialize)]
    struct Stamped<'a> {
        #[serde(flatten)]
        note: &'a Note,
        ts: u64,
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ts = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut line = serde_json::to_string(&Stamped { note, ts }).unwrap_or_default();
    line.push('\n');
    line
}

/// What happens in the call on stdout, what concerns the program on stderr. Nothing for what one has typed oneself: it
/// stands there already.
fn plain(words: Words) -> Option<Print> {
    Some(match words {
        Words::Own(_) => return None,
        Words::Said { who, text } => Print::Out(format!("{who}: {text}\n")),
        Words::News(text) => Print::Out(format!("* {text}\n")),
        Words::Block(text) => Print::Out(text),
        Words::Aside(text) => Print::Err(text + "\n"),
        Words::Trouble(text) => Print::Err(format!("! {text}\n")),
    })
}

/// A minute of a lively room while the terminal stands still.
const QUEUE: usize = 1_024;
const STACK: usize = 128 * 1024;
/// A terminal that takes longer is stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_one_line_of_json_with_its_time() {
        for note in crate::note::tests::all() {
            let line = json(&note);
            assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(value["event"].is_string() && value["ts"].as_u64().unwrap() > 1_600_000_000_000);
        }
    }

    #[test]
    fn plain_words_are_whole_lines() {
        for note in crate::note::tests::all() {
            if let Some(Print::Out(text) | Print::Err(text)) = Words::of(&note).and_then(plain) {
                assert!(text.ends_with('\n') && text.trim_end().len() > 1, "{text:?}");
            }
        }
    }
}
