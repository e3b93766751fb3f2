//! What happens to networks and machines in the middle of a call, and how long friends do not hear each other then.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Call, Friend, POLL};
use crate::matrix::{JOBS, each};
use crate::nat::Kind;
use crate::predict::best;
use crate::report::{percentile, say};
use crate::servers::Servers;
use crate::world::{Programs, Seat, Site, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Event {
    /// Nothing passes between two routers any more, silently
    Cut,
    /// One router refuses what goes to the other friend, and says so
    Reject,
    /// A cut that ends after 6 s
    Heal,
    /// A router forgets all its mappings
    Rebind,
    /// ... and has another address afterwards
    Moved,
    /// The same where the path was found by trying many ports
    MovedSym,
    /// ... or where the other side is such a router
    RebindPeer,
    /// A friend changes from one network to another
    Roam,
    /// ... whose router shows each destination another port
    RoamSym,
    /// The relay in use dies and is back after 300 ms
    RelayRestart,
    /// The relay in use dies for good; another one is there
    RelayGone,
    /// Signaling is away for `--away` seconds; then a third friend enters by the same code
    Signaling,
    /// The friend through whom two others may talk leaves
    HostQuits,
    /// ... or its program is killed
    HostDies,
    /// A friend who runs the room (`voicechat host`) leaves it
    OwnerQuits,
    /// ... or its program is killed
    OwnerDies,
    /// A machine stands still for 8 s
    Nap,
    /// ... for 75 s
    Sleep,
    /// Nothing happens, but one has asked for `--relay-only`: no packet of its network may reach the other
    Hidden,
    /// Nobody speaks for 45 s behind routers that forget after 20 s
    Quiet,
}

impl Event {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How the friends are connected.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Self::RelayRestart | Self::RelayGone => &[Kind::Sym, Kind::Sym],
            Self::HostQuits | Self::HostDies => &[Kind::Open, Kind::Sym, Kind::Sym],
            Self::OwnerQuits | Self::OwnerDies => &[Kind::Open, Kind::Apdf, Kind::Cone],
            Self::MovedSym => &[Kind::Sym, Kind::Apdf],
            Self::RebindPeer => &[Kind::Apdf, Kind::Sym],
            Self::Quiet => &[Kind::Short, Kind::Short],
            Self::Hidden => &[Kind::Apdf, Kind::Open],
            _ => &[Kind::Apdf, Kind::Apdf],
        }
    }

    /// Milliseconds of silence that are the most to bear.
    pub(crate) fn limit(self) -> u64 {
        match self {
            Self::Cut | Self::Reject | Self::Heal | Self::RelayRestart | Self::RelayGone => 2_000,
            // Nothing happens to the call itself; the rest is a busy machine.
            Self::Signaling => 400,
            _ => 3_000,
        }
    }

    /// Seconds after which all are by the rungs of before at the latest, where these can be had.
    fn returns(self) -> Option<u64> {
        match self {
            Self::Heal => Some(REDISCOVERED),
            Self::MovedSym | Self::RebindPeer | Self::RoamSym => Some(SPRAYED),
            Self::Rebind
            | Self::Moved
            | Self::Roam
            | Self::Nap
            | Self::Sleep
            | Self::Quiet
            | Self::Hidden => Some(FOUND_AGAIN),
            Self::Cut
            | Self::Reject
            | Self::RelayRestart
            | Self::RelayGone
            | Self::Signaling
            | Self::HostQuits
            | Self::HostDies
            | Self::OwnerQuits
            | Self::OwnerDies => None,
        }
    }

    /// Whether this friend is rightly told so. F0 is who leaves, dies or sleeps.
    fn excuses(self, friend: &str, told: &str) -> bool {
        let (what, who) = told.split_once(' ').unwrap_or((told, ""));
        let of_first = who == "F0" || friend == "F0";
        match self {
            Self::HostQuits | Self::OwnerQuits => told == "left F0",
            Self::HostDies | Self::OwnerDies => who == "F0" && matches!(what, "reconnecting" | "unreachable"),
            // The third friend, who comes and goes.
            Self::Signaling => who == "F2" && matches!(what, "joined" | "left"),
            Self::Nap => of_first && matches!(what, "reconnecting" | "unreachable" | "back"),
            // Given up after a minute, and in again by itself.
            Self::Sleep => {
                of_first && matches!(what, "reconnecting" | "unreachable" | "back" | "left" | "joined")
            }
            _ => false,
        }
    }

    fn act(self, stage: &mut Stage, away: u64) -> Result<()> {
        match self {
            Self::Cut => stage.cut(),
            Self::Reject => stage.reject(),
            Self::Heal => {
                stage.cut()?;
                stage.wait(6)?;
                stage.world.heal()
            }
            Self::Rebind | Self::RebindPeer => stage.sites[0].rebind(false),
            Self::Moved | Self::MovedSym => stage.sites[0].rebind(true),
            Self::Roam => stage.roam(Kind::Apdf),
            Self::RoamSym => stage.roam(Kind::Sym),
            Self::RelayRestart => {
                stage.servers.kill_relay(0);
                stage.servers.kill_relay(1);
                std::thread::sleep(Duration::from_millis(300));
                stage.servers.start_relay(&stage.world, 0)?;
                stage.servers.start_relay(&stage.world, 1)
            }
            Self::RelayGone => {
                stage.servers.kill_relay(0);
                Ok(())
            }
            Self::Signaling => stage.signaling_away(away),
            Self::HostQuits | Self::OwnerQuits => stage.call.friends[0].say("/quit"),
            Self::HostDies | Self::OwnerDies => stage.call.friends[0].die(),
            Self::Nap => stage.sleep(8),
            Self::Sleep => stage.sleep(75),
            Self::Quiet => stage.quiet(),
            Self::Hidden => Ok(()),
        }
    }

    /// What all friends say to their programs, and the first one alone.
    fn options(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Quiet => (&["--muted"], &[]),
            Self::Hidden => (&[], &["--relay-only"]),
            _ => (&[], &[]),
        }
    }
}

