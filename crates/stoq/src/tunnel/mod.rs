//! Tunnels: local sockets carried over streams of a connection.
//!
//! ```text
//! program ── socket ── forward ══ STOQ stream ══ serve ── socket ── service
//!
//! opening = version u8 | carriage u8 | service id 16 B        after the request header (open)
//! ```
//! The bytes of a connection (TCP, UNIX) follow as they are. Datagrams (UDP) go as QUIC datagrams
//! beside the stream (`flow`); those on it come each behind its length, a u16. Who may connect where
//! is decided outside, and comes here as a socket: the opening names a service, never a target.
//!
//! An end in one direction ends that direction at the other end too, a reset both. Nothing is
//! read that the other side does not take, so a slow reader slows the writer at the far end.

mod datagrams;
mod flow;
mod pump;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::io::Interest;
use tokio::sync::watch;

use crate::connection::{self, Connection};
use crate::error::{Error, Kind, Result};
use crate::frame::{AnswerHeader, Extent, Status};
use crate::intake::Running;
use crate::limits::{
    ANSWER_SEND_TIMEOUT, TUNNEL_CONNECT_TIMEOUT, TUNNEL_OPEN_TIMEOUT, TUNNEL_STREAMS_MAX,
};
use crate::problem;
use crate::quic::{timeout, RecvStream};
use crate::request::{Permit, Request};
use crate::stream::{refuse, within, Outlet};

pub(crate) use flow::Flows;

/// The STOQ service number of tunnels (`hypermesh.wire.rpc.SERVICE_TUNNEL`).
pub const SERVICE: u16 = 22;

/// Bytes of an opening.
pub const OPENING_BYTES: usize = 18;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// The bytes of one connection.
    Bytes,
    /// Datagrams, beside the stream or behind their lengths on it.
    Datagrams,
}

/// A registered local socket.
type Local = AsyncFd<Socket>;

/// The streams under one rule: of a service that is offered, or of a socket that is forwarded.
/// Dropped or closed, it ends them.
pub struct Tunnel {
    shared: Arc<Shared>,
}

struct Shared {
    limit: usize,
    open: AtomicUsize,
    opened: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    datagrams: AtomicU64,
    streamed: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    last: Mutex<Option<Failure>>,
    closed: watch::Sender<bool>,
}

/// Why a stream of a tunnel ended badly, or did not begin.
#[derive(Clone, Debug)]
pub struct Failure {
    pub error: Error,
    pub unix_ms: u64,
}

/// What a tunnel has done. Bytes go out from the local socket, and come in to it. Of datagrams,
/// `datagrams` went out as such, `streamed` over their streams, and `dropped` found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelStats {
    pub open: usize,
    pub opened: u64,
    pub refused: u64,
    pub failed: u64,
    pub dropped: u64,
    pub datagrams: u64,
    pub streamed: u64,
    pub bytes_out: u64,
    pub bytes_in: u64,
}

/// The two ends of an accepted stream, before its answer.
pub(crate) struct Opened {
    pub outlet: Outlet,
    pub receive: RecvStream,
    pub permit: Permit,
    pub running: Running,
    /// Of the endpoint.
    pub flows: Arc<Flows>,
}

impl Tunnel {
    /// At most `limit` streams at a time, and never more than `TUNNEL_STREAMS_MAX`.
    pub fn new(limit: usize) -> Tunnel {
        Tunnel {
            shared: Arc::new(Shared {
                limit: limit.min(TUNNEL_STREAMS_MAX),
                open: AtomicUsize::new(0),
                opened: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                datagrams: AtomicU64::new(0),
                streamed: AtomicU64::new(0),
                bytes_out: AtomicU64::new(0),
                bytes_in: AtomicU64::new(0),
                last: Mutex::default(),
                closed: watch::Sender::new(false),
            }),
        }
    }

