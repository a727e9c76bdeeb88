//! Calls of an event loop that finish on the I/O thread.

use std::os::fd::RawFd;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use stoq::{Bytes, Chunks, Completions, Connection, Stream};

use super::buffer::Loan;
use super::connection::StoqConnection;
use super::errors::raised;
use super::released;
use super::stream::StoqStream;

/// What an asynchronous call gives.
pub enum Outcome {
    Nothing,
    Bytes(Chunks),
    Many(Vec<Chunks>),
    Number(u64),
    Datagrams(Vec<(u16, Bytes)>),
    /// Filled in place.
    Filled(Loan),
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
    fn take(&self, py: Python<'_>) -> Vec<(u64, Option<Py<PyAny>>, Option<Py<PyAny>>)> {
        let taken = self.0.take(stoq::limits::DRAIN_MAX);
        released::drain(py);
        taken
            .into_iter()
            .map(|(number, result)| {
                let value = result
                    .map_err(|error| raised(py, &error))
                    .and_then(|outcome| outcome.into_python(py));
                match value {
                    Ok(value) => (number, value, None),
                    Err(error) => (number, None, Some(error.into_value(py).into_any())),
                }
            })
            .collect()
    }
}

impl Outcome {
    fn into_python(self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(match self {
            Outcome::Nothing => None,
            Outcome::Bytes(chunks) => Some(copied(py, &chunks)?.into_any().unbind()),
            Outcome::Many(many) => Some(copied_many(py, &many)?.into_any().unbind()),
            Outcome::Datagrams(taken) => Some(listed(py, &taken)?.into_any().unbind()),
            Outcome::Filled(loan) => loan.into_object().map(Py::into_any),
            Outcome::Number(number) => Some(number.into_pyobject(py)?.into_any().unbind()),
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

/// The one copy on the way to Python.
pub fn copied<'py>(py: Python<'py>, chunks: &Chunks) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, chunks.len(), |bytes| {
        chunks.copy_to(bytes);
        Ok(())
    })
}

pub fn copied_many<'py>(py: Python<'py>, many: &[Chunks]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for chunks in many {
        list.append(copied(py, chunks)?)?;
    }
    Ok(list)
}

/// (service, body) of each.
pub fn listed<'py>(py: Python<'py>, datagrams: &[(u16, Bytes)]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (service, body) in datagrams {
        list.append((*service, PyBytes::new(py, body)))?;
    }
    Ok(list)
}
