//! Plain QUIC, outside the mesh.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::Arc;

use pyo3::prelude::*;
use stoq::{Error, Kind, OpenAlpn, OpenCertificate, OpenService};

use super::call::{milliseconds, wait};
use super::errors::raised;
use super::stream::StoqStream;
use crate::detached::detached;

#[pyclass(frozen)]
pub struct OpenEndpoint(stoq::OpenEndpoint);

/// Chain and PKCS #8 key, both DER; whether each client must retry.
type Service = (Vec<Vec<u8>>, Vec<u8>, bool);

#[pymethods]
impl OpenEndpoint {
    #[staticmethod]
    #[pyo3(signature = (*, host, port, alpn, roots, service))]
    fn bind(
        py: Python<'_>,
        host: &str,
        port: u16,
        alpn: &str,
        roots: Vec<Vec<u8>>,
        service: Option<Service>,
    ) -> PyResult<Self> {
        let address = address(py, host, port)?;
        let alpn = OpenAlpn::new(alpn.as_bytes()).map_err(|error| raised(py, &error))?;
        let service = service.map(|(chain, key, retry)| OpenService {
            certificate: OpenCertificate { chain, key },
            retry,
        });
        detached(py, || {
            stoq::OpenEndpoint::bind(address, &alpn, &roots, service.as_ref())
        })?
        .map(OpenEndpoint)
        .map_err(|error| raised(py, &error))
    }

    /// (host, port)
    #[getter]
    fn address(&self) -> (String, u16) {
        let local = self.0.local();
        (local.ip().to_string(), local.port())
    }

    #[pyo3(signature = (*, host, port, name, early, timeout_ms))]
    fn connect(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        name: &str,
        early: bool,
        timeout_ms: u64,
    ) -> PyResult<OpenConnection> {
        let address = address(py, host, port)?;
        let connecting = self
            .0
            .connect(address, name, early, milliseconds(timeout_ms));
        let connection = wait(py, self.0.drive(), connecting)?;
        Ok(OpenConnection(Arc::new(connection)))
    }

    fn accept(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<OpenConnection> {
        let accepting = self.0.accept(milliseconds(timeout_ms));
        wait(py, self.0.drive(), accepting).map(OpenConnection)
    }

    fn close(&self, py: Python<'_>, reason: &str) -> PyResult<()> {
        detached(py, || self.0.close(reason))
    }
}

#[pyclass(frozen)]
pub struct OpenConnection(Arc<stoq::OpenConnection>);

#[pymethods]
impl OpenConnection {
    /// (host, port)
    #[getter]
    fn remote(&self) -> (String, u16) {
        let remote = self.0.remote();
        (remote.ip().to_string(), remote.port())
    }

    /// alpn, group, resumed, key updates
    fn handshake(&self) -> (Option<String>, Option<String>, bool, u64) {
        let seen = self.0.handshake();
        (
            seen.protocol
                .map(|name| String::from_utf8_lossy(&name).into_owned()),
            seen.group.map(|group| {
                group
                    .as_str()
                    .map_or_else(|| format!("{group:?}"), str::to_owned)
            }),
            seen.resumed,
            seen.key_updates,
        )
    }

    fn early_accepted(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<bool> {
        let accepted = self.0.early_accepted(milliseconds(timeout_ms));
        wait(py, self.0.drive(), accepted)
    }

    fn open_stream(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<StoqStream> {
        let opening = self.0.open_stream(milliseconds(timeout_ms));
        let stream = wait(py, self.0.drive(), opening)?;
        Ok(self.held(stream))
    }

    /// The stream, and whether it came before the handshake was done.
    fn accept_stream(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<(StoqStream, bool)> {
        let accepting = self.0.accept_stream(milliseconds(timeout_ms));
        let (stream, early) = wait(py, self.0.drive(), accepting)?;
        Ok((self.held(stream), early))
    }

    fn update_keys(&self) {
        self.0.update_keys();
    }

    /// Why it has ended; `None` while it lives.
    fn ended(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let error = self.0.ended()?;
        Some(raised(py, &error).into_value(py).into_any())
    }

    fn close(&self, code: u32, reason: &str) {
        self.0.close(code, reason);
    }
}

impl OpenConnection {
    fn held(&self, stream: stoq::Stream) -> StoqStream {
        StoqStream {
            stream: Arc::new(stream),
            _connection: Some(self.0.clone()),
        }
    }
}

fn address(py: Python<'_>, host: &str, port: u16) -> PyResult<SocketAddrV6> {
    let host: Ipv6Addr = host.parse().map_err(|_| {
        let why = format!("{host:?} is no IPv6 address");
        raised(py, &Error::new(Kind::InvalidAddress, why))
    })?;
    Ok(SocketAddrV6::new(host, port, 0, 0))
}
