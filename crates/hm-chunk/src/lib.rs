//! Files as chunks whose cuts follow the content.
//!
//! ```text
//! scanner ── layout     what kind of file it is, and where it must be cut
//!    │  ├─── cutting    where content is cut: a keyed hash of 64 bytes
//!    │  │    └─ sieve   which places may be cuts, many at once
//!    │  └─── digest     of each chunk, and of the whole in the same pass
//! entry                 a chunk of a list: length and digest
//! assembly ─ digest     chunks verified, put at their place, hashed as a whole
//! ```
//! An insertion moves the cuts around it and no others, so that two versions of a file share most
//! of their chunks. What the receiver of a list does with it never depends on how it was cut.

mod assembly;
mod cutting;
mod digest;
mod entry;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod layout;
mod parquet;
#[cfg(any(test, feature = "fuzz"))]
mod reference;
mod safetensors;
mod scanner;
mod sieve;

pub use assembly::Assembly;
pub use cutting::{Cutting, AVERAGE_BYTES, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, KEY_BYTES};
pub use digest::{chunk_digest, Digest, Whole, DIGEST_BYTES};
pub use entry::{Entry, ENTRY_BYTES};
pub use error::{Error, Result};
pub use layout::Kind;
pub use scanner::Scanner;
