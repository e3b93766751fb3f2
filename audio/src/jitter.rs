//! The jitter buffer of one friend: frames in as the network brings them, out as the loudspeaker needs them.
//!
//! Pure: the caller says what time it is. A frame is due when the quickest frame of late would have come, plus the
//! target of [`Delay`]. Everything else follows from comparing that instant with now: what is not due waits, a hole
//! behind which a packet is here is filled from it, an empty buffer is concealed without giving up the place (the frame
//! may only be late), and a standing error is worked off by splices. Positions are counted in ticks of 10 ms on the
//! sender's clock, so frames of different lengths may follow each other. Nothing is allocated after the first frame.

use std::time::Duration;

use crate::delay::Delay;
use crate::spec::FrameLen;

/// A friend's frame as it came out of its packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Frame intervals on the sender's clock, sent or not.
    pub time: u32,
    pub len: FrameLen,
    pub opus: Vec<u8>,
    pub last_of_talk: bool,
}

/// What to play next. Samples are at 48 kHz.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Voice {
        opus: &'a [u8],
        len: FrameLen,
        fit: Fit,
    },
    /// A hole of `samples`, which begins `back` samples before the voice in the packet `next`.
    Recover {
        next: &'a [u8],
        back: usize,
        samples: usize,
        /// How long before it the last real frame ended.
        since: Duration,
    },
    /// Nothing is here; it has been so for `since` already.
    Conceal {
        samples: usize,
        since: Duration,
    },
    /// Nobody talks.
    Silence,
}

/// How the delay should change while this frame is played, if that can be done unheard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    Keep,
    /// Played too late: leave a pitch period out.
    Shrink,
    /// Played too early: repeat a pitch period.
    Stretch,
}

/// What happened to the frames of one friend, counted from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub late: u64,
    pub duplicates: u64,
    /// Lost, and there in time inside a later packet.
    pub again: u64,
    /// Thrown away to catch up with a delay above the maximum.
    pub skipped: u64,
    /// Times the sender's clock began anew.
    pub resets: u64,
}

pub struct Jitter {
    slots: Box<[Option<Slot>; SLOTS]>,
    /// Nothing before the first frame.
    run: Option<Run>,
    counts: Counts,
    muted: bool,
    playing: Vec<u8>,
}

struct Slot {
    tick: i64,
    arrived: i64,
    len: FrameLen,
    opus: Vec<u8>,
    last_of_talk: bool,
}

struct Run {
    delay: Delay,
    phase: Phase,
    /// The first tick that may still be played.
    next: i64,
    newest: Newest,
    /// Bit i: a frame that begins at `newest.tick - i` came in.
    seen: u128,
    /// The same, and frames that came inside later packets in whatever form.
    known: u128,
    /// The tick after a last-of-talk frame; what is missing up to the next spurt is not lost.
    spurt_end: i64,
    /// First tick of the newest spurt.
    spurt: i64,
    old_in_row: u32,
    /// How far behind the quickest frame the last one was played, in microseconds.
    playing_at: i64,
}

/// The frame that is farthest on the sender's clock.
#[derive(Clone, Copy)]
struct Newest {
    tick: i64,
    time: u32,
    len: FrameLen,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Quiet,
    Talking {
        /// Ticks concealed in the place of what may still come.
        filled: i64,
        /// Ticks since the last real frame.
        since: i64,
    },
}

impl Jitter {
    pub fn new() -> Jitter {
        Jitter {
            slots: Box::new([const { None }; SLOTS]),
            run: None,
            counts: Counts::default(),
            muted: false,
            playing: Vec::new(),
        }
    }

    /// Takes a frame that arrived at `now`. Returns how many frames are missing right before it.
    pub fn push(&mut self, now: Duration, heard: Heard) -> u32 {
        let now = micros(now);
        let tick = match &mut self.run {
            Some(run) => {
                let tick = run.newest.unwrap(heard.time, heard.len);
                if run.is_another_clock(now, tick) {
                    self.counts.resets += 1;
                    self.restart(&heard)
                } else if run.already(tick) {
                    self.counts.duplicates += 1;
                    return 0;
                } else {
                    tick
                }
            }
            None => self.restart(&heard),
        };
        let Some(run) = &mut self.run else { return 0 };
        let missing = run.note(now, tick, &heard);
        if tick < run.next {
            self.counts.late += 1;
            return 0;
        }
        let oldest = tick - SLOTS as i64 + 1;
        if run.next < oldest {
            run.next = oldest;
            for slot in self.slots.iter_mut().filter(|slot| matches!(slot, Some(slot) if slot.tick < oldest))
            {
                *slot = None;
                self.counts.skipped += 1;
            }
        }
        let Heard { len, opus, last_of_talk, .. } = heard;
        self.slots[place(tick)] = Some(Slot { tick, arrived: now, len, opus, last_of_talk });
        missing
    }

