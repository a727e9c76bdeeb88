//! FALCON as submitted in round 3, with signatures padded to a fixed length: what its degrees share
//! ([`Degree`]), and FALCON-1024.
//!
//! FIPS 206 is not published; a key or signature of ours carries an algorithm id outside these
//! bytes, so that the final scheme can join beside this one.

use std::sync::{Mutex, PoisonError};

use fn_dsa::{
    sign_key_size, signature_size, vrfy_key_size, KeyPairGenerator, KeyPairGenerator1024,
    SigningKey, SigningKey1024, VerifyingKey, VerifyingKey1024, DOMAIN_NONE, FN_DSA_LOGN_1024,
    HASH_ID_ORIGINAL_FALCON,
};
use zeroize::Zeroizing;

use crate::{entropy, Error};

pub const PUBLIC_BYTES: usize = vrfy_key_size(FN_DSA_LOGN_1024);
pub const SECRET_BYTES: usize = sign_key_size(FN_DSA_LOGN_1024);
pub const SIGNATURE_BYTES: usize = signature_size(FN_DSA_LOGN_1024);

/// What the schemes of the family differ in.
pub trait Degree {
    /// The binary logarithm of the degree.
    const LOGN: u32;
    const NAME: &'static str;
    type Generator: KeyPairGenerator;
    type Signing: SigningKey;
    type Verifying: VerifyingKey;
}

/// FALCON-1024: the degree of identities.
pub struct Falcon1024;

impl Degree for Falcon1024 {
    const LOGN: u32 = FN_DSA_LOGN_1024;
    const NAME: &'static str = "FALCON-1024";
    type Generator = KeyPairGenerator1024;
    type Signing = SigningKey1024;
    type Verifying = VerifyingKey1024;
}

/// A signing key of FALCON-1024.
pub type SecretKey = Key<Falcon1024, PUBLIC_BYTES, SIGNATURE_BYTES>;

/// A signing key, whose public key and signatures have `PUBLIC` and `SIGNATURE` bytes. Wiped when
/// dropped.
pub struct Key<D: Degree, const PUBLIC: usize, const SIGNATURE: usize> {
    encoded: Zeroizing<Vec<u8>>,
    public: [u8; PUBLIC],
    /// Expanded once instead of for each signature. It holds the scratch space of signing as well,
    /// hence the lock; a key signs one message at a time.
    expanded: Mutex<Box<D::Signing>>,
}

