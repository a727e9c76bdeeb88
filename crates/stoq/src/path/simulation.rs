//! Whole connections in virtual time: quinn-proto at both ends, a seeded link between them, and no
//! socket, no thread and no clock. Tests only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod link_tests;
mod tier_tests;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hm_crypto::hybrid::SecretKeys;
use impair::{Link, Settings};
use quinn_proto::congestion::{Controller, ControllerFactory};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Endpoint,
    EndpointConfig, Event, ServerConfig, StreamEvent, StreamId, TransportConfig, VarInt,
};

use rustls::server::NoServerSessionStorage;

use super::bottleneck::{Credit, Facts, Shares};
use super::controller::ModelConfig;
use super::gauge::Gauge;
use super::room::Rooms;
use super::tier::{Settings as TierSettings, Tier};
use crate::admission::Alpn;
use crate::identity::Identity;
use crate::tls;

/// What an application writes at once.
static CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];

/// How a flow's sender behaves.
#[derive(Clone)]
pub struct FlowSpec {
    pub congestion: Congestion,
    /// When it begins to send.
    pub begins: Duration,
    /// Bits per second that its application has; `None` for as much as goes.
    pub offers: Option<u64>,
    /// Whether the other end's application takes what arrives.
    pub read: bool,
}

#[derive(Clone, Copy)]
pub enum Congestion {
    Model,
    /// The same within a host, with a window that it keeps while nothing is lost.
    Floored(u64),
    /// The same, of a receiver's buffer of so many bytes that all flows share.
    Within(u64),
    Cubic,
    /// A window that nothing changes: a planted bug.
    Fixed(u64),
}

impl FlowSpec {
    pub fn bulk(congestion: Congestion) -> FlowSpec {
        FlowSpec {
            congestion,
            begins: Duration::ZERO,
            offers: None,
            read: true,
        }
    }
}

#[derive(Clone)]
struct Fixed(u64);

impl ControllerFactory for Fixed {
    fn build(self: Arc<Self>, _now: Instant, _mtu: u16) -> Box<dyn Controller> {
        Box::new((*self).clone())
    }
}

impl Controller for Fixed {
    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _persistent: bool, _: u64) {}

    fn on_mtu_update(&mut self, _mtu: u16) {}

    fn window(&self) -> u64 {
        self.0
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.0
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A sender at the client and what the server has of it.
pub struct Flow {
    spec: FlowSpec,
    pub gauge: Arc<Gauge>,
    pub shares: Shares,
    credit: Credit,
    pub handle: ConnectionHandle,
    stream: Option<StreamId>,
    blocked: bool,
    offered: u64,
    /// Why the connection ended.
    pub lost: Option<String>,
    /// Bytes that the server's application has read.
    pub received: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Client,
    Server,
}

struct Host {
    endpoint: Endpoint,
    connections: BTreeMap<ConnectionHandle, Connection>,
    readable: BTreeMap<ConnectionHandle, BTreeSet<StreamId>>,
}

/// A datagram in the link; the earliest is the greatest.
struct InFlight {
    at: Duration,
    number: u64,
    to: Side,
    contents: Vec<u8>,
    ecn: Option<EcnCodepoint>,
}

pub struct Simulation {
    base: Instant,
    pub now: Duration,
    client: Host,
    server: Host,
    pub up: Link,
    pub down: Link,
    in_flight: BinaryHeap<InFlight>,
    number: u64,
    pub flows: Vec<Flow>,
    /// Made with the first flow that shares one.
    rooms: Option<Rooms>,
    /// Of the server, in the order in which they were accepted; that of the flows, as each is
    /// begun after the one before.
    accepted: Vec<ConnectionHandle>,
    pub events: u64,
}

const CLIENT: &str = "[2001:db8::1]:1000";
const SERVER: &str = "[2001:db8::2]:2000";

/// The largest UDP payload of both ends.
pub const MTU: u16 = 1452;

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let keys = Arc::new(SecretKeys::generate().unwrap());
        let leaf = hm_x509::self_signed(&keys).unwrap();
        Identity::new(vec![leaf], keys).unwrap()
    })
}

