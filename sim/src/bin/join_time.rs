//! How long from the code to the first voice: `join_time`. Simulated lines, 300 seeds each.
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::Duration;

use clap::Parser;
use sim::nat::Kind;
use sim::{Profile, World};
use vc_core::io::{Config, Event, PathPolicy, Time};

/// From the code to the first voice, over simulated lines and routers
#[derive(Parser)]
struct Args {}

fn main() {
    Args::parse();
    println!("milliseconds (and round trips) after the code was entered: median / 95th percentile");
    println!("{:31} {:>26} {:>26} {:>26}", "", "in the room", "first friend reached", "first voice heard");
    let lossy = Profile { loss: 0.05, jitter: Duration::from_millis(5), ..CLEAN };
    for (name, nat, profile) in [
        ("public addresses", None, CLEAN),
        ("behind port-restricted", Some(Kind::PORT_RESTRICTED), CLEAN),
        ("behind symmetric", Some(Kind::SYMMETRIC), CLEAN),
        ("public, 5 % loss", None, lossy),
        ("symmetric, 5 % loss", Some(Kind::SYMMETRIC), lossy),
    ] {
        row(name, profile, &(0..SEEDS).map(|seed| (seed, [nat, nat])).collect::<Vec<_>>());
    }
    let kinds = Kind::ALL.map(|(_, kind)| kind);
    let pairs = kinds.iter().flat_map(|a| kinds.iter().map(move |b| [*a, *b]));
    let matrix: Vec<_> = (0..).zip(pairs.cycle().take(kinds.len().pow(2) * TIMES)).collect();
    row("12 x 12 NATs", CLEAN, &matrix);
    row("12 x 12 NATs, 5 % loss", lossy, &matrix);
}

/// One line for each round trip.
fn row(name: &str, profile: Profile, runs: &[(u64, [Option<Kind>; 2])]) {
    for rtt in [20, 50, 150] {
        let profile = Profile { delay: Duration::from_millis(rtt / 2), ..profile };
        let times: Vec<[Duration; 3]> =
            runs.iter().filter_map(|(seed, nats)| join(*seed, profile, *nats)).collect();
        let column = |n: usize| {
            let mut column: Vec<u64> = times.iter().map(|t| t[n].as_millis() as u64).collect();
            column.sort_unstable();
            let at = |share: usize| column.get(column.len() * share / 100).copied().unwrap_or(0);
            let trips = |ms: u64| ms as f32 / rtt as f32;
            format!("{} ({:.1}) / {} ({:.1})", at(50), trips(at(50)), at(95), trips(at(95)))
        };
        let failed = runs.len() - times.len();
        let note = if failed > 0 { format!("  {failed} failed") } else { String::new() };
        let line = format!("{name}, {rtt} ms");
        println!("{line:31} {:>26} {:>26} {:>26}{note}", column(0), column(1), column(2));
    }
}

/// Ada talks all the time; when does Bob enter, meet her and hear her?
fn join(seed: u64, profile: Profile, nats: [Option<Kind>; 2]) -> Option<[Duration; 3]> {
    let mut world = World::new(seed, profile);
    let server = world.server();
    let config = |name: &str| Config { name: name.into(), paths: PathPolicy::Auto, forward: true };
    let at = world.net.site(nats[0]);
    let ada = world.create(config("ada"), at, server);
    world.run(Duration::from_secs(10));
    // Not in step with anything.
    let moment = world.dice.within(Duration::ZERO, Duration::from_secs(10));
    world.run(moment);
    let code = world.clients[ada].code()?;
    world.speak(ada, 50 * 60);
    let at = world.net.site(nats[1]);
    let began = world.now;
    let bob = world.join(config("bob"), &code, at, server);
    world.run_till(Duration::from_secs(30), |w| w.reference.heard > 0);
    let heard = (world.reference.heard > 0).then_some(world.now)?;
    let first = |wanted: fn(&Event) -> bool| world.clients[bob].first(wanted);
    let since = |at: Time| at - began;
    let entered = first(|e| matches!(e, Event::Entered { .. }))?;
    let met = first(|e| matches!(e, Event::Joined { .. }))?;
    Some([since(entered), since(met), since(heard)])
}

const SEEDS: u64 = 300;
/// Runs of each pair in the matrix.
const TIMES: usize = 3;
const CLEAN: Profile = Profile::clean(0);
