//! What travels inside a session: frames of a TRANSPORT packet, and the messages of its reliable control channel
//! (docs/PROTOCOL.md, "Inside a session").
//!
//! A packet holds one VOICE frame alone, or control frames `type u8 | length u16 | body` followed by zeros.

use std::net::SocketAddr;

use std::fmt;

use super::codec::{Malformed, Reader, Result, Wire, write_list, write_short_text};
use super::entrance::Entrance;
use super::mapping::{Mapping, Ports};
use super::member::{Candidate, MAX_CANDIDATES, MAX_NAME, Seated};
use super::removal::Removals;
use crate::io::{FrameLen, VoiceFrame};

/// One frame.
#[derive(PartialEq, Eq)]
pub enum Frame<'a> {
    /// Is this path alive, and how far is it? Only the member that holds the session can answer.
    Challenge {
        token: [u8; 8],
    },
    /// Proof, sent back by the path that the challenge came on, and where a direct path seems to come from.
    Response {
        token: [u8; 8],
        seen: Option<SocketAddr>,
    },
    /// One message of a reliable channel.
    Stream {
        channel: Channel,
        seq: u32,
        data: &'a [u8],
    },
    /// All up to `upto` have arrived, and `upto + 2 + i` for each set bit i.
    Ack {
        channel: Channel,
        upto: u32,
        bits: u64,
    },
    Report(Report),
    Voice(VoiceFrame),
}

/// Which it is, and how much of it. What was said does not print.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge { .. } => write!(f, "Challenge"),
            Self::Response { .. } => write!(f, "Response"),
            Self::Stream { channel, seq, data } => {
                write!(f, "Stream({channel:?}, {seq}, {} bytes)", data.len())
            }
            Self::Ack { channel, upto, .. } => write!(f, "Ack({channel:?}, {upto})"),
            Self::Report(report) => report.fmt(f),
            Self::Voice(voice) => voice.fmt(f),
        }
    }
}

/// How the voice of the receiver of this came to the sender, since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames that came, and that did not.
    pub got: u16,
    pub lost: u16,
    /// Mean number of frames lost in a row, in tenths.
    pub burst: u16,
    /// Interarrival jitter of RFC 3550, in tenths of a millisecond.
    pub jitter: u16,
    /// By how much the quickest frame was slower than the quickest of the last half minute, in milliseconds: the
    /// queue on the way.
    pub queue: u16,
}

/// The two ordered message streams between a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    Control,
    Chat,
}

/// The frames of one opened packet; stops at the first malformed one.
pub struct Frames<'a> {
    rest: Reader<'a>,
}

impl<'a> Frames<'a> {
    pub fn of(plaintext: &'a [u8]) -> Self {
        Self { rest: Reader::new(plaintext) }
    }

    fn read(&mut self) -> Result<Option<Frame<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let kind = self.rest.u8()?;
        match kind {
            PAD => {
                Reader::new(self.rest.rest()).zeros()?;
                return Ok(None);
            }
            VOICE => return read_voice(&mut self.rest).map(Some),
            _ => {}
        }
        let len = usize::from(self.rest.u16()?);
        let mut r = Reader::new(self.rest.take(len)?);
        let frame = match kind {
            CHALLENGE => Frame::Challenge { token: r.array()? },
            RESPONSE => Frame::Response {
                token: r.array()?,
                seen: (!r.is_empty()).then(|| SocketAddr::read(&mut r)).transpose()?,
            },
            STREAM => Frame::Stream { channel: channel(r.u8()?)?, seq: r.u32()?, data: r.rest() },
            ACK => Frame::Ack { channel: channel(r.u8()?)?, upto: r.u32()?, bits: r.u64()? },
            REPORT => Frame::Report(Report {
                got: r.u16()?,
                lost: r.u16()?,
                burst: r.u16()?,
                jitter: r.u16()?,
                queue: r.u16()?,
            }),
            // A later version's frame: skipped by its length.
            _ => return self.read(),
        };
        r.finish()?;
        Ok(Some(frame))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if matches!(item, Some(Err(Malformed))) {
            self.rest.rest();
        }
        item
    }
}

