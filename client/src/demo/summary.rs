//! What was seen, second by second and at the end. It counts; it does not assume.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audio::RATE;
use audio::measure::matches;
use serde_json::Value;

use super::actor::{GONE, Heard, Who};
use super::speech::{ADA, BOB, Part, recording};
use super::{failed, text};
use crate::config;
use crate::failure::Failure;
use crate::printer;

#[derive(Default)]
pub(super) struct Tally {
    ada: Seen,
    bob: Seen,
    /// Lines of the script that have been typed.
    typed: usize,
    /// Numbers asked for, and not here yet, of Ada and Bob.
    awaited: [bool; 2],
}

/// What one friend told.
#[derive(Default)]
struct Seen {
    rungs: Vec<String>,
    chat: Vec<String>,
    stats: Value,
    left: bool,
}

/// Where the recordings were put.
pub(super) struct Kept {
    dir: PathBuf,
    fallback: bool,
}

impl Tally {
    /// Takes in an event; the line that its teller types in answer, if any.
    pub(super) fn note(&mut self, heard: &Heard) -> Result<Option<&'static str>, Failure> {
        let (seen, asked) = match heard.who {
            Who::Server => return Ok(None),
            Who::Ada => (&mut self.ada, &mut self.awaited[0]),
            Who::Bob => (&mut self.bob, &mut self.awaited[1]),
        };
        let event = &heard.event;
        match event["event"].as_str().unwrap_or_default() {
            "path" => seen.rungs.push(text(event, "rung")),
            "chat" => {
                seen.chat.push(text(event, "text"));
                self.typed = self.typed.max(1) + 1;
                return Ok(SCRIPT.get(self.typed - 1).copied());
            }
            "stats" => {
                seen.stats = event.clone();
                *asked = false;
            }
            "trouble" => return Err(failed(&format!("{}: {}", heard.who.name(), text(event, "message")))),
            "ended" => seen.left = true,
            GONE if !seen.left => return Err(failed(&format!("{} stopped by itself.", heard.who.name()))),
            _ => {}
        }
        Ok(None)
    }

    /// The event in words, where it is for people.
    pub(super) fn words(heard: &Heard) -> Option<String> {
        let (who, event) = (heard.who.name(), &heard.event);
        let name = text(event, "name");
        match event["event"].as_str().unwrap_or_default() {
            "path" => Some(format!("  {who}: {name} is connected {}\n", way(&text(event, "rung")))),
            "chat" => Some(format!("  {who} reads   {name}: {}\n", text(event, "text"))),
            _ => None,
        }
    }

    pub(super) fn script(&self) -> &'static [&'static str] {
        &SCRIPT
    }

    /// Both have a path that carries voice.
    pub(super) fn connected(&self) -> bool {
        [&self.ada, &self.bob].iter().all(|seen| seen.rungs.last().is_some_and(|rung| rung != "mail"))
    }

    pub(super) fn await_numbers(&mut self) {
        self.awaited = [true; 2];
    }

    pub(super) fn has_numbers(&self) -> bool {
        self.awaited == [false; 2]
    }

    pub(super) fn all_left(&self) -> bool {
        self.ada.left && self.bob.left
    }

    /// Who is heard right now, how loud and how well.
    pub(super) fn live_line(&self, since: Duration) -> String {
        let talking = |seen: &Seen| seen.stats["talking"].as_bool().unwrap_or(false);
        let (from, to, listener) = match (talking(&self.ada), talking(&self.bob)) {
            (true, _) => ("Ada", "Bob", &self.bob),
            (false, true) => ("Bob", "Ada", &self.ada),
            (false, false) => return format!("{:>4} s  (a pause)\n", since.as_secs()),
        };
        let peer = &listener.stats["peers"][0];
        let level = number(&peer["level_dbfs"]);
        format!(
            "{:>4} s  {from} {} {to}   {}, {:.1} ms there and back, {:.1} % lost, {:.0} ms to ear\n",
            since.as_secs(),
            bar(level),
            peer["rung"].as_str().map_or("no path", way),
            number(&peer["rtt_ms"]),
            number(&peer["loss_in"]) * 100.0,
            number(&peer["delay_ms"]),
        )
    }

    /// The summary, and whether all of it is as promised.
    pub(super) fn conclude(&self, path: config::Path, kept: &Kept) -> Result<(), Failure> {
        let mut wrong = Vec::new();
        let mut text = String::from("\nWhat was seen\n");
        for (name, seen) in [("Ada", &self.ada), ("Bob", &self.bob)] {
            let ways: Vec<&str> = seen.rungs.iter().map(|rung| way(rung)).collect();
            text += &format!("  {name}'s path     {}\n", ways.join(", then "));
            if !as_asked(path, &seen.rungs) {
                wrong.push(format!("{name} was not connected as asked"));
            }
        }
        let (to_bob, to_ada): (Vec<_>, Vec<_>) = SCRIPT.iter().enumerate().partition(|(i, _)| i % 2 == 0);
        let arrived = exactly(&to_bob, &self.bob.chat) && exactly(&to_ada, &self.ada.chat);
        let count = self.bob.chat.len() + self.ada.chat.len();
        text += &format!("  chat           {count} of {} lines", SCRIPT.len());
        text += if arrived { ", each once and in order\n" } else { "\n" };
        if !arrived {
            wrong.push("not every line of chat arrived once and in order".into());
        }
        for (speaker, listener, part, heard) in
            [(&self.ada, &self.bob, &ADA, BOB.hears), (&self.bob, &self.ada, &BOB, ADA.hears)]
        {
            let (lines, same) = voice(speaker, listener, part, &kept.dir.join(heard))?;
            text += &lines;
            if !same {
                wrong.push(format!("what was heard is not what {} said", part.name));
            }
        }
        text += &format!("  recordings     {}, {}\n", kept.file(&ADA), kept.file(&BOB));
        if kept.fallback {
            text += "                 (the current directory cannot be written)\n";
        }
        printer::tell(&text);
        if wrong.is_empty() {
            printer::tell("All of it worked. Now with a friend: voicechat create\n");
            return Ok(());
        }
        Err(failed(&format!("Not all of it worked: {}.", wrong.join("; "))))
    }
}

