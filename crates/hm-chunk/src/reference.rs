//! The cuts as they are defined, place by place. What is fast is held to this.

use crate::cutting::{
    Cutting, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, LIMIT_AFTER, LIMIT_BEFORE, USUAL_BYTES,
};
use crate::sieve::{Sieve, SIEVE_BITS, TAPS, WINDOW_BYTES};

/// [`Cutting::cut`].
pub fn cut(cutting: &Cutting, data: &[u8]) -> usize {
    let (sieve, words) = cutting.numbers();
    let end = data.len().min(CHUNK_BYTES_MAX);
    (CHUNK_BYTES_MIN..end)
        .find(|place| {
            let window = &data[place - WINDOW_BYTES..*place];
            let limit = if *place <= USUAL_BYTES {
                LIMIT_BEFORE
            } else {
                LIMIT_AFTER
            };
            passes(sieve, window) && mark(words, window) < limit
        })
        .unwrap_or(end)
}

/// [`Sieve::next`].
pub fn next(sieve: &Sieve, data: &[u8], from: usize, to: usize) -> Option<usize> {
    (from..to).find(|place| passes(sieve, &data[place - WINDOW_BYTES..*place]))
}

/// Whether the sum of a window, modulo 2^16, is below its limit.
fn passes(sieve: &Sieve, window: &[u8]) -> bool {
    let mut sum = u64::from(sieve.offset);
    for (factor, tap) in sieve.factors.iter().zip(TAPS) {
        let pair = u64::from(window[tap]) + 256 * u64::from(window[tap + 1]);
        sum += pair * u64::from(*factor);
    }
    sum % (1 << 16) < 1 << (16 - SIEVE_BITS)
}

/// The sum, modulo 2^64, of the folded products of a window's words with the key's.
fn mark(words: &[u64], window: &[u8]) -> u64 {
    let number = |at: usize| {
        let bytes = window[8 * at..8 * at + 8].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let mut sum = 0u128;
    for at in (0..words.len()).step_by(2) {
        let product =
            u128::from(number(at) ^ words[at]) * u128::from(number(at + 1) ^ words[at + 1]);
        sum += (product & u128::from(u64::MAX)) ^ (product >> 64);
    }
    (sum & u128::from(u64::MAX)) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cutting::KEY_BYTES;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    /// Reproducible numbers.
    struct Draw(blake3::OutputReader);

    impl Draw {
        fn new(seed: u64) -> Self {
            Self(
                blake3::Hasher::new()
                    .update(&seed.to_le_bytes())
                    .finalize_xof(),
            )
        }

        fn below(&mut self, bound: usize) -> usize {
            let mut bytes = [0; 8];
            self.0.fill(&mut bytes);
            u64::from_le_bytes(bytes) as usize % bound
        }

        fn noise(&mut self, bytes: usize) -> Vec<u8> {
            let mut out = vec![0; bytes];
            self.0.fill(&mut out);
            out
        }

        /// Content of many kinds: noise, runs, lines that repeat, numbers that are mostly zeros.
        fn content(&mut self, bytes: usize) -> Vec<u8> {
            let mut out = Vec::new();
            while out.len() < bytes {
                let length = 1 + self.below(90_000);
                let some = match self.below(5) {
                    0 => self.noise(length),
                    1 => vec![self.below(256) as u8; length],
                    2 => {
                        let period = 1 + self.below(300);
                        let line = self.noise(period);
                        line.into_iter().cycle().take(length).collect()
                    }
                    3 => {
                        let noise = self.noise(length);
                        let sparse = noise.iter().enumerate();
                        sparse
                            .map(|(at, byte)| byte * u8::from(at % 8 == 3))
                            .collect()
                    }
                    _ => {
                        let noise = self.noise(length);
                        noise
                            .iter()
                            .map(|byte| b"ab \n"[*byte as usize % 4])
                            .collect()
                    }
                };
                out.extend(some);
            }
            out.truncate(bytes);
            out
        }
    }

    /// The lengths of all chunks, each found in what a reader may see of the rest: all of it, or no
    /// less than a chunk.
    fn lengths(data: &[u8], draw: &mut Draw, cut: impl Fn(&[u8]) -> usize) -> Vec<usize> {
        let mut rest = data;
        let mut lengths = Vec::new();
        while !rest.is_empty() {
            let seen = rest.len().min(CHUNK_BYTES_MAX + draw.below(3 << 16));
            let length = cut(&rest[..seen]);
            lengths.push(length);
            rest = &rest[length..];
        }
        lengths
    }

    #[test]
    fn cuts_are_those_of_the_definition_however_the_data_come() {
        let mut within = 0;
        for seed in 0..40 {
            let mut draw = Draw::new(seed);
            let cutting = Cutting::new(&draw.noise(KEY_BYTES).try_into().unwrap());
            let size = draw.below(1 << 21);
            let data = draw.content(size);
            let expected = lengths(&data, &mut draw, |data| cut(&cutting, data));
            for _ in 0..3 {
                let found = lengths(&data, &mut draw, |data| cutting.cut(data));
                assert_eq!(found, expected, "seed {seed}");
            }
            within += expected.iter().filter(|n| **n < CHUNK_BYTES_MAX).count();
        }
        assert!(within > 300, "{within} chunks were ended by content");
    }

    #[test]
    fn the_sieve_is_that_of_the_definition_with_wide_vectors_and_without() {
        for seed in 0..400 {
            let mut draw = Draw::new(1_000 + seed);
            let cutting = Cutting::new(&draw.noise(KEY_BYTES).try_into().unwrap());
            let (sieve, _) = cutting.numbers();
            let size = WINDOW_BYTES + draw.below(4_000);
            let data = draw.content(size);
            let mut from = WINDOW_BYTES + draw.below(size - WINDOW_BYTES + 1);
            let to = from + draw.below(size - from + 1);
            loop {
                let expected = next(sieve, &data, from, to);
                assert_eq!(sieve.next(&data, from, to), expected, "seed {seed}");
                assert_eq!(sieve.next_plain(&data, from, to), expected, "seed {seed}");
                let Some(place) = expected else { break };
                from = place + 1;
            }
        }
    }

    #[test]
    fn another_number_is_another_cut() {
        let data = Draw::new(5).noise(2 << 20);
        let cutting = Cutting::new(&KEY);
        let all = |cutting: &Cutting| lengths(&data, &mut Draw::new(6), |data| cutting.cut(data));
        let expected = all(&cutting);
        assert_eq!(
            expected,
            lengths(&data, &mut Draw::new(7), |data| cut(&cutting, data))
        );
        for number in 0..17 {
            let mut other = Cutting::new(&KEY);
            other.alter(number);
            assert_ne!(all(&other), expected, "{number}");
        }
    }

    /// The cuts are the same on all machines and in all versions: else nothing is shared between
    /// them. To change these is a decision (0012).
    #[test]
    fn cuts_are_known() {
        let data = Draw::new(1).noise(1 << 20);
        let found = lengths(&data, &mut Draw::new(2), |data| {
            Cutting::new(&KEY).cut(data)
        });
        assert_eq!(found, KNOWN);
        assert_eq!(found.iter().sum::<usize>(), data.len());
    }

    const KNOWN: [usize; 17] = [
        60348, 60228, 60208, 75368, 111388, 73122, 53414, 59632, 35660, 84248, 56489, 61250, 43655,
        61398, 33868, 76774, 41526,
    ];
}
