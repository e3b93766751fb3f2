//! What an evening brings: who says what, and what breaks when.

use std::time::Duration;

use vc_core::io::Time;

use crate::dice::Dice;

/// Something that somebody does, or that befalls somebody.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Say(usize),
    Speak(usize, u32),
    /// Two people (or one and the server) do not reach each other.
    Cut(usize, Option<usize>, Duration),
    /// One person reaches nobody.
    Alone(usize, Duration),
    StopSignaling,
    StartSignaling,
    StopRelay,
    StartRelay,
    Leave(usize),
    Kill(usize),
    Sleep(usize, Duration),
    /// The program dies, and its owner starts it again.
    Crash(usize),
    /// A router forgets its mappings.
    Rebind(usize),
    Lock(usize, bool),
    Invite(usize),
    Rename(usize),
    /// To another house of the same kind.
    Roam(usize),
    /// Only whoever made the room can.
    Kick(usize),
}

/// What happens in an evening of so many people.
pub(super) fn plan(dice: &mut Dice, count: usize, length: Duration) -> Vec<(Time, Act)> {
    let mut acts = Vec::new();
    let when = |dice: &mut Dice| Time::ZERO + dice.within(Duration::ZERO, length);
    let who = |dice: &mut Dice| dice.range(0, count as u64) as usize;
    for person in 0..count {
        for _ in 0..dice.range(3, 25) {
            let at = when(dice);
            let paste = if dice.chance(0.1) { dice.range(2, 30) } else { 1 };
            acts.extend((0..paste).map(|_| (at, Act::Say(person))));
        }
        for _ in 0..dice.range(0, 4) {
            acts.push((when(dice), Act::Speak(person, dice.range(10, 250) as u32)));
        }
    }
    // Half of the sessions join in peace.
    let peace = Duration::from_secs(if dice.chance(0.5) { 20 } else { 0 });
    for _ in 0..dice.range(0, 5) {
        let at = when(dice).max(Time::ZERO + peace);
        let span = dice.within(Duration::from_millis(500), LONGEST_CUT);
        match dice.range(0, 9) {
            0 => acts.push((at, Act::Cut(who(dice), Some(who(dice)), span))),
            1 => acts.push((at, Act::Cut(who(dice), None, span))),
            2 => acts.push((at, Act::Alone(who(dice), span))),
            3 => acts.extend([(at, Act::StopSignaling), (at + span, Act::StartSignaling)]),
            4 => acts.extend([(at, Act::StopRelay), (at + span, Act::StartRelay)]),
            5 => acts.extend([
                (at, Act::StopSignaling),
                (at, Act::StopRelay),
                (at + span, Act::StartSignaling),
                (at + span, Act::StartRelay),
            ]),
            6 => acts.push((at, Act::Sleep(who(dice), span))),
            7 => acts.push((at, Act::Rebind(who(dice)))),
            _ => acts.push((at, Act::Crash(who(dice)))),
        }
    }
    for _ in 0..count.div_ceil(4) {
        if dice.chance(0.15) {
            acts.push((when(dice), Act::Leave(who(dice))));
        }
        if dice.chance(0.1) {
            acts.push((when(dice), Act::Kill(who(dice))));
        }
    }
    if dice.chance(0.1) {
        let (at, by) = (when(dice), who(dice));
        acts.extend([(at, Act::Lock(by, true)), (at + LOCKED, Act::Lock(by, false))]);
    }
    if dice.chance(0.1) {
        acts.push((when(dice), Act::Invite(who(dice))));
    }
    if dice.chance(0.1) {
        acts.push((when(dice), Act::Rename(who(dice))));
    }
    acts
}

/// Who moves house and who is removed, drawn by dice of its own.
pub(super) fn moves(seed: u64, count: usize, length: Duration) -> Vec<(Time, Act)> {
    let mut dice = Dice::new(seed ^ 0x6d6f_7665);
    let mut acts = Vec::new();
    for (share, act) in [(0.15, Act::Roam as fn(usize) -> Act), (0.1, Act::Kick)] {
        if dice.chance(share) {
            let at = Time::ZERO + dice.within(length / 4, length);
            acts.push((at, act(dice.range(0, count as u64) as usize)));
        }
    }
    acts
}

/// How long two people could not hear each other, at most: what befell either, or the relay between them. `with` tells
/// those who share a house.
pub(super) fn apart(
    acts: &[(Time, Act)],
    a: usize,
    b: usize,
    with: impl Fn(usize, usize) -> bool,
) -> Duration {
    let hit = |n: usize| n == a || n == b || with(n, a) || with(n, b);
    let (mut spans, mut stopped, mut started) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for (at, act) in acts {
        match *act {
            Act::Cut(x, Some(y), span) if hit(x) && hit(y) => spans += span,
            Act::Cut(x, None, span) | Act::Alone(x, span) if hit(x) => spans += span,
            Act::Sleep(x, span) if x == a || x == b => spans += span,
            Act::StopRelay => stopped += *at - Time::ZERO,
            Act::StartRelay => started += *at - Time::ZERO,
            _ => {}
        }
    }
    spans + (started - stopped)
}

/// A room outlives the failure of any part for so long without anybody noticing more than a pause.
const LONGEST_CUT: Duration = Duration::from_secs(30);
/// How long somebody locks the room.
const LOCKED: Duration = Duration::from_secs(10);
