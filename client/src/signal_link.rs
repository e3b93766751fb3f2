//! Bytes to and from the signaling server: resolve, connect, open the sealed stream, carry frames. When to dial is
//! the room's decision, never ours.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand_core::SeedableRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vc_core::crypto::keys::{PublicKey, Rng, kdf};
use vc_core::crypto::link::{ANSWER, Dial, Sealed};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::MAX_MESSAGE;
use vc_core::protocol::stream::{Frames, frame};

use crate::dial::{Ports, first};
use crate::place::Place;

pub(crate) enum News {
    Up { server: SocketAddr, key: PublicKey },
    Frame(Vec<u8>),
    Down(Fault),
}

/// Why there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No such name, or nobody to ask.
    Lookup,
    Refused,
    /// No network leads there.
    NoRoute,
    Silent,
    /// Something answers, but not our protocol.
    Foreign,
    /// Another key than the one expected.
    Key(PublicKey),
    /// It was up, and broke off.
    Broken,
}

/// At most one connection at a time.
#[derive(Default)]
pub(crate) struct Link {
    open: Option<Connection>,
    /// Hung up, with something left to send.
    parting: Option<JoinHandle<()>>,
}

struct Connection {
    /// Our own address, once there is a connection.
    local: Arc<OnceLock<IpAddr>>,
    task: JoinHandle<()>,
    outbox: mpsc::Sender<Vec<u8>>,
    news: mpsc::Receiver<News>,
}

impl Link {
    /// Starts anew; what an earlier connection still had to say is forgotten.
    pub(crate) fn dial(&mut self, place: Place, seed: [u8; 32]) {
        self.abort();
        let (outbox, to_send) = mpsc::channel(QUEUE);
        let (news, inbox) = mpsc::channel(QUEUE);
        let local = Arc::new(OnceLock::new());
        let ours = local.clone();
        let task = tokio::spawn(async move {
            let fault = match connect(&place, seed).await {
                Ok(Reached { stream, sealed, server, key }) => {
                    if let Ok(addr) = stream.local_addr() {
                        let _ = ours.set(addr.ip());
                    }
                    match news.send(News::Up { server, key }).await {
                        Ok(()) => carry(stream, sealed, to_send, &news).await,
                        Err(_) => return,
                    }
                }
                Err(fault) => fault,
            };
            // Nobody listens any more when the link was dialled again or dropped.
            let _ = news.send(News::Down(fault)).await;
        });
        self.open = Some(Connection { local, task, outbox, news: inbox });
    }

    /// Queues a frame. A server that takes none for so long is as good as gone: the connection ends.
    pub(crate) fn send(&mut self, frame: Vec<u8>) {
        let full = self.open.as_ref().is_some_and(|open| {
            matches!(open.outbox.try_send(frame), Err(mpsc::error::TrySendError::Full(_)))
        });
        if full && let Some(open) = &self.open {
            open.task.abort();
        }
    }

    /// Ends the connection once what is queued has been sent.
    pub(crate) fn hang(&mut self) {
        if let Some(open) = self.open.take() {
            self.parting = Some(open.task);
        }
    }

    /// Until the last words are out, or nobody takes them.
    pub(crate) async fn parted(&mut self) {
        if let Some(task) = self.parting.take() {
            let abort = task.abort_handle();
            if timeout(FLUSH, task).await.is_err() {
                abort.abort();
            }
        }
    }

    /// Ends a connection whose own address this machine has no longer: it would be silent for a long time first. True
    /// if there was one.
    pub(crate) fn mend(&mut self, addresses: &[IpAddr]) -> bool {
        let local = self.open.as_ref().and_then(|open| open.local.get());
        let orphan = local.is_some_and(|local| !addresses.contains(local));
        if orphan {
            self.abort();
        }
        orphan
    }

    /// What happened next. Waits for ever while nothing is dialled.
    pub(crate) async fn next(&mut self) -> News {
        let Some(open) = &mut self.open else { return std::future::pending().await };
        let news = open.news.recv().await.unwrap_or(News::Down(Fault::Broken));
        if matches!(news, News::Down(_)) {
            self.abort();
        }
        news
    }

    fn abort(&mut self) {
        if let Some(open) = self.open.take() {
            open.task.abort();
        }
    }
}

/// The sealed stream, and who is at its far end.
struct Reached {
    stream: TcpStream,
    sealed: Sealed,
    server: SocketAddr,
    key: PublicKey,
}

