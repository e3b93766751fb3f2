//! What each order does. Whoever gave it gets one answer: the input line and stdin read it on the screen.

use std::time::Duration;

use audio::InUse;
use tokio::time::Instant;
use vc_core::io::{Command, Denial, Input};
use vc_core::protocol::member::MemberId;
use vc_core::protocol::text;

use super::ahead::Line;
use super::{App, Stage, Verdict};
use crate::clipboard;
use crate::config::{self, Settings};
use crate::message::Message;
use crate::names;
use crate::note::{self, Note};
use crate::order::{self, Answer, Given, NOTHING, Order, Refusal, Switch, TalkKey, refused};
use crate::stats::PeerStats;
use crate::ui::Ui;
use crate::vocabulary;
use crate::volumes::AS_SENT;

/// Takes the answer to where it was asked for.
pub(crate) type Reply = Box<dyn FnOnce(&Ui, Answer) + Send>;

impl App<'_> {
    /// A line as it was typed, answered where it was typed.
    pub(super) fn line(&mut self, line: Line) {
        let stays = matches!(self.stage, Stage::Staying);
        // A person sees what there is not yet, and types it again.
        let at_once = self.ui.is_person() || matches!(&line, Ok(order) if order.is_of_oneself());
        match at_once || (self.ahead.is_empty() && self.can_take(&line)) {
            _ if !stays && !self.ui.is_person() => self.miss(line),
            true => self.act_on(line),
            false => self.ahead.hold(line),
        }
    }

    /// What came before anybody could take it.
    pub(super) fn catch_up(&mut self) {
        while let Some(first) = self.ahead.first() {
            let stays = matches!(self.stage, Stage::Staying);
            if stays && !self.can_take(first) {
                return;
            }
            match self.ahead.next() {
                Some(line) if stays => self.act_on(line),
                Some(line) => self.miss(line),
                None => {}
            }
        }
    }

    /// What came too late is answered as well.
    fn miss(&mut self, line: Line) {
        self.ui.answer(match line {
            Ok(Order::Quit) => done("quit", "Leaving."),
            Ok(Order::Say(text)) => {
                let why = format!("The call is over, so nobody got: {}", text::harmless(&text));
                Err(Refusal { order: None, why })
            }
            Ok(_) => Err(Refusal { order: None, why: OVER.to_owned() }),
            Err(refusal) => Err(refusal),
        });
    }

    /// A pipe is read no faster than friends read, and who leaves by it has been read.
    fn can_take(&self, line: &Line) -> bool {
        match line {
            Ok(Order::Say(_)) => self.is_among_friends() && self.room.unread() < UNREAD,
            Ok(Order::Quit) => {
                self.room.unread() == 0 || self.said.is_none_or(|said| said.elapsed() > ARRIVING)
            }
            Ok(order) if order.needs_the_call() => self.is_among_friends(),
            Ok(_) | Err(_) => true,
        }
    }

    fn act_on(&mut self, line: Line) {
        let here: Reply = Box::new(Ui::answer);
        match line {
            Ok(order) => self.obey(order, Given::InTheCall, here),
            Err(refusal) => here(self.ui, Err(refusal)),
        }
    }

    pub(crate) fn obey(&mut self, order: Order, given: Given, reply: Reply) {
        let reply = if given == Given::Outside && order.is_deed() { overheard(reply) } else { reply };
        let answer = match order {
            Order::Say(text) => self.say(text),
            Order::Help => done("help", vocabulary::help(given, self.ui.is_screen())),
            Order::Peers => Ok(Note::Peers { peers: self.stats().peers }),
            Order::Status => Ok(Note::Status(Box::new(self.status()))),
            Order::Stats => Ok(Note::Stats(self.stats())),
            Order::Mute(switch) => self.order_mute(switch),
            Order::Deafen(switch) => self.order_deafen(switch),
            Order::Talk(key) => self.order_talk(key, given),
            Order::Volumes => done("volume", self.volumes()),
            Order::VolumeOf(friend) => self.volume_of(&friend),
            // The number may be the end of a name.
            Order::Volume { friend, percent, typed } if self.is_called(&typed) => {
                self.volume_of_either(&typed, &friend, percent)
            }
            Order::Volume { friend, percent, .. } => self.order_volume(&friend, percent),
            Order::Noise(when) => {
                self.plan.habits.noise = Some(when);
                self.keep(&["noise"], when.word());
                self.plan.sound.set_noise(when.into());
                done("noise", format!("Noise suppression: {}.", stage(when)))
            }
            Order::Echo(when) => {
                self.plan.habits.echo = Some(when);
                self.keep(&["echo"], when.word());
                self.plan.sound.set_echo(when.into());
                done("echo", format!("Echo cancellation: {}.", stage(when)))
            }
            Order::Level(on) => self.order_level(on),
            Order::Gate(on) => self.order_gate(on),
            Order::NewInvite => self.order_new_invite(),
            Order::Verify if !self.somebody() => Err(refused("verify", NOBODY)),
            Order::Verify => match self.room.verify() {
                Some(words) => {
                    self.compared = Some(words);
                    Ok(Note::Verify { words })
                }
                None => Err(refused("verify", NOT_IN)),
            },
            Order::Lock(locked) => self.order_lock(locked),
            Order::Kick(friend) => self.order_kick(&friend),
            Order::Name(name) => self.order_name(&name),
            Order::Invite => self.invitation().ok_or_else(|| refused("invite", no_invite(given))),
            Order::Copy => match self.invitation() {
                Some(invite) => {
                    return self.later("copy", reply, clipboard::put(&invite, self.ui.clipboard()));
                }
                None => Err(refused("copy", no_invite(given))),
            },
            Order::Devices => return self.later("devices", reply, devices(self.plan.sound.in_use())),
            Order::Input(spec) => {
                let typed = spec.to_string();
                let shown = text::harmless(&typed);
                let switched = self.plan.sound.set_input(spec);
                let keeps = self.keeper("input", typed);
                let message = format!("You speak into {shown} now.");
                return self.later("input", reply, changed("input", message, switched, keeps));
            }
            Order::Output(spec) => {
                let typed = spec.to_string();
                let shown = text::harmless(&typed);
                let switched = self.plan.sound.set_output(spec);
                let keeps = self.keeper("output", typed);
                let message = format!("You hear your friends on {shown} now.");
                return self.later("output", reply, changed("output", message, switched, keeps));
            }
            Order::Save => self.order_save(),
            Order::Quit => {
                self.leave();
                done("quit", "Leaving.")
            }
        };
        reply(self.ui, answer);
        self.glance();
    }

    fn later(
        &mut self,
        order: &'static str,
        reply: Reply,
        answer: impl Future<Output = Answer> + Send + 'static,
    ) {
        if self.late.len() >= LATE {
            return reply(self.ui, Err(refused(order, "One thing after the other: try again in a moment.")));
        }
        self.late.spawn(async { (reply, answer.await) });
    }

    fn say(&mut self, text: String) -> Answer {
        if !self.somebody() {
            let why = "Nobody else is here, so nobody got that line.".to_owned();
            return Err(Refusal { order: None, why });
        }
        // As the others get it.
        let text = text::line(&text);
        if text.is_empty() {
            return Err(Refusal { order: None, why: NOTHING.to_owned() });
        }
        self.said = Some(Instant::now());
        self.tell(Input::Command(Command::Say(text.clone())));
        Ok(Note::Said { text })
    }

    fn order_mute(&mut self, switch: Switch) -> Answer {
        let muted = switch.from(self.muted);
        let was = std::mem::replace(&mut self.muted, muted);
        self.mute(muted);
        self.tell_own(muted != was);
        let order = match switch {
            Switch::On => "mute",
            Switch::Off => "unmute",
            Switch::Toggle => "toggle",
        };
        done(
            order,
            Message::naming(|given| match (muted, was) {
                (true, false) => format!("Your microphone is off; {} switches it on.", given.typed("unmute")),
                (true, true) => {
                    format!("Your microphone is off already; {} switches it on.", given.typed("unmute"))
                }
                (false, true) => "Your microphone is on.".to_owned(),
                (false, false) => "Your microphone is on already.".to_owned(),
            }),
        )
    }

    fn order_deafen(&mut self, switch: Switch) -> Answer {
        let deafened = switch.from(self.deafened);
        let was = std::mem::replace(&mut self.deafened, deafened);
        self.tell_own(deafened != was);
        self.plan.sound.set_deafened(deafened);
        self.tell(Input::Command(Command::Deafen(deafened)));
        done(
            if deafened { "deafen" } else { "undeafen" },
            Message::naming(|given| match (deafened, was) {
                (true, false) => format!("You hear nobody now; {} ends it.", given.typed("undeafen")),
                (true, true) => format!("You hear nobody already; {} ends it.", given.typed("undeafen")),
                (false, true) => "You hear again.".to_owned(),
                (false, false) => "You hear everybody already.".to_owned(),
            }),
        )
    }
}

