//! The jitter buffer against simulated networks, in virtual time.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use audio::{Counts, Fit, Frame, FrameLen, Heard, Jitter};
use proptest::prelude::*;

#[test]
fn a_clean_stream_is_played_whole_and_soon() {
    for len in [FrameLen::Ms10, FrameLen::Ms20, FrameLen::Ms40, FrameLen::Ms60] {
        let out = Net::new(len).frames(1000).run();
        assert_eq!(out.voiced(), (0..1000).collect::<Vec<_>>());
        assert_eq!((out.concealed, out.recovered), (0, 0));
        assert!(out.delay_at_end <= 20, "{} ms", out.delay_at_end);
    }
}

#[test]
fn one_missing_frame_never_stops_playback() {
    let out = Net::new(FrameLen::Ms20).frames(500).lose(|i| i == 100).run();
    assert_eq!(out.voiced(), (0..500).filter(|i| *i != 100).collect::<Vec<_>>());
    assert_eq!(out.recovered + out.concealed, 1);
}

#[test]
fn what_later_packets_know_is_waited_for_once_it_pays() {
    for (lost, reach) in [(1, 1), (2, 2), (4, 4)] {
        let lose = |i: u32| i % 25 >= 25 - lost;
        let out = Net::new(FrameLen::Ms20).frames(1500).lose(lose).reach(reach).run();
        assert_eq!(out.voiced(), (0..1500).filter(|i| !lose(*i)).collect::<Vec<_>>());
        assert!(
            out.recovered > 55 * lost && out.concealed <= 6 * lost,
            "{}, {}",
            out.recovered,
            out.concealed
        );
        let delay = u64::from(lost) * 20;
        assert!((delay..delay + 40).contains(&out.delay_at_end), "{lost} lost: {}", out.delay_at_end);
    }
}

#[test]
fn what_no_packet_knows_is_not_waited_for() {
    let out = Net::new(FrameLen::Ms20).frames(1500).lose(|i| i % 25 >= 23).run();
    assert!(out.delay_at_end < 40, "{}", out.delay_at_end);
}

#[test]
fn what_comes_again_in_a_later_packet_is_played_in_its_turn() {
    // Runs of four; the wait for what comes again does not come and go with them.
    for every in [80, 200] {
        let lost = |i: u32| i % every < 4 && i > 100;
        let out = Net::new(FrameLen::Ms20).frames(4_000).lose(lost).again(5).run();
        assert!(out.concealed + out.recovered <= 12, "{every}: {} {}", out.concealed, out.recovered);
        let delays = || out.played[600..].iter().map(|played| played.delay);
        let (least, most) = (delays().min().unwrap(), delays().max().unwrap());
        assert!(least >= 100 && most <= 140, "{every}: {least} to {most} ms");
        assert!(out.voiced().windows(2).all(|w| w[0] < w[1]));
    }
}

#[test]
fn after_a_stall_the_delay_is_back_within_five_seconds() {
    // 300 ms every 10 s, for ten minutes.
    let stall = |i: u32| match i64::from(i % 500) {
        since @ 485.. => (500 - since) * 20_000,
        _ => 0,
    };
    let out = Net::new(FrameLen::Ms20).frames(30_000).delay(stall).run();
    assert_eq!(out.voiced().len(), 30_000);
    for played in out.played.iter().filter(|p| (250..480).contains(&(p.time % 500))) {
        assert!(played.delay <= 40, "{} ms at {}", played.delay, played.time);
    }
}

