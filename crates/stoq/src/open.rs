//! Plain QUIC, for programs that know nothing of the mesh.
//!
//! TLS as other stacks do it: the server shows a certificate that a root of the caller's list has
//! signed, the client shows none, and the key exchange may be classic. Nothing of the mesh can be
//! reached this way: an [`OpenAlpn`] is never one of ours, an open endpoint has no node's identity,
//! no services and no regions, and its streams carry no frames of STOQ. The two kinds of endpoint
//! share the QUIC below them and no type above it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::RootCertStore;
use tokio::sync::{mpsc, watch, Mutex};

use crate::drive::{self, Drive};
use crate::error::{Error, Kind, Result};
use crate::limits::*;
use crate::quic::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use crate::quic::{self, ClientConfig, EndpointConfig, Incoming, ServerConfig, VarInt};
use crate::session::{self, Observed};
use crate::socket::{Socket, Stack};
use crate::stream::{within, Stream};
use crate::transport;

/// What begins the name of every protocol of the mesh, and of none that is open.
const RESERVED: &[u8] = b"hm";

/// What other stacks take is found out by probing, wherever they are.
const ELSEWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Classic groups beside the hybrid one, for stacks that do not know it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
        ],
        ..default_provider()
    })
}

/// The name of a protocol outside the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAlpn(Vec<u8>);

impl OpenAlpn {
    /// Refuses names of the mesh, known or to come: there every connection is admitted.
    pub fn new(name: &[u8]) -> Result<OpenAlpn> {
        if name.starts_with(RESERVED) {
            return Err(Error::new(
                Kind::ProtocolMismatch,
                format!(
                    "{} belongs to the mesh, where both sides prove who they are",
                    String::from_utf8_lossy(name)
                ),
            ));
        }
        if name.is_empty() || name.len() > usize::from(u8::MAX) {
            return Err(Error::new(
                Kind::ProtocolMismatch,
                "the name of a protocol has 1 to 255 bytes",
            ));
        }
        Ok(OpenAlpn(name.to_vec()))
    }
}

/// A certificate chain, leaf first, and the secret key of the leaf in PKCS #8; both DER.
pub struct OpenCertificate {
    pub chain: Vec<Vec<u8>>,
    pub key: Vec<u8>,
}

/// The certificate that a server shows. Another may take its place at any time: those who connect
/// from then on see that one, and open connections go on.
pub struct Presented {
    provider: Arc<CryptoProvider>,
    present: parking_lot::Mutex<Arc<CertifiedKey>>,
}

impl Presented {
    /// Refuses a chain whose leaf is not of the key. `provider` is that of the server.
    pub fn new(
        certificate: &OpenCertificate,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Presented>> {
        let present = parking_lot::Mutex::new(certified(certificate, &provider)?);
        Ok(Arc::new(Presented { provider, present }))
    }

    /// Shows `certificate` from now on. Refused as by `new`; then the one before stays.
    pub fn replace(&self, certificate: &OpenCertificate) -> Result<()> {
        *self.present.lock() = certified(certificate, &self.provider)?;
        Ok(())
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Presented").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.present.lock().clone())
    }
}

fn certified(
    certificate: &OpenCertificate,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>> {
    let chain = certificate.chain.iter().cloned();
    let chain = chain.map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certificate.key.clone()));
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(misconfigured)?;
    Ok(Arc::new(certified))
}

/// How an open endpoint accepts.
pub struct OpenService {
    pub certificate: OpenCertificate,
    /// Each client must first show that it receives at its address.
    pub retry: bool,
}

/// A socket for connections of one open protocol. Dropped, it closes.
pub struct OpenEndpoint {
    quic: Arc<quic::Endpoint>,
    drive: Arc<Drive>,
    local: SocketAddrV6,
    client: Arc<Observed<QuicClientConfig>>,
    presented: Option<Arc<Presented>>,
    accepted: Mutex<mpsc::Receiver<Arc<OpenConnection>>>,
}

