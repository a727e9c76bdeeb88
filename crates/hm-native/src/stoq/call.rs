//! How a call waits on the caller's thread, or starts for an event loop.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use stoq::{Alpn, Drive};

use super::completions::{Outcome, StoqCompletions};
use super::errors::raised;
use crate::detached::detached;

/// How long a call waits before it looks for signals such as Ctrl-C.
pub const TURN: Duration = Duration::from_millis(250);

/// Waits without Python's lock, and hears signals meanwhile.
pub fn wait<T: Send>(
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

pub fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub fn alpn(name: &str) -> PyResult<Alpn> {
    Alpn::from_name(name.as_bytes())
        .ok_or_else(|| PyValueError::new_err(format!("{name:?} is no protocol of STOQ")))
}

/// Runs `call` on the I/O thread. The number under which its result will come.
pub fn start(
    py: Python<'_>,
    completions: &StoqCompletions,
    drive: &Drive,
    call: impl Future<Output = stoq::Result<Outcome>> + Send + 'static,
) -> PyResult<u64> {
    completions
        .0
        .start(drive, call)
        .map_err(|error| raised(py, &error))
}
