//! Lines to stdout and stderr, through a thread of its own.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::failure::Failure;

pub(crate) struct Printer {
    prints: SyncSender<Print>,
    printed: Receiver<()>,
}

pub(crate) enum Print {
    Out(String),
    Err(String),
}

impl Printer {
    /// `broken` fires when nobody reads stdout any more.
    pub(crate) fn start(broken: oneshot::Sender<()>) -> Result<Self, Failure> {
        let (printer, prints) = sync_channel(QUEUE);
        let (done, printed) = sync_channel(1);
        thread::Builder::new()
            .name("printer".into())
            .stack_size(STACK)
            .spawn(move || {
                print(&prints, broken);
                // The other end waits only at the very end, if at all.
                let _ = done.send(());
            })
            .map_err(Failure::defect)?;
        Ok(Self { prints: printer, printed })
    }

    pub(crate) fn print(&self, print: Print) {
        // A reader that has stood still for so long loses lines rather than the call.
        let _ = self.prints.try_send(print);
    }

    /// Returns when all is printed, or after `patience`.
    pub(crate) fn end(self, patience: Duration) {
        drop(self.prints);
        let _ = self.printed.recv_timeout(patience);
    }
}

fn print(prints: &Receiver<Print>, broken: oneshot::Sender<()>) {
    while let Ok(print) = prints.recv() {
        let written = match &print {
            Print::Out(text) => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Print::Err(text) => io::stderr().lock().write_all(text.as_bytes()),
        };
        if written.is_err() && matches!(print, Print::Out(_)) {
            let _ = broken.send(());
            return;
        }
    }
}

/// A minute of a lively room while the reader stands still.
const QUEUE: usize = 1_024;
const STACK: usize = 128 * 1024;
