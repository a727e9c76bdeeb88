//! Fuzz targets of this crate.

use std::sync::OnceLock;

use hm_fuzz::Target;

use crate::answer::{answer, Outcome, Terms, Via, Zones};
use crate::lookup;
use crate::message::{self, kind, Read, HEADER_BYTES, TCP_BYTES_MAX, UDP_BYTES_MAX};
use crate::name;
use crate::signing::{Signatures, Signer, ED25519};
use crate::zone::{Change, RecordSet, Zone};

pub const TARGETS: &[Target] = &[
    Target {
        name: "dns-query",
        seeds: queries,
        read: read_query,
    },
    Target {
        name: "dns-name",
        seeds: || {
            vec![
                b"\x03www\x01z\x00".to_vec(),
                vec![0],
                b"\x01*\x01z\x00".to_vec(),
            ]
        },
        read: read_name,
    },
    Target {
        name: "dns-response",
        seeds: responses,
        read: read_response,
    },
];

/// An Ed25519 key in PKCS #8 (RFC 8410 section 7) of bytes that everyone knows.
const KEY: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20\
    0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_800_000_000;

fn queries() -> Vec<Vec<u8>> {
    let names: [&[u8]; 5] = [
        b"\x01z\x00",
        b"\x03www\x01z\x00",
        b"\x01q\x03any\x01z\x00",
        b"\x01q\x03sub\x01z\x00",
        b"\x05alias\x01z\x00",
    ];
    let mut seeds = Vec::new();
    for name in names {
        for (kind, opt) in [
            (kind::A, true),
            (kind::ANY, false),
            (kind::NSEC, true),
            (kind::DS, true),
        ] {
            let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(opt)];
            query.extend_from_slice(name);
            query.extend_from_slice(&kind.to_be_bytes());
            query.extend_from_slice(&[0, 1]);
            if opt {
                query.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x0c");
                query.extend_from_slice(b"\x00\x0a\x00\x08mycookie");
            }
            seeds.push(query);
        }
    }
    seeds
}

fn zones() -> &'static (Zones, Signatures) {
    static ZONES: OnceLock<(Zones, Signatures)> = OnceLock::new();
    ZONES.get_or_init(|| {
        let soa = [b"\x01z\x00\x01z\x00".as_slice(), &[0; 18], &[1, 0]].concat();
        let put = |owner: &[u8], kind: u16, data: &[u8]| Change {
            owner: owner.into(),
            kind,
            set: RecordSet::new(kind, 300, vec![data.into()]).ok(),
        };
        let changes = vec![
            put(b"\x01z\x00", kind::SOA, &soa),
            put(b"\x01z\x00", kind::NS, b"\x03www\x01z\x00"),
            put(b"\x03www\x01z\x00", kind::A, &[192, 0, 2, 1]),
            put(b"\x01*\x03any\x01z\x00", kind::A, &[192, 0, 2, 2]),
            put(b"\x05alias\x01z\x00", kind::CNAME, b"\x01q\x03any\x01z\x00"),
            put(b"\x03sub\x01z\x00", kind::NS, b"\x02ns\x03sub\x01z\x00"),
            put(b"\x02ns\x03sub\x01z\x00", kind::A, &[192, 0, 2, 3]),
        ];
        let signer = Signer::new(ED25519, KEY, 86_400).map(std::sync::Arc::new);
        let zones = Zones::default();
        zones.put(
            Zone::new(b"\x01z\x00", signer, changes)
                .into_iter()
                .collect(),
        );
        (zones, Signatures::new(1024))
    })
}

