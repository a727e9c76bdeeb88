//! Fuzz targets of this crate, over the frozen certificates of `vectors/x509`.

use std::sync::OnceLock;

use hm_fuzz::Target;
use x509_parser::extensions::GeneralName;

use crate::names::{hex, Names};
use crate::{
    check_chain, check_node, check_pinned_root, der, presigned, read_keys, Known, TrustPolicy,
};

pub const TARGETS: &[Target] = &[
    Target {
        name: "certificate",
        seeds: || certificates().map(<[u8]>::to_vec).to_vec(),
        read: read_certificate,
    },
    Target {
        name: "certificate-chain",
        seeds: || {
            vec![
                joined(&[NODE, ISSUING]),
                joined(&[NODE, ISSUING, ROOT]),
                joined(&[SESSION]),
            ]
        },
        read: read_chain,
    },
    Target {
        name: "certificate-names",
        seeds: || vec![NAMES.join("\n").into_bytes()],
        read: read_names,
    },
    Target {
        name: "certificate-presigned",
        seeds: || {
            certificates()
                .into_iter()
                .filter_map(signed_part)
                .map(<[u8]>::to_vec)
                .collect()
        },
        read: read_presigned,
    },
];

const ROOT: &[u8] = include_bytes!("../../../vectors/x509/root.der");
const ISSUING: &[u8] = include_bytes!("../../../vectors/x509/issuing.der");
const NODE: &[u8] = include_bytes!("../../../vectors/x509/node.der");
const SESSION: &[u8] = include_bytes!("../../../vectors/x509/session.der");
/// Within the dates of all of them.
const NOW: i64 = 1_800_000_000;

const NAMES: [&str; 4] = [
    "hm:node:0101010101010101010101010101010101010101010101010101010101010101",
    "hm:owner:0202020202020202020202020202020202020202020202020202020202020202",
    "hm:network:0303030303030303030303030303030303030303030303030303030303030303",
    "0101010101010101.0303030303.hm.internal",
];

fn certificates() -> [&'static [u8]; 4] {
    [NODE, SESSION, ISSUING, ROOT]
}

fn policy() -> TrustPolicy {
    TrustPolicy {
        network: std::array::from_fn(|place| place as u8),
        roots: vec![ROOT.to_vec()],
        issuers: vec![ISSUING.to_vec()],
        ..TrustPolicy::default()
    }
}

/// The TBSCertificate of a certificate.
fn signed_part(certificate: &[u8]) -> Option<&[u8]> {
    Some(der::split(der::only(certificate)?.content)?.0.whole)
}

/// Certificates with their lengths before them, as `length u16 | DER ...`.
fn joined(chain: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for certificate in chain {
        out.extend((certificate.len() as u16).to_be_bytes());
        out.extend_from_slice(certificate);
    }
    out
}

fn parted(mut input: &[u8]) -> Vec<&[u8]> {
    let mut chain = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (certificate, rest) = rest.split_at(length);
        chain.push(certificate);
        input = rest;
    }
    chain
}

/// Reading says the same each time, and no other certificate is believed.
fn read_certificate(input: &[u8]) {
    let read = read_keys(input);
    assert_eq!(read, read_keys(input));
    if let Ok(peer) = &read {
        assert_eq!(peer.owner, None, "keys alone carry no claims");
    }
    let believed = check_chain(&policy(), &[input, ISSUING], NOW);
    assert_eq!(believed.is_ok(), input == NODE, "{believed:?}");
    let alone = check_node(&policy(), input, NOW);
    assert_eq!(alone.is_ok(), believed.is_ok(), "{alone:?}");
    let known = KNOWN.get_or_init(Known::default);
    assert_eq!(known.check_node(&policy(), input, NOW), alone);
    assert!(known.check_node(&policy(), NODE, NOW).is_ok());
}

/// What one input has left in it must not help another.
static KNOWN: OnceLock<Known> = OnceLock::new();

/// Two chains are believed, and no other.
fn read_chain(input: &[u8]) {
    let chain = parted(input);
    let believed = check_chain(&policy(), &chain, NOW).is_ok();
    assert_eq!(
        believed,
        chain == [NODE, ISSUING] || chain == [NODE, ISSUING, ROOT]
    );
    assert!(check_pinned_root(&chain, &[7; 32], NOW).is_err());
}

/// Names that read are those that were written.
fn read_names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let names: Vec<GeneralName<'_>> = text
        .split('\n')
        .map(|line| match line.starts_with("hm:") {
            true => GeneralName::URI(line),
            false => GeneralName::DNSName(line),
        })
        .collect();
    if let Ok(read) = Names::read(&names) {
        for (kind, id) in [
            ("node", read.node),
            ("owner", read.owner),
            ("network", read.network),
        ] {
            let written = format!("hm:{kind}:{}", hex(&id));
            assert!(
                text.split('\n').any(|line| line == written),
                "{written} was not there"
            );
        }
        assert_eq!(names.len(), NAMES.len());
    }
}

/// What is signed is DER again, and not longer than what it was taken from.
fn read_presigned(input: &[u8]) {
    if let Some(bytes) = presigned(input) {
        assert!(der::only(&bytes).is_some());
        assert!(bytes.len() <= input.len());
    }
    if let Some(elements) = der::all(input) {
        let whole: usize = elements.iter().map(|element| element.whole.len()).sum();
        assert_eq!(whole, input.len());
        for element in elements {
            assert_eq!(der::wrap(element.tag, element.content), element.whole);
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
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
    fn the_seeds_are_believed() {
        assert!(check_chain(&policy(), &[NODE, ISSUING, ROOT], NOW).is_ok());
        assert_eq!(parted(&joined(&[NODE, ISSUING])), [NODE, ISSUING]);
        let seeds = (TARGETS[3].seeds)();
        assert_eq!(seeds.len(), 4);
        assert!(presigned(&seeds[0]).is_some());
    }
}
