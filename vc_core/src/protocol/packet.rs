//! Every UDP datagram of the project (docs/PROTOCOL.md, "Datagrams"): between members, and between a member and a relay.
//!
//! ```text
//! D0 000000 | sender u32 | noise message 1: 104 | gate 16                    HS_INIT    128
//! D1 000000 | sender u32 | receiver u32 | noise message 2: 48 | gate 16      HS_RESP     76
//! D2 | receiver u32 | counter u32 (low half) | sealed frames | tag 16        TRANSPORT   25 + n
//! E0 | nonce 8 | by 1 | zeros 22                                             PROBE       32
//! E1 | nonce 8 | seen 19                                                     PROBED      28
//! E2 | version | zero | body 32 | nonce 8 | cookie 16 | mac 16 | zeros 21    BIND        96
//! E3 | nonce 8 | cookie 16 | seen 19                                         RETRY       44
//! E4 | nonce 8 | bind u32 | slot | ttl u16 | seen 19 | mac 16                BOUND       51
//! E5 | bind u32 | to slot | inner packet                                     up          6 + n
//! E6 | from slot | inner packet                                              down        2 + n
//! E7 | bind u32 | echo u32                                                   KEEP         9
//! E8 | echo u32 | present u16                                                KEPT         7
//! E9 | bind u32                                                              RESET        5
//! ```
//! Any other first byte or length is malformed. Nothing a stranger can send is answered by something longer.

use std::fmt;
use std::net::SocketAddr;

use super::codec::{Malformed, Reader, Result, Wire};
use super::member::Slot;

/// A datagram, taken apart without copying. What is sealed stays where it is.
#[derive(PartialEq, Eq)]
pub enum Packet<'a> {
    HsInit {
        sender: u32,
        noise: &'a [u8; INIT_NOISE],
        gated: &'a [u8],
        gate: &'a [u8; 16],
    },
    HsResp {
        sender: u32,
        receiver: u32,
        noise: &'a [u8; RESP_NOISE],
        gated: &'a [u8],
        gate: &'a [u8; 16],
    },
    Transport {
        receiver: u32,
        counter: u32,
    },
    Probe {
        nonce: [u8; 8],
    },
    /// A PROBE that says by which port it wants to be answered: only servers with two of them know it.
    ProbeBy {
        nonce: [u8; 8],
        by: By,
    },
    Probed {
        nonce: [u8; 8],
        seen: SocketAddr,
    },
    Bind(Bind),
    Retry {
        nonce: [u8; 8],
        cookie: [u8; 16],
        seen: SocketAddr,
    },
    Bound(Bound),
    Up {
        bind: u32,
        to: Slot,
        inner: &'a [u8],
    },
    Down {
        from: Slot,
        inner: &'a [u8],
    },
    Keep {
        bind: u32,
        echo: u32,
    },
    Kept {
        echo: u32,
        present: u16,
    },
    Reset {
        bind: u32,
    },
}

/// Which it is. Addresses and contents do not print.
impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HsInit { .. } => "HsInit",
            Self::HsResp { .. } => "HsResp",
            Self::Transport { .. } => "Transport",
            Self::Probe { .. } => "Probe",
            Self::ProbeBy { .. } => "ProbeBy",
            Self::Probed { .. } => "Probed",
            Self::Bind(_) => "Bind",
            Self::Retry { .. } => "Retry",
            Self::Bound(_) => "Bound",
            Self::Up { .. } => "Up",
            Self::Down { .. } => "Down",
            Self::Keep { .. } => "Keep",
            Self::Kept { .. } => "Kept",
            Self::Reset { .. } => "Reset",
        })
    }
}

/// By which of its ports a server is to answer. What comes from a port that was never asked tells how the NAT in front
/// of us filters (RFC 4787, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One that we never sent anything to.
    AnotherPort = 1,
    /// The one asked: whether the server knows the question at all.
    ThisPort = 2,
}

/// A member asks a relay for a place. `mac` covers all before it, under the ticket's bind key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    pub version: u8,
    pub body: [u8; 32],
    pub nonce: [u8; 8],
    /// Zero on the first try; then what RETRY brought, which proves the address.
    pub cookie: [u8; 16],
    pub mac: [u8; 16],
}

/// The relay grants it. `mac` covers all before it, under the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub nonce: [u8; 8],
    pub bind: u32,
    pub slot: Slot,
    /// Seconds without a packet after which the relay forgets the place.
    pub ttl: u16,
    pub seen: SocketAddr,
    pub mac: [u8; 16],
}