impl Frame<'_> {
    /// Appends the frame; a voice frame must be the only one of its packet.
    pub fn write(&self, w: &mut Vec<u8>) {
        let start = w.len();
        match self {
            Frame::Challenge { token } => {
                w.extend_from_slice(&[CHALLENGE, 0, 0]);
                w.extend_from_slice(token);
            }
            Frame::Response { token, seen } => {
                w.extend_from_slice(&[RESPONSE, 0, 0]);
                w.extend_from_slice(token);
                seen.iter().for_each(|seen| seen.write(w));
            }
            Frame::Stream { channel, seq, data } => {
                w.extend_from_slice(&[STREAM, 0, 0, channel.number()]);
                w.extend_from_slice(&seq.to_be_bytes());
                w.extend_from_slice(data);
            }
            Frame::Ack { channel, upto, bits } => {
                w.extend_from_slice(&[ACK, 0, 0, channel.number()]);
                w.extend_from_slice(&upto.to_be_bytes());
                w.extend_from_slice(&bits.to_be_bytes());
            }
            Frame::Report(Report { got, lost, burst, jitter, queue }) => {
                w.extend_from_slice(&[REPORT, 0, 0]);
                for figure in [got, lost, burst, jitter, queue] {
                    w.extend_from_slice(&figure.to_be_bytes());
                }
            }
            Frame::Voice(voice) => return write_voice(w, voice),
        }
        let len = (w.len() - start - FRAME_HEADER) as u16;
        w[start + 1..start + FRAME_HEADER].copy_from_slice(&len.to_be_bytes());
    }
}

/// Zeros up to the next size class, so that a length tells little of what is inside.
pub fn pad(plaintext: &mut Vec<u8>, class: usize) {
    let padded = plaintext.len().next_multiple_of(class).min(MAX_PLAINTEXT.max(plaintext.len()));
    plaintext.resize(padded, PAD);
}

impl Channel {
    pub const ALL: [Channel; 2] = [Channel::Control, Channel::Chat];

    pub fn index(self) -> usize {
        match self {
            Self::Control => 0,
            Self::Chat => 1,
        }
    }

    fn number(self) -> u8 {
        self.index() as u8
    }
}

fn channel(byte: u8) -> Result<Channel> {
    match byte {
        0 => Ok(Channel::Control),
        1 => Ok(Channel::Chat),
        _ => Err(Malformed),
    }
}

/// `9 | format u8 | time u32 | Opus`: the format names the frame's duration, its age and the end of a talk spurt, so that
/// a receiver needs to know nothing beforehand. Opus fills the rest; in hard CBR every packet of a talk is one size.
fn write_voice(w: &mut Vec<u8>, voice: &VoiceFrame) {
    let duration = match voice.len {
        FrameLen::Ms10 => 0,
        FrameLen::Ms20 => 1,
        FrameLen::Ms40 => 2,
        FrameLen::Ms60 => 3,
    };
    w.push(VOICE);
    let age = (voice.age_ms / AGE_STEP_MS).min(MOST_AGE) << 2;
    w.push(duration | age | if voice.last_of_talk { LAST_OF_TALK } else { 0 });
    w.extend_from_slice(&voice.time.to_be_bytes());
    w.extend_from_slice(&voice.opus);
}

fn read_voice<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>> {
    let format = r.u8()?;
    let len = match format & DURATION {
        0 => FrameLen::Ms10,
        1 => FrameLen::Ms20,
        2 => FrameLen::Ms40,
        _ => FrameLen::Ms60,
    };
    let age_ms = (format >> 2 & MOST_AGE) * AGE_STEP_MS;
    let last_of_talk = format & LAST_OF_TALK != 0;
    let time = r.u32()?;
    let opus = r.rest();
    if opus.is_empty() || opus.len() > MAX_OPUS {
        return Err(Malformed);
    }
    Ok(Frame::Voice(VoiceFrame { time, len, last_of_talk, age_ms, opus: opus.to_vec() }))
}

/// A message of the control channel.
#[derive(Clone, PartialEq, Eq)]
pub enum Control {
    /// I vouch for this member: it proved the code to me.
    Add(Seated),
    /// I leave, for good.
    Leave,
    /// In the creator's words, by whoever has them: these members are out.
    Removals(Removals),
    /// Where I may be reached now; replaces the list before.
    Candidates(Vec<Candidate>),
    State(State),
    /// I forward for you: a ticket of my own making, for the address by which you reach me.
    Offer {
        body: [u8; 32],
        kb: [u8; 32],
    },
    /// I stop forwarding in a moment.
    Withdraw,
    /// Wrong codes that I have seen at the door since this code was made.
    Fails(u32),
    /// How people get in from now on.
    Entrance(Entrance),
    /// How the NAT in front of me maps.
    Mapping(Mapping),
    /// I open ports towards you from spare sockets now: knock at those that follow this one, or anywhere at its address.
    Meet {
        at: SocketAddr,
        ports: Ports,
    },
}

/// What others need to know of me. The channel is ordered: the last one is true.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct State {
    pub muted: bool,
    pub deafened: bool,
    /// My microphone hears my loudspeaker: who hears an echo knows where it comes from.
    pub echoes: bool,
    /// Willing to forward for friends who cannot meet.
    pub forwards: bool,
    /// Slots that I reach directly.
    pub direct: u16,
    pub name: String,
}

