//! An admitted peer that this side dialled.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use stoq::{Action, Connection};

use super::buffer::Memory;
use super::call::{milliseconds, start, wait};
use super::completions::{Outcome, StoqCompletions};
use super::errors::raised;
use super::stream::StoqStream;

#[pyclass(frozen)]
pub struct StoqConnection(pub Arc<Connection>);

#[pymethods]
impl StoqConnection {
    #[getter]
    fn peer_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.peer())
    }

    #[getter]
    fn peer_owner<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.owner().map(|owner| PyBytes::new(py, &owner))
    }

    #[getter]
    fn alpn(&self) -> &'static str {
        self.0.alpn().text()
    }

    #[getter]
    fn channel_binding<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.channel_binding())
    }

    #[getter]
    fn negotiated_group(&self) -> &str {
        self.0.negotiated_group()
    }

    /// (host, port)
    #[getter]
    fn remote(&self) -> (String, u16) {
        let remote = self.0.remote();
        (remote.ip().to_string(), remote.port())
    }

    /// Why it has ended; `None` while it lives.
    fn ended(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let error = self.0.ended()?;
        Some(raised(py, &error).into_value(py).into_any())
    }

    fn request<'py>(
        &self,
        py: Python<'py>,
        service: u16,
        body: PyBackedBytes,
        timeout_ms: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let request = self.0.request(service, &body, milliseconds(timeout_ms));
        let answer = wait(py, self.0.drive(), request)?;
        Ok(PyBytes::new(py, &answer))
    }

    fn start_request(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        service: u16,
        body: PyBackedBytes,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let connection = self.0.clone();
        let body = body.to_vec();
        let call = async move {
            let answer = connection.request(service, &body, milliseconds(timeout_ms));
            Ok(Outcome::Bytes(answer.await?.into()))
        };
        start(py, completions, self.0.drive(), call)
    }

    fn open_stream(&self, py: Python<'_>, service: u16, timeout_ms: u64) -> PyResult<StoqStream> {
        let opening = self.0.open_stream(service, milliseconds(timeout_ms));
        Ok(StoqStream {
            stream: Arc::new(wait(py, self.0.drive(), opening)?),
            _connection: Some(self.0.clone()),
        })
    }

    fn start_open_stream(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        service: u16,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let connection = self.0.clone();
        let call = async move {
            let opening = connection.open_stream(service, milliseconds(timeout_ms));
            let stream = opening.await?;
            Ok(Outcome::Stream(stream, connection))
        };
        start(py, completions, self.0.drive(), call)
    }

    #[pyo3(signature = (length, *, region, epoch, offset, timeout_ms))]
    fn read_region<'py>(
        &self,
        py: Python<'py>,
        length: usize,
        region: [u8; 16],
        epoch: u64,
        offset: u64,
        timeout_ms: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let timeout = milliseconds(timeout_ms);
        // Filled in place: nobody else has the object yet.
        PyBytes::new_with(py, length, |bytes| {
            let reading = self.0.read_region(region, epoch, offset, bytes, timeout);
            wait(py, self.0.drive(), reading)
        })
    }

    #[pyo3(signature = (buffer, *, region, epoch, offset, timeout_ms))]
    fn read_region_into(
        &self,
        py: Python<'_>,
        buffer: &Bound<'_, PyAny>,
        region: [u8; 16],
        epoch: u64,
        offset: u64,
        timeout_ms: u64,
    ) -> PyResult<usize> {
        let mut memory = Memory::writable(buffer)?;
        let reading = self.0.read_region(
            region,
            epoch,
            offset,
            memory.bytes_mut(),
            milliseconds(timeout_ms),
        );
        wait(py, self.0.drive(), reading)?;
        Ok(memory.length)
    }

    #[pyo3(signature = (data, *, region, epoch, offset, timeout_ms))]
    fn write_region(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        region: [u8; 16],
        epoch: u64,
        offset: u64,
        timeout_ms: u64,
    ) -> PyResult<usize> {
        let memory = Memory::of(data)?;
        let writing = self.0.write_region(
            region,
            epoch,
            offset,
            memory.bytes(),
            milliseconds(timeout_ms),
        );
        wait(py, self.0.drive(), writing)?;
        Ok(memory.length)
    }

    /// The word before.
    #[pyo3(signature = (*, region, epoch, offset, expected, desired, timeout_ms))]
    #[allow(clippy::too_many_arguments)]
    fn compare_and_swap(
        &self,
        py: Python<'_>,
        region: [u8; 16],
        epoch: u64,
        offset: u64,
        expected: u64,
        desired: u64,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let action = Action::CompareAndSwap { expected, desired };
        self.update(py, region, epoch, offset, action, timeout_ms)
    }

    /// The word before.
    #[pyo3(signature = (*, region, epoch, offset, delta, timeout_ms))]
    fn fetch_add(
        &self,
        py: Python<'_>,
        region: [u8; 16],
        epoch: u64,
        offset: u64,
        delta: u64,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let action = Action::FetchAdd { delta };
        self.update(py, region, epoch, offset, action, timeout_ms)
    }

    #[pyo3(signature = (*, region, epoch, next_epoch, timeout_ms))]
    fn fence(
        &self,
        py: Python<'_>,
        region: [u8; 16],
        epoch: u64,
        next_epoch: u64,
        timeout_ms: u64,
    ) -> PyResult<()> {
        let timeout = milliseconds(timeout_ms);
        let fencing = self.0.fence_region(region, epoch, next_epoch, timeout);
        wait(py, self.0.drive(), fencing)
    }

    /// rtt in µs, bytes sent, bytes received, packets sent, packets lost, datagram bytes, window
    fn stats(&self) -> (u64, u64, u64, u64, u64, u64, u64) {
        let stats = self.0.stats();
        (
            stats.rtt_us,
            stats.bytes_sent,
            stats.bytes_received,
            stats.packets_sent,
            stats.packets_lost,
            stats.mtu_bytes,
            stats.window_bytes,
        )
    }

    fn close(&self, code: u32, reason: &str) {
        self.0.close(code, reason);
    }
}

impl StoqConnection {
    fn update(
        &self,
        py: Python<'_>,
        region: [u8; 16],
        epoch: u64,
        offset: u64,
        action: Action,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let timeout = milliseconds(timeout_ms);
        let updating = self.0.update_region(region, epoch, offset, action, timeout);
        wait(py, self.0.drive(), updating)
    }
}
