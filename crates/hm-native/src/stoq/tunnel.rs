//! Tunnels: Python decides who may connect where and opens the socket; the bytes move in Rust.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use stoq::{Carriage, Tunnel, OPENING_BYTES};

use super::connection::StoqConnection;
use super::errors::raised;
use super::request::StoqRequest;

/// open, opened, refused, failed, datagrams dropped, sent as such, sent over streams, bytes out,
/// bytes in
type Stats = (usize, u64, u64, u64, u64, u64, u64, u64, u64);

#[pyclass(frozen)]
pub struct StoqTunnel(Tunnel);

#[pymethods]
impl StoqTunnel {
    #[new]
    fn new(limit: usize) -> Self {
        StoqTunnel(Tunnel::new(limit))
    }

    /// Takes `fd` in any case.
    fn serve(
        &self,
        py: Python<'_>,
        request: &StoqRequest,
        fd: RawFd,
        datagrams: bool,
    ) -> PyResult<()> {
        let socket = owned(fd)?;
        let carriage = if datagrams {
            Carriage::Datagrams
        } else {
            Carriage::Bytes
        };
        self.0
            .serve(&request.0, socket, carriage)
            .map_err(|error| raised(py, &error))
    }

    /// Takes `fd` in any case.
    fn forward(
        &self,
        py: Python<'_>,
        connection: &StoqConnection,
        fd: RawFd,
        opening: [u8; OPENING_BYTES],
    ) -> PyResult<()> {
        let socket = owned(fd)?;
        self.0
            .forward(&connection.0, socket, opening)
            .map_err(|error| raised(py, &error))
    }

    /// Takes `fd` in any case.
    fn forward_datagrams(
        &self,
        connection: &StoqConnection,
        fd: RawFd,
        opening: [u8; OPENING_BYTES],
    ) -> PyResult<()> {
        let socket = owned(fd)?;
        self.0.forward_datagrams(&connection.0, socket, opening);
        Ok(())
    }

    fn stats(&self) -> Stats {
        let stats = self.0.stats();
        (
            stats.open,
            stats.opened,
            stats.refused,
            stats.failed,
            stats.dropped,
            stats.datagrams,
            stats.streamed,
            stats.bytes_out,
            stats.bytes_in,
        )
    }

    /// The last failure and when it was, in milliseconds since 1970.
    fn last(&self, py: Python<'_>) -> Option<(Py<PyAny>, u64)> {
        let last = self.0.last()?;
        let error = raised(py, &last.error).into_value(py).into_any();
        Some((error, last.unix_ms))
    }

    fn close(&self) {
        self.0.close();
    }
}

fn owned(fd: RawFd) -> PyResult<OwnedFd> {
    if fd < 0 {
        return Err(PyValueError::new_err("a closed socket"));
    }
    // SAFETY: the caller has detached the descriptor from its Python object and gives it up.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
