//! Many more evenings than a test run has time for: `soak [--sessions N] [--from SEED]`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sim::session::{self, Outcome};

fn main() -> ExitCode {
    let (Some(sessions), Some(from)) = (option("--sessions", 10_000), option("--from", 100_000)) else {
        eprintln!("usage: soak [--sessions N] [--from SEED]");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let total = Mutex::new((Outcome::default(), 0u64));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + sessions {
                        return;
                    }
                    let started = Instant::now();
                    let outcome = session::run(seed);
                    if started.elapsed() > SLOW {
                        eprintln!("seed {seed} took {:.1} s", started.elapsed().as_secs_f32());
                    }
                    if !outcome.faults.is_empty() {
                        eprintln!("seed {seed}: {:?}", outcome.faults);
                    }
                    if let Ok(mut total) = total.lock() {
                        add(&mut total, &outcome);
                    }
                }
            });
        }
    });
    let Ok((sum, failed)) = total.into_inner() else { return ExitCode::FAILURE };
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
        began.elapsed().as_secs_f32()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn add((sum, failed): &mut (Outcome, u64), one: &Outcome) {
    *failed += u64::from(!one.faults.is_empty());
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

fn option(name: &str, default: u64) -> Option<u64> {
    let mut args = std::env::args().skip(1).skip_while(|arg| arg != name);
    match args.next() {
        Some(_) => args.next()?.parse().ok(),
        None => Some(default),
    }
}

/// In MiB; zero where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// Most take a few hundredths.
const SLOW: Duration = Duration::from_secs(5);
