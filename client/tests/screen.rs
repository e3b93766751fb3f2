//! The call screen in a real terminal: what it does while one types, when the window changes, when it ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod party;
mod scene;
mod terminal;

use scene::{QUIET, Scene, inputs};
use terminal::{Terminal, signal};

#[test]
fn a_call_on_a_wide_terminal() {
    let Some(scene) = Scene::new((100, 30), &[], QUIET) else { return };
    let mut bob = scene.friend("Bob", QUIET);
    bob.say("hello Ada");
    scene.terminal.shows("Bob: hello Ada");
    scene.terminal.line("hi Bob");
    bob.wait(|event| event["event"] == "chat" && event["text"] == "hi Bob");
    for (order, answer) in
        [("/mute", "is off;"), ("/mute", "off already"), ("/mtue", "Did you mean"), ("/quit now", "alone")]
    {
        scene.terminal.line(order);
        scene.terminal.shows(answer);
    }
    scene.terminal.line("/help");
    scene.terminal.shows("//text");
    scene.terminal.types("not yet sent");
    scene.terminal.shows("muted> not yet sent");
    scene.keeps("wide");
    scene.terminal.press(&["C-u"]);
    scene.terminal.line("/quit");
    assert_eq!(bob.wait_for("left")["why"], "left");
    scene.terminal.until(|seen| {
        !seen.contains("Leaving.") && seen.contains("\n* You left the call after ") && seen.ends_with("\n$\n")
    });
    scene.terminal.is_restored();
}

#[test]
fn who_compared_the_five_words_reads_once_that_they_are_others_now() {
    let Some(scene) = Scene::new((100, 40), &[], QUIET) else { return };
    let _bob = scene.friend("Bob", QUIET);
    let mut cem = scene.friend("Cem", QUIET);
    let others = "* The five words are others now: /verify shows them.";
    assert!(!scene.terminal.all().contains(others), "nobody has compared them yet");
    scene.terminal.line("/verify");
    scene.terminal.shows("Room check: ");
    cem.say("/quit");
    scene.terminal.shows(others);
    let _dora = scene.friend("Dora", QUIET);
    scene.terminal.line("/verify");
    scene.terminal.until(|_| scene.terminal.all().matches("Room check: ").count() == 2);
    assert_eq!(scene.terminal.all().matches(others).count(), 1);
}

#[test]
fn a_call_on_a_narrow_and_on_a_tiny_terminal() {
    let Some(scene) = Scene::new((40, 16), &[], QUIET) else { return };
    let mut bob = scene.friend("Bob", QUIET);
    bob.say("hello Ada, how is the narrow window today?");
    scene.terminal.shows("today?");
    scene.looks("narrow");
    scene.terminal.resize(20, 4);
    scene.terminal.until(|seen| seen.contains("Bob") && !seen.contains(" ms"));
    bob.say("hi");
    scene.terminal.until(|seen| seen.contains("Bob: hi\n"));
    let long = "a line that is longer than the window";
    scene.terminal.types(long);
    scene.terminal.shows("the window");
    scene.looks("tiny");
    scene.terminal.press(&["Enter"]);
    bob.wait(|event| event["text"] == long);
}

#[test]
fn without_colours_nothing_is_coloured_and_talking_is_seen_all_the_same() {
    let coloured = |screen: &str| screen.contains("\u{1b}[1;32m") || screen.contains("\u{1b}[32m");
    for (env, colours) in [(&[("NO_COLOR", "1")][..], false), (&[], true)] {
        let Some(scene) = Scene::new((80, 24), env, QUIET) else { return };
        let _bob = scene.friend("Bob", "--input tone:440 --output null");
        scene.terminal.shows("▸ Bob");
        scene.terminal.until(|_| coloured(&scene.terminal.coloured()) == colours);
    }
}

#[test]
fn without_unicode_the_screen_is_ascii() {
    let Some(scene) = Scene::new((80, 24), &[("LC_ALL", "C")], QUIET) else { return };
    let _bob = scene.friend("Bob", "--input tone:440 --output null");
    assert!(scene.terminal.shows("* Bob ####").is_ascii());
}

