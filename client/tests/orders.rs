//! Orders of a call between real programs: each is answered, and does what it says.

#![allow(clippy::unwrap_used)]

#[cfg(unix)]
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

mod party;

use party::{Friend, Party};

const QUIET: [&str; 4] = ["--input", "silence", "--output", "null"];

/// Ada, who made the room, and Bob.
fn two_friends(party: &Party, more: &[&str]) -> (Friend, Friend, Friend) {
    let (server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &QUIET);
    let mut bob = party.join(&place, "Bob", &code, &[&QUIET, more].concat());
    for friend in [&mut ada, &mut bob] {
        friend.wait_for("path");
    }
    (server, ada, bob)
}

#[test]
fn orders_for_friends_and_sound_are_answered_and_done() {
    let party = Party::new();
    let (_server, mut ada, mut bob) = two_friends(&party, &[]);
    for (order, answer) in [
        ("/volume bo 50", "You hear Bob at 50 %."),
        ("/volume bob", "You hear Bob at 50 %."),
        ("/volume Carl 50", "Nobody here is called Carl, only Bob."),
        ("/noise off", "Noise suppression: off."),
        ("/echo auto", "Echo cancellation: when it helps."),
        ("/level off", "Your voice is sent as it is."),
        ("/gate off", "All that your microphone hears is sent, unless it is muted."),
        (
            "/ptt on",
            "Push-to-talk: keys of the desktop bound to `voicechat ctl ptt down` and `ptt up` let you be heard.",
        ),
        ("/ptt off", "You are heard whenever you speak."),
        ("/ptt down", "Push-to-talk is off, so you are heard anyway; /ptt on changes that."),
        ("/mute", "Your microphone is off; /unmute switches it on."),
        ("/ptt down", "Push-to-talk is off, and your microphone is muted: /unmute first."),
        ("/unmute", "Your microphone is on."),
        ("/lock", "The room is locked: nobody can join. /unlock opens it."),
        ("/name Ada L.", "You are called Ada L. now."),
    ] {
        ada.say(order);
        assert_eq!(ada.wait_for("answer")["message"], answer, "{order}");
    }
    ada.say("/help");
    let help = ada.wait_for("answer")["message"].clone();
    assert!(!help.as_str().unwrap().contains("Tab completes"), "{help}");
    bob.wait(|event| event["event"] == "door" && event["open"] == false);
    bob.wait(|event| event["event"] == "renamed" && event["name"] == "Ada L.");
    bob.wait(|event| event["event"] == "stats" && event["open"] == false);
    ada.say("/verify");
    bob.say("/verify");
    let words = ada.wait_for("verify")["words"].clone();
    assert_eq!(words.as_array().unwrap().len(), 5);
    assert_eq!(bob.wait_for("verify")["words"], words);
}

#[test]
fn a_line_of_nothing_but_invisible_letters_is_refused_as_an_empty_one() {
    let party = Party::new();
    let (_server, mut ada, mut bob) = two_friends(&party, &[]);
    ada.say("\u{200b}\u{2063}\u{3164}");
    let refused = ada.wait_for("answer");
    assert_eq!((&refused["order"], &refused["done"]), (&serde_json::Value::Null, &false.into()));
    assert_eq!(refused["message"], "There is nothing to say in that line. Add the text.");
    ada.say("seen");
    assert_eq!(bob.wait_for("chat")["text"], "seen");
}

#[test]
fn more_lines_behind_the_code_than_are_held_all_come_and_in_their_order() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &QUIET);
    let mut bob = party.join(&place, "Bob", &code, &QUIET);
    bob.say("first");
    (0..100).for_each(|_| bob.say("/peers"));
    bob.say("last");
    bob.say("/quit");
    ada.wait_for("left");
    assert_eq!(ada.chat(), ["first", "last"]);
    let (status, log, _) = bob.end();
    assert!(status.success());
    let done = log.iter().filter(|event| event["event"] == "said" || event["event"] == "peers");
    let done: Vec<_> =
        done.map(|event| event["text"].as_str().or(event["peers"][0]["name"].as_str())).collect();
    let all = [&["first"][..], &["Ada"; 100], &["last"]].concat();
    assert_eq!(done, all.into_iter().map(Some).collect::<Vec<_>>());
}