/// What was ordered of the others and of the sound.
impl App<'_> {
    pub(super) fn order_talk(&mut self, key: TalkKey, given: Given) -> Answer {
        let was = (self.plan.habits.push_to_talk, self.talk_key.is_down());
        let message = match key {
            TalkKey::Wanted(wanted) => {
                self.plan.sound.set_push_to_talk(wanted);
                self.plan.habits.push_to_talk = wanted;
                self.keep(&["push_to_talk"], wanted);
                match wanted {
                    true if self.ui.is_screen() => PUSH_TO_TALK.into(),
                    true => BY_THE_DESKTOP.into(),
                    false if self.muted => still_muted(),
                    false => "You are heard whenever you speak.".into(),
                }
            }
            TalkKey::Down(down) => {
                self.talk_key.tell(down, Instant::now());
                self.plan.sound.set_talk_key(down);
                if !down {
                    self.counts.level = None;
                }
                match (self.plan.habits.push_to_talk, down) {
                    (true, true) if self.muted => still_muted(),
                    (true, true) => "You are heard.".into(),
                    (true, false) => "You are not heard.".into(),
                    (false, _) => Message::naming(|given| {
                        let on = given.typed("ptt on");
                        format!("Push-to-talk is off, so you are heard anyway; {on} changes that.")
                    }),
                }
            }
        };
        self.tell_own(was != (self.plan.habits.push_to_talk, self.talk_key.is_down()));
        let in_vain = matches!(key, TalkKey::Down(_)) && self.muted && !self.plan.habits.push_to_talk;
        if in_vain {
            let unmute = given.typed("unmute");
            let why = format!("Push-to-talk is off, and your microphone is muted: {unmute} first.");
            return Err(refused("ptt", why));
        }
        done("ptt", message)
    }

    /// Programs show it at once; people have their answer.
    fn tell_own(&self, changed: bool) {
        if changed {
            self.ui.record(&Note::Own {
                muted: self.muted,
                deafened: self.deafened,
                push_to_talk: self.plan.habits.push_to_talk,
                talk_key: self.talk_key.is_down(),
            });
        }
    }

    fn order_level(&mut self, on: bool) -> Answer {
        self.plan.habits.level = Some(on);
        self.keep(&["level"], on);
        self.plan.sound.set_level(on);
        let on = if on { "evened out" } else { "sent as it is" };
        done("level", format!("Your voice is {on}."))
    }

    fn order_gate(&mut self, on: bool) -> Answer {
        self.plan.habits.gate = Some(on);
        self.keep(&["gate"], on);
        self.plan.sound.set_gate(on);
        done("gate", if on { "Your microphone is sent while you speak." } else { SENT_WHOLE })
    }

    fn order_volume(&mut self, friend: &str, percent: u16) -> Answer {
        let (id, name) = self.friend("volume", friend)?;
        self.plan.sound.set_volume(id, percent);
        let message = match percent {
            0 => format!("You do not hear {name} any more."),
            percent => format!("You hear {name} at {percent} %."),
        };
        let all = self.room.peers();
        match self.plan.habits.volumes.set(id, percent, &all) {
            Some(own) => {
                self.keep(&["volumes", own], i64::from(percent));
                done("volume", message)
            }
            None => done("volume", format!("{message} {SHARED}")),
        }
    }

    fn volume_of(&self, friend: &str) -> Answer {
        let (id, name) = self.friend("volume", friend)?;
        done("volume", self.heard_at(id, &name))
    }

    /// Of a friend whose name ends in a number, where another is called by what stands before it.
    fn volume_of_either(&self, whole: &str, friend: &str, percent: u16) -> Answer {
        let (id, name) = self.friend("volume", whole)?;
        let told = self.heard_at(id, &name);
        match self.friend("volume", friend) {
            Ok((other, name)) if other != id => done(
                "volume",
                Message::naming(|given| {
                    let sign = given.typed(&format!("volume {name} {percent}%"));
                    format!("{told} For {name} at {percent} %: {sign}.")
                }),
            ),
            _ => done("volume", told),
        }
    }

    fn heard_at(&self, id: MemberId, name: &str) -> String {
        match self.plan.habits.volumes.of(id) {
            0 => format!("You do not hear {name}: 0 %."),
            AS_SENT => format!("You hear {name} at 100 %, as they are sent."),
            percent => format!("You hear {name} at {percent} %."),
        }
    }

    fn volumes(&self) -> String {
        let other = |peer: &PeerStats| {
            (peer.volume != AS_SENT).then(|| format!("{} at {} %", peer.name, peer.volume))
        };
        let others: Vec<String> = self.stats().peers.iter().filter_map(other).collect();
        match others.as_slice() {
            [] => "You hear everybody at 100 %, as they are sent.".to_owned(),
            others => format!(
                "You hear {}. Whoever is not named is at 100 %, as they are sent.",
                names::listed(others)
            ),
        }
    }

    fn order_new_invite(&mut self) -> Answer {
        if self.room.me().is_none() {
            return Err(refused("invite", NOT_IN));
        }
        self.codes = None;
        match self.command(Command::Invite) {
            Some(denial) => Err(refused("invite", note::denied_words(denial).1)),
            None => done("invite", "The old code is dead; a new one is on its way."),
        }
    }

    fn order_lock(&mut self, locked: bool) -> Answer {
        let word = if locked { "lock" } else { "unlock" };
        if self.room.me().is_none() {
            return Err(refused(word, NOT_IN));
        }
        self.tell(Input::Command(Command::Lock(locked)));
        done(
            word,
            Message::naming(|given| match locked {
                true => format!("The room is locked: nobody can join. {} opens it.", given.typed("unlock")),
                false => "The room is open: the code lets friends in.".to_owned(),
            }),
        )
    }

    fn order_kick(&mut self, friend: &str) -> Answer {
        let (id, name) = self.friend("kick", friend)?;
        let denied = self.command(Command::Kick(id));
        let code = match denied {
            None => "",
            Some(Denial::NoServer) => " A new one follows when the server gives one again.",
            Some(denial) => return Err(refused("kick", note::denied_words(denial).1)),
        };
        self.codes = None;
        done("kick", format!("{name} is out, and the old code with them.{code}"))
    }

    /// What the room says against it at once.
    fn command(&mut self, command: Command) -> Option<Denial> {
        self.verdict = Verdict::Nothing;
        self.tell(Input::Command(command));
        match std::mem::take(&mut self.verdict) {
            Verdict::Denied(denial) => Some(denial),
            Verdict::Unasked | Verdict::Nothing => None,
        }
    }

    /// For later calls. What a program sets is of this call alone, and so is what cannot be written.
    fn keep(&self, key: &[&str], value: impl Into<toml_edit::Value>) {
        if !self.ui.is_json() {
            keep(key, value.into());
        }
    }

    /// The first server that was ever chosen is the one for later calls. A place that only the code names, or our own,
    /// is of this call alone.
    pub(super) fn keep_server(&self) {
        let chosen =
            !self.plan.named && self.plan.host.is_none() && !self.ui.is_silent() && !self.ui.is_json();
        if !chosen || !Settings::default().completed().is_ok_and(|settings| settings.server.is_none()) {
            return;
        }
        if config::remember(vec![(vec!["server"], self.plan.place.to_string().into())]).is_ok() {
            self.ui
                .notice("This server is kept for later calls; `voicechat config unset server` forgets it.");
        }
    }

    /// As [`Self::keep`], once it is known that the device works.
    fn keeper(&self, key: &'static str, value: String) -> impl FnOnce() + Send + use<> {
        let wanted = !self.ui.is_json();
        move || {
            if wanted {
                keep(&[key], value.into());
            }
        }
    }

    /// Only what is not a secret: codes are never kept.
    fn order_save(&mut self) -> Answer {
        let name = self.plan.room.name.clone();
        let mut settings = self.plan.habits.settings();
        settings.extend(self.plan.sound.chosen());
        settings.push((vec!["name"], name.into()));
        // A place that only the code names, or our own, is of this call alone.
        if !self.plan.named && self.plan.host.is_none() {
            settings.push((vec!["server"], self.plan.place.to_string().into()));
        }
        match config::remember(settings) {
            Ok(path) => done("save", format!("Kept for later calls in {}.", path.display())),
            Err(failure) => Err(refused("save", failure.to_string())),
        }
    }

    fn order_name(&mut self, name: &str) -> Answer {
        let cut = order::cut(name);
        let name = text::name(name);
        self.plan.room.name.clone_from(&name);
        self.keep(&["name"], name.as_str());
        self.tell(Input::Command(Command::Rename(name.clone())));
        if let Some(me) = self.room.me() {
            self.names.set(me, name.clone());
        }
        self.name_all();
        done("name", cut.unwrap_or_else(|| format!("You are called {name} now.")))
    }

    fn is_called(&self, typed: &str) -> bool {
        self.room.peers().iter().any(|peer| names::is_whole(typed, &peer.name))
    }

    fn friend(&self, order: &'static str, typed: &str) -> Result<(MemberId, String), Refusal> {
        let mut peers = self.room.peers();
        peers.sort_by_key(|peer| self.names.place(peer.id));
        let names: Vec<String> = peers.iter().map(|peer| peer.name.clone()).collect();
        let name = names::meant_friend(typed, &names).map_err(|why| refused(order, why))?;
        let peer = peers.iter().find(|peer| peer.name == *name);
        peer.map(|peer| (peer.id, name.clone())).ok_or_else(|| refused(order, NOT_IN))
    }
}

