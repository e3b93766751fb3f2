//! The words that order something: what follows each, what it does, and how help, Tab and shells tell of them. What they
//! mean is in order.rs.

use crate::order::Given;

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
    Friend,
    /// Both, or the friend alone, or nothing.
    FriendAndPercent,
    OneOf(&'static [&'static str]),
    /// One of these, or nothing.
    Perhaps(&'static [&'static str]),
    NewName,
    /// As `--input` and `--output` do, or a file.
    Device,
}

impl Word {
    /// As it is typed, without what says that it is an order.
    pub(crate) fn usage(&self) -> String {
        let name = self.name;
        match self.takes {
            Takes::Nothing => name.to_owned(),
            Takes::Friend => format!("{name} FRIEND"),
            Takes::FriendAndPercent => format!("{name} [FRIEND [PERCENT]]"),
            Takes::OneOf(choices) => format!("{name} {}", choices.join("|")),
            Takes::Perhaps(choices) => format!("{name} [{}]", choices.join("|")),
            Takes::NewName => format!("{name} NAME"),
            Takes::Device => format!("{name} DEVICE"),
        }
    }
}

/// The answer to `help`, where Tab completes or not.
pub(crate) fn help(given: Given, tab: bool) -> String {
    let (head, slash, rest) = match given {
        Given::InTheCall if tab => (TAB, "/", &LITERALLY[..]),
        Given::InTheCall => {
            ("Just type to chat. What begins with a slash is a command.", "/", &LITERALLY[..])
        }
        Given::Outside => ("After `voicechat ctl`:", "", &OUTSIDE[..]),
    };
    let width = slash.len() + WORDS.iter().map(|word| word.usage().len()).max().unwrap_or(0);
    let line = |usage: String, does: &str| format!("\n  {usage:width$}  {does}");
    let words = WORDS.iter().map(|word| line(format!("{slash}{}", word.usage()), word.does));
    let rest = rest.iter().map(|(usage, does)| line((*usage).to_owned(), does));
    head.to_owned() + &words.chain(rest).collect::<String>()
}