/// How they are played.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Plan {
    #[arg(long, default_value_t = 1)]
    pub(crate) times: usize,
    /// Calls at the same time
    #[arg(long, default_value_t = JOBS)]
    pub(crate) jobs: usize,
    /// Watched for so many seconds afterwards
    #[arg(long, default_value_t = AFTERWARDS)]
    pub(crate) watch: u64,
    /// Seconds for which signaling is away
    #[arg(long, default_value_t = SIGNALING_AWAY)]
    pub(crate) away: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { times: 1, jobs: JOBS, watch: AFTERWARDS, away: SIGNALING_AWAY }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The longest silence between any two, in milliseconds.
    pub(crate) silence: Option<u64>,
    /// Of everybody, before and after.
    pub(crate) rungs: [String; 2],
    /// Shown to the friends, and rightly.
    pub(crate) told: Vec<String>,
    /// Shown to them although nobody came or left.
    pub(crate) noise: Vec<String>,
    pub(crate) trouble: Option<String>,
}

fn run(programs: &Programs, event: Event, plan: &Plan) -> Outcome {
    let mut outcome = Outcome::default();
    let result = Stage::new(programs, event).and_then(|mut stage| {
        let played = play(&mut stage, event, plan, &mut outcome);
        if played.is_err() || !outcome.fits(event) {
            stage.world.keep(&event.name())?;
        }
        played
    });
    if let Err(error) = result {
        outcome.trouble = Some(format!("{error:#}"));
    }
    outcome
}

fn play(stage: &mut Stage, event: Event, plan: &Plan, outcome: &mut Outcome) -> Result<()> {
    stage.call.until(PATIENCE, |friends| settled(friends, event))?;
    stage.wait(2)?;
    outcome.rungs[0] = rungs(&stage.call.friends);
    stage.call.mark();
    stage.call.chatter = Some(LINES);
    stage.wait(1)?;
    event.act(stage, plan.away)?;
    stage.wait(plan.watch)?;
    if let Some(limit) = event.returns() {
        let before = &outcome.rungs[0];
        let rest = Duration::from_secs(limit.saturating_sub(plan.watch));
        stage.call.watch(rest, POLL, |friends| rungs(friends) == *before)?;
    }
    let friends = &stage.call.friends;
    outcome.silence =
        pairs(friends).map(|(a, b)| friends[a].of(&friends[b].name).map(|p| p.silence())).max().flatten();
    outcome.rungs[1] = rungs(friends);
    for friend in friends.iter().filter(|friend| friend.log.is_inside()) {
        for line in &friend.log.noise {
            let seen = format!("{}: {line}", friend.name);
            match event.excuses(&friend.name, line) {
                true => outcome.told.push(seen),
                false => outcome.noise.push(seen),
            }
        }
    }
    if let Some(wrong) = stage.call.lines_arrived(PATIENCE)? {
        outcome.trouble = Some(wrong);
    }
    if event == Event::Hidden {
        let seen = stage.seats[1].packets_seen()?;
        if seen > 0 {
            outcome.trouble = Some(format!("{seen} packets came from the hidden address"));
        }
    }
    Ok(())
}

