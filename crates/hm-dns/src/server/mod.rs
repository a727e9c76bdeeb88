//! Sockets around [`crate::answer`]: UDP on threads of its own, TCP and TLS on tokio, QUIC on
//! STOQ's loop.

mod quic;
mod stream;
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use stoq::Presented;

use crate::answer::{self, Outcome, Terms, Via, Zones};
use crate::limit::{Cookies, Limiter, Prefix, Rate, Verdict};
use crate::message::{self, Query, Rcode, Read, Response};
use crate::name;
use crate::signing::Signatures;

/// Queries that wait for a [`Resolver`], and threads that ask it.
const ELSEWHERE_WAITING_MAX: usize = 256;
const ELSEWHERE_THREADS: usize = 4;

/// Whoever answers what no zone answers, and who carries out updates. It may take its time; an
/// answer of `None` becomes SERVFAIL.
pub trait Resolver: Send + Sync {
    /// The response to `query`, whole, within `limit` octets.
    fn resolve(&self, query: &[u8], limit: usize) -> Option<Vec<u8>>;
    /// The response to an update (RFC 2136) that came over TLS from whoever holds the first of
    /// `certificates` (DER), which was checked.
    fn update(&self, message: &[u8], certificates: &[Vec<u8>]) -> Option<Vec<u8>>;
}

/// A certificate chain, leaf first, and its key in PKCS #8; all DER.
#[derive(Clone)]
pub struct Certificate {
    pub chain: Vec<Vec<u8>>,
    pub key: Vec<u8>,
}

/// DNS over TLS (RFC 7858).
#[derive(Clone)]
pub struct Tls {
    pub addresses: Vec<SocketAddr>,
    pub certificate: Certificate,
    /// Whose certificates of clients are believed; where it is empty none is asked for.
    pub client_roots: Vec<Vec<u8>>,
}

/// DNS over QUIC (RFC 9250).
#[derive(Clone)]
pub struct Quic {
    pub address: SocketAddrV6,
    pub certificate: Certificate,
}

#[derive(Clone)]
pub struct Settings {
    /// Where UDP and TCP are served. Port 0 asks the system for one, the same for both.
    pub addresses: Vec<SocketAddr>,
    /// Each socket takes the first free port of so many, from the one that is asked for on.
    pub ports_tried: u16,
    /// UDP threads for each address.
    pub workers: usize,
    pub tls: Option<Tls>,
    pub quic: Option<Quic>,
    pub rate: Rate,
    /// Connections over TCP and TLS together, and how long one may be silent.
    pub connections_max: usize,
    pub idle: Duration,
    pub signatures_max: usize,
    /// Who may ask for recursion (RD), which the resolver does.
    pub recursive: Vec<Prefix>,
    /// Names below which the resolver answers everyone.
    pub suffixes: Vec<Vec<u8>>,
}

macro_rules! counters {
    ($($(#[$about:meta])* $name:ident),* $(,)?) => {
        /// What was seen since the start.
        #[derive(Default)]
        pub struct Counters { $($(#[$about])* pub $name: AtomicU64),* }

        impl Counters {
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed))),*]
            }
        }
    };
}

