//! The kinds of access that friends have, in the words of RFC 4787, and the nftables that make them.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use clap::ValueEnum;

/// How one friend is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// A public address, nothing in between
    Open,
    /// Independent mapping, anyone may answer (full cone)
    Cone,
    /// Independent mapping, addresses that were called may answer
    Adf,
    /// Independent mapping, addresses and ports that were called may answer (port-restricted)
    Apdf,
    /// A Linux router: keeps the port where it can, lets in what was called
    Linux,
    /// Two routers: one at home, one at the provider, both independent
    Cgnat,
    /// Port-restricted, forgets after 20 s
    Short,
    /// A mapping for each address, random ports
    Adm,
    /// A mapping for each destination, one port after the other
    Seq,
    /// A mapping for each destination, random ports
    Sym,
    /// As `sym`, but the router opens ports when asked (UPnP-IGD, NAT-PMP, PCP)
    Upnp,
    /// The same by UPnP-IGD alone
    Igd,
    /// As `sym`, and IPv6 behind a firewall
    Dual,
    /// IPv6 alone, behind a firewall
    V6,
    /// UDP is dropped
    Noudp,
    /// Only TCP to port 443 passes
    Only443,
}

impl Kind {
    pub(crate) const ALL: [Self; 16] = [
        Self::Open,
        Self::Cone,
        Self::Adf,
        Self::Apdf,
        Self::Linux,
        Self::Cgnat,
        Self::Short,
        Self::Adm,
        Self::Seq,
        Self::Sym,
        Self::Upnp,
        Self::Igd,
        Self::Dual,
        Self::V6,
        Self::Noudp,
        Self::Only443,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cone => "cone",
            Self::Adf => "adf",
            Self::Apdf => "apdf",
            Self::Linux => "linux",
            Self::Cgnat => "cgnat",
            Self::Short => "short",
            Self::Adm => "adm",
            Self::Seq => "seq",
            Self::Sym => "sym",
            Self::Upnp => "upnp",
            Self::Igd => "igd",
            Self::Dual => "dual",
            Self::V6 => "v6",
            Self::Noudp => "noudp",
            Self::Only443 => "only443",
        }
    }

    /// What a friend so connected can send and be sent; the prediction rests on this alone.
    pub(crate) fn access(self) -> Access {
        use Dependence::{Address, Endpoint, Port};
        let behind = |mapping, filtering| Access {
            v4: Some(Nat { mapping, filtering, order: Order::Random }),
            v6: false,
            udp: true,
            opens_ports: None,
        };
        match self {
            Self::Open | Self::Cone => behind(Endpoint, Endpoint),
            Self::Adf => behind(Endpoint, Address),
            Self::Apdf | Self::Linux | Self::Cgnat | Self::Short => behind(Endpoint, Port),
            Self::Adm => behind(Address, Port),
            Self::Seq => Access {
                v4: Some(Nat { mapping: Port, filtering: Port, order: Order::Sequential }),
                ..behind(Port, Port)
            },
            Self::Sym => behind(Port, Port),
            Self::Upnp => Access { opens_ports: Some(Asked::Any), ..behind(Port, Port) },
            Self::Igd => Access { opens_ports: Some(Asked::Igd), ..behind(Port, Port) },
            Self::Dual => Access { v6: true, ..behind(Port, Port) },
            Self::V6 => Access { v4: None, v6: true, ..behind(Port, Port) },
            Self::Noudp | Self::Only443 => Access { udp: false, ..behind(Endpoint, Port) },
        }
    }

    /// The routers between the friend and the public network, the nearest first.
    pub(crate) fn routers(self) -> Vec<Router> {
        let udp = |udp| Router { udp, ..Router::default() };
        match self {
            Self::Open => vec![],
            Self::Cone => {
                vec![udp(Udp::Learned { per: Dependence::Endpoint, open_to: Dependence::Endpoint })]
            }
            Self::Adf => vec![udp(Udp::Learned { per: Dependence::Endpoint, open_to: Dependence::Address })],
            Self::Apdf => vec![udp(APDF)],
            Self::Linux => vec![udp(Udp::Kept)],
            Self::Cgnat => vec![udp(Udp::Kept), udp(APDF)],
            Self::Short => vec![Router { forgets: 20, ..udp(APDF) }],
            Self::Adm => {
                vec![udp(Udp::Learned { per: Dependence::Address, open_to: Dependence::Port })]
            }
            Self::Seq => vec![udp(Udp::Sequential)],
            Self::Sym | Self::Dual => vec![udp(Udp::Random)],
            Self::Upnp | Self::Igd => {
                vec![Router { opens_ports: self.access().opens_ports, ..udp(Udp::Random) }]
            }
            Self::V6 => vec![Router { v4: false, ..udp(APDF) }],
            Self::Noudp => vec![Router { passes: Passes::Tcp, ..udp(APDF) }],
            Self::Only443 => vec![Router { passes: Passes::Https, ..udp(APDF) }],
        }
    }
}

