//! `voicechat demo`: a server and two friends as real processes on loopback, watched through their events.

mod actor;
mod speech;
mod summary;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use self::actor::{Actor, GONE, Heard, Who};
use self::speech::{ADA, BOB};
use self::summary::Tally;
use crate::cli::Demo;
use crate::config::Path;
use crate::failure::{Failure, Kind};
use crate::printer;
use crate::stop::Stop;

pub(crate) async fn run(demo: Demo) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let work = tempfile::Builder::new().prefix("voicechat-demo-").tempdir().map_err(|error| {
        Failure::machine(
            format!("No temporary directory can be made ({}).", crate::config::reason(&error)),
            "Free some space, or set TMPDIR.",
        )
    })?;
    tokio::select! {
        result = perform(&demo, work.path()) => result,
        () = stop.asked() => Err(Failure::new(Kind::Demo, "The demo was stopped before its end.", "")),
    }
}

/// A table of contents; each act ends by itself or fails in bounded time.
async fn perform(demo: &Demo, work: &std::path::Path) -> Result<(), Failure> {
    speech::write(&ADA, work)?;
    speech::write(&BOB, work)?;
    let mut stage = Stage::new(demo.path, work.to_owned());
    printer::tell("A server and two friends, Ada and Bob, start on this machine; nothing leaves it.\n");
    let (server, place) = stage.server(demo.seconds).await?;
    let (mut ada, code) = stage.ada(&place, demo.seconds).await?;
    printer::tell(&format!("Ada opened a room. Her code: {code}\n"));
    let mut bob = stage.bob(&place, &code, demo.seconds).await?;
    let mut tally = stage.meet(&mut ada).await?;
    stage.talk(&mut ada, &mut bob, &mut tally, demo.seconds).await?;
    stage.part(&mut ada, &mut bob, &mut tally).await?;
    drop(server);
    let kept = summary::keep(work, demo.keep.as_deref())?;
    tally.conclude(demo.path, &kept)
}

/// Where the play takes place.
struct Stage {
    path: Path,
    work: PathBuf,
    to: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
}

impl Stage {
    fn new(path: Path, work: PathBuf) -> Self {
        let (to, heard) = mpsc::channel(QUEUE);
        Self { path, work, to, heard }
    }

    async fn server(&mut self, seconds: u32) -> Result<(Actor, String), Failure> {
        let limit = limit(seconds);
        let args = ["serve", "--json", "--listen", "127.0.0.1:0", "--seconds", &limit].map(str::to_owned);
        let server = Actor::start(Who::Server, args.to_vec(), &self.work, &self.to)?;
        let serving = self.wait_for(Who::Server, "serving").await?;
        Ok((server, text(&serving, "place")))
    }

    async fn ada(&mut self, place: &str, seconds: u32) -> Result<(Actor, String), Failure> {
        let ada = Actor::start(Who::Ada, self.friend("create", &ADA, place, seconds), &self.work, &self.to)?;
        loop {
            let invite = self.wait_for(Who::Ada, "invite").await?;
            if let Some(code) = invite["code"].as_str() {
                return Ok((ada, code.to_owned()));
            }
        }
    }

    /// The code goes through stdin: nobody finds it in the process list.
    async fn bob(&mut self, place: &str, code: &str, seconds: u32) -> Result<Actor, Failure> {
        let mut bob =
            Actor::start(Who::Bob, self.friend("join", &BOB, place, seconds), &self.work, &self.to)?;
        bob.types(code).await?;
        Ok(bob)
    }

    fn friend(&self, command: &str, part: &speech::Part, place: &str, seconds: u32) -> Vec<String> {
        let file = |name: &str| format!("wav:{}", self.work.join(name).display());
        let path = match self.path {
            Path::Direct => "direct",
            Path::Relay => "relay",
            Path::Auto => "auto",
        };
        let input = format!("{},loop", file(part.says));
        let output = file(part.hears);
        let limit = limit(seconds);
        let flags = ["--json", "--name", part.name, "--server", place, "--path", path];
        let sound = ["--input", &input, "--output", &output, "--seconds", &limit];
        [command].iter().chain(&flags).chain(&sound).map(|arg| (*arg).to_owned()).collect()
    }

