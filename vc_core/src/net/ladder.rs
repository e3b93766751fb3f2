//! All paths to one peer: which are asked, which one carries, when to climb and when to fall.
//!
//! Either side chooses its own sending path; there is no nomination. A path carries only after a RESPONSE proved it.

mod paths;

use std::time::Duration;

use self::paths::{Origin, Paths, Tried, score};
use super::path::{Carrier, Path, Watch};
use crate::io::{Hop, Time};
use crate::protocol::member::Slot;

#[derive(Default)]
pub struct Ladder {
    paths: Paths,
    carrying: Option<Carrying>,
    /// Voice flows since; `None` in a quiet call.
    hot: Option<Hot>,
    /// Third parties that are given up, though packets by them may still come.
    shunned: Vec<(Carrier, Time)>,
    /// When the next path may be asked for the first time.
    turn: Time,
}

struct Carrying {
    path: Path,
    /// The path before, still used until then, so that nothing is lost while the packets on it arrive.
    overlap: Option<(Path, Time)>,
}

/// A challenge that was answered.
pub struct Spent {
    pub path: Path,
    asked: Time,
}

/// What decides how closely every path is watched.
struct Mood {
    carrying: Option<Path>,
    hot: bool,
    suspect: bool,
}

#[derive(Clone, Copy)]
struct Hot {
    since: Time,
    last: Time,
}

impl Ladder {
    /// A path that may work.
    pub fn offer(&mut self, now: Time, path: Path) {
        self.shunned.retain(|(carrier, _)| path.carrier() != Some(*carrier));
        self.learn(now, path, Origin::Told);
    }

    /// Packets of the peer's seem to come by this path.
    pub fn notice(&mut self, now: Time, path: Path) {
        self.learn(now, path, Origin::Heard);
    }

    fn learn(&mut self, now: Time, path: Path, origin: Origin) {
        if let Some(tried) = self.paths.get_mut(&path) {
            if origin == Origin::Told {
                tried.origin = origin;
            }
        } else if self.paths.make_room(now, origin, self.used()) {
            let turn = self.turn(now);
            self.paths.push(path, Tried::new(now, turn, origin));
        }
    }

    /// The carrying path and the one before.
    fn used(&self) -> [Option<Path>; 2] {
        let overlap = self.carrying.as_ref().and_then(|carrying| carrying.overlap).map(|(path, _)| path);
        [self.carrying(), overlap]
    }

    pub fn knows(&self, path: &Path) -> bool {
        self.paths.get(path).is_some()
    }

    /// Drops direct paths that never answered, or not lately, unless `named`.
    pub fn retain_direct(&mut self, named: impl Fn(&Hop) -> bool) {
        self.paths.retain(|path, tried| match path {
            Path::Direct(hop) => tried.is_answering() || named(hop),
            Path::Via { .. } | Path::Mail(_) => true,
        });
    }

    /// A packet came by this path.
    pub fn heard(&mut self, now: Time, path: Path) {
        match self.paths.get_mut(&path) {
            Some(tried) => tried.probes.heard(now),
            None if self.shunned.iter().any(|(c, until)| path.carrier() == Some(*c) && now < *until) => {}
            None => {
                self.notice(now, path);
                if let Some(tried) = self.paths.get_mut(&path) {
                    tried.probes.heard(now);
                }
            }
        }
    }

    /// A third party is reached in another way: what was known of the paths through it stands until asked again.
    pub fn reroute(&mut self, now: Time, from: Carrier, to: Carrier) {
        self.rename(now, |path| match path {
            Path::Via { carrier, slot } if carrier == from => Path::Via { carrier: to, slot },
            other => other,
        });
    }

    /// The peer has another slot wherever packets are carried to it.
    pub fn reseat(&mut self, now: Time, slot: Slot) {
        self.rename(now, |path| match path {
            Path::Via { carrier, .. } => Path::Via { carrier, slot },
            Path::Mail(_) => Path::Mail(slot),
            direct => direct,
        });
    }

