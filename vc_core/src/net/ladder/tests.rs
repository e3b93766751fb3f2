use std::cell::Cell;
use std::net::SocketAddr;

use super::*;
use crate::protocol::member::MemberId;

fn hop(addr: &str) -> Hop {
    addr.parse::<SocketAddr>().unwrap().into()
}

const RELAY_RTT: u64 = 50;

fn direct() -> Path {
    Path::Direct(hop("192.0.2.1:4000"))
}

fn relay() -> Path {
    Path::Via { carrier: Carrier::Relay(hop("198.51.100.1:47700")), slot: Slot::new(1).unwrap() }
}

/// Runs the ladder for `ms` milliseconds; `rtt` tells how each path answers.
fn run(
    ladder: &mut Ladder,
    from: u64,
    ms: u64,
    talk: bool,
    rtt: impl Fn(&Path) -> Option<u64>,
) -> Vec<(u64, Path)> {
    let mut flying: Vec<(u64, Path, [u8; 8])> = Vec::new();
    let mut moves = Vec::new();
    let mut count = from;
    for t in from..from + ms {
        let now = Time::from_micros(t * 1_000);
        if talk && t % 20 == 0 {
            ladder.media(now);
        }
        for (_, path, token) in flying.extract_if(.., |(at, ..)| *at == t) {
            ladder.heard(now, path);
            let spent = ladder.spend(token);
            moves.extend(spent.and_then(|spent| ladder.answer(now, spent)).map(|path| (t, path)));
        }
        moves.extend(ladder.settle(now).map(|path| (t, path)));
        let sent = ladder.probe(now, || {
            count += 1;
            (count << 20 | t).to_be_bytes()
        });
        flying.extend(sent.into_iter().filter_map(|(path, token)| Some((t + rtt(&path)?, path, token))));
    }
    moves
}

#[test]
fn the_first_path_to_answer_carries_and_a_better_one_takes_over() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, relay());
    let moves = run(&mut ladder, 0, 1_000, true, |_| Some(RELAY_RTT));
    assert_eq!(moves.len(), 1);
    ladder.offer(Time::from_micros(1_000_000), direct());
    let moves =
        run(&mut ladder, 1_000, 2_000, true, |path| Some(if *path == direct() { 30 } else { RELAY_RTT }));
    assert_eq!(moves.len(), 1);
    assert!(moves[0].1 == direct() && moves[0].0 < 1_800, "{}", moves[0].0);
}

#[test]
fn packets_go_by_both_paths_for_200_ms_after_a_move_and_by_the_new_one_then() {
    // Where a packet goes so many milliseconds after the better path was offered, and when that path took over.
    let routes = |ms: u64| {
        let mut ladder = Ladder::default();
        ladder.offer(Time::ZERO, relay());
        run(&mut ladder, 0, 1_000, true, |_| Some(RELAY_RTT));
        ladder.offer(Time::from_micros(1_000_000), direct());
        let rtt = |path: &Path| Some(if *path == direct() { 30 } else { RELAY_RTT });
        let moves = run(&mut ladder, 1_000, ms, true, rtt);
        let routes: Vec<Path> = ladder.routes(Time::from_micros((1_000 + ms) * 1_000)).collect();
        (routes, moves.first().map(|(at, _)| at - 1_000))
    };
    let moved = routes(2_000).1.unwrap();
    assert!(routes(moved).0 == [relay()]);
    for later in [1, 100, 199] {
        assert!(routes(moved + later).0 == [direct(), relay()], "{later} ms later");
    }
    for later in [200, 250, 1_000] {
        assert!(routes(moved + later).0 == [direct()], "{later} ms later");
    }
}

#[test]
fn an_address_that_is_another_friends_now_gets_nothing_more() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, relay());
    ladder.offer(Time::ZERO, direct());
    run(&mut ladder, 0, 2_000, true, |path| Some(if *path == direct() { 30 } else { RELAY_RTT }));
    let now = Time::from_micros(2_000_000);
    assert!(ladder.carrying() == Some(direct()));
    let Path::Direct(there) = direct() else { unreachable!() };
    assert!(ladder.give_away(now, there) == Some(relay()) && ladder.give_away(now, there).is_none());
    assert!(ladder.routes(now).eq([relay()]) && !ladder.knows(&direct()));
    // Nothing else is left.
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, direct());
    run(&mut ladder, 0, 1_000, true, |_| Some(30));
    assert!(ladder.give_away(now, there).is_none() && ladder.carrying().is_none());
}

