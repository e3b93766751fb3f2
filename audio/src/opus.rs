//! A small safe wrapper around libopus (RFC 6716): mono, 48 kHz, float samples, hard constant bit rate.
//!
//! Constant bit rate is a privacy rule: with variable rates the sizes of sealed packets tell what is said.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::NonNull;

use opusic_sys as sys;

use crate::error::Error;
use crate::spec::{FrameLen, RATE};

/// Speech to Opus frames of one fixed size.
pub struct Encoder {
    raw: NonNull<sys::OpusEncoder>,
    frame: FrameLen,
    bytes: usize,
}

/// Opus frames to speech, with what fills the holes: in-band FEC and deep packet loss concealment.
pub struct Decoder {
    raw: NonNull<sys::OpusDecoder>,
}

/// What a stream carries against losses. Everything of it is taken from the bits of the voice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// The share of packets that is expected to get lost, in percent; how many bits go into the rest depends on it.
    pub loss: u8,
    /// Each packet carries a coarse copy of the frame before it.
    pub fec: bool,
    /// Each packet carries a coarser copy of so many milliseconds of the past (DRED), at most 1040; 0 for none.
    pub dred_ms: u16,
    /// Not together with DRED.
    pub again: Again,
}

/// What each packet carries of whole packets before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    #[default]
    Nothing,
    /// The one of so many milliseconds before.
    Copy { ms: u16 },
    /// The sum of two.
    Sum,
}

/// The codec refused the frame; the hole is to be concealed.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused;

// SAFETY: libopus states hold no thread-local data and no pointer to anything but themselves and constant tables;
// `&mut self` on every call keeps two threads from using one at the same time.
unsafe impl Send for Encoder {}
// SAFETY: as above.
unsafe impl Send for Decoder {}

impl Encoder {
    /// `bitrate` in bits per second.
    pub fn new(frame: FrameLen, bitrate: u32) -> Result<Encoder, Error> {
        let mut status = sys::OPUS_OK;
        // SAFETY: the rate, channel count and application are among the documented ones and `status` outlives the call.
        let raw = unsafe {
            sys::opus_encoder_create(RATE as i32, MONO, sys::OPUS_APPLICATION_VOIP, &raw mut status)
        };
        let raw = NonNull::new(raw).ok_or(Error::Codec("no encoder"))?;
        let mut encoder = Encoder { raw, frame, bytes: 0 };
        encoder.set(sys::OPUS_SET_VBR_REQUEST, 0)?;
        encoder.tune(frame, bitrate)?;
        encoder.set(sys::OPUS_SET_SIGNAL_REQUEST, sys::OPUS_SIGNAL_VOICE)?;
        encoder.set(sys::OPUS_SET_COMPLEXITY_REQUEST, ENCODER_COMPLEXITY)?;
        Ok(encoder)
    }

    /// Bytes of every frame that [`Encoder::encode`] returns.
    pub fn frame_bytes(&self) -> usize {
        self.bytes
    }

    /// Another length and rate from the next frame on, without a break.
    pub fn tune(&mut self, frame: FrameLen, bitrate: u32) -> Result<(), Error> {
        if !BITRATES.contains(&bitrate) {
            return Err(Error::Bitrate(bitrate));
        }
        let bytes = frame.bytes(bitrate);
        self.set(sys::OPUS_SET_BITRATE_REQUEST, frame.bitrate(bytes) as c_int)?;
        (self.frame, self.bytes) = (frame, bytes);
        Ok(())
    }

    /// What the frames carry against losses from the next one on.
    pub fn protect(&mut self, protection: Protection) -> Result<(), Error> {
        let Protection { loss, fec, dred_ms, again: _ } = protection;
        self.set(sys::OPUS_SET_INBAND_FEC_REQUEST, c_int::from(fec))?;
        self.set(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, c_int::from(loss.min(100)))?;
        self.set(sys::OPUS_SET_DRED_DURATION_REQUEST, c_int::from((dred_ms / 10).min(DRED_FRAMES)))
    }

