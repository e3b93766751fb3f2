//! Anything that clients may do, in any order, against a model of what must hold.

use std::collections::BTreeSet;

use proptest::prelude::*;
use vc_core::protocol::removal::Removals;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Open,
    Close,
    Create(bool),
    Join(usize),
    Reclaim(usize),
    Mail {
        to: u8,
        len: usize,
    },
    MailVisitor(usize),
    Admit(usize),
    Tickets,
    NewCode(bool),
    Evict(bool),
    Leave,
    /// Whatever the sender's standing; all the above are skipped where no client would do them.
    Anything(usize),
    Garbage(Vec<u8>),
    Wait(u64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => Just(Act::Open),
        1 => Just(Act::Close),
        3 => any::<bool>().prop_map(Act::Create),
        20 => any::<usize>().prop_map(Act::Join),
        2 => any::<usize>().prop_map(Act::Reclaim),
        30 => (0u8..6, 0usize..700).prop_map(|(to, len)| Act::Mail { to, len }),
        8 => any::<usize>().prop_map(Act::MailVisitor),
        24 => any::<usize>().prop_map(Act::Admit),
        1 => any::<bool>().prop_map(Act::NewCode),
        1 => (0u8..8).prop_map(|n| Act::Evict(n == 0)),
        1 => Just(Act::Leave),
        1 => any::<usize>().prop_map(Act::Anything),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Act::Garbage),
        2 => (0u64..60).prop_map(|secs| Act::Wait(if secs == 59 { 700 } else { secs % 8 })),
        1 => (0u8..4).prop_map(|n| if n == 0 { Act::Restart } else { Act::Tickets }),
    ]
}

/// What the clients know, from what they were told alone.
#[derive(Default)]
struct Reference {
    /// Fresh connection number of each of the players.
    conns: BTreeMap<u8, ConnId>,
    next: ConnId,
    /// Which room a connection is in or before, and its slot or visitor number.
    stands: BTreeMap<ConnId, (Nonce, Party)>,
    doors: BTreeMap<ConnId, Slot>,
    plates: Vec<Nameplate>,
    /// With the connection that was told to answer.
    visitors: Vec<(ConnId, u32)>,
    proofs: Vec<Reclaim>,
    pending_claim: BTreeMap<ConnId, Nonce>,
}

impl Reference {
    /// Who does it: mostly the one whom it concerns.
    fn actor(&self, player: u8, act: &Act) -> ConnId {
        match act {
            Act::Admit(n) | Act::MailVisitor(n) if n % 7 > 0 => {
                pick(&self.visitors, *n).map_or(0, |(door, _)| *door)
            }
            _ => self.conns.get(&player).copied().unwrap_or(0),
        }
    }

    fn message(&mut self, conn: ConnId, act: Act) -> Option<ToServer> {
        let form = |link| if link { Form::Link } else { Form::Spoken };
        // The sender signs its mail, so that the receiver can tell where it came from.
        let blob = |len: usize| [&conn.to_be_bytes()[..], &vec![0; len]].concat();
        let seated = matches!(self.stands.get(&conn), Some((_, Party::Slot(_))));
        let fits = match act {
            Act::Create(_) | Act::Join(_) | Act::Reclaim(_) => !self.stands.contains_key(&conn),
            Act::Mail { .. } | Act::Leave => self.stands.contains_key(&conn),
            Act::MailVisitor(_) | Act::Admit(_) | Act::Tickets | Act::NewCode(_) | Act::Evict(_) => seated,
            Act::Anything(_) => true,
            Act::Open | Act::Close | Act::Garbage(_) | Act::Wait(_) | Act::Restart => false,
        };
        if !fits {
            return None;
        }
        Some(match act {
            Act::Create(link) => {
                ToServer::Create { form: form(link), warden: StaticKey::from_bytes([5; 32]).public() }
            }
            Act::Join(n) => ToServer::Join { nameplate: *pick(&self.plates, n)? },
            Act::Mail { to, len } => ToServer::Mail { to: Party::Slot(self.peer(conn, to)), blob: blob(len) },
            Act::MailVisitor(n) => {
                ToServer::Mail { to: Party::Visitor(pick(&self.visitors, n)?.1), blob: blob(9) }
            }
            Act::Admit(n) => ToServer::Admit { visitor: pick(&self.visitors, n)?.1, taken: 0, id: ID },
            Act::Tickets => ToServer::Tickets,
            Act::Reclaim(n) => {
                let proof = *pick(&self.proofs, n)?;
                self.pending_claim.insert(conn, *proof.first_chunk().unwrap());
                ToServer::Reclaim { proof }
            }
            Act::NewCode(link) => ToServer::NewCode { form: form(link) },
            // All who were let in have one id here.
            Act::Evict(all) => {
                let id = if all { ID } else { MemberId([7; 8]) };
                ToServer::Evict { removals: Removals::with(&StaticKey::from_bytes([5; 32]), None, id) }
            }
            Act::Leave => ToServer::Leave,
            Act::Anything(n) => match n % 6 {
                0 => HELLO,
                1 => ToServer::Create { form: Form::Link, warden: StaticKey::from_bytes([5; 32]).public() },
                2 => ToServer::Admit { visitor: pick(&self.visitors, n)?.1, taken: 0, id: ID },
                3 => ToServer::Mail { to: Party::Visitor(pick(&self.visitors, n)?.1), blob: blob(9) },
                4 => ToServer::Mail { to: Party::Slot(slot((n % 16) as u8)), blob: blob(9) },
                _ => ToServer::Tickets,
            },
            Act::Open | Act::Close | Act::Garbage(_) | Act::Wait(_) | Act::Restart => return None,
        })
    }

