//! Admission by a short code: CPace (draft-irtf-cfrg-cpace-21, ristretto255 with SHA-512, initiator and responder)
//! together with ML-KEM-768 (FIPS 203), then a confirmation each way. A party learns one guess a run, or nothing.
//!
//! ```text
//! A1 = ver_min, ver_max, nonce_a 16, Ya 32, ek 1184      B1 = ver, Yb 32, ct 1088
//! A2 = tag_a 32, SEAL(joiner record)                     B2 = tag_b 32, SEAL(welcome)
//! ```

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use rand_core::RngCore;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::aead::Aead;
use super::keys::{Rng, Secret, hmac, kdf, same};

/// What both sides know of this admission before it starts, through the server; a lie in it makes the run fail.
pub struct Context<'a> {
    pub nameplate: &'a [u8],
    pub room_nonce: [u8; 16],
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// Not a message of this protocol, or one that was changed on its way.
    #[error("the admission message is malformed")]
    Malformed,
    /// The versions the other side named, none of which we speak. Not authenticated: it ends the run, no more.
    #[error("the other side speaks protocol versions {min} to {max}")]
    Version { min: u8, max: u8 },
    /// The confirmation is not the one our code gives: another code, or somebody in between.
    #[error("the code is wrong")]
    WrongCode,
}

/// The joiner after A1.
pub struct Joiner {
    a1: Vec<u8>,
    sid: [u8; 32],
    share: Share,
    kem: Box<DecapsulationKey>,
}

impl Joiner {
    /// Starts one try with the code's secret; returns A1.
    pub fn start(prs: &[u8], ctx: &Context, rng: &mut Rng) -> (Joiner, Vec<u8>) {
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let sid = session(&nonce, ctx);
        let share = Share::new(prs, ctx, &sid, rng);
        let kem = Box::new(kem_key(&Secret::random(rng)));
        let ek = kem.encapsulation_key().to_bytes();
        let a1 = [&[VERSION, VERSION][..], &nonce, &share.public, &ek].concat();
        (Joiner { a1: a1.clone(), sid, share, kem }, a1)
    }

    /// Reads B1.
    pub fn read(self, b1: &[u8]) -> Result<JoinerKeys, Refused> {
        let &ver = b1.first().ok_or(Refused::Malformed)?;
        if ver != VERSION {
            return Err(Refused::Version { min: ver, max: ver });
        }
        let b = B1::parse(b1).ok_or(Refused::Malformed)?;
        let a = A1::parse(&self.a1).ok_or(Refused::Malformed)?;
        let ss = Secret::new(self.kem.decapsulate(&Ciphertext::from(*b.ct)).into());
        let k = self.share.shared(b.share).ok_or(Refused::Malformed)?;
        let isk = isk(&self.sid, &k, (&self.share.public, &a.ad()), (b.share, &b.ad()));
        Ok(JoinerKeys(Keys::derive(&isk, &ss, &self.a1, b1)))
    }
}

/// The joiner after B1: it does not know yet whether the door has the same code.
pub struct JoinerKeys(Keys);

impl JoinerKeys {
    pub fn transcript(&self) -> Transcript {
        self.0.transcript
    }

    /// A2, which proves the code and carries the joiner's record. Sealing uses the keys up: their nonce is fixed.
    pub fn seal(self, record: &[u8]) -> (Knock, Vec<u8>) {
        let a2 = self.0.joiner.seal(record);
        (Knock(self.0.door), a2)
    }
}

/// The joiner after A2.
pub struct Knock(Half);

impl Knock {
    /// Reads B2; the welcome within holds the room's secret.
    pub fn open(self, b2: &[u8]) -> Result<Vec<u8>, Refused> {
        self.0.open(b2)
    }
}

/// The doorkeeper's answer to A1: B1, from which nobody learns whether a guess was right.
pub fn answer(prs: &[u8], ctx: &Context, a1: &[u8], rng: &mut Rng) -> Result<(DoorKeys, Vec<u8>), Refused> {
    let &[min, max, ..] = a1 else { return Err(Refused::Malformed) };
    if min > max {
        return Err(Refused::Malformed);
    }
    if !(min..=max).contains(&VERSION) {
        return Err(Refused::Version { min, max });
    }
    let a = A1::parse(a1).ok_or(Refused::Malformed)?;
    let ek = EncapsulationKey::new(&(*a.ek).into()).map_err(|_| Refused::Malformed)?;
    let sid = session(a.nonce, ctx);
    let share = Share::new(prs, ctx, &sid, rng);
    let k = share.shared(a.share).ok_or(Refused::Malformed)?;

    let (ct, ss) = ek.encapsulate_deterministic(&(*Secret::<32>::random(rng).as_bytes()).into());
    let ss = Secret::new(ss.into());
    let b1 = [&[VERSION][..], &share.public, &ct].concat();
    let b = B1::parse(&b1).ok_or(Refused::Malformed)?;
    let isk = isk(&sid, &k, (a.share, &a.ad()), (&share.public, &b.ad()));
    Ok((DoorKeys(Keys::derive(&isk, &ss, a1, &b1)), b1))
}

