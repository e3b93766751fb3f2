#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::crypto::ticket::Ticket;

const WALL: u32 = 1_000_000;
const ROOM: [u8; 8] = [7; 8];
const ID: [u8; 4] = [1, 2, 3, 4];

fn key() -> RelayKey {
    RelayKey::new(Secret::new([9; 32]))
}

fn forwarder() -> Forwarder {
    Forwarder::new(key(), ID, Limits::default(), [3; 32])
}

fn body(room: [u8; 8], slot: u8) -> TicketBody {
    TicketBody { relay: ID, room, slot, slots: 16, class: 0, not_after: WALL + 3_600, serial: [0; 8] }
}

fn ticket(room: [u8; 8], slot: u8) -> Ticket {
    key().mint(&body(room, slot))
}

fn addr(n: u8) -> Hop {
    at_ip([192, 0, 2, n], 4_000)
}

fn at_ip(ip: [u8; 4], port: u16) -> Hop {
    SocketAddr::from((ip, port)).into()
}

fn at(secs: u64) -> Time {
    Time::ZERO + Duration::from_secs(secs)
}

fn slot(n: u8) -> Slot {
    Slot::new(n).unwrap()
}

fn bind_packet(ticket: &Ticket, cookie: [u8; 16]) -> Vec<u8> {
    let mut bind = Bind { version: 1, body: ticket.body, nonce: [5; 8], cookie, mac: [0; 16] };
    bind.mac = mac16(ticket.kb.as_bytes(), &[&bind.authenticated()]);
    bind.packet()
}

fn cookie_for(f: &mut Forwarder, now: Time, from: Hop, ticket: &Ticket) -> [u8; 16] {
    let Verdict::Reply(reply) = f.handle(now, WALL, from, &bind_packet(ticket, [0; 16])) else {
        panic!("no RETRY")
    };
    let Ok(Packet::Retry { cookie, seen, .. }) = Packet::parse(&reply) else { panic!("no RETRY") };
    assert_eq!(seen, from.addr);
    cookie
}

fn try_bind(f: &mut Forwarder, now: Time, from: Hop, ticket: &Ticket) -> Result<u32, Reason> {
    let cookie = cookie_for(f, now, from, ticket);
    match f.handle(now, WALL, from, &bind_packet(ticket, cookie)) {
        Verdict::Reply(reply) => {
            let Ok(Packet::Bound(bound)) = Packet::parse(&reply) else { panic!("no BOUND") };
            assert_eq!(bound.mac, mac16(ticket.kb.as_bytes(), &[&bound.authenticated()]));
            assert_eq!(bound.seen, from.addr);
            Ok(bound.bind)
        }
        Verdict::Drop(reason) => Err(reason),
        Verdict::Forward { .. } => panic!("a BIND was forwarded"),
    }
}

fn bind(f: &mut Forwarder, now: Time, from: Hop, room: [u8; 8], slot: u8) -> u32 {
    try_bind(f, now, from, &ticket(room, slot)).unwrap()
}

fn data(bind: u32, to: u8, len: usize) -> Vec<u8> {
    packet::up(bind, slot(to), &vec![0xD2; len])
}

#[test]
fn two_bound_slots_hear_each_other_and_the_packet_is_as_drawn() {
    let mut f = forwarder();
    let a = bind(&mut f, at(0), addr(1), ROOM, 0);
    bind(&mut f, at(0), addr(2), ROOM, 3);
    let packet = data(a, 3, 100);
    let Verdict::Forward { to, header, inner } = f.handle(at(1), WALL, addr(1), &packet) else {
        panic!("not forwarded")
    };
    assert!(to == addr(2));
    let mut out = header.to_vec();
    out.extend_from_slice(&packet[inner]);
    assert_eq!(out, packet::down(slot(0), &[0xD2; 100]));
    assert_eq!(f.counters().forwarded_bytes, 102);
}

#[test]
fn nothing_crosses_from_one_room_to_another() {
    let mut f = forwarder();
    let a = bind(&mut f, at(0), addr(1), ROOM, 0);
    bind(&mut f, at(0), addr(2), [8; 8], 1);
    let verdict = f.handle(at(0), WALL, addr(1), &data(a, 1, 50));
    assert_eq!(verdict, Verdict::Drop(Reason::NobodyThere));
    let verdict = f.handle(at(0), WALL, addr(1), &data(a, 0, 50));
    assert_eq!(verdict, Verdict::Drop(Reason::NobodyThere), "nor back to the sender");
}

