//! What the connections of a shard have in common, under its lock: which datagram is whose, new
//! connections, timers. A connection itself is behind a lock of its own ([`super::lane`]), which
//! may be held while this one is taken, and never the other way round.
//!
//! Wakers are collected here and woken by the caller after the lock is released.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionError, ConnectionEvent, ConnectionHandle, DatagramEvent,
    EcnCodepoint, EndpointConfig, EndpointEvent, Incoming, ServerConfig, Transmit, VarInt,
};
use quinn_udp::RecvMeta;
use slab::Slab;

use super::allowance::Allowance;
use super::lane::Lane;
use super::link::Link;
use crate::socket::Socket;

const NOWHERE: usize = usize::MAX;

pub struct Core {
    endpoint: quinn_proto::Endpoint,
    pub lanes: Slab<Arc<Lane>>,
    /// Where in `lanes` the connections of `endpoint` are.
    places: Vec<usize>,
    /// Entries may be earlier than what a link wants by now, never later.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Each with the bytes of its first datagram.
    pub incoming: VecDeque<(Incoming, u64)>,
    pub accepting: Vec<Waker>,
    /// Those who wait for the last connection to be gone.
    pub idling: Vec<Waker>,
    /// To be woken once the lock is released.
    pub woken: Vec<Waker>,
    pub closed: Option<(VarInt, Bytes)>,
    /// Connections that are not drained.
    pub live: usize,
    response: Vec<u8>,
}

impl Core {
    pub fn new(
        config: Arc<EndpointConfig>,
        server: Option<Arc<ServerConfig>>,
        may_fragment: bool,
    ) -> Core {
        Core {
            endpoint: quinn_proto::Endpoint::new(config, server, !may_fragment, None),
            lanes: Slab::new(),
            places: Vec::new(),
            timers: BinaryHeap::new(),
            incoming: VecDeque::new(),
            accepting: Vec::new(),
            idling: Vec::new(),
            woken: Vec::new(),
            closed: None,
            live: 0,
            response: Vec::new(),
        }
    }

