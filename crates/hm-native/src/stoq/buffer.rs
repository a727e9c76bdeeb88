//! Memory that Python objects export (PEP 3118), and how it goes down to the transport.
//!
//! Like `socket.send` and `socket.recv_into`, the calls that take a buffer use it without Python's
//! lock: its owner keeps other threads away from it meanwhile. The export pins the memory, so the
//! worst that such a thread can do is to change the bytes.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use stoq::Bytes;
use tokio::sync::oneshot;

use super::released;

/// Bytes; from here on lending costs less than a copy.
const LENT_BYTES_MIN: usize = stoq::limits::JOINED_BYTES_MAX + 1;

/// What keeps memory in place. Dropped with Python's lock only.
pub enum Export {
    Bytes(Py<PyBytes>),
    Buffer(PyUntypedBuffer),
}

/// A contiguous buffer, for a call that waits on the thread of its caller.
pub struct Memory {
    address: *mut u8,
    length: usize,
    export: Export,
    /// Nobody can change these bytes, ever.
    immutable: bool,
}

// SAFETY: the export pins the memory whatever thread uses it; the page above tells the rule for
// concurrent use.
unsafe impl Send for Memory {}
// SAFETY: as above; a shared `Memory` gives out shared slices only.
unsafe impl Sync for Memory {}

impl Memory {
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Memory> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            let slice = bytes.as_bytes();
            return Ok(Memory {
                address: slice.as_ptr().cast_mut(),
                length: slice.len(),
                export: Export::Bytes(bytes.clone().unbind()),
                immutable: true,
            });
        }
        let exported = PyUntypedBuffer::get(object).or_else(|refusal| {
            // Some exporters, as those of `ctypes`, leave out what a view fills in.
            let view = PyMemoryView::from(object).map_err(|_| refusal)?;
            PyUntypedBuffer::get(view.as_any())
        })?;
        if !exported.is_c_contiguous() {
            return Err(PyBufferError::new_err("the buffer is not contiguous"));
        }
        // Other read-only buffers are not enough: their exporter may write to them all the same.
        let immutable = match object.cast::<PyMemoryView>() {
            Ok(view) => view.getattr("obj")?.is_instance_of::<PyBytes>(),
            Err(_) => false,
        };
        Ok(Memory {
            address: exported.buf_ptr().cast(),
            length: exported.len_bytes(),
            export: Export::Buffer(exported),
            immutable,
        })
    }

    /// A new `bytes` object, which nobody else has until `Loan::into_object` gives it out.
    pub fn fresh(py: Python<'_>, length: usize) -> PyResult<Memory> {
        let bytes = PyBytes::new_with(py, length, |_| Ok(()))?;
        let mut memory = Memory::of(bytes.as_any())?;
        memory.immutable = false;
        Ok(memory)
    }

    pub fn writable(object: &Bound<'_, PyAny>) -> PyResult<Memory> {
        let memory = Memory::of(object)?;
        match &memory.export {
            Export::Buffer(exported) if !exported.readonly() => Ok(memory),
            _ => Err(PyBufferError::new_err("the buffer is read-only")),
        }
    }

    pub fn len(&self) -> usize {
        self.length
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
        // SAFETY: as above, and `writable` made it.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.length) }
    }

    /// Whether a copy costs less than lending.
    pub fn is_small(&self) -> bool {
        self.length < LENT_BYTES_MIN
    }

    /// Whether the transport may keep these bytes after the call, and that costs less than a copy.
    pub fn is_keepable(&self) -> bool {
        self.immutable && !self.is_small()
    }

    /// For a transport that keeps them until the peer has acknowledged them: without a copy where
    /// they cannot change meanwhile.
    pub fn into_bytes(self) -> Bytes {
        if self.is_keepable() {
            Bytes::from_owner(Loan::new(self, None))
        } else {
            Bytes::copy_from_slice(self.bytes())
        }
    }

    /// For a call that returns when the transport needs the bytes no more, which `Returned` tells.
    /// Without a copy, unless a copy costs less; where the bytes cannot change, there is nothing to
    /// wait for.
    pub fn lend(self) -> (Bytes, Option<Returned>) {
        if self.is_small() || self.immutable {
            return (self.into_bytes(), None);
        }
        let (sender, returned) = oneshot::channel();
        (
            Bytes::from_owner(Loan::new(self, Some(sender))),
            Some(returned),
        )
    }
}

/// Becomes ready when the transport has let go of a loan.
pub type Returned = oneshot::Receiver<()>;

/// Memory that the I/O thread may be the last to hold: its end does not need Python's lock.
pub struct Loan {
    /// `None` only while it is dropped.
    memory: Option<Memory>,
    returned: Option<oneshot::Sender<()>>,
}

impl Loan {
    pub fn new(memory: Memory, returned: Option<oneshot::Sender<()>>) -> Loan {
        Loan {
            memory: Some(memory),
            returned,
        }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.as_mut().map_or(&mut [], Memory::bytes_mut)
    }
}

impl Loan {
    /// The object whose memory this is, where `Memory::fresh` made it.
    pub fn into_object(mut self) -> Option<Py<PyBytes>> {
        match self.memory.take()?.export {
            Export::Bytes(bytes) => Some(bytes),
            Export::Buffer(_) => None,
        }
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], Memory::bytes)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            released::later(memory.export);
        }
        if let Some(returned) = self.returned.take() {
            // Nobody waits where the call has failed.
            let _ = returned.send(());
        }
    }
}

/// Many buffers as few chunks: small ones and those that may change are copied together.
pub fn joined(buffers: Vec<Memory>) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut copied = Vec::new();
    for memory in buffers {
        if memory.is_keepable() {
            if !copied.is_empty() {
                chunks.push(std::mem::take(&mut copied).into());
            }
            chunks.push(memory.into_bytes());
        } else {
            copied.extend_from_slice(memory.bytes());
        }
    }
    if !copied.is_empty() {
        chunks.push(copied.into());
    }
    chunks
}
