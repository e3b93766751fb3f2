#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use vc_core::crypto::keys::StaticKey;
use vc_core::crypto::ticket::RelayKey;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::member::MemberId;
use vc_core::protocol::signal::ToServer;

use super::*;
use crate::seats::VISITOR_BYTES;

mod eviction;
mod whatever;

const WALL: u32 = 1_700_000_000;
const HELLO: ToServer = ToServer::Hello { version: VERSION };

const WARDEN: PublicKey = PublicKey([3; 32]);
const ID: MemberId = MemberId([4; 8]);

/// A server and all that it ever said, by connection.
struct World {
    rooms: Rooms,
    now: Time,
    said: BTreeMap<ConnId, Vec<ToClient>>,
    closed: BTreeSet<ConnId>,
    lives: u8,
}

impl World {
    fn new() -> Self {
        let (said, closed) = (BTreeMap::new(), BTreeSet::new());
        Self { rooms: server(0), now: Time::ZERO, said, closed, lives: 0 }
    }

    fn tell(&mut self, input: Input<'_>) {
        let wall = WALL + (self.now - Time::ZERO).as_secs() as u32;
        self.rooms.handle(self.now, wall, input);
        while let Some(output) = self.rooms.poll() {
            match output {
                Output::Say { conn, message } => {
                    assert!(!self.closed.contains(&conn), "said after closing");
                    self.said.entry(conn).or_default().push(message);
                }
                Output::Close { conn } => assert!(self.closed.insert(conn), "closed twice"),
            }
        }
    }

    fn open(&mut self, conn: ConnId) {
        // A household each, unless a test wants otherwise.
        self.tell(Input::Opened { conn, from: IpAddr::from([198, 51, (conn >> 8) as u8, conn as u8]) });
    }

    fn say(&mut self, conn: ConnId, message: ToServer) {
        self.tell(Input::Frame { conn, bytes: &message.encode() });
    }

    fn greeted(&mut self, conn: ConnId) {
        self.open(conn);
        self.say(conn, HELLO);
        assert!(matches!(self.heard(conn)[..], [ToClient::Hello { version: VERSION, .. }]));
    }

    fn heard(&mut self, conn: ConnId) -> Vec<ToClient> {
        self.said.remove(&conn).unwrap_or_default()
    }

    fn pass(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now = self.now + Duration::from_secs(1);
            self.tell(Input::Tick);
        }
    }

    fn create(&mut self, conn: ConnId, form: Form) -> (Nonce, Nameplate, Reclaim) {
        self.create_with(conn, form, WARDEN)
    }

    fn create_with(&mut self, conn: ConnId, form: Form, warden: PublicKey) -> (Nonce, Nameplate, Reclaim) {
        self.greeted(conn);
        self.say(conn, ToServer::Create { form, warden });
        match &self.heard(conn)[..] {
            [
                ToClient::Created { room_nonce, nameplate },
                ToClient::Seat { proof, .. },
                ToClient::Tickets { .. },
                ToClient::Present { slots: 1 },
            ] => (*room_nonce, *nameplate, *proof),
            _ => panic!("no room"),
        }
    }

    fn join(&mut self, conn: ConnId, nameplate: Nameplate) -> Result<(u32, Slot), Refusal> {
        self.say(conn, ToServer::Join { nameplate });
        match self.heard(conn)[..] {
            [ToClient::Joined { visitor, door, .. }] => Ok((visitor, door)),
            [ToClient::Refused(refusal)] => Err(refusal),
            _ => panic!("neither in nor out"),
        }
    }

    /// The whole way in, by the door of connection `door`.
    fn enter(&mut self, conn: ConnId, door: ConnId, nameplate: Nameplate) -> (Slot, Reclaim) {
        self.enter_as(conn, door, nameplate, ID)
    }

    fn enter_as(
        &mut self,
        conn: ConnId,
        door: ConnId,
        nameplate: Nameplate,
        id: MemberId,
    ) -> (Slot, Reclaim) {
        self.greeted(conn);
        let (visitor, _) = self.join(conn, nameplate).unwrap();
        self.say(door, ToServer::Admit { visitor, taken: 0, id });
        let seat = self.heard(conn).into_iter().find_map(|m| match m {
            ToClient::Seat { slot, proof } => Some((slot, proof)),
            _ => None,
        });
        self.heard(door);
        seat.unwrap()
    }

    fn restart(&mut self) {
        self.lives += 1;
        self.rooms = server(self.lives);
        self.said.clear();
    }

    fn reclaim(&mut self, conn: ConnId, proof: Reclaim) -> Vec<ToClient> {
        self.greeted(conn);
        self.say(conn, ToServer::Reclaim { proof });
        self.heard(conn)
    }
}

