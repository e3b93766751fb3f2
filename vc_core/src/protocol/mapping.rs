//! How the NAT in front of us maps, from what several servers saw of one socket (RFC 4787, section 4.1).

use std::net::SocketAddr;

use super::codec::{Malformed, Reader, Result, Wire};

/// What of the destination a new outside port depends on. Members tell each other theirs: it decides how they meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mapping {
    /// Too few answers to tell.
    #[default]
    Unknown,
    /// On nothing, or there is no NAT: where servers see us, friends reach us.
    Independent,
    /// On the address.
    Address(Ports),
    /// On address and port.
    AddressAndPort(Ports),
}

/// How the next outside port is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    Random,
    /// Each so far from the one before.
    Sequential {
        step: i16,
    },
}

impl Mapping {
    /// From what each server saw, in the order in which they were first asked: (server, seen).
    pub fn observed(answers: &[(SocketAddr, SocketAddr)]) -> Self {
        // One NAT at a time: where both families answer, IPv6 needs no help.
        let v4 = answers.iter().any(|(server, _)| server.is_ipv4());
        let answers: Vec<_> = answers.iter().filter(|(server, _)| server.is_ipv4() == v4).collect();
        let differ = |same_host: bool| {
            answers.iter().any(|(a, seen_a)| {
                answers.iter().any(|(b, seen_b)| (!same_host || a.ip() == b.ip()) && seen_a != seen_b)
            })
        };
        let mut seen: Vec<SocketAddr> = answers.iter().map(|(_, seen)| *seen).collect();
        seen.dedup();
        match answers.len() {
            0 | 1 => Self::Unknown,
            _ if differ(true) => Self::AddressAndPort(Ports::observed(&seen)),
            _ if differ(false) => Self::Address(Ports::observed(&seen)),
            _ => Self::Independent,
        }
    }

    /// How ports are chosen where each friend sees another one.
    pub fn ports(self) -> Option<Ports> {
        match self {
            Self::Address(ports) | Self::AddressAndPort(ports) => Some(ports),
            Self::Unknown | Self::Independent => None,
        }
    }
}

impl Ports {
    fn observed(seen: &[SocketAddr]) -> Self {
        let steps: Vec<i32> = seen
            .windows(2)
            .filter_map(|pair| match pair {
                [a, b] if a.ip() == b.ip() => Some(i32::from(b.port()) - i32::from(a.port())),
                // A pool of addresses: where the next one comes from nobody can tell.
                _ => None,
            })
            .collect();
        let near = |step: &i32| *step != 0 && step.abs() <= FARTHEST;
        let one_way = steps.iter().all(|step| *step > 0) || steps.iter().all(|step| *step < 0);
        let least = steps.iter().copied().min_by_key(|step| step.abs());
        match least.and_then(|step| i16::try_from(step).ok()) {
            Some(step) if steps.len() + 1 == seen.len() && one_way && steps.iter().all(near) => {
                Self::Sequential { step }
            }
            _ => Self::Random,
        }
    }
}

/// `kind u8 | ports`, without ports where they say nothing.
impl Wire for Mapping {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(match r.u8()? {
            0 => Self::Unknown,
            1 => Self::Independent,
            2 => Self::Address(Ports::read(r)?),
            3 => Self::AddressAndPort(Ports::read(r)?),
            _ => return Err(Malformed),
        })
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.push(match self {
            Self::Unknown => 0,
            Self::Independent => 1,
            Self::Address(_) => 2,
            Self::AddressAndPort(_) => 3,
        });
        self.ports().iter().for_each(|ports| ports.write(w));
    }
}

/// `step i16`; 0 means random.
impl Wire for Ports {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(match r.u16()?.cast_signed() {
            0 => Self::Random,
            step => Self::Sequential { step },
        })
    }

    fn write(&self, w: &mut Vec<u8>) {
        let step = match self {
            Self::Random => 0,
            Self::Sequential { step } => *step,
        };
        w.extend_from_slice(&step.to_be_bytes());
    }
}

/// Other connections of the house take ports between our questions, but seldom so many.
const FARTHEST: i32 = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn observed(answers: &[(&str, &str)]) -> Mapping {
        let parse = |(server, seen): &(&str, &str)| (server.parse().unwrap(), seen.parse().unwrap());
        Mapping::observed(&answers.iter().map(parse).collect::<Vec<_>>())
    }

    #[test]
    fn one_answer_tells_nothing_and_equal_ones_tell_an_independent_mapping() {
        assert_eq!(observed(&[]), Mapping::Unknown);
        assert_eq!(observed(&[("192.0.2.1:1", "198.51.100.9:5000")]), Mapping::Unknown);
        let same = [("192.0.2.1:1", "198.51.100.9:5000"), ("192.0.2.1:2", "198.51.100.9:5000")];
        assert_eq!(observed(&same), Mapping::Independent);
    }

    #[test]
    fn ports_of_one_server_and_addresses_of_two_are_told_apart() {
        let by_port = [("192.0.2.1:1", "198.51.100.9:5000"), ("192.0.2.1:2", "198.51.100.9:40000")];
        assert_eq!(observed(&by_port), Mapping::AddressAndPort(Ports::Random));
        let by_address = [
            ("192.0.2.1:1", "198.51.100.9:5000"),
            ("192.0.2.1:2", "198.51.100.9:5000"),
            ("192.0.2.7:1", "198.51.100.9:5003"),
        ];
        assert_eq!(observed(&by_address), Mapping::Address(Ports::Sequential { step: 3 }));
    }

    #[test]
    fn a_sequence_is_found_under_gaps_and_a_pool_of_addresses_is_none() {
        let sequence = |ports: [u16; 3]| {
            let seen = ports.map(|port| format!("198.51.100.9:{port}"));
            observed(&[("192.0.2.1:1", &seen[0]), ("192.0.2.1:2", &seen[1]), ("192.0.2.7:1", &seen[2])])
        };
        assert_eq!(sequence([5_000, 5_002, 5_010]), Mapping::AddressAndPort(Ports::Sequential { step: 2 }));
        assert_eq!(sequence([5_000, 4_999, 4_998]), Mapping::AddressAndPort(Ports::Sequential { step: -1 }));
        assert_eq!(sequence([5_000, 5_001, 4_999]), Mapping::AddressAndPort(Ports::Random));
        assert_eq!(sequence([5_000, 5_001, 6_000]), Mapping::AddressAndPort(Ports::Random));
        let pool = [("192.0.2.1:1", "198.51.100.9:5000"), ("192.0.2.1:2", "198.51.100.8:5001")];
        assert_eq!(observed(&pool), Mapping::AddressAndPort(Ports::Random));
    }

    #[test]
    fn each_mapping_has_one_spelling() {
        for mapping in [
            Mapping::Unknown,
            Mapping::Independent,
            Mapping::Address(Ports::Random),
            Mapping::AddressAndPort(Ports::Sequential { step: -3 }),
        ] {
            assert_eq!(Mapping::decode(&mapping.encode()), Ok(mapping));
        }
        assert!(Mapping::decode(&[1, 0, 1]).is_err() && Mapping::decode(&[4]).is_err());
    }
}
