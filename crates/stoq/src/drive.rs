//! The seam to whatever drives I/O: a thread for each shard of an endpoint.
//!
//! Everything else asks only for these: run a future there (`spawn`), or wait for one on the
//! calling thread (`wait`). A waiting thread polls its own future and meanwhile does the I/O that
//! the future waits for ([`crate::quic`]), so a small request pays for no hop between threads.
//! Beside the I/O threads, tokio runs what is not QUIC: signatures, name lookups, other sockets.

use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Kind, Result};
use crate::quic::{self, Shard, TaskHandle, Waited};

/// Threads for signatures beside the I/O threads.
const BLOCKING_THREADS_MAX: usize = 2;

/// The I/O threads. They end when this is stopped or dropped.
pub struct Drive {
    shards: Vec<Arc<Shard>>,
    handle: Handle,
    aside: Mutex<Option<Runtime>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drive {
    /// Runs `shards`, each on a thread; where there are several, each on a core of its own.
    pub fn start(shards: &[Arc<Shard>]) -> io::Result<Drive> {
        let aside = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("stoq-aside")
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()?;
        let handle = aside.handle().clone();
        let drive = Drive {
            shards: shards.to_vec(),
            handle,
            aside: Mutex::new(Some(aside)),
            threads: Mutex::default(),
        };
        for (index, shard) in shards.iter().enumerate() {
            let (shard, handle) = (shard.clone(), drive.handle.clone());
            let pinned = (shards.len() > 1).then_some(index);
            let thread = thread::Builder::new()
                .name(format!("stoq-io-{index}"))
                .spawn(move || {
                    let _entered = handle.enter();
                    if let Some(core) = pinned {
                        pin_to(core);
                    }
                    quic::run(&shard);
                })?;
            drive.threads.lock().push(thread);
        }
        Ok(drive)
    }

    /// The runtime for what is not QUIC.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `future` on the I/O thread that this is, else on the first.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(shard) = self.near() {
            shard.tasks.spawn(&shard, future);
        }
    }

    /// Runs `future` on the I/O thread of `shard`.
    pub fn spawn_on(shard: &Arc<Shard>, future: impl Future<Output = ()> + Send + 'static) {
        shard.tasks.spawn(shard, future);
    }

    /// Polls `future` once on the calling thread, sends what it wrote, and runs what is left of it
    /// on an I/O thread. `None` after the end: the future was dropped.
    pub fn begin(&self, future: impl Future<Output = ()> + Send + 'static) -> Option<TaskHandle> {
        let shard = self.shards.first()?;
        let _entered = self.handle.enter();
        quic::enter(shard, || shard.tasks.start(shard, future))
    }

    fn near(&self) -> Option<Arc<Shard>> {
        let here = quic::home().filter(|home| {
            let ours = |shard| Arc::ptr_eq(shard, home);
            self.shards.iter().any(ours)
        });
        here.or_else(|| self.shards.first().cloned())
    }

    /// Waits on the calling thread, which must not be an I/O thread.
    pub fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let future = pin!(future);
        self.wait_until(future, None)?.ok_or_else(closed)
    }

    /// The same for at most `turn`; `None` where the future needs more. It may be given again.
    pub fn wait_a_turn<T, F>(&self, future: Pin<&mut F>, turn: Duration) -> Result<Option<T>>
    where
        F: Future<Output = Result<T>>,
    {
        self.wait_until(future, Some(Instant::now() + turn))
    }

    fn wait_until<T, F>(&self, future: Pin<&mut F>, deadline: Option<Instant>) -> Result<Option<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let Some(shard) = self.shards.first() else {
            return Err(closed());
        };
        let _entered = self.handle.enter();
        match quic::wait(shard, future, deadline) {
            Waited::Done(result) => result.map(Some),
            Waited::Late => Ok(None),
            Waited::Stopped => Err(closed()),
        }
    }

    /// Ends all waiting calls, runs `farewell`, and ends the threads. The caller may join them; no
    /// second call gets them.
    pub fn stop(
        &self,
        farewell: impl Future<Output = ()> + Send + 'static,
    ) -> Option<Vec<JoinHandle<()>>> {
        let threads = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return None;
        }
        let shards = self.shards.clone();
        for shard in &shards {
            shard.stop();
        }
        let last = Ending(shards);
        self.spawn(async move {
            let _last = last;
            farewell.await;
        });
        Some(threads)
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        for shard in &self.shards {
            shard.stop();
            shard.end();
        }
        if let Some(aside) = self.aside.lock().take() {
            // The last one to let go may be a task, which must not wait for other threads.
            aside.shutdown_background();
        }
    }
}

/// Ends the I/O threads when the farewell is over, however that ends.
struct Ending(Vec<Arc<Shard>>);

impl Drop for Ending {
    fn drop(&mut self) {
        for shard in &self.0 {
            shard.end();
        }
    }
}

/// Keeps the calling thread on one core, counted among those it may use.
fn pin_to(index: usize) {
    // SAFETY: the sets are plain values that live through the calls, with their own size. Where the
    // system refuses, the thread goes where it is put.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        let size = std::mem::size_of::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size, &raw mut allowed) != 0 {
            return;
        }
        let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
            .filter(|core| libc::CPU_ISSET(*core, &allowed))
            .collect();
        if let Some(core) = cores.get(index % cores.len().max(1)) {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(*core, &mut one);
            libc::sched_setaffinity(0, size, &raw const one);
        }
    }
}

pub fn closed() -> Error {
    Error::new(Kind::EndpointClosed, "this endpoint is closed")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::quic::{Endpoint, EndpointConfig};
    use crate::socket::Socket;

    #[test]
    fn stopping_ends_those_who_wait_and_later_calls() {
        let socket = Socket::bind("[::1]:0".parse().unwrap(), false).unwrap();
        let quic = Endpoint::new(vec![socket], |_| Ok(EndpointConfig::default()), None).unwrap();
        let drive = Arc::new(Drive::start(quic.shards()).unwrap());
        let waiting = {
            let drive = drive.clone();
            thread::spawn(move || drive.wait(std::future::pending::<Result<()>>()))
        };
        assert_eq!(drive.wait(async { Ok(1) }).unwrap(), 1);
        for thread in drive.stop(async {}).unwrap() {
            thread.join().unwrap();
        }
        assert_eq!(waiting.join().unwrap(), Err(closed()));
        assert_eq!(drive.wait(async { Ok(1) }), Err(closed()));
        assert!(drive.stop(async {}).is_none());
    }
}
