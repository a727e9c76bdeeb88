//! A connection, and one that is about to be.

use std::any::Any;
use std::future::{poll_fn, Future};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::crypto::ExportKeyingMaterialError;
use quinn_proto::{ConnectionError, ConnectionStats, Dir, StreamId, VarInt};

use super::failures::SendDatagramError;
use super::lane::Lane;
use super::link::{wait, Link};
use super::receiving::RecvStream;
use super::scope;
use super::sending::SendStream;
use super::shard::Shard;
use crate::path::monitor::{Monitor, Report};

/// A place among the connections of a shard. Dropped, the connection ends.
pub struct Hold {
    shard: Arc<Shard>,
    lane: Arc<Lane>,
}

impl Hold {
    pub fn new(shard: Arc<Shard>, lane: Arc<Lane>) -> Arc<Hold> {
        Arc::new(Hold { shard, lane })
    }

    pub fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }

    /// Looks at the connection, or does something that leaves nothing to be sent.
    pub fn look<T>(&self, look: impl FnOnce(&mut Link) -> T) -> T {
        look(&mut self.lane.lock())
    }

    /// Does something on the connection, and then has it send what that left to be sent.
    pub fn act<T>(&self, act: impl FnOnce(&mut Link) -> T) -> T {
        self.shard.act(&self.lane, |link| (act(link), true))
    }

    /// Does something that may have to wait. `try_it` says whether it leaves something to be sent.
    pub fn attempt<T>(&self, try_it: impl FnOnce(&mut Link) -> (Poll<T>, bool)) -> Poll<T> {
        let attempted = self.shard.act(&self.lane, try_it);
        if attempted.is_pending() {
            scope::await_on(&self.shard);
        }
        attempted
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shard.abandon(&self.lane);
    }
}

/// What is said of a connection that cannot be found.
const GONE: ConnectionError = ConnectionError::LocallyClosed;

/// A connection whose handshake is not over. A future of the connection.
pub struct Connecting {
    /// `None` once the future is done.
    hold: Option<Arc<Hold>>,
}

impl Connecting {
    pub(super) fn new(hold: Arc<Hold>) -> Connecting {
        Connecting { hold: Some(hold) }
    }

    /// A connection for data that is sent before the handshake is over: 0-RTT data of a client,
    /// which an attacker can replay, or 0.5-RTT data of a server, which an unproven client may get.
    /// The same again where this side has no keys for that.
    pub fn into_0rtt(mut self) -> Result<(Connection, ZeroRttAccepted), Connecting> {
        let able = self.hold.as_ref().is_some_and(|hold| {
            let able = |link: &mut Link| link.inner.has_0rtt() || link.inner.side().is_server();
            hold.look(able)
        });
        match self.hold.take() {
            Some(hold) if able => {
                let accepted = ZeroRttAccepted(hold.clone());
                Ok((Connection(hold), accepted))
            }
            hold => Err(Connecting { hold }),
        }
    }

    /// What the handshake has agreed on, as soon as that is known.
    pub async fn handshake_data(&mut self) -> Result<Box<dyn Any>, ConnectionError> {
        let Some(hold) = &self.hold else {
            return Err(GONE);
        };
        poll_fn(|context| {
            hold.attempt(|link| {
                let ready = match link.inner.crypto_session().handshake_data() {
                    Some(data) => Poll::Ready(Ok(data)),
                    None => match &link.error {
                        Some(error) => Poll::Ready(Err(error.clone())),
                        None => {
                            wait(&mut link.connecting, context);
                            Poll::Pending
                        }
                    },
                };
                (ready, false)
            })
        })
        .await
    }

    pub fn remote_address(&self) -> Option<SocketAddr> {
        Some(self.hold.as_ref()?.look(|link| link.inner.remote_address()))
    }

    pub fn local_ip(&self) -> Option<IpAddr> {
        self.hold.as_ref()?.look(|link| link.inner.local_ip())
    }
}

fn poll_connected(
    hold: &Arc<Hold>,
    context: &mut Context<'_>,
) -> Poll<Result<(), ConnectionError>> {
    hold.attempt(|link| {
        let ready = if link.connected {
            Poll::Ready(Ok(()))
        } else if let Some(error) = &link.error {
            Poll::Ready(Err(error.clone()))
        } else {
            wait(&mut link.connecting, context);
            Poll::Pending
        };
        (ready, false)
    })
}

impl Future for Connecting {
    type Output = Result<Connection, ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(hold) = &self.hold else {
            return Poll::Ready(Err(GONE));
        };
        match poll_connected(hold, context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => match self.hold.take() {
                Some(hold) => Poll::Ready(Ok(Connection(hold))),
                None => Poll::Ready(Err(GONE)),
            },
        }
    }
}

