//! One UDP socket, client and server at once.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use hm_x509::TrustPolicy;
use parking_lot::{Mutex, RwLock};

use crate::admission::{self, Alpn, Channel, Expected, Terms};
use crate::connection::Connection;
use crate::datagram::Datagrams;
use crate::drive::{self, Drive};
use crate::error::{Error, Kind, Result};
use crate::identity::Identity;
use crate::limits::*;
use crate::live::{self, Live};
use crate::quic::{
    self, timeout, ClientConfig, ConnectionError, EndpointConfig, Incoming, ServerConfig, Shard,
    VarInt,
};
use crate::region::Regions;
use crate::request::{Origin, Queue};
use crate::restart;
use crate::serving::{self, Services};
use crate::socket::Socket;
use crate::stream::within;
use crate::tls;
use crate::transport;
use crate::PeerId;

/// A socket with its connections, requests and regions. Dropped, it closes.
pub struct Endpoint {
    shared: Arc<Shared>,
}

struct Shared {
    quic: quic::Endpoint,
    local: SocketAddrV6,
    terms: RwLock<Terms>,
    server: RwLock<Option<ServerConfigs>>,
    services: Services,
    live: Live,
    refusals: Mutex<VecDeque<Refusal>>,
    refused: AtomicU64,
    accepted: AtomicU64,
    handshakes: AtomicUsize,
}

/// How to accept, by where the client is.
#[derive(Clone)]
struct ServerConfigs {
    loopback: Arc<ServerConfig>,
    network: Arc<ServerConfig>,
}

/// A connection that was not admitted, or ended because its peer may not stay. Only of those that
/// others opened: whoever opens one gets the reason as an error.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub remote: SocketAddr,
    pub alpn: Option<Alpn>,
    /// As far as it is known; before admission it is what the peer claims.
    pub peer: Option<PeerId>,
    pub error: Error,
}

/// What an endpoint holds and has seen.
#[derive(Clone, Copy, Debug)]
pub struct EndpointStats {
    pub connections: usize,
    pub handshakes: usize,
    pub accepted: u64,
    pub refused: u64,
    pub requests_waiting: usize,
    pub requests_unanswered: usize,
    pub request_bytes_unanswered: usize,
}

/// Whom to reach, where, and for what.
#[derive(Clone, Debug)]
pub struct Destination {
    pub host: String,
    pub port: u16,
    pub alpn: Alpn,
    pub expected: Expected,
}

impl Endpoint {
    /// A socket at `address` (IPv6; port 0 asks the system for one). Without an identity it
    /// accepts nobody, and connects as nobody.
    pub fn bind(
        address: SocketAddrV6,
        policy: Arc<TrustPolicy>,
        identity: Option<Arc<Identity>>,
    ) -> Result<Endpoint> {
        Endpoint::bind_shards(address, policy, identity, 1)
    }

    /// The same with several sockets, each with an I/O thread pinned to a core. The kernel spreads
    /// the peers over them.
    pub fn bind_shards(
        address: SocketAddrV6,
        policy: Arc<TrustPolicy>,
        identity: Option<Arc<Identity>>,
        shards: usize,
    ) -> Result<Endpoint> {
        let refused = |error: io::Error| {
            Error::new(
                Kind::BindRefused,
                format!("[{}]:{}: {error}", address.ip(), address.port()),
            )
        };
        let sockets = Socket::bind_all(address, shards.clamp(1, SHARDS_MAX)).map_err(refused)?;
        let server = identity.as_deref().map(ServerConfigs::new).transpose()?;
        let count = sockets.len();
        let quic = quic::Endpoint::new(
            sockets,
            |shard| config(identity.as_deref(), shard, count).map_err(io::Error::other),
            server.as_ref().map(|configs| configs.network.clone()),
        )
        .map_err(refused)?;
        let drive = Arc::new(Drive::start(quic.shards()).map_err(refused)?);
        let SocketAddr::V6(local) = quic.local_addr() else {
            return Err(Error::new(Kind::BindRefused, "the socket is not IPv6"));
        };
        let live = Live::default();
        live.revoke(policy.revoked.clone());
        let shared = Arc::new(Shared {
            quic,
            local,
            terms: RwLock::new(Terms { identity, policy }),
            server: RwLock::new(server),
            services: Services {
                queue: Arc::new(Queue::new().map_err(refused)?),
                datagrams: Arc::new(Datagrams::new().map_err(refused)?),
                regions: Arc::new(Regions::default()),
                drive: drive.clone(),
            },
            live,
            refusals: Mutex::default(),
            refused: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            handshakes: AtomicUsize::new(0),
        });
        for shard in shared.quic.shards() {
            Drive::spawn_on(shard, shared.clone().accept(shard.clone()));
        }
        Ok(Endpoint { shared })
    }

