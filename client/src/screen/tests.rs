#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::process::{Command, Stdio};

use crossterm::event::KeyModifiers;

use super::*;

#[test]
fn tab_completes_the_word_of_a_code() {
    assert_eq!(code_words("48213-tige"), (6, vec!["tiger-".to_owned()]));
    assert_eq!(code_words("48213 tiger orbi"), (12, vec!["orbit ".to_owned()]));
    assert_eq!(code_words("48213-tiger-orbit-ocea"), (18, vec!["ocean".to_owned()]));
    assert_eq!(code_words("48213"), (0, vec!["48213-".to_owned()]));
    assert!(code_words("").1.is_empty() && code_words("vc://").1.is_empty());
    assert_eq!(code_words("48213-xq"), (6, vec![]));
}

fn painter() -> (Painter, watch::Receiver<bool>) {
    let (talks, talking) = watch::channel(false);
    let mut painter = Painter::new(mpsc::channel(1).0, talks);
    painter.view.stats = Some(Stats { push_to_talk: true, ..Stats::default() });
    (painter, talking)
}

fn space(painter: &mut Painter, kind: KeyEventKind) {
    let key = KeyEvent::new_with_kind(KeyCode::Char(' '), KeyModifiers::NONE, kind);
    assert!(painter.hear(Told::Terminal(Event::Key(key))).is_ok());
}

#[test]
fn a_talk_key_that_is_let_go_counts_however_busy_the_call_is() {
    let (mut painter, mut talking) = painter();
    assert!(painter.typed.try_send(Typed::End).is_err(), "nobody takes what is typed");
    space(&mut painter, KeyEventKind::Press);
    assert!(*talking.borrow_and_update());
    space(&mut painter, KeyEventKind::Release);
    assert!(talking.has_changed().unwrap());
    assert!(!*talking.borrow_and_update());
}

#[test]
fn a_talk_key_that_repeats_or_goes_down_again_is_told_of_each_time_so_that_a_held_one_never_counts_as_lost() {
    for told in [&[][..], &[KeyEventKind::Release][..]] {
        let (mut painter, mut talking) = painter();
        for kind in told {
            space(&mut painter, *kind);
        }
        for _ in 0..3 {
            talking.mark_unchanged();
            space(&mut painter, KeyEventKind::Press);
            assert!(talking.has_changed().unwrap() && *talking.borrow());
        }
    }
}

#[test]
fn whatever_comes_between_a_talk_key_does_not_stay_down() {
    let (mut painter, mut talking) = painter();
    space(&mut painter, KeyEventKind::Press);
    let letter = KeyEvent::new(KeyCode::Char('x'), KeyModifiers::NONE);
    assert!(painter.hear(Told::Terminal(Event::Key(letter))).is_ok());
    space(&mut painter, KeyEventKind::Release);
    assert!(!*talking.borrow_and_update());
    painter.editor.set("");
    space(&mut painter, KeyEventKind::Press);
    assert!(*talking.borrow_and_update());
    assert!(painter.hear(Told::Terminal(Event::FocusLost)).is_ok());
    assert!(!*talking.borrow_and_update());
}

#[test]
fn a_stopped_program_takes_no_keys() {
    let (mut painter, talking) = painter();
    painter.asleep = Some(Instant::now() + Duration::from_secs(60));
    space(&mut painter, KeyEventKind::Press);
    assert!(!talking.has_changed().unwrap());
}

#[test]
#[ignore = "takes the terminal over; the next test runs it in one of its own"]
fn behind_the_screen_something_breaks() {
    let breaks = |thread: &str| {
        let part = thread::Builder::new().name(thread.into()).spawn(|| panic!("on purpose"));
        assert!(part.unwrap().join().is_err());
    };
    let (typed, _lines) = mpsc::channel(1);
    let _screen = Screen::start(typed, watch::channel(false).0, oneshot::channel().0).unwrap();
    breaks("part");
    breaks("main");
}

#[test]
fn that_the_screen_broke_off_is_known_at_the_end() {
    let (to, told) = sync_channel(1);
    let (done, ended) = sync_channel(1);
    let screen = Screen { to, ended };
    let broken = thread::spawn(move || {
        let _both = (told, done);
        panic!("on purpose");
    });
    assert!(broken.join().is_err());
    assert_eq!(screen.ended(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn after_a_defect_the_terminal_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let tmux = |args: &[&str]| {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(dir.path().join("tmux")).args(args).stderr(Stdio::null()).output()
    };
    let program = std::env::current_exe().unwrap();
    let test = "screen::tests::behind_the_screen_something_breaks --exact --ignored --nocapture";
    let script = format!("{} {test} >/dev/tty; stty -a; sleep 60", program.display());
    let size = ["-x", "100", "-y", "40", &script];
    if tmux(&[&["-f", "/dev/null", "new-session", "-d"], &size[..]].concat()).is_err() {
        return eprintln!("SKIPPED: tmux is not installed, so no real terminal was tried");
    }
    let begin = Instant::now();
    let seen = loop {
        let seen = String::from_utf8(tmux(&["capture-pane", "-p"]).unwrap().stdout).unwrap();
        if seen.contains("icanon") || begin.elapsed() > Duration::from_secs(60) {
            break seen;
        }
        thread::sleep(Duration::from_millis(50));
    };
    let _ = tmux(&["kill-server"]);
    assert!(seen.contains(" icanon") && seen.contains(" echo "), "{seen}");
    assert!(seen.contains("a part of the program stopped"), "{seen}");
}
