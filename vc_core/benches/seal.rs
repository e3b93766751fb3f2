//! What the engine's cryptography costs: per voice packet, per handshake, per admission, per forged handshake.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand_core::SeedableRng;
use vc_core::crypto::keys::{Rng, Secret, StaticKey};
use vc_core::crypto::noise::{Opener, Pair, Sealer, initiate, read_init};
use vc_core::crypto::pake::{Context, Joiner, answer};

/// Type, flags, stream and time 7, Opus at 32 kbit/s and 20 ms 80.
const VOICE: usize = 87;
/// Packet type, session index, counter.
const HEADER: usize = 9;

struct Two {
    low: StaticKey,
    high: StaticKey,
    psk: Secret<32>,
    rng: Rng,
}

impl Two {
    fn new() -> Self {
        let mut rng = Rng::from_seed([1; 32]);
        let (low, high) = (StaticKey::generate(&mut rng), StaticKey::generate(&mut rng));
        Self { low, high, psk: Secret::random(&mut rng), rng }
    }

    fn handshake(&mut self) -> (Sealer, Opener) {
        let low = Pair { me: &self.low, room_id: [3; 16], psk: &self.psk };
        let high = Pair { me: &self.high, room_id: [3; 16], psk: &self.psk };
        let (mut pending, msg1) = initiate(&low, &self.high.public(), 1, &mut self.rng);
        let (msg2, _, opener) = read_init(&high, &msg1, &mut self.rng).unwrap().reply();
        (pending.finish(&msg2).unwrap().0, opener)
    }
}

fn seal(sealer: &mut Sealer, packet: &mut Vec<u8>) -> u32 {
    let counter = sealer.next().unwrap();
    let low = counter.low();
    packet.clear();
    packet.resize(HEADER + VOICE, 0x5a);
    sealer.seal(counter, packet, HEADER);
    low
}

fn packets(c: &mut Criterion) {
    let (mut sealer, mut opener) = Two::new().handshake();
    let mut packet = Vec::with_capacity(128);
    c.bench_function("seal a voice frame", |b| {
        b.iter(|| seal(&mut sealer, black_box(&mut packet)));
    });
    c.bench_function("open a voice frame", |b| {
        b.iter_batched_ref(
            || {
                let mut packet = Vec::new();
                (seal(&mut sealer, &mut packet), packet)
            },
            |(low, packet)| opener.open(*low, packet, HEADER).unwrap().len(),
            BatchSize::SmallInput,
        );
    });
    c.bench_function("refuse a forged voice frame", |b| {
        let far = sealer.sent() as u32;
        let mut forged = [0x5a; HEADER + VOICE + 16];
        b.iter(|| opener.open(far, black_box(&mut forged), HEADER).is_err());
    });
}

fn handshakes(c: &mut Criterion) {
    let mut two = Two::new();
    c.bench_function("handshake, both ends", |b| b.iter(|| two.handshake()));

    let high = Pair { me: &two.high, room_id: [3; 16], psk: &two.psk };
    let forged = [0x5a; 104];
    c.bench_function("refuse a forged handshake", |b| {
        b.iter(|| read_init(&high, black_box(&forged), &mut two.rng).is_none());
    });
}

fn admission(c: &mut Criterion) {
    let mut rng = Rng::from_seed([1; 32]);
    let ctx = Context { nameplate: b"48213", room_nonce: [5; 16] };
    c.bench_function("admission, both ends", |b| {
        b.iter(|| {
            let (joiner, a1) = Joiner::start(b"tiger-lamp-ocean", &ctx, &mut rng);
            let (door, b1) = answer(b"tiger-lamp-ocean", &ctx, &a1, &mut rng).unwrap();
            let (knock, a2) = joiner.read(&b1).unwrap().seal(&[1; 200]);
            knock.open(&door.open(&a2).unwrap().0.seal(&[2; 1_000])).unwrap()
        });
    });
}

criterion_group!(benches, packets, handshakes, admission);
criterion_main!(benches);
