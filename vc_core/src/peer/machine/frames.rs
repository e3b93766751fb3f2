//! What a peer says inside a sealed packet.

use std::time::Duration;

use super::{Act, Peer, Scene};
use crate::io::{Event, Hop, Socket};
use crate::net::forward::rate::Rate;
use crate::net::path::Path;
use crate::protocol::codec::Wire;
use crate::protocol::control::{Channel, Control, Frame, State};
use crate::protocol::text;

impl Peer {
    pub(super) fn frame(&mut self, scene: &mut Scene, path: Path, frame: Frame<'_>) {
        match frame {
            Frame::Challenge { token } => {
                let mailed = matches!(path, Path::Mail(_));
                if mailed && !self.mailed.take(scene.now, MAILED_RATE, 1) {
                    return scene.counters.too_many += 1;
                }
                let seen = path.direct().map(|hop| hop.addr);
                self.send_probe(scene, path, &Frame::Response { token, seen });
            }
            Frame::Response { token, seen } => {
                let Some(spent) = self.ladder.spend(token) else { return };
                if let (Some(us), Some(Hop { socket: Socket::Main, addr })) = (seen, spent.path.direct()) {
                    scene.acts.push(Act::Seen { at: addr, us });
                }
                let there = spent.path.direct();
                if let Some(path) = self.ladder.answer(scene.now, spent) {
                    self.moved(scene, path);
                }
                if let Some(hop) = there.filter(|hop| self.ladder.is_proven(*hop)) {
                    scene.acts.push(Act::Proved(hop));
                }
            }
            Frame::Stream { channel: Channel::Chat, seq, data } => {
                // Not taken is not acknowledged: it comes again when there is room.
                if !self.chat.take(scene.now, CHAT_RATE, 1) {
                    return scene.counters.too_many += 1;
                }
                for line in self.streams[Channel::Chat.index()].receive(scene.now, seq, data) {
                    match std::str::from_utf8(&line) {
                        Ok("") => {}
                        Ok(line) => {
                            scene
                                .acts
                                .push(Act::Event(Event::Said { from: self.id, text: text::line(line) }));
                        }
                        Err(_) => scene.counters.malformed += 1,
                    }
                }
            }
            Frame::Stream { channel: Channel::Control, seq, data } => {
                if !self.control.take(scene.now, CONTROL_RATE, 1) {
                    return scene.counters.too_many += 1;
                }
                for message in self.streams[Channel::Control.index()].receive(scene.now, seq, data) {
                    match Control::decode(&message) {
                        Ok(Control::State(state)) => self.told_state(scene, state),
                        Ok(control) => scene.acts.push(Act::Control(Box::new(control))),
                        Err(_) => scene.counters.malformed += 1,
                    }
                }
            }
            Frame::Ack { channel, upto, bits } => {
                let rtt = self.ladder.rtt().map_or(Duration::from_millis(100), |(rtt, _)| rtt);
                self.streams[channel.index()].acked(scene.now, upto, bits, rtt);
            }
            Frame::Report(report) => {
                self.hearing.told(&report);
                self.losses.told(report);
            }
            Frame::Voice(voice) => {
                self.ladder.media(scene.now);
                self.losses.meter.count(scene.now, &voice);
                scene.acts.push(Act::Voice(voice));
            }
        }
    }

    fn told_state(&mut self, scene: &mut Scene, state: State) {
        if (state.direct, state.forwards) != (self.state.direct, self.state.forwards) {
            scene.acts.push(Act::Control(Box::new(Control::State(state.clone()))));
        }
        if state.muted != self.state.muted {
            scene.acts.push(Act::Event(Event::Muted { id: self.id, muted: state.muted }));
        }
        if state.echoes && !self.state.echoes {
            scene.acts.push(Act::Event(Event::Echoes { id: self.id }));
        }
        let name = text::name(&state.name);
        let renamed = name != self.state.name;
        self.state = State { name: name.clone(), ..state };
        if renamed && self.is_here() {
            scene.acts.push(Act::Event(Event::Renamed { id: self.id, name }));
        }
    }
}

/// A greeting in a full room, several times over; then more changes than a second can show.
const CONTROL_RATE: Rate = Rate::per_second(10, 80);
/// A path through signaling is asked a few times while it is new, and seldom after.
const MAILED_RATE: Rate = Rate::per_second(3, 10);
/// Faster than anybody types; a paste of twenty lines passes at once.
const CHAT_RATE: Rate = Rate::per_second(5, 20);