    /// Until the two are connected by something that carries voice.
    async fn meet(&mut self, ada: &mut Actor) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let deadline = Instant::now() + ACT;
        while !tally.connected() {
            let heard = self.next(deadline, "The two friends did not find each other in time.").await?;
            tally.note(&heard)?;
        }
        ada.types(tally.script()[0]).await?;
        Ok(tally)
    }

    async fn talk(
        &mut self,
        ada: &mut Actor,
        bob: &mut Actor,
        tally: &mut Tally,
        seconds: u32,
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let end = begin + Duration::from_secs(seconds.into());
        loop {
            let heard = tokio::select! {
                heard = self.heard.recv() => heard,
                () = sleep_until(end) => return Ok(()),
            };
            let Some(heard) = heard else { return Ok(()) };
            narrate(&heard);
            if let Some(line) = tally.note(&heard)? {
                let speaker = match heard.who {
                    Who::Ada => &mut *ada,
                    Who::Bob | Who::Server => &mut *bob,
                };
                speaker.types(line).await?;
            }
            // Bob's second stands for both: each tells its numbers once a second.
            if heard.who == Who::Bob && heard.is("stats") {
                printer::say(&tally.live_line(begin.elapsed()));
            }
        }
    }

    async fn part(&mut self, ada: &mut Actor, bob: &mut Actor, tally: &mut Tally) -> Result<(), Failure> {
        for friend in [&mut *ada, &mut *bob] {
            // The numbers of this very moment, then goodbye.
            friend.types("/stats").await?;
        }
        let deadline = Instant::now() + ACT;
        tally.await_numbers();
        while !tally.has_numbers() {
            let heard = self.next(deadline, "The two friends stopped answering.").await?;
            tally.note(&heard)?;
        }
        bob.types("/quit").await?;
        ada.types("/quit").await?;
        while !tally.all_left() {
            let heard = self.next(deadline, "The two friends did not leave when asked.").await?;
            tally.note(&heard)?;
        }
        for friend in [ada, bob] {
            friend.ended(deadline).await?;
        }
        Ok(())
    }

    async fn wait_for(&mut self, who: Who, event: &str) -> Result<Value, Failure> {
        let deadline = Instant::now() + ACT;
        loop {
            let heard = self.next(deadline, &format!("{} did not start in time.", who.name())).await?;
            match heard.who == who {
                true if heard.is(event) => return Ok(heard.event),
                true if heard.is(GONE) => return Err(failed(&format!("{} stopped by itself.", who.name()))),
                _ => {}
            }
        }
    }

    /// The next event that is not the bad end of one of the processes.
    async fn next(&mut self, deadline: Instant, late: &str) -> Result<Heard, Failure> {
        let wait = deadline.saturating_duration_since(Instant::now());
        match timeout(wait, self.heard.recv()).await {
            Ok(Some(heard)) if heard.is("error") => {
                Err(failed(&format!("{}: {}", heard.who.name(), text(&heard.event, "message"))))
            }
            Ok(Some(heard)) => {
                narrate(&heard);
                Ok(heard)
            }
            Ok(None) | Err(_) => Err(failed(late)),
        }
    }
}

/// Should we be killed, they end all the same: after the play and the two acts around it.
fn limit(seconds: u32) -> String {
    (u64::from(seconds) + 4 * ACT.as_secs()).to_string()
}

fn narrate(heard: &Heard) {
    if let Some(words) = Tally::words(heard) {
        printer::tell(&words);
    }
}

fn text(event: &Value, field: &str) -> String {
    event[field].as_str().unwrap_or_default().to_owned()
}

fn failed(what: &str) -> Failure {
    Failure::new(Kind::Demo, what, "Try again; if it fails again, please report it.")
}

/// Starting a process on a busy machine, and everything else that normally takes a second.
const ACT: Duration = Duration::from_secs(10);
const QUEUE: usize = 64;
