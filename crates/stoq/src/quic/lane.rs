//! The place of one connection at a shard: its state machine behind a lock of its own, so that
//! threads which use different connections wait for each other only where they have something in
//! common, and there shortly.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::link::Link;

pub struct Lane {
    /// Its number among those of the shard.
    pub key: usize,
    /// In the list of those that may have something to send.
    queued: AtomicBool,
    link: Mutex<Link>,
}

impl Lane {
    pub fn new(key: usize, link: Link) -> Lane {
        Lane {
            key,
            queued: AtomicBool::new(false),
            link: Mutex::new(link),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock()
    }

    /// Whether it has to be put into the list: it was not there.
    pub fn enlist(&self) -> bool {
        !self.queued.swap(true, Ordering::SeqCst)
    }

    /// It has been taken from the list. Said before the link is asked what it has to send, so that
    /// whatever comes later enlists it again.
    pub fn delist(&self) {
        // It reads as well as it writes, so that what was done before the entry is seen.
        self.queued.swap(false, Ordering::SeqCst);
    }
}
