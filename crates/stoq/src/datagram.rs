//! Datagrams of services (RFC 9221): each arrives whole, once or not at all, and in any order.
//!
//! Those of peers wait in one bounded list for the endpoint's services; one peer, over however many
//! connections, gets a part of it, so that a flood drowns its own datagrams and nobody else's. What finds no room is dropped and
//! counted: a datagram has no answer by which its sender could be told.

use std::collections::VecDeque;
use std::future::{poll_fn, Future};
use std::io;
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::bell::Bell;
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::frame;
use crate::limits::{
    DATAGRAMS_OF_PEER_MAX, DATAGRAMS_WAITING_MAX, DATAGRAM_BYTES_WAITING_MAX, DRAIN_MAX,
};
use crate::places::{Place, Places};
use crate::quic::{self, SendDatagramError};
use crate::request::Origin;
use crate::serving::{Services, SERVICE_ECHO};
use crate::tunnel;

/// Bytes that one counts for at least, so that no more wait than there may.
const DATAGRAM_WAITING_BYTES_MIN: usize = DATAGRAM_BYTES_WAITING_MAX / DATAGRAMS_WAITING_MAX;

/// One datagram of a peer.
pub struct Datagram {
    pub origin: Origin,
    pub service: u16,
    pub body: Bytes,
    connection: quic::Connection,
    /// Given back when it is taken.
    share: Option<Share>,
}

impl Datagram {
    /// Sends a datagram back, from the same service. Whether there was room for it now; it may be
    /// lost on its way all the same.
    pub fn reply(&self, body: &[u8]) -> Result<bool> {
        let framed = frame::datagram(self.service, body);
        send_now(&self.connection, framed)
    }
}

/// What waits of one connection and of one peer, counted until it is taken.
struct Share {
    waiting: Arc<AtomicUsize>,
    _room: Place,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the datagrams of an endpoint fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramStats {
    pub received: u64,
    /// Among those received.
    pub dropped: u64,
    pub waiting: usize,
}

/// The datagrams that no service has taken yet.
pub struct Datagrams {
    waiting: Mutex<Waiting>,
    /// Of all that wait, in bytes.
    room: Arc<Places>,
    arrived: Condvar,
    bell: Bell,
    received: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    datagrams: VecDeque<Datagram>,
    closed: bool,
}

impl Waiting {
    fn take(&mut self) -> Vec<Datagram> {
        let count = DRAIN_MAX.min(self.datagrams.len());
        let mut taken: Vec<_> = self.datagrams.drain(..count).collect();
        taken.iter_mut().for_each(|taken| taken.share = None);
        taken
    }
}

impl Datagrams {
    pub fn new() -> io::Result<Datagrams> {
        Ok(Datagrams {
            waiting: Mutex::default(),
            room: Places::new(DATAGRAM_BYTES_WAITING_MAX),
            arrived: Condvar::new(),
            bell: Bell::new()?,
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    fn put(&self, datagram: Datagram) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return false;
        }
        waiting.datagrams.push_back(datagram);
        drop(waiting);
        self.arrived.notify_one();
        self.bell.ring();
        true
    }

    /// Those that wait, `DRAIN_MAX` at most; none after `patience`. Blocks the calling thread.
    pub fn next(&self, patience: Duration) -> Result<Vec<Datagram>> {
        let deadline = Instant::now() + patience;
        let mut waiting = self.waiting.lock();
        loop {
            if !waiting.datagrams.is_empty() {
                return Ok(waiting.take());
            }
            if waiting.closed {
                return Err(crate::drive::closed());
            }
            if self.arrived.wait_until(&mut waiting, deadline).timed_out() {
                return Ok(waiting.take());
            }
        }
    }

    /// Those that wait, `DRAIN_MAX` at most. The bell rings on where more are left.
    pub fn take(&self) -> Result<Vec<Datagram>> {
        self.bell.silence();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(crate::drive::closed());
        }
        let taken = waiting.take();
        if !waiting.datagrams.is_empty() {
            self.bell.ring();
        }
        Ok(taken)
    }

    /// Readable while datagrams wait, and after the endpoint has closed.
    pub fn fd(&self) -> RawFd {
        self.bell.fd()
    }

    pub fn stats(&self) -> DatagramStats {
        DatagramStats {
            received: self.received.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            waiting: self.waiting.lock().datagrams.len(),
        }
    }

    pub fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        let dropped = std::mem::take(&mut waiting.datagrams);
        drop(waiting);
        self.arrived.notify_all();
        self.bell.ring();
        drop(dropped);
    }
}

