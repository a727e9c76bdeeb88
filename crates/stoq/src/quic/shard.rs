//! One socket with its connections and its I/O thread.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionError, EndpointConfig, Incoming, ServerConfig, Side,
    VarInt,
};
use quinn_udp::RecvMeta;
use slab::Slab;

use super::core::{self, Core};
use super::deadlines::Deadlines;
use super::inbox::{Inbox, Received};
use super::lane::Lane;
use super::link::Link;
use super::readiness::{Interest, Readiness};
use super::scope;
use super::tasks::Tasks;
use crate::limits::{
    BULK_ABSENCE_MAX, BULK_BYTES, BULK_CALLS, FORWARDED_MAX, SPIN, TASKS_PER_TURN_MAX,
    TRANSMITS_PER_FLUSH_MAX, UDP_PAYLOAD_BYTES_MAX,
};
use crate::socket::Socket;

/// In `planned` and `dozing`: the thread is awake, and looks at everything before it sleeps.
const AWAKE: u64 = 0;
const NEVER: u64 = u64::MAX;

/// The longest sleep of a thread. A deadline that is later costs nobody a wake-up. In tests it is
/// too long to hide that a wake-up was lost.
pub const SLEEP_MAX: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 1 });

/// Rooms for datagrams that are kept for the next who sends.
const BUFFERS_KEPT_MAX: usize = 4;

