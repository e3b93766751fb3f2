//! What can be ordered in a call: the same words in the input line, on stdin and from outside. Parsed once, here;
//! app/obey.rs does it.

use std::borrow::Cow;
use std::convert::Infallible;
use std::str::FromStr;

use audio::{InputSpec, OutputSpec};
use vc_core::protocol::member::MAX_NAME;
use vc_core::protocol::text::{self, MAX_CHAT, NAME_COLUMNS};

use crate::config::Stage;
use crate::nearest::nearest;
use crate::note::Note;
use crate::vocabulary::{OUTSIDE, Takes, WORDS, Word};
use crate::volumes::LOUDEST;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    Say(String),
    Help,
    Peers,
    Status,
    Stats,
    Mute(Switch),
    Deafen(Switch),
    Talk(TalkKey),
    /// Of all friends.
    Volumes,
    /// Of one friend, as it is.
    VolumeOf(String),
    /// Of one friend, in percent of what was sent.
    Volume {
        friend: String,
        percent: u16,
        /// Both as they were typed: a name may end in a number.
        typed: String,
    },
    Noise(Stage),
    Echo(Stage),
    /// Of the own voice.
    Level(bool),
    /// Voice detection.
    Gate(bool),
    Devices,
    Input(InputSpec),
    Output(OutputSpec),
    Save,
    Invite,
    NewInvite,
    Copy,
    Verify,
    Lock(bool),
    Kick(String),
    Name(String),
    Quit,
}

/// Push-to-talk, and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TalkKey {
    Wanted(bool),
    Down(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    On,
    Off,
    Toggle,
}

impl Switch {
    pub(crate) fn from(self, now: bool) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Toggle => !now,
        }
    }
}

/// Where an order was given, and so how others are named there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    InTheCall,
    Outside,
}

impl Given {
    /// As it is typed there.
    pub(crate) fn typed(self, order: &str) -> String {
        match self {
            Self::InTheCall => format!("/{order}"),
            Self::Outside => format!("`voicechat ctl {order}`"),
        }
    }
}

/// What an order brought: something to tell, or why it was not done.
pub(crate) type Answer = Result<Note, Refusal>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The order's word, where there was one.
    pub(crate) order: Option<Cow<'static, str>>,
    /// A sentence or two: what is wrong, what to do.
    pub(crate) why: String,
}

pub(crate) fn refused(order: &'static str, why: impl Into<String>) -> Refusal {
    Refusal { order: Some(order.into()), why: why.into() }
}

impl From<Refusal> for Note {
    fn from(refusal: Refusal) -> Self {
        Note::Answer { order: refusal.order, done: false, message: refusal.why.into() }
    }
}

impl Order {
    /// A typed line: chat, or an order after a slash. `None` for an empty one.
    pub(crate) fn line(line: &str) -> Option<Result<Self, Refusal>> {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.trim().is_empty() {
            return None;
        }
        // A second slash says a line that begins with one.
        Some(match line.strip_prefix('/') {
            None => Self::said(line),
            Some(rest) if rest.starts_with('/') => Self::said(rest),
            Some(order) => Self::words(order, Given::InTheCall),
        })
    }

    /// A line of chat, whatever it begins with; not one of blanks.
    pub(crate) fn said(text: &str) -> Result<Self, Refusal> {
        if text::is_blank(text) {
            return Err(Refusal { order: None, why: NOTHING.to_owned() });
        }
        if text.len() > MAX_CHAT { Err(too_long()) } else { Ok(Self::Say(text.to_owned())) }
    }

    /// Whether what it does is read in the call, wherever it was ordered. Not what only asks, and not the talk key, which
    /// the rows show.
    pub(crate) fn is_deed(&self) -> bool {
        match self {
            Self::Say(_)
            | Self::Mute(_)
            | Self::Deafen(_)
            | Self::Talk(TalkKey::Wanted(_))
            | Self::Volume { .. }
            | Self::Noise(_)
            | Self::Echo(_)
            | Self::Level(_)
            | Self::Gate(_)
            | Self::Input(_)
            | Self::Output(_)
            | Self::Save
            | Self::NewInvite
            | Self::Copy
            | Self::Lock(_)
            | Self::Kick(_)
            | Self::Name(_)
            | Self::Quit => true,
            Self::Talk(TalkKey::Down(_))
            | Self::Help
            | Self::Peers
            | Self::Status
            | Self::Stats
            | Self::Volumes
            | Self::VolumeOf(_)
            | Self::Devices
            | Self::Invite
            | Self::Verify => false,
        }
    }

    /// Whether it is about our own microphone or ears, which waits for nothing.
    pub(crate) fn is_of_oneself(&self) -> bool {
        matches!(self, Self::Mute(_) | Self::Deafen(_) | Self::Talk(_))
    }