impl Kept {
    fn file(&self, part: &Part) -> String {
        self.dir.join(part.hears).display().to_string()
    }
}

/// Copies the recordings to where they can be listened to.
pub(super) fn keep(work: &Path, wanted: Option<&Path>) -> Result<Kept, Failure> {
    let copy = |dir: &Path| {
        fs::create_dir_all(dir)?;
        [ADA, BOB].iter().try_for_each(|part| fs::copy(work.join(part.hears), dir.join(part.hears)).map(drop))
    };
    if let Some(dir) = wanted {
        return match copy(dir) {
            Ok(()) => Ok(Kept { dir: dir.to_owned(), fallback: false }),
            Err(error) => Err(Failure::machine(
                format!(
                    "The recordings cannot be written to {} ({}).",
                    dir.display(),
                    config::reason(&error)
                ),
                "Choose another directory with --keep.",
            )),
        };
    }
    if copy(Path::new(HERE)).is_ok() {
        return Ok(Kept { dir: HERE.into(), fallback: false });
    }
    let dir = std::env::temp_dir().join("voicechat-demo");
    copy(&dir).map_err(|error| {
        Failure::machine(
            format!("The recordings cannot be written anywhere ({}).", config::reason(&error)),
            "Choose a directory with --keep.",
        )
    })?;
    Ok(Kept { dir, fallback: true })
}

