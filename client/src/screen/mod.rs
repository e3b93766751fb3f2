//! The live screen: the conversation in the terminal's own scrollback, below it the friends and the input line. Two
//! threads: one waits for keys, the other owns the terminal. The call waits for neither.

mod editor;
mod hold;
mod keys;
mod row;
mod tty;
mod view;
mod zone;

use std::panic;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind};
use tokio::sync::{mpsc, oneshot, watch};
use vc_core::protocol::text::harmless;
use vc_core::room::code;

use self::editor::Editor;
use self::hold::Hold;
pub(crate) use self::row::prose;
use self::row::{Ink, Row};
pub(crate) use self::tty::size;
pub(crate) use self::view::Question;
use self::view::View;
use self::zone::Zone;
use crate::failure::Failure;
use crate::lines::Typed;
use crate::stats::Stats;
use crate::vocabulary;
use crate::words::Words;

/// The handle. What it is told is shown when there is time.
pub(crate) struct Screen {
    to: SyncSender<Told>,
    ended: Receiver<()>,
}

enum Told {
    Words(Words),
    Glance(Box<Stats>),
    /// The server is away, or back.
    Server {
        up: bool,
    },
    Ask(Question),
    Clipboard(String),
    Bell,
    /// For the desktop, by way of the terminal.
    Notify(String),
    Terminal(Event),
    /// Somebody stopped us and lets us go on.
    Resumed,
    /// A part of the program failed.
    Defect(String),
    End,
}

impl Screen {
    /// Takes the terminal over until `end`. `broken` fires when the terminal is gone.
    pub(crate) fn start(
        typed: mpsc::Sender<Typed>,
        talks: watch::Sender<bool>,
        broken: oneshot::Sender<()>,
    ) -> Result<Self, Failure> {
        let unusable = |error: std::io::Error| {
            Failure::machine(
                format!("The terminal cannot be used ({}).", crate::config::reason(&error)),
                "Try again with --plain.",
            )
        };
        tty::take().map_err(unusable)?;
        let (to, told) = sync_channel(QUEUE);
        let (done, ended) = sync_channel(1);
        hook(to.clone());
        let painter = Painter::new(typed.clone(), talks);
        let spawned = thread::Builder::new().name(NAME.into()).spawn(move || {
            painter.run(&told, broken);
            // The other end waits only at the very end, if at all.
            let _ = done.send(());
        });
        let told = to.clone();
        let tell = move |terminal| told.send(Told::Terminal(terminal)).is_ok();
        let listener = thread::Builder::new().name("keys".into()).stack_size(keys::STACK);
        spawned.and_then(|_| listener.spawn(move || keys::listen(&typed, tell))).map_err(Failure::defect)?;
        Ok(Self { to, ended })
    }

    pub(crate) fn words(&self, words: Words) {
        self.tell(Told::Words(words));
    }

    /// How the call is now.
    pub(crate) fn glance(&self, stats: Stats) {
        self.tell(Told::Glance(Box::new(stats)));
    }

    pub(crate) fn server(&self, up: bool) {
        self.tell(Told::Server { up });
    }

    pub(crate) fn ask(&self, question: Question) {
        self.tell(Told::Ask(question));
    }

    pub(crate) fn bell(&self) {
        self.tell(Told::Bell);
    }

    pub(crate) fn notify(&self, text: &str) {
        self.tell(Told::Notify(text.to_owned()));
    }

    pub(crate) fn resumed(&self) {
        self.tell(Told::Resumed);
    }

    pub(crate) fn clipboard(&self) -> impl FnOnce(&str) + Send + use<> {
        let to = self.to.clone();
        move |text: &str| drop(to.try_send(Told::Clipboard(text.to_owned())))
    }

    /// Gives the terminal back, waiting for it no longer than `patience`.
    pub(crate) fn end(self, patience: Duration) -> Result<(), Failure> {
        let ended = self.ended(patience);
        if ended == Err(RecvTimeoutError::Timeout) {
            tty::give_back_quietly();
        }
        crate::trace::quiet_panics();
        match ended {
            Err(RecvTimeoutError::Disconnected) => Err(Failure::defect("the screen broke off")),
            Ok(()) | Err(RecvTimeoutError::Timeout) => Ok(()),
        }
    }

