//! `voicechat`: the command line, and the only place that chooses an exit status.

mod alert;
mod app;
mod call;
mod calm;
mod cli;
mod clipboard;
mod clock;
mod config;
mod ctl;
mod demo;
mod devices;
mod dial;
mod doctor;
mod echo;
mod failure;
mod habits;
mod host;
mod lines;
mod message;
mod mistyped;
mod names;
mod nearest;
mod network;
mod note;
mod order;
mod pins;
mod place;
mod plan;
mod portmap;
mod printer;
mod prompt;
mod report;
mod screen;
mod serve;
mod shell;
mod signal_link;
mod sockets;
mod sound;
mod spares;
mod stats;
mod status;
mod stop;
mod streams;
mod trace;
mod ui;
mod vocabulary;
mod volumes;
mod words;

use std::io::{self, IsTerminal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, Kind};
use crate::ui::{Mode, Ui};

fn main() -> ExitCode {
    trace::quiet_panics();
    trace::leave_no_core();
    match catch_unwind(AssertUnwindSafe(|| run(typed()?))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            printer::fail(&failure);
            ExitCode::from(failure.kind.status())
        }
        // The hook has said its sentence.
        Err(_) => ExitCode::from(Kind::Defect.status()),
    }
}

fn typed() -> Result<Cli, Failure> {
    let words = || std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    mistyped::understood(Cli::try_parse(), words())
}

fn run(cli: Cli) -> Result<(), Failure> {
    let mode = cli.mode();
    // It would go right through a screen.
    let through = mode == Mode::Screen && io::stderr().is_terminal();
    trace::start(cli.verbose && !through, cli.log.as_deref())?;
    match cli.command {
        None => {
            printer::tell(cli::WELCOME);
            Ok(())
        }
        Some(Command::Create { listen, call }) => {
            within(mode, async |ui| call::create(listen, call, ui).await)
        }
        Some(Command::Host { listen, address, call }) => {
            within(mode, async |ui| call::host(listen, address, call, ui).await)
        }
        Some(Command::Join { code, call }) => within(mode, async |ui| call::join(code, call, ui).await),
        Some(Command::Serve(serve)) => within(mode, async |ui| serve::run(serve, ui).await),
        Some(Command::Demo(demo)) => within(mode, async |_| demo::run(demo).await),
        Some(Command::Devices { json }) => devices::list(json).map_err(|failure| ui::told(json, failure)),
        Some(Command::Doctor(doctor)) => within(mode, async |ui| doctor::run(doctor, ui).await),
        Some(Command::Echo(echo)) => within(mode, async |ui| Box::pin(echo::run(echo, ui)).await),
        Some(Command::Ctl(ctl)) => ctl::run(ctl),
        Some(Command::Config(command)) => config::run(command),
        Some(Command::Completions { shell }) => shell::completions(shell),
        Some(Command::Man { dir }) => shell::man(&dir),
    }
}

/// One thread for everything that waits, and the last word to the user.
fn within(mode: Mode, body: impl AsyncFnOnce(&mut Ui) -> Result<(), Failure>) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::defect)?;
    let mut ui = Ui::new(mode)?;
    let result = runtime.block_on(body(&mut ui));
    let result = ui.end(result);
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    result
}
