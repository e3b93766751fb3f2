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

/// Our addresses, by how we learnt them.
#[derive(Default)]
pub struct Known {
    pub local: Vec<SocketAddr>,
    pub mapped: Vec<SocketAddr>,
    pub reflexive: Vec<SocketAddr>,
}

/// What we tell others, at most `MAX_CANDIDATES`.
pub fn gathered(known: &Known, loopback: bool) -> Vec<Candidate> {
    let of = |kind: Kind, addrs: &[SocketAddr]| -> Vec<Candidate> {
        let usable = addrs.iter().filter(|addr| permitted(addr, loopback));
        usable.map(|addr| Candidate { kind, addr: *addr }).collect()
    };
    let (v4, v6): (Vec<_>, Vec<_>) =
        of(Kind::Host, &known.local).into_iter().partition(|candidate| candidate.addr.is_ipv4());
    // A machine with many addresses of one family (containers, temporary IPv6 ones) still tells of the other.
    let share = MAX_HOSTS / 2;
    let v4_share = MAX_HOSTS - v6.len().min(share);
    let v4 = v4.into_iter().take(v4_share).collect::<Vec<_>>();
    let v6_share = MAX_HOSTS - v4.len();
    let hosts = v4.into_iter().chain(v6.into_iter().take(v6_share));
    let mapped = of(Kind::PortMapped, &known.mapped).into_iter().take(MAX_MAPPED);
    let mut list: Vec<Candidate> = Vec::new();
    for candidate in hosts.chain(mapped).chain(of(Kind::ServerReflexive, &known.reflexive)) {
        let known = list.iter().any(|other| other.addr == candidate.addr);
        if !known && list.len() < MAX_CANDIDATES {
            list.push(candidate);
        }
    }
    list
}

/// Of a house or of a provider's inside (RFC 1918, 6598, 4193).
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            ip.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
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
    let segments = ip.segments();
    let [first, second, ..] = segments;
    let link_local = first & 0xffc0 == 0xfe80;
    let nat64 = first == 0x64 && second == 0xff9b;
    // Spelt a second way: ::/96, ::ffff:0:0/96, ::ffff:0:0:0/96 (RFC 2765), 6to4 (RFC 3056), Teredo (RFC 4380).
    let v4_inside = ip.to_ipv4().is_some()
        || matches!(segments, [0, 0, 0, 0, 0xffff, 0, ..])
        || first == 0x2002
        || (first == 0x2001 && second == 0);
    !(ip.is_unspecified() || ip.is_multicast() || link_local || nat64 || v4_inside)
}

/// Nobody's call runs on a well-known port; services do.
pub const FIRST_PORT: u16 = 1_024;
/// Networks that let nothing else out let this out, over TCP.
pub const HTTPS: u16 = 443;
/// Leaves room for the rest; few machines have more addresses that matter.
const MAX_HOSTS: usize = 4;
/// One per family, or one each of two routers in a row.
const MAX_MAPPED: usize = 2;

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
            "[64:ff9b:1::1]:5000",
            "[::ffff:0:10.0.0.1]:5000",
            "[2002:a00:1::1]:5000",
            "[2001::a00:1]:5000",
            "192.0.2.1:1023",
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
        let reflexive = vec!["10.0.0.1:5000".parse().unwrap(), "192.0.2.1:6000".parse().unwrap()];
        let list = gathered(&Known { local, reflexive, ..Known::default() }, false);
        assert_eq!(list.len(), MAX_HOSTS + 1);
        assert_eq!(list.last().unwrap().kind, Kind::ServerReflexive);
    }

    #[test]
    fn every_kind_and_both_families_find_room_and_what_no_friend_can_use_takes_none() {
        let forms = ["10.0.0.#:5000", "[fe80::#]:5000", "[2001:db8::#]:5000"];
        let nine = |form: &str| (1..=9).map(|n| form.replace('#', &n.to_string()).parse().unwrap()).collect();
        let local = forms.into_iter().flat_map(|form| -> Vec<SocketAddr> { nine(form) }).collect();
        let mapped = vec!["198.51.100.7:5001".parse().unwrap(), "127.0.0.1:5001".parse().unwrap()];
        let reflexive = vec!["198.51.100.7:6000".parse().unwrap()];
        let list = gathered(&Known { local, mapped, reflexive }, false);
        let count = |wanted: fn(&&Candidate) -> bool| list.iter().filter(wanted).count();
        assert_eq!(count(|c| c.kind == Kind::Host && c.addr.is_ipv4()), 2);
        assert_eq!(count(|c| c.kind == Kind::Host && c.addr.is_ipv6()), 2);
        assert_eq!(count(|c| c.kind == Kind::PortMapped), 1);
        assert_eq!(count(|c| c.kind == Kind::ServerReflexive), 1);
    }
}
