//! The only loop of a call: sockets, signaling, microphone, keyboard and timer tell the room; what it wants is done.

mod ahead;
mod happened;
mod held;
pub(crate) mod obey;
mod second;

use std::net::SocketAddr;
use std::time::Duration;

use audio::Trouble;
use rand_core::{RngCore, SeedableRng};
use relay::stream;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use vc_core::crypto::keys::Rng;
use vc_core::io::{
    Command, Denial, Hop, Input, Output, PathPolicy, PeerState, PeerView, SignalIn, SignalOut, Socket, Time,
};
use vc_core::protocol::member::Codes;
use vc_core::room::Room;

use self::ahead::Ahead;
use self::held::Held;
use crate::calm::Calm;
use crate::clock::Clock;
use crate::ctl::{Asked, Listener};
use crate::dial::Ports;
use crate::failure::Failure;
use crate::host::seed;
use crate::lines::Typed;
use crate::names::Names;
use crate::network::Network;
use crate::note::{Entrance, Note};
use crate::order::{Answer, Given, Order, Refusal, TalkKey};
use crate::plan::{Entry, Plan};
use crate::portmap::{PortMap, Use};
use crate::report::{self, Counts};
use crate::signal_link::{Fault, Link, News};
use crate::sockets::Sockets;
use crate::sound::{self, FromSound};
use crate::stats::{Stats, Status};
use crate::stop::{Stop, at};
use crate::streams::Streams;
use crate::ui::Ui;

/// From here to the end of the stay.
pub(crate) async fn run(plan: Plan, ui: &mut Ui, stop: &mut Stop) -> Result<(), Failure> {
    let sockets = Sockets::bind().await.map_err(|error| {
        Failure::machine(
            format!("No UDP socket could be opened ({}).", crate::config::reason(&error)),
            "Check the network settings of this machine.",
        )
    })?;
    App::new(plan, ui, sockets)?.stay(stop).await
}

struct App<'a> {
    plan: Plan,
    ui: &'a mut Ui,
    room: Room,
    sockets: Sockets,
    /// Not where none of our addresses may reach others, and not while everything is on this machine.
    port_map: Option<PortMap>,
    /// For our own server.
    door_map: Option<PortMap>,
    streams: Streams,
    network: Network,
    link: Link,
    clock: Clock,
    rng: Rng,
    /// When the room wants to be called next.
    wake: Time,
    names: Names,
    counts: Counts,
    /// Why the last attempt to reach the server failed.
    fault: Option<Fault>,
    server_is_here: bool,
    muted: bool,
    deafened: bool,
    talk_key: Held,
    /// Whether the code lets friends in, as they said.
    open: bool,
    calm: Calm,
    /// That a friend made a new code, and since when it waits to be told together with that code.
    renewed: Option<(Note, Instant)>,
    verdict: Verdict,
    ahead: Ahead,
    /// When a line was last said.
    said: Option<Instant>,
    /// The words that somebody compared, until they have read that these have changed.
    compared: Option<[&'static str; 5]>,
    /// How others get in. `None` before the server has named the room, and after these codes died, until others are there.
    codes: Option<Codes>,
    /// When a voice last moved a level.
    lively: Option<Instant>,
    /// When the screen was last told how things are.
    glanced: Instant,
    /// Answers that take their time.
    late: JoinSet<(obey::Reply, Answer)>,
    /// Orders from outside, where the system has a place for them.
    outside: Option<Listener>,
    /// When we were let in, or the room was made.
    entered: Option<Instant>,
    stage: Stage,
}

/// What the room says against the order that is being done.
#[derive(Default)]
enum Verdict {
    #[default]
    Unasked,
    Nothing,
    Denied(Denial),
}

enum Stage {
    Staying,
    /// Told the room; not longer than until then.
    Leaving(Instant),
    Over(Result<(), Failure>),
}

impl<'a> App<'a> {
    fn new(plan: Plan, ui: &'a mut Ui, sockets: Sockets) -> Result<Self, Failure> {
        let now = Time::ZERO;
        let mut rng = Rng::from_seed(seed()?);
        let room = match &plan.entry {
            Entry::Create => Room::create(plan.room.clone(), fresh(&mut rng), now),
            Entry::Join(code) => Room::join(plan.room.clone(), code, fresh(&mut rng), now),
        };
        let server_is_here = plan.place.host == "localhost"
            || plan.place.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let muted = plan.muted;
        let outside = match ui.is_silent() {
            true => None,
            false => Listener::open(ui.watchers()).inspect_err(|error| tracing::warn!(%error, "no ctl")).ok(),
        };
        Ok(Self {
            plan,
            ui,
            room,
            port_map: None,
            door_map: None,
            sockets,
            streams: Streams::default(),
            network: Network::watch(),
            link: Link::default(),
            clock: Clock::start(),
            rng,
            wake: now,
            names: Names::default(),
            counts: Counts::default(),
            fault: None,
            server_is_here,
            muted,
            deafened: false,
            talk_key: Held::default(),
            open: true,
            calm: Calm::default(),
            renewed: None,
            verdict: Verdict::default(),
            ahead: Ahead::default(),
            said: None,
            compared: None,
            codes: None,
            lively: None,
            glanced: Instant::now(),
            late: JoinSet::new(),
            outside,
            entered: None,
            stage: Stage::Staying,
        })
    }

