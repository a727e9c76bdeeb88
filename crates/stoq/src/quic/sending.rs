//! The sending direction of a stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn_proto::{ClosedStream, FinishError, StreamId, VarInt};

use super::connection::Hold;
use super::failures::{StoppedError, WriteError};
use super::link::Link;

/// Dropped, it ends as if all had been said; [`SendStream::reset`] tells the peer otherwise.
pub struct SendStream {
    hold: Arc<Hold>,
    id: StreamId,
    /// Opened before the handshake was over.
    early: bool,
    /// Finished or reset: there is nothing to do when it is dropped.
    ended: bool,
}

impl SendStream {
    pub(super) fn new(hold: Arc<Hold>, id: StreamId, early: bool) -> SendStream {
        SendStream {
            hold,
            id,
            early,
            ended: false,
        }
    }

    /// Whether it was opened before the handshake was done: it is void where the peer does not
    /// take the first flight.
    pub fn is_early(&self) -> bool {
        self.early
    }

    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Bytes taken of the front of `data`, at least one unless it is empty.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        poll_fn(|context| self.poll_write(context, data)).await
    }

    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        self.attempt(context, |stream| stream.write(data))
    }

    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let written = self.write(data).await?;
            data = data.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes all of `data` without copying it.
    pub async fn write_chunk(&mut self, data: Bytes) -> Result<(), WriteError> {
        self.write_all_chunks(&mut [data]).await
    }

    /// The same for several. What remains in them after a failure was not written.
    pub async fn write_all_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), WriteError> {
        while let Some(first) = chunks.iter().position(|chunk| !chunk.is_empty()) {
            let rest = chunks.get_mut(first..).unwrap_or_default();
            poll_fn(|context| self.attempt(context, |stream| stream.write_chunks(rest))).await?;
        }
        Ok(())
    }

    fn attempt<T>(
        &self,
        context: &Context<'_>,
        write: impl FnOnce(&mut quinn_proto::SendStream<'_>) -> Result<T, quinn_proto::WriteError>,
    ) -> Poll<Result<T, WriteError>> {
        use quinn_proto::WriteError as Proto;
        self.hold.attempt(|link| {
            if self.early && link.rejected_0rtt() {
                return (Poll::Ready(Err(WriteError::ZeroRttRejected)), false);
            }
            if let Some(error) = &link.error {
                return (Poll::Ready(Err(error.clone().into())), false);
            }
            match write(&mut link.inner.send_stream(self.id)) {
                Ok(written) => (Poll::Ready(Ok(written)), true),
                // The peer learns that this side would send more.
                Err(Proto::Blocked) => {
                    link.writers.insert(self.id, context.waker().clone());
                    (Poll::Pending, true)
                }
                Err(Proto::Stopped(code)) => (Poll::Ready(Err(WriteError::Stopped(code))), false),
                Err(Proto::ClosedStream) => (Poll::Ready(Err(WriteError::ClosedStream)), false),
            }
        })
    }

    /// Says that no more bytes follow. Does not wait for the peer to have them.
    pub fn finish(&mut self) -> Result<(), ClosedStream> {
        let finished = self.hold.act(|link| {
            let mut stream = link.inner.send_stream(self.id);
            match stream.finish() {
                Ok(()) => Ok(()),
                // It needs no end that says that all came, but an end: the peer keeps its place
                // among the streams that we may open until then (RFC 9000 section 3.5).
                Err(FinishError::Stopped(code)) => {
                    let _ = stream.reset(code);
                    Ok(())
                }
                Err(FinishError::ClosedStream) => Err(ClosedStream::default()),
            }
        });
        self.ended = true;
        finished
    }

    /// Gives up what has not arrived yet.
    pub fn reset(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let reset = self.hold.act(|link| {
            if self.early && link.rejected_0rtt() {
                return Ok(());
            }
            link.inner.send_stream(self.id).reset(code)
        });
        self.ended = true;
        reset
    }

    /// Streams with a higher priority are sent first; 0 is where all begin.
    pub fn set_priority(&self, priority: i32) -> Result<(), ClosedStream> {
        let set = |link: &mut Link| link.inner.send_stream(self.id).set_priority(priority);
        self.hold.look(set)
    }

    pub fn priority(&self) -> Result<i32, ClosedStream> {
        self.hold
            .look(|link| link.inner.send_stream(self.id).priority())
    }

    /// Waits until the peer has acknowledged a finished stream (`None`) or has stopped it, with the
    /// code it gave.
    pub async fn stopped(&self) -> Result<Option<VarInt>, StoppedError> {
        poll_fn(|context| {
            self.hold.attempt(|link| {
                if self.early && link.rejected_0rtt() {
                    return (Poll::Ready(Err(StoppedError::ZeroRttRejected)), false);
                }
                let ready = match link.inner.send_stream(self.id).stopped() {
                    Err(_) => Poll::Ready(Ok(None)),
                    Ok(Some(code)) => Poll::Ready(Ok(Some(code))),
                    Ok(None) => match &link.error {
                        Some(error) => Poll::Ready(Err(error.clone().into())),
                        None => {
                            link.finishers.insert(self.id, context.waker().clone());
                            Poll::Pending
                        }
                    },
                };
                (ready, false)
            })
        })
        .await
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (id, early) = (self.id, self.early);
        self.hold.act(|link| {
            link.writers.remove(&id);
            link.finishers.remove(&id);
            if link.error.is_some() || (early && link.rejected_0rtt()) {
                return;
            }
            let mut stream = link.inner.send_stream(id);
            // It is closed already where it was finished or reset.
            if let Err(FinishError::Stopped(code)) = stream.finish() {
                let _ = stream.reset(code);
            }
        });
    }
}
