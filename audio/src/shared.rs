//! What the handle and its worker tell each other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::adaptation::Quality;
use crate::capture::CaptureStats;
use crate::chain::Stages;
use crate::cue::Cue;
use crate::device::InUse;
use crate::drain::Drain;
use crate::error::{Error, Trouble};
use crate::jitter::Heard;
use crate::packets::Captured;
use crate::receiver::FriendStats;
use crate::source::Source;
use crate::talk::Talk;

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

pub(crate) type Sink = Box<dyn FnMut(FromEngine) + Send>;

/// Whether the engine is to run without a device that cannot be opened for this reason, and to wait for it.
pub(crate) type Bearable = dyn Fn(&Error) -> bool + Send;

/// What the engine began without: it is used as soon as it is there ([`Trouble::MicrophoneBack`],
/// [`Trouble::SpeakerBack`]).
#[derive(Debug, Default)]
pub struct Absent {
    pub microphone: Option<Error>,
    pub loudspeaker: Option<Error>,
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

/// What the handle and the worker share. The locks are held for some copies only.
pub(crate) struct Shared {
    start: Instant,
    orders: Mutex<VecDeque<Order>>,
    wishes: Mutex<Wishes>,
    published: Mutex<Published>,
    stopped: AtomicBool,
    dropped: AtomicU64,
    /// Devices that were ordered so far.
    turns: AtomicU64,
    /// The worker waits for more than the next 10 ms, so new frames must wake it.
    asleep: AtomicBool,
}

pub(crate) enum Order {
    Hear { at: Duration, friend: u64, heard: Heard },
    Muted { friend: u64, muted: bool },
    Forget(u64),
    Volume { friend: u64, percent: u16 },
    Play(Cue),
    Input { turn: u64, source: Source, done: Done },
    Output { turn: u64, drain: Drain, done: Done },
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
    pub(crate) in_use: InUse,
}

impl Shared {
    pub(crate) fn new() -> Shared {
        Shared {
            start: Instant::now(),
            orders: Mutex::new(VecDeque::with_capacity(QUEUE)),
            wishes: Mutex::default(),
            published: Mutex::default(),
            stopped: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
        }
    }

    /// Leaves a received frame; returns whether the worker has to be woken for it. A full queue drops the oldest and counts.
    pub(crate) fn hear(&self, friend: u64, heard: Heard) -> bool {
        let at = self.now();
        let mut orders = lock(&self.orders);
        if orders.len() >= QUEUE {
            let oldest = orders.iter().position(|order| matches!(order, Order::Hear { .. }));
            oldest.map(|oldest| orders.remove(oldest));
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        orders.push_back(Order::Hear { at, friend, heard });
        drop(orders);
        self.asleep.load(Ordering::SeqCst)
    }

    pub(crate) fn order(&self, order: Order) {
        lock(&self.orders).push_back(order);
    }

    /// Numbers the orders for devices: they take different times to be opened, and the last order counts.
    pub(crate) fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut lock(&self.wishes));
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

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
/// A worker held up for longer does not make up for it: what was to be said and heard then is over.
pub(crate) const STALL: Duration = Duration::from_millis(500);