    async fn stay(mut self, stop: &mut Stop) -> Result<(), Failure> {
        let mut second = interval(SECOND);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stay = self.plan.stay.map(|stay| Instant::now() + stay);
        self.mute(self.muted);
        self.plan.habits.apply(&self.plan.sound);
        self.tell_addresses();
        self.door_map = self.plan.door().map(|port| PortMap::start(port, Use::Server));
        loop {
            self.catch_up();
            if let Stage::Over(result) = self.stage {
                self.link.parted().await;
                let released = |map: Option<PortMap>| async {
                    if let Some(map) = map {
                        map.release().await;
                    }
                };
                tokio::join!(released(self.port_map.take()), released(self.door_map.take()));
                let result = result.and(self.plan.sound.finish());
                self.plan.alerts.end(&Note::ended(&result)).await;
                if result.is_ok() {
                    self.ui.part(self.entered.map(|entered| entered.elapsed()));
                }
                return result;
            }
            self.next(stop, &mut second, stay).await;
        }
    }

    /// Waits for whatever comes first and acts on it.
    async fn next(&mut self, stop: &mut Stop, second: &mut Interval, stay: Option<Instant>) {
        let wake = self.clock.until(self.wake);
        let (over, patience) = match &self.stage {
            Stage::Staying => (stay, None),
            Stage::Leaving(until) => (None, Some(*until)),
            Stage::Over(_) => (None, None),
        };
        let lively = self.ui.is_screen() && self.lively.is_some_and(|heard| heard + LINGER > self.glanced);
        let glance = lively.then_some(self.glanced + GLANCE);
        tokio::select! {
            () = self.sockets.readable() => self.datagrams(),
            (from, news) = self.streams.next() => self.streamed(from, news),
            from = self.plan.sound.next() => self.heard(from),
            () = sleep(wake) => self.tell(Input::Tick),
            () = self.network.changed() => self.look_around().await,
            news = self.link.next() => self.news(news),
            typed = typed(self.ui, self.ahead.is_full()) => self.typed(typed),
            Some(late) = self.late.join_next() => {
                if let Ok((reply, answer)) = late {
                    reply(self.ui, answer);
                }
            }
            asked = ordered(&mut self.outside) => self.obey(asked.order, Given::Outside, asked.reply),
            outside = mapped(&mut self.port_map) => self.tell(Input::Mapped(outside.as_slice())),
            outside = mapped(&mut self.door_map) => self.opened(outside),
            _ = second.tick() => self.second().await,
            () = at(glance) => self.glance(),
            () = stop.asked() => self.leave(),
            () = at(over) => self.leave(),
            () = at(patience) => self.stage = Stage::Over(Ok(())),
            () = host_failed(&mut self.plan.host) => {
                self.plan.host = None;
                self.ui.trouble("The room's own server stopped: the call goes on, but nobody can join.");
            }
        }
    }

    /// Every change of the room is followed by everything that it wants done.
    fn tell(&mut self, input: Input<'_>) {
        self.room.handle(self.clock.now(), input);
        loop {
            match self.room.poll() {
                Output::Transmit { to, bytes } => self.transmit(to, &bytes),
                Output::Close(hop) => self.streams.close(hop.addr),
                Output::CloseSpare(spare) => self.sockets.close_spare(spare),
                Output::Voice { from, frame } => {
                    self.lively = Some(Instant::now());
                    self.counts.heard(from, &frame);
                    if !self.deafened {
                        self.plan.sound.hear(from, frame);
                    }
                }
                Output::Signal(SignalOut::Dial) => {
                    self.link.dial(self.plan.place.clone(), fresh(&mut self.rng))
                }
                Output::Signal(SignalOut::Frame(frame)) => self.link.send(frame),
                Output::Signal(SignalOut::Hang) => self.link.hang(),
                Output::Event(event) => self.event(event),
                Output::Wake(wake) => {
                    tracing::trace!(why = wake.why, "next");
                    self.wake = wake.at;
                    return;
                }
            }
        }
    }

    fn transmit(&mut self, to: Hop, bytes: &[u8]) {
        match to.socket {
            Socket::Tcp => self.sockets.unsent += u64::from(!self.streams.send(to.addr, bytes)),
            Socket::Main | Socket::Spare(_) => self.sockets.send(to, bytes),
        }
    }

