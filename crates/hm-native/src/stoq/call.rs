//! How a call waits on the caller's thread, or starts for an event loop.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use stoq::{Alpn, Drive, Error, Kind};

use super::buffer::Returned;
use super::completions::{Outcome, StoqCompletions};
use super::errors::raised;
use super::released;
use crate::detached::detached;

/// How long a call waits before it looks for signals such as Ctrl-C.
pub const TURN: Duration = Duration::from_millis(250);

/// Waits without Python's lock, and hears signals meanwhile.
pub fn wait<T: Send>(
    py: Python<'_>,
    drive: &Drive,
    future: impl Future<Output = stoq::Result<T>> + Send,
) -> PyResult<T> {
    let result = wait_in_turns(py, drive, future);
    released::drain(py);
    result
}

fn wait_in_turns<T: Send>(
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

/// Waits until what was lent is back, so that its owner may use it as before. The peer has it all,
/// so that lasts an acknowledgement; where the connection is lost just then, it comes back later.
pub fn wait_for_return(
    py: Python<'_>,
    drive: &Drive,
    lent: impl IntoIterator<Item = Returned>,
) -> PyResult<()> {
    for returned in lent {
        let mut returned = pin!(async {
            // It fails only where the loan has ended as well.
            let _ = returned.await;
            Ok(())
        });
        // That the endpoint is closed meanwhile does not undo what has been done.
        let _ = detached(py, || drive.wait_a_turn(returned.as_mut(), TURN))?;
    }
    released::drain(py);
    Ok(())
}

/// Runs `call` for an event loop. The number under which its result will come.
pub fn start(
    py: Python<'_>,
    completions: &StoqCompletions,
    drive: &Drive,
    call: impl Future<Output = stoq::Result<Outcome>> + Send + 'static,
) -> PyResult<u64> {
    released::drain(py);
    completions
        .0
        .start(drive, call)
        .map_err(|error| raised(py, &error))
}

pub fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub fn alpn(name: &str) -> PyResult<Alpn> {
    Alpn::from_name(name.as_bytes())
        .ok_or_else(|| PyValueError::new_err(format!("{name:?} is no protocol of STOQ")))
}

/// The failure of a buffer that does not fit what it shall hold.
pub fn misfit(py: Python<'_>, why: String) -> PyErr {
    raised(py, &Error::new(Kind::OutOfRange, why))
}