#[test]
fn after_rough_seconds_the_delay_is_back_within_five_seconds() {
    // Up to 80 ms for 5 s of 20, for ten minutes; the rest of the time nothing to speak of.
    for len in [FrameLen::Ms10, FrameLen::Ms20] {
        let a_second = 1_000 / len.as_millis();
        let mut random = Random(11);
        let late: Vec<i64> = (0..20 * a_second * 30).map(|_| (random.next() % 80_000) as i64).collect();
        let rough = |i: u32| i % (20 * a_second) >= 15 * a_second;
        let delay = |i: u32| if rough(i) { late[i as usize] } else { 500 };
        let out = Net::new(len).frames(20 * a_second * 30).delay(delay).run();
        let mut raised = 0;
        for played in out.played.iter().skip(20 * a_second as usize) {
            match played.time % (20 * a_second) / a_second {
                5..15 => assert!(played.delay <= 40, "{len:?}: {} ms at {}", played.delay, played.time),
                19 => raised = raised.max(played.delay),
                _ => {}
            }
        }
        assert!(raised >= 60, "{len:?}: it was rough for nothing, {raised} ms");
    }
}

#[test]
fn frames_of_another_length_follow_without_a_hole() {
    let lens = [FrameLen::Ms20, FrameLen::Ms60, FrameLen::Ms40, FrameLen::Ms10, FrameLen::Ms20];
    let (mut jitter, mut at, mut now) = (Jitter::new(), 0, 0);
    let (mut voiced, mut other) = (0, 0);
    for len in lens {
        let end = at + 2_400;
        while at < end {
            let frame = u64::from(len.as_millis());
            jitter.push(ms(at + frame), heard((at / frame) as u32, len));
            at += frame;
            while now <= at {
                now += match jitter.pull(ms(now)) {
                    Frame::Voice { len, .. } => {
                        voiced += u64::from(len.as_millis());
                        u64::from(len.as_millis())
                    }
                    Frame::Conceal { samples, .. } | Frame::Recover { samples, .. } => {
                        other += 1;
                        samples as u64 / 48
                    }
                    Frame::Silence => 10,
                };
            }
        }
    }
    // Longer frames come later, so that the first of them is concealed for.
    assert!(voiced > 11_700 && other <= 6, "{voiced} ms, {other} pieces");
    assert_eq!(jitter.counts(), Counts::default());
}

#[test]
fn bursts_of_300_ms_do_not_wedge_the_buffer() {
    let out = Net::new(FrameLen::Ms20).frames(3000).lose(|i| i % 200 >= 185).run();
    let kept = (0..3000).filter(|i| i % 200 < 185).count();
    assert!(out.voiced().len() + 3 >= kept, "{} of {kept}", out.voiced().len());
    assert!(out.delay_at_end < 120);
    // 120 ms are concealed, the rest of each hole is silence.
    assert!(out.concealed <= 15 * 8, "{}", out.concealed);
}

#[test]
fn frames_that_were_only_late_are_all_heard() {
    // Wi-Fi holds everything back for 200 ms once, then delivers at once.
    let stall = |i: u32| if (300..310).contains(&i) { 200_000 - i64::from(i - 300) * 20_000 } else { 0 };
    let out = Net::new(FrameLen::Ms20).frames(1500).delay(stall).run();
    assert_eq!(out.voiced().len(), 1500);
    assert!(out.delay_at_end < 80, "the delay must shrink back, is {} ms", out.delay_at_end);
}

#[test]
fn the_delay_follows_the_jitter_up_and_down() {
    let mut random = Random(7);
    let rough: Vec<i64> = (0..1500).map(|_| (random.next() % 60_000) as i64).collect();
    let out = Net::new(FrameLen::Ms20)
        .frames(4500)
        .delay(|i| if (1000..2500).contains(&i) { rough[i as usize - 1000] } else { 1_000 })
        .run();
    let delay = |frame: u32| out.played.iter().find(|p| p.time == frame).unwrap().delay;
    assert!(delay(990) < 45, "{}", delay(990));
    assert!((50..110).contains(&delay(2000)), "{}", delay(2000));
    assert!(delay(4490) < 45, "{}", delay(4490));
    assert!(out.voiced().len() > 4450, "{}", out.voiced().len());
}

