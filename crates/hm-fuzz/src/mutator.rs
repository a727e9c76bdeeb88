//! Alterations of valid inputs: those that break decoders, each now and then, several at once.

use crate::INPUT_BYTES_MAX;

/// Bytes at which decoders change their mind.
const EDGES: [u8; 12] = [
    0, 1, 2, 0x10, 0x20, 0x30, 0x7f, 0x80, 0x81, 0xa0, 0xfe, 0xff,
];
const ALTERATIONS_MAX: usize = 6;
const BLOCK_BYTES_MAX: usize = 64;
/// Altered inputs that are altered on, beside the seeds.
const KEPT_MAX: usize = 32;

/// Random numbers that are the same for the same seed (xorshift64*, Vigna 2016).
pub struct Lots(u64);

impl Lots {
    #[must_use]
    pub fn new(seed: u64) -> Lots {
        // The state must not be zero; a multiplication spreads small seeds.
        Lots(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() >> 16) as usize % bound.max(1)
    }
}

/// An endless supply of altered inputs.
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    kept: Vec<Vec<u8>>,
    lots: Lots,
    input: Vec<u8>,
}

impl Mutator {
    #[must_use]
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64) -> Mutator {
        Mutator {
            seeds,
            kept: Vec::new(),
            lots: Lots::new(seed),
            input: Vec::new(),
        }
    }

    /// The next input.
    pub fn draw(&mut self) -> &[u8] {
        self.input.clear();
        let source = self.source();
        self.input.extend(source);
        for _ in 0..=self.lots.below(ALTERATIONS_MAX) {
            self.alter();
        }
        self.input.truncate(INPUT_BYTES_MAX);
        if self.lots.below(8) == 0 {
            let place = self.lots.below(KEPT_MAX);
            match self.kept.get_mut(place) {
                Some(old) => old.clone_from(&self.input),
                None => self.kept.push(self.input.clone()),
            }
        }
        &self.input
    }

    /// Mostly a seed: what was altered often is seldom close to valid.
    fn source(&mut self) -> Vec<u8> {
        let from = if self.lots.below(4) == 0 && !self.kept.is_empty() {
            &self.kept
        } else {
            &self.seeds
        };
        let place = self.lots.below(from.len());
        from.get(place).cloned().unwrap_or_default()
    }

    fn alter(&mut self) {
        let length = self.input.len();
        let at = self.place();
        match self.lots.below(10) {
            0 | 1 => {
                if let Some(byte) = self.input.get_mut(at) {
                    *byte ^= 1 << self.lots.below(8);
                }
            }
            2 => {
                let edge = EDGES[self.lots.below(EDGES.len())];
                if let Some(byte) = self.input.get_mut(at) {
                    *byte = edge;
                }
            }
            3 => self.shift_number(at),
            4 => {
                let fresh = self.lots.draw() as u8;
                self.input.insert(at, fresh);
            }
            5 => {
                let end = (at + self.block()).min(length);
                self.input.drain(at..end);
            }
            6 => {
                let end = (at + self.block()).min(length);
                let block = self.input[at..end].to_vec();
                let target = self.place();
                self.input.splice(target..target, block);
            }
            7 => self.input.truncate(at),
            8 => {
                let end = (at + self.block()).min(length);
                for byte in &mut self.input[at..end] {
                    *byte = self.lots.draw() as u8;
                }
            }
            _ => {
                let other = self.source();
                let from = self.lots.below(other.len());
                self.input.truncate(at);
                self.input.extend(other.into_iter().skip(from));
            }
        }
    }

    /// A position, half of the time near the beginning: headers are there.
    fn place(&mut self) -> usize {
        let length = self.input.len();
        if self.lots.below(2) == 0 {
            self.lots.below(length.min(BLOCK_BYTES_MAX))
        } else {
            self.lots.below(length)
        }
    }

    fn block(&mut self) -> usize {
        1 + self.lots.below(BLOCK_BYTES_MAX)
    }

    /// Adds a little to a big-endian number of two, four or eight bytes, or makes it an extreme.
    fn shift_number(&mut self, at: usize) {
        let width = [2, 4, 8][self.lots.below(3)];
        let change = self.lots.below(33) as i64 - 16;
        let extreme = self.lots.below(4);
        let Some(bytes) = self.input.get_mut(at..at + width) else {
            return;
        };
        let old = bytes
            .iter()
            .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let new = match extreme {
            0 => u64::MAX,
            1 => u64::MAX >> 1,
            _ => old.wrapping_add_signed(change),
        };
        bytes.copy_from_slice(&new.to_be_bytes()[8 - width..]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_another_gives_others() {
        let inputs = |seed| {
            let mut mutator = Mutator::new(vec![b"a valid encoding".to_vec()], seed);
            (0..100)
                .map(|_| mutator.draw().to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn inputs_differ_in_length_and_content_and_are_bounded() {
        let mut mutator = Mutator::new(vec![vec![7; 300], vec![]], 3);
        let mut lengths = std::collections::BTreeSet::new();
        for _ in 0..5_000 {
            let input = mutator.draw();
            assert!(input.len() <= INPUT_BYTES_MAX);
            lengths.insert(input.len());
        }
        assert!(lengths.len() > 100, "{}", lengths.len());
    }
}