    fn rename(&mut self, now: Time, moved: impl Fn(Path) -> Path) {
        for path in self.paths().copied().filter(|path| moved(*path) != *path).collect::<Vec<_>>() {
            if let Some(mut tried) = self.paths.remove(&path) {
                tried.probes.restart(now);
                self.paths.remove(&moved(path));
                self.paths.push(moved(path), tried);
            }
        }
        if let Some(carrying) = &mut self.carrying {
            carrying.path = moved(carrying.path);
            carrying.overlap = carrying.overlap.map(|(path, until)| (moved(path), until));
        }
    }

    /// A third party is gone, or about to go. Returns the new carrying path if that changes it.
    pub fn abandon(&mut self, now: Time, carrier: Carrier) -> Option<Path> {
        let lost = self.carrying().filter(|path| path.carrier() == Some(carrier));
        let next = lost.and_then(|_| self.spare_besides(now, Some(carrier)));
        match (lost, next) {
            (Some(_), Some(next)) => drop(self.carry(now, next)),
            (Some(_), None) => self.carrying = None,
            (None, _) => {}
        }
        for path in self.through(carrier) {
            self.paths.remove(&path);
        }
        self.shunned.retain(|(_, until)| now < *until);
        self.shunned.push((carrier, now + SHUN));
        next
    }

    /// Somebody else proved to be there. Returns the new carrying path if that changes it.
    pub fn give_away(&mut self, now: Time, hop: Hop) -> Option<Path> {
        let path = Path::Direct(hop);
        self.paths.remove(&path)?;
        let lost = self.carrying() == Some(path);
        let next = self.spare(now).filter(|_| lost);
        match next {
            Some(next) => drop(self.carry(now, next)),
            None if lost => self.carrying = None,
            None => {}
        }
        if let Some(carrying) = &mut self.carrying {
            carrying.overlap.take_if(|(before, _)| *before == path);
        }
        next
    }

    /// A third party is out of reach for the moment, and its paths with it. Returns the new carrying path if that changes
    /// it.
    pub fn interrupt(&mut self, now: Time, carrier: Carrier) -> Option<Path> {
        let lost = self.carrying().is_some_and(|path| path.carrier() == Some(carrier));
        let next = self.spare_besides(now, Some(carrier)).filter(|path| lost && path.carries_voice());
        if lost && next.is_none() {
            return None;
        }
        for path in self.through(carrier) {
            self.paths.give_up(now, &path);
        }
        next.map(|next| self.carry(now, next))
    }

    fn through(&self, carrier: Carrier) -> Vec<Path> {
        self.paths
            .iter()
            .map(|(path, _)| path)
            .filter(|path| path.carrier() == Some(carrier))
            .copied()
            .collect()
    }

    /// The direct path that answers, if any: the carrying one, else the best.
    pub fn direct(&self) -> Option<Hop> {
        let answering = |(path, tried): (&Path, &Tried)| match path {
            Path::Direct(hop) if tried.is_answering() => Some((tried.probes.srtt(), *hop)),
            _ => None,
        };
        let carrying = self.carrying();
        let ranked = |entry: (&Path, &Tried)| Some((Some(*entry.0) != carrying, answering(entry)?));
        self.paths.iter().filter_map(ranked).min().map(|(_, (_, hop))| hop)
    }

    /// Some direct path answers.
    pub fn is_direct(&self) -> bool {
        self.paths.iter().any(|(path, tried)| path.direct().is_some() && tried.is_answering())
    }

    /// The peer proved that packets reach it by this direct path.
    pub fn is_proven(&self, hop: Hop) -> bool {
        self.paths.get(&Path::Direct(hop)).is_some_and(Tried::is_answering)
    }

    /// And that it has this address, if perhaps another port.
    pub fn is_proven_beside(&self, hop: Hop) -> bool {
        let beside = |at: Hop| (at.socket, at.addr.ip()) == (hop.socket, hop.addr.ip());
        self.paths.iter().any(|(path, tried)| path.direct().is_some_and(beside) && tried.is_answering())
    }

    pub fn uses_spare(&self, spare: u16) -> bool {
        self.paths.iter().map(|(path, _)| path).any(|path| path.spare() == Some(spare))
    }

