//! Who this endpoint is: a certificate chain and the two secret keys behind its leaf.

use std::sync::Arc;

use hm_crypto::hybrid::SecretKeys;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::error::{Error, Kind, Result};
use crate::tls::One;
use crate::PeerId;

/// A node (chain of leaf, issuing certificate and root) or a session (one self-signed leaf).
pub struct Identity {
    pub(crate) id: PeerId,
    pub(crate) keys: Arc<SecretKeys>,
    /// One value for all connections: TLS resumes only under the same one.
    pub(crate) certified: Arc<One>,
    /// Seconds since 1970; the end of the leaf.
    pub(crate) not_after: i64,
}

impl Identity {
    /// Refuses a chain whose leaf does not carry both public keys of `keys`: the peer would refuse
    /// it later with less to go by.
    pub fn new(chain: Vec<Vec<u8>>, keys: Arc<SecretKeys>) -> Result<Identity> {
        let leaf = chain
            .first()
            .ok_or_else(|| invalid("the certificate chain is empty"))?;
        let held = hm_x509::read_keys(leaf).map_err(|refusal| invalid(&refusal.to_string()))?;
        let public = keys.public();
        if held.ed25519 != *public.ed25519 || held.falcon != public.falcon {
            return Err(invalid("the leaf certificate is for other keys"));
        }
        Identity::unchecked(held.id, chain, keys)
    }

    pub(crate) fn unchecked(
        id: PeerId,
        chain: Vec<Vec<u8>>,
        keys: Arc<SecretKeys>,
    ) -> Result<Identity> {
        let pkcs8 = keys
            .ed25519()
            .to_pkcs8()
            .map_err(|error| invalid(&error.to_string()))?;
        let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))
            .map_err(|error| invalid(&error.to_string()))?;
        let not_after = chain
            .first()
            .and_then(|leaf| hm_x509::read_keys(leaf).ok())
            .map_or(0, |leaf| leaf.not_after);
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        Ok(Identity {
            id,
            keys,
            certified: Arc::new(One::new(chain, signer)),
            not_after,
        })
    }
}

fn invalid(why: &str) -> Error {
    Error::new(Kind::InvalidIdentity, why)
}
