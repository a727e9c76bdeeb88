//! Envelopes: bytes that only the holder of an ML-KEM-1024 key can read (FIPS 203, SP 800-38D).
//!
//! ```text
//! secret, kem = ML-KEM-1024.Encaps(public)                         32 bytes, 1568 bytes
//! key || nonce = BLAKE3 derive_key "hypermesh/v1/envelope" over secret || kem     32 + 12 bytes
//! ciphertext = AES-256-GCM(key, nonce, plaintext, associated data)      plaintext + 16 bytes
//! ```
//!
//! The nonce is derived, not drawn: each encapsulation gives a fresh secret, so its key encrypts
//! one message only, and a nonce cannot repeat under it. A drawn nonce would come from the same
//! generator as the encapsulation and add 12 bytes but no safety.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM, NONCE_LEN};
use aws_lc_rs::digest::{digest, SHA3_256};
use aws_lc_rs::kem::{self, EncapsulationKey, ML_KEM_1024};
use zeroize::Zeroizing;

use crate::digest::Context;
use crate::Error;

pub const PUBLIC_BYTES: usize = 1568;
pub const SECRET_BYTES: usize = 3168;
pub const KEM_BYTES: usize = 1568;
/// How much longer than its plaintext a ciphertext is.
pub const TAG_BYTES: usize = 16;

const AEAD_KEY_BYTES: usize = 32;

// FIPS 203 section 7.1: dk = dk_pke || ek || H(ek) || z.
const PUBLIC_AT: usize = 1536;
const HASH_AT: usize = PUBLIC_AT + PUBLIC_BYTES;
const REJECTION_AT: usize = HASH_AT + 32;

const FAILED: Error = Error::Backend("aws-lc refused an ML-KEM or AES-GCM operation");

