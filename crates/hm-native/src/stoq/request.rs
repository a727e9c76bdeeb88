//! A request of a peer.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use stoq::{Request, Status};

use super::errors::raised;
use super::stream::StoqStream;
use crate::detached::detached;

#[pyclass(frozen)]
pub struct StoqRequest(pub Request);

#[pymethods]
impl StoqRequest {
    #[getter]
    fn peer_id<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.origin.peer.map(|peer| PyBytes::new(py, &peer))
    }

    #[getter]
    fn peer_owner<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.origin.owner.map(|owner| PyBytes::new(py, &owner))
    }

    #[getter]
    fn peer_network<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let network = self.0.origin.network;
        network.map(|network| PyBytes::new(py, &network))
    }

    #[getter]
    fn alpn(&self) -> &'static str {
        self.0.origin.alpn.text()
    }

    #[getter]
    fn channel_binding<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.origin.channel_binding)
    }

    #[getter]
    fn service(&self) -> u16 {
        self.0.service
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.body)
    }

    #[getter]
    fn stream(&self) -> Option<StoqStream> {
        self.0.stream().map(|stream| StoqStream {
            stream,
            _connection: None,
        })
    }

    #[getter]
    fn is_unidirectional(&self) -> bool {
        self.0.is_unidirectional()
    }

    fn reply(&self, py: Python<'_>, body: PyBackedBytes) -> PyResult<()> {
        self.answer(py, Status::Ok, &body)
    }

    fn refuse(&self, py: Python<'_>, problem: PyBackedBytes) -> PyResult<()> {
        self.answer(py, Status::Problem, &problem)
    }
}

impl StoqRequest {
    fn answer(&self, py: Python<'_>, status: Status, body: &[u8]) -> PyResult<()> {
        detached(py, || self.0.answer(status, body))?.map_err(|error| raised(py, &error))
    }
}