    /// The frame that is farthest on the sender's clock, unless it has been played.
    pub(crate) fn newest(&self) -> Option<(&[u8], FrameLen)> {
        let tick = self.run.as_ref()?.newest.tick;
        let slot = self.slots[place(tick)].as_ref().filter(|slot| slot.tick == tick)?;
        Some((&slot.opus, slot.len))
    }

    /// Takes a frame that came inside a later packet: it says nothing about the path. Returns whether it had not come
    /// before, in time or not.
    pub fn again(&mut self, now: Duration, copy: Heard) -> bool {
        let Heard { time, len, opus, last_of_talk } = copy;
        let news = self.knows(time, len);
        let Some(run) = &self.run else { return false };
        let tick = run.newest.unwrap(time, len);
        let kept = (run.newest.tick - SLOTS as i64 + 1).max(run.next)..run.newest.tick;
        if !kept.contains(&tick) || run.already(tick) || self.slots[place(tick)].is_some() {
            return news;
        }
        self.slots[place(tick)] = Some(Slot { tick, arrived: micros(now), len, opus, last_of_talk });
        self.counts.again += 1;
        news
    }

    /// A packet that came knows the frame of this number; returns whether it is the first one that does.
    pub(crate) fn knows(&mut self, time: u32, len: FrameLen) -> bool {
        let Some(run) = &mut self.run else { return false };
        let tick = run.newest.unwrap(time, len);
        let back = run.newest.tick - tick;
        // Before the spurt there was nothing to say.
        if tick < run.spurt || !(0..128).contains(&back) || run.known >> back & 1 == 1 {
            return false;
        }
        run.known |= 1 << back;
        true
    }

    /// Of frames that were lost, each can be brought back by the packet that comes so many frames later. So it pays to
    /// wait for packets like it.
    pub fn could_bring_back(&mut self, later: impl Iterator<Item = u32>) {
        if let Some(run) = &mut self.run {
            later.for_each(|later| run.delay.comes_back(later));
        }
    }

    /// The sender has muted, or unmuted: while it is, what is missing at the end of what came was never said.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// What to play from `now` on.
    pub fn pull(&mut self, now: Duration) -> Frame<'_> {
        let now = micros(now);
        self.catch_up(now);
        let Some(run) = &mut self.run else { return Frame::Silence };
        let first = first(&self.slots[..], run);
        match (run.phase, first) {
            (Phase::Quiet, Some(first)) if run.early(now, first) <= START_SLACK => self.play(now, first),
            (Phase::Quiet, _) => Frame::Silence,
            (Phase::Talking { .. }, None) if self.muted => run.end_talk(),
            (Phase::Talking { filled, since }, None) => run.conceal(filled, since),
            (Phase::Talking { .. }, Some(first)) if first == run.next => self.play(now, first),
            (Phase::Talking { filled, since }, Some(first)) => {
                let hole = first - run.next;
                let len = ticks(run.newest.len);
                let from = match hole - filled {
                    open if open > 0 => run.next + filled,
                    _ if run.early(now, first) < run.newest.len.micros() / 2 => return self.play(now, first),
                    // The hole is filled and there is still time: what was lost is worth it.
                    _ => run.next.max(first - len),
                };
                let to = first.min(from + len);
                run.next = to;
                run.phase = Phase::Talking { filled: 0, since: since + to - from };
                match &self.slots[place(first)] {
                    Some(slot) => Frame::Recover {
                        next: &slot.opus,
                        back: samples(first - from),
                        samples: samples(to - from),
                        since: duration(since * TICK),
                    },
                    None => Frame::Silence,
                }
            }
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How far behind the quickest possible moment the stream is played, and should be.
    pub fn delay(&self) -> (Duration, Duration) {
        match &self.run {
            None => (Duration::ZERO, Duration::ZERO),
            Some(run) => (duration(run.playing_at), duration(run.delay.target())),
        }
    }

    /// Whether [`Jitter::pull`] may return anything but silence before the next [`Jitter::push`].
    pub fn is_quiet(&self) -> bool {
        match &self.run {
            None => true,
            Some(run) => run.phase == Phase::Quiet && first(&self.slots[..], run).is_none(),
        }
    }

    fn play(&mut self, now: i64, tick: i64) -> Frame<'_> {
        let (Some(run), Some(slot)) = (&mut self.run, self.slots[place(tick)].take()) else {
            return Frame::Silence;
        };
        let early = run.early(now, tick);
        let begins = (0..BEGINNING).contains(&((tick - run.spurt) * TICK));
        let late = if begins { LATE_AT_FIRST } else { LATE };
        let fit = match early {
            _ if early > EARLY => Fit::Stretch,
            // Hurrying towards an empty buffer gains nothing.
            _ if early < -late && (run.newest.tick > tick || now - slot.arrived > LATE) => Fit::Shrink,
            _ => Fit::Keep,
        };
        run.playing_at = run.delay.target() - early;
        run.next = tick + ticks(slot.len);
        run.phase = if slot.last_of_talk { Phase::Quiet } else { Phase::Talking { filled: 0, since: 0 } };
        self.playing = slot.opus;
        Frame::Voice { opus: &self.playing, len: slot.len, fit }
    }

