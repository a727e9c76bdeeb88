//! One accepted stream, from its first byte to whoever serves it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use tokio::sync::watch;

use crate::quic::{self, timeout, RecvStream, SendStream};

use crate::admission::Alpn;
use crate::datagram::{self, Datagrams};
use crate::drive::Drive;
use crate::error::{Error, Kind, Result};
use crate::frame::{self, AnswerHeader, Extent, RequestHeader, Status, REQUEST_HEADER_BYTES};
use crate::intake::{Intake, Running};
use crate::limits::{BULK_STALL_TIMEOUT, CHUNK_BYTES, REQUEST_RECEIVE_TIMEOUT};
use crate::memory;
use crate::problem;
use crate::region::Regions;
use crate::request::{Origin, Queue, Reply, Request};
use crate::stream::{Outlet, Stream};
use crate::tunnel::{self, Flows};

/// The STOQ service number that returns what it gets (`hypermesh.wire.rpc.SERVICE_ECHO`).
pub const SERVICE_ECHO: u16 = 7;
/// The STOQ service number of calls (`hypermesh.wire.rpc.SERVICE_CONTROL`).
const SERVICE_CONTROL: u16 = 1;

/// What a stream needs of its endpoint.
#[derive(Clone)]
pub struct Services {
    pub queue: Arc<Queue>,
    pub datagrams: Arc<Datagrams>,
    pub regions: Arc<Regions>,
    pub flows: Arc<Flows>,
    pub intake: Arc<Intake>,
    pub drive: Arc<Drive>,
}

/// Serves one stream, or hands it on. A malformed one is answered with a problem where it can be;
/// the connection lives on.
pub async fn serve(services: Services, origin: Origin, send: SendStream, mut receive: RecvStream) {
    let running = match services.intake.enter() {
        Ok(running) => running,
        Err(error) => return refuse(send, receive, &error).await,
    };
    match read_header(&mut receive).await {
        Ok(header) => serve_from(services, running, origin, header, send, receive).await,
        Err(error) => refuse(send, receive, &error).await,
    }
}

/// A stream that came before its connection was admitted, from a peer that has proven its keys over
/// the first flight. What changes nothing is served at once; the rest waits for admission, which is
/// what `admitted` will hold. How many were served at once is counted in `served`.
pub async fn serve_early(
    services: Services,
    early: Origin,
    mut admitted: watch::Receiver<Option<Origin>>,
    served: Arc<AtomicU64>,
    send: SendStream,
    mut receive: RecvStream,
) {
    let running = match services.intake.enter() {
        Ok(running) => running,
        Err(error) => return refuse(send, receive, &error).await,
    };
    let header = match read_header(&mut receive).await {
        Ok(header) => header,
        Err(error) => return refuse(send, receive, &error).await,
    };
    match (header.service, header.extent) {
        (SERVICE_ECHO, Extent::Bytes(_)) => {
            served.fetch_add(1, Ordering::Relaxed);
            serve_from(services, running, early, header, send, receive).await;
        }
        (memory::SERVICE, Extent::Bytes(length)) => {
            let body = match read_operation(&mut receive, length).await {
                Ok(body) => body,
                Err(error) => return refuse(send, receive, &error).await,
            };
            let origin = if memory::changes_nothing(&body) {
                served.fetch_add(1, Ordering::Relaxed);
                Some(early)
            } else {
                admission_of(&mut admitted).await
            };
            if let Some(origin) = origin {
                memory::serve(services.regions, origin.peer, &body, send, receive).await;
            }
        }
        _ => {
            if let Some(origin) = admission_of(&mut admitted).await {
                serve_from(services, running, origin, header, send, receive).await;
            }
        }
    }
}

/// Echo, and calls, of which the node itself says who may make which.
fn is_for_partners(header: &RequestHeader) -> bool {
    matches!(header.extent, Extent::Bytes(_))
        && matches!(header.service, SERVICE_ECHO | SERVICE_CONTROL)
}

fn not_for_partners(service: u16) -> Error {
    Error::new(
        Kind::NotForPartners,
        format!("service {service} is for nodes of this network"),
    )
}

