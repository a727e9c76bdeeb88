//! One UDP socket, client and server at once.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hm_x509::TrustPolicy;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::admission::{self, Alpn, Channel, Expected, Terms};
use crate::connection::{self, Connection};
use crate::datagram::Datagrams;
use crate::drive::{self, Drive};
use crate::error::{Error, Kind, Result};
use crate::frame;
use crate::identity::Identity;
use crate::intake::draining;
use crate::limits::*;
use crate::live::{self, Live, LiveConnection};
use crate::memory::{self, Action, Operation, Range};
use crate::quic::{
    self, timeout, ClientConfig, ConnectionError, EndpointConfig, Incoming, ServerConfig, Shard,
    TransportConfig, VarInt,
};
use crate::region::Regions;
use crate::remote::Target;
use crate::request::{Origin, Queue};
use crate::restart;
use crate::route;
use crate::serving::{self, Services};
use crate::session;
use crate::socket::{Socket, Stack};
use crate::stream::within;
use crate::tickets::{ServerTickets, Tickets, Towards};
use crate::tls;
use crate::transport;
use crate::PeerId;

/// A socket with its connections, requests and regions. Dropped, it closes.
pub struct Endpoint {
    shared: Arc<Shared>,
}

struct Shared {
    quic: quic::Endpoint,
    /// Held while it changes.
    local: Mutex<SocketAddrV6>,
    stack: Stack,
    terms: RwLock<Terms>,
    server: RwLock<Option<ServerConfigs>>,
    services: Services,
    live: Live,
    tickets: Arc<Tickets>,
    refusals: Mutex<VecDeque<Refusal>>,
    refused: AtomicU64,
    accepted: AtomicU64,
    resumed: AtomicU64,
    /// Requests served before their connection was admitted.
    early: Arc<AtomicU64>,
    handshakes: AtomicUsize,
}

