//! What can be asked of the lab.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum as _};

use crate::cage::{self, Cage};
use crate::cell::Pair;
use crate::doctor;
use crate::event::{self, Event};
use crate::matrix::{self, JOBS, Plan};
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
    /// Copy what the programs of calls that went wrong have said into DIR
    #[arg(long, global = true, value_name = "DIR")]
    keep: Option<PathBuf>,
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
    /// Single pairs: CREATOR-JOINER, or `roof[-isolated][-hairpin]` for two behind one router
    Pairs {
        #[arg(required = true)]
        pairs: Vec<Pair>,
        #[command(flatten)]
        how: How,
    },
    /// Cuts, changes of network, servers that die, machines that sleep
    Events {
        /// Only these
        events: Vec<Event>,
        #[command(flatten)]
        how: event::Plan,
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
    /// Whether `voicechat doctor` behind each kind of router says what it is
    Doctor {
        /// Only these kinds
        #[arg(long, value_delimiter = ',')]
        kinds: Vec<Kind>,
    },
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
        let this = std::env::current_exe()?;
        let dir = args.programs.as_deref().or(this.parent()).unwrap_or(&this);
        Programs::in_dir(dir, args.keep.clone())
    };
    let Some(command) = args.command else { return everything(&programs()?) };
    match command {
        Command::Matrix { kinds, how } => {
            let kinds = if kinds.is_empty() { present() } else { kinds };
            Ok(matrix::run(&programs()?, &how.plan(square(&kinds), true)))
        }
        Command::Pairs { pairs, how } => Ok(matrix::run(&programs()?, &how.plan(pairs, false))),
        Command::Events { events, how } => {
            let events = if events.is_empty() { Event::value_variants() } else { &events[..] };
            Ok(event::table(&programs()?, events, &how))
        }
        Command::Room { sizes, talkers, seconds } => {
            room::table(&programs()?, &sizes, &talkers, Duration::from_secs(seconds))
        }
        Command::Short => {
            let programs = programs()?;
            let plan = Plan { pairs: SHORT.to_vec(), times: 1, jobs: 2, quality: None, table: false };
            let reached = matrix::run(&programs, &plan);
            let how = event::Plan { jobs: 2, ..event::Plan::default() };
            Ok(event::table(&programs, &[Event::Cut, Event::Rebind], &how) && reached)
        }
        Command::Kinds => probe::check(&present()),
        Command::Doctor { kinds } => {
            let kinds = if kinds.is_empty() { present() } else { kinds };
            doctor::check(&programs()?, &kinds)
        }
    }
}

fn everything(programs: &Programs) -> Result<bool> {
    let kinds = present();
    let mut good = probe::check(&kinds)?;
    let plan = Plan { pairs: square(&kinds), times: 1, jobs: JOBS, quality: None, table: true };
    good &= matrix::run(programs, &plan);
    good &= matrix::run(programs, &Plan { pairs: Pair::roofs().collect(), table: false, ..plan });
    good &=
        event::table(programs, Event::value_variants(), &event::Plan { times: 3, ..event::Plan::default() });
    Ok(good)
}

fn square(kinds: &[Kind]) -> Vec<Pair> {
    kinds.iter().flat_map(|a| kinds.iter().map(|b| Pair::Apart(*a, *b))).collect()
}

impl How {
    fn plan(&self, pairs: Vec<Pair>, table: bool) -> Plan {
        Plan { pairs, times: self.times, jobs: self.jobs, quality: self.line, table }
    }
}

/// All kinds that this machine can make.
fn present() -> Vec<Kind> {
    let daemon = std::process::Command::new("miniupnpd").arg("--help").output().is_ok();
    if !daemon {
        say("SKIPPED: routers that open ports on request, for miniupnpd is not installed.");
    }
    Kind::ALL.into_iter().filter(|kind| daemon || kind.access().opens_ports.is_none()).collect()
}

/// One of each way that friends reach each other.
const SHORT: [Pair; 7] = [
    Pair::Apart(Kind::Open, Kind::Apdf),
    Pair::Apart(Kind::Apdf, Kind::Cgnat),
    Pair::Apart(Kind::Sym, Kind::Adf),
    Pair::Apart(Kind::Sym, Kind::Sym),
    Pair::Apart(Kind::Apdf, Kind::Seq),
    Pair::Apart(Kind::Noudp, Kind::Open),
    Pair::Apart(Kind::V6, Kind::Dual),
];
/// As in automake: neither passed nor failed.
const SKIPPED: u8 = 77;