impl<'a> Packet<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() > MAX_UDP {
            return Err(Malformed);
        }
        let mut r = Reader::new(bytes);
        let packet = match r.u8()? {
            HS_INIT => {
                reserved(&mut r)?;
                let sender = r.u32()?;
                let noise = fixed(&mut r)?;
                let gate = fixed(&mut r)?;
                Packet::HsInit { sender, noise, gated: before_tag(bytes)?, gate }
            }
            HS_RESP => {
                reserved(&mut r)?;
                let (sender, receiver) = (r.u32()?, r.u32()?);
                let noise = fixed(&mut r)?;
                let gate = fixed(&mut r)?;
                Packet::HsResp { sender, receiver, noise, gated: before_tag(bytes)?, gate }
            }
            TRANSPORT => {
                let (receiver, counter) = (r.u32()?, r.u32()?);
                // An empty sealed part would be a tag over nothing: nobody sends it.
                if r.rest().len() <= TAG {
                    return Err(Malformed);
                }
                Packet::Transport { receiver, counter }
            }
            PROBE => {
                let nonce = r.array()?;
                let by = r.u8()?;
                Reader::new(r.take(PROBE_PAD)?).zeros()?;
                match by {
                    0 => Packet::Probe { nonce },
                    1 => Packet::ProbeBy { nonce, by: By::AnotherPort },
                    2 => Packet::ProbeBy { nonce, by: By::ThisPort },
                    _ => return Err(Malformed),
                }
            }
            PROBED => Packet::Probed { nonce: r.array()?, seen: SocketAddr::read(&mut r)? },
            BIND => Packet::Bind(read_bind(&mut r)?),
            RETRY => Packet::Retry { nonce: r.array()?, cookie: r.array()?, seen: SocketAddr::read(&mut r)? },
            BOUND => Packet::Bound(Bound {
                nonce: r.array()?,
                bind: r.u32()?,
                slot: Slot::read(&mut r)?,
                ttl: r.u16()?,
                seen: SocketAddr::read(&mut r)?,
                mac: r.array()?,
            }),
            UP => Packet::Up { bind: r.u32()?, to: Slot::read(&mut r)?, inner: inner(&mut r)? },
            DOWN => Packet::Down { from: Slot::read(&mut r)?, inner: inner(&mut r)? },
            KEEP => Packet::Keep { bind: r.u32()?, echo: r.u32()? },
            KEPT => Packet::Kept { echo: r.u32()?, present: r.u16()? },
            RESET => Packet::Reset { bind: r.u32()? },
            _ => return Err(Malformed),
        };
        r.finish()?;
        Ok(packet)
    }
}

impl Bind {
    /// The packet, `mac` as given. The bytes to authenticate are `Bind::authenticated(&packet)`.
    pub fn packet(&self) -> Vec<u8> {
        let mut w = vec![BIND, self.version, 0];
        w.extend_from_slice(&self.body);
        w.extend_from_slice(&self.nonce);
        w.extend_from_slice(&self.cookie);
        w.extend_from_slice(&self.mac);
        w.resize(BIND_LEN, 0);
        w
    }

    /// All that the mac covers: type, version, body, nonce, cookie.
    pub fn authenticated(&self) -> Vec<u8> {
        let mut packet = self.packet();
        packet.truncate(BIND_MAC_AT);
        packet
    }
}

impl Bound {
    pub fn packet(&self) -> Vec<u8> {
        let mut w = self.authenticated();
        w.extend_from_slice(&self.mac);
        w
    }

    /// All that the mac covers.
    pub fn authenticated(&self) -> Vec<u8> {
        let mut w = vec![BOUND];
        w.extend_from_slice(&self.nonce);
        w.extend_from_slice(&self.bind.to_be_bytes());
        self.slot.write(&mut w);
        w.extend_from_slice(&self.ttl.to_be_bytes());
        self.seen.write(&mut w);
        w
    }
}

/// HS_INIT without its gate; the caller appends the 16 bytes.
pub fn hs_init(sender: u32, noise: &[u8; INIT_NOISE]) -> Vec<u8> {
    let mut w = vec![HS_INIT, 0, 0, 0];
    w.extend_from_slice(&sender.to_be_bytes());
    w.extend_from_slice(noise);
    w
}

/// HS_RESP without its gate; the caller appends the 16 bytes.
pub fn hs_resp(sender: u32, receiver: u32, noise: &[u8; RESP_NOISE]) -> Vec<u8> {
    let mut w = vec![HS_RESP, 0, 0, 0];
    w.extend_from_slice(&sender.to_be_bytes());
    w.extend_from_slice(&receiver.to_be_bytes());
    w.extend_from_slice(noise);
    w
}

