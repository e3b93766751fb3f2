//! A whole evening of a room, drawn from one seed: who comes, over what lines, what breaks, what is said. At the end
//! the network heals, and everything that `Reference` knows must hold.

mod plan;

use std::net::SocketAddr;
use std::time::Duration;

use vc_core::error::Error;
use vc_core::io::{Command, Config, Ended, Event, Input, PathPolicy, Rung, Time};

use crate::dice::Dice;
use crate::link::Profile;
use crate::nat::Kind;
use crate::net::SiteId;
use crate::reach::{Way, is_lucky, way};
use crate::reference;
use crate::world::World;
use plan::Act;

/// What a session came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub trace: u64,
    pub faults: Vec<String>,
    pub members: usize,
    pub lines: u64,
    pub frames: u64,
    pub seconds: u64,
    pub most_wakes: u32,
    pub most_sent: u32,
    /// From the last fault, or the last who came in, until all heard each other.
    pub converged: Duration,
    /// Members that others knew to be gone.
    pub departed: usize,
    /// Lines that never got to one who stayed, as their writers were told: the two were apart for too long.
    pub excused: u64,
    /// Ends of pairs by rung at last: direct, by a friend, by the relay.
    pub rungs: [usize; 3],
    /// Bytes that one member's room held at most, and at the end.
    pub held: i64,
    pub holds: i64,
}

/// Someone at a keyboard, who tries again where coming in did not work.
struct Person {
    at: (SiteId, SocketAddr),
    nat: Option<Kind>,
    policy: PathPolicy,
    comes: Time,
    client: Option<usize>,
    tries: u32,
    gone: bool,
    /// Left or died on the way.
    lost: bool,
}

/// Runs the session of this seed.
pub fn run(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed ^ 0x5e55_1015);
    let profile = Profile::any(&mut dice);
    let mut world = World::new(seed, profile);
    let server = world.server();
    let mut people = people(&mut world, &mut dice, Dice::new(seed ^ 0x6b69_6e64), seed >= ANY_HOUSE);
    lines(&mut world, &mut dice, &people, server);

    let length = Duration::from_secs(dice.range(60, 150));
    let mut acts = plan::plan(&mut dice, people.len(), length);
    acts.extend(plan::moves(seed, people.len(), length));
    acts.sort_by_key(|(at, _)| *at);
    let excusable = excusable(&acts, &people);
    let mut acts = acts.into_iter().peekable();
    let end = Time::ZERO + length;
    while world.now < end {
        let next = world.now + STEP;
        while let Some((at, act)) = acts.next_if(|(at, _)| *at <= next) {
            world.run_until(at);
            play(&mut world, &mut people, server, act);
        }
        world.run_until(next);
        people.iter_mut().for_each(|person| person.attend(&mut world, server));
    }
    for (_, act) in acts {
        // What was stopped starts again.
        if matches!(act, Act::StartSignaling | Act::StartRelay) {
            play(&mut world, &mut people, server, act);
        }
    }
    let converged = settle(&mut world, &mut dice, &mut people, server);
    let rungs = climb(&mut world, &people);
    let excused = excused(&mut world, &people, &excusable);
    Outcome { converged, rungs, excused, ..outcome(world, &people) }
}

/// The seed of an evening in a long row of them: of each fourth, one with every kind of router.
pub fn in_a_row(n: u64) -> u64 {
    if n % 4 == 3 && n < ANY_HOUSE { ANY_HOUSE + n } else { n }
}

/// The pairs that may lose each other on such an evening.
fn excusable(acts: &[(Time, Act)], people: &[Person]) -> Vec<(usize, usize)> {
    let pairs = (0..people.len()).flat_map(|a| (0..people.len()).map(move |b| (a, b)));
    let share = |a: usize, b: usize| people[a].at.0 == people[b].at.0;
    pairs.filter(|(a, b)| plan::apart(acts, *a, *b, share) >= FORGIVEN).collect()
}

/// How many lines never got to one who stayed. That is a fault between those who could hear each other.
fn excused(world: &mut World, people: &[Person], excusable: &[(usize, usize)]) -> u64 {
    let person = |client: usize| people.iter().position(|person| person.client == Some(client));
    let may_part =
        |a: usize, b: usize| person(a).zip(person(b)).is_some_and(|pair| excusable.contains(&pair));
    let present = world.present();
    world.reference.stayed(&present, may_part)
}

