//! One socket with its connections and its I/O thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use quinn_proto::{EndpointConfig, ServerConfig};
use quinn_udp::RecvMeta;
use slab::Slab;

use super::core::Core;
use super::deadlines::Deadlines;
use super::inbox::Inbox;
use super::readiness::{Interest, Readiness};
use super::scope;
use super::tasks::Tasks;
use crate::limits::{FORWARDED_MAX, SPIN, TASKS_PER_TURN_MAX};
use crate::socket::Socket;

/// In `planned`: the I/O thread is awake, and looks at everything before it sleeps.
const AWAKE: u64 = 0;
const NEVER: u64 = u64::MAX;

/// The longest sleep of the I/O thread. A deadline that is later costs nobody a wake-up.
const SLEEP_MAX: Duration = Duration::from_secs(1);

pub struct Shard {
    index: usize,
    socket: Socket,
    core: Mutex<Core>,
    /// Held while receiving and while what was received is handled, so that datagrams keep their
    /// order. Taken before `core`.
    inbox: Mutex<Inbox>,
    pub tasks: Tasks,
    pub deadlines: Deadlines,
    readiness: Readiness,
    /// A thread that waits for an answer watches the socket.
    driven: AtomicBool,
    /// When the I/O thread will wake by itself, in nanoseconds since `start`.
    planned: AtomicU64,
    /// The next timer of a connection, likewise.
    timer: AtomicU64,
    /// Some connection may have something to send.
    work: AtomicBool,
    /// The kernel has no room for what is to be sent.
    blocked: AtomicBool,
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
            tasks: Tasks::default(),
            deadlines: Deadlines::default(),
            readiness: Readiness::new(socket.fd())?,
            socket,
            driven: AtomicBool::new(false),
            planned: AtomicU64::new(AWAKE),
            timer: AtomicU64::new(NEVER),
            work: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
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

    /// Goes on over `socket`. Connections that others opened end with `reason`.
    pub fn rebind(self: &Arc<Self>, socket: &Socket, reason: &Bytes) -> io::Result<()> {
        self.with(|core, old| {
            core.part(Instant::now(), reason, old);
            self.readiness.replace(|| old.replace(socket))?;
            core.follow();
            Ok(())
        })
    }

    /// Runs `operation` on the connections. What it leaves to be sent is sent when the polling of
    /// this thread is done, or at once where it polls nothing.
    pub fn with<T>(self: &Arc<Self>, operation: impl FnOnce(&mut Core, &Socket) -> T) -> T {
        let mut core = self.core.lock();
        let result = operation(&mut core, &self.socket);
        let work = core.has_work();
        let woken = self.publish(&mut core);
        drop(core);
        wake(woken);
        if work && !scope::touch(self) && self.flush(Instant::now()) {
            self.rouse();
        }
        result
    }

    /// Sends what there is to send, up to a bound. Whether there is more.
    pub fn flush(&self, now: Instant) -> bool {
        if !self.work.load(Ordering::SeqCst) {
            return false;
        }
        let mut core = self.core.lock();
        let more = core.flush(now, &self.socket);
        let woken = self.publish(&mut core);
        drop(core);
        wake(woken);
        more
    }

    /// Says outside of the lock what changed under it.
    fn publish(&self, core: &mut Core) -> Vec<Waker> {
        self.work.store(core.has_work(), Ordering::SeqCst);
        if core.is_blocked() != self.blocked.load(Ordering::SeqCst) {
            self.blocked.store(core.is_blocked(), Ordering::SeqCst);
            self.watch_if_asleep();
        }
        let timer = core.next_timer();
        let timer_ns = timer.map_or(NEVER, |at| self.nanoseconds(at));
        self.timer.store(timer_ns, Ordering::SeqCst);
        self.due_at(timer_ns);
        std::mem::take(&mut core.woken)
    }

