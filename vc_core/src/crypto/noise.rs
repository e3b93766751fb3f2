//! Sessions between two members: Noise_IKpsk2 (Noise revision 34, as in WireGuard) by `snow`, then datagrams sealed
//! for exactly one peer, with the header as associated data.

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};

use super::aead::{Aead, TAG};
use super::keys::{PublicKey, Rng, Secret, StaticKey, same};
use super::replay::Window;

/// What both ends of a handshake must agree on. The prologue binds the room and the responder; the initiator is bound
/// by its static key in message 1, which the responder must find in its roster.
pub struct Pair<'a> {
    pub me: &'a StaticKey,
    pub room_id: [u8; 16],
    pub psk: &'a Secret<32>,
}

/// The initiator between its message and the reply.
pub struct Pending(Box<HandshakeState>);

/// Message 1: `e 32 | s 48 | counter 24`. The counter must grow with every handshake to the same responder.
pub fn initiate(pair: &Pair, remote: &PublicKey, counter: u64, rng: &mut Rng) -> (Pending, [u8; INIT]) {
    let prologue = prologue(&pair.room_id, remote);
    let mut state = builder(PAIR, rng)
        .prologue(&prologue)
        .and_then(|b| b.local_private_key(pair.me.secret().as_bytes()))
        .and_then(|b| b.remote_public_key(&remote.0))
        .and_then(|b| b.psk(2, pair.psk.as_bytes()))
        .and_then(Builder::build_initiator)
        .expect(COMPLETE);
    let mut msg1 = [0; INIT];
    // A low-order key has no secret to share. The roster refuses none, so the message then stays zero and is never
    // answered, as if the peer were silent.
    if state.write_message(&counter.to_be_bytes(), &mut msg1).is_err() {
        msg1 = [0; INIT];
    }
    (Pending(Box::new(state)), msg1)
}

impl Pending {
    /// Reads message 2. `None` for junk, which changes nothing: the genuine reply is still accepted after it.
    pub fn finish(&mut self, msg2: &[u8]) -> Option<(Sealer, Opener)> {
        if msg2.len() != RESP {
            return None;
        }
        self.0.read_message(msg2, &mut []).ok()?;
        let (mine, theirs) = split(&mut self.0);
        Some((Sealer::new(&mine), Opener::new(&theirs)))
    }
}

/// The responder between message 1 and its reply. Before replying, it must find `remote` in its roster (an insider
/// can otherwise pose as another member) and `counter` above the last one of that remote (or it is a replay).
pub struct Init {
    pub remote: PublicKey,
    pub counter: u64,
    state: Box<HandshakeState>,
}

/// Reads message 1; `None` if it was not made for this room and this member. The psk comes in with message 2 only.
pub fn read_init(pair: &Pair, msg1: &[u8], rng: &mut Rng) -> Option<Init> {
    if msg1.len() != INIT {
        return None;
    }
    let prologue = prologue(&pair.room_id, &pair.me.public());
    let mut state = builder(PAIR, rng)
        .prologue(&prologue)
        .and_then(|b| b.local_private_key(pair.me.secret().as_bytes()))
        .and_then(|b| b.psk(2, pair.psk.as_bytes()))
        .and_then(Builder::build_responder)
        .expect(COMPLETE);
    let mut counter = [0; 8];
    state.read_message(msg1, &mut counter).ok()?;
    let remote = PublicKey(state.get_remote_static()?.try_into().ok()?);
    Some(Init { remote, counter: u64::from_be_bytes(counter), state: Box::new(state) })
}

impl Init {
    /// Message 2: `e 32 | tag 16`. The session may carry data to the initiator only after the first packet from it
    /// opened: until then message 1 may be a replay.
    pub fn reply(mut self) -> ([u8; RESP], Sealer, Opener) {
        let mut msg2 = [0; RESP];
        self.state.write_message(&[], &mut msg2).expect("both remote keys were used in message 1 already");
        let (theirs, mine) = split(&mut self.state);
        (msg2, Sealer::new(&mine), Opener::new(&theirs))
    }
}

/// The sending half of a session.
pub struct Sealer {
    aead: Aead,
    sent: u64,
}

/// Leave to seal one packet. It cannot be copied and sealing uses it up, so no nonce is used twice.
pub struct Counter(u64);

impl Counter {
    /// The half that travels in the packet's header.
    pub fn low(&self) -> u32 {
        self.0 as u32
    }
}