    /// Of the paths by spare sockets only one stays: what carries, or the best.
    pub fn keep_one_spare(&mut self, now: Time) {
        let spares = self.paths.iter().filter(|(path, tried)| path.spare().is_some() && tried.is_answering());
        let best = spares.min_by_key(|(path, tried)| score(now, path, tried)).map(|(path, _)| *path);
        let keep = self.carrying().filter(|path| path.spare().is_some()).or(best);
        self.paths.retain(|path, _| path.spare().is_none() || Some(*path) == keep);
    }

    /// The network may have changed: ask everything again, now. What carries goes on carrying meanwhile.
    pub fn restart(&mut self, now: Time) {
        self.ask_anew(now, |_| true);
    }

    /// Is it still there? Only what answers is asked: where nobody ever did, a stranger may be.
    pub fn verify(&mut self, now: Time) {
        self.ask_anew(now, Tried::is_answering);
    }

    fn ask_anew(&mut self, now: Time, which: impl Fn(&Tried) -> bool) {
        self.turn = now;
        let carrying = self.carrying();
        let (first, others): (Vec<Path>, Vec<Path>) = (self.paths.iter())
            .filter(|(_, tried)| which(tried))
            .map(|(path, _)| *path)
            .partition(|path| Some(*path) == carrying);
        for path in first.into_iter().chain(others) {
            let turn = self.turn(now);
            if let Some(tried) = self.paths.get_mut(&path) {
                tried.ask_anew(turn);
            }
        }
    }

    /// A cheap router that gets everything in one millisecond forgets some of it.
    fn turn(&mut self, now: Time) -> Time {
        let turn = self.turn.clamp(now, now + TURN * paths::MOST as u32);
        self.turn = turn + TURN;
        turn
    }

    /// Voice was sent to this peer or came from it.
    pub fn media(&mut self, now: Time) {
        self.hot = Some(match self.hot {
            Some(hot) if now - hot.last < COOL => Hot { last: now, ..hot },
            _ => Hot { since: now, last: now },
        });
    }

    /// What carries answers: if voice is lost nevertheless, the path is not simply dead.
    pub fn is_answering(&self, now: Time) -> bool {
        self.carrying().is_some_and(|path| self.silence(now, &path) < self.suspect_after(now))
    }

    /// Voice does not arrive by the carrying path, whatever its probes say. Another takes over if there is one, and this
    /// one is shunned for a while, longer each time if a third party or its own probes promise more than it keeps. Where
    /// voice arrives by none, none of them is to blame.
    pub fn distrust(&mut self, now: Time) {
        let Some(carrying) = self.carrying() else { return };
        let Some(tried) = self.paths.get_mut(&carrying) else { return };
        // Where probes are lost as well the line is bad, and may be good again at any time. Whoever carries may drop them
        // for the sake of that.
        match carrying.carrier().is_none() && tried.probes.is_losing(now) {
            true => tried.distrust_line(now),
            false => tried.distrust_promise(now),
        }
        let answers = |(path, tried): &(&Path, &Tried)| path.carries_voice() && tried.is_answering();
        if self.paths.iter().filter(answers).all(|(_, tried)| !tried.is_trusted(now)) {
            self.paths.iter_mut().for_each(|(_, tried)| tried.forgive());
        }
    }

    /// Challenges to send now.
    pub fn probe(&mut self, now: Time, mut token: impl FnMut() -> [u8; 8]) -> Vec<(Path, [u8; 8])> {
        let mood = self.mood(now);
        let due = |(path, tried): (&Path, &Tried)| {
            tried.probes.due(self.watch(now, &mood, path, tried)).is_some_and(|at| at <= now)
        };
        let due: Vec<bool> = self.paths.iter().map(due).collect();
        let mut sent = Vec::new();
        for ((path, tried), _) in self.paths.iter_mut().zip(due).filter(|(_, due)| *due) {
            let token = token();
            tried.probes.ask(now, token);
            sent.push((*path, token));
        }
        sent
    }

    /// A response came: the path by which we sent the challenge with this token, which counts no more.
    pub fn spend(&mut self, token: [u8; 8]) -> Option<Spent> {
        self.paths.iter_mut().find_map(|(path, tried)| {
            let asked = tried.probes.spend(token)?;
            Some(Spent { path: *path, asked })
        })
    }

