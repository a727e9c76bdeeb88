//! The seam to whatever drives I/O: one thread with a tokio runtime, owned by one endpoint.
//!
//! Everything else asks only for these: run a future there (`spawn`), or wait for one on the
//! calling thread (`wait`). A waiting thread polls its own future, so a call from outside pays for
//! waking the I/O thread and for being woken, and for no hop in between.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::error::{Error, Kind, Result};

/// Threads for signatures beside the I/O thread.
const BLOCKING_THREADS_MAX: usize = 2;

/// The last thing the I/O thread does.
type Farewell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The I/O thread. It ends when this is stopped or dropped.
pub struct Drive {
    handle: Handle,
    /// Becomes true when the thread stops; each waiting call holds a receiver.
    stopped: Arc<watch::Sender<bool>>,
    thread: Mutex<Option<(oneshot::Sender<Farewell>, JoinHandle<()>)>>,
}

impl Drive {
    pub fn start() -> io::Result<Drive> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()?;
        let handle = runtime.handle().clone();
        let stopped = Arc::new(watch::Sender::new(false));
        let (stop, stopping) = oneshot::channel::<Farewell>();
        let thread = {
            let stopped = stopped.clone();
            thread::Builder::new()
                .name("stoq-io".to_owned())
                .spawn(move || {
                    runtime.block_on(async {
                        let farewell = stopping.await;
                        stopped.send_replace(true);
                        if let Ok(farewell) = farewell {
                            farewell.await;
                        }
                        // Timers panic once the runtime is gone, so those who wait leave first.
                        stopped.closed().await;
                    });
                    runtime.shutdown_background();
                })?
        };
        Ok(Drive {
            handle,
            stopped,
            thread: Mutex::new(Some((stop, thread))),
        })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }

    /// Waits on the calling thread, which must not be the I/O thread.
    pub fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let mut stopped = self.stopped.subscribe();
        if *stopped.borrow() {
            return Err(closed());
        }
        self.handle.block_on(async {
            tokio::select! {
                biased;
                result = future => result,
                _ = stopped.wait_for(|stopped| *stopped) => Err(closed()),
            }
        })
    }

    /// The same for at most `turn`; `None` where the future needs more. It may be given again.
    pub fn wait_a_turn<T, F>(&self, future: Pin<&mut F>, turn: Duration) -> Result<Option<T>>
    where
        F: Future<Output = Result<T>>,
    {
        self.wait(async {
            match timeout(turn, future).await {
                Ok(result) => result.map(Some),
                Err(_) => Ok(None),
            }
        })
    }

    /// Ends all waiting calls, runs `farewell`, and ends the thread. The caller may join it; no
    /// second call gets it.
    pub fn stop(
        &self,
        farewell: impl Future<Output = ()> + Send + 'static,
    ) -> Option<JoinHandle<()>> {
        let (stop, thread) = self.thread.lock().take()?;
        // It fails only where the thread has ended, and then there is nothing to say farewell to.
        let _ = stop.send(Box::pin(farewell));
        Some(thread)
    }
}

pub fn closed() -> Error {
    Error::new(Kind::EndpointClosed, "this endpoint is closed")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stopping_ends_those_who_wait_and_later_calls() {
        let drive = Arc::new(Drive::start().unwrap());
        let waiting = {
            let drive = drive.clone();
            thread::spawn(move || {
                drive.wait(async {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                    Ok(())
                })
            })
        };
        assert_eq!(drive.wait(async { Ok(1) }).unwrap(), 1);
        let thread = drive.stop(async {}).unwrap();
        thread.join().unwrap();
        assert_eq!(waiting.join().unwrap(), Err(closed()));
        assert_eq!(drive.wait(async { Ok(1) }), Err(closed()));
        assert!(drive.stop(async {}).is_none());
    }
}
