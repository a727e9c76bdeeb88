//! Digests of chunks and of whole files.
//!
//! A chunk's digest is ours (`hypermesh/v1/chunk`). The digest of a whole file is plain BLAKE3, so
//! that any program that knows BLAKE3 can check a proof of delivery against a file.

use std::sync::OnceLock;

use blake3::Hasher;
use hm_crypto::digest::Context;

pub use hm_crypto::digest::{Digest, BYTES as DIGEST_BYTES};

/// Bytes of a file that are hashed at once. BLAKE3 is at its fastest on pieces that are whole
/// subtrees of its tree, which aligned powers of two are.
pub(crate) const BLOCK_BYTES: usize = 1 << 19;

/// The digest of one chunk.
#[must_use]
pub fn chunk_digest(data: &[u8]) -> Digest {
    static CONTEXT: OnceLock<Option<Context>> = OnceLock::new();
    match CONTEXT.get_or_init(|| Context::new("chunk").ok()) {
        Some(context) => context.digest(&[data]),
        None => unreachable!("`chunk` is a name of a digest"),
    }
}

/// BLAKE3 of a file that comes in pieces of any size, in order.
pub struct Whole {
    hasher: Hasher,
    /// Less than a block, not hashed yet.
    staged: Vec<u8>,
}

impl Default for Whole {
    fn default() -> Self {
        Self::new()
    }
}

impl Whole {
    #[must_use]
    pub fn new() -> Self {
        Self {
            hasher: Hasher::new(),
            staged: Vec::new(),
        }
    }

    pub fn update(&mut self, mut data: &[u8]) {
        if !self.staged.is_empty() {
            let (front, rest) = data.split_at(data.len().min(BLOCK_BYTES - self.staged.len()));
            self.staged.extend_from_slice(front);
            data = rest;
            if self.staged.len() < BLOCK_BYTES {
                return;
            }
            self.hasher.update(&self.staged);
            self.staged.clear();
        }
        let (blocks, rest) = data.split_at(data.len() - data.len() % BLOCK_BYTES);
        self.hasher.update(blocks);
        if !rest.is_empty() {
            self.staged.reserve_exact(BLOCK_BYTES - self.staged.len());
            self.staged.extend_from_slice(rest);
        }
    }

    /// The digest of what has come so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.staged);
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_is_plain_blake3_however_it_comes() {
        let data: Vec<u8> = (0..3 * BLOCK_BYTES + 77).map(|i| (i % 251) as u8).collect();
        for piece in [1000, 65_537, BLOCK_BYTES, 2 * BLOCK_BYTES + 1, data.len()] {
            let mut whole = Whole::new();
            data.chunks(piece).for_each(|piece| whole.update(piece));
            assert_eq!(&whole.digest(), blake3::hash(&data).as_bytes(), "{piece}");
        }
        assert_eq!(&Whole::new().digest(), blake3::hash(b"").as_bytes());
    }

    #[test]
    fn a_chunk_has_a_digest_of_its_own_kind() {
        let expected = blake3::derive_key("hypermesh/v1/chunk", b"abc");
        assert_eq!(chunk_digest(b"abc"), expected);
    }
}