#[test]
fn drifting_clocks_stay_bounded_for_hours() {
    for ppm in [-200, 200] {
        let out = Net::new(FrameLen::Ms20).frames(3 * 3600 * 50).drift(ppm).run();
        let worst = out.played.iter().skip(1000).map(|p| p.delay).max().unwrap();
        assert!(worst < 70, "{ppm} ppm: {worst} ms");
        assert_eq!((out.voiced().len(), out.concealed), (3 * 3600 * 50, 0));
    }
}

#[test]
fn a_duplicate_is_played_once() {
    let mut jitter = Jitter::new();
    for _ in 0..3 {
        jitter.push(ms(0), heard(5, FrameLen::Ms20));
    }
    assert_eq!(jitter.counts().duplicates, 2);
    assert!(matches!(jitter.pull(ms(60)), Frame::Voice { .. }));
    jitter.push(ms(61), heard(5, FrameLen::Ms20));
    assert_eq!(jitter.counts(), Counts { duplicates: 3, ..Counts::default() });
}

#[test]
fn a_friend_who_starts_anew_is_heard_again() {
    let mut jitter = Jitter::new();
    for i in 0..500 {
        jitter.push(ms(i * 20), heard(100_000 + i as u32, FrameLen::Ms20));
        jitter.pull(ms(i * 20));
    }
    let mut voiced = 0;
    for i in 0..100 {
        let now = ms(12_000 + i * 20);
        jitter.push(now, heard(i as u32, FrameLen::Ms20));
        voiced += usize::from(matches!(jitter.pull(now), Frame::Voice { .. }));
    }
    assert!(voiced > 90, "{voiced}");
    assert_eq!(jitter.counts().resets, 1);
}

#[test]
fn a_restart_within_two_seconds_is_noticed_too() {
    let mut jitter = Jitter::new();
    for i in 0..60 {
        jitter.push(ms(i * 20), heard(i as u32, FrameLen::Ms20));
        jitter.pull(ms(i * 20));
    }
    let mut voiced = 0;
    for i in 0..50 {
        let now = ms(1_200 + i * 20);
        jitter.push(now, heard(i as u32, FrameLen::Ms20));
        voiced += usize::from(matches!(jitter.pull(now), Frame::Voice { .. }));
    }
    assert!(voiced > 20, "{voiced}");
}

#[test]
fn a_jump_ahead_or_a_new_frame_length_starts_anew() {
    let mut jitter = Jitter::new();
    for (start, len) in [(0, FrameLen::Ms20), (1 << 30, FrameLen::Ms20), (1 << 30, FrameLen::Ms10)] {
        let mut voiced = 0;
        for i in 0..100u64 {
            let now = ms(u64::from(start) / 1000 + i * u64::from(len.as_millis()));
            jitter.push(now, heard(start + i as u32, len));
            voiced += usize::from(matches!(jitter.pull(now), Frame::Voice { len: l, .. } if l == len));
        }
        assert!(voiced > 85, "{voiced}");
    }
}

#[test]
fn time_wraps_around_unheard() {
    let mut out = Net::new(FrameLen::Ms20).frames(400);
    out.first = u32::MAX - 200;
    let out = out.run();
    assert_eq!(out.voiced().len(), 400);
    assert_eq!((out.concealed, out.recovered, out.counts.resets), (0, 0, 0));
}

#[test]
fn a_friend_who_vanishes_fades_and_falls_silent() {
    let mut jitter = Jitter::new();
    for i in 0..50 {
        jitter.push(ms(i * 20), heard(i as u32, FrameLen::Ms20));
        jitter.pull(ms(i * 20));
    }
    let rest: Vec<_> = (50..80)
        .map(|i| match jitter.pull(ms(i * 20)) {
            Frame::Voice { .. } => 'v',
            Frame::Conceal { .. } => 'c',
            Frame::Silence => '-',
            Frame::Recover { .. } => 'r',
        })
        .collect();
    let concealed = rest.iter().filter(|c| **c == 'c').count();
    assert_eq!(concealed, 6);
    assert!(rest[10..].iter().all(|c| *c == '-'), "{rest:?}");
    assert!(jitter.is_quiet());
}

