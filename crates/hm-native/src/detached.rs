//! Work without the interpreter: other Python threads run meanwhile.

use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::create_exception;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

create_exception!(
    _native,
    NativeFault,
    PyRuntimeError,
    "A bug in native code: it panicked. The process goes on; the operation did not happen."
);

/// Runs `work` detached from the interpreter. A panic becomes a [`NativeFault`], which
/// `except Exception` sees, unlike PyO3's own `PanicException`.
pub fn detached<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    F: Send + FnOnce() -> T,
    T: Send,
{
    // Unwind safety: what `work` borrows is immutable bytes, or locks that recover from poison.
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .map_err(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            NativeFault::new_err(text.to_owned())
        })
}