fn stage(when: config::Stage) -> &'static str {
    match when {
        config::Stage::On => "on",
        config::Stage::Off => "off",
        config::Stage::Auto => "when it helps",
    }
}

/// Said in the call as well: see [`Order::is_deed`].
fn overheard(reply: Reply) -> Reply {
    Box::new(|ui, answer| {
        if let Ok(note) = &answer {
            ui.overhear(note);
        }
        reply(ui, answer);
    })
}

fn done(order: &'static str, message: impl Into<Message>) -> Answer {
    Ok(Note::Answer { order: Some(order.into()), done: true, message: message.into() })
}

fn keep(key: &[&str], value: toml_edit::Value) {
    if let Err(failure) = config::remember(vec![(key.to_vec(), value)]) {
        tracing::warn!(kind = failure.kind.name(), "a setting was not kept");
    }
}

async fn changed(
    order: &'static str,
    message: String,
    switched: impl Future<Output = Result<(), String>>,
    keep: impl FnOnce(),
) -> Answer {
    match switched.await {
        Ok(()) => {
            keep();
            done(order, message)
        }
        Err(why) => Err(refused(order, why)),
    }
}

/// Asking a sound server takes time that the loop has not.
async fn devices(in_use: InUse) -> Answer {
    match tokio::task::spawn_blocking(move || crate::devices::devices(&in_use)).await {
        Ok(Ok(devices)) => Ok(devices),
        Ok(Err(error)) => Err(refused("devices", text::harmless(&error.to_string()))),
        Err(_) => Err(refused("devices", "The list of devices could not be made.")),
    }
}

