use rand_core::SeedableRng;

use super::*;
use crate::crypto::keys::Secret;
use crate::protocol::packet::Packet;

const KB: [u8; 32] = [2; 32];

fn udp() -> Hop {
    SocketAddr::from(([198, 51, 100, 1], 47_700)).into()
}

fn tcp(port: u16) -> Hop {
    Hop { socket: Socket::Tcp, addr: SocketAddr::from(([198, 51, 100, 1], port)) }
}

fn at(ms: u64) -> Time {
    Time::from_micros(ms * 1_000)
}

fn slot(n: u8) -> Slot {
    Slot::new(n).unwrap()
}

/// A binding, and what stands for the third party.
struct Scene {
    binding: Binding,
    rng: Rng,
    /// What was sent and closed, when.
    log: Vec<(u64, Hop, &'static str)>,
    /// The last BIND on each way.
    asked: Vec<(Hop, Bind)>,
}

impl Scene {
    fn new(ways: &[Hop]) -> Self {
        let mut rng = Rng::from_seed([1; 32]);
        let ticket = Ticket { body: [1; 32], kb: Secret::new(KB) };
        let binding = Binding::new(ways, ticket, false, Time::ZERO, &mut rng);
        Self { binding, rng, log: Vec::new(), asked: Vec::new() }
    }

    /// Runs all timers from one time to another; `answers`: which ways lead there.
    fn run(&mut self, from: u64, to: u64, answers: impl Fn(Hop) -> bool) {
        for ms in from..to {
            for errand in self.binding.tick(at(ms), &mut self.rng) {
                match errand {
                    Errand::Close(hop) => self.log.push((ms, hop, "close")),
                    Errand::Send(hop, bytes) => self.sent(ms, hop, &bytes, answers(hop)),
                }
            }
        }
    }

