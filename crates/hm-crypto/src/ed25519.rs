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
    fn vectors_of_rfc_8032() {
        // Section 7.1, tests 1, 2, 3 and SHA(abc): secret, public, message, signature.
        let vectors = [
            [
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                concat!(
                    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
                    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
                ),
            ],
            [
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                concat!(
                    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
                    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
                ),
            ],
            [
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                concat!(
                    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
                    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
                ),
            ],
            [
                "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
                "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
                concat!(
                    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a",
                    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
                ),
                concat!(
                    "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589",
                    "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
                ),
            ],
        ];
        for vector in vectors {
            let [secret, public, message, signature] = vector.map(bytes);
            let key = SecretKey::from_bytes(&secret).unwrap();
            assert_eq!(key.public().to_vec(), public);
            assert_eq!(key.sign(&message).unwrap().to_vec(), signature);
            assert!(verify(&public, &message, &signature));
            assert!(!verify(&public, &[&message[..], b"x"].concat(), &signature));
        }
    }

    #[test]
    fn refuses_bytes_of_any_length() {
        for length in [0, 31, 33, 64] {
            assert!(SecretKey::from_bytes(&vec![1u8; length]).is_err());
            assert!(!verify(&vec![1u8; length], b"", &vec![1u8; length]));
        }
    }
}
