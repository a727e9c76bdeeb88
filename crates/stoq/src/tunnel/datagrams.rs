//! Datagrams over streams: one stream for each sender, which ends when nothing moves on it.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::pump::receive_into;
use super::{answered, local, open, unusable, Local, Shared, OPENING_BYTES};
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::limits::{
    DATAGRAM_BYTES_MAX, TUNNEL_DATAGRAMS_WAITING_MAX, TUNNEL_DATAGRAM_IDLE, TUNNEL_SENDERS_MAX,
};
use crate::quic::{timeout, RecvStream};
use crate::stream::Outlet;

const LENGTH_BYTES: usize = 2;

/// When something last moved.
struct Activity(Mutex<Instant>);

impl Activity {
    fn begun() -> Activity {
        Activity(Mutex::new(Instant::now()))
    }

    fn note(&self) {
        *self.0.lock() = Instant::now();
    }

    /// Returns once nothing has moved for `TUNNEL_DATAGRAM_IDLE`.
    async fn ceased(&self) {
        loop {
            let quiet = self.0.lock().elapsed();
            let Some(left) = TUNNEL_DATAGRAM_IDLE.checked_sub(quiet) else {
                return;
            };
            let _ = timeout(left, std::future::pending::<()>()).await;
        }
    }
}

/// The offering side: a stream to and from a connected socket.
pub(super) async fn serve(
    shared: &Shared,
    local: &Local,
    outlet: Outlet,
    receive: RecvStream,
) -> Result<()> {
    let activity = Activity::begun();
    let outward = async {
        let mut outlet = outlet;
        let mut buffer = BytesMut::new();
        loop {
            let length = match read(local, &mut buffer).await {
                Ok(length) => length as u64,
                // What an ICMP message says of one datagram; the service may come back.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    shared.refuse(Error::new(Kind::TargetRefused, error.to_string()));
                    continue;
                }
                Err(error) => return Err(unusable(error)),
            };
            outlet.write(&buffer).await?;
            shared.bytes_out.fetch_add(length, Ordering::Relaxed);
            activity.note();
        }
    };
    let inward = unframe(receive, |datagram| {
        let sent = local
            .get_ref()
            .send_with_flags(&datagram, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
        shared.delivered(sent, datagram.len());
        activity.note();
    });
    until_quiet(&activity, outward, inward).await
}