#[test]
fn pauses_between_spurts_are_silence_and_cost_nothing() {
    let mut jitter = Jitter::new();
    let (mut concealed, mut voiced) = (0, 0);
    for i in 0..1000u64 {
        let now = ms(i * 20);
        if i % 100 < 50 {
            jitter.push(now, Heard { last_of_talk: i % 100 == 49, ..heard(i as u32, FrameLen::Ms20) });
        }
        match jitter.pull(now) {
            Frame::Voice { .. } => voiced += 1,
            Frame::Conceal { .. } | Frame::Recover { .. } => concealed += 1,
            Frame::Silence => {}
        }
    }
    assert_eq!((voiced, concealed), (500, 0));
}

#[test]
fn who_mutes_in_the_middle_of_a_word_leaves_nothing_to_invent() {
    // Told before the last frames come, in time, and late; unmuted with the second word.
    for told_at in [17, 20, 22] {
        let mut jitter = Jitter::new();
        let (mut concealed, mut voiced) = (0, 0);
        for i in 0..100u64 {
            let now = ms(i * 20);
            if i < 20 || (50..70).contains(&i) {
                jitter.push(now, Heard { last_of_talk: i == 69, ..heard(i as u32, FrameLen::Ms20) });
            }
            if i == told_at || i == 51 {
                jitter.set_muted(i == told_at);
            }
            match jitter.pull(now) {
                Frame::Voice { .. } => voiced += 1,
                Frame::Conceal { .. } | Frame::Recover { .. } => concealed += 1,
                Frame::Silence => {}
            }
        }
        assert_eq!(voiced, 40, "{told_at}");
        // What was due before it was told had to be filled.
        assert!(concealed <= told_at.saturating_sub(19), "{told_at}: {concealed}");
    }
}

#[test]
fn what_the_gate_held_back_is_heard_whole_without_raising_the_delay_for_good() {
    // Three frames come at once at each start of a spurt, as after a pre-roll.
    let out = Net::new(FrameLen::Ms20)
        .frames(3000)
        .silent(|i| i % 150 >= 100)
        .delay(|i| 20_000 * i64::from(2 - (i % 150).min(2)))
        .run();
    assert_eq!(out.voiced().len(), 2000);
    assert_eq!(out.concealed, 0);
    assert!(out.played.last().unwrap().delay < 50, "{}", out.played.last().unwrap().delay);
}

#[test]
fn seconds_of_backlog_are_jumped_over() {
    let mut jitter = Jitter::new();
    for i in 0..50 {
        jitter.push(ms(i * 20), heard(i as u32, FrameLen::Ms20));
        jitter.pull(ms(i * 20));
    }
    for i in 50..130 {
        jitter.push(ms(2_600), heard(i as u32, FrameLen::Ms20));
    }
    let (mut now, mut last) = (2_600, 0);
    for i in 130..200u64 {
        jitter.push(ms(i * 20), heard(i as u32, FrameLen::Ms20));
        if let Frame::Voice { opus, .. } = jitter.pull(ms(now)) {
            last = u32::from_le_bytes(opus.try_into().unwrap());
        }
        now += 20;
    }
    assert!(u64::from(last) + 30 > now / 20, "played {last} at {now}");
    assert!(jitter.counts().skipped > 0);
}

