//! A server inside this process: signaling on TCP and the relay on UDP, one port number, one key.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use vc_core::crypto::keys::{PublicKey, Secret, StaticKey, kdf};
use vc_core::crypto::ticket::RelayKey;
use vc_core::net::candidate::HTTPS;

use crate::config::reason;
use crate::failure::Failure;
use crate::note::Reach;
use crate::sockets::{interface_addresses, outward};

/// Runs until it is dropped.
pub(crate) struct Host {
    /// Where others reach it.
    pub(crate) address: SocketAddr,
    pub(crate) reach: Reach,
    pub(crate) key: PublicKey,
    tasks: [JoinHandle<()>; 2],
    echo: Option<JoinHandle<()>>,
}

/// One port number, both protocols.
pub(crate) struct Door {
    tcp: TcpListener,
    udp: UdpSocket,
    /// More ports for TCP.
    also: Vec<TcpListener>,
    /// A second port to be seen from; the servers do without if the machine has none.
    echo: Option<UdpSocket>,
}

impl Host {
    /// With these relays besides its own.
    pub(crate) fn start(
        door: Door,
        secret: &Secret<32>,
        relays: Vec<signaling::RelayInfo>,
    ) -> Result<Self, Failure> {
        let listen = door.tcp.local_addr().map_err(Failure::defect)?;
        let key = StaticKey::from_bytes(*secret.as_bytes());
        // Derived, so that tickets outlive a restart of the server.
        let relay_secret = kdf::<32>(secret.as_bytes(), "own relay", &[]);
        let relay_id = relay::key_file::relay_id(&relay_secret);
        let relay_key = RelayKey::new(relay_secret);
        // "The host that you reached me at": right behind every router and for every name.
        let same_host: SocketAddr = match listen {
            SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, listen.port()).into(),
            SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, listen.port()).into(),
        };
        let echo_port = door.echo.as_ref().and_then(|echo| Some(echo.local_addr().ok()?.port()));
        let second = echo_port.map(|port| SocketAddr::new(same_host.ip(), port));
        let own = signaling::RelayInfo { addr: same_host, id: relay_id, key: relay_key.clone() };
        let public = key.public();
        let config = signaling::Config {
            key,
            probes: [same_host]
                .into_iter()
                .chain(second)
                // Probes are datagrams.
                .chain(relays.iter().map(|relay| relay.addr).filter(|addr| addr.port() != HTTPS))
                .collect(),
            relays: [own].into_iter().chain(relays).collect(),
            limits: signaling::Limits::default(),
            seed: seed()?,
        };
        let relay_seed = seed()?;
        let relay_doors = relay::Doors::new(door.udp, Vec::new());
        let tcp = [door.tcp].into_iter().chain(door.also).collect();
        let doors = signaling::Doors { tcp, relay: Some(relay_doors.hand()) };
        let signaling = tokio::spawn(async move {
            if let Err(error) = signaling::serve(doors, config, std::future::pending()).await {
                tracing::error!(%error, "signaling stopped");
            }
        });
        let relay = tokio::spawn(async move {
            if let Err(error) =
                relay::serve(relay_doors, relay_key, relay_id, relay_seed, std::future::pending()).await
            {
                tracing::error!(%error, "relay stopped");
            }
        });
        let echo_seed = seed()?;
        let echo = door.echo.map(|echo| tokio::spawn(relay::echo::serve(echo, echo_seed)));
        let ip = advertised(listen.ip());
        Ok(Self {
            address: SocketAddr::new(ip, listen.port()),
            reach: reach(ip),
            key: public,
            tasks: [signaling, relay],
            echo,
        })
    }

    /// Until one of the two has failed for good.
    pub(crate) async fn failed(&mut self) {
        let [signaling, relay] = &mut self.tasks;
        tokio::select! {
            _ = signaling => {}
            _ = relay => {}
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for task in self.tasks.iter().chain(&self.echo) {
            task.abort();
        }
    }
}

impl Door {
    /// Exactly there, or not at all.
    pub(crate) fn open(listen: SocketAddr) -> Result<Self, Failure> {
        Self::bind(listen).map_err(|error| refused(listen, &error))
    }

    /// At the usual port or, when something else has it, at any; tells which.
    pub(crate) fn open_anywhere() -> Result<(Self, bool), Failure> {
        let usual = relay::program::usual();
        match Self::bind(usual) {
            Ok(door) => Ok((door, true)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Ok((Self::open(SocketAddr::new(usual.ip(), 0))?, false))
            }
            Err(error) => Err(refused(usual, &error)),
        }
    }

    /// For those whose networks block the port.
    pub(crate) fn and_at(mut self, ports: &[u16]) -> Result<Self, Failure> {
        let first = self.tcp.local_addr().map_err(Failure::defect)?;
        for port in ports {
            let listen = SocketAddr::new(first.ip(), *port);
            let listener = relay::listen::tcp(listen);
            self.also
                .push(listener.map_err(|error| Failure { hint: ALSO.into(), ..refused(listen, &error) })?);
        }
        Ok(self)
    }

