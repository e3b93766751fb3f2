//! Whole messages out of a byte stream: `u16 length || message`, for signaling and for packets over TCP.

use super::codec::{Malformed, Result};

/// Cuts what was received into frames; for both ends.
pub struct Frames {
    longest: usize,
    buffer: Vec<u8>,
    /// How much of `buffer` has been handed out.
    read: usize,
}

impl Frames {
    /// `longest`: what a frame may hold, without its length.
    pub fn up_to(longest: usize) -> Self {
        Self { longest, buffer: Vec::new(), read: 0 }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame. An empty or over-long one is malformed, from its length on: nothing is kept waiting for it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let rest = self.buffer.get(self.read..).unwrap_or_default();
        let Some((len, body)) = rest.split_first_chunk() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes(*len));
        if len == 0 || len > self.longest {
            return Err(Malformed);
        }
        let frame = body.get(..len).map(<[u8]>::to_vec);
        if frame.is_some() {
            self.read += 2 + len;
        }
        if self.read == self.buffer.len() {
            // Idle connections are many; they hold no buffer.
            *self = Self::up_to(self.longest);
        }
        Ok(frame)
    }

    /// What was pushed and not handed out yet.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.read)
    }
}

/// What `Frames` cuts. `body` is shorter than 64 KiB.
pub fn frame(body: &[u8]) -> Vec<u8> {
    debug_assert!(u16::try_from(body.len()).is_ok_and(|len| len > 0));
    let mut frame = Vec::with_capacity(2 + body.len());
    frame.extend_from_slice(&(body.len() as u16).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn over_long_and_empty_frames_are_refused_at_their_length() {
        for len in [0, 11, u16::MAX] {
            let mut frames = Frames::up_to(10);
            frames.push(&len.to_be_bytes());
            assert!(frames.next().is_err());
        }
    }

    #[test]
    fn what_follows_the_frames_taken_so_far_is_handed_over() {
        let mut frames = Frames::up_to(10);
        frames.push(&[frame(b"one"), frame(b"two"), vec![0]].concat());
        assert_eq!(frames.next().unwrap().unwrap(), b"one");
        assert_eq!(frames.into_rest(), [frame(b"two"), vec![0]].concat());
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..20),
            cuts in prop::collection::vec(1usize..30, 1..20),
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let (mut frames, mut out, mut rest) = (Frames::up_to(40), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                let (chunk, later) = rest.split_at((*cut).min(rest.len()));
                frames.push(chunk);
                while let Some(body) = frames.next().unwrap() {
                    out.push(body);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, bodies);
        }
    }
}
