//! FALCON-512 as submitted in round 3, with signatures padded to a fixed length: for the experiment of
//! signing zones by it, and nothing else. Identities have FALCON-1024 ([`crate::falcon`]).

use fn_dsa::{
    sign_key_size, signature_size, vrfy_key_size, KeyPairGenerator512, SigningKey512,
    VerifyingKey512, FN_DSA_LOGN_512,
};

use crate::falcon::{verify_as, Degree, Key};

pub const PUBLIC_BYTES: usize = vrfy_key_size(FN_DSA_LOGN_512);
pub const SECRET_BYTES: usize = sign_key_size(FN_DSA_LOGN_512);
pub const SIGNATURE_BYTES: usize = signature_size(FN_DSA_LOGN_512);

/// FALCON-512: the degree of the experiment.
pub struct Falcon512;

impl Degree for Falcon512 {
    const LOGN: u32 = FN_DSA_LOGN_512;
    const NAME: &'static str = "FALCON-512";
    type Generator = KeyPairGenerator512;
    type Signing = SigningKey512;
    type Verifying = VerifyingKey512;
}

/// A signing key of FALCON-512.
pub type SecretKey = Key<Falcon512, PUBLIC_BYTES, SIGNATURE_BYTES>;

/// Whether `signature` over `message` holds under `public`. Bytes of any length may be given; what
/// does not decode does not hold.
#[must_use]
pub fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    verify_as::<Falcon512>(public, message, signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies_and_no_byte_can_be_changed() {
        let key = SecretKey::from_bytes(SecretKey::generate().unwrap().as_bytes()).unwrap();
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
