//! Who drives a shard, its I/O thread or one that waits for an answer: when each sleeps, and how it
//! is woken.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use super::{wake, Shard, AWAKE, NEVER};
use crate::limits::{BULK_ABSENCE_MAX, BULK_BYTES, BULK_CALLS, SPIN, TASKS_PER_TURN_MAX};
use crate::quic::readiness::Interest;
use crate::quic::scope;

/// The longest sleep of a thread. A deadline that is later costs nobody a wake-up. In tests it is
/// too long to hide that a wake-up was lost.
pub const SLEEP_MAX: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 1 });

impl Shard {
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

    /// Whether there is something for a turn that the thread which drives may not see: another
    /// shard does not know who drives this one, and timers do not wait for a future.
    fn is_left_alone(&self, now: Instant) -> bool {
        let absent = self.absent.load(Ordering::SeqCst) || !self.driven.load(Ordering::SeqCst);
        let due = || self.timer.load(Ordering::SeqCst) <= self.nanoseconds(now);
        self.has_forwarded() || (absent && due())
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

    fn is_dozing(&self) -> bool {
        self.dozing.load(Ordering::SeqCst) != AWAKE
    }

    /// Something is due at `at`: the I/O thread must not sleep longer.
    pub fn due(&self, at: Instant) {
        self.due_at(self.nanoseconds(at));
    }

    pub(super) fn due_at(&self, at: u64) {
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
    pub(super) fn rouse_driver(&self) {
        if self.dozing.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            let driver = self.driver.lock().clone();
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }

    pub(super) fn watch_if_asleep(&self) {
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

    #[cfg(test)]
    pub fn is_asleep(&self) -> bool {
        self.planned.load(Ordering::SeqCst) != AWAKE
    }

    /// Whether the I/O thread wakes by itself before long, or somebody has asked for it.
    #[cfg(test)]
    pub fn has_timers(&self) -> bool {
        self.timer.load(Ordering::SeqCst) != NEVER || self.deadlines.next().is_some()
    }

    /// A system call has moved `bytes`. What two threads say at once may count as one.
    pub(super) fn weigh(&self, bytes: usize) {
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
