//! Lines to stdout and stderr, through a thread of its own.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::screen::{prose, size};

pub(crate) struct Printer {
    prints: SyncSender<Print>,
    printed: Receiver<io::Result<()>>,
    /// Lines that were not taken since the last one that was, and what stands in their place.
    missed: AtomicU64,
    says: fn(u64) -> Print,
}

pub(crate) enum Print {
    Out(String),
    Err(String),
}

impl Print {
    /// For people: broken between words where a terminal shows it.
    pub(crate) fn set(self) -> Self {
        match self {
            Self::Out(text) => Self::Out(set(text, &io::stdout())),
            Self::Err(text) => Self::Err(set(text, &io::stderr())),
        }
    }
}

fn set(text: String, on: &impl IsTerminal) -> String {
    if on.is_terminal() { prose(&text, size().0) } else { text }
}

impl Printer {
    /// `broken` fires when nobody reads stdout any more.
    pub(crate) fn start(broken: oneshot::Sender<()>, says: fn(u64) -> Print) -> Result<Self, Failure> {
        let (printer, prints) = sync_channel(QUEUE);
        let (done, printed) = sync_channel(1);
        thread::Builder::new()
            .name("printer".into())
            .stack_size(STACK)
            .spawn(move || {
                // The other end waits only at the very end, if at all.
                let _ = done.send(print(&prints, broken));
            })
            .map_err(Failure::defect)?;
        Ok(Self { prints: printer, printed, missed: AtomicU64::new(0), says })
    }

    pub(crate) fn print(&self, print: Print) {
        let gap = self.gap().map(|gap| self.prints.try_send(gap));
        let after_a_gap = matches!(gap, Some(Err(_)));
        // A reader that has stood still for so long loses lines rather than the call.
        if after_a_gap || matches!(self.prints.try_send(print), Err(TrySendError::Full(_))) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.missed.store(0, Ordering::Relaxed);
        }
    }

    fn gap(&self) -> Option<Print> {
        let missed = self.missed.load(Ordering::Relaxed);
        (missed > 0).then(|| (self.says)(missed))
    }

    /// Prints the `last` line after all others. Returns when that is done, or after `patience`. An error is why nothing
    /// could be printed any more, though somebody may want it.
    pub(crate) fn end(self, last: Option<Print>, patience: Duration) -> io::Result<()> {
        let until = Instant::now() + patience;
        for print in self.gap().into_iter().chain(last) {
            let mut print = Some(print);
            while let Some(again) = print.take() {
                match self.prints.try_send(again) {
                    Err(TrySendError::Full(again)) if Instant::now() < until => {
                        print = Some(again);
                        thread::sleep(AGAIN);
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }
        drop(self.prints);
        self.printed.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or(Ok(()))
    }
}

/// Whether nobody is there any more who could read: the reader of a pipe has gone, or the terminal was closed.
pub(crate) fn is_gone(error: &io::Error, was_terminal: bool) -> bool {
    #[cfg(unix)]
    let closed = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    #[cfg(not(unix))]
    let closed = false;
    error.kind() == io::ErrorKind::BrokenPipe || (closed && was_terminal)
}

fn print(prints: &Receiver<Print>, broken: oneshot::Sender<()>) -> io::Result<()> {
    // A closed one says no longer what it was.
    let was_terminal = io::stdout().is_terminal();
    while let Ok(print) = prints.recv() {
        let written = match &print {
            Print::Out(text) => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Print::Err(text) => io::stderr().lock().write_all(text.as_bytes()),
        };
        if let (Err(error), Print::Out(_)) = (written, print) {
            let _ = broken.send(());
            // Who has read enough has gone: as good as a wish to leave.
            return if is_gone(&error, was_terminal) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Prose, as [`say`] otherwise.
pub(crate) fn tell(text: &str) {
    say(&set(text.to_owned(), &io::stdout()));
}

/// To stdout, at once and exactly so; for what is printed outside a call. A reader that has gone is no error of ours.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// To stderr: what happened, what to do.
pub(crate) fn fail(failure: &Failure) {
    let _ = io::stderr().lock().write_all(set(format!("{failure}\n"), &io::stderr()).as_bytes());
}

/// A minute of a lively room while the reader stands still.
const QUEUE: usize = 1_024;
const STACK: usize = 128 * 1024;
/// Nobody sees the difference, and the reader has time to read.
const AGAIN: Duration = Duration::from_millis(5);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_nobody_took_are_counted_where_they_are_missing_and_the_last_one_comes() {
        let (prints, taken) = sync_channel(2);
        // As after the thread has ended.
        let (_, printed) = sync_channel(1);
        let says = |lines| Print::Out(format!("{lines} missed"));
        let printer = Printer { prints, printed, missed: AtomicU64::new(0), says };
        let text = |print| match print {
            Print::Out(text) | Print::Err(text) => text,
        };
        for line in ["a", "b", "c", "d"] {
            printer.print(Print::Out(line.into()));
        }
        assert_eq!([text(taken.recv().unwrap()), text(taken.recv().unwrap())], ["a", "b"]);
        printer.print(Print::Out("e".into()));
        printer.print(Print::Out("f".into()));
        let rest = thread::spawn(move || taken.iter().map(text).collect::<Vec<_>>());
        printer.end(Some(Print::Out("last".into())), Duration::from_secs(60)).unwrap();
        assert_eq!(rest.join().unwrap(), ["2 missed", "e", "1 missed", "last"]);
    }
}
