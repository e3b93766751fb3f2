//! Many more evenings than a test run has time for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use sim::session::{self, Outcome};

/// Simulated evenings, each drawn from its seed: says which fail
#[derive(Parser)]
struct Args {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    sessions: u64,
    /// The seed of the first
    #[arg(long, value_name = "SEED", default_value_t = 100_000)]
    from: u64,
    /// Every ten seconds, the seeds that run [default: if stderr is a terminal]
    #[arg(long)]
    progress: bool,
}

/// Evenings that run, and since when.
type Running = Mutex<BTreeMap<u64, Instant>>;

fn main() -> ExitCode {
    let Args { sessions, from, progress } = Args::parse();
    let progress = progress || std::io::stderr().is_terminal();
    let began = Instant::now();
    let (next, running) = (AtomicU64::new(0), Running::default());
    let (tell, told) = mpsc::channel();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (mut sum, mut played, mut failed) = (Outcome::default(), 0, 0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let tell = tell.clone();
            let (next, running) = (&next, &running);
            scope.spawn(move || {
                loop {
                    let seed = match next.fetch_add(1, Ordering::Relaxed) {
                        // A single one is the one that was asked for.
                        0 if sessions == 1 => from,
                        n if n < sessions => session::in_a_row(from.wrapping_add(n)),
                        _ => return,
                    };
                    let outcome = play(seed, running);
                    if tell.send((seed, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut report = began + REPORT;
        loop {
            match told.recv_timeout(report.saturating_duration_since(Instant::now())) {
                Ok((seed, outcome)) => {
                    played += 1;
                    if !outcome.faults.is_empty() {
                        failed += 1;
                        eprintln!("seed {seed}: {:?}", outcome.faults);
                    }
                    add(&mut sum, &outcome);
                }
                Err(RecvTimeoutError::Timeout) => {
                    report += REPORT;
                    if progress {
                        eprintln!("{played} of {sessions}, {failed} failed; {}", now_running(&running));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    sum_up(&sum, sessions, failed, began.elapsed());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn sum_up(sum: &Outcome, sessions: u64, failed: u64, took: Duration) {
    println!(
        "soak: {sessions} sessions, {failed} failed, {} virtual hours, {} members, {} lines, {} frames, \
         at most {} wakes and {} packets a second, all heard each other {:.1} s after the last fault at most, \
         {} partings, {} lines excused between two who stayed, \
         pairs' ends {:?} direct, by a friend, by the relay, a room held {} KiB at most and {} at the end, \
         {} MiB at most, {:.0} s",
        sum.seconds / 3_600,
        sum.members,
        sum.lines,
        sum.frames,
        sum.most_wakes,
        sum.most_sent,
        sum.converged.as_secs_f32(),
        sum.departed,
        sum.excused,
        sum.rungs,
        sum.held / 1_024,
        sum.holds / 1_024,
        peak_memory(),
        took.as_secs_f32()
    );
}

fn play(seed: u64, running: &Running) -> Outcome {
    let started = Instant::now();
    running.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, started);
    let outcome = session::run(seed);
    running.lock().unwrap_or_else(PoisonError::into_inner).remove(&seed);
    if started.elapsed() > SLOW {
        eprintln!("seed {seed} took {:.1} s", started.elapsed().as_secs_f32());
    }
    outcome
}

fn now_running(running: &Running) -> String {
    let running = running.lock().unwrap_or_else(PoisonError::into_inner);
    let each =
        running.iter().map(|(seed, since)| format!("seed {seed} for {:.1} s", since.elapsed().as_secs_f32()));
    each.collect::<Vec<_>>().join(", ")
}

fn add(sum: &mut Outcome, one: &Outcome) {
    sum.members += one.members;
    sum.lines += one.lines;
    sum.frames += one.frames;
    sum.seconds += one.seconds;
    sum.most_wakes = sum.most_wakes.max(one.most_wakes);
    sum.most_sent = sum.most_sent.max(one.most_sent);
    sum.converged = sum.converged.max(one.converged);
    sum.departed += one.departed;
    sum.excused += one.excused;
    sum.held = sum.held.max(one.held);
    sum.holds = sum.holds.max(one.holds);
    sum.rungs.iter_mut().zip(one.rungs).for_each(|(sum, one)| *sum += one);
}

/// In MiB; zero where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// Most take a few hundredths.
const SLOW: Duration = Duration::from_secs(5);
/// Soon enough to see an evening that does not end.
const REPORT: Duration = Duration::from_secs(10);