async fn connect(place: &Place, seed: [u8; 32]) -> Result<Reached, Fault> {
    let lookup = timeout(LOOKUP, tokio::net::lookup_host((place.host.as_str(), place.port))).await;
    let Ok(Ok(addresses)) = lookup else { return Err(Fault::Lookup) };
    let mut addresses: Vec<SocketAddr> = addresses.take(MAX_TRIED).collect();
    // IPv4 first: the address by which a router shows us is to be asked for there; those of IPv6 are on our interfaces.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let (expected, own) = (place.key, place.port);
    let reached = first(&addresses, Ports::AndOpen, |address| async move {
        match reach(address, seed).await {
            Ok(reached) if expected.is_some_and(|key| key != reached.key) => match address.port() == own {
                // The user must know, whatever else answers.
                true => Ok(Err(Fault::Key(reached.key))),
                false => Err(Fault::Foreign),
            },
            reached => reached.map(Ok),
        }
    });
    match reached.await {
        Ok(reached) => reached,
        // What is elsewhere on that machine says nothing about this server.
        Err(faults) => {
            let mine = faults.iter().filter(|(address, _)| address.port() == own);
            Err(mine.map(|(_, fault)| *fault).max_by_key(Fault::weight).unwrap_or(Fault::Lookup))
        }
    }
}

async fn reach(address: SocketAddr, seed: [u8; 32]) -> Result<Reached, Fault> {
    let mut stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(match error.kind() {
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Fault::NoRoute,
                _ => Fault::Refused,
            });
        }
        Err(_) => return Err(Fault::Silent),
    };
    // Frames are small and each is awaited by somebody.
    let _ = stream.set_nodelay(true);
    // One address, one key of ours: the same seed never serves two.
    let seed = *kdf::<32>(&seed, "dial", &address.encode()).as_bytes();
    let shaken = timeout(HANDSHAKE, shake(&mut stream, seed)).await;
    let (sealed, key) = shaken.unwrap_or(None).ok_or(Fault::Foreign)?;
    Ok(Reached { stream, sealed, server: address, key })
}

impl Fault {
    /// Of several addresses' faults, the one that tells most.
    fn weight(&self) -> u8 {
        match self {
            Self::Lookup => 0,
            Self::NoRoute => 1,
            Self::Silent => 2,
            Self::Refused => 3,
            Self::Foreign => 4,
            Self::Broken => 5,
            Self::Key(_) => 6,
        }
    }
}

async fn shake(stream: &mut TcpStream, seed: [u8; 32]) -> Option<(Sealed, PublicKey)> {
    let (dial, msg1) = Dial::start(&mut Rng::from_seed(seed));
    stream.write_all(&frame(&msg1)).await.ok()?;
    if usize::from(stream.read_u16().await.ok()?) != ANSWER {
        return None;
    }
    let mut msg2 = [0; ANSWER];
    stream.read_exact(&mut msg2).await.ok()?;
    dial.finish(&msg2)
}

/// Until one side ends it; `outbox` closed means that we do.
async fn carry(
    mut stream: TcpStream,
    mut sealed: Sealed,
    mut outbox: mpsc::Receiver<Vec<u8>>,
    news: &mpsc::Sender<News>,
) -> Fault {
    let mut frames = Frames::up_to(MAX_MESSAGE + TAG);
    let mut chunk = [0; CHUNK];
    loop {
        tokio::select! {
            read = stream.read(&mut chunk) => {
                let Ok(len @ 1..) = read else { return Fault::Broken };
                frames.push(chunk.get(..len).unwrap_or_default());
                loop {
                    let Ok(message) = frames.next() else { return Fault::Broken };
                    let Some(message) = message else { break };
                    let Some(plain) = sealed.open(&message) else { return Fault::Broken };
                    if news.send(News::Frame(plain)).await.is_err() {
                        break;
                    }
                }
            }
            message = outbox.recv() => {
                let Some(message) = message else {
                    let _ = stream.shutdown().await;
                    return Fault::Broken;
                };
                let written = timeout(WRITE, stream.write_all(&frame(&sealed.seal(&message)))).await;
                if !matches!(written, Ok(Ok(()))) {
                    return Fault::Broken;
                }
            }
        }
    }
}

