//! Checking of certificate chains, for the ledger and the pure verifiers.

use std::sync::Arc;

use hm_x509::{PeerIdentity, Refusal, TrustPolicy};
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::crypto::SecretKeys;
use crate::detached::detached;
use crate::stoq::{partner, Agreed};

create_exception!(
    _native,
    CertificateRefused,
    PyValueError,
    "A chain is not believed; the arguments are the kind of reason and its text."
);

/// id, owner, Ed25519 key, FALCON key, end of validity
type Identity<'py> = (
    Bound<'py, PyBytes>,
    Option<Bound<'py, PyBytes>>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    i64,
);

#[pyfunction]
#[pyo3(signature = (*, network, roots, issuers, revoked, chain, now_unix))]
fn x509_check_chain<'py>(
    py: Python<'py>,
    network: [u8; 32],
    roots: Vec<Vec<u8>>,
    issuers: Vec<Vec<u8>>,
    revoked: Vec<[u8; 32]>,
    chain: Vec<PyBackedBytes>,
    now_unix: i64,
) -> PyResult<Identity<'py>> {
    let policy = TrustPolicy {
        network,
        roots,
        issuers,
        revoked: revoked.into_iter().collect(),
        version: 0,
        ..TrustPolicy::default()
    };
    let chain = slices(&chain);
    let outcome = detached(py, || hm_x509::check_chain(&policy, &chain, now_unix))?;
    identity(py, outcome)
}

/// permitted, excluded, policies, beginning, end
type Reached<'py> = (Vec<String>, Vec<String>, Vec<Bound<'py, PyBytes>>, i64, i64);

#[pyfunction]
#[pyo3(signature = (*, network, roots, revoked, partners, chain, now_unix))]
fn x509_check_partner<'py>(
    py: Python<'py>,
    network: [u8; 32],
    roots: Vec<Vec<u8>>,
    revoked: Vec<[u8; 32]>,
    partners: Vec<Agreed>,
    chain: Vec<PyBackedBytes>,
    now_unix: i64,
) -> PyResult<Identity<'py>> {
    let policy = TrustPolicy {
        network,
        roots,
        revoked: revoked.into_iter().collect(),
        partners: partners
            .into_iter()
            .map(|one| Arc::new(partner(one)))
            .collect(),
        ..TrustPolicy::default()
    };
    let chain = slices(&chain);
    let outcome = detached(py, || hm_x509::check_partner(&policy, &chain, now_unix))?;
    identity(py, outcome)
}

#[pyfunction]
#[pyo3(signature = (*, roots, partner, now_unix))]
fn x509_check_partnership<'py>(
    py: Python<'py>,
    roots: Vec<Vec<u8>>,
    partner: Agreed,
    now_unix: i64,
) -> PyResult<Reached<'py>> {
    let partner = self::partner(partner);
    let outcome = detached(py, || {
        hm_x509::check_partnership(&roots, &partner, now_unix)
    })?;
    let reach = outcome.map_err(|refusal| refused(&refusal))?;
    let policies = reach.policies.iter().map(|one| PyBytes::new(py, one));
    Ok((
        reach.permitted,
        reach.excluded,
        policies.collect(),
        reach.not_before,
        reach.not_after,
    ))
}

#[pyfunction]
#[pyo3(signature = (*, chain, root_sha256, now_unix))]
fn x509_check_pinned_root<'py>(
    py: Python<'py>,
    chain: Vec<PyBackedBytes>,
    root_sha256: [u8; 32],
    now_unix: i64,
) -> PyResult<Identity<'py>> {
    let chain = slices(&chain);
    let outcome = detached(py, || {
        hm_x509::check_pinned_root(&chain, &root_sha256, now_unix)
    })?;
    identity(py, outcome)
}

#[pyfunction]
#[pyo3(signature = (*, issuing, root, now_unix))]
fn x509_check_issuing(py: Python<'_>, issuing: &[u8], root: &[u8], now_unix: i64) -> PyResult<()> {
    detached(py, || hm_x509::check_issuing(issuing, root, now_unix))?
        .map_err(|refusal| refused(&refusal))
}

#[pyfunction]
fn x509_read_keys<'py>(py: Python<'py>, leaf: &[u8]) -> PyResult<Identity<'py>> {
    let outcome = detached(py, || hm_x509::read_keys(leaf))?;
    identity(py, outcome)
}

#[pyfunction]
fn x509_presigned<'py>(py: Python<'py>, tbs: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    detached(py, || hm_x509::presigned(tbs))?
        .map(|bytes| PyBytes::new(py, &bytes))
        .ok_or_else(|| PyValueError::new_err("not a version 3 TBSCertificate in DER"))
}

#[pyfunction]
fn x509_self_signed<'py>(
    py: Python<'py>,
    keys: &Bound<'py, SecretKeys>,
) -> PyResult<Bound<'py, PyBytes>> {
    let keys = keys.get().keys.clone();
    let der = detached(py, || hm_x509::self_signed(&keys))?;
    let der = der.map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &der))
}

fn slices(chain: &[PyBackedBytes]) -> Vec<&[u8]> {
    chain.iter().map(|one| &**one).collect()
}

fn identity(py: Python<'_>, outcome: Result<PeerIdentity, Refusal>) -> PyResult<Identity<'_>> {
    let peer = outcome.map_err(|refusal| refused(&refusal))?;
    Ok((
        PyBytes::new(py, &peer.id),
        peer.owner.map(|owner| PyBytes::new(py, &owner)),
        PyBytes::new(py, &peer.ed25519),
        PyBytes::new(py, &peer.falcon),
        peer.not_after,
    ))
}

fn refused(refusal: &Refusal) -> PyErr {
    let kind = match refusal {
        Refusal::Malformed(_) => "malformed",
        Refusal::WrongNetwork => "wrong_network",
        Refusal::UnknownIssuer => "unknown_issuer",
        Refusal::BadSignature(_) => "bad_signature",
        Refusal::Expired => "expired",
        Refusal::NotYetValid => "not_yet_valid",
        Refusal::Revoked => "revoked",
        Refusal::NameForbidden(_) => "name_forbidden",
    };
    CertificateRefused::new_err((kind, refusal.to_string()))
}

/// Adds this section to the module.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add(
        "CertificateRefused",
        module.py().get_type::<CertificateRefused>(),
    )?;
    module.add_function(wrap_pyfunction!(x509_check_chain, module)?)?;
    module.add_function(wrap_pyfunction!(x509_check_partner, module)?)?;
    module.add_function(wrap_pyfunction!(x509_check_partnership, module)?)?;
    module.add_function(wrap_pyfunction!(x509_check_pinned_root, module)?)?;
    module.add_function(wrap_pyfunction!(x509_check_issuing, module)?)?;
    module.add_function(wrap_pyfunction!(x509_read_keys, module)?)?;
    module.add_function(wrap_pyfunction!(x509_presigned, module)?)?;
    module.add_function(wrap_pyfunction!(x509_self_signed, module)?)
}
