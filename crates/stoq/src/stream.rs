//! A byte stream of a service: raw bytes both ways, each direction ended by its sender.
//!
//! The accepting side owes one answer header, sent with its first bytes, so that it may still
//! refuse until then. The opening side reads that header before the first bytes. The directions
//! are independent: one thread may read while another writes.

use std::future::Future;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::quic::{timeout, RecvStream, SendStream};
use bytes::Bytes;
use tokio::sync::Mutex;

use crate::chunks::{self, Chunks};
use crate::drive::Drive;
use crate::error::{Error, Kind, Result};
use crate::frame::{self, AnswerHeader, Extent, RequestHeader, Status, ANSWER_HEADER_BYTES};
use crate::limits::{ANSWER_SEND_TIMEOUT, CHUNK_BYTES};
use crate::problem;
use crate::request::Permit;

pub struct Stream {
    sender: Mutex<Sender>,
    receiver: Mutex<Receiver>,
    drive: Arc<Drive>,
    /// Asked for, and perhaps not yet told to the outlet.
    priority: AtomicI32,
    /// Held until the stream is dropped.
    _permit: Option<Permit>,
}

struct Sender {
    /// `None` after the end, a refusal or a failure.
    outlet: Option<Outlet>,
    /// Goes out before the first bytes.
    header: Option<Bytes>,
    accepting: bool,
}

struct Receiver {
    /// `None` where this side only sends.
    receive: Option<RecvStream>,
    /// The header of the answer, as far as it has been read; `None` where none is due.
    header: Option<([u8; ANSWER_HEADER_BYTES], usize)>,
    ended: bool,
}

/// A sending direction that ends well only by `finish`: quinn ends a dropped one as if all had
/// been said, and the peer could not tell a part from the whole.
pub(crate) struct Outlet(Option<SendStream>);

impl Outlet {
    pub fn new(send: SendStream) -> Outlet {
        Outlet(Some(send))
    }

    /// Copies `data` as the connection takes it; in steps, for the reason below.
    pub async fn write(&mut self, data: &[u8]) -> Result<()> {
        for step in data.chunks(CHUNK_BYTES) {
            self.open()?.write_all(step).await?;
        }
        Ok(())
    }

    pub async fn write_chunk(&mut self, data: Bytes) -> Result<()> {
        Ok(self.open()?.write_chunk(data).await?)
    }

    /// Sends `data` without a copy. In steps, since the window gets its room back only when a whole
    /// step has been acknowledged.
    pub async fn write_bytes(&mut self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            let step = data.split_to(data.len().min(CHUNK_BYTES));
            self.write_chunk(step).await?;
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        let mut send = self.0.take().ok_or_else(ended)?;
        send.finish().map_err(|_| ended())
    }

    fn set_priority(&mut self, priority: i32) {
        if let Some(send) = &mut self.0 {
            // It fails only where the stream has ended, and then there is nothing to send.
            let _ = send.set_priority(priority);
        }
    }

    /// Ends it with the number of `kind`.
    pub fn fail(mut self, kind: Kind) {
        if let Some(mut send) = self.0.take() {
            // It fails only where the stream has ended already.
            let _ = send.reset(kind.to_wire());
        }
    }

    fn open(&mut self) -> Result<&mut SendStream> {
        self.0.as_mut().ok_or_else(ended)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if let Some(mut send) = self.0.take() {
            let _ = send.reset(Kind::StreamReset.to_wire());
        }
    }
}

impl Stream {
    pub(crate) fn accept(
        send: SendStream,
        receive: RecvStream,
        drive: Arc<Drive>,
        permit: Permit,
    ) -> Stream {
        let header = AnswerHeader {
            status: Status::Ok,
            extent: Extent::Open,
        };
        Stream::new(send, receive, header.write().to_vec(), drive, Some(permit))
    }

    pub(crate) fn open(
        send: SendStream,
        receive: RecvStream,
        service: u16,
        drive: Arc<Drive>,
    ) -> Stream {
        let header = RequestHeader {
            service,
            extent: Extent::Open,
        };
        Stream::new(send, receive, header.write().to_vec(), drive, None)
    }

    /// Without frames: the first byte is the peer's.
    pub(crate) fn raw(send: SendStream, receive: RecvStream, drive: Arc<Drive>) -> Stream {
        Stream {
            sender: Mutex::new(Sender {
                outlet: Some(Outlet::new(send)),
                header: None,
                accepting: false,
            }),
            receiver: Mutex::new(Receiver {
                receive: Some(receive),
                header: None,
                ended: false,
            }),
            drive,
            priority: AtomicI32::new(0),
            _permit: None,
        }
    }

    /// From the peer to here.
    pub(crate) fn accept_unidirectional(
        receive: RecvStream,
        drive: Arc<Drive>,
        permit: Permit,
    ) -> Stream {
        Stream {
            sender: Mutex::new(Sender {
                outlet: None,
                header: None,
                accepting: false,
            }),
            receiver: Mutex::new(Receiver {
                receive: Some(receive),
                header: None,
                ended: false,
            }),
            drive,
            priority: AtomicI32::new(0),
            _permit: Some(permit),
        }
    }

