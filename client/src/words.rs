//! Notes in plain words, for people. The screen sets them; a pipe gets them as they are.

use std::time::Duration;

use crate::note::{Device, Entrance, Note, Reach, State, Via};
use crate::order::Given;
use crate::status::{numbers, people, status};

/// What a note says, by how it is to be set.
#[derive(Debug, PartialEq)]
pub(crate) enum Words {
    /// A line of chat.
    Said {
        who: String,
        text: String,
    },
    /// A line of our own.
    Own(String),
    /// What happens in the call.
    News(String),
    /// What answers an order.
    Answer(String),
    /// What concerns the program.
    Aside(String),
    Trouble(String),
    /// To be copied: exactly so.
    Block(String),
}

impl Words {
    /// As it is, without who or how.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Said { text, .. }
            | Self::Own(text)
            | Self::News(text)
            | Self::Answer(text)
            | Self::Aside(text)
            | Self::Trouble(text)
            | Self::Block(text) => text,
        }
    }

    /// `None` for what only programs want.
    pub(crate) fn of(note: &Note) -> Option<Self> {
        Some(match note {
            Note::Invite { code, link, server, reach, entrance } => {
                Self::Block(invitation(code.as_deref(), link.as_deref(), server, *reach) + barred(*entrance))
            }
            Note::Serving { place, .. } => Self::Block(format!("{place}\n")),
            Note::Chat { name, text, .. } => Self::Said { who: name.clone(), text: text.clone() },
            Note::Said { text } => Self::Own(text.clone()),
            Note::Notice { message } => Self::Aside(message.clone()),
            // How long one was here, which follows in a moment, says it all.
            Note::Answer { order: Some(order), done: true, .. } if order == "quit" => return None,
            Note::Answer { message, .. } => Self::Answer(message.read(Given::InTheCall).to_owned()),
            Note::Trouble { message } => Self::Trouble(message.clone()),
            Note::Missed { lines } => Self::Trouble(format!(
                "{} missing here, because nobody read what was printed.",
                match lines {
                    1 => "1 line is".to_owned(),
                    lines => format!("{lines} lines are"),
                }
            )),
            Note::Finding { state, message, hint, .. } => Self::Block(finding(*state, message, hint)),
            Note::Echo { level_dbfs, delay_ms, rtt_ms, loss } => {
                Self::Answer(echo(*level_dbfs, *delay_ms, *rtt_ms, *loss))
            }
            Note::Peers { peers } => Self::Block(people(peers)),
            Note::Verify { words } => Self::Answer(format!(
                "Room check: {}. Read it aloud: whoever talks to the same friends as you has the same five words; with \
                 other words somebody is in between.",
                words.join(" ")
            )),
            Note::Devices { inputs, outputs } => Self::Block(devices(inputs, outputs)),
            Note::Stats(stats) => Self::Block(numbers(stats)),
            Note::Status(now) => Self::Block(status(now, Given::InTheCall)),
            happened => Self::News(news(happened)?),
        })
    }
}

/// What answers one who asked there. `None` for what only programs want.
pub(crate) fn answer(note: &Note, given: Given) -> Option<String> {
    match note {
        Note::Status(now) => Some(status(now, given)),
        Note::Answer { message, .. } => Some(message.read(given).to_owned()),
        _ => Words::of(note).map(Words::text),
    }
}

/// What happened in the room. `None` for what was said otherwise, or has a way of its own.
fn news(note: &Note) -> Option<String> {
    Some(match note {
        Note::Entered { .. } => "You are in. Just type to chat, /help lists the commands.".to_owned(),
        Note::Joined { name, .. } => format!("{name} is here."),
        Note::Left { name, why: "timed_out", .. } => {
            format!("{name} has been silent for too long and is gone.")
        }
        Note::Left { name, why: "kicked", .. } => format!("{name} was removed from the room."),
        Note::Left { name, .. } => format!("{name} left."),
        Note::Path { name, rung, via, .. } => format!("{name}: {}.", path(rung, via.as_ref())),
        Note::Undelivered { name, text, .. } => format!("{name} did not get: {text}"),
        Note::Muted { name, muted: true, .. } => format!("{name} muted the microphone."),
        Note::Muted { name, muted: false, .. } => format!("{name} can be heard again."),
        Note::Echoes { name, .. } => {
            format!("You may hear yourself through {name}: headphones there end the echo.")
        }
        Note::Reconnecting { name, cause: Some(_), .. } => format!(
            "Nothing comes from {name}: the relay that carried your voices is silent as the server is; they are down, or \
             your network is. Still trying."
        ),
        Note::Reconnecting { name, .. } => format!("Nothing comes from {name}; still trying."),
        Note::Back { name, .. } => format!("{name} is back."),
        Note::Unreachable { name, .. } => format!("No connection to {name} works so far; still trying."),
        Note::WrongCode { tries } => format!("Somebody tried to enter with wrong words ({tries} so far)."),
        Note::Locked => "Too many wrong words: this code lets nobody in any more; a new one does.".to_owned(),
        Note::Renamed { name, was, .. } => format!("{was} is called {name} now."),
        Note::Door { open: false, name, .. } => format!("{name} locked the room: nobody can join."),
        Note::Door { open: true, name, .. } => format!("{name} opened the room: the code lets friends in."),
        Note::NewCode { name, .. } => format!("{name} made a new code; the old one is dead."),
        Note::Denied { message, .. } => (*message).to_owned(),
        Note::CheckChanged => "The five words are others now: /verify shows them.".to_owned(),
        Note::Signaling { up: false, alone: true } => STRANDED.to_owned(),
        Note::Signaling { up: false, alone: false } => SERVER_LOST.to_owned(),
        Note::Signaling { up: true, .. } => "The server is back.".to_owned(),
        _ => return None,
    })
}