    /// `Disconnected` where its thread broke off.
    fn ended(&self, patience: Duration) -> Result<(), RecvTimeoutError> {
        match self.to.try_send(Told::End) {
            Err(TrySendError::Full(_)) => Err(RecvTimeoutError::Timeout),
            Ok(()) | Err(TrySendError::Disconnected(_)) => self.ended.recv_timeout(patience),
        }
    }

    fn tell(&self, told: Told) {
        // A terminal that has stood still for so long loses lines rather than the call.
        let _ = self.to.try_send(told);
    }
}

/// What stops the program gives the terminal back first; what only stops a part of it is told on the screen.
fn hook(to: SyncSender<Told>) {
    panic::set_hook(Box::new(move |panic| {
        crate::trace::record(panic);
        let failure = Failure::defect("a part of the program stopped");
        match thread::current().name() {
            Some("main") => {
                tty::give_back();
                crate::printer::say("\n");
                crate::printer::fail(&failure);
            }
            // The call ends with it, and says so.
            Some(NAME) => {
                tty::give_back();
                crate::printer::say("\n");
            }
            _ => drop(to.try_send(Told::Defect(failure.to_string()))),
        }
    }));
}

/// Owns the terminal.
struct Painter {
    typed: mpsc::Sender<Typed>,
    /// Whether the talk key is down: only the newest counts, however busy the call is.
    talks: watch::Sender<bool>,
    zone: Zone,
    view: View,
    editor: Editor,
    size: (usize, usize),
    /// What waits to be printed above the zone.
    lines: Vec<Row>,
    /// When what has changed is to be seen; at once for what a person did.
    due: Option<Instant>,
    painted: Instant,
    /// Stopped by Ctrl-Z; awake by then if nobody could stop us.
    asleep: Option<Instant>,
    hold: Hold,
    /// The code as it was typed, to be mended.
    code: String,
    out: Vec<u8>,
}

/// The terminal is gone.
struct Gone;

impl Painter {
    fn new(typed: mpsc::Sender<Typed>, talks: watch::Sender<bool>) -> Self {
        let now = Instant::now();
        Self {
            typed,
            talks,
            zone: Zone::new(tty::colours(), tty::reflows()),
            view: View::new(tty::unicode()),
            editor: Editor::new(),
            size: tty::size(),
            lines: Vec::new(),
            due: Some(now),
            painted: now,
            asleep: None,
            hold: Hold::default(),
            code: String::new(),
            out: Vec::new(),
        }
    }

    fn run(mut self, told: &Receiver<Told>, broken: oneshot::Sender<()>) {
        let ended = self.serve(told);
        if ended.is_err() {
            let _ = broken.send(());
            tty::give_back_quietly();
        } else {
            tty::give_back();
        }
    }

    fn serve(&mut self, told: &Receiver<Told>) -> Result<(), Gone> {
        loop {
            let next = match self.due {
                Some(due) => told.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let mut next = match next {
                Ok(next) => Some(next),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Told::End),
            };
            // A burst is painted once.
            for _ in 0..BURST {
                let Some(one) = next else { break };
                if let Told::End = one {
                    return self.finish();
                }
                self.hear(one)?;
                next = told.try_recv().ok();
            }
            if let Some(last) = next {
                if let Told::End = last {
                    return self.finish();
                }
                self.hear(last)?;
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.paint()?;
            }
        }
    }

