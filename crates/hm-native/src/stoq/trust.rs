//! Whom to trust, and whom to be.

use std::sync::Arc;

use hm_x509::{Partner, TrustPolicy};
use pyo3::prelude::*;
use stoq::Identity;

use super::errors::raised;
use crate::crypto::SecretKeys;

/// network, root, issuing certificate, cross-certificate, end in seconds since 1970, revoked nodes
pub type Agreed = ([u8; 32], Vec<u8>, Vec<u8>, Vec<u8>, i64, Vec<[u8; 32]>);

pub fn partner((network, root, issuer, cross, not_after, revoked): Agreed) -> Partner {
    Partner {
        network,
        root,
        issuer,
        cross,
        not_after,
        revoked: revoked.into_iter().collect(),
    }
}

#[pyclass(frozen)]
pub struct StoqPolicy(pub Arc<TrustPolicy>);

#[pymethods]
impl StoqPolicy {
    #[new]
    #[pyo3(signature = (*, network, roots, issuers, revoked, bearers, partners, version))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        network: [u8; 32],
        roots: Vec<Vec<u8>>,
        issuers: Vec<Vec<u8>>,
        revoked: Vec<[u8; 32]>,
        bearers: Option<Vec<[u8; 32]>>,
        partners: Vec<Agreed>,
        version: u64,
    ) -> Self {
        StoqPolicy(Arc::new(TrustPolicy {
            network,
            roots,
            issuers,
            revoked: revoked.into_iter().collect(),
            bearers: bearers.map(|bearers| bearers.into_iter().collect()),
            partners: partners
                .into_iter()
                .map(|one| Arc::new(partner(one)))
                .collect(),
            version,
        }))
    }
}

#[pyclass(frozen)]
pub struct StoqIdentity(pub Arc<Identity>);

#[pymethods]
impl StoqIdentity {
    #[new]
    #[pyo3(signature = (*, chain, keys))]
    fn new(py: Python<'_>, chain: Vec<Vec<u8>>, keys: &SecretKeys) -> PyResult<Self> {
        let keys = keys.keys.clone();
        let identity = Identity::new(chain, keys).map_err(|error| raised(py, &error))?;
        Ok(StoqIdentity(Arc::new(identity)))
    }
}