fn server(seed: u8) -> Rooms {
    let relay = |n: u8| RelayInfo {
        addr: SocketAddr::from(([192, 0, 2, n], 47_700)),
        id: [n; 4],
        key: RelayKey::new(Secret::new([n; 32])),
    };
    Rooms::new(Config {
        key: StaticKey::from_bytes([1; 32]),
        relays: (1..9).map(relay).collect(),
        probes: vec![SocketAddr::from(([0; 4], 47_700)); 4],
        limits: Limits { connections: 300, rooms: 40, ..Limits::default() },
        seed: [seed; 32],
    })
}

fn slot(n: u8) -> Slot {
    Slot::new(n).unwrap()
}

fn refused(messages: &[ToClient]) -> Option<Refusal> {
    match messages {
        [.., ToClient::Refused(refusal)] => Some(*refusal),
        _ => None,
    }
}

fn proof_in(messages: &[ToClient]) -> Option<Reclaim> {
    messages.iter().find_map(|m| match m {
        ToClient::Seat { proof, .. } => Some(*proof),
        _ => None,
    })
}

#[test]
fn a_joiner_is_led_to_the_door_and_seated_in_the_promised_order() {
    let mut w = World::new();
    let (nonce, nameplate, _) = w.create(1, Form::Spoken);
    w.greeted(2);
    w.say(2, ToServer::Join { nameplate });
    let [ToClient::Joined { room_nonce, visitor, door }] = w.heard(2)[..] else { panic!() };
    assert!(room_nonce == nonce && door == slot(0));
    assert!(w.heard(1) == [ToClient::Visitor { visitor, nameplate }]);
    w.say(2, ToServer::Mail { to: Party::Slot(door), blob: vec![1] });
    assert!(w.heard(1) == [ToClient::Mail { from: Party::Visitor(visitor), blob: vec![1] }]);
    w.say(1, ToServer::Mail { to: Party::Visitor(visitor), blob: vec![2] });
    w.say(1, ToServer::Admit { visitor, taken: 0, id: ID });
    assert!(matches!(
        &w.heard(2)[..],
        [
            ToClient::Mail { from: Party::Slot(_), blob },
            ToClient::Seat { slot: s, .. },
            ToClient::Tickets { .. },
            ToClient::Present { slots: 3 },
        ] if blob == &[2] && *s == slot(1)
    ));
    assert!(w.heard(1) == [ToClient::Admitted { visitor, slot: slot(1) }, ToClient::Present { slots: 3 }]);
}

#[test]
fn refusals_say_why_and_leave_the_connection_open() {
    let mut w = World::new();
    w.greeted(1);
    assert_eq!(w.join(1, Nameplate::Spoken(12345)), Err(Refusal::NoSuchRoom));
    let (_, nameplate, _) = w.create(2, Form::Link);
    w.tell(Input::Closed { conn: 2 });
    assert_eq!(w.join(1, nameplate), Err(Refusal::NobodyHome));
    w.say(1, ToServer::Reclaim { proof: [7; 91] });
    assert_eq!(refused(&w.heard(1)), Some(Refusal::BadProof));
    w.say(1, ToServer::Ping);
    assert!(w.heard(1) == [ToClient::Pong]);
}

#[test]
fn a_room_takes_sixteen_and_a_door_sixteen_visitors() {
    let mut w = World::new();
    let (_, nameplate, _) = w.create(0, Form::Link);
    for conn in 1..16 {
        assert!(w.enter(conn, 0, nameplate).0 == slot(conn as u8));
    }
    w.greeted(16);
    assert_eq!(w.join(16, nameplate), Err(Refusal::Full));
    w.say(5, ToServer::Leave);
    assert_eq!(w.join(16, nameplate).map(|_| ()), Ok(()));
    for conn in 17..32 {
        w.greeted(conn);
        assert!(w.join(conn, nameplate).is_ok());
    }
    w.greeted(32);
    assert_eq!(w.join(32, nameplate), Err(Refusal::TooFast));
}