/// Whether a request with this header and body may be asked in the first flight.
pub fn may_be_early(service: u16, body: &[u8]) -> bool {
    service == SERVICE_ECHO || (service == memory::SERVICE && memory::changes_nothing(body))
}

/// `None` where the connection ends without it.
async fn admission_of(admitted: &mut watch::Receiver<Option<Origin>>) -> Option<Origin> {
    let origin = admitted.wait_for(Option::is_some).await.ok()?;
    origin.clone()
}

/// `running` counts it while it is served here; what a service gets counts as a request.
async fn serve_from(
    services: Services,
    running: Running,
    origin: Origin,
    header: RequestHeader,
    send: SendStream,
    mut receive: RecvStream,
) {
    if origin.alpn == Alpn::Partner && !is_for_partners(&header) {
        return refuse(send, receive, &not_for_partners(header.service)).await;
    }
    match (header.service, header.extent) {
        (SERVICE_ECHO, Extent::Open) if origin.alpn != Alpn::Enrol => echo(send, receive).await,
        (tunnel::SERVICE, Extent::Open) => {
            // The permit is taken first: it bounds how many openings are waited for.
            let permit = match services.queue.admit(&origin, tunnel::OPENING_BYTES) {
                Ok(permit) => permit,
                Err(error) => return refuse(send, receive, &error).await,
            };
            match read_opening(&mut receive).await {
                Ok(opening) => services.queue.put(Request::new(
                    origin,
                    tunnel::SERVICE,
                    opening.into(),
                    Reply::Tunnel(tunnel::Opened {
                        outlet: Outlet::new(send),
                        receive,
                        permit,
                        running,
                        flows: services.flows,
                    }),
                    services.drive.clone(),
                )),
                Err(error) => refuse(send, receive, &error).await,
            }
        }
        (service, Extent::Open) => {
            let permit = match services.queue.admit(&origin, 0) {
                Ok(permit) => permit,
                Err(error) => return refuse(send, receive, &error).await,
            };
            let stream = Arc::new(Stream::accept(
                send,
                receive,
                services.drive.clone(),
                permit,
            ));
            services.queue.put(Request::new(
                origin,
                service,
                bytes::Bytes::new(),
                Reply::Stream(stream),
                services.drive.clone(),
            ));
        }
        (memory::SERVICE, Extent::Bytes(length)) => {
            match read_operation(&mut receive, length).await {
                Ok(body) => {
                    memory::serve(services.regions, origin.peer, &body, send, receive).await;
                }
                Err(error) => refuse(send, receive, &error).await,
            }
        }
        (service, Extent::Bytes(length)) => {
            let permit = match services.queue.admit(&origin, length) {
                Ok(permit) => permit,
                Err(error) => return refuse(send, receive, &error).await,
            };
            let body = match read_body(&mut receive, length).await {
                Ok(body) => body,
                Err(error) => return refuse(send, receive, &error).await,
            };
            let mut outlet = Outlet::new(send);
            if service == SERVICE_ECHO && origin.alpn != Alpn::Enrol {
                let frame = frame::answer(Status::Ok, &body);
                let _ = timeout(BULK_STALL_TIMEOUT, async {
                    outlet.write_chunk(frame).await?;
                    outlet.finish()
                })
                .await;
                return;
            }
            services.queue.put(Request::new(
                origin,
                service,
                body.into(),
                Reply::Answer(outlet, permit),
                services.drive.clone(),
            ));
        }
    }
}

/// Serves what a peer sends beside its streams both ways, until its connection ends. Those from outside
/// may send nothing of the kind.
pub async fn serve_aside(services: Services, origin: Origin, connection: quic::Connection) {
    if origin.alpn.is_outside() {
        return;
    }
    tokio::join!(
        datagram::receive(services.clone(), connection.clone(), origin.clone()),
        async {
            while let Ok(receive) = connection.accept_uni().await {
                let (services, origin) = (services.clone(), origin.clone());
                Drive::spawn_on(
                    connection.shard(),
                    serve_unidirectional(services, origin, receive),
                );
            }
        }
    );
}

