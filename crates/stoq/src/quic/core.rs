//! The state machines of a shard, under its lock: datagrams in, datagrams out, timers, and the
//! wakers of those whom an event concerns. Wakers are collected here and woken by the caller after
//! the lock is released.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionError, ConnectionHandle, DatagramEvent, EcnCodepoint,
    EndpointConfig, Incoming, ServerConfig, Side, Transmit, VarInt,
};
use quinn_udp::RecvMeta;
use slab::Slab;

use super::allowance::Allowance;
use super::link::Link;
use crate::limits::{TRANSMITS_PER_FLUSH_MAX, UDP_PAYLOAD_BYTES_MAX};
use crate::socket::Socket;

const NOWHERE: usize = usize::MAX;

pub struct Core {
    endpoint: quinn_proto::Endpoint,
    pub links: Slab<Box<Link>>,
    /// Where in `links` the connections of `endpoint` are.
    places: Vec<usize>,
    dirty: VecDeque<usize>,
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
    /// Datagrams of `unsent`, or room for the next.
    buffer: Vec<u8>,
    /// The kernel had no room for these.
    unsent: Option<Transmit>,
    response: Vec<u8>,
}

/// What became of a connection's wish to send.
enum Sent {
    All,
    /// There is more, and others come first.
    Some,
    /// The kernel has no room.
    Blocked,
}

impl Core {
    pub fn new(
        config: Arc<EndpointConfig>,
        server: Option<Arc<ServerConfig>>,
        may_fragment: bool,
    ) -> Core {
        Core {
            endpoint: quinn_proto::Endpoint::new(config, server, !may_fragment, None),
            links: Slab::new(),
            places: Vec::new(),
            dirty: VecDeque::new(),
            timers: BinaryHeap::new(),
            incoming: VecDeque::new(),
            accepting: Vec::new(),
            idling: Vec::new(),
            woken: Vec::new(),
            closed: None,
            live: 0,
            buffer: Vec::with_capacity(UDP_PAYLOAD_BYTES_MAX),
            unsent: None,
            response: Vec::new(),
        }
    }

    pub fn set_server_config(&mut self, config: Option<Arc<ServerConfig>>) {
        self.endpoint.set_server_config(config);
    }