/// Two mostly; sometimes as many as a room takes. With `any_house` half of them live behind any kind of router, drawn by
/// dice of their own.
fn people(world: &mut World, dice: &mut Dice, mut kinds: Dice, any_house: bool) -> Vec<Person> {
    let count = match dice.range(0, 20) {
        0..13 => 2,
        13..18 => dice.range(3, 6),
        18 => dice.range(6, 10),
        _ => dice.range(10, 17),
    } as usize;
    let manner = dice.range(0, 10);
    let mut people: Vec<Person> = Vec::new();
    for n in 0..count {
        let policy = match manner {
            0 => PathPolicy::Direct,
            1 if dice.chance(0.5) => PathPolicy::Relay,
            _ => PathPolicy::Auto,
        };
        let nat = match dice.range(0, 10) {
            // Direct alone works only where packets reach.
            _ if policy == PathPolicy::Direct => None,
            0..4 => None,
            4..8 => Some(Kind::PORT_RESTRICTED),
            _ => Some(Kind::SYMMETRIC),
        };
        let other = Kind::ALL[kinds.range(0, Kind::ALL.len() as u64) as usize].1;
        let nat = if any_house && policy != PathPolicy::Direct && kinds.chance(0.5) { other } else { nat };
        let neighbour = people.last().map(|person| person.at).filter(|(_, addr)| addr.ip().is_ipv4());
        let (at, nat) = match neighbour {
            Some((site, addr)) if dice.chance(0.1) && is_private(addr) => {
                ((site, world.net.housemate(site)), people.last().and_then(|person| person.nat))
            }
            _ => (world.net.site(nat), nat),
        };
        let comes = Time::ZERO + Duration::from_millis(if n == 0 { 0 } else { dice.range(1_000, 15_000) });
        people.push(Person { at, nat, policy, comes, client: None, tries: 0, gone: false, lost: false });
    }
    people
}

/// In half of the sessions every pair has a line of its own kind.
fn lines(world: &mut World, dice: &mut Dice, people: &[Person], server: usize) {
    if dice.chance(0.5) {
        return;
    }
    let mut sites: Vec<SiteId> = people.iter().map(|person| person.at.0).collect();
    sites.push(world.servers[server].site);
    for (n, a) in sites.iter().enumerate() {
        for b in &sites[n + 1..] {
            world.net.line(*a, *b, Profile::any(dice));
        }
    }
}

fn play(world: &mut World, people: &mut [Person], server: usize, act: Act) {
    let now = world.now;
    let site = |n: usize| people[n].at.0;
    let client = |n: usize| people[n].client;
    let there = world.servers[server].site;
    match act {
        Act::Say(n) => client(n).into_iter().for_each(|client| world.say(client)),
        Act::Speak(n, frames) => client(n).into_iter().for_each(|client| world.speak(client, frames)),
        Act::Cut(a, Some(b), span) => world.net.cut(site(a), site(b), now + span),
        Act::Cut(a, None, span) => world.net.cut(site(a), there, now + span),
        Act::Alone(a, span) => {
            for other in (0..people.len()).map(site).chain([there]) {
                world.net.cut(site(a), other, now + span);
            }
        }
        Act::StopSignaling => world.stop_signaling(server),
        Act::StartSignaling => world.start_signaling(server),
        Act::StopRelay => world.stop_relay(server),
        Act::StartRelay => world.start_relay(server),
        Act::Sleep(n, span) => client(n).into_iter().for_each(|client| world.suspend(client, span)),
        Act::Rebind(n) => world.net.restart_router(site(n)),
        Act::Lock(n, locked) => order(world, client(n), Command::Lock(locked)),
        Act::Invite(n) => order(world, client(n), Command::Invite),
        Act::Rename(n) => order(world, client(n), Command::Rename(format!("renamed {n}"))),
        Act::Roam(n) => {
            people[n].at = world.net.site(people[n].nat);
            if let Some(client) = people[n].client.filter(|client| world.clients[*client].ended.is_none()) {
                world.roam(client, people[n].at);
                world.notice(client);
            }
        }
        Act::Kick(n) => {
            let id = people[n].client.and_then(|client| world.clients[client].me);
            id.into_iter().for_each(|id| order(world, people[0].client, Command::Kick(id)));
        }
        Act::Crash(n) if !people[n].gone => {
            people[n].lost = true;
            people[n].client.take().into_iter().for_each(|client| world.kill(client));
        }
        Act::Crash(_) => {}
        // Nobody types on a machine that sleeps.
        Act::Leave(n) if client(n).is_some_and(|client| world.clients[client].asleep.is_some()) => {}
        Act::Leave(n) => {
            (people[n].gone, people[n].lost) = (true, true);
            if let Some(client) = people[n].client {
                world.tell(client, Input::Command(Command::Leave));
            }
        }
        Act::Kill(n) => {
            (people[n].gone, people[n].lost) = (true, true);
            people[n].client.into_iter().for_each(|client| world.kill(client));
        }
    }
}

