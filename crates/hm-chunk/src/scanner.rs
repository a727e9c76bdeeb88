//! One pass over a file: cuts, digests of chunks, digest of the whole.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::cutting::{Cutting, CHUNK_BYTES_MAX, KEY_BYTES};
use crate::digest::{chunk_digest, Digest, Whole, BLOCK_BYTES};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::layout::{Kind, Layout};

/// Reads a file once, in order. It holds one block and a chunk of it, whatever the file's size.
pub struct Scanner {
    file: File,
    size: u64,
    layout: Layout,
    next_cut: usize,
    cutting: Cutting,
    whole: Whole,
    buffer: Vec<u8>,
    /// What of `buffer` has not been cut yet.
    from: usize,
    to: usize,
    /// Bytes of the file that have been read, and that have been cut.
    read: u64,
    cut: u64,
}

impl Scanner {
    /// Scans `file` as long as it is now. `key` is that of the cuts.
    ///
    /// # Errors
    /// Where its size or its beginning cannot be read.
    pub fn open(file: File, key: &[u8; KEY_BYTES]) -> Result<Scanner> {
        let size = file.metadata()?.len();
        Ok(Scanner {
            layout: Layout::of(&file, size)?,
            file,
            size,
            next_cut: 0,
            cutting: Cutting::new(key),
            whole: Whole::new(),
            buffer: vec![0; CHUNK_BYTES_MAX + BLOCK_BYTES],
            from: 0,
            to: 0,
            read: 0,
            cut: 0,
        })
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.layout.kind
    }

    /// The next chunks, at most `count`; none at the end.
    ///
    /// # Errors
    /// [`Error::Changed`] where the file has become shorter.
    pub fn page(&mut self, count: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while entries.len() < count {
            match self.next()? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        Ok(entries)
    }

    /// The digest of the whole file; `None` before its end.
    #[must_use]
    pub fn root(&self) -> Option<Digest> {
        (self.cut == self.size).then(|| self.whole.digest())
    }

    fn next(&mut self) -> Result<Option<Entry>> {
        if self.to - self.from < CHUNK_BYTES_MAX && self.read < self.size {
            self.fill()?;
        }
        if self.from == self.to {
            return Ok(None);
        }
        let cuts = &self.layout.cuts;
        while cuts.get(self.next_cut).is_some_and(|cut| *cut <= self.cut) {
            self.next_cut += 1;
        }
        let mut available = self.to - self.from;
        if let Some(cut) = cuts.get(self.next_cut) {
            available = usize::try_from(cut - self.cut).map_or(available, |n| n.min(available));
        }
        let ahead = &self.buffer[self.from..self.from + available];
        let length = match self.layout.fixed() {
            Some(fixed) => fixed.min(available),
            None => self.cutting.cut(ahead),
        };
        let digest = chunk_digest(&ahead[..length]);
        self.from += length;
        self.cut += length as u64;
        Ok(Some(Entry { length, digest }))
    }

    /// Reads the next block behind what is left, which is less than a chunk.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        let left = usize::try_from(self.size - self.read).unwrap_or(usize::MAX);
        let block = &mut self.buffer[self.to..self.to + left.min(BLOCK_BYTES)];
        self.file
            .read_exact_at(block, self.read)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    Error::Changed(format!("it had {} bytes, now it has less", self.size))
                }
                _ => error.into(),
            })?;
        self.whole.update(block);
        self.read += block.len() as u64;
        self.to += block.len();
        Ok(())
    }
}
