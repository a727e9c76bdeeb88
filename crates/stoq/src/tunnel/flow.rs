//! The datagrams of one sender, and those for it: each in a QUIC datagram where it fits (RFC 9221).
//!
//! ```text
//! datagram = service u16 (22) | flow u32 | packet
//! ```
//! A flow is the stream that opened it, named by its number among the streams of its kind (as in
//! RFC 9297 section 2.1). What does not fit the path, and what comes before the far side has agreed,
//! goes over that stream instead. Nobody waits: what finds no room on its way is lost and counted.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use socket2::SockAddr;
use tokio::sync::mpsc;

use super::{Local, Shared, SERVICE};
use crate::frame;
use crate::limits::{TUNNEL_DATAGRAMS_WAITING_MAX, TUNNEL_DATAGRAM_IDLE};
use crate::quic::{timeout, Connection, SendDatagramError, StreamId};

/// Bytes of a packet's length on a stream.
pub(super) const LENGTH_BYTES: usize = 2;
/// Bytes of a flow's number in a datagram.
const NUMBER_BYTES: usize = 4;

/// The flows of one endpoint, or of one connection that this side has opened.
#[derive(Default)]
pub struct Flows(Mutex<HashMap<Key, Arc<Flow>>>);

/// Which connection, and which flow of it.
type Key = (usize, u32);

impl Flows {
    /// Hands on the packet in the body of a datagram. Whether there is a flow for it.
    pub(crate) fn hand_on(&self, connection: &Connection, body: &[u8]) -> bool {
        let Some((number, packet)) = body.split_first_chunk::<NUMBER_BYTES>() else {
            return false;
        };
        let key = (connection.stable_id(), u32::from_be_bytes(*number));
        let flow = self.0.lock().get(&key).cloned();
        flow.inspect(|flow| flow.deliver(packet)).is_some()
    }
}

/// A flow that others find, until this is dropped.
pub(super) struct Registered {
    flows: Arc<Flows>,
    key: Option<Key>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.flows.0.lock().remove(key);
        }
    }
}

/// One flow.
pub(super) struct Flow {
    shared: Arc<Shared>,
    local: Arc<Local>,
    /// Whom to send what comes; the socket knows it where there is none.
    sender: Option<SockAddr>,
    activity: Activity,
    path: OnceLock<(Connection, u32)>,
    agreed: AtomicBool,
    aside: mpsc::Sender<Bytes>,
}

impl Flow {
    /// With what is to go over its stream.
    pub fn new(
        shared: Arc<Shared>,
        local: Arc<Local>,
        sender: Option<SockAddr>,
    ) -> (Arc<Flow>, mpsc::Receiver<Bytes>) {
        let (aside, queue) = mpsc::channel(TUNNEL_DATAGRAMS_WAITING_MAX);
        let flow = Flow {
            shared,
            local,
            sender,
            activity: Activity::begun(),
            path: OnceLock::new(),
            agreed: AtomicBool::new(false),
            aside,
        };
        (Arc::new(flow), queue)
    }

    /// Takes what comes for the stream `id` of `connection`, until the result is dropped.
    pub fn register(
        self: &Arc<Self>,
        flows: &Arc<Flows>,
        connection: Connection,
        id: StreamId,
    ) -> Registered {
        let key = u32::try_from(id.index()).ok().map(|number| {
            let key = (connection.stable_id(), number);
            flows.0.lock().insert(key, self.clone());
            // It is set once, for a flow has one stream.
            let _ = self.path.set((connection, number));
            key
        });
        Registered {
            flows: flows.clone(),
            key,
        }
    }

    /// The far side takes datagrams of this flow from now on.
    pub fn agree(&self) {
        self.agreed.store(true, Ordering::Release);
    }

    /// Sends `packet` to the far side.
    pub fn send(&self, packet: &[u8]) {
        self.activity.note();
        let taken = match self.path.get() {
            Some((connection, number)) if self.agreed.load(Ordering::Acquire) => {
                self.send_datagram(connection, *number, packet)
            }
            _ => None,
        };
        let (taken, count) = match taken {
            Some(taken) => (taken, &self.shared.datagrams),
            None => (self.send_aside(packet), &self.shared.streamed),
        };
        if taken {
            count.fetch_add(1, Ordering::Relaxed);
            let length = packet.len() as u64;
            self.shared.bytes_out.fetch_add(length, Ordering::Relaxed);
        } else {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether there was room; `None` where it does not fit a datagram.
    fn send_datagram(&self, connection: &Connection, number: u32, packet: &[u8]) -> Option<bool> {
        let length = frame::DATAGRAM_HEADER_BYTES + NUMBER_BYTES + packet.len();
        if connection.max_datagram_size()? < length {
            return None;
        }
        if connection.datagram_send_buffer_space() < length {
            return Some(false);
        }
        let mut framed = BytesMut::with_capacity(length);
        framed.put_u16(SERVICE);
        framed.put_u32(number);
        framed.put_slice(packet);
        match connection.send_datagram(framed.freeze()) {
            Ok(()) => Some(true),
            Err(SendDatagramError::ConnectionLost(_)) => Some(false),
            // The path has changed since.
            Err(_) => None,
        }
    }

    fn send_aside(&self, packet: &[u8]) -> bool {
        let Ok(length) = u16::try_from(packet.len()) else {
            return false;
        };
        let mut framed = BytesMut::with_capacity(LENGTH_BYTES + packet.len());
        framed.put_u16(length);
        framed.put_slice(packet);
        self.aside.try_send(framed.freeze()).is_ok()
    }

    /// Gives `packet`, which has come, to the local side. One that the kernel does not take is lost,
    /// as on any network.
    pub fn deliver(&self, packet: &[u8]) {
        self.activity.note();
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        let socket = self.local.get_ref();
        let sent: io::Result<usize> = match &self.sender {
            Some(sender) => socket.send_to_with_flags(packet, sender, flags),
            None => socket.send_with_flags(packet, flags),
        };
        let (count, by): (&AtomicU64, u64) = match sent {
            Ok(_) => (&self.shared.bytes_in, packet.len() as u64),
            Err(_) => (&self.shared.dropped, 1),
        };
        count.fetch_add(by, Ordering::Relaxed);
    }

    /// Returns once nothing has moved for `TUNNEL_DATAGRAM_IDLE`.
    pub async fn ceased(&self) {
        self.activity.ceased().await;
    }
}

/// When something last moved.
struct Activity(Mutex<Instant>);

impl Activity {
    fn begun() -> Activity {
        Activity(Mutex::new(Instant::now()))
    }

    fn note(&self) {
        *self.0.lock() = Instant::now();
    }

    async fn ceased(&self) {
        loop {
            let quiet = self.0.lock().elapsed();
            let Some(left) = TUNNEL_DATAGRAM_IDLE.checked_sub(quiet) else {
                return;
            };
            let _ = timeout(left, std::future::pending::<()>()).await;
        }
    }
}