/// One stream one way, handed to its service. Nothing can be answered: the reason for a refusal is
/// the code with which it is stopped.
async fn serve_unidirectional(services: Services, origin: Origin, mut receive: RecvStream) {
    let admitted = async {
        let _running = services.intake.enter()?;
        let header = read_header(&mut receive).await?;
        if header.extent != Extent::Open {
            return Err(Error::new(
                Kind::MalformedFrame,
                "a stream one way takes no answer",
            ));
        }
        Ok((header.service, services.queue.admit(&origin, 0)?))
    };
    match admitted.await {
        Ok((service, permit)) => {
            let drive = services.drive.clone();
            let stream = Arc::new(Stream::accept_unidirectional(
                receive,
                drive.clone(),
                permit,
            ));
            let body = bytes::Bytes::new();
            let reply = Reply::Unidirectional(stream);
            services
                .queue
                .put(Request::new(origin, service, body, reply, drive));
        }
        // The stream may have ended already.
        Err(error) => {
            let _ = receive.stop(error.kind().unwrap_or(Kind::MalformedFrame).to_wire());
        }
    }
}

async fn read_header(receive: &mut RecvStream) -> Result<RequestHeader> {
    in_time(async {
        let mut header = [0; REQUEST_HEADER_BYTES];
        receive.read_exact(&mut header).await?;
        RequestHeader::read(header)
    })
    .await
}

/// A body that ends where the stream does.
async fn read_body(receive: &mut RecvStream, length: usize) -> Result<Vec<u8>> {
    in_time(async {
        let mut body = vec![0; length];
        receive.read_exact(&mut body).await?;
        match receive.read_chunk(1, true).await? {
            None => Ok(body),
            Some(_) => Err(Error::new(
                Kind::MalformedFrame,
                format!("more bytes follow the {length} that were announced"),
            )),
        }
    })
    .await
}

/// An operation on memory; for a write, its bytes follow.
async fn read_operation(receive: &mut RecvStream, length: usize) -> Result<Vec<u8>> {
    if length > memory::OPERATION_BYTES_MAX {
        return Err(Error::new(
            Kind::MalformedFrame,
            format!("{length} bytes are no operation on memory"),
        ));
    }
    in_time(async {
        let mut body = vec![0; length];
        receive.read_exact(&mut body).await?;
        Ok(body)
    })
    .await
}

/// What a tunnel shall lead to.
async fn read_opening(receive: &mut RecvStream) -> Result<Vec<u8>> {
    in_time(async {
        let mut opening = vec![0; tunnel::OPENING_BYTES];
        receive.read_exact(&mut opening).await?;
        Ok(opening)
    })
    .await
}

async fn in_time<T>(reading: impl std::future::Future<Output = Result<T>>) -> Result<T> {
    timeout(REQUEST_RECEIVE_TIMEOUT, reading)
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::TimedOut, "the request does not arrive")))
}

pub async fn refuse(send: SendStream, mut receive: RecvStream, error: &Error) {
    // The stream may have ended already, and the peer may take nothing: both end the stream.
    let _ = receive.stop(error.kind().unwrap_or(Kind::MalformedFrame).to_wire());
    let mut outlet = Outlet::new(send);
    let frame = frame::answer(Status::Problem, &problem::encode(error));
    let _ = timeout(BULK_STALL_TIMEOUT, async {
        outlet.write_chunk(frame).await?;
        outlet.finish()
    })
    .await;
}

async fn echo(send: SendStream, mut receive: RecvStream) {
    let mut outlet = Outlet::new(send);
    let header = AnswerHeader {
        status: Status::Ok,
        extent: Extent::Open,
    };
    let echoed = async {
        outlet.write(&header.write()).await?;
        loop {
            let step = timeout(BULK_STALL_TIMEOUT, async {
                let Some(chunk) = receive.read_chunk(CHUNK_BYTES, true).await? else {
                    return Ok(false);
                };
                outlet.write_chunk(chunk.bytes).await?;
                Ok::<bool, Error>(true)
            });
            match step.await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(Error::new(Kind::TimedOut, "the echo stands still")),
            }
        }
    }
    .await;
    match echoed {
        // It fails only where the peer has stopped listening.
        Ok(()) => drop(outlet.finish()),
        Err(error) => outlet.fail(error.kind().unwrap_or(Kind::StreamReset)),
    }
}