    /// What it says of the path. Returns the new carrying path if that changes it.
    pub fn answer(&mut self, now: Time, Spent { path, asked }: Spent) -> Option<Path> {
        if !self.is_open(now, &path) {
            self.paths.get_mut(&path)?.probes.let_in(now);
            return None;
        }
        self.paths.get_mut(&path)?.probes.answer(now, asked);
        let better = self.clearly_better(now, &path);
        let tried = self.paths.get_mut(&path)?;
        tried.wins = if better { tried.wins + 1 } else { 0 };
        let wins = tried.wins;
        let take = match self.carrying() {
            None => true,
            Some(carrying) => {
                let first_for_voice = path.carries_voice() && !carrying.carries_voice();
                let dead = self.silence(now, &carrying) >= self.dead_after(now) && carrying != path;
                if dead {
                    self.paths.give_up(now, &carrying);
                }
                carrying != path && (first_for_voice || wins >= WINS || dead)
            }
        };
        take.then(|| self.carry(now, path))
    }

    /// Gives up what went silent. Returns the new carrying path if there is a better one now.
    pub fn settle(&mut self, now: Time) -> Option<Path> {
        if let Some(Carrying { overlap: overlap @ Some(_), .. }) = &mut self.carrying
            && overlap.is_some_and(|(_, until)| until <= now)
        {
            *overlap = None;
        }
        let carrying = self.carrying();
        for (path, tried) in self.paths.iter_mut() {
            // Mail is not asked while it is not needed: its silence says nothing.
            if Some(*path) != carrying && path.carries_voice() && tried.probes.is_lost(now) {
                tried.give_up(now);
            }
        }
        self.forget_silent_spares();
        let carrying = carrying?;
        if self.silence(now, &carrying) < self.dead_after(now) {
            return None;
        }
        let next = self.spare(now)?;
        self.paths.give_up(now, &carrying);
        Some(self.carry(now, next))
    }

    pub fn carrying(&self) -> Option<Path> {
        self.carrying.as_ref().map(|carrying| carrying.path)
    }

    /// Where a packet goes: the carrying path, and a second one while moving or in doubt.
    pub fn routes(&self, now: Time) -> impl Iterator<Item = Path> {
        let first = self.carrying();
        let second = self.carrying.as_ref().and_then(|carrying| match carrying.overlap {
            Some((before, until)) if now < until => Some(before),
            _ if self.suspect(now) => self.spare(now),
            _ => None,
        });
        first.into_iter().chain(second)
    }

    /// Where a third party brought a packet of the peer's a moment ago, it takes one back there, and to nobody else. Voice
    /// need not wait for the proof.
    pub fn opened(&self, now: Time) -> Option<Path> {
        let lately = |tried: &Tried| tried.probes.heard_at().is_some_and(|at| now - at < OPENED);
        let open = self.paths.iter().filter(|(path, tried)| path.carrier().is_some() && lately(tried));
        open.map(|(path, _)| *path).min_by_key(Path::penalty)
    }

    /// Round trip and its variation on the carrying path.
    pub fn rtt(&self) -> Option<(Duration, Duration)> {
        let probes = &self.paths.get(&self.carrying()?)?.probes;
        Some((probes.srtt()?, probes.var()))
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(|(path, _)| path)
    }

    /// When voice began to flow, if it still does or did lately.
    pub fn hot_since(&self) -> Option<Time> {
        self.hot.map(|hot| hot.since)
    }

    /// Whether a peer that was last heard then would have been heard again, as often as it is asked.
    pub fn misses(&self, now: Time, heard: Time) -> bool {
        let watched = |hot: Hot| now.min(hot.last + COOL) - heard.max(hot.since) >= self.prompt();
        self.hot.is_some_and(watched) || now - heard >= SILENT_IDLE
    }

    /// How long an answer may take of a path that is asked often.
    pub fn prompt(&self) -> Duration {
        let (rtt, var) = self.rtt().unwrap_or_default();
        SUSPECT_HOT.max(rtt + 4 * var + SUSPECT_SLACK)
    }

