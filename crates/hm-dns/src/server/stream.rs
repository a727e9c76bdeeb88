//! TCP (RFC 7766) and TLS (RFC 7858): many queries a connection, each behind its length, answered
//! in their order.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::RootCertStore;
use stoq::Presented;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{count, quic, Shared, Tls};
use crate::answer::Via;

const ALPN: &[u8] = b"dot";
/// A response that cannot be sent within this time ends its connection.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// For TLS and for whoever answers elsewhere.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// After a failure to accept, so that a lack of descriptors takes no processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Places for connections, and how long each may be silent.
#[derive(Clone)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    idle: Duration,
}

impl Slots {
    pub fn new(count: usize, idle: Duration) -> Slots {
        Slots {
            free: Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS))),
            idle,
        }
    }
}

/// What speaks TLS as `tls` says, and the certificate that it shows.
pub(super) fn acceptor(tls: &Tls) -> io::Result<(TlsAcceptor, Arc<Presented>)> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = if tls.client_roots.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for root in &tls.client_roots {
            roots
                .add(CertificateDer::from(root.clone()))
                .map_err(io::Error::other)?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .map_err(io::Error::other)?;
        builder.with_client_cert_verifier(verifier)
    };
    let certificate = quic::open_certificate(&tls.certificate);
    let presented = Presented::new(&certificate, provider).map_err(quic::refused)?;
    let mut config = builder.with_cert_resolver(presented.clone());
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), presented))
}

/// Serves `listener` until the runtime ends.
pub(super) async fn listen(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    slots: Slots,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, client)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(permit) = slots.free.clone().try_acquire_owned() else {
                count(&shared.counters.connections_refused);
                continue;
            };
            let (acceptor, shared, idle) = (acceptor.clone(), shared.clone(), slots.idle);
            tokio::spawn(async move {
                let _permit = permit;
                // Whatever ends a connection, the client sees that it has ended.
                let _ = serve(stream, client.ip(), acceptor, &shared, idle).await;
            });
        }
    });
    Ok(())
}

async fn serve(
    stream: TcpStream,
    client: IpAddr,
    acceptor: Option<TlsAcceptor>,
    shared: &Arc<Shared>,
    idle: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(acceptor) = acceptor else {
        return converse(stream, client, false, Arc::default(), shared, idle).await;
    };
    let stream = timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|each| each.to_vec()).collect();
    converse(stream, client, true, Arc::new(certificates), shared, idle).await
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    client: IpAddr,
    tls: bool,
    certificates: Arc<Vec<Vec<u8>>>,
    shared: &Arc<Shared>,
    idle: Duration,
) -> io::Result<()> {
    let counter = match tls {
        true => &shared.counters.tls,
        false => &shared.counters.tcp,
    };
    let (mut query, mut out) = (Vec::new(), Vec::new());
    loop {
        // The whole query within the time, so that nobody holds a place by a byte now and then.
        timeout(idle, async {
            let length = stream.read_u16().await?;
            query.resize(usize::from(length), 0);
            stream.read_exact(&mut query).await
        })
        .await??;
        count(counter);
        out.clear();
        out.extend_from_slice(&[0, 0]);
        if let Some(later) = shared.answer(&query, client, Via::Stream, &mut out) {
            let (sender, receiver) = oneshot::channel();
            shared.defer(later, certificates.clone(), |response| {
                // It fails where the connection has ended meanwhile.
                let _ = sender.send(response);
            });
            out.extend_from_slice(&receiver.await.unwrap_or_default());
        }
        if out.len() == 2 {
            // No query: this client speaks something else.
            return Ok(());
        }
        let length = (out.len() - 2) as u16;
        out[..2].copy_from_slice(&length.to_be_bytes());
        timeout(WRITE_PATIENCE, async {
            stream.write_all(&out).await?;
            stream.flush().await
        })
        .await??;
        if out.capacity() > 16 * 1024 {
            out = Vec::new();
        }
    }
}
