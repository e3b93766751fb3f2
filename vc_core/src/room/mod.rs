//! The room, all of us: one machine that is told what happens and says what to do. It dispatches; the mechanisms are
//! its parts.

mod check;
pub mod code;
mod door;
mod election;
mod join;
mod rendezvous;
mod stay;
mod surroundings;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand_core::{RngCore, SeedableRng};
use zeroize::Zeroizing;

use self::code::Code;
use self::join::{Joining, Progress, fresh_key};
use self::rendezvous::{Need, Rendezvous};
use self::stay::{Seat, Stay, warden};
use self::surroundings::Surroundings;
use crate::crypto::keys::{Rng, StaticKey};
use crate::error::Error;
use crate::io::{
    Command, Config, Counters, Ended, Event, Hop, Input, Output, PathPolicy, PeerView, SignalIn, SignalOut,
    Time, Wake,
};
use crate::protocol::codec::Wire;
use crate::protocol::member::{Entry, MemberId, Record};
use crate::protocol::packet::Packet;
use crate::protocol::signal::{Form, Nameplate, Refusal, ToClient, ToServer, VERSION};
use crate::protocol::text;

pub struct Room {
    now: Time,
    /// When `poll` last asked to be woken.
    promised: Option<Time>,
    world: World,
    phase: Phase,
}

/// What all phases share.
pub(crate) struct World {
    name: String,
    policy: PathPolicy,
    /// Willing to carry for friends who cannot meet.
    forwards: bool,
    rng: Rng,
    out: VecDeque<Output>,
    counters: Counters,
    surroundings: Surroundings,
    link: Rendezvous,
    /// Set by what a member told us that ends our stay.
    over: Option<Error>,
}

enum Phase {
    Creating { key: StaticKey, creating: Creating },
    Joining { key: StaticKey, joining: Box<Joining> },
    Inside(Box<Stay>),
    Leaving { stay: Box<Stay>, farewell: Farewell },
    Over,
}

/// Each step takes so long at most.
enum Farewell {
    /// Nobody listens to one who has said goodbye, so what was said before arrives first.
    Lines { until: Time },
    /// The others acknowledge our goodbye.
    Said { until: Time },
}

enum Creating {
    Calling {
        deadline: Time,
    },
    /// The server named the room; our seat comes next.
    Named {
        nonce: [u8; 16],
        number: u32,
        deadline: Time,
    },
}

impl Room {
    /// A new room. `seed` is 32 random bytes that nobody else knows.
    pub fn create(config: Config, seed: [u8; 32], now: Time) -> Self {
        let mut room = Self::new(config, seed, now, Phase::Over);
        let key = fresh_key(&mut room.world.rng);
        room.phase = Phase::Creating { key, creating: Creating::Calling { deadline: now + CREATE_LIMIT } };
        room
    }

    /// The room of this code.
    pub fn join(config: Config, code: &Code, seed: [u8; 32], now: Time) -> Self {
        let mut room = Self::new(config, seed, now, Phase::Over);
        let key = fresh_key(&mut room.world.rng);
        room.phase =
            Phase::Joining { key, joining: Box::new(Joining::new(code.nameplate(), code.secret(), now)) };
        room
    }

    fn new(config: Config, seed: [u8; 32], now: Time, phase: Phase) -> Self {
        let world = World {
            name: text::name(&config.name),
            policy: config.paths,
            // One that hides its address cannot be reached by those that it would carry for.
            forwards: config.forward && config.paths == PathPolicy::Auto,
            rng: Rng::from_seed(seed),
            out: VecDeque::new(),
            counters: Counters::default(),
            surroundings: Surroundings::new(config.paths),
            link: Rendezvous::new(now),
            over: None,
        };
        Self { now, promised: None, world, phase }
    }

