//! The handle: what the rest of the program may ask of the sound.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::adaptation::Quality;
use crate::capture::{CaptureStats, Captured};
use crate::chain::{Stages, Switch};
use crate::cue::Cue;
use crate::error::{Error, Trouble};
use crate::jitter::Heard;
use crate::playback::FriendStats;
use crate::spec::{Config, InputSpec, OutputSpec};
use crate::talk::Talk;
use crate::worker::Worker;

/// What the engine tells.
#[derive(Clone, Debug, PartialEq)]
pub enum FromEngine {
    Voice(Captured),
    /// The own microphone, when it changed and at most ten times a second.
    Level {
        dbfs: f32,
        talking: bool,
    },
    Trouble(Trouble),
    /// A wav input without `loop` ran out.
    InputEnded,
}

/// How long sound is under way inside this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// From the lips until a frame is encoded, besides the frame itself: the device, echo cancellation, noise
    /// suppression.
    pub capture: Duration,
    /// From the mixing of a sound until it is heard.
    pub playback: Duration,
    /// What of it waits before the loudspeaker so that it does not run dry.
    pub reserve: Duration,
    /// How often it ran dry nevertheless, since it was chosen.
    pub ran_dry: u64,
}

/// The sound of one call: a thread that records, encodes, decodes, mixes and plays. Dropping it stops it.
pub struct Engine {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<Result<(), Error>>>,
}

/// What the handle and the worker share. The locks are held for some copies only.
pub(crate) struct Shared {
    start: Instant,
    orders: Mutex<VecDeque<Order>>,
    wishes: Mutex<Wishes>,
    published: Mutex<Published>,
    stopped: AtomicBool,
    dropped: AtomicU64,
    /// The worker waits for more than the next 10 ms, so new frames must wake it.
    asleep: AtomicBool,
}

pub(crate) enum Order {
    Hear { at: Duration, friend: u64, heard: Heard },
    Forget(u64),
    Volume { friend: u64, percent: u16 },
    Play(Cue),
    Input { spec: InputSpec, done: Done },
    Output { spec: OutputSpec, done: Done },
}

/// Told whether a device could be switched to.
pub(crate) type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// What the person wants at this moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wishes {
    pub(crate) muted: bool,
    pub(crate) alone: bool,
    pub(crate) deafened: bool,
    pub(crate) talk: Talk,
    pub(crate) stages: Stages,
    /// As configured at the start, if nothing else was wished.
    pub(crate) quality: Option<Quality>,
}

#[derive(Default)]
pub(crate) struct Published {
    pub(crate) friends: Vec<(u64, FriendStats)>,
    pub(crate) capture: CaptureStats,
    pub(crate) latency: Latency,
}

impl Engine {
    /// Opens the devices and files and starts. Takes some milliseconds, and about a second when a sound server hangs.
    ///
    /// `sink` is called from the engine's thread, never from a device callback; it must not block.
    pub fn start(config: Config, sink: impl FnMut(FromEngine) + Send + 'static) -> Result<Engine, Error> {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            orders: Mutex::new(VecDeque::with_capacity(QUEUE)),
            wishes: Mutex::default(),
            published: Mutex::default(),
            stopped: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
        });
        let (ready, opened) = mpsc::sync_channel(1);
        let for_worker = shared.clone();
        // Devices are opened where they are used: some systems tie them to a thread.
        let worker = std::thread::Builder::new()
            .name("audio".into())
            .spawn(move || match Worker::open(config, for_worker, Box::new(sink)) {
                Ok(worker) => {
                    let _ = ready.send(Ok(()));
                    worker.run()
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    Ok(())
                }
            })
            .map_err(Error::Thread)?;
        match opened.recv() {
            Ok(Ok(())) => Ok(Engine { shared, worker: Some(worker) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Crashed),
        }
    }

    /// A received frame of one friend. Never blocks; a full queue drops the oldest and counts, see [`Engine::dropped`].
    pub fn hear(&self, friend: u64, heard: Heard) {
        let at = self.shared.start.elapsed();
        let mut orders = lock(&self.shared.orders);
        if orders.len() >= QUEUE {
            let oldest = orders.iter().position(|order| matches!(order, Order::Hear { .. }));
            oldest.map(|oldest| orders.remove(oldest));
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        orders.push_back(Order::Hear { at, friend, heard });
        drop(orders);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
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

    /// Records from another device or file from now on. `done` is called from the engine's thread; with an error
    /// everything stays as it was.
    pub fn set_input(&self, spec: InputSpec, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        self.order(Order::Input { spec, done: Box::new(done) });
    }

    /// Plays to another device or file from now on; a recording that runs is completed first. `done` as with
    /// [`Engine::set_input`].
    pub fn set_output(&self, spec: OutputSpec, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        self.order(Order::Output { spec, done: Box::new(done) });
    }

    /// Nothing of a muted microphone is encoded or told; a running word breaks off. Whether somebody talks in spite of
    /// it is noticed ([`Trouble::TalkingWhileMuted`]); a file goes on unheard.
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
        lock(&self.shared.published).friends.clone()
    }

    /// What the microphone side did, at most 100 ms old.
    pub fn captured(&self) -> CaptureStats {
        lock(&self.shared.published).capture
    }

    /// How long sound takes through the devices, at most a second old.
    pub fn latency(&self) -> Latency {
        lock(&self.shared.published).latency
    }

    /// Frames given to [`Engine::hear`] that a held-up engine could not take.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Stops and completes a wav output.
    pub fn finish(mut self) -> Result<(), Error> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.wake();
        match self.worker.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Crashed),
            None => Ok(()),
        }
    }

    fn order(&self, order: Order) {
        lock(&self.shared.orders).push_back(order);
        self.wake();
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut lock(&self.shared.wishes));
        self.wake();
    }

    fn wake(&self) {
        if let Some(worker) = &self.worker {
            worker.thread().unpark();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "sound did not end well");
        }
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn wishes(&self) -> Wishes {
        *lock(&self.wishes)
    }

    pub(crate) fn next_order(&self) -> Option<Order> {
        lock(&self.orders).pop_front()
    }

    pub(crate) fn published(&self) -> MutexGuard<'_, Published> {
        lock(&self.published)
    }

    /// Waits until woken or until `deadline`; with `listening`, new frames wake too.
    pub(crate) fn wait(&self, deadline: Option<Duration>, listening: bool) {
        self.asleep.store(listening, Ordering::SeqCst);
        // A frame that came before the flag was up did not wake us.
        if !listening || lock(&self.orders).is_empty() {
            match deadline {
                Some(deadline) => std::thread::park_timeout(deadline.saturating_sub(self.now())),
                None => std::thread::park(),
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// What is behind a lock stays sound when a thread panics between two assignments of plain values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A second of fifteen friends at 10 ms frames.
const QUEUE: usize = 1500;
