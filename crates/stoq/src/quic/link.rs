//! One connection: its state machine, and those who wait for something on it.

use std::task::{Context, Waker};
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Event, Side, StreamEvent, StreamId,
    Transmit, VarInt,
};
use rustc_hash::FxHashMap;

use super::allowance::Allowance;
use crate::limits::{STREAMS_MAX, STREAMS_UNIDIRECTIONAL_MAX};
use crate::path::monitor::Monitor;
use crate::socket::Socket;

pub struct Link {
    pub inner: Connection,
    pub handle: ConnectionHandle,
    /// The earliest of its entries in the timer queue.
    pub queued: Option<Instant>,
    pub connected: bool,
    /// Why it has ended.
    pub error: Option<ConnectionError>,
    /// The state machine is done with it.
    pub drained: bool,
    /// Nobody holds it any more.
    pub abandoned: bool,
    /// Its place is free.
    pub removed: bool,
    /// The kernel had no room for these datagrams.
    pub unsent: Option<(Transmit, Vec<u8>)>,
    /// `None` where the peer's address is known to be its own.
    pub allowance: Option<Allowance>,
    /// Judges its path.
    pub monitor: Option<Box<Monitor>>,
    pub readers: FxHashMap<StreamId, Waker>,
    pub writers: FxHashMap<StreamId, Waker>,
    /// Those who wait for the end of what they sent.
    pub finishers: FxHashMap<StreamId, Waker>,
    pub opening: [Vec<Waker>; 2],
    pub accepting: [Vec<Waker>; 2],
    pub connecting: Vec<Waker>,
    pub closing: Vec<Waker>,
    pub datagram_readers: Vec<Waker>,
    pub datagram_writers: Vec<Waker>,
}

/// Adds the waker of `context`, once.
pub fn wait(list: &mut Vec<Waker>, context: &Context<'_>) {
    if !list.iter().any(|known| known.will_wake(context.waker())) {
        list.push(context.waker().clone());
    }
}

impl Link {
    pub fn new(handle: ConnectionHandle, inner: Connection, allowance: Option<Allowance>) -> Link {
        Link {
            inner,
            handle,
            queued: None,
            connected: false,
            error: None,
            drained: false,
            abandoned: false,
            removed: false,
            unsent: None,
            allowance,
            monitor: None,
            readers: FxHashMap::default(),
            writers: FxHashMap::default(),
            finishers: FxHashMap::default(),
            opening: Default::default(),
            accepting: Default::default(),
            connecting: Vec::new(),
            closing: Vec::new(),
            datagram_readers: Vec::new(),
            datagram_writers: Vec::new(),
        }
    }

    /// Shows the path's monitor what there is to see, and does what it asks for.
    pub fn look_at_path(&mut self, now: Instant) {
        let Some(monitor) = &mut self.monitor else {
            return;
        };
        let (inner, waiting) = (&mut self.inner, !self.writers.is_empty());
        let stats = inner.stats();
        let changed = monitor.observe(now, inner.remote_address(), &stats, waiting);
        if let Some(settings) = changed {
            inner.set_receive_window(VarInt::from_u32(settings.receive_window));
            inner.set_send_window(settings.send_window);
        }
    }