/// The doorkeeper after B1. It has nothing to send until A2 proved the code.
pub struct DoorKeys(Keys);

impl DoorKeys {
    pub fn transcript(&self) -> Transcript {
        self.0.transcript
    }

    /// Reads A2: one try, right or wrong. A wrong code counts against the code's budget.
    pub fn open(self, a2: &[u8]) -> Result<(Admitted, Vec<u8>), Refused> {
        let record = self.0.joiner.open(a2)?;
        Ok((Admitted(self.0.door), record))
    }
}

/// The doorkeeper once the joiner proved the code.
pub struct Admitted(Half);

impl Admitted {
    /// B2, which proves the code in turn and carries the welcome.
    pub fn seal(self, welcome: &[u8]) -> Vec<u8> {
        self.0.seal(welcome)
    }
}

/// What the two sides say to each other after B1.
struct Keys {
    joiner: Half,
    door: Half,
    transcript: Transcript,
}

/// SHA-256 of A1 and B1: this one admission and no other.
pub type Transcript = [u8; 32];

impl Keys {
    fn derive(isk: &Secret<64>, ss: &Secret<32>, a1: &[u8], b1: &[u8]) -> Self {
        let prk = Zeroizing::new([&isk.as_bytes()[..], ss.as_bytes()].concat());
        let transcript: Transcript = Sha256::new().chain_update(a1).chain_update(b1).finalize().into();
        let keys = kdf::<128>(&prk, "admit", &transcript);
        let key = |n: usize| {
            let mut key = [0; 32];
            key.copy_from_slice(&keys.as_bytes()[n * 32..][..32]);
            let secret = Secret::new(key);
            key.zeroize();
            secret
        };
        let half = |confirm: usize, seal: usize| Half {
            tag: hmac(key(confirm).as_bytes(), &[a1, b1]),
            seal: Aead::new(&key(seal)),
        };
        Self { joiner: half(0, 2), door: half(1, 3), transcript }
    }
}

/// One direction: the confirmation tag, and the key of the one message under it. The tag is checked first, since the
/// AEAD does not commit to its key: one ciphertext could test many codes (partitioning oracles, USENIX Security 2021).
struct Half {
    tag: [u8; CONFIRM],
    seal: Aead,
}

impl Half {
    fn seal(self, plain: &[u8]) -> Vec<u8> {
        let mut message = [&self.tag[..], plain].concat();
        self.seal.seal(0, &mut message, CONFIRM);
        message
    }

    fn open(self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        let (tag, _) = message.split_first_chunk::<CONFIRM>().ok_or(Refused::Malformed)?;
        if !same(tag, &self.tag) {
            return Err(Refused::WrongCode);
        }
        let mut message = message.to_vec();
        Ok(self.seal.open(0, &mut message, CONFIRM).ok_or(Refused::Malformed)?.to_vec())
    }
}

struct A1<'a> {
    versions: &'a [u8; 2],
    nonce: &'a [u8; 16],
    share: &'a [u8; 32],
    ek: &'a [u8; 1184],
}

impl<'a> A1<'a> {
    fn parse(a1: &'a [u8]) -> Option<Self> {
        let (versions, rest) = a1.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (share, ek) = rest.split_first_chunk()?;
        Some(Self { versions, nonce, share, ek: ek.try_into().ok()? })
    }

    fn ad(&self) -> Vec<u8> {
        [&self.versions[..], self.ek].concat()
    }
}

struct B1<'a> {
    ver: u8,
    share: &'a [u8; 32],
    ct: &'a [u8; 1088],
}

impl<'a> B1<'a> {
    fn parse(b1: &'a [u8]) -> Option<Self> {
        let (&ver, rest) = b1.split_first()?;
        let (share, ct) = rest.split_first_chunk()?;
        Some(Self { ver, share, ct: ct.try_into().ok()? })
    }

    fn ad(&self) -> Vec<u8> {
        [&[self.ver][..], self.ct].concat()
    }
}

