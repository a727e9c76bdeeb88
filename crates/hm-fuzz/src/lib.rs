//! Fuzz targets as values, and a mutator that is the same on every run.
//!
//! A [`Target`] reads bytes as a hostile peer might have sent them and panics where the decoder
//! behind it breaks its word. Each crate lists its own in a module `fuzz`; its tests give each some
//! thousands of inputs from a fixed seed ([`exercise`]), and the programs in `fuzz/` give them to
//! libFuzzer. Inputs are valid encodings that were altered: random bytes get past no header.

#![forbid(unsafe_code)]

mod mutator;

use std::panic::{catch_unwind, AssertUnwindSafe};

pub use mutator::{Lots, Mutator};

/// Bytes; the longest input that is made.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// One decoder, or several of one form.
#[derive(Clone, Copy)]
pub struct Target {
    /// `a-z 0-9 -`: also the name of its program and of its folder of inputs.
    pub name: &'static str,
    /// Valid encodings to begin from, at least one.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Returns whatever `input` is. Panics where the decoder breaks its word.
    pub read: fn(input: &[u8]),
}

/// An input under which a target panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub target: &'static str,
    /// Which input of its run it was, from 0.
    pub number: u64,
    pub input: Vec<u8>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "input {} of {} makes it panic: ",
            self.number, self.target
        )?;
        self.input
            .iter()
            .try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl std::error::Error for Failure {}

/// Gives `target` its seeds and then `count` alterations of them, the same for the same `seed`.
///
/// # Errors
/// The first input under which it panics.
pub fn exercise(target: &Target, seed: u64, count: u64) -> Result<(), Failure> {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    for (number, input) in seeds.iter().enumerate() {
        give(target, number as u64, input)?;
    }
    let mut mutator = Mutator::new(seeds, seed);
    (0..count).try_for_each(|number| give(target, number, mutator.draw()))
}

fn give(target: &Target, number: u64, input: &[u8]) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(|| (target.read)(input))).map_err(|_| Failure {
        target: target.name,
        number,
        input: input.to_vec(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    const HARMLESS: Target = Target {
        name: "harmless",
        seeds: || vec![b"HEAD\x00\x00\x00\x05hello".to_vec()],
        read: |_| {},
    };

    /// A decoder with the common mistake: it believes a length.
    const PLANTED: Target = Target {
        name: "planted",
        seeds: HARMLESS.seeds,
        read: |input| {
            let Some((head, rest)) = input.split_at_checked(8) else {
                return;
            };
            if &head[..4] == b"HEAD" {
                let length = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
                let _ = &rest[..length];
            }
        },
    };

    #[test]
    fn a_planted_bug_is_found_and_told_with_its_input() {
        let failure = exercise(&PLANTED, 1, 2_000).unwrap_err();
        assert_eq!(failure.target, "planted");
        assert!(failure.input.starts_with(b"HEAD"));
        assert!(catch_unwind(|| (PLANTED.read)(&failure.input)).is_err());
        assert_eq!(exercise(&PLANTED, 1, 2_000), Err(failure));
        assert!(exercise(&HARMLESS, 1, 2_000).is_ok());
    }

    #[test]
    fn a_seed_that_does_not_read_is_found_too() {
        let broken = Target {
            read: |_| panic!("a planted bug"),
            ..HARMLESS
        };
        assert_eq!(exercise(&broken, 1, 0).unwrap_err().number, 0);
    }
}