    /// FEC for the share of frames that receivers lose, in percent; 0 turns it off.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), Error> {
        let percent = match self.frame {
            FrameLen::Ms20 if percent >= WORTH_FEC => percent.max(LEAST_FOR_FEC),
            _ => percent,
        };
        self.protect(Protection { loss: percent, fec: percent > 0, ..Protection::default() })
    }

    /// What it may spend on each frame, 0 to 10; as set at the start it is the best that is worth its cost.
    pub fn set_complexity(&mut self, complexity: u8) -> Result<(), Error> {
        self.set(sys::OPUS_SET_COMPLEXITY_REQUEST, complexity.min(10).into())
    }

    /// Encodes exactly one frame of samples in -1..1.
    pub fn encode(&mut self, pcm: &[f32]) -> Result<Vec<u8>, Refused> {
        if pcm.len() != self.frame.samples() {
            return Err(Refused);
        }
        let mut opus = vec![0; self.bytes];
        // SAFETY: `pcm` holds the announced number of mono samples, `opus` the announced number of bytes.
        let written = unsafe {
            sys::opus_encode_float(
                self.raw.as_ptr(),
                pcm.as_ptr(),
                pcm.len() as c_int,
                opus.as_mut_ptr(),
                opus.len() as i32,
            )
        };
        if written == opus.len() as i32 { Ok(opus) } else { Err(Refused) }
    }

    fn set(&mut self, request: c_int, value: c_int) -> Result<(), Error> {
        // SAFETY: every request used here takes one `opus_int32` by value.
        let status = unsafe { sys::opus_encoder_ctl(self.raw.as_ptr(), request, value) };
        if status == sys::OPUS_OK { Ok(()) } else { Err(Error::Codec("an encoder setting was refused")) }
    }
}

impl Decoder {
    pub fn new() -> Result<Decoder, Error> {
        Decoder::with(DECODER_COMPLEXITY)
    }

    /// Without deep concealment, to compare with.
    pub fn plain() -> Result<Decoder, Error> {
        Decoder::with(0)
    }

    fn with(complexity: c_int) -> Result<Decoder, Error> {
        let mut status = sys::OPUS_OK;
        // SAFETY: the rate and channel count are among the documented ones and `status` outlives the call.
        let raw = unsafe { sys::opus_decoder_create(RATE as i32, MONO, &raw mut status) };
        let raw = NonNull::new(raw).ok_or(Error::Codec("no decoder"))?;
        let decoder = Decoder { raw };
        // SAFETY: the request takes one `opus_int32` by value.
        let status =
            unsafe { sys::opus_decoder_ctl(raw.as_ptr(), sys::OPUS_SET_COMPLEXITY_REQUEST, complexity) };
        if status == sys::OPUS_OK { Ok(decoder) } else { Err(Error::Codec("no deep concealment")) }
    }

    /// Decodes `opus` into `out`, which must be exactly as long as the frame.
    pub fn decode(&mut self, opus: &[u8], out: &mut [f32]) -> Result<(), Refused> {
        if opus.is_empty() {
            return Err(Refused);
        }
        self.run(Some(opus), out, false)
    }

    /// Recovers the lost frame before `next` from the copy inside `next`; `out` as long as the lost frame.
    pub fn recover(&mut self, next: &[u8], out: &mut [f32]) -> Result<(), Refused> {
        if next.is_empty() {
            return Err(Refused);
        }
        self.run(Some(next), out, true)
    }

    /// Invents what was probably said for `out.len()` samples.
    pub fn conceal(&mut self, out: &mut [f32]) -> Result<(), Refused> {
        self.run(None, out, false)
    }

    pub(crate) fn as_ptr(&mut self) -> *mut sys::OpusDecoder {
        self.raw.as_ptr()
    }

    fn run(&mut self, opus: Option<&[u8]>, out: &mut [f32], fec: bool) -> Result<(), Refused> {
        let (data, len) = opus.map_or((std::ptr::null(), 0), |opus| (opus.as_ptr(), opus.len()));
        let len = i32::try_from(len).map_err(|_| Refused)?;
        let room = c_int::try_from(out.len()).map_err(|_| Refused)?;
        // SAFETY: `data` is null with length 0 (the documented call for a lost frame) or points to `len` readable
        // bytes; `out` has room for `room` mono samples.
        let samples = unsafe {
            sys::opus_decode_float(self.raw.as_ptr(), data, len, out.as_mut_ptr(), room, c_int::from(fec))
        };
        if samples == room { Ok(()) } else { Err(Refused) }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: created by `opus_encoder_create`, destroyed once.
        unsafe { sys::opus_encoder_destroy(self.raw.as_ptr()) }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: created by `opus_decoder_create`, destroyed once.
        unsafe { sys::opus_decoder_destroy(self.raw.as_ptr()) }
    }
}