    /// When `probe` or `settle` has something to do.
    pub fn wake(&self, now: Time) -> Option<Time> {
        let mood = self.mood(now);
        let probes = self.paths.iter();
        let probes = probes.filter_map(|(path, tried)| tried.probes.due(self.watch(now, &mood, path, tried)));
        let doubt = self.carrying().and_then(|path| {
            let silent_since = self.silent_since(&path)?;
            let marks = [self.suspect_after(now), self.dead_after(now)];
            marks.into_iter().map(|mark| silent_since + mark).find(|at| *at > now)
        });
        let overlap = self.carrying.as_ref().and_then(|carrying| carrying.overlap).map(|(_, until)| until);
        let cool = self.hot.map(|hot| hot.last + COOL).filter(|at| *at > now);
        [probes.min(), doubt, overlap, cool].into_iter().flatten().min()
    }

    /// The port that a spare socket had outside is gone when it falls silent.
    fn forget_silent_spares(&mut self) {
        let used = self.used();
        self.paths.retain(|path, tried| {
            path.spare().is_none() || used.contains(&Some(*path)) || !tried.probes.is_given_up()
        });
    }

    /// Packets of the peer's come from there, too (as RFC 8445, 7.2.5.2.1 wants it). What its router mapped for somebody
    /// else may let us in, but is not kept open by what it sends us, and closes unannounced.
    fn is_open(&self, now: Time, path: &Path) -> bool {
        path.direct().is_none() || self.paths.get(path).is_some_and(|tried| tried.is_open(now))
    }

    fn carry(&mut self, now: Time, path: Path) -> Path {
        let overlap = self.carrying().map(|before| (before, now + OVERLAP));
        self.carrying = Some(Carrying { path, overlap });
        // A rival of the path before that beats this one as well need not begin anew.
        let better: Vec<Path> = self
            .paths
            .iter()
            .map(|(path, _)| path)
            .filter(|path| self.clearly_better(now, path))
            .copied()
            .collect();
        for (path, tried) in self.paths.iter_mut() {
            tried.wins = if better.contains(path) { tried.wins.min(WINS - 1) } else { 0 };
        }
        path
    }

    /// Voice flowed within the last seconds.
    pub fn is_hot(&self, now: Time) -> bool {
        self.hot.is_some_and(|hot| now - hot.last < COOL)
    }

    fn mood(&self, now: Time) -> Mood {
        Mood { carrying: self.carrying(), hot: self.is_hot(now), suspect: self.suspect(now) }
    }

    fn watch(&self, now: Time, mood: &Mood, path: &Path, tried: &Tried) -> Watch {
        if !path.carries_voice() {
            let needed = mood.carrying.is_none_or(|carrying| carrying == *path) || mood.suspect;
            return if needed { Watch::Spare } else { Watch::Asleep };
        }
        if mood.suspect && tried.is_answering() {
            return Watch::Alarm;
        }
        if tried.wins > 0 && tried.probes.answered().is_some_and(|at| now - at < RIVAL_SILENT) {
            return Watch::Rival;
        }
        match (mood.carrying == Some(*path), mood.hot) {
            (true, true) => Watch::Hot,
            (true, false) => Watch::Idle,
            (false, true) if self.is_reserve(now, path, tried) => Watch::Reserve,
            (false, true) => Watch::Spare,
            (false, false) => Watch::IdleSpare,
        }
    }

    /// There are better spares of its kind: one direct path and one third party are kept ready.
    fn is_reserve(&self, now: Time, path: &Path, tried: &Tried) -> bool {
        let mine = score(now, path, tried);
        self.paths.iter().any(|(other, rival)| {
            let same_kind = other.carrier().is_some() == path.carrier().is_some();
            let ready = other.carries_voice() && rival.is_answering();
            let better = (score(now, other, rival), other) < (mine, path);
            same_kind && ready && better && Some(*other) != self.carrying()
        })
    }

    /// The time from which a path's silence counts: its last answer, or the moment from which it is asked often.
    fn silent_since(&self, path: &Path) -> Option<Time> {
        let answered = self.paths.get(path)?.probes.answered()?;
        Some(self.hot.map_or(answered, |hot| answered.max(hot.since)))
    }

    fn silence(&self, now: Time, path: &Path) -> Duration {
        self.silent_since(path).map_or(Duration::MAX, |since| now - since)
    }

    fn suspect(&self, now: Time) -> bool {
        self.carrying().is_some_and(|path| self.silence(now, &path) >= self.suspect_after(now))
            || self.is_outdone(now)
    }