/// What the outside world of a friend allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) v4: Option<Nat>,
    /// A global address; strangers are kept out.
    pub(crate) v6: bool,
    pub(crate) udp: bool,
    pub(crate) opens_ports: Option<Asked>,
}

/// By what protocols a router can be asked for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Any,
    /// UPnP-IGD alone.
    Igd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nat {
    pub(crate) mapping: Dependence,
    pub(crate) filtering: Dependence,
    pub(crate) order: Order,
}

/// On what part of the remote address a mapping or a filter depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dependence {
    Endpoint,
    Address,
    Port,
}

/// How the next outside port is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Sequential,
    Random,
}

/// One machine that translates: interface `lan` inside, `out` outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Router {
    pub(crate) udp: Udp,
    pub(crate) passes: Passes,
    /// Friends behind it reach each other by its outside address.
    pub(crate) hairpin: bool,
    /// Friends behind it cannot reach each other in the LAN.
    pub(crate) isolates: bool,
    pub(crate) opens_ports: Option<Asked>,
    pub(crate) v4: bool,
    /// Seconds without a packet after which a mapping is gone.
    pub(crate) forgets: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Udp {
    /// The inside port, unless it is taken.
    Kept,
    Random,
    Sequential,
    /// One random port per inside port and `per`; open to what was called, as far as `open_to` tells it apart.
    Learned {
        per: Dependence,
        open_to: Dependence,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    All,
    Tcp,
    Https,
}

impl Default for Router {
    fn default() -> Self {
        Self {
            udp: APDF,
            passes: Passes::All,
            hairpin: false,
            isolates: false,
            opens_ports: None,
            v4: true,
            forgets: 120,
        }
    }
}

pub(crate) const APDF: Udp = Udp::Learned { per: Dependence::Endpoint, open_to: Dependence::Port };

impl Router {
    /// The whole ruleset of the machine whose outside address is `outside`; `inside` are the friends behind it.
    pub(crate) fn rules(&self, outside: Ipv4Addr, inside: &[Ipv4Addr]) -> String {
        let mut text = String::from("flush ruleset\n");
        let _ = writeln!(
            text,
            "table inet filter {{
 chain input {{
  type filter hook input priority filter; policy accept;
  iifname \"out\" meta l4proto {{ tcp, udp }} ct state new drop
 }}
 chain forward {{
  type filter hook forward priority filter; policy drop;
{}  ct state established,related accept
  iifname \"lan\" oifname \"out\" accept
  ct status dnat accept
 }}
}}",
            self.passes.rules()
        );
        if self.opens_ports.is_some() {
            text.push_str(MINIUPNPD);
        }
        if self.v4 {
            self.nat(&mut text, outside, inside);
        }
        text
    }

    fn nat(&self, text: &mut String, outside: Ipv4Addr, inside: &[Ipv4Addr]) {
        let forgets = self.forgets;
        let flags = format!("flags dynamic,timeout; timeout {forgets}s;");
        let _ = writeln!(text, "table ip nat {{");
        let (key, learned) = match self.udp {
            Udp::Learned { per: Dependence::Address, .. } => (
                "ip saddr . udp sport . ip daddr",
                "ct original ip saddr . ct original proto-src . ct original ip daddr",
            ),
            _ => ("ip saddr . udp sport", "ct original ip saddr . ct original proto-src"),
        };
        let _ = writeln!(text, " map mapped {{ typeof {key} : udp sport; {flags} }}");
        let _ = writeln!(text, " set called {{ typeof ip saddr . udp dport; {flags} }}");
        for n in 0..inside.len() {
            let _ = writeln!(text, " map back{n} {{ typeof udp dport : udp sport; {flags} }}");
        }
        self.outgoing(text, outside, key);
        if let Udp::Learned { open_to, .. } = self.udp {
            self.learning(text, learned, inside);
            self.incoming(text, outside, inside, open_to);
        }
        let _ = writeln!(text, "}}");
    }

    fn outgoing(&self, text: &mut String, outside: Ipv4Addr, key: &str) {
        let hairpin = match self.hairpin {
            true => format!(
                "  iifname \"lan\" oifname \"lan\" meta l4proto udp ct status dnat snat ip to {outside} : {key} map @mapped\n"
            ),
            false => String::new(),
        };
        let udp = match self.udp {
            Udp::Kept => String::new(),
            Udp::Random => {
                format!("  oifname \"out\" meta l4proto udp snat ip to {outside} : 1024-65535 fully-random\n")
            }
            Udp::Sequential => format!(
                "  oifname \"out\" meta l4proto udp snat ip to {outside} : numgen inc mod {SEQUENCE} map {{ {} }}\n",
                (0..SEQUENCE).map(|n| format!("{n} : {}", FIRST + n)).collect::<Vec<_>>().join(", ")
            ),
            Udp::Learned { .. } => format!(
                "  oifname \"out\" meta l4proto udp snat ip to {outside} : {key} map @mapped
  oifname \"out\" meta l4proto udp snat ip to {outside} : 1024-65535 fully-random\n"
            ),
        };
        let _ = writeln!(
            text,
            " chain post {{
  type nat hook postrouting priority srcnat; policy accept;
{hairpin}{udp}  oifname \"out\" snat to {outside}
 }}"
        );
    }

    /// Conntrack chose the port for the first packet; every packet, either way, keeps what was learned alive.
    fn learning(&self, text: &mut String, learned: &str, inside: &[Ipv4Addr]) {
        let _ = writeln!(
            text,
            " chain learn {{\n  type filter hook postrouting priority srcnat + 10; policy accept;"
        );
        let out = "oifname \"out\" meta l4proto udp ct direction original";
        let _ = writeln!(text, "  {out} update @mapped {{ {learned} : ct reply proto-dst }}");
        let _ = writeln!(text, "  {out} update @called {{ ip daddr . ct reply proto-dst }}");
        for (n, addr) in inside.iter().enumerate() {
            let _ = writeln!(
                text,
                "  {out} ct original ip saddr {addr} update @back{n} {{ ct reply proto-dst : ct original proto-src }}"
            );
        }
        let _ = writeln!(text, " }}");
    }

    fn incoming(&self, text: &mut String, outside: Ipv4Addr, inside: &[Ipv4Addr], open_to: Dependence) {
        let _ = writeln!(text, " chain pre {{\n  type nat hook prerouting priority dstnat; policy accept;");
        for (n, addr) in inside.iter().enumerate() {
            let to = format!("dnat ip to {addr} : udp dport map @back{n}");
            match open_to {
                Dependence::Endpoint => {
                    let _ = writeln!(text, "  iifname \"out\" ip daddr {outside} meta l4proto udp {to}");
                }
                Dependence::Address => {
                    let _ = writeln!(
                        text,
                        "  iifname \"out\" ip daddr {outside} ip saddr . udp dport @called {to}"
                    );
                }
                // Conntrack itself lets in exactly what was called.
                Dependence::Port => {}
            }
            if self.hairpin {
                let _ = writeln!(text, "  iifname \"lan\" ip daddr {outside} meta l4proto udp {to}");
            }
        }
        let _ = writeln!(text, " }}");
    }
}

impl Passes {
    fn rules(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Tcp => "  meta l4proto udp drop\n",
            Self::Https => "  iifname \"lan\" tcp dport != 443 drop\n  meta l4proto udp drop\n",
        }
    }
}

/// What miniupnpd expects to find, by the names that it is configured with.
const MINIUPNPD: &str = "\
table inet miniupnpd {
 chain forward {
  type filter hook forward priority -5; policy accept;
 }
 chain prerouting {
  type nat hook prerouting priority -150; policy accept;
 }
 chain postrouting {
  type nat hook postrouting priority 50; policy accept;
 }
}
";
/// The range that a sequential router counts through, and where it starts.
const SEQUENCE: u32 = 4_000;
const FIRST: u32 = 20_000;
