//! DNSSEC as it is asked for: signatures made when they are first given (RFC 4034 section 3), kept
//! in a bounded cache, and made anew long before they end.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, ECDSA_P256_SHA256_FIXED_SIGNING,
};
use hm_crypto::falcon512;
use parking_lot::Mutex;

use crate::message::{kind, CLASS_IN};
use crate::name;
use crate::zone::RecordSet;

/// Seconds; a signature begins this long before it is made, for clocks that are behind.
const SKEW_S: u32 = 3600;
/// Of a signature's life, the last quarter is not used; and up to an eighth is taken away by the
/// name, so that the signatures of a zone do not all end at once.
const UNUSED_SHARE: u32 = 4;
const JITTER_SHARE: u32 = 8;
const SHARDS: usize = 16;

/// DNSSEC algorithms by number (IANA).
pub const ECDSA_P256_SHA256: u8 = 13;
pub const ED25519: u8 = 15;
/// A private algorithm, which a name before the key and before each signature tells from others
/// (RFC 4034 appendix A.1.1).
pub const PRIVATE_DNS: u8 = 253;

/// `falcon-512.hm.internal`, by which FALCON-512 is told; in wire form.
pub const FALCON_512: &[u8] = b"\x0afalcon-512\x02hm\x08internal\x00";

enum Key {
    Falcon512(Box<falcon512::SecretKey>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key that signs all of a zone, its DNSKEY too (a CSK).
pub struct Signer {
    /// Another for every signer: signatures are found again by it.
    id: u64,
    key: Key,
    algorithm: u8,
    tag: u16,
    validity_s: u32,
    public: Vec<u8>,
}

impl Signer {
    /// `secret`: the secret key, PKCS #8 in DER; of FALCON-512, which `PRIVATE_DNS` stands for, in
    /// its own encoding. `None` where it is not one of `algorithm`.
    pub fn new(algorithm: u8, secret: &[u8], validity_s: u32) -> Option<Signer> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (key, public) = match algorithm {
            ECDSA_P256_SHA256 => {
                let key =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret).ok()?;
                // Both coordinates, without the octet that says so (RFC 6605 section 4).
                let public = key.public_key().as_ref().get(1..)?.to_vec();
                (Key::P256(key), public)
            }
            ED25519 => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(secret).ok()?;
                let public = key.public_key().as_ref().to_vec();
                (Key::Ed25519(key), public)
            }
            PRIVATE_DNS => {
                let key = falcon512::SecretKey::from_bytes(secret).ok()?;
                let public = [FALCON_512, key.public()].concat();
                (Key::Falcon512(Box::new(key)), public)
            }
            _ => return None,
        };
        let mut signer = Signer {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            key,
            algorithm,
            tag: 0,
            validity_s,
            public,
        };
        signer.tag = key_tag(&signer.dnskey());
        Some(signer)
    }

    /// The data of its DNSKEY: a zone key and entry point (RFC 4034 section 2.1).
    pub fn dnskey(&self) -> Vec<u8> {
        let mut data = vec![1, 1, 3, self.algorithm];
        data.extend_from_slice(&self.public);
        data
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.key {
            Key::P256(key) => {
                let signature = key.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Key::Ed25519(key) => Some(key.sign(message).as_ref().to_vec()),
            Key::Falcon512(key) => Some([FALCON_512, &key.sign(message).ok()?].concat()),
        }
    }

    /// The data of an RRSIG over `data` at `owner`, for the zone `apex`.
    fn signed(
        &self,
        apex: &[u8],
        owner: &[u8],
        set: &Signed<'_>,
        from: u32,
        to: u32,
    ) -> Option<Vec<u8>> {
        let labels = name::labels(owner) - usize::from(name::is_wildcard(owner));
        let mut rrsig = Vec::with_capacity(18 + apex.len() + 64);
        rrsig.extend_from_slice(&set.kind.to_be_bytes());
        rrsig.extend_from_slice(&[self.algorithm, labels as u8]);
        rrsig.extend_from_slice(&set.ttl.to_be_bytes());
        rrsig.extend_from_slice(&to.to_be_bytes());
        rrsig.extend_from_slice(&from.to_be_bytes());
        rrsig.extend_from_slice(&self.tag.to_be_bytes());
        rrsig.extend_from_slice(apex);
        let mut message = rrsig.clone();
        for data in set.data {
            message.extend_from_slice(owner);
            message.extend_from_slice(&set.kind.to_be_bytes());
            message.extend_from_slice(&CLASS_IN.to_be_bytes());
            message.extend_from_slice(&set.ttl.to_be_bytes());
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        rrsig.extend_from_slice(&self.sign(&message)?);
        Some(rrsig)
    }
}

/// RFC 4034 appendix B.
fn key_tag(dnskey: &[u8]) -> u16 {
    let sum: u32 = dnskey
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(*byte) << (8 * (1 - at % 2)))
        .sum();
    (sum + (sum >> 16)) as u16
}

struct Signed<'a> {
    kind: u16,
    ttl: u32,
    data: &'a [Box<[u8]>],
}

