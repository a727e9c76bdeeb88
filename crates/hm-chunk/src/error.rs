//! What can go wrong between a file and its chunks.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is shorter than it was, or its content is no longer that of the list.
    #[error("the file changed: {0}")]
    Changed(String),
    /// Bytes are not those that the list says.
    #[error("the chunk at byte {offset} is not the one announced")]
    Mismatch { offset: u64 },
    /// A list of chunks is not one.
    #[error("malformed list of chunks: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    File(#[from] io::Error),
}

pub type Result<T> = std::result::Result<T, Error>;