fn transport(factory: Option<Arc<dyn ControllerFactory + Send + Sync>>) -> TransportConfig {
    let settings = TierSettings::first(false);
    let mut config = TransportConfig::default();
    config
        .initial_mtu(MTU)
        .mtu_discovery_config(None)
        .max_concurrent_uni_streams(VarInt::from_u32(16))
        .stream_receive_window(VarInt::from_u32(settings.stream_window))
        .receive_window(VarInt::from_u32(settings.stream_window))
        .send_window(u64::from(settings.stream_window))
        .max_idle_timeout(None);
    if let Some(factory) = factory {
        config.congestion_controller_factory(factory);
    }
    config
}

impl Host {
    fn new(server: bool, seed: u8) -> Host {
        let mut config = EndpointConfig::default();
        config.rng_seed(Some([seed; 32]));
        let server = server.then(|| {
            let tls = tls::server(identity(), Arc::new(NoServerSessionStorage {})).unwrap();
            let mut config = ServerConfig::with_crypto(tls);
            config.transport_config(Arc::new(transport(None)));
            Arc::new(config)
        });
        Host {
            endpoint: Endpoint::new(Arc::new(config), server, true, None),
            connections: BTreeMap::new(),
            readable: BTreeMap::new(),
        }
    }
}

impl Simulation {
    pub fn new(up: Settings, down: Settings, flows: &[FlowSpec]) -> Simulation {
        let base = Instant::now();
        let mut simulation = Simulation {
            base,
            now: Duration::ZERO,
            client: Host::new(false, 1),
            server: Host::new(true, 2),
            up: Link::new(up, 1),
            down: Link::new(down, 2),
            in_flight: BinaryHeap::new(),
            number: 0,
            flows: Vec::new(),
            rooms: None,
            accepted: Vec::new(),
            events: 0,
        };
        for spec in flows {
            simulation.connect(spec.clone());
        }
        simulation
    }

    /// A path with the same delay both ways and a bottleneck towards the server.
    pub fn path(megabits: u64, round_trip_ms: u64, queue_bytes: usize, loss: f64) -> Settings {
        Settings {
            delay: Duration::from_millis(round_trip_ms) / 2,
            rate: Some(megabits * 1_000_000),
            queue_bytes,
            loss,
            ..Settings::default()
        }
    }

    /// The way back of `path`: nothing but its delay.
    pub fn back(path: &Settings) -> Settings {
        Settings {
            delay: path.delay,
            ..Settings::default()
        }
    }

    pub fn over(path: Settings, flows: &[FlowSpec]) -> Simulation {
        Simulation::new(path, Simulation::back(&path), flows)
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }

    fn connect(&mut self, spec: FlowSpec) {
        let gauge = Arc::new(Gauge::default());
        let server: SocketAddr = SERVER.parse().unwrap();
        let model = |floor, room| ModelConfig {
            initial_window: TierSettings::first(false).initial_window,
            floor,
            room,
            ack_threshold: TierSettings::first(false).ack_threshold,
            ack_delay: TierSettings::first(false).ack_delay,
            gauge: gauge.clone(),
        };
        let factory: Arc<dyn ControllerFactory + Send + Sync> = match spec.congestion {
            Congestion::Model => Arc::new(model(0, None)),
            Congestion::Floored(floor) => Arc::new(model(floor, None)),
            Congestion::Within(bytes) => {
                let rooms = self.rooms.get_or_insert_with(|| Rooms::new(bytes));
                Arc::new(model(bytes, Some(rooms.at(server))))
            }
            Congestion::Fixed(window) => Arc::new(Fixed(window)),
            Congestion::Cubic => Arc::new(quinn_proto::congestion::CubicConfig::default()),
        };
        let mut config = ClientConfig::new(tls::client(None, Alpn::Enrol, None, false).unwrap());
        config.transport_config(Arc::new(transport(Some(factory))));
        let now = self.instant();
        let (handle, connection) = self
            .client
            .endpoint
            .connect(now, config, server, tls::SERVER_NAME)
            .unwrap();
        self.client.connections.insert(handle, connection);
        self.flows.push(Flow {
            spec,
            gauge,
            shares: Shares::new(now),
            credit: Credit::default(),
            handle,
            stream: None,
            blocked: false,
            offered: 0,
            lost: None,
            received: 0,
        });
        // Its first packet leaves before the next flow's, so that the server sees them in order.
        self.drive(Side::Client);
    }

    pub fn connection(&self, flow: usize) -> &Connection {
        &self.client.connections[&self.flows[flow].handle]
    }