/// True if no silence was longer than its limit, no line was lost or doubled, and nobody saw anybody come or go.
pub(crate) fn table(programs: &Programs, events: &[Event], plan: &Plan) -> bool {
    let runs: Vec<Event> = events.iter().flat_map(|event| std::iter::repeat_n(*event, plan.times)).collect();
    let outcomes = each(&runs, plan.jobs, |event| {
        let outcome = run(programs, *event, plan);
        tell(*event, &outcome);
        outcome
    });
    say(
        "\n| event | runs | silence p50 / p95 / worst, ms | at most | before | after | seen by friends | wrong |",
    );
    say("|---|---|---|---|---|---|---|---|");
    let mut good = true;
    for event in events {
        let these: Vec<&Outcome> = runs
            .iter()
            .zip(&outcomes)
            .filter(|(other, _)| *other == event)
            .map(|(_, outcome)| outcome)
            .collect();
        let mut silences: Vec<u64> = these.iter().filter_map(|outcome| outcome.silence).collect();
        silences.sort_unstable();
        let wrong = these.iter().filter(|outcome| !outcome.fits(*event)).count();
        good &= wrong == 0;
        let texts = |text: fn(&Outcome) -> String| {
            let mut texts: Vec<String> = these.iter().map(|outcome| text(outcome)).collect();
            texts.sort_unstable();
            texts.dedup();
            texts.join(", ")
        };
        say(&format!(
            "| {} | {} | {} / {} / {} | {} | {} | {} | {} | {wrong} |",
            event.name(),
            these.len(),
            percentile(&silences, 50),
            percentile(&silences, 95),
            silences.last().copied().unwrap_or_default(),
            event.limit(),
            texts(|outcome| outcome.rungs[0].clone()),
            texts(|outcome| outcome.rungs[1].clone()),
            texts(|outcome| [&outcome.told[..], &outcome.noise].concat().join(", ")),
        ));
    }
    good
}

fn tell(event: Event, outcome: &Outcome) {
    let mark = if outcome.fits(event) { "ok " } else { "NOT" };
    let silence = outcome.silence.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let [before, after] = &outcome.rungs;
    let noise = outcome.noise.join(", ");
    let trouble = outcome.trouble.as_deref().unwrap_or_default();
    say(&format!("{mark} {:<14} silence {silence:>8}, {before} -> {after} {noise} {trouble}", event.name()));
}

impl Outcome {
    fn fits(&self, event: Event) -> bool {
        self.silence.is_some_and(|silence| silence <= event.limit())
            && self.trouble.is_none()
            && (event.returns().is_none() || self.rungs[0] == self.rungs[1])
            && self.noise.is_empty()
    }
}

struct Stage {
    call: Call,
    code: String,
    // Friends end before their places do.
    seats: Vec<Seat>,
    sites: Vec<Site>,
    servers: Servers,
    world: World,
}

impl Stage {
    fn new(programs: &Programs, event: Event) -> Result<Self> {
        let (all, first) = event.options();
        let owned = matches!(event, Event::OwnerQuits | Event::OwnerDies);
        let kinds = event.kinds();
        let world = World::new(programs)?;
        let servers = Servers::start(&world)?;
        let mut sites = kinds.iter().map(|kind| world.site(*kind)).collect::<Result<Vec<_>>>()?;
        let seats = sites.iter_mut().map(|site| world.seat(site, None)).collect::<Result<Vec<_>>>()?;
        let mut call = Call::new(&world);
        if event == Event::Hidden {
            seats[1].watch_for(sites[0].public(1))?;
        }
        let firsts = [all, first].concat();
        let code = match owned {
            true => call.host(&seats[0], sites[0].public(10), &firsts)?,
            false => call.create(&servers, &seats[0], &firsts)?,
        };
        for seat in &seats[1..] {
            let servers = (!owned).then_some(&servers);
            call.join(servers, seat, &code, all)?;
        }
        Ok(Self { call, code, seats, sites, servers, world })
    }

    fn wait(&mut self, seconds: u64) -> Result<()> {
        self.call.watch(Duration::from_secs(seconds), POLL, |_| false).map(drop)
    }

    fn cut(&mut self) -> Result<()> {
        self.world.cut(self.sites[0].public(1), self.sites[1].public(1))
    }

    fn reject(&mut self) -> Result<()> {
        self.sites[0].refuse(self.sites[1].public(1))
    }

    fn roam(&mut self, to: Kind) -> Result<()> {
        let mut to = self.world.site(to)?;
        self.world.roam(&self.seats[0], &self.sites[0], &mut to)?;
        self.sites.push(to);
        Ok(())
    }

