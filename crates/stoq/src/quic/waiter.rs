//! A thread that waits for a future, and meanwhile drives the shard that the future needs.
//!
//! The I/O of a small request then happens in the thread that wants its answer: no hop to the I/O
//! thread and back. One thread drives a shard at a time; others that wait sleep until they are
//! woken. Who leaves gives the socket back to the I/O thread, and the kernel then reports to that
//! whatever is pending.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::bell::Bell;

use super::readiness::sleep_on;
use super::scope;
use super::shard::{Driver, Shard, SLEEP_MAX};

/// Wakes one thread.
struct Waiter {
    woken: AtomicBool,
    asleep: AtomicBool,
    bell: Bell,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }
}

impl Waiter {
    /// Sleeps until this thread is woken or, where it drives, the socket wants it.
    fn sleep(&self, driver: Option<&Driver>, patience: Duration) {
        self.asleep.store(true, Ordering::SeqCst);
        if !self.woken.load(Ordering::SeqCst) {
            let mut fds = [pollfd(self.bell.fd()); 2];
            match driver {
                Some(driver) => {
                    fds[1] = pollfd(driver.socket());
                    sleep_on(&mut fds, patience);
                }
                None => sleep_on(&mut fds[..1], patience),
            }
            // Whoever wakes says so before it rings. A ring may come after this thread has gone on
            // for another reason: then it ends the next sleep, and must not end any other.
            if fds[0].revents != 0 {
                self.bell.silence();
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

fn pollfd(fd: i32) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

thread_local! {
    /// One for each thread that ever waits; `None` where the system had no descriptor left.
    static WAITER: Option<Arc<Waiter>> = Bell::new().ok().map(|bell| {
        Arc::new(Waiter {
            woken: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            bell,
        })
    });
}

/// How waiting ended.
pub enum Waited<T> {
    Done(T),
    /// The time was up. The future may be given again.
    Late,
    /// The shard has stopped.
    Stopped,
}

/// Waits on the calling thread, which must not be an I/O thread, until `deadline`.
pub fn wait<F: Future>(
    home: &Arc<Shard>,
    mut future: Pin<&mut F>,
    deadline: Option<Instant>,
) -> Waited<F::Output> {
    let Some(waiter) = WAITER.with(Clone::clone) else {
        return Waited::Stopped;
    };
    let waker = Waker::from(waiter.clone());
    let mut context = Context::from_waker(&waker);
    let registered = home.register(&waker);
    let mut driver = home.drive_again(&waker);
    if let Some(driver) = &driver {
        // Else what has come meanwhile waits until this thread has to.
        driver.turn(Instant::now());
    }
    loop {
        waiter.woken.store(false, Ordering::SeqCst);
        if registered.stopped() {
            return Waited::Stopped;
        }
        let (polled, awaited) =
            scope::enter_and_await(home, driver.as_ref().map(Driver::shard), || {
                let mut poll = || future.as_mut().poll(&mut context);
                match &driver {
                    // What this thread received is acknowledged with what the future writes next.
                    Some(driver) => driver.poll(poll),
                    None => poll(),
                }
            });
        if let Poll::Ready(output) = polled {
            return Waited::Done(output);
        }
        if let (Some(awaited), Some(held)) = (&awaited, &driver) {
            if !held.drives(awaited) {
                driver = None;
            }
        }
        if driver.is_none() {
            driver = Shard::drive(awaited.as_ref().unwrap_or(home), &waker);
        }
        let spin = |driver: &Driver| driver.shard().spin();
        let mut spin_until = Instant::now() + driver.as_ref().map_or(Duration::ZERO, spin);
        while !waiter.woken.load(Ordering::SeqCst) {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Waited::Late;
            }
            let left = deadline.map_or(Duration::MAX, |deadline| deadline - now);
            let Some(driver) = &driver else {
                waiter.sleep(None, left.min(SLEEP_MAX));
                break;
            };
            if driver.turn(now) || driver.has_work() {
                if waiter.woken.load(Ordering::SeqCst) {
                    break;
                }
                // Acknowledgements, and what others are to get.
                driver.flush(now);
                spin_until = now + spin(driver);
            } else if now >= spin_until {
                driver.doze(now, left, |patience| waiter.sleep(Some(driver), patience));
                spin_until = now;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_came_too_late_ends_one_sleep() {
        let waiter = Waiter {
            woken: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            bell: Bell::new().unwrap(),
        };
        waiter.bell.ring();
        waiter.sleep(None, SLEEP_MAX);
        let mut fds = [pollfd(waiter.bell.fd())];
        sleep_on(&mut fds, Duration::ZERO);
        assert_eq!(fds[0].revents, 0, "it would end the next sleep as well");
    }
}