#[test]
fn a_resized_window_shows_each_thing_once() {
    let Some(scene) = Scene::new((90, 30), &[], QUIET) else { return };
    let mut bob = scene.friend("Bob", QUIET);
    bob.say("before");
    scene.terminal.shows("Bob: before");
    scene.terminal.types("unsent");
    // tmux tells the program of a new size a moment later than it wraps the lines: only then it can be right.
    for (columns, rows, lost) in [(30, 30, false), (70, 12, true), (24, 8, false), (100, 30, true)] {
        scene.terminal.resize(columns, rows);
        scene.terminal.until(|seen| seen.contains("% lost") == lost && seen.contains("> unsent"));
        let line = format!("at {columns}");
        bob.say(&line);
        scene.terminal.shows(&format!("Bob: {line}"));
    }
    let all = scene.terminal.all();
    assert_eq!(inputs(&all), 1, "{all}");
    for text in ["Bob: before", "Bob: at 30", "Bob: at 70", "Bob: at 24", "Bob: at 100"] {
        assert_eq!(all.matches(text).count(), 1, "{text}:\n{all}");
    }
    assert_eq!(all.lines().filter(|line| line.contains(" direct")).count(), 1, "{all}");
}

#[test]
fn what_arrives_does_not_disturb_what_is_typed() {
    let Some(scene) = Scene::new((60, 20), &[], QUIET) else { return };
    let mut bob = scene.friend("Bob", QUIET);
    for (n, piece) in ["half ", "a ", "li"].iter().enumerate() {
        scene.terminal.types(piece);
        bob.say(&format!("line {n}"));
        scene.terminal.shows(&format!("Bob: line {n}"));
    }
    scene.terminal.shows("> half a li");
    scene.terminal.press(&["Left", "Left", "Left", "Left"]);
    scene.terminal.types("of ");
    scene.terminal.press(&["End"]);
    scene.terminal.line("ne");
    bob.wait(|event| event["text"] == "half of a line");
    scene.terminal.line("/peers");
    scene.terminal.press(&["Up", "Up", "Enter"]);
    bob.wait(|event| event["text"] == "half of a line");
    scene.terminal.types("B");
    scene.terminal.press(&["Tab"]);
    scene.terminal.shows("> Bob:");
}

#[test]
fn hostile_text_stays_where_it_belongs() {
    let Some(scene) = Scene::new((60, 24), &[], QUIET) else { return };
    let name = "\u{1b}[2J\u{202e}👩\u{200d}👩\u{200d}👧你好e\u{301}";
    let mut mallory =
        scene.party.join(&scene.place, name, &scene.code, &["--input", "silence", "--output", "null"]);
    mallory.wait_for("joined");
    scene.terminal.shows(" direct");
    let stacked = "z".to_owned() + &"\u{301}".repeat(400);
    let texts = [
        "\u{1b}]0;owned\u{7}\u{1b}[31mred\u{9b}2J",
        "\u{202e}gpj.exe\u{2066}",
        "👩\u{200d}👩\u{200d}👧 你好 שלום",
        &stacked,
    ];
    for text in texts {
        mallory.say(text);
    }
    mallory.say(&"W".repeat(1_000));
    mallory.say("the end");
    scene.terminal.types("typing");
    let seen = scene.terminal.until(|seen| seen.contains(": the end") && seen.contains("> typing"));
    assert!(seen.ends_with("> typing\n"), "{seen}");
    let all = scene.terminal.all();
    // Whole, and no row of it stands where names do.
    assert!(all.replace("\n  ", "").contains(&"W".repeat(1_000)), "{all}");
    assert!(!all.lines().any(|row| row.starts_with('W')), "{all}");
    assert!(all.contains("red") && all.contains("gpj.exe"), "{all}");
    assert!(!all.contains(['\u{202e}', '\u{2066}', '\u{7}']), "{all}");
    assert!(all.contains(&scene.code), "something cleared the screen:\n{all}");
    assert_eq!(inputs(&all), 1, "{all}");
}