#[test]
fn nothing_is_remembered_of_a_sender_that_did_not_return_a_cookie() {
    let mut f = forwarder();
    cookie_for(&mut f, at(0), addr(1), &ticket(ROOM, 0));
    assert_eq!(f.bound(), 0);
    assert!(f.rooms.is_empty());
    let cookie = cookie_for(&mut f, at(0), addr(1), &ticket(ROOM, 0));
    let Verdict::Reply(reply) = f.handle(at(0), WALL, addr(2), &bind_packet(&ticket(ROOM, 0), cookie)) else {
        panic!("silent")
    };
    assert!(
        matches!(Packet::parse(&reply), Ok(Packet::Retry { .. })),
        "a cookie counts for one address only"
    );
}

#[test]
fn a_cookie_is_good_for_at_least_one_turn_and_at_most_two() {
    let mut f = forwarder();
    let ticket = ticket(ROOM, 0);
    let accepted = |f: &mut Forwarder, now, cookie| {
        let Verdict::Reply(reply) = f.handle(now, WALL, addr(1), &bind_packet(&ticket, cookie)) else {
            panic!("silent")
        };
        matches!(Packet::parse(&reply), Ok(Packet::Bound(_)))
    };
    let cookie = cookie_for(&mut f, at(1_000), addr(1), &ticket);
    assert!(accepted(&mut f, at(1_061), cookie));
    assert!(!accepted(&mut f, at(1_122), cookie));
    let cookie = cookie_for(&mut f, at(2_000), addr(1), &ticket);
    assert!(!accepted(&mut f, at(9_000), cookie));
}

#[test]
fn a_place_is_where_its_owner_was_heard_lately() {
    let mut f = forwarder();
    bind(&mut f, at(0), addr(1), ROOM, 3);
    let holder = |f: &Forwarder, secs, from| f.holder(at(secs), &ROOM, addr(from));
    assert_eq!([1, 2].map(|from| holder(&f, 19, from)), [Some(slot(3)), None]);
    assert_eq!(holder(&f, 20, 1), None);
    bind(&mut f, at(21), addr(2), ROOM, 3);
    assert_eq!([1, 2].map(|from| holder(&f, 22, from)), [Some(slot(3)); 2], "what is under way still counts");
    assert_eq!([1, 2].map(|from| holder(&f, 24, from)), [None, Some(slot(3))]);
    f.vacate(&ROOM, slot(3));
    assert_eq!(holder(&f, 24, 2), None);
}

#[test]
fn foreign_expired_and_impossible_tickets_are_refused_in_silence() {
    let mut f = forwarder();
    let good = body(ROOM, 0);
    for bad in [
        TicketBody { relay: [9; 4], ..good },
        TicketBody { not_after: WALL, ..good },
        TicketBody { slot: 16, slots: 17, ..good },
        TicketBody { class: 1, ..good },
    ] {
        let packet = bind_packet(&key().mint(&bad), [0; 16]);
        assert_eq!(f.handle(at(0), WALL, addr(1), &packet), Verdict::Drop(Reason::BadTicket));
    }
    let foreign = RelayKey::new(Secret::new([8; 32])).mint(&good);
    assert_eq!(try_bind(&mut f, at(0), addr(1), &foreign), Err(Reason::BadMac));
    let cookie = cookie_for(&mut f, at(0), addr(1), &ticket(ROOM, 0));
    let mut other_version = bind_packet(&ticket(ROOM, 0), cookie);
    other_version[1] = 2;
    assert_eq!(f.handle(at(0), WALL, addr(1), &other_version), Verdict::Drop(Reason::BadTicket));
    assert_eq!(f.bound(), 0);
}

#[test]
fn a_member_that_roams_is_reached_at_its_new_address_only() {
    let mut f = forwarder();
    let a = bind(&mut f, at(0), addr(1), ROOM, 0);
    let b = bind(&mut f, at(0), addr(2), ROOM, 1);
    let Verdict::Reply(reply) = f.handle(at(1), WALL, addr(9), &data(b, 0, 50)) else { panic!("silent") };
    assert_eq!(reply, packet::reset(b), "the old number does not work from a new address");
    let again = bind(&mut f, at(1), addr(9), ROOM, 1);
    assert_ne!(again, b);
    let Verdict::Forward { to, .. } = f.handle(at(1), WALL, addr(1), &data(a, 1, 50)) else {
        panic!("not forwarded")
    };
    assert!(to == addr(9));
    let under_way = f.handle(at(2), WALL, addr(2), &data(b, 0, 50));
    assert!(matches!(under_way, Verdict::Forward { .. }), "what it sent before it moved still arrives");
    assert_eq!(f.handle(at(3), WALL, addr(2), &data(b, 0, 50)), Verdict::Reply(packet::reset(b)));
    assert_eq!(f.bound(), 2);
}

