//! The invite to the clipboard: through a program of the desktop, else by asking the terminal.

use std::env;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::note::Note;
use crate::order::{Answer, refused};
use crate::words::barred;

/// Asks the terminal to take a text (OSC 52); there is no answer to that.
pub(crate) type Terminal = Box<dyn FnOnce(&str) + Send>;

pub(crate) fn put(invite: &Note, terminal: Option<Terminal>) -> impl Future<Output = Answer> + Send + use<> {
    let (text, barred) = match invite {
        Note::Invite { code, link, entrance, .. } => {
            (link.clone().or_else(|| code.clone()).unwrap_or_default(), barred(*entrance))
        }
        _ => (String::new(), ""),
    };
    async move {
        let answer = |message: String| {
            let message = format!("{message}\n{barred}").trim_end().to_owned();
            Ok(Note::Answer { order: Some("copy".into()), done: true, message: message.into() })
        };
        // Over ssh, the clipboard that is meant is where the terminal is.
        if env::var_os("SSH_CONNECTION").is_none() {
            for program in programs() {
                if run(program, &text).await {
                    return answer(format!("The invite is in the clipboard ({}).", program[0]));
                }
            }
        }
        match terminal {
            Some(ask) => {
                ask(&text);
                answer(format!(
                    "The terminal was asked to put this into the clipboard; not every terminal does:\n{text}"
                ))
            }
            None => Err(refused("copy", format!("There is no clipboard here; select the invite:\n{text}"))),
        }
    }
}

fn programs() -> Vec<&'static [&'static str]> {
    let on = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut programs: Vec<&[&str]> = Vec::new();
    if cfg!(target_os = "macos") {
        programs.push(&["pbcopy"]);
    } else if cfg!(windows) {
        programs.push(&["clip"]);
    }
    if on("WAYLAND_DISPLAY") {
        programs.push(&["wl-copy"]);
    }
    if on("DISPLAY") {
        programs.push(&["xclip", "-selection", "clipboard"]);
        programs.push(&["xsel", "--input", "--clipboard"]);
    }
    programs
}

/// Whether it took the text. These programs go on in the background where the desktop wants that.
async fn run(program: &[&str], text: &str) -> bool {
    let [name, arguments @ ..] = program else { return false };
    let quiet = || Stdio::null();
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::piped()).stdout(quiet()).stderr(quiet()).kill_on_drop(true);
    let Ok(mut child) = command.spawn() else { return false };
    let took = async {
        let mut stdin = child.stdin.take()?;
        stdin.write_all(text.as_bytes()).await.ok()?;
        drop(stdin);
        child.wait().await.ok()?.success().then_some(())
    };
    matches!(timeout(PATIENCE, took).await, Ok(Some(())))
}

/// A desktop that answers no sooner has other troubles.
const PATIENCE: Duration = Duration::from_secs(2);
