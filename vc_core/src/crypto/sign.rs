//! Words that can be passed on: signed with the very key by which a member is known, so that nothing more has to be
//! told of it. The X25519 key is read as an Ed25519 key as in XEdDSA (signal.org/docs/specifications/xeddsa), with the
//! nonce of RFC 8032 instead of a random one.

use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::Sha512;

use super::keys::{PublicKey, StaticKey, kdf};

/// An Ed25519 signature (RFC 8032).
pub type Signed = [u8; 64];

impl StaticKey {
    /// `label` says what the words are, so that those of one kind never pass for another's.
    pub fn sign(&self, label: &str, words: &[u8]) -> Signed {
        let mut scalar = Scalar::from_bytes_mod_order(clamp_integer(*self.secret().as_bytes()));
        // X25519 does not know the sign of a point; both ends take the even one.
        if (&scalar * ED25519_BASEPOINT_TABLE).compress().as_bytes()[31] >> 7 == 1 {
            scalar = -scalar;
        }
        let hash_prefix = *kdf::<32>(self.secret().as_bytes(), "sign nonce", &[]).as_bytes();
        let key = ExpandedSecretKey { scalar, hash_prefix };
        raw_sign::<Sha512>(&key, &message(label, words), &VerifyingKey::from(&key)).to_bytes()
    }
}

impl PublicKey {
    /// Whether the owner of this key signed these words as such.
    pub fn signed(&self, label: &str, words: &[u8], signature: &Signed) -> bool {
        let point = MontgomeryPoint(self.0).to_edwards(0);
        // Other spellings of the same point are no member's key.
        let Some(point) = point.filter(|point| point.to_montgomery().0 == self.0) else { return false };
        let key = VerifyingKey::from(point);
        key.verify_strict(&message(label, words), &Signature::from_bytes(signature)).is_ok()
    }
}

/// Labels hold no zero byte, so no two pairs of label and words meet.
fn message(label: &str, words: &[u8]) -> Vec<u8> {
    [b"vc1 ", label.as_bytes(), &[0], words].concat()
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;
    use crate::crypto::keys::Rng;

    fn key(seed: u8) -> StaticKey {
        StaticKey::generate(&mut Rng::from_seed([seed; 32]))
    }

    #[test]
    fn what_any_key_signs_its_public_half_confirms_and_no_other_does() {
        // Half of all keys have an odd point.
        for seed in 0..32 {
            let (key, other) = (key(seed), key(seed + 1));
            let signature = key.sign("label", b"words");
            assert!(key.public().signed("label", b"words", &signature));
            assert!(!other.public().signed("label", b"words", &signature));
            assert!(!key.public().signed("label", b"word", &signature));
            assert!(!key.public().signed("labe", b"words", &signature));
        }
    }

    #[test]
    fn no_bit_of_a_signature_can_be_changed() {
        let key = key(1);
        let signature = key.sign("label", b"words");
        for bit in 0..512 {
            let mut forged = signature;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.public().signed("label", b"words", &forged), "bit {bit}");
        }
    }

    #[test]
    fn another_spelling_of_the_same_key_signed_nothing() {
        for seed in 0..8 {
            let key = key(seed);
            let signature = key.sign("label", b"words");
            let mut alias = key.public();
            alias.0[31] ^= 0x80;
            assert!(!alias.signed("label", b"words", &signature));
        }
    }

    #[test]
    fn a_key_that_is_no_point_or_of_small_order_signed_nothing() {
        let signature = key(1).sign("label", b"words");
        for bytes in [[0; 32], [0xff; 32], [2; 32]] {
            assert!(!PublicKey(bytes).signed("label", b"words", &signature));
        }
        // With the neutral point as key, R = s B would do for any words.
        assert!(!PublicKey([0; 32]).signed("label", b"words", &[0; 64]));
    }
}
