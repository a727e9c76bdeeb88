//! Certificates that nobody vouches for: TLS wants one, and it says no more than two keys.

use hm_crypto::hybrid::SecretKeys;
use hm_crypto::Error;
use x509_parser::oid_registry::Oid;

use crate::der::{self, wrap};
use crate::{names, oid};

/// Valid from the first second of 1970 until "no well-defined date" (RFC 5280 section 4.1.2.5): no
/// date of such a certificate is ever checked.
const NOT_BEFORE: &[u8] = b"700101000000Z";
const NOT_AFTER: &[u8] = b"99991231235959Z";

/// The self-signed certificate of `keys`, DER: for the bearer of a lease on `hm-session/1` and for
/// a node that has no certificate yet on `hm-enrol/1`. The same keys give the same bytes.
///
/// It has the FALCON-1024 key in extension 2.5.29.72 and only an Ed25519 signature, because the
/// channel binding proves both keys to whoever gets to see it.
///
/// # Errors
/// Those of `hm_crypto` where the keys cannot be used.
pub fn self_signed(keys: &SecretKeys) -> Result<Vec<u8>, Error> {
    let public = keys.public();
    let id = public.id()?;
    let algorithm = wrap(der::SEQUENCE, &object(&oid::ED25519));
    let name = common_name(&names::hex(&id));
    let mut serial = vec![1];
    serial.extend_from_slice(&id[..19]);
    let validity = [
        wrap(der::UTC_TIME, NOT_BEFORE),
        wrap(der::GENERALIZED_TIME, NOT_AFTER),
    ];
    let extensions = [
        // digitalSignature: the first bit, seven unused.
        extension(&oid::KEY_USAGE, true, &wrap(der::BIT_STRING, &[7, 0x80])),
        extension(
            &oid::EXTENDED_KEY_USAGE,
            false,
            &sequence(&[object(&oid::SERVER_AUTH), object(&oid::CLIENT_AUTH)]),
        ),
        extension(
            &oid::SUBJECT_ALT_PUBLIC_KEY,
            false,
            &key_info(&oid::FALCON_1024_PADDED, public.falcon),
        ),
    ];
    let signed = sequence(&[
        wrap(der::CONTEXT_0, &wrap(der::INTEGER, &[2])),
        wrap(der::INTEGER, &serial),
        algorithm.clone(),
        name.clone(),
        sequence(&validity),
        name,
        key_info(&oid::ED25519, public.ed25519),
        wrap(der::CONTEXT_3, &sequence(&extensions)),
    ]);
    let signature = bits(&keys.ed25519().sign(&signed)?);
    Ok(sequence(&[signed, algorithm, signature]))
}

fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    wrap(der::SEQUENCE, &elements.concat())
}

fn object(id: &Oid<'_>) -> Vec<u8> {
    wrap(der::OBJECT_IDENTIFIER, id.as_bytes())
}

fn bits(octets: &[u8]) -> Vec<u8> {
    wrap(der::BIT_STRING, &[&[0], octets].concat())
}

fn key_info(algorithm: &Oid<'_>, key: &[u8]) -> Vec<u8> {
    sequence(&[wrap(der::SEQUENCE, &object(algorithm)), bits(key)])
}

fn common_name(text: &str) -> Vec<u8> {
    let text = wrap(der::UTF8_STRING, text.as_bytes());
    let attribute = sequence(&[object(&oid::COMMON_NAME), text]);
    sequence(&[wrap(der::SET, &attribute)])
}

fn extension(id: &Oid<'_>, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut elements = vec![object(id)];
    if critical {
        elements.push(wrap(der::BOOLEAN, &[0xff]));
    }
    elements.push(wrap(der::OCTET_STRING, value));
    sequence(&elements)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{read_keys, Refusal};

    #[test]
    fn says_its_keys_and_nothing_else() {
        let keys = SecretKeys::generate().unwrap();
        let der = self_signed(&keys).unwrap();
        assert_eq!(der, self_signed(&keys).unwrap());
        let peer = read_keys(&der).unwrap();
        assert_eq!(peer.id, keys.public().id().unwrap());
        assert_eq!(peer.ed25519, *keys.public().ed25519);
        assert_eq!(peer.falcon, keys.public().falcon);
        assert_eq!(peer.owner, None);
    }

    #[test]
    fn is_nobody_on_a_network() {
        let keys = SecretKeys::generate().unwrap();
        let der = self_signed(&keys).unwrap();
        let policy = crate::TrustPolicy::default();
        let refused = crate::check_chain(&policy, &[&der, &der], 0);
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{refused:?}");
    }
}