    pub fn local(&self) -> SocketAddrV6 {
        self.shared.local
    }

    pub fn drive(&self) -> &Arc<Drive> {
        &self.shared.services.drive
    }

    pub fn queue(&self) -> &Arc<Queue> {
        &self.shared.services.queue
    }

    pub fn datagrams(&self) -> &Arc<Datagrams> {
        &self.shared.services.datagrams
    }

    pub fn regions(&self) -> &Arc<Regions> {
        &self.shared.services.regions
    }

    /// New connections obey `policy` from now on, and live ones of peers it revokes end.
    pub fn set_policy(&self, policy: Arc<TrustPolicy>) {
        let revoked = policy.revoked.clone();
        let ended = {
            // Held over both, so that of two policies one wins in both places.
            let mut terms = self.shared.terms.write();
            terms.policy = policy;
            self.shared.live.revoke(revoked)
        };
        for (connection, peer) in ended {
            self.shared.record(
                connection.remote_address(),
                None,
                Some(peer),
                live::revoked(),
            );
        }
    }

    /// New connections use `identity` from now on; live ones keep the one they began with.
    pub fn set_identity(&self, identity: Arc<Identity>) -> Result<()> {
        let configs = ServerConfigs::new(&identity)?;
        let mut terms = self.shared.terms.write();
        self.shared
            .quic
            .set_server_config(Some(configs.network.clone()));
        *self.shared.server.write() = Some(configs);
        terms.identity = Some(identity);
        Ok(())
    }

    /// Connects, and admits and is admitted by the peer.
    pub async fn connect(
        &self,
        destination: Destination,
        patience: Duration,
    ) -> Result<Connection> {
        self.shared.clone().connect(destination, patience).await
    }

    /// The same as a future that may outlive the borrow.
    pub fn connecting(
        &self,
        destination: Destination,
        patience: Duration,
    ) -> impl std::future::Future<Output = Result<Connection>> + Send + 'static {
        self.shared.clone().connect(destination, patience)
    }

    /// The refusals since the last call, oldest first; at most the last `REFUSALS_MAX`.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.shared.refusals.lock().drain(..).collect()
    }

    pub fn stats(&self) -> EndpointStats {
        let shared = &self.shared;
        let (waiting, unanswered, bytes) = shared.services.queue.load();
        EndpointStats {
            connections: shared.live.count(),
            handshakes: shared.handshakes.load(Ordering::Relaxed),
            accepted: shared.accepted.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            requests_waiting: waiting,
            requests_unanswered: unanswered,
            request_bytes_unanswered: bytes,
        }
    }

    /// Ends all connections, all calls that wait, and the I/O thread. Blocks until that is done.
    pub fn close(&self, reason: &str) {
        for thread in self.shared.stop(reason).unwrap_or_default() {
            // It fails only where that thread has panicked, and then it has ended as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.stop("");
    }
}

impl Shared {
    fn stop(self: &Arc<Self>, reason: &str) -> Option<Vec<std::thread::JoinHandle<()>>> {
        self.services.queue.close();
        self.services.datagrams.close();
        self.quic
            .close(VarInt::from_u32(0), Error::cut(reason).as_bytes());
        let shared = self.clone();
        self.services.drive.stop(async move {
            // Where peers do not acknowledge in time, they find out by themselves.
            let _ = timeout(CLOSE_WAIT, shared.quic.wait_idle()).await;
        })
    }

