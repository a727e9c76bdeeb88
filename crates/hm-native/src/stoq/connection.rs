//! An admitted peer that this side dialled.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use stoq::{Bytes, Connection, Target};

use super::buffer::Memory;
use super::call::{milliseconds, start, wait, wait_for_return};
use super::completions::{copied, copied_many, listed, Outcome, StoqCompletions};
use super::errors::raised;
use super::path;
use super::remote::StoqRemoteRegion;
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

    #[getter]
    fn resumed(&self) -> bool {
        self.0.resumed()
    }

    #[getter]
    fn early(&self) -> bool {
        self.0.early()
    }

    #[getter]
    fn key_updates(&self) -> u64 {
        self.0.stats().key_updates
    }

    fn update_keys(&self) {
        self.0.update_keys();
    }

    /// Streams of tunnels on it.
    fn tunnelled(&self) -> usize {
        self.0.tunnelled()
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
        body: &Bound<'py, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (body, returned) = Memory::of(body)?.lend();
        let call = self.0.call(service, body, milliseconds(timeout_ms));
        let answer = wait(py, self.0.drive(), call)?;
        wait_for_return(py, self.0.drive(), returned)?;
        copied(py, &answer)
    }

    fn start_request(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        service: u16,
        body: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let connection = self.0.clone();
        let body = Memory::of(body)?.into_bytes();
        let call = async move {
            let answer = connection.call(service, body, milliseconds(timeout_ms));
            Ok(Outcome::Bytes(answer.await?))
        };
        start(py, completions, self.0.drive(), call)
    }

    fn request_many<'py>(
        &self,
        py: Python<'py>,
        service: u16,
        bodies: Vec<Bound<'py, PyAny>>,
        timeout_ms: u64,
    ) -> PyResult<Bound<'py, PyList>> {
        let bodies = each_as_bytes(bodies)?;
        let call = self
            .0
            .request_many(service, bodies, milliseconds(timeout_ms));
        copied_many(py, &wait(py, self.0.drive(), call)?)
    }

    fn start_request_many(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        service: u16,
        bodies: Vec<Bound<'_, PyAny>>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let connection = self.0.clone();
        let bodies = each_as_bytes(bodies)?;
        let call = async move {
            let answers = connection.request_many(service, bodies, milliseconds(timeout_ms));
            Ok(Outcome::Many(answers.await?))
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

    fn open_unidirectional(
        &self,
        py: Python<'_>,
        service: u16,
        timeout_ms: u64,
    ) -> PyResult<StoqStream> {
        let opening = self
            .0
            .open_unidirectional(service, milliseconds(timeout_ms));
        Ok(StoqStream {
            stream: Arc::new(wait(py, self.0.drive(), opening)?),
            _connection: Some(self.0.clone()),
        })
    }

    fn start_open_unidirectional(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        service: u16,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let connection = self.0.clone();
        let call = async move {
            let opening = connection.open_unidirectional(service, milliseconds(timeout_ms));
            let stream = opening.await?;
            Ok(Outcome::Stream(stream, connection))
        };
        start(py, completions, self.0.drive(), call)
    }

    fn send_datagram(
        &self,
        py: Python<'_>,
        service: u16,
        body: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<()> {
        let body = Memory::of(body)?;
        let timeout = milliseconds(timeout_ms);
        let sending = self.0.send_datagram(service, body.bytes(), timeout);
        wait(py, self.0.drive(), sending)
    }

    fn start_send_datagram(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        service: u16,
        body: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let connection = self.0.clone();
        let body = Memory::of(body)?.into_bytes();
        let call = async move {
            let timeout = milliseconds(timeout_ms);
            connection.send_datagram(service, &body, timeout).await?;
            Ok(Outcome::Nothing)
        };
        start(py, completions, self.0.drive(), call)
    }

    /// (service, body) of each.
    fn datagrams<'py>(&self, py: Python<'py>, timeout_ms: u64) -> PyResult<Bound<'py, PyList>> {
        let taking = self.0.datagrams(milliseconds(timeout_ms));
        listed(py, &wait(py, self.0.drive(), taking)?)
    }

    fn start_datagrams(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let connection = self.0.clone();
        let call = async move {
            let taken = connection.datagrams(milliseconds(timeout_ms)).await?;
            Ok(Outcome::Datagrams(taken))
        };
        start(py, completions, self.0.drive(), call)
    }

    #[getter]
    fn datagram_bytes_max(&self) -> Option<usize> {
        self.0.datagram_bytes_max()
    }

    /// sent, received, dropped
    fn datagram_stats(&self) -> (u64, u64, u64) {
        self.0.datagram_stats()
    }

    fn region(&self, region: [u8; 16], epoch: u64) -> StoqRemoteRegion {
        let target = Target { region, epoch };
        StoqRemoteRegion::new(self.0.clone(), target)
    }

    fn stats(&self) -> path::Stats {
        path::stats(&self.0.stats())
    }

    /// What its path is and what it waits for.
    fn path(&self, py: Python<'_>) -> PyResult<path::Path> {
        let report = self.0.path().map_err(|error| raised(py, &error))?;
        Ok(path::path(report))
    }

    fn close(&self, code: u32, reason: &str) {
        self.0.close(code, reason);
    }
}

fn each_as_bytes(objects: Vec<Bound<'_, PyAny>>) -> PyResult<Vec<Bytes>> {
    objects
        .iter()
        .map(|object| Ok(Memory::of(object)?.into_bytes()))
        .collect()
}
