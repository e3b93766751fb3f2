//! What the room tells: taken note of here, and passed on to whom it concerns.

use tokio::time::{Duration, Instant};
use vc_core::io::{Command, Denial, Ended, Event, Input, Parting};
use vc_core::protocol::member::{Codes, MemberId};

use super::{App, Stage, Verdict};
use crate::failure::{Failure, Kind};
use crate::note::Note;
use crate::plan::Entry;
use crate::report;

impl App<'_> {
    pub(super) fn event(&mut self, event: Event) {
        tracing::debug!(?event);
        // Before anything is forgotten: who was renamed, who left.
        let note = report::note(&event, &self.plan, &self.names, self.entrance(), !self.somebody());
        match &event {
            Event::Joined { id, name } => {
                self.names.set(*id, name.clone());
                self.plan.sound.set_alone(false);
                self.meet(*id);
            }
            Event::Renamed { id, name } => {
                self.names.set(*id, name.clone());
                self.meet(*id);
            }
            // What is said of us to programs, who did it, carries our name like any other.
            Event::Entered { me } => {
                self.names.set(*me, self.plan.room.name.clone());
                // What was chosen before there was anybody to tell.
                self.tell(Input::Command(Command::Mute(self.muted)));
                self.tell(Input::Command(Command::Deafen(self.deafened)));
            }
            Event::Back { .. } => self.plan.sound.set_alone(false),
            Event::Left { id, .. } => {
                self.plan.sound.forget(*id);
                // If somebody is left who listens, the next is a moment away.
                self.counts.level = None;
            }
            Event::Muted { id, muted } => self.plan.sound.set_friend_muted(*id, *muted),
            Event::Denied(denial) => self.denied(*denial),
            Event::Ended(ended) => self.stage = Stage::Over(self.result(*ended)),
            Event::Invite(codes) => self.codes = Some(codes.clone()),
            Event::Door { open, .. } => self.open = *open,
            Event::Locked => self.silence_words(),
            Event::NewCode { .. } => self.codes = None,
            Event::Moved { .. }
            | Event::Reconnecting { .. }
            | Event::Said { .. }
            | Event::Undelivered { .. }
            | Event::Echoes { .. }
            | Event::CheckChanged
            | Event::Unreachable { .. }
            | Event::WrongCode { .. }
            | Event::Signaling { .. } => {}
        }
        if let Some(note) = note {
            self.happened(self.is_answered(&event), note);
        }
        // Where the server is lost after that, it is told with it.
        if matches!(event, Event::Left { .. }) && self.fault.is_some() && !self.somebody() {
            self.ui.show(&Note::Signaling { up: false, alone: true });
        }
        match event {
            Event::Left { id, .. } => {
                self.names.forget(id);
                self.counts.forget(id);
                self.plan.habits.volumes.forget(id);
                self.name_all();
            }
            Event::Entered { .. } => self.at_home(),
            _ => {}
        }
        self.glance();
    }

    /// What can be told once we are in.
    fn at_home(&mut self) {
        self.entered = Some(Instant::now());
        if self.plan.host.is_some() {
            self.ui.notice(LEAVING);
        }
        if let (Entry::Join(_), Some(invite)) = (&self.plan.entry, self.invitation()) {
            self.announce(&invite);
        }
        self.keep_server();
        if let Entry::Join(_) = self.plan.entry {
            self.tell_ailment();
        }
    }

    /// Before there was a call it would only have hidden why there is none, and before the code of a room it would
    /// stand between a person and what they wait for.
    pub(super) fn tell_ailment(&mut self) {
        if self.entered.is_some()
            && let Some(ailment) = self.plan.sound.ailment()
        {
            self.ui.trouble(ailment);
        }
    }

    fn denied(&mut self, denial: Denial) {
        if !matches!(self.verdict, Verdict::Unasked) {
            self.verdict = Verdict::Denied(denial);
        }
        if denial == Denial::NoServer {
            self.codes = None;
        }
    }

    /// Only words can be guessed: the link goes on.
    fn silence_words(&mut self) {
        let linked = self.codes.take().filter(|codes| codes.link.is_some());
        self.codes = linked.map(|codes| Codes { spoken: None, ..codes });
    }

    /// Whether it only tells what we ordered, which is answered.
    fn is_answered(&self, event: &Event) -> bool {
        match event {
            Event::Door { by, .. } | Event::NewCode { by } => Some(*by) == self.room.me(),
            Event::Denied(_) | Event::Left { why: Parting::Kicked, .. } => {
                !matches!(self.verdict, Verdict::Unasked)
            }
            _ => false,
        }
    }

    /// A friend is here, or has another name.
    fn meet(&mut self, friend: MemberId) {
        if let Some(percent) = self.plan.habits.volumes.met(friend, &self.room.peers()) {
            self.plan.sound.set_volume(friend, percent);
        }
        self.name_all();
    }

    /// One who comes, goes or changes names, we as well, may set others of that name apart.
    pub(super) fn name_all(&mut self) {
        for peer in self.room.peers() {
            self.names.renew(peer.id, peer.name);
        }
    }

    /// Programs are told at once, people when it is worth it, and of what they did themselves not again.
    pub(super) fn happened(&mut self, own: bool, note: Note) {
        self.ui.record(&note);
        for told in self.calm.hear(self.clock.now(), note.clone()) {
            match told {
                told if !own || told != note => self.announce(&told),
                // Who is removed is heard to go, also by whom it was ordered.
                told @ Note::Left { .. } => self.plan.alerts.tell(&told, self.ui, &self.plan.sound),
                _ => {}
            }
        }
    }

    pub(super) fn announce(&mut self, note: &Note) {
        let unread = matches!(note, Note::CheckChanged) && !self.is_outdated();
        match (&self.plan.entry, note) {
            _ if unread => {}
            // Not before one is in oneself: then it is told first of all.
            (Entry::Join(_), Note::Invite { .. }) if self.entered.is_none() => return,
            (Entry::Join(_), Note::NewCode { .. }) => self.renewed = Some((note.clone(), Instant::now())),
            (Entry::Join(_), Note::Invite { .. }) => {
                let made = self.renewed.take().map(|(made, _)| made);
                self.ui.invite_as_guest(note, made.as_ref());
            }
            _ => self.ui.speak(note),
        }
        self.plan.alerts.tell(note, self.ui, &self.plan.sound);
        if let Note::Invite { .. } = note {
            self.tell_ailment();
        }
    }

    /// Whether the words that somebody compared are others now; tells it once. Nobody compares them alone.
    fn is_outdated(&mut self) -> bool {
        let room = &self.room;
        self.somebody() && self.compared.take_if(|words| room.verify() != Some(*words)).is_some()
    }

    /// Of a new code that does not come, that the old one is dead.
    pub(super) fn tell_renewed(&mut self, now: Instant) {
        if let Some((made, _)) = self.renewed.take_if(|(_, since)| *since + CODE_FOLLOWS <= now) {
            self.ui.speak(&made);
        }
    }

    fn result(&self, ended: Ended) -> Result<(), Failure> {
        match ended {
            Ended::Left => Ok(()),
            Ended::Failed(error) => {
                let failure = Failure::from(error);
                Err(match self.fault {
                    Some(fault) if failure.kind == Kind::Unreachable => {
                        report::unreachable(&self.plan.place, fault).or_forget(self.plan.standing)
                    }
                    _ => failure,
                })
            }
        }
    }
}

/// A server names a new code within a round trip or two.
pub(super) const CODE_FOLLOWS: Duration = Duration::from_secs(2);
const LEAVING: &str = "When you leave, running calls go on, but nobody can join any more.";
