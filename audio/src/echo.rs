//! Whether the loudspeaker is heard in the microphone, how late, and taking it out again if so.
//!
//! A headset has no echo, so nothing is done to its sound before an echo was found ([`Finder`]).

use crate::canceller::{Canceller, PARTITIONS};
use crate::drift::Pace;
use crate::finder::{Finder, Sight};
use crate::spec::{BLOCK, Switch};

/// The far end of one microphone and what is known of its echo.
pub(crate) struct Echo {
    far: Far,
    /// There is a loudspeaker at all.
    finder: Option<Box<Finder>>,
    canceller: Option<Box<Canceller>>,
    /// Blocks by which the far end is read late, so that the echo falls into the canceller's reach.
    late: usize,
    /// How much later still, for the clocks' sake.
    pace: Pace,
    /// Windows in a row in which something was played and not seen.
    unseen: u32,
    heard: bool,
}

/// What was played, in blocks of 10 ms. Loudspeaker and microphone give and take blocks at the same pace, so one
/// distance between the two counts holds until one of them stumbles.
struct Far {
    blocks: Vec<[f32; BLOCK]>,
    /// Blocks ever played.
    played: usize,
    /// The one that belongs to the microphone's next block; nothing after a pause of the microphone.
    next: Option<usize>,
    /// Blocks in a row that were silent.
    quiet: usize,
}

impl Echo {
    pub(crate) fn new() -> Echo {
        Echo {
            far: Far::new(),
            finder: None,
            canceller: None,
            late: 0,
            pace: Pace::new(),
            unseen: 0,
            heard: false,
        }
    }

    /// A block goes to the loudspeaker.
    pub(crate) fn played(&mut self, pcm: &[f32; BLOCK]) {
        self.far.push(pcm);
    }

    /// Whether the loudspeaker is heard in the microphone.
    pub(crate) fn is_heard(&self) -> bool {
        self.heard
    }

    pub(crate) fn is_working(&self) -> bool {
        self.canceller.is_some()
    }

    /// Works in place on one block of the microphone; returns the share of it that may still be echo, 0..1.
    pub(crate) fn work(&mut self, switch: Switch, pcm: &mut [f32; BLOCK]) -> f32 {
        if self.far.played == 0 {
            return 0.0;
        }
        let moved = self.far.step();
        if moved != 0 {
            self.finder = None;
            self.shift(moved);
        }
        self.find(pcm);
        let wanted = match switch {
            Switch::On => true,
            Switch::Off => false,
            Switch::Auto => self.heard,
        };
        let Some(far) = self.far_end(wanted) else { return 0.0 };
        match (&mut self.canceller, wanted) {
            (None, false) => 0.0,
            (None, true) => {
                let before = *pcm;
                let mut canceller = Box::new(Canceller::new());
                canceller.cancel(&far, pcm);
                self.canceller = Some(canceller);
                slide(&before, pcm);
                0.0
            }
            (Some(canceller), false) => {
                let after = *pcm;
                canceller.cancel(&far, pcm);
                let before = std::mem::replace(pcm, after);
                slide(&before, pcm);
                self.canceller = None;
                0.0
            }
            (Some(canceller), true) if self.far.quiet > self.late + PARTITIONS + SETTLE => {
                canceller.pass(pcm)
            }
            (Some(canceller), true) => {
                let share = canceller.cancel(&far, pcm);
                if let Some(lag) = canceller.lag() {
                    self.pace.follow(lag);
                }
                share
            }
        }
    }

    /// What the canceller is to take for played; nothing when there is none to be.
    fn far_end(&mut self, wanted: bool) -> Option<[f32; BLOCK]> {
        if self.canceller.is_none() && !wanted {
            return None;
        }
        let blocks = self.pace.step();
        if blocks != 0 && !self.far.slip(blocks) {
            match self.late.checked_sub(1) {
                Some(late) => self.late = late,
                None => self.pace.stay(),
            }
        }
        Some(self.pace.read([2, 1, 0].map(|back| self.far.at(self.late + back))))
    }

    /// The microphone was not listened to for a while.
    pub(crate) fn rest(&mut self) {
        self.far.next = None;
        self.finder = None;
    }

    fn find(&mut self, pcm: &[f32; BLOCK]) {
        let finder = self.finder.get_or_insert_with(|| Box::new(Finder::new()));
        match finder.look(self.far.at(0), pcm) {
            None | Some(Sight::Nothing) => {}
            Some(Sight::Unseen) => {
                self.unseen += 1;
                self.heard &= self.unseen < GONE;
            }
            Some(Sight::Seen { lag }) => {
                (self.unseen, self.heard) = (0, true);
                let first = lag.saturating_sub(AHEAD + self.pace.beyond()) / BLOCK;
                // What comes a little later than at first still lies well within reach.
                let near = self.late..=self.late + PARTITIONS / 4;
                if self.canceller.is_none() || !near.contains(&first) {
                    self.shift(first as isize - self.late as isize);
                    self.late = first;
                }
            }
        }
    }

    fn shift(&mut self, blocks: isize) {
        if let Some(canceller) = &mut self.canceller {
            canceller.shift(blocks);
        }
    }
}

impl Far {
    fn new() -> Far {
        Far { blocks: Vec::new(), played: 0, next: None, quiet: 0 }
    }

    fn push(&mut self, pcm: &[f32; BLOCK]) {
        if self.blocks.is_empty() {
            self.blocks = vec![[0.0; BLOCK]; KEPT];
        }
        self.blocks[self.played % KEPT] = *pcm;
        self.played += 1;
        self.quiet = if pcm.iter().all(|s| *s == 0.0) { self.quiet + 1 } else { 0 };
    }

    /// Goes on by one block; returns by how many the reading had to fall back (or, negative, to catch up).
    fn step(&mut self) -> isize {
        let newest = self.played.saturating_sub(SLACK);
        let next = self.next.map_or(newest, |next| next + 1);
        // The microphone ran ahead of the loudspeaker, or one of them stood still.
        let kept = if next >= self.played || self.played - next > BACKLOG { newest } else { next };
        self.next = Some(kept);
        next as isize - kept as isize
    }

    /// From now on a block that was played so many earlier belongs to the microphone's; `false` where there is none.
    fn slip(&mut self, earlier: isize) -> bool {
        let to = self.next.and_then(|next| next.checked_add_signed(-earlier));
        let there = to.is_some_and(|to| to < self.played);
        if there {
            self.next = to;
        }
        there
    }

    /// The block that belongs to the microphone's, `late` blocks before.
    fn at(&self, late: usize) -> &[f32; BLOCK] {
        let at = self.next.unwrap_or(0).saturating_sub(late);
        self.blocks.get(at % KEPT).unwrap_or(&[0.0; BLOCK])
    }
}

/// From one signal to another within a block.
fn slide(from: &[f32; BLOCK], to: &mut [f32; BLOCK]) {
    for (i, (from, to)) in from.iter().zip(to).enumerate() {
        *to = from + (*to - from) * i as f32 / BLOCK as f32;
    }
}

/// Blocks kept: the longest lag, the slack and the backlog.
const KEPT: usize = 128;
/// A loudspeaker takes its sound in bursts of up to so many blocks.
const SLACK: usize = 4;
/// Blocks; with so much more played than recorded the microphone has lost some.
const BACKLOG: usize = 30;
/// The echo is put so far into the canceller's reach, in samples: where it begins is known to some milliseconds.
const AHEAD: usize = 480;
/// A minute of talk in windows of half a second: then somebody has put headphones on.
const GONE: u32 = 120;
/// Blocks until a room is quiet after the loudspeaker is.
const SETTLE: usize = 30;
