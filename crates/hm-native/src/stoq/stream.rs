//! Raw bytes both ways.

use std::future::Future;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stoq::{Bytes, Stream};

use super::buffer::{joined, Loan, Memory};
use super::call::{milliseconds, start, wait};
use super::completions::{copied, Outcome, StoqCompletions};

#[pyclass(frozen)]
pub struct StoqStream {
    pub stream: Arc<Stream>,
    /// A connection closes with its last holder, and a stream is one.
    pub _connection: Option<Arc<dyn Send + Sync>>,
}

#[pymethods]
impl StoqStream {
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>, timeout_ms: u64) -> PyResult<usize> {
        let memory = Memory::of(data)?;
        let length = memory.len();
        let timeout = milliseconds(timeout_ms);
        if memory.is_keepable() {
            let chunks = [memory.into_bytes()];
            let writing = self.stream.write_chunks(chunks, timeout);
            wait(py, self.stream.drive(), writing)?;
        } else {
            // Copied step by step, as the window has room.
            let writing = self.stream.write(memory.bytes(), timeout);
            wait(py, self.stream.drive(), writing)?;
        }
        Ok(length)
    }

    fn writev(
        &self,
        py: Python<'_>,
        buffers: Vec<Bound<'_, PyAny>>,
        timeout_ms: u64,
    ) -> PyResult<usize> {
        let (length, chunks) = together(buffers)?;
        let writing = self.stream.write_chunks(chunks, milliseconds(timeout_ms));
        wait(py, self.stream.drive(), writing)?;
        Ok(length)
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

    fn fill(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>, timeout_ms: u64) -> PyResult<usize> {
        let mut memory = Memory::writable(buffer)?;
        let filling = self
            .stream
            .fill(memory.bytes_mut(), milliseconds(timeout_ms));
        wait(py, self.stream.drive(), filling)
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        timeout_ms: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let reading = self.stream.read_chunks(count, milliseconds(timeout_ms));
        let chunks = wait(py, self.stream.drive(), reading)?;
        copied(py, &chunks)
    }

    fn set_priority(&self, priority: i32) {
        self.stream.set_priority(priority);
    }

    fn finish(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<()> {
        let finishing = self.stream.finish(milliseconds(timeout_ms));
        wait(py, self.stream.drive(), finishing)
    }

    fn start_writev(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        buffers: Vec<Bound<'_, PyAny>>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let (length, chunks) = together(buffers)?;
        let stream = self.stream.clone();
        self.start(py, completions, async move {
            stream
                .write_chunks(chunks, milliseconds(timeout_ms))
                .await?;
            Ok(Outcome::Number(length as u64))
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
            let chunks = stream.read_chunks(count, milliseconds(timeout_ms)).await?;
            Ok(Outcome::Bytes(chunks))
        })
    }

    fn start_readinto(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        buffer: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let mut loan = Loan::new(Memory::writable(buffer)?, None);
        let stream = self.stream.clone();
        self.start(py, completions, async move {
            let read = stream
                .read_into(loan.bytes_mut(), milliseconds(timeout_ms))
                .await?;
            Ok(Outcome::Number(read as u64))
        })
    }

    fn start_fill(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        buffer: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let mut loan = Loan::new(Memory::writable(buffer)?, None);
        let stream = self.stream.clone();
        self.start(py, completions, async move {
            let filled = stream
                .fill(loan.bytes_mut(), milliseconds(timeout_ms))
                .await?;
            Ok(Outcome::Number(filled as u64))
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

/// Bytes in all, and the buffers as chunks.
fn together(buffers: Vec<Bound<'_, PyAny>>) -> PyResult<(usize, Vec<Bytes>)> {
    let buffers: Vec<Memory> = buffers.iter().map(Memory::of).collect::<PyResult<_>>()?;
    let length = buffers.iter().map(Memory::len).sum();
    Ok((length, joined(buffers)))
}