    /// Something happened. Drain `poll` afterwards.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        self.now = self.now.max(now);
        if self.promised.take().is_some_and(|promised| now - promised >= SLEPT) {
            self.network_changed();
        }
        match input {
            Input::Datagram { from, bytes } => self.datagram(from, bytes),
            Input::Closed(hop) => {
                if let Phase::Inside(stay) | Phase::Leaving { stay, .. } = &mut self.phase {
                    stay.closed(&mut self.world, self.now, hop);
                }
            }
            Input::Signal(signal) => self.signal(signal),
            Input::LocalAddrs(addrs) => {
                if self.world.surroundings.set_local(self.now, addrs) {
                    self.network_changed();
                }
            }
            Input::Mapped(addrs) => self.world.surroundings.set_mapped(addrs),
            Input::Voice(frame) => {
                if let Phase::Inside(stay) = &mut self.phase {
                    stay.voice(&mut self.world, self.now, &frame);
                }
            }
            Input::Command(command) => self.command(command),
            Input::Tick => {}
        }
        self.tick();
        self.world.forget_randomness();
    }

    /// What to do next; `Output::Wake` when there is nothing more.
    pub fn poll(&mut self) -> Output {
        if let Some(output) = self.world.out.pop_front() {
            return output;
        }
        let mut wake = self.wake();
        wake.at = shared(self.now, wake.at);
        self.promised = Some(wake.at);
        Output::Wake(wake)
    }

    pub fn peers(&self) -> Vec<PeerView> {
        match &self.phase {
            Phase::Inside(stay) | Phase::Leaving { stay, .. } => stay.peers(self.now),
            Phase::Creating { .. } | Phase::Joining { .. } | Phase::Over => Vec::new(),
        }
    }

    /// Lines of ours that have not arrived yet at a friend who is reached, at the one who misses the most of them.
    pub fn unread(&self) -> usize {
        match &self.phase {
            Phase::Inside(stay) | Phase::Leaving { stay, .. } => stay.unread(),
            Phase::Creating { .. } | Phase::Joining { .. } | Phase::Over => 0,
        }
    }

    pub fn me(&self) -> Option<MemberId> {
        match &self.phase {
            Phase::Inside(stay) | Phase::Leaving { stay, .. } => Some(stay.me()),
            Phase::Creating { .. } | Phase::Joining { .. } | Phase::Over => None,
        }
    }

    /// The room check: five words, the same for all who talk to the same members. Takes some milliseconds. `None`
    /// outside a room.
    pub fn verify(&self) -> Option<[&'static str; 5]> {
        match &self.phase {
            Phase::Inside(stay) => Some(stay.check()),
            Phase::Creating { .. } | Phase::Joining { .. } | Phase::Leaving { .. } | Phase::Over => None,
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.world.counters
    }

    fn datagram(&mut self, from: Hop, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Inside(stay) | Phase::Leaving { stay, .. } => {
                stay.datagram(&mut self.world, self.now, from, bytes);
            }
            Phase::Creating { .. } | Phase::Joining { .. } => match Packet::parse(bytes) {
                Ok(Packet::Probed { nonce, seen })
                    if self.world.surroundings.answered(self.now, from, nonce, seen) => {}
                Ok(_) => self.world.counters.unknown += 1,
                Err(_) => self.world.counters.malformed += 1,
            },
            Phase::Over => {}
        }
    }

    fn signal(&mut self, signal: SignalIn<'_>) {
        match signal {
            SignalIn::Up { server } => self.signal_up(server),
            SignalIn::Frame(bytes) => {
                self.world.link.heard(self.now);
                match ToClient::decode(bytes) {
                    Ok(message) => self.message(message),
                    Err(_) => self.world.counters.malformed += 1,
                }
            }
            SignalIn::Down => self.signal_down(),
        }
    }

    fn signal_up(&mut self, server: SocketAddr) {
        let now = self.now;
        self.world.link.up(now);
        self.world.surroundings.set_server(now, server);
        self.world.tell_server(&ToServer::Hello { version: VERSION });
        let first = match &mut self.phase {
            Phase::Creating { key, creating } => {
                *creating = Creating::Calling { deadline: now + CREATE_LIMIT };
                ToServer::Create { form: Form::Spoken, warden: warden(key).public() }
            }
            Phase::Joining { joining, .. } => joining.ask(now),
            Phase::Inside(stay) => return stay.connected(&mut self.world, now),
            Phase::Leaving { .. } | Phase::Over => return,
        };
        self.world.tell_server(&first);
    }

    fn signal_down(&mut self) {
        self.world.link.down(self.now, &mut self.world.rng);
        match self.phase {
            // Nothing to lose yet: the person at the keyboard wants to know now.
            Phase::Creating { .. } | Phase::Joining { .. } => self.fail(Error::Unreachable),
            Phase::Inside(ref mut stay) => stay.server_lost(&mut self.world),
            Phase::Leaving { .. } | Phase::Over => {}
        }
    }

    fn message(&mut self, message: ToClient) {
        if let ToClient::Hello { version, probes } = &message {
            let world = &mut self.world;
            if !world.link.greeted() {
                return world.counters.out_of_turn += 1;
            }
            if *version != VERSION {
                return match self.phase {
                    // A call outlives its server, and what replaces it.
                    Phase::Inside(_) | Phase::Leaving { .. } | Phase::Over => world.counters.out_of_turn += 1,
                    Phase::Creating { .. } | Phase::Joining { .. } => self.fail(Error::Version),
                };
            }
            return world.surroundings.ask(self.now, probes, &mut world.rng);
        }
        match &mut self.phase {
            Phase::Creating { key, creating } => match (&*creating, message) {
                (
                    Creating::Calling { deadline },
                    ToClient::Created { room_nonce, nameplate: Nameplate::Spoken(number) },
                ) => *creating = Creating::Named { nonce: room_nonce, number, deadline: *deadline },
                (Creating::Named { nonce, number, .. }, ToClient::Seat { slot, proof }) => {
                    let (seat, number) = (Seat { slot, proof, nonce: *nonce }, *number);
                    let key = std::mem::replace(key, fresh_key(&mut self.world.rng));
                    let mut stay = Stay::found(&mut self.world, self.now, key, seat, number);
                    stay.seated(&mut self.world);
                    self.enter(stay);
                }
                (_, ToClient::Refused(Refusal::Version)) => self.fail(Error::Version),
                (_, ToClient::Refused(_)) => self.fail(Error::TooFast),
                _ => self.world.counters.out_of_turn += 1,
            },
            Phase::Joining { key, joining } => {
                let public = key.public();
                let (world, now) = (&mut self.world, self.now);
                let record = || Record {
                    key: public,
                    name: world.name.clone(),
                    relay_only: world.policy == PathPolicy::Relay,
                    candidates: world.surroundings.candidates().to_vec(),
                };
                let entry = |_: &_| Entry { record: record(), known: None };
                match joining.receive(&message, entry, &mut world.rng) {
                    Progress::Send(message) | Progress::Prove(message) => world.tell_server(&message),
                    Progress::Entered { welcome, nonce, slot, proof } => {
                        let key = std::mem::replace(key, fresh_key(&mut world.rng));
                        let seat = Seat { slot, proof, nonce };
                        let mut stay = Stay::enter(world, now, key, seat, *welcome);
                        stay.seated(world);
                        self.enter(stay);
                    }
                    Progress::Failed(error) => self.fail(error),
                    Progress::Ignored => world.counters.out_of_turn += 1,
                    Progress::Waiting => {}
                }
            }
            Phase::Inside(stay) => stay.signal(&mut self.world, self.now, message),
            Phase::Leaving { .. } | Phase::Over => {}
        }
    }

    fn enter(&mut self, stay: Stay) {
        let (me, codes) = (stay.me(), stay.codes().cloned());
        self.phase = Phase::Inside(Box::new(stay));
        self.event(Event::Entered { me });
        if let Some(codes) = codes {
            self.event(Event::Invite(codes));
        }
    }
}

