//! What can be asked of the lab.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum as _};

use crate::cage::{self, Cage};
use crate::event::{self, Event};
use crate::matrix::{self, Plan};
use crate::nat::Kind;
use crate::probe;
use crate::report::{complain, say};
use crate::room;
use crate::wire::Quality;
use crate::world::Programs;

/// Calls between the real programs in networks of this machine's own making.
#[derive(Parser)]
struct Args {
    /// Without one: kinds, matrix and events
    #[command(subcommand)]
    command: Option<Command>,
    /// Where the programs are [default: beside this one]
    #[arg(long, global = true, value_name = "DIR")]
    programs: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Every kind of access with every other
    Matrix {
        /// Only these kinds
        #[arg(long, value_delimiter = ',')]
        kinds: Vec<Kind>,
        #[command(flatten)]
        how: How,
    },
    /// Single pairs, CREATOR-JOINER
    Pairs {
        #[arg(required = true, value_parser = pair)]
        pairs: Vec<(Kind, Kind)>,
        #[command(flatten)]
        how: How,
    },
    /// Cuts, changes of network, servers that die, machines that sleep
    Events {
        /// Only these
        events: Vec<Event>,
        #[arg(long, default_value_t = 1)]
        times: usize,
        /// Calls at the same time
        #[arg(long, default_value_t = JOBS)]
        jobs: usize,
    },
    /// What a room costs each friend
    Room {
        /// How many friends
        #[arg(long, value_delimiter = ',', default_values_t = [2, 4, 8, 16])]
        sizes: Vec<usize>,
        /// How many of them talk at once
        #[arg(long, value_delimiter = ',', default_values_t = [1, 3])]
        talkers: Vec<usize>,
        /// Measured for so long
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// A few telling pairs, a cut and a rebind: under a minute
    Short,
    /// Whether each kind of router does what its name says
    Kinds,
}

#[derive(clap::Args)]
struct How {
    /// Calls per pair
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Calls at the same time
    #[arg(long, default_value_t = JOBS)]
    jobs: usize,
    /// The line of every friend, for instance delay=12,jitter=5,loss=1
    #[arg(long)]
    line: Option<Quality>,
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    match cage::enter() {
        Ok(Cage::Done(code)) => return code,
        Ok(Cage::Refused(why)) => {
            complain(&format!("SKIPPED: no lab on this machine, {why}."));
            return ExitCode::from(SKIPPED);
        }
        Ok(Cage::Inside) => {}
        Err(error) => {
            complain(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    }
    match run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<bool> {
    let programs = || -> Result<Programs> {
        match &args.programs {
            Some(dir) => Programs::in_dir(dir),
            None => {
                let this = std::env::current_exe()?;
                Programs::in_dir(this.parent().unwrap_or(&this))
            }
        }
    };
    let Some(command) = args.command else { return everything(&programs()?) };
    match command {
        Command::Matrix { kinds, how } => {
            let kinds = if kinds.is_empty() { present() } else { kinds };
            Ok(matrix::run(&programs()?, &how.plan(square(&kinds), true)))
        }
        Command::Pairs { pairs, how } => Ok(matrix::run(&programs()?, &how.plan(pairs, false))),
        Command::Events { events, times, jobs } => {
            let events = if events.is_empty() { Event::value_variants() } else { &events[..] };
            Ok(event::table(&programs()?, events, times, jobs))
        }
        Command::Room { sizes, talkers, seconds } => {
            room::table(&programs()?, &sizes, &talkers, Duration::from_secs(seconds))
        }
        Command::Short => {
            let programs = programs()?;
            let plan = Plan { pairs: SHORT.to_vec(), times: 1, jobs: 2, quality: None, table: false };
            let reached = matrix::run(&programs, &plan);
            Ok(event::table(&programs, &[Event::Cut, Event::Rebind], 1, 2) && reached)
        }
        Command::Kinds => probe::check(&present()),
    }
}

fn everything(programs: &Programs) -> Result<bool> {
    let kinds = present();
    let mut good = probe::check(&kinds)?;
    let plan = Plan { pairs: square(&kinds), times: 1, jobs: JOBS, quality: None, table: true };
    good &= matrix::run(programs, &plan);
    good &= event::table(programs, Event::value_variants(), 3, JOBS);
    Ok(good)
}

fn square(kinds: &[Kind]) -> Vec<(Kind, Kind)> {
    kinds.iter().flat_map(|a| kinds.iter().map(|b| (*a, *b))).collect()
}

impl How {
    fn plan(&self, pairs: Vec<(Kind, Kind)>, table: bool) -> Plan {
        Plan { pairs, times: self.times, jobs: self.jobs, quality: self.line, table }
    }
}

/// All kinds that this machine can make.
fn present() -> Vec<Kind> {
    let daemon = std::process::Command::new("miniupnpd").arg("--help").output().is_ok();
    if !daemon {
        say("SKIPPED: routers that open ports on request, for miniupnpd is not installed.");
    }
    Kind::ALL.into_iter().filter(|kind| daemon || !kind.access().opens_ports).collect()
}

fn pair(text: &str) -> Result<(Kind, Kind), String> {
    let (a, b) = text.split_once('-').ok_or("a pair is CREATOR-JOINER")?;
    let kind = |text: &str| <Kind as clap::ValueEnum>::from_str(text, true);
    Ok((kind(a)?, kind(b)?))
}

/// One of each way that friends reach each other.
const SHORT: [(Kind, Kind); 5] = [
    (Kind::Open, Kind::Apdf),
    (Kind::Apdf, Kind::Cgnat),
    (Kind::Sym, Kind::Adf),
    (Kind::Sym, Kind::Sym),
    (Kind::V6, Kind::Dual),
];
/// A call takes a tenth of a core, and waits most of the time.
const JOBS: usize = 6;
/// As in automake: neither passed nor failed.
const SKIPPED: u8 = 77;