    /// Whether it comes to nothing before one is in a call.
    pub(crate) fn needs_the_call(&self) -> bool {
        match self {
            Self::Say(_)
            | Self::Peers
            | Self::Status
            | Self::Stats
            | Self::Volumes
            | Self::VolumeOf(_)
            | Self::Volume { .. }
            | Self::Invite
            | Self::NewInvite
            | Self::Copy
            | Self::Verify
            | Self::Lock(_)
            | Self::Kick(_) => true,
            Self::Help
            | Self::Mute(_)
            | Self::Deafen(_)
            | Self::Talk(_)
            | Self::Noise(_)
            | Self::Echo(_)
            | Self::Level(_)
            | Self::Gate(_)
            | Self::Devices
            | Self::Input(_)
            | Self::Output(_)
            | Self::Save
            | Self::Name(_)
            | Self::Quit => false,
        }
    }

    /// An order without its slash.
    pub(crate) fn words(text: &str, given: Given) -> Result<Self, Refusal> {
        let text = text.trim();
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let first = match first {
            "say" => {
                return Self::said(rest).map_err(|refusal| Refusal { order: Some("say".into()), ..refusal });
            }
            "leave" if !rest.trim().is_empty() => return Err(refused("leave", alone("leave", given))),
            "leave" => "quit",
            "" => "help",
            other => other,
        };
        let word = WORDS.iter().find(|word| word.name == first).ok_or_else(|| unknown(first, given))?;
        word.order(rest.trim(), given).map_err(|why| Refusal { order: Some(word.name.into()), why })
    }
}

impl Word {
    fn order(&self, rest: &str, given: Given) -> Result<Order, String> {
        self.check(rest, given)?;
        let text = || rest.to_owned();
        Ok(match self.name {
            "peers" => Order::Peers,
            "mute" => Order::Mute(Switch::On),
            "unmute" => Order::Mute(Switch::Off),
            "toggle" => Order::Mute(Switch::Toggle),
            "deafen" => Order::Deafen(Switch::On),
            "undeafen" => Order::Deafen(Switch::Off),
            "ptt" => Order::Talk(match rest {
                "down" | "up" => TalkKey::Down(rest == "down"),
                _ => TalkKey::Wanted(rest == "on"),
            }),
            "volume" if rest.is_empty() => Order::Volumes,
            "volume" => {
                let (friend, percent) = rest.rsplit_once(char::is_whitespace).unwrap_or((rest, ""));
                let percent = percent.trim_end_matches('%');
                let is_number =
                    percent.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit());
                match percent.parse() {
                    // A name may be of several words.
                    Err(_) if !is_number => Order::VolumeOf(text()),
                    Ok(percent) if percent <= LOUDEST => {
                        Order::Volume { friend: friend.trim().to_owned(), percent, typed: text() }
                    }
                    Ok(_) | Err(_) => return Err(self.wants(given)),
                }
            }
            "noise" => Order::Noise(stage(rest)),
            "echo" => Order::Echo(stage(rest)),
            "level" => Order::Level(rest == "on"),
            "gate" => Order::Gate(rest == "on"),
            "devices" => Order::Devices,
            "input" => Order::Input(whatever(rest)),
            "output" => Order::Output(whatever(rest)),
            "save" => Order::Save,
            "invite" if rest == "new" => Order::NewInvite,
            "invite" => Order::Invite,
            "copy" => Order::Copy,
            "verify" => Order::Verify,
            "lock" => Order::Lock(true),
            "unlock" => Order::Lock(false),
            "kick" => Order::Kick(text()),
            "name" => Order::Name(text()),
            "status" => Order::Status,
            "stats" => Order::Stats,
            "quit" => Order::Quit,
            "help" => Order::Help,
            other => return Err(unknown(other, given).why),
        })
    }

    /// Whether something of the right form follows.
    fn check(&self, rest: &str, given: Given) -> Result<(), String> {
        let fits = match self.takes {
            Takes::Nothing if !rest.is_empty() => {
                return Err(alone(self.name, given));
            }
            Takes::Nothing | Takes::FriendAndPercent => true,
            Takes::Friend | Takes::NewName | Takes::Device => !rest.is_empty(),
            Takes::OneOf(choices) => choices.contains(&rest),
            Takes::Perhaps(choices) => rest.is_empty() || choices.contains(&rest),
        };
        if fits { Ok(()) } else { Err(self.wants(given)) }
    }

    fn wants(&self, given: Given) -> String {
        let typed = given.typed(&self.usage());
        match self.takes {
            Takes::FriendAndPercent => {
                format!("It is {typed}: 100 as sent, 0 not at all, at most {LOUDEST}.")
            }
            _ => format!("It is {typed}."),
        }
    }
}