#[test]
fn the_best_of_three_carries_within_a_second_also_in_a_quiet_call() {
    let mail = Path::Mail(Slot::new(1).unwrap());
    for late in [0, 50, 100, 200, 300] {
        let mut ladder = Ladder::default();
        ladder.offer(Time::ZERO, mail);
        ladder.offer(Time::ZERO, relay());
        run(&mut ladder, 0, late, false, |path| Some(if *path == mail { 40 } else { 100 }));
        ladder.offer(Time::from_micros(late * 1_000), direct());
        let rtt = |path: &Path| {
            Some(if *path == direct() {
                50
            } else if *path == mail {
                40
            } else {
                100
            })
        };
        run(&mut ladder, late, 1_000, false, rtt);
        assert!(ladder.carrying() == Some(direct()), "offered after {late} ms");
    }
}

#[test]
fn the_first_answer_by_a_path_for_voice_ends_the_reign_of_mail() {
    let mail = Path::Mail(Slot::new(1).unwrap());
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, mail);
    run(&mut ladder, 0, 1_000, true, |_| Some(40));
    assert!(ladder.carrying() == Some(mail));
    ladder.offer(Time::from_micros(1_000_000), relay());
    let moves = run(&mut ladder, 1_000, 200, true, |path| Some(if *path == mail { 40 } else { 100 }));
    assert!(moves == [(1_100, relay())]);
}

#[test]
fn an_address_whose_answers_come_from_another_carries_nothing_and_the_other_does() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, relay());
    run(&mut ladder, 0, 1_000, true, |_| Some(RELAY_RTT));
    let (named, real) = (Path::Direct(hop("192.0.2.1:5000")), direct());
    ladder.offer(Time::from_micros(1_000_000), named);
    let asked = ladder.probe(Time::from_micros(1_000_000), || [1; 8]);
    assert!(asked.contains(&(named, [1; 8])));
    let now = Time::from_micros(1_020_000);
    ladder.heard(now, real);
    let spent = ladder.spend([1; 8]).unwrap();
    assert!(ladder.answer(now, spent).is_none() && !ladder.is_direct());
    assert!(ladder.spend([1; 8]).is_none(), "it answers once, though it counts for nothing");
    run(&mut ladder, 1_020, 1_000, true, |path| (*path != named).then_some(20));
    assert!(ladder.carrying() == Some(real));
}

#[test]
fn a_path_that_drops_voice_is_shunned_ever_longer_unless_it_is_direct_and_loses_probes_too() {
    let carrier = Carrier::Host(MemberId([7; 8]));
    let by_friend = Path::Via { carrier, slot: Slot::new(1).unwrap() };
    let minutes_shunned = |best: Path, probes_are_lost: bool| {
        let well = |path: &Path| Some(if *path == best { 20 } else { RELAY_RTT });
        let mut ladder = Ladder::default();
        ladder.offer(Time::ZERO, relay());
        ladder.offer(Time::ZERO, best);
        let mut t = 0;
        [(); 2].map(|()| {
            let asked = Cell::new(0);
            let every_other = |path: &Path| {
                asked.set(asked.get() + u32::from(*path == best));
                well(path).filter(|_| *path != best || !probes_are_lost || asked.get().is_multiple_of(2))
            };
            run(&mut ladder, t, 4_000, true, every_other);
            assert!(ladder.carrying() == Some(best));
            let struck = t + 4_000;
            ladder.distrust(Time::from_micros(struck * 1_000));
            run(&mut ladder, struck, 5_000, true, well);
            assert!(ladder.carrying() == Some(relay()));
            t = struck + 5_000;
            while ladder.carrying() != Some(best) {
                run(&mut ladder, t, 1_000, true, well);
                t += 1_000;
            }
            (t - struck) / 60_000
        })
    };
    assert_eq!(minutes_shunned(direct(), false), [1, 4]);
    assert_eq!(minutes_shunned(direct(), true), [1, 1]);
    assert_eq!(minutes_shunned(by_friend, true), [1, 4]);
}

#[test]
fn equal_paths_never_flap() {
    let mut ladder = Ladder::default();
    let other = Path::Direct(hop("192.0.2.2:4000"));
    ladder.offer(Time::ZERO, direct());
    ladder.offer(Time::ZERO, other);
    let moves = run(&mut ladder, 0, 60_000, true, |path| Some(if *path == other { 25 } else { 30 }));
    assert_eq!(moves.len(), 1);
}

