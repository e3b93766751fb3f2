//! The TCP connections of a relay: how many from where, how long, and the way in and out of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use vc_core::crypto::keys::Rng;
use vc_core::io::Time;
use vc_core::net::forward::rate::{Net, Rate, Sources};

use crate::doors::Accepted;
use crate::stream::{News, Sender, carry};

pub(crate) struct Streams {
    /// By the address at the far end, as the forwarder knows them.
    open: BTreeMap<SocketAddr, Open>,
    arrivals: Sources,
    next: u64,
    news: mpsc::Sender<(Key, News)>,
    inbox: mpsc::Receiver<(Key, News)>,
    tasks: JoinSet<()>,
    pub(crate) turned_away: u64,
}

struct Open {
    number: u64,
    /// Loopback is no source: it is the operator, or the operator's proxy.
    net: Option<Net>,
    sender: Sender,
    task: AbortHandle,
    /// Until when it may go on without a sensible packet.
    until: Time,
}

/// The number tells a connection from an earlier one of the same address.
type Key = (SocketAddr, u64);

impl Streams {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let (news, inbox) = mpsc::channel(ARRIVED);
        Self {
            open: BTreeMap::new(),
            arrivals: Sources::new(ARRIVALS, rng),
            next: 0,
            news,
            inbox,
            tasks: JoinSet::new(),
            turned_away: 0,
        }
    }

    pub(crate) fn add(&mut self, now: Time, accepted: Accepted) {
        while self.tasks.try_join_next().is_some() {}
        let Accepted { stream, from, first } = accepted;
        let net = (!from.ip().to_canonical().is_loopback()).then(|| Net::household(from.ip()));
        if !self.may_enter(now, net) {
            self.turned_away += 1;
            return;
        }
        let key = (from, self.next);
        self.next += 1;
        let sender = Sender::default();
        let (outgoing, news) = (sender.clone(), self.news.clone());
        let task = self.tasks.spawn(async move { carry(stream, &first, &outgoing, key, &news).await });
        let open = Open { number: key.1, net, sender, task, until: now + PATIENCE };
        if let Some(before) = self.open.insert(from, open) {
            before.task.abort();
        }
    }

    /// The next packet and whose it is. Waits for ever while there is none.
    pub(crate) async fn next(&mut self) -> (SocketAddr, Vec<u8>) {
        loop {
            let Some(((from, number), news)) = self.inbox.recv().await else {
                return std::future::pending().await;
            };
            if self.open.get(&from).is_none_or(|open| open.number != number) {
                continue;
            }
            match news {
                News::Packet(packet) => return (from, packet),
                News::Closed => drop(self.open.remove(&from)),
            }
        }
    }

    /// False if that cost a packet.
    pub(crate) fn send(&self, to: SocketAddr, packet: &[u8]) -> bool {
        self.open.get(&to).is_some_and(|open| !open.sender.send(packet))
    }

    /// It has a place and uses it.
    pub(crate) fn is_of_use(&mut self, now: Time, from: SocketAddr) {
        if let Some(open) = self.open.get_mut(&from) {
            open.until = now + IDLE;
        }
    }

    /// Closes those that nobody uses.
    pub(crate) fn sweep(&mut self, now: Time) {
        self.open.retain(|_, open| {
            let wanted = now < open.until;
            if !wanted {
                open.task.abort();
            }
            wanted
        });
    }

    fn may_enter(&mut self, now: Time, net: Option<Net>) -> bool {
        let mine = self.open.values().filter(|open| net.is_some() && open.net == net).count();
        self.open.len() < CONNECTIONS
            && mine < PER_SOURCE
            && net.is_none_or(|net| self.arrivals.take(now, net, 1))
    }
}

/// A tenth of the rooms that a relay takes have a member whose network blocks UDP; 50 MiB if all their queues are full.
const CONNECTIONS: usize = 2_048;
/// Two full rooms behind one router.
const PER_SOURCE: usize = 32;
/// All of them come back at once, and again.
const ARRIVALS: Rate = Rate { per_minute: 120, burst: 64 };
/// From the accepted connection to a valid BIND, on the worst line that carries speech.
const PATIENCE: Duration = Duration::from_secs(5);
/// A place dies after 60 s; whoever has none any more is of no use.
const IDLE: Duration = Duration::from_secs(75);
/// A full queue slows the readers, not the forwarder.
const ARRIVED: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_core::SeedableRng;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    struct House {
        listener: TcpListener,
        streams: Streams,
    }

    impl House {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Self { listener, streams: Streams::new(&mut Rng::from_seed([1; 32])) }
        }

        /// A real connection that says it comes from there.
        async fn enter(&mut self, now: Time, from: &str) -> TcpStream {
            let (far, near) =
                tokio::join!(TcpStream::connect(self.listener.local_addr().unwrap()), self.listener.accept());
            let stream = near.unwrap().0;
            self.streams.add(now, Accepted { stream, from: from.parse().unwrap(), first: Vec::new() });
            far.unwrap()
        }
    }

    #[tokio::test]
    async fn a_household_has_its_share_and_the_operator_is_not_counted() {
        let mut house = House::new().await;
        let mut kept = Vec::new();
        for port in 0..2 * PER_SOURCE {
            kept.push(house.enter(Time::ZERO, &format!("192.0.2.1:{}", 2_000 + port)).await);
        }
        assert_eq!((house.streams.open.len(), house.streams.turned_away), (PER_SOURCE, PER_SOURCE as u64));
        kept.push(house.enter(Time::ZERO, "192.0.2.2:2000").await);
        for port in 0..2 * PER_SOURCE {
            kept.push(house.enter(Time::ZERO, &format!("127.0.0.1:{}", 2_000 + port)).await);
        }
        assert_eq!(house.streams.open.len(), 3 * PER_SOURCE + 1);
    }

    #[tokio::test]
    async fn a_connection_without_a_place_is_closed_soon_and_one_that_is_used_stays() {
        let mut house = House::new().await;
        let mut idle = house.enter(Time::ZERO, "192.0.2.1:2000").await;
        let _used = house.enter(Time::ZERO, "192.0.2.1:2001").await;
        house.streams.is_of_use(Time::ZERO, "192.0.2.1:2001".parse().unwrap());
        house.streams.sweep(Time::ZERO + PATIENCE);
        assert_eq!(idle.read(&mut [0; 8]).await.unwrap_or_default(), 0);
        assert_eq!(house.streams.open.len(), 1);
        house.streams.sweep(Time::ZERO + IDLE);
        assert!(house.streams.open.is_empty());
    }

    #[tokio::test]
    async fn a_second_connection_from_one_address_replaces_the_first() {
        let mut house = House::new().await;
        let mut first = house.enter(Time::ZERO, "192.0.2.1:2000").await;
        let mut second = house.enter(Time::ZERO, "192.0.2.1:2000").await;
        assert_eq!(first.read(&mut [0; 8]).await.unwrap_or_default(), 0);
        assert!(house.streams.send("192.0.2.1:2000".parse().unwrap(), b"hi"));
        let mut heard = [0; 4];
        second.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, &[0, 2, b'h', b'i']);
    }
}