    fn streamed(&mut self, from: Hop, news: stream::News) {
        match news {
            stream::News::Packet(bytes) => self.tell(Input::Datagram { from, bytes: &bytes }),
            stream::News::Closed => self.tell(Input::Closed(from)),
        }
    }

    fn datagrams(&mut self) {
        let mut buffer = [0; BUFFER];
        // Bounded, so that a flood leaves a turn for the keyboard.
        for _ in 0..BATCH {
            let Some((len, from)) = self.sockets.take(&mut buffer) else { return };
            if let Some(bytes) = buffer.get(..len) {
                self.tell(Input::Datagram { from, bytes });
            }
        }
    }

    fn heard(&mut self, from: FromSound) {
        match from {
            FromSound::Voice(frame) => {
                self.counts.sent += 1;
                self.tell(Input::Voice(frame));
            }
            FromSound::Level { dbfs, talking } => {
                self.counts.level = Some((dbfs, talking));
                self.lively = Some(Instant::now());
                if self.ui.is_followed() {
                    self.ui.beat(&Note::Level { dbfs, talking });
                }
            }
            FromSound::Trouble(good @ (Trouble::MicrophoneBack | Trouble::SpeakerBack)) => {
                self.ui.notice(sound::told(&good));
            }
            FromSound::Trouble(trouble) => self.ui.trouble(sound::told(&trouble)),
            FromSound::InputEnded => self.ui.notice("The sound file has been played to its end."),
            FromSound::Broken => {
                let (sentence, anew) = self.plan.sound.mend();
                self.ui.trouble(sentence);
                if anew {
                    self.wish_again();
                }
            }
        }
    }

    /// An engine that was started anew knows nothing of what was wished.
    fn wish_again(&self) {
        let sound = &self.plan.sound;
        self.plan.habits.apply(sound);
        sound.set_muted(self.muted);
        sound.set_deafened(self.deafened);
    }

    fn news(&mut self, news: News) {
        match news {
            News::Up { server, key } => {
                self.fault = None;
                self.met(key);
                let by_own = server.port() == self.plan.place.port;
                self.streams.set_server(server.ip(), if by_own { Ports::AndOpen } else { Ports::OpenFirst });
                if server.ip().is_loopback() != self.server_is_here {
                    self.server_is_here = server.ip().is_loopback();
                    self.tell_addresses();
                }
                self.map_port();
                self.tell(Input::Signal(SignalIn::Up { server }));
            }
            News::Frame(frame) => self.tell(Input::Signal(SignalIn::Frame(&frame))),
            News::Down(Fault::Key(_)) if self.entered.is_none() => {
                self.stage = Stage::Over(Err(report::key_changed(&self.plan.place, self.plan.who_named())));
            }
            News::Down(fault) => {
                // A call needs no server, and whoever poses as one must not end it.
                if matches!(fault, Fault::Key(_)) && !matches!(self.fault, Some(Fault::Key(_))) {
                    self.ui.trouble(report::another_server(&self.plan.place));
                }
                tracing::debug!(?fault, "no signaling");
                self.fault = Some(fault);
                self.tell(Input::Signal(SignalIn::Down));
            }
        }
    }

    /// From its first answer on, the server must be the same one.
    fn met(&mut self, key: vc_core::crypto::keys::PublicKey) {
        let first = self.plan.place.key.replace(key).is_none();
        let Some(pins) = self.plan.pins.take() else { return };
        let address = self.plan.place.address();
        match pins.remember(&address, key) {
            Ok(()) if first => {
                self.ui.notice(format!(
                    "First time at {address}: its key is remembered and has to be the same next time."
                ));
            }
            Ok(()) => {}
            Err(error) => self.ui.trouble(format!(
                "The server's key could not be remembered in {} ({}). Next time it is trusted anew.",
                pins.file().display(),
                crate::config::reason(&error)
            )),
        }
    }

    fn typed(&mut self, typed: Typed) {
        match typed {
            Typed::Line(line) => {
                if let Some(line) = Order::line(&line) {
                    self.line(line);
                }
            }
            Typed::Nonsense(why) => self.line(Err(Refusal { order: None, why })),
            Typed::Talk(down) => drop(self.order_talk(TalkKey::Down(down), Given::InTheCall)),
            Typed::Interrupt => self.leave(),
            // Ctrl-D leaves; the end of a pipe or of no terminal at all says nothing about the call.
            Typed::End if self.ui.is_person() => self.leave(),
            Typed::End => {}
        }
    }

    fn mute(&mut self, muted: bool) {
        self.muted = muted;
        self.counts.level = None;
        self.plan.sound.set_muted(muted);
        self.tell(Input::Command(Command::Mute(muted)));
    }

