//! `hm_crypto` for Python. Secrets stay in these objects; only `secret_bytes` copies them out.

use std::sync::Arc;

use hm_crypto::hybrid::{PublicKeys, Signature, Statement};
use hm_crypto::{digest, envelope, falcon, falcon512, hybrid, merkle, Error};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::detached::{detached, NativeFault};

create_exception!(
    _native,
    SignatureMismatch,
    PyException,
    "A hybrid signature does not hold; the arguments are the names of the halves that failed."
);
create_exception!(
    _native,
    EnvelopeUnreadable,
    PyException,
    "Wrong key, wrong associated data, or altered bytes."
);
create_exception!(
    _native,
    BackendFailure,
    PyRuntimeError,
    "No random bytes, or a primitive failed inside its library."
);

/// Bytes from which on hashing lets other threads run: below, switching costs more than it gives.
const DETACH_FROM: usize = 64 * 1024;

fn raised(error: Error) -> PyErr {
    match error {
        Error::Input(text) => PyValueError::new_err(text),
        Error::Signature(halves) => match (halves.falcon, halves.ed25519) {
            (true, true) => SignatureMismatch::new_err(("FALCON-1024", "Ed25519")),
            (true, false) => SignatureMismatch::new_err(("FALCON-1024",)),
            _ => SignatureMismatch::new_err(("Ed25519",)),
        },
        Error::Envelope => EnvelopeUnreadable::new_err(error.to_string()),
        Error::Backend(text) => BackendFailure::new_err(text),
    }
}

#[pyfunction(name = "digest")]
fn digest_one<'py>(py: Python<'py>, name: &str, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let digest = if data.len() < DETACH_FROM {
        digest::digest(name, data)
    } else {
        detached(py, || digest::digest(name, data))?
    };
    Ok(PyBytes::new(py, &digest.map_err(raised)?))
}

#[pyfunction]
fn digest_many<'py>(
    py: Python<'py>,
    name: &str,
    items: Vec<PyBackedBytes>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let digests = detached(py, || {
        let context = digest::Context::new(name)?;
        Ok(items
            .iter()
            .map(|item| context.digest(&[item]))
            .collect::<Vec<_>>())
    })?;
    Ok(digests
        .map_err(raised)?
        .iter()
        .map(|digest| PyBytes::new(py, digest))
        .collect())
}

#[pyfunction]
fn key_id<'py>(py: Python<'py>, falcon: &[u8], ed25519: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let id = PublicKeys { falcon, ed25519 }.id().map_err(raised)?;
    Ok(PyBytes::new(py, &id))
}

#[pyfunction]
#[pyo3(signature = (*, falcon, ed25519, domain, genesis, message, falcon_signature, ed25519_signature))]
#[allow(clippy::too_many_arguments)] // Keywords on the Python side.
fn hybrid_verify(
    py: Python<'_>,
    falcon: &[u8],
    ed25519: &[u8],
    domain: &str,
    genesis: &[u8],
    message: &[u8],
    falcon_signature: &[u8],
    ed25519_signature: &[u8],
) -> PyResult<()> {
    let keys = PublicKeys { falcon, ed25519 };
    let statement = Statement {
        domain,
        genesis,
        message,
    };
    let signature = Signature {
        falcon: falcon_signature,
        ed25519: ed25519_signature,
    };
    detached(py, || keys.verify(&statement, &signature))?.map_err(raised)
}

/// A new FALCON-512 signing key, in its own encoding.
#[pyfunction]
fn falcon512_generate(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let key = detached(py, falcon512::SecretKey::generate)?.map_err(raised)?;
    Ok(PyBytes::new(py, key.as_bytes()))
}

#[pyfunction]
fn falcon512_verify(
    py: Python<'_>,
    public: &[u8],
    message: &[u8],
    signature: &[u8],
) -> PyResult<bool> {
    detached(py, || falcon512::verify(public, message, signature))
}

#[pyfunction]
fn falcon_verify(
    py: Python<'_>,
    public: &[u8],
    message: &[u8],
    signature: &[u8],
) -> PyResult<bool> {
    detached(py, || falcon::verify(public, message, signature))
}

/// Both secret keys of a node, an owner or a session.
#[pyclass(frozen, module = "hypermesh._native")]
pub struct SecretKeys {
    /// Shared with the transport, which signs without Python.
    pub keys: Arc<hybrid::SecretKeys>,
}

#[pymethods]
impl SecretKeys {
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        let keys = detached(py, hybrid::SecretKeys::generate)?.map_err(raised)?;
        Ok(Self {
            keys: Arc::new(keys),
        })
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, secret: &[u8]) -> PyResult<Self> {
        let keys = detached(py, || hybrid::SecretKeys::from_bytes(secret))?.map_err(raised)?;
        Ok(Self {
            keys: Arc::new(keys),
        })
    }

    fn secret_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.keys.to_bytes())
    }

    #[getter]
    fn falcon_public<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.keys.public().falcon)
    }

    #[getter]
    fn ed25519_public<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.keys.public().ed25519)
    }

    fn ed25519_pkcs8<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let document = self.keys.ed25519().to_pkcs8().map_err(raised)?;
        Ok(PyBytes::new(py, &document))
    }

    fn sign<'py>(
        &self,
        py: Python<'py>,
        domain: &str,
        genesis: &[u8],
        message: &[u8],
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let statement = Statement {
            domain,
            genesis,
            message,
        };
        let signed = detached(py, || self.keys.sign(&statement))?.map_err(raised)?;
        Ok((
            PyBytes::new(py, &signed.falcon),
            PyBytes::new(py, &signed.ed25519),
        ))
    }
}