    /// Bits per second that `flow` has received from `since` bytes and `from` on.
    pub fn rate(&self, flow: usize, since: u64, from: Duration) -> f64 {
        let bytes = self.flows[flow].received - since;
        bytes as f64 * 8.0 / (self.now - from).as_secs_f64()
    }

    /// Goes on until `until`, and gives what each flow received in that time in bits per second.
    pub fn run(&mut self, until: Duration) -> Vec<f64> {
        let from = self.now;
        let before: Vec<u64> = self.flows.iter().map(|flow| flow.received).collect();
        self.drive(Side::Client);
        self.drive(Side::Server);
        while let Some(next) = self.next_event().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step();
            self.events += 1;
        }
        self.now = until;
        (0..self.flows.len())
            .map(|flow| self.rate(flow, before[flow], from))
            .collect()
    }

    fn next_event(&mut self) -> Option<Duration> {
        let arrival = self.in_flight.peek().map(|next| next.at);
        let base = self.base;
        let timers = self
            .client
            .connections
            .values_mut()
            .chain(self.server.connections.values_mut())
            .filter_map(Connection::poll_timeout)
            .map(|at| at.saturating_duration_since(base))
            .min();
        let now = self.now;
        let applications = self.flows.iter().filter_map(|flow| {
            if flow.spec.begins > now {
                return Some(flow.spec.begins);
            }
            // An application with a rate writes once a millisecond.
            flow.spec
                .offers
                .map(|_| Duration::from_millis(now.as_millis() as u64 + 1).max(flow.spec.begins))
        });
        arrival.into_iter().chain(timers).chain(applications).min()
    }

    fn step(&mut self) {
        while self
            .in_flight
            .peek()
            .is_some_and(|next| next.at <= self.now)
        {
            let arrived = self.in_flight.pop().unwrap();
            self.receive(arrived);
        }
        let now = self.instant();
        for host in [&mut self.client, &mut self.server] {
            for connection in host.connections.values_mut() {
                if connection.poll_timeout().is_some_and(|at| at <= now) {
                    connection.handle_timeout(now);
                }
            }
        }
        self.drive(Side::Client);
        self.drive(Side::Server);
    }

    fn receive(&mut self, arrived: InFlight) {
        let now = self.instant();
        let (host, from) = match arrived.to {
            Side::Client => (&mut self.client, SERVER),
            Side::Server => (&mut self.server, CLIENT),
        };
        let mut buffer = Vec::new();
        let event = host.endpoint.handle(
            now,
            from.parse().unwrap(),
            None,
            arrived.ecn,
            BytesMut::from(arrived.contents.as_slice()),
            &mut buffer,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(connection) = host.connections.get_mut(&handle) {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let (handle, connection) = host
                    .endpoint
                    .accept(incoming, now, &mut buffer, None)
                    .unwrap();
                host.connections.insert(handle, connection);
                self.accepted.push(handle);
            }
            Some(DatagramEvent::Response(_)) | None => {}
        }
    }

    fn drive(&mut self, side: Side) {
        match side {
            Side::Client => self.write(),
            Side::Server => self.read(),
        }
        self.transmit(side);
        if side == Side::Client {
            self.look();
        }
    }

    /// The applications of the client.
    fn write(&mut self) {
        for flow in &mut self.flows {
            let connection = self.client.connections.get_mut(&flow.handle).unwrap();
            while let Some(event) = connection.poll() {
                match event {
                    Event::Stream(StreamEvent::Writable { .. }) => flow.blocked = false,
                    Event::ConnectionLost { reason } => flow.lost = Some(reason.to_string()),
                    _ => {}
                }
            }
            let ready = flow.lost.is_none() && !connection.is_handshaking();
            if flow.spec.begins > self.now || !ready {
                continue;
            }
            let stream = *flow
                .stream
                .get_or_insert_with(|| connection.streams().open(Dir::Uni).unwrap());
            let allowed = flow.spec.offers.map_or(u64::MAX, |rate| {
                let elapsed = (self.now - flow.spec.begins).as_millis() as u64;
                rate / 8 * elapsed / 1000
            });
            while !flow.blocked && flow.offered < allowed {
                let length = (allowed - flow.offered).min(CHUNK.len() as u64) as usize;
                let mut chunks = [Bytes::from_static(&CHUNK[..length])];
                match connection.send_stream(stream).write_chunks(&mut chunks) {
                    Ok(written) => flow.offered += written.bytes as u64,
                    Err(_) => flow.blocked = true,
                }
            }
        }
    }

    /// The applications of the server.
    fn read(&mut self) {
        for (index, handle) in self.accepted.iter().enumerate() {
            let connection = self.server.connections.get_mut(handle).unwrap();
            let readable = self.server.readable.entry(*handle).or_default();
            while let Some(event) = connection.poll() {
                match event {
                    Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                        while let Some(stream) = connection.streams().accept(Dir::Uni) {
                            readable.insert(stream);
                        }
                    }
                    Event::Stream(StreamEvent::Readable { id }) => {
                        readable.insert(id);
                    }
                    _ => {}
                }
            }
            if !self.flows[index].spec.read {
                continue;
            }
            for stream in std::mem::take(readable) {
                let mut stream = connection.recv_stream(stream);
                let mut chunks = stream.read(true).unwrap();
                while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                    self.flows[index].received += chunk.bytes.len() as u64;
                }
                let _ = chunks.finalize();
            }
        }
    }

    fn transmit(&mut self, side: Side) {
        let now = self.instant();
        let (host, link, to) = match side {
            Side::Client => (&mut self.client, &mut self.up, Side::Server),
            Side::Server => (&mut self.server, &mut self.down, Side::Client),
        };
        let mut buffer = Vec::new();
        for (handle, connection) in &mut host.connections {
            loop {
                while let Some(event) = connection.poll_endpoint_events() {
                    if let Some(event) = host.endpoint.handle_event(*handle, event) {
                        connection.handle_event(event);
                    }
                }
                buffer.clear();
                let Some(transmit) = connection.poll_transmit(now, 16, &mut buffer) else {
                    break;
                };
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                for datagram in buffer[..transmit.size].chunks(segment) {
                    for arrival in link.pass(self.now, datagram.len()).arrivals() {
                        let mut contents = datagram.to_vec();
                        if let Some(bit) = arrival.flipped_bit {
                            contents[bit / 8] ^= 1 << (bit % 8);
                        }
                        self.number += 1;
                        self.in_flight.push(InFlight {
                            at: arrival.at,
                            number: self.number,
                            to,
                            contents,
                            ecn: transmit.ecn.map(|ecn| match arrival.marked {
                                true => EcnCodepoint::Ce,
                                false => ecn,
                            }),
                        });
                    }
                }
            }
        }
    }

    /// What `hm net why` sees.
    fn look(&mut self) {
        let now = self.instant();
        for flow in &mut self.flows {
            let connection = &self.client.connections[&flow.handle];
            let stats = connection.stats();
            let (sent, received) = (stats.frame_tx, stats.frame_rx);
            let withheld = flow.credit.observe(
                sent.data_blocked + sent.stream_data_blocked,
                received.max_data + received.max_stream_data,
            );
            let reading = flow.gauge.read();
            let facts = Facts::of(&reading, &stats, withheld, flow.blocked);
            flow.shares.observe(now, facts);
        }
    }

    /// Milliseconds for each bound of `flow`.
    pub fn spent(&self, flow: usize) -> [u64; 6] {
        let spent = self.flows[flow].shares.spent(self.instant());
        spent.map(|spent| spent.as_millis() as u64)
    }

    /// The assessments of `flow`, one for each second that passes.
    pub fn tiers(&mut self, flow: usize, seconds: u64) -> Vec<super::tier::Assessment> {
        let mut assessment = Tier::first(false);
        let begins = self.now.as_secs();
        (begins..begins + seconds)
            .map(|second| {
                let before = self.connection(flow).stats().path;
                let rate = self.run(Duration::from_secs(second + 1))[flow];
                let stats = self.connection(flow).stats().path;
                let reading = self.flows[flow].gauge.read();
                let sent = (stats.sent_packets - before.sent_packets).max(1);
                let observed = super::tier::Observed {
                    loopback: false,
                    mtu: stats.current_mtu,
                    round_trip: reading.round_trip(),
                    delivery_rate: rate as u64,
                    loss: (stats.lost_packets - before.lost_packets) as f64 / sent as f64,
                    application_limited: reading.application_limited,
                };
                assessment = Tier::assess(&observed, &assessment);
                assessment.clone()
            })
            .collect()
    }
}

impl PartialEq for InFlight {
    fn eq(&self, other: &InFlight) -> bool {
        self.number == other.number
    }
}

impl Eq for InFlight {}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &InFlight) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InFlight {
    fn cmp(&self, other: &InFlight) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