#[test]
fn a_visitor_writes_to_its_door_only_and_not_too_much() {
    let mut w = World::new();
    let (_, nameplate, _) = w.create(1, Form::Spoken);
    w.enter(2, 1, nameplate);
    w.greeted(3);
    let (visitor, door) = w.join(3, nameplate).unwrap();
    w.heard(1);
    w.say(2, ToServer::Mail { to: Party::Visitor(visitor), blob: vec![1] });
    w.say(2, ToServer::Admit { visitor, taken: 0, id: ID });
    assert!(w.heard(3).is_empty(), "only the door writes to a visitor, and admits it");
    for _ in 0..2 {
        w.say(3, ToServer::Mail { to: Party::Slot(door), blob: vec![1; VISITOR_BYTES / 2] });
    }
    assert_eq!(w.heard(1).len(), 2);
    w.say(3, ToServer::Mail { to: Party::Slot(door), blob: vec![1] });
    assert_eq!(refused(&w.heard(3)), Some(Refusal::TooFast));
    assert!(w.closed.contains(&3) && w.heard(1).is_empty());
    w.greeted(4);
    w.join(4, nameplate).unwrap();
    w.say(4, ToServer::Mail { to: Party::Slot(slot(1)), blob: vec![1] });
    assert!(w.closed.contains(&4) && !w.heard(2).iter().any(|m| matches!(m, ToClient::Mail { .. })));
}

#[test]
fn a_visitor_is_told_when_its_only_door_is_gone_and_dropped_when_it_waits_too_long() {
    let mut w = World::new();
    let (_, nameplate, _) = w.create(1, Form::Spoken);
    for conn in [3, 4] {
        w.greeted(conn);
        w.join(conn, nameplate).unwrap();
    }
    w.tell(Input::Closed { conn: 1 });
    for conn in [3, 4] {
        assert_eq!(refused(&w.heard(conn)), Some(Refusal::NobodyHome));
        assert!(w.closed.contains(&conn));
    }
    let (_, nameplate, _) = w.create(2, Form::Spoken);
    w.greeted(5);
    let (visitor, _) = w.join(5, nameplate).unwrap();
    w.pass(20);
    assert!(w.closed.contains(&5));
    w.say(2, ToServer::Admit { visitor, taken: 0, id: ID });
    w.say(2, ToServer::Ping);
    assert!(matches!(w.heard(2)[..], [.., ToClient::Pong]), "a late ADMIT harms nobody");
}

#[test]
fn a_visitor_is_shown_to_the_next_door_when_one_is_silent_or_gone() {
    let mut w = World::new();
    let (room_nonce, nameplate, _) = w.create(1, Form::Spoken);
    w.enter(2, 1, nameplate);
    w.enter(3, 1, nameplate);
    w.greeted(4);
    let (visitor, _) = w.join(4, nameplate).unwrap();
    w.pass(4);
    assert!(w.heard(4).is_empty(), "nobody owes an answer to one who says nothing");
    w.say(4, ToServer::Mail { to: Party::Slot(slot(0)), blob: vec![1] });
    for conn in [1, 2, 3] {
        w.heard(conn);
    }
    w.pass(2);
    assert!(w.heard(4).is_empty() && w.heard(2).is_empty(), "it may still answer");
    w.pass(1);
    assert!(w.heard(4) == [ToClient::Joined { room_nonce, visitor, door: slot(1) }]);
    assert!(w.heard(2) == [ToClient::Visitor { visitor, nameplate }]);
    w.say(4, ToServer::Mail { to: Party::Slot(slot(0)), blob: vec![1] });
    assert!(!w.closed.contains(&4) && w.heard(1).is_empty(), "written before it knew");
    w.say(1, ToServer::Mail { to: Party::Visitor(visitor), blob: vec![1] });
    w.say(1, ToServer::Admit { visitor, taken: 0, id: ID });
    assert!(w.heard(4).is_empty(), "the first door's turn is over");
    w.tell(Input::Closed { conn: 2 });
    assert!(w.heard(4) == [ToClient::Joined { room_nonce, visitor, door: slot(2) }]);
    w.say(3, ToServer::Mail { to: Party::Visitor(visitor), blob: vec![2] });
    w.pass(10);
    assert!(matches!(w.heard(4)[..], [ToClient::Mail { .. }]), "it has answered, so it may take its time");
}