/// How to accept.
#[derive(Clone)]
struct ServerConfigs {
    identity: Arc<Identity>,
    any: Arc<ServerConfig>,
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
    /// Those among them that began from a ticket.
    pub resumed: u64,
    /// Requests served before their connection was admitted.
    pub early: u64,
    pub refused: u64,
    /// Tickets that peers may still use here, and tickets to use with others.
    pub tickets_offered: usize,
    pub tickets_held: usize,
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
        Endpoint::bind_stack(address, Stack::Ipv6, policy, identity)
    }

    /// The same for the versions of IP in `stack`.
    pub fn bind_stack(
        address: SocketAddrV6,
        stack: Stack,
        policy: Arc<TrustPolicy>,
        identity: Option<Arc<Identity>>,
    ) -> Result<Endpoint> {
        Endpoint::begin(address, stack, policy, identity, 1)
    }

    /// The same with several sockets, each with an I/O thread pinned to a core. The kernel spreads
    /// the peers over them.
    pub fn bind_shards(
        address: SocketAddrV6,
        policy: Arc<TrustPolicy>,
        identity: Option<Arc<Identity>>,
        shards: usize,
    ) -> Result<Endpoint> {
        Endpoint::begin(address, Stack::Ipv6, policy, identity, shards)
    }

    fn begin(
        address: SocketAddrV6,
        stack: Stack,
        policy: Arc<TrustPolicy>,
        identity: Option<Arc<Identity>>,
        shards: usize,
    ) -> Result<Endpoint> {
        let refused = |error| bind_refused(address, &error);
        let count = shards.clamp(1, SHARDS_MAX);
        let sockets = Socket::bind_all(address, stack, count).map_err(refused)?;
        let server = identity.clone().map(ServerConfigs::new).transpose()?;
        let count = sockets.len();
        let quic = quic::Endpoint::new(
            sockets,
            |shard| config(identity.as_deref(), shard, count).map_err(io::Error::other),
            server.as_ref().map(|configs| configs.any.clone()),
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
            local: Mutex::new(local),
            stack,
            terms: RwLock::new(Terms { identity, policy }),
            server: RwLock::new(server),
            services: Services {
                queue: Arc::new(Queue::new().map_err(refused)?),
                datagrams: Arc::new(Datagrams::new().map_err(refused)?),
                regions: Arc::new(Regions::default()),
                flows: Arc::default(),
                intake: Arc::default(),
                drive: drive.clone(),
            },
            live,
            tickets: Arc::default(),
            refusals: Mutex::default(),
            refused: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            early: Arc::default(),
            handshakes: AtomicUsize::new(0),
        });
        for shard in shared.quic.shards() {
            Drive::spawn_on(shard, shared.clone().accept(shard.clone()));
        }
        drive.spawn(refresh_keys(Arc::downgrade(&shared)));
        Ok(Endpoint { shared })
    }

    pub fn local(&self) -> SocketAddrV6 {
        *self.shared.local.lock()
    }

    #[cfg(test)]
    pub fn id(&self) -> PeerId {
        let terms = self.shared.terms.read();
        terms
            .identity
            .as_ref()
            .map_or([0; 32], |identity| identity.id)
    }

    #[cfg(test)]
    pub fn live(&self) -> &Live {
        &self.shared.live
    }

    /// Moves to another port of the same address; 0 asks the system for one. Connections that this
    /// side opened go on from there, as after a NAT that forgot them. Those that others opened end,
    /// because only who opened a connection can move it (RFC 9000 section 9), and a handshake under
    /// way may fail. The new address.
    pub fn rebind(&self, port: u16) -> Result<SocketAddrV6> {
        let shared = &self.shared;
        let mut local = shared.local.lock();
        let shards = shared.quic.shards();
        if shards.iter().any(|shard| shard.is_stopped()) {
            return Err(drive::closed());
        }
        let wanted = SocketAddrV6::new(*local.ip(), port, 0, local.scope_id());
        let refused = |error| bind_refused(wanted, &error);
        let sockets = Socket::bind_all(wanted, shared.stack, shards.len()).map_err(refused)?;
        shared.quic.rebind(&sockets, MOVED).map_err(refused)?;
        local.set_port(shared.quic.local_addr().port());
        Ok(*local)
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
            if terms.policy.believes_as(&policy) {
                self.shared.tickets.revoke(&revoked);
            } else {
                self.shared.tickets.clear();
            }
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

    /// New connections use `identity` from now on; live ones keep the one they began with. Tickets
    /// of the one before are good no more.
    pub fn set_identity(&self, identity: Arc<Identity>) -> Result<()> {
        let mut terms = self.shared.terms.write();
        let mut server = self.shared.server.write();
        match &mut *server {
            // The rest stays: a client that was told to retry comes back with a token under the
            // key in these configurations.
            Some(configs) => configs.identity = identity.clone(),
            none => {
                let configs = ServerConfigs::new(identity.clone())?;
                self.shared
                    .quic
                    .set_server_config(Some(configs.any.clone()));
                *none = Some(configs);
            }
        }
        self.shared.tickets.clear();
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

    /// Connects and asks `service` at once. Where a ticket of the peer is held and the request
    /// changes nothing (an echo, a read of memory), it goes out in the first flight, and its answer
    /// comes a round trip earlier; it counts once the peer is admitted. Such a request has no
    /// forward secrecy, and its answer has (`docs/decisions/0009-resumption.md`).
    pub fn connect_and_request(
        &self,
        destination: Destination,
        service: u16,
        body: Vec<u8>,
        patience: Duration,
    ) -> impl std::future::Future<Output = Result<(Connection, Vec<u8>)>> + Send + 'static {
        self.shared
            .clone()
            .connect_and_request(destination, service, body, patience)
    }

    /// The same for a range of a region of the peer.
    pub fn connect_and_read(
        &self,
        destination: Destination,
        target: Target,
        range: Range,
        patience: Duration,
    ) -> impl std::future::Future<Output = Result<(Connection, Vec<u8>)>> + Send + 'static {
        let operation = Operation {
            region: target.region,
            epoch: target.epoch,
            offset: range.offset,
            action: Action::Read {
                length: range.length,
            },
        };
        self.connect_and_request(destination, memory::SERVICE, operation.encode(), patience)
    }

    /// Takes no new connections and streams from now on, which `Draining` tells those who come, and
    /// no datagrams; waits until what runs is done, at most for `patience`. Whether it is. Bytes in
    /// tunnels that others opened are among it. Connections stay for their owners to close, or for
    /// [`Endpoint::close`].
    pub async fn drain(&self, patience: Duration) -> Result<bool> {
        let shared = &self.shared;
        let deadline = Instant::now() + patience;
        shared.services.intake.close();
        let done = loop {
            let (_, unanswered, _) = shared.services.queue.load();
            if unanswered + shared.services.intake.running() == 0 {
                break true;
            }
            if Instant::now() >= deadline {
                break false;
            }
            tokio::time::sleep(DRAIN_STEP).await;
        };
        // The last answers are on their way: time to arrive, and to be sent again once.
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::time::sleep((shared.live.slowest() * 4).min(left)).await;
        Ok(done)
    }

    /// The refusals since the last call, oldest first; at most the last `REFUSALS_MAX`.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.shared.refusals.lock().drain(..).collect()
    }

    /// Its live connections, oldest first: at most `limit` after those up to the key `after` (0 for
    /// all), each with its key.
    pub fn connections(&self, after: u64, limit: usize) -> Vec<(u64, LiveConnection)> {
        self.shared.live.list(after, limit)
    }

    pub fn stats(&self) -> EndpointStats {
        let shared = &self.shared;
        let (waiting, unanswered, bytes) = shared.services.queue.load();
        let (tickets_offered, tickets_held) = shared.tickets.count();
        EndpointStats {
            connections: shared.live.count(),
            handshakes: shared.handshakes.load(Ordering::Relaxed),
            accepted: shared.accepted.load(Ordering::Relaxed),
            resumed: shared.resumed.load(Ordering::Relaxed),
            early: shared.early.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            tickets_offered,
            tickets_held,
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
        // Boxed, because admission takes ten times the room of what is left of this task after it.
        let admitted = within(HANDSHAKE_TIMEOUT, Box::pin(self.admit(incoming, &mut seen)))
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
        let (terms, configs, tickets) = {
            // Read together, so that TLS certificate, binding and tickets are of one identity.
            let terms = self.terms.read();
            (
                terms.clone(),
                self.server.read().clone(),
                self.tickets.server(),
            )
        };
        let configs = configs.ok_or_else(drive::closed)?;
        let remote = incoming.remote_address().ip();
        let start = transport::start(
            Instant::now(),
            remote,
            STREAMS_FIRST,
            route::first_link(remote),
        );
        let config = configs.of_one(start.config, tickets.clone())?;
        let (connection, established) = match incoming.accept_with(config)?.into_0rtt() {
            Ok(both) => both,
            Err(connecting) => {
                return Err(connecting
                    .await
                    .err()
                    .map_or_else(drive::closed, Error::from))
            }
        };
        connection.watch(start.monitor);
        seen.connection = Some(connection.clone());
        let mut opening = admission::opening(&connection).await?;
        let early = match opening.early(&connection, &terms, tickets.taken()).await {
            Ok(early) => early,
            Err(error) => {
                // A close before the handshake is done would lose the reason (RFC 9000 section
                // 10.2.3), and one after the streams are dropped could come behind their end.
                established.await;
                admission::close(&connection, &error);
                return Err(error);
            }
        };
        let (admitted, admission) = watch::channel(None);
        let serving = self.serve_early(&connection, early, &admission);
        let finishing = async {
            established.await;
            let channel = Channel::of(&connection)?;
            seen.alpn = Some(channel.alpn);
            seen.peer = channel.claimed_id();
            if self.services.intake.is_closed() {
                admission::close(&connection, &draining());
                return Err(draining());
            }
            let peer = opening
                .admit(&connection, &channel, &terms, tickets.taken())
                .await?;
            Ok((channel, peer))
        };
        let (channel, peer) = tokio::select! {
            biased;
            finished = finishing => finished?,
            error = serving => return Err(error),
        };
        let id = peer.as_ref().map(|peer| peer.id);
        let (key, _) = self.live.add(&connection, id, false, &channel)?;
        if let Some(admitted) = terms.admitted(&channel, peer.as_ref()) {
            tickets.admit(admitted);
        }
        self.resumed
            .fetch_add(channel.resumed.into(), Ordering::Relaxed);
        let origin = Origin {
            peer: id,
            owner: peer.and_then(|peer| peer.owner),
            alpn: channel.alpn,
            channel_binding: channel.binding,
        };
        admitted.send_replace(Some(origin.clone()));
        session::release(&connection);
        Ok((connection, origin, key))
    }

    /// Serves streams of a client that has bound its first flight, until it is dropped; the reason
    /// where the connection ends before.
    async fn serve_early(
        &self,
        connection: &quic::Connection,
        early: Option<(Alpn, hm_x509::PeerIdentity)>,
        admission: &watch::Receiver<Option<Origin>>,
    ) -> Error {
        let Some((alpn, peer)) = early else {
            return std::future::pending().await;
        };
        let origin = Origin {
            peer: Some(peer.id),
            owner: peer.owner,
            alpn,
            // It is not known before the handshake is done, and nothing that is served until then
            // asks for it.
            channel_binding: [0; 32],
        };
        loop {
            match connection.accept_bi().await {
                Ok((send, receive)) => {
                    let serving = serving::serve_early(
                        self.services.clone(),
                        origin.clone(),
                        admission.clone(),
                        self.early.clone(),
                        send,
                        receive,
                    );
                    Drive::spawn_on(connection.shard(), serving);
                }
                Err(error) => return error.into(),
            }
        }
    }

    async fn connect(
        self: Arc<Self>,
        destination: Destination,
        patience: Duration,
    ) -> Result<Connection> {
        let reached = within(patience, self.reach(&destination, None))
            .await
            .map_err(handshake_timeout)?;
        self.enter(reached)
    }

    async fn connect_and_request(
        self: Arc<Self>,
        destination: Destination,
        service: u16,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<(Connection, Vec<u8>)> {
        let deadline = Instant::now() + patience;
        frame::checked_body(&body)?;
        let mut reached = within(patience, self.reach(&destination, Some((service, &body))))
            .await
            .map_err(handshake_timeout)?;
        let answer = reached.answer.take();
        let connection = self.enter(reached)?;
        let patience = deadline.saturating_duration_since(Instant::now());
        let answer = connection
            .answer_of(service, &body, answer, patience)
            .await?;
        Ok((connection, answer))
    }

    /// Makes a connection of one that was reached.
    fn enter(self: Arc<Self>, reached: Reached) -> Result<Connection> {
        let Reached {
            connection,
            channel,
            peer,
            early,
            ..
        } = reached;
        let (key, ending) = self.live.add(&connection, Some(peer.id), true, &channel)?;
        let watched = (self.clone(), connection.clone());
        Drive::spawn_on(connection.shard(), async move {
            let (shared, connection) = watched;
            connection.closed().await;
            shared.live.remove(key);
        });
        Ok(Connection::new(
            connection,
            channel,
            early,
            peer.id,
            peer.owner,
            ending,
            self.services.drive.clone(),
        ))
    }

    /// `asked`: a request that may go out in the first flight, where it changes nothing and a
    /// ticket is held.
    async fn reach(
        &self,
        destination: &Destination,
        asked: Option<(u16, &[u8])>,
    ) -> Result<Reached> {
        let address = resolve(&destination.host, destination.port, self.stack).await?;
        let (terms, tickets) = {
            let terms = self.terms.read();
            (terms.clone(), self.tickets.client(destination.towards()))
        };
        let asked = asked.filter(|(service, body)| serving::may_be_early(*service, body));
        let crypto = tls::client(
            terms.identity.as_deref(),
            destination.alpn,
            destination.alpn.resumes().then(|| tickets.clone() as _),
            asked.is_some(),
        )?;
        let mut config = ClientConfig::new(crypto);
        let start = transport::start(
            Instant::now(),
            address.ip(),
            0,
            route::first_link(address.ip()),
        );
        config.transport_config(Arc::new(start.config));
        let connecting = self.quic.connect_with(config, address, tls::SERVER_NAME)?;
        let early = match (asked, tickets.taken()) {
            (Some(asked), Some(server)) => connecting
                .into_0rtt()
                .map(|(connection, accepted)| (connection, accepted, asked, server)),
            _ => Err(connecting),
        };
        let (unfinished, flight) = match early {
            Err(connecting) => (Unfinished::new(connecting.await?), Landed::default()),
            Ok((connection, accepted, (service, body), server)) => {
                let unfinished = Unfinished::new(connection.clone());
                let frame = admission::bind_early(&connection, &terms, server).await?;
                let flight = Flight::open(&connection).await?;
                let flight = flight.send(&frame, service, body, accepted).await;
                if let Some(error) = connection.close_reason() {
                    return Err(error.into());
                }
                (unfinished, flight?)
            }
        };
        let connection = unfinished.connection();
        connection.watch(start.monitor);
        let channel = Channel::of(&connection)?;
        let Landed {
            first,
            answer,
            early,
        } = flight;
        let peer =
            admission::admit_server(&connection, &channel, &terms, destination.expected, first)
                .await?;
        if let Some(admitted) = terms.admitted(&channel, Some(&peer)) {
            tickets.admit(admitted);
        }
        unfinished.keep();
        Ok(Reached {
            connection,
            channel,
            peer,
            early,
            answer,
        })
    }
}

/// A peer that has admitted us and that we have admitted.
struct Reached {
    connection: quic::Connection,
    channel: Channel,
    peer: hm_x509::PeerIdentity,
    /// The server took the first flight.
    early: bool,
    /// Where the answer to the request in it comes.
    answer: Option<quic::RecvStream>,
}

/// The two streams of a first flight, still unused: the handshake may end at any moment, and what
/// is opened after it is an ordinary stream.
struct Flight {
    binding: (quic::SendStream, quic::RecvStream),
    request: (quic::SendStream, quic::RecvStream),
}

/// What is left of a first flight when the handshake is done.
#[derive(Default)]
struct Landed {
    /// The first stream of the connection, where it is open.
    first: Option<admission::First>,
    answer: Option<quic::RecvStream>,
    /// The server took it.
    early: bool,
}

impl Flight {
    async fn open(connection: &quic::Connection) -> Result<Flight> {
        Ok(Flight {
            binding: connection.open_bi().await?,
            request: connection.open_bi().await?,
        })
    }

    async fn send(
        self,
        frame: &[u8],
        service: u16,
        body: &[u8],
        accepted: quic::ZeroRttAccepted,
    ) -> Result<Landed> {
        let Flight {
            mut binding,
            request,
        } = self;
        if request.0.is_early() {
            // Where the server does not take it, both streams are void and their errors say so.
            let bound = binding.0.write_all(frame).await;
            let answer = connection::asked(request, service, body).await;
            if !accepted.await {
                return Ok(Landed::default());
            }
            bound?;
            return Ok(Landed {
                first: Some(binding),
                answer: Some(answer?),
                early: true,
            });
        }
        // The handshake was faster than the signature.
        let accepted = accepted.await;
        if binding.0.is_early() && !accepted {
            return Ok(Landed {
                first: Some(request),
                ..Landed::default()
            });
        }
        Ok(Landed {
            first: Some(binding),
            answer: Some(connection::asked(request, service, body).await?),
            early: false,
        })
    }
}

/// Changes the keys of connections whose keys are old or much used.
async fn refresh_keys(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(KEY_CHECK_INTERVAL).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.live.refresh_keys(Instant::now()).await;
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
struct Unfinished {
    connection: quic::Connection,
    kept: bool,
}

impl Unfinished {
    fn new(connection: quic::Connection) -> Unfinished {
        Unfinished {
            connection,
            kept: false,
        }
    }

    fn connection(&self) -> quic::Connection {
        self.connection.clone()
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            let error = Error::new(Kind::HandshakeTimeout, "the client gave up");
            admission::close(&self.connection, &error);
        }
    }
}

impl Destination {
    fn towards(&self) -> Towards {
        Towards {
            host: self.host.clone(),
            port: self.port,
            alpn: self.alpn,
            peer: self.expected.peer,
        }
    }
}

impl ServerConfigs {
    fn new(identity: Arc<Identity>) -> Result<ServerConfigs> {
        // No connection is accepted with this one; it answers what comes before TLS.
        let crypto = tls::server(&identity, Arc::<Tickets>::default().server())?;
        let mut any = ServerConfig::with_crypto(crypto);
        any.transport_config(Arc::new(transport::config(
            Ipv6Addr::UNSPECIFIED.into(),
            STREAMS_FIRST,
        )))
        .max_incoming(HANDSHAKES_MAX);
        Ok(ServerConfigs {
            identity,
            any: Arc::new(any),
        })
    }

    /// For one connection.
    fn of_one(
        &self,
        transport: TransportConfig,
        tickets: Arc<ServerTickets>,
    ) -> Result<Arc<ServerConfig>> {
        let mut config = (*self.any).clone();
        config.transport_config(Arc::new(transport));
        config.crypto = tls::server(&self.identity, tickets)?;
        Ok(Arc::new(config))
    }
}

/// What those are told whose connections cannot follow an endpoint.
const MOVED: &[u8] = b"this endpoint has moved to another port";

fn bind_refused(address: SocketAddrV6, error: &io::Error) -> Error {
    let why = format!("[{}]:{}: {error}", address.ip(), address.port());
    Error::new(Kind::BindRefused, why)
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

/// The first IPv6 address of `host`, which may be one; for a dual stack the first IPv4 address
/// where there is none.
async fn resolve(host: &str, port: u16, stack: Stack) -> Result<SocketAddr> {
    let invalid = |why: String| Error::new(Kind::InvalidAddress, why);
    let known: Vec<IpAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| invalid(format!("{host}: {error}")))?
            .map(|address| address.ip())
            .collect(),
    };
    reachable(&known, stack)
        .map(|address| SocketAddrV6::new(address, port, 0, 0).into())
        .ok_or_else(|| invalid(format!("{host} has no IPv6 address")))
}

/// The one of `known` to send to.
fn reachable(known: &[IpAddr], stack: Stack) -> Option<Ipv6Addr> {
    let six = known
        .iter()
        .find_map(|address| match address.to_canonical() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
    let four = || {
        known
            .iter()
            .find_map(|address| match address.to_canonical() {
                IpAddr::V4(address) => Some(address.to_ipv6_mapped()),
                IpAddr::V6(_) => None,
            })
    };
    match stack {
        Stack::Ipv6 => six,
        Stack::Dual => six.or_else(four),
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_for_a_dual_stack_and_comes_second() {
        let parse = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        let six: Ipv6Addr = "2001:db8::1".parse().unwrap();
        for four in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(reachable(&parse(&[four]), Stack::Ipv6), None);
            assert_eq!(reachable(&parse(&[four]), Stack::Dual), Some(mapped));
            let both = parse(&[four, "2001:db8::1"]);
            assert_eq!(reachable(&both, Stack::Ipv6), Some(six));
            assert_eq!(reachable(&both, Stack::Dual), Some(six));
        }
    }
}