/// The using side: a stream for each sender to `socket`.
pub(super) async fn listen(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    socket: socket2::Socket,
    opening: [u8; OPENING_BYTES],
) -> Result<()> {
    let local = Arc::new(local(socket)?);
    let senders: Senders = Arc::default();
    let mut buffer = Vec::with_capacity(DATAGRAM_BYTES_MAX);
    let mut ended = shared.closed.subscribe();
    loop {
        let (datagram, sender) = tokio::select! {
            received = read_from(&local, &mut buffer) => received.map_err(unusable)?,
            error = connection.closed() => return Err(error),
            _ = ended.wait_for(|closed| *closed) => return Ok(()),
        };
        let waiting = senders.lock().get(&sender).cloned();
        let waiting = match waiting {
            Some(waiting) => waiting,
            None => {
                let known = senders.lock().len();
                let Some(place) = (known < TUNNEL_SENDERS_MAX)
                    .then(|| shared.place().ok())
                    .flatten()
                else {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let (waiting, queue) = mpsc::channel(TUNNEL_DATAGRAMS_WAITING_MAX);
                senders.lock().insert(sender, waiting.clone());
                let (shared, connection) = (shared.clone(), connection.clone());
                let (local, senders) = (local.clone(), senders.clone());
                connection.drive().clone().spawn(async move {
                    let lent = connection.lend();
                    let carried = forward(&shared, &connection, &opening, &local, sender, queue);
                    shared.run(carried).await;
                    senders.lock().remove(&sender);
                    drop((lent, place));
                });
                waiting
            }
        };
        if waiting.try_send(datagram).is_err() {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

type Senders = Arc<Mutex<HashMap<SocketAddr, mpsc::Sender<Bytes>>>>;

/// The datagrams of one sender, and those for it.
async fn forward(
    shared: &Shared,
    connection: &Connection,
    opening: &[u8; OPENING_BYTES],
    local: &Local,
    sender: SocketAddr,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<()> {
    let (mut outlet, mut receive) = open(connection, opening).await?;
    let activity = Activity::begun();
    let outward = async {
        let mut frame = BytesMut::new();
        while let Some(datagram) = queue.recv().await {
            frame.clear();
            frame.put_u16(datagram.len() as u16);
            frame.put_slice(&datagram);
            outlet.write(&frame).await?;
            shared
                .bytes_out
                .fetch_add(datagram.len() as u64, Ordering::Relaxed);
            activity.note();
        }
        Ok(())
    };
    let inward = async {
        answered(&mut receive).await?;
        shared.opened.fetch_add(1, Ordering::Relaxed);
        let address = sender.into();
        unframe(receive, |datagram| {
            let sent = local
                .get_ref()
                .send_to_with_flags(&datagram, &address, libc::MSG_DONTWAIT);
            shared.delivered(sent, datagram.len());
            activity.note();
        })
        .await
    };
    until_quiet(&activity, outward, inward).await
}

/// Until nothing moves, which is a good end, or one side fails or ends.
async fn until_quiet(
    activity: &Activity,
    outward: impl Future<Output = Result<()>>,
    inward: impl Future<Output = Result<()>>,
) -> Result<()> {
    tokio::select! {
        () = activity.ceased() => Ok(()),
        result = outward => result,
        result = inward => match result {
            // The far side found it quiet first.
            Err(error) if error.kind() == Some(Kind::StreamReset) => Ok(()),
            result => result,
        },
    }
}

/// Hands on each datagram of a stream.
async fn unframe(mut receive: RecvStream, mut each: impl FnMut(Bytes)) -> Result<()> {
    loop {
        let mut length = [0; LENGTH_BYTES];
        receive.read_exact(&mut length).await?;
        let mut datagram = vec![0; usize::from(u16::from_be_bytes(length))];
        receive.read_exact(&mut datagram).await?;
        each(datagram.into());
    }
}

/// One datagram behind its length into `buffer`; its bytes.
async fn read(local: &Local, buffer: &mut BytesMut) -> io::Result<usize> {
    loop {
        let mut ready = local.readable().await?;
        buffer.clear();
        buffer.put_u16(0);
        buffer.reserve(DATAGRAM_BYTES_MAX);
        match ready.try_io(|socket| receive_into(socket.get_ref(), buffer)) {
            Ok(length) => {
                let length = length?;
                buffer[..LENGTH_BYTES].copy_from_slice(&(length as u16).to_be_bytes());
                return Ok(length);
            }
            Err(_would_block) => *buffer = BytesMut::new(),
        }
    }
}

/// One datagram and who sent it.
async fn read_from(local: &Local, buffer: &mut Vec<u8>) -> io::Result<(Bytes, SocketAddr)> {
    loop {
        let mut ready = local.readable().await?;
        buffer.clear();
        let received =
            ready.try_io(|socket| socket.get_ref().recv_from(buffer.spare_capacity_mut()));
        match received {
            Ok(received) => {
                let (length, sender) = received?;
                // SAFETY: the kernel has written `length` bytes.
                unsafe { buffer.set_len(length) };
                if let Some(sender) = sender.as_socket() {
                    return Ok((Bytes::copy_from_slice(buffer), sender));
                }
            }
            Err(_would_block) => {}
        }
    }
}

impl Shared {
    /// A datagram that the kernel does not take is lost, as on any network.
    fn delivered(&self, sent: io::Result<usize>, length: usize) {
        match sent {
            Ok(_) => self.bytes_in.fetch_add(length as u64, Ordering::Relaxed),
            Err(_) => self.dropped.fetch_add(1, Ordering::Relaxed),
        };
    }
}
