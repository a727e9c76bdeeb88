//! `hm_chunk` for Python, and chunks between files and streams. Content stays on this side: Python
//! sees lists of chunks, and which of them are there.

use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};

use hm_chunk::{Assembly, Entry, Scanner, KEY_BYTES};
use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use stoq::{Error, Step};

use crate::detached::detached;
use crate::stoq::call::{milliseconds, wait};
use crate::stoq::errors::raised;
use crate::stoq::stream::StoqStream;

/// Steps of a list, one byte a chunk.
const RECEIVE: u8 = b'r';
const KEEP: u8 = b'k';
const REPEAT: u8 = b'c';

/// A descriptor of our own for the file of Python's.
fn file_of(descriptor: RawFd) -> PyResult<File> {
    if descriptor < 0 {
        return Err(PyValueError::new_err("no descriptor is negative"));
    }
    // SAFETY: it is borrowed for this statement only; a wrong number is an error of `fcntl`.
    let owned = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
    Ok(File::from(owned))
}

fn entries(py: Python<'_>, list: &[u8]) -> PyResult<Vec<Entry>> {
    Entry::read_all(list).map_err(|error| raised(py, &Error::from(error)))
}

fn listed<'py>(py: Python<'py>, entries: &[Entry]) -> Bound<'py, PyBytes> {
    let mut list = Vec::with_capacity(entries.len() * hm_chunk::ENTRY_BYTES);
    entries.iter().for_each(|entry| entry.write(&mut list));
    PyBytes::new(py, &list)
}

#[pyclass(frozen)]
struct ChunkScanner(Mutex<Scanner>);

#[pymethods]
impl ChunkScanner {
    #[new]
    fn new(py: Python<'_>, descriptor: RawFd, key: [u8; KEY_BYTES]) -> PyResult<Self> {
        let file = file_of(descriptor)?;
        detached(py, || Scanner::open(file, &key))?
            .map(|scanner| ChunkScanner(Mutex::new(scanner)))
            .map_err(|error| raised(py, &error.into()))
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.lock().size()
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.lock().kind().text()
    }

    /// The list of the next chunks, at most `count`; empty at the end.
    fn page<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Bound<'py, PyBytes>> {
        let page = detached(py, || self.0.lock().page(count))?;
        let page = page.map_err(|error| raised(py, &error.into()))?;
        Ok(listed(py, &page))
    }

    /// BLAKE3 of the whole file; `None` before its end.
    fn root<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let root = self.0.lock().root()?;
        Some(PyBytes::new(py, &root))
    }
}

#[pyclass(frozen)]
struct ChunkAssembly {
    /// `None` while a thread works on it.
    held: Mutex<Option<Assembly>>,
}

impl ChunkAssembly {
    fn take(&self) -> PyResult<Assembly> {
        self.held
            .lock()
            .take()
            .ok_or_else(|| PyRuntimeError::new_err("another thread works on this assembly"))
    }

    fn give_back(&self, assembly: Assembly) {
        *self.held.lock() = Some(assembly);
    }

    /// Runs `work` on it, detached from the interpreter.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Assembly) -> hm_chunk::Result<T> + Send,
    ) -> PyResult<T> {
        let mut assembly = self.take()?;
        let result = detached(py, || work(&mut assembly));
        self.give_back(assembly);
        result?.map_err(|error| raised(py, &error.into()))
    }
}

#[pymethods]
impl ChunkAssembly {
    #[new]
    fn new(descriptor: RawFd) -> PyResult<Self> {
        let assembly = Assembly::new(file_of(descriptor)?);
        Ok(ChunkAssembly {
            held: Mutex::new(Some(assembly)),
        })
    }

