//! What an endpoint takes on and has under way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};

/// Whether an endpoint takes anything new, and how much of what it took is still under way.
#[derive(Default)]
pub struct Intake {
    closed: AtomicBool,
    running: AtomicUsize,
}

impl Intake {
    /// A place for something new, which `Draining` refuses once nothing is taken.
    pub fn enter(self: &Arc<Self>) -> Result<Running> {
        // Counted before it is asked, so that whoever closes the intake and then sees nothing
        // running has seen all.
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(self.clone());
        if self.is_closed() {
            return Err(draining());
        }
        Ok(running)
    }

    /// Takes nothing new from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// What is under way, beside requests that a service has.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

/// Something that is under way, until it is dropped.
pub struct Running(Arc<Intake>);

impl Clone for Running {
    /// One more, as a part of what is under way already.
    fn clone(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        Running(self.0.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn draining() -> Error {
    Error::new(Kind::Draining, "this node is going down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_goes_on_and_nothing_new_begins() {
        let intake = Arc::new(Intake::default());
        let running = intake.enter().ok();
        intake.close();
        let refused = intake.enter().err();
        assert_eq!(refused.and_then(|error| error.kind()), Some(Kind::Draining));
        let part = running.clone();
        drop(running);
        assert_eq!(intake.running(), 1);
        drop(part);
        assert_eq!(intake.running(), 0);
    }
}
