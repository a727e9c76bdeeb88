//! Calls of an event loop that finish on the I/O thread.

use std::os::fd::RawFd;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stoq::{Bytes, Completions, Connection, Stream};

use super::connection::StoqConnection;
use super::errors::raised;
use super::stream::StoqStream;

/// What an asynchronous call gives.
pub enum Outcome {
    Nothing,
    Bytes(Bytes),
    Connection(Connection),
    Stream(Stream, Arc<Connection>),
}

#[pyclass(frozen)]
pub struct StoqCompletions(pub Arc<Completions<Outcome>>);

#[pymethods]
impl StoqCompletions {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(StoqCompletions(Arc::new(Completions::new()?)))
    }

    fn fileno(&self) -> RawFd {
        self.0.fd()
    }

    fn cancel(&self, number: u64) {
        self.0.cancel(number);
    }

    /// (number, value, error) of calls that have completed.
    #[allow(clippy::type_complexity)]
    fn take(&self, py: Python<'_>) -> PyResult<Vec<(u64, Option<Py<PyAny>>, Option<Py<PyAny>>)>> {
        let taken = self.0.take(stoq::limits::DRAIN_MAX);
        taken
            .into_iter()
            .map(|(number, result)| {
                Ok(match result {
                    Ok(outcome) => (number, outcome.into_python(py)?, None),
                    Err(error) => (
                        number,
                        None,
                        Some(raised(py, &error).into_value(py).into_any()),
                    ),
                })
            })
            .collect()
    }
}

impl Outcome {
    fn into_python(self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(match self {
            Outcome::Nothing => None,
            Outcome::Bytes(bytes) => Some(PyBytes::new(py, &bytes).into_any().unbind()),
            Outcome::Connection(connection) => {
                Some(Py::new(py, StoqConnection(Arc::new(connection)))?.into_any())
            }
            Outcome::Stream(stream, connection) => {
                let stream = StoqStream {
                    stream: Arc::new(stream),
                    _connection: Some(connection),
                };
                Some(Py::new(py, stream)?.into_any())
            }
        })
    }
}