/// A future of whether the peer took the 0-RTT data, known when the handshake is over. False too
/// where the handshake fails; always true on the server.
pub struct ZeroRttAccepted(Arc<Hold>);

impl Future for ZeroRttAccepted {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        poll_connected(&self.0, context).map(|connected| {
            let accepted = |link: &mut Link| !link.rejected_0rtt();
            connected.is_ok() && self.0.look(accepted)
        })
    }
}

/// A connection. It closes with code 0 when the last clone and the last stream is dropped.
#[derive(Clone)]
pub struct Connection(pub(super) Arc<Hold>);

impl Connection {
    /// A stream to the peer, which learns of it with its first byte.
    pub async fn open_uni(&self) -> Result<SendStream, ConnectionError> {
        let (id, early) = poll_fn(|context| self.poll_open(Dir::Uni, context)).await?;
        Ok(SendStream::new(self.0.clone(), id, early))
    }

    /// A stream both ways. The peer learns of it with its first byte.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let (id, early) = poll_fn(|context| self.poll_open(Dir::Bi, context)).await?;
        Ok(self.both(id, early))
    }

    fn poll_open(
        &self,
        dir: Dir,
        context: &mut Context<'_>,
    ) -> Poll<Result<(StreamId, bool), ConnectionError>> {
        self.0.attempt(|link| {
            let ready = if let Some(error) = &link.error {
                Poll::Ready(Err(error.clone()))
            } else if let Some(id) = link.inner.streams().open(dir) {
                let early = link.inner.side().is_client() && link.inner.is_handshaking();
                Poll::Ready(Ok((id, early)))
            } else {
                wait(&mut link.opening[dir as usize], context);
                Poll::Pending
            };
            (ready, false)
        })
    }

    /// The next stream that the peer has opened one way.
    pub async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        let (id, early) = poll_fn(|context| self.poll_accept(Dir::Uni, context)).await?;
        Ok(RecvStream::new(self.0.clone(), id, early))
    }

    /// The next stream that the peer has opened both ways.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let (id, early) = poll_fn(|context| self.poll_accept(Dir::Bi, context)).await?;
        Ok(self.both(id, early))
    }

    fn poll_accept(
        &self,
        dir: Dir,
        context: &mut Context<'_>,
    ) -> Poll<Result<(StreamId, bool), ConnectionError>> {
        self.0.attempt(|link| {
            // Streams that came before the end are still to be had.
            if let Some(id) = link.inner.streams().accept(dir) {
                link.widen(dir);
                // The peer may now open another one.
                return (Poll::Ready(Ok((id, link.inner.is_handshaking()))), true);
            }
            let ready = match &link.error {
                Some(error) => Poll::Ready(Err(error.clone())),
                None => {
                    wait(&mut link.accepting[dir as usize], context);
                    Poll::Pending
                }
            };
            (ready, false)
        })
    }

    fn both(&self, id: StreamId, early: bool) -> (SendStream, RecvStream) {
        (
            SendStream::new(self.0.clone(), id, early),
            RecvStream::new(self.0.clone(), id, early),
        )
    }

    /// Sends bytes that may be lost or overtaken, in one packet. The oldest of those that have not
    /// left yet make room.
    pub fn send_datagram(&self, data: Bytes) -> Result<(), SendDatagramError> {
        let sent = self.0.act(|link| match &link.error {
            Some(error) => Err(error.clone().into()),
            None => link
                .inner
                .datagrams()
                .send(data, true)
                .map_err(datagram_failure),
        });
        sent
    }

    /// The same, and waits for room.
    pub async fn send_datagram_wait(&self, data: Bytes) -> Result<(), SendDatagramError> {
        let mut waiting = Some(data);
        poll_fn(|context| {
            self.0.attempt(|link| {
                if let Some(error) = &link.error {
                    return (Poll::Ready(Err(error.clone().into())), false);
                }
                let data = waiting.take().unwrap_or_default();
                match link.inner.datagrams().send(data, false) {
                    Ok(()) => (Poll::Ready(Ok(())), true),
                    Err(quinn_proto::SendDatagramError::Blocked(data)) => {
                        waiting = Some(data);
                        wait(&mut link.datagram_writers, context);
                        (Poll::Pending, false)
                    }
                    Err(error) => (Poll::Ready(Err(datagram_failure(error))), false),
                }
            })
        })
        .await
    }

    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        poll_fn(|context| {
            self.0.attempt(|link| {
                let ready = match (link.inner.datagrams().recv(), &link.error) {
                    (Some(data), _) => Poll::Ready(Ok(data)),
                    (None, Some(error)) => Poll::Ready(Err(error.clone())),
                    (None, None) => {
                        wait(&mut link.datagram_readers, context);
                        Poll::Pending
                    }
                };
                (ready, false)
            })
        })
        .await
    }

    /// Bytes; the largest datagram that the path and the peer take now. `None`: the peer takes
    /// none.
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.0.look(|link| link.inner.datagrams().max_size())
    }

    /// Bytes; what can be sent without pushing out an older datagram.
    pub fn datagram_send_buffer_space(&self) -> usize {
        let space = |link: &mut Link| link.inner.datagrams().send_buffer_space();
        self.0.look(space)
    }

    /// Ends the connection at once, with a code and a reason for the peer.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        let reason = Bytes::copy_from_slice(reason);
        let hold = &self.0;
        hold.shard.close(&hold.lane, Instant::now(), code, reason);
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> ConnectionError {
        poll_fn(|context| {
            self.0.attempt(|link| {
                let ready = match &link.error {
                    Some(error) => Poll::Ready(error.clone()),
                    None => {
                        wait(&mut link.closing, context);
                        Poll::Pending
                    }
                };
                (ready, false)
            })
        })
        .await
    }

    /// Why it has ended; `None` while it lives.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.0.look(|link| link.error.clone())
    }

    pub fn remote_address(&self) -> SocketAddr {
        self.0.look(|link| link.inner.remote_address())
    }

    pub fn local_ip(&self) -> Option<IpAddr> {
        self.0.look(|link| link.inner.local_ip())
    }

    pub fn rtt(&self) -> Duration {
        self.0.look(|link| link.inner.rtt())
    }

    pub fn stats(&self) -> ConnectionStats {
        self.0.look(|link| link.inner.stats())
    }

    /// Has `monitor` judge the path from now on.
    pub fn watch(&self, monitor: Monitor) {
        self.0.look(|link| link.monitor = Some(Box::new(monitor)));
    }

    /// What the path is and what the connection waits for; `None` where nobody watches it.
    pub fn path(&self) -> Option<Report> {
        self.0.look(|link| {
            let monitor = link.monitor.as_ref()?;
            Some(monitor.report(Instant::now(), link.inner.rtt()))
        })
    }

    /// Shows the state of the congestion controller to `look`.
    pub fn congestion_state<T>(
        &self,
        look: impl FnOnce(&dyn quinn_proto::congestion::Controller) -> T,
    ) -> Option<T> {
        self.0
            .look(|link| Some(look(link.inner.congestion_state())))
    }

    /// What the handshake has agreed on, `crypto::rustls::HandshakeData` here.
    pub fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.0
            .look(|link| link.inner.crypto_session().handshake_data())
    }

    /// The certificates that the peer has shown, a `Vec<CertificateDer>` here.
    pub fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0
            .look(|link| link.inner.crypto_session().peer_identity())
    }

    /// The TLS exporter (RFC 8446 section 7.5).
    pub fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let export = |link: &mut Link| {
            let session = link.inner.crypto_session();
            session.export_keying_material(output, label, context)
        };
        self.0.look(export)
    }

    /// Changes the keys of the connection now (RFC 9001 section 6). Does nothing while an earlier
    /// change is under way.
    pub fn force_key_update(&self) {
        self.0.act(|link| link.inner.force_key_update());
    }

    /// Sends a packet that the peer acknowledges.
    pub fn ping(&self) {
        self.0.act(|link| link.inner.ping());
    }

    /// Says that what was learned of the path no longer holds.
    pub fn path_changed(&self) {
        self.0.act(|link| link.inner.path_changed(Instant::now()));
    }

    pub fn set_max_concurrent_bi_streams(&self, count: VarInt) {
        self.0
            .act(|link| link.inner.set_max_concurrent_streams(Dir::Bi, count));
    }

    pub fn set_max_concurrent_uni_streams(&self, count: VarInt) {
        self.0
            .act(|link| link.inner.set_max_concurrent_streams(Dir::Uni, count));
    }

    /// Bytes; what the peer may send beyond what was read, on all streams together.
    pub fn set_receive_window(&self, bytes: VarInt) {
        self.0.act(|link| link.inner.set_receive_window(bytes));
    }

    /// Bytes; what is kept until the peer has acknowledged it.
    pub fn set_send_window(&self, bytes: u64) {
        self.0.act(|link| link.inner.set_send_window(bytes));
    }

    /// The same for clones of one connection, and for no other that lives.
    pub fn stable_id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// The shard that carries it.
    pub fn shard(&self) -> &Arc<Shard> {
        self.0.shard()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("key", &self.0.lane.key)
            .finish_non_exhaustive()
    }
}

fn datagram_failure(error: quinn_proto::SendDatagramError) -> SendDatagramError {
    use quinn_proto::SendDatagramError as Proto;
    match error {
        Proto::UnsupportedByPeer => SendDatagramError::UnsupportedByPeer,
        Proto::Disabled => SendDatagramError::Disabled,
        // A datagram that pushes out older ones is never told to wait.
        Proto::TooLarge | Proto::Blocked(_) => SendDatagramError::TooLarge,
    }
}