#[test]
fn what_waits_when_the_call_ends_is_answered_and_the_microphone_is_muted_before() {
    let party = Party::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap().to_string();
    let args = ["join", "--json", "--server", &place, "--seconds", "2"];
    let mut bob = party.start(&[&args[..], &QUIET].concat());
    let long = "x".repeat(20_000);
    for line in ["48213-tiger-orbit-ocean", "hello", "/peers", "/mute", &long, "/mtue", "/quit"] {
        bob.say(line);
    }
    let (status, log, _) = bob.end();
    assert!(status.success());
    let answers = log.iter().filter(|event| event["event"] == "answer");
    let answers: Vec<_> = answers.map(|event| (event["done"].as_bool(), event["message"].as_str())).collect();
    let [muted, hello, peers, long, mistyped, quit] = answers[..] else { panic!("{answers:?}") };
    assert!(muted.0 == Some(true) && muted.1.unwrap().starts_with("Your microphone is off"), "{muted:?}");
    assert_eq!(hello, (Some(false), Some("The call is over, so nobody got: hello")));
    assert_eq!(peers, (Some(false), Some("The call is over, so that was not done.")));
    assert!(long.0 == Some(false) && long.1.unwrap().contains("longer than 1000 bytes"), "{long:?}");
    assert_eq!(mistyped, (Some(false), Some("There is no /mtue. Did you mean /mute?")));
    assert_eq!(quit, (Some(true), Some("Leaving.")));
}

#[test]
fn of_a_host_that_left_one_who_is_alone_then_reads_one_sentence() {
    let party = Party::new();
    let mut ada = party.start(&[&["host", "--json", "--listen", "127.0.0.1:0"][..], &QUIET].concat());
    let code = ada.wait_for("invite")["code"].as_str().unwrap().to_owned();
    // Not for ever, whatever it says.
    let mut join = party.command(&[&["join", "--name", "Bob", "--seconds", "60"][..], &QUIET].concat());
    let mut bob = join.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    types(&mut bob, &[&code]);
    let mut lines = BufReader::new(bob.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.ends_with(" is here.")).unwrap();
    // Only who has a path can say goodbye.
    types(&mut bob, &["hi"]);
    ada.wait_for("chat");
    ada.say("/quit");
    assert!(ada.end().0.success());
    lines.find(|line| line.contains("Nobody else is here, and the room's server is gone")).unwrap();
    types(&mut bob, &["/quit"]);
    let rest: Vec<String> = lines.collect();
    let mut told = String::new();
    bob.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(bob.wait().unwrap().success());
    for line in rest.iter().map(String::as_str).chain(told.lines()) {
        assert!(!line.contains("server is"), "{line}");
    }
}

#[test]
fn a_number_at_the_end_of_a_friends_name_is_no_volume() {
    let party = Party::new();
    let (_server, mut ada, mut bob) = two_friends(&party, &[]);
    let answer = |ada: &mut Friend, line: &str| {
        ada.say(line);
        ada.wait_for("answer")["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(answer(&mut ada, "/volume Bob 2"), "You hear Bob at 2 %.");
    assert_eq!(answer(&mut ada, "/volume Bob 60"), "You hear Bob at 60 %.");
    bob.say("/name Bob 2");
    ada.wait_for("renamed");
    assert_eq!(answer(&mut ada, "/volume bob 2"), "You hear Bob 2 at 60 %.");
    assert_eq!(answer(&mut ada, "/volume Bob 2 50"), "You hear Bob 2 at 50 %.");
    assert_eq!(answer(&mut ada, "/volume Bob 2"), "You hear Bob 2 at 50 %.");
    assert_eq!(answer(&mut ada, "/volume Bob 3"), "You hear Bob 2 at 3 %.");
}

#[test]
fn where_a_number_may_belong_to_the_name_or_not_both_ways_are_told() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &QUIET);
    let _friends = ["Bob", "Bob 2"].map(|name| party.join(&place, name, &code, &QUIET));
    for _ in 0..2 {
        ada.wait_for("joined");
    }
    let mut answer = |line: &str| {
        ada.say(line);
        ada.wait_for("answer")["message"].as_str().unwrap().to_owned()
    };
    let both = "You hear Bob 2 at 100 %, as they are sent. For Bob at 2 %: /volume Bob 2%.";
    assert_eq!(answer("/volume Bob 2"), both);
    assert_eq!(answer("/volume Bob 2%"), "You hear Bob at 2 %.");
    assert_eq!(answer("/volume Bob 2"), both);
}

#[test]
fn a_friend_whose_name_one_takes_is_called_the_same_in_the_chat_and_in_the_rows() {
    let party = Party::new();
    let (_server, mut ada, mut bob) = two_friends(&party, &[]);
    for (order, mark) in [("/name Bob", "Bob #"), ("/name Ada", "Bob")] {
        ada.say(order);
        assert_eq!(ada.wait_for("answer")["done"], true);
        bob.say("who is who?");
        let chat = ada.wait_for("chat")["name"].clone();
        assert!(chat.as_str().unwrap().starts_with(mark), "{chat}");
        assert_eq!(ada.wait_for("stats")["peers"][0]["name"], chat);
    }
}

