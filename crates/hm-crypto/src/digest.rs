//! BLAKE3 in `derive_key` mode: every use has its own context, so digests made for one purpose
//! never equal digests made for another.

use blake3::hazmat::{hash_derive_key_context, ContextKey, HasherExt};
use blake3::Hasher;

use crate::Error;

/// Bytes of a digest.
pub const BYTES: usize = 32;

/// A digest.
pub type Digest = [u8; BYTES];

/// What every context begins with; the `v1` changes when the meaning of any digest does.
const PREFIX: &str = "hypermesh/v1/";

/// Characters of a context's name.
const NAME_MAX: usize = 64;

/// One purpose of digests. Making it hashes the name once; it can then be used many times.
#[derive(Clone, Copy)]
pub struct Context {
    key: ContextKey,
}

impl Context {
    /// The context `hypermesh/v1/<name>`.
    ///
    /// # Errors
    /// [`Error::Input`] unless `name` is 1 to 64 of `a-z 0-9 - _ . /`: contexts are constants of
    /// a program, and a strict alphabet keeps data from becoming one.
    pub fn new(name: &str) -> Result<Self, Error> {
        let valid = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_./".contains(&byte)
        };
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(valid) {
            return Err(Error::Input(format!(
                "a digest's name is 1 to {NAME_MAX} of a-z 0-9 - _ . /"
            )));
        }
        Ok(Self::constant(name))
    }

    /// [`Context::new`] for the names that stand in this crate.
    pub(crate) fn constant(name: &str) -> Self {
        Self {
            key: hash_derive_key_context(&format!("{PREFIX}{name}")),
        }
    }

    /// 32 bytes over the concatenation of `parts`.
    #[must_use]
    pub fn digest(&self, parts: &[&[u8]]) -> Digest {
        *self.hasher(parts).finalize().as_bytes()
    }

    /// `output` filled over the concatenation of `parts`; the first 32 bytes equal the digest.
    pub(crate) fn derive(&self, parts: &[&[u8]], output: &mut [u8]) {
        self.hasher(parts).finalize_xof().fill(output);
    }

    fn hasher(&self, parts: &[&[u8]]) -> Hasher {
        let mut hasher = Hasher::new_from_context_key(&self.key);
        for part in parts {
            hasher.update(part);
        }
        hasher
    }
}

/// 32 bytes of BLAKE3 `derive_key` with context `hypermesh/v1/<name>` over `data`.
///
/// # Errors
/// See [`Context::new`].
pub fn digest(name: &str, data: &[u8]) -> Result<Digest, Error> {
    Ok(Context::new(name)?.digest(&[data]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_published_key_derivation() {
        let expected = blake3::derive_key("hypermesh/v1/tx", b"abc");
        assert_eq!(digest("tx", b"abc").unwrap(), expected);
        let mut longer = [0u8; 44];
        Context::constant("tx").derive(&[b"a", b"bc"], &mut longer);
        assert_eq!(longer[..32], expected);
    }

    #[test]
    fn refuses_names_that_could_be_data() {
        for name in ["", "Tx", "a b", "ü", &"a".repeat(65)] {
            assert!(matches!(digest(name, b""), Err(Error::Input(_))), "{name}");
        }
    }
}