/// Each first word that `voicechat ctl` takes, the words that may follow it where these are few, and what it does.
pub(crate) fn outside() -> impl Iterator<Item = (&'static str, &'static [&'static str], &'static str)> {
    let words = WORDS.iter().map(|word| match word.takes {
        Takes::OneOf(choices) | Takes::Perhaps(choices) => (word.name, choices, word.does),
        Takes::Nothing | Takes::Friend | Takes::FriendAndPercent | Takes::NewName | Takes::Device => {
            (word.name, &[][..], word.does)
        }
    });
    let others = OUTSIDE.iter().map(|(usage, does)| {
        let name = usage.split(' ').next().unwrap_or_default();
        (name, &[][..], *does)
    });
    words.chain(others)
}

/// What the word at the end of `before` can become: where it starts, and each way to end it.
pub(crate) fn completions(before: &str, friends: &[String]) -> (usize, Vec<String>) {
    let blank = before.char_indices().rfind(|(_, c)| c.is_whitespace());
    let start = blank.map_or(0, |(at, c)| at + c.len_utf8());
    let typed = before.get(start..).unwrap_or_default();
    if let Some(command) = typed.strip_prefix('/').filter(|_| start == 0) {
        let words = WORDS.iter().filter(|word| word.name.starts_with(command));
        return (0, words.map(|word| format!("/{} ", word.name)).collect());
    }
    let order = before.strip_prefix('/').filter(|rest| !rest.starts_with('/'));
    if let Some((name, rest)) = order.and_then(|order| order.split_once(char::is_whitespace)) {
        let takes = WORDS.iter().find(|word| word.name == name).map(|word| word.takes);
        return match takes {
            Some(Takes::OneOf(choices) | Takes::Perhaps(choices)) => (
                start,
                choices.iter().filter(|choice| choice.starts_with(typed)).map(|c| format!("{c} ")).collect(),
            ),
            Some(Takes::Friend | Takes::FriendAndPercent) => {
                let begins = |name: &&String| name.to_lowercase().starts_with(&rest.to_lowercase());
                let names = friends.iter().filter(begins).map(|name| format!("{name} "));
                (before.len() - rest.len(), names.collect())
            }
            Some(Takes::Nothing | Takes::NewName | Takes::Device) | None => (start, Vec::new()),
        };
    }
    let typed = typed.to_lowercase();
    let names = friends.iter().filter(|name| !typed.is_empty() && name.to_lowercase().starts_with(&typed));
    // At the head of a line a name addresses.
    (start, names.map(|name| format!("{name}{}", if start == 0 { ": " } else { " " })).collect())
}

const fn word(name: &'static str, takes: Takes, does: &'static str) -> Word {
    Word { name, takes, does }
}

const ON_OFF: &[&str] = &["on", "off"];
const ON_OFF_AUTO: &[&str] = &["on", "off", "auto"];
const TAB: &str = "Just type to chat. Tab completes commands and names.";
const LITERALLY: [(&str, &str); 1] = [("//text", "say /text")];

/// What the socket takes besides.
pub(crate) const OUTSIDE: [(&str, &str); 3] = [
    ("say TEXT", "a line of chat"),
    ("events", "everything that happens, a line of JSON each"),
    ("leave", "the same as quit"),
];

pub(crate) const WORDS: [Word; 27] = [
    word("peers", Takes::Nothing, "who is here, and by which path"),
    word("status", Takes::Nothing, "how the call is, in short"),
    word("mute", Takes::Nothing, "your microphone off"),
    word("unmute", Takes::Nothing, "your microphone on"),
    word("toggle", Takes::Nothing, "your microphone on or off"),
    word("deafen", Takes::Nothing, "hear nobody"),
    word("undeafen", Takes::Nothing, "hear again"),
    word("ptt", Takes::OneOf(&["on", "off", "down", "up"]), "push-to-talk, and its key"),
    word("volume", Takes::FriendAndPercent, "how loud a friend is; alone, whom you changed"),
    word("noise", Takes::OneOf(ON_OFF_AUTO), "noise suppression"),
    word("echo", Takes::OneOf(ON_OFF_AUTO), "echo cancellation"),
    word("level", Takes::OneOf(ON_OFF), "even out how loud you are"),
    word("gate", Takes::OneOf(ON_OFF), "send only while you speak"),
    word("devices", Takes::Nothing, "microphones and loudspeakers"),
    word("input", Takes::Device, "another microphone, as `devices` lists them"),
    word("output", Takes::Device, "another loudspeaker"),
    word("save", Takes::Nothing, "keep this call's name, server, devices and sound"),
    word("invite", Takes::Perhaps(&["new"]), "how friends get in; a new code"),
    word("copy", Takes::Nothing, "the invite to the clipboard"),
    word("verify", Takes::Nothing, "five words to compare aloud"),
    word("lock", Takes::Nothing, "let nobody in"),
    word("unlock", Takes::Nothing, "let friends in again"),
    word("kick", Takes::Friend, "remove a friend for good, if you made the room"),
    word("name", Takes::NewName, "what you are called"),
    word("stats", Takes::Nothing, "all numbers of sound and network"),
    word("help", Takes::Nothing, "this list"),
    word("quit", Takes::Nothing, "leave (so does Ctrl-C)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_of_tab_where_there_is_none() {
        assert!(help(Given::InTheCall, true).contains("Tab completes"));
        assert!(!help(Given::InTheCall, false).contains("Tab "));
    }

    #[test]
    fn each_row_of_the_help_fits_into_eighty_columns() {
        for given in [Given::InTheCall, Given::Outside] {
            // The last column stays free.
            let wide = |row: &&str| row.len() > 79;
            assert_eq!(help(given, true).lines().find(wide), None);
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
        assert_eq!(complete("hi\u{3000}bo"), (5, vec!["Bob ".to_owned()]));
        assert_eq!(complete("/volume\u{a0}ba"), (9, vec!["Barbara ".to_owned()]));
        assert_eq!(complete("/quit b"), (6, vec![]));
        assert_eq!(complete("/volume ba"), (8, vec!["Barbara ".to_owned()]));
        assert_eq!(complete("/noise a"), (7, vec!["auto ".to_owned()]));
    }
}
