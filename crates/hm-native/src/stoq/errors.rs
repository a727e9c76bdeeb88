//! Failures of the transport as exceptions of `hypermesh.stoq.errors`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stoq::{Error, Kind};

/// The error in the catalogue of Python (`hypermesh.wire.errors`).
pub fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let build = || {
        // Its import enters the codes of this crate into the catalogue.
        py.import("hypermesh.stoq.errors")?;
        let errors = py.import("hypermesh.wire.errors")?;
        let kind = errors.getattr("Problem")?;
        let problem = match error {
            Error::Failed { kind: number, why } => {
                kind.call1((number.code(), "", why.as_str(), ""))?
            }
            Error::Problem(encoded) => py
                .import("hypermesh.wire.codec")?
                .getattr("decode")?
                .call1((kind, PyBytes::new(py, encoded)))?,
        };
        Ok(PyErr::from_value(
            errors.getattr("error_from")?.call1((problem,))?,
        ))
    };
    build().unwrap_or_else(|error: PyErr| error)
}

/// (code in the catalogue, number on the wire) of every kind of failure.
#[pyfunction]
pub fn stoq_kinds() -> Vec<(String, u16)> {
    Kind::ALL
        .iter()
        .map(|kind| (kind.code(), *kind as u16))
        .collect()
}