#[test]
fn what_a_visitor_is_owed_arrives_however_much_its_doorkeeper_writes_to_others() {
    let mut w = World::new();
    let (_, nameplate, _) = w.create(1, Form::Spoken);
    w.enter(2, 1, nameplate);
    for _ in 0..200 {
        w.say(1, ToServer::Mail { to: Party::Slot(slot(1)), blob: vec![1] });
    }
    assert!(w.heard(2).len() < 200, "mail among members is limited");
    w.greeted(3);
    let (visitor, _) = w.join(3, nameplate).unwrap();
    for letter in [vec![2], vec![3], vec![4]] {
        w.say(1, ToServer::Mail { to: Party::Visitor(visitor), blob: letter });
    }
    let from = Party::Slot(slot(0));
    let owed = [2, 3].map(|letter| ToClient::Mail { from, blob: vec![letter] });
    assert!(w.heard(3) == owed, "what is more counts as any mail");
}

#[test]
fn a_visitor_in_the_middle_of_its_proof_is_shown_to_no_other_door() {
    let mut w = World::new();
    let (_, nameplate, _) = w.create(1, Form::Spoken);
    w.enter(2, 1, nameplate);
    w.greeted(3);
    let (visitor, _) = w.join(3, nameplate).unwrap();
    w.say(1, ToServer::Mail { to: Party::Visitor(visitor), blob: vec![1] });
    w.heard(3);
    w.tell(Input::Closed { conn: 1 });
    assert_eq!(refused(&w.heard(3)), Some(Refusal::NobodyHome));
}

#[test]
fn a_connection_must_greet_in_time_and_keep_saying_something() {
    let mut w = World::new();
    w.open(1);
    w.greeted(2);
    w.pass(4);
    assert!(w.closed.is_empty());
    w.pass(1);
    assert!(w.closed.contains(&1));
    w.pass(60);
    w.say(2, ToServer::Ping);
    w.pass(74);
    assert!(!w.closed.contains(&2));
    w.pass(1);
    assert!(w.closed.contains(&2));
}

#[test]
fn garbage_and_messages_out_of_turn_end_the_connection() {
    let mut w = World::new();
    w.open(1);
    w.say(1, ToServer::Ping);
    assert_eq!(refused(&w.heard(1)), Some(Refusal::OutOfTurn));
    assert!(w.closed.contains(&1));
    w.greeted(2);
    w.tell(Input::Frame { conn: 2, bytes: &[0xff; 40] });
    assert!(w.closed.contains(&2));
    w.open(3);
    w.say(3, ToServer::Hello { version: 9 });
    assert_eq!(refused(&w.heard(3)), Some(Refusal::Version));
    assert!(w.closed.contains(&3));
    w.say(3, HELLO);
    assert!(w.heard(3).is_empty());
    w.greeted(4);
    for _ in 0..400 {
        w.say(4, ToServer::Ping);
    }
    assert_eq!(refused(&w.heard(4)), Some(Refusal::TooFast));
    assert!(w.closed.contains(&4));
}

#[test]
fn a_room_outlives_its_last_connection_by_ten_minutes_and_its_number_rests_as_long() {
    let mut w = World::new();
    let (_, nameplate, proof) = w.create(1, Form::Spoken);
    w.tell(Input::Closed { conn: 1 });
    w.pass(599);
    assert_eq!(w.rooms.rooms(), 1);
    w.pass(1);
    assert_eq!(w.rooms.rooms(), 0);
    w.greeted(2);
    assert_eq!(w.join(2, nameplate), Err(Refusal::NoSuchRoom));
    assert!(proof_in(&w.reclaim(3, proof)).is_some(), "until its proof expires a member may bring it back");
    assert!(w.join(2, nameplate).is_ok());
    w.say(3, ToServer::Leave);
    assert_eq!(w.rooms.rooms(), 1, "others may hold proofs, too");
    w.pass(1_300);
    assert!(w.rooms.next_tick().is_none() && w.rooms.connections() == 0);
}