    /// Carries the stream that `request` opens to and from `socket`, which is connected or on its
    /// way. The peer learns when it is, or why it cannot be.
    ///
    /// Where this returns an error, the request is still to be refused.
    pub fn serve(&self, request: &Request, socket: OwnedFd, carriage: Carriage) -> Result<()> {
        let place = self.shared.place()?;
        let opened = request
            .take_tunnel()
            .ok_or_else(|| Error::new(Kind::MalformedFrame, "the request opens no tunnel"))?;
        request.drive().spawn(async move {
            let shared = place.shared.clone();
            let socket = Socket::from(socket);
            shared
                .run(serve(&shared, opened, socket, carriage, place))
                .await;
        });
        Ok(())
    }

    /// Carries `socket`, an accepted connection, to and from a new stream of `connection`, which
    /// counts it from now on.
    pub fn forward(
        &self,
        connection: &Arc<Connection>,
        socket: OwnedFd,
        opening: [u8; OPENING_BYTES],
    ) -> Result<()> {
        let socket = Socket::from(socket);
        pump::reset_when_closed(&socket);
        let place = self.shared.place()?;
        // Counted before it runs: the caller decides by the count where the next one goes, and may be
        // many ahead of the thread that opens the streams.
        let lent = connection.lend();
        let connection = connection.clone();
        connection.drive().clone().spawn(async move {
            let shared = place.shared.clone();
            shared
                .run(forward(&shared, &connection, socket, &opening))
                .await;
            drop((lent, place));
        });
        Ok(())
    }

    /// Carries the datagrams that reach `socket`, a flow for each sender, until the connection or
    /// the tunnel ends.
    pub fn forward_datagrams(
        &self,
        connection: &Arc<Connection>,
        socket: OwnedFd,
        opening: [u8; OPENING_BYTES],
    ) {
        let (shared, connection) = (self.shared.clone(), connection.clone());
        connection.drive().clone().spawn(async move {
            let listening = datagrams::listen(shared.clone(), connection, socket.into(), opening);
            let counted = async { shared.count(listening.await) };
            shared.run(counted).await;
        });
    }

    pub fn stats(&self) -> TunnelStats {
        let shared = &self.shared;
        TunnelStats {
            open: shared.open.load(Ordering::Relaxed),
            opened: shared.opened.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            failed: shared.failed.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
            datagrams: shared.datagrams.load(Ordering::Relaxed),
            streamed: shared.streamed.load(Ordering::Relaxed),
            bytes_out: shared.bytes_out.load(Ordering::Relaxed),
            bytes_in: shared.bytes_in.load(Ordering::Relaxed),
        }
    }

    /// The last failure.
    pub fn last(&self) -> Option<Failure> {
        self.shared.last.lock().clone()
    }

    /// Resets all streams; none begins from now on.
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.close();
    }
}

/// One of the streams that a tunnel may have.
struct Place {
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn place(self: &Arc<Self>) -> Result<Place> {
        if *self.closed.borrow() {
            return Err(closed());
        }
        let taken = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < self.limit).then_some(open + 1)
            });
        if taken.is_err() {
            let error = Error::new(
                Kind::Overloaded,
                format!("{} connections use this tunnel", self.limit),
            );
            self.refuse(error.clone());
            return Err(error);
        }
        Ok(Place {
            shared: self.clone(),
        })
    }

    /// Runs one stream to its end or that of the tunnel.
    async fn run(&self, carried: impl std::future::Future<Output = ()>) {
        let mut ended = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = ended.wait_for(|closed| *closed) => {}
            () = carried => {}
        }
    }

    /// Counts how a connection ended. Its local socket is still open: who is there may ask why as
    /// soon as it closes.
    fn settle(&self, local: &Local, carried: Result<()>) {
        if carried.is_ok() {
            pump::end_when_closed(local.get_ref());
        }
        self.count(carried);
    }

    fn count(&self, carried: Result<()>) {
        if let Err(error) = carried {
            self.fail(error);
        }
    }

    fn refuse(&self, error: Error) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.remember(error);
    }

    fn fail(&self, error: Error) {
        let begun = !matches!(
            error.kind(),
            None | Some(Kind::TargetRefused | Kind::Overloaded)
        );
        let count = if begun { &self.failed } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        self.remember(error);
    }

    fn remember(&self, error: Error) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        *self.last.lock() = Some(Failure {
            error,
            unix_ms: now.map_or(0, |now| now.as_millis() as u64),
        });
    }
}