#[test]
fn no_friend_s_lines_look_like_ones_own() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &QUIET);
    let _eve = party.join(&place, "You", &code, &QUIET);
    let name = ada.wait_for("joined")["name"].clone();
    assert!(name.as_str().unwrap().starts_with("You #"), "{name}");
}

#[test]
fn a_code_that_lets_nobody_in_at_the_moment_says_when_it_does() {
    let party = Party::new();
    let (server, mut ada, _bob) = two_friends(&party, &[]);
    ada.say("/invite");
    assert_eq!(ada.wait(|event| event["event"] == "invite" && event["code"].is_string())["up"], true);
    let pid = ada.id().to_string();
    let asked = |order: &[&str]| {
        let asked = party.command(&[&["ctl", "--call", &pid], order].concat()).output().unwrap();
        String::from_utf8(asked.stdout).unwrap()
    };
    asked(&["lock"]);
    let locked = asked(&["invite"]);
    assert!(locked.ends_with("The room is locked: they get in once it is unlocked.\n"), "{locked}");
    asked(&["unlock"]);
    drop(server);
    ada.wait(|event| event["event"] == "signaling" && event["up"] == false);
    ada.say("/invite");
    assert_eq!(ada.wait_for("invite")["up"], false);
    let words = asked(&["invite"]);
    assert!(words.ends_with("The server is lost at the moment: they get in once it is back.\n"), "{words}");
    let out = asked(&["kick", "Bob"]);
    assert!(out.contains("A new one follows when the server gives one again."), "{out}");
}

#[test]
fn only_whoever_made_the_room_removes_a_friend() {
    let party = Party::new();
    let (_server, mut ada, mut bob) = two_friends(&party, &[]);
    bob.say("/help");
    let help = bob.wait_for("answer")["message"].clone();
    assert!(help.as_str().unwrap().contains("remove a friend for good, if you made the room"), "{help}");
    bob.say("/kick Ada");
    let refused = bob.wait_for("answer");
    assert_eq!(refused["done"], false);
    assert_eq!(refused["message"], "Only whoever made the room can remove somebody.");
    ada.say("/kick Bob");
    assert_eq!(ada.wait_for("answer")["done"], true);
    let (status, _, _) = bob.end();
    assert_eq!(status.code(), Some(9));
}

#[test]
fn a_name_that_is_too_long_is_said_to_be_cut() {
    let mut party = Party::new();
    let (_server, place) = party.serve();
    let (long, cut) = ("Ada of the many names and titles", "Ada of the many names an");
    let says = format!("You are called {cut}: a name is at most");
    let told = |event: &serde_json::Value| {
        let message = event["message"].as_str().unwrap_or_default();
        event["event"] == "notice" && message.starts_with(&says)
    };
    let call = ["create", "--json", "--server", &place];
    let mut flagged = party.start(&[&call[..], &["--name", long], &QUIET].concat());
    flagged.wait(told);
    flagged.say(&format!("/name {long}"));
    assert!(flagged.wait_for("answer")["message"].as_str().unwrap().starts_with(&says));
    flagged.say("/name Ada");
    assert_eq!(flagged.wait_for("answer")["message"], "You are called Ada now.");

    let config = party.path("config.toml");
    std::fs::write(&config, format!("name = \"{long}\"\n")).unwrap();
    party.env.push(("VOICECHAT_CONFIG".into(), config.display().to_string()));
    party.start(&[&call[..], &QUIET].concat()).wait(told);
}