#[test]
fn a_repeated_bind_gets_the_same_number() {
    let mut f = forwarder();
    assert_eq!(bind(&mut f, at(0), addr(1), ROOM, 0), bind(&mut f, at(1), addr(1), ROOM, 0));
}

#[test]
fn a_renewed_ticket_keeps_the_number_and_prolongs_the_place() {
    let mut f = forwarder();
    let number = bind(&mut f, at(0), addr(1), ROOM, 0);
    let later = key().mint(&TicketBody { not_after: WALL + 9_000, ..body(ROOM, 0) });
    assert_eq!(try_bind(&mut f, at(50), addr(1), &later), Ok(number));
    let keep = packet::keep(number, 1);
    for secs in (80..5_000).step_by(30) {
        assert_eq!(f.handle(at(secs), WALL, addr(1), &keep), Verdict::Reply(packet::kept(1, 1)));
    }
}

#[test]
fn a_new_owner_of_a_place_shares_nothing_with_the_one_before() {
    let mut f = forwarder();
    let old = bind(&mut f, at(0), addr(1), ROOM, 0);
    bind(&mut f, at(0), addr(2), ROOM, 1);
    let later = key().mint(&TicketBody { not_after: WALL + 4_000, ..body(ROOM, 0) });
    try_bind(&mut f, at(1), addr(3), &later).unwrap();
    assert_eq!(f.handle(at(1), WALL, addr(1), &data(old, 1, 50)), Verdict::Reply(packet::reset(old)));
}

#[test]
fn who_comes_by_tcp_has_proven_its_address_and_is_reached_the_same_way() {
    let mut f = forwarder();
    let a = bind(&mut f, at(0), addr(1), ROOM, 0);
    let tcp = Hop { socket: Socket::Tcp, ..addr(2) };
    let packet = bind_packet(&ticket(ROOM, 1), [0; 16]);
    let Verdict::Reply(reply) = f.handle(at(0), WALL, tcp, &packet) else { panic!("silent") };
    assert!(matches!(Packet::parse(&reply), Ok(Packet::Bound(_))));
    let Verdict::Forward { to, .. } = f.handle(at(0), WALL, addr(1), &data(a, 1, 50)) else {
        panic!("not forwarded")
    };
    assert!(to == tcp);
    let foreign = RelayKey::new(Secret::new([8; 32])).mint(&body(ROOM, 1));
    let refused = f.handle(at(0), WALL, tcp, &bind_packet(&foreign, [0; 16]));
    assert_eq!(refused, Verdict::Drop(Reason::BadMac));
}

#[test]
fn a_former_owner_cannot_take_its_place_back_with_an_earlier_ticket() {
    let mut f = forwarder();
    let later = key().mint(&TicketBody { not_after: WALL + 4_000, ..body(ROOM, 0) });
    try_bind(&mut f, at(0), addr(2), &later).unwrap();
    assert_eq!(try_bind(&mut f, at(0), addr(1), &ticket(ROOM, 0)), Err(Reason::OldTicket));
    assert!(try_bind(&mut f, at(60), addr(1), &ticket(ROOM, 0)).is_ok(), "once the place is free it may");
}

#[test]
fn a_place_dies_after_a_minute_of_silence_and_with_its_ticket() {
    let mut f = forwarder();
    let a = bind(&mut f, at(0), addr(1), ROOM, 0);
    let keep = packet::keep(a, 77);
    assert_eq!(f.handle(at(59), WALL, addr(1), &keep), Verdict::Reply(packet::kept(77, 1)));
    assert_eq!(f.handle(at(118), WALL, addr(1), &keep), Verdict::Reply(packet::kept(77, 1)));
    assert_eq!(f.handle(at(178), WALL, addr(1), &keep), Verdict::Reply(packet::reset(a)));
    assert_eq!(f.bound(), 1);
    assert_eq!(f.next_expiry(), Some(at(10)));
    f.expire(at(178));
    assert_eq!((f.bound(), f.next_expiry()), (0, None));

    let a = bind(&mut f, at(200), addr(1), ROOM, 0);
    let keep = packet::keep(a, 1);
    for secs in (230..3_800).step_by(30) {
        assert_eq!(f.handle(at(secs), WALL, addr(1), &keep), Verdict::Reply(packet::kept(1, 1)));
    }
    assert_eq!(f.handle(at(3_800), WALL, addr(1), &keep), Verdict::Reply(packet::reset(a)));
}

