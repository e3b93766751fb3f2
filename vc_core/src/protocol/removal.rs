//! Who was removed for good, in the creator's words, which any member can pass on, to the server as well.

use super::codec::{Reader, Result, Wire, write_list};
use super::member::MemberId;
use crate::crypto::keys::{PublicKey, StaticKey};
use crate::crypto::sign::Signed;

/// All of them at once, so that whoever has the latest list has every removal. Signed with a key that the creator has
/// for nothing else, its *warden* key: the server knows that one, and no member's own. It is for one room, which binds
/// the list to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Removals {
    /// How many removals there have been.
    turn: u32,
    /// The last `MAX_GONE` of them, in order.
    ids: Vec<MemberId>,
    signature: Signed,
}

impl Removals {
    /// One more than `before`.
    pub fn with(warden: &StaticKey, before: Option<&Self>, id: MemberId) -> Self {
        let (turn, mut ids) = before.map_or((0, Vec::new()), |before| (before.turn, before.ids.clone()));
        ids.push(id);
        let ids = ids.split_off(ids.len().saturating_sub(MAX_GONE));
        let mut removals = Self { turn: turn.saturating_add(1), ids, signature: [0; 64] };
        removals.signature = warden.sign(LABEL, &removals.words());
        removals
    }

    pub fn is_by(&self, warden: &PublicKey) -> bool {
        warden.signed(LABEL, &self.words(), &self.signature)
    }

    /// Knows of a removal that `before` does not know of.
    pub fn is_later_than(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| self.turn > before.turn)
    }

    pub fn contains(&self, id: &MemberId) -> bool {
        self.ids.contains(id)
    }

    /// Those that `self` still names and `later` does not: there is room for so many only.
    pub fn dropped_by<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = MemberId> + 'a {
        self.ids.iter().copied().filter(|id| !later.contains(id))
    }

    /// What is signed.
    fn words(&self) -> Vec<u8> {
        let mut words = self.turn.to_be_bytes().to_vec();
        write_list(&mut words, &self.ids);
        words
    }
}

impl Wire for Removals {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { turn: r.u32()?, ids: r.list(MAX_GONE)?, signature: r.array()? })
    }

    fn write(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(&self.words());
        w.extend_from_slice(&self.signature);
    }
}

const LABEL: &str = "removals";

/// Tombstones carried to a joiner: 16 seats used several times over in one evening.
pub const MAX_GONE: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id(n: u8) -> MemberId {
        MemberId([n; 8])
    }

    #[test]
    fn a_list_grows_and_only_its_maker_can_have_made_it() {
        let (creator, other) = (StaticKey::from_bytes([1; 32]), StaticKey::from_bytes([2; 32]));
        let one = Removals::with(&creator, None, id(1));
        let two = Removals::with(&creator, Some(&one), id(2));
        assert!(one.is_later_than(None) && two.is_later_than(Some(&one)));
        assert!(!one.is_later_than(Some(&two)) && !two.is_later_than(Some(&two)));
        assert!(two.contains(&id(1)) && two.contains(&id(2)) && !one.contains(&id(2)));
        assert!(two.is_by(&creator.public()) && !two.is_by(&other.public()));
        for at in 0..two.encode().len() {
            let mut bytes = two.encode();
            bytes[at] ^= 1;
            assert!(Removals::decode(&bytes).is_ok_and(|forged| !forged.is_by(&creator.public())) || at == 4);
        }
    }

    #[test]
    fn a_list_survives_its_encoding_and_forgets_the_oldest_when_it_is_long() {
        let creator = StaticKey::from_bytes([1; 32]);
        let mut held: Option<Removals> = None;
        for n in 0..=MAX_GONE as u8 {
            held = Some(Removals::with(&creator, held.as_ref(), id(n)));
        }
        let held = held.unwrap();
        assert!(!held.contains(&id(0)) && held.contains(&id(1)) && held.contains(&id(MAX_GONE as u8)));
        assert!(Removals::decode(&held.encode()).unwrap() == held && held.is_by(&creator.public()));
    }
}