fn still_muted() -> Message {
    Message::naming(|given| format!("Your microphone is muted: {} first.", given.typed("unmute")))
}

fn no_invite(given: Given) -> String {
    let new = given.typed("invite new");
    format!(
        "No code lets anybody in now: the server has not given one yet, or the old one is dead. {new} asks for one."
    )
}

const PUSH_TO_TALK: &str = "Push-to-talk: hold the space bar while nothing is typed. From other windows, keys of the \
                            desktop bound to `voicechat ctl ptt down` and `ptt up` do the same.";
/// Plain lines know no key that is held.
const BY_THE_DESKTOP: &str =
    "Push-to-talk: keys of the desktop bound to `voicechat ctl ptt down` and `ptt up` let you be heard.";
const SENT_WHOLE: &str = "All that your microphone hears is sent, unless it is muted.";
const SHARED: &str = "In this call only: another friend here has the same name.";
const NOT_IN: &str = "You are not in the room yet. Try again in a moment.";
const OVER: &str = "The call is over, so that was not done.";
const NOBODY: &str = "Nobody else is here. Compare the five words once friends are.";
/// A script may ask for the devices in a loop; each question holds a thread.
const LATE: usize = 8;
/// A quarter of what the queue to a friend takes, so that no line is refused.
const UNREAD: usize = 64;
/// A friend reads five lines a second, so as many in 13 s. One that still has not read them will not.
const ARRIVING: Duration = Duration::from_secs(30);
