//! ChaCha20-Poly1305 (RFC 8439) in place, with the 96-bit nonce Noise uses: 32 zero bits, then a little-endian counter.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

use super::keys::Secret;

/// One key for one direction. The cipher wipes its key when dropped and is boxed, so that moving it leaves no copy.
pub(super) struct Aead(Box<ChaCha20Poly1305>);

impl Aead {
    pub(super) fn new(key: &Secret<32>) -> Self {
        Self(Box::new(ChaCha20Poly1305::new(key.as_bytes().into())))
    }

    /// Encrypts `packet` after its first `header` bytes, which become the associated data, and appends the tag.
    pub(super) fn seal(&self, n: u64, packet: &mut Vec<u8>, header: usize) {
        let (ad, text) = packet.split_at_mut(header);
        let tag = self
            .0
            .encrypt_in_place_detached(&nonce(n), ad, text)
            .expect("a datagram or frame is far below the 256 GiB the cipher can take");
        packet.extend_from_slice(&tag);
    }

    /// Reverses [`Aead::seal`]; the packet is left as it was unless the tag is right.
    pub(super) fn open<'p>(&self, n: u64, packet: &'p mut [u8], header: usize) -> Option<&'p [u8]> {
        let (ad, sealed) = packet.split_at_mut_checked(header)?;
        let (text, tag) = sealed.split_at_mut_checked(sealed.len().checked_sub(TAG)?)?;
        self.0.decrypt_in_place_detached(&nonce(n), ad, text, (&*tag).into()).ok()?;
        Some(text)
    }
}

fn nonce(n: u64) -> chacha20poly1305::Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&n.to_le_bytes());
    nonce.into()
}

/// Bytes a seal adds; the full tag, since a truncated one would make forging cheaper.
pub(super) const TAG: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::crypto::vectors::read;

    #[test]
    fn rfc_8439_appendix_a5_seals_and_opens() {
        let v = read(include_str!("../../tests/vectors/rfc8439.txt"));
        let aead = Aead::new(&Secret::new(v["key"].clone().try_into().unwrap()));
        let n = u64::from_le_bytes(v["nonce"][4..].try_into().unwrap());

        let mut packet = [v["aad"].clone(), v["plaintext"].clone()].concat();
        aead.seal(n, &mut packet, v["aad"].len());
        assert_eq!(packet[v["aad"].len()..], [v["ciphertext"].clone(), v["tag"].clone()].concat());
        assert_eq!(aead.open(n, &mut packet, v["aad"].len()).unwrap(), v["plaintext"]);
    }

    #[test]
    fn a_refused_packet_is_left_as_it_was() {
        let aead = Aead::new(&Secret::new([7; 32]));
        let mut packet = b"head body".to_vec();
        aead.seal(3, &mut packet, 4);
        let before = packet.clone();
        assert!(aead.open(4, &mut packet, 4).is_none());
        assert_eq!(packet, before);
    }

    #[test]
    fn lengths_that_cannot_hold_a_header_and_a_tag_are_refused() {
        let aead = Aead::new(&Secret::new([7; 32]));
        for len in 0..20 {
            assert!(aead.open(0, &mut vec![0; len], 4).is_none());
        }
    }
}
