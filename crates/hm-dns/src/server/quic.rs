//! QUIC (RFC 9250) on STOQ's open engine: a stream a query.

use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use stoq::{Kind, OpenAlpn, OpenCertificate, OpenConnection, OpenEndpoint, OpenService, Stream};
use tokio::sync::oneshot;

use super::{count, Certificate, Shared};
use crate::answer::Via;
use crate::message::{self, Opcode, Read};

const ALPN: &[u8] = b"doq";
/// How long a connection may have no stream, and a stream may take.
const IDLE: Duration = Duration::from_secs(30);
const STREAM_PATIENCE: Duration = Duration::from_secs(10);
/// Then it is waited for again.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(3600);
/// RFC 9250 section 4.3.
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 2;

pub(super) struct Listener(Arc<OpenEndpoint>);

impl Listener {
    pub fn start(
        address: SocketAddrV6,
        certificate: &Certificate,
        shared: Arc<Shared>,
    ) -> io::Result<Listener> {
        let service = OpenService {
            certificate: open_certificate(certificate),
            retry: false,
        };
        let alpn = OpenAlpn::new(ALPN).map_err(refused)?;
        let endpoint = OpenEndpoint::bind(address, &alpn, &[], Some(&service));
        let endpoint = Arc::new(endpoint.map_err(refused)?);
        let (accepting, drive) = (Arc::downgrade(&endpoint), endpoint.drive().clone());
        drive.spawn(async move {
            while let Some(endpoint) = accepting.upgrade() {
                let connection = match endpoint.accept(ACCEPT_PATIENCE).await {
                    Ok(connection) => connection,
                    Err(error) if error.kind() == Some(Kind::TimedOut) => continue,
                    Err(_) => return,
                };
                let shared = shared.clone();
                endpoint
                    .drive()
                    .spawn(async move { converse(connection, shared).await });
            }
        });
        Ok(Listener(endpoint))
    }

    pub fn local(&self) -> SocketAddr {
        SocketAddr::V6(self.0.local())
    }

    pub fn present(&self, certificate: &Certificate) -> io::Result<()> {
        let certificate = open_certificate(certificate);
        self.0.present(&certificate).map_err(refused)
    }

    pub fn stop(self) {
        self.0.close("");
    }
}

pub(super) fn open_certificate(certificate: &Certificate) -> OpenCertificate {
    OpenCertificate {
        chain: certificate.chain.clone(),
        key: certificate.key.clone(),
    }
}

pub(super) fn refused(error: stoq::Error) -> io::Error {
    io::Error::other(error.to_string())
}

async fn converse(connection: Arc<OpenConnection>, shared: Arc<Shared>) {
    while let Ok((stream, early)) = connection.accept_stream(IDLE).await {
        let (connection, shared) = (connection.clone(), shared.clone());
        let drive = connection.drive().clone();
        drive.spawn(async move {
            if serve(&stream, early, connection.remote(), &shared)
                .await
                .is_none()
            {
                connection.close(PROTOCOL_ERROR, "");
            }
        });
    }
    connection.close(NO_ERROR, "");
}

/// `None` where the client broke the protocol (RFC 9250 section 4.2).
async fn serve(
    stream: &Stream,
    early: bool,
    client: SocketAddr,
    shared: &Arc<Shared>,
) -> Option<()> {
    let mut length = [0; 2];
    if stream.fill(&mut length, STREAM_PATIENCE).await.ok()? != length.len() {
        return None;
    }
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    if stream.fill(&mut query, STREAM_PATIENCE).await.ok()? != query.len() {
        return None;
    }
    count(&shared.counters.quic);
    // Message ids are 0 here (section 4.2.1), and what may be a replay changes nothing (4.5).
    if query.get(..2)? != [0, 0] {
        return None;
    }
    if let (true, Read::Query(read)) = (early, message::read(&query)) {
        if read.opcode == Opcode::Update {
            return None;
        }
    }
    let mut out = vec![0, 0];
    if let Some(later) = shared.answer(&query, client.ip(), Via::Stream, &mut out) {
        let (sender, receiver) = oneshot::channel();
        shared.defer(later, Arc::default(), |response| {
            // It fails where the connection has ended meanwhile.
            let _ = sender.send(response);
        });
        out.extend_from_slice(&receiver.await.unwrap_or_default());
    }
    if out.len() == 2 {
        return None;
    }
    let length = (out.len() - 2) as u16;
    out[..2].copy_from_slice(&length.to_be_bytes());
    // Where the client has gone there is nothing to say any more.
    let _ = stream.write(&out, STREAM_PATIENCE).await;
    let _ = stream.finish(STREAM_PATIENCE).await;
    Some(())
}