/// A response has the query's id, says that it is one, stays within its bound, and holds what its
/// header counts.
fn read_query(input: &[u8]) {
    let (zones, signatures) = zones();
    for (via, limit) in [(Via::Udp, UDP_BYTES_MAX), (Via::Stream, TCP_BYTES_MAX)] {
        let terms = Terms {
            via,
            now_s: NOW_S,
            elsewhere: &|_| false,
            slip: false,
            cookie: None,
        };
        let mut out = Vec::new();
        match answer(zones, signatures, input, &terms, &mut out) {
            Outcome::Answered(_) => {
                assert!(out.len() <= limit);
                assert_eq!(out[..2], input[..2]);
                assert_eq!(out[2] & 0x80, 0x80);
                counted(&out);
            }
            Outcome::Silent => {
                assert!(out.is_empty());
                assert!(input.len() < HEADER_BYTES || input[2] & 0x80 != 0);
            }
            Outcome::Update => assert_eq!((input[2] >> 3) & 0xf, 5),
            Outcome::Elsewhere => unreachable!("nobody is elsewhere"),
        }
    }
    if let Read::Query(query) = message::read(input) {
        assert!(name::is_canonical(&query.name));
    }
}

/// Reads the records of a response by its counts, to its end.
fn counted(out: &[u8]) {
    let count = |at: usize| usize::from(u16::from_be_bytes([out[at], out[at + 1]]));
    let mut at = HEADER_BYTES;
    let skip = |at: &mut usize| loop {
        let label = usize::from(out[*at]);
        *at += 1;
        match label {
            0 => return,
            192.. => {
                let target = (label & 0x3f) << 8 | usize::from(out[*at]);
                assert!(name::length(&out[target..]).is_some());
                *at += 1;
                return;
            }
            _ => *at += label,
        }
    };
    for _ in 0..count(4) {
        skip(&mut at);
        at += 4;
    }
    for _ in 0..count(6) + count(8) + count(10) {
        skip(&mut at);
        at += 10 + count(at + 8);
    }
    assert_eq!(at, out.len());
}

const ASKED: [u16; 2] = [kind::A, kind::SOA];

fn asked(kind: u16) -> Vec<u8> {
    lookup::query(0x1234, b"\x05alias\x01z\x00", kind)
}

/// What the server answers, and one with an address behind an alias.
fn responses() -> Vec<Vec<u8>> {
    let (zones, signatures) = zones();
    let terms = Terms {
        via: Via::Udp,
        now_s: NOW_S,
        elsewhere: &|_| false,
        slip: false,
        cookie: None,
    };
    let answered = |kind: u16| {
        let mut out = Vec::new();
        answer(zones, signatures, &asked(kind), &terms, &mut out);
        out
    };
    ASKED.into_iter().map(answered).collect()
}

/// What is taken from a response stands in it.
fn read_response(input: &[u8]) {
    for kind in ASKED {
        if let Some(found) = lookup::answer(&asked(kind), input) {
            assert_eq!(input[..2], [0x12, 0x34]);
            assert!(!found.truncated || found.data.is_empty());
            assert!(found.data.is_empty() || found.ttl.is_some());
            for data in &found.data {
                assert!(data.is_empty() || input.windows(data.len()).any(|each| each == data));
            }
        }
    }
}

/// Names above and after a name are names.
fn read_name(input: &[u8]) {
    let Some(length) = name::length(input) else {
        return;
    };
    let name = &input[..length];
    for above in name::ancestors(name) {
        assert_eq!(name::length(above), Some(above.len()));
        assert!(name::is_within(name, above));
    }
    if length > 1 {
        let next = name::successor(name);
        assert_eq!(name::length(&next), Some(next.len()));
        assert_ne!(next, name);
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn no_altered_input_breaks_a_decoder() {
        for target in TARGETS {
            if let Err(failure) = hm_fuzz::exercise(target, 2026, 5_000) {
                panic!("{failure}");
            }
        }
    }

    #[test]
    fn the_seeds_are_answered_and_signed() {
        queries().iter().for_each(|query| read_query(query));
        assert!(zones().1.made() > 0);
    }

    #[test]
    fn the_seeds_of_responses_are_read() {
        for (seed, kind) in responses().iter().zip(ASKED) {
            let Some(found) = lookup::answer(&asked(kind), seed) else {
                panic!("{kind}: not read");
            };
            assert_eq!(
                found.data.len(),
                usize::from(kind == crate::message::kind::A)
            );
        }
    }
}
