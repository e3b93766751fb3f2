//! One connection's bytes: every frame is a length (u16) and a Noise message. The first frame of each side is its half
//! of the Noise_NX handshake, without payload; every later one is a sealed message.

use std::sync::Arc;

use vc_core::crypto::keys::{Rng, StaticKey};
use vc_core::crypto::link::{self, Sealed};
use vc_core::protocol::codec::Malformed;
use vc_core::protocol::signal::MAX_MESSAGE;
use vc_core::protocol::stream::{Frames, frame};

/// The server's end.
pub struct Line {
    frames: Frames,
    state: State,
}

enum State {
    Handshake { key: Arc<StaticKey>, rng: Box<Rng> },
    Open(Box<Sealed>),
}

/// What became of received bytes.
#[derive(Default)]
pub struct Fed {
    /// To be sent now, framed.
    pub answer: Vec<u8>,
    /// Messages of the client, opened, in order.
    pub messages: Vec<Vec<u8>>,
}

impl Line {
    /// `rng` makes the ephemeral key and must be used for nothing else.
    pub fn new(key: Arc<StaticKey>, rng: Rng) -> Self {
        Self { frames: Frames::up_to(MAX_FRAME), state: State::Handshake { key, rng: Box::new(rng) } }
    }

    /// After an error the connection is to be closed.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Malformed> {
        self.frames.push(bytes);
        let mut fed = Fed::default();
        while let Some(body) = self.frames.next()? {
            match &mut self.state {
                State::Handshake { key, rng } => {
                    let (sealed, answer) = link::accept(key, &body, rng).ok_or(Malformed)?;
                    fed.answer = frame(&answer);
                    self.state = State::Open(Box::new(sealed));
                }
                State::Open(sealed) => fed.messages.push(sealed.open(&body).ok_or(Malformed)?),
            }
        }
        Ok(fed)
    }

    /// The message, sealed and framed. `None` before the client has said anything.
    pub fn seal(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Handshake { .. } => None,
            State::Open(sealed) => Some(frame(&sealed.seal(message))),
        }
    }
}

/// The largest message and its tag.
pub const MAX_FRAME: usize = MAX_MESSAGE + 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_core::SeedableRng;
    use vc_core::crypto::link::Dial;

    use super::*;

    fn line() -> (Line, StaticKey) {
        let key = StaticKey::from_bytes([1; 32]);
        (Line::new(Arc::new(key.clone()), Rng::from_seed([2; 32])), key)
    }

    #[test]
    fn a_client_byte_by_byte_is_understood_as_one_in_a_rush() {
        let (mut line, key) = line();
        let (dial, hello) = Dial::start(&mut Rng::from_seed([3; 32]));
        let mut answer = Vec::new();
        for byte in frame(&hello) {
            answer.extend(line.feed(&[byte]).unwrap().answer);
        }
        let mut frames = Frames::up_to(MAX_FRAME);
        frames.push(&answer);
        let (mut sealed, server) = dial.finish(&frames.next().unwrap().unwrap()).unwrap();
        assert!(server == key.public());
        let both = [frame(&sealed.seal(b"one")), frame(&sealed.seal(b"two"))].concat();
        assert_eq!(line.feed(&both).unwrap().messages, [b"one", b"two"]);
        frames.push(&line.seal(b"three").unwrap());
        assert_eq!(sealed.open(&frames.next().unwrap().unwrap()).unwrap(), b"three");
    }

    #[test]
    fn over_long_and_empty_frames_are_refused_at_their_length() {
        for len in [0, MAX_FRAME as u16 + 1, u16::MAX] {
            assert!(line().0.feed(&len.to_be_bytes()).is_err());
        }
    }

    #[test]
    fn a_handshake_of_the_wrong_length_and_a_replayed_message_end_the_line() {
        assert!(line().0.feed(&frame(&[7; 31])).is_err());
        let (mut line, _) = line();
        let (dial, hello) = Dial::start(&mut Rng::from_seed([3; 32]));
        let answer = line.feed(&frame(&hello)).unwrap().answer;
        let (mut sealed, _) = dial.finish(&answer[2..]).unwrap();
        let message = frame(&sealed.seal(b"one"));
        assert!(line.feed(&message).is_ok());
        assert!(line.feed(&message).is_err());
    }
}
