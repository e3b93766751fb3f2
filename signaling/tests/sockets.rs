//! A signaling server with real connections on loopback.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::SeedableRng;
use signaling::line::MAX_FRAME;
use signaling::{Config, Counters, Doors, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vc_core::crypto::keys::{PublicKey, Rng, StaticKey};
use vc_core::crypto::link::{Dial, Sealed};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::member::{MemberId, Slot};
use vc_core::protocol::signal::{
    Form, MAX_BLOB, Nameplate, Party, Reclaim, Refusal, ToClient, ToServer, VERSION,
};
use vc_core::protocol::stream::{Frames, frame};

struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<Counters>>,
}

impl Running {
    async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), 1).await
    }

    async fn start_at(addr: SocketAddr, seed: u8) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task =
            tokio::spawn(signaling::serve(Doors { tcp: vec![listener], relay: None }, config(seed), async {
                let _ = stopped.await;
            }));
        Self { addr, stop, task }
    }

    async fn stop(self) -> Counters {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap()
    }
}

fn config(seed: u8) -> Config {
    Config {
        key: StaticKey::from_bytes([1; 32]),
        relays: Vec::new(),
        probes: vec!["0.0.0.0:1".parse().unwrap()],
        limits: Limits::default(),
        seed: [seed; 32],
    }
}

struct Client {
    stream: TcpStream,
    frames: Frames,
    sealed: Sealed,
}

impl Client {
    async fn dial(server: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let (dial, hello) = Dial::start(&mut Rng::from_seed([5; 32]));
        stream.write_all(&frame(&hello)).await.unwrap();
        let mut frames = Frames::up_to(MAX_FRAME);
        let answer = next_frame(&mut stream, &mut frames).await.unwrap();
        let (sealed, key) = dial.finish(&answer).unwrap();
        assert!(key == StaticKey::from_bytes([1; 32]).public());
        let mut client = Self { stream, frames, sealed };
        client.say(ToServer::Hello { version: VERSION }).await;
        assert!(matches!(client.heard().await, Some(ToClient::Hello { version: VERSION, .. })));
        client
    }

    async fn say(&mut self, message: ToServer) {
        let bytes = frame(&self.sealed.seal(&message.encode()));
        // The server may have closed; then `heard` says so.
        let _ = self.stream.write_all(&bytes).await;
    }

    /// `None`: closed.
    async fn heard(&mut self) -> Option<ToClient> {
        let frame = next_frame(&mut self.stream, &mut self.frames).await?;
        Some(ToClient::decode(&self.sealed.open(&frame).unwrap()).unwrap())
    }

    async fn create(&mut self) -> (Nameplate, Reclaim) {
        self.say(ToServer::Create { form: Form::Spoken, warden: PublicKey([3; 32]) }).await;
        let Some(ToClient::Created { nameplate, .. }) = self.heard().await else { panic!("no room") };
        let Some(ToClient::Seat { proof, .. }) = self.heard().await else { panic!("no seat") };
        assert!(matches!(self.heard().await, Some(ToClient::Tickets { .. })));
        assert!(matches!(self.heard().await, Some(ToClient::Present { .. })));
        (nameplate, proof)
    }

    async fn join(&mut self, nameplate: Nameplate) -> (u32, Slot) {
        self.say(ToServer::Join { nameplate }).await;
        let Some(ToClient::Joined { visitor, door, .. }) = self.heard().await else { panic!("not joined") };
        (visitor, door)
    }
}

async fn next_frame(stream: &mut TcpStream, frames: &mut Frames) -> Option<Vec<u8>> {
    loop {
        if let Some(frame) = frames.next().unwrap() {
            return Some(frame);
        }
        let mut chunk = [0; 4_096];
        let read = timeout(Duration::from_secs(20), stream.read(&mut chunk)).await.expect("silence");
        match read {
            Ok(len) if len > 0 => frames.push(&chunk[..len]),
            _ => return None,
        }
    }
}