/// What is sent of a room in which nobody speaks shows whether voice detection is at work.
#[test]
fn a_gate_that_is_off_by_flag_or_by_the_file_is_off_from_the_first_frame() {
    let mut party = Party::new();
    let (_server, place) = party.serve();
    let config = party.path("config.toml");
    std::fs::write(&config, "").unwrap();
    party.env.push(("VOICECHAT_CONFIG".into(), config.display().to_string()));
    let room = party.path("room.wav");
    let mut noise = 1_u32;
    party::recording(
        &room,
        (0..2 * audio::RATE).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 16) as f32 / 65_536.0 * 0.002 - 0.001
        }),
    );
    let room = format!("wav:{},loop", room.display());
    // How much of what the microphone heard, in the hundred frames after the first hundred.
    let sent = |party: &Party, more: &[&str]| {
        let quiet = ["--input", &room, "--output", "null"];
        let (mut ada, code) = party.create(&place, "Ada", &[&quiet, more].concat());
        let mut bob = party.join(&place, "Bob", &code, &QUIET);
        bob.wait_for("joined");
        let mut at = |frames| {
            let stats =
                ada.wait(|event| event["event"] == "stats" && event["captured"].as_u64() > Some(frames));
            (stats["captured"].as_u64().unwrap() as f32, stats["sent"].as_u64().unwrap() as f32)
        };
        let (before, after) = (at(100), at(200));
        (after.1 - before.1) / (after.0 - before.0)
    };
    let (gated, flagged) = (sent(&party, &[]), sent(&party, &["--no-gate"]));
    std::fs::write(&config, "gate = false\n").unwrap();
    let kept = sent(&party, &[]);
    assert!(gated < 0.2 && flagged > 0.9 && kept > 0.9, "{gated} {flagged} {kept}");
}

#[test]
fn one_who_enters_muted_is_seen_muted() {
    let party = Party::new();
    let (_server, mut ada, _bob) = two_friends(&party, &["--muted"]);
    ada.wait(|event| event["event"] == "stats" && event["peers"][0]["muted"] == true);
}

#[cfg(unix)]
#[test]
fn a_hook_is_run_with_each_event_and_holds_up_nothing() {
    let mut party = Party::new();
    let (config, heard) = (party.path("config.toml"), party.path("heard"));
    fs::write(&config, format!("hook = \"cat >> {}; sleep 60\"\n", heard.display())).unwrap();
    party.env.push(("VOICECHAT_CONFIG".into(), config.display().to_string()));
    let (_server, mut ada, mut bob) = two_friends(&party, &[]);
    // Its own clock: an event each second, while the hook sleeps.
    ada.wait(|event| {
        let text = fs::read_to_string(&heard).unwrap_or_default();
        event["event"] == "stats" && text.contains("\"event\":\"joined\"")
    });
    bob.say("still here");
    assert_eq!(ada.wait_for("chat")["text"], "still here");
}

