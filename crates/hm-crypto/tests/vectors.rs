//! Known answers of FIPS 203 through aws-lc, which opens envelopes and agrees on the keys of STOQ.

#![allow(clippy::unwrap_used)] // All of this file is a test.

use aws_lc_rs::kem::{Algorithm, DecapsulationKey, ML_KEM_1024, ML_KEM_768};

const VECTORS: &str = include_str!("../../../vectors/crypto/mlkem.json");

fn field(entry: &str, name: &str) -> Vec<u8> {
    let (_, rest) = entry.split_once(&format!("\"{name}\": \"hex:")).unwrap();
    let (digits, _) = rest.split_once('"').unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn key(entry: &str) -> DecapsulationKey {
    let algorithm: &Algorithm = if entry.contains("\"ML-KEM-768\"") {
        &ML_KEM_768
    } else {
        assert!(entry.contains("\"ML-KEM-1024\""));
        &ML_KEM_1024
    };
    DecapsulationKey::new(algorithm, &field(entry, "secret")).unwrap()
}

fn shared(key: &DecapsulationKey, ciphertext: &[u8]) -> Vec<u8> {
    key.decapsulate(ciphertext.into())
        .unwrap()
        .as_ref()
        .to_vec()
}

fn entries() -> impl Iterator<Item = &'static str> {
    VECTORS
        .split('}')
        .filter(|entry| entry.contains("\"name\""))
}

#[test]
fn ml_kem_gives_the_known_answers() {
    assert_eq!(entries().count(), 6);
    for entry in entries() {
        let key = key(entry);
        for (ciphertext, secret) in [("ciphertext", "shared"), ("altered", "altered_shared")] {
            assert_eq!(
                shared(&key, &field(entry, ciphertext)),
                field(entry, secret)
            );
        }
    }
}

/// An altered ciphertext opens to something, and never to what the sender holds.
#[test]
fn no_byte_of_a_ciphertext_can_be_changed() {
    for entry in entries().step_by(3) {
        let (key, secret) = (key(entry), field(entry, "shared"));
        let mut ciphertext = field(entry, "ciphertext");
        for position in 0..ciphertext.len() {
            ciphertext[position] ^= 1 << (position % 8);
            assert_ne!(shared(&key, &ciphertext), secret, "byte {position}");
            ciphertext[position] ^= 1 << (position % 8);
        }
        assert_eq!(shared(&key, &ciphertext), secret);
    }
}
