//! What a room of friends costs each of them: processor time, memory and packets, read from the kernel.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::call::{Call, Friend, unix_ms};
use crate::nat::Kind;
use crate::report::say;
use crate::servers::Servers;
use crate::world::{Programs, Seat, World};

/// True if everybody heard everybody who talks.
pub(crate) fn table(programs: &Programs, sizes: &[usize], talkers: &[usize], span: Duration) -> Result<bool> {
    say(
        "| friends | talking | all hear all, s | pairs direct | of a talker: processor | resident, MiB | packets/s out / in | of a listener: processor | resident, MiB | packets/s out / in |",
    );
    say("|---|---|---|---|---|---|---|---|---|---|");
    for size in sizes {
        for talking in talkers.iter().filter(|talking| *talking <= size) {
            row(programs, *size, *talking, span).with_context(|| format!("{size} friends"))?;
        }
    }
    Ok(true)
}

fn row(programs: &Programs, size: usize, talking: usize, span: Duration) -> Result<()> {
    let world = World::new(programs)?;
    let servers = Servers::start(&world)?;
    let mut seats = Vec::new();
    for _ in 0..size {
        let mut site = world.site(Kind::Open)?;
        seats.push(world.seat(&mut site, None)?);
    }
    let mut call = Call::new(&world);
    let begin = unix_ms();
    let says = |n: usize| if n < talking { TONE } else { SILENCE };
    let code = call.create(&servers, &seats[0], &says(0))?;
    for (n, seat) in seats.iter().enumerate().skip(1) {
        call.join(Some(&servers), seat, &code, &says(n))?;
        call.until(PATIENCE, |friends| friends[n].log.is_inside())?;
    }
    let everyone = |friends: &[Friend]| {
        friends.iter().all(|friend| {
            let others = friends.iter().enumerate().filter(|(_, other)| other.name != friend.name);
            others.into_iter().all(|(n, other)| {
                friend.rung(&other.name).is_some() && (n >= talking || friend.hears(&other.name))
            })
        })
    };
    let met = call.watch(PATIENCE, Duration::from_millis(200), everyone)?;
    anyhow::ensure!(met, "{}", call.state());
    let took = unix_ms() - begin;
    // Joining is over, its handshakes and probes too.
    call.watch(Duration::from_secs(5), Duration::from_secs(60), |_| false)?;
    let before = costs(&call, &seats)?;
    call.watch(span, Duration::from_secs(600), |_| false)?;
    let after = costs(&call, &seats)?;
    let spent: Vec<Cost> = before.iter().zip(&after).map(|(a, b)| b.since(a, span)).collect();
    let peers = call.friends.iter().flat_map(|friend| friend.log.peers.values());
    let rungs: Vec<_> = peers.map(|peer| peer.rung.as_deref()).collect();
    let direct = rungs.iter().filter(|rung| **rung == Some("direct")).count();
    if direct < rungs.len() {
        world.keep(&format!("room{size}-{talking}"))?;
    }
    let (talkers, listeners) = spent.split_at(talking);
    say(&format!(
        "| {size} | {talking} | {:.1} | {:.0} % | {} | {} |",
        took as f64 / 1_000.0,
        100.0 * direct as f64 / rungs.len() as f64,
        mean(talkers),
        mean(listeners)
    ));
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Cost {
    /// Seconds, or the share of a core.
    processor: f64,
    resident: f64,
    out: f64,
    into: f64,
}

impl Cost {
    fn since(&self, before: &Self, span: Duration) -> Self {
        let span = span.as_secs_f64();
        Self {
            processor: (self.processor - before.processor) / span,
            resident: self.resident,
            out: (self.out - before.out) / span,
            into: (self.into - before.into) / span,
        }
    }
}

fn costs(call: &Call, seats: &[Seat]) -> Result<Vec<Cost>> {
    call.friends.iter().zip(seats).map(|(friend, seat)| cost(friend.pid(), seat)).collect()
}

fn cost(pid: u32, seat: &Seat) -> Result<Cost> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name, in brackets; times are the 14th and 15th.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).context("no such process")?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|text| text.trim().split(' ').next()?.parse::<f64>().ok())
        .context("no size")?;
    let counts = seat
        .ns
        .sh("cat /sys/class/net/eth0/statistics/tx_packets /sys/class/net/eth0/statistics/rx_packets")?;
    let counts: Vec<f64> = counts.split_whitespace().filter_map(|text| text.parse().ok()).collect();
    let [out, into] = counts[..] else { return Err(anyhow!("no counts")) };
    Ok(Cost { processor: ticks.iter().sum::<f64>() / TICKS, resident: resident / 1_024.0, out, into })
}

fn mean(costs: &[Cost]) -> String {
    if costs.is_empty() {
        return "- | - | -".to_owned();
    }
    let mean = |value: fn(&Cost) -> f64| costs.iter().map(value).sum::<f64>() / costs.len() as f64;
    format!(
        "{:.1} % | {:.1} | {:.0} / {:.0}",
        100.0 * mean(|cost| cost.processor),
        mean(|cost| cost.resident),
        mean(|cost| cost.out),
        mean(|cost| cost.into)
    )
}

/// Linux counts hundredths of a second towards programs, whatever its own clock.
const TICKS: f64 = 100.0;
const TONE: [&str; 2] = ["--input", "tone"];
const SILENCE: [&str; 2] = ["--input", "silence"];
const PATIENCE: Duration = Duration::from_secs(40);