/// What became of a connection's wish to send.
enum Sent {
    All,
    /// There is more, and others come first.
    Some,
    /// The kernel has no room.
    Blocked,
}

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

    /// The connection may have something to send.
    fn mark(&self, lane: &Arc<Lane>) {
        if lane.enlist() {
            let mut dirty = self.dirty.lock();
            dirty.push_back(lane.clone());
            self.work.store(true, Ordering::SeqCst);
        }
    }

    /// The next connection that may have something to send.
    fn next_marked(&self) -> Option<Arc<Lane>> {
        let mut dirty = self.dirty.lock();
        let lane = dirty.pop_front();
        self.work.store(!dirty.is_empty(), Ordering::SeqCst);
        drop(dirty);
        if let Some(lane) = &lane {
            lane.delist();
        }
        lane
    }

    /// Has what is marked sent: by the scope of this thread, by the one that drives, or at once.
    fn send(self: &Arc<Self>) {
        if !scope::touch(self) && !self.is_served() && self.flush(Instant::now()) {
            self.rouse();
        }
    }

    /// Sends what there is to send, up to a bound. Whether there is more. Nothing more is sent once
    /// the kernel has no room.
    pub fn flush(&self, now: Instant) -> bool {
        if !self.work.load(Ordering::SeqCst) {
            self.unblock();
            return false;
        }
        let marked = self.dirty.lock().len();
        for _ in 0..marked {
            let Some(lane) = self.next_marked() else {
                break;
            };
            let sent = self.change(&lane, |link, _| self.transmit(link, now));
            match sent {
                Sent::All => self.unblock(),
                Sent::Some => {
                    self.unblock();
                    self.mark(&lane);
                }
                Sent::Blocked => {
                    self.mark(&lane);
                    self.blocked.store(true, Ordering::SeqCst);
                    self.watch_if_asleep();
                    return false;
                }
            }
        }
        self.work.load(Ordering::SeqCst)
    }

    /// The kernel has room.
    fn unblock(&self) {
        if self.blocked.load(Ordering::SeqCst) && self.blocked.swap(false, Ordering::SeqCst) {
            self.watch_if_asleep();
        }
    }

    /// Sends what one connection has to send, up to a bound.
    fn transmit(&self, link: &mut Link, now: Instant) -> Sent {
        if let Some((transmit, buffer)) = link.unsent.take() {
            if !core::send(&self.socket, &transmit, &buffer) {
                link.unsent = Some((transmit, buffer));
                return Sent::Blocked;
            }
        }
        let buffer = self.buffers.lock().pop();
        let mut buffer = buffer.unwrap_or_else(|| Vec::with_capacity(UDP_PAYLOAD_BYTES_MAX));
        let mut sent = Sent::Some;
        for _ in 0..TRANSMITS_PER_FLUSH_MAX {
            buffer.clear();
            let Some(transmit) = link.poll_transmit(now, &self.socket, &mut buffer) else {
                sent = Sent::All;
                break;
            };
            if !core::send(&self.socket, &transmit, &buffer) {
                link.unsent = Some((transmit, buffer));
                return Sent::Blocked;
            }
            self.weigh(transmit.size);
        }
        link.look_at_path(now);
        let mut buffers = self.buffers.lock();
        if buffers.len() < BUFFERS_KEPT_MAX {
            buffers.push(buffer);
        }
        sent
    }

    /// A system call has moved `bytes`. What two threads say at once may count as one.
    fn weigh(&self, bytes: usize) {
        let before = self.bulk.load(Ordering::Relaxed);
        let after = if bytes >= BULK_BYTES {
            BULK_CALLS
        } else {
            before.saturating_sub(1)
        };
        if after != before {
            self.bulk.store(after, Ordering::Relaxed);
        }
    }

    fn moves_bulk(&self) -> bool {
        self.bulk.load(Ordering::Relaxed) > 0
    }

    /// How long a thread asks the kernel again and again before it sleeps. With one core, whoever is
    /// waited for could not run meanwhile; with bulk data it need not.
    pub fn spin(&self) -> Duration {
        static CORES: OnceLock<bool> = OnceLock::new();
        let several = || thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        if !self.moves_bulk() && *CORES.get_or_init(several) {
            SPIN
        } else {
            Duration::ZERO
        }
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

    /// Receives and handles a batch, fires timers, and wakes those concerned. Whether anything
    /// happened. Sends nothing.
    pub fn turn(&self, now: Instant) -> bool {
        let mut inbox = self.inbox.lock();
        let count = inbox.fill(&self.socket).map_or(0, |(count, _)| count);
        let due = self.timer.load(Ordering::SeqCst) <= self.nanoseconds(now);
        let forwarded = std::mem::take(&mut *self.forwarded.lock());
        if count == 0 && !due && forwarded.is_empty() {
            return false;
        }
        if count > 0 {
            self.weigh(inbox.bytes(count));
        }
        if count > 0 || !forwarded.is_empty() {
            let mut received = self.route(now, &mut inbox, count, forwarded);
            received.each(|lane, events| {
                self.change(lane, |link, _| {
                    for event in events {
                        link.inner.handle_event(event);
                    }
                });
                self.mark(lane);
            });
            inbox.received = received;
        }
        if due {
            self.fire_timers(now);
        }
        true
    }

    /// Which connections the datagrams are for.
    fn route(
        &self,
        now: Instant,
        inbox: &mut Inbox,
        count: usize,
        forwarded: VecDeque<(RecvMeta, BytesMut)>,
    ) -> Received {
        let mut received = std::mem::take(&mut inbox.received);
        self.with(|core, socket| {
            let mut route = |meta: &RecvMeta, datagram| {
                if let Some((lane, event)) = core.route(now, meta, datagram, socket) {
                    received.add(lane, event);
                }
            };
            for (meta, datagram) in forwarded {
                route(&meta, datagram);
            }
            for at in 0..count {
                inbox.open(at, |meta, datagram| {
                    if let Some(datagram) = self.forward(meta, datagram) {
                        route(meta, datagram);
                    }
                });
            }
        });
        received
    }

    fn fire_timers(&self, now: Instant) {
        for (at, lane) in self.with(|core, _| core.due(now)) {
            self.change(&lane, |link, _| {
                if link.queued != Some(at) {
                    return;
                }
                link.queued = None;
                if link.inner.poll_timeout().is_some_and(|due| due <= now) {
                    link.inner.handle_timeout(now);
                    self.mark(&lane);
                }
            });
        }
    }

    /// Gives a datagram to the shard whose connection it names; back where that is this one.
    fn forward(&self, meta: &RecvMeta, datagram: BytesMut) -> Option<BytesMut> {
        let siblings = match self.siblings.get() {
            Some(siblings) if siblings.len() > 1 => siblings,
            _ => return Some(datagram),
        };
        let Some(owner) = owner(&datagram, siblings.len()) else {
            return Some(datagram);
        };
        if owner == self.index {
            return Some(datagram);
        }
        self.strays.fetch_add(1, Ordering::Relaxed);
        let sibling = siblings.get(owner)?.upgrade()?;
        sibling.hand_over(*meta, datagram);
        None
    }

    /// Whether there is something for a turn that the thread which drives may not see: another
    /// shard does not know who drives this one, and timers do not wait for a future.
    fn is_left_alone(&self, now: Instant) -> bool {
        let absent = self.absent.load(Ordering::SeqCst) || !self.driven.load(Ordering::SeqCst);
        let due = || self.timer.load(Ordering::SeqCst) <= self.nanoseconds(now);
        self.has_forwarded() || (absent && due())
    }

    pub fn has_forwarded(&self) -> bool {
        !self.forwarded.lock().is_empty()
    }

    #[cfg(test)]
    pub fn is_asleep(&self) -> bool {
        self.planned.load(Ordering::SeqCst) != AWAKE
    }

    /// Whether the I/O thread wakes by itself before long, or somebody has asked for it.
    #[cfg(test)]
    pub fn has_timers(&self) -> bool {
        self.timer.load(Ordering::SeqCst) != NEVER || self.deadlines.next().is_some()
    }

    pub fn is_dozing(&self) -> bool {
        self.dozing.load(Ordering::SeqCst) != AWAKE
    }

    /// Takes a datagram that came to another shard, as far as there is room for it.
    pub fn hand_over(&self, meta: RecvMeta, datagram: BytesMut) {
        let mut forwarded = self.forwarded.lock();
        if forwarded.len() < FORWARDED_MAX {
            forwarded.push_back((meta, datagram));
        }
        drop(forwarded);
        self.rouse();
    }

    /// Datagrams that came here and were another shard's.
    pub fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    /// Something is due at `at`: the I/O thread must not sleep longer.
    pub fn due(&self, at: Instant) {
        self.due_at(self.nanoseconds(at));
    }

    fn due_at(&self, at: u64) {
        if at < self.planned.load(Ordering::SeqCst) {
            self.rouse();
        }
    }

    /// Wakes the I/O thread, where it sleeps.
    pub fn rouse(&self) {
        if self.planned.load(Ordering::SeqCst) != AWAKE
            && self.planned.swap(AWAKE, Ordering::SeqCst) != AWAKE
        {
            self.readiness.ring();
        }
    }

    /// Wakes the thread that drives, where it sleeps.
    fn rouse_driver(&self) {
        if self.dozing.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            let driver = self.driver.lock().clone();
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }

    /// Whether a thread drives that will look at what there is to send before it sleeps.
    ///
    /// Said after something was put into the list. Who drives says that it sleeps, is absent or
    /// leaves before it looks at the list the last time, so one of the two always sees the other.
    pub fn is_served(&self) -> bool {
        self.driven.load(Ordering::SeqCst)
            && !self.is_dozing()
            && !self.absent.load(Ordering::SeqCst)
    }

    fn watch_if_asleep(&self) {
        if self.planned.load(Ordering::SeqCst) != AWAKE {
            self.watch();
        }
    }

    fn watch(&self) {
        self.readiness.watch(|| Interest {
            receive: !self.driven.load(Ordering::SeqCst) && !self.yielding.load(Ordering::SeqCst),
            send: self.blocked.load(Ordering::SeqCst),
        });
    }

    /// The I/O thread sleeps until something is due or happens.
    fn sleep(&self) {
        let visited = self.visited.swap(false, Ordering::SeqCst);
        let yields = visited && self.moves_bulk();
        self.yielding.store(yields, Ordering::SeqCst);
        // From here on whoever adds something finds that this thread has to be woken.
        self.planned.store(NEVER, Ordering::SeqCst);
        let idle = {
            let seen = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
            // Who found the driver asleep, and this thread still awake, has left the rest to it.
            !seen(&self.work) || seen(&self.blocked) || self.is_served()
        };
        let now = Instant::now();
        let timer = match self.timer.load(Ordering::SeqCst) {
            // The thread that drives is about to fire it, or to leave and say so.
            timer if timer <= self.nanoseconds(now) && self.driven.load(Ordering::SeqCst) => NEVER,
            timer => timer,
        };
        let next = [
            timer,
            self.deadlines
                .next()
                .map_or(NEVER, |at| self.nanoseconds(at)),
            self.nanoseconds(now + if yields { BULK_ABSENCE_MAX } else { SLEEP_MAX }),
        ];
        let next = next.into_iter().min().unwrap_or(NEVER);
        let quiet = idle
            && self.tasks.is_idle()
            && !self.has_forwarded()
            && !self.ended.load(Ordering::SeqCst);
        let patience = Duration::from_nanos(next.saturating_sub(self.nanoseconds(now)));
        if quiet && !patience.is_zero() {
            self.watch();
            // Whoever came meanwhile has set it to `AWAKE`.
            let order = Ordering::SeqCst;
            if self
                .planned
                .compare_exchange(NEVER, next, order, order)
                .is_ok()
            {
                self.readiness.sleep(patience);
            }
        }
        self.planned.store(AWAKE, Ordering::SeqCst);
    }

    /// Makes the calling thread the one that watches the socket, unless there is one already.
    pub fn drive(self: &Arc<Self>, waker: &Waker) -> Option<Driver> {
        if self.driven.swap(true, Ordering::SeqCst) {
            return None;
        }
        self.visited.store(true, Ordering::SeqCst);
        *self.driver.lock() = Some(waker.clone());
        self.watch_if_asleep();
        Some(Driver(self.clone()))
    }

    /// The same where that costs no system call, because the I/O thread leaves the socket alone.
    pub fn drive_again(self: &Arc<Self>, waker: &Waker) -> Option<Driver> {
        let left = self.yielding.load(Ordering::SeqCst) && self.moves_bulk();
        left.then(|| self.drive(waker)).flatten()
    }

    /// Whether who drove a moment ago will likely be back before what was received is late.
    fn expects_driver(&self) -> bool {
        self.moves_bulk()
            && self.yielding.load(Ordering::SeqCst)
            && self.visited.load(Ordering::SeqCst)
    }

    /// Registers a thread that waits, until the result is dropped.
    pub fn register(self: &Arc<Self>, waker: &Waker) -> Registered {
        let key = self.waiting.lock().insert(waker.clone());
        Registered {
            shard: self.clone(),
            key,
        }
    }

    /// Ends all calls that wait, and those to come.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake_waiting();
    }

    /// Has all threads that wait look again, at their futures and at the socket.
    pub fn wake_waiting(&self) {
        let waiting: Vec<Waker> = {
            let waiting = self.waiting.lock();
            waiting.iter().map(|(_, waker)| waker.clone()).collect()
        };
        wake(waiting);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Ends the I/O thread.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.rouse();
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        // One more, because 0 says awake.
        at.saturating_duration_since(self.start).as_nanos() as u64 + 1
    }
}

