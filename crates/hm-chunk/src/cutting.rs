//! Where content is cut: after 64 bytes that a keyed hash picks out.
//!
//! Which places are cut depends on the bytes before them alone, so that an insertion moves the cuts
//! around it and no others. There are two limits, as in FastCDC's normalised chunking (Xia et al.,
//! USENIX ATC 2016): below the usual size a cut is rarer, above it more frequent, so that few chunks
//! are very small or very large. Two hashes decide: the [`Sieve`] is cheap and passes one place of
//! 1,024; of those a hash of the whole window picks. Both depend on a key: whoever sees the sizes
//! of chunks and does not have the key cannot tell by them which known file they are of. They are
//! no ciphers: who can have files of their choice cut, and sees the sizes, may find the key.

use blake3::Hasher;

use crate::sieve::{Sieve, SIEVE_BITS, WINDOW_BYTES};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Bytes; only the last chunk of a region is shorter.
pub const CHUNK_BYTES_MIN: usize = 32 * 1024;

/// Bytes; a chunk is on average about this long.
pub const AVERAGE_BYTES: usize = 64 * 1024;

/// Bytes; no chunk is longer.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Bytes; up to here a cut is rare.
pub(crate) const USUAL_BYTES: usize = 52 * 1024;

/// A mark below these ends a chunk: with the sieve, once in 2^18 bytes before `USUAL_BYTES`, once
/// in 2^14 after.
pub(crate) const LIMIT_BEFORE: u64 = 1 << (64 - 18 + SIEVE_BITS);
pub(crate) const LIMIT_AFTER: u64 = 1 << (64 - 14 + SIEVE_BITS);

/// Words of a window.
pub(crate) const WORDS: usize = WINDOW_BYTES / 8;

/// The cuts of one key.
pub struct Cutting {
    sieve: Sieve,
    words: [u64; WORDS],
}

impl Cutting {
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut stream = Hasher::new_derive_key("hypermesh/v1/chunk/cutting")
            .update(key)
            .finalize_xof();
        let sieve = Sieve::new(&mut stream);
        let words = std::array::from_fn(|_| {
            let mut word = [0; 8];
            stream.fill(&mut word);
            u64::from_le_bytes(word)
        });
        Self { sieve, words }
    }

    /// How long the chunk is that `data` begins with. `data` goes on to the end of the region, or
    /// for at least `CHUNK_BYTES_MAX`.
    #[must_use]
    pub fn cut(&self, data: &[u8]) -> usize {
        let end = data.len().min(CHUNK_BYTES_MAX);
        let mut from = CHUNK_BYTES_MIN;
        while let Some(place) = self.sieve.next(data, from, end) {
            let limit = match place {
                ..=USUAL_BYTES => LIMIT_BEFORE,
                _ => LIMIT_AFTER,
            };
            if self.mark(data, place) < limit {
                return place;
            }
            from = place + 1;
        }
        end
    }

    /// The hash of the window before `place`: its words in pairs, each pair keyed, multiplied and
    /// folded.
    fn mark(&self, data: &[u8], place: usize) -> u64 {
        let window = &data[place - WINDOW_BYTES..place];
        let pairs = window.chunks_exact(16).zip(self.words.chunks_exact(2));
        pairs.fold(0, |sum: u64, (bytes, words)| {
            let (low, high) = bytes.split_at(8);
            let product = u128::from(word(low) ^ words[0]) * u128::from(word(high) ^ words[1]);
            sum.wrapping_add(product as u64 ^ (product >> 64) as u64)
        })
    }

    /// Changes one of the numbers that the key gives.
    #[cfg(test)]
    pub(crate) fn alter(&mut self, number: usize) {
        match number {
            0..WORDS => self.words[number] ^= 1 << 40,
            WORDS => self.sieve.offset ^= 1 << 10,
            _ => self.sieve.factors[number - WORDS - 1] ^= 1 << 10,
        }
    }

    /// The numbers that the key gives: of the sieve, and the words of the mark.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn numbers(&self) -> (&Sieve, &[u64; WORDS]) {
        (&self.sieve, &self.words)
    }
}

/// Eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