/// The authenticated header of a TRANSPORT packet; `TRANSPORT_HEADER` bytes.
pub fn transport_header(receiver: u32, counter: u32) -> [u8; TRANSPORT_HEADER] {
    let mut w = [TRANSPORT; TRANSPORT_HEADER];
    w[1..5].copy_from_slice(&receiver.to_be_bytes());
    w[5..9].copy_from_slice(&counter.to_be_bytes());
    w
}

pub fn probe(nonce: [u8; 8]) -> Vec<u8> {
    let mut w = vec![PROBE];
    w.extend_from_slice(&nonce);
    w.resize(1 + 8 + 1 + PROBE_PAD, 0);
    w
}

pub fn probe_by(nonce: [u8; 8], by: By) -> Vec<u8> {
    let mut w = probe(nonce);
    w[9] = by as u8;
    w
}

pub fn probed(nonce: [u8; 8], seen: SocketAddr) -> Vec<u8> {
    let mut w = vec![PROBED];
    w.extend_from_slice(&nonce);
    seen.write(&mut w);
    w
}

pub fn retry(nonce: [u8; 8], cookie: [u8; 16], seen: SocketAddr) -> Vec<u8> {
    let mut w = vec![RETRY];
    w.extend_from_slice(&nonce);
    w.extend_from_slice(&cookie);
    seen.write(&mut w);
    w
}

pub fn up(bind: u32, to: Slot, inner: &[u8]) -> Vec<u8> {
    let mut w = vec![UP];
    w.extend_from_slice(&bind.to_be_bytes());
    to.write(&mut w);
    w.extend_from_slice(inner);
    w
}

pub fn down(from: Slot, inner: &[u8]) -> Vec<u8> {
    let mut w = vec![DOWN];
    from.write(&mut w);
    w.extend_from_slice(inner);
    w
}

pub fn keep(bind: u32, echo: u32) -> Vec<u8> {
    let mut w = vec![KEEP];
    w.extend_from_slice(&bind.to_be_bytes());
    w.extend_from_slice(&echo.to_be_bytes());
    w
}

pub fn kept(echo: u32, present: u16) -> Vec<u8> {
    let mut w = vec![KEPT];
    w.extend_from_slice(&echo.to_be_bytes());
    w.extend_from_slice(&present.to_be_bytes());
    w
}

pub fn reset(bind: u32) -> Vec<u8> {
    let mut w = vec![RESET];
    w.extend_from_slice(&bind.to_be_bytes());
    w
}

fn fixed<'a, const N: usize>(r: &mut Reader<'a>) -> Result<&'a [u8; N]> {
    r.take(N)?.try_into().map_err(|_| Malformed)
}

fn reserved(r: &mut Reader<'_>) -> Result<()> {
    Reader::new(r.take(3)?).zeros()
}

fn before_tag(bytes: &[u8]) -> Result<&[u8]> {
    bytes.len().checked_sub(TAG).and_then(|n| bytes.get(..n)).ok_or(Malformed)
}

/// Only what members seal for each other travels through a relay, and never a relay packet in a relay packet.
fn inner<'a>(r: &mut Reader<'a>) -> Result<&'a [u8]> {
    let inner = r.rest();
    match inner.first() {
        Some(&(HS_INIT | HS_RESP | TRANSPORT)) => Ok(inner),
        _ => Err(Malformed),
    }
}

fn read_bind(r: &mut Reader<'_>) -> Result<Bind> {
    let version = r.u8()?;
    Reader::new(r.take(1)?).zeros()?;
    let bind = Bind { version, body: r.array()?, nonce: r.array()?, cookie: r.array()?, mac: r.array()? };
    Reader::new(r.take(BIND_LEN - BIND_MAC_AT - TAG)?).zeros()?;
    Ok(bind)
}

/// Fits every path without fragments: the least IPv6 MTU (1,280) less IPv6 and UDP headers and room for tunnels.
pub const MAX_UDP: usize = 1_200;
/// Largest packet between members, so that a relay's header still fits.
pub const MAX_INNER: usize = MAX_UDP - 6;
pub const TRANSPORT_HEADER: usize = 9;
/// Poly1305 tag, and every truncated HMAC of ours.
pub const TAG: usize = 16;
pub const INIT_NOISE: usize = 104;
pub const RESP_NOISE: usize = 48;
/// Longer than the RETRY and the BOUND that it causes.
pub const BIND_LEN: usize = 96;
/// Wire version in BIND; the rest of the protocol learns it under the PAKE.
pub const VERSION: u8 = 1;