/// Whether `opus` is one well-formed packet that lasts exactly `frame`.
pub(crate) fn lasts(opus: &[u8], frame: FrameLen) -> bool {
    let Ok(len) = i32::try_from(opus.len()) else { return false };
    // SAFETY: `opus` points to `len` readable bytes; a length of 0 is refused before the first read.
    let samples = if len == 0 {
        0
    } else {
        unsafe { sys::opus_packet_get_nb_samples(opus.as_ptr(), len, RATE as i32) }
    };
    samples == frame.samples() as c_int
}

/// Whether `opus` carries a copy of the frame before it.
pub fn has_fec(opus: &[u8]) -> bool {
    let Ok(len) = i32::try_from(opus.len()) else { return false };
    // SAFETY: `opus` points to `len` readable bytes; a length of 0 is refused before the first read.
    len > 0 && unsafe { sys::opus_packet_has_lbrr(opus.as_ptr(), len) } == 1
}

/// Makes a packet `len` bytes long with zeros that mean nothing; `None` when it is longer or no packet.
pub(crate) fn pad(opus: &mut Vec<u8>, len: usize) -> Option<()> {
    let was = i32::try_from(opus.len()).ok()?;
    let wanted = i32::try_from(len).ok()?;
    if was == 0 || wanted < was {
        return None;
    }
    opus.resize(len, 0);
    // SAFETY: `opus` has room for `wanted` bytes, of which the first `was`, at least one, are the packet.
    let status = unsafe { sys::opus_packet_pad(opus.as_mut_ptr(), was, wanted) };
    (status == sys::OPUS_OK).then_some(())
}

/// The packet without its padding, whatever that says; `None` when it is no packet.
pub(crate) fn unpad(mut opus: Vec<u8>) -> Option<Vec<u8>> {
    let len = i32::try_from(opus.len()).ok().filter(|len| *len > 0)?;
    // SAFETY: `opus` has `len` bytes, at least one.
    let len = unsafe { sys::opus_packet_unpad(opus.as_mut_ptr(), len) };
    opus.truncate(usize::try_from(len).ok().filter(|len| *len > 0)?);
    Some(opus)
}