    /// Whether a flush would have something to look at.
    pub fn has_work(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub fn is_blocked(&self) -> bool {
        self.unsent.is_some()
    }

    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// A link may have something to send.
    pub fn mark(&mut self, key: usize) {
        if let Some(link) = self.links.get_mut(key) {
            if !link.dirty {
                link.dirty = true;
                self.dirty.push_back(key);
            }
        }
    }

    /// One datagram from the network.
    pub fn receive(&mut self, now: Instant, meta: &RecvMeta, data: BytesMut, socket: &Socket) {
        let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
        let bytes = data.len() as u64;
        self.response.clear();
        let event =
            self.endpoint
                .handle(now, meta.addr, meta.dst_ip, ecn, data, &mut self.response);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let key = self.place(handle);
                if let Some(link) = self.links.get_mut(key) {
                    link.inner.handle_event(event);
                    self.mark(key);
                }
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
    }

    /// Passes on the events of all links that were touched.
    pub fn settle_dirty(&mut self) {
        for at in 0..self.dirty.len() {
            if let Some(key) = self.dirty.get(at).copied() {
                self.settle(key);
            }
        }
    }

    pub fn fire_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(link) = self.links.get_mut(key) else {
                continue;
            };
            if link.queued != Some(at) {
                continue;
            }
            link.queued = None;
            if link.inner.poll_timeout().is_some_and(|due| due <= now) {
                link.inner.handle_timeout(now);
                self.mark(key);
            }
            self.settle(key);
        }
    }

    /// Sends what links have to send, and returns whether some have more. Nothing is sent while
    /// the kernel has no room.
    pub fn flush(&mut self, now: Instant, socket: &Socket) -> bool {
        if !self.resend(socket) {
            return false;
        }
        let mut more = false;
        for _ in 0..self.dirty.len() {
            let Some(key) = self.dirty.pop_front() else {
                break;
            };
            let Some(link) = self.links.get_mut(key) else {
                continue;
            };
            link.dirty = false;
            let sent = self.transmit(key, now, socket);
            self.settle(key);
            match sent {
                Sent::All => {}
                Sent::Some => {
                    more = true;
                    self.mark(key);
                }
                Sent::Blocked => {
                    self.mark(key);
                    return false;
                }
            }
        }
        more
    }

    fn transmit(&mut self, key: usize, now: Instant, socket: &Socket) -> Sent {
        let Some(link) = self.links.get_mut(key) else {
            return Sent::All;
        };
        for _ in 0..TRANSMITS_PER_FLUSH_MAX {
            self.buffer.clear();
            let Some(transmit) = link.poll_transmit(now, socket, &mut self.buffer) else {
                link.look_at_path(now);
                return Sent::All;
            };
            if !send(socket, &transmit, &self.buffer) {
                self.unsent = Some(transmit);
                return Sent::Blocked;
            }
        }
        link.look_at_path(now);
        Sent::Some
    }

    fn resend(&mut self, socket: &Socket) -> bool {
        if let Some(transmit) = self.unsent.take() {
            if !send(socket, &transmit, &self.buffer) {
                self.unsent = Some(transmit);
                return false;
            }
        }
        true
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
    ) -> Result<usize, ConnectionError> {
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
    ) -> Result<usize, ConnectError> {
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
    ) -> usize {
        let link = Link::new(handle, connection, allowance);
        let key = self.links.insert(Box::new(link));
        if self.places.len() <= handle.0 {
            self.places.resize(handle.0 + 1, NOWHERE);
        }
        if let Some(place) = self.places.get_mut(handle.0) {
            *place = key;
        }
        self.live += 1;
        self.mark(key);
        self.settle(key);
        key
    }

    fn place(&self, handle: ConnectionHandle) -> usize {
        self.places.get(handle.0).copied().unwrap_or(NOWHERE)
    }

    /// Ends a connection from this side.
    pub fn close(&mut self, key: usize, now: Instant, code: VarInt, reason: Bytes) {
        if let Some(link) = self.links.get_mut(key) {
            link.inner.close(now, code, reason);
            link.end(ConnectionError::LocallyClosed, &mut self.woken);
            self.mark(key);
        }
    }

    /// Ends everything. Later connections are refused.
    pub fn close_all(&mut self, now: Instant, code: VarInt, reason: &Bytes, socket: &Socket) {
        self.closed = Some((code, reason.clone()));
        for (incoming, _) in std::mem::take(&mut self.incoming) {
            self.refuse(incoming, socket);
        }
        let keys: Vec<usize> = self.links.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, now, code, reason.clone());
        }
        self.woken.append(&mut self.accepting);
        if self.live == 0 {
            self.woken.append(&mut self.idling);
        }
    }

    /// What others opened ends, for only who opened a connection can move it (RFC 9000 section 9).
    /// Says so as far as the kernel has room for it.
    pub fn part(&mut self, now: Instant, reason: &Bytes, socket: &Socket) {
        for (incoming, _) in std::mem::take(&mut self.incoming) {
            self.refuse(incoming, socket);
        }
        for key in self.live_links(Side::Server) {
            self.close(key, now, VarInt::from_u32(0), reason.clone());
        }
        self.flush(now, socket);
    }

    /// What we opened goes on from where the socket is by now.
    pub fn follow(&mut self) {
        for key in self.live_links(Side::Client) {
            if let Some(link) = self.links.get_mut(key) {
                link.inner.local_address_changed();
                self.mark(key);
            }
        }
    }

    fn live_links(&self, side: Side) -> Vec<usize> {
        let live = |link: &Link| link.error.is_none() && link.inner.side() == side;
        let links = self.links.iter().filter(|(_, link)| live(link));
        links.map(|(key, _)| key).collect()
    }

    /// Nobody holds the link any more.
    pub fn abandon(&mut self, key: usize, now: Instant) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.abandoned = true;
        if link.drained {
            self.links.remove(key);
        } else if link.error.is_none() {
            self.close(key, now, VarInt::from_u32(0), Bytes::new());
        }
    }

    /// Passes on the events of a link, and queues its next timer.
    fn settle(&mut self, key: usize) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        while let Some(event) = link.inner.poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(answer) = self.endpoint.handle_event(link.handle, event) {
                link.inner.handle_event(answer);
            }
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
        }
        while let Some(event) = link.inner.poll() {
            link.hear(event, &mut self.woken);
        }
        if link.drained {
            if link.abandoned {
                self.links.remove(key);
            }
            return;
        }
        if let Some(due) = link.inner.poll_timeout() {
            if link.queued.is_none_or(|queued| due < queued) {
                link.queued = Some(due);
                self.timers.push(Reverse((due, key)));
            }
        }
    }
}

/// Whether the kernel took the datagrams. Those that it refuses count as lost on the way: a probe
/// that is larger than the link is meant to end so.
fn send(socket: &Socket, transmit: &Transmit, buffer: &[u8]) -> bool {
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
