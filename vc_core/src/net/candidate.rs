//! Which addresses we tell others, and which of theirs we agree to touch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::protocol::member::{Candidate, Kind, MAX_CANDIDATES};

/// Whether a peer may make us send to `addr`. Addresses that no friend can have (or only to harm a third) are
/// refused; loopback is one of them unless the whole room meets over loopback, as in a demonstration.
pub fn permitted(addr: &SocketAddr, loopback: bool) -> bool {
    if addr.port() < FIRST_PORT {
        return false;
    }
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => loopback,
        IpAddr::V6(ip) if ip.is_loopback() => loopback,
        IpAddr::V4(ip) => routable_v4(ip),
        IpAddr::V6(ip) => routable_v6(ip),
    }
}

/// What we tell others, best first, at most `MAX_CANDIDATES`.
pub fn gathered(local: &[SocketAddr], reflexive: &[SocketAddr], loopback: bool) -> Vec<Candidate> {
    let hosts = local.iter().map(|addr| Candidate { kind: Kind::Host, addr: *addr });
    let seen = reflexive.iter().map(|addr| Candidate { kind: Kind::ServerReflexive, addr: *addr });
    let mut list: Vec<Candidate> = Vec::new();
    for candidate in hosts.take(MAX_HOSTS).chain(seen) {
        let known = list.iter().any(|other| other.addr == candidate.addr);
        if !known && permitted(&candidate.addr, loopback) && list.len() < MAX_CANDIDATES {
            list.push(candidate);
        }
    }
    list
}

fn routable_v4(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    !(ip.is_unspecified()
        || ip.is_broadcast()
        || ip.is_multicast()
        || ip.is_link_local()
        || first == 0
        || first >= 240)
}

fn routable_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let link_local = first & 0xffc0 == 0xfe80;
    let nat64 = first == 0x64 && second == 0xff9b;
    // ::/96 and ::ffff:0:0/96 spell IPv4 addresses a second way.
    let v4_inside = ip.to_ipv4().is_some();
    !(ip.is_unspecified() || ip.is_multicast() || link_local || nat64 || v4_inside)
}

/// Nobody's call runs on a well-known port; services do.
const FIRST_PORT: u16 = 1_024;
/// Leaves room for what servers see; few machines have more addresses that matter.
const MAX_HOSTS: usize = 6;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_friend_has_are_refused() {
        for text in [
            "0.0.0.0:5000",
            "0.1.2.3:5000",
            "127.0.0.1:5000",
            "169.254.1.1:5000",
            "224.0.0.1:5000",
            "240.0.0.1:5000",
            "255.255.255.255:5000",
            "192.0.2.1:80",
            "192.0.2.1:0",
            "[::]:5000",
            "[::1]:5000",
            "[fe80::1]:5000",
            "[ff02::1]:5000",
            "[::ffff:127.0.0.1]:5000",
            "[::127.0.0.1]:5000",
            "[64:ff9b::7f00:1]:5000",
        ] {
            assert!(!permitted(&text.parse().unwrap(), false), "{text}");
        }
        for text in
            ["10.0.0.1:5000", "192.168.1.2:1024", "100.64.0.1:5000", "[2001:db8::1]:5000", "[fd00::1]:5000"]
        {
            assert!(permitted(&text.parse().unwrap(), false), "{text}");
        }
        assert!(permitted(&"127.0.0.1:5000".parse().unwrap(), true));
    }

    #[test]
    fn what_we_tell_is_short_and_without_doubles() {
        let local: Vec<SocketAddr> = (1..=12).map(|n| format!("10.0.0.{n}:5000").parse().unwrap()).collect();
        let seen: Vec<SocketAddr> = vec!["10.0.0.1:5000".parse().unwrap(), "192.0.2.1:6000".parse().unwrap()];
        let list = gathered(&local, &seen, false);
        assert_eq!(list.len(), MAX_HOSTS + 1);
        assert_eq!(list.last().unwrap().kind, Kind::ServerReflexive);
    }
}