impl Wire for Control {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(match r.u8()? {
            1 => Self::Add(Seated::read(r)?),
            2 => Self::Leave,
            3 => Self::Removals(Removals::read(r)?),
            4 => Self::Candidates(r.list(MAX_CANDIDATES)?),
            5 => {
                let flags = r.u8()?;
                if flags & !(MUTED | DEAFENED | FORWARDS | ECHOES) != 0 {
                    return Err(Malformed);
                }
                Self::State(State {
                    muted: flags & MUTED != 0,
                    deafened: flags & DEAFENED != 0,
                    echoes: flags & ECHOES != 0,
                    forwards: flags & FORWARDS != 0,
                    direct: r.u16()?,
                    name: r.short_text(MAX_NAME)?.to_owned(),
                })
            }
            24 => Self::Offer { body: r.array()?, kb: r.array()? },
            25 => Self::Withdraw,
            6 => Self::Fails(r.u32()?),
            7 => Self::Entrance(Entrance::read(r)?),
            16 => Self::Mapping(Mapping::read(r)?),
            17 => Self::Meet { at: SocketAddr::read(r)?, ports: Ports::read(r)? },
            _ => return Err(Malformed),
        })
    }

    fn write(&self, w: &mut Vec<u8>) {
        match self {
            Self::Add(seated) => {
                w.push(1);
                seated.write(w);
            }
            Self::Leave => w.push(2),
            Self::Removals(removals) => {
                w.push(3);
                removals.write(w);
            }
            Self::Candidates(list) => {
                w.push(4);
                write_list(w, list);
            }
            Self::State(state) => {
                w.push(5);
                let flags = [
                    (state.muted, MUTED),
                    (state.deafened, DEAFENED),
                    (state.forwards, FORWARDS),
                    (state.echoes, ECHOES),
                ];
                w.push(flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
                w.extend_from_slice(&state.direct.to_be_bytes());
                write_short_text(w, &state.name);
            }
            Self::Offer { body, kb } => {
                w.push(24);
                w.extend_from_slice(body);
                w.extend_from_slice(kb);
            }
            Self::Withdraw => w.push(25),
            Self::Fails(count) => {
                w.push(6);
                w.extend_from_slice(&count.to_be_bytes());
            }
            Self::Entrance(entrance) => {
                w.push(7);
                entrance.write(w);
            }
            Self::Mapping(mapping) => {
                w.push(16);
                mapping.write(w);
            }
            Self::Meet { at, ports } => {
                w.push(17);
                at.write(w);
                ports.write(w);
            }
        }
    }
}

/// Largest message of a reliable channel; one datagram each.
pub const MAX_MESSAGE: usize = 1_024;
/// Room inside a sealed packet that still fits through a relay.
pub const MAX_PLAINTEXT: usize =
    super::packet::MAX_INNER - super::packet::TRANSPORT_HEADER - super::packet::TAG;
/// Control packets differ in size only by this step.
pub const CONTROL_CLASS: usize = 32;
/// Chat lines differ in size only by this step.
pub const CHAT_CLASS: usize = 128;
/// What one STREAM frame adds to its data.
pub const STREAM_OVERHEAD: usize = FRAME_HEADER + 1 + 4;
/// 60 ms at 96 kbit/s; RFC 6716 allows more, we never send it.
const MAX_OPUS: usize = 720;
const FRAME_HEADER: usize = 3;
const LAST_OF_TALK: u8 = 0x80;
/// The bits of the duration.
const DURATION: u8 = 3;
/// Five bits reach 124 ms, and nobody hears 4.
const AGE_STEP_MS: u8 = 4;
const MOST_AGE: u8 = 31;

const PAD: u8 = 0;
const CHALLENGE: u8 = 3;
const RESPONSE: u8 = 4;
const STREAM: u8 = 5;
const ACK: u8 = 6;
const REPORT: u8 = 7;
const VOICE: u8 = 9;

