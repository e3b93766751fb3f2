//! What can be ordered in a call: the same words in the input line, on stdin and from outside. Parsed once, here;
//! app/obey.rs does it.

use vc_core::protocol::text::{self, MAX_CHAT};

use crate::config::nearest;
use crate::note::Note;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    Say(String),
    Help,
    Peers,
    Stats,
    Mute(Switch),
    Deafen(Switch),
    Devices,
    Invite,
    Copy,
    Quit,
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

/// What an order brought: something to tell, or why it was not done.
pub(crate) type Answer = Result<Note, Refusal>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The order's word, where there was one.
    pub(crate) order: Option<&'static str>,
    /// A sentence or two: what is wrong, what to do.
    pub(crate) why: String,
}

impl From<Refusal> for Note {
    fn from(refusal: Refusal) -> Self {
        Note::Answer { order: refusal.order, done: false, message: refusal.why }
    }
}

/// One word that orders something.
pub(crate) struct Word {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    /// For `/help`.
    pub(crate) does: &'static str,
}

/// What follows a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
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
            Some(order) => Self::words(order),
        })
    }

    /// A line of chat, whatever it begins with.
    pub(crate) fn said(text: &str) -> Result<Self, Refusal> {
        if text.len() > MAX_CHAT { Err(too_long()) } else { Ok(Self::Say(text.to_owned())) }
    }

    /// An order without its slash.
    pub(crate) fn words(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let Some(word) = WORDS.iter().find(|word| word.name == first) else { return Err(unknown(first)) };
        word.order(rest.trim()).map_err(|why| Refusal { order: Some(word.name), why })
    }
}

impl Word {
    fn order(&self, rest: &str) -> Result<Order, String> {
        let name = self.name;
        if self.takes == Takes::Nothing && !rest.is_empty() {
            return Err(format!("/{name} takes nothing after it: type /{name} alone."));
        }
        Ok(match name {
            "peers" => Order::Peers,
            "mute" => Order::Mute(Switch::On),
            "unmute" => Order::Mute(Switch::Off),
            "toggle" => Order::Mute(Switch::Toggle),
            "deafen" => Order::Deafen(Switch::On),
            "undeafen" => Order::Deafen(Switch::Off),
            "devices" => Order::Devices,
            "invite" => Order::Invite,
            "copy" => Order::Copy,
            "stats" => Order::Stats,
            "quit" => Order::Quit,
            _ => Order::Help,
        })
    }

    /// As it is typed.
    pub(crate) fn usage(&self) -> String {
        match self.takes {
            Takes::Nothing => format!("/{}", self.name),
        }
    }
}

/// The answer to `/help`.
pub(crate) fn help() -> String {
    let width = WORDS.iter().map(|word| word.usage().len()).max().unwrap_or(0);
    let mut text = "Just type to chat. Tab completes commands and names.".to_owned();
    for word in &WORDS {
        text += &format!("\n  {:width$}  {}", word.usage(), word.does);
    }
    text + &format!("\n  {:width$}  say /text", "//text")
}

/// What the word at the end of `before` can become: where it starts, and each way to end it.
pub(crate) fn completions(before: &str, friends: &[String]) -> (usize, Vec<String>) {
    let start = before.rfind(char::is_whitespace).map_or(0, |space| space + 1);
    let typed = before.get(start..).unwrap_or_default();
    if let Some(command) = typed.strip_prefix('/').filter(|_| start == 0) {
        let words = WORDS.iter().filter(|word| word.name.starts_with(command));
        return (0, words.map(|word| format!("/{} ", word.name)).collect());
    }
    let order = before.strip_prefix('/').and_then(|rest| rest.split_whitespace().next());
    if order.is_some() && !before.starts_with("//") {
        return (start, Vec::new());
    }
    let typed = typed.to_lowercase();
    let names = friends.iter().filter(|name| !typed.is_empty() && name.to_lowercase().starts_with(&typed));
    // At the head of a line a name addresses.
    (start, names.map(|name| format!("{name}{}", if start == 0 { ": " } else { " " })).collect())
}

pub(crate) fn too_long() -> Refusal {
    let why = format!("That line is longer than {MAX_CHAT} bytes and was not sent. Split it.");
    Refusal { order: None, why }
}

fn unknown(typed: &str) -> Refusal {
    let word = text::name(typed);
    let why = match nearest(typed, WORDS.iter().map(|word| word.name)).or_else(|| meant(typed)) {
        Some(near) => format!("There is no /{word}. Did you mean /{near}?"),
        None => format!("There is no /{word}. /help lists the commands."),
    };
    Refusal { order: None, why }
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

const fn word(name: &'static str, takes: Takes, does: &'static str) -> Word {
    Word { name, takes, does }
}

pub(crate) const WORDS: [Word; 12] = [
    word("peers", Takes::Nothing, "who is here, and by which path"),
    word("mute", Takes::Nothing, "your microphone off"),
    word("unmute", Takes::Nothing, "your microphone on"),
    word("toggle", Takes::Nothing, "your microphone on or off"),
    word("deafen", Takes::Nothing, "hear nobody"),
    word("undeafen", Takes::Nothing, "hear again"),
    word("devices", Takes::Nothing, "microphones and loudspeakers"),
    word("invite", Takes::Nothing, "how friends get in"),
    word("copy", Takes::Nothing, "the invite to the clipboard"),
    word("stats", Takes::Nothing, "numbers of sound and network"),
    word("help", Takes::Nothing, "this list"),
    word("quit", Takes::Nothing, "leave (so does Ctrl-C)"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
        assert_eq!(done(" \t\n"), None);
    }

    #[test]
    fn a_mistyped_order_names_the_nearest_one_and_another_programs_word_ours() {
        assert_eq!(refused("/mtue"), "There is no /mtue. Did you mean /mute?");
        assert_eq!(refused("/exit"), "There is no /exit. Did you mean /quit?");
        assert_eq!(refused("/xyzzy"), "There is no /xyzzy. /help lists the commands.");
        assert!(!refused("/\u{1b}[2J").contains('\u{1b}'));
        assert_eq!(refused("/quit now"), "/quit takes nothing after it: type /quit alone.");
    }

    #[test]
    fn every_word_orders_something_of_its_own_and_is_in_the_help() {
        let mut orders: Vec<Order> = Vec::new();
        for word in &WORDS {
            let order = Order::words(word.name).unwrap();
            assert!(!orders.contains(&order), "{}", word.name);
            assert!(help().contains(&format!("\n  /{} ", word.name)), "{}", word.name);
            orders.push(order);
        }
    }

    #[test]
    fn tab_completes_orders_and_friends() {
        let friends = ["Bob".to_owned(), "Barbara".to_owned(), "Cem".to_owned()];
        let complete = |text: &str| completions(text, &friends);
        assert_eq!(complete("/und"), (0, vec!["/undeafen ".to_owned()]));
        assert_eq!(complete("bo"), (0, vec!["Bob: ".to_owned()]));
        assert_eq!(complete("hi b"), (3, vec!["Bob ".to_owned(), "Barbara ".to_owned()]));
        assert_eq!(complete("hi "), (3, vec![]));
        assert_eq!(complete("/quit b"), (6, vec![]));
    }

    #[test]
    fn a_line_longer_than_a_packet_is_refused() {
        assert_eq!(Order::line(&"x".repeat(MAX_CHAT)).unwrap(), Ok(Order::Say("x".repeat(MAX_CHAT))));
        assert!(refused(&"x".repeat(MAX_CHAT + 1)).contains("Split it"));
    }
}
