//! What goes by TCP: to signaling, and to relays where UDP does not pass.

use std::net::SocketAddr;
use std::time::Duration;

use signaling::ConnId;
use vc_core::io::{Hop, Input, SignalIn, SignalOut, Socket};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{Mail, ToServer};

use super::{FOREVER, Happening, Wired, World};
use crate::node::Turn;
use crate::stream::{End, Item, Stream, Way};

/// The connection to signaling.
impl World {
    pub(super) fn signal(&mut self, client: usize, signal: SignalOut) {
        match signal {
            SignalOut::Dial => self.dial(client),
            SignalOut::Frame(bytes) => {
                if let Ok(ToServer::Mail { blob, .. }) = ToServer::decode(&bytes)
                    && let Ok(Mail::Packet(packet)) = Mail::parse(&blob)
                {
                    self.suspect(client, None, packet);
                }
                if let Some(conn) = self.clients[client].conn {
                    self.push(conn, Way::Up, Item::Data(bytes), Duration::ZERO);
                }
            }
            SignalOut::Hang => {
                if let Some(conn) = self.clients[client].conn.take() {
                    self.push(conn, Way::Up, Item::Close, Duration::ZERO);
                }
            }
        }
    }

    fn dial(&mut self, client: usize) {
        let server = self.clients[client].server;
        let conn = self.open(client, server, End::Signaling);
        self.clients[client].conn = Some(conn);
        self.schedule(self.now + DIAL_LIMIT, Happening::DialLimit { conn });
    }

    pub(super) fn dial_limit(&mut self, conn: ConnId) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        if stream.is_open {
            return;
        }
        let client = stream.client;
        // A sleeping program learns it when it wakes.
        if !self.is_awake(client) {
            return self.schedule(self.now + REPAIR, Happening::DialLimit { conn });
        }
        self.streams.remove(&conn);
        self.hung_up(client, conn);
    }

    fn hung_up(&mut self, client: usize, conn: ConnId) {
        if self.clients[client].conn == Some(conn) {
            self.clients[client].conn = None;
            self.tell(client, Input::Signal(SignalIn::Down));
        }
    }
}

/// Connections to relays.
impl World {
    /// As the edge does: opened when it is first sent by.
    pub(super) fn send_by_tcp(&mut self, client: usize, relay: SocketAddr, bytes: Vec<u8>) {
        let Some(server) = self.servers.iter().position(|s| s.addr == relay) else {
            return self.tell_closed(client, relay);
        };
        let conn = match self.clients[client].tcp.get(&relay) {
            Some(conn) => *conn,
            None => {
                let port = OUTSIDE + (self.next_conn % u64::from(u16::MAX - OUTSIDE)) as u16;
                let addr = SocketAddr::new(self.net.public(self.clients[client].site), port);
                let conn = self.open(client, server, End::Relay(Hop { socket: Socket::Tcp, addr }));
                self.clients[client].tcp.insert(relay, conn);
                conn
            }
        };
        self.push(conn, Way::Up, Item::Data(bytes), Duration::ZERO);
    }

    pub(super) fn reply_by_tcp(&mut self, to: Hop, bytes: Vec<u8>) {
        let conn = self.streams.iter().find(|(_, s)| s.end == End::Relay(to)).map(|(conn, _)| *conn);
        if let Some(conn) = conn {
            self.push(conn, Way::Down, Item::Data(bytes), Duration::ZERO);
        }
    }

    pub(super) fn close_tcp(&mut self, client: usize, relay: SocketAddr) {
        if let Some(conn) = self.clients[client].tcp.remove(&relay) {
            self.push(conn, Way::Up, Item::Close, Duration::ZERO);
        }
    }

    fn tell_closed(&mut self, client: usize, relay: SocketAddr) {
        self.tell(client, Input::Closed(Hop { socket: Socket::Tcp, addr: relay }));
    }
}

/// All of them.
impl World {
    pub(super) fn hang_up_all(&mut self, which: impl Fn(&Stream) -> bool) {
        let conns: Vec<ConnId> =
            self.streams.iter().filter(|(_, stream)| which(stream)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.push(conn, Way::Down, Item::Close, Duration::ZERO);
        }
    }

    fn open(&mut self, client: usize, server: usize, end: End) -> ConnId {
        let conn = self.next_conn;
        self.next_conn += 1;
        let sites = (self.clients[client].site, self.servers[server].site);
        self.streams.insert(conn, Stream::new(client, server, sites, end));
        // TCP's round trip before the first byte leaves.
        let connect = self.net.stream_delay(sites.0, sites.1) + self.net.stream_delay(sites.1, sites.0);
        self.push(conn, Way::Up, Item::Open, connect);
        conn
    }