fn finding(state: State, message: &str, hint: &str) -> String {
    let mark = match state {
        State::Good => "ok",
        State::Doubtful => "!!",
        State::Bad => "NO",
    };
    format!("{mark}  {}\n", format!("{message} {hint}").trim_end())
}

/// The end of a call that was left.
pub(crate) fn parted(stayed: Option<Duration>) -> Words {
    Words::News(match stayed {
        Some(stayed) => format!("You left the call after {}.", lasted(stayed)),
        None => "You left before the call began.".to_owned(),
    })
}

/// As people say it.
fn lasted(time: Duration) -> String {
    // `--seconds 3` begins a moment before the call does.
    let seconds = (time + Duration::from_millis(500)).as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => count(seconds, "second"),
        (0, minutes) => count(minutes, "minute"),
        (hours, 0) => count(hours, "hour"),
        (hours, minutes) => format!("{} and {}", count(hours, "hour"), count(minutes, "minute")),
    }
}

/// So many of these.
pub(crate) fn count(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// For one who was let in: how to let others in, in a line.
pub(crate) fn invitation_of_a_guest(code: &str, entrance: Entrance, made_by: Option<&str>) -> Words {
    let once = match (entrance.up, entrance.open) {
        (true, true) => "",
        (false, true) => " (once the server is back)",
        (true, false) => " (once the room is unlocked)",
        (false, false) => " (once the room is unlocked and the server back)",
    };
    Words::News(match made_by {
        Some(name) => format!("{name} made a new code. Others get in only with {code}{once}"),
        None => format!("Others get in with {code}{once}"),
    })
}

fn invitation(code: Option<&str>, link: Option<&str>, server: &str, reach: Reach) -> String {
    let mut text = String::new();
    if let Some(code) = code {
        text += &format!("Tell your friends to type `voicechat join` and this code:\n\n    {code}\n\n");
    }
    let named = code.is_some_and(|code| code.contains('@'));
    if let Some(link) = link {
        text += &match reach {
            Reach::Server if code.is_some() && !named => format!(
                "A friend whose voicechat does not use this server adds @{server} to the code, or pastes this link, which \
                 also checks the server's key:"
            ),
            _ if code.is_none() => "Send your friends this link to paste into `voicechat join`:".to_owned(),
            _ => "Or send them this link to paste there:".to_owned(),
        };
        text += &format!("\n    {link}\n");
    }
    text += &match reach {
        Reach::Server => String::new(),
        Reach::Loopback => format!(
            "Only programs on this machine reach {server}. For friends elsewhere, use a server: voicechat serve --help\n"
        ),
        Reach::Lan => format!(
            "Friends in the same network reach you at {server}. For friends elsewhere forward that port, TCP and UDP, \
             in your router and open the room with `voicechat host --address HOST:PORT`, or use a server.\n"
        ),
        Reach::Public => format!("Friends anywhere reach you at {server} if no firewall is in the way.\n"),
    };
    text
}

/// Why nobody gets in with a code, whatever it is.
pub(crate) fn barred(entrance: Entrance) -> &'static str {
    match (entrance.up, entrance.open) {
        (true, true) => "",
        (false, true) => "The server is lost at the moment: they get in once it is back.\n",
        (true, false) => "The room is locked: they get in once it is unlocked.\n",
        (false, false) => {
            "The room is locked and the server lost: they get in once it is unlocked and the server back.\n"
        }
    }
}

pub(crate) fn path(rung: &str, via: Option<&Via>) -> String {
    match (rung, via) {
        ("direct", _) => "connected directly".to_owned(),
        (_, Some(via)) => format!("connected through {}, who cannot listen", via.via_name),
        ("relay", _) => "connected through the relay, which cannot listen".to_owned(),
        _ => "text only so far, through the server".to_owned(),
    }
}

fn echo(level_dbfs: Option<f32>, delay_ms: Option<f32>, rtt_ms: Option<f32>, loss: f32) -> String {
    let Some(delay) = delay_ms else { return "Nothing comes back yet; speak.".to_owned() };
    let mut text = format!("Back after about {delay:.0} ms");
    if let Some(rtt) = rtt_ms {
        let there = millis(rtt / 2.0);
        text += &format!(", of which {there} on the way through the relay");
    }
    text += &format!("; lost {:.1} %", loss * 100.0);
    if let Some(level) = level_dbfs {
        text += &format!("; your microphone at {level:.0} dBFS");
    }
    text + "."
}