    fn terms(&self) -> Terms {
        self.terms.read().clone()
    }

    fn record(&self, remote: SocketAddr, alpn: Option<Alpn>, peer: Option<PeerId>, error: Error) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut refusals = self.refusals.lock();
        if refusals.len() >= REFUSALS_MAX {
            refusals.pop_front();
        }
        refusals.push_back(Refusal {
            remote,
            alpn,
            peer,
            error,
        });
    }

    async fn accept(self: Arc<Self>, shard: Arc<Shard>) {
        while let Some(incoming) = quic::accept(&shard).await {
            let handshakes = self.handshakes.load(Ordering::Relaxed);
            if handshakes >= HANDSHAKES_MAX || self.live.count() >= CONNECTIONS_MAX {
                incoming.refuse();
            } else if handshakes >= HANDSHAKES_UNVALIDATED_MAX && incoming.may_retry() {
                // It fails only where the address is validated, which `may_retry` excludes.
                let _ = incoming.retry();
            } else {
                self.handshakes.fetch_add(1, Ordering::Relaxed);
                Drive::spawn_on(&shard, self.clone().serve(incoming));
            }
        }
    }

    /// One connection of a client, from its first packet to its end.
    async fn serve(self: Arc<Self>, incoming: Incoming) {
        let remote = incoming.remote_address();
        let mut seen = Seen::default();
        let admitted = within(HANDSHAKE_TIMEOUT, self.admit(incoming, &mut seen))
            .await
            .map_err(handshake_timeout);
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        let (connection, origin, key) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                if let Some(connection) = &seen.connection {
                    admission::close(connection, &error);
                }
                self.record(remote, seen.alpn, seen.peer, error);
                return;
            }
        };
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Drive::spawn_on(
            connection.shard(),
            serving::serve_aside(self.services.clone(), origin.clone(), connection.clone()),
        );
        let ended = loop {
            match connection.accept_bi().await {
                Ok((send, receive)) => {
                    let (services, origin) = (self.services.clone(), origin.clone());
                    Drive::spawn_on(
                        connection.shard(),
                        serving::serve(services, origin, send, receive),
                    );
                }
                Err(error) => break error,
            }
        };
        self.live.remove(key);
        // A peer that may not stay with us has been recorded; one with which we may not stay has
        // told us only now.
        if let error @ ConnectionError::ApplicationClosed(_) = ended {
            let error = Error::from(error);
            if error.kind().is_some_and(Kind::is_refusal) {
                self.record(remote, seen.alpn, origin.peer, error);
            }
        }
    }

    async fn admit(
        &self,
        incoming: Incoming,
        seen: &mut Seen,
    ) -> Result<(quic::Connection, Origin, u64)> {
        let (terms, configs) = {
            // Read together, so that the TLS certificate and the binding are of one identity.
            let terms = self.terms.read();
            (terms.clone(), self.server.read().clone())
        };
        let configs = configs.ok_or_else(drive::closed)?;
        let config = configs.towards(incoming.remote_address().ip());
        let connection = incoming.accept_with(config)?.await?;
        seen.connection = Some(connection.clone());
        let channel = Channel::of(&connection)?;
        seen.alpn = Some(channel.alpn);
        seen.peer = channel.claimed_id();
        let peer = admission::admit_client(&connection, &channel, &terms).await?;
        let id = peer.as_ref().map(|peer| peer.id);
        let (key, _) = self.live.add(&connection, id)?;
        let origin = Origin {
            peer: id,
            owner: peer.and_then(|peer| peer.owner),
            alpn: channel.alpn,
            channel_binding: channel.binding,
        };
        Ok((connection, origin, key))
    }

    async fn connect(
        self: Arc<Self>,
        destination: Destination,
        patience: Duration,
    ) -> Result<Connection> {
        let (connection, channel, peer) = within(patience, self.reach(&destination))
            .await
            .map_err(handshake_timeout)?;
        let (key, ending) = self.live.add(&connection, Some(peer.id))?;
        let watched = (self.clone(), connection.clone());
        Drive::spawn_on(connection.shard(), async move {
            let (shared, connection) = watched;
            connection.closed().await;
            shared.live.remove(key);
        });
        Ok(Connection::new(
            connection,
            channel,
            peer.id,
            peer.owner,
            ending,
            self.services.drive.clone(),
        ))
    }

    async fn reach(
        &self,
        destination: &Destination,
    ) -> Result<(quic::Connection, Channel, hm_x509::PeerIdentity)> {
        let address = resolve(&destination.host, destination.port).await?;
        let terms = self.terms();
        let crypto = tls::client(terms.identity.as_deref(), destination.alpn)?;
        let mut config = ClientConfig::new(crypto);
        config.transport_config(Arc::new(transport::config(address.ip(), 0)));
        let connection = self
            .quic
            .connect_with(config, address, tls::SERVER_NAME)?
            .await?;
        // Where this future is dropped midway, the connection ends with it.
        let unfinished = Unfinished(Some(connection.clone()));
        let channel = Channel::of(&connection)?;
        let peer =
            admission::admit_server(&connection, &channel, &terms, destination.expected).await?;
        unfinished.keep();
        Ok((connection, channel, peer))
    }
}