/// The server ended it, by whatever means.
async fn closed(stream: &mut TcpStream) -> bool {
    let mut chunk = [0; 4_096];
    loop {
        match timeout(Duration::from_secs(20), stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}

#[tokio::test]
async fn friends_meet_write_and_part() {
    let server = Running::start().await;
    let (mut a, mut b) = (Client::dial(server.addr).await, Client::dial(server.addr).await);
    let (nameplate, _) = a.create().await;
    let (visitor, door) = b.join(nameplate).await;
    assert!(matches!(a.heard().await, Some(ToClient::Visitor { visitor: v, .. }) if v == visitor));
    b.say(ToServer::Mail { to: Party::Slot(door), blob: vec![1; 1_300] }).await;
    assert!(
        matches!(a.heard().await, Some(ToClient::Mail { from: Party::Visitor(_), blob }) if blob.len() == 1_300)
    );
    a.say(ToServer::Mail { to: Party::Visitor(visitor), blob: vec![2; MAX_BLOB] }).await;
    a.say(ToServer::Admit { visitor, taken: 0, id: MemberId([4; 8]) }).await;
    assert!(matches!(b.heard().await, Some(ToClient::Mail { blob, .. }) if blob.len() == MAX_BLOB));
    assert!(matches!(b.heard().await, Some(ToClient::Seat { .. })));
    assert!(matches!(a.heard().await, Some(ToClient::Admitted { .. })));
    assert!(matches!(a.heard().await, Some(ToClient::Present { slots: 3 })));
    drop(b);
    assert!(matches!(a.heard().await, Some(ToClient::Present { slots: 1 })));
    assert_eq!(server.stop().await.admitted, 1);
}

#[tokio::test]
async fn a_refusal_that_ends_the_connection_arrives_first() {
    let server = Running::start().await;
    let mut client = Client::dial(server.addr).await;
    client.say(ToServer::Admit { visitor: 1, taken: 0, id: MemberId([4; 8]) }).await;
    for _ in 0..50 {
        client.say(ToServer::Ping).await;
    }
    assert!(matches!(client.heard().await, Some(ToClient::Refused(Refusal::OutOfTurn))));
    assert!(client.heard().await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn garbage_and_over_long_frames_are_cut_off() {
    let server = Running::start().await;
    let over_long = [(MAX_FRAME as u16 + 1).to_be_bytes().to_vec(), vec![1; 100]].concat();
    let http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    for garbage in
        [over_long, http, vec![0; 64], frame(&[9; 31]), [frame(&[9; 32]), frame(&[1; 40])].concat()]
    {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(&garbage).await.unwrap();
        assert!(closed(&mut stream).await);
    }
    let mut client = Client::dial(server.addr).await;
    client.stream.write_all(&frame(&[0; 64])).await.unwrap();
    assert!(client.heard().await.is_none(), "a frame that does not open");
    Client::dial(server.addr).await.create().await;
    assert_eq!(server.stop().await.opened, 7);
}

#[tokio::test]
async fn silent_and_dribbling_connections_are_closed_while_others_work() {
    let server = Running::start().await;
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    let mut dribbling = TcpStream::connect(server.addr).await.unwrap();
    let (mut other, mut half) =
        (Client::dial(server.addr).await, TcpStream::connect(server.addr).await.unwrap());
    let (_, hello) = Dial::start(&mut Rng::from_seed([5; 32]));
    half.write_all(&frame(&hello)).await.unwrap();
    let dribble = async {
        let mut pace = tokio::time::interval(Duration::from_millis(300));
        for byte in frame(&hello) {
            pace.tick().await;
            if dribbling.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        closed(&mut dribbling).await
    };
    let (a, b, c, _) = tokio::join!(dribble, closed(&mut silent), closed(&mut half), other.create());
    assert!(a && b && c);
    other.say(ToServer::Ping).await;
    assert!(matches!(other.heard().await, Some(ToClient::Pong)));
    server.stop().await;
}

#[tokio::test]
async fn a_member_that_does_not_read_loses_mail_and_the_others_nothing() {
    let server = Running::start().await;
    let (mut a, mut b) = (Client::dial(server.addr).await, Client::dial(server.addr).await);
    let (nameplate, _) = a.create().await;
    let (visitor, _) = b.join(nameplate).await;
    a.say(ToServer::Admit { visitor, taken: 0, id: MemberId([4; 8]) }).await;
    // 400 KiB at once, to one that reads nothing meanwhile; the writer must not notice.
    for _ in 0..70 {
        b.say(ToServer::Mail { to: Party::Slot(Slot::new(0).unwrap()), blob: vec![0; MAX_BLOB] }).await;
    }
    b.say(ToServer::Ping).await;
    while !matches!(b.heard().await.expect("closed"), ToClient::Pong) {}
    a.say(ToServer::Ping).await;
    while !matches!(a.heard().await.expect("thrown out"), ToClient::Pong) {}
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_connections_and_messages_leaves_room_for_friends() {
    let server = Running::start().await;
    let flood = async {
        for _ in 0..20 {
            let mut client = Client::dial(server.addr).await;
            for n in 0..400 {
                client.say(ToServer::Join { nameplate: Nameplate::Spoken(n) }).await;
            }
            assert!(closed(&mut client.stream).await, "flooding is not answered for ever");
        }
    };
    let friends = async {
        for _ in 0..20 {
            let (mut a, mut b) = (Client::dial(server.addr).await, Client::dial(server.addr).await);
            let (nameplate, _) = a.create().await;
            b.join(nameplate).await;
        }
    };
    tokio::join!(flood, friends);
    server.stop().await;
}

#[tokio::test]
async fn after_a_restart_a_member_reclaims_its_room_under_the_same_number() {
    let server = Running::start().await;
    let addr = server.addr;
    let mut a = Client::dial(addr).await;
    let (nameplate, proof) = a.create().await;
    server.stop().await;
    assert!(a.heard().await.is_none());
    drop(a);
    let server = Running::start_at(addr, 2).await;
    let (mut a, mut b) = (Client::dial(addr).await, Client::dial(addr).await);
    b.say(ToServer::Join { nameplate }).await;
    assert!(matches!(b.heard().await, Some(ToClient::Refused(Refusal::NoSuchRoom))));
    a.say(ToServer::Reclaim { proof }).await;
    assert!(matches!(a.heard().await, Some(ToClient::Seat { slot, .. }) if slot.index() == 0));
    b.join(nameplate).await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_for_the_relay_is_handed_over_whole_and_not_counted_as_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (hand, mut handed) = tokio::sync::mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let doors = Doors { tcp: vec![listener], relay: Some(hand) };
    let task = tokio::spawn(signaling::serve(doors, config(1), async {
        let _ = stopped.await;
    }));
    let mut member = TcpStream::connect(addr).await.unwrap();
    let bind = frame(&[0xE2; vc_core::protocol::packet::BIND_LEN]);
    member.write_all(&bind).await.unwrap();
    let mut accepted = timeout(Duration::from_secs(5), handed.recv()).await.unwrap().unwrap();
    assert_eq!(accepted.from, member.local_addr().unwrap());
    let mut rest = vec![0; bind.len() - accepted.first.len()];
    accepted.stream.read_exact(&mut rest).await.unwrap();
    assert_eq!([accepted.first, rest].concat(), bind);
    Client::dial(addr).await;
    stop.send(()).unwrap();
    let counters = task.await.unwrap().unwrap();
    assert_eq!((counters.opened, counters.frames, counters.refused), (2, 1, 0));
}
