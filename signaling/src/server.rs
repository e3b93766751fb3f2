//! The TCP edge: accepts, frames, seals, times; decides nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

// Its queue is a list: tokio's takes 800 bytes for each idle connection.
use futures_channel::mpsc as list;
use rand_core::{RngCore, SeedableRng};
use relay::doors::{ACCEPT_PAUSE, Accepted, accept, is_for_relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use vc_core::crypto::keys::{Rng, StaticKey};
use vc_core::io::Time;
use vc_core::protocol::codec::Wire as _;
use vc_core::protocol::signal::ToClient;

use crate::config::Config;
use crate::line::{Fed, Line};
use crate::room::{Counters, Input, Output, Rooms};
use crate::seats::ConnId;

/// Where the server is reached.
pub struct Doors {
    pub tcp: Vec<TcpListener>,
    /// A relay in this process, whose connections arrive at the same ports.
    pub relay: Option<mpsc::Sender<Accepted>>,
}

/// Serves until `shutdown` is ready.
pub async fn serve(doors: Doors, config: Config, shutdown: impl Future<Output = ()>) -> io::Result<Counters> {
    let (news, mut events) = mpsc::channel(EVENTS);
    let mut edge = Edge::new(config, news, doors.relay);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(edge.rooms.counters().clone()),
            Some(event) = events.recv() => edge.event(event),
            accepted = accept(&doors.tcp), if edge.tasks.len() < edge.max_tasks => match accepted {
                Ok((stream, from)) => edge.accepted(stream, from),
                // Out of descriptors, or the connection died in the queue: the listener itself is sound.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = edge.tasks.join_next() => {}
            _ = tick.tick() => edge.tell(Input::Tick),
        }
        edge.act();
    }
}

struct Edge {
    rooms: Rooms,
    key: Arc<StaticKey>,
    rng: Rng,
    start: Instant,
    wires: BTreeMap<ConnId, Wire>,
    next: ConnId,
    news: mpsc::Sender<Event>,
    relay: Option<mpsc::Sender<Accepted>>,
    tasks: JoinSet<()>,
    max_tasks: usize,
}

/// Towards one connection's task. Dropped: the task sends what is queued and closes.
struct Wire {
    out: list::UnboundedSender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    task: AbortHandle,
}

enum Event {
    Frame(ConnId, Vec<u8>),
    Gone(ConnId),
}

impl Edge {
    fn new(config: Config, news: mpsc::Sender<Event>, relay: Option<mpsc::Sender<Accepted>>) -> Self {
        let mut rng = Rng::from_seed(config.seed);
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self {
            key: Arc::new(config.key.clone()),
            max_tasks: config.limits.connections.saturating_add(CLOSING),
            rooms: Rooms::new(Config { seed, ..config }),
            rng,
            start: Instant::now(),
            wires: BTreeMap::new(),
            next: 0,
            news,
            relay,
            tasks: JoinSet::new(),
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        let now = Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX));
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.rooms.handle(now, u32::try_from(wall.as_secs()).unwrap_or(u32::MAX), input);
    }

    fn accepted(&mut self, stream: TcpStream, from: SocketAddr) {
        let conn = self.next;
        self.next += 1;
        self.tell(Input::Opened { conn, from: from.ip() });
        self.act();
        if !self.rooms.is_open(conn) {
            return;
        }
        let (out, outbox) = list::unbounded();
        let queued = Arc::new(AtomicUsize::new(0));
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let line = Line::new(self.key.clone(), Rng::from_seed(seed));
        let (queued_too, news, relay) = (queued.clone(), self.news.clone(), self.relay.clone());
        let carrier = Carrier { conn, from, line, outbox, queued: queued_too, news, relay };
        let task = self.tasks.spawn(carrier.carry(stream));
        self.wires.insert(conn, Wire { out, queued, task });
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Frame(conn, bytes) => self.tell(Input::Frame { conn, bytes: &bytes }),
            Event::Gone(conn) => {
                self.wires.remove(&conn);
                self.tell(Input::Closed { conn });
            }
        }
    }

    fn act(&mut self) {
        while let Some(output) = self.rooms.poll() {
            match output {
                Output::Say { conn, message } => self.say(conn, &message),
                Output::Close { conn } => drop(self.wires.remove(&conn)),
            }
        }
    }

    /// Mail that finds the queue half full is lost, so that nobody can have another thrown out by writing to it.
    fn say(&mut self, conn: ConnId, message: &ToClient) {
        let Some(wire) = self.wires.get(&conn) else { return };
        let room = if matches!(message, ToClient::Mail { .. }) { QUEUE / 2 } else { QUEUE };
        let bytes = message.encode();
        let queued = wire.queued.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if queued <= room {
            // The task may be gone; then its `Gone` is on the way.
            let _ = wire.out.unbounded_send(bytes);
            return;
        }
        wire.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
        if room == QUEUE {
            wire.task.abort();
            self.wires.remove(&conn);
            self.tell(Input::Closed { conn });
        }
    }
}

