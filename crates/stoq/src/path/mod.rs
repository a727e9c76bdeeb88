//! What a connection knows of its path, and what it makes of it.
//!
//! ```text
//! transport ── controller   how much may be in flight
//!     │            ├── delivery   what the path has delivered, per acknowledgement
//!     │            ├── filter     maxima and minima of the recent past
//!     │            ├── room       the receiver's buffer, where it is on this host
//!     │            └── gauge      what others may read of it
//!     ├─────── tier         windows and batches for the kind of path it is
//!     └─ monitor ── bottleneck   which of its bounds a connection was waiting for
//! ```
//! All of it decides over values and `now`. Nothing here reads a clock or a socket.

pub mod bottleneck;
pub mod controller;
mod delivery;
mod filter;
pub mod gauge;
pub mod monitor;
pub mod room;
#[cfg(test)]
mod simulation;
pub mod tier;
pub mod transport;
