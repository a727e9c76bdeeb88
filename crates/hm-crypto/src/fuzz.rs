//! Fuzz targets of this crate. Keys and valid encodings are the frozen vectors, so that an input
//! means the same on every run.

use std::sync::OnceLock;

use hm_fuzz::Target;

use crate::hybrid::{PublicKeys, SecretKeys, Signature, Statement};
use crate::{ed25519, envelope, falcon, merkle};

pub const TARGETS: &[Target] = &[
    Target {
        name: "hybrid-signature",
        seeds: || {
            vec![[
                fact(HYBRID, "signature_falcon"),
                fact(HYBRID, "signature_ed25519"),
            ]
            .concat()]
        },
        read: read_signature,
    },
    Target {
        name: "hybrid-keys",
        seeds: || vec![public_bytes(), fact(HYBRID, "secret")],
        read: read_keys,
    },
    Target {
        name: "envelope",
        seeds: || {
            vec![
                [fact(ENVELOPE, "kem"), fact(ENVELOPE, "ciphertext")].concat(),
                fact(ENVELOPE, "secret"),
                fact(ENVELOPE, "public"),
            ]
        },
        read: read_envelope,
    },
    Target {
        name: "merkle-path",
        seeds: || (0..LEAVES).map(|index| proof(index).encode()).collect(),
        read: read_merkle_path,
    },
];

const HYBRID: &str = include_str!("../../../vectors/crypto/hybrid.json");
const ENVELOPE: &str = include_str!("../../../vectors/crypto/envelope.json");
const LEAVES: u64 = 11;

/// The bytes called `name` in a vector; empty where there are none.
fn fact(vector: &str, name: &str) -> Vec<u8> {
    let digits = vector
        .split_once(&format!("\"{name}\": \"hex:"))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(digits, _)| digits);
    digits
        .as_bytes()
        .chunks_exact(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// The frozen keys, statement and signature.
struct Signed {
    public: Vec<u8>,
    genesis: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn frozen() -> &'static Signed {
        static FROZEN: OnceLock<Signed> = OnceLock::new();
        FROZEN.get_or_init(|| Signed {
            public: public_bytes(),
            genesis: fact(HYBRID, "genesis"),
            message: fact(HYBRID, "message"),
            signature: [
                fact(HYBRID, "signature_falcon"),
                fact(HYBRID, "signature_ed25519"),
            ]
            .concat(),
        })
    }

    /// Whether the statement holds under these bytes.
    fn holds(&self, public: &[u8], signature: &[u8]) -> bool {
        let (falcon_key, ed25519_key) = split(public, falcon::PUBLIC_BYTES);
        let (falcon_half, ed25519_half) = split(signature, falcon::SIGNATURE_BYTES);
        let keys = PublicKeys {
            falcon: falcon_key,
            ed25519: ed25519_key,
        };
        let statement = Statement {
            domain: "tx",
            genesis: &self.genesis,
            message: &self.message,
        };
        let signature = Signature {
            falcon: falcon_half,
            ed25519: ed25519_half,
        };
        keys.verify(&statement, &signature).is_ok()
    }
}

fn public_bytes() -> Vec<u8> {
    [fact(HYBRID, "falcon"), fact(HYBRID, "ed25519")].concat()
}

fn split(input: &[u8], at: usize) -> (&[u8], &[u8]) {
    input.split_at(at.min(input.len()))
}

/// No other bytes are a signature of the same statement.
fn read_signature(input: &[u8]) {
    let frozen = Signed::frozen();
    assert_eq!(
        frozen.holds(&frozen.public, input),
        input == frozen.signature,
        "an altered signature holds, or the valid one does not"
    );
}

/// No other keys verify it, and secret keys have one encoding.
fn read_keys(input: &[u8]) {
    let frozen = Signed::frozen();
    assert_eq!(
        frozen.holds(input, &frozen.signature),
        input == frozen.public,
        "other keys verify a signature, or the signer's do not"
    );
    let (falcon, ed25519) = split(input, falcon::PUBLIC_BYTES);
    let id = PublicKeys { falcon, ed25519 }.id();
    let has_lengths =
        falcon.len() == falcon::PUBLIC_BYTES && ed25519.len() == ed25519::PUBLIC_BYTES;
    assert_eq!(id.is_ok(), has_lengths);
    if let Ok(keys) = SecretKeys::from_bytes(input) {
        assert_eq!(*keys.to_bytes(), input, "a secret key has two encodings");
    }
}

