//! The terminal's own settings: taken over, given back whatever happens.

use std::env;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// Asked by whoever ends the program, wherever that is.
static TAKEN: AtomicBool = AtomicBool::new(false);

pub(super) fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    // A pasted line is text, not keys: a line end in it must not send.
    write(b"\x1b[?2004h")
}

/// Whether keys are told when they are let go (the kitty keyboard protocol; other terminals pass over it), and when
/// another window takes them, which is the end of a key that is held.
static RELEASES: AtomicBool = AtomicBool::new(false);

/// Does nothing while the terminal is somebody else's: nobody would take it back.
pub(super) fn report_releases(on: bool) -> io::Result<()> {
    let out = io::stdout().lock();
    if !TAKEN.load(Ordering::SeqCst) || RELEASES.swap(on, Ordering::SeqCst) == on {
        return Ok(());
    }
    put(&out, if on { b"\x1b[>3u\x1b[?1004h" } else { b"\x1b[<u\x1b[?1004l" })
}

/// As it was before. Once; later calls do nothing.
pub(super) fn give_back() {
    // Held, so that nothing of another thread comes after it.
    let out = io::stdout().lock();
    if TAKEN.swap(false, Ordering::SeqCst) {
        if RELEASES.swap(false, Ordering::SeqCst) {
            let _ = put(&out, b"\x1b[<u\x1b[?1004l");
        }
        let _ = put(&out, b"\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?2026l\x1b[0m");
        let _ = disable_raw_mode();
    }
}

/// The same where writing might never return.
pub(super) fn give_back_quietly() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
    }
}

/// Nothing while the terminal is somebody else's.
pub(super) fn write(bytes: &[u8]) -> io::Result<()> {
    let out = io::stdout().lock();
    if TAKEN.load(Ordering::SeqCst) { put(&out, bytes) } else { Ok(()) }
}

/// All at once: std's stdout cuts what it is given behind the last line end, and for a moment the input line would be
/// gone.
#[cfg(unix)]
fn put(out: &impl std::os::fd::AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(out, bytes))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}

#[cfg(windows)]
fn put(_held: &io::StdoutLock<'_>, bytes: &[u8]) -> io::Result<()> {
    use io::Write;
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}

/// Columns and rows.
pub(crate) fn size() -> (usize, usize) {
    match crossterm::terminal::size() {
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        // A line to a terminal that does not tell; the size that all of them once had.
        _ => (80, 24),
    }
}

/// <https://no-color.org>
pub(super) fn colours() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether more than ASCII can be shown.
pub(super) fn unicode() -> bool {
    let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = text("LC_ALL").or_else(|| text("LC_CTYPE")).or_else(|| text("LANG"));
    let utf8 = |locale: String| locale.to_lowercase().replace('-', "").contains("utf8");
    cfg!(windows) || (locale.is_some_and(utf8) && env::var_os("TERM").is_none_or(|term| term != "linux"))
}

/// Whether lines are wrapped anew when the window is narrowed: nearly everywhere, but not in these.
pub(super) fn reflows() -> bool {
    let term = env::var("TERM").unwrap_or_default();
    let inside = |name| env::var_os(name).is_some();
    let screen = term.starts_with("screen") && !inside("TMUX");
    !(inside("XTERM_VERSION") || screen || term == "linux" || term.starts_with("st-"))
}

/// Stops the whole job, as Ctrl-Z does where it is no key; returns when it is continued.
#[cfg(unix)]
pub(super) fn stop() {
    let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
}

#[cfg(not(unix))]
pub(super) fn stop() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_painting_reaches_the_terminal_whole() {
        // Each write is one datagram.
        let (terminal, screen) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let painting = b"* Bob is here.\r\n  Bob direct\r\n> ";
        put(&screen, painting).unwrap();
        let mut seen = [0; 64];
        let len = terminal.recv(&mut seen).unwrap();
        assert_eq!(&seen[..len], painting);
    }

    #[test]
    fn a_terminal_that_is_not_ours_is_not_switched_to_anything() {
        assert!(report_releases(true).is_ok());
        assert!(!RELEASES.load(Ordering::SeqCst));
    }
}
