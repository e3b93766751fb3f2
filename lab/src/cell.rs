//! One pair of friends, one call: by what do they reach each other, and how soon?

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::call::{Call, POLL};
use crate::nat::{Kind, Router};
use crate::predict::{Way, best};
use crate::servers::Servers;
use crate::wire::Quality;
use crate::world::{Programs, Seat, Site, World};

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    /// The creator of the room and the joiner, each at home.
    Apart(Kind, Kind),
    /// Both behind one router that maps independently.
    Roof { hairpin: bool, isolates: bool },
}

impl Pair {
    pub(crate) fn roofs() -> impl Iterator<Item = Self> {
        let choices = [(false, false), (true, false), (true, true), (false, true)];
        choices.into_iter().map(|(hairpin, isolates)| Self::Roof { hairpin, isolates })
    }

    pub(crate) fn predicted(self) -> Way {
        match self {
            Self::Apart(creator, joiner) => best(creator, joiner),
            Self::Roof { hairpin: false, isolates: true } => Way::Relayed,
            Self::Roof { .. } => Way::Punched,
        }
    }

    fn seats(self, world: &World, quality: Option<Quality>) -> Result<(Vec<Site>, [Seat; 2])> {
        match self {
            Self::Apart(creator, joiner) => {
                let (mut here, mut there) = (world.site(creator)?, world.site(joiner)?);
                let seats = [world.seat(&mut here, quality)?, world.seat(&mut there, quality)?];
                Ok((vec![here, there], seats))
            }
            Self::Roof { hairpin, isolates } => {
                let router = Router { hairpin, isolates, ..Router::default() };
                let mut roof = world.site_behind(Kind::Apdf, vec![router])?;
                let seats = [world.seat(&mut roof, quality)?, world.seat(&mut roof, quality)?];
                Ok((vec![roof], seats))
            }
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apart(creator, joiner) => write!(f, "{}-{}", creator.name(), joiner.name()),
            Self::Roof { hairpin, isolates } => {
                let isolated = if *isolates { "-isolated" } else { "" };
                let hairpin = if *hairpin { "-hairpin" } else { "" };
                write!(f, "roof{isolated}{hairpin}")
            }
        }
    }
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(roof) = Self::roofs().find(|roof| roof.to_string() == text) {
            return Ok(roof);
        }
        let (a, b) = text.split_once('-').ok_or("a pair is CREATOR-JOINER, or roof[-isolated][-hairpin]")?;
        let kind = |text: &str| <Kind as clap::ValueEnum>::from_str(text, true);
        Ok(Self::Apart(kind(a)?, kind(b)?))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) predicted: Way,
    /// By what each hears the other at the end: the creator, the joiner.
    pub(crate) rungs: [Option<String>; 2],
    /// Milliseconds from the code entered to voice heard at both ends.
    pub(crate) voice: Option<u64>,
    /// Milliseconds from the code entered to the predicted rung at both ends.
    pub(crate) settled: Option<u64>,
    pub(crate) trouble: Option<String>,
}

impl Outcome {
    pub(crate) fn fits(&self) -> bool {
        let rung = Some(self.predicted.rung());
        self.voice.is_some() && self.rungs.iter().all(|reached| reached.as_deref() == rung)
    }

    /// The lower of the two ends' rungs.
    pub(crate) fn reached(&self) -> &str {
        let order = |rung: &&str| RUNGS.iter().position(|known| known == rung);
        let rungs = self.rungs.iter().map(|rung| rung.as_deref().unwrap_or("none"));
        rungs.max_by_key(order).unwrap_or("none")
    }
}

/// Builds everything, calls, and takes everything away.
pub(crate) fn run(programs: &Programs, pair: Pair, quality: Option<Quality>) -> Outcome {
    let mut outcome = Outcome {
        predicted: pair.predicted(),
        rungs: [None, None],
        voice: None,
        settled: None,
        trouble: None,
    };
    let result = World::new(programs).and_then(|world| {
        let played = play(&world, pair, quality, &mut outcome);
        if played.is_err() || !outcome.fits() {
            world.keep(&pair.to_string())?;
        }
        played
    });
    if let Err(error) = result {
        outcome.trouble = Some(format!("{error:#}"));
    }
    outcome
}

fn play(world: &World, pair: Pair, quality: Option<Quality>, outcome: &mut Outcome) -> Result<()> {
    let servers = Servers::start(world)?;
    let (_sites, [a, b]) = pair.seats(world, quality)?;
    let mut call = Call::new(world);
    let code = call.create(&servers, &a, &[])?;
    call.join(Some(&servers), &b, &code, &[])?;
    let wanted = outcome.predicted.rung();
    let mut since: Option<Instant> = None;
    let done = call.watch(PATIENCE, POLL, |friends| {
        let [a, b] = friends else { return false };
        let there =
            a.hears("F1") && b.hears("F0") && a.rung("F1") == Some(wanted) && b.rung("F0") == Some(wanted);
        since = if there { since.or(Some(Instant::now())) } else { None };
        since.is_some_and(|since| since.elapsed() >= hold(outcome.predicted))
    })?;
    let [a, b] = &call.friends[..] else { return Ok(()) };
    outcome.rungs = [a.rung("F1"), b.rung("F0")].map(|rung| rung.map(str::to_owned));
    let asked = b.asked;
    let after = |at: Option<u64>| at.map(|at| at.saturating_sub(asked));
    let first = [a.of("F1"), b.of("F0")].map(|peer| peer.and_then(|peer| peer.first_heard));
    outcome.voice = first[0].zip(first[1]).and_then(|(a, b)| after(Some(a.max(b))));
    let last = |peer: Option<&crate::call::Peer>| peer.and_then(|peer| peer.rungs.last()).map(|(at, _)| *at);
    outcome.settled =
        last(a.of("F1")).zip(last(b.of("F0"))).and_then(|(a, b)| after(Some(a.max(b)))).filter(|_| done);
    if !done {
        outcome.trouble = Some(call.state());
    }
    Ok(())
}

/// A rung that is not the best possible must prove that it stays; one that is need not.
fn hold(way: Way) -> Duration {
    match way {
        Way::Punched | Way::Predicted | Way::Sprayed => Duration::from_millis(500),
        Way::Relayed | Way::RelayedTcp => Duration::from_secs(6),
    }
}

/// From the best to the worst.
const RUNGS: [&str; 5] = ["direct", "host", "relay", "mail", "none"];
/// All first probes of all candidates are sent within five seconds; a spray follows.
const PATIENCE: Duration = Duration::from_secs(20);