/// A sealed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub kem: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// An ML-KEM-1024 decapsulation key. Wiped when dropped.
pub struct SecretKey {
    encoded: Zeroizing<Vec<u8>>,
    key: kem::DecapsulationKey,
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Backend`] without random bytes.
    pub fn generate() -> Result<Self, Error> {
        let key = kem::DecapsulationKey::generate(&ML_KEM_1024).map_err(|_| FAILED)?;
        let encoded = Zeroizing::new(key.key_bytes().map_err(|_| FAILED)?.as_ref().to_vec());
        Self::from_bytes(&encoded)
    }

    /// The key in the encoding of FIPS 203 (3168 bytes), after the hash check of its section 7.3.
    ///
    /// # Errors
    /// [`Error::Input`] where `encoded` is not such a key.
    pub fn from_bytes(encoded: &[u8]) -> Result<Self, Error> {
        let refused = || Error::Input("these bytes are no ML-KEM-1024 decapsulation key".into());
        if encoded.len() != SECRET_BYTES
            || digest(&SHA3_256, &encoded[PUBLIC_AT..HASH_AT]).as_ref()
                != &encoded[HASH_AT..REJECTION_AT]
        {
            return Err(refused());
        }
        let key = kem::DecapsulationKey::new(&ML_KEM_1024, encoded).map_err(|_| refused())?;
        Ok(Self {
            encoded: Zeroizing::new(encoded.to_vec()),
            key,
        })
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The encapsulation key, which is part of the secret key's encoding.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.encoded[PUBLIC_AT..HASH_AT]
    }

    /// The plaintext of an envelope that was sealed for this key with the same `associated` data.
    ///
    /// # Errors
    /// [`Error::Envelope`] for anything else. ML-KEM answers a wrong encapsulation with a random
    /// secret, so the AEAD is what refuses, and it cannot say why.
    pub fn open(
        &self,
        kem: &[u8],
        ciphertext: &[u8],
        associated: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        if kem.len() != KEM_BYTES || ciphertext.len() < TAG_BYTES {
            return Err(Error::Envelope);
        }
        let secret = self
            .key
            .decapsulate(kem.into())
            .map_err(|_| Error::Envelope)?;
        let (key, nonce) = schedule(secret.as_ref(), kem)?;
        let mut plaintext = Zeroizing::new(ciphertext.to_vec());
        let length = key
            .open_in_place(nonce, Aad::from(associated), &mut plaintext)
            .map_err(|_| Error::Envelope)?
            .len();
        plaintext.truncate(length);
        Ok(plaintext)
    }
}

/// An envelope for the holder of `public`. `associated` is bound, not carried.
///
/// # Errors
/// [`Error::Input`] where `public` is not an ML-KEM-1024 encapsulation key; [`Error::Backend`]
/// without random bytes.
pub fn seal(public: &[u8], plaintext: &[u8], associated: &[u8]) -> Result<Envelope, Error> {
    let refused = || Error::Input("these bytes are no ML-KEM-1024 encapsulation key".into());
    let public = EncapsulationKey::new(&ML_KEM_1024, public).map_err(|_| refused())?;
    // The modulus check of FIPS 203 section 7.2 happens here.
    let (kem, secret) = public.encapsulate().map_err(|_| refused())?;
    let (key, nonce) = schedule(secret.as_ref(), kem.as_ref())?;
    let mut ciphertext = Vec::with_capacity(plaintext.len() + TAG_BYTES);
    ciphertext.extend_from_slice(plaintext);
    key.seal_in_place_append_tag(nonce, Aad::from(associated), &mut ciphertext)
        .map_err(|_| FAILED)?;
    Ok(Envelope {
        kem: kem.as_ref().to_vec(),
        ciphertext,
    })
}

/// The one-time key and nonce that belong to one encapsulation.
fn schedule(secret: &[u8], kem: &[u8]) -> Result<(LessSafeKey, Nonce), Error> {
    let mut material = Zeroizing::new([0u8; AEAD_KEY_BYTES + NONCE_LEN]);
    Context::constant("envelope").derive(&[secret, kem], material.as_mut_slice());
    let (key, nonce) = material.split_at(AEAD_KEY_BYTES);
    Ok((
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| FAILED)?),
        Nonce::try_assume_unique_for_key(nonce).map_err(|_| FAILED)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_was_sealed() {
        let key = SecretKey::generate().unwrap();
        for plaintext in [&b""[..], b"x", &[5; 100_000]] {
            let envelope = seal(key.public(), plaintext, b"for you").unwrap();
            assert_eq!(envelope.ciphertext.len(), plaintext.len() + TAG_BYTES);
            let opened = key
                .open(&envelope.kem, &envelope.ciphertext, b"for you")
                .unwrap();
            assert_eq!(opened.as_slice(), plaintext);
        }
    }

    #[test]
    fn refuses_every_alteration() {
        let key = SecretKey::generate().unwrap();
        let Envelope { kem, ciphertext } = seal(key.public(), b"text", b"aad").unwrap();
        let flipped = |bytes: &[u8], at: usize| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 1;
            bytes
        };
        let other = SecretKey::generate().unwrap();
        let attempts = [
            other.open(&kem, &ciphertext, b"aad"),
            key.open(&kem, &ciphertext, b"add"),
            key.open(&flipped(&kem, 1500), &ciphertext, b"aad"),
            key.open(&kem, &flipped(&ciphertext, 0), b"aad"),
            key.open(&kem, &flipped(&ciphertext, 19), b"aad"),
            key.open(&kem, &ciphertext[..15], b"aad"),
            key.open(&kem[1..], &ciphertext, b"aad"),
        ];
        assert!(attempts
            .iter()
            .all(|attempt| *attempt == Err(Error::Envelope)));
    }

    #[test]
    fn keys_restore_and_damaged_ones_do_not() {
        let key = SecretKey::generate().unwrap();
        let again = SecretKey::from_bytes(key.as_bytes()).unwrap();
        assert_eq!(again.public(), key.public());
        let mut damaged = key.as_bytes().to_vec();
        damaged[PUBLIC_AT] ^= 1;
        assert!(SecretKey::from_bytes(&damaged).is_err());
        assert!(SecretKey::from_bytes(&damaged[1..]).is_err());
        assert!(matches!(
            seal(&[0xff; PUBLIC_BYTES], b"", b""),
            Err(Error::Input(_))
        ));
        assert!(matches!(seal(&[0; 10], b"", b""), Err(Error::Input(_))));
    }
}
