//! Secrets that wipe themselves, X25519 statics, and the two derivations everything else is built on.

use std::fmt;

use curve25519_dalek::montgomery::MontgomeryPoint;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_core::RngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The only source of randomness: seeded by the caller with 32 bytes, so that the core never asks the system.
pub type Rng = rand_chacha::ChaCha20Rng;

/// `N` secret bytes, wiped when dropped. Boxed, because a wipe does not reach the copies that moves leave behind.
/// It cannot be printed, nor compared other than by [`same`].
#[derive(Clone)]
pub struct Secret<const N: usize>(Box<Zeroizing<[u8; N]>>);

impl<const N: usize> Secret<N> {
    /// Takes the bytes and wipes the copy that was passed in.
    pub fn new(mut bytes: [u8; N]) -> Self {
        let mut secret = Self::zero();
        secret.0.copy_from_slice(&bytes);
        bytes.zeroize();
        secret
    }

    pub fn random(rng: &mut Rng) -> Self {
        let mut secret = Self::zero();
        rng.fill_bytes(secret.0.as_mut_slice());
        secret
    }

    pub fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    fn zero() -> Self {
        Self(Box::new(Zeroizing::new([0; N])))
    }
}

/// A member's key for one stay in a room, or a server's for its life (X25519, RFC 7748).
#[derive(Clone)]
pub struct StaticKey {
    secret: Secret<32>,
    public: PublicKey,
}

impl StaticKey {
    pub fn generate(rng: &mut Rng) -> Self {
        Self::from_secret(Secret::random(rng))
    }

    /// Any 32 bytes are a key; clamping happens where it is used.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::from_secret(Secret::new(bytes))
    }

    /// Another key of the same owner's. Who knows either public half cannot tell that.
    pub fn derive(&self, label: &str) -> Self {
        Self::from_secret(kdf(self.secret.as_bytes(), label, &[]))
    }

    /// For a server's key file.
    pub fn to_bytes(&self) -> Secret<32> {
        self.secret.clone()
    }

    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// What only the owners of the two keys can compute (X25519). `None` for a key that gives everybody the same.
    pub fn agree(&self, other: &PublicKey) -> Option<Secret<32>> {
        let shared = MontgomeryPoint(other.0).mul_clamped(*self.secret.as_bytes()).to_bytes();
        (!same(&shared, &[0; 32])).then(|| Secret::new(shared))
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    fn from_secret(secret: Secret<32>) -> Self {
        let public = PublicKey(MontgomeryPoint::mul_base_clamped(*secret.as_bytes()).to_bytes());
        Self { secret, public }
    }
}

/// The public half of a [`StaticKey`]. Public, yet it tells who is in a room, so it does not print.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(..)")
    }
}

/// HKDF-SHA256 (RFC 5869) without salt; info = "vc1 " || label || 0x00 || ctx. Labels hold no zero byte, so no two
/// pairs of label and ctx meet.
pub fn kdf<const N: usize>(ikm: &[u8], label: &str, ctx: &[u8]) -> Secret<N> {
    expand(ikm, &[b"vc1 ", label.as_bytes(), &[0], ctx])
}

/// The first 16 bytes of HMAC-SHA256 over the parts in a row. Callers keep the parts' lengths fixed.
pub fn mac16(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut tag = [0; 16];
    tag.copy_from_slice(&hmac(key, parts)[..16]);
    tag
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// HMAC-SHA256 (RFC 2104) over the parts in a row.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn expand<const N: usize>(ikm: &[u8], info: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 gives at most 8,160 bytes") };
    let mut okm = Secret::zero();
    Hkdf::<Sha256>::new(None, ikm)
        .expand_multi_info(info, okm.0.as_mut_slice())
        .expect("the length was checked when this was compiled");
    okm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::vectors::read;
    use rand_core::SeedableRng;

    #[test]
    fn rfc_5869_case_3_has_neither_salt_nor_info() {
        let v = read(include_str!("../../tests/vectors/rfc5869.txt"));
        assert_eq!(expand::<42>(&v["ikm"], &[]).as_bytes()[..], v["okm"]);
    }

    #[test]
    fn rfc_4231_case_2_is_our_hmac() {
        let v = read(include_str!("../../tests/vectors/rfc4231.txt"));
        assert_eq!(hmac(&v["key"], &[&v["data"][..5], &v["data"][5..]])[..], v["tag"]);
    }

    #[test]
    fn rfc_7748_section_6_1_gives_the_public_keys() {
        let v = read(include_str!("../../tests/vectors/rfc7748.txt"));
        for (secret, public) in [("alice_secret", "alice_public"), ("bob_secret", "bob_public")] {
            let key = StaticKey::from_bytes(v[secret].as_slice().try_into().expect("32 bytes"));
            assert_eq!(key.public().0[..], v[public]);
        }
    }

    #[test]
    fn rfc_7748_section_6_1_gives_the_shared_secret_to_both_and_a_small_order_key_none() {
        let v = read(include_str!("../../tests/vectors/rfc7748.txt"));
        let bytes = |name: &str| -> [u8; 32] { v[name].as_slice().try_into().expect("32 bytes") };
        for (secret, public) in [("alice_secret", "bob_public"), ("bob_secret", "alice_public")] {
            let shared = StaticKey::from_bytes(bytes(secret)).agree(&PublicKey(bytes(public)));
            assert_eq!(shared.map(|shared| *shared.as_bytes()), Some(bytes("shared")));
        }
        assert!(StaticKey::from_bytes([1; 32]).agree(&PublicKey([0; 32])).is_none());
    }

    #[test]
    fn one_seed_gives_one_key() {
        let key = |seed| StaticKey::generate(&mut Rng::from_seed([seed; 32])).public();
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
    }

    #[test]
    fn label_and_context_both_change_the_key() {
        let key = |label, ctx: &[u8]| *kdf::<32>(b"ikm", label, ctx).as_bytes();
        assert_ne!(key("a", b"b"), key("a", b"c"));
        assert_ne!(key("a", b"b"), key("c", b"b"));
        assert_ne!(key("a", b"b"), key("ab", b""));
    }

    #[test]
    fn same_compares_content_and_length() {
        assert!(same(b"tag", b"tag"));
        assert!(!same(b"tag", b"tah"));
        assert!(!same(b"tag", b"ta"));
    }
}
