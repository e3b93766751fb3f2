//! Friends in one room, as real processes, watched through their events.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::nat::Kind;
use crate::servers::Servers;
use crate::world::{Killed, Programs, Seat, World};

pub(crate) struct Call {
    programs: Programs,
    work: PathBuf,
    pub(crate) friends: Vec<Friend>,
    /// Everybody says a numbered line each so often.
    pub(crate) chatter: Option<Duration>,
    said: usize,
    next_line: Instant,
    to: Sender<(usize, Value)>,
    heard: Receiver<(usize, Value)>,
    started: Instant,
}

pub(crate) struct Friend {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Stands still: nobody talks to it.
    pub(crate) stopped: bool,
    child: Killed,
    stdin: ChildStdin,
    /// Unix milliseconds at which it was told to enter.
    pub(crate) asked: u64,
    pub(crate) log: Log,
}

/// What a friend has told so far.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) invite: Option<String>,
    pub(crate) entered: Option<u64>,
    /// By name: names are the lab's own.
    pub(crate) peers: BTreeMap<String, Peer>,
    /// Who and what, in the order shown.
    pub(crate) chat: Vec<(String, String)>,
    /// Comings and goings shown to the person in front.
    pub(crate) noise: Vec<String>,
    pub(crate) signaling_up: Option<bool>,
    pub(crate) error: Option<String>,
    pub(crate) ended: bool,
}

#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) rung: Option<String>,
    /// Unix milliseconds of each change.
    pub(crate) rungs: Vec<(u64, String)>,
    pub(crate) heard: u64,
    pub(crate) first_heard: Option<u64>,
    pub(crate) last_heard: u64,
    /// The longest time without a new frame since the last `mark`, in milliseconds.
    pub(crate) gap: u64,
    pub(crate) duplicates: u64,
    pub(crate) rtt_ms: Option<f64>,
}

impl Call {
    pub(crate) fn new(world: &World) -> Self {
        let (to, heard) = channel();
        let now = Instant::now();
        Self {
            programs: world.programs.clone(),
            work: world.work.path().to_owned(),
            friends: Vec::new(),
            chatter: None,
            said: 0,
            next_line: now,
            to,
            heard,
            started: now,
        }
    }

    /// Opens the room; returns the code.
    pub(crate) fn create(&mut self, servers: &Servers, seat: &Seat, more: &[&str]) -> Result<String> {
        let me = self.start(&["create", "--server", &servers.place(has_v4(seat))], seat, more)?;
        self.code_of(me)
    }

    /// Opens a room without any server, at this public address; returns the code.
    pub(crate) fn host(&mut self, seat: &Seat, at: Ipv4Addr, more: &[&str]) -> Result<String> {
        let me = self.start(&["host", "--address", &format!("{at}:{HOSTED}")], seat, more)?;
        self.code_of(me)
    }

    fn code_of(&mut self, me: usize) -> Result<String> {
        self.until(LONG, |friends| friends[me].log.invite.is_some())?;
        self.friends[me].log.invite.clone().context("no code")
    }

    /// `servers` is `None` where the code says it all.
    pub(crate) fn join(
        &mut self,
        servers: Option<&Servers>,
        seat: &Seat,
        code: &str,
        more: &[&str],
    ) -> Result<usize> {
        let place = servers.map(|servers| servers.place(has_v4(seat)));
        let mut order = vec!["join"];
        order.extend(place.iter().flat_map(|place| ["--server", place]));
        let me = self.start(&order, seat, more)?;
        // What is measured from here on is the program's time, not that of loading it.
        thread::sleep(LOADING);
        self.friends[me].asked = unix_ms();
        self.friends[me].say(code)?;
        Ok(me)
    }