fn order(world: &mut World, client: Option<usize>, command: Command) {
    if let Some(client) = client.filter(|client| world.is_up(*client)) {
        world.tell(client, Input::Command(command));
    }
}

impl Person {
    /// Comes, and comes again where that failed.
    fn attend(&mut self, world: &mut World, server: usize) {
        let waits = match self.client {
            Some(client) => !matches!(world.clients[client].ended, Some(Ended::Failed(_))),
            None => false,
        };
        let kicked = |client: usize| world.clients[client].ended == Some(Ended::Failed(Error::Kicked));
        if self.client.is_some_and(kicked) {
            (self.gone, self.lost) = (true, true);
        }
        if self.gone || waits || world.now < self.comes || self.tries >= TRIES {
            return;
        }
        let present = world.present();
        let code = present.iter().find_map(|n| world.clients[*n].code());
        if self.tries > 0 {
            self.at.1 = world.net.socket(self.at);
        }
        let config =
            Config { name: format!("guest {}", world.clients.len()), paths: self.policy, forward: true };
        let first = !world.clients.iter().any(|client| client.me.is_some());
        self.client = match code {
            Some(code) => Some(world.join(config, &code, self.at, server)),
            None if first && self.comes == Time::ZERO => Some(world.create(config, self.at, server)),
            None => return,
        };
        self.tries += 1;
        self.comes = world.now + Duration::from_secs(3);
    }
}

struct Unmet {
    a: usize,
    b: usize,
    /// Both know of each other.
    mutual: bool,
}

