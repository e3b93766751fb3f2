//! How often and how soon prediction and spray lead to a direct path: `punching`. Simulated NATs, many seeds.
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::Duration;

use clap::Parser;
use sim::nat::Kind;
use sim::world::Wired;
use sim::{Profile, World};
use vc_core::io::{Config, Event, PathPolicy, Rung};

/// How often and how soon prediction and spray lead to a direct path, between simulated routers
#[derive(Parser)]
struct Args {
    /// Of each kind
    #[arg(default_value_t = SEEDS, value_parser = clap::value_parser!(u64).range(1..))]
    pairs: u64,
}

fn main() {
    let seeds = Args::parse().pairs;
    println!("{seeds} pairs each, 50 ms round trip; one side port-restricted, the other as named");
    println!("{:44} {:>7} {:>31} {:>20}", "", "direct", "s after they met: p50/p95/max", "packets: p50/max");
    let lossy = Profile { loss: 0.05, jitter: Duration::from_millis(5), ..Profile::clean(25) };
    for (name, kind, profile) in [
        ("sequential ports", Kind::SYMMETRIC.sequential(0), Profile::clean(25)),
        ("sequential ports, others take up to 3 between", Kind::SYMMETRIC.sequential(3), Profile::clean(25)),
        ("sequential ports, 5 % loss", Kind::SYMMETRIC.sequential(1), lossy),
        ("random ports", Kind::SYMMETRIC, Profile::clean(25)),
        ("random ports, 5 % loss", Kind::SYMMETRIC, lossy),
    ] {
        let runs: Vec<_> = (0..seeds).map(|seed| meet(seed, kind, profile)).collect();
        let mut times: Vec<f64> =
            runs.iter().filter_map(|(time, _)| *time).map(|t| t.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let mut packets: Vec<usize> = runs.iter().map(|(_, packets)| *packets).collect();
        packets.sort_unstable();
        let share = 100.0 * times.len() as f64 / runs.len() as f64;
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).copied();
        let [p50, p95, max] = [50, 95, 100].map(|percent| at(percent).unwrap_or(f64::NAN));
        let column = format!("{p50:.2} / {p95:.2} / {max:.2}");
        let sent = format!("{} / {}", packets[packets.len() / 2], packets[packets.len() - 1]);
        println!("{name:44} {share:>5.1} % {column:>31} {sent:>20}");
    }
}

/// From the first voice by the relay to the direct path on both sides, if it comes; and the datagrams between the two
/// houses until then.
fn meet(seed: u64, kind: Kind, profile: Profile) -> (Option<Duration>, usize) {
    let mut world = World::new(seed, profile);
    let server = world.server();
    let config = |name: &str| Config { name: name.into(), paths: PathPolicy::Auto, forward: true };
    // Either may come first.
    let mut kinds = [kind, Kind::PORT_RESTRICTED];
    if seed % 2 == 1 {
        kinds.reverse();
    }
    let places = kinds.map(|kind| world.net.site(Some(kind)));
    world.create(config("ada"), places[0], server);
    world.run(Duration::from_secs(5));
    let moment = world.dice.within(Duration::ZERO, Duration::from_secs(1));
    world.run(moment);
    let code = world.clients[0].code().expect("a room");
    world.tap = Some(Vec::new());
    world.join(config("bob"), &code, places[1], server);
    let moved = |world: &World, client: usize, wanted: Rung| {
        world.clients[client].first(|event| matches!(event, Event::Moved { rung, .. } if *rung == wanted))
    };
    world.run_till(PATIENCE, |w| (0..2).all(|n| moved(w, n, Rung::Relay).is_some()));
    let met = world.now;
    world.run_till(PATIENCE, |w| (0..2).all(|n| moved(w, n, Rung::Direct).is_some()));
    let direct = (0..2).all(|n| moved(&world, n, Rung::Direct).is_some());
    let public = places.map(|(site, _)| world.net.public(site));
    let servers = [world.servers[server].addr.ip(), world.servers[server].echoes[1].1.ip()];
    let tapped = world.tap.as_ref().expect("it was set");
    let passes = |wire| matches!(wire, Wired::Datagram { from, to } if public.contains(&to.ip()) && !servers.contains(&from.ip()));
    let packets = tapped.iter().filter(|tapped| passes(tapped.wire)).count();
    (direct.then(|| world.now - met), packets)
}

const SEEDS: u64 = 300;
/// Two tries of ours, and more.
const PATIENCE: Duration = Duration::from_secs(60);
