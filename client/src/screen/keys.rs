//! What is typed, from the terminal to whom it concerns.

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use crate::lines::Typed;

/// Keys, as they come, until `tell` says that nobody listens any more. Ctrl-C takes the short way: it has to work while
/// the terminal takes no output, so nothing is written or asked here.
pub(super) fn listen(typed: &mpsc::Sender<Typed>, tell: impl Fn(Event) -> bool) {
    while let Ok(event) = event::read() {
        if is_interrupt(&event) {
            let _ = typed.try_send(Typed::Interrupt);
            continue;
        }
        if !tell(event) {
            return;
        }
    }
}

fn is_interrupt(event: &Event) -> bool {
    matches!(event, Event::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, kind: KeyEventKind::Press, .. })
        if modifiers.contains(KeyModifiers::CONTROL))
}

/// The thread only moves events.
pub(super) const STACK: usize = 256 * 1024;