    fn bind(listen: SocketAddr) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let tcp = relay::listen::tcp(listen)?;
            match relay::listen::udp(tcp.local_addr()?) {
                Ok(udp) => {
                    let echo = relay::echo::bind(tcp.local_addr()?).ok();
                    return Ok(Self { tcp, udp, also: Vec::new(), echo });
                }
                // A port that was free for TCP need not be for UDP; when any will do, take another.
                Err(_) if listen.port() == 0 && tries < PORT_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The key of this machine's server, made on first use. Without a place to keep it, one for this time.
pub(crate) fn key(state: Option<&Path>, file: Option<PathBuf>) -> Result<Secret<32>, Failure> {
    let Some(path) = file.or_else(|| state.map(|state| state.join("server.key"))) else {
        return Ok(Secret::new(seed()?));
    };
    let unusable = |error: io::Error| {
        Failure::machine(
            format!("The server's key file {} cannot be used ({}).", path.display(), reason(&error)),
            "Make it readable, choose another with `voicechat serve --key-file`, or remove it to get a new key.",
        )
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(unusable)?;
    }
    relay::key_file::load_or_create(&path).map_err(unusable)
}

pub(crate) fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Failure::machine(
            format!("The system gives no random bytes ({error})."),
            "Without them nothing is private.",
        )
    })?;
    Ok(seed)
}

/// How far an address is heard.
pub(crate) fn reach(ip: IpAddr) -> Reach {
    let private = match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // 100.64/10 is shared by the customers of one provider (RFC 6598).
            let shared = a == 100 && b & 0xc0 == 64;
            let benchmark = a == 198 && b & 0xfe == 18;
            v4.is_private() || v4.is_link_local() || v4.is_documentation() || shared || benchmark
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    match ip {
        _ if ip.is_loopback() => Reach::Loopback,
        _ if private => Reach::Lan,
        _ => Reach::Public,
    }
}

/// What to tell others when listening on `ip`.
fn advertised(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    outward()
        .or_else(|| interface_addresses(false).into_iter().find(|other| ip.is_ipv6() || other.is_ipv4()))
        .unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
}

fn refused(listen: SocketAddr, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::machine(
            format!("Port {} is in use by another program.", listen.port()),
            "Stop that program (another voicechat, perhaps), or choose another port with --listen ADDR:PORT.",
        ),
        io::ErrorKind::AddrNotAvailable => Failure::machine(
            format!("This machine does not have the address {}.", listen.ip()),
            "Listen on one of its own addresses, or on [::] for all.",
        ),
        io::ErrorKind::PermissionDenied => Failure::machine(
            format!("The system does not allow listening on {listen}."),
            "Choose a port above 1023 with --listen ADDR:PORT.",
        ),
        _ => Failure::machine(
            format!("Listening on {listen} failed ({}).", reason(error)),
            "Choose another --listen.",
        ),
    }
}

const ALSO: &str = "Choose another port with --also; below 1024 the system asks for a right, which \
                    `setcap cap_net_bind_service=+ep` gives to a program.";
/// Two programs that both miss this often do not share a machine by chance.
const PORT_TRIES: u32 = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use vc_core::protocol::packet::{Bind, probe, probed};
    use vc_core::protocol::stream::frame;

    use super::*;
    use crate::place::Place;
    use crate::signal_link::{Link, News};

    #[test]
    fn an_address_tells_who_can_reach_it() {
        let at = |ip: &str| reach(ip.parse().unwrap());
        assert_eq!(at("127.0.0.1"), Reach::Loopback);
        assert_eq!(at("::1"), Reach::Loopback);
        for lan in
            ["192.168.1.2", "10.0.0.1", "172.16.0.1", "100.64.0.1", "192.0.2.2", "198.18.0.1", "fd00::1"]
        {
            assert_eq!(at(lan), Reach::Lan, "{lan}");
        }
        for public in ["9.9.9.9", "100.128.0.1", "2001:4860::1"] {
            assert_eq!(at(public), Reach::Public, "{public}");
        }
    }

    #[tokio::test]
    async fn both_protocols_share_a_port_and_a_taken_one_is_named() {
        let door = Door::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = door.tcp.local_addr().unwrap();
        assert_eq!(address.port(), door.udp.local_addr().unwrap().port());
        let failure = Door::open(address).err().unwrap();
        assert!(failure.what.contains(&address.port().to_string()));
        assert_eq!(failure.kind, crate::failure::Kind::Machine);
    }

    #[tokio::test]
    async fn signaling_and_relay_share_every_tcp_port() {
        let door = Door::open("127.0.0.1:0".parse().unwrap()).unwrap().and_at(&[0]).unwrap();
        let also = door.also[0].local_addr().unwrap();
        let host = Host::start(door, &Secret::new([1; 32]), Vec::new()).unwrap();
        for address in [host.address, also] {
            let bind = Bind { version: 1, body: [0; 32], nonce: [0; 8], cookie: [0; 16], mac: [0; 16] };
            let mut member = TcpStream::connect(address).await.unwrap();
            member.write_all(&[frame(&bind.packet()), frame(&probe([7; 8]))].concat()).await.unwrap();
            let mut answer = vec![0; 2 + 28];
            member.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, frame(&probed([7; 8], member.local_addr().unwrap())));

            let place = Place { port: address.port(), ..Place::at(host.address, host.key) };
            let mut link = Link::default();
            link.dial(place, [2; 32]);
            assert!(matches!(link.next().await, News::Up { key, .. } if key == host.key));
        }
    }

    #[test]
    fn the_key_is_the_same_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("new");
        let first = key(Some(&state), None).unwrap();
        assert_eq!(first.as_bytes(), key(Some(&state), None).unwrap().as_bytes());
        assert_ne!(first.as_bytes(), key(None, None).unwrap().as_bytes());
    }
}