/// One side's part in CPace: a secret scalar and its public multiple of the generator the code gives.
struct Share {
    scalar: Secret<32>,
    public: [u8; 32],
}

impl Share {
    fn new(prs: &[u8], ctx: &Context, sid: &[u8], rng: &mut Rng) -> Self {
        // 64 bytes reduced: uniform to within 2^-250, as the draft asks.
        let scalar = Zeroizing::new(Scalar::from_bytes_mod_order_wide(Secret::random(rng).as_bytes()));
        Self::with(&scalar, &generator(prs, &channel(ctx), sid))
    }

    fn with(scalar: &Scalar, generator: &RistrettoPoint) -> Self {
        Self { scalar: Secret::new(scalar.to_bytes()), public: (scalar * generator).compress().to_bytes() }
    }

    /// K, unless the peer's share is no encoding or K is the identity. K never leaves this file.
    fn shared(&self, peer: &[u8; 32]) -> Option<Secret<32>> {
        let point = CompressedRistretto(*peer).decompress()?;
        let scalar = Zeroizing::new(Scalar::from_bytes_mod_order(*self.scalar.as_bytes()));
        let k = (*scalar * point).compress();
        let identity: bool = k.ct_eq(&CompressedRistretto::identity()).into();
        (!identity).then(|| Secret::new(k.to_bytes()))
    }
}

/// CI: the roles, and the nameplate between two fixed strings, so that it has one reading only.
fn channel(ctx: &Context) -> Vec<u8> {
    [b"vc1 admit", ctx.nameplate, b"\0A=joiner,B=door"].concat()
}

/// sid: a part from the joiner and a part from the room.
fn session(nonce: &[u8; 16], ctx: &Context) -> [u8; 32] {
    let mut sid = [0; 32];
    sid[..16].copy_from_slice(nonce);
    sid[16..].copy_from_slice(&ctx.room_nonce);
    sid
}

/// calculate_generator of the draft. The zero padding fills the first hash block with the secret, so that the time of
/// the rest does not depend on it.
fn generator(prs: &[u8], ci: &[u8], sid: &[u8]) -> RistrettoPoint {
    let mut head = Zeroizing::new(Vec::with_capacity(2 * SHA512_BLOCK + prs.len()));
    lv(&mut head, DSI);
    lv(&mut head, prs);
    let pad = (SHA512_BLOCK - 1).saturating_sub(head.len());
    lv(&mut head, &[0; SHA512_BLOCK][..pad]);
    let mut tail = Vec::new();
    lv(&mut tail, ci);
    lv(&mut tail, sid);
    let hash = Sha512::new().chain_update(head.as_slice()).chain_update(&tail).finalize();
    RistrettoPoint::from_uniform_bytes(&hash.into())
}

/// The intermediate session key over the draft's initiator-responder transcript.
fn isk(sid: &[u8], k: &Secret<32>, a: (&[u8; 32], &[u8]), b: (&[u8; 32], &[u8])) -> Secret<64> {
    let mut input = Zeroizing::new(Vec::with_capacity(4096));
    for part in [DSI_ISK, sid, k.as_bytes(), a.0, a.1, b.0, b.1] {
        lv(&mut input, part);
    }
    Secret::new(Sha512::digest(input.as_slice()).into())
}

/// Appends a part with its length before it (LEB128), so that no two lists of parts read the same.
fn lv(out: &mut Vec<u8>, part: &[u8]) {
    let mut len = part.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(part);
}

fn kem_key(seed: &Secret<64>) -> DecapsulationKey {
    DecapsulationKey::from_seed((*seed.as_bytes()).into())
}