/// Receives what an admitted peer sends, until its connection ends.
pub(crate) async fn receive(services: Services, connection: quic::Connection, origin: Origin) {
    let datagrams = &services.datagrams;
    let waiting = Arc::new(AtomicUsize::new(0));
    while let Ok(framed) = connection.read_datagram().await {
        datagrams.received.fetch_add(1, Ordering::Relaxed);
        let kept = match frame::read_datagram(&framed) {
            None => false,
            // Of what began before, also while the endpoint takes nothing new.
            Some((tunnel::SERVICE, body)) => services.flows.hand_on(&connection, body),
            Some(_) if services.intake.is_closed() => false,
            // Where the way back is full, the echo is lost, as it may be anyhow.
            Some((SERVICE_ECHO, _)) => send_now(&connection, framed.clone()).unwrap_or(false),
            Some(_) if waiting.load(Ordering::Relaxed) >= DATAGRAMS_OF_PEER_MAX => false,
            Some((service, body)) => {
                let bytes = body.len().max(DATAGRAM_WAITING_BYTES_MIN);
                datagrams
                    .room
                    .take(origin.party, bytes)
                    .is_some_and(|room| {
                        waiting.fetch_add(1, Ordering::Relaxed);
                        datagrams.put(Datagram {
                            origin: origin.clone(),
                            service,
                            // A copy: the packet's memory is shared with others, which it would hold.
                            body: Bytes::copy_from_slice(body),
                            connection: connection.clone(),
                            share: Some(Share {
                                waiting: waiting.clone(),
                                _room: room,
                            }),
                        })
                    })
            }
        };
        if !kept {
            datagrams.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Connection {
    /// Sends `body` to `service` in one packet, when there is room for it: that is how a path that
    /// is slower than its sender holds it back. It may be lost, and the peer may drop it.
    pub async fn send_datagram(&self, service: u16, body: &[u8], patience: Duration) -> Result<()> {
        let framed = frame::datagram(service, body);
        self.during(patience, async {
            self.quic()
                .send_datagram_wait(framed)
                .await
                .map_err(|error| refused(self.quic(), error))
        })
        .await
    }

    /// What has come back, as (service, body), `DRAIN_MAX` at most; waits for the first.
    pub async fn datagrams(&self, patience: Duration) -> Result<Vec<(u16, Bytes)>> {
        self.during(patience, async {
            let mut taken = Vec::new();
            let mut count = 1;
            let first = self.quic().read_datagram().await?;
            taken.extend(opened(&first));
            while count < DRAIN_MAX {
                let received = self.quic().stats().frame_rx.datagram;
                let mut next = pin!(self.quic().read_datagram());
                let next = poll_fn(|context| match next.as_mut().poll(context) {
                    Poll::Ready(Ok(framed)) => Poll::Ready(Some(framed)),
                    // An end comes again at the next call.
                    _ => Poll::Ready(None),
                });
                let Some(framed) = next.await else {
                    self.datagram_counts().all_taken(received, count as u64);
                    return Ok(taken);
                };
                count += 1;
                taken.extend(opened(&framed));
            }
            self.datagram_counts().taken(count as u64);
            Ok(taken)
        })
        .await
    }

    /// The next datagram that has come back, as it is.
    pub(crate) async fn next_datagram(&self) -> Result<Bytes> {
        match self.quic().read_datagram().await {
            Ok(framed) => {
                self.datagram_counts().taken(1);
                Ok(framed)
            }
            Err(_) => Err(self.closed().await),
        }
    }

    /// Datagrams sent, received, and among these dropped for want of room.
    pub fn datagram_stats(&self) -> (u64, u64, u64) {
        let stats = self.quic().stats();
        let dropped = self.datagram_counts().dropped();
        (stats.frame_tx.datagram, stats.frame_rx.datagram, dropped)
    }

    /// Bytes; the longest body that a datagram takes on the present path. `None`: the peer takes no
    /// datagrams.
    pub fn datagram_bytes_max(&self) -> Option<usize> {
        let longest = self.quic().max_datagram_size()?;
        longest.checked_sub(frame::DATAGRAM_HEADER_BYTES)
    }
}

/// What became of the datagrams that came to a connection that this side opened.
#[derive(Default)]
pub struct DatagramCounts {
    taken: AtomicU64,
    dropped: AtomicU64,
}

impl DatagramCounts {
    fn taken(&self, count: u64) -> u64 {
        self.taken.fetch_add(count, Ordering::Relaxed) + count
    }

    /// After `received` had come in all, nothing was left to take.
    fn all_taken(&self, received: u64, count: u64) {
        let dropped = received.saturating_sub(self.taken(count));
        self.dropped.fetch_max(dropped, Ordering::Relaxed);
    }

    /// Those that came while nobody took them and found no room, as far as it is known: up to the
    /// last time that none was left.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn opened(framed: &Bytes) -> Option<(u16, Bytes)> {
    let (service, body) = frame::read_datagram(framed)?;
    Some((service, framed.slice_ref(body)))
}

fn send_now(connection: &quic::Connection, framed: Bytes) -> Result<bool> {
    if connection.datagram_send_buffer_space() < framed.len() {
        return Ok(false);
    }
    match connection.send_datagram(framed) {
        Ok(()) => Ok(true),
        Err(error) => Err(refused(connection, error)),
    }
}

fn refused(connection: &quic::Connection, error: SendDatagramError) -> Error {
    match error {
        SendDatagramError::ConnectionLost(error) => error.into(),
        _ => {
            let longest = connection.max_datagram_size().unwrap_or(0);
            let longest = longest.saturating_sub(frame::DATAGRAM_HEADER_BYTES);
            Error::new(
                Kind::TooLarge,
                format!("at most {longest} bytes fit a datagram to this peer"),
            )
        }
    }
}