    #[getter]
    fn complete(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |assembly| Ok(assembly.complete()))
    }

    /// BLAKE3 of what is complete.
    fn root<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let root = self.with(py, |assembly| Ok(assembly.root()))?;
        Ok(PyBytes::new(py, &root))
    }

    /// For each chunk of the list, which begins at `offset`, whether it is at its place.
    fn holds(&self, py: Python<'_>, chunks: PyBackedBytes, offset: u64) -> PyResult<Vec<bool>> {
        let entries = entries(py, &chunks)?;
        self.with(py, |assembly| {
            let mut at = offset;
            entries
                .iter()
                .map(|entry| {
                    let here = at;
                    at = at.saturating_add(entry.length as u64);
                    assembly.holds(here, entry)
                })
                .collect()
        })
    }

    /// Copies chunks of the list from a file that may have them: (place in the list, byte there,
    /// byte here). Those that were there.
    fn copy(
        &self,
        py: Python<'_>,
        descriptor: RawFd,
        chunks: PyBackedBytes,
        copies: Vec<(usize, u64, u64)>,
    ) -> PyResult<Vec<usize>> {
        let entries = entries(py, &chunks)?;
        let source = file_of(descriptor)?;
        self.with(py, |assembly| {
            let mut copied = Vec::new();
            for (place, from, to) in copies {
                if let Some(entry) = entries.get(place) {
                    if assembly.copy(&source, from, to, entry)? {
                        copied.push(place);
                    }
                }
            }
            Ok(copied)
        })
    }

    /// Returns when the file is durable, and ends with what is complete.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |assembly| Ok(assembly.settle()?))
    }
}

/// Sends the wanted chunks of a list that begins at `offset` of the file: `wanted` has a byte for
/// each, which is not zero. How many bytes.
#[pyfunction]
fn send_chunks(
    py: Python<'_>,
    stream: &StoqStream,
    descriptor: RawFd,
    chunks: PyBackedBytes,
    wanted: PyBackedBytes,
    offset: u64,
    timeout_ms: u64,
) -> PyResult<u64> {
    let file = file_of(descriptor)?;
    let entries = entries(py, &chunks)?;
    let mut at = offset;
    let mut ranges = Vec::new();
    for (entry, wanted) in entries.iter().zip(wanted.iter()) {
        if *wanted != 0 {
            ranges.push((at, entry.length));
        }
        at = at.saturating_add(entry.length as u64);
    }
    let sent = ranges.iter().map(|(_, length)| *length as u64).sum();
    let sending = stream
        .stream
        .send_ranges(&file, ranges, milliseconds(timeout_ms));
    wait(py, stream.stream.drive(), sending)?;
    Ok(sent)
}

/// Continues an assembly by the chunks of a list. `steps` has a byte for each: `r` it comes on the
/// stream, `k` it is at its place, `c` it is at the next byte of `repeats`.
#[pyfunction]
fn receive_chunks(
    py: Python<'_>,
    stream: &StoqStream,
    assembly: &ChunkAssembly,
    chunks: PyBackedBytes,
    steps: PyBackedBytes,
    repeats: Vec<u64>,
    timeout_ms: u64,
) -> PyResult<()> {
    let entries = entries(py, &chunks)?;
    let mut repeats = repeats.into_iter();
    let mut stepped = Vec::with_capacity(entries.len());
    for (entry, step) in entries.into_iter().zip(steps.iter()) {
        let step = match *step {
            RECEIVE => Step::Receive,
            KEEP => Step::Keep,
            REPEAT => Step::Repeat(
                repeats
                    .next()
                    .ok_or_else(|| PyValueError::new_err("fewer places than repeats"))?,
            ),
            _ => return Err(PyValueError::new_err("a step is r, k or c")),
        };
        stepped.push((entry, step));
    }
    let mut taken = assembly.take()?;
    let receiving = stream
        .stream
        .receive_into(&mut taken, stepped, milliseconds(timeout_ms));
    let received = wait(py, stream.stream.drive(), receiving);
    assembly.give_back(taken);
    received
}

/// The named bounds that Python states or tests.
#[pyfunction]
fn chunk_limits() -> Vec<(&'static str, usize)> {
    vec![
        ("entry_bytes", hm_chunk::ENTRY_BYTES),
        ("chunk_bytes_min", hm_chunk::CHUNK_BYTES_MIN),
        ("chunk_bytes_max", hm_chunk::CHUNK_BYTES_MAX),
        ("average_bytes", hm_chunk::AVERAGE_BYTES),
    ]
}

/// Adds this section to the module.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ChunkScanner>()?;
    module.add_class::<ChunkAssembly>()?;
    module.add_function(wrap_pyfunction!(send_chunks, module)?)?;
    module.add_function(wrap_pyfunction!(receive_chunks, module)?)?;
    module.add_function(wrap_pyfunction!(chunk_limits, module)?)
}