    fn sent(&mut self, ms: u64, hop: Hop, bytes: &[u8], answered: bool) {
        match Packet::parse(bytes).unwrap() {
            Packet::Bind(bind) => {
                self.log.push((ms, hop, "bind"));
                self.asked.retain(|(way, _)| *way != hop);
                self.asked.push((hop, bind));
                if answered {
                    self.grant(ms, hop, 7);
                }
            }
            Packet::Keep { echo, .. } => {
                self.log.push((ms, hop, "keep"));
                if answered {
                    assert_eq!(self.binding.kept(at(ms), hop, echo), News::Nothing);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn grant(&mut self, ms: u64, hop: Hop, bind: u32) -> News {
        let (_, asked) = self.asked.iter().find(|(way, _)| *way == hop).unwrap();
        let seen = SocketAddr::from(([192, 0, 2, 1], 5_000));
        let mut bound = Bound { nonce: asked.nonce, bind, slot: slot(3), ttl: 60, seen, mac: [0; 16] };
        bound.mac = mac16(&KB, &[&bound.authenticated()]);
        self.binding.bound(at(ms), hop, &bound)
    }

    fn times(&self, hop: Hop, what: &str) -> Vec<u64> {
        let wanted = |(_, way, did): &&(u64, Hop, &str)| *way == hop && *did == what;
        self.log.iter().filter(wanted).map(|(ms, ..)| *ms).collect()
    }
}

#[test]
fn only_an_authentic_answer_to_our_nonce_binds() {
    let mut s = Scene::new(&[udp()]);
    s.run(0, 1, |_| false);
    let first = s.asked[0].1;
    assert_eq!(s.binding.retry(at(0), udp(), [0; 8], [9; 16]), News::Unexpected);
    assert_eq!(s.binding.retry(at(0), tcp(1), first.nonce, [9; 16]), News::Unexpected);
    assert_eq!(s.binding.retry(at(0), udp(), first.nonce, [9; 16]), News::Nothing);
    s.run(0, 1, |_| false);
    let second = s.asked[0].1;
    assert_eq!(second.cookie, [9; 16]);

    let seen = SocketAddr::from(([192, 0, 2, 1], 5_000));
    let forged = Bound { nonce: second.nonce, bind: 77, slot: slot(3), ttl: 60, seen, mac: [0; 16] };
    assert_eq!(s.binding.bound(at(0), udp(), &forged), News::Unexpected);
    assert_eq!(s.grant(0, udp(), 77), News::Bound { seen, before: None });
    assert!(s.binding.wrap(at(0), slot(3), &[0xD2]).is_some());
    assert_eq!(s.grant(0, udp(), 78), News::Nothing, "an answer counts once");
}

#[test]
fn a_nonce_names_the_way_that_it_was_sent_by() {
    let mut s = Scene::new(&[udp()]);
    s.run(0, 1, |_| false);
    let first = s.asked[0].1.nonce;
    assert_eq!((s.binding.asked_by(first), s.binding.asked_by([0; 8])), (Some(udp()), None));
    s.grant(0, udp(), 7);
    assert_eq!(s.binding.asked_by(first), Some(udp()), "what is answered twice");
    s.binding.renew(Ticket { body: [1; 32], kb: Secret::new(KB) }, at(1), &mut s.rng);
    s.run(1, 2, |_| false);
    s.grant(2, udp(), 7);
    assert_eq!(s.binding.asked_by(first), None);
}

#[test]
fn tcp_is_tried_a_second_later_and_port_443_half_a_second_after_that() {
    let mut s = Scene::new(&[udp(), tcp(47_700), tcp(443)]);
    s.run(0, 3_000, |_| false);
    assert_eq!(s.times(udp(), "bind")[..3], [0, 50, 100]);
    assert_eq!(s.times(tcp(47_700), "bind")[0], 1_000);
    assert_eq!(s.times(tcp(443), "bind")[0], 1_500);
    s.run(3_000, 60_000, |_| false);
    assert_eq!(s.times(tcp(443), "close").len(), 1, "and given up for a while where nobody listens");
}

#[test]
fn where_udp_is_silent_elsewhere_tcp_does_not_wait_and_a_way_that_fails_gives_its_turn_to_the_next() {
    let ways = [udp(), tcp(1), tcp(2), tcp(3)];
    let mut s = Scene::new(&ways);
    s.run(0, 100, |_| false);
    assert!(s.binding.waits() && s.times(tcp(1), "bind").is_empty());
    for ms in 100..200 {
        s.binding.hurry(at(ms));
        s.run(ms, ms + 1, |_| false);
    }
    assert!(!s.binding.waits());
    s.binding.closed(at(200), tcp(1), &mut s.rng);
    s.run(200, 1_000, |_| false);
    assert_eq!(ways[1..].iter().map(|way| s.times(*way, "bind")[0]).collect::<Vec<_>>(), [100, 200, 700]);
    s.run(1_000, 31_000, |hop| hop == tcp(1));
    assert!(s.times(tcp(1), "bind")[1] >= 30_000, "refused: not at once again");
}

#[test]
fn where_udp_answers_tcp_is_never_tried() {
    let mut s = Scene::new(&[udp(), tcp(47_700)]);
    s.run(0, 60_000, |hop| hop == udp());
    assert!(s.times(tcp(47_700), "bind").is_empty() && s.times(tcp(47_700), "close").is_empty());
    assert!(s.binding.hop() == Some(udp()));
}

#[test]
fn tcp_is_left_when_udp_works() {
    let mut s = Scene::new(&[udp(), tcp(47_700)]);
    s.run(0, 30_000, |hop| hop == tcp(47_700));
    assert!(s.binding.hop() == Some(tcp(47_700)));
    assert!(s.times(udp(), "bind").len() < 10, "asked on, but seldom");
    let later = s.times(udp(), "bind").into_iter().filter(|ms| *ms > 2_000);
    assert!((2..=3).contains(&later.count()), "asked on, but seldom");
    s.run(30_000, 45_000, |_| true);
    assert!(s.binding.hop() == Some(udp()));
    assert_eq!(s.times(tcp(47_700), "close").len(), 1);
    let before = s.times(tcp(47_700), "bind").len();
    s.run(45_000, 60_000, |_| true);
    assert_eq!(s.times(tcp(47_700), "bind").len(), before);
}

#[test]
fn a_place_that_a_late_bind_by_tcp_moved_is_taken_back_before_the_connection_closes() {
    let mut s = Scene::new(&[udp(), tcp(47_700)]);
    s.run(0, 1_010, |_| false);
    assert!(matches!(s.grant(1_010, udp(), 7), News::Bound { .. }));
    let binds = s.times(udp(), "bind").len();
    assert_eq!(s.grant(1_500, tcp(47_700), 8), News::Nothing);
    s.run(1_500, 1_510, |_| false);
    assert_eq!(s.times(udp(), "bind").len(), binds + 1);
    assert!(matches!(s.grant(1_600, udp(), 9), News::Bound { .. }));
    assert!(s.binding.hop() == Some(udp()));
    s.run(1_600, 4_000, |hop| hop == udp());
    assert_eq!(s.times(tcp(47_700), "close"), [2_500]);
    assert_eq!(s.grant(4_000, tcp(47_700), 10), News::Unexpected);
}

#[test]
fn a_keep_that_is_lost_opens_no_connection() {
    let mut s = Scene::new(&[udp(), tcp(47_700)]);
    s.run(0, 4_000, |hop| hop == udp());
    s.run(4_000, 5_005, |_| false);
    s.run(5_005, 9_000, |hop| hop == udp());
    assert!(s.times(tcp(47_700), "bind").is_empty());
}

#[test]
fn udp_that_falls_silent_under_traffic_is_replaced_within_a_second_and_a_half() {
    let mut s = Scene::new(&[udp(), tcp(47_700)]);
    s.run(0, 3_000, |hop| hop == udp());
    let mut replaced = None;
    for ms in (3_000..8_000).step_by(20) {
        s.binding.wrap(at(ms), slot(1), &[0xD2]);
        s.run(ms, ms + 20, |hop| hop == tcp(47_700));
        replaced = replaced.or((s.binding.hop() == Some(tcp(47_700))).then_some(ms));
    }
    assert!(replaced.is_some_and(|ms| ms <= 4_500), "{replaced:?}");
}

#[test]
fn what_we_have_is_used_until_something_else_is_granted() {
    let mut s = Scene::new(&[udp()]);
    s.run(0, 10, |_| true);
    let seen = SocketAddr::from(([192, 0, 2, 1], 5_000));
    s.binding.restart(at(10), &mut s.rng);
    s.run(10, 20, |_| false);
    assert!(s.binding.wrap(at(20), slot(1), &[0xD2]).is_some(), "our network changed");
    s.grant(20, udp(), 7);
    assert_eq!(s.binding.reset(at(30), udp(), 8, &mut s.rng), News::Unexpected);
    assert_eq!(s.binding.reset(at(30), udp(), 7, &mut s.rng), News::Nothing);
    s.run(30, 40, |_| false);
    assert!(s.binding.wrap(at(40), slot(1), &[0xD2]).is_some(), "a forger said that it was forgotten");
    assert_eq!(s.grant(40, udp(), 9), News::Bound { seen, before: Some(udp()) });
    s.binding.renew(Ticket { body: [3; 32], kb: Secret::new(KB) }, at(50), &mut s.rng);
    s.run(50, 60, |_| false);
    assert_eq!(s.asked[0].1.body, [3; 32]);
    assert_eq!(s.grant(60, udp(), 9), News::Prolonged);
}

#[test]
fn another_way_replaces_the_one_before_only_when_it_is_granted() {
    let other = Hop::from(SocketAddr::from(([198, 51, 100, 2], 4_000)));
    let mut s = Scene::new(&[udp()]);
    s.run(0, 10, |_| true);
    s.binding.lead(&[other], at(10), &mut s.rng);
    s.run(10, 5_000, |hop| hop == udp());
    assert!(s.binding.hop() == Some(udp()));
    s.run(5_000, 20_000, |hop| hop == other);
    assert!(s.binding.hop() == Some(other) && !s.binding.is_at(udp()));
}

#[test]
fn a_connection_that_ends_is_made_again_after_a_while() {
    let mut s = Scene::new(&[tcp(47_700)]);
    s.run(0, 2_000, |_| true);
    assert!(s.binding.hop().is_some());
    s.binding.closed(at(2_000), tcp(47_700), &mut s.rng);
    assert!(s.binding.hop().is_none());
    s.run(2_000, 4_000, |_| true);
    assert!(s.binding.hop().is_some());
    s.binding.closed(at(4_000), tcp(47_700), &mut s.rng);
    s.run(4_000, 5_010, |_| false);
    s.binding.closed(at(5_010), tcp(47_700), &mut s.rng);
    let before = s.log.len();
    s.run(5_010, 30_000, |_| false);
    assert_eq!(s.log.len(), before, "refused: not at once again");
}

#[test]
fn a_connection_that_died_in_silence_is_made_again() {
    let mut s = Scene::new(&[tcp(47_700)]);
    s.run(0, 3_000, |_| true);
    s.binding.restart(at(3_000), &mut s.rng);
    s.run(3_000, 7_000, |_| false);
    assert_eq!(s.times(tcp(47_700), "close").len(), 1);
    assert!(s.times(tcp(47_700), "bind").len() > 1, "{:?}", s.log);
    s.run(7_000, 20_000, |_| true);
    assert!(s.binding.hop() == Some(tcp(47_700)));
}
