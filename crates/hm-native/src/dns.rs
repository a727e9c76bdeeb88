//! `hm_dns` for Python: what is served is decided there, and each query is answered here.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use hm_dns::limit::{Prefix, Rate};
use hm_dns::lookup;
use hm_dns::server::{Certificate, Quic, Resolver, Server, Settings, Tls};
use hm_dns::signing::Signer;
use hm_dns::zone::{Change, RecordSet, Unfit, Zone};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::detached::detached;

type Address = (String, u16);
/// Leaf first, and its key in PKCS #8; all DER.
type Chain = (Vec<Vec<u8>>, Vec<u8>);
/// Owner, type, TTL in seconds, data; no data takes the set away.
type Put = (PyBackedBytes, u16, u32, Vec<PyBackedBytes>);

#[pyclass(frozen)]
struct DnsKey(Arc<Signer>);

#[pymethods]
impl DnsKey {
    #[new]
    fn new(algorithm: u8, secret: &[u8], validity_s: u32) -> PyResult<Self> {
        Signer::new(algorithm, secret, validity_s)
            .map(|signer| DnsKey(Arc::new(signer)))
            .ok_or_else(|| PyValueError::new_err("this is no key of the algorithm"))
    }

    /// The data of its DNSKEY record.
    fn dnskey<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.dnskey())
    }
}

/// Asks Python, on a thread that may wait.
struct Asked(Py<PyAny>);

impl Asked {
    fn ask(
        &self,
        method: &str,
        first: &[u8],
        rest: impl for<'py> IntoPyObject<'py>,
    ) -> Option<Vec<u8>> {
        Python::try_attach(|py| {
            let first = PyBytes::new(py, first);
            let answer = self.0.bind(py).call_method1(method, (first, rest));
            match answer.and_then(|answer| answer.extract::<Option<Vec<u8>>>()) {
                Ok(answer) => answer,
                Err(error) => {
                    // Whoever asks hears SERVFAIL; the reason is for who runs the server.
                    error.write_unraisable(py, Some(self.0.bind(py)));
                    None
                }
            }
        })?
    }
}

impl Resolver for Asked {
    fn resolve(&self, query: &[u8], limit: usize) -> Option<Vec<u8>> {
        self.ask("resolve", query, limit)
    }

    fn update(&self, message: &[u8], certificates: &[Vec<u8>]) -> Option<Vec<u8>> {
        self.ask("update", message, certificates.to_vec())
    }
}

#[pyclass(frozen)]
struct DnsServer(Server);

/// Its threads may be asking Python while they are waited for.
impl Drop for DnsServer {
    fn drop(&mut self) {
        Python::try_attach(|py| py.detach(|| self.0.stop()));
    }
}

#[pymethods]
impl DnsServer {
    /// `tls`: addresses, certificate, roots of clients. `quic`: address, certificate. `rate`:
    /// responses a second, one in how many above it is truncated, who is exempt.
    #[staticmethod]
    #[pyo3(signature = (
        *, addresses, ports_tried, workers, tls, quic, rate, connections_max, idle_ms, signatures_max,
        recursive, suffixes, secret, resolver,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn start(
        py: Python<'_>,
        addresses: Vec<Address>,
        ports_tried: u16,
        workers: usize,
        tls: Option<(Vec<Address>, Chain, Vec<Vec<u8>>)>,
        quic: Option<(Address, Chain)>,
        rate: (u32, u32, Vec<(String, u8)>),
        connections_max: usize,
        idle_ms: u64,
        signatures_max: usize,
        recursive: Vec<(String, u8)>,
        suffixes: Vec<Vec<u8>>,
        secret: [u8; 32],
        resolver: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let certificate = |(chain, key): Chain| Certificate { chain, key };
        let settings = Settings {
            addresses: addresses_of(addresses)?,
            ports_tried,
            workers,
            tls: tls
                .map(|(addresses, chain, client_roots)| {
                    PyResult::Ok(Tls {
                        addresses: addresses_of(addresses)?,
                        certificate: certificate(chain),
                        client_roots,
                    })
                })
                .transpose()?,
            quic: quic
                .map(|(address, chain)| {
                    PyResult::Ok(Quic {
                        address: address_v6(&address)?,
                        certificate: certificate(chain),
                    })
                })
                .transpose()?,
            rate: Rate {
                per_second: rate.0,
                slip: rate.1,
                exempt: prefixes_of(rate.2)?,
            },
            connections_max,
            idle: Duration::from_millis(idle_ms),
            signatures_max,
            recursive: prefixes_of(recursive)?,
            suffixes,
        };
        let resolver = resolver.map(|object| Arc::new(Asked(object)) as Arc<dyn Resolver>);
        detached(py, || Server::start(&settings, resolver, &secret))?
            .map(DnsServer)
            .map_err(|error| PyOSError::new_err(error.to_string()))
    }