#[test]
fn the_last_leave_ends_a_room_at_once() {
    let mut w = World::new();
    let (_, nameplate, _) = w.create(1, Form::Spoken);
    w.enter(2, 1, nameplate);
    w.say(1, ToServer::Leave);
    assert!(matches!(w.heard(2)[..], [.., ToClient::Present { slots: 2 }]));
    w.say(2, ToServer::Leave);
    assert_eq!(w.rooms.rooms(), 0);
    w.greeted(3);
    assert_eq!(w.join(3, nameplate), Err(Refusal::NoSuchRoom));
}

#[test]
fn a_member_returns_to_its_slot_and_the_old_connection_is_closed_in_silence() {
    let mut w = World::new();
    let (_, nameplate, proof) = w.create(1, Form::Spoken);
    let (_, other) = w.enter(2, 1, nameplate);
    w.greeted(3);
    let (visitor, door) = w.join(3, nameplate).unwrap();
    let heard = w.reclaim(4, proof);
    assert!(matches!(
        heard[..],
        [ToClient::Seat { .. }, ToClient::Tickets { .. }, ToClient::Present { slots: 3 }]
    ));
    assert!(w.closed.contains(&1) && refused(&w.heard(1)).is_none());
    w.say(3, ToServer::Mail { to: Party::Slot(door), blob: vec![5] });
    assert!(w.heard(4) == [ToClient::Mail { from: Party::Visitor(visitor), blob: vec![5] }]);
    w.tell(Input::Closed { conn: 2 });
    w.pass(600);
    w.heard(4);
    assert_eq!(refused(&w.reclaim(5, other)), Some(Refusal::BadProof), "after ten minutes the slot is free");
}

#[test]
fn after_a_restart_the_members_find_their_slots_and_joiners_their_room() {
    let mut w = World::new();
    let (nonce, nameplate, first) = w.create(1, Form::Spoken);
    let (second, proof) = w.enter(2, 1, nameplate);
    let tag = |messages: &[ToClient]| {
        messages.iter().find_map(|m| match m {
            ToClient::Tickets { offers } => TicketBody::decode(&offers[0].body).map(|b| (b.relay, b.room)),
            _ => None,
        })
    };
    w.say(1, ToServer::Tickets);
    let before = tag(&w.heard(1)).unwrap();
    w.restart();
    let heard = w.reclaim(12, proof);
    assert!(matches!(heard[0], ToClient::Seat { slot, .. } if slot == second));
    assert!(tag(&heard) == Some(before), "old and new tickets meet on the same relay");
    w.greeted(13);
    w.say(13, ToServer::Join { nameplate });
    let [ToClient::Joined { room_nonce, visitor, door }] = w.heard(13)[..] else { panic!() };
    assert!(room_nonce == nonce && door == second);
    w.say(12, ToServer::Admit { visitor, taken: 0, id: ID });
    assert!(matches!(w.heard(13)[0], ToClient::Seat { slot: s, .. } if s == slot(15)), "not the creator's");
    let heard = w.reclaim(11, first);
    assert!(matches!(heard[0], ToClient::Seat { slot: s, .. } if s == slot(0)));
    assert!(matches!(heard[..], [.., ToClient::Present { slots: 0x8003 }]));
}

#[test]
fn a_number_that_others_took_meanwhile_is_not_taken_from_them() {
    let mut w = World::new();
    let (_, nameplate, proof) = w.create(1, Form::Spoken);
    w.restart();
    let Nameplate::Spoken(number) = nameplate else { panic!() };
    assert!(w.rooms.plates.adopt_spoken([9; 16], number));
    let heard = w.reclaim(2, proof);
    assert!(
        proof_in(&heard).is_some_and(|proof| proof[57..61] == [0; 4]),
        "the room is back without a number"
    );
    assert!(w.rooms.plates.find(nameplate) == Some([9; 16]));
}

