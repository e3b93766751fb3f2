//! Who forwards for friends that cannot meet: decided alike by everybody from what all have published.

use crate::protocol::member::{MemberId, Slot};

/// One member, as it describes itself.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) id: MemberId,
    pub(crate) slot: Slot,
    /// Slots that it reaches directly.
    pub(crate) direct: u16,
    pub(crate) willing: bool,
    pub(crate) founder: bool,
}

/// Up to `HOSTS` willing members that together bridge most pairs without a direct path; a second one also stands in for
/// the first, so that its failure is a change of path and nothing more.
pub(crate) fn elect(members: &[Standing]) -> Vec<MemberId> {
    let mut elected: Vec<MemberId> = Vec::new();
    while elected.len() < HOSTS {
        let with = |id: MemberId| worth(members, &[&elected[..], &[id]].concat());
        let rest = members.iter().filter(|m| m.willing && !elected.contains(&m.id));
        let best = rest.max_by_key(|m| (with(m.id), m.founder, std::cmp::Reverse(m.id)));
        match best {
            Some(best) if with(best.id) > worth(members, &elected) => elected.push(best.id),
            _ => break,
        }
    }
    elected
}

/// Pairs bridged at all, then pairs bridged twice.
pub(crate) fn worth(members: &[Standing], hosts: &[MemberId]) -> (u32, u32) {
    let hosts: Vec<&Standing> = members.iter().filter(|m| m.willing && hosts.contains(&m.id)).collect();
    let (mut once, mut twice) = (0, 0);
    for (n, a) in members.iter().enumerate() {
        for b in members.iter().skip(n + 1).filter(|b| !meet(a, b)) {
            match hosts.iter().filter(|h| bridges(h, a, b)).count() {
                0 => {}
                1 => once += 1,
                _ => (once, twice) = (once + 1, twice + 1),
            }
        }
    }
    (once, twice)
}

fn bridges(host: &Standing, a: &Standing, b: &Standing) -> bool {
    host.id != a.id && host.id != b.id && meet(host, a) && meet(host, b)
}

/// Both say so: either chooses its own sending path.
fn meet(a: &Standing, b: &Standing) -> bool {
    a.direct & b.slot.bit() != 0 && b.direct & a.slot.bit() != 0
}

const HOSTS: usize = 2;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Members 0.. of whom these pairs meet; all are willing, the first made the room.
    fn room(count: u8, pairs: &[(u8, u8)]) -> Vec<Standing> {
        let direct = |n: u8| {
            let met = pairs.iter().filter_map(|(a, b)| match n {
                n if n == *a => Some(*b),
                n if n == *b => Some(*a),
                _ => None,
            });
            met.map(|other| 1 << other).sum()
        };
        let standing = |n: u8| Standing {
            id: MemberId([n; 8]),
            slot: Slot::new(n).unwrap(),
            direct: direct(n),
            willing: true,
            founder: n == 0,
        };
        (0..count).map(standing).collect()
    }

    fn elected(members: &[Standing]) -> Vec<u8> {
        elect(members).iter().map(|id| id.0[0]).collect()
    }

    #[test]
    fn nobody_is_needed_where_all_meet() {
        assert!(elected(&room(3, &[(0, 1), (0, 2), (1, 2)])).is_empty());
    }

    #[test]
    fn who_bridges_most_forwards_and_the_next_stands_in() {
        let members = room(5, &[(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (0, 1)]);
        assert_eq!(elected(&members), [1, 2]);
    }

    #[test]
    fn the_founder_wins_a_tie_and_else_the_smallest_id() {
        let both = [(0, 2), (0, 3), (1, 2), (1, 3), (0, 1)];
        assert_eq!(elected(&room(4, &both)), [0, 1]);
        let mut members = room(4, &both);
        members[0].founder = false;
        assert_eq!(elected(&members), [0, 1]);
        members[1].founder = true;
        assert_eq!(elected(&members), [1, 0]);
    }

    #[test]
    fn the_unwilling_and_those_whom_one_end_denies_are_not_elected() {
        let mut members = room(3, &[(0, 1), (0, 2)]);
        members[0].willing = false;
        assert!(elected(&members).is_empty());
        let mut members = room(3, &[(0, 1), (0, 2)]);
        members[2].direct = 0;
        assert!(elected(&members).is_empty(), "it claims a path that the other end does not know of");
    }

    #[test]
    fn two_hosts_bridge_what_one_cannot() {
        let members = room(6, &[(0, 2), (0, 3), (1, 4), (1, 5)]);
        assert_eq!(elected(&members), [0, 1]);
        assert_eq!(worth(&members, &elect(&members)), (2, 0));
    }
}