#[test]
fn a_silent_cut_while_talking_doubles_within_a_second_and_moves_within_three() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, direct());
    ladder.offer(Time::ZERO, relay());
    run(&mut ladder, 0, 5_000, true, |path| Some(if *path == direct() { 30 } else { RELAY_RTT }));
    assert!(ladder.carrying() == Some(direct()));
    let only_relay = |path: &Path| (*path == relay()).then_some(RELAY_RTT);
    run(&mut ladder, 5_000, 1_200, true, only_relay);
    assert!(ladder.routes(Time::from_micros(6_200_000)).any(|path| path == relay()));
    let moves = run(&mut ladder, 6_200, 2_000, true, only_relay);
    assert!(moves.iter().any(|(at, path)| *path == relay() && *at <= 8_000));
}

#[test]
fn talk_after_a_long_pause_does_not_condemn_a_path_that_was_asked_seldom() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, direct());
    ladder.offer(Time::ZERO, relay());
    let both = |path: &Path| Some(if *path == direct() { 30 } else { RELAY_RTT });
    run(&mut ladder, 0, 40_000, false, both);
    let moves = run(&mut ladder, 40_000, 5_000, true, both);
    assert!(moves.is_empty() && ladder.carrying() == Some(direct()));
    assert_eq!(ladder.routes(Time::from_micros(45_000_000)).count(), 1);
}

#[test]
fn a_spare_that_falls_silent_is_asked_seldom_and_makes_room() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, direct());
    let once = Path::Direct(hop("192.0.2.7:4000"));
    run(&mut ladder, 0, 1_000, true, |_| Some(10));
    ladder.offer(Time::from_micros(1_000_000), once);
    run(&mut ladder, 1_000, 150, true, |_| Some(20));
    run(&mut ladder, 1_150, 10_000, true, |path| (*path == direct()).then_some(10));
    let mut asked = 0;
    for t in 11_150..21_150 {
        let sent = ladder.probe(Time::from_micros(t * 1_000), || [9; 8]);
        asked += sent.iter().filter(|(path, _)| *path == once).count();
    }
    assert!(asked <= 1, "{asked}");
    for port in 2_000..2_100 {
        ladder.offer(Time::from_micros(21_150_000), Path::Direct(hop(&format!("192.0.2.9:{port}"))));
    }
    assert!(!ladder.knows(&once) && ladder.knows(&direct()));
}

#[test]
fn the_table_of_paths_is_bounded_and_keeps_what_works() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, direct());
    run(&mut ladder, 0, 500, false, |_| Some(10));
    for port in 2_000..2_500 {
        ladder.offer(Time::from_micros(500_000), Path::Direct(hop(&format!("192.0.2.9:{port}"))));
    }
    assert_eq!(ladder.paths().count(), paths::MOST);
    assert!(ladder.carrying() == Some(direct()));
}

/// As where both routers map by destination and let everybody in.
#[test]
fn packets_from_ever_new_ports_take_no_place_from_what_was_named_nor_from_what_may_still_answer() {
    let mut ladder = Ladder::default();
    let named: Vec<Path> = (0..8).map(|n| Path::Direct(hop(&format!("192.0.2.9:{}", 4_000 + n)))).collect();
    let told = [relay(), Path::Mail(Slot::new(1).unwrap())].into_iter().chain(named);
    told.clone().for_each(|path| ladder.offer(Time::ZERO, path));
    let mut flying = Vec::<(u64, Path, [u8; 8])>::new();
    let (mut port, mut asked) = (10_000u64, 0);
    for t in 0..60_000 {
        let now = Time::from_micros(t * 1_000);
        // Each of our packets brings one from another port.
        for (_, path, token) in flying.extract_if(.., |(at, ..)| *at == t) {
            port += 1;
            ladder.heard(now, path);
            ladder.heard(now, Path::Direct(hop(&format!("192.0.2.7:{}", port % 50_000 + 2_000))));
            ladder.spend(token).and_then(|spent| ladder.answer(now, spent));
        }
        ladder.settle(now);
        let sent = ladder.probe(now, || (port << 32 | t << 8).to_be_bytes());
        asked += sent.len();
        // What was named lets nothing in.
        let heard = |path: &Path| path.direct().is_some_and(|hop| hop.addr.ip().to_string() == "192.0.2.7");
        let answered = |path: &Path| heard(path) || path.carrier().is_some();
        flying.extend(sent.into_iter().filter(|(p, _)| answered(p)).map(|(p, token)| (t + 100, p, token)));
    }
    assert!(told.clone().all(|path| ladder.knows(&path)));
    assert!(ladder.direct().is_some() && asked < 60 * 30, "asked {asked} times in a minute");
    // And a name has a place where something was only heard.
    for n in 0..6 {
        let more = Path::Direct(hop(&format!("192.0.2.9:{}", 5_000 + n)));
        ladder.offer(Time::from_micros(60_000_000), more);
        assert!(ladder.knows(&more), "{n}");
    }
    assert!(told.clone().all(|path| ladder.knows(&path)), "nor do later names take one from earlier ones");
}

