//! Parsers: they never panic, never invent, and what they accept has exactly one spelling.

use vc_core::net::outbox::Outbox;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::control::{Control, Frame, Frames, MAX_PLAINTEXT};
use vc_core::protocol::member::{Candidate, Codes, Record, Seated};
use vc_core::protocol::packet::{
    MAX_UDP, Packet, TAG, TRANSPORT_HEADER, down, hs_init, hs_resp, keep, kept, probe, probe_by, probed,
    reset, retry, transport_header, up,
};
use vc_core::protocol::removal::Removals;
use vc_core::protocol::signal::{MAX_BLOB, Mail, ToClient, ToServer};
use vc_core::protocol::stream;
use vc_core::protocol::welcome::Welcome;

pub fn packet(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else { return };
    assert!(data.len() <= MAX_UDP);
    let again = match packet {
        Packet::HsInit { sender, noise, gated, gate } => {
            assert!(gated == &data[..data.len() - TAG], "the gate must cover all before it");
            [&hs_init(sender, noise)[..], gate].concat()
        }
        Packet::HsResp { sender, receiver, noise, gated, gate } => {
            assert!(gated == &data[..data.len() - TAG], "the gate must cover all before it");
            [&hs_resp(sender, receiver, noise)[..], gate].concat()
        }
        Packet::Transport { receiver, counter } => {
            [&transport_header(receiver, counter)[..], &data[TRANSPORT_HEADER..]].concat()
        }
        Packet::Probe { nonce } => probe(nonce),
        Packet::ProbeBy { nonce, by } => probe_by(nonce, by),
        Packet::Probed { nonce, seen } => probed(nonce, seen),
        Packet::Bind(bind) => bind.packet(),
        Packet::Retry { nonce, cookie, seen } => retry(nonce, cookie, seen),
        Packet::Bound(bound) => bound.packet(),
        Packet::Up { bind, to, inner } => up(bind, to, inner),
        Packet::Down { from, inner } => {
            self::packet(inner);
            down(from, inner)
        }
        Packet::Keep { bind, echo } => keep(bind, echo),
        Packet::Kept { echo, present } => kept(echo, present),
        Packet::Reset { bind } => reset(bind),
    };
    assert!(again == data, "two spellings of one packet");
}

pub fn frames(data: &[u8]) {
    let plaintext = &data[..data.len().min(MAX_PLAINTEXT)];
    let mut failed = false;
    for (n, frame) in Frames::of(plaintext).enumerate() {
        assert!(!failed, "something was read behind a malformed frame");
        assert!(n <= plaintext.len(), "more frames than bytes");
        let Ok(frame) = frame else {
            failed = true;
            continue;
        };
        let mut spelled = Vec::new();
        frame.write(&mut spelled);
        let mut again = Frames::of(&spelled);
        assert!(again.next() == Some(Ok(frame)) && again.next().is_none(), "a frame changed on its way");
    }
}

/// The length of the first chunk, and then what a TCP connection brings in chunks of that length.
pub fn stream(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let whole = cut_out(&mut stream::Frames::up_to(MAX_UDP), [data].into_iter());
    let chunked = cut_out(&mut stream::Frames::up_to(MAX_UDP), data.chunks(usize::from(*cut).max(1)));
    assert!(whole == chunked, "where a stream is cut matters");
    let (frames, sound) = whole;
    let spelled: Vec<u8> = frames.iter().flat_map(|frame| stream::frame(frame)).collect();
    assert!(data.starts_with(&spelled), "two spellings of one stream");
    let mut rest = stream::Frames::up_to(MAX_UDP);
    rest.push(data);
    while let Ok(Some(_)) = rest.next() {}
    assert!(rest.into_rest() == data[spelled.len()..]);
    if sound {
        assert!(data.len() - spelled.len() < 2 + MAX_UDP, "more is kept than a frame holds");
    }
    // A relay's queue, in front of a connection that takes one packet for every two.
    let mut outbox = Outbox::default();
    for (n, frame) in frames.iter().enumerate() {
        outbox.push(frame);
        if n % 2 == 0 {
            assert!(outbox.pop().is_some());
        }
    }
    assert!(std::iter::from_fn(|| outbox.pop()).count() <= 20);
}

/// All frames, and whether the stream may go on behind them.
fn cut_out<'a>(frames: &mut stream::Frames, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let mut all = Vec::new();
    for chunk in chunks {
        frames.push(chunk);
        loop {
            match frames.next() {
                Ok(Some(frame)) => all.push(frame),
                Ok(None) => break,
                Err(_) => return (all, false),
            }
        }
    }
    (all, true)
}

pub fn control(data: &[u8]) {
    unique::<Control>(data);
    // As the only message of a packet, too.
    let mut plaintext = Vec::new();
    let data = &data[..data.len().min(vc_core::protocol::control::MAX_MESSAGE)];
    let channel = vc_core::protocol::control::Channel::Control;
    Frame::Stream { channel, seq: 7, data }.write(&mut plaintext);
    assert!(Frames::of(&plaintext).eq([Ok(Frame::Stream { channel, seq: 7, data })]));
}

pub fn welcome_and_records(data: &[u8]) {
    unique::<Welcome>(data);
    unique::<Removals>(data);
    unique::<Seated>(data);
    unique::<Record>(data);
    unique::<Codes>(data);
    unique::<Candidate>(data);
}

pub fn signal_to_client(data: &[u8]) {
    unique::<ToClient>(data);
}

pub fn signal_to_server(data: &[u8]) {
    unique::<ToServer>(data);
}

pub fn mail(data: &[u8]) {
    let data = &data[..data.len().min(MAX_BLOB)];
    let Ok(mail) = Mail::parse(data) else { return };
    assert!(mail.blob() == data, "two spellings of one letter");
    if let Mail::Packet(inner) = mail {
        packet(inner);
    }
}

fn unique<T: Wire>(data: &[u8]) {
    if let Ok(value) = T::decode(data) {
        assert!(value.encode() == data, "two spellings of one message");
    }
}