impl OpenEndpoint {
    /// `roots`: certificates (DER) of whom it believes as client. Without `service` it accepts
    /// nobody.
    pub fn bind(
        address: SocketAddrV6,
        alpn: &OpenAlpn,
        roots: &[Vec<u8>],
        service: Option<&OpenService>,
    ) -> Result<OpenEndpoint> {
        let refused = |error: std::io::Error| Error::new(Kind::BindRefused, error.to_string());
        let client = client(alpn, roots)?;
        let presented = service
            .map(|service| Presented::new(&service.certificate, provider()))
            .transpose()?;
        let server = presented
            .as_ref()
            .map(|presented| server(alpn, presented))
            .transpose()?;
        let sockets = Socket::bind_all(address, Stack::Ipv6, 1).map_err(refused)?;
        let quic = quic::Endpoint::new(
            sockets,
            |_| {
                let mut config = EndpointConfig::default();
                config
                    .max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX as u16)
                    .map_err(std::io::Error::other)?;
                Ok(config)
            },
            server.clone(),
        )
        .map_err(refused)?;
        let SocketAddr::V6(local) = quic.local_addr() else {
            return Err(Error::new(Kind::BindRefused, "the socket is not IPv6"));
        };
        let drive = Arc::new(Drive::start(quic.shards()).map_err(refused)?);
        let (sender, receiver) = mpsc::channel(OPEN_BACKLOG_MAX);
        if let Some(service) = service {
            let live = Arc::new(AtomicUsize::new(0));
            for shard in quic.shards() {
                let accepting = Accepting {
                    retry: service.retry,
                    sender: sender.clone(),
                    drive: drive.clone(),
                    live: live.clone(),
                };
                let shard = shard.clone();
                drive.spawn(async move {
                    while let Some(incoming) = quic::accept(&shard).await {
                        accepting.accept(incoming);
                    }
                });
            }
        }
        Ok(OpenEndpoint {
            quic: Arc::new(quic),
            drive,
            local,
            client,
            presented,
            accepted: Mutex::new(receiver),
        })
    }

    pub fn local(&self) -> SocketAddrV6 {
        self.local
    }

    pub fn drive(&self) -> &Arc<Drive> {
        &self.drive
    }

    /// Shows `certificate` to clients from now on; refused where it accepts nobody.
    pub fn present(&self, certificate: &OpenCertificate) -> Result<()> {
        let presented = self.presented.as_ref();
        presented
            .ok_or_else(|| misconfigured("this endpoint accepts nobody"))?
            .replace(certificate)
    }

    /// Connects to `address`, whose certificate must be for `name`. `early`: where a ticket allows
    /// it, returns before the handshake, and what is written goes out in the first flight. Such
    /// bytes can be played again by others, so they must ask for nothing that changes anything.
    pub async fn connect(
        &self,
        address: SocketAddrV6,
        name: &str,
        early: bool,
        patience: Duration,
    ) -> Result<OpenConnection> {
        within(patience, async {
            let mut config = ClientConfig::new(self.client.clone());
            config.transport_config(Arc::new(transport::config(ELSEWHERE, STREAMS_FIRST)));
            let connecting = self
                .quic
                .connect_with(config, SocketAddr::V6(address), name)?;
            if !early {
                let connection = connecting.await?;
                return Ok(OpenConnection::new(connection, self.drive.clone(), None));
            }
            match connecting.into_0rtt() {
                Ok((connection, accepted)) => {
                    let (sender, receiver) = watch::channel(None);
                    self.drive.spawn(async move {
                        sender.send_replace(Some(accepted.await));
                    });
                    Ok(OpenConnection::new(
                        connection,
                        self.drive.clone(),
                        Some(receiver),
                    ))
                }
                Err(connecting) => {
                    let connection = connecting.await?;
                    Ok(OpenConnection::new(connection, self.drive.clone(), None))
                }
            }
        })
        .await
    }

    /// The next client.
    pub async fn accept(&self, patience: Duration) -> Result<Arc<OpenConnection>> {
        within(patience, async {
            let mut accepted = self.accepted.lock().await;
            accepted.recv().await.ok_or_else(drive::closed)
        })
        .await
    }

    pub fn close(&self, reason: &str) {
        self.quic
            .close(VarInt::from_u32(0), Error::cut(reason).as_bytes());
        let quic = self.quic.clone();
        let threads = self.drive.stop(async move {
            // Where peers do not acknowledge in time, they find out by themselves.
            let _ = quic::timeout(CLOSE_WAIT, quic.wait_idle()).await;
        });
        for thread in threads.into_iter().flatten() {
            // It fails only where that thread has panicked, and then it has ended as well.
            let _ = thread.join();
        }
    }
}

impl Drop for OpenEndpoint {
    fn drop(&mut self) {
        self.close("");
    }
}

struct Accepting {
    retry: bool,
    sender: mpsc::Sender<Arc<OpenConnection>>,
    drive: Arc<Drive>,
    live: Arc<AtomicUsize>,
}

impl Accepting {
    /// Clients are handed on at once, so that what they sent in their first flight can be read.
    fn accept(&self, incoming: Incoming) {
        if self.live.load(Ordering::Relaxed) >= OPEN_CONNECTIONS_MAX {
            return incoming.refuse();
        }
        if self.retry && incoming.may_retry() {
            // It fails only where the address is validated, which `may_retry` excludes.
            let _ = incoming.retry();
            return;
        }
        let Ok(Ok((connection, _))) = incoming.accept().map(quic::Connecting::into_0rtt) else {
            return;
        };
        self.live.fetch_add(1, Ordering::Relaxed);
        let (watched, live) = (connection.clone(), self.live.clone());
        self.drive.spawn(async move {
            watched.closed().await;
            live.fetch_sub(1, Ordering::Relaxed);
        });
        let connection = OpenConnection::new(connection, self.drive.clone(), None);
        // Where nobody takes clients, the newest is dropped, which closes it.
        let _ = self.sender.try_send(Arc::new(connection));
    }
}

