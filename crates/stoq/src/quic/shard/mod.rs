//! One socket with its connections and its I/O thread.
//!
//! ```text
//! shard                how connections begin, change and end, under which lock
//!   ├── arrivals       what comes: datagrams and timers
//!   ├── departures     what leaves: which connections may send, and how
//!   └── driver         who does both, when they sleep, and how they are woken
//! ```

mod arrivals;
mod departures;
mod driver;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionError, EndpointConfig, Incoming, ServerConfig, Side,
    VarInt,
};
use quinn_udp::RecvMeta;
use slab::Slab;

use super::core::Core;
use super::deadlines::Deadlines;
use super::inbox::Inbox;
use super::lane::Lane;
use super::link::Link;
use super::readiness::Readiness;
use super::tasks::Tasks;
use crate::socket::Socket;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use arrivals::owner;
pub(crate) use driver::run;
pub(super) use driver::{Driver, SLEEP_MAX};

/// In `planned` and `dozing`: the thread is awake, and looks at everything before it sleeps.
const AWAKE: u64 = 0;
const NEVER: u64 = u64::MAX;

pub struct Shard {
    index: usize,
    socket: Socket,
    /// Taken while a connection's own lock is held or none, never before one.
    core: Mutex<Core>,
    /// Held while receiving and while what was received is handled, so that datagrams keep their
    /// order. Taken before any connection's.
    inbox: Mutex<Inbox>,
    /// Connections that may have something to send. Nothing is locked while this is.
    dirty: Mutex<VecDeque<Arc<Lane>>>,
    /// Room for the datagrams of one system call, each.
    buffers: Mutex<Vec<Vec<u8>>>,
    pub tasks: Tasks,
    pub deadlines: Deadlines,
    readiness: Readiness,
    /// A thread that waits for an answer drives: it receives, and fires the timers of connections.
    driven: AtomicBool,
    /// One has begun to, since the I/O thread last went to sleep.
    visited: AtomicBool,
    /// The I/O thread leaves the socket alone for `BULK_ABSENCE_MAX`, for who drove it moved bulk data
    /// and will likely be back.
    yielding: AtomicBool,
    /// When that thread will wake by itself, in nanoseconds since `start`; `AWAKE` where it does not
    /// sleep, or nobody drives.
    dozing: AtomicU64,
    /// That thread polls its own future, which may take long.
    absent: AtomicBool,
    /// Wakes it.
    driver: Mutex<Option<Waker>>,
    /// When the I/O thread will wake by itself, in nanoseconds since `start`.
    planned: AtomicU64,
    /// The next timer of a connection, likewise.
    timer: AtomicU64,
    /// Some connection may have something to send.
    work: AtomicBool,
    /// The kernel has no room for what is to be sent.
    blocked: AtomicBool,
    /// Counts down from the last system call that moved `BULK_BYTES`.
    bulk: AtomicU32,
    start: Instant,
    /// Calls that wait end.
    stopped: AtomicBool,
    /// The I/O thread ends.
    ended: AtomicBool,
    /// Threads that wait.
    waiting: Mutex<Slab<Waker>>,
    /// All shards of the endpoint, by index.
    siblings: OnceLock<Vec<Weak<Shard>>>,
    /// Datagrams for this shard that the kernel gave to another.
    forwarded: Mutex<VecDeque<(RecvMeta, BytesMut)>>,
    strays: AtomicU64,
}

impl Shard {
    pub fn new(
        index: usize,
        socket: Socket,
        config: Arc<EndpointConfig>,
        server: Option<Arc<ServerConfig>>,
    ) -> io::Result<Arc<Shard>> {
        Ok(Arc::new(Shard {
            index,
            core: Mutex::new(Core::new(config, server, socket.may_fragment())),
            inbox: Mutex::new(Inbox::new()),
            dirty: Mutex::default(),
            buffers: Mutex::default(),
            tasks: Tasks::default(),
            deadlines: Deadlines::default(),
            readiness: Readiness::new(socket.fd())?,
            socket,
            driven: AtomicBool::new(false),
            visited: AtomicBool::new(false),
            yielding: AtomicBool::new(false),
            dozing: AtomicU64::new(AWAKE),
            absent: AtomicBool::new(false),
            driver: Mutex::default(),
            planned: AtomicU64::new(AWAKE),
            timer: AtomicU64::new(NEVER),
            work: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            bulk: AtomicU32::new(0),
            start: Instant::now(),
            stopped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            waiting: Mutex::default(),
            siblings: OnceLock::new(),
            forwarded: Mutex::default(),
            strays: AtomicU64::new(0),
        }))
    }