    /// The second request does not wait for the others to know.
    fn leave(&mut self) {
        match self.stage {
            Stage::Staying => {
                self.stage = Stage::Leaving(Instant::now() + PATIENCE);
                self.tell(Input::Command(Command::Leave));
            }
            Stage::Leaving(_) => self.stage = Stage::Over(Ok(())),
            Stage::Over(_) => {}
        }
    }

    fn glance(&mut self) {
        self.glanced = Instant::now();
        if self.ui.is_screen() && self.room.me().is_some() {
            self.ui.glance(self.stats());
        }
    }

    fn map_port(&mut self) {
        let useful = self.plan.room.paths != PathPolicy::Relay && !self.server_is_here;
        if useful && self.plan.port_mapping && self.port_map.is_none() {
            self.port_map = self.sockets.port().map(|port| PortMap::start(port, Use::Call));
        }
    }

    /// The router lets friends in to our own server, or no longer does.
    fn opened(&mut self, outside: Option<SocketAddr>) {
        if !self.plan.opened(outside) {
            return;
        }
        if self.plan.told.is_some() {
            self.ui.notice(OPENED);
        }
        if let Some(codes) = &self.codes {
            let note = self.plan.invitation(codes, self.entrance());
            self.happened(false, note);
        }
    }

    fn tell_addresses(&mut self) {
        let addresses = self.sockets.addresses(self.server_is_here);
        self.tell(Input::LocalAddrs(&addresses));
    }

    fn invitation(&self) -> Option<Note> {
        self.codes.as_ref().map(|codes| self.plan.invitation(codes, self.entrance()))
    }

    fn entrance(&self) -> Entrance {
        Entrance { up: self.is_up(), open: self.open }
    }

    /// Whether the server is there.
    fn is_up(&self) -> bool {
        self.fault.is_none()
    }

    /// In, and met by those who are there. Whoever cannot be met is not waited for.
    fn is_among_friends(&self) -> bool {
        let coming = |peer: &PeerView| match peer.state {
            PeerState::Connecting => true,
            PeerState::Live => peer.rung.is_none(),
            PeerState::Reconnecting | PeerState::Gone => false,
        };
        let met = || !self.room.peers().iter().any(coming);
        self.entered.is_some_and(|entered| entered.elapsed() > MEETING || met())
    }

    fn somebody(&self) -> bool {
        self.room.peers().iter().any(|peer| peer.state != PeerState::Gone)
    }

    fn stats(&self) -> Stats {
        let mut stats = self.counts.stats(&self.room, &self.names, &self.plan);
        stats.muted = self.muted;
        stats.deafened = self.deafened;
        stats.push_to_talk = self.plan.habits.push_to_talk;
        stats.talk_key = self.talk_key.is_down();
        stats.open = self.open;
        stats.drops.unsent = self.sockets.unsent;
        stats
    }

    fn status(&self) -> Status {
        let (code, server) = match self.invitation() {
            Some(Note::Invite { code, server, .. }) => (code, server),
            _ => (None, self.plan.place.address()),
        };
        Status { name: self.plan.room.name.clone(), code, server, up: self.is_up(), stats: self.stats() }
    }
}

/// No further line while there is no place for one.
async fn typed(ui: &mut Ui, full: bool) -> Typed {
    if full {
        ui.broken().await;
        return Typed::Interrupt;
    }
    ui.typed().await
}

fn fresh(rng: &mut Rng) -> [u8; 32] {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    seed
}

async fn ordered(outside: &mut Option<Listener>) -> Asked {
    match outside {
        Some(outside) => outside.next().await,
        None => std::future::pending().await,
    }
}

async fn mapped(port_map: &mut Option<PortMap>) -> Option<SocketAddr> {
    match port_map {
        Some(port_map) => port_map.changed().await,
        None => std::future::pending().await,
    }
}

async fn host_failed(host: &mut Option<crate::host::Host>) {
    match host {
        Some(host) => host.failed().await,
        None => std::future::pending().await,
    }
}

const OPENED: &str = "Your router opened a port for the room, so friends from elsewhere get in as well, with what \
                      follows. Friends in your own network use what stands above.";
/// Levels on the screen follow a voice so closely.
const GLANCE: Duration = Duration::from_millis(100);
/// After the last of it they fall to rest, which is to be seen as well.
const LINGER: Duration = Duration::from_millis(400);
/// Those who can be met are met within a second or two, by the relay if not directly; a second look takes the rest.
const MEETING: Duration = Duration::from_secs(4);
const SECOND: Duration = Duration::from_secs(1);
/// Longer than the room takes to tell the others, so that it normally has the last word.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Longer than any packet of ours, so that what was cut off is malformed, too.
const BUFFER: usize = vc_core::protocol::packet::MAX_UDP + 1;
const BATCH: usize = 64;