    /// Throws the oldest frames away while the delay is above what is bearable in a conversation.
    fn catch_up(&mut self, now: i64) {
        let Some(run) = &mut self.run else { return };
        let Some(oldest) = first(&self.slots[..], run) else { return };
        if run.delay.target() - run.early(now, oldest) <= MAX_DELAY {
            return;
        }
        while let Some(tick) = first(&self.slots[..], run) {
            if tick >= run.newest.tick || run.early(now, tick) >= 0 {
                break;
            }
            self.slots[place(tick)] = None;
            run.next = tick + 1;
            run.phase = match run.phase {
                Phase::Talking { since, .. } => Phase::Talking { filled: 0, since },
                Phase::Quiet => Phase::Quiet,
            };
            self.counts.skipped += 1;
        }
        if let Some(tick) = first(&self.slots[..], run) {
            run.next = tick;
        }
    }

    fn restart(&mut self, heard: &Heard) -> i64 {
        self.slots.fill_with(|| None);
        let len = ticks(heard.len);
        let tick = i64::from(heard.time) * len;
        self.run = Some(Run {
            delay: Delay::new(heard.len),
            phase: Phase::Quiet,
            // Frames that overtook each other at the very start are welcome.
            next: tick - REORDER * len,
            newest: Newest { tick: tick - len, time: heard.time.wrapping_sub(1), len: heard.len },
            seen: 0,
            known: 0,
            spurt_end: tick,
            spurt: tick,
            old_in_row: 0,
            playing_at: 0,
        });
        tick
    }
}

impl Default for Jitter {
    fn default() -> Jitter {
        Jitter::new()
    }
}

impl Newest {
    /// The tick of a frame; the numbers wrap as long as the length stays.
    fn unwrap(&self, time: u32, len: FrameLen) -> i64 {
        if len == self.len {
            self.tick + i64::from(time.wrapping_sub(self.time) as i32) * ticks(self.len)
        } else {
            self.tick + i64::from(time) * ticks(len) - i64::from(self.time) * ticks(self.len)
        }
    }

    fn end(&self) -> i64 {
        self.tick + ticks(self.len)
    }
}

impl Run {
    fn already(&self, tick: i64) -> bool {
        let back = self.newest.tick - tick;
        (0..128).contains(&back) && self.seen >> back & 1 == 1
    }

    /// Time goes on with the clock, so a frame that is seconds away from it comes from a sender that began anew; so
    /// do several in a row that are old by more than any path could hold them back.
    fn is_another_clock(&mut self, now: i64, tick: i64) -> bool {
        let late = now - tick * TICK - self.delay.base();
        self.old_in_row = if tick < self.next && late > OLD { self.old_in_row + 1 } else { 0 };
        late.abs() > ANOTHER_CLOCK || self.old_in_row >= OLD_IN_ROW
    }