    fn hear(&mut self, told: Told) -> Result<(), Gone> {
        match told {
            Told::Words(words) => self.say(words),
            Told::Glance(stats) => {
                tty::report_releases(stats.push_to_talk).map_err(|_| Gone)?;
                self.view.stats = Some(*stats);
                self.soon(self.painted + FRAME);
            }
            Told::Server { up } => {
                self.view.alone = !up;
                self.now();
            }
            Told::Ask(question) => {
                self.view.question = question;
                if question == Question::Code {
                    self.editor.offer(&self.code);
                }
                self.now();
            }
            // Not ours to write to until we are continued.
            Told::Clipboard(_) | Told::Bell | Told::Notify(_) | Told::Terminal(_) if self.is_asleep() => {}
            Told::Clipboard(text) => {
                let base64 = data_encoding::BASE64.encode(text.as_bytes());
                self.write(format!("\x1b]52;c;{base64}\x07").as_bytes())?;
            }
            Told::Bell => self.write(b"\x07")?,
            // OSC 9 of iTerm2, which many terminals know; the others pass over it.
            Told::Notify(text) => self.write(format!("\x1b]9;{}\x07", harmless(&text)).as_bytes())?,
            Told::Terminal(event) => self.event(event)?,
            Told::Resumed => self.take_again()?,
            Told::Defect(text) => self.say(Words::Trouble(text)),
            Told::End => {}
        }
        Ok(())
    }

    fn is_asleep(&self) -> bool {
        self.asleep.is_some_and(|until| until > Instant::now())
    }

