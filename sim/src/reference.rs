//! What must hold in every room: chat exactly once in order, voice at most once and only from whom it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use vc_core::io::{Event, Parting, Time, VoiceFrame};
use vc_core::protocol::member::MemberId;

use crate::departed::Departed;

/// Knows what everybody said, and to whom it had to get.
#[derive(Default)]
pub struct Reference {
    ids: BTreeMap<MemberId, usize>,
    /// Whom each member knows to be there.
    friends: BTreeSet<(usize, usize)>,
    owed: BTreeMap<(usize, usize), BTreeSet<u32>>,
    got: BTreeMap<(usize, usize), u32>,
    /// Lines by the one that the other need not get any more.
    excused: BTreeMap<(usize, usize), u64>,
    /// Whom each member was told to be gone, and how.
    parted: BTreeMap<(usize, usize), Parting>,
    /// Heard by the one of the other.
    frames: FxHashMap<(usize, usize), Frames>,
    spoken: FxHashMap<usize, Frames>,
    pub departed: Departed,
    pub heard: u64,
    pub delivered: u64,
    pub faults: Vec<String>,
}

/// A set of frames, by their times.
#[derive(Default)]
struct Frames(Vec<u64>);

impl Reference {
    /// The line with this number, by this member.
    pub fn line(by: usize, n: u32) -> String {
        format!("{LINE} {by} {n}")
    }

    /// What stands for Opus in a frame: the size of the default stream, and who said it when.
    pub fn opus(by: usize, time: u32) -> Vec<u8> {
        let mut opus = [VOICE, &(by as u32).to_be_bytes(), &time.to_be_bytes()].concat();
        opus.resize(OPUS, FILLING);
        opus
    }

    pub fn says(&mut self, by: usize, n: u32) {
        let friends: Vec<usize> = self.friends.range((by, 0)..=(by, usize::MAX)).map(|(_, to)| *to).collect();
        for to in friends {
            self.owed.entry((by, to)).or_default().insert(n);
        }
    }

    pub fn speaks(&mut self, by: usize, time: u32) {
        self.spoken.entry(by).or_default().insert(time);
    }

