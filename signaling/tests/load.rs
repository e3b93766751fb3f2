//! Figures of docs/PERFORMANCE.md that take a while: `cargo test --release -p signaling --test load -- --ignored --nocapture`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand_core::SeedableRng;
use signaling::line::MAX_FRAME;
use vc_core::crypto::keys::{PublicKey, Rng};
use vc_core::crypto::link::{Dial, Sealed};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{Form, ToClient, ToServer, VERSION};
use vc_core::protocol::stream::{Frames, frame};

struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_voicechat-signaling"))
            .args(["--listen", "127.0.0.1:0", "--key-file"])
            .arg(dir.path().join("key"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.split(' ').next_back().unwrap().split('#').next().unwrap().to_owned();
        Self { child, addr }
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn heard(stream: &mut TcpStream, frames: &mut Frames) -> Vec<u8> {
    loop {
        if let Some(frame) = frames.next().unwrap() {
            return frame;
        }
        let mut chunk = [0; 2_048];
        let len = stream.read(&mut chunk).unwrap();
        assert!(len > 0, "closed");
        frames.push(&chunk[..len]);
    }
}

fn say(stream: &mut TcpStream, sealed: &mut Sealed, message: ToServer) {
    stream.write_all(&frame(&sealed.seal(&message.encode()))).unwrap();
}

fn create(server: &Server, rng: &mut Rng) -> TcpStream {
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (dial, hello) = Dial::start(rng);
    stream.write_all(&frame(&hello)).unwrap();
    let mut frames = Frames::up_to(MAX_FRAME);
    let (mut sealed, _) = dial.finish(&heard(&mut stream, &mut frames)).unwrap();
    say(&mut stream, &mut sealed, ToServer::Hello { version: VERSION });
    say(&mut stream, &mut sealed, ToServer::Create { form: Form::Spoken, warden: PublicKey([3; 32]) });
    loop {
        let message = sealed.open(&heard(&mut stream, &mut frames)).unwrap();
        if matches!(ToClient::decode(&message).unwrap(), ToClient::Present { .. }) {
            return stream;
        }
    }
}

#[test]
#[ignore = "needs 10,000 descriptors and some seconds"]
fn ten_thousand_idle_rooms_fit_in_32_mib() {
    let server = Server::start();
    let empty = server.resident_kib();
    let mut rng = Rng::from_seed([1; 32]);
    let start = Instant::now();
    let rooms: Vec<_> = (0..10_000).map(|_| create(&server, &mut rng)).collect();
    let took = start.elapsed();
    let full = server.resident_kib();
    println!("{} rooms in {took:?}; resident {empty} KiB before, {full} KiB after", rooms.len());
    assert!(full <= 32 << 10, "{full} KiB");
}
