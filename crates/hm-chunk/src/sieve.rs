//! Places that may be cuts: a sum over 16 of the 64 bytes before a place, below a limit.
//!
//! The sum is made of many places at once, which is what makes it fast: two bytes are one lane of
//! a vector, so every other place lies in one vector, and those between in that which begins a byte
//! later. The pairs of bytes lie apart, and on every remainder by 16, so that neither a line that
//! text repeats nor an array whose numbers are mostly zeros leaves the sum without what varies.
//!
//! The loops are plain. The compiler makes vectors of them as wide as it may: once of those that
//! every machine of this kind has, and on x86-64 once more of AVX2, taken where the machine has it.

use blake3::OutputReader;

/// Bytes that a cut depends on.
pub const WINDOW_BYTES: usize = 64;

/// One place in 2 to the power of this passes.
pub const SIEVE_BITS: u32 = 10;

const LIMIT: u16 = 1 << (16 - SIEVE_BITS);

/// Where in the window the pairs of bytes lie.
pub(crate) const TAPS: [usize; 8] = [0, 8, 18, 26, 36, 44, 54, 62];

/// Places whose sums are one vector, and the places of it and of that between.
const LANES: usize = 16;
const GROUP: usize = 2 * LANES;

/// Places that are looked at before the first branch.
const BLOCK: usize = 128;

/// Bytes of the windows of a group, and of a block.
const GROUP_BYTES: usize = GROUP + WINDOW_BYTES;
const BLOCK_BYTES: usize = BLOCK + WINDOW_BYTES;

/// The sum of one key.
pub struct Sieve {
    /// Odd, so that a product has all of what a pair has.
    pub(crate) factors: [u16; TAPS.len()],
    pub(crate) offset: u16,
}

impl Sieve {
    /// One whose numbers come from `stream`.
    pub fn new(stream: &mut OutputReader) -> Self {
        let mut number = || {
            let mut bytes = [0; 2];
            stream.fill(&mut bytes);
            u16::from_le_bytes(bytes)
        };
        Self {
            factors: std::array::from_fn(|_| number() | 1),
            offset: number(),
        }
    }

    /// The first place in `from..to` that passes. At least a window of `data` is before `from`, and
    /// all of `data` before `to`.
    pub fn next(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has what the function asks for.
            return unsafe { self.next_avx2(data, from, to) };
        }
        self.next_plain(data, from, to)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn next_avx2(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        self.search(data, from, to)
    }

    /// [`Sieve::next`] by what every machine has.
    pub(crate) fn next_plain(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        self.search(data, from, to)
    }

    #[inline(always)]
    fn search(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        let mut at = from;
        while at < to {
            let ahead = &data[at - WINDOW_BYTES..];
            let Some(block) = ahead.first_chunk::<BLOCK_BYTES>() else {
                break;
            };
            if self.is_any_below(block) {
                for first in (0..BLOCK).step_by(GROUP) {
                    if let Some(past) = self.first_below(&block[first..]) {
                        return Some(at + first + past).filter(|place| *place < to);
                    }
                }
            }
            at += BLOCK;
        }
        (at..to).find(|place| self.is_below(&data[place - WINDOW_BYTES..*place]))
    }

    #[inline(always)]
    fn is_any_below(&self, block: &[u8; BLOCK_BYTES]) -> bool {
        let mut lowest = [u16::MAX; LANES];
        for first in (0..BLOCK).step_by(GROUP) {
            for odd in 0..2 {
                let sums = self.sums(&block[first..], odd);
                for (lowest, sum) in lowest.iter_mut().zip(sums) {
                    *lowest = sum.min(*lowest);
                }
            }
        }
        least(&lowest) < LIMIT
    }

    /// Which of a group's places is the first that passes.
    #[inline(always)]
    fn first_below(&self, group: &[u8]) -> Option<usize> {
        let (even, odd) = (self.sums(group, 0), self.sums(group, 1));
        if least(&even).min(least(&odd)) >= LIMIT {
            return None;
        }
        (0..GROUP).find(|place| [&even, &odd][place % 2][place / 2] < LIMIT)
    }

    /// The sums of every other place of a group, from the first or the second on.
    #[inline(always)]
    fn sums(&self, group: &[u8], odd: usize) -> [u16; LANES] {
        let mut sums = [self.offset; LANES];
        let Some(group) = group.first_chunk::<GROUP_BYTES>() else {
            unreachable!("a group is {GROUP_BYTES} bytes of a block")
        };
        for (factor, tap) in self.factors.iter().zip(TAPS) {
            let pairs = group[tap + odd..].chunks_exact(2);
            for (sum, pair) in sums.iter_mut().zip(pairs) {
                let pair = u16::from_le_bytes([pair[0], pair[1]]);
                *sum = sum.wrapping_add(pair.wrapping_mul(*factor));
            }
        }
        sums
    }

    fn is_below(&self, window: &[u8]) -> bool {
        let sum = self
            .factors
            .iter()
            .zip(TAPS)
            .fold(self.offset, |sum, (factor, tap)| {
                let pair = u16::from_le_bytes([window[tap], window[tap + 1]]);
                sum.wrapping_add(pair.wrapping_mul(*factor))
            });
        sum < LIMIT
    }
}

#[inline(always)]
fn least(sums: &[u16; LANES]) -> u16 {
    sums.iter().fold(u16::MAX, |least, sum| least.min(*sum))
}