const MONO: c_int = 1;
/// Of 10 ms, the most that libopus takes.
const DRED_FRAMES: u16 = 104;
/// 10 costs 0.3 % of a core more than 5 and sounds better.
const ENCODER_COMPLEXITY: c_int = 10;
/// From 5 on libopus conceals by its neural vocoder; 6 and 7 only cost more.
const DECODER_COMPLEXITY: c_int = 5;
/// Up to 5 % libopus keeps the full bandwidth and often has no bits left for the copy, so nothing can be recovered.
const LEAST_FOR_FEC: u8 = 6;
/// At 5 % loss of 20 ms frames the copies gain intelligibility (ESTOI 0.940 to 0.954 at 32 kbit/s), at 2 % they
/// cost what they bring; with 10 ms frames the gain is not clear.
const WORTH_FEC: u8 = 3;
/// Below 6 kbit/s Opus has no mode; above 256 a mono voice gains nothing.
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=256_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sound::{correlation, find, speech};
    use proptest::prelude::*;

    #[test]
    fn every_frame_has_exactly_the_same_size_whatever_is_said() {
        for (frame, bytes) in [(FrameLen::Ms20, 80), (FrameLen::Ms10, 40)] {
            for loss in [0, 10, 30] {
                let mut encoder = Encoder::new(frame, 32_000).unwrap();
                encoder.expect_loss(loss).unwrap();
                let mut pcm = speech(4.0);
                pcm.resize(pcm.len() + 48_000, 0.0);
                pcm.extend((0..48_000).map(|i| if i % 7 < 3 { 0.9 } else { -0.9 }));
                for frame in pcm.chunks_exact(frame.samples()) {
                    assert_eq!(encoder.encode(frame).unwrap().len(), bytes);
                }
            }
        }
    }

    #[test]
    fn speech_comes_out_as_it_went_in() {
        let (pcm, heard) = through(0, |_| false);
        let (likeness, delay) = find(&pcm[4_800..96_000], &heard[4_800..], 960);
        assert!(likeness > 0.9 && delay.abs_diff(DELAY) < 16, "{likeness} at {delay}");
    }

    #[test]
    fn fec_brings_a_lost_frame_back_better_than_concealment() {
        let lose = |i: usize| i % 9 == 4;
        let (pcm, concealed) = through(0, lose);
        let (_, recovered) = through(20, lose);
        let (mut plc, mut fec) = (0.0, 0.0);
        for i in (0..pcm.len() / 960 - 1).filter(|&i| lose(i)) {
            let lost = &pcm[i * 960..(i + 1) * 960];
            if lost.iter().map(|s| s * s).sum::<f32>() < 0.5 {
                continue;
            }
            plc += correlation(lost, &concealed[i * 960 + DELAY..][..960]);
            fec += correlation(lost, &recovered[i * 960 + DELAY..][..960]);
        }
        assert!(fec > plc * 1.2, "fec {fec} plc {plc}");
    }

    #[test]
    fn fec_is_carried_only_when_loss_is_expected() {
        let pcm = speech(2.0);
        for (loss, carried) in [(0, false), (15, true)] {
            let mut encoder = Encoder::new(FrameLen::Ms20, 32_000).unwrap();
            encoder.expect_loss(loss).unwrap();
            let with = pcm.chunks_exact(960).filter(|f| has_fec(&encoder.encode(f).unwrap())).count();
            assert_eq!(with > 10, carried);
        }
    }

    #[test]
    fn a_packet_of_another_length_is_seen() {
        let mut encoder = Encoder::new(FrameLen::Ms10, 32_000).unwrap();
        let opus = encoder.encode(&[0.0; 480]).unwrap();
        assert!(lasts(&opus, FrameLen::Ms10));
        assert!(!lasts(&opus, FrameLen::Ms20));
        assert!(!lasts(&[], FrameLen::Ms20));
    }

    #[test]
    fn absurd_bitrates_are_refused() {
        assert!(matches!(Encoder::new(FrameLen::Ms20, 0), Err(Error::Bitrate(0))));
        assert!(matches!(Encoder::new(FrameLen::Ms20, u32::MAX), Err(Error::Bitrate(_))));
    }

    proptest! {
        #[test]
        fn garbage_never_breaks_the_decoder(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20)) {
            let mut decoder = Decoder::new().unwrap();
            let mut out = [0.0; 960];
            for packet in packets {
                let _ = (lasts(&packet, FrameLen::Ms20), has_fec(&packet));
                let _ = decoder.decode(&packet, &mut out);
                let _ = decoder.recover(&packet, &mut out);
                decoder.conceal(&mut out).unwrap();
            }
        }
    }

    /// What libopus delays by in this mode, in samples.
    const DELAY: usize = 312;

    fn through(loss: u8, lose: impl Fn(usize) -> bool) -> (Vec<f32>, Vec<f32>) {
        let pcm = speech(4.0);
        let mut encoder = Encoder::new(FrameLen::Ms20, 32_000).unwrap();
        encoder.expect_loss(loss).unwrap();
        let frames: Vec<_> = pcm.chunks_exact(960).map(|f| encoder.encode(f).unwrap()).collect();
        let mut decoder = Decoder::new().unwrap();
        let mut heard = vec![0.0; frames.len() * 960];
        for (i, out) in heard.chunks_exact_mut(960).enumerate() {
            match frames.get(i + 1) {
                _ if !lose(i) => decoder.decode(&frames[i], out).unwrap(),
                Some(next) if has_fec(next) => decoder.recover(next, out).unwrap(),
                _ => decoder.conceal(out).unwrap(),
            }
        }
        (pcm, heard)
    }
}