#[test]
fn handshakes_from_ever_new_addresses_have_us_ask_few_of_them() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, relay());
    let mut asked = std::collections::BTreeSet::new();
    for t in 0..20_000u64 {
        let now = Time::from_micros(t * 1_000);
        if t % 50 == 0 {
            ladder.notice(now, Path::Direct(hop(&format!("192.0.2.7:{}", 2_000 + t / 50))));
        }
        asked.extend(
            ladder
                .probe(now, || t.to_be_bytes())
                .into_iter()
                .filter_map(|(path, _)| path.direct().map(|hop| hop.addr)),
        );
    }
    assert_eq!(asked.len(), 8);
}

#[test]
fn where_the_answer_comes_from_elsewhere_the_way_back_is_kept_open_as_long_as_there_is_one() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, direct());
    let mut asked = Vec::new();
    let mut flying = Vec::<(u64, [u8; 8])>::new();
    for t in 0..240_000 {
        let now = Time::from_micros(t * 1_000);
        for (_, token) in flying.extract_if(.., |(at, _)| *at == t) {
            ladder.spend(token).and_then(|spent| ladder.answer(now, spent));
        }
        for (_, token) in ladder.probe(now, || t.to_be_bytes()) {
            asked.push(t);
            flying.extend((t < 120_000).then_some((t + 40, token)));
        }
    }
    assert!(ladder.direct().is_none(), "it proves nothing");
    assert!(
        asked.windows(2).filter(|pair| pair[1] < 120_000).all(|pair| pair[1] - pair[0] <= 6_000),
        "{asked:?}"
    );
    assert!(asked.iter().filter(|t| **t >= 150_000).count() <= 3, "{asked:?}");
}

#[test]
fn checks_of_many_paths_are_spread_and_what_carries_is_asked_first() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, relay());
    run(&mut ladder, 0, 1_000, false, |_| Some(10));
    let at = |ms: u64| Time::from_micros(ms * 1_000);
    for port in 2_000..2_012 {
        ladder.offer(at(2_000), Path::Direct(hop(&format!("192.0.2.9:{port}"))));
    }
    ladder.restart(at(3_000));
    let mut asked = Vec::new();
    for ms in 3_000..3_100 {
        let sent = ladder.probe(at(ms), || [7; 8]);
        assert!(sent.len() <= 1, "{} at once", sent.len());
        asked.extend(sent.into_iter().map(|(path, _)| path));
    }
    assert!(asked.len() == 13 && asked[0] == relay());
}

#[test]
fn what_is_out_of_reach_for_a_moment_is_left_at_once_for_what_answers_and_kept_in_mind() {
    let mut ladder = Ladder::default();
    ladder.offer(Time::ZERO, relay());
    run(&mut ladder, 0, 1_000, true, |_| Some(RELAY_RTT));
    let carrier = relay().carrier().unwrap();
    let now = Time::from_micros(1_000_000);
    assert!(
        ladder.interrupt(now, carrier).is_none() && ladder.carrying() == Some(relay()),
        "nothing else answers"
    );
    ladder.offer(now, direct());
    run(&mut ladder, 1_000, 1_000, true, |path| {
        Some(if *path == direct() { 60 + RELAY_RTT } else { RELAY_RTT })
    });
    assert!(ladder.carrying() == Some(relay()));
    let now = Time::from_micros(2_000_000);
    assert!(ladder.interrupt(now, carrier) == Some(direct()) && ladder.knows(&relay()));
}