/// One connection's task: owns the socket and the seal.
struct Carrier {
    conn: ConnId,
    from: SocketAddr,
    line: Line,
    outbox: list::UnboundedReceiver<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    news: mpsc::Sender<Event>,
    relay: Option<mpsc::Sender<Accepted>>,
}

impl Carrier {
    async fn carry(mut self, mut stream: TcpStream) {
        // Small messages that somebody waits for.
        let _ = stream.set_nodelay(true);
        let first = match self.first(&mut stream).await {
            Ok(Some(first)) => first,
            // The server closes: nothing was said that deserves a last word.
            Ok(None) => return,
            Err(Broken) => return drop(self.news.send(Event::Gone(self.conn)).await),
        };
        if let Some(relay) = self.relay.take().filter(|_| is_for_relay(first)) {
            // A relay that is that busy turns it away, as it would at a door of its own.
            let _ = relay.try_send(Accepted { stream, from: self.from, first: first.to_vec() });
            return drop(self.news.send(Event::Gone(self.conn)).await);
        }
        match self.exchange(&stream, first).await {
            Ok(last) => drop(timeout(GOODBYE, goodbye(&mut stream, last)).await),
            Err(Broken) => drop(self.news.send(Event::Gone(self.conn)).await),
        }
    }

    /// The first two bytes tell for whom a connection is.
    async fn first(&mut self, stream: &mut TcpStream) -> Result<Option<[u8; 2]>, Broken> {
        let mut first = [0; 2];
        tokio::select! {
            read = stream.read_exact(&mut first) => read.map(|_| Some(first)).map_err(|_| Broken),
            Err(_) = self.outbox.recv() => Ok(None),
        }
    }

    /// `Ok`: the server closes, after these bytes. `Err`: the client did, or broke the rules of the line.
    async fn exchange(&mut self, stream: &TcpStream, first: [u8; 2]) -> Result<Vec<u8>, Broken> {
        let mut pending = Pending::default();
        self.line.feed(&first).map_err(|_| Broken)?;
        loop {
            tokio::select! {
                ready = stream.readable() => {
                    ready.map_err(|_| Broken)?;
                    let fed = self.read(stream)?;
                    pending.push(&fed.answer, 0);
                    for message in fed.messages {
                        self.news.send(Event::Frame(self.conn, message)).await.map_err(|_| Broken)?;
                    }
                }
                ready = stream.writable(), if !pending.is_empty() => {
                    ready.map_err(|_| Broken)?;
                    let sent = pending.write(stream)?;
                    self.queued.fetch_sub(sent, Ordering::Relaxed);
                }
                message = self.outbox.recv() => match message {
                    Ok(message) => pending.push(&self.line.seal(&message).unwrap_or_default(), message.len()),
                    Err(_) => return Ok(pending.bytes().to_vec()),
                },
            }
        }
    }

    /// The buffer lives only here: ten thousand idle connections hold none.
    fn read(&mut self, stream: &TcpStream) -> Result<Fed, Broken> {
        let mut chunk = [0; CHUNK];
        match stream.try_read(&mut chunk) {
            Ok(0) => Err(Broken),
            Ok(len) => self.line.feed(chunk.get(..len).unwrap_or_default()).map_err(|_| Broken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Fed::default()),
            Err(_) => Err(Broken),
        }
    }
}

/// The last word must not be lost: a socket closed with unread bytes resets what it has sent.
async fn goodbye(stream: &mut TcpStream, last: Vec<u8>) -> io::Result<()> {
    stream.write_all(&last).await?;
    stream.shutdown().await?;
    let mut sink = [0; 256];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

struct Broken;

/// Sealed bytes on their way into the socket, and how much of the queue's account they stand for.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    written: usize,
    charged: usize,
}

impl Pending {
    fn push(&mut self, frame: &[u8], charged: usize) {
        self.bytes.extend_from_slice(frame);
        self.charged += charged;
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.written >= self.bytes.len()
    }

    /// Returns what may be taken off the account: it empties only with the buffer.
    fn write(&mut self, stream: &TcpStream) -> Result<usize, Broken> {
        match stream.try_write(self.bytes()) {
            Ok(0) => return Err(Broken),
            Ok(len) => self.written += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(_) => return Err(Broken),
        }
        if !self.is_empty() {
            return Ok(0);
        }
        self.bytes = Vec::new();
        self.written = 0;
        Ok(std::mem::take(&mut self.charged))
    }
}

/// Per connection: a welcome for each of ten friends.
const QUEUE: usize = 64 << 10;
/// More than one of the largest frames.
const CHUNK: usize = 8 << 10;
/// All connections share this queue to the rooms; a full one slows the readers, not the rooms.
const EVENTS: usize = 256;
const TICK: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_secs(2);
/// Connections beyond the limit that are being told so.
const CLOSING: usize = 256;