/// Nothing but the sealed bytes opens, and keys have one encoding.
fn read_envelope(input: &[u8]) {
    static KEY: OnceLock<Option<envelope::SecretKey>> = OnceLock::new();
    let key = KEY.get_or_init(|| envelope::SecretKey::from_bytes(&fact(ENVELOPE, "secret")).ok());
    let sealed = [fact(ENVELOPE, "kem"), fact(ENVELOPE, "ciphertext")].concat();
    let (kem, ciphertext) = split(input, envelope::KEM_BYTES);
    let opened = key
        .as_ref()
        .map(|key| key.open(kem, ciphertext, &fact(ENVELOPE, "associated")));
    let opens = matches!(opened, Some(Ok(_)));
    assert_eq!(
        opens,
        input == sealed,
        "what was altered opens, or the rest does not"
    );
    if let Ok(other) = envelope::SecretKey::from_bytes(input) {
        assert_eq!(other.as_bytes(), input);
    }
    if let Ok(made) = envelope::seal(input, b"text", b"") {
        assert_eq!(made.ciphertext.len(), 4 + envelope::TAG_BYTES);
    }
}

/// A leaf with its way to the root, as `index u64 | count u64 | leaf | path`.
#[derive(PartialEq)]
struct Proof {
    index: u64,
    count: u64,
    leaf: u8,
    path: Vec<[u8; 32]>,
}

impl Proof {
    fn encode(&self) -> Vec<u8> {
        let mut out = [self.index.to_be_bytes(), self.count.to_be_bytes()].concat();
        out.push(self.leaf);
        out.extend(self.path.iter().flatten());
        out
    }
}

fn leaves() -> Vec<[u8; 1]> {
    (0..LEAVES as u8).map(|value| [value]).collect()
}

fn proof(index: u64) -> Proof {
    Proof {
        index,
        count: LEAVES,
        leaf: index as u8,
        path: merkle::path(&leaves(), index as usize).unwrap_or_default(),
    }
}

/// What verifies says of a leaf what is so. (A root does not know its count: whoever checks does.)
fn read_merkle_path(input: &[u8]) {
    let Some((index, rest)) = input.split_first_chunk() else {
        return;
    };
    let Some((count, rest)) = rest.split_first_chunk() else {
        return;
    };
    let (leaf, path) = split(rest, 1);
    let (index, count) = (u64::from_be_bytes(*index), u64::from_be_bytes(*count));
    let path: Vec<&[u8]> = path.chunks(32).collect();
    let root = merkle::root(&leaves());
    let verifies = merkle::verify_path(&root, index, count, leaf, &path);
    let is_so = index < LEAVES && leaf == [index as u8] && path == proof(index).path;
    assert!(
        !verifies || count != LEAVES || is_so,
        "a path proves what is not so"
    );
    assert!(
        verifies || count != LEAVES || !is_so,
        "a true path does not verify"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_altered_input_breaks_a_decoder() {
        for target in TARGETS {
            if let Err(failure) = hm_fuzz::exercise(target, 2026, 2_000) {
                panic!("{failure}");
            }
        }
    }

    #[test]
    fn the_targets_notice_a_verifier_that_believes_everything() {
        let frozen = Signed::frozen();
        assert!(frozen.holds(&frozen.public, &frozen.signature));
        let mut altered = frozen.signature.clone();
        altered[700] ^= 1;
        assert!(!frozen.holds(&frozen.public, &altered));
        // A path for leaf 3 that says it is leaf 2.
        let mut lying = proof(3);
        lying.index = 2;
        assert!(!merkle::verify_path(
            &merkle::root(&leaves()),
            2,
            LEAVES,
            &[3],
            &lying.path
        ));
    }
}
