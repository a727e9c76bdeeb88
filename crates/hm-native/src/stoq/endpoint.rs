//! A UDP socket with its I/O thread.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stoq::{Alpn, Destination, Endpoint, Error, Expected, Kind, Range, RegionId, Stack, Target};

use super::call::{alpn, milliseconds, start, wait, TURN};
use super::completions::{Outcome, StoqCompletions};
use super::connection::StoqConnection;
use super::datagram::StoqDatagram;
use super::errors::raised;
use super::path;
use super::region::StoqRegions;
use super::released;
use super::request::StoqRequest;
use super::trust::{StoqIdentity, StoqPolicy};
use crate::detached::detached;

/// remote address, protocol, peer, error
type Refused = (String, Option<&'static str>, Option<Py<PyBytes>>, Py<PyAny>);

/// milliseconds since 1970, remote address, protocol, peer, network, opened here, chain
type Admitted = (
    u64,
    String,
    &'static str,
    Py<PyBytes>,
    Option<Py<PyBytes>>,
    bool,
    Vec<Py<PyBytes>>,
);

#[pyclass(frozen)]
pub struct StoqEndpoint(Endpoint);

#[pymethods]
impl StoqEndpoint {
    #[staticmethod]
    #[pyo3(signature = (*, host, port, dual_stack, policy, identity, threads))]
    fn bind(
        py: Python<'_>,
        host: &str,
        port: u16,
        dual_stack: bool,
        policy: &StoqPolicy,
        identity: Option<&StoqIdentity>,
        threads: usize,
    ) -> PyResult<Self> {
        let host: Ipv6Addr = host.parse().map_err(|_| {
            let why = format!("{host:?} is no IPv6 address");
            raised(py, &Error::new(Kind::InvalidAddress, why))
        })?;
        let address = SocketAddrV6::new(host, port, 0, 0);
        let identity = identity.map(|identity| identity.0.clone());
        let policy = policy.0.clone();
        let stack = if dual_stack { Stack::Dual } else { Stack::Ipv6 };
        detached(py, || {
            Endpoint::bind_shards(address, stack, policy, identity, threads)
        })?
        .map(StoqEndpoint)
        .map_err(|error| raised(py, &error))
    }

    /// (host, port)
    #[getter]
    fn address(&self) -> (String, u16) {
        let local = self.0.local();
        (local.ip().to_string(), local.port())
    }

    #[getter]
    fn threads(&self) -> usize {
        self.0.shards()
    }

    #[getter]
    fn regions(&self) -> StoqRegions {
        StoqRegions(self.0.regions().clone())
    }

    fn set_policy(&self, py: Python<'_>, policy: &StoqPolicy) -> PyResult<()> {
        let policy = policy.0.clone();
        detached(py, || self.0.set_policy(policy))
    }

    fn set_identity(&self, py: Python<'_>, identity: &StoqIdentity) -> PyResult<()> {
        let identity = identity.0.clone();
        detached(py, || self.0.set_identity(identity))?.map_err(|error| raised(py, &error))
    }

    #[pyo3(signature = (*, host, port, alpn, peer, root_sha256, timeout_ms))]
    #[allow(clippy::too_many_arguments)]
    fn connect(
        &self,
        py: Python<'_>,
        host: String,
        port: u16,
        alpn: &str,
        peer: Option<[u8; 32]>,
        root_sha256: Option<[u8; 32]>,
        timeout_ms: u64,
    ) -> PyResult<StoqConnection> {
        let destination = destination(host, port, alpn, peer, root_sha256)?;
        let connecting = self.0.connect(destination, milliseconds(timeout_ms));
        let connection = wait(py, self.0.drive(), connecting)?;
        Ok(StoqConnection(Arc::new(connection)))
    }

    #[pyo3(signature = (completions, *, host, port, alpn, peer, root_sha256, timeout_ms))]
    #[allow(clippy::too_many_arguments)]
    fn start_connect(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        host: String,
        port: u16,
        alpn: &str,
        peer: Option<[u8; 32]>,
        root_sha256: Option<[u8; 32]>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let destination = destination(host, port, alpn, peer, root_sha256)?;
        let connecting = self.0.connecting(destination, milliseconds(timeout_ms));
        let call = async move { connecting.await.map(Outcome::Connection) };
        start(py, completions, self.0.drive(), call)
    }

    /// The connection and the answer.
    #[pyo3(signature = (*, host, port, alpn, peer, service, body, timeout_ms))]
    #[allow(clippy::too_many_arguments)]
    fn connect_and_request<'py>(
        &self,
        py: Python<'py>,
        host: String,
        port: u16,
        alpn: &str,
        peer: Option<[u8; 32]>,
        service: u16,
        body: Vec<u8>,
        timeout_ms: u64,
    ) -> PyResult<(StoqConnection, Bound<'py, PyBytes>)> {
        let destination = destination(host, port, alpn, peer, None)?;
        let patience = milliseconds(timeout_ms);
        let asking = self
            .0
            .connect_and_request(destination, service, body, patience);
        let (connection, answer) = wait(py, self.0.drive(), asking)?;
        let connection = StoqConnection(Arc::new(connection));
        Ok((connection, PyBytes::new(py, &answer)))
    }

    /// The connection and the bytes.
    #[pyo3(signature = (*, host, port, alpn, peer, region, epoch, offset, length, timeout_ms))]
    #[allow(clippy::too_many_arguments)]
    fn connect_and_read<'py>(
        &self,
        py: Python<'py>,
        host: String,
        port: u16,
        alpn: &str,
        peer: Option<[u8; 32]>,
        region: RegionId,
        epoch: u64,
        offset: u64,
        length: u64,
        timeout_ms: u64,
    ) -> PyResult<(StoqConnection, Bound<'py, PyBytes>)> {
        let destination = destination(host, port, alpn, peer, None)?;
        let (target, range) = (Target { region, epoch }, Range { offset, length });
        let patience = milliseconds(timeout_ms);
        let reading = self
            .0
            .connect_and_read(destination, target, range, patience);
        let (connection, read) = wait(py, self.0.drive(), reading)?;
        let connection = StoqConnection(Arc::new(connection));
        Ok((connection, PyBytes::new(py, &read)))
    }

    /// The new address.
    fn rebind(&self, py: Python<'_>, port: u16) -> PyResult<(String, u16)> {
        let moved = detached(py, || self.0.rebind(port))?;
        let local = moved.map_err(|error| raised(py, &error))?;
        Ok((local.ip().to_string(), local.port()))
    }

    /// Whether all that ran is done.
    fn drain(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<bool> {
        let draining = self.0.drain(milliseconds(timeout_ms));
        wait(py, self.0.drive(), draining)
    }

    fn next_request(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<Option<StoqRequest>> {
        let deadline = Instant::now() + milliseconds(timeout_ms);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let next = detached(py, || self.0.queue().next(left.min(TURN)))?;
            match next.map_err(|error| raised(py, &error))? {
                Some(request) => return Ok(Some(StoqRequest(request))),
                None if left.is_zero() => return Ok(None),
                None => py.check_signals()?,
            }
        }
    }

    /// Those that have arrived; perhaps none.
    fn take_requests(&self, py: Python<'_>) -> PyResult<Vec<StoqRequest>> {
        let taken = self.0.queue().take(stoq::limits::DRAIN_MAX);
        let taken = taken.map_err(|error| raised(py, &error))?;
        Ok(taken.into_iter().map(StoqRequest).collect())
    }

    /// Readable while requests wait, and once the endpoint is closed.
    fn requests_fileno(&self) -> RawFd {
        self.0.queue().fd()
    }

    /// Those that wait; none after the time.
    fn next_datagrams(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<Vec<StoqDatagram>> {
        let deadline = Instant::now() + milliseconds(timeout_ms);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let next = detached(py, || self.0.datagrams().next(left.min(TURN)))?;
            let next = next.map_err(|error| raised(py, &error))?;
            if !next.is_empty() || left.is_zero() {
                return Ok(next.into_iter().map(StoqDatagram).collect());
            }
            py.check_signals()?;
        }
    }

    /// Those that have arrived; perhaps none.
    fn take_datagrams(&self, py: Python<'_>) -> PyResult<Vec<StoqDatagram>> {
        let taken = self.0.datagrams().take();
        let taken = taken.map_err(|error| raised(py, &error))?;
        Ok(taken.into_iter().map(StoqDatagram).collect())
    }

    /// Readable while datagrams wait, and once the endpoint is closed.
    fn datagrams_fileno(&self) -> RawFd {
        self.0.datagrams().fd()
    }

    /// received, dropped, waiting
    fn datagram_stats(&self) -> (u64, u64, usize) {
        let stats = self.0.datagrams().stats();
        (stats.received, stats.dropped, stats.waiting)
    }

    fn refusals(&self, py: Python<'_>) -> Vec<Refused> {
        self.0
            .refusals()
            .into_iter()
            .map(|refusal| {
                (
                    refusal.remote.to_string(),
                    refusal.alpn.map(Alpn::text),
                    refusal.peer.map(|peer| PyBytes::new(py, &peer).unbind()),
                    raised(py, &refusal.error).into_value(py).into_any(),
                )
            })
            .collect()
    }

    fn keep_admissions(&self, most: usize) {
        self.0.keep_admissions(most);
    }

    /// Those since the last call, and how many more there were.
    fn admissions(&self, py: Python<'_>) -> (Vec<Admitted>, u64) {
        let (admissions, missed) = self.0.admissions();
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes).unbind();
        let shown = admissions.into_iter().map(|one| {
            (
                one.at_ms,
                one.remote.to_string(),
                one.alpn.text(),
                bytes(&one.peer),
                one.network.map(|network| bytes(&network)),
                one.opened,
                one.chain.iter().map(|der| bytes(der)).collect(),
            )
        });
        (shown.collect(), missed)
    }

    /// connections, handshakes, accepted, refused, requests waiting, unanswered, bytes of these
    fn stats(&self) -> (usize, usize, u64, u64, usize, usize, usize) {
        let stats = self.0.stats();
        (
            stats.connections,
            stats.handshakes,
            stats.accepted,
            stats.refused,
            stats.requests_waiting,
            stats.requests_unanswered,
            stats.request_bytes_unanswered,
        )
    }

    /// accepted connections that were resumed, early requests served, tickets offered, tickets held
    fn resumption(&self) -> (u64, u64, usize, usize) {
        let stats = self.0.stats();
        (
            stats.resumed,
            stats.early,
            stats.tickets_offered,
            stats.tickets_held,
        )
    }

    /// The live connections after the key `after`, oldest first.
    fn connections(&self, py: Python<'_>, after: u64, limit: usize) -> PyResult<Vec<path::Live>> {
        let found = detached(py, || self.0.connections(after, limit))?;
        Ok(found.into_iter().map(path::live).collect())
    }

    fn close(&self, py: Python<'_>, reason: &str) -> PyResult<()> {
        let closed = detached(py, || self.0.close(reason));
        released::drain(py);
        closed
    }
}

fn destination(
    host: String,
    port: u16,
    name: &str,
    peer: Option<[u8; 32]>,
    root_sha256: Option<[u8; 32]>,
) -> PyResult<Destination> {
    Ok(Destination {
        host,
        port,
        alpn: alpn(name)?,
        expected: Expected { peer, root_sha256 },
    })
}