    /// What is to be sent next, put into the empty `buffer`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        socket: &Socket,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let fitting = socket.segments_max(self.inner.current_mtu());
        let segments = fitting.min(self.batch_segments());
        let Some(allowance) = &mut self.allowance else {
            return self.inner.poll_transmit(now, segments, buffer);
        };
        let transmit = allowance.poll_transmit(&mut self.inner, now, segments, buffer);
        if allowance.is_over() {
            self.allowance = None;
        }
        transmit
    }

    /// Datagrams of one system call that suit the path.
    fn batch_segments(&self) -> usize {
        let monitor = self.monitor.as_ref();
        monitor.map_or(usize::MAX, |monitor| monitor.settings().batch_segments)
    }

    /// Lets a peer that uses half of its streams at once have more.
    pub fn widen(&mut self, dir: Dir) {
        let limit = match dir {
            Dir::Bi => STREAMS_MAX,
            Dir::Uni => STREAMS_UNIDIRECTIONAL_MAX,
        };
        let allowed = self.inner.max_concurrent_streams(dir);
        let open = self.inner.streams().remote_open_streams(dir);
        if let Some(wider) = wider(allowed, open, limit) {
            self.inner
                .set_max_concurrent_streams(dir, VarInt::from_u32(wider));
        }
    }

    /// Passes an event of the state machine to those it concerns.
    pub fn hear(&mut self, event: Event, woken: &mut Vec<Waker>) {
        match event {
            Event::HandshakeDataReady => woken.append(&mut self.connecting),
            Event::Connected => {
                self.connected = true;
                woken.append(&mut self.connecting);
                if self.inner.side().is_client() && !self.inner.accepted_0rtt() {
                    // Streams that sent 0-RTT data in vain learn it now.
                    self.wake_streams(woken);
                }
            }
            Event::ConnectionLost { reason } => self.end(reason, woken),
            Event::DatagramReceived => woken.append(&mut self.datagram_readers),
            Event::DatagramsUnblocked => woken.append(&mut self.datagram_writers),
            Event::Stream(event) => match event {
                StreamEvent::Opened { dir } => woken.append(&mut self.accepting[dir as usize]),
                StreamEvent::Available { dir } => woken.append(&mut self.opening[dir as usize]),
                StreamEvent::Readable { id } => woken.extend(self.readers.remove(&id)),
                StreamEvent::Writable { id } => woken.extend(self.writers.remove(&id)),
                StreamEvent::Finished { id } => woken.extend(self.finishers.remove(&id)),
                StreamEvent::Stopped { id, .. } => {
                    woken.extend(self.finishers.remove(&id));
                    woken.extend(self.writers.remove(&id));
                }
            },
        }
    }

    /// Ends it from this side.
    pub fn close(&mut self, now: Instant, code: VarInt, reason: Bytes, woken: &mut Vec<Waker>) {
        self.inner.close(now, code, reason);
        self.end(ConnectionError::LocallyClosed, woken);
    }

    /// Whether it lives, and was opened by this `side`.
    pub fn lives_as(&self, side: Side) -> bool {
        self.error.is_none() && self.inner.side() == side
    }

    /// It has ended: everyone who waits learns why.
    pub fn end(&mut self, reason: ConnectionError, woken: &mut Vec<Waker>) {
        self.error.get_or_insert(reason);
        self.wake_streams(woken);
        for dir in [Dir::Bi, Dir::Uni] {
            woken.append(&mut self.opening[dir as usize]);
            woken.append(&mut self.accepting[dir as usize]);
        }
        woken.append(&mut self.connecting);
        woken.append(&mut self.closing);
        woken.append(&mut self.datagram_readers);
        woken.append(&mut self.datagram_writers);
    }

    fn wake_streams(&mut self, woken: &mut Vec<Waker>) {
        for waiting in [&mut self.readers, &mut self.writers, &mut self.finishers] {
            woken.extend(waiting.drain().map(|(_, waker)| waker));
        }
    }

    /// Whether data sent before the handshake was over counts.
    pub fn rejected_0rtt(&self) -> bool {
        self.inner.side().is_client() && !self.inner.is_handshaking() && !self.inner.accepted_0rtt()
    }
}

/// How many streams a peer may have that may have `allowed` and has `open`, where these are more.
fn wider(allowed: u64, open: u64, limit: u32) -> Option<u32> {
    if allowed >= u64::from(limit) || open * 2 < allowed {
        return None;
    }
    let twice = u32::try_from(allowed * 2).unwrap_or(limit);
    Some(twice.min(limit))
}

#[cfg(test)]
mod tests {
    use super::wider;

    #[test]
    fn only_who_uses_half_of_its_streams_gets_more_of_them() {
        assert_eq!(wider(16, 1, 128), None);
        assert_eq!(wider(16, 7, 128), None);
        assert_eq!(wider(16, 8, 128), Some(32));
        assert_eq!(wider(100, 99, 128), Some(128));
        assert_eq!(wider(128, 128, 128), None);
        // An application's own bound above ours stays what it is.
        assert_eq!(wider(256, 256, 128), None);
        assert_eq!(wider(0, 0, 0), None);
    }
}
