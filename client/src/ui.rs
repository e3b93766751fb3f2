//! What the user reads. Plain words: what happens in the call on stdout, what concerns the program on stderr. Or one
//! JSON event per line on stdout.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::note::{Note, PeerStats, Reach, Stats};

/// Prints through a thread of its own: a terminal that is stopped by Ctrl-S must not stop the voice.
pub(crate) struct Ui {
    json: bool,
    printer: SyncSender<Print>,
    printed: Receiver<()>,
    broken: oneshot::Receiver<()>,
}

enum Print {
    Out(String),
    Err(String),
}

impl Ui {
    pub(crate) fn new(json: bool) -> Result<Self, Failure> {
        let (printer, lines) = sync_channel(QUEUE);
        let (done, printed) = sync_channel(1);
        let (breaks, broken) = oneshot::channel();
        thread::Builder::new()
            .name("printer".into())
            .stack_size(STACK)
            .spawn(move || {
                print(&lines, breaks);
                // The other end waits only at the very end, if at all.
                let _ = done.send(());
            })
            .map_err(Failure::defect)?;
        Ok(Self { json, printer, printed, broken })
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn show(&self, note: &Note) {
        let print = if self.json { Some(Print::Out(json(note))) } else { words(note) };
        if let Some(print) = print {
            // A terminal that has stood still for so long loses lines rather than the call.
            let _ = self.printer.try_send(print);
        }
    }

    pub(crate) fn notice(&self, message: impl Into<String>) {
        self.show(&Note::Notice { message: message.into() });
    }

    pub(crate) fn trouble(&self, message: impl Into<String>) {
        self.show(&Note::Trouble { message: message.into() });
    }

    /// For one who was let in: how to let others in, in a line.
    pub(crate) fn invite_as_guest(&self, note: &Note) {
        match note {
            Note::Invite { code: Some(code), .. } if !self.json => {
                let _ = self.printer.try_send(Print::Out(format!("* Others get in with {code}\n")));
            }
            _ => self.show(note),
        }
    }

    /// The answer to `/peers`.
    pub(crate) fn peers(&self, stats: Stats) {
        if self.json {
            return self.show(&Note::Stats(stats));
        }
        let lines = match stats.peers.as_slice() {
            [] => "* Nobody else is here.".to_owned(),
            peers => peers.iter().map(peer_line).collect::<Vec<_>>().join("\n"),
        };
        let _ = self.printer.try_send(Print::Out(lines + "\n"));
    }

    /// Until nobody reads stdout any more.
    pub(crate) async fn broken(&mut self) {
        if (&mut self.broken).await.is_err() {
            std::future::pending().await
        }
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

fn print(lines: &Receiver<Print>, breaks: oneshot::Sender<()>) {
    while let Ok(print) = lines.recv() {
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

/// `None` for what only programs want.
fn words(note: &Note) -> Option<Print> {
    let line = match note {
        Note::Invite { code, link, server, reach } => {
            return Some(Print::Out(invitation(code.as_deref(), link.as_deref(), server, *reach)));
        }
        Note::Serving { place, .. } => return Some(Print::Out(format!("{place}\n"))),
        Note::Chat { name, text, .. } => return Some(Print::Out(format!("{name}: {text}\n"))),
        Note::Notice { message } => return Some(Print::Err(format!("{message}\n"))),
        Note::Trouble { message } => return Some(Print::Err(format!("! {message}\n"))),
        Note::Entered { .. } => "You are in. Just type to chat, /help lists the commands.".to_owned(),
        Note::Joined { name, .. } => format!("{name} is here."),
        Note::Left { name, why, .. } => match *why {
            "timed_out" => format!("{name} has been silent for too long and is gone."),
            "kicked" => format!("{name} was removed from the room."),
            _ => format!("{name} left."),
        },
        Note::Path { name, rung, .. } => format!("{name}: {}.", path(rung)),
        Note::Undelivered { name, text, .. } => format!("{name} did not get: {text}"),
        Note::Muted { name, muted: true, .. } => format!("{name} muted the microphone."),
        Note::Muted { name, muted: false, .. } => format!("{name} can be heard again."),
        Note::Reconnecting { name, .. } => format!("Nothing comes from {name}; still trying."),
        Note::Back { name, .. } => format!("{name} is back."),
        Note::Unreachable { name, .. } => format!("No connection to {name} works so far; still trying."),
        Note::WrongCode { tries } => format!("Somebody tried to enter with wrong words ({tries} so far)."),
        Note::Locked => "Too many wrong words: this code lets nobody in any more.".to_owned(),
        Note::Signaling { up: false } => {
            "The server is lost: the call goes on, but nobody can join.".to_owned()
        }
        Note::Signaling { up: true } => "The server is back.".to_owned(),
        Note::Level { .. } | Note::Stats(_) | Note::Error { .. } | Note::Ended { .. } => return None,
    };
    Some(Print::Out(format!("* {line}\n")))
}

fn invitation(code: Option<&str>, link: Option<&str>, server: &str, reach: Reach) -> String {
    let mut text = String::new();
    if let Some(code) = code {
        text += &format!("Tell your friends this code; they type `voicechat join`, then:\n\n    {code}\n\n");
    }
    if let Some(link) = link {
        text += &format!("Or send them this link to paste there:\n\n    {link}\n\n");
    }
    let named = code.is_some_and(|code| code.contains('@'));
    text += &match reach {
        Reach::Server if named => String::new(),
        Reach::Loopback => format!(
            "Only programs on this machine reach {server}. For friends elsewhere, use a server: voicechat serve --help\n"
        ),
        Reach::Lan => format!(
            "Friends in the same network reach you at {server}. For friends elsewhere, run `voicechat serve` on a \
             machine with a public address.\n"
        ),
        Reach::Public => format!("Friends anywhere reach you at {server} if no firewall is in the way.\n"),
        Reach::Server => {
            format!("The server is {server}; a friend whose voicechat does not use it needs the link.\n")
        }
    };
    text
}

fn path(rung: &str) -> &'static str {
    match rung {
        "direct" => "connected directly",
        "host" => "connected through a friend, who cannot listen",
        "relay" => "connected through the relay, which cannot listen",
        _ => "text only so far, through the server",
    }
}

fn peer_line(peer: &PeerStats) -> String {
    let mut line = format!("* {}: {}", peer.name, peer.rung.map_or("no path yet", path));
    if let Some(rtt) = peer.rtt_ms {
        line += &format!(", {rtt:.0} ms there and back");
    }
    line += &format!(", lost {:.1} % in, {:.1} % out", peer.loss_in * 100.0, peer.loss_out * 100.0);
    if let Some(delay) = peer.sound.as_ref().and_then(|sound| sound.delay_ms) {
        line += &format!(", delay about {delay:.0} ms");
    }
    if peer.muted {
        line += ", muted";
    }
    line
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
    fn words_are_whole_lines() {
        for note in crate::note::tests::all() {
            if let Some(Print::Out(text) | Print::Err(text)) = words(&note) {
                assert!(text.ends_with('\n') && text.trim_end().len() > 1, "{text:?}");
            }
        }
    }

    #[test]
    fn an_invitation_says_plainly_who_can_follow_it() {
        let code = "48213-tiger-orbit-ocean";
        let said = |code: &str, reach| invitation(Some(code), None, "h:1", reach);
        assert!(said(code, Reach::Loopback).contains("on this machine"));
        assert!(said(code, Reach::Lan).contains("in the same network"));
        assert!(said(code, Reach::Public).contains("anywhere"));
        assert!(said(code, Reach::Server).contains("needs the link"));
        assert!(!said("48213-tiger-orbit-ocean@h:1", Reach::Server).contains("needs the link"));
    }
}