counters! {
    udp, tcp, tls, quic, no_error, nx_domain, refused, malformed, failed,
    /// Above the rate of their network.
    limited,
    /// Above the bound on connections.
    connections_refused,
    updates,
    elsewhere,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all ways in share.
pub(crate) struct Shared {
    pub zones: Zones,
    pub signatures: Signatures,
    pub counters: Counters,
    pub stop: AtomicBool,
    limiter: Limiter,
    cookies: Cookies,
    resolver: Option<Arc<dyn Resolver>>,
    recursive: Vec<Prefix>,
    suffixes: Vec<Vec<u8>>,
    waiting: Mutex<Option<SyncSender<Job>>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// A query that the zones do not answer, to be done on a thread that may wait.
pub(crate) enum Later {
    Resolve { query: Vec<u8>, limit: usize },
    Update { message: Vec<u8> },
}

impl Shared {
    /// Appends the response to `bytes`, or says who gives it.
    pub fn answer(
        &self,
        bytes: &[u8],
        client: IpAddr,
        via: Via,
        out: &mut Vec<u8>,
    ) -> Option<Later> {
        let now_s = now_s();
        let outcome = match message::read(bytes) {
            Read::Nothing => Outcome::Silent,
            Read::Malformed(id, flags, rcode) => {
                // A bare header amplifies nothing, and is counted all the same.
                if via == Via::Udp && self.limiter.judge(client, now_s) != Verdict::Answer {
                    count(&self.counters.limited);
                    Outcome::Silent
                } else {
                    message::refusal(out, id, flags, rcode);
                    Outcome::Answered(rcode)
                }
            }
            Read::Query(query) => return self.respond(bytes, &query, client, via, now_s, out),
        };
        self.counted(outcome);
        None
    }

    fn respond(
        &self,
        bytes: &[u8],
        query: &Query<'_>,
        client: IpAddr,
        via: Via,
        now_s: u64,
        out: &mut Vec<u8>,
    ) -> Option<Later> {
        let cookie = query.edns.and_then(|edns| edns.cookie);
        let exchanged = cookie.map(|cookie| self.cookies.exchange(cookie, client, now_s));
        let known = exchanged.as_ref().is_some_and(|(_, known)| *known);
        let verdict = match via {
            Via::Udp if !known => self.limiter.judge(client, now_s),
            _ => Verdict::Answer,
        };
        if verdict != Verdict::Answer {
            count(&self.counters.limited);
        }
        if verdict == Verdict::Drop {
            return None;
        }
        let elsewhere = |query: &Query<'_>| self.is_elsewhere(query, client);
        let terms = Terms {
            via,
            now_s,
            elsewhere: &elsewhere,
            slip: verdict == Verdict::Slip,
            cookie: exchanged.as_ref().map(|(cookie, _)| cookie.as_slice()),
        };
        let outcome = answer::respond(&self.zones, &self.signatures, query, &terms, out);
        self.counted(outcome);
        match outcome {
            Outcome::Elsewhere => Some(Later::Resolve {
                query: bytes.to_vec(),
                limit: answer::limit(query, via),
            }),
            Outcome::Update => Some(Later::Update {
                message: bytes.to_vec(),
            }),
            _ => None,
        }
    }

    fn is_elsewhere(&self, query: &Query<'_>, client: IpAddr) -> bool {
        let below = |suffix: &Vec<u8>| name::is_within(&query.name, suffix);
        let recursive = |prefix: &Prefix| prefix.holds(client);
        self.resolver.is_some()
            && (self.suffixes.iter().any(below)
                || query.recursion_desired() && self.recursive.iter().any(recursive))
    }

    fn counted(&self, outcome: Outcome) {
        let counters = &self.counters;
        count(match outcome {
            Outcome::Answered(Rcode::NoError) => &counters.no_error,
            Outcome::Answered(Rcode::NxDomain) => &counters.nx_domain,
            Outcome::Answered(Rcode::ServFail) => &counters.failed,
            Outcome::Answered(Rcode::Refused) => &counters.refused,
            Outcome::Answered(_) => &counters.malformed,
            Outcome::Elsewhere => &counters.elsewhere,
            Outcome::Update => &counters.updates,
            Outcome::Silent => return,
        });
    }

    /// Has `later` done on a thread that may wait, which gives the response to `done`. Without
    /// certificates no update is carried out.
    pub fn defer(
        self: &Arc<Self>,
        later: Later,
        certificates: Arc<Vec<Vec<u8>>>,
        done: impl FnOnce(Vec<u8>) + Send + 'static,
    ) {
        let refused = matches!(&later, Later::Update { .. } if certificates.is_empty());
        let (bytes, rcode) = match &later {
            Later::Resolve { query, .. } => (query.clone(), Rcode::ServFail),
            Later::Update { message } if refused => (message.clone(), Rcode::Refused),
            Later::Update { message } => (message.clone(), Rcode::ServFail),
        };
        let Some(resolver) = self.resolver.clone().filter(|_| !refused) else {
            return done(failure(&bytes, rcode));
        };
        let done = Arc::new(Mutex::new(Some(done)));
        let job = {
            let (done, bytes) = (done.clone(), bytes.clone());
            Box::new(move || {
                let response = match &later {
                    Later::Resolve { query, limit } => resolver
                        .resolve(query, *limit)
                        .filter(|response| response.len() <= *limit),
                    Later::Update { message } => resolver.update(message, &certificates),
                };
                if let Some(done) = done.lock().take() {
                    done(response.unwrap_or_else(|| failure(&bytes, rcode)));
                }
            })
        };
        let full = match &*self.waiting.lock() {
            Some(waiting) => matches!(
                waiting.try_send(job),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_))
            ),
            None => true,
        };
        if full {
            if let Some(done) = done.lock().take() {
                done(failure(&bytes, rcode));
            }
        }
    }
}

/// A response to `bytes` that has nothing but its code.
fn failure(bytes: &[u8], rcode: Rcode) -> Vec<u8> {
    let mut out = Vec::new();
    if let Read::Query(query) = message::read(bytes) {
        if query.opcode == message::Opcode::Query {
            let mut response = Response::begin(&mut out, &query);
            response.rcode = rcode;
            response.end(&query, message::UDP_BYTES_PLAIN, false, None);
        } else {
            message::refusal(&mut out, query.id, query.flags, rcode);
        }
    }
    out
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().recv();
        match job {
            // A job that panics ends its query, which the client asks again.
            Ok(job) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))),
            Err(_) => return,
        }
    }
}

