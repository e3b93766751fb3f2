//! A small internet: a bridge with public addresses, the servers, and sites where friends live behind their routers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::nat::{Asked, Kind, Router};
use crate::ns::Ns;
use crate::wire::{Quality, Wire};

/// The real programs.
#[derive(Clone)]
pub(crate) struct Programs {
    dir: PathBuf,
    /// Where to put what they said in calls that went wrong.
    keep: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn in_dir(dir: &Path, keep: Option<PathBuf>) -> Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("{} is no directory", dir.display()))?;
        for name in ["voicechat", "voicechat-signaling", "voicechat-relay"] {
            let path = dir.join(name);
            anyhow::ensure!(path.is_file(), "{} is missing: build it first", path.display());
        }
        Ok(Self { dir, keep })
    }

    /// For work that runs none.
    pub(crate) fn none() -> Self {
        Self { dir: PathBuf::new(), keep: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

pub(crate) struct World {
    pub(crate) programs: Programs,
    /// Homes, keys and logs of everybody; in memory, and gone with the cage.
    pub(crate) work: tempfile::TempDir,
    tag: u32,
    pub(crate) internet: Ns,
    pub(crate) servers: Ns,
    /// A second machine for servers, elsewhere.
    pub(crate) elsewhere: Ns,
    sites: AtomicU32,
}

/// One household or one public machine.
pub(crate) struct Site {
    number: u32,
    pub(crate) kind: Kind,
    routers: Vec<(Router, Ns)>,
    /// Of the inner router's LAN.
    prefix: String,
    seats: u32,
    /// Opens ports on request; killed with the site.
    daemon: Option<Killed>,
}

/// Where one friend's programs run.
pub(crate) struct Seat {
    pub(crate) ns: Ns,
    pub(crate) kind: Kind,
    _wire: Option<Wire>,
}

impl World {
    pub(crate) fn new(programs: &Programs) -> Result<Self> {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let tag = WORLDS.fetch_add(1, Ordering::Relaxed);
        let internet = Ns::new(format!("w{tag}"))?;
        internet.sh(&format!(
            "ip link add br0 type bridge
             ip link set br0 up
             ip addr add {GATEWAY}/64 dev br0
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
        ))?;
        let world = Self {
            programs: programs.clone(),
            work: tempfile::tempdir_in("/run")?,
            tag,
            internet,
            servers: Ns::new(format!("w{tag}-servers"))?,
            elsewhere: Ns::new(format!("w{tag}-elsewhere"))?,
            sites: AtomicU32::new(0),
        };
        for (ns, port, addresses) in
            [(&world.servers, "servers", 1..=2), (&world.elsewhere, "elsewhere", 3..=3)]
        {
            world.plug(ns, "eth0", port)?;
            let mut script = String::from("ip link set eth0 up\n");
            for n in addresses.clone() {
                script += &format!("ip addr add {}/16 dev eth0\n", server_v4(n));
            }
            // One only: a program that listens on all addresses answers from any of them.
            script += &format!("ip addr add {}/64 dev eth0\n", server_v6(*addresses.start()));
            ns.sh(&(script + &format!("ip route add default via {GATEWAY}\n")))?;
        }
        Ok(world)
    }

    /// Copies everybody's logs to where the user wants them.
    pub(crate) fn keep(&self, name: &str) -> Result<()> {
        let Some(keep) = &self.programs.keep else { return Ok(()) };
        let to = keep.join(format!("{}-{name}", self.tag));
        std::fs::create_dir_all(&to)?;
        let copied =
            std::process::Command::new("cp").arg("-r").arg(self.work.path().join(".")).arg(&to).status()?;
        anyhow::ensure!(copied.success(), "{} cannot be written", to.display());
        Ok(())
    }

    /// A new household whose friends are connected like this.
    pub(crate) fn site(&self, kind: Kind) -> Result<Site> {
        self.site_behind(kind, kind.routers())
    }

    pub(crate) fn site_behind(&self, kind: Kind, routers: Vec<Router>) -> Result<Site> {
        let number = self.sites.fetch_add(1, Ordering::Relaxed);
        // Two households with the same private network are the rule; the third is where somebody roams to.
        let prefix = if number < 2 { "192.168.1".to_owned() } else { format!("10.0.{number}") };
        let mut site = Site { number, kind, routers: Vec::new(), prefix, seats: 0, daemon: None };
        let layers = routers.len();
        for (n, router) in routers.into_iter().enumerate() {
            let ns = Ns::new(format!("w{}-{number}r{n}", self.tag))?;
            site.routers.push((router, ns));
            self.set_up_router(&site, n, n + 1 == layers)?;
        }
        if let Some((router, ns)) = site.routers.first()
            && let Some(asked) = router.opens_ports
        {
            site.daemon = Some(self.start_miniupnpd(ns, site.number, asked)?);
        }
        Ok(site)
    }

    /// A place for one friend. `quality` puts a bad line between it and its router.
    pub(crate) fn seat(&self, site: &mut Site, quality: Option<Quality>) -> Result<Seat> {
        let seat = site.seats;
        site.seats += 1;
        let ns = Ns::new(format!("w{}-{}c{seat}", self.tag, site.number))?;
        let wire = match quality {
            Some(quality) => Some(Wire::new(format!("w{}-{}x{seat}", self.tag, site.number), quality, seat)?),
            None => None,
        };
        let end = wire.as_ref().map_or(&ns, |wire| &wire.ns);
        let eth = if wire.is_some() { "far" } else { "eth0" };
        match site.routers.first() {
            None => self.plug(end, eth, &format!("s{}n{seat}", site.number))?,
            Some((_, router)) => {
                attach(end, eth, router, &format!("lan{seat}"), "lan")?;
                if site.routers[0].0.isolates {
                    router.sh(&format!("bridge link set dev lan{seat} isolated on"))?;
                }
            }
        }
        if let Some(wire) = &wire {
            wire.connect(&ns)?;
        }
        self.address(site, seat, &ns)?;
        Ok(Seat { ns, kind: site.kind, _wire: wire })
    }

    /// Moves a friend's cable to another household, while its programs live on; the address is a new one.
    pub(crate) fn roam(&self, seat: &Seat, from: &Site, to: &mut Site) -> Result<()> {
        anyhow::ensure!(!to.routers.is_empty() && !from.routers.is_empty(), "both need a router");
        let number = to.seats;
        to.seats += 1;
        seat.ns.sh("ip link del eth0")?;
        attach(&seat.ns, "eth0", &to.routers[0].1, &format!("lan{number}"), "lan")?;
        self.address(to, number, &seat.ns)
    }

    fn address(&self, site: &Site, seat: u32, ns: &Ns) -> Result<()> {
        let mut script = format!("{QUIET_ETH0}ip link set eth0 up\n");
        let access = site.kind.access();
        if site.routers.is_empty() {
            script += &format!("ip addr add {}/16 dev eth0\n", site.public(10 + seat));
            return ns.sh(&script).map(drop);
        }
        if access.v4.is_some() {
            let prefix = &site.prefix;
            script += &format!(
                "ip addr add {prefix}.{}/24 dev eth0\nip route add default via {prefix}.1\n",
                10 + seat
            );
        }
        if access.v6 {
            let prefix = site.v6_prefix();
            script += &format!(
                "ip addr add {prefix}::{:x}/64 dev eth0\nip route add default via {prefix}::1\n",
                16 + seat
            );
        }
        ns.sh(&script).map(drop)
    }

    /// `n`-th router from the inside; the outermost is on the bridge, the others behind the next.
    fn set_up_router(&self, site: &Site, n: usize, outermost: bool) -> Result<()> {
        let (router, ns) = &site.routers[n];
        let inner = n == 0;
        let lan = if inner { format!("{}.1", site.prefix) } else { "100.64.0.1".to_owned() };
        let forgets = router.forgets;
        let mut script = format!(
            "ip link add lan type bridge
             ip link set lan up
             ip addr add {lan}/24 dev lan
             echo 1 > /proc/sys/net/ipv4/ip_forward
             echo {forgets} > /proc/sys/net/netfilter/nf_conntrack_udp_timeout
             echo {forgets} > /proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream\n"
        );
        if inner && site.kind.access().v6 {
            script += &format!(
                "ip addr add {}::1/64 dev lan\necho 1 > /proc/sys/net/ipv6/conf/all/forwarding\n",
                site.v6_prefix()
            );
        }
        ns.sh(&script)?;
        if n > 0 {
            // The router inside hangs on this one's LAN.
            let within = &site.routers[n - 1].1;
            attach(within, "out", ns, "lan0", "lan")?;
            within.sh(
                "ip link set out up\nip addr add 100.64.0.2/24 dev out\nip route add default via 100.64.0.1",
            )?;
        }
        if outermost {
            self.plug(ns, "out", &format!("s{}", site.number))?;
            ns.sh(&format!(
                "ip link set out up\nip addr add {}/16 dev out\nip addr add {}/64 dev out\nip route add default via {GATEWAY}",
                site.public(1),
                site.v6_outside()
            ))?;
            if site.kind.access().v6 {
                self.internet.sh(&format!(
                    "ip route add {}::/64 via {}",
                    site.v6_prefix(),
                    site.v6_outside()
                ))?;
            }
        }
        let outside = if outermost { site.public(1) } else { Ipv4Addr::new(100, 64, 0, 2) };
        ns.nft(&router.rules(outside, &site.inside(n)))
    }

    fn start_miniupnpd(&self, router: &Ns, site: u32, asked: Asked) -> Result<Killed> {
        let config = self.work.path().join(format!("miniupnpd-{site}.conf"));
        let pmp = if asked == Asked::Any { "yes" } else { "no" };
        std::fs::write(&config, format!("{MINIUPNPD}enable_natpmp={pmp}\n"))?;
        let child = router
            .command("miniupnpd")
            .args(["-d", "-f"])
            .arg(&config)
            .arg("-P")
            .arg(self.work.path().join(format!("miniupnpd-{site}.pid")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.work.path().join(format!("miniupnpd-{site}.log")))?)
            .spawn()
            .context("miniupnpd does not start")?;
        Ok(Killed(child))
    }

    /// A cable from `eth` of `ns` to the bridge.
    fn plug(&self, ns: &Ns, eth: &str, port: &str) -> Result<()> {
        attach(ns, eth, &self.internet, port, "br0")
    }

    /// Nothing passes between these two public addresses any more, and nobody is told.
    pub(crate) fn cut(&self, a: Ipv4Addr, b: Ipv4Addr) -> Result<()> {
        self.internet.nft(&format!(
            "table bridge cut {{
 chain forward {{
  type filter hook forward priority 0; policy accept;
  ip saddr {a} ip daddr {b} drop
  ip saddr {b} ip daddr {a} drop
 }}
}}"
        ))
    }

    pub(crate) fn heal(&self) -> Result<()> {
        self.internet
            .nft("destroy table bridge cut")
            .or_else(|_| self.internet.nft("delete table bridge cut"))
    }
}