/// Two lines about one direction, and whether the recording is the speech.
fn voice(speaker: &Seen, listener: &Seen, part: &Part, heard: &Path) -> Result<(String, bool), Failure> {
    let peer = &listener.stats["peers"][0];
    let verdict = matches(&part.reference()?, &recording(heard)?, RATE);
    let to = if part.name == ADA.name { BOB.name } else { ADA.name };
    let lines = format!(
        "  {} to {to}     {} frames of voice sent, {} arrived, {} lost and recovered, {} made up, {:.0} ms to ear\n  \
         {:15}{} ({:.1} s compared, intelligibility {:.2} of 1)\n",
        part.name,
        speaker.stats["sent"],
        peer["heard"],
        ["again", "fec", "dred"].iter().map(|kind| number(&peer[kind])).sum::<f64>(),
        number(&peer["concealed"]),
        number(&peer["delay_ms"]),
        "",
        if verdict.matches { "the recording is that speech" } else { "THE RECORDING IS NOT THAT SPEECH" },
        verdict.heard_s,
        verdict.estoi,
    );
    Ok((lines, verdict.matches))
}

fn as_asked(path: config::Path, rungs: &[String]) -> bool {
    let last = rungs.last().map(String::as_str);
    let never = |rung: &str| rungs.iter().all(|used| used != rung);
    match path {
        config::Path::Auto | config::Path::Direct if last != Some("direct") => false,
        config::Path::Auto => true,
        config::Path::Direct => never("relay"),
        config::Path::Relay => last == Some("relay") && never("direct"),
    }
}

fn exactly(said: &[(usize, &&str)], heard: &[String]) -> bool {
    said.len() == heard.len() && said.iter().zip(heard).all(|((_, said), heard)| **said == heard)
}

fn way(rung: &str) -> &'static str {
    match rung {
        "direct" => "directly",
        "relay" => "through the relay",
        "host" => "through a friend",
        _ => "by the server (text only, no voice)",
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// -60 dBFS is a whisper, -10 a loud voice.
fn bar(dbfs: f64) -> String {
    let full = ((dbfs + 60.0) / 50.0 * BAR as f64).round().clamp(0.0, BAR as f64) as usize;
    format!("{}{}", "|".repeat(full), ".".repeat(BAR - full))
}

/// Typed in turns, Ada first; each line answers the one before.
const SCRIPT: [&str; 4] = [
    "Hi Bob, can you hear me?",
    "Every word. And you me?",
    "Yes, and nobody in between can.",
    "Then let us call the others.",
];
const HERE: &str = "demo";
const BAR: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn heard(who: Who, event: Value) -> Heard {
        Heard { who, event }
    }

    #[test]
    fn each_line_is_answered_by_the_next_one_of_the_script() {
        let mut tally = Tally::default();
        let mut answers = Vec::new();
        for (i, line) in SCRIPT.iter().enumerate() {
            let reader = if i % 2 == 0 { Who::Bob } else { Who::Ada };
            let event = json!({"event": "chat", "name": "x", "text": line});
            answers.push(tally.note(&heard(reader, event)).ok().flatten());
        }
        assert_eq!(answers, [Some(SCRIPT[1]), Some(SCRIPT[2]), Some(SCRIPT[3]), None]);
    }

    #[test]
    fn a_path_that_carries_no_voice_yet_is_named_in_words() {
        let path = heard(Who::Ada, json!({"event": "path", "name": "Bob", "rung": "mail"}));
        let said = "  Ada: Bob is connected by the server (text only, no voice)\n";
        assert_eq!(Tally::words(&path).as_deref(), Some(said));
    }

    #[test]
    fn a_forced_path_must_be_the_one_that_was_used() {
        let rungs = |list: &[&str]| list.iter().map(|rung| (*rung).to_owned()).collect::<Vec<_>>();
        assert!(as_asked(config::Path::Auto, &rungs(&["mail", "relay", "direct"])));
        assert!(!as_asked(config::Path::Auto, &rungs(&["relay"])));
        assert!(as_asked(config::Path::Relay, &rungs(&["mail", "relay"])));
        assert!(!as_asked(config::Path::Relay, &rungs(&["direct", "relay"])));
        assert!(!as_asked(config::Path::Direct, &rungs(&["relay", "direct"])));
        assert!(!as_asked(config::Path::Direct, &[]));
    }

    #[test]
    fn the_bar_is_as_long_as_the_voice_is_loud() {
        assert_eq!(bar(-100.0), "..........");
        assert_eq!(bar(-35.0), "|||||.....");
        assert_eq!(bar(0.0), "||||||||||");
    }
}
