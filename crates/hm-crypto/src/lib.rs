//! The cryptography of HyperMesh over bytes: no policy, no files, no Python.
//!
//! | module | holds |
//! |---|---|
//! | [`digest`] | BLAKE3 `derive_key` under named contexts |
//! | [`falcon`], [`ed25519`] | the two signature schemes |
//! | [`hybrid`] | both together over one prehash; key ids |
//! | [`envelope`] | ML-KEM-1024 and AES-256-GCM |
//! | [`merkle`] | roots and inclusion paths |
//! | [`entropy`] | random bytes of the operating system |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod digest;
pub mod ed25519;
pub mod entropy;
pub mod envelope;
mod error;
pub mod falcon;
pub mod falcon512;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod hybrid;
pub mod merkle;

pub use error::{Error, Halves};