    fn start(&mut self, order: &[&str], seat: &Seat, more: &[&str]) -> Result<usize> {
        let me = self.friends.len();
        let name = format!("F{me}");
        let home = self.work.join(format!("{}-{name}", seat.ns.name()));
        std::fs::create_dir_all(&home)?;
        let mut command = seat.ns.command(self.programs.path("voicechat"));
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("VOICECHAT_")) {
            command.env_remove(variable);
        }
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"] {
            command.env(variable, &home);
        }
        command.args(order).args(["--json", "--name", &name]);
        if !more.contains(&"--input") {
            command.args(["--input", "tone"]);
        }
        command.args(["--output", "null"]).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(home.join("stderr"))?);
        let mut child = Killed(command.spawn().context("voicechat does not start")?);
        let stdin = child.0.stdin.take().context("no stdin")?;
        let stdout = child.0.stdout.take().context("no stdout")?;
        let to = self.to.clone();
        let record = std::fs::File::create(home.join("events"))?;
        thread::spawn(move || listen(me, BufReader::new(stdout), record, &to));
        self.friends.push(Friend {
            name,
            kind: seat.kind,
            stopped: false,
            child,
            stdin,
            asked: unix_ms(),
            log: Log::default(),
        });
        Ok(me)
    }

    /// Takes in what is told until `done`, asking everybody for numbers meanwhile. True if it was done in time.
    pub(crate) fn watch(
        &mut self,
        patience: Duration,
        each: Duration,
        mut done: impl FnMut(&[Friend]) -> bool,
    ) -> Result<bool> {
        let end = Instant::now() + patience;
        let mut ask = Instant::now();
        loop {
            if done(&self.friends) {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= end {
                return Ok(false);
            }
            if now >= ask {
                ask = now + each;
                self.tell_all("/stats");
            }
            if let Some(pause) = self.chatter
                && now >= self.next_line
            {
                self.next_line = now + pause;
                self.said += 1;
                let line = self.said.to_string();
                self.tell_all(&line);
            }
            let wait = end.min(ask).saturating_duration_since(now);
            match self.heard.recv_timeout(wait) {
                Ok((who, event)) => self.friends[who].log.note(&event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nobody is left"),
            }
            if let Some(friend) = self.friends.iter().find(|friend| friend.log.error.is_some()) {
                let error = friend.log.error.as_deref().unwrap_or_default();
                return Err(anyhow!("{}: {error}", friend.name));
            }
        }
    }

    /// As `watch`, and an error if it is not done in time.
    pub(crate) fn until(&mut self, patience: Duration, done: impl FnMut(&[Friend]) -> bool) -> Result<()> {
        match self.watch(patience, POLL, done)? {
            true => Ok(()),
            false => bail!("not within {} s; {}", patience.as_secs(), self.state()),
        }
    }

    fn tell_all(&mut self, line: &str) {
        for friend in self.friends.iter_mut().filter(|friend| friend.log.is_inside() && !friend.stopped) {
            // One that has ended is noticed by its last event.
            let _ = friend.say(line);
        }
    }

    /// Waits for the lines that everybody said while `chatter` was on; what is wrong with them, if anything.
    pub(crate) fn lines_arrived(&mut self, patience: Duration) -> Result<Option<String>> {
        self.chatter = None;
        let said = self.said;
        let names: Vec<String> = self.friends.iter().map(|friend| friend.name.clone()).collect();
        let inside = |friends: &[Friend], n: usize| friends[n].log.is_inside();
        let lines = |friend: &Friend, from: &str| -> Vec<usize> {
            let theirs = friend.log.chat.iter().filter(|(name, _)| name == from);
            theirs.filter_map(|(_, text)| text.parse().ok()).collect()
        };
        let wrong = |friends: &[Friend]| {
            for (n, friend) in friends.iter().enumerate().filter(|(_, friend)| friend.log.is_inside()) {
                for (other, name) in names.iter().enumerate().filter(|(other, _)| *other != n) {
                    let got = lines(friend, name);
                    if inside(friends, other) && got != (1..=said).collect::<Vec<_>>() {
                        return Some(format!("{} has {} of {said} lines of {name}", friend.name, got.len()));
                    }
                }
            }
            None
        };
        self.watch(patience, POLL * 4, |friends| wrong(friends).is_none())?;
        Ok(wrong(&self.friends))
    }

    /// Gaps and noise count from now on.
    pub(crate) fn mark(&mut self) {
        self.mark_gaps();
        self.friends.iter_mut().for_each(|friend| friend.log.noise.clear());
    }

    pub(crate) fn mark_gaps(&mut self) {
        let now = unix_ms();
        for friend in &mut self.friends {
            for peer in friend.log.peers.values_mut() {
                peer.gap = 0;
                peer.last_heard = now;
            }
        }
    }

    /// One line on everybody, for reports of failures.
    pub(crate) fn state(&self) -> String {
        let mut parts = Vec::new();
        for friend in &self.friends {
            for (name, peer) in &friend.log.peers {
                let rung = peer.rung.as_deref().unwrap_or("none");
                parts.push(format!("{}<-{name}: {rung}, {} frames", friend.name, peer.heard));
            }
            if friend.log.entered.is_none() {
                parts.push(format!("{} is outside", friend.name));
            }
        }
        format!("after {} s: {}", self.started.elapsed().as_secs(), parts.join("; "))
    }
}

impl Friend {
    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.stdin, "{line}").map_err(|_| anyhow!("{} has ended", self.name))
    }

    /// At once, without a word to anybody.
    pub(crate) fn die(&mut self) -> Result<()> {
        self.child.0.kill()?;
        self.log.ended = true;
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// This friend's view of another.
    pub(crate) fn of(&self, name: &str) -> Option<&Peer> {
        self.log.peers.get(name)
    }

    pub(crate) fn hears(&self, name: &str) -> bool {
        self.of(name).is_some_and(|peer| peer.heard > 0)
    }

    pub(crate) fn rung(&self, name: &str) -> Option<&str> {
        self.of(name)?.rung.as_deref()
    }
}