#[test]
fn ten_thousand_characters_at_once_stay_in_the_input_line() {
    let Some(scene) = Scene::new((60, 24), &[], QUIET) else { return };
    let mut bob = scene.friend("Bob", QUIET);
    scene.terminal.pastes(&"你好👩\u{200d}👧e\u{301}\n\t".repeat(10_000 / 8));
    let seen = scene.terminal.shows("More was pasted than a line holds");
    assert!(inputs(&seen) == 1 && seen.contains(" direct"), "{seen}");
    scene.terminal.press(&["Enter"]);
    let text = bob.wait_for("chat")["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("你好") && text.len() <= 1_000 && !text.contains('\n'), "{text}");
    scene.terminal.until(|seen| inputs(seen) == 1 && seen.ends_with(">\n"));
}

#[test]
fn the_terminal_is_given_back_whatever_ends_the_program() {
    for name in ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "XCPU", "ABRT"] {
        let Some(scene) = Scene::new((80, 24), &[], QUIET) else { return };
        let mut bob = scene.friend("Bob", QUIET);
        signal(name, &scene.terminal.program());
        assert_eq!(bob.wait_for("left")["why"], "left");
        scene.terminal.until(|seen| seen.lines().last() == Some("$"));
        scene.terminal.is_restored();
    }
    let Some(scene) = Scene::new((80, 24), &[], QUIET) else { return };
    scene.terminal.press(&["C-c"]);
    let seen = scene.terminal.until(|seen| seen.lines().last() == Some("$"));
    assert!(seen.contains("* You left the call after "), "{seen}");
    scene.terminal.is_restored();
}

#[test]
fn ctrl_z_stops_it_and_fg_goes_on() {
    let Some(scene) = Scene::new((80, 24), &[], QUIET) else { return };
    let mut bob = scene.friend("Bob", QUIET);
    scene.terminal.types("unsent");
    scene.terminal.shows("> unsent");
    scene.terminal.press(&["C-z"]);
    scene.terminal.until(|seen| seen.contains("Stopped") && !seen.contains("> unsent"));
    scene.terminal.is_restored();
    scene.terminal.line("clear; fg");
    scene.terminal.shows("> unsent");
    scene.terminal.press(&["Enter"]);
    bob.wait(|event| event["text"] == "unsent");
    scene.terminal.press(&["C-l"]);
    scene.terminal.until(|seen| !seen.contains("fg") && inputs(seen) == 1);
}

#[test]
fn a_terminal_that_stands_still_does_not_stop_the_voice() {
    let Some(scene) = Scene::new((80, 24), &[], "--input tone:440 --output null") else { return };
    let mut bob = scene.friend("Bob", QUIET);
    let tmux = scene.terminal.server();
    signal("STOP", &tmux);
    // More than any buffer between the program and the terminal holds, at a pace that it is sent.
    for n in 0..150 {
        bob.say(&format!("{n} {}", "x".repeat(900)));
    }
    let heard = |event: &serde_json::Value| event["peers"][0]["heard"].as_u64().unwrap_or(0);
    let before = heard(&bob.wait_for("stats"));
    bob.wait(|event| event["event"] == "stats" && heard(event) > before + 250);
    signal("CONT", &tmux);
    scene.terminal.line("/quit");
    assert_eq!(bob.wait_for("left")["why"], "left");
}

#[test]
fn the_code_is_asked_for_until_it_is_right() {
    let Some(scene) = Scene::new((80, 24), &[], QUIET) else { return };
    let Some(terminal) = Terminal::open(&scene.party, (80, 24), &[]) else { return };
    let join = format!("clear; sh call join --server {} --name Bob {QUIET}", scene.place);
    terminal.line(&join);
    terminal.shows("Code:");
    let (number, words) = scene.code.split_once('-').unwrap();
    terminal.line(&format!("{number}-zzz"));
    terminal.shows("A code looks like");
    terminal.shows(&format!("Code: {number}-zzz"));
    terminal.press(&["C-u"]);
    terminal.types(&format!("{number}-zo"));
    terminal.press(&["Tab"]);
    terminal.shows(&format!("Code: {number}-zo"));
    terminal.press(&["C-u"]);
    terminal.line(&format!("{number}-zoo-zoo-zoo"));
    terminal.shows("words of the code are wrong");
    terminal.shows(&format!("Code: {number}-zoo-zoo-zoo"));
    terminal.press(&["C-w"]);
    terminal.line(&format!("{number}-{words}"));
    terminal.shows("Ada is here.");
    let all = terminal.all();
    let (home, others) =
        (all.find("* You are in."), all.find(&format!("* Others get in with {}", scene.code)));
    assert!(home.is_some() && home < others, "{all}");
    terminal.line("/quit");
    terminal.until(|seen| seen.lines().last() == Some("$"));

    terminal.line(&join);
    terminal.shows("Code:");
    signal("TERM", &terminal.program());
    terminal.until(|seen| seen.lines().last() == Some("$"));
    terminal.is_restored();
}

