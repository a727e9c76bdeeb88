//! What leaves a shard: which connections may have something to send, and how it is sent.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use super::Shard;
use crate::limits::{TRANSMITS_PER_FLUSH_MAX, UDP_PAYLOAD_BYTES_MAX};
use crate::quic::lane::Lane;
use crate::quic::link::Link;
use crate::quic::{core, scope};

/// Rooms for datagrams that are kept for the next who sends.
const BUFFERS_KEPT_MAX: usize = 4;

/// What became of a connection's wish to send.
pub(super) enum Sent {
    All,
    /// There is more, and others come first.
    Some,
    /// The kernel has no room.
    Blocked,
}

impl Shard {
    /// The connection may have something to send.
    pub(super) fn mark(&self, lane: &Arc<Lane>) {
        if lane.enlist() {
            let mut dirty = self.dirty.lock();
            dirty.push_back(lane.clone());
            self.work.store(true, Ordering::SeqCst);
        }
    }

    /// The next connection that may have something to send.
    fn next_marked(&self) -> Option<Arc<Lane>> {
        let mut dirty = self.dirty.lock();
        let lane = dirty.pop_front();
        self.work.store(!dirty.is_empty(), Ordering::SeqCst);
        drop(dirty);
        if let Some(lane) = &lane {
            lane.delist();
        }
        lane
    }

    /// Has what is marked sent: by the scope of this thread, by the one that drives, or at once.
    pub(super) fn send(self: &Arc<Self>) {
        if !scope::touch(self) && !self.is_served() && self.flush(Instant::now()) {
            self.rouse();
        }
    }

    /// Sends what there is to send, up to a bound. Whether there is more. Nothing more is sent once
    /// the kernel has no room.
    pub fn flush(&self, now: Instant) -> bool {
        if !self.work.load(Ordering::SeqCst) {
            self.unblock();
            return false;
        }
        let marked = self.dirty.lock().len();
        for _ in 0..marked {
            let Some(lane) = self.next_marked() else {
                break;
            };
            let sent = self.change(&lane, |link, _| self.transmit(link, now));
            match sent {
                Sent::All => self.unblock(),
                Sent::Some => {
                    self.unblock();
                    self.mark(&lane);
                }
                Sent::Blocked => {
                    self.mark(&lane);
                    self.blocked.store(true, Ordering::SeqCst);
                    self.watch_if_asleep();
                    return false;
                }
            }
        }
        self.work.load(Ordering::SeqCst)
    }

    /// The kernel has room.
    fn unblock(&self) {
        if self.blocked.load(Ordering::SeqCst) && self.blocked.swap(false, Ordering::SeqCst) {
            self.watch_if_asleep();
        }
    }

    /// Sends what one connection has to send, up to a bound.
    pub(super) fn transmit(&self, link: &mut Link, now: Instant) -> Sent {
        if let Some((transmit, buffer)) = link.unsent.take() {
            if !core::send(&self.socket, &transmit, &buffer) {
                link.unsent = Some((transmit, buffer));
                return Sent::Blocked;
            }
        }
        let buffer = self.buffers.lock().pop();
        let mut buffer = buffer.unwrap_or_else(|| Vec::with_capacity(UDP_PAYLOAD_BYTES_MAX));
        let mut sent = Sent::Some;
        for _ in 0..TRANSMITS_PER_FLUSH_MAX {
            buffer.clear();
            let Some(transmit) = link.poll_transmit(now, &self.socket, &mut buffer) else {
                sent = Sent::All;
                break;
            };
            if !core::send(&self.socket, &transmit, &buffer) {
                link.unsent = Some((transmit, buffer));
                return Sent::Blocked;
            }
            self.weigh(transmit.size);
        }
        link.look_at_path(now);
        let mut buffers = self.buffers.lock();
        if buffers.len() < BUFFERS_KEPT_MAX {
            buffers.push(buffer);
        }
        sent
    }
}