/// Nothing takes no time at all.
pub(crate) fn millis(ms: f32) -> String {
    if ms < 1.0 { "under 1 ms".to_owned() } else { format!("{ms:.0} ms") }
}

/// The list of `voicechat devices` and `/devices`.
pub(crate) fn devices(inputs: &[Device], outputs: &[Device]) -> String {
    let mut text = String::new();
    for (title, devices) in [("Microphones (--input)", inputs), ("Loudspeakers (--output)", outputs)] {
        text += &format!("{title}:\n");
        for device in devices {
            let star = if device.default { "*" } else { " " };
            let monitor = if device.monitor { ", hears what is played" } else { "" };
            let used = if device.used { ", in use" } else { "" };
            text += &format!("  {star} {}  ({}{monitor}{used})\n", device.device, device.title);
        }
        if devices.is_empty() {
            text += "    none\n";
        }
    }
    text
}

/// After the host of a room without a server of its own has left, for example.
const STRANDED: &str = "Nobody else is here, and the room's server is gone: nobody can join until it is back. If \
                                   it was a friend's program that has ended, the room is over: /quit, and open another \
                                   with `voicechat create`.";
const SERVER_LOST: &str = "The server is lost: nobody can join until it is back. Calls go on, but those by its relay only while \
                           that runs.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_has_words_or_is_for_programs_alone() {
        for note in crate::note::tests::all() {
            match Words::of(&note) {
                Some(Words::Block(text)) => assert!(text.ends_with('\n') && text.len() > 2, "{text:?}"),
                Some(Words::News(text) | Words::Answer(text) | Words::Aside(text) | Words::Trouble(text)) => {
                    assert!(!text.is_empty() && !text.ends_with('\n'), "{text:?}");
                }
                Some(Words::Said { .. } | Words::Own(_)) => {}
                None => assert!(matches!(
                    note,
                    Note::Level { .. } | Note::Own { .. } | Note::Error { .. } | Note::Ended { .. }
                )),
            }
        }
    }

    #[test]
    fn how_long_a_call_lasted_is_said_as_people_say_it() {
        let said = |seconds| parted(Some(Duration::from_secs(seconds))).text();
        let almost = Duration::from_millis(2_980);
        assert_eq!(parted(Some(almost)).text(), "You left the call after 3 seconds.");
        assert_eq!(said(1), "You left the call after 1 second.");
        assert_eq!(said(59), "You left the call after 59 seconds.");
        assert_eq!(said(119), "You left the call after 1 minute.");
        assert_eq!(said(3_600), "You left the call after 1 hour.");
        assert_eq!(said(7_260), "You left the call after 2 hours and 1 minute.");
        assert_eq!(parted(None).text(), "You left before the call began.");
    }

    #[test]
    fn a_guest_reads_that_a_code_lets_nobody_in_before_the_room_is_unlocked() {
        let said = |up, open| invitation_of_a_guest("CODE", Entrance { up, open }, Some("Bob")).text();
        assert_eq!(said(true, true), "Bob made a new code. Others get in only with CODE");
        assert!(said(true, false).ends_with(" CODE (once the room is unlocked)"));
        assert!(said(false, true).ends_with(" CODE (once the server is back)"));
        assert!(said(false, false).ends_with("unlocked and the server back)"));
    }

    #[test]
    fn that_nothing_comes_is_told_with_its_cause_where_that_is_known() {
        let said = |cause| news(&Note::Reconnecting { id: Default::default(), name: "Bob".into(), cause });
        assert_eq!(said(None).as_deref(), Some("Nothing comes from Bob; still trying."));
        assert!(
            said(Some("relay")).is_some_and(|text| text.contains("the relay") && text.contains("the server"))
        );
    }

    #[test]
    fn an_invitation_says_plainly_who_can_follow_it() {
        let code = "48213-tiger-orbit-ocean";
        let said = |code: &str, reach| invitation(Some(code), Some("vc://x"), "h:1", reach);
        assert!(said(code, Reach::Loopback).contains("on this machine"));
        assert!(said(code, Reach::Lan).contains("in the same network"));
        assert!(said(code, Reach::Public).contains("anywhere"));
        assert!(said(code, Reach::Server).contains("adds @h:1 to the code, or pastes this link"));
        assert!(!said("48213-tiger-orbit-ocean@h:1", Reach::Server).contains("adds @"));
        let linked = invitation(None, Some("vc://x"), "h:1", Reach::Server);
        assert_eq!(linked, "Send your friends this link to paste into `voicechat join`:\n    vc://x\n");
    }

    #[test]
    fn no_way_takes_no_time_at_all() {
        assert_eq!([0.0, 0.4, 1.0, 41.2].map(millis), ["under 1 ms", "under 1 ms", "1 ms", "41 ms"]);
        let echo = Note::Echo { level_dbfs: None, delay_ms: Some(60.0), rtt_ms: Some(0.3), loss: 0.0 };
        let said = Words::of(&echo).map(Words::text).unwrap_or_default();
        assert!(said.contains("of which under 1 ms on the way"), "{said}");
    }
}