#[test]
fn a_guest_reads_of_a_new_code_in_the_line_that_has_it() {
    let Some(scene) = Scene::new((80, 24), &[], QUIET) else { return };
    let Some(terminal) = Terminal::open(&scene.party, (130, 24), &[]) else { return };
    terminal.line(&format!("sh call join {} --server {} --name Bob {QUIET}", scene.code, scene.place));
    terminal.shows("Ada is here.");
    scene.terminal.shows("Bob is here.");
    let _cem = scene.friend("Cem", QUIET);
    terminal.shows("Cem is here.");
    scene.terminal.line("/kick Cem");
    terminal.shows("* Cem was removed from the room.");
    terminal.shows("* Ada made a new code. Others get in only with ");
    let all = terminal.all();
    assert_eq!(all.matches("Others get in").count(), 2, "{all}");
    assert!(!all.contains("the old one is dead"), "{all}");
    scene.terminal.line("/lock");
    terminal.shows("Ada locked the room");
    scene.terminal.line("/invite new");
    terminal.shows(" (once the room is unlocked)");
    terminal.line("/quit");
    terminal.until(|seen| seen.lines().last() == Some("$"));
}

#[test]
fn a_locked_room_is_said_to_be_and_the_same_code_can_be_sent_again() {
    let Some(scene) = Scene::new((80, 24), &[], QUIET) else { return };
    let Some(terminal) = Terminal::open(&scene.party, (80, 24), &[]) else { return };
    scene.terminal.line("/lock");
    scene.terminal.shows("The room is locked");
    terminal.line(&format!("clear; sh call join --server {} --name Bob {QUIET}", scene.place));
    terminal.shows("Code:");
    terminal.line("48213-zoo-zoo-zoo");
    terminal.shows("No room has this code.");
    // Pasted in the place of the one that was refused.
    terminal.pastes(&scene.code);
    terminal.until(|seen| seen.ends_with(&format!("\nCode: {}\n", scene.code)));
    terminal.press(&["Enter"]);
    terminal.shows("Ask a friend inside to type /unlock");
    scene.terminal.line("/unlock");
    scene.terminal.shows("The room is open");
    terminal.press(&["Enter"]);
    terminal.shows("Ada is here.");
}

#[test]
fn what_happens_inside_is_kept_off_the_screen_by_a_log() {
    let Some(scene) = Scene::new((80, 24), &[], &format!("-v --log log {QUIET}")) else { return };
    let _bob = scene.friend("Bob", QUIET);
    let seen = scene.terminal.all();
    assert!(!seen.contains("DEBUG") && seen.contains("direct"), "{seen}");
    assert!(std::fs::read_to_string(scene.party.path("log")).unwrap().contains("DEBUG"));
}

#[test]
fn plain_lines_on_a_terminal_when_asked_for() {
    // So wide that numbers do not decide where a line is broken.
    let Some(scene) = Scene::new((120, 24), &[], &format!("--plain {QUIET}")) else { return };
    let mut bob =
        scene.party.join(&scene.place, "Bob", &scene.code, &["--input", "silence", "--output", "null"]);
    scene.terminal.shows("connected directly.");
    bob.say("hello");
    scene.terminal.shows("Bob: hello");
    scene.terminal.line("hi");
    bob.wait(|event| event["text"] == "hi");
    scene.terminal.line("/peers");
    scene.terminal.shows("lost");
    scene.keeps("plain");
}
