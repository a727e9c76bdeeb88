//! An authoritative name server: messages, zones, answers that are signed as they are given.
//!
//! ```text
//! server ── udp, stream (TCP, TLS), quic    sockets, bounds, who waits
//!    ├──── limit                            responses to one network, cookies
//!    └──── answer                           a query's response from the zones
//!            ├─ message                     bytes read and written
//!            ├─ zone ── name                what is where
//!            └─ signing                     DNSSEC, its signatures kept
//! ```
//! What zones hold is decided outside; what is not answered from zones goes to a [`Resolver`].
//! [`lookup`] is the other side: what a stub resolver asks, and reads of the response.

pub mod answer;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod limit;
pub mod lookup;
pub mod message;
pub mod name;
pub mod server;
pub mod signing;
pub mod zone;