    /// From here to the peer.
    pub(crate) fn open_unidirectional(send: SendStream, service: u16, drive: Arc<Drive>) -> Stream {
        let header = RequestHeader {
            service,
            extent: Extent::Open,
        };
        Stream {
            sender: Mutex::new(Sender {
                outlet: Some(Outlet::new(send)),
                header: Some(header.write().to_vec().into()),
                accepting: false,
            }),
            receiver: Mutex::new(Receiver {
                receive: None,
                header: None,
                ended: true,
            }),
            drive,
            priority: AtomicI32::new(0),
            _permit: None,
        }
    }

    fn new(
        send: SendStream,
        receive: RecvStream,
        header: Vec<u8>,
        drive: Arc<Drive>,
        permit: Option<Permit>,
    ) -> Stream {
        let accepting = permit.is_some();
        Stream {
            sender: Mutex::new(Sender {
                outlet: Some(Outlet::new(send)),
                header: Some(header.into()),
                accepting,
            }),
            receiver: Mutex::new(Receiver {
                receive: Some(receive),
                header: (!accepting).then_some(([0; ANSWER_HEADER_BYTES], 0)),
                ended: false,
            }),
            drive,
            priority: AtomicI32::new(0),
            _permit: permit,
        }
    }

    /// Sends all of `data`; returns when the connection has taken it, not when the peer has. Where
    /// this fails or runs out of patience, the direction has ended.
    pub async fn write(&self, data: &[u8], patience: Duration) -> Result<()> {
        within(patience, async {
            let mut sender = self.sender.lock().await;
            let mut outlet = self.begin(&mut sender).await?;
            outlet.write(data).await?;
            sender.outlet = Some(outlet);
            Ok(())
        })
        .await
    }

    /// The same for bytes that are handed down without a copy, one behind the other. They are held
    /// until the peer has acknowledged them, or this direction fails.
    pub async fn write_chunks(
        &self,
        chunks: impl IntoIterator<Item = Bytes> + Send,
        patience: Duration,
    ) -> Result<()> {
        within(patience, async {
            let mut sender = self.sender.lock().await;
            let mut outlet = self.begin(&mut sender).await?;
            for chunk in chunks {
                outlet.write_bytes(chunk).await?;
            }
            sender.outlet = Some(outlet);
            Ok(())
        })
        .await
    }

    /// Says that no more bytes follow.
    pub async fn finish(&self, patience: Duration) -> Result<()> {
        within(patience, async {
            let mut sender = self.sender.lock().await;
            self.begin(&mut sender).await?.finish()
        })
        .await
    }

    /// Fills the front of `buffer`; 0 where the peer has sent its last byte.
    pub async fn read_into(&self, buffer: &mut [u8], patience: Duration) -> Result<usize> {
        within(patience, async {
            let mut receiver = self.receiver.lock().await;
            receiver.read_header().await?;
            if receiver.ended {
                return Ok(0);
            }
            let read = receiver.inlet()?.read(buffer).await?;
            receiver.ended = read.is_none();
            Ok(read.unwrap_or(0))
        })
        .await
    }

    /// The next bytes, at most `count`; empty where the peer has sent its last.
    pub async fn read(&self, count: usize, patience: Duration) -> Result<Bytes> {
        within(patience, async {
            let mut receiver = self.receiver.lock().await;
            receiver.read_header().await?;
            if receiver.ended {
                return Ok(Bytes::new());
            }
            let chunk = receiver.inlet()?.read_chunk(count, true).await?;
            receiver.ended = chunk.is_none();
            Ok(chunk.map_or_else(Bytes::new, |chunk| chunk.bytes))
        })
        .await
    }

    /// What has arrived, at most `count` bytes, as the datagrams brought it; waits for the first.
    /// Empty where the peer has sent its last.
    pub async fn read_chunks(&self, count: usize, patience: Duration) -> Result<Chunks> {
        within(patience, async {
            let mut receiver = self.receiver.lock().await;
            receiver.read_header().await?;
            if receiver.ended {
                return Ok(Chunks::default());
            }
            let arrived = chunks::arrived(receiver.inlet()?, count).await?;
            receiver.ended = arrived.is_none();
            Ok(arrived.unwrap_or_default())
        })
        .await
    }

    /// Fills `buffer`; fewer bytes where the peer has sent its last, or where some have arrived
    /// within `patience` and not all.
    pub async fn fill(&self, buffer: &mut [u8], patience: Duration) -> Result<usize> {
        let mut done = 0;
        let filled = within(patience, async {
            let mut receiver = self.receiver.lock().await;
            receiver.read_header().await?;
            while !receiver.ended && done < buffer.len() {
                match receiver.inlet()?.read(&mut buffer[done..]).await? {
                    Some(read) => done += read,
                    None => receiver.ended = true,
                }
            }
            Ok(())
        })
        .await;
        match filled {
            Err(error) if done == 0 || error.kind() != Some(Kind::TimedOut) => Err(error),
            _ => Ok(done),
        }
    }