#[test]
fn ten_ms_frames_are_pulled_by_a_player_that_wants_twenty() {
    let mut jitter = Jitter::new();
    let mut voiced = 0;
    for i in 0..500u64 {
        jitter.push(ms(i * 10), heard(i as u32, FrameLen::Ms10));
        if i % 2 == 1 {
            for half in 0..2 {
                voiced += usize::from(matches!(jitter.pull(ms(i * 10 + half * 10)), Frame::Voice { .. }));
            }
        }
    }
    assert!(voiced > 490, "{voiced}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_network_leaves_order_bounds_and_progress(
        seed in any::<u64>(),
        loss in 0u64..40,
        jitter_ms in 0u64..200,
        duplicates in 0u64..20,
        drift in -200i64..200,
        ten in any::<bool>(),
        first in prop_oneof![Just(0u32), Just(u32::MAX - 300), any::<u32>()],
    ) {
        let len = if ten { FrameLen::Ms10 } else { FrameLen::Ms20 };
        let mut random = Random(seed | 1);
        let plan: Vec<(bool, i64, bool)> = (0..1500)
            .map(|_| {
                let lost = random.next() % 100 < loss;
                let late = if jitter_ms == 0 { 0 } else { random.next() % (jitter_ms * 1000) };
                (lost, late as i64, random.next() % 100 < duplicates)
            })
            .collect();
        let mut net = Net::new(len)
            .frames(1500)
            .drift(drift)
            .lose(|i| plan[i as usize].0)
            .delay(|i| plan[i as usize].1)
            .twice(|i| plan[i as usize].2);
        net.first = first;
        let out = net.run();
        let voiced = out.voiced();
        prop_assert!(voiced.windows(2).all(|w| w[0] < w[1]), "out of order");
        prop_assert!(out.played.iter().all(|p| p.delay <= 560), "delay unbounded");
        let sent = plan.iter().filter(|p| !p.0).count();
        prop_assert!(voiced.len() * 100 > sent * 85, "{} of {}", voiced.len(), sent);
        prop_assert_eq!(out.counts.resets, 0);
    }

    #[test]
    fn nonsense_never_panics(events in proptest::collection::vec((any::<u32>(), 0u64..100_000_000, any::<bool>(), any::<bool>(), any::<bool>()), 1..300)) {
        let mut jitter = Jitter::new();
        for (time, now, ten, last_of_talk, pull) in events {
            let now = Duration::from_micros(now);
            let len = if ten { FrameLen::Ms10 } else { FrameLen::Ms20 };
            if pull {
                let _ = jitter.pull(now);
            } else {
                jitter.push(now, Heard { last_of_talk, ..heard(time, len) });
            }
        }
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn heard(time: u32, len: FrameLen) -> Heard {
    Heard { time, len, opus: time.to_le_bytes().to_vec(), last_of_talk: false }
}

/// A sender, a path and a player. Each frame says its number; what the player does takes as long as it sounds.
struct Net<'a> {
    len: FrameLen,
    frames: u32,
    first: u32,
    drift: i64,
    lose: Box<dyn Fn(u32) -> bool + 'a>,
    silent: Box<dyn Fn(u32) -> bool + 'a>,
    delay: Box<dyn Fn(u32) -> i64 + 'a>,
    twice: Box<dyn Fn(u32) -> bool + 'a>,
    /// Frames that each packet knows of the past.
    reach: u32,
    /// Frames after which each is in a packet again.
    again: Option<u32>,
}

struct Outcome {
    played: Vec<Played>,
    recovered: u32,
    concealed: u32,
    counts: Counts,
    delay_at_end: u64,
}

struct Played {
    time: u32,
    /// Milliseconds from its recording, without the constant part of the path.
    delay: u64,
}

impl<'a> Net<'a> {
    fn new(len: FrameLen) -> Net<'a> {
        Net {
            len,
            frames: 0,
            first: 0,
            drift: 0,
            lose: Box::new(|_| false),
            silent: Box::new(|_| false),
            delay: Box::new(|_| 0),
            twice: Box::new(|_| false),
            reach: 0,
            again: None,
        }
    }

    fn frames(mut self, frames: u32) -> Net<'a> {
        self.frames = frames;
        self
    }

    /// The sender's clock is so many ppm slow.
    fn drift(mut self, ppm: i64) -> Net<'a> {
        self.drift = ppm;
        self
    }

    fn lose(mut self, lose: impl Fn(u32) -> bool + 'a) -> Net<'a> {
        self.lose = Box::new(lose);
        self
    }

    /// Frames that the sender's gate swallows.
    fn silent(mut self, silent: impl Fn(u32) -> bool + 'a) -> Net<'a> {
        self.silent = Box::new(silent);
        self
    }

    /// Microseconds on top of the shortest way.
    fn delay(mut self, delay: impl Fn(u32) -> i64 + 'a) -> Net<'a> {
        self.delay = Box::new(delay);
        self
    }

    fn twice(mut self, twice: impl Fn(u32) -> bool + 'a) -> Net<'a> {
        self.twice = Box::new(twice);
        self
    }

    fn reach(mut self, frames: u32) -> Net<'a> {
        self.reach = frames;
        self
    }

    fn again(mut self, frames: u32) -> Net<'a> {
        self.again = Some(frames);
        self
    }

    fn sent_at(&self, i: u32) -> i64 {
        let frame = i64::from(self.len.as_millis()) * 1000;
        PATH + i64::from(i) * frame + i64::from(i) * frame * self.drift / 1_000_000
    }

    fn run(self) -> Outcome {
        let mut arrivals = Vec::new();
        for i in (0..self.frames).filter(|i| !(self.lose)(*i) && !(self.silent)(*i)) {
            let at = self.sent_at(i) + (self.delay)(i);
            let last_of_talk = !(self.silent)(i) && (self.silent)(i + 1);
            arrivals.push((at, i, last_of_talk));
            if (self.twice)(i) {
                arrivals.push((at + 3_000, i, last_of_talk));
            }
        }
        arrivals.sort();
        let mut jitter = Jitter::new();
        let mut out = Outcome {
            played: Vec::new(),
            recovered: 0,
            concealed: 0,
            counts: Counts::default(),
            delay_at_end: 0,
        };
        let (mut now, mut next) = (PATH, 0);
        let end = self.sent_at(self.frames) + 1_000_000;
        while now < end {
            while let Some((at, i, last_of_talk)) = arrivals.get(next).copied().filter(|a| a.0 <= now) {
                next += 1;
                let frame = heard(self.first.wrapping_add(i), self.len);
                let missing = jitter.push(Duration::from_micros(at as u64), Heard { last_of_talk, ..frame });
                jitter.could_bring_back(1..=missing.min(self.reach));
                if let Some(back) = self.again.filter(|back| *back <= i) {
                    let time = self.first.wrapping_add(i - back);
                    jitter.again(Duration::from_micros(at as u64), heard(time, self.len));
                    jitter.could_bring_back((0..missing).map(|_| back));
                }
            }
            let len = i64::from(self.len.as_millis()) * 1000;
            now += match jitter.pull(Duration::from_micros(now as u64)) {
                Frame::Voice { opus, fit, .. } => {
                    let time = u32::from_le_bytes(opus.try_into().unwrap()).wrapping_sub(self.first);
                    let delay = ((now - self.sent_at(time)) / 1000).max(0) as u64;
                    out.played.push(Played { time, delay });
                    len + match fit {
                        Fit::Keep => 0,
                        Fit::Shrink => -8_000,
                        Fit::Stretch => 8_000,
                    }
                }
                Frame::Recover { samples, .. } => {
                    out.recovered += 1;
                    samples as i64 * 1000 / 48
                }
                Frame::Conceal { samples, .. } => {
                    // What follows the last frame is the friend's end and not a loss.
                    out.concealed += u32::from(now < end - 1_000_000);
                    samples as i64 * 1000 / 48
                }
                Frame::Silence => 10_000,
            };
        }
        out.counts = jitter.counts();
        out.delay_at_end = out.played.last().map_or(0, |p| p.delay);
        out
    }
}

impl Outcome {
    fn voiced(&self) -> Vec<u32> {
        self.played.iter().map(|p| p.time).collect()
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
}

/// The shortest way, in microseconds.
const PATH: i64 = 30_000;