impl Sealer {
    fn new(key: &Secret<32>) -> Self {
        Self { aead: Aead::new(key), sent: 0 }
    }

    /// The counter for one packet; `None` at the session's hard limit.
    #[expect(clippy::should_implement_trait, reason = "a counter is for one packet, not a sequence to walk")]
    pub fn next(&mut self) -> Option<Counter> {
        let counter = (self.sent < LIMIT).then_some(Counter(self.sent))?;
        self.sent += 1;
        Some(counter)
    }

    /// How many counters were handed out.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// `packet` is header || plaintext; what follows the first `header` bytes is encrypted in place, the header is
    /// authenticated, and a 16-byte tag is appended. The counter must come from this very sealer.
    pub fn seal(&self, counter: Counter, packet: &mut Vec<u8>, header: usize) {
        self.aead.seal(counter.0, packet, header);
    }
}

/// The receiving half of a session.
pub struct Opener {
    aead: Aead,
    window: Window,
}

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// Seen before, or too old to know.
    Replayed,
    /// Not sealed by the peer for this session, or changed on its way.
    Forged,
    /// Shorter than its header and a tag.
    Short,
}

impl Opener {
    fn new(key: &Secret<32>) -> Self {
        Self { aead: Aead::new(key), window: Window::new() }
    }

    /// Decrypts in place what follows the first `header` bytes and returns it. `low` is the counter's half from the
    /// header. Nothing changes, here or in the packet, unless the packet is genuine.
    pub fn open<'p>(&mut self, low: u32, packet: &'p mut [u8], header: usize) -> Result<&'p [u8], Drop> {
        if packet.len() < header.saturating_add(TAG) {
            return Err(Drop::Short);
        }
        let counter = self.window.restore(low);
        if !self.window.check(counter) {
            return Err(Drop::Replayed);
        }
        let text = self.aead.open(counter, packet, header).ok_or(Drop::Forged)?;
        self.window.mark(counter);
        Ok(text)
    }
}

fn prologue(room_id: &[u8; 16], responder: &PublicKey) -> Vec<u8> {
    [&b"vc1"[..], room_id, &responder.0].concat()
}

/// A builder for one handshake that draws its ephemeral from the caller's generator.
pub(super) fn builder<'a>(pattern: &str, rng: &mut Rng) -> Builder<'a> {
    with_ephemeral(pattern, Secret::random(rng))
}

pub(super) fn with_ephemeral<'a>(pattern: &str, ephemeral: Secret<32>) -> Builder<'a> {
    let params = pattern.parse().expect("a pattern of ours parses");
    Builder::with_resolver(params, Box::new(Seeded(ephemeral)))
}

/// The two directions' keys of a finished handshake, the initiator's sending key first.
pub(super) fn split(state: &mut HandshakeState) -> (Secret<32>, Secret<32>) {
    let (initiator, responder) = state.dangerously_get_raw_split();
    (Secret::new(initiator), Secret::new(responder))
}

/// `snow`'s own primitives, but with the ephemeral key as the only randomness, and a Diffie-Hellman that refuses
/// low-order points: a member could otherwise enter one as its static key, for which any holder of R could then speak.
struct Seeded(Secret<32>);

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.0.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(Contributory(DefaultResolver.resolve_dh(choice)?)))
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Gives its bytes once: a handshake has one ephemeral, and a second draw of the same bytes would reuse it.
struct Once(Option<Secret<32>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let bytes =
            self.0.take().filter(|bytes| bytes.as_bytes().len() == dest.len()).ok_or(snow::Error::Rng)?;
        dest.copy_from_slice(bytes.as_bytes());
        Ok(())
    }
}

struct Contributory(Box<dyn Dh>);

impl Dh for Contributory {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn pub_len(&self) -> usize {
        self.0.pub_len()
    }

    fn priv_len(&self) -> usize {
        self.0.priv_len()
    }

    fn set(&mut self, privkey: &[u8]) {
        self.0.set(privkey);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        self.0.generate(rng)
    }

    fn pubkey(&self) -> &[u8] {
        self.0.pubkey()
    }

    fn privkey(&self) -> &[u8] {
        self.0.privkey()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        self.0.dh(pubkey, out)?;
        match out.get(..32) {
            Some(shared) if !same(shared, &[0; 32]) => Ok(()),
            _ => Err(snow::Error::Dh),
        }
    }
}

pub(super) const COMPLETE: &str = "a handshake of ours is given every key its pattern asks for";
const PAIR: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";

