//! Calls that finish on the I/O thread and are collected by an event loop.
//!
//! One bell and one list for each event loop: results pile up while the loop is busy and are taken
//! in one go. A call that is cut short by the end of its endpoint completes with that error.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::bell::Bell;
use crate::drive::{self, Drive};
use crate::error::{Error, Kind, Result};
use crate::limits::CALLS_MAX;
use crate::quic::TaskHandle;

pub struct Completions<T> {
    bell: Bell,
    state: Mutex<State<T>>,
}

struct State<T> {
    next: u64,
    running: HashMap<u64, Option<TaskHandle>>,
    done: VecDeque<(u64, Result<T>)>,
}

impl<T: Send + 'static> Completions<T> {
    pub fn new() -> io::Result<Completions<T>> {
        Ok(Completions {
            bell: Bell::new()?,
            state: Mutex::new(State {
                next: 0,
                running: HashMap::new(),
                done: VecDeque::new(),
            }),
        })
    }

    /// Polls `call` here, so that what it first writes leaves at once, and runs the rest of it on
    /// the I/O thread. The number under which its result will come.
    pub fn start(
        self: &Arc<Self>,
        drive: &Drive,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<u64> {
        let number = {
            let mut state = self.state.lock();
            if state.running.len() >= CALLS_MAX {
                return Err(Error::new(
                    Kind::Overloaded,
                    format!("{CALLS_MAX} calls of this event loop are running"),
                ));
            }
            let number = state.next;
            state.next += 1;
            state.running.insert(number, None);
            number
        };
        let ticket = Ticket {
            completions: self.clone(),
            number,
            result: None,
        };
        let task = drive.begin(async move {
            let result = call.await;
            ticket.complete(result);
        });
        if let Some(running) = self.state.lock().running.get_mut(&number) {
            *running = task;
        }
        Ok(number)
    }

    /// Ends a call whose result nobody wants any more.
    pub fn cancel(&self, number: u64) {
        let task = self.state.lock().running.remove(&number).flatten();
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Up to `count` results. The bell rings on where more are left.
    pub fn take(&self, count: usize) -> Vec<(u64, Result<T>)> {
        self.bell.silence();
        let mut state = self.state.lock();
        let count = count.min(state.done.len());
        let taken = state.done.drain(..count).collect();
        if !state.done.is_empty() {
            self.bell.ring();
        }
        taken
    }

    /// Readable while results wait.
    pub fn fd(&self) -> RawFd {
        self.bell.fd()
    }
}

/// Delivers the result of a call, also where the call is dropped unfinished.
struct Ticket<T: Send + 'static> {
    completions: Arc<Completions<T>>,
    number: u64,
    result: Option<Result<T>>,
}

impl<T: Send + 'static> Ticket<T> {
    fn complete(mut self, result: Result<T>) {
        self.result = Some(result);
    }
}

impl<T: Send + 'static> Drop for Ticket<T> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| Err(drive::closed()));
        let mut state = self.completions.state.lock();
        // A cancelled call is no longer among the running.
        if state.running.remove(&self.number).is_some() {
            state.done.push_back((self.number, result));
            drop(state);
            self.completions.bell.ring();
        }
    }
}