/// An RRSIG's data, and when it may be used, in seconds since 1970.
struct Signature {
    data: Vec<u8>,
    from_s: u64,
    until_s: u64,
}

/// Signatures that were made; at most about the number asked for.
pub struct Signatures {
    shards: [Mutex<Generations>; SHARDS],
    generation_max: usize,
    hasher: RandomState,
    made: AtomicU64,
}

/// What was used since the last turn, and what was used before it. At a turn the older ones go.
#[derive(Default)]
struct Generations {
    young: HashMap<Box<[u8]>, Arc<Signature>>,
    old: HashMap<Box<[u8]>, Arc<Signature>>,
}

impl Generations {
    fn get(&mut self, key: &[u8], generation_max: usize) -> Option<Arc<Signature>> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, found) = self.old.remove_entry(key)?;
        self.put(key, found.clone(), generation_max);
        Some(found)
    }

    fn put(&mut self, key: Box<[u8]>, signature: Arc<Signature>, generation_max: usize) {
        if self.young.len() >= generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, signature);
    }
}

impl Signatures {
    pub fn new(count_max: usize) -> Signatures {
        Signatures {
            shards: std::array::from_fn(|_| Mutex::default()),
            generation_max: (count_max / SHARDS / 2).max(1),
            hasher: RandomState::new(),
            made: AtomicU64::new(0),
        }
    }

    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    pub fn held(&self) -> usize {
        let count = |shard: &Mutex<Generations>| {
            let shard = shard.lock();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(count).sum()
    }

    /// Gives `write` the RRSIG over `set` at `owner`, a name that may have been made from a
    /// wildcard. False where the key does not sign.
    pub fn over_set(
        &self,
        signer: &Signer,
        apex: &[u8],
        owner: &[u8],
        set: &RecordSet,
        now_s: u64,
        write: impl FnOnce(&[u8]),
    ) -> bool {
        let mut key = Vec::with_capacity(16 + apex.len() + owner.len());
        key.extend_from_slice(&signer.id.to_be_bytes());
        key.extend_from_slice(&set.id.to_be_bytes());
        key.extend_from_slice(owner);
        let signed = Signed {
            kind: set.kind,
            ttl: set.ttl,
            data: &set.data,
        };
        self.over(signer, apex, owner, &signed, &key, now_s, write)
    }

    /// The same for an NSEC that is in no zone.
    #[allow(clippy::too_many_arguments)]
    pub fn over_denial(
        &self,
        signer: &Signer,
        apex: &[u8],
        owner: &[u8],
        ttl: u32,
        data: &[u8],
        now_s: u64,
        write: impl FnOnce(&[u8]),
    ) -> bool {
        let mut key = Vec::with_capacity(16 + apex.len() + owner.len() + data.len());
        key.extend_from_slice(&signer.id.to_be_bytes());
        // No set has the number 0.
        key.extend_from_slice(&[0; 8]);
        key.extend_from_slice(&ttl.to_be_bytes());
        key.push(apex.len() as u8);
        key.extend_from_slice(owner);
        key.extend_from_slice(data);
        let data = [data.into()];
        let signed = Signed {
            kind: kind::NSEC,
            ttl,
            data: &data,
        };
        self.over(signer, apex, owner, &signed, &key, now_s, write)
    }

    #[allow(clippy::too_many_arguments)]
    fn over(
        &self,
        signer: &Signer,
        apex: &[u8],
        owner: &[u8],
        set: &Signed<'_>,
        key: &[u8],
        now_s: u64,
        write: impl FnOnce(&[u8]),
    ) -> bool {
        let hash = self.hasher.hash_one(key);
        let shard = &self.shards[hash as usize % SHARDS];
        let held = shard.lock().get(key, self.generation_max);
        if let Some(held) = held {
            if (held.from_s..held.until_s).contains(&now_s) {
                write(&held.data);
                return true;
            }
        }
        let validity_s =
            signer.validity_s - (hash >> 32) as u32 % (signer.validity_s / JITTER_SHARE).max(1);
        // Serial arithmetic of 32 bits (RFC 4034 section 3.1.5).
        let now = now_s as u32;
        let (from, to) = (now.wrapping_sub(SKEW_S), now.wrapping_add(validity_s));
        let Some(data) = signer.signed(apex, owner, set, from, to) else {
            return false;
        };
        self.made.fetch_add(1, Ordering::Relaxed);
        write(&data);
        let signature = Signature {
            data,
            from_s: now_s.saturating_sub(u64::from(SKEW_S)),
            until_s: now_s + u64::from(validity_s - validity_s / UNUSED_SHARE),
        };
        shard
            .lock()
            .put(key.into(), Arc::new(signature), self.generation_max);
        true
    }
}

/// The data of an NSEC at `owner` that says which of `kinds`, in rising order, are there and that
/// no name follows at once (RFC 4034 section 4.1, RFC 9824 section 3).
pub fn denial(owner: &[u8], kinds: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut data = name::successor(owner);
    let mut window: Option<(u8, [u8; 32], usize)> = None;
    let mut close = |window: Option<(u8, [u8; 32], usize)>| {
        if let Some((number, bits, length)) = window {
            data.extend_from_slice(&[number, length as u8]);
            data.extend_from_slice(&bits[..length]);
        }
    };
    for kind in kinds {
        let [number, low] = kind.to_be_bytes();
        if window.is_none_or(|(open, ..)| open != number) {
            close(window.replace((number, [0; 32], 0)));
        }
        if let Some((_, bits, length)) = &mut window {
            let at = usize::from(low / 8);
            bits[at] |= 0x80 >> (low % 8);
            *length = (*length).max(at + 1);
        }
    }
    close(window);
    data
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::signature::{
        UnparsedPublicKey, ECDSA_P256_SHA256_FIXED, ED25519 as VERIFY_ED25519,
    };

    use super::*;

    fn signers() -> [Signer; 2] {
        let random = SystemRandom::new();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        [
            Signer::new(ECDSA_P256_SHA256, p256.as_ref(), 80_000).unwrap(),
            Signer::new(super::ED25519, ed25519.as_ref(), 80_000).unwrap(),
        ]
    }

    const APEX: &[u8] = b"\x01z\x00";
    const NAME: &[u8] = b"\x01a\x01z\x00";

    fn rrsig(cache: &Signatures, signer: &Signer, set: &RecordSet, now_s: u64) -> Vec<u8> {
        let mut found = Vec::new();
        assert!(cache.over_set(signer, APEX, NAME, set, now_s, |data| found = data.to_vec()));
        found
    }

    #[test]
    fn what_is_signed_verifies_under_the_public_key_and_not_altered() {
        let set = RecordSet::new(kind::A, 60, vec![vec![1, 2, 3, 4].into()]).unwrap();
        for signer in signers() {
            let rrsig = rrsig(&Signatures::new(100), &signer, &set, 1_800_000_000);
            let head = 18 + APEX.len();
            let mut message = rrsig[..head].to_vec();
            message.extend_from_slice(NAME);
            message.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]);
            let verify = |message: &[u8]| match signer.algorithm {
                ECDSA_P256_SHA256 => {
                    let key = [&[4], signer.public.as_slice()].concat();
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
                        .verify(message, &rrsig[head..])
                }
                _ => UnparsedPublicKey::new(&VERIFY_ED25519, &signer.public)
                    .verify(message, &rrsig[head..]),
            };
            assert!(verify(&message).is_ok());
            *message.last_mut().unwrap() ^= 1;
            assert!(verify(&message).is_err());
        }
    }

    #[test]
    fn a_signature_is_made_once_and_again_before_it_ends_or_has_begun() {
        let set = RecordSet::new(kind::A, 60, vec![vec![1, 2, 3, 4].into()]).unwrap();
        let (cache, [signer, _]) = (Signatures::new(100), signers());
        let now = 1_800_000_000;
        let first = rrsig(&cache, &signer, &set, now);
        assert_eq!(rrsig(&cache, &signer, &set, now + 50_000), first);
        assert_eq!(cache.made(), 1);
        let to = u32::from_be_bytes(first[8..12].try_into().unwrap());
        assert!((70_000..=80_000).contains(&(u64::from(to) - now)));
        assert_ne!(rrsig(&cache, &signer, &set, now + 60_001), first);
        assert_ne!(rrsig(&cache, &signer, &set, now - 10_000), first);
        assert_eq!(cache.made(), 3);
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let (cache, [_, signer]) = (Signatures::new(320), signers());
        let used = RecordSet::new(kind::A, 60, vec![vec![1, 2, 3, 4].into()]).unwrap();
        for number in 0..2_000_u32 {
            let data = vec![number.to_be_bytes().to_vec().into()];
            let set = RecordSet::new(kind::A, 60, data).unwrap();
            rrsig(&cache, &signer, &set, 1_800_000_000);
            rrsig(&cache, &signer, &used, 1_800_000_000);
        }
        assert!(cache.held() <= 320);
        assert_eq!(cache.made(), 2_001);
    }

    #[test]
    fn the_map_of_types_is_that_of_the_standard() {
        // RFC 4034 section 4.3, with the next name of this module.
        let kinds = [1, 15, 46, 47, 1234];
        let mut wanted = b"\x01\x00\x01a\x01z\x00\x00\x06\x40\x01\x00\x00\x00\x03\x04\x1b".to_vec();
        wanted.extend([0; 26]);
        wanted.push(0x20);
        assert_eq!(denial(NAME, kinds.into_iter()), wanted);
    }

    #[test]
    fn the_tag_of_a_key_is_that_of_the_standard() {
        // RFC 8080 section 6.1.
        let key = b"\x97\x4d\x96\xa2\x2d\x22\x4b\xc0\x1a\xdb\x91\x50\x91\x47\x7d\x44\xcc\xd9\x1c\x9a\x41\xa1\x14\x30\x01\x01\x17\xd5\x2c\x59\x24\x0e";
        let dnskey = [&[1, 1, 3, 15], key.as_slice()].concat();
        assert_eq!(key_tag(&dnskey), 3613);
    }
}
