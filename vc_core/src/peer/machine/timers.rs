//! What a peer does when time passes: ages, shakes hands, probes, resends, reports.

use std::time::Duration;

use rand_core::RngCore;

use super::{Act, Doubt, Past, Peer, Phase, Role, Scene};
use crate::io::{Event, Parting, Time};
use crate::net::forward::rate::Rate;
use crate::net::path::Path;
use crate::peer::session::Sessions;
use crate::protocol::codec::Wire;
use crate::protocol::control::{CHAT_CLASS, CONTROL_CLASS, Channel, Frame, MAX_PLAINTEXT};

impl Peer {
    /// All timers.
    pub fn tick(&mut self, scene: &mut Scene) {
        self.sessions.expire(scene.now);
        self.age(scene);
        self.shake(scene);
        if let Some(path) = self.ladder.settle(scene.now) {
            self.moved(scene, path);
        }
        self.probe(scene);
        self.flush(scene);
        self.measure(scene);
    }

    pub fn wake(&self, now: Time) -> (Time, &'static str) {
        let age = match self.phase {
            Phase::Shaking { since, .. } => since + UNREACHABLE_AFTER,
            Phase::Live { heard, doubted } => {
                let lost = self.lost_at(now, heard, doubted);
                doubted.and_then(|doubt| doubt.ask_at()).map_or(lost, |at| lost.min(at))
            }
            Phase::Lost { heard, .. } => heard + AWAY_AFTER,
            Phase::Away { retry, .. } => retry,
        };
        let shake = match &self.role {
            Role::Initiator(initiator) => initiator.wake().or(self.sessions.rekey_at()),
            Role::Responder(_) => None,
        };
        let usable = self.sessions.can_seal();
        let send = |at: Option<Time>| at.filter(|_| usable && self.ladder.carrying().is_some());
        [
            (Some(age), "peer silent"),
            (shake, "handshake"),
            (self.ladder.wake(now).filter(|_| usable), "path probe"),
            (self.sessions.wake(), "session expiry"),
            (send(self.unsent(now)), "message or ack"),
            (self.losses.measure_at, "loss report"),
        ]
        .into_iter()
        .filter_map(|(at, why)| Some((at?, why)))
        .min()
        .unwrap_or((now, "peer"))
    }

    fn age(&mut self, scene: &mut Scene) {
        let now = scene.now;
        match self.phase {
            Phase::Shaking { since, closed } if now - since >= UNREACHABLE_AFTER => {
                let past = if closed { Past::Gone } else { Past::Unmet };
                self.phase = Phase::Away { since: now, retry: now, past };
                let name = self.state.name.clone();
                scene.acts.push(Act::Event(Event::Unreachable { id: self.id, name }));
                self.report_undelivered(scene);
            }
            Phase::Live { heard, doubted } if now >= self.lost_at(now, heard, doubted) => {
                self.phase = Phase::Lost { heard, closed: doubted.is_some() };
                self.ladder.restart(now);
                scene.acts.push(Act::Event(Event::Reconnecting { id: self.id, rung: self.told }));
            }
            Phase::Live { doubted: Some(_), .. } => self.ask_doubted(now),
            Phase::Lost { heard, .. } if now - heard >= AWAY_AFTER => {
                self.part(scene, Parting::TimedOut);
                self.sessions = Sessions::default();
                self.phase = Phase::Away { since: now, retry: now + AWAY_RETRY, past: Past::Met };
            }
            _ => {}
        }
    }

    fn shake(&mut self, scene: &mut Scene) {
        let now = scene.now;
        let wanted = match &mut self.phase {
            Phase::Shaking { .. } | Phase::Lost { .. } => true,
            Phase::Live { .. } => self.sessions.stale(now) || !self.sessions.can_seal(),
            Phase::Away { since, retry, .. } if *retry <= now => {
                *retry = now + ((now - *since) / 16).clamp(AWAY_RETRY, AWAY_RETRY_MAX);
                true
            }
            Phase::Away { .. } => false,
        };
        let Role::Initiator(initiator) = &mut self.role else { return };
        let mut packet = initiator.tick(now);
        if wanted && !initiator.is_running() {
            initiator.start(now, scene.keys, &self.seated.record.key, scene.rng);
            packet = initiator.tick(now);
        }
        let Some(packet) = packet else { return };
        let mail_too = match self.phase {
            Phase::Shaking { since, .. } => now - since >= MAIL_AFTER,
            _ => true,
        };
        let hearsay = matches!(self.phase, Phase::Away { past: Past::Unmet | Past::Gone, .. });
        let direct_too = !hearsay || self.hearsay.take(now, HEARSAY_RATE, 1);
        let wanted = |path: &&Path| match path {
            Path::Direct(_) => direct_too,
            Path::Via { .. } => true,
            Path::Mail(_) => mail_too,
        };
        for path in self.ladder.paths().filter(wanted) {
            scene.acts.push(Act::Send { path: *path, bytes: packet.clone() });
        }
    }

