//! A connection that this side has opened: requests, byte streams, remote memory.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::quic::{ReadToEndError, RecvStream, SendStream, VarInt};
use bytes::Bytes;

use crate::admission::{Alpn, Channel};
use crate::chunks::{Chunks, Frame};
use crate::datagram::DatagramCounts;
use crate::drive::Drive;
use crate::error::{Error, Kind, Result};
use crate::frame::{
    self, AnswerHeader, Extent, RequestHeader, Status, ANSWER_HEADER_BYTES, REQUEST_HEADER_BYTES,
};
use crate::limits::{BODY_BYTES_MAX, JOINED_BYTES_MAX};
use crate::live::Ending;
use crate::memory::{self, Action, Operation};
use crate::path::monitor::Report;
use crate::region::RegionId;
use crate::session;
use crate::stream::{within, Outlet, Stream};
use crate::tunnel::Flows;
use crate::PeerId;

/// An admitted peer.
pub struct Connection {
    quic: crate::quic::Connection,
    channel: Channel,
    early: bool,
    peer: PeerId,
    owner: Option<PeerId>,
    ending: Ending,
    drive: Arc<Drive>,
    datagrams: DatagramCounts,
    tunnelled: Arc<AtomicUsize>,
    flows: Arc<Flows>,
}

/// One stream that is counted.
pub(crate) struct Lent(Arc<AtomicUsize>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a connection fares.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionStats {
    pub rtt_us: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub packets_lost: u64,
    pub mtu_bytes: u64,
    pub window_bytes: u64,
    /// Times that the path was judged to lose what is large, so that datagrams became small again.
    pub black_holes: u64,
    /// Datagrams that asked the path for more, and what became of them.
    pub probes_sent: u64,
    pub probes_lost: u64,
    /// Key changes since the handshake, by either side's wish.
    pub key_updates: u64,
}

impl ConnectionStats {
    pub(crate) fn of(connection: &crate::quic::Connection) -> ConnectionStats {
        let stats = connection.stats();
        ConnectionStats {
            rtt_us: stats.path.rtt.as_micros() as u64,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            mtu_bytes: stats.path.current_mtu.into(),
            window_bytes: stats.path.cwnd,
            black_holes: stats.path.black_holes_detected,
            probes_sent: stats.path.sent_plpmtud_probes,
            probes_lost: stats.path.lost_plpmtud_probes,
            key_updates: session::of(connection).key_updates,
        }
    }
}

impl Connection {
    pub(crate) fn new(
        quic: crate::quic::Connection,
        channel: Channel,
        early: bool,
        peer: PeerId,
        owner: Option<PeerId>,
        ending: Ending,
        drive: Arc<Drive>,
    ) -> Connection {
        Connection {
            quic,
            channel,
            early,
            peer,
            owner,
            ending,
            drive,
            datagrams: DatagramCounts::default(),
            tunnelled: Arc::default(),
            flows: Arc::default(),
        }
    }

    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The owner whom the peer's issuer vouches for.
    pub fn owner(&self) -> Option<PeerId> {
        self.owner
    }

    pub fn alpn(&self) -> Alpn {
        self.channel.alpn
    }

    pub fn channel_binding(&self) -> [u8; 32] {
        self.channel.binding
    }

    pub fn negotiated_group(&self) -> &str {
        &self.channel.group
    }

    /// Whether TLS began from a ticket of an earlier connection.
    pub fn resumed(&self) -> bool {
        self.channel.resumed
    }

    /// Whether its first request went out in the first flight, and the peer took it.
    pub fn early(&self) -> bool {
        self.early
    }

    pub fn remote(&self) -> std::net::SocketAddr {
        self.quic.remote_address()
    }

    pub(crate) fn quic(&self) -> &crate::quic::Connection {
        &self.quic
    }

    pub(crate) fn datagram_counts(&self) -> &DatagramCounts {
        &self.datagrams
    }

    pub fn drive(&self) -> &Arc<Drive> {
        &self.drive
    }

    /// Why it has ended; `None` while it lives.
    pub fn ended(&self) -> Option<Error> {
        self.quic
            .close_reason()
            .map(|reason| self.explained(reason.into()))
    }

    /// The answer of `service`. A problem it answers with is `Error::Problem`.
    pub async fn request(&self, service: u16, body: &[u8], patience: Duration) -> Result<Vec<u8>> {
        let body = Bytes::copy_from_slice(frame::checked_body(body)?);
        Ok(self.call(service, body, patience).await?.to_vec())
    }

    /// The same without a copy of the body, and with the answer as it arrived.
    pub async fn call(&self, service: u16, body: Bytes, patience: Duration) -> Result<Chunks> {
        self.during(patience, self.ask(service, body)).await
    }

    pub(crate) async fn ask(&self, service: u16, body: Bytes) -> Result<Chunks> {
        frame::checked_body(&body)?;
        let (mut outlet, mut receive) = self.open().await?;
        let sent = async {
            send_request(&mut outlet, service, body).await?;
            outlet.finish()
        }
        .await;
        answered(sent, read_answer(&mut receive).await)
    }

    /// The answer of `service` where it is already on its way, else after asking.
    pub(crate) async fn answer_of(
        &self,
        service: u16,
        body: &[u8],
        answer: Option<RecvStream>,
        patience: Duration,
    ) -> Result<Vec<u8>> {
        self.during(patience, async {
            let mut receive = match answer {
                Some(receive) => receive,
                None => asked(self.quic.open_bi().await?, service, body).await?,
            };
            match read_header(&mut receive).await? {
                Extent::Bytes(length) => {
                    let mut answer = vec![0; length];
                    receive.read_exact(&mut answer).await?;
                    Ok(answer)
                }
                Extent::Open => {
                    receive
                        .read_to_end(BODY_BYTES_MAX)
                        .await
                        .map_err(|error| match error {
                            ReadToEndError::Read(error) => error.into(),
                            ReadToEndError::TooLong => Error::new(
                                Kind::TooLarge,
                                format!("more than {BODY_BYTES_MAX} bytes come back"),
                            ),
                        })
                }
            }
        })
        .await
    }

    /// A byte stream to `service`. The service may refuse it, which the first read or write shows.
    pub async fn open_stream(&self, service: u16, patience: Duration) -> Result<Stream> {
        self.during(patience, async {
            let (send, receive) = self.quic.open_bi().await?;
            Ok(Stream::open(send, receive, service, self.drive.clone()))
        })
        .await
    }

    /// A stream one way, to `service`. Where the service refuses it, a write fails.
    pub async fn open_unidirectional(&self, service: u16, patience: Duration) -> Result<Stream> {
        self.during(patience, async {
            let send = self.quic.open_uni().await?;
            Ok(Stream::open_unidirectional(
                send,
                service,
                self.drive.clone(),
            ))
        })
        .await
    }

    /// Fills `buffer` from a region of the peer.
    pub async fn read_region(
        &self,
        region: RegionId,
        epoch: u64,
        offset: u64,
        buffer: &mut [u8],
        patience: Duration,
    ) -> Result<()> {
        let length = buffer.len() as u64;
        let operation = Operation {
            region,
            epoch,
            offset,
            action: Action::Read { length },
        };
        self.during(patience, async {
            let (mut outlet, mut receive) = self.open().await?;
            send_request(&mut outlet, memory::SERVICE, operation.encode().into()).await?;
            outlet.finish()?;
            match read_header(&mut receive).await? {
                Extent::Open => Ok(receive.read_exact(buffer).await?),
                Extent::Bytes(_) => Err(misanswered()),
            }
        })
        .await
    }

    /// Puts `data` into a region of the peer; it is there when this returns. Then the peer has all
    /// of it, and nothing of it is sent again.
    pub async fn write_region(
        &self,
        region: RegionId,
        epoch: u64,
        offset: u64,
        data: Bytes,
        patience: Duration,
    ) -> Result<()> {
        let operation = Operation {
            region,
            epoch,
            offset,
            action: Action::Write {
                length: data.len() as u64,
            },
        };
        self.during(patience, self.put(operation.encode(), [data]))
            .await
    }

    /// Sends an operation that writes, and its bytes; the peer has them when this returns.
    pub(crate) async fn put(
        &self,
        operation: Vec<u8>,
        data: impl IntoIterator<Item = Bytes>,
    ) -> Result<()> {
        let (mut outlet, mut receive) = self.open().await?;
        let sent = async {
            send_request(&mut outlet, memory::SERVICE, operation.into()).await?;
            for data in data {
                outlet.write_bytes(data).await?;
            }
            outlet.finish()
        }
        .await;
        match answered(sent, read_header(&mut receive).await)? {
            Extent::Bytes(0) => Ok(()),
            _ => Err(misanswered()),
        }
    }

    /// `CompareAndSwap` or `FetchAdd`: the word before.
    pub async fn update_region(
        &self,
        region: RegionId,
        epoch: u64,
        offset: u64,
        action: Action,
        patience: Duration,
    ) -> Result<u64> {
        let operation = Operation {
            region,
            epoch,
            offset,
            action,
        };
        let answer = self.operate(operation, patience).await?;
        let word = answer.try_into().map_err(|_| misanswered())?;
        Ok(u64::from_be_bytes(word))
    }

    /// Moves a region to a higher epoch, and our grant on it with it.
    pub async fn fence_region(
        &self,
        region: RegionId,
        epoch: u64,
        next_epoch: u64,
        patience: Duration,
    ) -> Result<()> {
        let operation = Operation {
            region,
            epoch,
            offset: 0,
            action: Action::Fence { epoch: next_epoch },
        };
        let answer = self.operate(operation, patience).await?;
        if answer.is_empty() {
            Ok(())
        } else {
            Err(misanswered())
        }
    }

    async fn operate(&self, operation: Operation, patience: Duration) -> Result<Vec<u8>> {
        self.request(memory::SERVICE, &operation.encode(), patience)
            .await
    }

    pub fn stats(&self) -> ConnectionStats {
        ConnectionStats::of(&self.quic)
    }

    /// What its path is, and what it waits for.
    pub fn path(&self) -> Result<Report> {
        let gone = || Error::new(Kind::ConnectionClosed, "nothing is known of its path");
        self.quic.path().ok_or_else(gone)
    }

    /// Changes the keys of the connection with its next packet (RFC 9001 section 6). It happens by
    /// itself too, after `KEY_LIFETIME` or `KEY_BYTES_MAX`. Nothing happens where the peer has not
    /// confirmed the change before.
    pub fn update_keys(&self) {
        self.quic.force_key_update();
    }

    /// Ends the connection and everything on it, with a code and a reason for the peer. Codes of
    /// [`Kind`] mean what they mean there; 0 says that all is done.
    pub fn close(&self, code: u32, reason: &str) {
        self.quic
            .close(VarInt::from_u32(code), Error::cut(reason).as_bytes());
    }

    pub(crate) async fn during<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        within(patience, call)
            .await
            .map_err(|error| self.explained(error))
    }

    /// Where this side ended the connection for a reason, the reason.
    fn explained(&self, error: Error) -> Error {
        match (error.kind(), self.ending.get()) {
            (Some(Kind::ConnectionClosed), Some(ending)) => ending.clone(),
            _ => error,
        }
    }

    /// A stream to `service` on which `opening` has been sent and no answer read.
    pub(crate) async fn open_raw(
        &self,
        service: u16,
        opening: &[u8],
    ) -> Result<(Outlet, RecvStream)> {
        let header = RequestHeader {
            service,
            extent: Extent::Open,
        };
        let opened = async {
            let (mut outlet, receive) = self.open().await?;
            outlet
                .write_chunk([&header.write()[..], opening].concat().into())
                .await?;
            Ok((outlet, receive))
        };
        opened.await.map_err(|error| self.explained(error))
    }

    /// Why it ended, once it has.
    pub(crate) async fn closed(&self) -> Error {
        let reason = self.quic.closed().await;
        self.explained(reason.into())
    }

    /// The flows of datagrams of tunnels over it.
    pub(crate) fn flows(&self) -> &Arc<Flows> {
        &self.flows
    }

    /// Counts a stream of a tunnel until the value is dropped.
    pub(crate) fn lend(&self) -> Lent {
        self.tunnelled.fetch_add(1, Ordering::Relaxed);
        Lent(self.tunnelled.clone())
    }

    /// Streams of tunnels on this connection.
    pub fn tunnelled(&self) -> usize {
        self.tunnelled.load(Ordering::Relaxed)
    }

    pub(crate) async fn open(&self) -> Result<(Outlet, RecvStream)> {
        let (send, receive) = self.quic.open_bi().await?;
        Ok((Outlet::new(send), receive))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close(0, "");
    }
}