/// Bytes of message 1: ephemeral 32, sealed static 48, sealed counter 24.
pub const INIT: usize = 104;
/// Bytes of message 2: ephemeral 32, tag 16.
pub const RESP: usize = 48;

/// Packets one session may seal. Rekeying starts at half of it (2^31), so a sender that gets here has been refused
/// new keys all along; up to here the low half on the wire never repeats within a session.
pub const LIMIT: u64 = 1 << 32;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::crypto::vectors::read;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use rand_core::SeedableRng;

    const ROOM: [u8; 16] = [3; 16];
    const HEADER: usize = 9;

    struct Two {
        low: StaticKey,
        high: StaticKey,
        psk: Secret<32>,
    }

    impl Two {
        fn new() -> Self {
            let mut rng = rng(1);
            let low = StaticKey::generate(&mut rng);
            Self { low, high: StaticKey::generate(&mut rng), psk: Secret::random(&mut rng) }
        }

        fn low(&self) -> Pair<'_> {
            Pair { me: &self.low, room_id: ROOM, psk: &self.psk }
        }

        fn high(&self) -> Pair<'_> {
            Pair { me: &self.high, room_id: ROOM, psk: &self.psk }
        }

        fn initiate(&self, counter: u64) -> (Pending, [u8; INIT]) {
            initiate(&self.low(), &self.high.public(), counter, &mut rng(2))
        }

        fn sessions(&self) -> ((Sealer, Opener), (Sealer, Opener)) {
            let (mut pending, msg1) = self.initiate(1);
            let (msg2, sealer, opener) = read_init(&self.high(), &msg1, &mut rng(3)).unwrap().reply();
            (pending.finish(&msg2).unwrap(), (sealer, opener))
        }
    }

    fn rng(seed: u8) -> Rng {
        Rng::from_seed([seed; 32])
    }

    fn packet(sealer: &mut Sealer, text: &[u8]) -> (u32, Vec<u8>) {
        let counter = sealer.next().unwrap();
        let low = counter.low();
        let mut packet = [&[0xd2; HEADER - 4][..], &low.to_be_bytes(), text].concat();
        sealer.seal(counter, &mut packet, HEADER);
        (low, packet)
    }

    #[test]
    fn the_cacophony_vector_holds_from_the_first_message_to_the_last_packet() {
        let v = read(include_str!("../../tests/vectors/noise_ikpsk2.txt"));
        let key = |name: &str| Secret::<32>::new(v[name].as_slice().try_into().unwrap());
        let psk = key("psk");
        let mut initiator = with_ephemeral(PAIR, key("init_ephemeral"))
            .prologue(&v["prologue"])
            .and_then(|b| b.local_private_key(&v["init_static"]))
            .and_then(|b| b.remote_public_key(&v["init_remote_static"]))
            .and_then(|b| b.psk(2, psk.as_bytes()))
            .and_then(Builder::build_initiator)
            .unwrap();
        let mut responder = with_ephemeral(PAIR, key("resp_ephemeral"))
            .prologue(&v["prologue"])
            .and_then(|b| b.local_private_key(&v["resp_static"]))
            .and_then(|b| b.psk(2, psk.as_bytes()))
            .and_then(Builder::build_responder)
            .unwrap();

        let mut buffer = [0; 256];
        for (n, writer, reader) in [(1, true, false), (2, false, true)] {
            let pick = |first| if first { 0 } else { 1 };
            let both = [&mut initiator, &mut responder];
            let len =
                both[pick(writer)].write_message(&v[format!("payload_{n}").as_str()], &mut buffer).unwrap();
            assert_eq!(buffer[..len], v[format!("message_{n}").as_str()]);
            both[pick(reader)].read_message(&v[format!("message_{n}").as_str()], &mut buffer).unwrap();
        }
        assert_eq!(initiator.get_handshake_hash(), v["handshake_hash"]);

        let (to_responder, to_initiator) = split(&mut initiator);
        let mut sealers = [Sealer::new(&to_responder), Sealer::new(&to_initiator)];
        let (to_responder, to_initiator) = split(&mut responder);
        let mut openers = [Opener::new(&to_responder), Opener::new(&to_initiator)];
        for n in 3..=6 {
            let (sealer, opener) = (&mut sealers[(n + 1) % 2], &mut openers[(n + 1) % 2]);
            let mut message = v[format!("payload_{n}").as_str()].clone();
            let counter = sealer.next().unwrap();
            let low = counter.low();
            sealer.seal(counter, &mut message, 0);
            assert_eq!(message, v[format!("message_{n}").as_str()]);
            assert_eq!(opener.open(low, &mut message, 0).unwrap(), v[format!("payload_{n}").as_str()]);
        }
    }

    #[test]
    fn two_members_meet_and_talk_both_ways() {
        let two = Two::new();
        let (mut pending, msg1) = two.initiate(77);
        let init = read_init(&two.high(), &msg1, &mut rng(3)).unwrap();
        assert!(init.remote == two.low.public());
        assert_eq!(init.counter, 77);
        let (msg2, mut high_sealer, mut high_opener) = init.reply();
        let (mut low_sealer, mut low_opener) = pending.finish(&msg2).unwrap();

        let (low, mut there) = packet(&mut low_sealer, b"hello");
        assert_eq!(high_opener.open(low, &mut there, HEADER), Ok(&b"hello"[..]));
        let (low, mut back) = packet(&mut high_sealer, b"");
        assert_eq!(low_opener.open(low, &mut back, HEADER), Ok(&b""[..]));
    }

    #[test]
    fn a_packet_sent_back_to_its_sender_is_forged() {
        let ((mut sealer, mut own_opener), _) = Two::new().sessions();
        let (low, mut packet) = packet(&mut sealer, b"hello");
        assert_eq!(own_opener.open(low, &mut packet, HEADER), Err(Drop::Forged));
    }

    #[test]
    fn junk_replies_do_not_end_a_pending_handshake() {
        let two = Two::new();
        let (mut pending, msg1) = two.initiate(1);
        let (msg2, ..) = read_init(&two.high(), &msg1, &mut rng(3)).unwrap().reply();

        for len in 0..=RESP + 1 {
            assert!(pending.finish(&vec![0x55; len]).is_none());
        }
        assert!(pending.finish(&msg2[..RESP - 1]).is_none());
        assert!(pending.finish(&[&msg2[..], &[0]].concat()).is_none());
        assert!(pending.finish(&[0; RESP]).is_none());
        for bit in 0..RESP * 8 {
            let mut flipped = msg2;
            flipped[bit / 8] ^= 1 << (bit % 8);
            // X25519 ignores the top bit of a coordinate, but the transcript does not.
            assert!(pending.finish(&flipped).is_none(), "bit {bit}");
        }
        assert!(pending.finish(&msg2).is_some());
        assert!(pending.finish(&msg2).is_none());
    }

    #[test]
    fn no_flipped_bit_in_message_1_is_read() {
        let two = Two::new();
        let (_, msg1) = two.initiate(1);
        for bit in 0..INIT * 8 {
            let mut flipped = msg1;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read_init(&two.high(), &flipped, &mut rng(3)).is_none(), "bit {bit}");
        }
        for len in [0, INIT - 1] {
            assert!(read_init(&two.high(), &msg1[..len], &mut rng(3)).is_none());
        }
        assert!(read_init(&two.high(), &[&msg1[..], &[0]].concat(), &mut rng(3)).is_none());
    }

    #[test]
    fn another_room_another_responder_and_another_psk_do_not_meet() {
        let two = Two::new();
        let (mut pending, msg1) = two.initiate(1);
        assert!(read_init(&Pair { room_id: [4; 16], ..two.high() }, &msg1, &mut rng(3)).is_none());
        assert!(read_init(&two.low(), &msg1, &mut rng(3)).is_none());
        let psk = Secret::new([9; 32]);
        let (msg2, ..) = read_init(&Pair { psk: &psk, ..two.high() }, &msg1, &mut rng(3)).unwrap().reply();
        assert!(pending.finish(&msg2).is_none());
    }

    #[test]
    fn low_order_keys_share_nothing() {
        let two = Two::new();
        let zero = PublicKey([0; 32]);
        let (mut pending, msg1) = initiate(&two.low(), &zero, 1, &mut rng(2));
        assert_eq!(msg1, [0; INIT]);
        assert!(pending.finish(&[0; RESP]).is_none());
        assert!(read_init(&two.high(), &msg1, &mut rng(3)).is_none());
    }

    #[test]
    fn one_seed_gives_one_handshake_and_another_gives_another() {
        let two = Two::new();
        let with = |seed| initiate(&two.low(), &two.high.public(), 1, &mut rng(seed)).1;
        assert_eq!(with(5), with(5));
        assert_ne!(with(5), with(6));
    }

    #[test]
    fn one_generator_never_gives_one_ephemeral_twice() {
        let two = Two::new();
        let mut rng = rng(5);
        let mut next = || initiate(&two.low(), &two.high.public(), 1, &mut rng).1;
        assert_ne!(next()[..32], next()[..32]);
    }

    #[test]
    fn a_packet_opens_once_in_any_order() {
        let ((mut sealer, _), (_, mut opener)) = Two::new().sessions();
        let packets: Vec<_> = (0..50).map(|n| packet(&mut sealer, &[n])).collect();
        for (low, packet) in packets.iter().rev() {
            assert!(opener.open(*low, &mut packet.clone(), HEADER).is_ok());
        }
        for (low, packet) in &packets {
            assert_eq!(opener.open(*low, &mut packet.clone(), HEADER), Err(Drop::Replayed));
        }
    }

    #[test]
    fn a_forged_packet_does_not_take_the_place_of_the_genuine_one() {
        let ((mut sealer, _), (_, mut opener)) = Two::new().sessions();
        let (low, mut genuine) = packet(&mut sealer, b"hello");
        for far in [low, low + 900_000, 1 << 31] {
            assert_eq!(opener.open(far, &mut [0xd2; 60], HEADER), Err(Drop::Forged));
        }
        assert_eq!(opener.open(low, &mut genuine, HEADER), Ok(&b"hello"[..]));
    }

    #[test]
    fn packets_pass_the_boundary_of_the_low_half() {
        let ((mut sealer, _), (_, mut opener)) = Two::new().sessions();
        let edge = 1 << 32;
        opener.window.mark(edge - 4);
        for counter in [edge - 3, edge - 1, edge + 2, edge - 2, edge] {
            let mut packet = b"headhello".to_vec();
            sealer.seal(Counter(counter), &mut packet, 4);
            let low = Counter(counter).low();
            assert_eq!(opener.open(low, &mut packet.clone(), 4), Ok(&b"hello"[..]));
            assert_eq!(opener.open(low, &mut packet, 4), Err(Drop::Replayed));
        }
        assert_eq!(sealer.next().map(|c| c.low()), Some(0));
    }

    #[test]
    fn the_last_counter_is_the_last() {
        let ((mut sealer, _), _) = Two::new().sessions();
        assert_eq!(sealer.next().unwrap().low(), 0);
        assert_eq!(sealer.sent(), 1);
        sealer.sent = LIMIT - 1;
        assert_eq!(sealer.next().unwrap().low(), u32::MAX);
        assert!(sealer.next().is_none());
        assert_eq!(sealer.sent(), LIMIT);
    }

    #[test]
    fn packets_too_short_for_a_header_and_a_tag_are_short() {
        let (_, (_, mut opener)) = Two::new().sessions();
        for len in 0..HEADER + TAG {
            assert_eq!(opener.open(0, &mut vec![0; len], HEADER), Err(Drop::Short));
        }
        assert_eq!(opener.open(0, &mut [0; HEADER + TAG], HEADER), Err(Drop::Forged));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_in_a_packet_passes(text in prop::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0u32..8) {
            let ((mut sealer, _), (_, mut opener)) = Two::new().sessions();
            let (low, genuine) = packet(&mut sealer, &text);
            let mut flipped = genuine.clone();
            flipped[at.index(genuine.len())] ^= 1 << bit;
            let before = flipped.clone();
            prop_assert_eq!(opener.open(low, &mut flipped, HEADER), Err(Drop::Forged));
            prop_assert_eq!(flipped, before);
            let mut genuine = genuine;
            prop_assert_eq!(opener.open(low, &mut genuine, HEADER), Ok(&text[..]));
        }

        #[test]
        fn each_packet_opens_exactly_once_however_the_path_repeats_and_reorders(order in prop::collection::vec(0usize..200, 1..400)) {
            let ((mut sealer, _), (_, mut opener)) = Two::new().sessions();
            let packets: Vec<_> = (0..200u8).map(|n| packet(&mut sealer, &[n])).collect();
            let mut opened = [false; 200];
            for n in order {
                let (low, mut bytes) = packets[n].clone();
                let expected = if opened[n] { Err(Drop::Replayed) } else { Ok(&[n as u8][..]) };
                prop_assert_eq!(opener.open(low, &mut bytes, HEADER), expected);
                opened[n] = true;
            }
        }
    }
}