/// What is known of a client before it is admitted.
#[derive(Default)]
struct Seen {
    connection: Option<quic::Connection>,
    alpn: Option<Alpn>,
    peer: Option<PeerId>,
}

/// Closes a connection whose admission was given up.
struct Unfinished(Option<quic::Connection>);

impl Unfinished {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            let error = Error::new(Kind::HandshakeTimeout, "the client gave up");
            admission::close(&connection, &error);
        }
    }
}

impl ServerConfigs {
    fn new(identity: &Identity) -> Result<ServerConfigs> {
        let crypto = tls::server(identity)?;
        let config = |remote: IpAddr| {
            let mut config = ServerConfig::with_crypto(crypto.clone());
            config
                .transport_config(Arc::new(transport::config(remote, STREAMS_MAX)))
                .max_incoming(HANDSHAKES_MAX);
            Arc::new(config)
        };
        Ok(ServerConfigs {
            loopback: config(Ipv6Addr::LOCALHOST.into()),
            network: config(Ipv6Addr::UNSPECIFIED.into()),
        })
    }

    fn towards(&self, remote: IpAddr) -> Arc<ServerConfig> {
        if remote.is_loopback() {
            self.loopback.clone()
        } else {
            self.network.clone()
        }
    }
}

/// The settings of a shard's endpoint.
fn config(identity: Option<&Identity>, shard: usize, shards: usize) -> Result<EndpointConfig> {
    let refused = |why: String| Error::new(Kind::BindRefused, why);
    let mut config = EndpointConfig::default();
    config
        .max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX as u16)
        .map_err(|error| refused(error.to_string()))?;
    restart::configure(&mut config, identity, shard, shards)
        .map_err(|error| refused(error.to_string()))?;
    Ok(config)
}

/// The first IPv6 address of `host`, which may be one.
async fn resolve(host: &str, port: u16) -> Result<SocketAddr> {
    let invalid = |why: String| Error::new(Kind::InvalidAddress, why);
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Ok(SocketAddr::V6(SocketAddrV6::new(address, port, 0, 0)));
    }
    tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| invalid(format!("{host}: {error}")))?
        .find(SocketAddr::is_ipv6)
        .ok_or_else(|| invalid(format!("{host} has no IPv6 address")))
}

/// Silence during a handshake is a handshake that timed out, whichever timer noticed it.
fn handshake_timeout(error: Error) -> Error {
    match error {
        Error::Failed {
            kind: Kind::TimedOut,
            why,
        } => Error::new(Kind::HandshakeTimeout, why),
        error => error,
    }
}