#[test]
fn a_new_code_kills_the_old_one_and_renews_every_proof() {
    let mut w = World::new();
    let (_, old, stale) = w.create(1, Form::Spoken);
    w.enter(2, 1, old);
    w.say(2, ToServer::NewCode { form: Form::Spoken });
    let heard = w.heard(2);
    let [ToClient::Plate { nameplate: new }, ToClient::Seat { .. }] = heard[..] else { panic!() };
    assert!(matches!(w.heard(1)[..], [ToClient::Seat { .. }]));
    w.say(1, ToServer::NewCode { form: Form::Link });
    let [ToClient::Plate { nameplate: link @ Nameplate::Link(_) }, ..] = w.heard(1)[..] else { panic!() };
    w.greeted(3);
    assert_eq!(w.join(3, old), Err(Refusal::NoSuchRoom));
    w.say(2, ToServer::Tickets);
    let fresh = proof_in(&w.heard(2)).unwrap();

    // Whoever comes first after a restart: the latest names win.
    w.restart();
    assert!(proof_in(&w.reclaim(11, stale)).is_some());
    w.greeted(13);
    assert!(w.join(13, old).is_ok());
    w.say(13, ToServer::Leave);
    w.reclaim(12, fresh);
    assert_eq!(w.join(13, old), Err(Refusal::NoSuchRoom));
    assert!(w.join(13, new).is_ok());
    w.say(13, ToServer::Leave);
    assert!(w.join(13, link).is_ok());
}

#[test]
fn sources_are_rationed_and_loopback_is_not() {
    let mut w = World::new();
    let (_, nameplate, _) = w.create(999, Form::Spoken);
    for conn in 0..40 {
        w.tell(Input::Opened { conn, from: [203, 0, 113, 5].into() });
        assert_eq!(w.closed.contains(&conn), conn >= 32);
    }
    for conn in 0..32 {
        w.say(conn, HELLO);
        w.heard(conn);
    }
    for conn in 0..7 {
        w.say(conn, ToServer::Create { form: Form::Link, warden: WARDEN });
        assert_eq!(refused(&w.heard(conn)), (conn == 6).then_some(Refusal::TooFast));
    }
    let joined = (7..32).filter(|conn| {
        let joined = w.join(*conn, nameplate).is_ok();
        w.say(*conn, ToServer::Leave);
        joined
    });
    assert_eq!(joined.count(), 16);
    for conn in 100..180 {
        w.tell(Input::Opened { conn, from: [127, 0, 0, 1].into() });
        assert!(!w.closed.contains(&conn));
    }
}

#[test]
fn the_numbers_of_rooms_and_connections_are_bounded() {
    let mut w = World::new();
    for conn in 0..41 {
        w.greeted(conn);
        w.say(conn, ToServer::Create { form: Form::Spoken, warden: WARDEN });
        assert_eq!(refused(&w.heard(conn)), (conn == 40).then_some(Refusal::Busy));
    }
    for conn in 41..305 {
        w.open(conn);
        assert_eq!(w.closed.contains(&conn), conn >= 300);
    }
}

#[test]
fn tickets_are_for_the_rooms_relays_and_the_owners_slot() {
    let mut w = World::new();
    let (_, nameplate, _) = w.create(1, Form::Spoken);
    w.enter(2, 1, nameplate);
    let mut rooms = BTreeSet::new();
    for (conn, n) in [(1, 0), (2, 1)] {
        w.say(conn, ToServer::Tickets);
        let [ToClient::Seat { .. }, ToClient::Tickets { offers }] = &w.heard(conn)[..] else { panic!() };
        assert_eq!(offers.len(), MAX_OFFERS);
        for offer in offers {
            let body = TicketBody::decode(&offer.body).unwrap();
            let key = RelayKey::new(Secret::new([body.relay[0]; 32]));
            assert_eq!(key.bind_key(&offer.body).as_bytes(), &offer.kb);
            assert_eq!(offer.relay.port(), 47_700);
            assert_eq!((body.slot, body.slots, body.not_after), (n, 16, WALL + 3_600));
            rooms.insert((offer.relay, body.room));
        }
    }
    assert_eq!(rooms.len(), MAX_OFFERS, "both meet on the same relays under the same tag");
}
