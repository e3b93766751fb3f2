//! What a network does to packets: which are lost, when the others arrive. Times in microseconds.

use crate::dice::Dice;

/// One packet's arrival, `None` when it is lost.
pub(crate) type Trace = Vec<Option<i64>>;

#[derive(Clone, Copy)]
pub(crate) enum Loss {
    Random(f64),
    /// Two states (Gilbert 1960), losses come in runs of this mean length.
    Bursts {
        share: f64,
        mean_ms: f64,
    },
}

/// Sent every `frame` from 0 on; each is held up by up to `jitter`, and none overtakes another.
pub(crate) fn trace(packets: usize, frame: i64, loss: Loss, jitter: f64, seed: u64) -> Trace {
    let mut dice = Dice::new(seed);
    let (mut bad, mut last) = (false, 0);
    (0..packets)
        .map(|i| {
            let lost = match loss {
                Loss::Random(share) => dice.roll() < share,
                Loss::Bursts { share, mean_ms } => {
                    let mean = (mean_ms * 1000.0 / frame as f64).max(1.0);
                    let change = if bad { 1.0 / mean } else { share / ((1.0 - share) * mean) };
                    bad ^= dice.roll() < change;
                    bad
                }
            };
            last = last.max(i as i64 * frame + (dice.roll() * jitter) as i64);
            (!lost).then_some(last)
        })
        .collect()
}

/// A way that loses nothing, by what delays it.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// A wire: half a millisecond of noise.
    Clean,
    /// Wi-Fi: a few milliseconds, and every half second or so the station is away for 20 to 60 ms.
    WifiLike,
    /// A bad hot spot: 15 ms on average, holes of up to 200 ms every two seconds.
    Bad,
    /// Held up for 300 ms every 10 s.
    Stalls,
    /// Five seconds of up to 80 ms between 15 s of quiet.
    Changing,
}

pub(crate) fn way(way: Way, packets: usize, frame: i64, seed: u64) -> Vec<i64> {
    let mut dice = Dice::new(seed);
    let (mut last, mut blocked_until, mut next_block) = (0i64, 0i64, 0i64);
    (0..packets)
        .map(|i| {
            let sent = i as i64 * frame;
            let (noise, gap, hole) = match way {
                Way::Clean => (dice.roll() * 500.0, 0.0, 0.0),
                Way::WifiLike => (dice.exponential(2_000.0), 500_000.0, 20_000.0 + 40_000.0 * dice.roll()),
                Way::Bad => (dice.exponential(15_000.0), 2_000_000.0, 200_000.0 * dice.roll()),
                Way::Stalls => (dice.exponential(1_000.0), 0.0, 0.0),
                Way::Changing if sent % 20_000_000 >= 15_000_000 => (80_000.0 * dice.roll(), 0.0, 0.0),
                Way::Changing => (dice.exponential(1_000.0), 0.0, 0.0),
            };
            if gap > 0.0 && sent >= next_block {
                blocked_until = sent + hole as i64;
                next_block = sent + dice.exponential(gap) as i64;
            }
            if let Way::Stalls = way
                && sent % 10_000_000 >= 9_700_000
            {
                blocked_until = (sent / 10_000_000 + 1) * 10_000_000;
            }
            last = last.max((sent + noise as i64).max(blocked_until));
            last
        })
        .collect()
}