/// The only version there is, and with it the only suite.
const VERSION: u8 = 1;
const DSI: &[u8] = b"CPaceRistretto255";
const DSI_ISK: &[u8] = b"CPaceRistretto255_ISK";
const SHA512_BLOCK: usize = 128;
/// All of HMAC-SHA256: a confirmation is sent once a run, so there is nothing to gain by cutting it.
const CONFIRM: usize = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::crypto::vectors::read;
    use proptest::prelude::{any, prop, prop_assert, proptest};
    use rand_core::SeedableRng;

    const PRS: &[u8] = b"tiger-lamp-ocean";
    const CTX: Context = Context { nameplate: b"48213", room_nonce: [5; 16] };

    fn rng(seed: u8) -> Rng {
        Rng::from_seed([seed; 32])
    }

    fn scalar(bytes: &[u8]) -> Scalar {
        Scalar::from_canonical_bytes(bytes.try_into().unwrap()).unwrap()
    }

    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().unwrap()
    }

    /// What each side ends up with, where `spoil` may change message 0 to 3 (A1, B1, A2, B2) on its way.
    fn run(
        joiner_prs: &[u8],
        door_prs: &[u8],
        spoil: impl Fn(usize, &mut Vec<u8>),
    ) -> Result<(Vec<u8>, Vec<u8>), Refused> {
        let carry = |n, mut message| {
            spoil(n, &mut message);
            message
        };
        let (joiner, a1) = Joiner::start(joiner_prs, &CTX, &mut rng(1));
        let (door, b1) = answer(door_prs, &CTX, &carry(0, a1), &mut rng(2))?;
        let (knock, a2) = joiner.read(&carry(1, b1))?.seal(b"record");
        let (admitted, record) = door.open(&carry(2, a2))?;
        let welcome = knock.open(&carry(3, admitted.seal(b"welcome")))?;
        Ok((record, welcome))
    }

    #[test]
    fn the_draft_vectors_hold() {
        let v = read(include_str!("../../tests/vectors/cpace.txt"));
        let g = generator(&v["prs"], &v["ci"], &v["sid"]);
        assert_eq!(g.compress().as_bytes()[..], v["generator"]);

        let a = Share::with(&scalar(&v["ya"]), &g);
        let b = Share::with(&scalar(&v["yb"]), &g);
        assert_eq!((&a.public[..], &b.public[..]), (&v["Ya"][..], &v["Yb"][..]));

        for k in [a.shared(&b.public).unwrap(), b.shared(&a.public).unwrap()] {
            assert_eq!(k.as_bytes()[..], v["k"]);
            let isk = isk(&v["sid"], &k, (&a.public, &v["ada"]), (&b.public, &v["adb"]));
            assert_eq!(isk.as_bytes()[..], v["isk"]);
        }
    }

    #[test]
    fn the_drafts_valid_point_multiplies_and_its_invalid_ones_are_refused() {
        let v = read(include_str!("../../tests/vectors/cpace.txt"));
        let share = Share { scalar: Secret::new(array(&v["valid_s"])), public: [0; 32] };
        assert_eq!(share.shared(&array(&v["valid_x"])).unwrap().as_bytes()[..], v["valid_product"]);
        assert!(share.shared(&array(&v["invalid_y1"])).is_none());
        assert!(share.shared(&array(&v["invalid_y2"])).is_none());
    }

    #[test]
    fn the_wycheproof_keys_and_ciphertexts_hold() {
        let v = read(include_str!("../../tests/vectors/mlkem768.txt"));
        let key = kem_key(&Secret::new(array(&v["seed"])));
        assert_eq!(key.encapsulation_key().to_bytes()[..], v["ek"]);
        let shared = key.decapsulate(&Ciphertext::from(array::<1088>(&v["c"])));
        assert_eq!(shared[..], v["k"]);

        let key = EncapsulationKey::new(&array::<1184>(&v["encaps_ek"]).into()).unwrap();
        let (ct, shared) = key.encapsulate_deterministic(&array::<32>(&v["encaps_m"]).into());
        assert_eq!((&ct[..], &shared[..]), (&v["encaps_c"][..], &v["encaps_k"][..]));
    }

    #[test]
    fn an_encapsulation_key_with_a_coefficient_above_the_modulus_is_refused() {
        let (_, mut a1) = Joiner::start(PRS, &CTX, &mut rng(1));
        a1[50..53].fill(0xff);
        assert_eq!(answer(PRS, &CTX, &a1, &mut rng(2)).err(), Some(Refused::Malformed));
    }

    #[test]
    fn one_code_opens_the_door_and_both_messages_arrive() {
        assert!(run(PRS, PRS, |_, _| ()) == Ok((b"record".to_vec(), b"welcome".to_vec())));
    }

    #[test]
    fn another_code_is_refused_by_the_door_and_by_the_joiner() {
        assert_eq!(run(b"tiger-lamp-oceans", PRS, |_, _| ()), Err(Refused::WrongCode));

        let (joiner, a1) = Joiner::start(b"guess", &CTX, &mut rng(1));
        let (door, b1) = answer(PRS, &CTX, &a1, &mut rng(2)).unwrap();
        let (knock, _) = joiner.read(&b1).unwrap().seal(b"");
        let eager = Admitted(door.0.door).seal(b"sent without a proof");
        assert_eq!(knock.open(&eager), Err(Refused::WrongCode));
    }

    #[test]
    fn another_nameplate_or_room_is_another_code() {
        for other in [
            Context { nameplate: b"48214", ..CTX },
            Context { nameplate: b"48213\0A=joiner,B=door", ..CTX },
            Context { room_nonce: [6; 16], ..CTX },
        ] {
            let (joiner, a1) = Joiner::start(PRS, &other, &mut rng(1));
            let (door, b1) = answer(PRS, &CTX, &a1, &mut rng(2)).unwrap();
            let (_, a2) = joiner.read(&b1).unwrap().seal(b"");
            assert_eq!(door.open(&a2).err(), Some(Refused::WrongCode));
        }
    }

    #[test]
    fn the_identity_is_refused_by_both() {
        let identity = |at: usize| move |message: &mut Vec<u8>| message[at..at + 32].fill(0);
        let spoil = |n: usize, at: usize| {
            let zero = identity(at);
            move |i, message: &mut Vec<u8>| {
                if i == n {
                    zero(message)
                }
            }
        };
        assert_eq!(run(PRS, PRS, spoil(0, 18)), Err(Refused::Malformed));
        assert_eq!(run(PRS, PRS, spoil(1, 1)), Err(Refused::Malformed));
    }

    #[test]
    fn versions_without_ours_are_named() {
        let version = |n: usize, bytes: &'static [u8]| {
            move |i, message: &mut Vec<u8>| {
                if i == n {
                    message[..bytes.len()].copy_from_slice(bytes)
                }
            }
        };
        assert_eq!(run(PRS, PRS, version(0, &[2, 9])), Err(Refused::Version { min: 2, max: 9 }));
        assert_eq!(run(PRS, PRS, version(0, &[0, 0])), Err(Refused::Version { min: 0, max: 0 }));
        assert_eq!(run(PRS, PRS, version(0, &[2, 1])), Err(Refused::Malformed));
        assert_eq!(run(PRS, PRS, version(1, &[2])), Err(Refused::Version { min: 2, max: 2 }));
    }

    #[test]
    fn a_range_widened_on_its_way_does_not_confirm() {
        let widen = |n, message: &mut Vec<u8>| {
            if n == 0 {
                message[1] = 7
            }
        };
        assert_eq!(run(PRS, PRS, widen), Err(Refused::WrongCode));
    }

    #[test]
    fn every_other_length_is_refused() {
        for (n, len) in [(0, 1_234), (1, 1_121), (2, 32 + 6 + 16), (3, 32 + 7 + 16)] {
            for wrong in [0, 1, len - 1, len + 1] {
                let resize = |i, message: &mut Vec<u8>| {
                    if i == n {
                        assert_eq!(message.len(), len);
                        message.resize(wrong, 0);
                    }
                };
                assert_eq!(run(PRS, PRS, resize), Err(Refused::Malformed), "message {n} of {wrong}");
            }
        }
    }

    #[test]
    fn the_same_seeds_give_the_same_bytes() {
        let messages = || {
            let (joiner, a1) = Joiner::start(PRS, &CTX, &mut rng(1));
            let (door, b1) = answer(PRS, &CTX, &a1, &mut rng(2)).unwrap();
            let (_, a2) = joiner.read(&b1).unwrap().seal(b"record");
            (a1, b1, door.open(&a2).unwrap().0.seal(b"welcome"), a2)
        };
        assert!(messages() == messages());
    }

    #[test]
    fn lengths_of_128_and_more_take_two_bytes() {
        let mut out = Vec::new();
        lv(&mut out, &[7; 128]);
        assert_eq!(out[..3], [0x80, 0x01, 7]);
        assert_eq!(out.len(), 130);
    }

    proptest! {
        #[test]
        fn no_flipped_bit_in_any_message_passes(n in 0usize..4, at in any::<prop::sample::Index>(), bit in 0u32..8) {
            let flip = |i, message: &mut Vec<u8>| {
                if i == n {
                    let at = at.index(message.len());
                    message[at] ^= 1 << bit;
                }
            };
            prop_assert!(run(PRS, PRS, flip).is_err());
        }

        #[test]
        fn junk_is_refused_without_a_panic(junk in prop::collection::vec(any::<u8>(), 0..1_300), fit in any::<bool>()) {
            let mut a1 = junk;
            if fit {
                a1.resize(1_234, 0);
                a1[..2].copy_from_slice(&[1, 1]);
            }
            let _ = answer(PRS, &CTX, &a1, &mut rng(2));
            let (joiner, _) = Joiner::start(PRS, &CTX, &mut rng(1));
            a1.truncate(1_121);
            if let Ok(keys) = joiner.read(&a1) {
                prop_assert!(keys.seal(b"").0.open(&a1).is_err());
            }
        }
    }
}
