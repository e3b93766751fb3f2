//! How long a voice stays away when something breaks.

use std::time::Duration;

use sim::{Profile, World};

use super::{ms, secs};

/// The longest time without a frame from one to the other, in both directions, after `happens` in the midst of a talk.
pub(crate) fn gaps(
    world: &mut World,
    pair: (usize, usize),
    happens: impl FnOnce(&mut World),
) -> [Duration; 2] {
    for client in [pair.0, pair.1] {
        world.speak(client, 50 * 20);
    }
    let moment = world.dice.within(secs(5), secs(8));
    world.run(moment);
    let clock = world.clients[pair.0].spoken();
    happens(world);
    world.run(secs(15));
    [pair, (pair.1, pair.0)].map(|(by, to)| {
        let times: Vec<u32> = world.reference.heard_times(to, by).collect();
        let last = times.iter().rposition(|time| *time < clock).unwrap();
        assert!(times[times.len() - 1] > clock + 500, "voice never came back");
        let longest = times[last..].windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        Duration::from_millis(u64::from(longest) * 20)
    })
}

pub(crate) fn report(what: &str, mut gaps: Vec<Duration>, limit: Duration) {
    gaps.sort_unstable();
    let at = |share: usize| gaps[(gaps.len() - 1) * share / 100].as_millis();
    let cuts = gaps.len() / 2;
    println!(
        "{what}: {cuts} times, voice back after p50 {} ms, p95 {} ms, at most {} ms",
        at(50),
        at(95),
        at(100)
    );
    assert!(at(95) <= limit.as_millis(), "{what}");
}

/// How many cuts of each kind: `make cuts` makes a thousand.
pub(crate) fn cuts() -> u64 {
    std::env::var("CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

pub(crate) fn lines(seed: u64) -> Profile {
    Profile { jitter: ms(5), ..Profile::clean(20 + seed % 40) }
}