impl World {
    /// The generator's state tells all that it ever made: it is replaced as soon as something was made, so that nobody
    /// who reads our memory later can go back to the keys of before.
    fn forget_randomness(&mut self) {
        if self.rng.get_word_pos() > 0 {
            let mut seed = Zeroizing::new([0; 32]);
            self.rng.fill_bytes(&mut *seed);
            self.rng = Rng::from_seed(*seed);
        }
    }
}

impl Room {
    fn command(&mut self, command: Command) {
        match (&mut self.phase, command) {
            (Phase::Inside(stay), Command::Say(text)) => stay.say(&mut self.world, &text),
            (Phase::Inside(stay), Command::Mute(muted)) => stay.set_state(|state| state.muted = muted),
            (Phase::Inside(stay), Command::Echoes(echoes)) => stay.set_state(|state| state.echoes = echoes),
            (Phase::Inside(stay), Command::Deafen(deafened)) => {
                stay.set_state(|state| state.deafened = deafened)
            }
            (Phase::Inside(stay), Command::Kick(id)) => stay.kick(&mut self.world, self.now, id),
            (Phase::Inside(stay), Command::Lock(locked)) => stay.lock(&mut self.world, locked),
            (Phase::Inside(stay), Command::Invite) => stay.invite(&mut self.world),
            (phase, Command::Rename(name)) => {
                self.world.name = text::name(&name);
                if let Phase::Inside(stay) = phase {
                    stay.set_state(|state| state.name.clone_from(&self.world.name));
                }
            }
            (Phase::Inside(_), Command::Leave) => {
                if let Phase::Inside(stay) = std::mem::replace(&mut self.phase, Phase::Over) {
                    let farewell = Farewell::Lines { until: self.now + LAST_LINES };
                    self.phase = Phase::Leaving { stay, farewell };
                }
            }
            (Phase::Creating { .. } | Phase::Joining { .. }, Command::Leave) => self.end(Ended::Left),
            _ => {}
        }
    }

