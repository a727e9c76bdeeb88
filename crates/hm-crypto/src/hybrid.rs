//! FALCON-1024 and Ed25519 together: one key pair of pairs, one signature of two halves, both of
//! which must verify. Breaking a signature takes breaking both schemes.
//!
//! Both halves sign the same 32 bytes, the prehash of a [`Statement`]:
//!
//! ```text
//! BLAKE3 derive_key, context "hypermesh/v1/sign/<domain>", over genesis id (32 bytes) || message
//! ```
//!
//! The domain says what kind of thing is signed and the genesis id on which network, so a
//! signature means nothing anywhere else. What TLS 1.3 and X.509 sign with the same Ed25519 key is
//! never 32 bytes long, so neither can be mistaken for a prehash.

use zeroize::Zeroizing;

use crate::digest::{Context, Digest};
use crate::{ed25519, falcon, Error, Halves};

/// Bytes of [`SecretKeys::to_bytes`]: the algorithm id, the FALCON key, the Ed25519 seed.
pub const SECRET_BYTES: usize = 1 + falcon::SECRET_BYTES + ed25519::SECRET_BYTES;

/// The algorithm id of this pair of schemes.
pub const ALGORITHM: u8 = 1;

/// Characters of a domain.
const DOMAIN_MAX: usize = 32;

/// Both public keys.
#[derive(Clone, Copy)]
pub struct PublicKeys<'a> {
    pub falcon: &'a [u8],
    pub ed25519: &'a [u8],
}

/// Both signatures over one statement.
#[derive(Clone, Copy)]
pub struct Signature<'a> {
    pub falcon: &'a [u8],
    pub ed25519: &'a [u8],
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct Statement<'a> {
    /// What kind of thing `message` is, such as `tx`: 1 to 32 of `a-z 0-9 -`.
    pub domain: &'a str,
    /// The 32-byte id of the network.
    pub genesis: &'a [u8],
    pub message: &'a [u8],
}

/// A signature just made.
#[derive(Clone, Copy)]
pub struct Signed {
    pub falcon: [u8; falcon::SIGNATURE_BYTES],
    pub ed25519: [u8; ed25519::SIGNATURE_BYTES],
}

/// Both secret keys. Wiped when dropped.
pub struct SecretKeys {
    falcon: falcon::SecretKey,
    ed25519: ed25519::SecretKey,
}

impl PublicKeys<'_> {
    /// The identifier of these keys (a NodeId, OwnerId or SessionId): the digest, context
    /// `hypermesh/v1/keys`, of their canonical encoding, which is the MessagePack array
    /// `[algorithm, falcon, ed25519]`.
    ///
    /// # Errors
    /// [`Error::Input`] where a key has the wrong length.
    pub fn id(&self) -> Result<Digest, Error> {
        // Array of three, the integer 1, binary of 1793 (bin 16), binary of 32 (bin 8).
        const HEAD: [u8; 5] = [0x93, ALGORITHM, 0xc5, 0x07, 0x01];
        const BETWEEN: [u8; 2] = [0xc4, 0x20];
        if self.falcon.len() != falcon::PUBLIC_BYTES || self.ed25519.len() != ed25519::PUBLIC_BYTES
        {
            return Err(Error::Input(format!(
                "public keys have {} and {} bytes",
                falcon::PUBLIC_BYTES,
                ed25519::PUBLIC_BYTES
            )));
        }
        Ok(Context::constant("keys").digest(&[&HEAD, self.falcon, &BETWEEN, self.ed25519]))
    }

    /// Checks both halves of `signature`, always both, so that a refusal names all that failed.
    ///
    /// # Errors
    /// [`Error::Signature`] where a half fails; [`Error::Input`] where the statement itself is
    /// malformed. Keys and signatures of a wrong length are halves that fail.
    pub fn verify(&self, statement: &Statement, signature: &Signature) -> Result<(), Error> {
        let prehash = statement.prehash()?;
        let failed = Halves {
            falcon: !falcon::verify(self.falcon, &prehash, signature.falcon),
            ed25519: !ed25519::verify(self.ed25519, &prehash, signature.ed25519),
        };
        if failed.falcon || failed.ed25519 {
            return Err(Error::Signature(failed));
        }
        Ok(())
    }
}

impl Statement<'_> {
    /// The 32 bytes that both halves sign.
    ///
    /// # Errors
    /// [`Error::Input`] where the domain or the genesis id is malformed.
    pub fn prehash(&self) -> Result<Digest, Error> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.domain.is_empty()
            || self.domain.len() > DOMAIN_MAX
            || !self.domain.bytes().all(valid)
        {
            return Err(Error::Input(format!(
                "a signature's domain is 1 to {DOMAIN_MAX} of a-z 0-9 -"
            )));
        }
        if self.genesis.len() != 32 {
            return Err(Error::Input("a genesis id has 32 bytes".into()));
        }
        Ok(Context::constant(&format!("sign/{}", self.domain))
            .digest(&[self.genesis, self.message]))
    }
}

impl Signed {
    #[must_use]
    pub fn as_signature(&self) -> Signature<'_> {
        Signature {
            falcon: &self.falcon,
            ed25519: &self.ed25519,
        }
    }
}