fn strangers(world: &World, present: &[usize]) -> Option<Unmet> {
    let pairs = present.iter().flat_map(|a| present.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
    let knows = |a: usize, b: usize| {
        world.clients[a].room.peers().iter().any(|peer| Some(peer.id) == world.clients[b].me)
    };
    let mut unmet = pairs.filter(|(a, b)| !world.reference.all_met(&[*a, *b]));
    unmet.next().map(|(a, b)| Unmet { a, b, mutual: knows(a, b) && knows(b, a) })
}

/// All is well again; then nobody may miss anybody or anything. How long until all who were there heard each other.
fn settle(world: &mut World, dice: &mut Dice, people: &mut [Person], server: usize) -> Duration {
    world.net.heal(Profile::clean(dice.range(5, 60)));
    let open = world.present().into_iter().find(|client| world.is_up(*client));
    order(world, open, Command::Lock(false));
    let converged = converge(world, people, server);
    let present = world.present();
    if let Some(fault) = strangers(world, &present) {
        let both = if fault.mutual { "" } else { "; not both know" };
        world.reference.fault(format!("{} never met {}{both}", fault.a, fault.b));
        return converged;
    }
    if converged > CONVERGE {
        world.reference.fault(format!("all heard each other only {converged:?} after the last fault"));
    }
    let before: Vec<u32> = present.iter().map(|n| world.clients[*n].spoken()).collect();
    for client in &present {
        world.say(*client);
        world.speak(*client, LAST_WORDS);
    }
    world.run(Duration::from_secs(10));
    world.reference.settled(&present);
    for (by, first) in present.iter().zip(before) {
        for to in present.iter().filter(|to| *to != by) {
            let heard = world.reference.heard_of(*to, *by, first + 1..first + 1 + LAST_WORDS);
            if heard != LAST_WORDS as usize {
                world.reference.fault(format!("{to} heard {heard} of the last {LAST_WORDS} frames of {by}"));
            }
        }
    }
    converged
}

/// Lets everybody in who still wants to, and looks on until all is quiet.
fn converge(world: &mut World, people: &mut [Person], server: usize) -> Duration {
    let mut longest = Duration::ZERO;
    let mut apart = Some(world.now);
    let mut seen = 0;
    let end = world.now + QUIET;
    while world.now < end {
        // Whoever comes, or wakes, finds the others from then on.
        let entered = |client: usize| world.clients[client].first(|e| matches!(e, Event::Entered { .. }));
        let present = world.present();
        let woke = present.iter().filter_map(|n| world.clients[*n].asleep);
        let news = present.iter().filter_map(|n| entered(*n)).chain(woke).max();
        if present.len() != std::mem::replace(&mut seen, present.len())
            || news.is_some_and(|at| at > world.now)
        {
            apart = apart.max(news.map(|at| at.max(world.now)));
        }
        world.run(GLANCE);
        if let Some(since) = apart
            && world.all_live()
        {
            longest = longest.max(world.now - since);
            apart = None;
        }
        if end - world.now > CALM {
            people.iter_mut().for_each(|person| person.attend(world, server));
        }
    }
    apart.map_or(longest, |since| longest.max(world.now - since))
}

/// How every pair is carried: as their routers and wishes let one expect. Only whether a search for an open port succeeds
/// is not known before.
fn climb(world: &mut World, people: &[Person]) -> [usize; 3] {
    let present: Vec<(usize, &Person)> =
        people.iter().filter_map(|p| Some((p.client.filter(|n| world.is_up(*n))?, p))).collect();
    let rung = |a: usize, b: usize| {
        let peers = world.clients[a].room.peers();
        peers.into_iter().find(|peer| Some(peer.id) == world.clients[b].me).and_then(|peer| peer.rung)
    };
    let mut apart = Vec::new();
    let mut count = [0; 3];
    let auto: Vec<usize> = (0..present.len()).filter(|n| present[*n].1.policy == PathPolicy::Auto).collect();
    let ids: Vec<_> = auto.iter().filter_map(|n| world.clients[present[*n].0].me).collect();
    let pairs = |len: usize| (0..len).flat_map(move |a| (a + 1..len).map(move |b| (a, b)));
    for (a, b) in pairs(auto.len()) {
        let ((m, x), (n, y)) = (present[auto[a]], present[auto[b]]);
        let direct = [rung(m, n), rung(n, m)].map(|rung| rung == Some(Rung::Direct));
        let way = if x.at.0 == y.at.0 { Way::Plain } else { way(x.nat, y.nat) };
        if direct != [true; 2] {
            apart.push((a, b));
        }
        if way == Way::Plain && direct != [true; 2] {
            world.reference.fault(format!("{m} and {n} do not meet"));
        }
        let searched = |a: usize, b: &Person| world.clients[a].searched.contains(&world.net.public(b.at.0));
        let lucky = is_lucky(x.nat, y.nat) && (searched(m, y) || searched(n, x));
        if way == Way::Never && direct != [false; 2] && !lucky {
            world.reference.fault(format!("{m} and {n} meet where no packet could pass"));
        }
    }
    // Who was in first made the room.
    let founder = world.clients.iter().position(|client| client.me.is_some());
    let founder = auto.iter().position(|n| Some(present[*n].0) == founder);
    let hosts = reference::hosts(&ids, founder, &apart);
    for (a, b) in pairs(present.len()) {
        let ((m, x), (n, y)) = (present[a], present[b]);
        let place = |n: usize| auto.iter().position(|m| *m == n);
        let by = place(a).zip(place(b)).map(|(a, b)| (a, b, reference::carried(&hosts, &apart, a, b)));
        for got in [rung(m, n), rung(n, m)] {
            let fits = match (&by, got) {
                (_, Some(Rung::Direct)) => {
                    count[0] += 1;
                    if x.policy == PathPolicy::Relay || y.policy == PathPolicy::Relay {
                        world.reference.fault(format!("{m} and {n} met against their wish"));
                    }
                    true
                }
                // Of several who could, another may be due since a search for an open port succeeded at last.
                (Some((a, b, Some(_))), Some(Rung::Host(host))) => {
                    count[1] += 1;
                    let host = ids.iter().position(|id| *id == host);
                    host.is_some_and(|host| reference::bridges(&apart, host, *a, *b))
                }
                (Some((.., Some(by))), Some(Rung::Relay)) => {
                    count[2] += 1;
                    by.is_empty()
                }
                (None, Some(Rung::Relay)) => {
                    count[2] += 1;
                    true
                }
                _ => false,
            };
            if !fits {
                world.reference.fault(format!("{m} and {n} talk by {got:?}, where {by:?} should carry"));
            }
        }
    }
    count
}

fn outcome(mut world: World, people: &[Person]) -> Outcome {
    let members = people.len();
    // A newcomer may get the slot of one who has gone, and with it what those who did not notice still send there.
    let heirs = people.iter().any(|person| person.lost) || world.clients.len() > members;
    let most_sent = MOST_SENT * members as u32 + if is_searched(people) { SPRAY } else { 0 };
    let mut outcome = Outcome { members, ..Outcome::default() };
    for (n, client) in world.clients.iter().enumerate() {
        outcome.most_wakes = outcome.most_wakes.max(client.load.most_wakes);
        outcome.most_sent = outcome.most_sent.max(client.load.most_sent);
        (outcome.held, outcome.holds) = (outcome.held.max(client.held), outcome.holds.max(client.holds));
        if client.held > MOST_HELD {
            world.reference.fault(format!("the room of {n} held {} bytes", client.held));
        }
        if let Some(Ended::Failed(why)) = client.ended.filter(|_| client.met_anybody())
            && why != Error::Kicked
        {
            world.reference.fault(format!("{n} was with its friends and had to come again: {why}"));
        }
        let counters = client.room.counters();
        if counters.malformed + counters.gate > 0 || (counters.forged > 0 && !heirs) {
            world.reference.fault(format!("{n} dropped what nobody damaged: {counters:?}"));
        }
        if client.load.most_wakes > MOST_WAKES {
            world.reference.fault(format!("{n} woke {} times in a second", client.load.most_wakes));
        }
        if client.load.most_sent > most_sent {
            world.reference.fault(format!("{n} sent {} packets in a second", client.load.most_sent));
        }
    }
    outcome.trace = world.trace();
    outcome.departed = world.reference.departed.count();
    outcome.lines = world.reference.delivered;
    outcome.frames = world.reference.heard;
    outcome.seconds = (world.now - Time::ZERO).as_secs();
    outcome.faults = std::mem::take(&mut world.reference.faults);
    outcome
}

/// Somebody may search for somebody else's open port.
fn is_searched(people: &[Person]) -> bool {
    let ways = people.iter().flat_map(|a| people.iter().map(|b| way(a.nat, b.nat)));
    ways.into_iter().any(|way| matches!(way, Way::Predicted | Way::Sprayed))
}

fn is_private(addr: SocketAddr) -> bool {
    match addr {
        SocketAddr::V4(v4) => v4.ip().is_private(),
        SocketAddr::V6(_) => false,
    }
}

/// The first seed with every kind of router; those before it, kept ones among them, stay the evenings that they were.
pub const ANY_HOUSE: u64 = 1_000_000;
/// A silent friend is given up after a minute.
const FORGIVEN: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(1);
/// From the last fault until all hear each other.
const CONVERGE: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(250);
/// Until every pair has climbed as far as it can, also where another forwards than before.
const QUIET: Duration = Duration::from_secs(90);
/// Nobody comes any more.
const CALM: Duration = Duration::from_secs(65);
/// A full room, with everybody's streams full and a search for an open port under way.
const MOST_HELD: i64 = 2 << 20;
const TRIES: u32 = 8;
const LAST_WORDS: u32 = 50;
/// One for each four milliseconds, however many timers fifteen friends have in alarm.
const MOST_WAKES: u32 = 255;
/// For each friend: voice twice, probes of all paths in alarm, acknowledgements.
const MOST_SENT: u32 = 400;
/// What a search for an open port adds, to one friend at a time.
const SPRAY: u32 = 900;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
