//! Word from the system that the network may have changed: an interface, an address, a route. Elsewhere than on Linux
//! there is none, and the addresses are looked at now and then.

#[cfg(target_os = "linux")]
mod news {
    use std::io;
    use std::time::Duration;

    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    use tokio::net::UdpSocket;
    use tokio::time::{Instant, sleep_until};

    /// A route netlink socket (rtnetlink(7)). What its messages say is not read: the addresses are looked at anyway.
    pub(crate) struct Network {
        socket: Option<UdpSocket>,
        /// Something happened; more usually follows at once.
        settled: Option<Instant>,
    }

    impl Network {
        pub(crate) fn watch() -> Self {
            Self { socket: open().ok(), settled: None }
        }

        /// Until something changed and the system has been given a moment to finish. May be dropped and asked again.
        pub(crate) async fn changed(&mut self) {
            let Some(socket) = &self.socket else { return std::future::pending().await };
            let settled = match self.settled {
                Some(settled) => settled,
                None => {
                    if heard(socket).await.is_err() {
                        self.socket = None;
                        return;
                    }
                    *self.settled.insert(Instant::now() + SETTLE)
                }
            };
            sleep_until(settled).await;
            // What came meanwhile belongs to the same change.
            while socket.try_recv(&mut [0; 1]).is_ok() {}
            self.settled = None;
        }
    }

    fn open() -> io::Result<UdpSocket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        // For the runtime a socket of datagrams is a descriptor to wait for and recv(2), whatever its family.
        UdpSocket::from_std(socket.into())
    }

    /// Until there is a message; takes it.
    async fn heard(socket: &UdpSocket) -> io::Result<()> {
        loop {
            socket.readable().await?;
            match socket.try_recv(&mut [0; 1]) {
                Ok(_) => return Ok(()),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                    // More than its buffer holds: messages were lost, so something did happen.
                    _ if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                        return Ok(());
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE of linux/rtnetlink.h.
    const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
    /// An address comes a moment before the route by which it is of use.
    const SETTLE: Duration = Duration::from_millis(100);

    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn the_system_lets_an_ordinary_program_listen() {
            assert!(Network::watch().socket.is_some());
        }

        #[tokio::test]
        async fn a_message_of_the_system_is_a_change() {
            let mut network = Network::watch();
            // RTM_GETLINK | NLM_F_REQUEST | NLM_F_DUMP: the answer comes as the news do.
            let request = [20, 0, 0, 0, 18, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            rustix::net::send(network.socket.as_ref().unwrap(), &request, rustix::net::SendFlags::empty())
                .unwrap();
            network.changed().await;
            assert!(network.settled.is_none() && network.socket.is_some());
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod news {
    pub(crate) struct Network;

    impl Network {
        pub(crate) fn watch() -> Self {
            Self
        }

        #[allow(clippy::unused_async)]
        pub(crate) async fn changed(&mut self) {
            std::future::pending().await
        }
    }
}

pub(crate) use news::Network;