#[test]
fn after_a_restart_the_first_packet_is_answered_by_reset() {
    let mut f = forwarder();
    assert_eq!(f.handle(at(0), WALL, addr(1), &data(5, 1, 50)), Verdict::Reply(packet::reset(5)));
    assert_eq!(f.handle(at(0), WALL, addr(1), &packet::keep(6, 1)), Verdict::Reply(packet::reset(6)));
}

#[test]
fn resets_and_probes_are_rationed_by_neighbourhood_and_in_all() {
    let mut f = forwarder();
    let count = |f: &mut Forwarder, from: Hop, packet: &[u8]| {
        (0..5_000).filter(|_| f.handle(at(1), WALL, from, packet) != Verdict::Drop(Reason::Unbound)).count()
    };
    assert_eq!(count(&mut f, addr(1), &packet::keep(1, 1)), 32);
    assert_eq!(count(&mut f, addr(2), &packet::keep(1, 1)), 0, "the same /24");
    assert_eq!(count(&mut f, at_ip([198, 51, 100, 1], 1), &packet::keep(1, 1)), 32);
    let all: usize = (0..60u8).map(|n| count(&mut f, at_ip([10, 1, n, 1], 1), &packet::keep(1, 1))).sum();
    assert!(all <= 1_000 - 64, "{all}");
    let replies = (0..500)
        .filter(|_| matches!(f.handle(at(1), WALL, addr(1), &packet::probe([1; 8])), Verdict::Reply(_)));
    assert_eq!(replies.count(), 60);
    assert_eq!(f.counters().dropped(Reason::TooManyProbes), 440);
}

#[test]
fn a_slot_over_its_quota_is_dropped_and_others_are_not() {
    let mut f = forwarder();
    let a = bind(&mut f, at(0), addr(1), ROOM, 0);
    let b = bind(&mut f, at(0), addr(2), ROOM, 1);
    let sent = |f: &mut Forwarder, now, from, packet: &[u8], n: usize| {
        (0..n).filter(|_| matches!(f.handle(now, WALL, from, packet), Verdict::Forward { .. })).count()
    };
    assert_eq!(sent(&mut f, at(1), addr(1), &data(a, 1, 40), 5_000), 640);
    assert_eq!(sent(&mut f, at(2), addr(1), &data(a, 1, 1_194), 5_000), 65_536 / 1_200);
    assert_eq!(sent(&mut f, at(2), addr(2), &data(b, 0, 40), 10), 10);
    bind(&mut f, at(2), addr(3), ROOM, 0);
    let number = bind(&mut f, at(2), addr(3), ROOM, 0);
    assert!(sent(&mut f, at(2), addr(3), &data(number, 1, 1_194), 50) == 0, "moving does not refill");
}

#[test]
fn all_slots_together_stay_within_the_total() {
    let limits = Limits { total: Rate::per_second(1_000, 1_000), ..Limits::default() };
    let mut f = Forwarder::new(key(), ID, limits, [3; 32]);
    let a = bind(&mut f, at(0), addr(1), ROOM, 0);
    bind(&mut f, at(0), addr(2), ROOM, 1);
    let forwarded = (0..50)
        .filter(|_| matches!(f.handle(at(1), WALL, addr(1), &data(a, 1, 94)), Verdict::Forward { .. }));
    assert_eq!(forwarded.count(), 10);
    assert_eq!(f.counters().dropped(Reason::OverTotal), 40);
}

#[test]
fn the_table_of_rooms_is_bounded_and_frees_itself() {
    let limits = Limits { rooms: 2, ..Limits::default() };
    let mut f = Forwarder::new(key(), ID, limits, [3; 32]);
    bind(&mut f, at(0), addr(1), [1; 8], 0);
    bind(&mut f, at(0), addr(2), [2; 8], 0);
    assert_eq!(try_bind(&mut f, at(0), addr(3), &ticket([3; 8], 0)), Err(Reason::TooManyRooms));
    f.expire(at(60));
    assert!(try_bind(&mut f, at(60), addr(3), &ticket([3; 8], 0)).is_ok());
}