    pub fn set_server_config(&mut self, config: Option<Arc<ServerConfig>>) {
        self.endpoint.set_server_config(config);
    }

    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// One datagram from the network. What it means to a connection, if it is for one.
    pub fn route(
        &mut self,
        now: Instant,
        meta: &RecvMeta,
        data: BytesMut,
        socket: &Socket,
    ) -> Option<(&Arc<Lane>, ConnectionEvent)> {
        let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
        let bytes = data.len() as u64;
        self.response.clear();
        let event =
            self.endpoint
                .handle(now, meta.addr, meta.dst_ip, ecn, data, &mut self.response);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let lane = self.lanes.get(self.place(handle))?;
                return Some((lane, event));
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                if self.closed.is_some() {
                    self.refuse(incoming, socket);
                } else {
                    self.incoming.push_back((incoming, bytes));
                    self.woken.append(&mut self.accepting);
                }
            }
            Some(DatagramEvent::Response(transmit)) => self.respond(&transmit, socket),
            None => {}
        }
        None
    }

    /// An event that a connection has for the endpoint. What the endpoint answers to it.
    pub fn hear(&mut self, link: &mut Link, event: EndpointEvent) -> Option<ConnectionEvent> {
        let drained = event.is_drained();
        let answer = self.endpoint.handle_event(link.handle, event);
        if drained && !link.drained {
            link.drained = true;
            if let Some(place) = self.places.get_mut(link.handle.0) {
                *place = NOWHERE;
            }
            self.live -= 1;
            if self.live == 0 {
                self.woken.append(&mut self.idling);
            }
        }
        answer
    }

    /// The connection at `key` wants to be looked at.
    pub fn schedule(&mut self, at: Instant, key: usize) {
        self.timers.push(Reverse((at, key)));
    }

    /// Takes the connections that wanted to be looked at by `now`, and when.
    pub fn due(&mut self, now: Instant) -> Vec<(Instant, Arc<Lane>)> {
        let mut due = Vec::new();
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(lane) = self.lanes.get(key) {
                due.push((at, lane.clone()));
            }
        }
        due
    }

    /// Sends what the endpoint itself answers. Where the kernel has no room, nobody gets it: who
    /// asked will ask again.
    fn respond(&mut self, transmit: &Transmit, socket: &Socket) {
        send(socket, transmit, &self.response);
    }

    pub fn refuse(&mut self, incoming: Incoming, socket: &Socket) {
        self.response.clear();
        let transmit = self.endpoint.refuse(incoming, &mut self.response);
        self.respond(&transmit, socket);
    }

    /// The incoming connection again where it has been asked to retry before.
    pub fn retry(&mut self, incoming: Incoming, socket: &Socket) -> Option<Incoming> {
        self.response.clear();
        match self.endpoint.retry(incoming, &mut self.response) {
            Ok(transmit) => {
                self.respond(&transmit, socket);
                None
            }
            Err(error) => Some(error.into_incoming()),
        }
    }

    pub fn ignore(&mut self, incoming: Incoming) {
        self.endpoint.ignore(incoming);
    }

    /// `first`: bytes of the client's first datagram.
    pub fn accept(
        &mut self,
        incoming: Incoming,
        first: u64,
        now: Instant,
        config: Option<Arc<ServerConfig>>,
        socket: &Socket,
    ) -> Result<Arc<Lane>, ConnectionError> {
        self.response.clear();
        let proven = incoming.remote_address_validated();
        match self
            .endpoint
            .accept(incoming, now, &mut self.response, config)
        {
            Ok((handle, connection)) => {
                let allowance = (!proven).then(|| Allowance::new(first));
                Ok(self.insert(handle, connection, allowance))
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.respond(&transmit, socket);
                }
                Err(error.cause)
            }
        }
    }

    pub fn connect(
        &mut self,
        now: Instant,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<Arc<Lane>, ConnectError> {
        if self.closed.is_some() {
            return Err(ConnectError::EndpointStopping);
        }
        let (handle, connection) = self.endpoint.connect(now, config, remote, server_name)?;
        Ok(self.insert(handle, connection, None))
    }

    fn insert(
        &mut self,
        handle: ConnectionHandle,
        connection: quinn_proto::Connection,
        allowance: Option<Allowance>,
    ) -> Arc<Lane> {
        let entry = self.lanes.vacant_entry();
        let key = entry.key();
        let lane = Arc::new(Lane::new(key, Link::new(handle, connection, allowance)));
        entry.insert(lane.clone());
        if self.places.len() <= handle.0 {
            self.places.resize(handle.0 + 1, NOWHERE);
        }
        if let Some(place) = self.places.get_mut(handle.0) {
            *place = key;
        }
        self.live += 1;
        lane
    }

    fn place(&self, handle: ConnectionHandle) -> usize {
        self.places.get(handle.0).copied().unwrap_or(NOWHERE)
    }

    /// Nobody holds the link at `key` any more, and the state machine is done with it.
    pub fn remove(&mut self, key: usize) {
        self.lanes.try_remove(key);
    }

    /// Refuses connections from now on. Those that there are have to be closed.
    pub fn shut(&mut self, code: VarInt, reason: &Bytes, socket: &Socket) -> Vec<Arc<Lane>> {
        self.closed = Some((code, reason.clone()));
        self.refuse_all(socket);
        self.woken.append(&mut self.accepting);
        if self.live == 0 {
            self.woken.append(&mut self.idling);
        }
        self.all()
    }

    /// Refuses those who have not been accepted yet.
    pub fn refuse_all(&mut self, socket: &Socket) {
        for (incoming, _) in std::mem::take(&mut self.incoming) {
            self.refuse(incoming, socket);
        }
    }

    pub fn all(&self) -> Vec<Arc<Lane>> {
        self.lanes.iter().map(|(_, lane)| lane.clone()).collect()
    }
}

/// Whether the kernel took the datagrams. Those that it refuses count as lost on the way: a probe
/// that is larger than the link is meant to end so.
pub fn send(socket: &Socket, transmit: &Transmit, buffer: &[u8]) -> bool {
    let Some(contents) = buffer.get(..transmit.size) else {
        return true;
    };
    let sent = socket.send(&quinn_udp::Transmit {
        destination: transmit.destination,
        ecn: transmit
            .ecn
            .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
        contents,
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    });
    !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