impl SecretKeys {
    /// New keys.
    ///
    /// # Errors
    /// [`Error::Backend`] without random bytes.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self {
            falcon: falcon::SecretKey::generate()?,
            ed25519: ed25519::SecretKey::generate()?,
        })
    }

    /// The keys that [`SecretKeys::to_bytes`] encodes.
    ///
    /// # Errors
    /// [`Error::Input`] where `bytes` is not such an encoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != SECRET_BYTES || bytes[0] != ALGORITHM {
            return Err(Error::Input(format!(
                "secret keys are {SECRET_BYTES} bytes that begin with {ALGORITHM}"
            )));
        }
        let (falcon, ed25519) = bytes[1..].split_at(falcon::SECRET_BYTES);
        Ok(Self {
            falcon: falcon::SecretKey::from_bytes(falcon)?,
            ed25519: ed25519::SecretKey::from_bytes(ed25519)?,
        })
    }

    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // The capacity is exact: growing would leave a copy behind that nobody wipes.
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES));
        bytes.push(ALGORITHM);
        bytes.extend_from_slice(self.falcon.as_bytes());
        bytes.extend_from_slice(self.ed25519.as_bytes());
        bytes
    }

    #[must_use]
    pub fn public(&self) -> PublicKeys<'_> {
        PublicKeys {
            falcon: self.falcon.public(),
            ed25519: self.ed25519.public(),
        }
    }

    /// The FALCON key alone, for what is signed outside a [`Statement`]: a certificate's
    /// alternative signature.
    #[must_use]
    pub fn falcon(&self) -> &falcon::SecretKey {
        &self.falcon
    }

    /// The Ed25519 key alone, for TLS.
    #[must_use]
    pub fn ed25519(&self) -> &ed25519::SecretKey {
        &self.ed25519
    }

    /// Both signatures over `statement`.
    ///
    /// # Errors
    /// [`Error::Input`] where the statement is malformed; [`Error::Backend`] without random bytes.
    pub fn sign(&self, statement: &Statement) -> Result<Signed, Error> {
        let prehash = statement.prehash()?;
        Ok(Signed {
            falcon: self.falcon.sign(&prehash)?,
            ed25519: self.ed25519.sign(&prehash)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATEMENT: Statement = Statement {
        domain: "tx",
        genesis: &[7; 32],
        message: b"message",
    };

    #[test]
    fn the_half_that_fails_is_named() {
        let keys = SecretKeys::generate().unwrap();
        let signed = keys.sign(&STATEMENT).unwrap();
        assert_eq!(
            keys.public().verify(&STATEMENT, &signed.as_signature()),
            Ok(())
        );

        let both = [(true, false), (false, true), (true, true)];
        for (falcon, ed25519) in both {
            let mut altered = signed;
            altered.falcon[100] ^= u8::from(falcon);
            altered.ed25519[10] ^= u8::from(ed25519);
            assert_eq!(
                keys.public().verify(&STATEMENT, &altered.as_signature()),
                Err(Error::Signature(Halves { falcon, ed25519 }))
            );
        }
    }

    #[test]
    fn a_signature_holds_for_one_domain_one_network_one_message() {
        let keys = SecretKeys::generate().unwrap();
        let signed = keys.sign(&STATEMENT).unwrap();
        let others = [
            Statement {
                domain: "offer",
                ..STATEMENT
            },
            Statement {
                genesis: &[8; 32],
                ..STATEMENT
            },
            Statement {
                message: b"massage",
                ..STATEMENT
            },
        ];
        for other in others {
            assert!(matches!(
                keys.public().verify(&other, &signed.as_signature()),
                Err(Error::Signature(Halves {
                    falcon: true,
                    ed25519: true
                }))
            ));
        }
    }

    #[test]
    fn the_prehash_is_what_the_documentation_says() {
        let mut data = vec![7u8; 32];
        data.extend_from_slice(b"message");
        assert_eq!(
            STATEMENT.prehash().unwrap(),
            blake3::derive_key("hypermesh/v1/sign/tx", &data)
        );
    }

    #[test]
    fn malformed_statements_are_refused() {
        let keys = SecretKeys::generate().unwrap();
        let malformed = [
            Statement {
                domain: "",
                ..STATEMENT
            },
            Statement {
                domain: "a/b",
                ..STATEMENT
            },
            Statement {
                genesis: &[7; 31],
                ..STATEMENT
            },
        ];
        for statement in malformed {
            assert!(matches!(keys.sign(&statement), Err(Error::Input(_))));
        }
    }

    #[test]
    fn secrets_restore_and_damaged_ones_do_not() {
        let keys = SecretKeys::generate().unwrap();
        let bytes = keys.to_bytes();
        assert_eq!(bytes.len(), SECRET_BYTES);
        let again = SecretKeys::from_bytes(&bytes).unwrap();
        assert_eq!(again.public().id(), keys.public().id());
        for length in [0, 1, SECRET_BYTES - 1] {
            assert!(SecretKeys::from_bytes(&bytes[..length]).is_err());
        }
        let mut other = bytes.clone();
        other[0] = 2;
        assert!(SecretKeys::from_bytes(&other).is_err());
    }
}
