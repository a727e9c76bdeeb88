//! A region of a peer.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stoq::{Action, Bytes, Connection, Range, Target};

use super::buffer::{Loan, Memory, Returned};
use super::call::{milliseconds, misfit, start, wait, wait_for_return};
use super::completions::{Outcome, StoqCompletions};

#[pyclass(frozen)]
pub struct StoqRemoteRegion {
    connection: Arc<Connection>,
    target: Target,
}

#[pymethods]
impl StoqRemoteRegion {
    fn read<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        length: usize,
        timeout_ms: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        // Filled in place: nobody else has the object yet.
        PyBytes::new_with(py, length, |bytes| {
            let Target { region, epoch } = self.target;
            let timeout = milliseconds(timeout_ms);
            let reading = self
                .connection
                .read_region(region, epoch, offset, bytes, timeout);
            wait(py, self.connection.drive(), reading)
        })
    }

    fn read_into(
        &self,
        py: Python<'_>,
        offset: u64,
        buffer: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<usize> {
        let mut memory = Memory::writable(buffer)?;
        let Target { region, epoch } = self.target;
        let reading = self.connection.read_region(
            region,
            epoch,
            offset,
            memory.bytes_mut(),
            milliseconds(timeout_ms),
        );
        wait(py, self.connection.drive(), reading)?;
        Ok(memory.len())
    }

    fn start_read(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        offset: u64,
        length: usize,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let mut loan = Loan::new(Memory::fresh(py, length)?, None);
        let (connection, target) = (self.connection.clone(), self.target);
        let call = async move {
            let Target { region, epoch } = target;
            let (buffer, timeout) = (loan.bytes_mut(), milliseconds(timeout_ms));
            connection
                .read_region(region, epoch, offset, buffer, timeout)
                .await?;
            Ok(Outcome::Filled(loan))
        };
        start(py, completions, self.connection.drive(), call)
    }

    fn start_read_into(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        offset: u64,
        buffer: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let mut loan = Loan::new(Memory::writable(buffer)?, None);
        let (connection, target) = (self.connection.clone(), self.target);
        let call = async move {
            let Target { region, epoch } = target;
            let buffer = loan.bytes_mut();
            let length = buffer.len() as u64;
            connection
                .read_region(region, epoch, offset, buffer, milliseconds(timeout_ms))
                .await?;
            Ok(Outcome::Number(length))
        };
        start(py, completions, self.connection.drive(), call)
    }

    fn write(
        &self,
        py: Python<'_>,
        offset: u64,
        data: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<usize> {
        let memory = Memory::of(data)?;
        let length = memory.len();
        let (data, returned) = memory.lend();
        let Target { region, epoch } = self.target;
        let timeout = milliseconds(timeout_ms);
        let writing = self
            .connection
            .write_region(region, epoch, offset, data, timeout);
        wait(py, self.connection.drive(), writing)?;
        wait_for_return(py, self.connection.drive(), returned)?;
        Ok(length)
    }

    fn start_write(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        offset: u64,
        data: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let memory = Memory::of(data)?;
        let length = memory.len() as u64;
        let (data, _) = memory.lend();
        let (connection, target) = (self.connection.clone(), self.target);
        let call = async move {
            let Target { region, epoch } = target;
            connection
                .write_region(region, epoch, offset, data, milliseconds(timeout_ms))
                .await?;
            Ok(Outcome::Number(length))
        };
        start(py, completions, self.connection.drive(), call)
    }

    /// All bytes of the ranges (offset, length), one behind the other.
    fn gather<'py>(
        &self,
        py: Python<'py>,
        ranges: Vec<(u64, u64)>,
        timeout_ms: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let ranges = each(ranges);
        let length = total(py, &ranges)?;
        PyBytes::new_with(py, length, |bytes| {
            let timeout = milliseconds(timeout_ms);
            let gathering = self.connection.gather(self.target, &ranges, bytes, timeout);
            wait(py, self.connection.drive(), gathering)
        })
    }

    fn start_gather(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        ranges: Vec<(u64, u64)>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let ranges = each(ranges);
        let mut loan = Loan::new(Memory::fresh(py, total(py, &ranges)?)?, None);
        let (connection, target) = (self.connection.clone(), self.target);
        let call = async move {
            let (buffer, timeout) = (loan.bytes_mut(), milliseconds(timeout_ms));
            connection.gather(target, &ranges, buffer, timeout).await?;
            Ok(Outcome::Filled(loan))
        };
        start(py, completions, self.connection.drive(), call)
    }

    fn gather_into(
        &self,
        py: Python<'_>,
        ranges: Vec<(u64, u64)>,
        buffer: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<usize> {
        let mut memory = Memory::writable(buffer)?;
        let ranges = each(ranges);
        let length = checked(py, &ranges, memory.len())?;
        let gathering = self.connection.gather(
            self.target,
            &ranges,
            &mut memory.bytes_mut()[..length],
            milliseconds(timeout_ms),
        );
        wait(py, self.connection.drive(), gathering)?;
        Ok(length)
    }

    fn start_gather_into(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        ranges: Vec<(u64, u64)>,
        buffer: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let memory = Memory::writable(buffer)?;
        let ranges = each(ranges);
        let length = checked(py, &ranges, memory.len())?;
        let mut loan = Loan::new(memory, None);
        let (connection, target) = (self.connection.clone(), self.target);
        let call = async move {
            let buffer = &mut loan.bytes_mut()[..length];
            connection
                .gather(target, &ranges, buffer, milliseconds(timeout_ms))
                .await?;
            Ok(Outcome::Number(length as u64))
        };
        start(py, completions, self.connection.drive(), call)
    }

    /// Puts each buffer at its offset. How many bytes.
    fn scatter(
        &self,
        py: Python<'_>,
        parts: Vec<(u64, Bound<'_, PyAny>)>,
        timeout_ms: u64,
    ) -> PyResult<usize> {
        let parts = Parts::of(parts)?;
        let timeout = milliseconds(timeout_ms);
        let scattering = self
            .connection
            .scatter(self.target, &parts.ranges, parts.data, timeout);
        wait(py, self.connection.drive(), scattering)?;
        wait_for_return(py, self.connection.drive(), parts.lent)?;
        Ok(parts.length)
    }

    fn start_scatter(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        parts: Vec<(u64, Bound<'_, PyAny>)>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let parts = Parts::of(parts)?;
        let (connection, target) = (self.connection.clone(), self.target);
        let call = async move {
            let timeout = milliseconds(timeout_ms);
            connection
                .scatter(target, &parts.ranges, parts.data, timeout)
                .await?;
            Ok(Outcome::Number(parts.length as u64))
        };
        start(py, completions, self.connection.drive(), call)
    }

    /// The word before.
    fn compare_and_swap(
        &self,
        py: Python<'_>,
        offset: u64,
        expected: u64,
        desired: u64,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let action = Action::CompareAndSwap { expected, desired };
        self.update(py, offset, action, timeout_ms)
    }

    /// The word before.
    fn fetch_add(&self, py: Python<'_>, offset: u64, delta: u64, timeout_ms: u64) -> PyResult<u64> {
        self.update(py, offset, Action::FetchAdd { delta }, timeout_ms)
    }

    fn start_compare_and_swap(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        offset: u64,
        expected: u64,
        desired: u64,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let action = Action::CompareAndSwap { expected, desired };
        self.start_update(py, completions, offset, action, timeout_ms)
    }

    fn start_fetch_add(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        offset: u64,
        delta: u64,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let action = Action::FetchAdd { delta };
        self.start_update(py, completions, offset, action, timeout_ms)
    }

    fn fence(&self, py: Python<'_>, next_epoch: u64, timeout_ms: u64) -> PyResult<()> {
        let Target { region, epoch } = self.target;
        let timeout = milliseconds(timeout_ms);
        let fencing = self
            .connection
            .fence_region(region, epoch, next_epoch, timeout);
        wait(py, self.connection.drive(), fencing)
    }
}

impl StoqRemoteRegion {
    pub fn new(connection: Arc<Connection>, target: Target) -> StoqRemoteRegion {
        StoqRemoteRegion { connection, target }
    }

    fn update(
        &self,
        py: Python<'_>,
        offset: u64,
        action: Action,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let Target { region, epoch } = self.target;
        let timeout = milliseconds(timeout_ms);
        let updating = self
            .connection
            .update_region(region, epoch, offset, action, timeout);
        wait(py, self.connection.drive(), updating)
    }

    fn start_update(
        &self,
        py: Python<'_>,
        completions: &StoqCompletions,
        offset: u64,
        action: Action,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let (connection, target) = (self.connection.clone(), self.target);
        let call = async move {
            let Target { region, epoch } = target;
            let timeout = milliseconds(timeout_ms);
            let word = connection.update_region(region, epoch, offset, action, timeout);
            Ok(Outcome::Number(word.await?))
        };
        start(py, completions, self.connection.drive(), call)
    }
}

/// What a scatter writes.
struct Parts {
    ranges: Vec<Range>,
    data: Vec<Bytes>,
    lent: Vec<Returned>,
    length: usize,
}

impl Parts {
    /// Small buffers are copied together, large ones are lent.
    fn of(buffers: Vec<(u64, Bound<'_, PyAny>)>) -> PyResult<Parts> {
        let mut parts = Parts {
            ranges: Vec::with_capacity(buffers.len()),
            data: Vec::new(),
            lent: Vec::new(),
            length: 0,
        };
        let mut copied = Vec::new();
        for (offset, object) in buffers {
            let memory = Memory::of(&object)?;
            let length = memory.len();
            parts.ranges.push(Range {
                offset,
                length: length as u64,
            });
            parts.length += length;
            if memory.is_small() {
                copied.extend_from_slice(memory.bytes());
                continue;
            }
            if !copied.is_empty() {
                parts.data.push(std::mem::take(&mut copied).into());
            }
            let (bytes, returned) = memory.lend();
            parts.data.push(bytes);
            parts.lent.extend(returned);
        }
        if !copied.is_empty() {
            parts.data.push(copied.into());
        }
        Ok(parts)
    }
}

fn each(ranges: Vec<(u64, u64)>) -> Vec<Range> {
    ranges
        .into_iter()
        .map(|(offset, length)| Range { offset, length })
        .collect()
}

/// Bytes of all ranges.
fn total(py: Python<'_>, ranges: &[Range]) -> PyResult<usize> {
    ranges
        .iter()
        .try_fold(0u64, |sum, range| sum.checked_add(range.length))
        .and_then(|sum| usize::try_from(sum).ok())
        .filter(|sum| *sum <= isize::MAX as usize)
        .ok_or_else(|| misfit(py, "the ranges exceed any region".to_owned()))
}

/// The same where a buffer of `room` bytes holds them.
fn checked(py: Python<'_>, ranges: &[Range], room: usize) -> PyResult<usize> {
    let length = total(py, ranges)?;
    if length > room {
        let why = format!("the ranges have {length} bytes, the buffer {room}");
        return Err(misfit(py, why));
    }
    Ok(length)
}
