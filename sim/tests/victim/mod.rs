//! One member alone with the test, which is its signaling server and its network.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod friends;
pub(crate) mod insider;

use std::net::SocketAddr;
use std::time::Duration;

use vc_core::io::{Config, Ended, Event, Input, Output, PathPolicy, SignalIn, SignalOut, Time};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::member::Slot;
use vc_core::protocol::signal::{Form, Nameplate, Party, Reclaim, ToClient, ToServer, VERSION, plates_of};
use vc_core::room::Room;
use vc_core::room::code::Code;

/// A member whose signaling server is this very test.
pub(crate) struct Victim {
    pub(crate) room: Room,
    pub(crate) now: Time,
    pub(crate) said: Vec<ToServer>,
    pub(crate) events: Vec<Event>,
    pub(crate) sent: Vec<(SocketAddr, Vec<u8>)>,
    /// Every message it ever sent to signaling.
    pub(crate) bytes: Vec<Vec<u8>>,
}

pub(crate) const NUMBER: u32 = 48_213;
pub(crate) const NONCE: [u8; 16] = [7; 16];
pub(crate) const LINK: [u8; 10] = [1; 10];

impl Victim {
    pub(crate) fn creator(seed: u8) -> Self {
        let room = Room::create(friend(), [seed; 32], Time::ZERO);
        let mut victim = Self {
            room,
            now: Time::ZERO,
            said: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            bytes: Vec::new(),
        };
        victim.connect();
        victim.tell(ToClient::Created { room_nonce: NONCE, nameplate: Nameplate::Spoken(NUMBER) });
        victim.tell(ToClient::Seat { slot: slot(0), proof: proof(NUMBER, LINK) });
        assert!(victim.said.contains(&ToServer::NewCode { form: Form::Link }));
        victim.tell(ToClient::Plate { nameplate: Nameplate::Link(LINK) });
        victim.said.clear();
        victim
    }

    pub(crate) fn joiner(code: &Code, seed: u8) -> Self {
        let room = Room::join(friend(), code, [seed; 32], Time::ZERO);
        let mut victim = Self {
            room,
            now: Time::ZERO,
            said: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            bytes: Vec::new(),
        };
        victim.connect();
        victim.said.clear();
        victim
    }

    pub(crate) fn connect(&mut self) {
        self.input(Input::Tick);
        let server = "203.0.113.9:47700".parse().unwrap();
        self.input(Input::Signal(SignalIn::Up { server }));
        self.tell(ToClient::Hello { version: VERSION, probes: Vec::new() });
    }

    pub(crate) fn tell(&mut self, message: ToClient) {
        let bytes = message.encode();
        self.input(Input::Signal(SignalIn::Frame(&bytes)));
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.room.handle(self.now, input);
        loop {
            match self.room.poll() {
                Output::Signal(SignalOut::Frame(bytes)) => {
                    self.said.extend(ToServer::decode(&bytes).ok());
                    self.bytes.push(bytes);
                }
                Output::Event(event) => self.events.push(event),
                Output::Wake(_) => return,
                Output::Transmit { to, bytes } => self.sent.push((to.addr, bytes)),
                Output::Close(_) | Output::CloseSpare(_) | Output::Signal(_) | Output::Voice { .. } => {}
            }
        }
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.tell(ToClient::Pong);
    }

    /// The letters it sent since this was last asked.
    pub(crate) fn letters(&mut self) -> Vec<(Party, Vec<u8>)> {
        let said = std::mem::take(&mut self.said);
        said.into_iter()
            .filter_map(|message| match message {
                ToServer::Mail { to, blob } => Some((to, blob)),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn spoken(&self) -> String {
        self.events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Invite(codes) => codes.spoken.as_ref().map(|(_, words)| words.clone()),
                _ => None,
            })
            .unwrap()
    }

    pub(crate) fn wrong_codes(&self) -> usize {
        self.events.iter().filter(|e| matches!(e, Event::WrongCode { .. })).count()
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.events.iter().any(|e| matches!(e, Event::Locked))
    }

    pub(crate) fn has_entered(&self) -> bool {
        self.events.iter().any(|e| matches!(e, Event::Entered { .. }))
    }

    pub(crate) fn end(&self) -> Option<Ended> {
        self.events.iter().find_map(|e| match e {
            Event::Ended(ended) => Some(*ended),
            _ => None,
        })
    }
}

pub(crate) fn friend() -> Config {
    Config { name: "CANARY-friend".into(), paths: PathPolicy::Auto, forward: true }
}

pub(crate) fn slot(n: u8) -> Slot {
    Slot::new(n).unwrap()
}

/// A proof by which the server leads to the room from these nameplates.
pub(crate) fn proof(number: u32, link: [u8; 10]) -> Reclaim {
    let mut proof = [0; 91];
    proof[57..61].copy_from_slice(&number.to_be_bytes());
    proof[61..71].copy_from_slice(&link);
    assert_eq!(plates_of(&proof), (Some(number).filter(|n| *n != 0), Some(link).filter(|l| *l != [0; 10])));
    proof
}
