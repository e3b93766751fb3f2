//! The room check: five words that friends compare aloud. Equal words mean that all of them talk to the same members.

use bip39::Language;
use sha2::{Digest, Sha256};

use crate::crypto::keys::PublicKey;
use crate::protocol::member::RoomId;

/// Five words of 2,048: 55 bits of SHA-256("vc1 check" || room id || keys, sorted), hashed on. Takes some milliseconds.
pub(crate) fn words(room: &RoomId, mut keys: Vec<PublicKey>) -> [&'static str; 5] {
    keys.sort();
    let mut hash = Sha256::new().chain_update(b"vc1 check").chain_update(room);
    keys.iter().for_each(|key| hash.update(key.0));
    let mut digest = hash.finalize();
    for _ in 1..ROUNDS {
        digest = Sha256::digest(digest);
    }
    let list = Language::English.word_list();
    std::array::from_fn(|n| {
        let bits = (0..11).map(|bit| n * 11 + bit);
        let index = bits.fold(0usize, |index, at| {
            let byte = digest.get(at / 8).copied().unwrap_or(0);
            index << 1 | usize::from(byte >> (7 - at % 8) & 1)
        });
        list.get(index).copied().unwrap_or("")
    })
}

/// Whoever shows two friends two different rooms, and may draw the keys in both, finds equal words after about 2^28
/// draws. Each of them costs this much.
const ROUNDS: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_depend_on_the_set_and_the_room_and_on_no_order() {
        let [a, b, c] = [PublicKey([1; 32]), PublicKey([2; 32]), PublicKey([3; 32])];
        let said = words(&[7; 16], vec![a, b]);
        assert_eq!(said, words(&[7; 16], vec![b, a]));
        assert_ne!(said, words(&[8; 16], vec![a, b]));
        assert_ne!(said, words(&[7; 16], vec![a, c]));
        assert_ne!(said, words(&[7; 16], vec![a, b, c]));
        assert!(said.iter().all(|word| Language::English.find_word(word).is_some()));
    }
}