/// A connection of an open protocol. Dropped, it closes.
pub struct OpenConnection {
    quic: quic::Connection,
    drive: Arc<Drive>,
    /// Whether the server took what was sent before the handshake; `None`: nothing was.
    early: Option<watch::Receiver<Option<bool>>>,
}

impl OpenConnection {
    fn new(
        quic: quic::Connection,
        drive: Arc<Drive>,
        early: Option<watch::Receiver<Option<bool>>>,
    ) -> OpenConnection {
        OpenConnection { quic, drive, early }
    }

    pub fn drive(&self) -> &Arc<Drive> {
        &self.drive
    }

    pub fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// What the handshake has shown so far.
    pub fn handshake(&self) -> session::Handshake {
        session::of(&self.quic)
    }

    /// Whether the server took what was sent before the handshake; false where nothing could be.
    pub async fn early_accepted(&self, patience: Duration) -> Result<bool> {
        let Some(early) = &self.early else {
            return Ok(false);
        };
        within(patience, async {
            let mut early = early.clone();
            let accepted = early
                .wait_for(Option::is_some)
                .await
                .map_err(|_| drive::closed())?;
            Ok(*accepted == Some(true))
        })
        .await
    }

    pub async fn open_stream(&self, patience: Duration) -> Result<Stream> {
        within(patience, async {
            let (send, receive) = self.quic.open_bi().await?;
            Ok(Stream::raw(send, receive, self.drive.clone()))
        })
        .await
    }

    /// The next stream of the peer, and whether it came before the handshake was done: then it may
    /// have been played by someone else, and must change nothing.
    pub async fn accept_stream(&self, patience: Duration) -> Result<(Stream, bool)> {
        within(patience, async {
            let (send, receive) = self.quic.accept_bi().await?;
            let early = !self.handshake().complete;
            Ok((Stream::raw(send, receive, self.drive.clone()), early))
        })
        .await
    }

    pub fn update_keys(&self) {
        self.quic.force_key_update();
    }

    /// Why it has ended; `None` while it lives.
    pub fn ended(&self) -> Option<Error> {
        self.quic.close_reason().map(Error::from)
    }

    pub fn close(&self, code: u32, reason: &str) {
        self.quic
            .close(VarInt::from_u32(code), Error::cut(reason).as_bytes());
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.close(0, "");
    }
}

fn misconfigured(error: impl std::fmt::Display) -> Error {
    Error::new(Kind::InvalidIdentity, error.to_string())
}

fn server(alpn: &OpenAlpn, certificate: &Arc<Presented>) -> Result<Arc<ServerConfig>> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(misconfigured)?
        .with_no_client_auth()
        .with_cert_resolver(certificate.clone());
    config.alpn_protocols = vec![alpn.0.clone()];
    config.session_storage = ServerSessionMemoryCache::new(TICKETS_HELD_MAX);
    // All or nothing: QUIC bounds early data by its windows (RFC 9001 section 4.6.1).
    config.max_early_data_size = u32::MAX;
    let crypto = QuicServerConfig::try_from(config).map_err(misconfigured)?;
    let mut config = ServerConfig::with_crypto(Arc::new(Observed(Arc::new(crypto))));
    config
        .transport_config(Arc::new(transport::config(ELSEWHERE, STREAMS_FIRST)))
        .max_incoming(HANDSHAKES_MAX);
    Ok(Arc::new(config))
}

fn client(alpn: &OpenAlpn, roots: &[Vec<u8>]) -> Result<Arc<Observed<QuicClientConfig>>> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store
            .add(CertificateDer::from(root.clone()))
            .map_err(misconfigured)?;
    }
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(misconfigured)?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.0.clone()];
    config.resumption =
        Resumption::store(Arc::new(ClientSessionMemoryCache::new(TICKETS_HELD_MAX)));
    config.enable_early_data = true;
    let crypto = QuicClientConfig::try_from(config).map_err(misconfigured)?;
    Ok(Arc::new(Observed(Arc::new(crypto))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::admission::Alpn;

    #[test]
    fn no_protocol_of_the_mesh_is_open() {
        for alpn in Alpn::ALL {
            let error = OpenAlpn::new(alpn.name()).unwrap_err();
            assert_eq!(error.kind(), Some(Kind::ProtocolMismatch));
        }
        for name in [&b"hm"[..], b"hm/2", b"hm-", b"", &[b'x'; 256]] {
            assert!(OpenAlpn::new(name).is_err());
        }
        assert!(OpenAlpn::new(b"h3").is_ok());
        assert!(OpenAlpn::new(&[b'x'; 255]).is_ok());
    }
}
