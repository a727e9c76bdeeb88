//! STOQ, and the transports it is measured beside, each through its published surface.

pub mod quinn;
pub mod stoq;
pub mod tcp;
pub mod tls;

use std::thread;

use crate::Result;

/// `count` of `work` at once, each on a thread of its own; the results of all.
pub fn each<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count)
            .map(|index| scope.spawn(move || work(index)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .collect()
    })
}
