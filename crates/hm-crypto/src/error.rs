use std::fmt;

use thiserror::Error;

/// What this crate refuses. Nothing here carries a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A value from outside has the wrong length or form.
    #[error("{0}")]
    Input(String),
    /// A hybrid signature does not hold.
    #[error("the {0} does not verify")]
    Signature(Halves),
    /// Wrong key, wrong associated data, or altered bytes: an AEAD cannot say which.
    #[error("the envelope does not open under this key and associated data")]
    Envelope,
    /// The operating system gave no random bytes, or a primitive failed inside the library.
    #[error("{0}")]
    Backend(&'static str),
}

/// Which halves of a hybrid signature failed; at least one is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halves {
    pub falcon: bool,
    pub ed25519: bool,
}

impl fmt::Display for Halves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.falcon, self.ed25519) {
            (true, true) => "FALCON-1024 half and the Ed25519 half",
            (true, false) => "FALCON-1024 half",
            _ => "Ed25519 half",
        })
    }
}
