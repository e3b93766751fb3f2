//! The handle: what the rest of the program may ask of the sound.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, Thread};

use crate::adaptation::Quality;
use crate::capture::CaptureStats;
use crate::cue::Cue;
use crate::device::InUse;
use crate::drain::Drain;
use crate::error::Error;
use crate::jitter::Heard;
use crate::receiver::FriendStats;
use crate::shared::{Absent, Done, FromEngine, Latency, Order, Shared, Wishes};
use crate::source::Source;
use crate::spec::{Config, FrameLen, InputSpec, OutputSpec, Switch};
use crate::talk::Talk;
use crate::worker::Worker;

/// The sound of one call: a thread that records, encodes, decodes, mixes and plays. Dropping it stops it.
pub struct Engine {
    frame: FrameLen,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<Result<(), Error>>>,
}

impl Engine {
    /// Opens the devices and files and starts. Takes some milliseconds, and about a second when a sound server hangs.
    ///
    /// `sink` is called from the engine's thread, never from a device callback; it must not block.
    pub fn start(config: Config, sink: impl FnMut(FromEngine) + Send + 'static) -> Result<Engine, Error> {
        Engine::start_bearing(config, |_| false, sink).map(|(engine, _)| engine)
    }

    /// The same, but a device that cannot be opened for a reason that `bearable` takes is waited for.
    pub fn start_bearing(
        config: Config,
        bearable: impl Fn(&Error) -> bool + Send + 'static,
        sink: impl FnMut(FromEngine) + Send + 'static,
    ) -> Result<(Engine, Absent), Error> {
        let shared = Arc::new(Shared::new());
        let (ready, opened) = mpsc::sync_channel(1);
        let (frame, for_worker) = (config.frame, shared.clone());
        let worker = std::thread::Builder::new()
            .name("audio".into())
            .spawn(move || match Worker::open(config, &bearable, for_worker, Box::new(sink)) {
                Ok((worker, absent)) => {
                    let _ = ready.send(Ok(absent));
                    worker.run()
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    Ok(())
                }
            })
            .map_err(Error::Thread)?;
        match opened.recv() {
            Ok(Ok(absent)) => Ok((Engine { frame, shared, worker: Some(worker) }, absent)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Crashed),
        }
    }

    /// A received frame of one friend. Never blocks; a full queue drops the oldest and counts, see [`Engine::dropped`].
    pub fn hear(&self, friend: u64, heard: Heard) {
        if self.shared.hear(friend, heard) {
            self.wake();
        }
    }

    /// The friend muted or unmuted: nothing is invented where its last word breaks off.
    pub fn set_friend_muted(&self, friend: u64, muted: bool) {
        self.order(Order::Muted { friend, muted });
    }

    /// The friend has left: drops what is still to be played, the volume and the statistics.
    pub fn forget(&self, friend: u64) {
        self.order(Order::Forget(friend));
    }

    /// How loud this friend is played: 100 percent as sent, 0 not at all, at most 400 (12 dB more).
    pub fn set_volume(&self, friend: u64, percent: u16) {
        self.order(Order::Volume { friend, percent });
    }

    /// Plays a soft sound, after those that are still to be played, also while deafened.
    pub fn play(&self, cue: Cue) {
        self.order(Order::Play(cue));
    }

    /// Records from another device or file as soon as it is open. `done` is called from a thread of the engine; with an
    /// error everything stays as it was.
    pub fn set_input(&self, spec: InputSpec, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let frame = self.frame;
        let open = move |worker| Source::open(spec, frame, worker);
        self.switch(open, |turn, source, done| Order::Input { turn, source, done }, Box::new(done));
    }

    /// Plays to another device or file as soon as it is open; a recording that runs is completed first. `done` as with
    /// [`Engine::set_input`].
    pub fn set_output(&self, spec: OutputSpec, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let frame = self.frame;
        let open = move |worker| Drain::open(spec, frame, worker);
        self.switch(open, |turn, drain, done| Order::Output { turn, drain, done }, Box::new(done));
    }

    /// Nothing of a muted microphone is encoded or told; a running word breaks off. Whether somebody talks in spite of
    /// it is noticed ([`crate::Trouble::TalkingWhileMuted`]); a file goes on unheard.
    pub fn set_muted(&self, muted: bool) {
        self.wish(|wishes| wishes.muted = muted);
    }

    /// Hears nobody: what comes in is dropped undecoded.
    pub fn set_deafened(&self, deafened: bool) {
        self.wish(|wishes| wishes.deafened = deafened);
    }

    /// With push-to-talk the microphone is heard while the talk key is down and a fifth of a second after it, and then
    /// all of it is sent. Without, whenever somebody speaks. The key is up at first.
    pub fn set_push_to_talk(&self, by_key: bool) {
        let talk = if by_key { Talk::ByKey { down: false } } else { Talk::Freely };
        self.wish(|wishes| {
            if std::mem::discriminant(&wishes.talk) != std::mem::discriminant(&talk) {
                wishes.talk = talk;
            }
        });
    }

