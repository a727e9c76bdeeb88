//! Timeouts of futures, kept by the I/O thread: one lock and one ordered map a shard, so that a
//! call that waits costs no system call and wakes no other thread.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::scope;
use super::shard::Shard;

#[derive(Default)]
pub struct Deadlines(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    waiting: BTreeMap<(Instant, u64), Waker>,
}

impl Deadlines {
    fn add(&self, deadline: Instant, waker: &Waker) -> u64 {
        let mut state = self.0.lock();
        let key = state.next;
        state.next += 1;
        state.waiting.insert((deadline, key), waker.clone());
        key
    }

    fn update(&self, deadline: Instant, key: u64, waker: &Waker) {
        if let Some(known) = self.0.lock().waiting.get_mut(&(deadline, key)) {
            known.clone_from(waker);
        }
    }

    fn remove(&self, deadline: Instant, key: u64) {
        self.0.lock().waiting.remove(&(deadline, key));
    }

    pub fn next(&self) -> Option<Instant> {
        let state = self.0.lock();
        state.waiting.keys().next().map(|(deadline, _)| *deadline)
    }

    /// Wakes those whose time has come.
    pub fn fire(&self, now: Instant) {
        let expired = {
            let mut state = self.0.lock();
            let later = state.waiting.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.waiting, later)
        };
        for waker in expired.into_values() {
            waker.wake();
        }
    }
}

/// The time for a future is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// `future`, for at most `patience`.
pub async fn timeout<F: Future>(patience: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = std::pin::pin!(future);
    let mut alarm = Alarm::new(patience);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => alarm.poll(context).map(Err),
    })
    .await
}

struct Alarm {
    deadline: Instant,
    /// Where it is kept: at a shard, or where no I/O thread of ours is near, by tokio.
    kept: Kept,
}

enum Kept {
    Nowhere,
    Shard(Arc<Shard>, u64),
    Tokio(Pin<Box<tokio::time::Sleep>>),
}

impl Alarm {
    fn new(patience: Duration) -> Alarm {
        /// Longer patience is for ever.
        const DAYS: u64 = 365;
        let patience = patience.min(Duration::from_secs(DAYS * 24 * 3600));
        Alarm {
            deadline: Instant::now() + patience,
            kept: Kept::Nowhere,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Elapsed> {
        if let Kept::Nowhere = self.kept {
            self.kept = match scope::home() {
                Some(shard) => {
                    let key = shard.deadlines.add(self.deadline, context.waker());
                    shard.due(self.deadline);
                    Kept::Shard(shard, key)
                }
                None => Kept::Tokio(Box::pin(tokio::time::sleep_until(self.deadline.into()))),
            };
            if let Kept::Shard(..) = self.kept {
                return Poll::Pending;
            }
        }
        match &mut self.kept {
            Kept::Shard(shard, key) => {
                if Instant::now() >= self.deadline {
                    return Poll::Ready(Elapsed);
                }
                shard.deadlines.update(self.deadline, *key, context.waker());
                Poll::Pending
            }
            Kept::Tokio(sleep) => sleep.as_mut().poll(context).map(|()| Elapsed),
            Kept::Nowhere => Poll::Pending,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Kept::Shard(shard, key) = &self.kept {
            shard.deadlines.remove(self.deadline, *key);
        }
    }
}