/// Sends a request on a stream of its own; where its answer comes.
pub(crate) async fn asked(
    (send, receive): (SendStream, RecvStream),
    service: u16,
    body: &[u8],
) -> Result<RecvStream> {
    let mut outlet = Outlet::new(send);
    send_request(&mut outlet, service, Bytes::copy_from_slice(body)).await?;
    outlet.finish()?;
    Ok(receive)
}

pub(crate) async fn send_request(outlet: &mut Outlet, service: u16, body: Bytes) -> Result<()> {
    let header = RequestHeader {
        service,
        extent: Extent::Bytes(body.len()),
    };
    let (joined, apart) = match body.len() {
        0..=JOINED_BYTES_MAX => (&body[..], Bytes::new()),
        _ => (&[][..], body.clone()),
    };
    let mut frame = Vec::with_capacity(REQUEST_HEADER_BYTES + joined.len());
    frame.extend(header.write());
    frame.extend_from_slice(joined);
    outlet.write_chunk(Bytes::from(frame)).await?;
    outlet.write_bytes(apart).await
}

/// What came of sending and of the answer. A refusal stops the sending, and its reason is in the
/// answer.
fn answered<T>(sent: Result<()>, answer: Result<T>) -> Result<T> {
    match (sent, answer) {
        (_, Err(problem @ Error::Problem(_))) => Err(problem),
        (Err(error), _) => Err(error),
        (Ok(()), answer) => answer,
    }
}

