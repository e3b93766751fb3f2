//! What a person sees, session by session, in a real terminal.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

mod party;
mod scene;
#[cfg(target_os = "linux")]
mod sound_server;
mod terminal;

use party::{Friend, Party, asset};
use scene::{QUIET, Scene, kept, masked};
use terminal::{Terminal, signal};

impl Scene {
    /// These friends, one after the other.
    fn crowd(&self, names: &[&str]) -> Vec<Friend> {
        let quiet: Vec<&str> = QUIET.split(' ').collect();
        let enter = |name: &&str| {
            let mut friend = self.party.join(&self.place, name, &self.code, &quiet);
            friend.wait_for("entered");
            self.terminal.until(|_| self.terminal.all().contains(&format!("* {name} is here.")));
            friend
        };
        names.iter().map(enter).collect()
    }
}

/// A terminal without a call in it.
fn shell(party: &Party, size: (u32, u32), env: &[(&str, &str)]) -> Option<Terminal> {
    let terminal = Terminal::open(party, size, env)?;
    terminal.line("clear");
    terminal.until(|seen| seen == "$\n");
    Some(terminal)
}

#[test]
fn three_friends_stand_in_the_order_in_which_they_came() {
    let Some(scene) = Scene::new((100, 24), &[], QUIET) else { return };
    let mut friends = scene.crowd(&["Zoe", "Mia", "Ben"]);
    scene.terminal.until(|seen| seen.matches(" direct").count() == 3);
    friends[1].say("/mute");
    scene.terminal.shows("lost  muted");
    friends[0].say("/name Yara");
    scene.terminal.shows("Zoe is called Yara now.");
    friends[2].say("who is Yara?");
    let seen = scene.terminal.until(|seen| seen.contains("  Yara") && seen.contains("Ben: who is Yara?"));
    let row = |name: &str| seen.lines().position(|line| line.starts_with(&format!("  {name} "))).unwrap();
    assert!(row("Yara") < row("Mia") && row("Mia") < row("Ben"), "{seen}");
    scene.keeps("three_friends");
}

#[test]
fn who_talks_is_seen_to_talk_and_told_to_the_ear() {
    let Some(scene) = Scene::new((100, 24), &[], QUIET) else { return };
    let _bob =
        scene.friend("Bob", &format!("--input wav:{},loop --output null", asset("alice.wav").display()));
    let heard = |row: &str| row.starts_with("▸ Bob ▮") && row.contains(" to ear");
    let seen = scene.terminal.until(|seen| seen.lines().any(heard));
    // How loud is chance; that it was loud has been seen.
    scene.kept("talking", &seen[seen.find("* Bob").unwrap()..].replace('▮', "▯"));
}

#[test]
fn a_terminal_that_can_do_nothing_gets_plain_lines() {
    let party = Party::new();
    let Some(terminal) = shell(&party, (100, 24), &[]) else { return };
    let (_server, place) = party.serve();
    terminal.line(&format!("clear; TERM=dumb sh call create --server {place} --name Ada {QUIET}"));
    terminal.until(|_| scene::code(&terminal.all()).is_some());
    let code = scene::code(&terminal.all()).unwrap();
    let mut bob = party.join(&place, "Bob", &code, &["--input", "silence", "--output", "null"]);
    bob.wait_for("path");
    bob.say("hello");
    terminal.until(|seen| seen.ends_with("Bob: hello\n") && !seen.contains('▯'));
    terminal.line("/quit");
    terminal.shows("$");
    bob.wait_for("left");
}

