//! The one thread of the engine: waits, and lets the recording and the playing half do what is due.

use std::sync::Arc;
use std::time::Duration;

use crate::device::InUse;
use crate::error::Error;
use crate::input::Input;
use crate::output::Output;
use crate::playback::Playback;
use crate::shared::{Absent, Bearable, Latency, Order, Shared, Sink};
use crate::spec::Config;
use crate::talk::{Key, Listening};

pub(crate) struct Worker {
    shared: Arc<Shared>,
    sink: Sink,
    input: Input,
    output: Output,
    playback: Playback,
    key: Key,
    turns: Turns,
    published: Duration,
}

/// The orders for devices that were carried out last.
#[derive(Default)]
struct Turns {
    input: u64,
    output: u64,
}

impl Worker {
    pub(crate) fn open(
        config: Config,
        bearable: &Bearable,
        shared: Arc<Shared>,
        sink: Sink,
    ) -> Result<(Worker, Absent), Error> {
        let Config { input, output, frame, bitrate } = config;
        let (input, microphone) = Input::open(input, frame, bitrate, bearable)?;
        let (output, loudspeaker) = Output::open(output, frame, bearable)?;
        let playback = Playback::new();
        let (key, turns) = (Key::default(), Turns::default());
        let worker = Worker { shared, sink, input, output, playback, key, turns, published: Duration::ZERO };
        Ok((worker, Absent { microphone, loudspeaker }))
    }

    pub(crate) fn run(mut self) -> Result<(), Error> {
        while !self.shared.is_stopped() {
            let now = self.shared.now();
            self.take_orders(now);
            let record = self.input.record(now, &mut self.sink);
            let play = self.output.play(now, &mut self.playback, &mut self.input, &mut self.sink);
            let deadline = [record, play, self.key.deadline(now)].into_iter().flatten().min();
            self.publish(now, deadline);
            self.shared.wait(deadline, self.playback.is_quiet());
        }
        self.output.finish(self.shared.now(), &mut self.playback)
    }

    fn take_orders(&mut self, now: Duration) {
        while let Some(order) = self.shared.next_order() {
            match order {
                Order::Hear { at, friend, heard } => self.playback.hear(at, friend, heard),
                Order::Muted { friend, muted } => self.playback.set_muted(friend, muted),
                Order::Forget(friend) => self.playback.forget(friend),
                Order::Volume { friend, percent } => self.playback.set_volume(friend, percent),
                Order::Play(cue) => self.playback.play(cue),
                Order::Input { turn, done, .. } if turn < self.turns.input => done(Err(Error::Outdone)),
                Order::Input { turn, source, done } => {
                    self.turns.input = turn;
                    self.input.switch(source, now, &mut self.sink);
                    self.publish_devices();
                    done(Ok(()));
                }
                Order::Output { turn, done, .. } if turn < self.turns.output => done(Err(Error::Outdone)),
                Order::Output { turn, drain, done } => {
                    self.turns.output = turn;
                    let finished = self.output.switch(drain, now, &mut self.playback);
                    self.publish_devices();
                    done(finished);
                }
            }
        }
        let wishes = self.shared.wishes();
        if let Some(quality) = wishes.quality {
            self.input.set_quality(quality);
        }
        let listening = self.key.listening(now, wishes.alone, wishes.muted, wishes.talk);
        self.input.set_stages(wishes.stages);
        self.input.listen(now, listening, &mut self.sink);
        self.playback.set_deafened(wishes.deafened);
        // The last one's farewell is still to be heard.
        self.output.rest(listening == Listening::Alone && self.playback.is_quiet(), now);
    }

    /// Before it is told that they were switched.
    fn publish_devices(&self) {
        let in_use = InUse { microphone: self.input.id(), loudspeaker: self.output.id() };
        self.shared.published().in_use = in_use;
    }

    /// Gives the figures out now and then, and before a long sleep at once.
    fn publish(&mut self, now: Duration, deadline: Option<Duration>) {
        let next = now + PUBLISH_EVERY;
        if now >= self.published + PUBLISH_EVERY || deadline.is_none_or(|deadline| deadline > next) {
            self.published = now;
            self.publish_devices();
            self.input.mind_monitor(self.output.id().as_deref(), &mut self.sink);
            let (playback, reserve, ran_dry) = self.output.latency();
            let latency = Latency { capture: self.input.latency(), playback, reserve, ran_dry };
            let mut published = self.shared.published();
            published.latency = latency;
            published.friends = self.playback.stats();
            published.capture = self.input.stats();
        }
    }
}

const PUBLISH_EVERY: Duration = Duration::from_millis(100);
