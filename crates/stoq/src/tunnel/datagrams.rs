//! Datagrams of local sockets: one flow for each sender, which ends when nothing moves in it.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::flow::{Flow, Flows, LENGTH_BYTES};
use super::pump::receive_into;
use super::{answered, local, open, unusable, Local, Shared, OPENING_BYTES};
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::frame;
use crate::limits::{DATAGRAM_BYTES_MAX, TUNNEL_SENDERS_MAX};
use crate::quic::RecvStream;
use crate::stream::Outlet;

/// The offering side: a flow to and from a connected socket. `consent` tells the other side, which
/// may send datagrams from then on.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    flows: &Arc<Flows>,
    local: Local,
    mut outlet: Outlet,
    receive: RecvStream,
    consent: impl AsyncFnOnce(&mut Outlet) -> Result<()>,
) -> Result<()> {
    let local = Arc::new(local);
    let (flow, aside) = Flow::new(shared.clone(), local.clone(), None);
    let registered = flow.register(flows, receive.connection(), receive.id());
    consent(&mut outlet).await?;
    flow.agree();
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            match read(&local, &mut buffer).await {
                Ok(()) => flow.send(&buffer),
                // What an ICMP message says of one datagram; the service may come back.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    shared.refuse(Error::new(Kind::TargetRefused, error.to_string()));
                }
                Err(error) => return Err(unusable(error)),
            }
        }
    };
    let outward = async {
        tokio::select! {
            result = reading => result,
            result = write(aside, outlet) => result,
        }
    };
    let inward = unframe(receive, |packet| flow.deliver(&packet));
    let carried = until_quiet(&flow, outward, inward).await;
    drop(registered);
    carried
}

/// The using side: a flow for each sender to `socket`.
pub(super) async fn listen(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    socket: socket2::Socket,
    opening: [u8; OPENING_BYTES],
) -> Result<()> {
    let local = Arc::new(local(socket)?);
    tokio::select! {
        result = receive(&shared, &connection) => result,
        result = accept(&shared, &connection, &local, opening) => result,
    }
}

/// Hands on the datagrams that come back, until the connection ends.
async fn receive(shared: &Shared, connection: &Connection) -> Result<()> {
    loop {
        let framed = connection.next_datagram().await?;
        let known = match frame::read_datagram(&framed) {
            Some((super::SERVICE, body)) => connection.flows().hand_on(connection.quic(), body),
            _ => false,
        };
        if !known {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes what comes to the local socket, until it or the tunnel ends.
async fn accept(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    local: &Arc<Local>,
    opening: [u8; OPENING_BYTES],
) -> Result<()> {
    let senders: Senders = Arc::default();
    let mut buffer = Vec::with_capacity(DATAGRAM_BYTES_MAX);
    let mut ended = shared.closed.subscribe();
    loop {
        let sender = tokio::select! {
            received = read_from(local, &mut buffer) => received.map_err(unusable)?,
            _ = ended.wait_for(|closed| *closed) => return Ok(()),
        };
        let known = senders.lock().get(&sender).cloned();
        let flow = match known {
            Some(flow) => flow,
            None => {
                let known = senders.lock().len();
                let Some(place) = (known < TUNNEL_SENDERS_MAX)
                    .then(|| shared.place().ok())
                    .flatten()
                else {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let (flow, aside) = Flow::new(shared.clone(), local.clone(), Some(sender.into()));
                senders.lock().insert(sender, flow.clone());
                let (shared, connection) = (shared.clone(), connection.clone());
                let (senders, begun) = (senders.clone(), flow.clone());
                let lent = connection.lend();
                connection.drive().clone().spawn(async move {
                    let carried = forward(&shared, &connection, &opening, &begun, aside);
                    shared.run(async { shared.count(carried.await) }).await;
                    senders.lock().remove(&sender);
                    drop((lent, place));
                });
                flow
            }
        };
        flow.send(&buffer);
    }
}

type Senders = Arc<Mutex<HashMap<SocketAddr, Arc<Flow>>>>;

/// One flow, from its stream to its end.
async fn forward(
    shared: &Shared,
    connection: &Connection,
    opening: &[u8; OPENING_BYTES],
    flow: &Arc<Flow>,
    aside: mpsc::Receiver<Bytes>,
) -> Result<()> {
    let (outlet, mut receive) = open(connection, opening).await?;
    let registered = flow.register(connection.flows(), receive.connection(), receive.id());
    let inward = async {
        answered(&mut receive).await?;
        shared.opened.fetch_add(1, Ordering::Relaxed);
        flow.agree();
        unframe(receive, |packet| flow.deliver(&packet)).await
    };
    let carried = until_quiet(flow, write(aside, outlet), inward).await;
    drop(registered);
    carried
}

/// Until nothing moves, which is a good end, or one side fails or ends.
async fn until_quiet(
    flow: &Flow,
    outward: impl Future<Output = Result<()>>,
    inward: impl Future<Output = Result<()>>,
) -> Result<()> {
    tokio::select! {
        () = flow.ceased() => Ok(()),
        result = outward => result,
        result = inward => match result {
            // The far side found it quiet first.
            Err(error) if error.kind() == Some(Kind::StreamReset) => Ok(()),
            result => result,
        },
    }
}

/// Sends what goes over the stream of a flow.
async fn write(mut aside: mpsc::Receiver<Bytes>, mut outlet: Outlet) -> Result<()> {
    while let Some(framed) = aside.recv().await {
        outlet.write_chunk(framed).await?;
    }
    Ok(())
}

/// Hands on each packet of a stream.
async fn unframe(mut receive: RecvStream, mut each: impl FnMut(Bytes)) -> Result<()> {
    loop {
        let mut length = [0; LENGTH_BYTES];
        receive.read_exact(&mut length).await?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
        receive.read_exact(&mut packet).await?;
        each(packet.into());
    }
}

/// One packet into `buffer`.
async fn read(local: &Local, buffer: &mut BytesMut) -> io::Result<()> {
    loop {
        let mut ready = local.readable().await?;
        buffer.clear();
        buffer.reserve(DATAGRAM_BYTES_MAX);
        match ready.try_io(|socket| receive_into(socket.get_ref(), buffer)) {
            Ok(received) => return received.map(drop),
            Err(_would_block) => *buffer = BytesMut::new(),
        }
    }
}

/// One packet into `buffer`; who sent it.
async fn read_from(local: &Local, buffer: &mut Vec<u8>) -> io::Result<SocketAddr> {
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
                    return Ok(sender);
                }
            }
            Err(_would_block) => {}
        }
    }
}
