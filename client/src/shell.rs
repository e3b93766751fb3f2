//! What shells and manuals want to know, made of the very definition of the command line.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::config::{choices, keys, meaning, reason};
use crate::failure::Failure;
use crate::printer;
use crate::vocabulary;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut completed(), NAME, &mut script);
    printer::say(&String::from_utf8(script).map_err(Failure::defect)?);
    Ok(())
}

/// `voicechat.1` and a page for each command.
pub(crate) fn man(dir: &Path) -> Result<(), Failure> {
    let command = Cli::command().disable_help_subcommand(true);
    fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir)).map_err(|error| {
        Failure::machine(
            format!("The manual pages cannot be written to {} ({}).", dir.display(), reason(&error)),
            "Name a directory that is yours.",
        )
    })
}

/// The command line as shells complete it: orders and settings are commands there, the one kind of word that all of
/// them complete in every place.
fn completed() -> Command {
    let general: Vec<_> = Cli::command().get_arguments().map(|arg| arg.clone().global(false)).collect();
    let command = Cli::command().mut_args(|arg| arg.global(false)).disable_help_subcommand(true);
    // Not behind an order, where all that follows belongs to it.
    let command = command
        .mut_subcommands(|command| command.args(&general).mut_subcommands(|command| command.args(&general)));
    // As a plain word: clap's own brings all commands along.
    let help = || word("help", "The help of a command", &[]);
    let order = |(name, choices, does)| word(name, does, choices);
    let orders: Vec<_> = vocabulary::outside().map(order).collect();
    let settings = |values: bool| {
        let choices = move |key| if values { choices(key) } else { &[] };
        keys().map(move |key| word(key, &meaning(key), choices(key)))
    };
    let command = command.subcommand(help()).mut_subcommand("ctl", |ctl| taking("ctl", &ctl, orders));
    command.mut_subcommand("config", |config| {
        config
            .subcommand(help())
            .mut_subcommand("show", |show| taking("show", &show, settings(false)))
            .mut_subcommand("set", |set| taking("set", &set, settings(true)))
            .mut_subcommand("unset", |unset| taking("unset", &unset, settings(false)))
    })
}

fn word(name: &'static str, does: &str, choices: &[&'static str]) -> Command {
    let choices = choices.iter().map(|choice| Command::new(*choice).disable_help_flag(true));
    Command::new(name).about(does.to_owned()).disable_help_flag(true).subcommands(choices)
}

/// The command with these words in the place of what it is given.
fn taking(name: &'static str, command: &Command, words: impl IntoIterator<Item = Command>) -> Command {
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    let about = command.get_about().cloned().unwrap_or_default();
    Command::new(name).about(about).args(options).subcommands(words)
}

const NAME: &str = "voicechat";