    fn event(&mut self, event: Event) -> Result<(), Gone> {
        if let Event::Key(KeyEvent { kind: KeyEventKind::Release | KeyEventKind::Repeat, .. }) = event {
            self.hold.told();
        }
        match event {
            Event::Key(key) if self.talks(&key) => Ok(()),
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            Event::Paste(text) => {
                let done = self.editor.paste(&text);
                self.typed(done)
            }
            Event::FocusLost => {
                let change = self.hold.left();
                self.talk(change);
                Ok(())
            }
            Event::Resize(..) => {
                self.now();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// With push-to-talk the space bar is the talk key while there is nothing in the input line.
    fn talks(&mut self, key: &KeyEvent) -> bool {
        let by_key = self.view.stats.as_ref().is_some_and(|stats| stats.push_to_talk);
        if !by_key || key.code != KeyCode::Char(' ') {
            return false;
        }
        // Whatever was typed or held meanwhile, one who lets go is not heard any more.
        let begins = key.modifiers.is_empty() && self.editor.is_empty();
        if key.kind != KeyEventKind::Release && !begins {
            return false;
        }
        let change = match key.kind {
            KeyEventKind::Release => self.hold.released(),
            // Each time, for as long as somebody holds it: the call may have taken it for let go.
            KeyEventKind::Press | KeyEventKind::Repeat => {
                self.hold.pressed(Instant::now());
                Some(true)
            }
        };
        self.talk(change);
        true
    }

    fn talk(&mut self, change: Option<bool>) {
        if let Some(down) = change {
            self.talks.send_replace(down);
        }
        if let Some(repeated) = self.hold.found_out() {
            self.say(Words::Aside(if repeated { hold::UNTOLD } else { hold::UNREPEATED }.into()));
        }
        if let Some(until) = self.hold.until() {
            self.soon(until);
        }
    }

    fn key(&mut self, key: KeyEvent) -> Result<(), Gone> {
        self.view.choices.clear();
        let (chatting, friends) = (self.view.question == Question::Chat, self.view.friends());
        let done = self.editor.key(key, chatting, |before| match chatting {
            true => vocabulary::completions(before, &friends),
            false => code_words(before),
        });
        self.typed(done)
    }

    fn typed(&mut self, done: editor::Typed) -> Result<(), Gone> {
        match done {
            editor::Typed::Edited => {}
            editor::Typed::Line(line) => {
                if self.view.question == Question::Code {
                    self.code.clone_from(&line);
                    self.view.question = Question::Chat;
                }
                // Waits for a program that is busy; one that has ended reads no more.
                let _ = self.typed.blocking_send(Typed::Line(line));
            }
            editor::Typed::Choices(choices) => self.view.choices = choices,
            editor::Typed::Overfull => {
                self.say(Words::Aside("More was pasted than a line holds: the rest was dropped.".into()));
            }
            editor::Typed::End => drop(self.typed.blocking_send(Typed::End)),
            editor::Typed::Redraw => {
                self.zone.erase(&mut self.out);
                self.out.extend(b"\x1b[2J\x1b[H");
            }
            editor::Typed::Suspend => {
                self.zone.erase(&mut self.out);
                self.flush()?;
                tty::give_back();
                tty::stop();
                // The other threads may be stopped before this one.
                self.asleep = Some(Instant::now() + DOZE);
                self.due = self.asleep;
                return Ok(());
            }
        }
        self.now();
        Ok(())
    }

    /// Whoever had the terminal meanwhile may have left it as it liked.
    fn take_again(&mut self) -> Result<(), Gone> {
        self.asleep = None;
        tty::give_back();
        tty::take().map_err(|_| Gone)?;
        self.zone.erase(&mut self.out);
        self.now();
        Ok(())
    }

    fn say(&mut self, words: Words) {
        let (ink, who, text) = match words {
            Words::Said { who, text } => (Ink::Bold, format!("{who}: "), text),
            Words::Own(text) => (Ink::Dim, "you: ".to_owned(), text),
            Words::News(text) => (Ink::Dim, "* ".to_owned(), text),
            Words::Answer(text) | Words::Aside(text) | Words::Block(text) => {
                (Ink::Plain, String::new(), text)
            }
            Words::Trouble(text) => (Ink::Yellow, "! ".to_owned(), text),
        };
        for (index, line) in text.trim_end_matches('\n').split('\n').enumerate() {
            let mut row = Row::new(ink, if index == 0 { &who } else { "" });
            row.push(Ink::Plain, line);
            self.lines.push(row);
        }
        self.now();
    }

    fn now(&mut self) {
        self.due = Some(Instant::now());
    }

    fn soon(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn paint(&mut self) -> Result<(), Gone> {
        match self.asleep {
            Some(until) if until > Instant::now() => {
                self.due = self.asleep;
                return Ok(());
            }
            Some(_) => self.take_again()?,
            None => {}
        }
        // Asked each time: what is drawn for the old size after the terminal took the new one would be erased wrongly.
        let size = tty::size();
        if size != self.size {
            self.size = size;
            self.zone.resized(&mut self.out, size.0);
        }
        let frame = self.view.frame(&self.editor, self.size);
        let lines = self.wrapped();
        if lines.is_empty() {
            self.zone.draw(&mut self.out, frame);
        } else {
            self.zone.print(&mut self.out, &lines, frame);
        }
        self.due = None;
        self.painted = Instant::now();
        let change = self.hold.passed(self.painted);
        self.talk(change);
        self.flush()
    }

    fn finish(&mut self) -> Result<(), Gone> {
        self.zone.erase(&mut self.out);
        let mut out = std::mem::take(&mut self.out);
        for line in self.wrapped() {
            line.write(&mut out, tty::colours());
            out.extend(b"\r\n");
        }
        self.write(&out)
    }

    fn wrapped(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.lines).into_iter().flat_map(|line| line.wrapped(self.size.0)).collect()
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let out = std::mem::take(&mut self.out);
        if out.is_empty() { Ok(()) } else { self.write(&out) }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Gone> {
        tty::write(bytes).map_err(|_| Gone)
    }
}

/// After the number and a separator, the word that is being typed, and the separator before the next.
fn code_words(before: &str) -> (usize, Vec<String>) {
    let Some(dash) = before.rfind(['-', ' ']) else {
        let is_number = !before.is_empty() && before.bytes().all(|byte| byte.is_ascii_digit());
        return (0, is_number.then(|| format!("{before}-")).into_iter().collect());
    };
    let start = dash + 1;
    let words = before.matches(['-', ' ']).count();
    let next = if words < code::WORDS { &before[dash..start] } else { "" };
    (start, code::completions(&before[start..]).into_iter().map(|word| format!("{word}{next}")).collect())
}

const NAME: &str = "screen";
/// A minute of a lively room while the terminal stands still.
const QUEUE: usize = 1_024;
/// Levels move no faster than an eye follows.
const FRAME: Duration = Duration::from_millis(100);
/// Being stopped takes less.
const DOZE: Duration = Duration::from_millis(300);
/// After so much that was told, what it changed is shown.
const BURST: usize = 256;

#[cfg(test)]
mod tests;