/// A FALCON-1024 key by itself, as a certificate authority has one.
#[pyclass(frozen, module = "hypermesh._native")]
struct FalconKey {
    key: falcon::SecretKey,
}

#[pymethods]
impl FalconKey {
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        let key = detached(py, falcon::SecretKey::generate)?.map_err(raised)?;
        Ok(Self { key })
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, secret: &[u8]) -> PyResult<Self> {
        let key = detached(py, || falcon::SecretKey::from_bytes(secret))?.map_err(raised)?;
        Ok(Self { key })
    }

    fn secret_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key.as_bytes())
    }

    #[getter]
    fn public<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key.public())
    }

    fn sign<'py>(&self, py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let signature = detached(py, || self.key.sign(message))?.map_err(raised)?;
        Ok(PyBytes::new(py, &signature))
    }
}

/// An ML-KEM-1024 decapsulation key.
#[pyclass(frozen, module = "hypermesh._native")]
struct EnvelopeKey {
    key: envelope::SecretKey,
}

#[pymethods]
impl EnvelopeKey {
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        let key = detached(py, envelope::SecretKey::generate)?.map_err(raised)?;
        Ok(Self { key })
    }

    #[staticmethod]
    fn from_bytes(secret: &[u8]) -> PyResult<Self> {
        let key = envelope::SecretKey::from_bytes(secret).map_err(raised)?;
        Ok(Self { key })
    }

    fn secret_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key.as_bytes())
    }

    #[getter]
    fn public<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key.public())
    }

    fn open<'py>(
        &self,
        py: Python<'py>,
        kem: &[u8],
        ciphertext: &[u8],
        associated: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let plaintext =
            detached(py, || self.key.open(kem, ciphertext, associated))?.map_err(raised)?;
        Ok(PyBytes::new(py, &plaintext))
    }
}

#[pyfunction]
fn envelope_seal<'py>(
    py: Python<'py>,
    public: &[u8],
    plaintext: &[u8],
    associated: &[u8],
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let sealed = detached(py, || envelope::seal(public, plaintext, associated))?.map_err(raised)?;
    Ok((
        PyBytes::new(py, &sealed.kem),
        PyBytes::new(py, &sealed.ciphertext),
    ))
}

#[pyfunction]
fn merkle_root<'py>(py: Python<'py>, leaves: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyBytes>> {
    let root = detached(py, || merkle::root(&leaves))?;
    Ok(PyBytes::new(py, &root))
}

#[pyfunction]
fn merkle_path<'py>(
    py: Python<'py>,
    leaves: Vec<PyBackedBytes>,
    index: usize,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let path = detached(py, || merkle::path(&leaves, index))?.map_err(raised)?;
    Ok(path.iter().map(|node| PyBytes::new(py, node)).collect())
}

#[pyfunction]
fn merkle_verify(
    root: &[u8],
    index: u64,
    count: u64,
    leaf: &[u8],
    path: Vec<PyBackedBytes>,
) -> bool {
    merkle::verify_path(root, index, count, leaf, &path)
}

/// Adds this section to the module.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("NativeFault", py.get_type::<NativeFault>())?;
    module.add("SignatureMismatch", py.get_type::<SignatureMismatch>())?;
    module.add("EnvelopeUnreadable", py.get_type::<EnvelopeUnreadable>())?;
    module.add("BackendFailure", py.get_type::<BackendFailure>())?;
    module.add_class::<SecretKeys>()?;
    module.add_class::<FalconKey>()?;
    module.add_class::<EnvelopeKey>()?;
    module.add_function(wrap_pyfunction!(digest_one, module)?)?;
    module.add_function(wrap_pyfunction!(digest_many, module)?)?;
    module.add_function(wrap_pyfunction!(key_id, module)?)?;
    module.add_function(wrap_pyfunction!(hybrid_verify, module)?)?;
    module.add_function(wrap_pyfunction!(falcon_verify, module)?)?;
    module.add_function(wrap_pyfunction!(falcon512_generate, module)?)?;
    module.add_function(wrap_pyfunction!(falcon512_verify, module)?)?;
    module.add_function(wrap_pyfunction!(envelope_seal, module)?)?;
    module.add_function(wrap_pyfunction!(merkle_root, module)?)?;
    module.add_function(wrap_pyfunction!(merkle_path, module)?)?;
    module.add_function(wrap_pyfunction!(merkle_verify, module)?)
}
