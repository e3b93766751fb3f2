//! The jitter buffer of one friend: frames in as the network brings them, out as the loudspeaker needs them.
//!
//! Pure: the caller says what time it is. A frame is due when the quickest frame of late would have come, plus the
//! target of [`Delay`]. Everything else follows from comparing that instant with now: what is not due waits, a hole
//! whose successor is here is recovered from it, an empty buffer is concealed without giving up the place (the frame
//! may only be late), and a standing error is worked off by splices. Nothing is allocated after the first frame.

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

/// What to play for the next `len`.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Voice {
        opus: &'a [u8],
        len: FrameLen,
        fit: Fit,
    },
    /// The frame is lost, the one after it is `next`.
    Recover {
        next: &'a [u8],
        len: FrameLen,
    },
    /// The frame is not here; it has been so for `since` already.
    Conceal {
        len: FrameLen,
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
    playing: Vec<u8>,
}

struct Slot {
    time: i64,
    opus: Vec<u8>,
    last_of_talk: bool,
}

struct Run {
    len: FrameLen,
    delay: Delay,
    phase: Phase,
    /// The first time that may still be played.
    next: i64,
    newest: i64,
    /// Bit i: `newest - i` came in.
    seen: u128,
    /// The time after a last-of-talk frame; what is missing up to the next spurt is not lost.
    spurt_end: i64,
    /// First time of the newest spurt.
    spurt: i64,
    old_in_row: u32,
    /// How far behind the quickest frame the last one was played, in microseconds.
    playing_at: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Quiet,
    Talking {
        /// Microseconds concealed since the last real frame.
        missing: i64,
    },
}

impl Jitter {
    pub fn new() -> Jitter {
        Jitter {
            slots: Box::new([const { None }; SLOTS]),
            run: None,
            counts: Counts::default(),
            playing: Vec::new(),
        }
    }

    /// Takes a frame that arrived at `now`.
    pub fn push(&mut self, now: Duration, heard: Heard) {
        let now = micros(now);
        let time = match &mut self.run {
            Some(run) if run.len == heard.len => {
                let time = run.newest + i64::from(heard.time.wrapping_sub(run.newest as u32) as i32);
                if run.is_another_clock(now, time) {
                    self.counts.resets += 1;
                    self.restart(&heard)
                } else if run.already(time) {
                    self.counts.duplicates += 1;
                    return;
                } else {
                    time
                }
            }
            Some(_) => {
                self.counts.resets += 1;
                self.restart(&heard)
            }
            None => self.restart(&heard),
        };
        let Some(run) = &mut self.run else { return };
        run.note(now, time, heard.last_of_talk);
        if time < run.next {
            self.counts.late += 1;
            return;
        }
        let oldest = time - SLOTS as i64 + 1;
        if run.next < oldest {
            run.next = oldest;
            for slot in self.slots.iter_mut().filter(|slot| matches!(slot, Some(slot) if slot.time < oldest))
            {
                *slot = None;
                self.counts.skipped += 1;
            }
        }
        self.slots[place(time)] = Some(Slot { time, opus: heard.opus, last_of_talk: heard.last_of_talk });
    }

