//! A command line that cannot be meant: what clap found, as one sentence on what is wrong and one on what to do.

use std::error::Error;
use std::net::SocketAddr;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use vc_core::protocol::text::harmless;

/// Whether nothing is wrong: help was asked for, or is the answer to half a command.
pub fn is_help(error: &clap::Error) -> bool {
    !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// What is wrong with what was typed after `command`, and what to do.
pub fn told(error: &clap::Error, command: &str) -> (String, String) {
    let see = format!("`{command} --help` shows what it takes.");
    let option = option(error);
    let value = said(error, ContextKind::InvalidValue).concat();
    match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if value.is_empty() => {
            (format!("`{option}` needs a value."), takes(error).unwrap_or(see))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            (format!("`{option}` does not take `{value}`."), takes(error).unwrap_or(see))
        }
        ErrorKind::TooManyValues => (format!("`{option}` takes no value."), see),
        ErrorKind::UnknownArgument if option.starts_with('-') => {
            (format!("`{command}` has no option `{option}`."), meant(error, ContextKind::SuggestedArg, see))
        }
        ErrorKind::UnknownArgument => (format!("`{option}` is one word too many."), see),
        ErrorKind::InvalidSubcommand => {
            let unknown = said(error, ContextKind::InvalidSubcommand).concat();
            let see = format!("`{command} --help` lists the commands.");
            (format!("There is no command `{unknown}`."), meant(error, ContextKind::SuggestedSubcommand, see))
        }
        ErrorKind::MissingRequiredArgument => (format!("`{command}` needs {option} as well."), see),
        ErrorKind::ArgumentConflict => {
            let prior = bare(&said(error, ContextKind::PriorArg).join(" and "));
            let what = match prior == option {
                true => format!("`{option}` was given twice."),
                false => format!("`{option}` and `{prior}` exclude each other."),
            };
            (what, "Leave one of them out.".to_owned())
        }
        ErrorKind::InvalidUtf8 => {
            ("A word of the command line is no text (UTF-8).".to_owned(), "Type it anew.".to_owned())
        }
        _ => ("The command line cannot be understood.".to_owned(), see),
    }
}

/// What the error is about, as it is typed.
pub fn option(error: &clap::Error) -> String {
    bare(&said(error, ContextKind::InvalidArg).join(" and "))
}

/// What an option takes; its error says what that is.
pub fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "it takes an IP address and a port, such as 192.0.2.7:5000 or [::]:47700")
}

/// As [`address`].
pub fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "it takes a port, a whole number up to 65535")
}

/// What stands in the error for this, free of escapes.
fn said(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![harmless(text)],
        Some(ContextValue::Strings(texts)) => texts.iter().map(|text| harmless(text)).collect(),
        _ => Vec::new(),
    }
}

/// Without what clap says of its value: `--seconds <N>` is `--seconds`, and `<ORDER>...` is `ORDER`.
fn bare(option: &str) -> String {
    let name = match option.starts_with('-') {
        true => option.split([' ', '=', '[']).next().unwrap_or_default(),
        false => option,
    };
    name.trim_end_matches("...").replace(['<', '>'], "")
}

fn takes(error: &clap::Error) -> Option<String> {
    let valid = said(error, ContextKind::ValidValue);
    let why = match valid.split_last() {
        Some((last, others)) if !others.is_empty() => format!("it takes {} or {last}", others.join(", ")),
        _ => error.source()?.to_string(),
    };
    let mut letters = why.chars();
    let first = letters.next()?;
    Some(format!("{}{}.", first.to_uppercase(), letters.as_str().trim_end_matches('.')))
}

fn meant(error: &clap::Error, kind: ContextKind, otherwise: String) -> String {
    match said(error, kind).first() {
        Some(near) => format!("Did you mean `{}`?", bare(near)),
        None => otherwise,
    }
}
