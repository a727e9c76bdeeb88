//! The transport. Calls that wait do so without Python's lock; nothing here runs on the I/O thread.

use pyo3::prelude::*;

mod buffer;
pub mod call;
mod completions;
mod connection;
mod datagram;
mod endpoint;
pub mod errors;
mod open;
mod path;
mod region;
mod released;
mod remote;
mod request;
pub mod stream;
mod trust;
mod tunnel;

pub use trust::{partner, Agreed};

/// The named bounds that Python states or tests.
#[pyfunction]
fn stoq_limits() -> Vec<(&'static str, u64)> {
    use stoq::limits as of;
    vec![
        ("body_bytes_max", of::BODY_BYTES_MAX as u64),
        ("pending_requests_max", of::PENDING_REQUESTS_MAX as u64),
        ("pending_of_peer_max", of::PENDING_OF_PEER_MAX as u64),
        ("pending_bytes_max", of::PENDING_BYTES_MAX as u64),
        ("pending_strangers_max", of::PENDING_STRANGERS_MAX as u64),
        (
            "stranger_body_bytes_max",
            of::STRANGER_BODY_BYTES_MAX as u64,
        ),
        ("connections_max", of::CONNECTIONS_MAX as u64),
        ("outsiders_max", of::OUTSIDERS_MAX as u64),
        ("handshakes_max", of::HANDSHAKES_MAX as u64),
        ("shards_max", of::SHARDS_MAX as u64),
        ("streams_max", of::STREAMS_MAX.into()),
        (
            "streams_unidirectional_max",
            of::STREAMS_UNIDIRECTIONAL_MAX.into(),
        ),
        ("datagrams_of_peer_max", of::DATAGRAMS_OF_PEER_MAX as u64),
        ("datagrams_waiting_max", of::DATAGRAMS_WAITING_MAX as u64),
    ]
}

/// Why this process may have no ring of io_uring; `None` where it may.
#[pyfunction]
fn stoq_io_uring() -> Option<String> {
    stoq::kernel::io_uring()
        .err()
        .map(|error| error.to_string())
}

/// Why AF_XDP is of no use on an interface; `None` where it might be.
#[pyfunction]
fn stoq_af_xdp(interface: &str) -> Option<String> {
    let found = stoq::kernel::af_xdp(interface);
    found.err().map(|error| error.to_string())
}

/// Adds this section to the module.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<completions::StoqCompletions>()?;
    module.add_class::<trust::StoqPolicy>()?;
    module.add_class::<trust::StoqIdentity>()?;
    module.add_class::<endpoint::StoqEndpoint>()?;
    module.add_class::<connection::StoqConnection>()?;
    module.add_class::<stream::StoqStream>()?;
    module.add_class::<datagram::StoqDatagram>()?;
    module.add_class::<open::OpenEndpoint>()?;
    module.add_class::<open::OpenConnection>()?;
    module.add_class::<request::StoqRequest>()?;
    module.add_class::<region::StoqRegions>()?;
    module.add_class::<remote::StoqRemoteRegion>()?;
    module.add_class::<tunnel::StoqTunnel>()?;
    module.add_function(wrap_pyfunction!(errors::stoq_kinds, module)?)?;
    module.add_function(wrap_pyfunction!(stoq_io_uring, module)?)?;
    module.add_function(wrap_pyfunction!(stoq_af_xdp, module)?)?;
    module.add_function(wrap_pyfunction!(stoq_limits, module)?)
}
