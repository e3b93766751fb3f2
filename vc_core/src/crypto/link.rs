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
        // `snow` asks for the room of a tag even where it writes none.
        let mut msg1 = vec![0; HELLO + TAG];
        state.write_message(&[], &mut msg1).expect("message 1 is an ephemeral key and there is room for it");
        msg1.truncate(HELLO);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::noise::with_ephemeral;
    use super::*;
    use crate::crypto::vectors::read;
    use rand_core::SeedableRng;

    fn rng(seed: u8) -> Rng {
        Rng::from_seed([seed; 32])
    }

    fn server() -> StaticKey {
        StaticKey::generate(&mut rng(9))
    }

    fn open() -> (Sealed, Sealed) {
        let (dial, msg1) = Dial::start(&mut rng(1));
        let (theirs, msg2) = accept(&server(), &msg1, &mut rng(2)).unwrap();
        (dial.finish(&msg2).unwrap().0, theirs)
    }

    #[test]
    fn the_cacophony_vector_holds_from_the_first_message_to_the_last() {
        let v = read(include_str!("../../tests/vectors/noise_nx.txt"));
        let key = |name: &str| Secret::<32>::new(v[name].as_slice().try_into().unwrap());
        let mut client = with_ephemeral(LINK, key("init_ephemeral"))
            .prologue(&v["prologue"])
            .and_then(Builder::build_initiator)
            .unwrap();
        let mut server = with_ephemeral(LINK, key("resp_ephemeral"))
            .prologue(&v["prologue"])
            .and_then(|b| b.local_private_key(&v["resp_static"]))
            .and_then(Builder::build_responder)
            .unwrap();

        let (mut buffer, mut read) = ([0; 256], [0; 256]);
        let len = client.write_message(&v["payload_1"], &mut buffer).unwrap();
        assert_eq!(buffer[..len], v["message_1"]);
        server.read_message(&buffer[..len], &mut read).unwrap();
        let len = server.write_message(&v["payload_2"], &mut buffer).unwrap();
        assert_eq!(buffer[..len], v["message_2"]);
        client.read_message(&buffer[..len], &mut read).unwrap();
        assert_eq!(client.get_handshake_hash(), v["handshake_hash"]);

        let (to_server, to_client) = split(&mut client);
        let mut ends = [Sealed::new(&to_server, &to_client), Sealed::new(&to_client, &to_server)];
        for n in 3..=6 {
            let (payload, message) =
                (&v[format!("payload_{n}").as_str()], &v[format!("message_{n}").as_str()]);
            assert_eq!(&ends[(n + 1) % 2].seal(payload), message);
            assert_eq!(&ends[n % 2].open(message).unwrap(), payload);
        }
    }

    #[test]
    fn the_client_learns_the_servers_key_and_both_talk_in_order() {
        let (dial, msg1) = Dial::start(&mut rng(1));
        let (mut theirs, msg2) = accept(&server(), &msg1, &mut rng(2)).unwrap();
        let (mut mine, key) = dial.finish(&msg2).unwrap();
        assert!(key == server().public());
        for n in 0..3 {
            let hello = mine.seal(&[n; 5]);
            assert_eq!(hello.len(), 5 + 16);
            assert_eq!(theirs.open(&hello), Some(vec![n; 5]));
            assert_eq!(mine.open(&theirs.seal(b"")), Some(Vec::new()));
        }
    }

    #[test]
    fn no_flipped_bit_in_the_servers_message_is_accepted() {
        let (_, msg1) = Dial::start(&mut rng(1));
        let (_, msg2) = accept(&server(), &msg1, &mut rng(2)).unwrap();
        for bit in 0..ANSWER * 8 {
            let mut flipped = msg2.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Dial::start(&mut rng(1)).0.finish(&flipped).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn other_lengths_and_a_low_order_ephemeral_are_refused() {
        for len in [0, HELLO - 1, HELLO + 1, 65_536] {
            assert!(accept(&server(), &vec![7; len], &mut rng(2)).is_none());
        }
        assert!(accept(&server(), &[0; HELLO], &mut rng(2)).is_none());
        for len in [0, ANSWER - 1, ANSWER + 1] {
            assert!(Dial::start(&mut rng(1)).0.finish(&vec![7; len]).is_none());
        }
    }

    #[test]
    fn a_message_repeated_skipped_or_changed_ends_the_link() {
        type Spoil = fn(&mut Sealed) -> Vec<Vec<u8>>;
        let spoilt: [Spoil; 4] = [
            |mine| vec![mine.seal(b"one"); 2],
            |mine| vec![mine.seal(b"zero"), mine.seal(b"one")].split_off(1),
            |mine| vec![mine.seal(b"one").iter().map(|b| b ^ 1).collect()],
            |_| vec![Vec::new()],
        ];
        for spoil in spoilt {
            let (mut mine, mut theirs) = open();
            let mut opened: Vec<_> = spoil(&mut mine).iter().map(|message| theirs.open(message)).collect();
            assert_eq!(opened.pop(), Some(None));
            assert_eq!(theirs.open(&mine.seal(b"after")), None);
        }
    }
}