#[test]
fn fifteen_friends_leave_half_of_the_window_to_the_conversation() {
    let Some(scene) = Scene::new((90, 24), &[], QUIET) else { return };
    let names: Vec<String> = (1..=15).map(|n| format!("friend{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let _friends = scene.crowd(&names);
    scene.terminal.until(|seen| seen.matches(" direct").count() == 10 && seen.contains("  and 5: friend11,"));
    let seen = scene.terminal.seen();
    scene.kept("fifteen_friends", &seen[seen.find("* friend15").unwrap()..]);
    scene.terminal.resize(90, 40);
    scene.terminal.until(|seen| seen.matches(" direct").count() == 15);
    scene.terminal.resize(40, 10);
    scene.terminal.until(|seen| seen.contains("  and 12: ") && !seen.contains("lost"));
}

#[test]
fn what_is_typed_completed_mistaken_and_interrupted() {
    let Some(scene) = Scene::new((80, 24), &[], QUIET) else { return };
    let mut friends = scene.crowd(&["Barbara", "Bartholomew"]);
    scene.terminal.until(|seen| seen.matches(" direct").count() == 2);
    scene.terminal.types("half a ");
    friends[0].say("you are typing, I see");
    scene.terminal.shows("I see");
    scene.terminal.types("bar");
    scene.terminal.press(&["Tab"]);
    scene.terminal.shows("  Barbara  Bartholomew");
    scene.looks_from("* Barbara", "completing");
    scene.terminal.press(&["C-u"]);
    scene.terminal.line("/volmue barb 50");
    scene.terminal.shows("Did you mean /volume?");
    scene.terminal.line("/volume barb 50");
    scene.terminal.shows("You hear Barbara at 50 %.");
    scene.terminal.line("/kick Bert");
    scene.terminal.shows("Nobody here is called");
    scene.terminal.types("still here");
    scene.terminal.resize(60, 20);
    scene.terminal.until(|seen| seen.contains("> still here") && seen.matches(" direct").count() == 2);
    friends[1].say("resized?");
    scene.terminal.shows("Bartholomew: resized?");
    scene.keeps("mistaken");
}

/// Each line whole again that was broken between words.
fn unbroken(screen: &str) -> String {
    let goes_on = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let mut lines: Vec<String> = Vec::new();
    for line in screen.lines() {
        match lines.last_mut() {
            Some(before) if goes_on(&line) => *before += &line[1..],
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn every_command_in_the_call_is_answered() {
    let nowhere = [("PULSE_SERVER", "unix:/nowhere")];
    let Some(scene) = Scene::new((110, 200), &nowhere, QUIET) else { return };
    let mut friends = scene.crowd(&["Bob"]);
    scene.terminal.shows(" direct");
    for (order, answer) in [
        ("/peers", "there and back, jitter"),
        ("/status", "push-to-talk  off"),
        ("/mute", "is off; /unmute"),
        ("/unmute", "is on."),
        ("/toggle", "is off; /unmute"),
        ("/deafen", "You hear nobody now"),
        ("/undeafen", "You hear again"),
        ("/ptt on", "hold the space bar"),
        ("/ptt off", "muted: /unmute first"),
        ("/volume bob 80", "You hear Bob at 80"),
        ("/noise on", "suppression: on"),
        ("/echo off", "cancellation: off"),
        ("/level off", "sent as it is"),
        ("/gate off", "unless it is muted"),
        ("/devices", "No sound server answers"),
        ("/input silence", "speak into silence"),
        ("/output null", "friends on null"),
        ("/save", "/dev/null cannot be"),
        ("/invite", "pastes this link"),
        ("/copy", "asked to put this"),
        ("/verify", "Room check"),
        ("/lock", "is locked"),
        ("/unlock", "is open"),
        ("/name Ada L.", "called Ada L. now"),
        ("/stats", "Thrown away"),
    ] {
        let before = scene.terminal.seen().matches(answer).count();
        scene.terminal.line(order);
        scene.terminal.until(|seen| seen.matches(answer).count() > before);
    }
    // Numbers and words of chance decide where such lines are broken, and how long a friend's is.
    let all = scene.terminal.all();
    let (answers, _numbers) = all.split_once("* You: ").unwrap();
    let answers = masked(&unbroken(answers));
    let line = |line: &str| match line.starts_with("Room check: ") {
        true => "Room check: FIVE WORDS, AND WHAT THEY ARE FOR\n".to_owned(),
        false => line.to_owned() + "\n",
    };
    scene.kept("commands", &answers.lines().map(line).collect::<String>());
    scene.terminal.line("/kick Bob");
    let told = scene.terminal.shows("Bob is out, and the old code with them.");
    assert!(!told.contains("was removed"), "{told}");
    friends[0].wait_for("ended");
}

#[test]
fn a_call_is_run_from_another_window() {
    let Some(scene) = Scene::new((100, 30), &[], QUIET) else { return };
    let mut friends = scene.crowd(&["Bob"]);
    scene.terminal.shows(" direct");
    let Some(outside) = shell(&scene.party, (100, 40), &[]) else { return };
    let orders =
        ["mute", "status", "toggle", "deafen", "undeafen", "ptt on", "ptt down", "ptt up", "ptt off"];
    for order in
        orders.into_iter().chain(["volume Bob 50", "say hello from outside", "volume Bert 1", "mtue"])
    {
        outside.line(&format!("sh call ctl {order}; echo \"= $?\""));
        let orders = outside.all().matches("= $?").count();
        outside.until(|_| outside.all().lines().filter(|line| line.starts_with("= ")).count() == orders);
    }
    assert_eq!(friends[0].wait_for("chat")["text"], "hello from outside");
    outside.line("sh call ctl leave; echo \"= $?\"");
    outside.until(|_| outside.all().ends_with("= 0\n$\n"));
    assert_eq!(friends[0].wait_for("left")["why"], "left");
    scene.kept("outside", &outside.all());
    scene.terminal.until(|seen| seen.lines().last() == Some("$"));
}

/// How long it was is not told alike each time.
const LEFT: &str = "* You left the call after ";

#[test]
fn what_is_ordered_from_outside_reads_as_if_it_had_been_typed() {
    for mode in ["", "--plain"] {
        let Some(scene) = Scene::new((100, 60), &[], &format!("{mode} {QUIET}")) else { return };
        let _friends = scene.crowd(&["Bob"]);
        let Some(outside) = shell(&scene.party, (100, 40), &[]) else { return };
        let deeds = [
            ("say hello", "you: hello"),
            ("mute", "Your microphone is off; /unmute switches it on."),
            ("toggle", "Your microphone is on."),
            ("lock", "The room is locked: nobody can join. /unlock opens it."),
            ("name Ada L.", "You are called Ada L. now."),
            ("gate off", "All that your microphone hears is sent, unless it is muted."),
            ("volume Bob 50", "You hear Bob at 50 %."),
            ("output null", "You hear your friends on null now."),
            ("leave", LEFT),
        ];
        // What only asks, and the talk key, are for whoever asked or holds it.
        let asks = ["status", "peers", "volume", "verify", "ptt down", "ptt up"].map(|order| (order, ""));
        for (order, _) in asks.iter().chain(&deeds) {
            outside.line(&format!("sh call ctl {order}; echo \"= $?\""));
            let orders = outside.all().matches("= $?").count();
            outside.until(|_| outside.all().lines().filter(|line| line.starts_with("= ")).count() == orders);
        }
        scene.terminal.until(|seen| seen.lines().last() == Some("$"));
        let all = scene.terminal.all();
        let mut read = all.lines();
        for (order, line) in deeds {
            let is = |row: &str| row == line || line == LEFT && row.starts_with(LEFT);
            assert!(read.any(is), "{order}: {line:?} is not in its place in\n{all}");
        }
        for never in ["push-to-talk", "Room check", "Whoever is not named", "heard anyway", "ctl"] {
            assert!(!all.contains(never), "{never}:\n{all}");
        }
    }
}

#[test]
fn the_help_is_read_at_any_width() {
    for width in [80, 60, 40] {
        let Some(scene) = Scene::new((width, 100), &[], QUIET) else { return };
        scene.terminal.line("/help");
        let seen = scene.terminal.shows("//text");
        let from = seen.find("Just type to chat. Tab").unwrap();
        let help = seen[from..].split("\n  you ").next().unwrap().to_owned() + "\n";
        kept(&format!("help_{width}"), &help);
    }
}

#[test]
fn what_a_shell_is_told_of_the_program() {
    let party = Party::new();
    let Some(terminal) = shell(&party, (120, 200), &[]) else { return };
    for order in [
        "sh call --help",
        "sh call ctl --help",
        "sh call completions bash > completion; head -n 1 completion",
        "sh call man pages; ls pages",
    ] {
        terminal.line(order);
        terminal.until(|seen| seen.contains(order) && seen.ends_with("$\n"));
    }
    kept("shell", &terminal.all());
}

#[test]
fn the_colours_are_the_sixteen_of_every_theme_and_none_behind_the_text() {
    let mut shown = BTreeSet::new();
    for (name, env) in [("coloured", &[][..]), ("no_color", &[("NO_COLOR", "1")])] {
        let Some(scene) = Scene::new((80, 24), env, QUIET) else { return };
        let mut friends = scene.crowd(&["Bob"]);
        scene.terminal.shows(" direct");
        friends[0].say("/mute");
        friends[0].say("hello");
        scene.terminal.until(|seen| seen.contains("Bob: hello") && seen.contains("muted"));
        let seen = scene.terminal.coloured();
        scene.kept(name, &seen[seen.find("Bob").unwrap()..].replace('\u{1b}', "<ESC>"));
        let styles = seen.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m'));
        shown.extend(styles.flat_map(|(style, _)| style.split(';').map(str::to_owned).collect::<Vec<_>>()));
    }
    // Bold, dim, foregrounds by their names; what white and black are is the theme's affair.
    let plain = ["", "0", "1", "2", "22", "31", "32", "33", "39", "49"];
    assert!(shown.iter().all(|style| plain.contains(&style.as_str())), "{shown:?}");
}

#[test]
fn one_who_talks_in_spite_of_being_muted_is_told() {
    let speech = format!("--muted --input wav:{},loop --output null", asset("alice.wav").display());
    let Some(scene) = Scene::new((90, 20), &[], &speech) else { return };
    let _bob = scene.crowd(&["Bob"]);
    scene.terminal.until(|seen| seen.contains(" direct") && seen.contains("! You are talking"));
    let seen = scene.terminal.seen();
    let mut news: Vec<&str> = seen.lines().filter(|line| line.starts_with(['*', '!'])).collect();
    // Which of the two comes first is chance.
    news.sort_unstable();
    kept("muted_but_talking", &(news.join("\n") + "\n"));
}

#[test]
fn what_is_not_as_usual_stands_in_the_rows() {
    let nowhere = [("PULSE_SERVER", "unix:/nowhere")];
    let Some(scene) = Scene::new((100, 24), &nowhere, "--output null") else { return };
    let seen = scene.terminal.shows("no microphone: /input");
    assert!(!seen.contains("rests"), "{seen}");
    let _bob = scene.crowd(&["Bob"]);
    scene.terminal.shows(" direct");
    for (order, row) in [("/volume bob 50", "volume 50 %"), ("/lock", "no microphone: /input, room locked")] {
        scene.terminal.line(order);
        scene.terminal.shows(row);
    }
    scene.terminal.line("/input silence");
    scene.terminal.until(|seen| seen.contains("room locked") && !seen.contains("no microphone: /input"));
    scene.terminal.line("/volume");
    scene.terminal.shows("You hear Bob at 50 %. Whoever is not named is at 100 %, as they are sent.");
    scene.terminal.line("/status");
    scene.terminal.shows("locked; /unlock opens it");
}

#[test]
fn a_friend_who_is_lost_and_found_is_told_of_once() {
    let Some(scene) = Scene::new((90, 20), &[], "--input tone --output null") else { return };
    let friends = scene.crowd(&["Bob"]);
    scene.terminal.shows(" direct");
    let bob = friends[0].id().to_string();
    signal("STOP", &bob);
    scene.terminal.shows("Nothing comes from Bob");
    scene.terminal.shows("~ Bob");
    signal("CONT", &bob);
    let seen = scene.terminal.shows("Bob is back.");
    let news: Vec<&str> = seen.lines().filter(|line| line.contains("Bob") && line.starts_with('*')).collect();
    kept("lost_and_found", &(news.join("\n") + "\n"));
}

#[test]
fn the_doctor_with_its_meter() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let Some(terminal) = shell(&party, (150, 30), &[]) else { return };
    terminal.line(&format!("sh call doctor --server {place} --seconds 3 --output null --input tone"));
    terminal.until(|seen| seen.contains("[#") && seen.contains(" dBFS"));
    let all = || terminal.all();
    terminal.until(|_| all().contains("Calls work"));
    let all = all();
    let lines = all.lines().skip_while(|line| !line.starts_with("Speak")).filter(|line| *line != "$");
    let line = |line: &str| match line.contains("IPv6 address") {
        true => "ok  IPV6\n".to_owned(),
        false => line.to_owned() + "\n",
    };
    let screen = lines.map(line).collect::<String>();
    kept("doctor", &masked(&screen.replace("(-", "(")));
}

#[cfg(target_os = "linux")]
#[test]
fn the_devices_of_a_machine_and_of_one_without() {
    let party = Party::new();
    let Some(server) = sound_server::Sound::start(&party.path("")) else { return };
    for (name, address) in [("devices", server.address()), ("no_devices", "unix:/nowhere".to_owned())] {
        let Some(terminal) = shell(&party, (100, 30), &[("PULSE_SERVER", &address)]) else { return };
        terminal.line("sh call devices");
        let seen = terminal.until(|seen| seen.lines().count() > 2 && seen.ends_with("$\n"));
        kept(name, &seen);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn devices_with_names_full_of_tricks_are_rows_like_others() {
    let party = Party::new();
    let Some(server) = sound_server::Sound::start(&party.path("")) else { return };
    let names = [
        "\u{1b}[2J\u{1b}]0;owned\u{7}red\u{9b}31m",
        "\u{202e}kcab\u{2066}",
        "👩\u{200d}👩\u{200d}👧 你好 שלום",
        "e\u{301}\u{301}\u{301}\u{301}",
    ];
    for (number, name) in names.iter().enumerate() {
        let name = format!("sink_properties='device.description=\"{name} end\"'");
        server.load(&["module-null-sink", &format!("sink_name=trick{number}"), &name]);
    }
    let Some(scene) = Scene::new((80, 60), &[("PULSE_SERVER", &server.address())], QUIET) else { return };
    scene.terminal.types("half a li");
    scene.terminal.press(&["C-u"]);
    scene.terminal.line("/devices");
    scene.terminal.types("typing");
    let seen = scene.terminal.until(|seen| seen.contains("Loudspeakers") && seen.ends_with("> typing\n"));
    let all = scene.terminal.all();
    assert!(all.contains(&scene.code), "something cleared the screen:\n{all}");
    for (number, _) in names.iter().enumerate() {
        assert!(seen.lines().any(|row| row.contains(&format!(" trick{number}  ("))), "{seen}");
    }
    assert!(seen.contains("red") && seen.contains("kcab") && seen.contains("你好"), "{seen}");
    assert!(!all.contains(['\u{202e}', '\u{2066}', '\u{7}', '\u{9b}']), "{all}");
    assert_eq!(scene::inputs(&seen), 1, "{seen}");
    let coloured = scene.terminal.coloured();
    let rows = coloured.lines().filter(|row| row.contains("trick"));
    assert!(rows.clone().count() > 3 && rows.clone().all(|row| !row.contains("\u{1b}[31m")), "{coloured}");
}

#[test]
fn the_settings_and_where_they_come_from() {
    let party = Party::new();
    let Some(terminal) = shell(&party, (80, 120), &[("VOICECHAT_NAME", "Ada")]) else { return };
    terminal.line("sh call config show");
    let seen = terminal.until(|seen| seen.contains("# hook = ") && seen.ends_with("$\n"));
    kept("config", &seen);
}

#[test]
fn ones_own_echo() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let Some(terminal) = shell(&party, (120, 30), &[]) else { return };
    let speech = asset("alice.wav");
    terminal.line(&format!(
        "clear; sh call echo --server {place} --output null --input wav:{},loop",
        speech.display()
    ));
    terminal.shows("Back after about");
    terminal.press(&["C-c"]);
    let seen = terminal.until(|seen| seen.ends_with("$\n"));
    let mut lines: Vec<String> = masked(&seen.replace("at -", "at ")).lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("Nothing comes back yet"));
    lines.dedup();
    kept("echo", &(lines.join("\n") + "\n"));
}

#[test]
fn what_goes_wrong_is_said_in_one_sentence_and_what_to_do_in_another() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let address = place.split('#').next().unwrap().to_owned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let Some(terminal) = shell(&party, (110, 60), &[]) else { return };
    for order in [
        "sh call join 48213-tiger-orbit".to_owned(),
        format!("sh call join 48213-tiger-orbit-ocean --server {place} {QUIET} --plain"),
        format!("sh call join 48213-tiger-orbit-ocean --server 127.0.0.1:1 {QUIET} --plain"),
        format!("sh call serve --listen {port}"),
        format!("sh call create --server {place} --input wav:/nowhere.wav --plain"),
        "sh call ctl mute".to_owned(),
        "sh call config set nmae Ada".to_owned(),
        "sh call frobnicate".to_owned(),
        "sh call".to_owned(),
    ] {
        terminal.line(&format!("{order}; echo \"= $?\""));
        let orders = terminal.all().matches("= $?").count();
        terminal.until(|_| terminal.all().lines().filter(|line| line.starts_with("= ")).count() == orders);
    }
    let number = port.split(':').nth(1).unwrap();
    let screen = terminal.all().replace(&place, "SERVER").replace(&address, "SERVER");
    kept("errors", &screen.replace(&port, "ADDRESS").replace(&format!("Port {number}"), "Port PORT"));
}

#[test]
fn a_room_without_a_server_says_once_who_can_come() {
    let party = Party::new();
    let Some(terminal) = shell(&party, (100, 30), &[]) else { return };
    terminal.line(&format!("clear; sh call host --listen 127.0.0.1:0 --name Ada --plain {QUIET}"));
    let seen = terminal.until(|seen| seen.contains("vc://") && seen.contains("reach"));
    assert_eq!(seen.matches("reach").count(), 1, "{seen}");
    terminal.line("/quit");
    terminal.until(|seen| seen.ends_with("$\n"));
}

#[test]
fn prose_is_broken_between_words_and_what_is_to_be_copied_nowhere() {
    let party = Party::new();
    let Some(terminal) = shell(&party, (50, 80), &[]) else { return };
    for order in [
        "sh call serve --listen 127.0.0.1:0 --seconds 1",
        &format!("sh call join 48213-tiger-orbit-ocean --server 127.0.0.1:1 {QUIET}"),
        "sh call host --relay-only",
        "sh call config set low_latency perhaps",
        "sh call config set low_latency perhaps 2>&1 | cat",
        "sh call ctl mute",
        "sh call completions --help",
    ] {
        terminal.line(&format!("{order}; echo \"= $?\""));
        let orders = terminal.all().matches("= $?").count();
        terminal.until(|_| terminal.all().lines().filter(|line| line.starts_with("= ")).count() == orders);
    }
    let all = terminal.all();
    let place = all.lines().find(|line| line.starts_with("127.0.0.1:")).unwrap();
    let port = place.split(['#', ':']).nth(1).unwrap();
    kept("prose", &all.replace(place, "PLACE").replace(port, "PORT"));
}
