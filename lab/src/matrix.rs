//! Every kind of access with every other, a few calls at a time, and the table of what they reached.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::cell::{self, Outcome, Pair};
use crate::nat::Kind;
use crate::predict::Way;
use crate::report::{percentile, say};
use crate::wire::Quality;
use crate::world::Programs;

pub(crate) struct Plan {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) times: usize,
    pub(crate) jobs: usize,
    pub(crate) quality: Option<Quality>,
    /// Not worth it for single pairs.
    pub(crate) table: bool,
}

/// True if every call reached what was predicted.
pub(crate) fn run(programs: &Programs, plan: &Plan) -> bool {
    let start = Instant::now();
    let calls: Vec<Pair> =
        plan.pairs.iter().flat_map(|pair| std::iter::repeat_n(*pair, plan.times)).collect();
    let outcomes: Vec<(Pair, Outcome)> = each(&calls, plan.jobs, |pair| {
        let outcome = cell::run(programs, *pair, plan.quality);
        tell(*pair, &outcome);
        (*pair, outcome)
    });
    if plan.table {
        table(&outcomes);
    }
    summary(&outcomes);
    let bad = outcomes.iter().filter(|(_, outcome)| !outcome.fits()).count();
    say(&format!(
        "\n{} calls in {:.0} s; {bad} differ from the prediction.",
        outcomes.len(),
        start.elapsed().as_secs_f64()
    ));
    bad == 0
}

/// `work` on each of `items`, `jobs` at a time; the results in the order of the items.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], jobs: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(n) else { return };
                    let result = work(item);
                    results.lock().expect("no holder panics").push((n, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no holder panics");
    results.sort_unstable_by_key(|(n, _)| *n);
    results.into_iter().map(|(_, result)| result).collect()
}

fn tell(pair: Pair, outcome: &Outcome) {
    let ms = |value: Option<u64>| value.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let mark = if outcome.fits() { "ok " } else { "NOT" };
    let rungs = outcome.rungs.clone().map(|rung| rung.unwrap_or("none".to_owned()));
    let mut line = format!(
        "{mark} {:<17} predicted {:<10} reached {:<6}/{:<6} voice {:>8}, settled {:>8}",
        pair.to_string(),
        outcome.predicted,
        rungs[0],
        rungs[1],
        ms(outcome.voice),
        ms(outcome.settled)
    );
    if let Some(trouble) = outcome.trouble.as_ref().filter(|_| !outcome.fits()) {
        line += &format!("\n      {trouble}");
    }
    say(&line);
}

/// Creators down, joiners across; an exclamation mark where the prediction differs.
fn table(outcomes: &[(Pair, Outcome)]) {
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| outcomes.iter().any(|(pair, _)| matches!(pair, Pair::Apart(a, _) if a == kind)))
        .collect();
    let mut header = String::from("\n| creator \\ joiner |");
    kinds.iter().for_each(|kind| header += &format!(" {} |", kind.name()));
    say(&header);
    say(&format!("|---|{}", "---|".repeat(kinds.len())));
    for a in &kinds {
        let mut line = format!("| {} |", a.name());
        for b in &kinds {
            let mut reached: BTreeMap<String, usize> = BTreeMap::new();
            for (_, outcome) in outcomes.iter().filter(|(pair, _)| *pair == Pair::Apart(*a, *b)) {
                let voice = if outcome.voice.is_some() { "" } else { " (mute)" };
                let mark = if outcome.fits() { "" } else { "!" };
                *reached.entry(format!("{}{voice}{mark}", outcome.reached())).or_default() += 1;
            }
            let text: Vec<String> = reached
                .iter()
                .map(
                    |(rung, n)| {
                        if *n > 1 || reached.len() > 1 { format!("{rung} {n}") } else { rung.clone() }
                    },
                )
                .collect();
            line += &format!(" {} |", text.join(", "));
        }
        say(&line);
    }
}

fn summary(outcomes: &[(Pair, Outcome)]) {
    say(
        "\n| predicted | calls | voice both ways | as predicted | first voice p50 / p95 / worst, ms | that rung p50 / p95 / worst, ms |",
    );
    say("|---|---|---|---|---|---|");
    let ways = [
        Some(Way::Punched),
        Some(Way::Predicted),
        Some(Way::Sprayed),
        Some(Way::Relayed),
        Some(Way::RelayedTcp),
        None,
    ];
    for way in ways {
        let these: Vec<&Outcome> = outcomes
            .iter()
            .map(|(_, outcome)| outcome)
            .filter(|outcome| way.is_none_or(|way| outcome.predicted == way))
            .collect();
        if these.is_empty() {
            continue;
        }
        let times = |value: fn(&Outcome) -> Option<u64>| {
            let mut times: Vec<u64> = these.iter().filter_map(|outcome| value(outcome)).collect();
            times.sort_unstable();
            match times.last() {
                Some(last) => format!("{} / {} / {last}", percentile(&times, 50), percentile(&times, 95)),
                None => "-".to_owned(),
            }
        };
        say(&format!(
            "| {} | {} | {} | {} | {} | {} |",
            way.map_or("all".to_owned(), |way| way.to_string()),
            these.len(),
            these.iter().filter(|outcome| outcome.voice.is_some()).count(),
            these.iter().filter(|outcome| outcome.fits()).count(),
            times(|outcome| outcome.voice),
            times(|outcome| outcome.settled),
        ));
    }
}

/// A call takes a tenth of a core, and waits most of the time.
pub(crate) const JOBS: usize = 6;