    /// A visitor writes to its door; a member to anyone, often to a slot that another room has, too.
    fn peer(&self, conn: ConnId, to: u8) -> Slot {
        match self.stands.get(&conn) {
            Some((_, Party::Visitor(_))) => self.doors.get(&conn).copied().unwrap_or(slot(0)),
            _ => slot(to),
        }
    }

    fn heard(&mut self, conn: ConnId, message: ToClient) {
        match message {
            ToClient::Created { room_nonce, nameplate } => {
                self.plates.push(nameplate);
                self.pending_claim.insert(conn, room_nonce);
            }
            ToClient::Joined { room_nonce, visitor, door } => {
                self.doors.insert(conn, door);
                self.stands.insert(conn, (room_nonce, Party::Visitor(visitor)));
            }
            ToClient::Seat { slot, proof } => {
                let room = *proof.first_chunk().unwrap();
                let before = self.stands.insert(conn, (room, Party::Slot(slot)));
                let known = before.map(|(r, _)| r).or(self.pending_claim.get(&conn).copied());
                assert!(known == Some(room), "a seat in a room that was not asked for");
                self.proofs.push(proof);
            }
            ToClient::Plate { nameplate } => self.plates.push(nameplate),
            ToClient::Mail { from, blob } => {
                let sender = ConnId::from_be_bytes(*blob.first_chunk().unwrap());
                let (to_room, to) = self.stands[&conn];
                let (from_room, who) = self.stands[&sender];
                assert!(to_room == from_room, "mail crossed rooms");
                assert!(from == who, "mail under a false name");
                assert!(matches!((from, to), (Party::Slot(_), _) | (_, Party::Slot(_))), "between visitors");
            }
            ToClient::Visitor { visitor, .. } => self.visitors.push((conn, visitor)),
            // At the door, as one who was removed before.
            ToClient::Refused(Refusal::BadProof)
                if matches!(self.stands.get(&conn), Some((_, Party::Visitor(_)))) =>
            {
                self.stands.remove(&conn);
            }
            _ => {}
        }
    }
}

/// One of the latest: most of what is older is dead.
fn pick<T>(from: &[T], n: usize) -> Option<&T> {
    from.iter().rev().take(4).nth(n % from.len().clamp(1, 4))
}

fn present_is_true(w: &World, known: &Reference, told: &BTreeMap<ConnId, u16>) {
    for (conn, mask) in told {
        let Some((room, Party::Slot(_))) = known.stands.get(conn) else { continue };
        let seated = known.stands.iter().filter(|(c, (r, _))| r == room && w.rooms.is_open(**c));
        let slots: u16 = seated
            .filter_map(|(_, (_, party))| match party {
                Party::Slot(slot) => Some(slot.bit()),
                Party::Visitor(_) => None,
            })
            .sum();
        assert_eq!(slots, *mask, "PRESENT differs from who is seated");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_mail_stays_in_its_room_and_slots_have_one_owner(
        acts in prop::collection::vec((0u8..12, act()), 200..600)
    ) {
        let (mut w, mut known) = (World::new(), Reference { next: 1, ..Reference::default() });
        for (player, act) in acts {
            let conn = known.actor(player, &act);
            let left = matches!(act, Act::Leave);
            match act {
                Act::Open => {
                    if !w.rooms.is_open(conn) {
                        known.conns.insert(player, known.next);
                        w.open(known.next);
                        w.say(known.next, HELLO);
                        known.next += 1;
                    }
                }
                Act::Close => w.tell(Input::Closed { conn }),
                Act::Garbage(bytes) => w.tell(Input::Frame { conn, bytes: &bytes }),
                Act::Wait(secs) => w.pass(secs),
                Act::Restart => {
                    w.restart();
                    known.stands.clear();
                    known.conns.clear();
                }
                act => {
                    if let Some(message) = known.message(conn, act) {
                        w.say(conn, message);
                    }
                }
            }
            if left {
                known.stands.remove(&conn);
            }
            let mut told = BTreeMap::new();
            for (conn, messages) in std::mem::take(&mut w.said) {
                for message in messages {
                    if let ToClient::Present { slots } = message {
                        told.insert(conn, slots);
                    }
                    known.heard(conn, message);
                }
            }
            known.stands.retain(|conn, _| w.rooms.is_open(*conn));
            present_is_true(&w, &known, &told);
            let seats: Vec<_> = known.stands.values().collect();
            let distinct: BTreeSet<_> = seats.iter().collect();
            prop_assert_eq!(seats.len(), distinct.len(), "two owners of one place");
            prop_assert!(w.rooms.rooms() <= 40 && w.rooms.connections() <= 24);
        }
        w.pass(1_300);
        prop_assert!(w.rooms.next_tick().is_none(), "something is kept for ever");
    }

    #[test]
    fn arbitrary_frames_never_panic(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..60)) {
        let mut w = World::new();
        w.greeted(1);
        for (n, frame) in frames.iter().enumerate() {
            w.open(n as u64 + 2);
            w.tell(Input::Frame { conn: 1, bytes: frame });
            w.tell(Input::Frame { conn: n as u64 + 2, bytes: frame });
        }
    }
}
