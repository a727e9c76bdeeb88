//! STOQ: QUIC over IPv6 with post-quantum key exchange and post-quantum proof of who is there.
//!
//! ```text
//! endpoint ── drive        the I/O threads, calls that wait
//!    │  ├──── quic         connections and streams ── socket
//!    │  ├──── tls          keys agreed by X25519MLKEM768, the leaf's Ed25519 key proven
//!    │  │      ├─ session   what the handshake shows
//!    │  │      └─ tickets   resumption between admitted peers
//!    │  ├──── admission    chains against the trust policy, FALCON channel binding
//!    │  ├──── live         revocation of those already here
//!    │  ├──── places       how many of them one party may be
//!    │  ├──── path         how much may be in flight, settings by the kind of path
//!    │  └──── route        the first link towards a peer
//!    ├─ serving ── frame   one stream: a request, a byte stream, an operation on memory
//!    │     ├───── request  the bounded queue towards services outside
//!    │     ├───── tunnel   local sockets carried over streams
//!    │     └───── memory ── region
//!    └─ connection ─ stream, pipeline, remote, completions
//! ```
//! Python never runs on the I/O thread, and the I/O thread never waits for Python. Trust comes in
//! as an immutable `hm_x509::TrustPolicy`.

mod admission;
mod admitted;
mod bell;
mod chunks;
mod completions;
mod connection;
mod datagram;
mod drive;
mod endpoint;
mod error;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(test)]
mod hostile;
mod identity;
mod intake;
pub mod kernel;
pub mod limits;
mod live;
mod memory;
mod open;
pub mod path;
mod pipeline;
mod places;
mod problem;
pub mod quic;
mod region;
mod remote;
mod request;
mod restart;
mod route;
mod serving;
mod session;
mod socket;
mod stream;
mod tickets;
mod tls;
mod transfer;
mod tunnel;

/// Digest of the two public keys of a node, an owner or a session.
pub type PeerId = [u8; 32];

pub use admission::{Alpn, Expected};
pub use admitted::Admission;
pub use bytes::Bytes;
pub use chunks::Chunks;
pub use completions::Completions;
pub use connection::{Connection, ConnectionStats};
pub use datagram::{Datagram, DatagramStats, Datagrams};
pub use drive::Drive;
pub use endpoint::{Destination, Endpoint, EndpointStats, Refusal};
pub use error::{Error, Kind, Result};
pub use frame::Status;
pub use identity::Identity;
pub use live::LiveConnection;
pub use memory::{Action, Range};
pub use open::{OpenAlpn, OpenCertificate, OpenConnection, OpenEndpoint, OpenService, Presented};
pub use path::bottleneck::Bound;
pub use path::monitor::Report as PathReport;
pub use path::transport;
pub use region::{Counters, Grant, RegionId, Regions};
pub use remote::Target;
pub use request::{Origin, Queue, Request};
pub use session::Handshake;
pub use socket::Stack;
pub use stream::Stream;
pub use transfer::Step;
pub use tunnel::{Carriage, Failure, Tunnel, TunnelStats, OPENING_BYTES};
