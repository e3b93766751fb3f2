//! The network between sites: who reaches whom, by which line, and what is cut.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustc_hash::FxHashMap;
use vc_core::io::Time;

use crate::dice::Dice;
use crate::link::{Link, Profile};
use crate::nat::{Kind, Nat};

/// A house with one line to the world: a public address, perhaps a NAT behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub usize);

pub struct Net {
    sites: Vec<Site>,
    /// The house of each public address, in the world or in a carrier's network.
    publics: FxHashMap<(IpAddr, Option<SiteId>), SiteId>,
    hosts: FxHashMap<SocketAddr, SiteId>,
    links: FxHashMap<(SiteId, SiteId), Link>,
    /// No packet passes from the one to the other before that time.
    cuts: FxHashMap<(SiteId, SiteId), Time>,
    /// Houses from and to which no UDP passes before that time.
    no_udp: FxHashMap<SiteId, Time>,
    profile: Profile,
    dice: Dice,
}

struct Site {
    /// Its address towards the world, or towards its carrier's network.
    public: IpAddr,
    nat: Option<Nat>,
    /// The carrier whose NAT stands between this house and the world.
    carrier: Option<SiteId>,
}

/// A packet under way.
#[derive(Clone, Copy)]
pub struct Flight {
    pub site: SiteId,
    pub from: SocketAddr,
    pub to: SocketAddr,
}

impl Net {
    pub fn new(profile: Profile, dice: Dice) -> Self {
        Self {
            sites: Vec::new(),
            publics: FxHashMap::default(),
            hosts: FxHashMap::default(),
            links: FxHashMap::default(),
            cuts: FxHashMap::default(),
            no_udp: FxHashMap::default(),
            profile,
            dice,
        }
    }

    /// A new house; the address of its first machine.
    pub fn site(&mut self, nat: Option<Kind>) -> (SiteId, SocketAddr) {
        self.house(nat, None)
    }

    /// A carrier that shares one public address among its customers.
    pub fn carrier(&mut self, nat: Kind) -> SiteId {
        self.house(Some(nat), None).0
    }

    /// A new house whose router has no public address.
    pub fn customer(&mut self, nat: Kind, carrier: SiteId) -> (SiteId, SocketAddr) {
        self.house(Some(nat), Some(carrier))
    }

    fn house(&mut self, nat: Option<Kind>, carrier: Option<SiteId>) -> (SiteId, SocketAddr) {
        let id = SiteId(self.sites.len());
        let (high, low) = ((id.0 / 200) as u8, (id.0 % 200) as u8);
        let public = match carrier {
            Some(_) => IpAddr::from([100, 64, high, 1 + low]),
            None => IpAddr::from([203, 0, 100 + high, 1 + low]),
        };
        let nat = nat.map(|kind| Nat::new(kind, public, self.dice.fork()));
        let ip = if nat.is_some() { IpAddr::from([10, high, low, 2]) } else { public };
        self.sites.push(Site { public, nat, carrier });
        self.publics.insert((public, carrier), id);
        let addr = SocketAddr::new(ip, 40_000);
        self.hosts.insert(addr, id);
        (id, addr)
    }

    /// Another machine in a house behind a NAT.
    pub fn housemate(&mut self, site: SiteId) -> SocketAddr {
        let taken = self.hosts.values().filter(|s| **s == site).count() as u8;
        let addr = SocketAddr::from(([10, (site.0 / 200) as u8, (site.0 % 200) as u8, 2 + taken], 40_000));
        self.hosts.insert(addr, site);
        addr
    }

    /// A new socket on the same machine.
    pub fn socket(&mut self, (site, addr): (SiteId, SocketAddr)) -> SocketAddr {
        let mut addr = addr;
        while self.hosts.contains_key(&addr) {
            addr.set_port(addr.port() + 1);
        }
        self.hosts.insert(addr, site);
        addr
    }

    /// The socket is closed.
    pub fn close(&mut self, socket: SocketAddr) {
        self.hosts.remove(&socket);
    }

    /// The router of a house forgets what it knew.
    pub fn restart_router(&mut self, SiteId(site): SiteId) {
        if let Some(nat) = self.sites.get_mut(site).and_then(|site| site.nat.as_mut()) {
            nat.restart();
        }
    }

    /// Its router opens a port outside for this socket, instead of what it had before; `None` where there is no router.
    pub fn grant_port(&mut self, (SiteId(site), inside): (SiteId, SocketAddr)) -> Option<SocketAddr> {
        Some(self.sites.get_mut(site)?.nat.as_mut()?.grant(inside))
    }

    /// And closes it again.
    pub fn revoke_port(&mut self, (SiteId(site), inside): (SiteId, SocketAddr)) {
        if let Some(nat) = self.sites.get_mut(site).and_then(|site| site.nat.as_mut()) {
            nat.revoke(inside);
        }
    }

    /// The provider of a house gives it another address, as some do at night. Connections by TCP are not modelled to
    /// notice.
    pub fn renumber(&mut self, SiteId(site): SiteId) {
        let Some(house) = self.sites.get_mut(site) else { return };
        if let (IpAddr::V4(old), Some(nat)) = (house.public, house.nat.as_mut()) {
            let [a, b, c, d] = old.octets();
            house.public = IpAddr::from([a, b + 1, c, d]);
            nat.renumber(house.public);
            self.publics.remove(&(IpAddr::V4(old), house.carrier));
            self.publics.insert((house.public, house.carrier), SiteId(site));
        }
    }

