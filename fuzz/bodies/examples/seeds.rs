//! Writes the genuine part of every corpus: `cargo run -p fuzz_bodies --example seeds`. What fuzzing found lies beside
//! it under names of its own.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::{fs, io};

use audio::{Encoder, FrameLen};
use rand_core::SeedableRng;
use vc_core::crypto::keys::{PublicKey, Rng, StaticKey};
use vc_core::crypto::ticket::TicketBody;
use vc_core::io::{FrameLen as Len, VoiceFrame};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::control::{CONTROL_CLASS, Channel, Control, Frame, Report, State, pad};
use vc_core::protocol::entrance::{Entrance, Latest};
use vc_core::protocol::member::{Candidate, Codes, Kind, MemberId, Record, Seated, Slot};
use vc_core::protocol::packet::*;
use vc_core::protocol::removal::Removals;
use vc_core::protocol::signal::{
    Form, Mail, Nameplate, Offer, Party, Refusal, ToClient, ToServer, Turned, VERSION as SIGNAL,
};
use vc_core::protocol::welcome::Welcome;

type Seeds = Vec<Vec<u8>>;

fn main() -> io::Result<()> {
    let seeds: [(&str, Seeds); 17] = [
        ("packet", packets()),
        ("frames", frames()),
        ("stream", streams()),
        ("control", controls().iter().map(Wire::encode).collect()),
        ("welcome_and_records", records()),
        ("signal_to_client", to_client().iter().map(Wire::encode).collect()),
        ("signal_to_server", to_server().iter().map(Wire::encode).collect()),
        ("mail", mails()),
        ("code_text", codes()),
        ("sanitiser", texts()),
        ("ticket", vec![ticket().to_vec(), [0; 32].to_vec()]),
        ("admission", admissions()),
        ("handshake", handshakes()),
        ("signaling_connection", conversations()),
        ("forwarder", forwarded()),
        ("room_inputs", stays()),
        ("opus", speech()),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (target, files) in seeds {
        fs::create_dir_all(corpus.join(target))?;
        for (n, bytes) in files.iter().enumerate() {
            fs::write(corpus.join(target).join(format!("seed_{n:02}")), bytes)?;
        }
    }
    Ok(())
}

/// A whole exchange, in chunks of seven bytes; and the lengths that end a connection.
fn streams() -> Seeds {
    let whole: Vec<u8> =
        packets().iter().flat_map(|packet| vc_core::protocol::stream::frame(packet)).collect();
    vec![[&[7][..], &whole].concat(), vec![1, 0, 3, 1, 2, 3, 0, 0], vec![9, 4, 177, 1], vec![200, 0, 1, 5, 0]]
}

fn packets() -> Seeds {
    let slot = Slot::new(3).unwrap();
    let gate = [9; 16];
    let transport = [&transport_header(7, 8)[..], &[1; 40]].concat();
    let bind = Bind { version: VERSION, body: ticket(), nonce: [1; 8], cookie: [2; 16], mac: [3; 16] };
    let bound = Bound { nonce: [1; 8], bind: 5, slot, ttl: 60, seen: v4(), mac: [4; 16] };
    vec![
        [hs_init(1, &[2; INIT_NOISE]), gate.to_vec()].concat(),
        [hs_resp(1, 2, &[3; RESP_NOISE]), gate.to_vec()].concat(),
        transport.clone(),
        probe([1; 8]),
        probed([1; 8], v4()),
        probed([1; 8], v6()),
        bind.packet(),
        retry([1; 8], [2; 16], v6()),
        bound.packet(),
        up(5, slot, &transport),
        down(slot, &transport),
        keep(5, 6),
        kept(6, 0b101),
        reset(5),
    ]
}

fn frames() -> Seeds {
    let opus = vec![0xFC; 80];
    let frames = [
        Frame::Challenge { token: [1; 8] },
        Frame::Response { token: [2; 8], seen: None },
        Frame::Stream { channel: Channel::Chat, seq: 3, data: b"hello" },
        Frame::Ack { channel: Channel::Control, upto: 4, bits: 0b101 },
        Frame::Report(Report { got: 50, lost: 2, burst: 15, jitter: 40, queue: 12 }),
        Frame::Voice(VoiceFrame { time: 9, len: Len::Ms20, last_of_talk: true, age_ms: 0, opus }),
    ];
    let mut seeds: Seeds = frames.iter().map(spelled).collect();
    let mut together: Vec<u8> = frames[..5].iter().flat_map(spelled).collect();
    together.extend([200, 0, 1, 7]);
    pad(&mut together, CONTROL_CLASS);
    seeds.push(together);
    seeds
}

fn controls() -> Vec<Control> {
    let state = State {
        muted: true,
        deafened: false,
        echoes: false,
        forwards: true,
        direct: 5,
        name: "Ann".to_owned(),
    };
    vec![
        Control::Add(seated()),
        Control::Leave,
        Control::Removals(removals(MemberId([7; 8]))),
        Control::Candidates(seated().record.candidates),
        Control::State(state),
        Control::Fails(3),
        Control::Entrance(entrance()),
    ]
}

fn records() -> Seeds {
    let welcome = Welcome {
        room: [1; 16],
        secret: [2; 32],
        creator: MemberId([3; 8]),
        warden: warden().public(),
        entrance: entrance(),
        members: vec![seated(), seated()],
        gone: vec![MemberId([4; 8])],
        removals: Some(removals(MemberId([5; 8]))),
        absent: vec![MemberId([6; 8])],
    };
    let candidate = Candidate { kind: Kind::PortMapped, addr: v6() };
    vec![
        welcome.encode(),
        seated().encode(),
        seated().record.encode(),
        shared_codes().encode(),
        candidate.encode(),
    ]
}

fn to_client() -> Vec<ToClient> {
    let slot = Slot::new(2).unwrap();
    vec![
        ToClient::Hello { version: SIGNAL, probes: vec![v4(), v6()] },
        ToClient::Created { room_nonce: [1; 16], nameplate: Nameplate::Spoken(48_213) },
        ToClient::Joined { room_nonce: [1; 16], visitor: 7, door: slot },
        ToClient::Mail { from: Party::Slot(slot), blob: Mail::B1(&[5; 40]).blob() },
        ToClient::Mail { from: Party::Visitor(1), blob: Mail::A1(&[5; 40]).blob() },
        ToClient::Seat { slot, proof: [6; 91] },
        ToClient::Tickets { offers: vec![Offer { relay: v4(), body: ticket(), kb: [8; 32] }] },
        ToClient::Visitor { visitor: 7, nameplate: Nameplate::Link([9; 10]) },
        ToClient::Present { slots: 0b11 },
        ToClient::Plate { nameplate: Nameplate::Link([9; 10]) },
        ToClient::Pong,
        ToClient::Admitted { visitor: 7, slot },
        ToClient::Refused(Refusal::TooFast),
        ToClient::Removed { removals: removals(MemberId([4; 8])) },
    ]
}

fn to_server() -> Vec<ToServer> {
    vec![
        ToServer::Hello { version: SIGNAL },
        ToServer::Create { form: Form::Spoken, warden: warden().public() },
        ToServer::Join { nameplate: Nameplate::Spoken(48_213) },
        ToServer::Mail { to: Party::Visitor(7), blob: vec![1, 2, 3] },
        ToServer::Admit { visitor: 7, taken: 1, id: MemberId([4; 8]) },
        ToServer::Tickets,
        ToServer::Reclaim { proof: [6; 91] },
        ToServer::NewCode { form: Form::Link },
        ToServer::Leave,
        ToServer::Ping,
        ToServer::Evict { removals: removals(MemberId([4; 8])) },
    ]
}

fn mails() -> Seeds {
    let turned = [Turned::WrongCode, Turned::Locked, Turned::Full, Turned::Version, Turned::Later];
    let mut seeds: Seeds = turned.map(|why| Mail::Turned(why).blob()).to_vec();
    let letters = [Mail::A1(&[1; 50]), Mail::B1(&[1; 50]), Mail::A2(&[1; 50]), Mail::B2(&[1; 50])];
    seeds.extend(letters.iter().map(Mail::blob));
    seeds.extend(packets().iter().take(3).map(|packet| Mail::Packet(packet).blob()));
    seeds
}

fn codes() -> Seeds {
    let link = "vc://203.0.113.5:47700/#1.aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaa.\
                aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    [
        "48213-tiger-lamp-ocean",
        " 48213 TIGER lamp ocea ",
        "48213-tiger-lamp-ocean@203.0.113.5:47700",
        "123456-abandon-zoo-zone@[2001:db8::5]:1",
        link,
        "vc://a:1/#2.b.c.d",
        "aaaaaaaaaaaaaaaaaaaaaaaaaa",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn texts() -> Seeds {
    [
        "hello, world",
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "a\u{202e}b\u{2066}c\u{200b}\u{feff}d",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "x\u{301}\u{301}\u{301}\u{200d}\u{301}\u{301}\u{301}\u{200d}\u{301}",
        "  \t\r\n  ",
        "\u{e0041}\u{e0042}\u{e007f}",
        "日本語の名前はとても長いことがありますよね",
        "Аnn аnd Ann",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn admissions() -> Seeds {
    let whole = [0];
    let flip = |at: u16| [&[1, 0][..], &at.to_be_bytes(), &[1]].concat();
    let cut = [2, 0, 20];
    vec![
        vec![0],
        vec![1],
        [&[0][..], &flip(0)].concat(),
        [&[0][..], &flip(20)].concat(),
        [&[0][..], &whole, &flip(5)].concat(),
        [&[0][..], &whole, &whole, &flip(40)].concat(),
        [&[0][..], &whole, &whole, &whole, &flip(33)].concat(),
        [&[0][..], &cut].concat(),
        [&[0][..], &whole, &cut].concat(),
    ]
}

/// Operations: 0 shakes hands, 1 n to how.. delivers packet n, 3 by bytes seals, 4 u16 waits.
fn handshakes() -> Seeds {
    let shaken = vec![0, 1, 0, 1, 0, 1, 1, 0, 0];
    let seal = |by: u8| [&[3, by][..], &text(b"a sealed line")].concat();
    let deliver = |n: u8, to: u8| vec![1, n, to, 0];
    let flipped = |n: u8, to: u8, at: u16| [&[1, n, to, 1, 0][..], &at.to_be_bytes(), &[4]].concat();
    let talk = [shaken.clone(), seal(0), deliver(2, 1), seal(1), deliver(3, 0)].concat();
    vec![
        shaken.clone(),
        talk.clone(),
        [talk.clone(), deliver(2, 1), deliver(3, 0), deliver(0, 1), deliver(1, 0)].concat(),
        [shaken.clone(), seal(0), flipped(2, 1, 12), deliver(2, 0), deliver(2, 1)].concat(),
        [vec![0], flipped(0, 1, 30), deliver(0, 0), deliver(0, 1), flipped(1, 0, 20), deliver(1, 0)].concat(),
        [talk, vec![4, 0x80, 0], vec![0], deliver(4, 1), deliver(5, 0), seal(1), seal(0)].concat(),
    ]
}

/// Operations: see `signaling_connection`.
fn conversations() -> Seeds {
    let open = |client: u8| vec![0, client, client];
    let say = |client: u8, message: ToServer| [&[1, client][..], &text(&message.encode())].concat();
    let hello = |client| say(client, ToServer::Hello { version: SIGNAL });
    let created =
        [open(0), hello(0), say(0, ToServer::Create { form: Form::Spoken, warden: warden().public() })]
            .concat();
    let knocked = [created.clone(), open(1), hello(1), vec![2, 1, 2, 0]].concat();
    let mailed =
        [&knocked[..], &[2, 1, 6, 0], &text(b"letter"), &[2, 0, 6, 99, 0], &text(b"answer")].concat();
    let admitted = [mailed.clone(), vec![2, 0, 3, 0, 0, 1]].concat();
    vec![
        created.clone(),
        knocked,
        mailed,
        admitted.clone(),
        [&admitted[..], &[2, 0, 5, 1, 2, 1, 7, 5, 0, 6, 200]].concat(),
        [&admitted[..], &[5, 0], &open(2), &hello(2), &[2, 2, 4, 0, 6, 90]].concat(),
        [&created[..], &[3, 0], &text(&[0, 3, 1, 2, 3])].concat(),
        [&created[..], &[4, 0, 0, 1, 0, 0, 9, 1]].concat(),
        [open(3), say(3, ToServer::Ping)].concat(),
    ]
}

/// Operations: see `forwarder`.
fn forwarded() -> Seeds {
    let bind = |from: u8, slot: u8, cookie: u8| vec![1, from, 0, slot, 0, 9, cookie];
    let bound = [bind(0, 0, 0), bind(0, 0, 0), bind(1, 1, 0), bind(1, 1, 1)].concat();
    let up = [&[2, 0, 0, 1][..], &text(&[5; 60])].concat();
    vec![
        bound.clone(),
        [bound.clone(), up.clone(), vec![3, 1, 1, 1, 0, 0, 0, 9]].concat(),
        [bound.clone(), bind(2, 1, 0), bind(2, 1, 2), up, vec![3, 1, 1, 1]].concat(),
        [&bound[..], &[5, 0xFF, 0xFF, 3, 0, 0, 0, 0, 0, 0, 0]].concat(),
        [&[0, 3][..], &text(&probe([7; 8]))].concat(),
        [&bound[..], &[4, 0, 0, 3, 0, 9, 0, 1, 0, 0, 80, 1]].concat(),
    ]
}

/// Operations: see `Stage::step`.
fn stays() -> Seeds {
    let start = |who: u8| vec![0, who];
    let lapse = |millis: u16| [&[7][..], &millis.to_be_bytes()].concat();
    let frame = |message: &ToClient| [&[1][..], &text(&message.encode())].concat();
    let sealed = |plaintext: &[u8]| [&[2][..], &text(plaintext), &[9]].concat();
    let control = |message: &Control| [&[3, 0][..], &text(&message.encode()), &[9]].concat();
    let chat = |line: &str| [&[3, 1][..], &text(line.as_bytes()), &[9]].concat();
    let shaken = |n: u8| [start(n), vec![6, 1, 9], lapse(300)].concat();
    let mut seeds: Seeds = vec![start(0), start(1), start(2), start(3), shaken(2), shaken(3)];
    for n in [2, 3] {
        let all: Vec<u8> = controls().iter().flat_map(control).collect();
        seeds.push([shaken(n), all, lapse(2_000)].concat());
        seeds.push([shaken(n), chat("hello"), chat("again"), vec![4, 0, 0, 9], lapse(900)].concat());
        seeds.push([shaken(n), frames().iter().flat_map(|f| sealed(f)).collect(), lapse(1_500)].concat());
        seeds.push([shaken(n), vec![12, 1, 1], lapse(5_000), vec![5, 0, 0, 9], vec![8, 7]].concat());
    }
    let say = [&[8, 0][..], &text(b"hello all")].concat();
    let kicked = control(&Control::Removals(removals(MemberId([1; 8]))));
    seeds.push([shaken(2), say, kicked, vec![9, 0, 0, 0, 1, 0, 80, 10, 1], lapse(60_000)].concat());
    let record = text(&seated().record.encode());
    seeds.push([&start(0)[..], &[11, 0, 0, 0], &record, &[1, 11, 1, 255, 0], &record, &[2]].concat());
    seeds.push([start(0), to_client().iter().flat_map(frame).collect()].concat());
    seeds.push([start(1), to_client().iter().flat_map(frame).collect()].concat());
    seeds.push([vec![2, 2, 6, 1, 9], to_client().iter().flat_map(frame).collect()].concat());
    seeds
}

/// Operations: see `opus`.
fn speech() -> Seeds {
    let mut encoder = Encoder::new(FrameLen::Ms20, 32_000).unwrap();
    encoder.expect_loss(20).unwrap();
    let mut seeds = vec![Vec::new(), Vec::new(), vec![1, 3, 2, 1, 3, 2]];
    for n in 0..6_u32 {
        let pcm: Vec<f32> = (0..960).map(|s| ((n * 960 + s) as f32 * 0.03).sin() * 0.4).collect();
        let opus = encoder.encode(&pcm).ok().unwrap();
        let time = n + n / 3;
        seeds[0].extend([&[1, 0, 0][..], &time.to_be_bytes(), &[0], &text(&opus), &[1, 2, 2]].concat());
        seeds[1].extend([&[1, 3, (n % 2) as u8][..], &text(&opus)].concat());
    }
    seeds
}

fn spelled(frame: &Frame<'_>) -> Vec<u8> {
    let mut w = Vec::new();
    frame.write(&mut w);
    w
}

/// As `Script::bytes` reads it.
fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn seated() -> Seated {
    let key: PublicKey = StaticKey::generate(&mut Rng::from_seed([1; 32])).public();
    let candidates = vec![
        Candidate { kind: Kind::Host, addr: v4() },
        Candidate { kind: Kind::ServerReflexive, addr: v6() },
    ];
    let record = Record { key, name: "Ann".to_owned(), relay_only: false, candidates };
    Seated { slot: Slot::new(2).unwrap(), record }
}

fn entrance() -> Entrance {
    let by = StaticKey::generate(&mut Rng::from_seed([3; 32]));
    Entrance { locked: Latest::first(&by, false), codes: Latest::first(&by, shared_codes()) }
}

fn removals(id: MemberId) -> Removals {
    Removals::with(&warden(), None, id)
}

/// The key of the friend in the second kind of room.
fn warden() -> StaticKey {
    StaticKey::from_bytes([2; 32])
}

fn shared_codes() -> Codes {
    Codes { spoken: Some((48_213, "tiger-lamp-ocean".to_owned())), link: Some(([1; 10], [2; 16])) }
}

fn ticket() -> [u8; 32] {
    let (relay, room, serial) = ([1; 4], [2; 8], [3; 8]);
    TicketBody { relay, room, slot: 1, slots: 16, class: 0, not_after: 1_700_003_600, serial }.encode()
}

fn v4() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 9], 40_000))
}

fn v6() -> SocketAddr {
    SocketAddr::from(([0x2001, 0xDB8, 0, 0, 0, 0, 0, 9], 40_001))
}