/// What any text means.
fn whatever<T: FromStr<Err = Infallible>>(text: &str) -> T {
    text.parse().unwrap_or_else(|never| match never {})
}

/// When a stage of the capture chain is to work.
fn stage(word: &str) -> Stage {
    match word {
        "on" => Stage::On,
        "off" => Stage::Off,
        _ => Stage::Auto,
    }
}

/// What is said of a name that is not taken as it was typed.
pub(crate) fn cut(typed: &str) -> Option<String> {
    let name = text::name(typed);
    match typed.trim() {
        typed if typed == name => None,
        typed if typed.starts_with(&name) => Some(format!(
            "You are called {name}: a name is at most {NAME_COLUMNS} columns wide and {MAX_NAME} bytes long, so the rest is \
             left out."
        )),
        _ => Some(format!("You are called {name}: not all of what you typed can stand in a name.")),
    }
}

/// Against a word that takes nothing, but was given something.
pub(crate) fn alone(name: &str, given: Given) -> String {
    let typed = given.typed(name);
    format!("{typed} takes nothing after it: type {typed} alone.")
}

pub(crate) fn too_long() -> Refusal {
    let why = format!("That line is longer than {MAX_CHAT} bytes and was not sent. Split it.");
    Refusal { order: None, why }
}

fn unknown(typed: &str, given: Given) -> Refusal {
    let word = given.typed(&text::name(typed));
    let others = OUTSIDE.iter().filter(|_| given == Given::Outside).map(|(usage, _)| *usage);
    let others = others.map(|usage| usage.split(' ').next().unwrap_or_default());
    let names = WORDS.iter().map(|word| word.name).chain(others);
    let why = match meant(typed).or_else(|| nearest(typed, names)) {
        Some(near) => format!("There is no {word}. Did you mean {}?", given.typed(near)),
        None => format!("There is no {word}. {} lists the commands.", given.typed("help")),
    };
    Refusal { order: Some(text::harmless(typed).into()), why }
}

/// Words of other programs for the same.
fn meant(typed: &str) -> Option<&'static str> {
    Some(match typed.to_lowercase().as_str() {
        "exit" | "leave" | "bye" | "q" | "part" | "disconnect" => "quit",
        "who" | "users" | "list" | "names" | "friends" | "members" => "peers",
        "?" | "h" | "commands" => "help",
        "code" | "link" => "invite",
        "clipboard" => "copy",
        "sound" | "audio" | "microphones" => "devices",
        _ => return None,
    })
}

