//! Client to signaling over a byte stream: Noise_NX (Noise revision 34), two messages, then sealed messages in order.
//! It hides metadata on the wire; a room's security does not rest on it.

use snow::{Builder, HandshakeState};

use super::aead::{Aead, TAG};
use super::keys::{PublicKey, Rng, Secret, StaticKey};
use super::noise::{COMPLETE, builder, split};

/// The client between its message and the server's.
pub struct Dial(Box<HandshakeState>);

impl Dial {
    /// Message 1: `e 32`.
    pub fn start(rng: &mut Rng) -> (Dial, Vec<u8>) {
        let mut state =
            builder(LINK, rng).prologue(PROLOGUE).and_then(Builder::build_initiator).expect(COMPLETE);
        let mut msg1 = vec![0; HELLO];
        state.write_message(&[], &mut msg1).expect("an ephemeral key is all that message 1 carries");
        (Dial(Box::new(state)), msg1)
    }

    /// Reads message 2. The server's key must be compared with the pinned one before anything is sent. `None` means
    /// the connection is of no use.
    pub fn finish(mut self, msg2: &[u8]) -> Option<(Sealed, PublicKey)> {
        if msg2.len() != ANSWER {
            return None;
        }
        self.0.read_message(msg2, &mut []).ok()?;
        let server = PublicKey(self.0.get_remote_static()?.try_into().ok()?);
        let (mine, theirs) = split(&mut self.0);
        Some((Sealed::new(&mine, &theirs), server))
    }
}

/// The server's side: reads message 1 and writes message 2: `e 32 | s 48 | tag 16`.
pub fn accept(server: &StaticKey, msg1: &[u8], rng: &mut Rng) -> Option<(Sealed, Vec<u8>)> {
    if msg1.len() != HELLO {
        return None;
    }
    let mut state = builder(LINK, rng)
        .prologue(PROLOGUE)
        .and_then(|b| b.local_private_key(server.secret().as_bytes()))
        .and_then(Builder::build_responder)
        .expect(COMPLETE);
    state.read_message(msg1, &mut []).ok()?;
    let mut msg2 = vec![0; ANSWER];
    state.write_message(&[], &mut msg2).ok()?;
    let (theirs, mine) = split(&mut state);
    Some((Sealed::new(&mine, &theirs), msg2))
}

/// Both directions of an open link. The stream keeps the order, so counters are implied.
pub struct Sealed {
    sending: Aead,
    sent: u64,
    receiving: Option<Aead>,
    received: u64,
}

impl Sealed {
    fn new(mine: &Secret<32>, theirs: &Secret<32>) -> Self {
        Self { sending: Aead::new(mine), sent: 0, receiving: Some(Aead::new(theirs)), received: 0 }
    }

    /// The message, 16 bytes longer.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(plain.len() + TAG);
        message.extend_from_slice(plain);
        self.sending.seal(self.sent, &mut message, 0);
        // 2^64 messages on one connection would take longer than any of its ends lasts.
        self.sent += 1;
        message
    }

    /// `None` when the message is not the next one of the peer: the connection is then to be closed, and no later
    /// message opens either.
    pub fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let aead = self.receiving.take()?;
        let mut message = sealed.to_vec();
        let len = aead.open(self.received, &mut message, 0)?.len();
        message.truncate(len);
        self.received += 1;
        self.receiving = Some(aead);
        Some(message)
    }
}

const LINK: &str = "Noise_NX_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"vc1 sig";

/// Bytes of message 1: ephemeral 32.
pub const HELLO: usize = 32;
/// Bytes of message 2: ephemeral 32, sealed static 48, tag 16.
pub const ANSWER: usize = 96;