impl Log {
    pub(crate) fn is_inside(&self) -> bool {
        self.entered.is_some() && !self.ended
    }

    fn note(&mut self, event: &Value) {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let ts = event["ts"].as_u64().unwrap_or_default();
        match event["event"].as_str().unwrap_or_default() {
            "invite" => self.invite = event["code"].as_str().map(str::to_owned).or(self.invite.take()),
            "entered" => self.entered = Some(ts),
            "path" => {
                let peer = self.peers.entry(text("name")).or_default();
                peer.rung = Some(text("rung"));
                peer.rungs.push((ts, text("rung")));
            }
            "stats" => {
                for peer in event["peers"].as_array().into_iter().flatten() {
                    let name = peer["name"].as_str().unwrap_or_default().to_owned();
                    self.peers.entry(name).or_default().note(ts, peer);
                }
            }
            "chat" => self.chat.push((text("name"), text("text"))),
            kind @ ("joined" | "left" | "reconnecting" | "back" | "unreachable" | "undelivered") => {
                self.noise.push(format!("{kind} {}", text("name")).trim_end().to_owned());
            }
            "signaling" => self.signaling_up = event["up"].as_bool(),
            "error" => self.error = Some(text("message")),
            "ended" => self.ended = true,
            _ => {}
        }
    }
}

impl Peer {
    fn note(&mut self, ts: u64, stats: &Value) {
        let heard = stats["heard"].as_u64().unwrap_or_default();
        if heard < self.heard {
            // It came back as somebody new.
            self.heard = 0;
        }
        if heard > self.heard {
            self.first_heard.get_or_insert(ts);
            let since = self.last_heard.max(self.first_heard.unwrap_or(ts));
            // What came between two looks came at its pace, but for the one silence.
            let flowing = FRAME_MS * (heard - self.heard - 1);
            self.gap = self.gap.max(ts.saturating_sub(since).saturating_sub(flowing));
            self.last_heard = self.last_heard.max(ts);
        }
        self.heard = heard;
        self.duplicates = stats["duplicates"].as_u64().unwrap_or_default();
        self.rtt_ms = stats["rtt_ms"].as_f64();
    }

    /// The longest silence since the mark, one that lasts included.
    pub(crate) fn silence(&self) -> u64 {
        self.gap.max(unix_ms().saturating_sub(self.last_heard))
    }
}

fn has_v4(seat: &Seat) -> bool {
    seat.kind.access().v4.is_some()
}

fn listen(who: usize, from: impl BufRead, mut record: std::fs::File, to: &Sender<(usize, Value)>) {
    for line in from.lines().map_while(Result::ok) {
        let _ = writeln!(record, "{line}");
        let Ok(event) = serde_json::from_str(&line) else { continue };
        if to.send((who, event)).is_err() {
            return;
        }
    }
}

pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Where `voicechat host` listens.
const HOSTED: u16 = 47_700;
/// Of voice, in milliseconds.
const FRAME_MS: u64 = 20;
/// Starting a process on a busy machine.
const LONG: Duration = Duration::from_secs(20);
/// How often friends are asked for their numbers; all times are that exact.
pub(crate) const POLL: Duration = Duration::from_millis(25);
/// A program that waits for its code has long loaded by then.
const LOADING: Duration = Duration::from_millis(150);
