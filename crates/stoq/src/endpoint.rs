//! One UDP socket, client and server at once.

mod accepting;
mod dialling;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hm_x509::{PeerIdentity, TrustPolicy};
use parking_lot::{Mutex, RwLock};

use self::accepting::ServerConfigs;
pub use self::dialling::Destination;
use crate::admission::{Alpn, Channel, Terms};
use crate::admitted::{self, Admission, Admissions};
use crate::connection::Connection;
use crate::datagram::Datagrams;
use crate::drive::{self, Drive};
use crate::error::{Error, Kind, Result};
use crate::identity::Identity;
use crate::limits::*;
use crate::live::{Live, LiveConnection};
use crate::memory::{self, Action, Operation, Range};
use crate::path::room::Rooms;
use crate::places::{Party, Place, Places};
use crate::quic::{self, timeout, EndpointConfig, VarInt};
use crate::region::Regions;
use crate::remote::Target;
use crate::request::Queue;
use crate::restart;
use crate::serving::Services;
use crate::socket::{Socket, Stack};
use crate::tickets::Tickets;
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
    rooms: Rooms,
    refusals: Mutex<VecDeque<Refusal>>,
    admissions: Admissions,
    refused: AtomicU64,
    accepted: AtomicU64,
    resumed: AtomicU64,
    /// Requests served before their connection was admitted.
    early: Arc<AtomicU64>,
    handshakes: Arc<Places>,
    /// Of connections that others have opened: whom somebody vouches for, and the others.
    members: Arc<Places>,
    outsiders: Arc<Places>,
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

    /// The same with several sockets, each with an I/O thread; more than one are pinned, each to a
    /// core, as far as there are cores. The kernel spreads the peers over them. Between 1 and
    /// `SHARDS_MAX`.
    pub fn bind_shards(
        address: SocketAddrV6,
        stack: Stack,
        policy: Arc<TrustPolicy>,
        identity: Option<Arc<Identity>>,
        shards: usize,
    ) -> Result<Endpoint> {
        Endpoint::begin(address, stack, policy, identity, shards)
    }

    /// The I/O threads.
    pub fn shards(&self) -> usize {
        self.shared.quic.shards().len()
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
        // Other sockets of this host hold as much as ours. While one more connection takes its part of
        // a full one, all together have up to twice as much under way as they may.
        let room = sockets
            .iter()
            .map(|socket| socket.receive_bytes() / 2)
            .min()
            .unwrap_or_default()
            .min(LOOPBACK_FLOOR_BYTES);
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
        live.obey(&policy);
        let shared = Arc::new(Shared {
            quic,
            local: Mutex::new(local),
            stack,
            terms: RwLock::new(Terms {
                identity,
                policy,
                known: Arc::default(),
            }),
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
            rooms: Rooms::new(room),
            refusals: Mutex::default(),
            admissions: Admissions::default(),
            refused: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            early: Arc::default(),
            handshakes: Places::new(HANDSHAKES_MAX),
            members: Places::new(CONNECTIONS_MAX),
            outsiders: Places::new(OUTSIDERS_MAX),
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

    /// New connections obey `policy` from now on. Live ones end where it revokes their peer, or where
    /// what let the peer's network in is gone or has changed.
    pub fn set_policy(&self, policy: Arc<TrustPolicy>) {
        let revoked = policy.revoked.clone();
        let ended = {
            // Held over both, so that of two policies one wins in both places.
            let mut terms = self.shared.terms.write();
            if terms.policy.believes_as(&policy) {
                self.shared.tickets.revoke(&revoked);
            } else {
                self.shared.tickets.clear();
                terms.known = Arc::default();
            }
            let ended = self.shared.live.obey(&policy);
            terms.policy = policy;
            ended
        };
        for (connection, peer, error) in ended {
            self.shared
                .record(connection.remote_address(), None, Some(peer), error);
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

    /// Whether connections that this endpoint opens use tickets of earlier ones and leave some; at
    /// first they do. Without them each handshake is a whole one, and nothing that a server
    /// remembers joins two connections.
    pub fn hold_tickets(&self, hold: bool) {
        self.shared.tickets.hold(hold);
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

    /// Keep note of up to `most` admissions for [`Endpoint::admissions`]; of none by default.
    pub fn keep_admissions(&self, most: usize) {
        self.shared.admissions.keep(most);
    }

    /// The admissions of peers with certificates since the last call, oldest first, and how many
    /// more there were.
    pub fn admissions(&self) -> (Vec<Admission>, u64) {
        self.shared.admissions.take()
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
            handshakes: shared.handshakes.taken(),
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

    /// A place for one more connection of `party`.
    fn place(&self, party: Party) -> Result<Place> {
        let places = match party {
            Party::Peer(_) => &self.members,
            Party::Network(..) => &self.outsiders,
        };
        places.take(party, 1).ok_or_else(|| {
            let why = "there is no room for one more connection of this peer";
            Error::new(Kind::Overloaded, why)
        })
    }

    /// Keeps note of a peer that has been admitted with a certificate.
    fn note(
        &self,
        connection: &quic::Connection,
        channel: &Channel,
        peer: Option<&PeerIdentity>,
        opened: bool,
    ) {
        let Some(peer) = peer.filter(|_| self.admissions.is_kept()) else {
            return;
        };
        self.admissions.note(Admission {
            at_ms: admitted::now_ms(),
            remote: connection.remote_address(),
            alpn: channel.alpn,
            peer: peer.id,
            network: peer.network,
            opened,
            chain: channel.chain().iter().map(|der| der.to_vec()).collect(),
        });
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