impl Seat {
    /// Counts what arrives from this address from now on.
    pub(crate) fn watch_for(&self, from: Ipv4Addr) -> Result<()> {
        self.ns.nft(&format!(
            "table ip watch {{
 counter seen {{ }}
 chain input {{
  type filter hook input priority 0; policy accept;
  ip saddr {from} counter name seen
 }}
}}"
        ))
    }

    pub(crate) fn packets_seen(&self) -> Result<u64> {
        let listed = self.ns.sh("nft list counter ip watch seen")?;
        let mut words = listed.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).and_then(|count| count.parse().ok()).with_context(|| format!("nft said `{listed}`"))
    }
}

impl Site {
    /// Its own public addresses: 1 is the router's, 2 the one after a change, from 10 on machines without a router.
    pub(crate) fn public(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::new(11, 0, 10 + self.number as u8, n as u8)
    }

    /// How many ports the router leads to friends because they asked for them.
    pub(crate) fn ports_open(&self) -> Result<usize> {
        let Some((_, router)) = self.routers.first().filter(|_| self.daemon.is_some()) else { return Ok(0) };
        Ok(router.sh("nft list chain inet miniupnpd prerouting")?.matches("dnat").count())
    }

    /// The outermost router forgets everybody and, if `moved`, gets another address: what a provider does at night.
    pub(crate) fn rebind(&self, moved: bool) -> Result<()> {
        let n = self.routers.len() - 1;
        let (router, ns) = &self.routers[n];
        let (old, new) = (self.public(1), self.public(2));
        let outside = if moved { new } else { old };
        // Nothing may pass meanwhile: one packet of an old flow, and its mapping would be learned again.
        ns.nft(NOTHING_PASSES)?;
        if moved {
            ns.sh(&format!("ip addr del {old}/16 dev out\nip addr add {new}/16 dev out\n{FORGET}"))?;
        } else {
            ns.sh(FORGET)?;
        }
        ns.nft(&router.rules(outside, &self.inside(n)))
    }

