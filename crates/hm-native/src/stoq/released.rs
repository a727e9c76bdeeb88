//! Exports that the I/O thread has let go of. It never takes Python's lock, so they wait here for
//! the next call that holds it.
//!
//! What waits is bounded by what was lent: at most the send window of each connection, in pieces of
//! more than `JOINED_BYTES_MAX`, and the calls under way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::Python;

use super::buffer::Export;

static WAITING: Mutex<Vec<Export>> = Mutex::new(Vec::new());
/// Whether `WAITING` may hold something: spares most calls its lock.
static ANY: AtomicBool = AtomicBool::new(false);

/// Takes `export` to its release. From any thread, also after the interpreter's end.
pub fn later(export: Export) {
    WAITING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(export);
    ANY.store(true, Ordering::Release);
}

/// Releases what waits.
pub fn drain(_py: Python<'_>) {
    if !ANY.swap(false, Ordering::AcqRel) {
        return;
    }
    // Taken first: a release may run code of Python, which may come back here.
    let exports = std::mem::take(&mut *WAITING.lock().unwrap_or_else(PoisonError::into_inner));
    drop(exports);
}