/// The shard whose connection a datagram names (RFC 9000 section 17). `None`: it names none.
pub(crate) fn owner(datagram: &[u8], shards: usize) -> Option<usize> {
    const LONG_HEADER: u8 = 0x80;
    let first = match datagram.first()? {
        form if form & LONG_HEADER == 0 => datagram.get(1)?,
        _ if *datagram.get(5)? == 0 => return None,
        _ => datagram.get(6)?,
    };
    Some(usize::from(*first) % shards)
}

fn wake(woken: Vec<Waker>) {
    for waker in woken {
        waker.wake();
    }
}

/// The role of the thread that watches the socket. Dropped, the I/O thread has it again.
pub struct Driver(Arc<Shard>);

impl Driver {
    pub fn drives(&self, shard: &Arc<Shard>) -> bool {
        Arc::ptr_eq(&self.0, shard)
    }

    pub fn turn(&self, now: Instant) -> bool {
        self.0.turn(now)
    }

    pub fn flush(&self, now: Instant) {
        self.0.flush(now);
    }

    /// Whether a flush would send something.
    pub fn has_work(&self) -> bool {
        self.0.work.load(Ordering::SeqCst) && !self.0.blocked.load(Ordering::SeqCst)
    }

    pub fn shard(&self) -> &Arc<Shard> {
        &self.0
    }

