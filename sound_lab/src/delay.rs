//! What the buffer adds to the delay, beside the least constant delay that would have done.

use anyhow::Result;
use audio::{FrameLen, Quality};

use crate::network::{Way, way};
use crate::player::{encode, ours};
use crate::speech::said;

pub(crate) fn table() -> Result<()> {
    println!(
        "| way | frames | mean delay ms | p95 ms | late | constant delay with as much late, ms | ratio | back after at most, s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for len in [FrameLen::Ms20, FrameLen::Ms10] {
        let packets = encode(&said()?, Quality { frame: len, ..Quality::default() })?;
        for (name, kind) in WAYS {
            let frame = i64::from(len.as_millis()) * 1000;
            let count = (MINUTES * 60_000_000 / frame) as usize;
            let arrivals = way(*kind, count, frame, 7);
            let mut delays = Vec::new();
            let mut concealed = 0;
            ours(&packets, len, &arrivals.iter().map(|at| Some(*at)).collect(), |stats| {
                delays.push(stats.buffer_ms);
                concealed = stats.concealed;
            });
            let concealed_ms = concealed * u64::from(len.as_millis());
            let late = concealed_ms as f64 / (MINUTES * 60_000) as f64;
            let mut lateness: Vec<i64> =
                arrivals.iter().enumerate().map(|(i, at)| at - i as i64 * frame).collect();
            lateness.sort_unstable();
            let within = ((1.0 - late) * (lateness.len() - 1) as f64) as usize;
            let oracle = (lateness[within] - lateness[0]) as f64 / 1000.0;
            let back = longest_way_back(*kind, &delays);
            // The call's first seconds are the same for all.
            let settled = &mut delays[1_000..].to_vec();
            settled.sort_unstable();
            let mean = settled.iter().map(|ms| f64::from(*ms)).sum::<f64>() / settled.len() as f64;
            println!(
                "| {name} | {} ms | {mean:.0} | {} | {:.2} % | {oracle:.0} | {:.2} | {back} |",
                len.as_millis(),
                settled[settled.len() * 95 / 100],
                late * 100.0,
                mean / oracle.max(1.0)
            );
        }
    }
    Ok(())
}

/// Four hours with clocks that differ.
pub(crate) fn drift() -> Result<()> {
    println!("| clocks differ by | first 10 min: mean ms | last 10 min: mean ms | most ms | concealed |");
    println!("|---|---|---|---|---|");
    let packets = encode(&said()?, Quality::default())?;
    for ppm in [-100, 100] {
        let clean = way(Way::Clean, HOURS * 3600 * 50, 20_000, 3);
        let trace = clean.iter().map(|at| Some(at + at * ppm / 1_000_000)).collect();
        let (mut delays, mut concealed) = (Vec::new(), 0);
        ours(&packets, FrameLen::Ms20, &trace, |stats| {
            delays.push(stats.buffer_ms as u16);
            concealed = stats.concealed;
        });
        let mean = |part: &[u16]| part.iter().map(|ms| f64::from(*ms)).sum::<f64>() / part.len() as f64;
        println!(
            "| {ppm:+} ppm | {:.1} | {:.1} | {} | {concealed} |",
            mean(&delays[1_000..61_000]),
            mean(&delays[delays.len() - 61_000..delays.len() - 1_000]),
            delays[1_000..].iter().max().unwrap_or(&0)
        );
    }
    Ok(())
}

/// After each disturbance of a way that is quiet between them: how long until the delay is within 20 ms of what it was
/// before it, in seconds; one figure is one mixing step.
fn longest_way_back(way: Way, delays: &[u32]) -> String {
    let period = match way {
        Way::Stalls => 1_000,
        Way::Changing => 2_000,
        Way::Clean | Way::WifiLike | Way::Bad => return "-".into(),
    };
    let longest = delays[period..].windows(2 * period).step_by(period).map(|two| {
        let quiet = two[period * 6 / 10..period * 7 / 10].iter().sum::<u32>() / (period as u32 / 10);
        two[period..].iter().position(|ms| *ms <= quiet + 20).unwrap_or(period)
    });
    format!("{:.1}", longest.max().unwrap_or(0) as f64 / 100.0)
}

const MINUTES: i64 = 10;
const HOURS: usize = 4;
const WAYS: &[(&str, Way)] = &[
    ("clean", Way::Clean),
    ("Wi-Fi-like", Way::WifiLike),
    ("bad", Way::Bad),
    ("300 ms stall every 10 s", Way::Stalls),
    ("80 ms jitter for 5 s of 20", Way::Changing),
];
