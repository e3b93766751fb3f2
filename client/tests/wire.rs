//! Everything that real processes put on the wire, recorded by the kernel: nothing of it is readable.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

mod party;

use party::{Party, asset};

const CHAT: &str = "the treasure is under the old oak";
const NAMES: [&str; 2] = ["Wilhelmina", "Bartholomew"];

#[test]
fn voice_chat_names_and_words_are_nowhere_on_the_wire() {
    for path in ["direct", "relay"] {
        let Some(tap) = Tap::open() else {
            eprintln!("SKIPPED: packets can be recorded by the administrator only");
            return;
        };
        let party = Party::new();
        let (_server, place) = party.serve();
        let voice = format!("wav:{},loop", asset("bob.wav").display());
        let more = ["--input", voice.as_str(), "--output", "null", "--path", path];
        let (mut ada, code) = party.create(&place, NAMES[0], &more);
        let mut bob = party.join(&place, NAMES[1], &code, &more);
        bob.wait_for("joined");
        ada.wait_for("joined");
        ada.say(CHAT);
        assert_eq!(bob.wait_for("chat")["text"], CHAT);
        for friend in [&mut ada, &mut bob] {
            friend.wait(|event| event["event"] == "stats" && event["peers"][0]["heard"].as_u64() > Some(150));
        }
        let port: u16 = place.split_once('#').unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap();
        let frames = tap.stop();
        let ours = datagrams(&frames, port);
        assert!(ours.len() > 300, "{path}: only {} datagrams", ours.len());

        let (_, words) = code.split_once('-').unwrap();
        let secrets = words.split('-').chain(NAMES).chain([CHAT, "treasure"]);
        for secret in secrets.filter(|secret| secret.len() > 3) {
            for frame in &frames {
                let found = frame.windows(secret.len()).any(|w| w.eq_ignore_ascii_case(secret.as_bytes()));
                assert!(!found, "{path}: {} bytes of something said in a packet", secret.len());
            }
        }
        voice_is_one_size_and_noise(path, &ours);
    }
}

/// While someone talks every voice packet has one size, and its sealed bytes are spread like chance.
fn voice_is_one_size_and_noise(path: &str, datagrams: &[Vec<u8>]) {
    let sealed: Vec<&[u8]> = datagrams
        .iter()
        .filter_map(|bytes| match bytes.first()? {
            0xD2 => Some(&bytes[9..]),
            0xE5 if bytes[6] == 0xD2 => Some(&bytes[15..]),
            _ => None,
        })
        .collect();
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for bytes in &sealed {
        *sizes.entry(bytes.len()).or_default() += 1;
    }
    // 6 of header, 80 of Opus, 16 of tag; control is padded to 32 and chat to 128.
    const VOICE: usize = 6 + 80 + 16;
    assert!(sizes.get(&VOICE) > Some(&200), "{path}: {sizes:?}");
    let known = |len: &usize| *len == VOICE || (*len - 16).is_multiple_of(32);
    assert!(sizes.keys().all(known), "{path}: {sizes:?}");

    let mut histogram = [0f64; 256];
    // The kernel shows a packet on loopback once as it leaves and once as it arrives.
    let packets: BTreeSet<&&[u8]> = sealed.iter().filter(|bytes| bytes.len() == VOICE).collect();
    let voice: Vec<u8> = packets.iter().flat_map(|bytes| bytes.to_vec()).collect();
    voice.iter().for_each(|byte| histogram[usize::from(*byte)] += 1.0);
    let expected = voice.len() as f64 / 256.0;
    let chi_square: f64 = histogram.iter().map(|n| (n - expected) * (n - expected) / expected).sum();
    // 255 degrees of freedom: 400 is seven standard deviations out; Opus itself is in the thousands.
    assert!(chi_square < 400.0, "{path}: {chi_square}");
}

/// UDP payloads to or from anywhere on this machine that look like ours, or touch the server's port.
fn datagrams(frames: &[Vec<u8>], port: u16) -> Vec<Vec<u8>> {
    let udp = |frame: &Vec<u8>| -> Option<Vec<u8>> {
        let ip = frame.get(14..)?;
        if ip.first()? >> 4 != 4 || *ip.get(9)? != 17 {
            return None;
        }
        let header = usize::from(ip.first()? & 15) * 4;
        let udp = ip.get(header..)?;
        let at = |n: usize| udp.get(n..n + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
        let payload = udp.get(8..)?.to_vec();
        let ours = at(0)? == port || at(2)? == port || matches!(payload.first(), Some(0xD0..=0xD2));
        ours.then_some(payload)
    };
    frames.iter().filter_map(udp).collect()
}

/// All frames on the loopback interface (the sockets of other tests included), in a thread of its own.
struct Tap {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Vec<u8>>>,
}

impl Tap {
    fn open() -> Option<Self> {
        // ETH_P_ALL, in network order.
        let all = Protocol::from(i32::from(0x0003u16.to_be()));
        let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(all)).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = socket.set_recv_buffer_size(8 << 20);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut frames = Vec::new();
            let mut buffer = vec![0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(len) = socket.read(&mut buffer) {
                    frames.push(buffer[..len].to_vec());
                }
            }
            frames
        });
        Some(Self { stop, thread })
    }

    fn stop(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