const MUTED: u8 = 1;
const DEAFENED: u8 = 2;
const FORWARDS: u8 = 4;
const ECHOES: u8 = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::entrance::Latest;
    use super::super::member::{Codes, Kind, MemberId, Record, Slot};
    use super::super::removal::MAX_GONE;
    use super::*;
    use crate::crypto::keys::{PublicKey, StaticKey};

    #[test]
    fn frames_come_back_in_order_and_padding_is_silent() {
        let frames = [
            Frame::Challenge { token: [3; 8] },
            Frame::Response { token: [4; 8], seen: None },
            Frame::Response { token: [4; 8], seen: Some("192.0.2.1:5000".parse().unwrap()) },
            Frame::Stream { channel: Channel::Chat, seq: 5, data: b"hello" },
            Frame::Ack { channel: Channel::Control, upto: 6, bits: 7 },
            Frame::Report(Report { got: 8, lost: 9, burst: 10, jitter: 11, queue: 12 }),
        ];
        let mut w = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut w));
        pad(&mut w, CONTROL_CLASS);
        assert_eq!(w.len() % CONTROL_CLASS, 0);
        let back: Vec<_> = Frames::of(&w).collect::<Result<_>>().unwrap();
        assert_eq!(back, frames);
    }

    #[test]
    fn an_answer_that_says_how_the_asker_is_seen_is_no_longer_than_the_question() {
        let mut sizes = [Vec::new(), Vec::new()];
        Frame::Challenge { token: [1; 8] }.write(&mut sizes[0]);
        let seen = "[2001:db8::1]:5000".parse().ok();
        Frame::Response { token: [1; 8], seen }.write(&mut sizes[1]);
        sizes.iter_mut().for_each(|plaintext| pad(plaintext, CONTROL_CLASS));
        assert_eq!(sizes[0].len(), sizes[1].len());
    }

    #[test]
    fn a_voice_frame_stands_alone_and_its_size_is_its_payload_s() {
        let mut voice = VoiceFrame {
            time: 0xfffffffe,
            len: FrameLen::Ms20,
            last_of_talk: true,
            age_ms: 24,
            opus: vec![7; 80],
        };
        let mut w = Vec::new();
        Frame::Voice(voice.clone()).write(&mut w);
        assert_eq!(w.len(), 86);
        assert_eq!(Frames::of(&w).next(), Some(Ok(Frame::Voice(voice.clone()))));
        for (age_ms, told) in [(3, 0), (43, 40), (255, 124)] {
            voice.age_ms = age_ms;
            let mut w = Vec::new();
            Frame::Voice(voice.clone()).write(&mut w);
            let heard = VoiceFrame { age_ms: told, ..voice.clone() };
            assert_eq!(Frames::of(&w).next(), Some(Ok(Frame::Voice(heard))));
        }
        assert_eq!(Frames::of(&[VOICE, 1, 0, 0, 0, 0]).next(), Some(Err(Malformed)));
    }

    #[test]
    fn an_unknown_frame_is_skipped_and_a_malformed_one_ends_the_packet() {
        let mut w = vec![200, 0, 2, 9, 9];
        Frame::Challenge { token: [1; 8] }.write(&mut w);
        w.extend_from_slice(&[CHALLENGE, 0, 3, 0, 0, 0]);
        Frame::Challenge { token: [2; 8] }.write(&mut w);
        let got: Vec<_> = Frames::of(&w).collect();
        assert_eq!(got, [Ok(Frame::Challenge { token: [1; 8] }), Err(Malformed)]);
        assert_eq!(Frames::of(&[PAD, 1]).next(), Some(Err(Malformed)));
    }

    #[test]
    fn many_unknown_frames_do_not_exhaust_the_stack() {
        let w = [200, 0, 0].repeat(MAX_PLAINTEXT / 3);
        assert_eq!(Frames::of(&w).count(), 0);
    }

    #[test]
    fn control_messages_survive_and_fit_one_datagram() {
        let candidate = Candidate { kind: Kind::Host, addr: "10.0.0.1:5000".parse().unwrap() };
        let record = Record {
            key: PublicKey([1; 32]),
            name: "n".repeat(MAX_NAME),
            relay_only: false,
            candidates: vec![candidate; MAX_CANDIDATES],
        };
        let codes = Codes { spoken: Some((12_345, "tiger-orbit-ocean".into())), link: None };
        let by = StaticKey::from_bytes([3; 32]);
        let entrance = Entrance { locked: Latest::first(&by, true), codes: Latest::first(&by, codes) };
        let removals = (0..MAX_GONE as u8)
            .fold(None, |before, n| Some(Removals::with(&by, before.as_ref(), MemberId([n; 8]))));
        for control in [
            Control::Add(Seated { slot: Slot::new(1).unwrap(), record }),
            Control::Leave,
            Control::Removals(removals.unwrap()),
            Control::Candidates(vec![candidate]),
            Control::State(State { muted: true, direct: 5, name: "ada".into(), ..State::default() }),
            Control::Offer { body: [1; 32], kb: [2; 32] },
            Control::Withdraw,
            Control::Fails(3),
            Control::Entrance(entrance),
            Control::Mapping(Mapping::Independent),
            Control::Meet { at: candidate.addr, ports: Ports::Sequential { step: -1 } },
        ] {
            let bytes = control.encode();
            assert!(bytes.len() <= MAX_MESSAGE);
            assert!(Control::decode(&bytes).unwrap() == control);
        }
        const { assert!(MAX_MESSAGE + STREAM_OVERHEAD <= MAX_PLAINTEXT) };
    }
}
