//! The receiving direction of a stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use quinn_proto::{Chunk, Chunks, ClosedStream, ReadableError, StreamId, VarInt};

use super::connection::{Connection, Hold};
use super::failures::{ReadError, ReadExactError, ReadToEndError};

/// Dropped before its end, it tells the peer to stop.
pub struct RecvStream {
    hold: Arc<Hold>,
    id: StreamId,
    /// Opened before the handshake was over.
    early: bool,
    /// Everything was read, or the end was reported otherwise.
    done: bool,
    /// A reset that came behind bytes which were returned.
    reset: Option<VarInt>,
}

/// What one look at the received bytes brought.
enum Looked<T> {
    Some(T),
    /// The same, and nothing follows.
    Last(T),
    /// Nothing follows.
    End,
}

impl RecvStream {
    pub(super) fn new(hold: Arc<Hold>, id: StreamId, early: bool) -> RecvStream {
        RecvStream {
            hold,
            id,
            early,
            done: false,
            reset: None,
        }
    }

    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Whose stream it is.
    pub fn connection(&self) -> Connection {
        Connection(self.hold.clone())
    }

    /// Fills the front of `buffer`; `None` where the peer has sent its last byte.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, ReadError> {
        poll_fn(|context| self.poll_read(context, buffer)).await
    }

    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<Option<usize>, ReadError>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(Some(0)));
        }
        self.attempt(context, true, |chunks| {
            let mut filled = 0;
            loop {
                let room = buffer.get_mut(filled..).unwrap_or_default();
                if room.is_empty() {
                    return Ok(Looked::Some(filled));
                }
                match chunks.next(room.len()) {
                    Ok(Some(chunk)) => {
                        let mut room = room;
                        filled += chunk.bytes.len();
                        room.put_slice(&chunk.bytes);
                    }
                    result if filled > 0 => return kept(result, filled),
                    Ok(None) => return Ok(Looked::End),
                    Err(error) => return Err((error, None)),
                }
            }
        })
    }

    /// Fills all of `buffer`.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ReadExactError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let room = buffer.get_mut(filled..).unwrap_or_default();
            match self.read(room).await? {
                Some(read) => filled += read,
                None => return Err(ReadExactError::FinishedEarly(filled)),
            }
        }
        Ok(())
    }

    /// The next bytes as they were received, at most `max_length`; `None` where the peer has sent
    /// its last. Unordered: bytes behind a gap too, each with its offset.
    pub async fn read_chunk(
        &mut self,
        max_length: usize,
        ordered: bool,
    ) -> Result<Option<Chunk>, ReadError> {
        poll_fn(|context| {
            self.attempt(context, ordered, |chunks| match chunks.next(max_length) {
                Ok(Some(chunk)) => Ok(Looked::Some(chunk)),
                Ok(None) => Ok(Looked::End),
                Err(error) => Err((error, None)),
            })
        })
        .await
    }

    /// The next chunks in order, as many as are there and `bufs` has room for; `None` where the
    /// peer has sent its last byte.
    pub async fn read_chunks(&mut self, bufs: &mut [Bytes]) -> Result<Option<usize>, ReadError> {
        if bufs.is_empty() {
            return Ok(Some(0));
        }
        poll_fn(|context| {
            self.attempt(context, true, |chunks| {
                let mut filled = 0;
                while let Some(place) = bufs.get_mut(filled) {
                    match chunks.next(usize::MAX) {
                        Ok(Some(chunk)) => {
                            *place = chunk.bytes;
                            filled += 1;
                        }
                        result if filled > 0 => return kept(result, filled),
                        Ok(None) => return Ok(Looked::End),
                        Err(error) => return Err((error, None)),
                    }
                }
                Ok(Looked::Some(filled))
            })
        })
        .await
    }

    /// Everything to the end of the stream, where that is at most `limit` bytes.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, ReadToEndError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read_chunk(usize::MAX, true).await? {
            if chunk.bytes.len() > limit - all.len() {
                return Err(ReadToEndError::TooLong);
            }
            all.extend_from_slice(&chunk.bytes);
        }
        Ok(all)
    }

    /// Tells the peer to send no more. What was received and not read is dropped.
    pub fn stop(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let early = self.early;
        let stopped = self.hold.act(|link| {
            if early && link.rejected_0rtt() {
                return Ok(());
            }
            link.inner.recv_stream(self.id).stop(code)
        });
        if stopped.is_ok() {
            self.done = true;
        }
        stopped
    }

    /// Waits for the peer to reset the stream, with its code; `None` where it ends otherwise.
    pub async fn received_reset(&mut self) -> Result<Option<VarInt>, ReadError> {
        poll_fn(|context| {
            let (early, id) = (self.early, self.id);
            let looked = self.hold.attempt(|link| {
                if early && link.rejected_0rtt() {
                    return (Poll::Ready(Err(ReadError::ZeroRttRejected)), false);
                }
                match link.inner.recv_stream(id).received_reset() {
                    Err(_) => (Poll::Ready(Ok(None)), false),
                    Ok(Some(code)) => (Poll::Ready(Ok(Some(code))), true),
                    Ok(None) => {
                        let ready = match &link.error {
                            Some(error) => Poll::Ready(Err(error.clone().into())),
                            None => {
                                link.readers.insert(id, context.waker().clone());
                                Poll::Pending
                            }
                        };
                        (ready, false)
                    }
                }
            });
            if let Poll::Ready(Ok(Some(code))) = looked {
                self.done = true;
                self.reset = Some(code);
            }
            looked
        })
        .await
    }

    fn attempt<T>(
        &mut self,
        context: &Context<'_>,
        ordered: bool,
        look: impl FnOnce(&mut Chunks<'_>) -> Result<Looked<T>, (quinn_proto::ReadError, Option<T>)>,
    ) -> Poll<Result<Option<T>, ReadError>> {
        use quinn_proto::ReadError as Proto;
        if let Some(code) = self.reset {
            return Poll::Ready(Err(ReadError::Reset(code)));
        }
        if self.done {
            return Poll::Ready(Ok(None));
        }
        let (early, id) = (self.early, self.id);
        let (mut done, mut reset) = (false, None);
        let looked = self.hold.attempt(|link| {
            if early && link.rejected_0rtt() {
                return (Poll::Ready(Err(ReadError::ZeroRttRejected)), false);
            }
            let mut stream = link.inner.recv_stream(id);
            let mut chunks = match stream.read(ordered) {
                Ok(chunks) => chunks,
                Err(error) => return (Poll::Ready(Err(unreadable(error))), false),
            };
            let result = look(&mut chunks);
            let sends = chunks.finalize().should_transmit();
            let ready = match result {
                Ok(Looked::Some(value)) => Poll::Ready(Ok(Some(value))),
                Ok(Looked::Last(value)) => {
                    done = true;
                    Poll::Ready(Ok(Some(value)))
                }
                Ok(Looked::End) => {
                    done = true;
                    Poll::Ready(Ok(None))
                }
                Err((Proto::Reset(code), value)) => {
                    reset = Some(code);
                    match value {
                        Some(value) => Poll::Ready(Ok(Some(value))),
                        None => Poll::Ready(Err(ReadError::Reset(code))),
                    }
                }
                Err((Proto::Blocked, Some(value))) => Poll::Ready(Ok(Some(value))),
                Err((Proto::Blocked, None)) => match &link.error {
                    Some(error) => Poll::Ready(Err(error.clone().into())),
                    None => {
                        link.readers.insert(id, context.waker().clone());
                        Poll::Pending
                    }
                },
            };
            (ready, sends)
        });
        self.done |= done || reset.is_some();
        self.reset = reset;
        looked
    }
}

/// What was read before `result`, and what `result` says of the stream.
fn kept<T>(
    result: Result<Option<Chunk>, quinn_proto::ReadError>,
    value: T,
) -> Result<Looked<T>, (quinn_proto::ReadError, Option<T>)> {
    match result {
        Err(error) => Err((error, Some(value))),
        Ok(None) => Ok(Looked::Last(value)),
        Ok(Some(_)) => Ok(Looked::Some(value)),
    }
}

fn unreadable(error: ReadableError) -> ReadError {
    match error {
        ReadableError::ClosedStream => ReadError::ClosedStream,
        ReadableError::IllegalOrderedRead => ReadError::IllegalOrderedRead,
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let (id, early) = (self.id, self.early);
        self.hold.act(|link| {
            link.readers.remove(&id);
            if link.error.is_none() && !(early && link.rejected_0rtt()) {
                // It is closed already where the peer has ended it and all was read.
                let _ = link.inner.recv_stream(id).stop(VarInt::from_u32(0));
            }
        });
    }
}