    fn probe(&mut self, scene: &mut Scene) {
        if !self.sessions.can_seal() {
            return;
        }
        let rng = &mut *scene.rng;
        let due = self.ladder.probe(scene.now, || {
            let mut token = [0; 8];
            rng.fill_bytes(&mut token);
            token
        });
        for (path, token) in due {
            self.send_probe(scene, path, &Frame::Challenge { token });
        }
    }

    /// Messages and acknowledgements that are due, on the paths that carry.
    pub(super) fn flush(&mut self, scene: &mut Scene) {
        if !self.sessions.can_seal() || self.ladder.carrying().is_none() {
            return;
        }
        self.feed();
        let rto = self.rto();
        for channel in Channel::ALL {
            let class = if channel == Channel::Chat { CHAT_CLASS } else { CONTROL_CLASS };
            loop {
                let mut plaintext = Vec::new();
                let Some((seq, data)) = self.streams[channel.index()].due(scene.now, rto) else { break };
                Frame::Stream { channel, seq, data }.write(&mut plaintext);
                self.write_acks(scene.now, true, &mut plaintext);
                self.send_sealed(scene, class, plaintext);
            }
        }
        let mut acks = Vec::new();
        self.write_acks(scene.now, false, &mut acks);
        if !acks.is_empty() {
            self.send_sealed(scene, CONTROL_CLASS, acks);
        }
    }

    /// When something of the streams' is due.
    pub(super) fn unsent(&self, now: Time) -> Option<Time> {
        let room = self.streams[Channel::Control.index()].under_way() < NEWS_UNDER_WAY;
        let news = (room && !self.news.is_empty()).then_some(now);
        self.streams.iter().filter_map(|stream| stream.wake(now, self.rto())).chain(news).min()
    }

    /// A word that is under way cannot be taken back for a later one: most wait here.
    fn feed(&mut self) {
        let stream = &mut self.streams[Channel::Control.index()];
        while stream.under_way() < NEWS_UNDER_WAY
            && let Some(control) = self.news.pop()
        {
            // Fewer than it holds.
            let _ = stream.push(control.encode());
        }
    }

    pub(super) fn write_acks(&mut self, now: Time, ride_along: bool, w: &mut Vec<u8>) {
        if ride_along && w.len() > MAX_PLAINTEXT - ACKS_ROOM {
            return;
        }
        for channel in Channel::ALL {
            if let Some((upto, bits)) = self.streams[channel.index()].ack(now, ride_along) {
                Frame::Ack { channel, upto, bits }.write(w);
            }
        }
    }

    /// Once a second while voice flows: what was lost of theirs, told to them.
    fn measure(&mut self, scene: &mut Scene) {
        if !self.is_live() || !self.ladder.is_hot(scene.now) {
            self.losses.measure_at = None;
            return;
        }
        let at = *self.losses.measure_at.get_or_insert(scene.now + MEASURE_EVERY);
        if at > scene.now {
            return;
        }
        self.losses.measure_at = Some(scene.now + MEASURE_EVERY);
        let Some(report) = self.losses.report() else { return };
        let mut plaintext = Vec::new();
        Frame::Report(report).write(&mut plaintext);
        self.send_sealed(scene, CONTROL_CLASS, plaintext);
    }

    /// When its silence is too long.
    fn lost_at(&self, now: Time, heard: Time, doubted: Option<Doubt>) -> Time {
        let silence = self.silent_since(heard) + self.lost_after(now);
        doubted.and_then(|doubt| doubt.lost_at()).map_or(silence, |at| at.min(silence))
    }

    /// Silence counts from the moment from which we would notice it soon.
    fn silent_since(&self, heard: Time) -> Time {
        self.ladder.hot_since().map_or(heard, |since| heard.max(since))
    }

    fn lost_after(&self, now: Time) -> Duration {
        if self.ladder.is_hot(now) { LOST_AFTER_HOT } else { LOST_AFTER }
    }

    pub(super) fn rto(&self) -> Duration {
        self.ladder
            .rtt()
            .map_or(Duration::from_millis(500), |(rtt, var)| rtt + 4 * var + Duration::from_millis(25))
    }
}

/// Nothing at all from a peer for this long: three idle probes and their answers.
const LOST_AFTER: Duration = Duration::from_secs(15);
/// While voice flows: ten probes. Or if the server lost it: five by each path.
pub(super) const LOST_AFTER_HOT: Duration = Duration::from_secs(5);
/// Then its keys are erased.
const AWAY_AFTER: Duration = Duration::from_secs(60);
/// A handshake attempt and a breath; less and less often as hours go by.
const AWAY_RETRY: Duration = Duration::from_secs(7);
const AWAY_RETRY_MAX: Duration = Duration::from_secs(30);
/// However often others say that it moved: an address that nobody ever answered from may be a stranger's.
const HEARSAY_RATE: Rate = Rate { per_minute: 6, burst: 3 };
/// All retries of four handshake attempts on every path.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(20);
/// Signaling is not burdened with what a relay does at once.
const MAIL_AFTER: Duration = Duration::from_secs(1);
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// A greeting in a full room goes out at once.
const NEWS_UNDER_WAY: usize = 32;
/// Two ACK frames.
const ACKS_ROOM: usize = 32;