/// The offering side of one stream.
async fn serve(
    shared: &Arc<Shared>,
    opened: Opened,
    socket: Socket,
    carriage: Carriage,
    _place: Place,
) {
    let Opened {
        mut outlet,
        mut receive,
        permit,
        running,
        flows,
    } = opened;
    let local = match connected(socket).await {
        Ok(local) => local,
        Err(error) => {
            shared.fail(error.clone());
            let _ = receive.stop(Kind::TargetRefused.to_wire());
            return refuse(outlet, problem::encode(&error)).await;
        }
    };
    let consent = async |outlet: &mut Outlet| {
        let header = AnswerHeader {
            status: Status::Ok,
            extent: Extent::Open,
        };
        within(ANSWER_SEND_TIMEOUT, outlet.write(&header.write())).await?;
        // What is carried is bounded by the tunnel's limit and no longer by that on requests.
        drop(permit);
        shared.opened.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    match carriage {
        Carriage::Bytes => {
            pump::reset_when_closed(local.get_ref());
            let carried = async {
                consent(&mut outlet).await?;
                pump::serve(shared, &local, outlet, receive).await
            }
            .await;
            shared.settle(&local, carried);
            drop(running);
        }
        Carriage::Datagrams => {
            // Nobody knows when the last one has come, so an end is not waited for.
            drop(running);
            let carried = datagrams::serve(shared, &flows, local, outlet, receive, consent).await;
            shared.count(carried);
        }
    }
}

/// The using side of one connection.
async fn forward(
    shared: &Shared,
    connection: &Connection,
    socket: Socket,
    opening: &[u8; OPENING_BYTES],
) {
    let local = match local(socket) {
        Ok(local) => local,
        Err(error) => return shared.fail(error),
    };
    let carried = async {
        let (outlet, receive) = open(connection, opening).await?;
        pump::forward(shared, &local, outlet, receive).await
    }
    .await;
    shared.settle(&local, carried);
}

/// A stream for a tunnel, its opening sent. The answer is still to be read.
async fn open(
    connection: &Connection,
    opening: &[u8; OPENING_BYTES],
) -> Result<(Outlet, RecvStream)> {
    within(TUNNEL_OPEN_TIMEOUT, connection.open_raw(SERVICE, opening)).await
}

/// Waits for the far side's consent.
async fn answered(receive: &mut RecvStream) -> Result<()> {
    let patience: Duration = TUNNEL_CONNECT_TIMEOUT + TUNNEL_OPEN_TIMEOUT;
    match within(patience, connection::read_header(receive)).await? {
        Extent::Open => Ok(()),
        Extent::Bytes(_) => Err(Error::new(
            Kind::MalformedFrame,
            "a tunnel was answered by something else",
        )),
    }
}

fn local(socket: Socket) -> Result<Local> {
    socket.set_nonblocking(true).map_err(unusable)?;
    // SAFETY: the `Socket` owns its descriptor and keeps it until it is deregistered.
    let registered = unsafe {
        AsyncFd::register_with_interest(
            socket,
            Interest::READABLE | Interest::WRITABLE | Interest::ERROR,
        )
    };
    registered.map_err(|error| unusable(error.into()))
}

/// `socket` once its connection is there.
async fn connected(socket: Socket) -> Result<Local> {
    let refused = |error: io::Error| Error::new(Kind::TargetRefused, error.to_string());
    let local = local(socket)?;
    match timeout(TUNNEL_CONNECT_TIMEOUT, local.writable()).await {
        Ok(ready) => drop(ready.map_err(refused)?),
        Err(_) => {
            return Err(Error::new(
                Kind::TargetRefused,
                format!("no answer in {} s", TUNNEL_CONNECT_TIMEOUT.as_secs()),
            ))
        }
    }
    match local.get_ref().take_error().map_err(refused)? {
        Some(error) => Err(refused(error)),
        None => Ok(local),
    }
}

fn unusable(error: io::Error) -> Error {
    Error::new(Kind::StreamReset, format!("the local socket: {error}"))
}

fn closed() -> Error {
    Error::new(Kind::StreamReset, "the tunnel is closed")
}
