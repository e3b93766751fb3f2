//! Packets over one TCP connection, at either end of it (docs/PROTOCOL.md, "Over TCP").

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use vc_core::net::outbox::Outbox;
use vc_core::protocol::packet::MAX_UDP;
use vc_core::protocol::stream::{Frames, frame};

/// Where packets are left for a connection, whether it is open yet or not.
#[derive(Clone, Default)]
pub struct Sender(Arc<Shared>);

#[derive(Default)]
struct Shared {
    outbox: Mutex<Outbox>,
    filled: Notify,
}

impl Sender {
    /// Never waits. Says whether a packet was lost for want of room.
    pub fn send(&self, packet: &[u8]) -> bool {
        let lost = self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner).push(packet);
        self.0.filled.notify_one();
        lost
    }

    /// The next packet. Nothing is lost if the future is dropped.
    async fn next(&self) -> Vec<u8> {
        loop {
            let filled = self.0.filled.notified();
            if let Some(packet) = self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                return packet;
            }
            filled.await;
        }
    }
}

/// What came of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Packet(Vec<u8>),
    /// The last word: closed by the far end, broken, or no stream of packets.
    Closed,
}

/// Carries both ways until the far end closes, the network fails or nobody listens to `news` any more. `first`: what
/// was received already. `key` marks what is sent to `news`.
pub async fn carry<K: Copy>(
    stream: TcpStream,
    first: &[u8],
    sender: &Sender,
    key: K,
    news: &mpsc::Sender<(K, News)>,
) {
    tune(&stream);
    let mut frames = Frames::up_to(MAX_UDP);
    frames.push(first);
    let mut writing = Writing::default();
    loop {
        loop {
            let packet = match frames.next() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(_) => return closed(key, news).await,
            };
            if news.send((key, News::Packet(packet))).await.is_err() {
                return;
            }
        }
        let going = tokio::select! {
            ready = stream.readable() => ready.and_then(|()| read(&stream, &mut frames)),
            ready = stream.writable(), if !writing.is_done() => ready.and_then(|()| writing.go_on(&stream)),
            packet = sender.next(), if writing.is_done() => {
                writing = Writing::of(&packet);
                writing.go_on(&stream)
            }
        };
        if going.is_err() {
            return closed(key, news).await;
        }
    }
}

async fn closed<K>(key: K, news: &mpsc::Sender<(K, News)>) {
    // Nobody to tell: then it is known.
    let _ = news.send((key, News::Closed)).await;
}

fn read(stream: &TcpStream, frames: &mut Frames) -> io::Result<()> {
    let mut chunk = [0; CHUNK];
    match stream.try_read(&mut chunk) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(len) => {
            frames.push(chunk.get(..len).unwrap_or_default());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// One packet on its way into the socket: only a whole one may be given up.
#[derive(Default)]
struct Writing {
    frame: Vec<u8>,
    written: usize,
}

impl Writing {
    fn of(packet: &[u8]) -> Self {
        Self { frame: frame(packet), written: 0 }
    }

    fn is_done(&self) -> bool {
        self.written >= self.frame.len()
    }

    fn go_on(&mut self, stream: &TcpStream) -> io::Result<()> {
        match stream.try_write(self.frame.get(self.written..).unwrap_or_default()) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => {
                self.written += len;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Voice in a byte stream: no collecting of small packets, no long queue behind our own short one, and no waiting in
/// vain for a peer that is gone. A system that refuses any of these still carries.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    {
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
        let _ = socket.set_tcp_thin_linear_timeouts(true);
        let _ = socket.set_tcp_user_timeout(Some(GIVEN_UP));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket.set_send_buffer_size(BUFFER);
}

/// More than a burst of a full room's voice.
const CHUNK: usize = 4 << 10;
/// Bytes that the system may keep waiting beside those under way: three of the longest packets.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 4 << 10;
/// A path that acknowledges nothing for so long carries no call.
#[cfg(target_os = "linux")]
const GIVEN_UP: std::time::Duration = std::time::Duration::from_secs(10);
/// A quarter of a second of the largest room's voice.
#[cfg(not(target_os = "linux"))]
const BUFFER: usize = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    struct End {
        sender: Sender,
        news: mpsc::Receiver<((), News)>,
    }

    fn end(stream: TcpStream, first: &'static [u8]) -> End {
        let (out, news) = mpsc::channel(8);
        let sender = Sender::default();
        let kept = sender.clone();
        tokio::spawn(async move { carry(stream, first, &kept, (), &out).await });
        End { sender, news }
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(dialled, listener.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn packets_go_both_ways_and_what_was_read_before_comes_first() {
        let (a, b) = pair().await;
        let (a, mut b) = (end(a, b""), end(b, &[0, 2, 7, 7]));
        assert_eq!(b.news.recv().await.unwrap().1, News::Packet(vec![7, 7]));
        for len in [1, 500, MAX_UDP] {
            assert!(!a.sender.send(&vec![9; len]));
            assert_eq!(b.news.recv().await.unwrap().1, News::Packet(vec![9; len]));
        }
        drop(a.news);
        b.sender.send(b"into the void");
        assert_eq!(b.news.recv().await.unwrap().1, News::Closed);
    }

    #[tokio::test]
    async fn what_is_no_stream_of_packets_ends_the_connection() {
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0], &[4, 177]] {
            let (mut a, b) = pair().await;
            let mut b = end(b, b"");
            a.write_all(garbage).await.unwrap();
            assert_eq!(b.news.recv().await.unwrap().1, News::Closed);
            assert_eq!(a.read(&mut [0; 8]).await.unwrap_or_default(), 0);
        }
    }

    #[tokio::test]
    async fn a_far_end_that_reads_nothing_costs_packets_and_no_memory() {
        let (mut a, b) = pair().await;
        let b = end(b, b"");
        let voice = [&[0xD2][..], &[0; 1_000]].concat();
        let mut lost = 0;
        // Enough to fill both systems' buffers many times over.
        for _ in 0..40_000 {
            lost += u32::from(b.sender.send(&voice));
            tokio::task::yield_now().await;
        }
        assert!(lost > 20_000, "{lost}");
        let mut received = 0;
        let mut chunk = vec![0; 1 << 16];
        while received < (40_000 - lost as usize) * (2 + voice.len()) {
            received += a.read(&mut chunk).await.unwrap();
        }
    }
}
