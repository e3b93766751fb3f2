//! Servers that name addresses of theirs to have a member send to somebody else's.
#![allow(clippy::unwrap_used)]

mod victim;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use vc_core::io::{Input, SignalIn};
use vc_core::protocol::signal::{MAX_OFFERS, MAX_PROBES, Offer, ToClient, VERSION};
use victim::{LINK, NUMBER, Victim, proof, slot};

/// Of no relay that a public server may speak for; 80 stands for the ports of services.
const REFUSED: [&str; 14] = [
    "10.0.0.1:5000",
    "192.168.1.1:5000",
    "192.168.1.1:443",
    "100.64.0.1:5000",
    "[fd00::1]:5000",
    "127.0.0.1:5000",
    "[::1]:5000",
    "169.254.1.1:5000",
    "[fe80::1]:5000",
    "224.0.0.1:5000",
    "255.255.255.255:5000",
    "[2002:a00:1::1]:5000",
    "192.0.2.1:80",
    "192.0.2.1:0",
];

/// Of others that it may name; the last one is "the host that you reach me at".
const USABLE: [&str; 3] = ["192.0.2.1:5000", "[2001:db8::1]:5000", "0.0.0.0:5001"];

/// Where the victim sent when a public server that it comes back to had named these, `most` at a time.
fn sent_to(
    named: &[&str],
    most: usize,
    names: impl Fn(&mut Victim, Vec<SocketAddr>),
) -> BTreeSet<SocketAddr> {
    let mut sent = BTreeSet::new();
    for named in named.chunks(most) {
        let mut victim = Victim::creator(1);
        victim.input(Input::Signal(SignalIn::Down));
        victim.pass(Duration::from_secs(5));
        victim.input(Input::Signal(SignalIn::Up { server: "203.0.113.9:47700".parse().unwrap() }));
        names(&mut victim, named.iter().map(|addr| addr.parse().unwrap()).collect());
        for _ in 0..100 {
            victim.pass(Duration::from_millis(100));
        }
        sent.extend(victim.sent.iter().map(|(to, _)| *to));
    }
    sent
}

fn probes(victim: &mut Victim, probes: Vec<SocketAddr>) {
    victim.tell(ToClient::Hello { version: VERSION, probes });
}

fn relays(victim: &mut Victim, relays: Vec<SocketAddr>) {
    victim.tell(ToClient::Hello { version: VERSION, probes: Vec::new() });
    victim.tell(ToClient::Seat { slot: slot(0), proof: proof(NUMBER, LINK) });
    let offers = relays.into_iter().map(|relay| Offer { relay, body: [1; 32], kb: [2; 32] }).collect();
    victim.tell(ToClient::Tickets { offers });
}

/// The usable ones as a member reaches them.
fn usable() -> BTreeSet<SocketAddr> {
    let here = |addr: &&str| addr.replace("0.0.0.0", "203.0.113.9").parse().unwrap();
    USABLE.iter().map(here).collect()
}

#[test]
fn a_server_that_names_probes_in_our_house_or_nowhere_has_us_send_nothing_there() {
    assert_eq!(sent_to(&REFUSED, MAX_PROBES, probes), BTreeSet::new());
    assert_eq!(sent_to(&USABLE, MAX_PROBES, probes), usable());
}

#[test]
fn a_server_that_names_relays_in_our_house_or_nowhere_has_us_send_nothing_there() {
    assert_eq!(sent_to(&REFUSED, MAX_OFFERS, relays), BTreeSet::new());
    assert_eq!(sent_to(&USABLE, MAX_OFFERS, relays), usable());
}