/// An answer with a body. A problem is an error.
async fn read_answer(receive: &mut RecvStream) -> Result<Chunks> {
    let (frame, header) = Frame::begin(receive).await?;
    match AnswerHeader::read(header)? {
        AnswerHeader {
            status: Status::Ok,
            extent: Extent::Bytes(length),
        } => frame.body(length).await,
        AnswerHeader {
            status: Status::Problem,
            extent: Extent::Bytes(length),
        } => Err(Error::Problem(frame.body(length).await?.into_bytes())),
        AnswerHeader {
            extent: Extent::Open,
            ..
        } => Err(Error::new(
            Kind::MalformedFrame,
            "a request was answered by a stream",
        )),
    }
}

/// What an answer holds. A problem is an error.
pub(crate) async fn read_header(receive: &mut RecvStream) -> Result<Extent> {
    let mut header = [0; ANSWER_HEADER_BYTES];
    receive.read_exact(&mut header).await?;
    match AnswerHeader::read(header)? {
        AnswerHeader {
            status: Status::Ok,
            extent,
        } => Ok(extent),
        AnswerHeader {
            status: Status::Problem,
            extent: Extent::Bytes(length),
        } => {
            let mut problem = vec![0; length];
            receive.read_exact(&mut problem).await?;
            Err(Error::Problem(problem.into()))
        }
        AnswerHeader {
            status: Status::Problem,
            extent: Extent::Open,
        } => Err(misanswered()),
    }
}

pub(crate) fn misanswered() -> Error {
    Error::new(Kind::MalformedFrame, "the answer does not fit the request")
}
