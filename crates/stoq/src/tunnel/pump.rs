//! The bytes of one connection, both ways.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::Socket;
use tokio::io::Interest;

use super::{answered, unusable, Local, Shared};
use crate::error::{Error, Kind, Result};
use crate::limits::{CHUNK_BYTES, TUNNEL_OPEN_TIMEOUT, TUNNEL_READ_BYTES, TUNNEL_TURN_BYTES};
use crate::quic::{timeout, RecvStream};
use crate::stream::Outlet;

/// The offering side: the answer has been sent.
pub(super) async fn serve(
    shared: &Shared,
    local: &Local,
    outlet: Outlet,
    receive: RecvStream,
) -> Result<()> {
    let inward = inward(local, receive, &shared.bytes_in);
    both(local, outward(local, outlet, &shared.bytes_out), inward).await
}

/// The using side. What the program says first goes out without waiting for the answer.
pub(super) async fn forward(
    shared: &Shared,
    local: &Local,
    outlet: Outlet,
    mut receive: RecvStream,
) -> Result<()> {
    let inward = async {
        if let Err(error) = answered(&mut receive).await {
            stop(&mut receive, &error);
            return Err(error);
        }
        shared.opened.fetch_add(1, Ordering::Relaxed);
        inward(local, receive, &shared.bytes_in).await
    };
    both(local, outward(local, outlet, &shared.bytes_out), inward).await
}

/// Whoever drops the socket from now on, the program at the local end sees a reset, and takes no
/// part for the whole. A UNIX socket has no reset: there it is an end.
pub(super) fn reset_when_closed(socket: &Socket) {
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// The program at the local end has all there is.
pub(super) fn end_when_closed(socket: &Socket) {
    let _ = socket.set_linger(None);
}

/// Which end of the outward direction failed.
enum Broken {
    Local(Error),
    Stream(Error),
}

/// Both directions to their ends, or to the first failure.
async fn both(
    local: &Local,
    outward: impl std::future::Future<Output = std::result::Result<(), Broken>>,
    inward: impl std::future::Future<Output = Result<()>>,
) -> Result<()> {
    let (mut outward, mut inward, mut broken) = (pin!(outward), pin!(inward), pin!(broken(local)));
    let (mut sent, mut received) = (false, false);
    while !(sent && received) {
        tokio::select! {
            result = &mut outward, if !sent => match result {
                Ok(()) => sent = true,
                // A refusal stops the sending, and its reason is in the answer.
                Err(Broken::Stream(error)) if !received => {
                    return match timeout(TUNNEL_OPEN_TIMEOUT, inward).await {
                        Ok(Err(reason)) => Err(reason),
                        _ => Err(error),
                    }
                }
                Err(Broken::Local(error) | Broken::Stream(error)) => return Err(error),
            },
            result = &mut inward, if !received => {
                result?;
                received = true;
            }
            error = &mut broken => return Err(error),
        }
    }
    Ok(())
}

/// From the local socket to the stream.
async fn outward(
    local: &Local,
    mut outlet: Outlet,
    count: &AtomicU64,
) -> std::result::Result<(), Broken> {
    let mut buffer = BytesMut::new();
    let mut turn = Turn::default();
    loop {
        let data = match read(local, &mut buffer).await {
            Ok(data) => data,
            Err(error) => {
                outlet.fail(Kind::StreamReset);
                return Err(Broken::Local(unusable(error)));
            }
        };
        if data.is_empty() {
            return outlet.finish().map_err(Broken::Stream);
        }
        let length = data.len() as u64;
        outlet.write_chunk(data).await.map_err(Broken::Stream)?;
        count.fetch_add(length, Ordering::Relaxed);
        turn.spend(length).await;
    }
}

/// From the stream to the local socket.
async fn inward(local: &Local, mut receive: RecvStream, count: &AtomicU64) -> Result<()> {
    let mut turn = Turn::default();
    loop {
        match receive.read_chunk(CHUNK_BYTES, true).await? {
            Some(chunk) => {
                if let Err(error) = write(local, &chunk.bytes).await {
                    let error = unusable(error);
                    stop(&mut receive, &error);
                    return Err(error);
                }
                let length = chunk.bytes.len() as u64;
                count.fetch_add(length, Ordering::Relaxed);
                turn.spend(length).await;
            }
            None => {
                // It fails only where the program is gone, which the other direction finds.
                let _ = local.get_ref().shutdown(std::net::Shutdown::Write);
                return Ok(());
            }
        }
    }
}

/// What a direction has moved since it last let others run.
#[derive(Default)]
struct Turn(u64);

impl Turn {
    /// Lets others run, and what was written leave, once enough has moved.
    async fn spend(&mut self, bytes: u64) {
        self.0 += bytes;
        if self.0 < TUNNEL_TURN_BYTES {
            return;
        }
        self.0 = 0;
        let mut paused = false;
        poll_fn(|context| {
            if std::mem::replace(&mut paused, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// The next bytes, none at the end. Holds no memory while it waits, and what it returns holds at
/// most twice its own length.
async fn read(local: &Local, buffer: &mut BytesMut) -> io::Result<Bytes> {
    loop {
        let mut ready = local.readable().await?;
        buffer.clear();
        buffer.reserve(TUNNEL_READ_BYTES);
        match ready.try_io(|socket| receive_into(socket.get_ref(), buffer)) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(length)) if length >= TUNNEL_READ_BYTES / 2 => {
                return Ok(buffer.split().freeze());
            }
            Ok(Ok(_)) => return Ok(Bytes::copy_from_slice(buffer)),
            Err(_would_block) => *buffer = BytesMut::new(),
        }
    }
}

/// One `recv` into the spare room of `buffer`.
pub(super) fn receive_into(socket: &Socket, buffer: &mut BytesMut) -> io::Result<usize> {
    let length = socket.recv(buffer.spare_capacity_mut())?;
    // SAFETY: the kernel has written `length` bytes behind what the buffer holds.
    unsafe { buffer.set_len(buffer.len() + length) };
    Ok(length)
}

async fn write(local: &Local, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let mut ready = local.writable().await?;
        match ready.try_io(|socket| socket.get_ref().send_with_flags(data, libc::MSG_NOSIGNAL)) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(sent) => data = data.get(sent?..).unwrap_or_default(),
            Err(_would_block) => {}
        }
    }
    Ok(())
}

/// Waits until the local connection is reset, which neither direction sees while it waits for the
/// stream.
async fn broken(local: &Local) -> Error {
    loop {
        match local.ready(Interest::ERROR).await {
            Ok(mut ready) => {
                if let Ok(Some(error)) = local.get_ref().take_error() {
                    return unusable(error);
                }
                ready.clear_ready_matching(tokio::io::Ready::ERROR);
            }
            Err(error) => return unusable(error),
        }
    }
}

pub(super) fn stop(receive: &mut RecvStream, error: &Error) {
    // It fails only where the stream has ended.
    let _ = receive.stop(error.kind().unwrap_or(Kind::StreamReset).to_wire());
}
