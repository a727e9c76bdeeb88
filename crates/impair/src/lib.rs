//! Bad networks for tests and benchmarks, where the kernel has none to offer.
//!
//! ```text
//! main ── relay      sockets and time
//!           ├── link     what happens to each datagram: pure, seeded
//!           ├── command  one line of text: what to change
//!           └── report   what was done, as JSON
//! ```
//! `link` alone serves simulations in virtual time.

pub mod command;
pub mod link;
pub mod random;
pub mod relay;
pub mod report;

pub use link::{Link, Passage, Settings};