    /// What every line does from now on.
    pub fn heal(&mut self, profile: Profile) {
        self.profile = profile;
        self.cuts.clear();
        self.no_udp.clear();
        self.links.values_mut().for_each(|link| link.profile = profile);
    }

    /// What the line between two houses does, both ways.
    pub fn line(&mut self, a: SiteId, b: SiteId, profile: Profile) {
        for (a, b) in [(a, b), (b, a)] {
            self.link(a, b).profile = profile;
        }
    }

    /// Nothing passes between two houses until then.
    pub fn cut(&mut self, a: SiteId, b: SiteId, until: Time) {
        for pair in [(a, b), (b, a)] {
            let end = self.cuts.entry(pair).or_default();
            *end = (*end).max(until);
        }
    }

    /// A firewall that lets only TCP out, until then.
    pub fn block_udp(&mut self, site: SiteId, until: Time) {
        self.no_udp.insert(site, until);
    }

    fn is_udp_blocked(&self, now: Time, site: SiteId) -> bool {
        self.no_udp.get(&site).is_some_and(|until| now < *until)
    }

    pub fn is_cut(&self, now: Time, a: SiteId, b: SiteId) -> bool {
        self.cuts.get(&(a, b)).is_some_and(|until| now < *until)
    }

    /// Sends a datagram from a machine at `site`: where it gets to, and when each copy of it does; `None` where no
    /// packet ever would.
    pub fn send(
        &mut self,
        now: Time,
        site: SiteId,
        local: SocketAddr,
        to: SocketAddr,
    ) -> Option<(Flight, Copies)> {
        if self.hosts.get(&to) == Some(&site) {
            return Some((Flight { site, from: local, to }, [Some(now + LAN), None]));
        }
        let (mut from, mut at) = (local, site);
        let there = loop {
            let Site { public, nat, carrier } = &mut self.sites[at.0];
            let carrier = *carrier;
            if let Some(nat) = nat {
                // Home again by the outside address.
                if to.ip() == *public && !nat.hairpins() {
                    return None;
                }
                from = nat.outbound(now, from, to);
            }
            if let Some(there) = self.site_of(to, carrier) {
                break there;
            }
            match carrier {
                Some(carrier) => at = carrier,
                None => return None,
            }
        };
        let flight = Flight { site: there, from, to };
        let blocked = self.is_udp_blocked(now, site) || self.is_udp_blocked(now, there);
        if blocked || self.is_cut(now, site, there) {
            return Some((flight, [None; 2]));
        }
        let mut times = self.link(site, there).carry().map(|delay| now + delay);
        Some((flight, [times.next(), times.next()]))
    }

    /// The machine that a datagram reaches in the house where it arrived.
    pub fn deliver(&mut self, now: Time, flight: &Flight) -> Option<SocketAddr> {
        let (mut site, mut to) = (flight.site, flight.to);
        loop {
            if self.hosts.get(&to) == Some(&site) {
                return Some(to);
            }
            let inside = self.sites[site.0].nat.as_mut()?.inbound(now, to.port(), flight.from)?;
            match self.site_of(inside, Some(site)) {
                Some(customer) => (site, to) = (customer, inside),
                None => return Some(inside),
            }
        }
    }

    /// The machine that has the address that a house sends to, whatever its router lets in.
    pub fn resident(&self, from: SiteId, to: SocketAddr) -> Option<SocketAddr> {
        if self.hosts.get(&to) == Some(&from) {
            return Some(to);
        }
        let mut carrier = self.sites[from.0].carrier;
        let (mut site, mut to) = loop {
            match self.site_of(to, carrier) {
                Some(site) => break (site, to),
                None => carrier = self.sites[carrier?.0].carrier,
            }
        };
        while self.hosts.get(&to) != Some(&site) {
            to = self.sites[site.0].nat.as_ref()?.owner(to.port())?;
            match self.site_of(to, Some(site)) {
                Some(customer) => site = customer,
                // A mapping may outlive the machine that it led to.
                None => return (self.hosts.get(&to) == Some(&site)).then_some(to),
            }
        }
        Some(to)
    }

    /// How long one message of a stream takes.
    pub fn stream_delay(&mut self, a: SiteId, b: SiteId) -> Duration {
        if a == b { LAN } else { self.link(a, b).stream_delay() }
    }

    pub fn public(&self, site: SiteId) -> IpAddr {
        self.sites[site.0].public
    }

    /// The house that packets to `addr` go to in the world, or in a carrier's network; none for another house's
    /// private addresses.
    fn site_of(&self, addr: SocketAddr, carrier: Option<SiteId>) -> Option<SiteId> {
        self.publics.get(&(addr.ip(), carrier)).copied()
    }

    fn link(&mut self, a: SiteId, b: SiteId) -> &mut Link {
        let (profile, dice) = (self.profile, &mut self.dice);
        self.links.entry((a, b)).or_insert_with(|| Link::new(profile, dice.fork()))
    }
}

/// When they arrive: one, two, or none.
pub type Copies = [Option<Time>; 2];

const LAN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_that_outlives_its_machine_leads_to_nobody() {
        let mut net = Net::new(Profile::clean(10), Dice::new(1));
        let (home, inside) = net.site(Some(Kind::PORT_RESTRICTED.keeping_ports()));
        let (away, friend) = net.site(None);
        net.send(Time::ZERO, home, inside, friend);
        let seen = SocketAddr::new(net.public(home), inside.port());
        assert_eq!(net.resident(away, seen), Some(inside));
        net.close(inside);
        assert_eq!(net.resident(away, seen), None);
    }
}
