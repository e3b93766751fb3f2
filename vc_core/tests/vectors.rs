//! The bytes this protocol puts on the wire, frozen: what a change here breaks is the talk with every older member.
#![allow(clippy::unwrap_used)]

use rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use vc_core::crypto::keys::{PublicKey, Rng, Secret, StaticKey, kdf, mac16, same};
use vc_core::crypto::link::{self, Dial};
use vc_core::crypto::noise::{self, Drop, Opener, Pair, Sealer};
use vc_core::crypto::pake::{self, Context, Joiner};
use vc_core::crypto::ticket::{RelayKey, TicketBody};

/// Names and bytes, one line each, as the file beside has them.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0 += &format!("{name} = {}\n", hex::encode(bytes));
    }
}

fn rng(seed: u8) -> Rng {
    Rng::from_seed([seed; 32])
}

fn derivations(out: &mut Lines) {
    out.add("kdf", kdf::<40>(b"input", "label", b"context").as_bytes());
    out.add("kdf_empty", kdf::<32>(b"", "", b"").as_bytes());
    out.add("mac16", &mac16(b"key", &[b"one", b"", b"two"]));
    let key = StaticKey::generate(&mut rng(1));
    out.add("public_key", &key.public().0);
    out.add("derived_key", &key.derive("label").public().0);
    out.add("signature", &key.sign("label", b"words"));
}

fn tickets(out: &mut Lines) {
    let body = TicketBody {
        relay: *b"RELA",
        room: *b"ROOMTAG8",
        slot: 3,
        slots: 16,
        class: 1,
        not_after: 1_800_000_000,
        serial: *b"SERIAL08",
    };
    let ticket = RelayKey::new(Secret::new([7; 32])).mint(&body);
    out.add("ticket_body", &ticket.body);
    out.add("ticket_kb", ticket.kb.as_bytes());
}

/// A1 and B1 are long and mostly random: their hashes freeze them as well.
fn admission(out: &mut Lines) {
    let ctx = Context { nameplate: b"48213", room_nonce: [5; 16] };
    let (joiner, a1) = Joiner::start(b"tiger-lamp-ocean", &ctx, &mut rng(1));
    let (door, b1) = pake::answer(b"tiger-lamp-ocean", &ctx, &a1, &mut rng(2)).unwrap();
    let (knock, a2) = joiner.read(&b1).unwrap().seal(b"record");
    let (admitted, _) = door.open(&a2).unwrap();
    let b2 = admitted.seal(b"welcome");
    assert_eq!((a1.len(), b1.len(), a2.len(), b2.len()), (1_234, 1_121, 32 + 6 + 16, 32 + 7 + 16));
    assert_eq!(knock.open(&b2).unwrap(), b"welcome");
    out.add("a1_head", &a1[..50]);
    out.add("a1_sha256", &Sha256::digest(&a1));
    out.add("b1_head", &b1[..33]);
    out.add("b1_sha256", &Sha256::digest(&b1));
    out.add("a2", &a2);
    out.add("b2", &b2);
}

fn pair(out: &mut Lines) {
    let (low, high) = (StaticKey::generate(&mut rng(1)), StaticKey::generate(&mut rng(2)));
    let psk = Secret::new([8; 32]);
    let side = |me| Pair { me, room_id: [3; 16], psk: &psk };
    let (mut pending, msg1) = noise::initiate(&side(&low), &high.public(), 0x0102_0304, &mut rng(3));
    let (msg2, mut answering, _) = noise::read_init(&side(&high), &msg1, &mut rng(4)).unwrap().reply();
    let (mut asking, mut opener) = pending.finish(&msg2).unwrap();
    assert_eq!((msg1.len(), msg2.len()), (104, 48));
    out.add("hs_init", &msg1);
    out.add("hs_resp", &msg2);
    out.add("packet_0", &packet(&mut asking).1);
    out.add("packet_1", &packet(&mut asking).1);
    let (counter, mut back) = packet(&mut answering);
    out.add("packet_back", &back);
    assert_eq!(opener.open(counter, &mut back, 4), Ok(&b"voice"[..]));
}

fn packet(sealer: &mut Sealer) -> (u32, Vec<u8>) {
    let counter = sealer.next().unwrap();
    let low = counter.low();
    let mut packet = b"headvoice".to_vec();
    sealer.seal(counter, &mut packet, 4);
    (low, packet)
}

fn signaling(out: &mut Lines) {
    let server = StaticKey::generate(&mut rng(1));
    let (dial, msg1) = Dial::start(&mut rng(2));
    let (mut theirs, msg2) = link::accept(&server, &msg1, &mut rng(3)).unwrap();
    let (mut mine, key) = dial.finish(&msg2).unwrap();
    assert!(key == server.public());
    assert_eq!((msg1.len(), msg2.len()), (32, 96));
    out.add("link_1", &msg1);
    out.add("link_2", &msg2);
    out.add("link_up", &mine.seal(b"hello"));
    out.add("link_down", &theirs.seal(b"hello"));
}

#[test]
fn the_bytes_on_the_wire_are_the_frozen_ones() {
    let mut out = Lines::default();
    for part in [derivations, tickets, admission, pair, signaling] {
        part(&mut out);
    }
    let frozen = include_str!("vectors/frozen.txt");
    for (line, expected) in out.0.lines().zip(frozen.lines().filter(|line| !line.starts_with('#'))) {
        assert_eq!(line, expected);
    }
    assert_eq!(out.0.lines().count(), frozen.lines().filter(|line| !line.starts_with('#')).count());
}

#[test]
fn a_server_key_survives_its_file() {
    let key = StaticKey::generate(&mut rng(1));
    let again = StaticKey::from_bytes(*key.to_bytes().as_bytes());
    assert!(again.public() == key.public());
    assert!(same(again.to_bytes().as_bytes(), key.to_bytes().as_bytes()));
}

#[test]
fn keys_do_not_print() {
    assert_eq!(format!("{:?}", PublicKey([0xab; 32])), "PublicKey(..)");
}

#[test]
fn sessions_can_move_between_threads() {
    fn send<T: Send>() {}
    send::<(Sealer, Opener, noise::Pending, noise::Init, link::Sealed, Dial, Joiner, pake::Knock, Drop)>();
}
