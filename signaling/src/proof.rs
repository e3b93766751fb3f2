//! The proof of a place in a room, which its owner keeps for the server: the server's only memory across restarts.

use vc_core::crypto::keys::{PublicKey, Secret, mac16, same};
use vc_core::protocol::codec::{Reader, Wire};
use vc_core::protocol::member::{MemberId, Slot};
use vc_core::protocol::signal::Reclaim;

use crate::seats::Nonce;

/// What a proof says (`vc_core::protocol::signal::Reclaim`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) room: Nonce,
    /// Whose word evicts.
    pub(crate) warden: PublicKey,
    pub(crate) slot: Slot,
    pub(crate) id: Option<MemberId>,
    pub(crate) spoken: Option<u32>,
    pub(crate) link: Option<[u8; 10]>,
    /// Unix seconds; also the order in which proofs were made.
    pub(crate) expiry: u32,
}

impl Claim {
    pub(crate) fn sign(&self, key: &Secret<32>) -> Reclaim {
        let mut w = Vec::with_capacity(BODY + 16);
        w.extend_from_slice(&self.room);
        w.extend_from_slice(&self.warden.0);
        self.slot.write(&mut w);
        self.id.unwrap_or(NOBODY).write(&mut w);
        w.extend_from_slice(&self.spoken.unwrap_or(0).to_be_bytes());
        w.extend_from_slice(&self.link.unwrap_or_default());
        w.extend_from_slice(&self.expiry.to_be_bytes());
        let mac = mac16(key.as_bytes(), &[&w]);
        w.extend_from_slice(&mac);
        let mut proof = [0; BODY + 16];
        proof.copy_from_slice(&w);
        proof
    }

    /// `None` if this server never signed it, or too long ago. `wall` is Unix seconds.
    pub(crate) fn verify(key: &Secret<32>, proof: &Reclaim, wall: u32) -> Option<Self> {
        let (body, mac) = proof.split_at_checked(BODY)?;
        if !same(&mac16(key.as_bytes(), &[body]), mac) {
            return None;
        }
        let mut r = Reader::new(body);
        let claim = Self {
            room: r.array().ok()?,
            warden: PublicKey(r.array().ok()?),
            slot: Slot::read(&mut r).ok()?,
            id: Some(MemberId::read(&mut r).ok()?).filter(|id| *id != NOBODY),
            spoken: Some(r.u32().ok()?).filter(|n| *n != 0),
            link: Some(r.array().ok()?).filter(|l| *l != [0; 10]),
            expiry: r.u32().ok()?,
        };
        (claim.expiry > wall).then_some(claim)
    }
}

const BODY: usize = 16 + 32 + 1 + 8 + 4 + 10 + 4;
pub(crate) const NOBODY: MemberId = MemberId([0; 8]);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vc_core::protocol::signal::plates_of;

    use super::*;

    #[test]
    fn a_proof_holds_until_its_expiry_and_no_byte_of_it_can_be_changed() {
        let key = Secret::new([1; 32]);
        let slot = Slot::new(3).unwrap();
        let (warden, id) = (PublicKey([4; 32]), Some(MemberId([5; 8])));
        let claim = Claim { room: [2; 16], warden, slot, id, spoken: Some(48213), link: None, expiry: 100 };
        let proof = claim.sign(&key);
        assert_eq!(plates_of(&proof), (Some(48213), None));
        assert!(Claim::verify(&key, &proof, 99) == Some(claim));
        assert!(Claim::verify(&key, &proof, 100).is_none());
        assert!(Claim::verify(&Secret::new([2; 32]), &proof, 99).is_none());
        for at in 0..proof.len() {
            let mut forged = proof;
            forged[at] ^= 1;
            assert!(Claim::verify(&key, &forged, 99).is_none());
        }
    }
}