#[cfg(unix)]
#[test]
fn a_hook_hears_what_happens_to_the_very_end() {
    let mut party = Party::new();
    let (config, heard) = (party.path("config.toml"), party.path("heard"));
    fs::write(&config, format!("hook = \"cat >> {}\"\n", heard.display())).unwrap();
    let (_server, place) = party.serve();
    let (mut ada, code) = party.create(&place, "Ada", &QUIET);
    // Only Bob's.
    party.env.push(("VOICECHAT_CONFIG".into(), config.display().to_string()));
    let mut bob = party.join(&place, "Bob", &code, &QUIET);
    let text = || fs::read_to_string(&heard).unwrap_or_default();
    let until = |bob: &mut Friend, event: &str| {
        bob.wait(|stats| stats["event"] == "stats" && text().contains(&format!("\"event\":\"{event}\"")));
    };
    until(&mut bob, "path");
    ada.say("hello");
    until(&mut bob, "chat");
    ada.say("/mute");
    until(&mut bob, "muted");
    ada.say("/quit");
    until(&mut bob, "left");
    bob.say("/quit");
    assert_eq!(bob.end().0.code(), Some(0));
    let deadline = std::time::Instant::now() + party::PATIENCE;
    while !text().contains("\"event\":\"ended\"") {
        assert!(std::time::Instant::now() < deadline, "{}", text());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for never in ["stats", "level", "answer"] {
        assert!(!text().contains(&format!("\"event\":\"{never}\"")), "{}", text());
    }
}

#[test]
fn devices_change_in_the_call_and_what_was_set_up_is_kept_on_request() {
    let party = Party::new();
    let (_server, mut ada, mut bob) = two_friends(&party, &[]);
    ada.say("/input tone:500");
    assert_eq!(ada.wait_for("answer")["message"], "You speak into tone:500 now.");
    bob.wait(|event| event["event"] == "stats" && event["peers"][0]["heard"].as_u64() > Some(10));
    ada.say("/input wav:/nowhere.wav");
    assert_eq!(ada.wait_for("answer")["done"], false);
    for order in ["/volume Bob 50", "/noise off", "/gate off", "/ptt on", "/name Ada L.", "/save"] {
        ada.say(order);
        assert_eq!(ada.wait_for("answer")["done"], true, "{order}");
    }
    let told = ada.wait_for("stats");
    assert_eq!(
        (&told["peers"][0]["played"], &told["peers"][0]["delay_ms"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    let kept = party.command(&["config", "show"]).output().unwrap();
    let kept = String::from_utf8(kept.stdout).unwrap();
    for line in [
        "name = \"Ada L.\"",
        "input = \"tone:500\"",
        "output = \"null\"",
        "noise = \"off\"",
        "gate = false",
        "push_to_talk = true",
        "volumes = { Bob = 50 }",
        "server = \"127.0.0.1:",
    ] {
        assert!(kept.contains(line), "{line} is not in {kept}");
    }
}

/// A person who types lines, without a terminal: nothing has to say so.
fn person(party: &Party, args: &[&str], lines: &[&str]) -> Child {
    let mut command = party.command(&[&["join"], args].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    types(&mut child, lines);
    child
}

fn types(child: &mut Child, lines: &[&str]) {
    child.stdin.as_mut().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
}

#[test]
fn what_a_person_sets_up_in_a_call_is_there_in_the_next_one() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut bob, code) = party.create(&place, "Bob", &QUIET);
    let named = [&["--server", &place, "--name", "Ada"][..], &QUIET].concat();
    let mut ada = person(&party, &named, &[&code]);
    assert_eq!(bob.wait_for("joined")["name"], "Ada");
    bob.wait_for("path");
    types(&mut ada, &["/volume Bob 50", "/input tone:300", "/output null", "/noise off", "/name Ada L."]);
    assert_eq!(bob.wait_for("renamed")["name"], "Ada L.");
    // The tone tells that the device has been changed, which is when it is kept.
    bob.wait(|event| event["event"] == "stats" && event["peers"][0]["heard"].as_u64() > Some(10));
    types(&mut ada, &["/quit"]);
    bob.wait_for("left");
    assert!(ada.wait().unwrap().success());

    let shown = party.command(&["config", "show"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in ["volumes = { Bob = 50 }", "noise = \"off\"", "output = \"null\"", "server = \"127.0.0.1:"] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    let mut ada = person(&party, &[], &[&code]);
    assert_eq!(bob.wait_for("joined")["name"], "Ada L.");
    bob.wait(|event| event["event"] == "stats" && event["peers"][0]["heard"].as_u64() > Some(10));
    types(&mut ada, &["/quit"]);
    assert!(ada.wait().unwrap().success());
}

#[test]
fn a_volume_is_kept_under_a_friends_own_name_and_not_where_two_share_it() {
    let party = Party::new();
    let (_server, place) = party.serve();
    let (mut bob, code) = party.create(&place, "Bob", &QUIET);
    let kept = || {
        let shown = party.command(&["config", "show"]).output().unwrap();
        String::from_utf8(shown.stdout).unwrap()
    };
    let mut one = party.join(&place, "Ada", &code, &QUIET);
    let joined = |friend: &mut Friend| friend.wait(|event| event["event"] == "joined");
    let id_of_one = joined(&mut bob)["id"].as_str().unwrap().to_owned();
    let named = [&["--server", &place, "--name", "Ada"][..], &QUIET].concat();
    let mut ada = person(&party, &named, &[&code]);
    // Both are told apart for Bob, and she for the one of her name.
    assert!(joined(&mut bob)["name"].as_str().unwrap().starts_with("Ada #"));
    one.wait(|event| event["event"] == "joined" && event["name"] != "Bob");
    bob.wait(|event| event["event"] == "stats" && event["peers"].as_array().unwrap().len() == 2);
    let marked = format!("Ada #{}", &id_of_one[..4]);
    types(&mut ada, &[&format!("/volume {marked} 50"), "/name Countess"]);
    bob.wait(|event| event["event"] == "renamed" && event["name"] == "Countess");
    assert!(kept().contains("volumes = { Ada = 50 }"), "{}", kept());

    let mut other = party.join(&place, "Ada", &code, &QUIET);
    other.wait(|event| event["event"] == "joined" && event["name"] == "Countess");
    types(&mut ada, &[&format!("/volume {marked} 30"), "/name Lovelace"]);
    bob.wait(|event| event["event"] == "renamed" && event["name"] == "Lovelace");
    assert!(kept().contains("volumes = { Ada = 50 }"), "{}", kept());
    types(&mut ada, &["/quit"]);
    assert!(ada.wait().unwrap().success());
}

#[test]
fn what_a_program_sets_up_in_a_call_is_of_that_call_alone() {
    let party = Party::new();
    let (_server, mut ada, _bob) = two_friends(&party, &[]);
    ada.say("/volume Bob 50");
    assert_eq!(ada.wait_for("answer")["done"], true);
    let shown = party.command(&["config", "show"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(!shown.contains("from the configuration file"), "{shown}");
}