/// What `bind` makes at the first free port of `tried`, from that of `address` on. The error is
/// that of `address` itself, which it names.
fn first_free<T>(
    address: SocketAddr,
    tried: u16,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let last = match address.port() {
        0 => 0,
        port => port.saturating_add(tried.saturating_sub(1)),
    };
    let mut refused = None;
    for port in address.port()..=last {
        match bind(SocketAddr::new(address.ip(), port)) {
            Ok(bound) => return Ok(bound),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let error = refused.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
    Err(io::Error::new(error.kind(), format!("{address}: {error}")))
}

/// A name server that runs until it is stopped or dropped.
pub struct Server {
    shared: Arc<Shared>,
    bound: Vec<(&'static str, SocketAddr)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    streams: Mutex<Option<tokio::runtime::Runtime>>,
    quic: Mutex<Option<quic::Listener>>,
    tls: Option<Arc<Presented>>,
}

impl Server {
    pub fn start(
        settings: &Settings,
        resolver: Option<Arc<dyn Resolver>>,
        secret: &[u8; 32],
    ) -> io::Result<Server> {
        let (waiting, jobs) = sync_channel::<Job>(ELSEWHERE_WAITING_MAX);
        let deferring = resolver.is_some();
        let shared = Arc::new(Shared {
            zones: Zones::default(),
            signatures: Signatures::new(settings.signatures_max),
            counters: Counters::default(),
            stop: AtomicBool::new(false),
            limiter: Limiter::new(settings.rate.clone()),
            cookies: Cookies::new(secret),
            resolver,
            recursive: settings.recursive.clone(),
            suffixes: settings.suffixes.clone(),
            waiting: Mutex::new(deferring.then_some(waiting)),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dns-stream")
            .enable_all()
            .build()?;
        let mut server = Server {
            shared: shared.clone(),
            bound: Vec::new(),
            threads: Mutex::default(),
            streams: Mutex::new(None),
            quic: Mutex::new(None),
            tls: None,
        };
        let slots = stream::Slots::new(settings.connections_max, settings.idle);
        for address in &settings.addresses {
            let (listener, sockets) = first_free(*address, settings.ports_tried, |address| {
                udp::bind(address, settings.workers)
            })?;
            let bound = listener.local_addr()?;
            server.bound.push(("udp", bound));
            server.bound.push(("tcp", bound));
            for socket in sockets {
                let shared = shared.clone();
                let thread = thread::Builder::new().name("dns-udp".into());
                let thread = thread.spawn(move || udp::serve(&socket, &shared))?;
                server.threads.lock().push(thread);
            }
            runtime.block_on(stream::listen(
                listener,
                None,
                shared.clone(),
                slots.clone(),
            ))?;
        }
        if let Some(tls) = &settings.tls {
            let (acceptor, presented) = stream::acceptor(tls)?;
            server.tls = Some(presented);
            for address in &tls.addresses {
                let listener = first_free(*address, settings.ports_tried, udp::listener)?;
                server.bound.push(("tls", listener.local_addr()?));
                let acceptor = Some(acceptor.clone());
                runtime.block_on(stream::listen(
                    listener,
                    acceptor,
                    shared.clone(),
                    slots.clone(),
                ))?;
            }
        }
        if let Some(quic) = &settings.quic {
            let tried = settings.ports_tried;
            let listener = first_free(SocketAddr::V6(quic.address), tried, |address| {
                let mut free = quic.address;
                free.set_port(address.port());
                quic::Listener::start(free, &quic.certificate, shared.clone())
            })?;
            server.bound.push(("quic", listener.local()));
            *server.quic.lock() = Some(listener);
        }
        if deferring {
            let jobs = Arc::new(Mutex::new(jobs));
            for _ in 0..ELSEWHERE_THREADS {
                let jobs = jobs.clone();
                let thread = thread::Builder::new().name("dns-elsewhere".into());
                let thread = thread.spawn(move || work(&jobs))?;
                server.threads.lock().push(thread);
            }
        }
        *server.streams.lock() = Some(runtime);
        Ok(server)
    }

    pub fn zones(&self) -> &Zones {
        &self.shared.zones
    }

    /// Transport and address of each socket.
    pub fn bound(&self) -> &[(&'static str, SocketAddr)] {
        &self.bound
    }

    /// Shows `certificate` over TLS and QUIC from now on; open connections go on. Where it cannot
    /// be used, the one before stays.
    pub fn present(&self, certificate: &Certificate) -> io::Result<()> {
        if let Some(presented) = &self.tls {
            let certificate = quic::open_certificate(certificate);
            presented.replace(&certificate).map_err(quic::refused)?;
        }
        match &*self.quic.lock() {
            Some(quic) => quic.present(certificate),
            None => Ok(()),
        }
    }

    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut found = self.shared.counters.read();
        found.push(("signatures_made", self.shared.signatures.made()));
        found.push(("signatures_held", self.shared.signatures.held() as u64));
        found.push(("zones", self.shared.zones.count() as u64));
        found
    }

    /// Ends all sockets and threads. Blocks until that is done.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.waiting.lock().take();
        if let Some(quic) = self.quic.lock().take() {
            quic.stop();
        }
        if let Some(streams) = self.streams.lock().take() {
            streams.shutdown_timeout(Duration::from_secs(1));
        }
        for thread in self.threads.lock().drain(..) {
            // It fails only where that thread has panicked, and then it has ended as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