    /// Polls within a scope, which then flushes what others have left as well.
    pub fn poll<T>(&self, polling: impl FnOnce() -> T) -> T {
        self.0.absent.store(true, Ordering::SeqCst);
        if self.0.work.load(Ordering::SeqCst) {
            scope::touch(&self.0);
        }
        let polled = polling();
        self.0.absent.store(false, Ordering::SeqCst);
        polled
    }

    pub fn socket(&self) -> RawFd {
        self.0.socket.fd()
    }

    /// Runs `sleep` with the time that it may take, unless there is something to do. Whoever comes
    /// with something meanwhile wakes this thread.
    pub fn doze(&self, now: Instant, patience: Duration, sleep: impl FnOnce(Duration)) {
        let (shard, order) = (&self.0, Ordering::SeqCst);
        // From here on others find that this thread has to be woken.
        shard.dozing.store(NEVER, order);
        let now = shard.nanoseconds(now);
        let patience = patience.min(SLEEP_MAX).as_nanos() as u64;
        let next = shard.timer.load(order).min(now + patience);
        let exchange = || shard.dozing.compare_exchange(NEVER, next, order, order);
        if next > now && !self.has_work() && exchange().is_ok() {
            sleep(Duration::from_nanos(next - now));
        }
        shard.dozing.store(AWAKE, order);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let shard = &self.0;
        *shard.driver.lock() = None;
        // Where the future panicked.
        shard.absent.store(false, Ordering::SeqCst);
        shard.driven.store(false, Ordering::SeqCst);
        shard.watch_if_asleep();
        // The timers are the I/O thread's again.
        shard.due_at(shard.timer.load(Ordering::SeqCst));
        if self.has_work() {
            shard.rouse();
        }
    }
}

