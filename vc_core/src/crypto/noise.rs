//! Sessions between two members: Noise_IKpsk2 (Noise revision 34, as in WireGuard) by `snow`, then datagrams sealed
//! for exactly one peer, with the header as associated data.

use rand_core::RngCore;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

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
    let mut ephemeral = Zeroizing::new([0; 32]);
    rng.fill_bytes(ephemeral.as_mut_slice());
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
struct Seeded(Zeroizing<[u8; 32]>);

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
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let bytes = self.0.take().filter(|bytes| bytes.len() == dest.len()).ok_or(snow::Error::Rng)?;
        dest.copy_from_slice(bytes.as_slice());
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