    fn network_changed(&mut self) {
        self.world.surroundings.restart(self.now);
        self.world.link.hurry(self.now);
        if let Phase::Inside(stay) = &mut self.phase {
            stay.restart(&mut self.world, self.now);
        }
    }

    fn tick(&mut self) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        let now = self.now;
        match self.world.link.tick(now) {
            Some(Need::Dial) => self.world.out.push_back(Output::Signal(SignalOut::Dial)),
            Some(Need::Ping) => self.world.tell_server(&ToServer::Ping),
            Some(Need::Hang) => {
                self.world.out.push_back(Output::Signal(SignalOut::Hang));
                if let Phase::Inside(stay) = &mut self.phase {
                    stay.server_lost(&mut self.world);
                }
            }
            None => {}
        }
        for (to, bytes) in self.world.surroundings.tick(now) {
            self.world.out.push_back(Output::Transmit { to: to.into(), bytes });
        }
        match &mut self.phase {
            Phase::Creating {
                creating: Creating::Calling { deadline } | Creating::Named { deadline, .. },
                ..
            } => {
                if *deadline <= now {
                    self.fail(Error::Unreachable);
                }
            }
            Phase::Joining { joining, .. } => {
                if let Some(error) = joining.expired(now) {
                    self.fail(error);
                }
            }
            Phase::Inside(stay) => {
                stay.tick(&mut self.world, now);
                let stranded = stay.is_stranded(now).then_some(Error::NoPath);
                if let Some(error) = self.world.over.or(stranded) {
                    self.fail(error);
                }
            }
            Phase::Leaving { stay, farewell } => {
                if let Farewell::Lines { until } = *farewell
                    && (stay.unread() == 0 || until <= now)
                {
                    stay.leave(&mut self.world);
                    *farewell = Farewell::Said { until: now + GOODBYE };
                }
                stay.tick(&mut self.world, now);
                if let Farewell::Said { until } = *farewell
                    && (stay.has_left() || until <= now)
                {
                    stay.report_undelivered(&mut self.world, now);
                    self.end(Ended::Left);
                }
            }
            Phase::Over => {}
        }
    }

    fn wake(&self) -> Wake {
        let link = self.world.link.wake().map(|at| Wake { at, why: "signaling" });
        let echo = self.world.surroundings.wake().map(|at| Wake { at, why: "address echo" });
        let phase = match &self.phase {
            Phase::Creating {
                creating: Creating::Calling { deadline } | Creating::Named { deadline, .. },
                ..
            } => Some(Wake { at: *deadline, why: "room creation" }),
            Phase::Joining { joining, .. } => Some(Wake { at: joining.wake(), why: "admission" }),
            Phase::Inside(stay) => Some(stay.wake(&self.world, self.now)),
            Phase::Leaving { stay, farewell: Farewell::Lines { until } | Farewell::Said { until } } => {
                let stay = stay.wake(&self.world, self.now);
                Some(if stay.at < *until { stay } else { Wake { at: *until, why: "goodbye" } })
            }
            Phase::Over => return Wake { at: self.now + IDLE, why: "over" },
        };
        let soonest = [link, echo, phase].into_iter().flatten().min_by_key(|wake| wake.at);
        soonest.unwrap_or(Wake { at: self.now + IDLE, why: "nothing" })
    }

    fn fail(&mut self, error: Error) {
        self.end(Ended::Failed(error));
    }

    fn end(&mut self, ended: Ended) {
        self.phase = Phase::Over;
        self.world.link.close();
        self.world.out.push_back(Output::Signal(SignalOut::Hang));
        self.event(Event::Ended(ended));
    }

    fn event(&mut self, event: Event) {
        self.world.out.push_back(Output::Event(event));
    }
}

/// When what is due then is looked at: at once if that is now, else with all else that is due soon after.
fn shared(now: Time, at: Time) -> Time {
    if at <= now {
        return at;
    }
    Time::from_micros(at.as_micros().checked_next_multiple_of(GRAIN.as_micros() as u64).unwrap_or(u64::MAX))
}

/// Nothing waits for less. Fifteen friends in alarm have some five hundred timers a second.
const GRAIN: Duration = Duration::from_millis(4);
/// Dialling and two answers; a person waits.
const CREATE_LIMIT: Duration = Duration::from_secs(15);
/// Two tries of a line to a friend across an ocean, three nearby.
const LAST_LINES: Duration = Duration::from_millis(550);
/// Long enough for two round trips to a friend far away, short enough for a person who wants to go.
const GOODBYE: Duration = Duration::from_millis(400);
/// Woken this much too late means that the machine slept: addresses and holes in NATs are stale.
const SLEPT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(3_600);