    /// The talk key went down or up; without push-to-talk this does nothing.
    pub fn set_talk_key(&self, down: bool) {
        self.wish(|wishes| {
            if let Talk::ByKey { .. } = wishes.talk {
                wishes.talk = Talk::ByKey { down };
            }
        });
    }

    /// Noise suppression.
    pub fn set_noise(&self, noise: Switch) {
        self.wish(|wishes| wishes.stages.noise = noise);
    }

    /// Echo cancellation.
    pub fn set_echo(&self, echo: Switch) {
        self.wish(|wishes| wishes.stages.echo = echo);
    }

    /// Automatic level of the own voice.
    pub fn set_level(&self, level: bool) {
        self.wish(|wishes| wishes.stages.level = level);
    }

    /// Voice detection: only speech is sent. Without it all that the microphone gives, unless muted or alone.
    pub fn set_gate(&self, gate: bool) {
        self.wish(|wishes| wishes.stages.gate = gate);
    }

    /// Nobody to talk to: devices rest, nothing is encoded, a wav or tone input waits where it is.
    pub fn set_alone(&self, alone: bool) {
        self.wish(|wishes| wishes.alone = alone);
    }

    /// How the voice is sent from now on, see [`crate::Adaptation`].
    pub fn set_quality(&self, quality: Quality) {
        self.wish(|wishes| wishes.quality = Some(quality));
    }

    /// How each friend is heard, at most 100 ms old.
    pub fn stats(&self) -> Vec<(u64, FriendStats)> {
        self.shared.published().friends.clone()
    }

    /// What the microphone side did, at most 100 ms old.
    pub fn captured(&self) -> CaptureStats {
        self.shared.published().capture
    }

    /// How long sound takes through the devices, at most a second old.
    pub fn latency(&self) -> Latency {
        self.shared.published().latency
    }

    /// Which devices are used; of one that the sound system exchanged at most 100 ms late.
    pub fn in_use(&self) -> InUse {
        self.shared.published().in_use.clone()
    }

    /// Frames given to [`Engine::hear`] that a held-up engine could not take.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Stops and completes a wav output.
    pub fn finish(mut self) -> Result<(), Error> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.shared.stop();
        self.wake();
        match self.worker.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Crashed),
            None => Ok(()),
        }
    }

    /// Opens in a thread of its own: a sound server that is slow to answer holds up no sound.
    fn switch<T: 'static>(
        &self,
        open: impl FnOnce(Thread) -> Result<T, Error> + Send + 'static,
        order: fn(u64, T, Done) -> Order,
        done: Done,
    ) {
        let Some(worker) = self.worker.as_ref().map(|worker| worker.thread().clone()) else { return };
        let (shared, turn) = (self.shared.clone(), self.shared.turn());
        let done = Arc::new(Mutex::new(Some(done)));
        let answer = done.clone();
        let spawned = std::thread::Builder::new().name("device".into()).spawn(move || {
            let opened = open(worker.clone());
            let Some(done) = taken(&done) else { return };
            match opened {
                Ok(opened) => {
                    shared.order(order(turn, opened, done));
                    worker.unpark();
                }
                Err(error) => done(Err(error)),
            }
        });
        if let Err(error) = spawned
            && let Some(done) = taken(&answer)
        {
            done(Err(Error::Thread(error)));
        }
    }

    fn order(&self, order: Order) {
        self.shared.order(order);
        self.wake();
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        self.shared.wish(change);
        self.wake();
    }

    fn wake(&self) {
        if let Some(worker) = &self.worker {
            worker.thread().unpark();
        }
    }
}

fn taken(done: &Mutex<Option<Done>>) -> Option<Done> {
    done.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "sound did not end well");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_device_that_was_ordered_last_is_used_though_an_earlier_one_is_open_later() {
        let quiet = Config {
            input: InputSpec::Silence,
            output: OutputSpec::Null,
            frame: FrameLen::Ms20,
            bitrate: 32_000,
        };
        let engine = Engine::start(quiet, |_| ()).unwrap();
        let ((first_done, first), (second_done, second)) = (mpsc::channel(), mpsc::channel());
        let (open, opens) = mpsc::channel::<()>();
        let slowly = move |worker| {
            let _ = opens.recv();
            Source::open(InputSpec::Tone { hz: 500.0 }, FrameLen::Ms20, worker)
        };
        let order = |turn, source, done| Order::Input { turn, source, done };
        engine.switch(slowly, order, Box::new(move |result| first_done.send(result).unwrap()));
        engine.set_input(InputSpec::Silence, move |result| second_done.send(result).unwrap());
        second.recv().unwrap().unwrap();
        open.send(()).unwrap();
        assert!(matches!(first.recv().unwrap(), Err(Error::Outdone)));
    }
}
