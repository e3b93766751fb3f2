//! The one thread of the engine: waits, and lets the recording and the playing half do what is due.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{FromEngine, Order, Shared};
use crate::error::Error;
use crate::input::{Input, Listening};
use crate::output::Output;
use crate::playback::Playback;
use crate::spec::Config;

pub(crate) type Sink = Box<dyn FnMut(FromEngine) + Send>;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    sink: Sink,
    input: Input,
    output: Output,
    playback: Playback,
    loss: u8,
    published: Duration,
}

impl Worker {
    pub(crate) fn open(config: Config, shared: Arc<Shared>, sink: Sink) -> Result<Worker, Error> {
        let Config { input, output, frame, bitrate } = config;
        let input = Input::open(input, frame, bitrate)?;
        let output = Output::open(output, frame)?;
        let playback = Playback::new();
        Ok(Worker { shared, sink, input, output, playback, loss: 0, published: Duration::ZERO })
    }

    pub(crate) fn run(mut self) -> Result<(), Error> {
        while !self.shared.is_stopped() {
            let now = self.shared.now();
            self.take_orders(now);
            let record = self.input.record(now, &mut self.sink);
            let play = self.output.play(now, &mut self.playback, &mut self.sink);
            let deadline = [record, play].into_iter().flatten().min();
            self.publish(now, deadline);
            self.shared.wait(deadline, self.playback.is_quiet());
        }
        self.output.finish(self.shared.now(), &mut self.playback)
    }

    fn take_orders(&mut self, now: Duration) {
        while let Some(order) = self.shared.next_order() {
            match order {
                Order::Hear { at, friend, heard } => self.playback.hear(at, friend, heard),
                Order::Forget(friend) => self.playback.forget(friend),
            }
        }
        let loss = self.shared.loss();
        if loss != self.loss {
            self.loss = loss;
            self.input.expect_loss(loss);
        }
        let listening = match (self.shared.is_alone(), self.shared.is_muted()) {
            (true, _) => Listening::Alone,
            (false, true) => Listening::Muted,
            (false, false) => Listening::Yes,
        };
        self.input.listen(now, listening, &mut self.sink);
        self.output.rest(listening == Listening::Alone);
    }

    /// Gives the figures out now and then, and before a long sleep at once.
    fn publish(&mut self, now: Duration, deadline: Option<Duration>) {
        let next = now + PUBLISH_EVERY;
        if now >= self.published + PUBLISH_EVERY || deadline.is_none_or(|deadline| deadline > next) {
            self.published = now;
            let mut published = self.shared.published();
            published.friends = self.playback.stats();
            published.capture = self.input.stats();
        }
    }
}

const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// A worker held up for longer does not make up for it: what was to be said and heard then is over.
pub(crate) const STALL: Duration = Duration::from_millis(500);