pub(crate) const NOTHING: &str = "There is nothing to say in that line. Add the text.";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::vocabulary::help;

    fn refused(line: &str) -> String {
        Order::line(line).unwrap().unwrap_err().why
    }

    #[test]
    fn lines_are_chat_and_slashes_are_orders() {
        let done = |line: &str| Order::line(line).map(Result::unwrap);
        assert_eq!(done("hello\r\n"), Some(Order::Say("hello".into())));
        assert_eq!(done("//mute"), Some(Order::Say("/mute".into())));
        assert_eq!(done("/mute"), Some(Order::Mute(Switch::On)));
        assert_eq!(done("/ quit "), Some(Order::Quit));
        assert_eq!(done("/leave"), Some(Order::Quit));
        assert_eq!(done("/say /mute it"), Some(Order::Say("/mute it".into())));
        assert_eq!(done("/"), Some(Order::Help));
        assert_eq!(done(" \t\n"), None);
        for blank in [" ", "\u{200b}\u{200d}", "\u{3164}", "\u{2063} \u{301}"] {
            assert!(Order::said(blank).is_err(), "{blank:?}");
        }
    }

    #[test]
    fn a_mistyped_order_names_the_nearest_one_and_another_programs_word_ours() {
        assert_eq!(refused("/mtue"), "There is no /mtue. Did you mean /mute?");
        for far in ["x", "e", "xo", "n", "ab", "lol"] {
            assert_eq!(refused(&format!("/{far}")), format!("There is no /{far}. /help lists the commands."));
        }
        assert_eq!(refused("/vol"), "There is no /vol. Did you mean /volume?");
        assert_eq!(refused("/exit"), "There is no /exit. Did you mean /quit?");
        assert_eq!(refused("/xyzzy"), "There is no /xyzzy. /help lists the commands.");
        assert!(!refused("/\u{1b}[2J").contains('\u{1b}'));
        assert_eq!(refused("/leave now"), "/leave takes nothing after it: type /leave alone.");
        assert_eq!(refused("/quit now"), "/quit takes nothing after it: type /quit alone.");
    }

    #[test]
    fn what_is_refused_names_the_word_that_was_given_known_or_not() {
        let order = |line: &str| Order::line(line).unwrap().unwrap_err().order;
        assert_eq!(order("/foo bar"), Some("foo".into()));
        assert_eq!(order("/mute now"), Some("mute".into()));
        assert_eq!(order("/say"), Some("say".into()));
        assert_eq!(order("/\u{1b}[2Jx"), Some("\u{fffd}[2Jx".into()));
        assert_eq!(order(&"x".repeat(MAX_CHAT + 1)), None);
    }

    #[test]
    fn every_word_orders_something_of_its_own_and_is_in_the_help() {
        let mut orders: Vec<Order> = Vec::new();
        for word in &WORDS {
            let endings: &[&str] = match word.takes {
                Takes::Nothing => &[""],
                Takes::Friend | Takes::NewName => &["Bob the 2nd"],
                Takes::Device => &["headset", "default"],
                Takes::FriendAndPercent => &["Bob the 2nd 80 %", "Bob 0"],
                Takes::OneOf(choices) | Takes::Perhaps(choices) => choices,
            };
            for ending in endings.iter().map(|ending| ending.replace(" %", "%")) {
                let order = Order::words(&format!("{} {ending}", word.name), Given::Outside).unwrap();
                assert!(!orders.contains(&order), "{} {ending}", word.name);
                orders.push(order);
            }
            assert!(
                help(Given::InTheCall, true).contains(&format!("\n  /{} ", word.usage())),
                "{}",
                word.name
            );
            assert!(help(Given::Outside, false).contains(&format!("\n  {} ", word.usage())), "{}", word.name);
        }
    }

    #[test]
    fn a_name_that_is_not_taken_whole_is_told_as_it_is_taken() {
        assert_eq!(cut("Ada L."), None);
        assert_eq!(cut(" Ada "), None);
        let long = cut(&"x".repeat(25)).unwrap();
        assert!(
            long.starts_with(&format!("You are called {}: a name is at most 24", "x".repeat(24))),
            "{long}"
        );
        let wide = cut(&"你".repeat(13)).unwrap();
        assert!(wide.contains(&format!("called {}:", "你".repeat(12))), "{wide}");
        let strange = cut("\u{202e}Ada").unwrap();
        assert!(strange.ends_with("not all of what you typed can stand in a name."), "{strange}");
        assert!(!strange.contains('\u{202e}'));
    }

    #[test]
    fn from_outside_orders_are_named_as_they_are_typed_there() {
        let refused = |text: &str| Order::words(text, Given::Outside).unwrap_err().why;
        assert_eq!(refused("mtue"), "There is no `voicechat ctl mtue`. Did you mean `voicechat ctl mute`?");
        assert_eq!(
            refused("evnts"),
            "There is no `voicechat ctl evnts`. Did you mean `voicechat ctl events`?"
        );
        assert_eq!(refused("kick"), "It is `voicechat ctl kick FRIEND`.");
        for wrong in ["xyzzy", "quit now", "noise loud", "volume Bob 401"] {
            assert!(!refused(wrong).contains('/'), "{wrong}");
        }
        assert!(!help(Given::Outside, false).contains('/'));
    }

    #[test]
    fn what_does_not_fit_a_word_is_answered_with_its_use() {
        assert_eq!(refused("/kick"), "It is /kick FRIEND.");
        assert_eq!(refused("/noise loud"), "It is /noise on|off|auto.");
        let volume = "It is /volume [FRIEND [PERCENT]]: 100 as sent, 0 not at all, at most 400.";
        for wrong in ["/volume Bob 100x", "/volume Bob 401", "/volume Bob -1", "/volume Bob 99999"] {
            assert_eq!(refused(wrong), volume, "{wrong}");
        }
        let asked = Order::VolumeOf("Bob the".into());
        assert_eq!(Order::line("/volume Bob the").unwrap(), Ok(asked));
        assert_eq!(Order::line("/volume").unwrap(), Ok(Order::Volumes));
        let order =
            Order::Volume { friend: "Bob the 2nd".into(), percent: 80, typed: "Bob the 2nd 80".into() };
        assert_eq!(Order::line("/volume Bob the 2nd 80").unwrap(), Ok(order));
    }

    #[test]
    fn what_changes_something_is_read_in_the_call_and_what_asks_is_not() {
        let is_deed = |order| Order::words(order, Given::Outside).unwrap().is_deed();
        for order in ["copy", "invite new", "mute", "volume Bob 50", "quit"] {
            assert!(is_deed(order), "{order}");
        }
        for order in ["invite", "volume", "volume Bob", "status", "ptt down"] {
            assert!(!is_deed(order), "{order}");
        }
    }

    #[test]
    fn a_line_longer_than_a_packet_is_refused() {
        assert_eq!(Order::line(&"x".repeat(MAX_CHAT)).unwrap(), Ok(Order::Say("x".repeat(MAX_CHAT))));
        assert!(refused(&"x".repeat(MAX_CHAT + 1)).contains("Split it"));
    }
}