    /// The carrying path is distrusted, and there is one that is not.
    fn is_outdone(&self, now: Time) -> bool {
        let trusted = |path: Path| self.paths.get(&path).is_some_and(|tried| tried.is_trusted(now));
        self.carrying().is_some_and(|path| !trusted(path))
            && self.spare(now).is_some_and(|path| path.carries_voice() && trusted(path))
    }

    fn suspect_after(&self, now: Time) -> Duration {
        match self.is_hot(now) {
            true => self.prompt(),
            false => SUSPECT_IDLE,
        }
    }

    fn dead_after(&self, now: Time) -> Duration {
        match self.is_hot(now) {
            true => DEAD_HOT.max(self.suspect_after(now) * 2),
            false => DEAD_IDLE,
        }
    }

    /// The best path besides the carrying one that answered lately.
    fn spare(&self, now: Time) -> Option<Path> {
        self.spare_besides(now, None)
    }

    fn spare_besides(&self, now: Time, carrier: Option<Carrier>) -> Option<Path> {
        let limit = if self.is_hot(now) { SPARE_HOT } else { DEAD_IDLE };
        let carrying = self.carrying();
        self.paths
            .iter()
            .filter(|(path, _)| Some(**path) != carrying)
            .filter(|(path, _)| carrier.is_none() || path.carrier() != carrier)
            .filter(|(_, tried)| tried.probes.answered().is_some_and(|at| now - at < limit))
            .min_by_key(|(path, tried)| score(now, path, tried))
            .map(|(path, _)| *path)
    }

    fn clearly_better(&self, now: Time, path: &Path) -> bool {
        let (Some(new), Some(carrying)) = (self.paths.get(path), self.carrying()) else { return false };
        let Some(old) = self.paths.get(&carrying) else { return true };
        let (new_score, old_score) = (score(now, path, new), score(now, &carrying, old));
        // Fewer third parties are an end in itself, and the way back needs the margin.
        let margin = match path.penalty() < carrying.penalty() {
            true => Duration::ZERO,
            false => old_score.mul_f32(MARGIN_SHARE).clamp(MARGIN, MARGIN_MOST),
        };
        new_score + margin < old_score
    }
}

/// All paths have had their turn before the first is asked again.
const TURN: Duration = Duration::from_millis(6);
/// Voice within this time keeps a path closely watched; longer than a pause in a conversation.
const COOL: Duration = Duration::from_secs(5);
/// Both paths carry while packets on the old one are still under way.
const OVERLAP: Duration = Duration::from_millis(200);
/// All first tries of a probe but the slow ones.
const OPENED: Duration = Duration::from_secs(1);
/// Others may learn of it a little later than we.
const SHUN: Duration = Duration::from_secs(10);
/// Two probes of a hot path may be lost before it is doubted.
const SUSPECT_HOT: Duration = Duration::from_millis(1_100);
/// On top of the round trip: one probe interval and scheduling noise.
const SUSPECT_SLACK: Duration = Duration::from_millis(600);
/// An idle path is asked every five seconds, and two are enough for any answer.
const SILENT_IDLE: Duration = Duration::from_secs(7);
/// Two idle probes lost.
const SUSPECT_IDLE: Duration = Duration::from_secs(12);
/// A dozen alarm probes unanswered.
const DEAD_HOT: Duration = Duration::from_millis(2_500);
const DEAD_IDLE: Duration = Duration::from_secs(25);
/// A spare is asked every two seconds: three probes may be lost. One in reserve is asked every six.
const SPARE_HOT: Duration = Duration::from_millis(6_500);
/// Less is not worth a change (ears notice 10 ms of jitter buffer, not 5).
const MARGIN: Duration = Duration::from_millis(10);
const MARGIN_SHARE: f32 = 0.15;
/// Below the penalties' differences: of two equally long ways the one with fewer third parties is taken.
const MARGIN_MOST: Duration = Duration::from_millis(20);
/// A rival that stops answering is a spare like any other.
const RIVAL_SILENT: Duration = Duration::from_secs(1);
/// Answers in a row that must agree before a move.
const WINS: u32 = 3;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