    /// From now on the innermost router answers what goes to `peer`, or comes from it, with a refusal.
    pub(crate) fn refuse(&self, peer: Ipv4Addr) -> Result<()> {
        let (_, ns) = self.routers.first().context("nobody is here to refuse")?;
        ns.nft(&format!(
            "table ip refuse {{
 chain forward {{
  type filter hook forward priority -10; policy accept;
  ip daddr {peer} reject
  ip saddr {peer} reject
 }}
}}"
        ))
    }

    /// Whom the `n`-th router translates for.
    fn inside(&self, n: usize) -> Vec<Ipv4Addr> {
        if n > 0 {
            return vec![Ipv4Addr::new(100, 64, 0, 2)];
        }
        (10..10 + HOUSEHOLD).filter_map(|host| format!("{}.{host}", self.prefix).parse().ok()).collect()
    }

    fn v6_prefix(&self) -> String {
        format!("2a11:0:0:{:x}", 0x10 + self.number)
    }

    fn v6_outside(&self) -> String {
        format!("2a11::{:x}:1", 0x10 + self.number)
    }
}

/// A program that ends with its owner.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The `n`-th address of servers: 1 and 2 are one machine's, which has only one of IPv6; 3 is elsewhere.
pub(crate) fn server(n: u8, v4: bool) -> IpAddr {
    if v4 { server_v4(n).into() } else { server_v6(n).into() }
}