    /// Among the streams of a connection, those of a higher priority are sent first; all begin at 0.
    /// Where a write is under way, this holds from the next one on.
    pub fn set_priority(&self, priority: i32) {
        self.priority.store(priority, Ordering::Relaxed);
        if let Ok(mut sender) = self.sender.try_lock() {
            if let Some(outlet) = &mut sender.outlet {
                outlet.set_priority(priority);
            }
        }
    }

    async fn begin(&self, sender: &mut Sender) -> Result<Outlet> {
        if let Some(outlet) = &mut sender.outlet {
            outlet.set_priority(self.priority.load(Ordering::Relaxed));
        }
        sender.begin().await
    }

    /// Takes no more of what the peer sends.
    pub(crate) async fn stop(&self) {
        let mut receiver = self.receiver.lock().await;
        receiver.ended = true;
        if let Some(mut receive) = receiver.receive.take() {
            // The stream may have ended already.
            let _ = receive.stop(Kind::Unanswered.to_wire());
        }
    }

    /// Answers with an encoded problem in place of bytes, where none have been sent.
    pub(crate) async fn refuse(&self, encoded: &[u8]) {
        let mut sender = self.sender.lock().await;
        let fresh = sender.header.take().is_some();
        match sender.outlet.take() {
            Some(outlet) if fresh => refuse(outlet, Bytes::copy_from_slice(encoded)).await,
            Some(outlet) => outlet.fail(Kind::Unanswered),
            None => {}
        }
    }

    pub fn drive(&self) -> &Arc<Drive> {
        &self.drive
    }
}

impl Drop for Stream {
    /// An accepted stream that never sent anything was dropped by its service.
    fn drop(&mut self) {
        let sender = self.sender.get_mut();
        if let (true, Some(_), Some(outlet)) =
            (sender.accepting, sender.header.take(), sender.outlet.take())
        {
            let error = Error::new(Kind::Unanswered, "the service dropped the stream");
            self.drive.spawn(refuse(outlet, problem::encode(&error)));
        }
    }
}

impl Sender {
    /// The outlet, past its header. The caller gives it back if it shall be used again.
    async fn begin(&mut self) -> Result<Outlet> {
        let mut outlet = self.outlet.take().ok_or_else(ended)?;
        if let Some(header) = self.header.take() {
            outlet.write_chunk(header).await?;
        }
        Ok(outlet)
    }
}

impl Receiver {
    fn inlet(&mut self) -> Result<&mut RecvStream> {
        self.receive.as_mut().ok_or_else(ended)
    }

    /// Consumes the header of the answer, where it is still due. May be cancelled and called again.
    async fn read_header(&mut self) -> Result<()> {
        let (Some((header, filled)), Some(receive)) = (self.header.as_mut(), &mut self.receive)
        else {
            return Ok(());
        };
        while *filled < ANSWER_HEADER_BYTES {
            match receive.read(&mut header[*filled..]).await? {
                Some(read) => *filled += read,
                None => {
                    return Err(Error::new(
                        Kind::MalformedFrame,
                        "the stream ended before its answer",
                    ))
                }
            }
        }
        let header = AnswerHeader::read(*header)?;
        self.header = None;
        match header {
            AnswerHeader {
                status: Status::Ok,
                extent: Extent::Open,
            } => Ok(()),
            AnswerHeader {
                status: Status::Problem,
                extent: Extent::Bytes(length),
            } => {
                self.ended = true;
                let mut problem = vec![0; length];
                receive.read_exact(&mut problem).await?;
                Err(Error::Problem(problem.into()))
            }
            _ => {
                self.ended = true;
                Err(Error::new(
                    Kind::MalformedFrame,
                    "a stream was answered by something else",
                ))
            }
        }
    }
}

/// Answers a stream that has not been accepted with an encoded problem.
pub(crate) async fn refuse(mut outlet: Outlet, encoded: Bytes) {
    let frame = frame::answer(Status::Problem, &encoded);
    // Where the peer is gone or takes nothing, there is nobody left to tell.
    let _ = timeout(ANSWER_SEND_TIMEOUT, async {
        outlet.write_chunk(frame).await?;
        outlet.finish()
    })
    .await;
}

fn ended() -> Error {
    Error::new(Kind::StreamReset, "this direction of the stream has ended")
}

/// `future`, or `TimedOut` after `patience`.
pub(crate) async fn within<T>(
    patience: Duration,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(patience, future).await.unwrap_or_else(|_| {
        Err(Error::new(
            Kind::TimedOut,
            format!("nothing within {} ms", patience.as_millis()),
        ))
    })
}
