//! QUIC: `quinn-proto`'s state machines, driven by our own loop over `quinn-udp`'s sockets.
//!
//! ```text
//! endpoint ─ incoming ─ connection ─ sending, receiving      what the crate uses: futures
//!     └──── shard                          one socket, its connections, one I/O thread
//!             ├── arrivals, departures     what comes, and what leaves
//!             ├── driver                   who does both: the I/O thread, or one that waits
//!             ├── core                     what connections share, behind a lock
//!             ├── lane ── link             a state machine behind a lock, those who wait for it
//!             │            └── allowance   what an unproven address is sent
//!             ├── padding                  probes of the path, without what fills them
//!             ├── inbox                    receive buffers
//!             ├── tasks, deadlines         what runs on the I/O thread
//!             └── readiness                who watches the socket
//!           scope, waiter                  a thread that polls futures, and one that waits
//! ```
//! Any thread may receive, send and fire timers: each happens under the lock of the connection, and
//! whoever does it wakes those it concerns. So the I/O thread serves everyone, and a thread that
//! waits for an answer may serve itself ([`crate::drive`]) without a hop between threads. While one
//! does, it sends for the others as well. Locks are taken in the order inbox, lane, core.
//!
//! Names and meanings of the futures are those of the `quinn` crate.

mod allowance;
mod connection;
mod core;
mod deadlines;
mod endpoint;
mod failures;
mod inbox;
mod incoming;
mod lane;
mod link;
mod padding;
mod readiness;
mod receiving;
mod scope;
mod sending;
mod shard;
mod tasks;
#[cfg(test)]
mod tests;
mod waiter;

pub use quinn_proto::{
    congestion, crypto, AckFrequencyConfig, ApplicationClose, Chunk, ClientConfig, ClosedStream,
    ConnectError, ConnectionClose, ConnectionError, ConnectionId, ConnectionIdGenerator,
    ConnectionStats, Dir, EndpointConfig, FinishError, IdleTimeout, MtuDiscoveryConfig, PathStats,
    ServerConfig, Side, StreamId, TransportConfig, TransportErrorCode, UdpStats,
    ValidationTokenConfig, VarInt,
};

pub use connection::{Connecting, Connection, ZeroRttAccepted};
pub use deadlines::{timeout, Elapsed};
pub use endpoint::Endpoint;
pub use failures::{
    ReadError, ReadExactError, ReadToEndError, SendDatagramError, StoppedError, WriteError,
};
pub use incoming::Incoming;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use padding::unpadded;
pub use padding::Unpadded;
pub use receiving::RecvStream;
pub use sending::SendStream;
pub use shard::Shard;
pub use tasks::TaskHandle;

pub use crate::socket::{Socket, Stack};

pub use endpoint::accept;
pub(crate) use scope::{enter, home};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use shard::owner;
pub(crate) use shard::run;
pub(crate) use waiter::{wait, Waited};
