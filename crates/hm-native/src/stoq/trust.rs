//! Whom to trust, and whom to be.

use std::sync::Arc;

use hm_x509::TrustPolicy;
use pyo3::prelude::*;
use stoq::Identity;

use super::errors::raised;
use crate::crypto::SecretKeys;

#[pyclass(frozen)]
pub struct StoqPolicy(pub Arc<TrustPolicy>);

#[pymethods]
impl StoqPolicy {
    #[new]
    #[pyo3(signature = (*, network, roots, issuers, revoked, bearers, version))]
    fn new(
        network: [u8; 32],
        roots: Vec<Vec<u8>>,
        issuers: Vec<Vec<u8>>,
        revoked: Vec<[u8; 32]>,
        bearers: Option<Vec<[u8; 32]>>,
        version: u64,
    ) -> Self {
        StoqPolicy(Arc::new(TrustPolicy {
            network,
            roots,
            issuers,
            revoked: revoked.into_iter().collect(),
            bearers: bearers.map(|bearers| bearers.into_iter().collect()),
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
