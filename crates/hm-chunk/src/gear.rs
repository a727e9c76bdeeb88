//! Where content is cut: a rolling hash over the last 64 bytes, below a limit.
//!
//! A Gear hash (Xia et al., "Ddelta", 2014) with the two limits of FastCDC's normalised chunking
//! (Xia et al., USENIX ATC 2016): below the usual size a cut is rarer, above it more frequent, so
//! that few chunks are very small or very large. The table comes from a key: whoever sees the sizes
//! of chunks and does not have the key cannot tell by them which known file they are of.

use blake3::Hasher;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Bytes; only the last chunk of a region is shorter.
pub const CHUNK_BYTES_MIN: usize = 32 * 1024;

/// Bytes; a chunk is on average about this long.
pub const AVERAGE_BYTES: usize = 64 * 1024;

/// Bytes; no chunk is longer.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Bytes that the hash depends on: one bit of each entry leaves it with every byte.
const WINDOW_BYTES: usize = 64;

/// Bytes; up to here a cut is rare.
const USUAL_BYTES: usize = 52 * 1024;

/// A hash below these ends a chunk: once in 2^18 bytes before `USUAL_BYTES`, once in 2^14 after.
const LIMIT_BEFORE: u64 = 1 << (64 - 18);
const LIMIT_AFTER: u64 = 1 << (64 - 14);

/// Places of the data that are rolled over side by side, and the bytes of each.
const LANES: usize = 6;
const LANE_BYTES: usize = 512;

/// The table of one key.
pub struct Gear {
    table: Box<[u64; 256]>,
}

impl Gear {
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut reader = Hasher::new_derive_key("hypermesh/v1/chunk/gear")
            .update(key)
            .finalize_xof();
        let mut table = Box::new([0; 256]);
        for entry in table.iter_mut() {
            let mut bytes = [0; 8];
            reader.fill(&mut bytes);
            *entry = u64::from_le_bytes(bytes);
        }
        Self { table }
    }

    /// How long the chunk is that `data` begins with. `data` goes on to the end of the region, or
    /// for at least `CHUNK_BYTES_MAX`.
    #[must_use]
    pub fn cut(&self, data: &[u8]) -> usize {
        let end = data.len().min(CHUNK_BYTES_MAX);
        if end <= CHUNK_BYTES_MIN {
            return end;
        }
        let usual = end.min(USUAL_BYTES);
        self.found(data, CHUNK_BYTES_MIN, usual, LIMIT_BEFORE)
            .or_else(|| self.found(data, usual, end, LIMIT_AFTER))
            .unwrap_or(end)
    }

    /// The first place in `from..to` after a byte at which the hash is below `limit`.
    fn found(&self, data: &[u8], from: usize, to: usize, limit: u64) -> Option<usize> {
        let mut at = from;
        while to - at >= LANES * LANE_BYTES {
            if self.is_any_below(&data[at - WINDOW_BYTES..at + LANES * LANE_BYTES], limit) {
                break;
            }
            at += LANES * LANE_BYTES;
        }
        let mut hash = self.before(data, at);
        for (past, byte) in data[at..to].iter().enumerate() {
            hash = self.rolled(hash, *byte);
            if hash < limit {
                return Some(at + past + 1);
            }
        }
        None
    }

    /// Whether the hash is below `limit` after any byte of `data` past its first window. The hash
    /// is one long chain of dependent steps; it knows 64 bytes only, so several places of the data
    /// can be rolled over side by side, which is what makes this fast.
    fn is_any_below(&self, data: &[u8], limit: u64) -> bool {
        let mut hashes = [0; LANES];
        for (lane, hash) in hashes.iter_mut().enumerate() {
            *hash = self.before(data, WINDOW_BYTES + lane * LANE_BYTES);
        }
        let mut lanes = [&[0; LANE_BYTES]; LANES];
        for (lane, part) in lanes
            .iter_mut()
            .zip(data[WINDOW_BYTES..].chunks_exact(LANE_BYTES))
        {
            // Of that length, so that the loop below checks no bounds.
            if let Ok(part) = part.try_into() {
                *lane = part;
            }
        }
        let mut lowest = u64::MAX;
        for at in 0..LANE_BYTES {
            for (hash, lane) in hashes.iter_mut().zip(lanes) {
                *hash = self.rolled(*hash, lane[at]);
                lowest = lowest.min(*hash);
            }
        }
        lowest < limit
    }

    /// The hash after the window that ends at `at`.
    fn before(&self, data: &[u8], at: usize) -> u64 {
        let window = &data[at - WINDOW_BYTES..at];
        window.iter().fold(0, |hash, byte| self.rolled(hash, *byte))
    }

    #[inline(always)]
    fn rolled(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.table[byte as usize])
    }
}