    /// A third friend enters by the same code once it is back.
    fn signaling_away(&mut self, seconds: u64) -> Result<()> {
        self.servers.kill_signaling();
        self.wait(seconds)?;
        self.servers.start_signaling(&self.world)?;
        let back = Instant::now();
        let mut site = self.world.site(Kind::Apdf)?;
        let seat = self.world.seat(&mut site, None)?;
        self.call.until(PATIENCE, |friends| friends[0].log.signaling_up == Some(true))?;
        let chatter = self.call.chatter.take();
        let third = self.call.join(Some(&self.servers), &seat, &self.code, &[])?;
        self.call.until(PATIENCE, |friends| friends[0].hears("F2") && friends[2].hears("F0"))?;
        anyhow::ensure!(
            back.elapsed() < Duration::from_secs(10),
            "the code worked after {:?} only",
            back.elapsed()
        );
        self.call.friends[third].say("/quit")?;
        self.call.until(PATIENCE, |friends| friends[2].log.ended)?;
        self.call.chatter = chatter;
        self.seats.push(seat);
        self.sites.push(site);
        Ok(())
    }

    /// Counts from the awakening on: nobody hears a machine that stands still.
    fn sleep(&mut self, seconds: u64) -> Result<()> {
        let pid =
            i32::try_from(self.call.friends[0].pid()).ok().and_then(Pid::from_raw).context("no process")?;
        kill_process(pid, Signal::STOP)?;
        let chatter = self.call.chatter.take();
        self.call.friends[0].stopped = true;
        let slept = self.wait(seconds);
        kill_process(pid, Signal::CONT)?;
        self.call.friends[0].stopped = false;
        self.call.mark_gaps();
        if seconds > AWAY {
            // What is said before it is back is not said to it.
            self.wait(3)?;
        }
        self.call.chatter = chatter;
        slept
    }

    /// Counts from the first word on.
    fn quiet(&mut self) -> Result<()> {
        self.call.chatter = None;
        self.wait(45)?;
        for friend in &mut self.call.friends {
            friend.say("/unmute")?;
        }
        self.call.mark_gaps();
        Ok(())
    }
}

/// Everybody has the best rung to everybody and, if they talk, hears them.
fn settled(friends: &[Friend], event: Event) -> bool {
    let talking = event != Event::Quiet;
    let all_inside = friends.iter().all(|friend| friend.log.is_inside());
    let mut pairs = pairs(friends);
    all_inside
        && pairs.all(|(a, b)| {
            let other = &friends[b].name;
            let best = if event == Event::Hidden { "relay" } else { expected(friends, a, b) };
            friends[a].rung(other) == Some(best) && (!talking || friends[a].hears(other))
        })
}

/// What two cannot do alone, a third whom both reach does for them.
fn expected(friends: &[Friend], a: usize, b: usize) -> &'static str {
    let alone = |a: usize, b: usize| best(friends[a].kind, friends[b].kind).rung();
    let helps = |c: &usize| *c != a && *c != b && alone(a, *c) == "direct" && alone(*c, b) == "direct";
    match alone(a, b) {
        "relay" if (0..friends.len()).any(|c| helps(&c)) => "host",
        rung => rung,
    }
}

/// Who should hear whom.
fn pairs(friends: &[Friend]) -> impl Iterator<Item = (usize, usize)> {
    let inside = |n: &usize| friends[*n].log.is_inside();
    let all = 0..friends.len();
    all.clone().filter(inside).flat_map(move |a| {
        (0..friends.len()).filter(move |b| a != *b && friends[*b].log.is_inside()).map(move |b| (a, b))
    })
}

fn rungs(friends: &[Friend]) -> String {
    let mut names: Vec<&str> =
        pairs(friends).map(|(a, b)| friends[a].rung(&friends[b].name).unwrap_or("none")).collect();
    names.sort_unstable();
    names.dedup();
    names.join("+")
}

/// A path that failed is asked every half minute.
const REDISCOVERED: u64 = 35;
/// A straight way that works answers the probes of the first seconds; on a busy machine more are needed to trust it.
const FOUND_AGAIN: u64 = 25;
/// Until the fall to the relay is noticed, and the bounded tries that follow.
const SPRAYED: u64 = 25;
/// Friends give up a silent one after a minute.
const AWAY: u64 = 60;
/// A friend's limit is five lines a second.
const LINES: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(25);
/// Long enough for every path to be given up and every other to be tried.
const AFTERWARDS: u64 = 10;
/// Longer than the longest pause between two tries of a client; ten minutes are the simulator's.
const SIGNALING_AWAY: u64 = 60;
