//! Chunks of files between a file and a stream, on the thread that calls: the bytes pass through
//! no other program, and the I/O thread reads and writes no file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::Bytes;
use hm_chunk::{Assembly, Entry};

use crate::error::{Error, Kind, Result};
use crate::stream::Stream;

/// Where the receiver has the next chunk of a file from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the next on the stream.
    Receive,
    /// It is at its place already.
    Keep,
    /// It is at this byte of the complete part of the file.
    Repeat(u64),
}

impl Stream {
    /// Sends these ranges (offset, length) of `file`, in order. `patience` is for each.
    ///
    /// Fails with `FileChanged` where the file ends before one of them does.
    pub async fn send_ranges(
        &self,
        file: &File,
        ranges: impl IntoIterator<Item = (u64, usize)>,
        patience: Duration,
    ) -> Result<()> {
        for (offset, length) in ranges {
            let mut data = vec![0; length];
            file.read_exact_at(&mut data, offset)
                .map_err(|error| reading(&error))?;
            self.write_chunks([Bytes::from(data)], patience).await?;
        }
        Ok(())
    }

    /// Continues `assembly` by these chunks, in order. `patience` is for each.
    pub async fn receive_into(
        &self,
        assembly: &mut Assembly,
        chunks: impl IntoIterator<Item = (Entry, Step)>,
        patience: Duration,
    ) -> Result<()> {
        for (entry, step) in chunks {
            match step {
                Step::Receive => {
                    let room = assembly.room(&entry);
                    self.read_exact(room, patience).await?;
                    assembly.put(&entry)
                }
                Step::Keep => assembly.keep(&entry),
                Step::Repeat(from) => assembly.repeat(from, &entry),
            }?;
        }
        Ok(())
    }

    /// Fills `buffer`. Fails with `MalformedFrame` where the stream ends before.
    pub async fn read_exact(&self, buffer: &mut [u8], patience: Duration) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_into(&mut buffer[filled..], patience).await? {
                0 => {
                    let why = format!("the stream ended {filled} bytes into a chunk");
                    return Err(Error::new(Kind::MalformedFrame, why));
                }
                read => filled += read,
            }
        }
        Ok(())
    }
}

impl From<hm_chunk::Error> for Error {
    fn from(error: hm_chunk::Error) -> Error {
        match &error {
            hm_chunk::Error::Changed(_) => Error::new(Kind::FileChanged, error.to_string()),
            hm_chunk::Error::Mismatch { .. } => Error::new(Kind::ChunkMismatch, error.to_string()),
            hm_chunk::Error::Malformed(_) => Error::new(Kind::MalformedFrame, error.to_string()),
            hm_chunk::Error::File(inner) => inner.into(),
        }
    }
}

impl From<&io::Error> for Error {
    fn from(error: &io::Error) -> Error {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let kind = if full {
            Kind::NoSpace
        } else {
            Kind::FileFailed
        };
        Error::new(kind, error.to_string())
    }
}

fn reading(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::new(Kind::FileChanged, "it has become shorter"),
        _ => error.into(),
    }
}
