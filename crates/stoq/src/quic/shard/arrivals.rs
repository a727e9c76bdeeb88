//! What comes to a shard: datagrams from its socket, those that other shards pass on, and timers.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::BytesMut;
use quinn_udp::RecvMeta;

use super::Shard;
use crate::limits::FORWARDED_MAX;
use crate::quic::inbox::{Inbox, Received};

impl Shard {
    /// Receives and handles a batch, fires timers, and wakes those concerned. Whether anything
    /// happened. Sends nothing.
    pub(super) fn turn(&self, now: Instant) -> bool {
        let mut inbox = self.inbox.lock();
        let count = inbox.fill(&self.socket).map_or(0, |(count, _)| count);
        let due = self.timer.load(Ordering::SeqCst) <= self.nanoseconds(now);
        let forwarded = std::mem::take(&mut *self.forwarded.lock());
        if count == 0 && !due && forwarded.is_empty() {
            return false;
        }
        if count > 0 {
            self.weigh(inbox.bytes(count));
        }
        if count > 0 || !forwarded.is_empty() {
            let mut received = self.route(now, &mut inbox, count, forwarded);
            received.each(|lane, events| {
                self.change(lane, |link, _| {
                    for event in events {
                        link.inner.handle_event(event);
                    }
                });
                self.mark(lane);
            });
            inbox.received = received;
        }
        if due {
            self.fire_timers(now);
        }
        true
    }

    /// Which connections the datagrams are for.
    fn route(
        &self,
        now: Instant,
        inbox: &mut Inbox,
        count: usize,
        forwarded: VecDeque<(RecvMeta, BytesMut)>,
    ) -> Received {
        let mut received = std::mem::take(&mut inbox.received);
        self.with(|core, socket| {
            let mut route = |meta: &RecvMeta, datagram| {
                if let Some((lane, event)) = core.route(now, meta, datagram, socket) {
                    received.add(lane, event);
                }
            };
            for (meta, datagram) in forwarded {
                route(&meta, datagram);
            }
            for at in 0..count {
                inbox.open(at, |meta, datagram| {
                    if let Some(datagram) = self.forward(meta, datagram) {
                        route(meta, datagram);
                    }
                });
            }
        });
        received
    }

    fn fire_timers(&self, now: Instant) {
        for (at, lane) in self.with(|core, _| core.due(now)) {
            self.change(&lane, |link, _| {
                if link.queued != Some(at) {
                    return;
                }
                link.queued = None;
                if link.inner.poll_timeout().is_some_and(|due| due <= now) {
                    link.inner.handle_timeout(now);
                    self.mark(&lane);
                }
            });
        }
    }

    /// Gives a datagram to the shard whose connection it names; back where that is this one.
    fn forward(&self, meta: &RecvMeta, datagram: BytesMut) -> Option<BytesMut> {
        let siblings = match self.siblings.get() {
            Some(siblings) if siblings.len() > 1 => siblings,
            _ => return Some(datagram),
        };
        let Some(owner) = owner(&datagram, siblings.len()) else {
            return Some(datagram);
        };
        if owner == self.index {
            return Some(datagram);
        }
        self.strays.fetch_add(1, Ordering::Relaxed);
        let sibling = siblings.get(owner)?.upgrade()?;
        sibling.hand_over(*meta, datagram);
        None
    }

    pub fn has_forwarded(&self) -> bool {
        !self.forwarded.lock().is_empty()
    }

    /// Takes a datagram that came to another shard, as far as there is room for it.
    pub fn hand_over(&self, meta: RecvMeta, datagram: BytesMut) {
        let mut forwarded = self.forwarded.lock();
        if forwarded.len() < FORWARDED_MAX {
            forwarded.push_back((meta, datagram));
        }
        drop(forwarded);
        self.rouse();
    }

    /// Datagrams that came here and were another shard's.
    pub fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }
}

/// The shard whose connection a datagram names (RFC 9000 section 17). `None`: it names none.
pub(crate) fn owner(datagram: &[u8], shards: usize) -> Option<usize> {
    const LONG_HEADER: u8 = 0x80;
    let first = match datagram.first()? {
        form if form & LONG_HEADER == 0 => datagram.get(1)?,
        _ if *datagram.get(5)? == 0 => return None,
        _ => datagram.get(6)?,
    };
    Some(usize::from(*first) % shards)
}
