//! The two signatures of a certificate, checked against its issuer.

use aws_lc_rs::signature::{UnparsedPublicKey, ECDSA_P256_SHA256_ASN1};

use crate::certificate::{Certificate, OuterAlgorithm, OuterKey};
use crate::Refusal;

/// Both signatures of `subject` under the keys of `issuer`. The reason names each half that fails.
pub fn check(subject: &Certificate<'_>, issuer: &Certificate<'_>) -> Result<(), Refusal> {
    let outer = match (&issuer.outer_key, subject.outer_algorithm) {
        (OuterKey::P256(key), OuterAlgorithm::EcdsaP256Sha256) => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
                .verify(subject.tbs, subject.outer_signature)
                .is_ok()
        }
        _ => false,
    };
    let inner = subject.inner_signature.as_ref().is_some_and(|signature| {
        hm_crypto::falcon::verify(&issuer.falcon, &subject.presigned, signature)
    });
    match (outer, inner) {
        (true, true) => Ok(()),
        (false, true) => Err(Refusal::BadSignature("P-256 signature".into())),
        (true, false) => Err(Refusal::BadSignature("FALCON-1024 signature".into())),
        (false, false) => Err(Refusal::BadSignature(
            "P-256 signature and FALCON-1024 signature".into(),
        )),
    }
}
