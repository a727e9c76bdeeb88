//! Raw bytes both ways.

use std::future::Future;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stoq::{Connection, Stream};

use super::buffer::Memory;
use super::call::{milliseconds, start, wait};
use super::completions::{Outcome, StoqCompletions};

#[pyclass(frozen)]
pub struct StoqStream {
    pub stream: Arc<Stream>,
    /// A connection closes with its last holder, and a stream is one.
    pub _connection: Option<Arc<Connection>>,
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
        start(py, completions, self.stream.drive(), call)
    }
}