    /// Receives and handles a batch, fires timers, and wakes those concerned. Whether anything
    /// happened. Sends nothing.
    pub fn turn(&self, now: Instant) -> bool {
        // Where another thread is at it, there is nothing left for this one.
        let Some(mut inbox) = self.inbox.try_lock() else {
            return false;
        };
        let count = inbox.fill(&self.socket).map_or(0, |(count, _)| count);
        let due = self.timer.load(Ordering::SeqCst) <= self.nanoseconds(now);
        let forwarded = std::mem::take(&mut *self.forwarded.lock());
        if count == 0 && !due && forwarded.is_empty() {
            return false;
        }
        let mut core = self.core.lock();
        for (meta, datagram) in forwarded {
            core.receive(now, &meta, datagram, &self.socket);
        }
        for at in 0..count {
            inbox.open(at, |meta, datagram| {
                if let Some(datagram) = self.forward(meta, datagram) {
                    core.receive(now, meta, datagram, &self.socket);
                }
            });
        }
        core.settle_dirty();
        if due {
            core.fire_timers(now);
        }
        let woken = self.publish(&mut core);
        drop(core);
        drop(inbox);
        wake(woken);
        true
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
        let mut forwarded = sibling.forwarded.lock();
        if forwarded.len() < FORWARDED_MAX {
            forwarded.push_back((*meta, datagram));
        }
        drop(forwarded);
        sibling.rouse();
        None
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

    fn watch_if_asleep(&self) {
        if self.planned.load(Ordering::SeqCst) != AWAKE {
            self.watch();
        }
    }

    fn watch(&self) {
        self.readiness.watch(|| Interest {
            receive: !self.driven.load(Ordering::SeqCst),
            send: self.blocked.load(Ordering::SeqCst),
        });
    }

    /// The I/O thread sleeps until something is due or happens.
    fn sleep(&self) {
        // From here on whoever adds something finds that this thread has to be woken.
        self.planned.store(NEVER, Ordering::SeqCst);
        let idle = {
            let core = self.core.lock();
            core.is_blocked() || !core.has_work() || self.driven.load(Ordering::SeqCst)
        };
        let now = Instant::now();
        let next = [
            self.timer.load(Ordering::SeqCst),
            self.deadlines
                .next()
                .map_or(NEVER, |at| self.nanoseconds(at)),
            self.nanoseconds(now + SLEEP_MAX),
        ];
        let next = next.into_iter().min().unwrap_or(NEVER);
        let quiet = idle
            && self.tasks.is_idle()
            && self.forwarded.lock().is_empty()
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
    pub fn drive(self: &Arc<Self>) -> Option<Driver> {
        if self.driven.swap(true, Ordering::SeqCst) {
            return None;
        }
        self.watch_if_asleep();
        Some(Driver(self.clone()))
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

    /// Has the scope of this thread flush what there is.
    pub fn touch(&self) {
        if self.0.work.load(Ordering::SeqCst) {
            scope::touch(&self.0);
        }
    }

    pub fn socket(&self) -> RawFd {
        self.0.socket.fd()
    }

    /// How long nothing is due.
    pub fn patience(&self, now: Instant) -> Duration {
        let next = self.0.timer.load(Ordering::SeqCst);
        Duration::from_nanos(next.saturating_sub(self.0.nanoseconds(now))).min(SLEEP_MAX)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.driven.store(false, Ordering::SeqCst);
        self.0.watch_if_asleep();
        if self.has_work() {
            self.0.rouse();
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

/// How long a thread asks the kernel again and again before it sleeps. With one core, whoever is
/// waited for could not run meanwhile.
pub fn spin_budget() -> Duration {
    static BUDGET: OnceLock<Duration> = OnceLock::new();
    *BUDGET.get_or_init(|| match thread::available_parallelism() {
        Ok(cores) if cores.get() > 1 => SPIN,
        _ => Duration::ZERO,
    })
}

/// The life of an I/O thread.
pub fn run(shard: &Arc<Shard>) {
    let mut spin_until = Instant::now();
    while !shard.ended.load(Ordering::SeqCst) {
        let now = Instant::now();
        let busy = scope::enter_at_home(shard, || {
            let driven = shard.driven.load(Ordering::SeqCst);
            let due = shard.timer.load(Ordering::SeqCst) <= shard.nanoseconds(now);
            let received = (!driven || due) && shard.turn(now);
            if shard.deadlines.next().is_some_and(|at| at <= now) {
                shard.deadlines.fire(now);
            }
            let ran = shard.tasks.run(TASKS_PER_TURN_MAX);
            received || ran
        });
        let driven = shard.driven.load(Ordering::SeqCst);
        let more = shard.flush(now);
        if busy || more {
            spin_until = now + spin_budget();
        } else if driven || now >= spin_until {
            shard.sleep();
        }
    }
    scope::enter(shard, || shard.tasks.end());
}
