//! The one extension module, `hypermesh._native`: each section converts for one crate below.

use pyo3::prelude::*;

mod chunk;
mod crypto;
mod detached;
mod dns;
mod stoq;
mod x509;

#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    chunk::add(module)?;
    crypto::add(module)?;
    dns::add(module)?;
    stoq::add(module)?;
    x509::add(module)
}