impl<D: Degree, const PUBLIC: usize, const SIGNATURE: usize> Key<D, PUBLIC, SIGNATURE> {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Backend`] without random bytes.
    pub fn generate() -> Result<Self, Error> {
        let mut encoded = Zeroizing::new(vec![0u8; sign_key_size(D::LOGN)]);
        let mut public = [0u8; PUBLIC];
        let mut source = entropy::Source::default();
        Box::<D::Generator>::default().keygen(D::LOGN, &mut source, &mut encoded, &mut public);
        source.finish()?;
        Self::from_bytes(&encoded)
    }

    /// The key that [`Key::as_bytes`] encodes; the public key follows from it.
    ///
    /// # Errors
    /// [`Error::Input`] where `encoded` is not a signing key of this degree.
    pub fn from_bytes(encoded: &[u8]) -> Result<Self, Error> {
        let expanded = D::Signing::decode(encoded)
            .map(Box::new)
            .ok_or_else(|| Error::Input(format!("these bytes are no {} signing key", D::NAME)))?;
        let mut public = [0u8; PUBLIC];
        expanded.to_verifying_key(&mut public);
        Ok(Self {
            encoded: Zeroizing::new(encoded.to_vec()),
            public,
            expanded: Mutex::new(expanded),
        })
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    #[must_use]
    pub fn public(&self) -> &[u8; PUBLIC] {
        &self.public
    }

    /// A signature; another one each time, because FALCON is randomised.
    ///
    /// # Errors
    /// [`Error::Backend`] without random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE], Error> {
        let mut signature = [0u8; SIGNATURE];
        let mut source = entropy::Source::default();
        // A panic elsewhere cannot leave the key half made: signing changes scratch space only.
        self.expanded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sign(
                &mut source,
                &DOMAIN_NONE,
                &HASH_ID_ORIGINAL_FALCON,
                message,
                &mut signature,
            );
        source.finish()?;
        Ok(signature)
    }
}

/// Whether `signature` over `message` holds under `public`. Bytes of any length may be given; what
/// does not decode does not hold.
#[must_use]
pub fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    verify_as::<Falcon1024>(public, message, signature)
}

/// [`verify`] for one of the degrees.
#[must_use]
pub fn verify_as<D: Degree>(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    D::Verifying::decode(public)
        .is_some_and(|key| key.verify(signature, &DOMAIN_NONE, &HASH_ID_ORIGINAL_FALCON, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies() {
        let key = SecretKey::generate().unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(verify(key.public(), b"message", &signature));
        assert!(!verify(key.public(), b"massage", &signature));
        assert_ne!(signature, key.sign(b"message").unwrap());
    }

    #[test]
    fn restores_from_its_encoding() {
        let key = SecretKey::generate().unwrap();
        let again = SecretKey::from_bytes(key.as_bytes()).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(verify(key.public(), b"m", &again.sign(b"m").unwrap()));
    }

    #[test]
    fn refuses_bytes_of_any_length() {
        for length in [0, 1, SECRET_BYTES - 1, SECRET_BYTES, SECRET_BYTES + 1] {
            assert!(SecretKey::from_bytes(&vec![0u8; length]).is_err());
            assert!(!verify(&vec![0u8; length], b"", &vec![0u8; length]));
        }
    }

    /// What signing draws from: four SHAKE256 (FIPS 202) over the seed and their number, word by
    /// word in turn. The words are another implementation's (Python's `hashlib`), of the first and
    /// second permutation.
    #[test]
    fn four_lanes_are_four_hashes() {
        const PLACES: [usize; 5] = [0, 1, 16, 17, 19];
        const LANES: [[u64; 5]; 4] = [
            [
                0x21d2_4fdd_546a_2682,
                0xcc78_3c46_c74b_13f9,
                0x6aa6_a5cf_fe45_766b,
                0xb144_c636_a715_e37a,
                0x5ed7_425e_73e8_9bbe,
            ],
            [
                0xd808_1f66_854e_f327,
                0xe145_6343_99af_2f7b,
                0x8b6c_efdf_9bbb_4f6d,
                0xaf9a_4ac1_c51c_0933,
                0x0b87_ebe8_7b22_dfc3,
            ],
            [
                0x7950_956c_1d2c_60e4,
                0xa205_f41e_4762_e22d,
                0x3386_b939_5ec0_fafc,
                0x0fb2_41c8_ac85_b7b8,
                0x8c78_23cf_b0fa_008b,
            ],
            [
                0x6360_d975_f289_4694,
                0x97bb_c4fe_4279_8c1c,
                0xdc13_96d0_4d7d_2566,
                0x3f33_48b5_cceb_2e18,
                0x5a0f_e7b6_f8ca_0412,
            ],
        ];
        let mut drawn = fn_dsa_comm::shake::SHAKE256x4::new(b"HyperMesh");
        let words: Vec<u64> = (0..80).map(|_| drawn.next_u64()).collect();
        for (lane, known) in LANES.iter().enumerate() {
            let words = PLACES.map(|place| words[4 * place + lane]);
            assert_eq!(&words, known);
        }
    }

    #[test]
    fn has_the_sizes_of_round_three() {
        assert_eq!(
            (SECRET_BYTES, PUBLIC_BYTES, SIGNATURE_BYTES),
            (2305, 1793, 1280)
        );
    }
}
