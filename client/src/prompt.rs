//! Asks for the code: a person until it can be one, a pipe once.

use vc_core::room::code::{BadCode, Code};

use crate::failure::Failure;
use crate::lines::Typed;
use crate::stop::Stop;
use crate::ui::Ui;

/// A code that can be one; nothing was sent for it yet. `None` when asked to stop instead.
pub(crate) async fn code(ui: &mut Ui, stop: &mut Stop) -> Result<Option<Code>, Failure> {
    loop {
        ui.ask_for_code();
        let typed = tokio::select! {
            typed = ui.typed() => typed,
            () = stop.asked() => Typed::Interrupt,
        };
        let problem = match typed {
            Typed::Line(line) if line.trim().is_empty() && ui.is_person() => continue,
            Typed::Line(line) => match line.parse() {
                Ok(code) => return Ok(Some(code)),
                Err(bad) => sentence(&bad),
            },
            Typed::Nonsense(_) => "It is a number and three words, or a link.".to_owned(),
            Typed::Talk(_) => continue,
            Typed::Interrupt => return Ok(None),
            Typed::End => {
                return Err(Failure::usage(
                    "No code was given.",
                    "Ask the friend who created the room for it.",
                ));
            }
        };
        if !ui.is_person() {
            return Err(Failure::usage(WRONG, problem));
        }
        ui.notice(problem);
    }
}

/// What was typed on the command line.
pub(crate) fn parse(text: &str) -> Result<Code, Failure> {
    text.parse().map_err(|bad| Failure::usage(WRONG, sentence(&bad)))
}

fn sentence(bad: &BadCode) -> String {
    let text = bad.to_string();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => text,
    }
}

const WRONG: &str = "That is not a code.";
