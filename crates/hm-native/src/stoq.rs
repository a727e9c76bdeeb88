//! The transport. Calls that wait do so without Python's lock; nothing here runs on the I/O thread.

use std::future::Future;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hm_x509::TrustPolicy;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use stoq::{
    Action, Alpn, Bytes, Completions, Connection, Destination, Drive, Endpoint, Error, Expected,
    Grant, Identity, Kind, Regions, Request, Status, Stream,
};

use crate::crypto::SecretKeys;
use crate::detached::detached;

/// How long a call waits before it looks for signals such as Ctrl-C.
const TURN: Duration = Duration::from_millis(250);

/// The error in the catalogue of Python (`hypermesh.wire.errors`).
fn raised(py: Python<'_>, error: &Error) -> PyErr {
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

/// Waits without Python's lock, and hears signals meanwhile.
fn wait<T: Send>(
    py: Python<'_>,
    drive: &Drive,
    future: impl Future<Output = stoq::Result<T>> + Send,
) -> PyResult<T> {
    let mut future = pin!(future);
    loop {
        let turn = detached(py, || drive.wait_a_turn(future.as_mut(), TURN))?;
        match turn.map_err(|error| raised(py, &error))? {
            Some(value) => return Ok(value),
            None => py.check_signals()?,
        }
    }
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn alpn(name: &str) -> PyResult<Alpn> {
    Alpn::from_name(name.as_bytes())
        .ok_or_else(|| PyValueError::new_err(format!("{name:?} is no protocol of STOQ")))
}

/// A contiguous buffer of Python. Like `socket.send` and `socket.recv_into`, the calls that take
/// one use it without Python's lock: its owner keeps other threads away from it meanwhile.
struct Memory {
    address: *mut u8,
    length: usize,
    /// Keeps the memory where it is.
    _exported: PyUntypedBuffer,
}

// SAFETY: the export pins the memory whatever thread uses it; see above for concurrent use.
unsafe impl Send for Memory {}

impl Memory {
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Memory> {
        let exported = PyUntypedBuffer::get(object)?;
        if !exported.is_c_contiguous() {
            return Err(PyBufferError::new_err("the buffer is not contiguous"));
        }
        Ok(Memory {
            address: exported.buf_ptr().cast(),
            length: exported.len_bytes(),
            _exported: exported,
        })
    }

    fn writable(object: &Bound<'_, PyAny>) -> PyResult<Memory> {
        let memory = Memory::of(object)?;
        if memory._exported.readonly() {
            return Err(PyBufferError::new_err("the buffer is read-only"));
        }
        Ok(memory)
    }

    fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: `length` bytes at `address` are pinned by the export and contiguous.
        unsafe { std::slice::from_raw_parts(self.address, self.length) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        if self.length == 0 {
            return &mut [];
        }
        // SAFETY: as above, and writable.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.length) }
    }
}

/// What an asynchronous call gives.
enum Outcome {
    Nothing,
    Bytes(Bytes),
    Connection(Connection),
    Stream(Stream, Arc<Connection>),
}

#[pyclass(frozen)]
struct StoqCompletions(Arc<Completions<Outcome>>);

#[pymethods]
impl StoqCompletions {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(StoqCompletions(Arc::new(Completions::new()?)))
    }

    fn fileno(&self) -> RawFd {
        self.0.fd()
    }

    fn cancel(&self, number: u64) {
        self.0.cancel(number);
    }

    /// (number, value, error) of calls that have completed.
    #[allow(clippy::type_complexity)]
    fn take(&self, py: Python<'_>) -> PyResult<Vec<(u64, Option<Py<PyAny>>, Option<Py<PyAny>>)>> {
        let taken = self.0.take(stoq::limits::DRAIN_MAX);
        taken
            .into_iter()
            .map(|(number, result)| {
                Ok(match result {
                    Ok(outcome) => (number, outcome.into_python(py)?, None),
                    Err(error) => (
                        number,
                        None,
                        Some(raised(py, &error).into_value(py).into_any()),
                    ),
                })
            })
            .collect()
    }
}

impl Outcome {
    fn into_python(self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(match self {
            Outcome::Nothing => None,
            Outcome::Bytes(bytes) => Some(PyBytes::new(py, &bytes).into_any().unbind()),
            Outcome::Connection(connection) => {
                Some(Py::new(py, StoqConnection(Arc::new(connection)))?.into_any())
            }
            Outcome::Stream(stream, connection) => {
                let stream = StoqStream {
                    stream: Arc::new(stream),
                    _connection: Some(connection),
                };
                Some(Py::new(py, stream)?.into_any())
            }
        })
    }
}

#[pyclass(frozen)]
struct StoqPolicy(Arc<TrustPolicy>);

#[pymethods]
impl StoqPolicy {
    #[new]
    #[pyo3(signature = (*, network, roots, issuers, revoked, version))]
    fn new(
        network: [u8; 32],
        roots: Vec<Vec<u8>>,
        issuers: Vec<Vec<u8>>,
        revoked: Vec<[u8; 32]>,
        version: u64,
    ) -> Self {
        StoqPolicy(Arc::new(TrustPolicy {
            network,
            roots,
            issuers,
            revoked: revoked.into_iter().collect(),
            version,
        }))
    }
}

#[pyclass(frozen)]
struct StoqIdentity(Arc<Identity>);

#[pymethods]
impl StoqIdentity {
    #[new]
    #[pyo3(signature = (*, chain, keys))]
    fn new(py: Python<'_>, chain: Vec<Vec<u8>>, keys: &SecretKeys) -> PyResult<Self> {
        let keys = keys.keys.clone();
        let identity = Identity::new(chain, keys).map_err(|error| raised(py, &error))?;
        Ok(StoqIdentity(Arc::new(identity)))
    }
}

/// remote address, protocol, peer, error
type Refused = (String, Option<&'static str>, Option<Py<PyBytes>>, Py<PyAny>);

#[pyclass(frozen)]
struct StoqEndpoint(Endpoint);

#[pymethods]
impl StoqEndpoint {
    #[staticmethod]
    #[pyo3(signature = (*, host, port, policy, identity))]
    fn bind(
        py: Python<'_>,
        host: &str,
        port: u16,
        policy: &StoqPolicy,
        identity: Option<&StoqIdentity>,
    ) -> PyResult<Self> {
        let host: Ipv6Addr = host.parse().map_err(|_| {
            let why = format!("{host:?} is no IPv6 address");
            raised(py, &Error::new(Kind::InvalidAddress, why))
        })?;
        let address = SocketAddrV6::new(host, port, 0, 0);
        let identity = identity.map(|identity| identity.0.clone());
        let policy = policy.0.clone();
        detached(py, || Endpoint::bind(address, policy, identity))?
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
        completions
            .0
            .start(self.0.drive(), call)
            .map_err(|error| raised(py, &error))
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

    fn close(&self, py: Python<'_>, reason: &str) -> PyResult<()> {
        detached(py, || self.0.close(reason))
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

#[pyclass(frozen)]
struct StoqConnection(Arc<Connection>);

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
        start(py, completions, &self.0, call)
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
        start(py, completions, &self.0, call)
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

fn start(
    py: Python<'_>,
    completions: &StoqCompletions,
    connection: &Connection,
    call: impl Future<Output = stoq::Result<Outcome>> + Send + 'static,
) -> PyResult<u64> {
    completions
        .0
        .start(connection.drive(), call)
        .map_err(|error| raised(py, &error))
}

#[pyclass(frozen)]
struct StoqStream {
    stream: Arc<Stream>,
    /// A connection closes with its last holder, and a stream is one.
    _connection: Option<Arc<Connection>>,
}

#[pymethods]
impl StoqStream {
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>, timeout_ms: u64) -> PyResult<usize> {
        let memory = Memory::of(data)?;
        let writing = self.stream.write(memory.bytes(), milliseconds(timeout_ms));
        wait(py, self.stream.drive(), writing)?;
        Ok(memory.length)
    }

    fn readinto(
        &self,
        py: Python<'_>,
        buffer: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<usize> {
        let mut memory = Memory::writable(buffer)?;
        let reading = self
            .stream
            .read_into(memory.bytes_mut(), milliseconds(timeout_ms));
        wait(py, self.stream.drive(), reading)
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        timeout_ms: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let reading = self.stream.read(count, milliseconds(timeout_ms));
        let bytes = wait(py, self.stream.drive(), reading)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn finish(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<()> {
        let finishing = self.stream.finish(milliseconds(timeout_ms));
        wait(py, self.stream.drive(), finishing)
    }

    fn start_write(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        data: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let data = Memory::of(data)?.bytes().to_vec();
        let stream = self.stream.clone();
        self.start(py, completions, async move {
            stream.write(&data, milliseconds(timeout_ms)).await?;
            Ok(Outcome::Nothing)
        })
    }

    fn start_read(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        count: usize,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let stream = self.stream.clone();
        self.start(py, completions, async move {
            let bytes = stream.read(count, milliseconds(timeout_ms)).await?;
            Ok(Outcome::Bytes(bytes))
        })
    }

    fn start_finish(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let stream = self.stream.clone();
        self.start(py, completions, async move {
            stream.finish(milliseconds(timeout_ms)).await?;
            Ok(Outcome::Nothing)
        })
    }
}

impl StoqStream {
    fn start(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        call: impl Future<Output = stoq::Result<Outcome>> + Send + 'static,
    ) -> PyResult<u64> {
        completions
            .0
            .start(self.stream.drive(), call)
            .map_err(|error| raised(py, &error))
    }
}

#[pyclass(frozen)]
struct StoqRequest(Request);

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

#[pyclass(frozen)]
struct StoqRegions(Arc<Regions>);

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

/// (code in the catalogue, number on the wire) of every kind of failure.
#[pyfunction]
fn stoq_kinds() -> Vec<(String, u16)> {
    Kind::ALL
        .iter()
        .map(|kind| (kind.code(), *kind as u16))
        .collect()
}

/// The named bounds that Python states or tests.
#[pyfunction]
fn stoq_limits() -> Vec<(&'static str, u64)> {
    use stoq::limits as of;
    vec![
        ("body_bytes_max", of::BODY_BYTES_MAX as u64),
        ("pending_requests_max", of::PENDING_REQUESTS_MAX as u64),
        ("pending_bytes_max", of::PENDING_BYTES_MAX as u64),
        ("pending_strangers_max", of::PENDING_STRANGERS_MAX as u64),
        (
            "stranger_body_bytes_max",
            of::STRANGER_BODY_BYTES_MAX as u64,
        ),
        ("streams_max", of::STREAMS_MAX.into()),
    ]
}

/// Adds this section to the module.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<StoqCompletions>()?;
    module.add_class::<StoqPolicy>()?;
    module.add_class::<StoqIdentity>()?;
    module.add_class::<StoqEndpoint>()?;
    module.add_class::<StoqConnection>()?;
    module.add_class::<StoqStream>()?;
    module.add_class::<StoqRequest>()?;
    module.add_class::<StoqRegions>()?;
    module.add_function(wrap_pyfunction!(stoq_kinds, module)?)?;
    module.add_function(wrap_pyfunction!(stoq_limits, module)?)
}
