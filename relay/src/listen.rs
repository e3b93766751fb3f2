//! Sockets of servers. At the unspecified IPv6 address they take both IP versions, whatever the system's default is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

/// All addresses of this machine, of both IP versions if it has both.
pub fn everywhere() -> IpAddr {
    let six = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    match bound(SocketAddr::new(six, 0), Type::DGRAM) {
        Ok(_) => six,
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

pub fn tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(addr, Type::STREAM)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

pub fn udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(bound(addr, Type::DGRAM)?.into())
}

fn bound(addr: SocketAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A server that starts again gets its port although old connections linger. Elsewhere it means another thing.
    #[cfg(unix)]
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Connections that wait to be accepted; as tokio has it.
const BACKLOG: i32 = 1_024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn at_the_unspecified_address_both_ip_versions_are_answered() {
        let listener = tcp(SocketAddr::new(everywhere(), 0)).unwrap();
        let socket = udp(SocketAddr::new(everywhere(), 0)).unwrap();
        let (tcp_port, udp_port) =
            (listener.local_addr().unwrap().port(), socket.local_addr().unwrap().port());
        let both = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        for ip in both.into_iter().filter(|ip| ip.is_ipv4() || everywhere().is_ipv6()) {
            let (caller, accepted) =
                tokio::join!(tokio::net::TcpStream::connect((ip, tcp_port)), listener.accept());
            assert_eq!(accepted.unwrap().1.port(), caller.unwrap().local_addr().unwrap().port());
            let asking = UdpSocket::bind((ip, 0)).await.unwrap();
            asking.send_to(b"?", (ip, udp_port)).await.unwrap();
            let (_, from) = socket.recv_from(&mut [0; 8]).await.unwrap();
            assert_eq!(from.ip().to_canonical(), ip);
        }
    }
}
