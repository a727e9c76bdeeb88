//! A datagram of a peer.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stoq::Datagram;

use super::buffer::Memory;
use super::errors::raised;
use crate::detached::detached;

#[pyclass(frozen)]
pub struct StoqDatagram(pub Datagram);

#[pymethods]
impl StoqDatagram {
    #[getter]
    fn peer_id<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.origin.peer.map(|peer| PyBytes::new(py, &peer))
    }

    #[getter]
    fn peer_owner<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.origin.owner.map(|owner| PyBytes::new(py, &owner))
    }

    #[getter]
    fn alpn(&self) -> &'static str {
        self.0.origin.alpn.text()
    }

    #[getter]
    fn service(&self) -> u16 {
        self.0.service
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.body)
    }

    /// Whether there was room for it.
    fn reply(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<bool> {
        let memory = Memory::of(body)?;
        detached(py, || self.0.reply(memory.bytes()))?.map_err(|error| raised(py, &error))
    }
}
