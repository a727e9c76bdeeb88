//! Memory that Python objects export (PEP 3118).

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

/// A contiguous buffer of Python. Like `socket.send` and `socket.recv_into`, the calls that take
/// one use it without Python's lock: its owner keeps other threads away from it meanwhile.
pub struct Memory {
    address: *mut u8,
    pub length: usize,
    /// Keeps the memory where it is.
    _exported: PyUntypedBuffer,
}

// SAFETY: the export pins the memory whatever thread uses it; see above for concurrent use.
unsafe impl Send for Memory {}

impl Memory {
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Memory> {
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

    pub fn writable(object: &Bound<'_, PyAny>) -> PyResult<Memory> {
        let memory = Memory::of(object)?;
        if memory._exported.readonly() {
            return Err(PyBufferError::new_err("the buffer is read-only"));
        }
        Ok(memory)
    }

    pub fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: `length` bytes at `address` are pinned by the export and contiguous.
        unsafe { std::slice::from_raw_parts(self.address, self.length) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if self.length == 0 {
            return &mut [];
        }
        // SAFETY: as above, and writable.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.length) }
    }
}
