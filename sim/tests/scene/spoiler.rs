//! Whoever forwards, relay or friend, and does one wrong to what passes.

use std::time::Duration;

use sim::Dice;
use sim::node::Operator;
use vc_core::io::Hop;

use super::ms;

pub(crate) struct Spoiler {
    dice: Dice,
    wrong: Wrong,
    kept: Vec<(Hop, Vec<u8>)>,
}

/// To a share of the packets, those that need not be many to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Alters,
    /// Another packet of that form beside the genuine one.
    Invents,
    Replays,
    Reorders,
    Drops,
    Doubles,
    /// To another member than it was for.
    Redirects,
    /// Says it came from another member than it did.
    Relabels,
    Delays,
    DropsHalf,
    /// All that has the size of voice.
    WithholdsVoice,
    WithholdsAll,
}

impl Spoiler {
    pub(crate) fn new(dice: Dice, wrong: Wrong) -> Self {
        Self { dice, wrong, kept: Vec::new() }
    }
}

impl Operator for Spoiler {
    fn datagram(&mut self, to: Hop, mut bytes: Vec<u8>) -> Vec<(Duration, Hop, Vec<u8>)> {
        self.kept.push((to, bytes.clone()));
        let old = self.dice.range(0, self.kept.len() as u64) as usize;
        let (old_to, old_bytes) = self.kept[old].clone();
        let some = self.dice.chance(0.3);
        match self.wrong {
            Wrong::Alters if some => {
                // Not the forwarder's own header: that is its own to lie about, below.
                let at = self.dice.range(2, bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.dice.range(0, 8);
            }
            Wrong::Invents if some => {
                let mut invented = bytes.clone();
                invented[16..].iter_mut().for_each(|byte| *byte = self.dice.byte());
                return vec![(Duration::ZERO, to, invented), (Duration::ZERO, to, bytes)];
            }
            Wrong::Replays if some => return vec![(Duration::ZERO, to, bytes), (ms(1), old_to, old_bytes)],
            Wrong::Reorders if some => return vec![(ms(self.dice.range(0, 400)), to, bytes)],
            Wrong::Drops if some => return Vec::new(),
            Wrong::Doubles if some => return vec![(Duration::ZERO, to, bytes.clone()), (ms(30), to, bytes)],
            Wrong::Redirects if some => return vec![(Duration::ZERO, old_to, bytes)],
            Wrong::Relabels if some && bytes[0] == DOWN => bytes[1] = self.dice.range(0, 16) as u8,
            Wrong::Delays => return vec![(ms(300), to, bytes)],
            Wrong::DropsHalf if self.dice.chance(0.5) => return Vec::new(),
            Wrong::WithholdsVoice if bytes.len() == VOICE => return Vec::new(),
            Wrong::WithholdsAll => return Vec::new(),
            _ => {}
        }
        vec![(Duration::ZERO, to, bytes)]
    }
}

/// First byte of what is forwarded.
const DOWN: u8 = 0xE6;
/// Header down, header, tag, and a voice frame of 80 bytes.
const VOICE: usize = 2 + 9 + 6 + 80 + 16;