    /// Learns from an arrival; returns how many frames are missing right before it.
    fn note(&mut self, now: i64, tick: i64, heard: &Heard) -> u32 {
        let ahead = tick - self.newest.tick;
        let mut missing = 0;
        if ahead > 0 {
            let hole = tick - self.newest.end();
            if self.newest.end() == self.spurt_end || hole > SPURT_GAP {
                self.spurt = tick;
                self.delay.settle();
            } else {
                missing = (hole.max(0) / ticks(heard.len)) as u32;
            }
            self.seen = if ahead < 128 { self.seen << ahead } else { 0 } | 1;
            self.known = if ahead < 128 { self.known << ahead } else { 0 } | 1;
            self.newest = Newest { tick, time: heard.time, len: heard.len };
        } else if ahead > -128 {
            self.seen |= 1 << -ahead;
            self.known |= 1 << -ahead;
        }
        if heard.last_of_talk {
            self.spurt_end = self.spurt_end.max(tick + ticks(heard.len));
        }
        let held_back = (tick - self.spurt) * TICK < HELD_BACK.max(2 * heard.len.micros());
        self.delay.arrived(now, tick * TICK, heard.len, held_back);
        missing
    }

    /// Microseconds until `tick` is due; negative when it is overdue.
    fn early(&self, now: i64, tick: i64) -> i64 {
        self.delay.base() + tick * TICK + self.delay.target() - now
    }

    fn end_talk<'a>(&mut self) -> Frame<'a> {
        self.spurt_end = self.newest.end();
        self.phase = Phase::Quiet;
        Frame::Silence
    }

    fn conceal<'a>(&mut self, filled: i64, since: i64) -> Frame<'a> {
        if since * TICK >= FADED {
            self.phase = Phase::Quiet;
            return Frame::Silence;
        }
        // In short pieces, so that what comes meanwhile is played at once.
        let len = ticks(self.newest.len).min(CONCEALED_AT_ONCE);
        self.phase = Phase::Talking { filled: filled + len, since: since + len };
        Frame::Conceal { samples: samples(len), since: duration(since * TICK) }
    }
}

fn first(slots: &[Option<Slot>], run: &Run) -> Option<i64> {
    (run.next..=run.newest.tick).find(|&tick| matches!(&slots[place(tick)], Some(slot) if slot.tick == tick))
}

fn place(tick: i64) -> usize {
    tick.rem_euclid(SLOTS as i64) as usize
}

fn ticks(len: FrameLen) -> i64 {
    i64::from(len.as_millis()) / 10
}

fn samples(ticks: i64) -> usize {
    ticks.max(0) as usize * 480
}

fn micros(time: Duration) -> i64 {
    time.as_micros() as i64
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0) as u64)
}

/// After this much concealment the voice has faded out, here and in [`crate::receiver`].
pub(crate) const FADED: i64 = 120_000;
/// Microseconds.
const TICK: i64 = 10_000;
/// More than twice the hard maximum of the delay.
const SLOTS: usize = 128;
/// Beyond half a second people talk over each other; then rather lose something.
const MAX_DELAY: i64 = 500_000;
/// What is waited for comes in the last moment, so little of the wait may be missing.
pub(crate) const EARLY: i64 = 4_000;
/// A mixing step; with the above more than the longest splice, so that one does not call for the next.
pub(crate) const LATE: i64 = 10_000;
/// Where a talk begins, what a gate held back would stay in it otherwise; as long as many a pitch period.
const LATE_AT_FIRST: i64 = 5_000;
/// In nearly all words nothing of it is left long before (`tests/first_words.rs`).
const BEGINNING: i64 = 500_000;
/// A spurt may start this much before it is due, as the mixer asks only every 10 ms.
const START_SLACK: i64 = 5_000;
/// No network holds a packet back longer and then delivers it in a live call.
const ANOTHER_CLOCK: i64 = 2_000_000;
/// So many in a row are no straggler of a path that has just been left.
const OLD_IN_ROW: u32 = 5;
/// As long as the longest delay we play with.
const OLD: i64 = MAX_DELAY;
/// Frames by which the first one to arrive may have overtaken others.
const REORDER: i64 = 3;
/// Ticks. A longer hole is a pause whose last-of-talk frame was lost.
const SPURT_GAP: i64 = 30;
/// A sender's gate holds back up to this much of the start of a spurt ([`crate::preroll`]).
const HELD_BACK: i64 = 120_000;
/// Ticks.
const CONCEALED_AT_ONCE: i64 = 2;
