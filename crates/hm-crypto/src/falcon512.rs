//! FALCON-512 as submitted in round 3, with signatures padded to a fixed length: for the experiment of
//! signing zones by it, and nothing else. Identities have FALCON-1024 ([`crate::falcon`]).

use std::sync::{Mutex, PoisonError};

use fn_dsa::{
    sign_key_size, signature_size, vrfy_key_size, KeyPairGenerator, KeyPairGenerator512,
    SigningKey, SigningKey512, VerifyingKey, VerifyingKey512, DOMAIN_NONE, FN_DSA_LOGN_512,
    HASH_ID_ORIGINAL_FALCON,
};
use zeroize::Zeroizing;

use crate::{entropy, Error};

pub const PUBLIC_BYTES: usize = vrfy_key_size(FN_DSA_LOGN_512);
pub const SECRET_BYTES: usize = sign_key_size(FN_DSA_LOGN_512);
pub const SIGNATURE_BYTES: usize = signature_size(FN_DSA_LOGN_512);

/// The encoding of a new signing key.
///
/// # Errors
/// [`Error::Backend`] without random bytes.
pub fn generate() -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut encoded = Zeroizing::new(vec![0u8; SECRET_BYTES]);
    let mut public = [0u8; PUBLIC_BYTES];
    let mut source = entropy::Source::default();
    Box::<KeyPairGenerator512>::default().keygen(
        FN_DSA_LOGN_512,
        &mut source,
        &mut encoded,
        &mut public,
    );
    source.finish()?;
    Ok(encoded)
}

/// A signing key.
pub struct SecretKey {
    public: [u8; PUBLIC_BYTES],
    expanded: Mutex<Box<SigningKey512>>,
}

impl SecretKey {
    /// The key that [`generate`] encodes.
    ///
    /// # Errors
    /// [`Error::Input`] where `encoded` is not a FALCON-512 signing key.
    pub fn from_bytes(encoded: &[u8]) -> Result<Self, Error> {
        let expanded = SigningKey512::decode(encoded)
            .map(Box::new)
            .ok_or_else(|| Error::Input("these bytes are no FALCON-512 signing key".into()))?;
        let mut public = [0u8; PUBLIC_BYTES];
        expanded.to_verifying_key(&mut public);
        Ok(Self {
            public,
            expanded: Mutex::new(expanded),
        })
    }

    #[must_use]
    pub fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// A signature; another one each time.
    ///
    /// # Errors
    /// [`Error::Backend`] without random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], Error> {
        let mut signature = [0u8; SIGNATURE_BYTES];
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
    VerifyingKey512::decode(public)
        .is_some_and(|key| key.verify(signature, &DOMAIN_NONE, &HASH_ID_ORIGINAL_FALCON, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies_and_no_byte_can_be_changed() {
        let key = SecretKey::from_bytes(&generate().unwrap()).unwrap();
        let mut signature = key.sign(b"message").unwrap();
        assert!(verify(key.public(), b"message", &signature));
        assert!(!verify(key.public(), b"massage", &signature));
        for position in 0..signature.len() {
            signature[position] ^= 1 << (position % 8);
            assert!(!verify(key.public(), b"message", &signature));
            signature[position] ^= 1 << (position % 8);
        }
    }

    #[test]
    fn refuses_bytes_of_any_length() {
        for length in [0, 1, SECRET_BYTES - 1, SECRET_BYTES, SECRET_BYTES + 1] {
            assert!(SecretKey::from_bytes(&vec![0u8; length]).is_err());
            assert!(!verify(&vec![0u8; length], b"", &vec![0u8; length]));
        }
    }
}
