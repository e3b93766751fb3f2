//! What is typed, from the terminal to whom it concerns.

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::supports_keyboard_enhancement;
use tokio::sync::mpsc;

use super::tty;
use crate::lines::Typed;

pub(super) enum Told {
    Event(Event),
    /// The terminal tells when a key is let go.
    Releases,
}

/// Keys, as they come, until `tell` says that nobody listens any more. Ctrl-C takes the short way: it has to work while
/// the terminal takes no output.
pub(super) fn listen(typed: &mpsc::Sender<Typed>, tell: impl Fn(Told) -> bool) {
    let mut asked = false;
    while let Ok(event) = event::read() {
        if is_interrupt(&event) {
            let _ = typed.try_send(Typed::Interrupt);
            continue;
        }
        if !tell(Told::Event(event)) {
            return;
        }
        // Here, where the answer arrives, and not before the first key that it matters to: the answer to a program that
        // has just ended would be typed to the shell. A terminal that knows of none answers the second half at once.
        if !asked && tty::reports_releases() {
            asked = true;
            if supports_keyboard_enhancement().is_ok_and(|tells| tells) && !tell(Told::Releases) {
                return;
            }
        }
    }
}

fn is_interrupt(event: &Event) -> bool {
    matches!(event, Event::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, kind: KeyEventKind::Press, .. })
        if modifiers.contains(KeyModifiers::CONTROL))
}

/// The thread only moves events.
pub(super) const STACK: usize = 256 * 1024;
