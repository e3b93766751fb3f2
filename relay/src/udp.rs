//! A UDP socket that answers from where it was asked. A machine may have several addresses, and routers let in only what
//! comes from the one that was written to.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::slice;
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use vc_core::io::Time;

pub(crate) struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// What came at once from one sender.
pub(crate) struct Came {
    pub(crate) from: SocketAddr,
    /// Our own address that it was sent to, where the system tells.
    pub(crate) at: Option<IpAddr>,
    len: usize,
    each: usize,
}

impl Udp {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state })
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Never waits. `buffer` is of `BUFFER` bytes.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Came> {
        let mut meta = RecvMeta::default();
        self.socket.try_io(Interest::READABLE, || {
            let mut buffers = [IoSliceMut::new(buffer)];
            self.state.recv(UdpSockRef::from(&self.socket), &mut buffers, slice::from_mut(&mut meta))
        })?;
        Ok(Came { from: meta.addr, at: meta.dst_ip, len: meta.len, each: meta.stride })
    }

    /// Never waits. From `at`, if that is known.
    pub(crate) fn try_send(&self, bytes: &[u8], to: SocketAddr, at: Option<IpAddr>) -> io::Result<()> {
        let transmit =
            Transmit { destination: to, ecn: None, contents: bytes, segment_size: None, src_ip: at };
        self.socket
            .try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.socket), &transmit))
    }
}

impl Came {
    /// The system may hand over several datagrams in a row; an empty one is one, too.
    pub(crate) fn datagrams<'a>(&self, buffer: &'a mut [u8]) -> impl Iterator<Item = &'a mut [u8]> + use<'a> {
        let empty: Option<&mut [u8]> = (self.len == 0).then_some(&mut []);
        let bytes = buffer.get_mut(..self.len).unwrap_or_default();
        empty.into_iter().chain(bytes.chunks_mut(self.each.max(1)))
    }
}

/// At which of our addresses each owner of a place is used to find us.
#[derive(Default)]
pub(crate) struct Homes(BTreeMap<SocketAddr, (IpAddr, Time)>);

impl Homes {
    pub(crate) fn found(&mut self, now: Time, owner: SocketAddr, at: IpAddr) {
        self.0.insert(owner, (at, now));
    }

    pub(crate) fn of(&self, owner: SocketAddr) -> Option<IpAddr> {
        self.0.get(&owner).map(|(at, _)| *at)
    }

    pub(crate) fn sweep(&mut self, now: Time) {
        self.0.retain(|_, (_, heard)| now - *heard < KEPT);
    }
}

/// The longest that the system hands over at once.
pub(crate) const BUFFER: usize = 64 << 10;
/// A place dies after a minute without a KEEP.
const KEPT: Duration = Duration::from_secs(75);
