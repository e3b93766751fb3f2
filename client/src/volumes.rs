//! How loud each friend is heard in this call, and what of it is kept for later ones.

use std::collections::BTreeMap;

use vc_core::io::{PeerState, PeerView};
use vc_core::protocol::member::MemberId;

#[derive(Clone, Default)]
pub(crate) struct Volumes {
    /// By the name that friends give themselves: ids, and marks that set two of one name apart, are of one room only.
    kept: BTreeMap<String, u16>,
    /// Of those who are here.
    used: BTreeMap<MemberId, u16>,
}

impl Volumes {
    pub(crate) fn new(kept: BTreeMap<String, u16>) -> Self {
        Self { kept, used: BTreeMap::new() }
    }

    /// A friend came, or has another name now. The volume to be used from now on, where it is not the one before.
    pub(crate) fn met(&mut self, friend: MemberId, all: &[PeerView]) -> Option<u16> {
        // One who is lost may be the same friend, come again.
        let there = all.iter().filter(|peer| peer.state != PeerState::Reconnecting || peer.id == friend);
        let name = own_name(friend, there)?;
        let percent = *self.kept.get(name)?;
        self.used.insert(friend, percent);
        Some(percent)
    }

    /// The name under which it is kept. `None` where two share it: nobody could tell whose it is.
    pub(crate) fn set<'a>(&mut self, friend: MemberId, percent: u16, all: &'a [PeerView]) -> Option<&'a str> {
        self.used.insert(friend, percent);
        let name = own_name(friend, all.iter())?;
        self.kept.insert(name.to_owned(), percent);
        Some(name)
    }

    pub(crate) fn forget(&mut self, friend: MemberId) {
        self.used.remove(&friend);
    }

    pub(crate) fn of(&self, friend: MemberId) -> u16 {
        self.used.get(&friend).copied().unwrap_or(AS_SENT)
    }

    pub(crate) fn used(&self) -> impl Iterator<Item = (MemberId, u16)> {
        self.used.iter().map(|(friend, percent)| (*friend, *percent))
    }

    pub(crate) fn kept(&self) -> impl Iterator<Item = (&str, u16)> {
        self.kept.iter().map(|(name, percent)| (name.as_str(), *percent))
    }
}

/// Unless another one of these has it as well.
fn own_name<'a>(friend: MemberId, mut all: impl Iterator<Item = &'a PeerView> + Clone) -> Option<&'a str> {
    let name = all.clone().find(|peer| peer.id == friend)?.own_name.as_str();
    all.all(|other| other.id == friend || other.own_name != name).then_some(name)
}

/// In percent.
pub(crate) const AS_SENT: u16 = 100;
/// As loud as the sound engine goes: four times.
pub(crate) const LOUDEST: u16 = 400;

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    const ADA: MemberId = MemberId([1; 8]);
    const OTHER: MemberId = MemberId([2; 8]);

    pub(crate) fn friend(state: PeerState) -> PeerView {
        PeerView {
            id: MemberId([1; 8]),
            name: "Bob".into(),
            own_name: "Bob".into(),
            state,
            rung: None,
            rtt: None,
            rtt_var: None,
            loss_in: 0.0,
            loss_out: 0.0,
            burst_out: 0.0,
            jitter_out: Duration::ZERO,
            queue_out: Duration::ZERO,
            muted: false,
            deafened: false,
        }
    }

    fn here(id: MemberId, name: &str) -> PeerView {
        PeerView { id, own_name: name.into(), ..friend(PeerState::Live) }
    }

    #[test]
    fn a_volume_is_kept_under_the_friends_own_name_and_used_when_they_come_again() {
        let mut volumes = Volumes::default();
        // Our own name may be the same: then she is shown with a mark.
        let ada = PeerView { name: "Ada #0101".into(), ..here(ADA, "Ada") };
        assert_eq!(volumes.set(ADA, 50, &[ada]), Some("Ada"));
        assert_eq!(volumes.of(ADA), 50);
        volumes.forget(ADA);
        assert_eq!((volumes.of(ADA), volumes.kept().collect()), (AS_SENT, vec![("Ada", 50)]));
        assert_eq!(volumes.met(OTHER, &[here(OTHER, "Ada")]), Some(50));
        assert_eq!(volumes.of(OTHER), 50);
    }

    #[test]
    fn of_two_who_share_a_name_nothing_is_kept_and_nothing_taken_for_theirs() {
        let mut volumes = Volumes::new([("Ada".to_owned(), 30)].into());
        let both = [here(ADA, "Ada"), here(OTHER, "Ada")];
        assert_eq!(volumes.met(ADA, &both), None);
        assert_eq!(volumes.set(ADA, 200, &both), None);
        assert_eq!((volumes.of(ADA), volumes.of(OTHER)), (200, AS_SENT));
        assert_eq!(volumes.kept().collect::<Vec<_>>(), [("Ada", 30)]);
        // Only one of them is still there: the other connection of hers broke off.
        let lost = PeerView { state: PeerState::Reconnecting, ..here(ADA, "Ada") };
        let left = [lost, here(OTHER, "Ada")];
        assert_eq!(volumes.met(OTHER, &left), Some(30));
        // She may as well be somebody else, and both carry a mark.
        assert_eq!((volumes.set(OTHER, 50, &left), volumes.set(ADA, 60, &left)), (None, None));
        assert_eq!(volumes.kept().collect::<Vec<_>>(), [("Ada", 30)]);
    }

    #[test]
    fn another_name_without_a_volume_leaves_the_one_that_was_set() {
        let mut volumes = Volumes::default();
        volumes.set(ADA, 50, &[here(ADA, "Ada")]);
        assert_eq!(volumes.met(ADA, &[here(ADA, "Countess")]), None);
        assert_eq!(volumes.of(ADA), 50);
    }
}
