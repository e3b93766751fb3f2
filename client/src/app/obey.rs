//! What each order does. Whoever gave it gets one answer: the input line and stdin read it on the screen.

use vc_core::io::{Command, Input};

use super::App;
use crate::clipboard;
use crate::note::Note;
use crate::order::{self, Answer, Order, Refusal, Switch};
use crate::ui::Ui;

/// Takes the answer to where it was asked for.
pub(crate) type Reply = Box<dyn FnOnce(&Ui, Answer) + Send>;

impl App<'_> {
    /// A line as it was typed, answered where it was typed.
    pub(super) fn line(&mut self, line: &str) {
        let here: Reply = Box::new(Ui::answer);
        match Order::line(line) {
            Some(Ok(order)) => self.obey(order, here),
            Some(Err(refusal)) => here(self.ui, Err(refusal)),
            None => {}
        }
    }

    pub(crate) fn obey(&mut self, order: Order, reply: Reply) {
        let answer = match order {
            Order::Say(text) => self.say(text),
            Order::Help => done("help", order::help()),
            Order::Peers => Ok(Note::Peers { peers: self.stats().peers }),
            Order::Stats => Ok(Note::Stats(self.stats())),
            Order::Mute(switch) => self.order_mute(switch),
            Order::Deafen(switch) => self.order_deafen(switch),
            Order::Invite => self.invite.clone().ok_or_else(|| refused("invite", NO_INVITE)),
            Order::Copy => match &self.invite {
                Some(invite) => return self.later(reply, clipboard::put(invite, self.ui.clipboard())),
                None => Err(refused("copy", NO_INVITE)),
            },
            Order::Devices => return self.later(reply, devices()),
            Order::Quit => {
                self.leave();
                done("quit", "Leaving.")
            }
        };
        reply(self.ui, answer);
        self.glance();
    }

    fn later(&mut self, reply: Reply, answer: impl Future<Output = Answer> + Send + 'static) {
        if self.late.len() >= LATE {
            return reply(
                self.ui,
                Err(refused("devices", "One thing after the other: try again in a moment.")),
            );
        }
        self.late.spawn(async { (reply, answer.await) });
    }

    fn say(&mut self, text: String) -> Answer {
        if !self.somebody() {
            let why = "Nobody else is here yet, so nobody got that line.".to_owned();
            return Err(Refusal { order: None, why });
        }
        self.tell(Input::Command(Command::Say(text.clone())));
        Ok(Note::Said { text })
    }

    fn order_mute(&mut self, switch: Switch) -> Answer {
        let muted = switch.from(self.muted);
        let was = std::mem::replace(&mut self.muted, muted);
        self.mute(muted);
        done(
            if muted { "mute" } else { "unmute" },
            match (muted, was) {
                (true, false) => "Your microphone is off; /unmute switches it on.",
                (true, true) => "Your microphone is off already; /unmute switches it on.",
                (false, true) => "Your microphone is on.",
                (false, false) => "Your microphone is on already.",
            },
        )
    }

    fn order_deafen(&mut self, switch: Switch) -> Answer {
        let deafened = switch.from(self.deafened);
        let was = std::mem::replace(&mut self.deafened, deafened);
        self.tell(Input::Command(Command::Deafen(deafened)));
        done(
            if deafened { "deafen" } else { "undeafen" },
            match (deafened, was) {
                (true, false) => "You hear nobody now; /undeafen ends it.",
                (true, true) => "You hear nobody already; /undeafen ends it.",
                (false, true) => "You hear again.",
                (false, false) => "You hear everybody already.",
            },
        )
    }
}

fn done(order: &'static str, message: impl Into<String>) -> Answer {
    Ok(Note::Answer { order: Some(order), done: true, message: message.into() })
}

pub(crate) fn refused(order: &'static str, why: impl Into<String>) -> Refusal {
    Refusal { order: Some(order), why: why.into() }
}

/// Asking a sound server takes time that the loop has not.
async fn devices() -> Answer {
    match tokio::task::spawn_blocking(audio::devices).await {
        Ok(Ok(devices)) => {
            let notes = |list: Vec<audio::Device>| list.into_iter().map(Into::into).collect();
            Ok(Note::Devices { inputs: notes(devices.inputs), outputs: notes(devices.outputs) })
        }
        Ok(Err(error)) => Err(refused("devices", error.to_string())),
        Err(_) => Err(refused("devices", "The list of devices could not be made.")),
    }
}

const NO_INVITE: &str = "There is no code yet: the server has not named the room.";
/// A script may ask for the devices in a loop; each question holds a thread.
const LATE: usize = 8;
