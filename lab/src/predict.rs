//! What two friends can reach at best, from what their routers do, without asking the program.

use std::fmt;

use crate::nat::{Access, Dependence, Kind, Nat, Order};

/// The easiest way that works for a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Both send at once to what the servers saw.
    Punched,
    /// One guesses the next port of the other's router.
    Predicted,
    /// One opens many ports, the other tries many.
    Sprayed,
    /// Nothing goes straight.
    Relayed,
    /// One of them gets no datagram out at all.
    RelayedTcp,
}

impl Way {
    /// The rung as `voicechat --json` names it.
    pub(crate) fn rung(self) -> &'static str {
        match self {
            Self::Punched | Self::Predicted | Self::Sprayed => "direct",
            Self::Relayed | Self::RelayedTcp => "relay",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Punched => "punched",
            Self::Predicted => "predicted",
            Self::Sprayed => "sprayed",
            Self::Relayed => "relay",
            Self::RelayedTcp => "relay, TCP",
        })
    }
}

pub(crate) fn best(a: Kind, b: Kind) -> Way {
    between(&a.access(), &b.access())
}

fn between(a: &Access, b: &Access) -> Way {
    if !a.udp || !b.udp {
        return Way::RelayedTcp;
    }
    // No translation: two firewalls that both open towards each other.
    if a.v6 && b.v6 {
        return Way::Punched;
    }
    let (Some(nat_a), Some(nat_b)) = (&a.v4, &b.v4) else { return Way::Relayed };
    if a.opens_ports.is_some() || b.opens_ports.is_some() {
        return Way::Punched;
    }
    punch(nat_a, nat_b)
}

fn punch(a: &Nat, b: &Nat) -> Way {
    match (a.mapping, b.mapping) {
        (Dependence::Endpoint, Dependence::Endpoint) => Way::Punched,
        (Dependence::Endpoint, _) => towards(a, b),
        (_, Dependence::Endpoint) => towards(b, a),
        _ => Way::Relayed,
    }
}

/// `steady` has one outside port that `fickle` knows; `steady` does not know the one that `fickle` uses towards it.
fn towards(steady: &Nat, fickle: &Nat) -> Way {
    match (steady.filtering, fickle.order) {
        (Dependence::Endpoint | Dependence::Address, _) => Way::Punched,
        (Dependence::Port, Order::Sequential) => Way::Predicted,
        (Dependence::Port, Order::Random) => Way::Sprayed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_does_not_depend_on_who_calls() {
        for a in Kind::ALL {
            for b in Kind::ALL {
                assert_eq!(best(a, b), best(b, a), "{} {}", a.name(), b.name());
            }
        }
    }

    #[test]
    fn the_classic_pairs_are_predicted_as_the_literature_has_them() {
        assert_eq!(best(Kind::Apdf, Kind::Apdf), Way::Punched);
        assert_eq!(best(Kind::Adf, Kind::Sym), Way::Punched);
        assert_eq!(best(Kind::Apdf, Kind::Sym), Way::Sprayed);
        assert_eq!(best(Kind::Seq, Kind::Linux), Way::Predicted);
        assert_eq!(best(Kind::Sym, Kind::Sym), Way::Relayed);
        assert_eq!(best(Kind::Sym, Kind::Upnp), Way::Punched);
        assert_eq!(best(Kind::Sym, Kind::Igd), Way::Punched);
        assert_eq!(best(Kind::Dual, Kind::V6), Way::Punched);
        assert_eq!(best(Kind::Open, Kind::V6), Way::Relayed);
        assert_eq!(best(Kind::Open, Kind::Noudp), Way::RelayedTcp);
    }
}
