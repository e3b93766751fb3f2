//! What shells and manuals want to know, made of the very definition of the command line.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::config::reason;
use crate::failure::Failure;
use crate::printer;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
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

const NAME: &str = "voicechat";