    pub fn join(&self, siblings: Vec<Weak<Shard>>) {
        // It is set once, right after all are made.
        let _ = self.siblings.set(siblings);
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Goes on over `socket`. What we opened goes on from there. What others opened ends with
    /// `reason`, for only who opened a connection can move it (RFC 9000 section 9); they are told
    /// as far as the kernel has room for it.
    pub fn rebind(self: &Arc<Self>, socket: &Socket, reason: &Bytes) -> io::Result<()> {
        let now = Instant::now();
        let lanes = self.with(|core, old| {
            core.refuse_all(old);
            core.all()
        });
        for lane in &lanes {
            self.change(lane, |link, woken| {
                if link.lives_as(Side::Server) {
                    link.close(now, VarInt::from_u32(0), reason.clone(), woken);
                    // Before anybody else can, who might do so from the new address.
                    self.transmit(link, now);
                }
            });
        }
        self.readiness.replace(|| self.socket.replace(socket))?;
        for lane in &lanes {
            self.change(lane, |link, _| {
                if link.lives_as(Side::Client) {
                    link.inner.local_address_changed();
                }
            });
            self.mark(lane);
        }
        self.send();
        Ok(())
    }

    /// Runs `operation` on what the connections have in common.
    pub fn with<T>(&self, operation: impl FnOnce(&mut Core, &Socket) -> T) -> T {
        let mut core = self.core.lock();
        let result = operation(&mut core, &self.socket);
        let woken = self.publish(&mut core);
        drop(core);
        wake(woken);
        result
    }

    /// Runs `operation` on one connection. Where it says so, what it leaves to be sent is sent when
    /// the polling of this thread is done, or at once where it polls nothing.
    pub fn act<T>(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        operation: impl FnOnce(&mut Link) -> (T, bool),
    ) -> T {
        let (result, sends) = operation(&mut lane.lock());
        if sends {
            self.mark(lane);
            self.send();
        }
        result
    }

    /// Runs `operation` on one connection, and passes on the events that come of it.
    fn change<T>(
        &self,
        lane: &Arc<Lane>,
        operation: impl FnOnce(&mut Link, &mut Vec<Waker>) -> T,
    ) -> T {
        let mut woken = Vec::new();
        let mut link = lane.lock();
        let result = operation(&mut link, &mut woken);
        self.settle(lane, &mut link, &mut woken);
        drop(link);
        wake(woken);
        result
    }

    /// Begins to connect.
    pub fn connect(
        self: &Arc<Self>,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<Arc<Lane>, ConnectError> {
        let now = Instant::now();
        let lane = self.with(|core, _| core.connect(now, config, remote, server_name))?;
        self.begin(&lane);
        Ok(lane)
    }

    /// Begins the handshake with a client whose first datagram had `first` bytes.
    pub fn accept(
        self: &Arc<Self>,
        incoming: Incoming,
        first: u64,
        config: Option<Arc<ServerConfig>>,
    ) -> Result<Arc<Lane>, ConnectionError> {
        let now = Instant::now();
        let lane = self.with(|core, socket| {
            if core.closed.is_some() {
                core.refuse(incoming, socket);
                return Err(ConnectionError::LocallyClosed);
            }
            core.accept(incoming, first, now, config, socket)
        })?;
        self.begin(&lane);
        Ok(lane)
    }

    fn begin(self: &Arc<Self>, lane: &Arc<Lane>) {
        self.change(lane, |_, _| ());
        self.mark(lane);
        self.send();
    }

    /// Ends a connection from this side, unless it has ended.
    pub fn close(self: &Arc<Self>, lane: &Arc<Lane>, now: Instant, code: VarInt, reason: Bytes) {
        self.change(lane, |link, woken| {
            if link.error.is_none() {
                link.close(now, code, reason, woken);
            }
        });
        self.mark(lane);
        self.send();
    }

    /// Ends everything. Later connections are refused.
    pub fn close_all(self: &Arc<Self>, now: Instant, code: VarInt, reason: &Bytes) {
        for lane in self.with(|core, socket| core.shut(code, reason, socket)) {
            self.close(&lane, now, code, reason.clone());
        }
    }

    /// Nobody holds the connection any more.
    pub fn abandon(self: &Arc<Self>, lane: &Arc<Lane>) {
        self.change(lane, |link, woken| {
            link.abandoned = true;
            if link.error.is_none() {
                link.close(Instant::now(), VarInt::from_u32(0), Bytes::new(), woken);
            }
        });
        self.mark(lane);
        self.send();
    }

    /// Passes on the events of a connection, and queues its next timer.
    fn settle(&self, lane: &Lane, link: &mut Link, woken: &mut Vec<Waker>) {
        while let Some(event) = link.inner.poll_endpoint_events() {
            let mut core = self.core.lock();
            let answer = core.hear(link, event);
            woken.append(&mut core.woken);
            drop(core);
            if let Some(answer) = answer {
                link.inner.handle_event(answer);
            }
        }
        while let Some(event) = link.inner.poll() {
            link.hear(event, woken);
        }
        if link.drained {
            if link.abandoned && !link.removed {
                link.removed = true;
                self.core.lock().remove(lane.key);
            }
            return;
        }
        if let Some(due) = link.inner.poll_timeout() {
            if link.queued.is_none_or(|queued| due < queued) {
                link.queued = Some(due);
                let mut core = self.core.lock();
                core.schedule(due, lane.key);
                woken.append(&mut self.publish(&mut core));
            }
        }
    }

    /// Says outside of the lock what changed under it.
    fn publish(&self, core: &mut Core) -> Vec<Waker> {
        let timer = core.next_timer();
        let timer_ns = timer.map_or(NEVER, |at| self.nanoseconds(at));
        self.timer.store(timer_ns, Ordering::SeqCst);
        if !self.driven.load(Ordering::SeqCst) {
            self.due_at(timer_ns);
        } else if timer_ns < self.dozing.load(Ordering::SeqCst) {
            self.rouse_driver();
        }
        std::mem::take(&mut core.woken)
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        // One more, because 0 says awake.
        at.saturating_duration_since(self.start).as_nanos() as u64 + 1
    }
}

fn wake(woken: Vec<Waker>) {
    for waker in woken {
        waker.wake();
    }
}
