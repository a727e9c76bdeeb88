//! Futures that run on the I/O thread of a shard.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use slab::Slab;

use super::shard::Shard;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
pub struct Tasks {
    ready: Mutex<VecDeque<Arc<Task>>>,
    /// Every task that has not ended, so that they end with the shard.
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    tasks: Slab<Arc<Task>>,
    ended: bool,
}

pub struct Task {
    /// `None` once it has ended.
    job: Mutex<Option<Job>>,
    queued: AtomicBool,
    aborted: AtomicBool,
    shard: Weak<Shard>,
}

/// A task that may be ended early. Dropped, it leaves the task alone.
pub struct TaskHandle(Arc<Task>);

impl TaskHandle {
    /// Drops the task's future, on the I/O thread.
    pub fn abort(&self) {
        self.0.aborted.store(true, Ordering::SeqCst);
        self.0.wake_by_ref();
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            if let Some(shard) = self.shard.upgrade() {
                shard.tasks.ready.lock().push_back(self.clone());
                shard.rouse();
            }
        }
    }
}

impl Task {
    /// Polls it once. Returns whether it has ended.
    fn run(self: &Arc<Self>) -> bool {
        let mut job = self.job.lock();
        // Before the poll, so that a wake-up during it counts.
        self.queued.store(false, Ordering::SeqCst);
        let Some(future) = job.as_mut() else {
            return true;
        };
        if !self.aborted.load(Ordering::SeqCst) {
            let waker = Waker::from(self.clone());
            let mut context = Context::from_waker(&waker);
            // A task that panics ends alone; the others go on.
            let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
            if let Ok(Poll::Pending) = polled {
                return false;
            }
        }
        let ended = job.take();
        drop(job);
        drop(ended);
        true
    }
}

impl Tasks {
    /// A task that has not run yet; `None` after the shard has ended.
    fn add(
        &self,
        shard: &Arc<Shard>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Option<(Arc<Task>, usize)> {
        let task = Arc::new(Task {
            job: Mutex::new(None),
            queued: AtomicBool::new(true),
            aborted: AtomicBool::new(false),
            shard: Arc::downgrade(shard),
        });
        let mut live = self.live.lock();
        if live.ended {
            return None;
        }
        let key = live.tasks.insert(task.clone());
        drop(live);
        let shard = Arc::downgrade(shard);
        *task.job.lock() = Some(Box::pin(async move {
            let _leave = Leave { shard, key };
            future.await;
        }));
        Some((task, key))
    }

    /// Runs `future` on the I/O thread.
    pub fn spawn(&self, shard: &Arc<Shard>, future: impl Future<Output = ()> + Send + 'static) {
        if let Some((task, _)) = self.add(shard, future) {
            self.ready.lock().push_back(task);
            shard.rouse();
        }
    }

    /// Polls `future` once here, and what is left of it on the I/O thread.
    pub fn start(
        &self,
        shard: &Arc<Shard>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Option<TaskHandle> {
        let (task, _) = self.add(shard, future)?;
        task.run();
        Some(TaskHandle(task))
    }

    pub fn is_idle(&self) -> bool {
        self.ready.lock().is_empty()
    }

    /// Runs up to `count` tasks that were woken. Whether there were any.
    pub fn run(&self, count: usize) -> bool {
        let mut ready = std::mem::take(&mut *self.ready.lock());
        if ready.is_empty() {
            return false;
        }
        for task in ready.drain(..ready.len().min(count)) {
            task.run();
        }
        if !ready.is_empty() {
            // Before those that came meanwhile.
            let mut queue = self.ready.lock();
            ready.append(&mut queue);
            *queue = ready;
        }
        true
    }

    /// Drops all tasks, and those that come later.
    pub fn end(&self) {
        let tasks = {
            let mut live = self.live.lock();
            live.ended = true;
            std::mem::take(&mut live.tasks)
        };
        self.ready.lock().clear();
        for (_, task) in tasks {
            let job = task.job.lock().take();
            drop(job);
        }
    }
}

/// Takes a task off the list of the living when its future is dropped.
struct Leave {
    shard: Weak<Shard>,
    key: usize,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(shard) = self.shard.upgrade() {
            let mut live = shard.tasks.live.lock();
            if !live.ended {
                live.tasks.try_remove(self.key);
            }
        }
    }
}