pub struct Registered {
    shard: Arc<Shard>,
    key: usize,
}

impl Registered {
    pub fn stopped(&self) -> bool {
        self.shard.is_stopped()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shard.waiting.lock().try_remove(self.key);
    }
}

/// The life of an I/O thread.
pub fn run(shard: &Arc<Shard>) {
    let mut spin_until = Instant::now();
    while !shard.ended.load(Ordering::SeqCst) {
        let now = Instant::now();
        let busy = scope::enter_at_home(shard, || {
            let driven = shard.driven.load(Ordering::SeqCst);
            let ours = !driven && !shard.expects_driver();
            let received = (ours || shard.is_left_alone(now)) && shard.turn(now);
            if shard.deadlines.next().is_some_and(|at| at <= now) {
                shard.deadlines.fire(now);
            }
            let ran = shard.tasks.run(TASKS_PER_TURN_MAX);
            received || ran
        });
        let driven = shard.driven.load(Ordering::SeqCst);
        // Where the kernel had no room, this thread alone hears that it has.
        let served = shard.is_served() && !shard.blocked.load(Ordering::SeqCst);
        let more = !served && shard.flush(now);
        if busy || more {
            spin_until = now + shard.spin();
        } else if driven || now >= spin_until {
            shard.sleep();
        }
    }
    scope::enter(shard, || shard.tasks.end());
}
