//! What a pair of NATs allows, reasoned from RFC 4787's words alone: the simulated pair must reach just that.

use crate::nat::Dependence::{Address, AddressAndPort, Endpoint};
use crate::nat::{Kind, Ports};

/// How two members come to a direct path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Probes to the addresses that both told.
    Plain,
    /// The next port of a sequence.
    Predicted,
    /// Many ports against many.
    Sprayed,
    /// Somebody else has to carry.
    Never,
}

/// The way for members behind these; `None` is a public address without a filter.
pub fn way(a: Option<Kind>, b: Option<Kind>) -> Way {
    let (a, b) = (a.unwrap_or(OPEN), b.unwrap_or(OPEN));
    match (depends(a), depends(b)) {
        (false, false) => Way::Plain,
        (true, false) => towards(a, b),
        (false, true) => towards(b, a),
        // The one's probe has to come in where only servers are known, and the answer comes from a port never named.
        (true, true) if open_to_all(a, b) || open_to_all(b, a) => Way::Plain,
        (true, true) => Way::Never,
    }
}

/// Where there is no way, a search for an open port may still hit where a router maps by address: whatever that knocks at, it
/// shows one port, which the answer comes back to. If it lets in all ports of a known address, one hit is enough. If not,
/// but the other router lets in whoever knocks at an open port, the answer leaves that by another one, which may happen to
/// be among those knocked at. Whether anybody searches depends on what they know of each other's routers: only of
/// one that did may this be said.
pub fn is_lucky(a: Option<Kind>, b: Option<Kind>) -> bool {
    let (a, b) = (a.unwrap_or(OPEN), b.unwrap_or(OPEN));
    let lets_in = a.filtering != AddressAndPort || b.filtering != AddressAndPort;
    lets_in && (a.mapping == Address || b.mapping == Address)
}

/// Two routers in a row let in what both do, and one fresh mapping is enough to make the whole fresh.
pub fn in_a_row(inner: Kind, outer: Kind) -> Kind {
    let changing = if depends(outer) { outer } else { inner };
    Kind {
        mapping: inner.mapping.max(outer.mapping),
        filtering: inner.filtering.max(outer.filtering),
        ..changing
    }
}

/// `a` shows `b` a port that nobody told; `b` shows everyone the same.
fn towards(a: Kind, b: Kind) -> Way {
    match (b.filtering, a.ports) {
        (AddressAndPort, Ports::Sequential { .. }) => Way::Predicted,
        (AddressAndPort, Ports::Random | Ports::Kept) => Way::Sprayed,
        _ => Way::Plain,
    }
}

fn open_to_all(a: Kind, b: Kind) -> bool {
    a.filtering == Endpoint && b.filtering != AddressAndPort
}

fn depends(kind: Kind) -> bool {
    kind.mapping != Endpoint
}

const OPEN: Kind = Kind::new(Endpoint, Endpoint);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_can_hit_only_where_one_maps_by_address_and_one_lets_in_other_ports() {
        let kinds = [
            Kind::new(Address, AddressAndPort),
            Kind::new(Address, Address),
            Kind::new(AddressAndPort, Endpoint),
            Kind::SYMMETRIC,
        ];
        let lucky = kinds.map(|a| kinds.map(|b| is_lucky(Some(a), Some(b))));
        let expected = [
            [false, true, true, false],
            [true, true, true, true],
            [true, true, false, false],
            [false, true, false, false],
        ];
        assert_eq!(lucky, expected);
    }
}