    /// What to play from `now` on.
    pub fn pull(&mut self, now: Duration) -> Frame<'_> {
        let now = micros(now);
        self.catch_up(now);
        let Some(run) = &mut self.run else { return Frame::Silence };
        let len = run.len;
        let first = first(&self.slots[..], run);
        match (run.phase, first) {
            (Phase::Quiet, Some(first)) if run.early(now, first) <= START_SLACK => self.play(now, first),
            (Phase::Quiet, _) => Frame::Silence,
            (Phase::Talking { missing }, None) => run.conceal(missing),
            (Phase::Talking { .. }, Some(first)) if first == run.next => self.play(now, first),
            (Phase::Talking { missing }, Some(first)) => {
                let early = run.early(now, first);
                // What was concealed while waiting has filled that much of the hole.
                let open = first - run.next - missing / len.micros();
                if open >= 2 && early >= len.micros() / 2 {
                    return run.conceal(missing);
                }
                if open < 1 && early < len.micros() / 2 {
                    return self.play(now, first);
                }
                run.next = first;
                run.phase = Phase::Talking { missing: 0 };
                match &self.slots[place(first)] {
                    Some(slot) => Frame::Recover { next: &slot.opus, len },
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

    fn play(&mut self, now: i64, time: i64) -> Frame<'_> {
        let (Some(run), Some(slot)) = (&mut self.run, self.slots[place(time)].take()) else {
            return Frame::Silence;
        };
        let early = run.early(now, time);
        let fit = match early {
            _ if early > TOLERANCE => Fit::Stretch,
            // Hurrying towards an empty buffer gains nothing.
            _ if early < -TOLERANCE && run.newest > time => Fit::Shrink,
            _ => Fit::Keep,
        };
        run.playing_at = run.delay.target() - early;
        run.next = time + 1;
        run.phase = if slot.last_of_talk { Phase::Quiet } else { Phase::Talking { missing: 0 } };
        self.playing = slot.opus;
        Frame::Voice { opus: &self.playing, len: run.len, fit }
    }

    /// Throws the oldest frames away while the delay is above what is bearable in a conversation.
    fn catch_up(&mut self, now: i64) {
        let Some(run) = &mut self.run else { return };
        let Some(oldest) = first(&self.slots[..], run) else { return };
        if run.delay.target() - run.early(now, oldest) <= MAX_DELAY {
            return;
        }
        while let Some(time) = first(&self.slots[..], run) {
            if time >= run.newest || run.early(now, time) >= 0 {
                break;
            }
            self.slots[place(time)] = None;
            run.next = time + 1;
            self.counts.skipped += 1;
        }
    }

    fn restart(&mut self, heard: &Heard) -> i64 {
        self.slots.fill_with(|| None);
        let time = i64::from(heard.time);
        self.run = Some(Run {
            len: heard.len,
            delay: Delay::new(heard.len),
            phase: Phase::Quiet,
            // Frames that overtook each other at the very start are welcome.
            next: time - REORDER,
            newest: time - 1,
            seen: 0,
            spurt_end: time,
            spurt: time,
            old_in_row: 0,
            playing_at: 0,
        });
        time
    }
}

impl Default for Jitter {
    fn default() -> Jitter {
        Jitter::new()
    }
}

impl Run {
    fn already(&self, time: i64) -> bool {
        let back = self.newest - time;
        (0..128).contains(&back) && self.seen >> back & 1 == 1
    }

    /// Time goes on with the clock, so a frame that is seconds away from it comes from a sender that began anew; so
    /// do several in a row that are old by more than any path could hold them back.
    fn is_another_clock(&mut self, now: i64, time: i64) -> bool {
        let late = now - time * self.len.micros() - self.delay.base();
        self.old_in_row = if time < self.next && late > OLD { self.old_in_row + 1 } else { 0 };
        late.abs() > ANOTHER_CLOCK || self.old_in_row >= OLD_IN_ROW
    }

    fn note(&mut self, now: i64, time: i64, last_of_talk: bool) {
        let ahead = time - self.newest;
        if ahead > 0 {
            if self.newest + 1 == self.spurt_end || ahead > SPURT_GAP {
                self.spurt = time;
                self.delay.settle();
            } else {
                self.delay.missed(ahead - 1);
            }
            self.seen = if ahead < 128 { self.seen << ahead } else { 0 } | 1;
            self.newest = time;
        } else if ahead > -128 {
            self.seen |= 1 << -ahead;
            self.delay.came_after_all();
        }
        if last_of_talk {
            self.spurt_end = self.spurt_end.max(time + 1);
        }
        let held_back = time - self.spurt < HELD_BACK / self.len.micros();
        self.delay.arrived(now, time * self.len.micros(), held_back);
    }

    /// Microseconds until `time` is due; negative when it is overdue.
    fn early(&self, now: i64, time: i64) -> i64 {
        self.delay.base() + time * self.len.micros() + self.delay.target() - now
    }

    fn conceal<'a>(&mut self, missing: i64) -> Frame<'a> {
        if missing >= FADED {
            self.phase = Phase::Quiet;
            return Frame::Silence;
        }
        self.phase = Phase::Talking { missing: missing + self.len.micros() };
        Frame::Conceal { len: self.len, since: duration(missing) }
    }
}

fn first(slots: &[Option<Slot>], run: &Run) -> Option<i64> {
    (run.next..=run.newest).find(|&time| matches!(&slots[place(time)], Some(slot) if slot.time == time))
}

fn place(time: i64) -> usize {
    time.rem_euclid(SLOTS as i64) as usize
}

fn micros(time: Duration) -> i64 {
    time.as_micros() as i64
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0) as u64)
}

/// After this much concealment the voice has faded out, here and in [`crate::playback`].
pub(crate) const FADED: i64 = 120_000;
/// More than the hard maximum of the delay in the shortest frames.
const SLOTS: usize = 64;
/// Beyond half a second people talk over each other; then rather lose something.
const MAX_DELAY: i64 = 500_000;
/// A mixing step; the longest splice brings less than twice of it back.
const TOLERANCE: i64 = 10_000;
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
/// A longer hole is a pause whose last-of-talk frame was lost.
const SPURT_GAP: i64 = 15;
/// A sender's gate holds back up to this much of the start of a spurt.
const HELD_BACK: i64 = 60_000;
