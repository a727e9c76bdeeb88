//! Ed25519 (RFC 8032) through aws-lc.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, UnparsedPublicKey, ED25519};
use zeroize::Zeroizing;

use crate::{entropy, Error};

pub const PUBLIC_BYTES: usize = 32;
pub const SECRET_BYTES: usize = 32;
pub const SIGNATURE_BYTES: usize = 64;

const FAILED: Error = Error::Backend("aws-lc refused an Ed25519 operation");

/// A signing key. Wiped when dropped.
pub struct SecretKey {
    seed: Zeroizing<[u8; SECRET_BYTES]>,
    public: [u8; PUBLIC_BYTES],
    pair: Ed25519KeyPair,
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Backend`] without random bytes.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0u8; SECRET_BYTES]);
        entropy::fill(seed.as_mut_slice())?;
        Self::from_seed(seed)
    }

    /// The key of a 32-byte seed (RFC 8032 section 5.1.5); the public key follows from it.
    ///
    /// # Errors
    /// [`Error::Input`] where `seed` has another length.
    pub fn from_bytes(seed: &[u8]) -> Result<Self, Error> {
        let seed = seed
            .try_into()
            .map_err(|_| Error::Input("an Ed25519 seed has 32 bytes".into()))?;
        Self::from_seed(Zeroizing::new(seed))
    }

    fn from_seed(seed: Zeroizing<[u8; SECRET_BYTES]>) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| FAILED)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| FAILED)?;
        Ok(Self { seed, public, pair })
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.seed
    }

    #[must_use]
    pub fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// The key as PKCS#8 version 1 in DER (RFC 5208, RFC 8410), the form TLS libraries read.
    ///
    /// # Errors
    /// [`Error::Backend`] where aws-lc fails.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let document = self.pair.to_pkcs8v1().map_err(|_| FAILED)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The signature; always the same for the same message.
    ///
    /// # Errors
    /// [`Error::Backend`] where aws-lc fails.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], Error> {
        let signature = self.pair.try_sign(message).map_err(|_| FAILED)?;
        signature.as_ref().try_into().map_err(|_| FAILED)
    }
}

/// Whether `signature` over `message` holds under `public`. Bytes of any length may be given.
#[must_use]
pub fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message, signature)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn first_vector_of_rfc_8032() {
        let key = SecretKey::from_bytes(&bytes(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        ))
        .unwrap();
        assert_eq!(
            key.public().to_vec(),
            bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        );
        let signature = key.sign(b"").unwrap();
        assert_eq!(
            signature.to_vec(),
            bytes(concat!(
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ))
        );
        assert!(verify(key.public(), b"", &signature));
        assert!(!verify(key.public(), b"x", &signature));
    }

    #[test]
    fn refuses_bytes_of_any_length() {
        for length in [0, 31, 33, 64] {
            assert!(SecretKey::from_bytes(&vec![1u8; length]).is_err());
            assert!(!verify(&vec![1u8; length], b"", &vec![1u8; length]));
        }
    }
}
