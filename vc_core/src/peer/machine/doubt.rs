//! The server saw a friend's connection end: its program may have ended, too.

use std::time::Duration;

use super::timers::LOST_AFTER_HOT;
use super::{APPEARED_RATE, Past, Peer, Phase};
use crate::io::Time;

/// Nothing came since but what was under way then.
#[derive(Clone, Copy)]
pub(super) struct Doubt {
    since: Time,
    /// When the paths that answer were last asked for it. `None` if they were for another one a moment ago: then silence
    /// counts as ever.
    asked: Option<Time>,
}

impl Doubt {
    /// A packet that comes now may have been sent before.
    pub(super) fn outlasts_news(&self, now: Time) -> bool {
        now - self.since < UNDER_WAY
    }

    /// From when on an answer is awaited.
    pub(super) fn asked_since(&self) -> Option<Time> {
        self.asked.map(|_| self.since)
    }

    pub(super) fn ask_at(&self) -> Option<Time> {
        self.asked.map(|at| at + ASK_AGAIN)
    }

    /// Who was asked has as long to answer as while voice flows.
    pub(super) fn lost_at(&self) -> Option<Time> {
        self.asked_since().map(|since| since + LOST_AFTER_HOT)
    }
}

impl Peer {
    /// The server says so. The friend is asked at once, if the server does not say so all the time.
    pub fn doubt(&mut self, now: Time) {
        match &mut self.phase {
            Phase::Live { doubted: doubted @ None, .. } => {
                let asks = self.doubts.take(now, APPEARED_RATE, 1);
                *doubted = Some(Doubt { since: now, asked: asks.then_some(now) });
                if asks {
                    self.ladder.verify(now);
                }
            }
            Phase::Lost { closed, .. } | Phase::Shaking { closed, .. } => *closed = true,
            Phase::Away { past: past @ Past::Unmet, .. } => *past = Past::Gone,
            Phase::Live { .. } | Phase::Away { .. } => {}
        }
    }

    /// The server is connected with it.
    pub fn connects(&mut self) {
        match &mut self.phase {
            Phase::Shaking { closed, .. } => *closed = false,
            Phase::Away { past: past @ Past::Gone, .. } => *past = Past::Unmet,
            Phase::Live { .. } | Phase::Lost { .. } | Phase::Away { .. } => {}
        }
    }

    /// It may not have heard the question.
    pub(super) fn ask_doubted(&mut self, now: Time) {
        if let Phase::Live { doubted: Some(doubt), .. } = &mut self.phase
            && doubt.ask_at().is_some_and(|at| at <= now)
        {
            doubt.asked = Some(now);
            self.ladder.verify(now);
        }
    }
}

/// Packets that were sent before come within this by the worst line that carries speech.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// A probe or its answer may be lost.
const ASK_AGAIN: Duration = Duration::from_secs(1);