const HS_INIT: u8 = 0xD0;
const HS_RESP: u8 = 0xD1;
const TRANSPORT: u8 = 0xD2;
const PROBE: u8 = 0xE0;
const PROBED: u8 = 0xE1;
const BIND: u8 = 0xE2;
const RETRY: u8 = 0xE3;
const BOUND: u8 = 0xE4;
const UP: u8 = 0xE5;
const DOWN: u8 = 0xE6;
const KEEP: u8 = 0xE7;
const KEPT: u8 = 0xE8;
const RESET: u8 = 0xE9;
/// Longer than the PROBED it causes: no reflection gain.
const PROBE_PAD: usize = 22;
const BIND_MAC_AT: usize = 1 + 1 + 1 + 32 + 8 + 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seen() -> SocketAddr {
        "192.0.2.9:4000".parse().unwrap()
    }

    fn slot(n: u8) -> Slot {
        Slot::new(n).unwrap()
    }

    #[test]
    fn every_packet_has_the_drawn_length_and_parses_back() {
        let bind = Bind { version: 1, body: [1; 32], nonce: [2; 8], cookie: [3; 16], mac: [4; 16] };
        let bound = Bound { nonce: [2; 8], bind: 77, slot: slot(3), ttl: 60, seen: seen(), mac: [5; 16] };
        let mut init = hs_init(9, &[1; INIT_NOISE]);
        init.extend_from_slice(&[8; 16]);
        let mut resp = hs_resp(9, 10, &[1; RESP_NOISE]);
        resp.extend_from_slice(&[8; 16]);
        let sizes = [
            (init, 128),
            (resp, 76),
            (probe([1; 8]), 32),
            (probe_by([1; 8], By::AnotherPort), 32),
            (probed([1; 8], seen()), 28),
            (bind.packet(), 96),
            (retry([1; 8], [2; 16], seen()), 44),
            (bound.packet(), 51),
            (keep(1, 2), 9),
            (kept(1, 2), 7),
            (reset(1), 5),
        ];
        for (bytes, len) in &sizes {
            assert_eq!(bytes.len(), *len);
            Packet::parse(bytes).unwrap();
            assert_eq!(Packet::parse(&bytes[..len - 1]), Err(Malformed));
            let mut longer = bytes.clone();
            longer.push(0);
            assert_eq!(Packet::parse(&longer), Err(Malformed));
        }
        assert_eq!(Packet::parse(&bind.packet()), Ok(Packet::Bind(bind)));
        assert_eq!(Packet::parse(&bound.packet()), Ok(Packet::Bound(bound)));
        for by in [By::AnotherPort, By::ThisPort] {
            assert_eq!(Packet::parse(&probe_by([1; 8], by)), Ok(Packet::ProbeBy { nonce: [1; 8], by }));
        }
    }

    #[test]
    fn a_relay_packet_never_travels_inside_a_relay_packet() {
        let inner = [TRANSPORT, 0, 0, 0, 1];
        assert_eq!(
            Packet::parse(&up(5, slot(2), &inner)),
            Ok(Packet::Up { bind: 5, to: slot(2), inner: &inner })
        );
        assert_eq!(Packet::parse(&down(slot(2), &inner)), Ok(Packet::Down { from: slot(2), inner: &inner }));
        assert_eq!(Packet::parse(&up(5, slot(2), &up(5, slot(2), &inner))), Err(Malformed));
        assert_eq!(Packet::parse(&up(5, slot(2), &[])), Err(Malformed));
        assert_eq!(Packet::parse(&[UP, 0, 0, 0, 5, 16, TRANSPORT]), Err(Malformed));
    }

    #[test]
    fn no_answer_to_a_stranger_is_longer_than_its_cause() {
        let bind = Bind { version: 1, body: [1; 32], nonce: [2; 8], cookie: [3; 16], mac: [4; 16] };
        let bound = Bound { nonce: [2; 8], bind: 7, slot: slot(3), ttl: 60, seen: seen(), mac: [5; 16] };
        assert!(probed([1; 8], seen()).len() <= probe([1; 8]).len());
        assert!(retry([1; 8], [2; 16], seen()).len() <= bind.packet().len());
        assert!(bound.packet().len() <= bind.packet().len());
        assert!(kept(1, 2).len() <= keep(1, 2).len());
        assert!(reset(1).len() <= up(5, slot(2), &[TRANSPORT]).len());
        assert!(reset(1).len() <= keep(1, 2).len());
    }

    #[test]
    fn a_transport_packet_shows_its_index_and_counter_and_nothing_else() {
        let mut bytes = transport_header(0x0102_0304, 0x0a0b_0c0d).to_vec();
        assert_eq!(Packet::parse(&bytes), Err(Malformed));
        bytes.extend_from_slice(&[0; TAG + 1]);
        assert_eq!(
            Packet::parse(&bytes),
            Ok(Packet::Transport { receiver: 0x0102_0304, counter: 0x0a0b_0c0d })
        );
        bytes.resize(MAX_UDP + 1, 0);
        assert_eq!(Packet::parse(&bytes), Err(Malformed));
    }
}