    pub(super) fn push(&mut self, conn: ConnId, way: Way, item: Item, extra: Duration) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        let (a, b) = stream.sites;
        let (from, to) = if way == Way::Up { (a, b) } else { (b, a) };
        let delay = self.net.stream_delay(from, to) + extra;
        let at = stream.lane(way).push(self.now + delay, item);
        self.schedule(at, Happening::Pump { conn, way });
    }

    pub(super) fn pump(&mut self, conn: ConnId, way: Way) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        let (client, server, (a, b), end) = (stream.client, stream.server, stream.sites, stream.end);
        if way == Way::Down && !self.is_awake(client) {
            let wakes = self.clients[client].asleep.filter(|until| *until != FOREVER);
            return wakes.into_iter().for_each(|at| self.schedule(at, Happening::Pump { conn, way }));
        }
        if self.net.is_cut(self.now, a, b) {
            return self.schedule(self.now + REPAIR, Happening::Pump { conn, way });
        }
        let Some(item) = self.streams.get_mut(&conn).and_then(|stream| stream.lane(way).pop(self.now)) else {
            return;
        };
        match (way, end) {
            (Way::Up, End::Signaling) => self.at_server(server, client, conn, item),
            (Way::Down, End::Signaling) => self.at_client(client, server, conn, item),
            (Way::Up, End::Relay(from)) => self.at_relay(server, client, (conn, from), item),
            (Way::Down, End::Relay(_)) => self.relayed(client, server, conn, item),
        }
    }

    fn at_client(&mut self, client: usize, server: usize, conn: ConnId, item: Item) {
        if self.clients[client].conn != Some(conn) {
            return;
        }
        match item {
            Item::Open => {
                if let Some(stream) = self.streams.get_mut(&conn) {
                    stream.is_open = true;
                }
                let server = self.servers[server].addr;
                self.tell(client, Input::Signal(SignalIn::Up { server }));
            }
            Item::Data(bytes) => {
                self.tapped(Wired::Signal { client, way: Way::Down }, &bytes);
                self.trace_bytes(&bytes);
                self.tell(client, Input::Signal(SignalIn::Frame(&bytes)));
            }
            Item::Close => {
                self.streams.remove(&conn);
                self.hung_up(client, conn);
            }
        }
    }

    fn at_server(&mut self, server: usize, client: usize, conn: ConnId, item: Item) {
        if self.servers[server].signaling.is_none() {
            return self.push(conn, Way::Down, Item::Close, Duration::ZERO);
        }
        match item {
            Item::Open => {
                let from = self.net.public(self.clients[client].site);
                self.push(conn, Way::Down, Item::Open, Duration::ZERO);
                self.tell_server(server, signaling::Input::Opened { conn, from });
            }
            Item::Data(bytes) => {
                self.tapped(Wired::Signal { client, way: Way::Up }, &bytes);
                self.trace_bytes(&bytes);
                let turns = match &mut self.servers[server].operator {
                    Some(operator) => operator.frame(conn, bytes),
                    None => vec![Turn::In(conn, bytes)],
                };
                self.turns(server, turns);
            }
            Item::Close => {
                self.tell_server(server, signaling::Input::Closed { conn });
                self.streams.remove(&conn);
            }
        }
    }

    fn at_relay(&mut self, server: usize, client: usize, (conn, from): (ConnId, Hop), item: Item) {
        if self.servers[server].relay.is_none() {
            return self.push(conn, Way::Down, Item::Close, Duration::ZERO);
        }
        match item {
            Item::Open => {}
            Item::Data(bytes) => {
                self.tapped(Wired::Relayed { client, way: Way::Up }, &bytes);
                self.trace_bytes(&bytes);
                self.relay(server, from, &bytes);
            }
            Item::Close => drop(self.streams.remove(&conn)),
        }
    }

    fn relayed(&mut self, client: usize, server: usize, conn: ConnId, item: Item) {
        let relay = self.servers[server].addr;
        if self.clients[client].tcp.get(&relay) != Some(&conn) {
            return;
        }
        match item {
            Item::Open => {}
            Item::Data(bytes) => {
                self.tapped(Wired::Relayed { client, way: Way::Down }, &bytes);
                self.trace_bytes(&bytes);
                let from = Hop { socket: Socket::Tcp, addr: relay };
                self.tell(client, Input::Datagram { from, bytes: &bytes });
            }
            Item::Close => {
                self.streams.remove(&conn);
                self.clients[client].tcp.remove(&relay);
                self.tell_closed(client, relay);
            }
        }
    }

    pub(super) fn turns(&mut self, server: usize, turns: Vec<Turn>) {
        for turn in turns {
            match turn {
                Turn::In(conn, bytes) => {
                    self.tell_server(server, signaling::Input::Frame { conn, bytes: &bytes });
                }
                Turn::Out(conn, message) => {
                    self.push(conn, Way::Down, Item::Data(message.encode()), Duration::ZERO);
                }
            }
        }
    }
}

/// The edge's own limit for connecting and shaking hands.
const DIAL_LIMIT: Duration = Duration::from_secs(8);
/// How often a stream looks whether a cut is over.
const REPAIR: Duration = Duration::from_millis(400);
/// Ports by which connections leave a house.
const OUTSIDE: u16 = 20_000;
