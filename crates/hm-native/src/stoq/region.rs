//! The memory regions of an endpoint.

use std::sync::Arc;

use pyo3::prelude::*;
use stoq::{Grant, Regions};

use super::errors::raised;
use crate::detached::detached;

#[pyclass(frozen)]
pub struct StoqRegions(pub Arc<Regions>);

#[pymethods]
impl StoqRegions {
    fn create(&self, py: Python<'_>, region: [u8; 16], size: u64) -> PyResult<()> {
        detached(py, || self.0.create(region, size))?.map_err(|error| raised(py, &error))
    }

    /// bytes read, bytes written, operations
    fn destroy(&self, py: Python<'_>, region: [u8; 16]) -> PyResult<(u64, u64, u64)> {
        detached(py, || self.0.destroy(&region))?
            .map(|counters| {
                (
                    counters.bytes_read,
                    counters.bytes_written,
                    counters.operations,
                )
            })
            .map_err(|error| raised(py, &error))
    }

    #[pyo3(signature = (region, peer, *, offset, length, can_write, expires_unix_ms, epoch))]
    #[allow(clippy::too_many_arguments)]
    fn grant(
        &self,
        py: Python<'_>,
        region: [u8; 16],
        peer: [u8; 32],
        offset: u64,
        length: u64,
        can_write: bool,
        expires_unix_ms: i64,
        epoch: u64,
    ) -> PyResult<()> {
        let grant = Grant {
            offset,
            length,
            can_write,
            expires_unix_ms,
            epoch,
        };
        self.0
            .grant(&region, peer, grant)
            .map_err(|error| raised(py, &error))
    }

    fn revoke(&self, py: Python<'_>, region: [u8; 16], peer: [u8; 32]) -> PyResult<bool> {
        self.0
            .revoke(&region, &peer)
            .map_err(|error| raised(py, &error))
    }

    fn fence(&self, py: Python<'_>, region: [u8; 16], epoch: u64) -> PyResult<()> {
        self.0
            .fence(&region, epoch)
            .map_err(|error| raised(py, &error))
    }

    /// bytes read, bytes written, operations
    fn counters(&self, py: Python<'_>, region: [u8; 16]) -> PyResult<(u64, u64, u64)> {
        self.0
            .counters(&region)
            .map(|counters| {
                (
                    counters.bytes_read,
                    counters.bytes_written,
                    counters.operations,
                )
            })
            .map_err(|error| raised(py, &error))
    }
}