    pub fn event(&mut self, now: Time, client: usize, event: &Event) {
        match event {
            Event::Entered { me } => drop(self.ids.insert(*me, client)),
            Event::Joined { id, .. } => match self.ids.get(id) {
                Some(friend) => drop(self.friends.insert((client, *friend))),
                None => self.fault(format!("{client} met somebody who is not there")),
            },
            Event::Left { id, why } => {
                if let Some(friend) = self.ids.get(id).copied() {
                    self.departed.learns(now, client, friend, *why);
                    self.parted.insert((client, friend), *why);
                    self.friends.remove(&(client, friend));
                    for pair in [(client, friend), (friend, client)] {
                        let owed = self.owed.remove(&pair).unwrap_or_default();
                        *self.excused.entry(pair).or_default() += owed.len() as u64;
                    }
                }
            }
            Event::Said { from, text } => self.said(client, *from, text),
            Event::Undelivered { to, text } => {
                let Some((by, n)) = parse(text).filter(|(by, _)| *by == client) else {
                    return self.fault(format!("{client} failed to deliver what it never said"));
                };
                // One that was let in and never came has no number here, and nothing is owed to it.
                let Some(pair) = self.ids.get(to).map(|to| (by, *to)) else { return };
                if self.owed.get_mut(&pair).is_some_and(|owed| owed.remove(&n)) {
                    *self.excused.entry(pair).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    pub fn voice(&mut self, client: usize, from: MemberId, frame: &VoiceFrame) {
        self.heard += 1;
        let Some(by) = self.ids.get(&from).copied() else {
            return self.fault(format!("{client} heard a stranger"));
        };
        let spoken = self.spoken.get(&by).is_some_and(|spoken| spoken.contains(frame.time));
        if !spoken || !is_opus(&frame.opus, by, frame.time) {
            self.fault(format!("{client} heard what {by} never spoke"));
        }
        if !self.frames.entry((client, by)).or_default().insert(frame.time) {
            self.fault(format!("{client} heard frame {} of {by} twice", frame.time));
        }
    }

    /// How many of these frames of `by` did `client` hear?
    pub fn heard_of(&self, client: usize, by: usize, times: std::ops::Range<u32>) -> usize {
        self.frames
            .get(&(client, by))
            .map_or(0, |frames| frames.all().filter(|time| times.contains(time)).count())
    }

    /// The frames of `by` that `client` heard, in their order.
    pub fn heard_times(&self, client: usize, by: usize) -> impl Iterator<Item = u32> {
        self.frames.get(&(client, by)).into_iter().flat_map(Frames::all)
    }

    /// The last frame heard before, and the first at or after this one.
    pub fn heard_around(&self, client: usize, by: usize, time: u32) -> (Option<u32>, Option<u32>) {
        let before = self.heard_times(client, by).take_while(|t| *t < time).last();
        (before, self.heard_times(client, by).find(|t| *t >= time))
    }

    /// The network has healed and settled: nothing may be owed among those who are in.
    pub fn settled(&mut self, present: &[usize]) {
        let mut missing = Vec::new();
        for ((by, to), owed) in &self.owed {
            if present.contains(by) && present.contains(to) && !owed.is_empty() {
                missing.push(format!("{to} misses {} lines of {by}", owed.len()));
            }
        }
        self.faults.extend(missing);
    }

    /// Those who stayed to the end lost each other, and a line between them was excused, only where `may_part` says so.
    /// How many lines were.
    pub fn stayed(&mut self, present: &[usize], may_part: impl Fn(usize, usize) -> bool) -> u64 {
        let both = |a: &usize, b: &usize| present.contains(a) && present.contains(b);
        let mut faults = Vec::new();
        for ((a, b), why) in self.parted.iter().filter(|((a, b), _)| both(a, b)) {
            if *why != Parting::TimedOut || !may_part(*a, *b) {
                faults.push(format!("{a} was told that {b} is gone, {why:?}, who stayed"));
            }
        }
        let excused = self.excused.iter().filter(|((by, to), lines)| **lines > 0 && both(by, to));
        let mut sum = 0;
        for ((by, to), lines) in excused {
            sum += lines;
            if !may_part(*by, *to) {
                faults.push(format!("{to} never got {lines} lines of {by}, and both stayed"));
            }
        }
        faults.into_iter().for_each(|fault| self.fault(fault));
        sum
    }

    /// Does everyone of these know everyone else?
    pub fn all_met(&self, present: &[usize]) -> bool {
        present.iter().all(|a| present.iter().all(|b| a == b || self.friends.contains(&(*a, *b))))
    }

    pub fn fault(&mut self, what: String) {
        // One wrong turn can fault ten thousand times.
        if self.faults.len() < 20 {
            self.faults.push(what);
        }
    }

    fn said(&mut self, client: usize, from: MemberId, text: &str) {
        let (Some(by), Some((claimed, n))) = (self.ids.get(&from).copied(), parse(text)) else {
            return self.fault(format!("{client} read a line that nobody wrote"));
        };
        if claimed != by {
            self.fault(format!("{client} read a line of {claimed} as of {by}"));
        }
        self.delivered += 1;
        let last = self.got.entry((by, client)).or_default();
        if n <= *last {
            let last = *last;
            return self.fault(format!("{client} read line {n} of {by} after {last}"));
        }
        *last = n;
        let skipped = self.owed.get_mut(&(by, client)).map(|owed| {
            owed.remove(&n);
            owed.first().copied().filter(|first| *first < n)
        });
        if let Some(Some(first)) = skipped {
            self.fault(format!("{client} read line {n} of {by} before {first}"));
        }
    }
}

impl Frames {
    /// False if it was there.
    fn insert(&mut self, time: u32) -> bool {
        let (word, bit) = Self::place(time);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let before = self.0[word];
        self.0[word] |= bit;
        before & bit == 0
    }

    fn contains(&self, time: u32) -> bool {
        let (word, bit) = Self::place(time);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn all(&self) -> impl Iterator<Item = u32> {
        let times = |(n, word): (usize, &u64)| {
            let word = *word;
            (0..u64::BITS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| n as u32 * u64::BITS + bit)
        };
        self.0.iter().enumerate().flat_map(times)
    }

    fn place(time: u32) -> (usize, u64) {
        ((time / u64::BITS) as usize, 1 << (time % u64::BITS))
    }
}

/// The same as what `Reference::opus` makes.
fn is_opus(opus: &[u8], by: usize, time: u32) -> bool {
    let rest = opus.strip_prefix(VOICE).and_then(|rest| rest.strip_prefix(&(by as u32).to_be_bytes()));
    let filling = rest.and_then(|rest| rest.strip_prefix(&time.to_be_bytes()));
    opus.len() == OPUS && filling.is_some_and(|filling| filling.iter().all(|byte| *byte == FILLING))
}

/// Who forwards, up to two, when these pairs do not meet: again and again whoever bridges most pairs that nobody
/// bridges yet, then most that only one does; then the founder, then the smallest id.
pub fn hosts(ids: &[MemberId], founder: Option<usize>, apart: &[(usize, usize)]) -> Vec<usize> {
    let mut hosts: Vec<usize> = Vec::new();
    for _ in 0..2 {
        let bridged = |host: usize, least: usize| {
            let pairs = apart.iter().filter(|(a, b)| bridges(apart, host, *a, *b));
            let already = |a: usize, b: usize| hosts.iter().filter(|h| bridges(apart, **h, a, b)).count();
            pairs.filter(|(a, b)| already(*a, *b) == least).count()
        };
        let rank = |host: &usize| {
            (bridged(*host, 0), bridged(*host, 1), Some(*host) == founder, Reverse(ids[*host]))
        };
        let best = (0..ids.len()).filter(|n| !hosts.contains(n)).max_by_key(rank);
        match best {
            Some(best) if bridged(best, 0) + bridged(best, 1) > 0 => hosts.push(best),
            _ => break,
        }
    }
    hosts
}

/// Those of these hosts that may carry a pair; `None` for a pair that meets.
pub fn carried(hosts: &[usize], apart: &[(usize, usize)], a: usize, b: usize) -> Option<Vec<usize>> {
    let bridging = || hosts.iter().filter(|host| bridges(apart, **host, a, b)).copied().collect();
    (!meet(apart, a, b)).then(bridging)
}

/// This member meets both of a pair.
pub fn bridges(apart: &[(usize, usize)], host: usize, a: usize, b: usize) -> bool {
    host != a && host != b && meet(apart, host, a) && meet(apart, host, b)
}

fn meet(apart: &[(usize, usize)], a: usize, b: usize) -> bool {
    !apart.contains(&(a, b)) && !apart.contains(&(b, a))
}

fn parse(text: &str) -> Option<(usize, u32)> {
    let mut parts = text.strip_prefix(LINE)?.split_whitespace();
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Strings that no capture may contain.
pub const LINE: &str = "CANARY-LINE";
pub const VOICE: &[u8] = b"CANARY-VOICE";
/// 32 kbit/s in frames of 20 ms.
const OPUS: usize = 80;
const FILLING: u8 = 0x5A;
