//! Receive buffers of a shard.
//!
//! The kernel coalesces datagrams of a flow (GRO) into up to 64 KiB. A dense batch is handed on
//! without a copy, as slices of its buffer; a sparse one is copied, so that a small frame which
//! waits for its stream to be read does not hold 64 KiB. Buffers handed on are reused as soon as
//! nobody holds a slice of them, and there are at most `LENT_MAX` of them: beyond, all is copied.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::iter::Take;
use std::sync::Arc;
use std::vec::Drain;

use bytes::BytesMut;
use quinn_proto::ConnectionEvent;
use quinn_udp::{RecvMeta, BATCH_SIZE};

use super::lane::Lane;
use crate::limits::{RECEIVE_DENSE_BYTES, RECEIVE_LENT_MAX};
use crate::socket::Socket;

/// What one read of a socket with GRO may bring.
const SLOT_BYTES: usize = 64 * 1024;

/// Buffers among which one that is free is looked for first: half a megabyte.
const NEAR: usize = 8;

/// Messages asked for at first.
const WIDTH_MIN: usize = 2;

pub struct Inbox {
    /// Each of `SLOT_BYTES` initialised bytes.
    slots: Vec<BytesMut>,
    meta: [RecvMeta; BATCH_SIZE],
    /// What remains of buffers whose front is in use elsewhere.
    lent: VecDeque<BytesMut>,
    /// Messages to ask for next time: many where they are small, few where they are large, so that
    /// the next ones are not yet in the cache's way.
    width: usize,
    /// Empty between two batches; kept for its room.
    pub received: Received,
}

/// Datagrams of a batch, by the connections that they are for, in order.
#[derive(Default)]
pub struct Received {
    /// Each with how many of `events` are its.
    runs: Vec<(Arc<Lane>, usize)>,
    events: Vec<ConnectionEvent>,
}

impl Received {
    pub fn add(&mut self, lane: &Arc<Lane>, event: ConnectionEvent) {
        match self.runs.last_mut() {
            Some((last, count)) if Arc::ptr_eq(last, lane) => *count += 1,
            _ => self.runs.push((lane.clone(), 1)),
        }
        self.events.push(event);
    }

    /// Empties it.
    pub fn each(
        &mut self,
        mut take: impl FnMut(&Arc<Lane>, Take<&mut Drain<'_, ConnectionEvent>>),
    ) {
        let mut events = self.events.drain(..);
        for (lane, count) in self.runs.drain(..) {
            take(&lane, events.by_ref().take(count));
        }
    }
}

impl Inbox {
    pub fn new() -> Inbox {
        Inbox {
            slots: Vec::new(),
            meta: [RecvMeta::default(); BATCH_SIZE],
            lent: VecDeque::new(),
            width: WIDTH_MIN,
            received: Received::default(),
        }
    }

    /// Receives what is there. The number of messages, and whether there may be more.
    pub fn fill(&mut self, socket: &Socket) -> io::Result<(usize, bool)> {
        while self.slots.len() < self.width {
            self.slots.push(BytesMut::zeroed(SLOT_BYTES));
        }
        let mut slots = self.slots.iter_mut();
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(slots.next().map_or(&mut [], |slot| slot)));
        let width = self.width;
        let count = socket.receive(&mut buffers[..width], &mut self.meta[..width])?;
        let full = count == width;
        let bytes = self.bytes(count);
        self.width = match full {
            true if bytes < SLOT_BYTES => (width * 2).min(BATCH_SIZE),
            true if bytes > 2 * SLOT_BYTES => (width / 2).max(WIDTH_MIN),
            _ => width,
        };
        Ok((count, full))
    }

    /// Of the first `count` messages.
    pub fn bytes(&self, count: usize) -> usize {
        self.meta[..count].iter().map(|meta| meta.len).sum()
    }

    /// Hands the datagrams of message `at` to `take`.
    pub fn open(&mut self, at: usize, mut take: impl FnMut(&RecvMeta, BytesMut)) {
        let meta = self.meta[at];
        let length = meta.len.min(SLOT_BYTES);
        let stride = meta.stride.clamp(1, SLOT_BYTES);
        if length >= RECEIVE_DENSE_BYTES {
            if let Some(spare) = self.spare() {
                let mut whole = std::mem::replace(&mut self.slots[at], spare);
                let mut rest = whole.split_off(length);
                while !whole.is_empty() {
                    let datagram = whole.split_to(stride.min(whole.len()));
                    take(&meta, datagram);
                }
                drop(whole);
                rest.clear();
                self.lent.push_back(rest);
                return;
            }
        }
        for datagram in self.slots[at][..length].chunks(stride) {
            take(&meta, BytesMut::from(datagram));
        }
    }

    /// A whole buffer that nobody uses; one of those used last, if there is one, because it is still
    /// in the caches.
    fn spare(&mut self) -> Option<BytesMut> {
        let near = self.lent.len().saturating_sub(NEAR);
        let mut free = (near..self.lent.len()).rev().chain(0..near);
        if let Some(at) = free.find(|at| self.lent[*at].try_reclaim(SLOT_BYTES)) {
            let mut buffer = self.lent.remove(at)?;
            // SAFETY: the buffer is one of `BytesMut::zeroed(SLOT_BYTES)`, split and now whole
            // again, so its first `SLOT_BYTES` bytes were initialised, and its capacity is that
            // large or `try_reclaim` had refused.
            unsafe { buffer.set_len(SLOT_BYTES) };
            return Some(buffer);
        }
        (self.lent.len() < RECEIVE_LENT_MAX).then(|| BytesMut::zeroed(SLOT_BYTES))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(inbox: &mut Inbox, from: &Socket, to: &Socket, datagram: &[u8]) {
        from.send(&quinn_udp::Transmit {
            destination: to.local(),
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: None,
        })
        .unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while inbox.fill(to).map_or(0, |(count, _)| count) == 0 {
            assert!(std::time::Instant::now() < deadline, "nothing arrived");
        }
    }

    #[test]
    fn buffers_in_use_are_bounded_and_come_back() {
        let socket = || Socket::bind("[::1]:0".parse().unwrap(), false).unwrap();
        let (from, to) = (socket(), socket());
        let mut inbox = Inbox::new();
        let mut held = Vec::new();
        let large: Vec<u8> = (0..60_000u32).map(|at| at as u8).collect();
        for _ in 0..RECEIVE_LENT_MAX + 10 {
            filled(&mut inbox, &from, &to, &large);
            inbox.open(0, |_, datagram| held.push(datagram));
        }
        assert_eq!(inbox.lent.len(), RECEIVE_LENT_MAX);
        assert!(held.iter().all(|datagram| datagram[..] == large[..]));
        // Beyond the bound each has bytes of its own.
        assert!(held.last().unwrap().capacity() < SLOT_BYTES);
        assert!(held.first().unwrap().capacity() >= large.len());
        held.clear();
        for _ in 0..RECEIVE_LENT_MAX {
            filled(&mut inbox, &from, &to, &large);
            inbox.open(0, |_, datagram| assert_eq!(datagram[..], large[..]));
        }
        assert!(inbox.lent.len() <= RECEIVE_LENT_MAX);
        // A small one is copied, and holds no buffer.
        filled(&mut inbox, &from, &to, b"small");
        let lent = inbox.lent.len();
        inbox.open(0, |_, datagram| held.push(datagram));
        assert_eq!((&held[0][..], inbox.lent.len()), (&b"small"[..], lent));
    }
}