const TAG: usize = 16;
/// About the largest frame.
const CHUNK: usize = 4_096;
/// A room of sixteen that all join at once mails less.
const QUEUE: usize = 256;
/// Of a name's addresses; more would make a dead name take longer than people wait.
const MAX_TRIED: usize = 4;
const LOOKUP: Duration = Duration::from_secs(5);
/// A SYN and its first repetition (RFC 6298) on any path that could carry a call.
const CONNECT: Duration = Duration::from_secs(3);
/// As long as a server keeps a connection that has not shaken hands.
const HANDSHAKE: Duration = Duration::from_secs(5);
const WRITE: Duration = Duration::from_secs(5);
/// Enough for the word that we leave; the server notices by itself otherwise.
const FLUSH: Duration = Duration::from_millis(500);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use vc_core::crypto::keys::StaticKey;
    use vc_core::crypto::link::{HELLO, accept};

    fn server_key() -> StaticKey {
        StaticKey::from_bytes([7; 32])
    }

    async fn listener() -> (TcpListener, Place) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut place = Place::at(listener.local_addr().unwrap(), server_key().public());
        place.key = None;
        (listener, place)
    }

    /// A server that answers every frame with the same bytes reversed.
    async fn mirror(listener: TcpListener) -> usize {
        let mut frames = 0;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 2 + HELLO];
        stream.read_exact(&mut hello).await.unwrap();
        let mut rng = Rng::from_seed([1; 32]);
        let (mut sealed, answer) = accept(&server_key(), &hello[2..], &mut rng).unwrap();
        stream.write_all(&frame(&answer)).await.unwrap();
        while let Ok(len) = stream.read_u16().await {
            let mut message = vec![0; usize::from(len)];
            stream.read_exact(&mut message).await.unwrap();
            let mut plain = sealed.open(&message).unwrap();
            plain.reverse();
            frames += 1;
            if stream.write_all(&frame(&sealed.seal(&plain))).await.is_err() {
                break;
            }
        }
        frames
    }

    async fn fault(link: &mut Link) -> Fault {
        match link.next().await {
            News::Down(fault) => fault,
            News::Up { .. } | News::Frame(_) => panic!("this link should not come up"),
        }
    }

    #[tokio::test]
    async fn frames_go_both_ways_in_order_and_the_last_one_is_sent_before_hanging_up() {
        let (listener, place) = listener().await;
        let server = tokio::spawn(mirror(listener));
        let mut link = Link::default();
        link.dial(place, [2; 32]);
        let News::Up { key, .. } = link.next().await else { panic!() };
        assert_eq!(key, server_key().public());
        for frame in [&b"abc"[..], b"x", &[9; MAX_MESSAGE]] {
            link.send(frame.to_vec());
        }
        for expected in [&b"cba"[..], b"x", &[9; MAX_MESSAGE]] {
            let News::Frame(frame) = link.next().await else { panic!() };
            assert_eq!(frame, expected);
        }
        link.send(b"bye".to_vec());
        link.hang();
        link.parted().await;
        assert_eq!(server.await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_link_ends_with_the_address_that_it_was_made_from() {
        let (listener, place) = listener().await;
        tokio::spawn(mirror(listener));
        let mut link = Link::default();
        assert!(!link.mend(&[]));
        link.dial(place, [2; 32]);
        assert!(matches!(link.next().await, News::Up { .. }));
        assert!(!link.mend(&["127.0.0.1".parse().unwrap()]));
        assert!(link.mend(&["192.0.2.1".parse().unwrap()]));
        assert!(link.open.is_none());
    }

    #[tokio::test]
    async fn another_key_than_the_pinned_one_ends_it_before_anything_is_said() {
        let (listener, mut place) = listener().await;
        tokio::spawn(mirror(listener));
        place.key = Some(PublicKey([1; 32]));
        let mut link = Link::default();
        link.dial(place, [2; 32]);
        assert_eq!(fault(&mut link).await, Fault::Key(server_key().public()));
    }

    #[tokio::test]
    async fn a_server_of_another_kind_is_told_from_one_that_is_not_there() {
        let (listener, place) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-OpenSSH\r\n").await.unwrap();
        });
        let mut link = Link::default();
        link.dial(place, [2; 32]);
        assert_eq!(fault(&mut link).await, Fault::Foreign);

        let (gone, place) = self::listener().await;
        drop(gone);
        link.dial(place, [2; 32]);
        assert_eq!(fault(&mut link).await, Fault::Refused);
    }

    #[tokio::test]
    async fn a_frame_longer_than_any_of_ours_ends_the_link() {
        let (listener, place) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 2 + HELLO];
            stream.read_exact(&mut hello).await.unwrap();
            let (_, answer) = accept(&server_key(), &hello[2..], &mut Rng::from_seed([1; 32])).unwrap();
            stream.write_all(&frame(&answer)).await.unwrap();
            stream.write_all(&[0xff; 4]).await.unwrap();
            stream.read_u8().await.unwrap_err();
        });
        let mut link = Link::default();
        link.dial(place, [2; 32]);
        assert!(matches!(link.next().await, News::Up { .. }));
        assert_eq!(fault(&mut link).await, Fault::Broken);
    }
}