    /// Transport, host and port of each socket.
    fn addresses(&self) -> Vec<(&'static str, String, u16)> {
        let bound = self.0.bound().iter();
        bound
            .map(|(transport, address)| (*transport, address.ip().to_string(), address.port()))
            .collect()
    }

    /// Serves these zones from now on, all of them at once.
    fn put(
        &self,
        py: Python<'_>,
        zones: Vec<(PyBackedBytes, Option<Bound<'_, DnsKey>>, Vec<Put>)>,
    ) -> PyResult<()> {
        let zones: Vec<_> = zones
            .into_iter()
            .map(|(apex, key, sets)| (apex, key.map(|key| key.get().0.clone()), sets))
            .collect();
        let made = detached(py, || {
            zones
                .into_iter()
                .map(|(apex, signer, sets)| Zone::new(&apex, signer, changes_of(sets)?))
                .collect::<Result<Vec<_>, _>>()
        })?;
        self.0.zones().put(made.map_err(unfit)?);
        Ok(())
    }

    /// Serves the zone `apex` with these sets changed from now on. False where it is not served.
    fn change(&self, py: Python<'_>, apex: &[u8], sets: Vec<Put>) -> PyResult<bool> {
        let Some(zone) = self.0.zones().get(apex) else {
            return Ok(false);
        };
        let made = detached(py, || zone.changed(changes_of(sets)?))?;
        self.0.zones().put(vec![made.map_err(unfit)?]);
        Ok(true)
    }

    fn remove(&self, apexes: Vec<Vec<u8>>) {
        self.0.zones().remove(&apexes);
    }

    /// Shows this certificate over TLS and QUIC from now on.
    fn present(&self, py: Python<'_>, certificate: Chain) -> PyResult<()> {
        let (chain, key) = certificate;
        let certificate = Certificate { chain, key };
        detached(py, || self.0.present(&certificate))?
            .map_err(|error| PyOSError::new_err(error.to_string()))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.0.counters()
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.stop())
    }
}

fn changes_of(sets: Vec<Put>) -> Result<Vec<Change>, Unfit> {
    sets.into_iter()
        .map(|(owner, kind, ttl, data)| {
            let data: Vec<Box<[u8]>> = data.iter().map(|each| each[..].into()).collect();
            let set = match data.is_empty() {
                true => None,
                false => Some(RecordSet::new(kind, ttl, data)?),
            };
            Ok(Change {
                owner: owner[..].into(),
                kind,
                set,
            })
        })
        .collect()
}

fn unfit(error: Unfit) -> PyErr {
    PyValueError::new_err(error.0)
}

fn ip(host: &str) -> PyResult<IpAddr> {
    host.parse()
        .map_err(|_| PyValueError::new_err(format!("{host:?} is no address")))
}

fn addresses_of(addresses: Vec<Address>) -> PyResult<Vec<SocketAddr>> {
    addresses
        .into_iter()
        .map(|(host, port)| Ok(SocketAddr::new(ip(&host)?, port)))
        .collect()
}

fn address_v6((host, port): &Address) -> PyResult<SocketAddrV6> {
    match ip(host)? {
        IpAddr::V6(address) => Ok(SocketAddrV6::new(address, *port, 0, 0)),
        IpAddr::V4(_) => Err(PyValueError::new_err("QUIC is served over IPv6")),
    }
}

fn prefixes_of(prefixes: Vec<(String, u8)>) -> PyResult<Vec<Prefix>> {
    prefixes
        .into_iter()
        .map(|(host, bits)| {
            Ok(Prefix {
                address: ip(&host)?,
                bits,
            })
        })
        .collect()
}

#[pyfunction]
fn dns_query<'py>(
    py: Python<'py>,
    message_id: u16,
    name: &str,
    kind: u16,
) -> PyResult<Bound<'py, PyBytes>> {
    let owner = lookup::name(name)
        .ok_or_else(|| PyValueError::new_err("this is not the name of a host"))?;
    Ok(PyBytes::new(py, &lookup::query(message_id, &owner, kind)))
}

/// Response code, whether it was truncated, data, seconds for which it may be kept.
type Answer<'py> = (u16, bool, Vec<Bound<'py, PyBytes>>, Option<u32>);

#[pyfunction]
fn dns_answer<'py>(py: Python<'py>, query: &[u8], message: &[u8]) -> Option<Answer<'py>> {
    let found = lookup::answer(query, message)?;
    let data = found.data.iter().map(|each| PyBytes::new(py, each));
    Some((found.rcode, found.truncated, data.collect(), found.ttl))
}

pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<DnsKey>()?;
    module.add_class::<DnsServer>()?;
    module.add_function(wrap_pyfunction!(dns_query, module)?)?;
    module.add_function(wrap_pyfunction!(dns_answer, module)?)
}