#[derive(Clone, Debug)]
enum Act {
    Garbage { from: u8, bytes: Vec<u8> },
    Bind { from: u8, room: u8, slot: u8, key: u8 },
    Data { from: u8, of: usize, to: u8, len: usize },
    Keep { from: u8, of: usize },
    Again { from: u8, of: usize, flip: usize, cut: usize },
    Wait { ms: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let from = 0u8..6;
    prop_oneof![
        1 => (from.clone(), prop::collection::vec(any::<u8>(), 0..130))
            .prop_map(|(from, bytes)| Act::Garbage { from, bytes }),
        3 => (from.clone(), 0u8..2, 0u8..4, 0u8..5)
            .prop_map(|(from, room, slot, key)| Act::Bind { from, room, slot, key }),
        4 => (from.clone(), any::<usize>(), 0u8..4, 1usize..1_300)
            .prop_map(|(from, of, to, len)| Act::Data { from, of, to, len }),
        1 => (from.clone(), any::<usize>()).prop_map(|(from, of)| Act::Keep { from, of }),
        4 => (from, any::<usize>(), any::<usize>(), 0usize..40)
            .prop_map(|(from, of, flip, cut)| Act::Again { from, of, flip, cut }),
        1 => (0u64..40_000).prop_map(|ms| Act::Wait { ms }),
    ]
}

#[derive(Default)]
struct World {
    /// Addresses that returned a cookie which was sent to them.
    proven: BTreeSet<Hop>,
    shown: BTreeSet<(Hop, [u8; 16])>,
    numbers: Vec<u32>,
    sent: Vec<Vec<u8>>,
    /// The last cookie that reached each address, by ticket.
    cookies: BTreeMap<(Hop, [u8; 32]), [u8; 16]>,
}

impl World {
    fn send(&mut self, f: &mut Forwarder, now: Time, from: Hop, bytes: Vec<u8>) {
        match f.handle(now, WALL, from, &bytes) {
            Verdict::Drop(_) => {}
            Verdict::Reply(reply) => {
                assert!(reply.len() <= bytes.len(), "an answer of {} to {}", reply.len(), bytes.len());
                match Packet::parse(&reply).unwrap() {
                    Packet::Bound(bound) => {
                        let Ok(Packet::Bind(bind)) = Packet::parse(&bytes) else {
                            panic!("BOUND to no BIND")
                        };
                        assert!(self.shown.contains(&(from, bind.cookie)), "bound without proof of address");
                        self.proven.insert(from);
                        self.numbers.push(bound.bind);
                    }
                    Packet::Retry { cookie, .. } => {
                        let Ok(Packet::Bind(bind)) = Packet::parse(&bytes) else {
                            panic!("RETRY to no BIND")
                        };
                        self.cookies.insert((from, bind.body), cookie);
                        self.shown.insert((from, cookie));
                    }
                    _ => {}
                }
            }
            Verdict::Forward { to, inner, .. } => {
                assert!(self.proven.contains(&to) && self.proven.contains(&from));
                assert!(inner.len() + 2 <= bytes.len());
            }
        }
        self.sent.push(bytes);
    }

    fn number(&self, of: usize) -> u32 {
        self.numbers.get(of % self.numbers.len().max(1)).copied().unwrap_or(1)
    }
}

proptest! {
    #[test]
    fn whatever_arrives_nothing_is_amplified_and_only_proven_addresses_are_sent_to(
        acts in prop::collection::vec(act(), 1..200)
    ) {
        let limits = Limits { rooms: 2, ..Limits::default() };
        let mut f = Forwarder::new(key(), ID, limits, [3; 32]);
        let (mut world, mut now) = (World::default(), Time::ZERO);
        for act in acts {
            let (from, bytes) = match act {
                Act::Wait { ms } => {
                    now = now + Duration::from_millis(ms);
                    if f.next_expiry().is_some_and(|at| at <= now) {
                        f.expire(now);
                    }
                    continue;
                }
                Act::Garbage { from, bytes } => (from, bytes),
                Act::Bind { from, room, slot, key } => {
                    // Key 4 is another relay's.
                    let mint = RelayKey::new(Secret::new([if key == 4 { 8 } else { 9 }; 32]));
                    let ticket = mint.mint(&body([room; 8], slot));
                    let cookie = world.cookies.get(&(addr(from), ticket.body)).copied().unwrap_or([0; 16]);
                    (from, bind_packet(&ticket, cookie))
                }
                Act::Data { from, of, to, len } => (from, data(world.number(of), to, len)),
                Act::Keep { from, of } => (from, packet::keep(world.number(of), 5)),
                Act::Again { from, of, flip, cut } => {
                    let mut bytes = world.sent.get(of % world.sent.len().max(1)).cloned().unwrap_or_default();
                    bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(20)));
                    let len = bytes.len();
                    if let Some(byte) = bytes.get_mut(flip % len.max(1)) {
                        *byte ^= 1 << (flip % 9).min(7);
                    }
                    (from, bytes)
                }
            };
            world.send(&mut f, now, addr(from), bytes);
            prop_assert!(f.rooms.len() <= 2);
            prop_assert_eq!(f.bound(), f.rooms.values().flat_map(|r| r.iter().flatten()).count());
        }
    }
}
