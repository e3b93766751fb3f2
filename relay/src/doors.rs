//! Where a server is reached: one UDP socket, any number of TCP listeners, and connections that another part of the
//! process accepted and found to be for the relay.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use vc_core::protocol::packet::BIND_LEN;

pub struct Doors {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) hand: mpsc::Sender<Accepted>,
    pub(crate) accepted: mpsc::Receiver<Accepted>,
}

/// A connection, and what was read from it already.
pub struct Accepted {
    pub stream: TcpStream,
    pub from: SocketAddr,
    pub first: Vec<u8>,
}

impl Doors {
    pub fn new(udp: UdpSocket, tcp: Vec<TcpListener>) -> Self {
        let (hand, accepted) = mpsc::channel(WAITING);
        Self { udp, tcp, hand, accepted }
    }

    /// For connections that arrive elsewhere.
    pub fn hand(&self) -> mpsc::Sender<Accepted> {
        self.hand.clone()
    }
}

/// Whether a connection is for the relay, by its first two bytes: the length of its first frame. What a client says
/// first to a signaling server has another one.
pub fn is_for_relay(first: [u8; 2]) -> bool {
    usize::from(u16::from_be_bytes(first)) == BIND_LEN
}

/// The next connection to any of the listeners; never, if there is none.
pub async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        let ready = listeners.iter().map(|listener| listener.poll_accept(context)).find(Poll::is_ready);
        ready.unwrap_or(Poll::Pending)
    })
    .await
}

/// Accepts for ever.
pub(crate) async fn welcome(listeners: Vec<TcpListener>, hand: mpsc::Sender<Accepted>) {
    loop {
        match accept(&listeners).await {
            Ok((stream, from)) => {
                if hand.send(Accepted { stream, from, first: Vec::new() }).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, or the connection died in the queue: the listener itself is sound.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The relay takes them at once; the system keeps the rest.
const WAITING: usize = 64;
/// Time for the descriptors of closing connections to come back.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
