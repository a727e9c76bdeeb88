//! Lists of chunks as they travel: for each its length (u32, big-endian) and its digest.

use crate::cutting::CHUNK_BYTES_MAX;
use crate::digest::{Digest, DIGEST_BYTES};
use crate::error::{Error, Result};

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 4 + DIGEST_BYTES;

/// One chunk; where it lies follows from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub length: usize,
    pub digest: Digest,
}

impl Entry {
    pub fn write(&self, out: &mut Vec<u8>) {
        // A chunk has at most `CHUNK_BYTES_MAX` bytes.
        out.extend((self.length as u32).to_be_bytes());
        out.extend(self.digest);
    }

    /// The entries of a list.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it ends within an entry, or a chunk has no bytes or too many.
    pub fn read_all(list: &[u8]) -> Result<Vec<Entry>> {
        if list.len() % ENTRY_BYTES != 0 {
            return Err(Error::Malformed("it ends within an entry"));
        }
        list.chunks_exact(ENTRY_BYTES)
            .map(|bytes| {
                let (length, digest) = bytes.split_at(4);
                let length = length.iter().fold(0, |sum, byte| sum << 8 | *byte as usize);
                if !(1..=CHUNK_BYTES_MAX).contains(&length) {
                    return Err(Error::Malformed("a chunk has no bytes or too many"));
                }
                let digest = Digest::try_from(digest)
                    .map_err(|_| Error::Malformed("it ends within an entry"))?;
                Ok(Entry { length, digest })
            })
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_survives_and_a_broken_one_is_refused() {
        let entries = [1, 2, CHUNK_BYTES_MAX].map(|length| Entry {
            length,
            digest: [length as u8; 32],
        });
        let mut list = Vec::new();
        entries.iter().for_each(|entry| entry.write(&mut list));
        assert_eq!(Entry::read_all(&list).unwrap(), entries);
        assert!(Entry::read_all(&list[1..]).is_err());
        for length in [0, CHUNK_BYTES_MAX + 1, u32::MAX as usize] {
            let mut list = Vec::new();
            let digest = [0; 32];
            Entry { length, digest }.write(&mut list);
            assert!(Entry::read_all(&list).is_err(), "{length}");
        }
    }
}
