//! A file that is put together from chunks. Nothing gets into it that was not verified.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::cutting::CHUNK_BYTES_MAX;
use crate::digest::{chunk_digest, Digest, Whole};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::layout::read_at_most;

/// The file, how much of it is complete from its beginning, and the digest of that.
pub struct Assembly {
    file: File,
    whole: Whole,
    complete: u64,
    buffer: Vec<u8>,
}

impl Assembly {
    /// `file` is readable and writable, and may hold what an earlier attempt left.
    #[must_use]
    pub fn new(file: File) -> Assembly {
        Assembly {
            file,
            whole: Whole::new(),
            complete: 0,
            buffer: vec![0; CHUNK_BYTES_MAX],
        }
    }

    /// Bytes from the beginning on that are there, verified.
    #[must_use]
    pub fn complete(&self) -> u64 {
        self.complete
    }

    /// The digest of the complete bytes.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.whole.digest()
    }

    /// Whether the file has this chunk at `offset`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn holds(&mut self, offset: u64, entry: &Entry) -> Result<bool> {
        let Some(buffer) = self.buffer.get_mut(..entry.length) else {
            return Ok(false);
        };
        let read = read_at_most(&self.file, buffer, offset)?;
        Ok(read == entry.length && chunk_digest(buffer) == entry.digest)
    }

    /// Copies a chunk that `source` has at `from` to `offset`; false where it is not there (any
    /// more), or cannot be read.
    ///
    /// # Errors
    /// Where this file cannot be written.
    pub fn copy(&mut self, source: &File, from: u64, offset: u64, entry: &Entry) -> Result<bool> {
        let Some(buffer) = self.buffer.get_mut(..entry.length) else {
            return Ok(false);
        };
        let is_there = read_at_most(source, buffer, from).is_ok_and(|read| read == entry.length)
            && chunk_digest(buffer) == entry.digest;
        if is_there {
            self.file.write_all_at(buffer, offset)?;
        }
        Ok(is_there)
    }

    /// Room for the bytes of the next chunk, which `put` then takes.
    pub fn room(&mut self, entry: &Entry) -> &mut [u8] {
        let length = entry.length.min(CHUNK_BYTES_MAX);
        &mut self.buffer[..length]
    }

    /// The next chunk is in `room`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where those are other bytes; nothing is written then.
    pub fn put(&mut self, entry: &Entry) -> Result<()> {
        let offset = self.complete;
        let data = self.verified(entry, offset)?;
        self.file.write_all_at(&self.buffer[..data], offset)?;
        self.advance(data);
        Ok(())
    }

    /// The next chunk is at its place already.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where it is not.
    pub fn keep(&mut self, entry: &Entry) -> Result<()> {
        self.load(self.complete, entry)?;
        let data = self.verified(entry, self.complete)?;
        self.advance(data);
        Ok(())
    }

    /// The next chunk is at `from` of the complete part.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where it is not.
    pub fn repeat(&mut self, from: u64, entry: &Entry) -> Result<()> {
        self.load(from, entry)?;
        self.put(entry)
    }

    /// Cuts off what is beyond the complete part, and returns when the file is durable.
    ///
    /// # Errors
    /// Where that fails; then nothing is known of it.
    pub fn settle(&self) -> io::Result<()> {
        self.file.set_len(self.complete)?;
        self.file.sync_all()
    }

    fn load(&mut self, from: u64, entry: &Entry) -> Result<()> {
        let length = entry.length.min(CHUNK_BYTES_MAX);
        let read = read_at_most(&self.file, &mut self.buffer[..length], from)?;
        if read < length {
            return Err(Error::Mismatch { offset: from });
        }
        Ok(())
    }

    fn verified(&self, entry: &Entry, offset: u64) -> Result<usize> {
        match self.buffer.get(..entry.length) {
            Some(data) if chunk_digest(data) == entry.digest => Ok(entry.length),
            _ => Err(Error::Mismatch { offset }),
        }
    }

    fn advance(&mut self, length: usize) {
        self.whole.update(&self.buffer[..length]);
        self.complete += length as u64;
    }
}
