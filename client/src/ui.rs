//! Where the program speaks and listens: the live screen of a terminal, plain lines, or one JSON event per line. All
//! of it goes through threads of their own: a terminal that stands still must not stop the voice.

use std::env;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::clipboard::Terminal;
use crate::config::reason;
use crate::failure::Failure;
use crate::lines::{self, Typed};
use crate::note::Note;
use crate::order::Answer;
use crate::printer::{self, Print, Printer};
use crate::screen::{Question, Screen};
use crate::stats::Stats;
use crate::stop::Resumed;
use crate::words::{self, Words};

pub(crate) struct Ui {
    face: Face,
    /// Fires when nobody sees the output any more.
    broken: Option<oneshot::Receiver<()>>,
    /// Read from the first question on.
    lines: Option<mpsc::Receiver<Typed>>,
    /// Whether the talk key is down, where there is a screen.
    talks: watch::Receiver<bool>,
    resumed: Resumed,
    /// For programs that look on.
    watchers: broadcast::Sender<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Json,
    Plain,
    /// Only where stdin and stdout are a terminal.
    Screen,
    /// For those who look on alone: see [`Ui::watchers`].
    Silent,
}

impl Mode {
    /// What fits to where the program runs.
    pub(crate) fn of_the_place() -> Self {
        // Whoever does not say what the terminal is, as cron or a bare ssh command, has none that draws.
        let dumb = env::var_os("TERM").map_or(cfg!(unix), |term| term.is_empty() || term == "dumb");
        if io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb {
            Self::Screen
        } else {
            Self::Plain
        }
    }
}

enum Face {
    Json(Printer),
    Plain(Printer),
    Screen(Screen),
    Silent,
}

impl Ui {
    pub(crate) fn new(mode: Mode) -> Result<Self, Failure> {
        let (breaks, broken) = oneshot::channel();
        let (talk, talks) = watch::channel(false);
        let (face, lines) = match mode {
            Mode::Json => {
                let missed = |lines| Print::Out(json(&Note::Missed { lines }));
                (Face::Json(Printer::start(breaks, missed)?), None)
            }
            Mode::Plain => {
                let missed = |lines| {
                    let words = Words::of(&Note::Missed { lines });
                    words.and_then(plain).unwrap_or(Print::Err(String::new())).set()
                };
                (Face::Plain(Printer::start(breaks, missed)?), None)
            }
            Mode::Silent => (Face::Silent, None),
            Mode::Screen => {
                let (typed, lines) = mpsc::channel(lines::QUEUE);
                (Face::Screen(Screen::start(typed, talk, breaks)?), Some(lines))
            }
        };
        Ok(Self {
            face,
            broken: Some(broken),
            lines,
            talks,
            resumed: Resumed::default(),
            watchers: broadcast::channel(BACKLOG).0,
        })
    }

    pub(crate) fn is_json(&self) -> bool {
        matches!(self.face, Face::Json(_))
    }

    pub(crate) fn is_screen(&self) -> bool {
        matches!(self.face, Face::Screen(_))
    }

