//! Deep redundancy (DRED, draft-ietf-mlcodec-opus-dred): a coarse copy of up to a second of past speech that travels in
//! the padding of an Opus packet. It is unpacked once per packet and then decoded from any place in it.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::NonNull;

use opusic_sys as sys;

use crate::error::Error;
use crate::opus::{Decoder, Refused};
use crate::spec::RATE;

/// What one packet knows of the past.
pub struct Dred {
    unpacker: NonNull<sys::OpusDREDDecoder>,
    state: NonNull<sys::OpusDRED>,
    /// The packet that was unpacked last, and how far back it reaches.
    packet: Vec<u8>,
    reach: usize,
}

// SAFETY: as for the codec's own states in `crate::opus`.
unsafe impl Send for Dred {}

impl Dred {
    pub fn new() -> Result<Dred, Error> {
        let mut status = sys::OPUS_OK;
        // SAFETY: `status` outlives the calls; what was made is destroyed in `drop` or right here.
        unsafe {
            let unpacker = sys::opus_dred_decoder_create(&raw mut status);
            let unpacker = NonNull::new(unpacker).ok_or(Error::Codec("no redundancy decoder"))?;
            let state = NonNull::new(sys::opus_dred_alloc(&raw mut status));
            let Some(state) = state else {
                sys::opus_dred_decoder_destroy(unpacker.as_ptr());
                return Err(Error::Codec("no redundancy state"));
            };
            Ok(Dred { unpacker, state, packet: Vec::new(), reach: 0 })
        }
    }

    /// Unpacks what `opus` holds; returns how many samples before it can be decoded, 0 when it holds nothing.
    pub fn unpack(&mut self, opus: &[u8]) -> usize {
        if self.packet == opus {
            return self.reach;
        }
        self.packet.clear();
        self.reach = 0;
        let Ok(len) = i32::try_from(opus.len()) else { return 0 };
        if len == 0 {
            return 0;
        }
        let mut silent: c_int = 0;
        // SAFETY: both states are alive, `opus` points to `len` readable bytes, `silent` outlives the call.
        let reach = unsafe {
            sys::opus_dred_parse(
                self.unpacker.as_ptr(),
                self.state.as_ptr(),
                opus.as_ptr(),
                len,
                LONGEST,
                RATE as i32,
                &raw mut silent,
                0,
            )
        };
        self.packet.extend_from_slice(opus);
        self.reach = usize::try_from(reach).unwrap_or(0);
        self.reach
    }

    /// Decodes `out.len()` samples that begin `back` samples before the packet that was unpacked last.
    pub fn decode(&self, decoder: &mut Decoder, back: usize, out: &mut [f32]) -> Result<(), Refused> {
        if back == 0 || back > self.reach {
            return Err(Refused);
        }
        let offset = i32::try_from(back).map_err(|_| Refused)?;
        let room = c_int::try_from(out.len()).map_err(|_| Refused)?;
        // SAFETY: the state was filled by a successful `opus_dred_parse` (`reach` says so) and `out` has `room` samples.
        let samples = unsafe {
            sys::opus_decoder_dred_decode_float(
                decoder.as_ptr(),
                self.state.as_ptr(),
                offset,
                out.as_mut_ptr(),
                room,
            )
        };
        if samples == room { Ok(()) } else { Err(Refused) }
    }
}

impl Drop for Dred {
    fn drop(&mut self) {
        // SAFETY: both were created in `new` and are destroyed once.
        unsafe {
            sys::opus_dred_free(self.state.as_ptr());
            sys::opus_dred_decoder_destroy(self.unpacker.as_ptr());
        }
    }
}

/// The format holds 1.04 s at most, in samples.
const LONGEST: i32 = RATE as i32 * 104 / 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::measure::{estoi, tests::at_48k};
    use crate::opus::{Encoder, Protection};
    use crate::spec::FrameLen;
    use proptest::prelude::*;

    #[test]
    fn a_burst_comes_back_more_intelligible_than_by_concealment() {
        let said = at_48k("bob");
        let lost = |i: usize| i % 20 < 6;
        let heard = |dred: bool| {
            let mut encoder = Encoder::new(FrameLen::Ms20, 32_000).unwrap();
            let ms = if dred { 300 } else { 0 };
            encoder.protect(Protection { loss: 30, dred_ms: ms, ..Protection::default() }).unwrap();
            let frames: Vec<_> = said.chunks_exact(960).map(|f| encoder.encode(f).unwrap()).collect();
            assert!(frames.iter().all(|f| f.len() == 80), "one size");
            let (mut decoder, mut unpacked) = (Decoder::new().unwrap(), Dred::new().unwrap());
            let mut heard = vec![0.0; frames.len() * 960];
            for (i, out) in heard.chunks_exact_mut(960).enumerate() {
                let next = (i..frames.len()).find(|i| !lost(*i)).unwrap_or(i);
                let known = lost(i) && next > i && unpacked.unpack(&frames[next]) > 0;
                if !lost(i) {
                    decoder.decode(&frames[i], out).unwrap();
                } else if !known || unpacked.decode(&mut decoder, (next - i) * 960, out).is_err() {
                    decoder.conceal(out).unwrap();
                }
            }
            estoi(&said[..said.len() - 960], &heard[312..], 48_000).unwrap()
        };
        let (with, without) = (heard(true), heard(false));
        assert!(with > without + 0.05, "{with} with, {without} without");
    }

    #[test]
    fn a_packet_without_redundancy_knows_nothing() {
        let mut encoder = Encoder::new(FrameLen::Ms20, 32_000).unwrap();
        let mut dred = Dred::new().unwrap();
        let opus = encoder.encode(&[0.0; 960]).unwrap();
        assert_eq!(dred.unpack(&opus), 0);
        assert_eq!(dred.decode(&mut Decoder::new().unwrap(), 960, &mut [0.0; 960]), Err(Refused));
    }

    proptest! {
        #[test]
        fn garbage_is_refused(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20), back in 0usize..50_000) {
            let (mut decoder, mut dred) = (Decoder::new().unwrap(), Dred::new().unwrap());
            for packet in packets {
                dred.unpack(&packet);
                let _ = dred.decode(&mut decoder, back / 120 * 120, &mut [0.0; 960]);
            }
        }
    }
}