fn server_v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(11, 0, 0, n)
}

fn server_v6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2a11, 0, 0, 0, 0, 0, 1, n.into())
}

/// A cable from `eth` of one namespace to a port of the other's bridge. Checksums are made where packets are, for
/// counts and captures to be those of a wire.
fn attach(ns: &Ns, eth: &str, to: &Ns, port: &str, bridge: &str) -> Result<()> {
    to.sh(&format!(
        "ip link add {port} type veth peer name {eth} netns {}
         ip link set {port} master {bridge}
         ip link set {port} up
         ethtool -K {port} tx off gro off gso off tso off >/dev/null 2>&1",
        ns.name()
    ))?;
    ns.sh(&format!("ethtool -K {eth} tx off gro off gso off tso off >/dev/null 2>&1")).map(drop)
}

/// The first household's public address.
pub(crate) const HOUSE: Ipv4Addr = Ipv4Addr::new(11, 0, 10, 1);
/// The internet's own address, where IPv6 is routed.
const GATEWAY: &str = "2a11::ffff";
/// No router announces itself here: the addresses are the given ones only.
const QUIET_ETH0: &str = "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_ra\n";
const NOTHING_PASSES: &str = "\
flush ruleset
table inet closed {
 chain pre {
  type filter hook prerouting priority -400; policy drop;
 }
}
";
const FORGET: &str = "conntrack -F 2>/dev/null";
/// Friends behind one router that the rules know.
const HOUSEHOLD: u32 = 4;
const MINIUPNPD: &str = "\
ext_ifname=out
listening_ip=lan
port=5000
enable_upnp=yes
secure_mode=yes
uuid=5a1c0c1e-6d2f-4f5e-9d1b-7e0a3c2b1d00
upnp_table_name=miniupnpd
upnp_nat_table_name=miniupnpd
upnp_forward_chain=forward
upnp_nat_chain=prerouting
upnp_nat_postrouting_chain=postrouting
allow 1024-65535 192.168.0.0/16 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
";