    /// Whether only watchers see it.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.face, Face::Silent)
    }

    /// Whether somebody who can be asked again sits there.
    pub(crate) fn is_person(&self) -> bool {
        matches!(self.face, Face::Plain(_) | Face::Screen(_)) && io::stdin().is_terminal()
    }

    /// Every event from now on, a line of JSON each.
    pub(crate) fn watchers(&self) -> broadcast::Sender<Arc<str>> {
        self.watchers.clone()
    }

    /// Whether programs follow what goes on between the events.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_json() || self.watchers.receiver_count() > 0
    }

    /// What comes all the time and interests programs alone.
    pub(crate) fn beat(&self, note: &Note) {
        if self.is_json() {
            return self.show(note);
        }
        self.pass_on(note);
    }

    fn pass_on(&self, note: &Note) {
        if self.watchers.receiver_count() > 0 {
            // They may all have gone just now.
            let _ = self.watchers.send(json(note).into());
        }
    }

    pub(crate) fn show(&self, note: &Note) {
        self.record(note);
        self.speak(note);
    }

    /// Only for programs.
    pub(crate) fn record(&self, note: &Note) {
        self.pass_on(note);
        if let Face::Json(printer) = &self.face {
            printer.print(Print::Out(json(note)));
        }
    }

    /// Only for people.
    pub(crate) fn speak(&self, note: &Note) {
        match &self.face {
            Face::Json(_) | Face::Silent => {}
            Face::Plain(_) => self.words(Words::of(note)),
            Face::Screen(screen) => match note {
                // These stand in the friend's row.
                Note::Path { .. } | Note::Muted { .. } => {}
                Note::Signaling { up, .. } => {
                    screen.server(*up);
                    self.words(Words::of(note));
                }
                _ => self.words(Words::of(note)),
            },
        }
    }

    /// To be heard by one who looks elsewhere.
    pub(crate) fn bell(&self) {
        match &self.face {
            Face::Screen(screen) => screen.bell(),
            Face::Plain(printer) if io::stdout().is_terminal() => printer.print(Print::Out("\x07".into())),
            Face::Plain(_) | Face::Json(_) | Face::Silent => {}
        }
    }

    /// A line that the next one overwrites; only where somebody watches it.
    pub(crate) fn meter(&self, text: &str) {
        if let Face::Plain(printer) = &self.face
            && io::stdout().is_terminal()
        {
            printer.print(Print::Out(format!("\r{text}\x1b[K")));
        }
    }

    /// A notification by way of the terminal, where there is no other.
    pub(crate) fn notify(&self, text: &str) {
        if let Face::Screen(screen) = &self.face {
            screen.notify(text);
        }
    }

    /// How the call is now, for those who see it.
    pub(crate) fn glance(&self, stats: Stats) {
        if let Face::Screen(screen) = &self.face {
            screen.glance(stats);
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

    /// What an order from outside did, as if it had been typed here.
    pub(crate) fn overhear(&self, note: &Note) {
        match (note, &self.face) {
            (Note::Said { text }, Face::Plain(_)) => {
                self.record(note);
                // Nobody typed it here, so it does not stand there yet.
                self.words(Some(Words::Said { who: "you".to_owned(), text: text.clone() }));
            }
            (Note::Said { .. }, _) => self.show(note),
            _ => self.speak(note),
        }
    }

    /// The last line of a call that was left, for people: how long one was in it, if one was.
    pub(crate) fn part(&self, stayed: Option<Duration>) {
        if !self.is_json() {
            self.words(Some(words::parted(stayed)));
        }
    }

    /// For one who was let in: how to let others in, in a line, with who made the code where that is news.
    pub(crate) fn invite_as_guest(&self, note: &Note, made: Option<&Note>) {
        match (note, made) {
            (Note::Invite { code: Some(code), entrance, .. }, None) if !self.is_json() => {
                self.words(Some(words::invitation_of_a_guest(code, *entrance, None)));
            }
            (Note::Invite { code: Some(code), entrance, .. }, Some(Note::NewCode { name, .. }))
                if !self.is_json() =>
            {
                self.words(Some(words::invitation_of_a_guest(code, *entrance, Some(name))));
            }
            _ => {
                made.into_iter().for_each(|made| self.speak(made));
                self.speak(note);
            }
        }
    }

    /// A way to the clipboard that only a live screen has.
    pub(crate) fn clipboard(&self) -> Option<Terminal> {
        match &self.face {
            Face::Screen(screen) => Some(Box::new(screen.clipboard())),
            Face::Json(_) | Face::Plain(_) | Face::Silent => None,
        }
    }

    /// The code, asked of a person.
    pub(crate) fn ask_for_code(&self) {
        match &self.face {
            Face::Screen(screen) => screen.ask(Question::Code),
            Face::Plain(printer) if self.is_person() => printer.print(Print::Out("Code: ".into())),
            Face::Plain(_) | Face::Json(_) | Face::Silent => {}
        }
    }

    /// What was typed next. Waits for ever after the end.
    pub(crate) async fn typed(&mut self) -> Typed {
        if self.is_silent() {
            return std::future::pending().await;
        }
        let lines = self.lines.get_or_insert_with(lines::lines);
        loop {
            tokio::select! {
                Ok(()) = self.talks.changed() => return Typed::Talk(*self.talks.borrow_and_update()),
                Some(typed) = lines.recv() => return typed,
                () = broken(&mut self.broken) => return Typed::Interrupt,
                () = self.resumed.next() => {
                    if let Face::Screen(screen) = &self.face {
                        screen.resumed();
                    }
                }
            }
        }
    }

    pub(crate) async fn broken(&mut self) {
        broken(&mut self.broken).await;
    }

    /// The last words, printed before this returns unless stdout is stuck.
    pub(crate) fn end(mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        if let Err(failure) = &result {
            self.show(&Note::from(failure));
        }
        let ended = Note::ended(&result);
        self.pass_on(&ended);
        // Whoever waits to hand in a line waits no longer.
        self.lines = None;
        let unwritten = |error| unwritten(&error);
        result.and(match self.face {
            Face::Json(printer) => printer.end(Some(Print::Out(json(&ended))), LAST_WORDS).map_err(unwritten),
            Face::Plain(printer) => printer.end(None, LAST_WORDS).map_err(unwritten),
            Face::Screen(screen) => screen.end(LAST_WORDS),
            Face::Silent => Ok(()),
        })
    }

    fn words(&self, words: Option<Words>) {
        let Some(words) = words else { return };
        match &self.face {
            Face::Json(printer) | Face::Plain(printer) => {
                if let Some(print) = plain(words) {
                    printer.print(print.set());
                }
            }
            Face::Screen(screen) => screen.words(words),
            Face::Silent => {}
        }
    }
}

async fn broken(broken: &mut Option<oneshot::Receiver<()>>) {
    let Some(breaks) = broken else { return std::future::pending().await };
    // A thread that ended without a word is as bad.
    let _ = breaks.await;
    *broken = None;
}

/// Somebody may want to read it.
pub(crate) fn unwritten(error: &io::Error) -> Failure {
    let what = format!("What this call says cannot be written ({}).", reason(error));
    Failure::machine(what, "Mend where its output goes, or leave it on the terminal.")
}

/// Outside a call: a program reads on stdout why it comes to nothing.
pub(crate) fn told(json: bool, failure: Failure) -> Failure {
    if json {
        printer::say(&self::json(&Note::from(&failure)));
    }
    failure
}

/// An event as programs read it.
#[derive(Serialize)]
pub(crate) struct Stamped<'a> {
    #[serde(flatten)]
    note: &'a Note,
    ts: u64,
}

impl<'a> Stamped<'a> {
    pub(crate) fn now(note: &'a Note) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { note, ts: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}

pub(crate) fn json(note: &Note) -> String {
    let mut line = serde_json::to_string(&Stamped::now(note)).unwrap_or_default();
    line.push('\n');
    line
}

/// What happens in the call and what was asked for on stdout, what concerns the program on stderr. Nothing for what one
/// has typed oneself: it stands there already.
fn plain(words: Words) -> Option<Print> {
    Some(match words {
        Words::Own(_) => return None,
        Words::Said { who, text } => Print::Out(format!("{who}: {text}\n")),
        Words::News(text) => Print::Out(format!("* {text}\n")),
        Words::Answer(text) => Print::Out(text + "\n"),
        Words::Block(text) => Print::Out(text),
        Words::Aside(text) => Print::Err(text + "\n"),
        Words::Trouble(text) => Print::Err(format!("! {text}\n")),
    })
}

/// Events that a watcher may lag behind, a minute of a lively room, levels among them.
const BACKLOG: usize = 1_024;
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
