//! The frozen certificates of `vectors/x509`, and every answer there is about a chain.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use hm_x509::{
    check_chain, check_node, check_pinned_root, presigned, read_keys, Known, Refusal, TrustPolicy,
};

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../vectors/x509/", $name))
    };
}

const ROOT: &[u8] = vector!("root.der");
const ISSUING: &[u8] = vector!("issuing.der");
const NODE: &[u8] = vector!("node.der");
const SESSION: &[u8] = vector!("session.der");
const FACTS: &str = include_str!("../../../vectors/x509/vector.json");

/// The text or number of `name` in `vector.json`.
fn fact(name: &str) -> &'static str {
    let (_, rest) = FACTS.split_once(&format!("\"{name}\": ")).unwrap();
    rest.split([',', '\n']).next().unwrap().trim_matches('"')
}

fn hash(name: &str) -> [u8; 32] {
    let digits = fact(name);
    std::array::from_fn(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
}

fn second(name: &str) -> i64 {
    fact(name).parse().unwrap()
}

fn policy() -> TrustPolicy {
    TrustPolicy {
        network: hash("network"),
        roots: vec![ROOT.to_vec()],
        issuers: vec![ISSUING.to_vec()],
        revoked: BTreeSet::new(),
        bearers: None,
        partners: Vec::new(),
        version: 1,
    }
}

fn refusal(chain: &[&[u8]]) -> Refusal {
    check_chain(&policy(), chain, second("not_before_s")).unwrap_err()
}

#[test]
fn the_chain_names_node_and_owner() {
    let now = second("not_before_s");
    let peer = check_chain(&policy(), &[NODE, ISSUING, ROOT], now).unwrap();
    assert_eq!(peer.id, hash("node"));
    assert_eq!(peer.owner, Some(hash("owner")));
    assert_eq!(peer.ed25519, hash("ed25519"));
    assert_eq!(peer.not_after, second("not_after_s"));
    let short = check_chain(&policy(), &[NODE, ISSUING], now);
    assert_eq!(short.as_ref(), Ok(&peer));
    let pinned = check_pinned_root(&[NODE, ISSUING, ROOT], &hash("root_sha256"), now);
    assert_eq!(pinned, Ok(peer));
}

#[test]
fn keys_alone_carry_no_claims() {
    let session = read_keys(SESSION).unwrap();
    assert_eq!((session.id, session.owner), (hash("node"), None));
    let node = read_keys(NODE).unwrap();
    assert_eq!((node.id, node.owner), (hash("node"), None));
    for authority in [ROOT, ISSUING] {
        assert!(matches!(read_keys(authority), Err(Refusal::Malformed(_))));
    }
}

#[test]
fn each_half_must_hold_and_is_named() {
    let falcon = refusal(&[vector!("node-falcon-wrong.der"), ISSUING]);
    assert_eq!(
        falcon,
        Refusal::BadSignature("FALCON-1024 signature".into())
    );
    let p256 = refusal(&[vector!("node-p256-wrong.der"), ISSUING]);
    assert_eq!(p256, Refusal::BadSignature("P-256 signature".into()));
}

#[test]
fn only_named_issuers_below_named_roots() {
    let by_root: &[u8] = vector!("node-by-root.der");
    assert_eq!(refusal(&[NODE, ROOT]), Refusal::UnknownIssuer);
    assert_eq!(refusal(&[NODE, ISSUING, ISSUING]), Refusal::UnknownIssuer);
    assert_eq!(refusal(&[by_root, ISSUING]), Refusal::UnknownIssuer);

    let now = second("not_before_s");
    let mut rootless = policy();
    rootless.roots.clear();
    let refused = check_chain(&rootless, &[NODE, ISSUING], now);
    assert_eq!(refused, Err(Refusal::UnknownIssuer));
    // An issuer that the policy names but that its root did not sign.
    let mut swapped = policy();
    swapped.issuers = vec![NODE.to_vec()];
    let refused = check_chain(&swapped, &[NODE, NODE], now);
    assert_eq!(refused, Err(Refusal::UnknownIssuer));
    let refused = check_pinned_root(&[NODE, ISSUING, ROOT], &[0; 32], now);
    assert_eq!(refused, Err(Refusal::UnknownIssuer));
}

#[test]
fn another_network_is_the_first_reason_given() {
    let elsewhere: &[u8] = vector!("node-elsewhere.der");
    assert_eq!(refusal(&[elsewhere, ISSUING]), Refusal::WrongNetwork);
    assert_eq!(refusal(&[elsewhere, ROOT]), Refusal::WrongNetwork);
}

#[test]
fn time_and_revocation() {
    let (first, last) = (second("not_before_s"), second("not_after_s"));
    let at = |now| check_chain(&policy(), &[NODE, ISSUING], now).map(|_| ());
    assert_eq!(at(first), Ok(()));
    assert_eq!(at(last), Ok(()));
    assert_eq!(at(first - 1), Err(Refusal::NotYetValid));
    assert_eq!(at(last + 1), Err(Refusal::Expired));
    assert_eq!(at(i64::MIN), Err(Refusal::NotYetValid));
    assert_eq!(at(i64::MAX), Err(Refusal::Expired));

    let mut policy = policy();
    policy.revoked.insert(hash("node"));
    for now in [first, last + 1] {
        let refused = check_chain(&policy, &[NODE, ISSUING], now);
        assert_eq!(refused, Err(Refusal::Revoked));
    }
}

#[test]
fn a_chain_has_two_or_three_certificates() {
    let chains: [&[&[u8]]; 5] = [
        &[],
        &[NODE],
        &[NODE, ISSUING, ROOT, ROOT],
        &[b"", b""],
        &[SESSION, ISSUING],
    ];
    for chain in chains {
        assert!(matches!(refusal(chain), Refusal::Malformed(_)));
    }
}

#[test]
fn no_bit_of_a_leaf_can_be_changed() {
    let mut leaf = NODE.to_vec();
    for position in 0..leaf.len() {
        // All bits around what the signatures cover, where only the form can tell; some of the
        // rest, where a signature does (all of them in tests/trustchain, with optimised code).
        let edge = position < 64 || position + 96 > leaf.len();
        if !edge && position % 17 != 0 {
            continue;
        }
        let one = position % 8;
        for bit in if edge { 0..8 } else { one..one + 1 } {
            leaf[position] ^= 1 << bit;
            let refused = check_chain(&policy(), &[&leaf, ISSUING], second("not_before_s"));
            assert!(refused.is_err(), "byte {position}, bit {bit}");
            leaf[position] ^= 1 << bit;
        }
    }
}

#[test]
fn presigned_bytes_are_for_tbs_certificates_only() {
    for wrong in [&[][..], &[0x30, 0], ROOT, b"text", &ROOT[..100]] {
        assert_eq!(presigned(wrong), None);
    }
}

/// A memory in which the signatures of the chain are known.
fn known() -> Known {
    let known = Known::default();
    let now = second("not_before_s");
    assert!(known
        .check_chain(&policy(), &[NODE, ISSUING, ROOT], now)
        .is_ok());
    known
}

#[test]
fn what_is_known_gets_the_same_answers() {
    let (known, now) = (known(), second("not_before_s"));
    let by_root: &[u8] = vector!("node-by-root.der");
    let elsewhere: &[u8] = vector!("node-elsewhere.der");
    let falcon: &[u8] = vector!("node-falcon-wrong.der");
    let p256: &[u8] = vector!("node-p256-wrong.der");
    let chains: [&[&[u8]]; 14] = [
        &[NODE, ISSUING],
        &[NODE, ISSUING, ROOT],
        &[],
        &[NODE],
        &[NODE, ROOT],
        &[NODE, NODE],
        &[NODE, ISSUING, ISSUING],
        &[NODE, ISSUING, ROOT, ROOT],
        &[SESSION, ISSUING],
        &[by_root, ISSUING],
        &[by_root, ROOT],
        &[elsewhere, ISSUING],
        &[falcon, ISSUING],
        &[p256, ISSUING],
    ];
    let mut policies = vec![policy(), policy(), policy(), policy(), policy()];
    policies[1].revoked.insert(hash("node"));
    policies[2].roots.clear();
    policies[3].issuers.clear();
    policies[4].network = [0; 32];
    let times = [
        now - 1,
        now,
        second("not_after_s"),
        second("not_after_s") + 1,
    ];
    for policy in &policies {
        for chain in chains {
            for now in times {
                // Twice: the first answer must not change the second.
                for _ in 0..2 {
                    let answer = known.check_chain(policy, chain, now);
                    assert_eq!(answer, check_chain(policy, chain, now));
                }
            }
        }
        for leaf in [
            NODE, SESSION, by_root, elsewhere, falcon, p256, ISSUING, b"",
        ] {
            for now in times {
                for _ in 0..2 {
                    let answer = known.check_node(policy, leaf, now);
                    assert_eq!(answer, check_node(policy, leaf, now));
                }
            }
        }
    }
}

#[test]
fn a_known_chain_ends_with_the_policy_and_with_its_time() {
    let (known, first) = (known(), second("not_before_s"));
    let at = |policy: &TrustPolicy, now| {
        let whole = known.check_chain(policy, &[NODE, ISSUING, ROOT], now);
        assert_eq!(whole, known.check_node(policy, NODE, now));
        whole.map(|_| ())
    };
    assert_eq!(at(&policy(), first), Ok(()));
    let mut revoking = policy();
    revoking.revoked.insert(hash("node"));
    assert_eq!(at(&revoking, first), Err(Refusal::Revoked));
    assert_eq!(at(&policy(), first - 1), Err(Refusal::NotYetValid));
    let last = second("not_after_s");
    assert_eq!(at(&policy(), last + 1), Err(Refusal::Expired));
    for forget in [
        |policy: &mut TrustPolicy| policy.roots.clear(),
        |policy: &mut TrustPolicy| policy.issuers.clear(),
    ] {
        let mut distrusting = policy();
        forget(&mut distrusting);
        assert_eq!(at(&distrusting, first), Err(Refusal::UnknownIssuer));
    }
    assert_eq!(at(&policy(), first), Ok(()));
}

#[test]
fn no_bit_of_a_known_leaf_can_be_changed() {
    let (known, now) = (known(), second("not_before_s"));
    let mut leaf = NODE.to_vec();
    for position in (0..leaf.len()).step_by(13) {
        let bit = position % 8;
        leaf[position] ^= 1 << bit;
        let whole = known.check_chain(&policy(), &[&leaf, ISSUING], now);
        assert!(whole.is_err(), "byte {position}, bit {bit}");
        let alone = known.check_node(&policy(), &leaf, now);
        assert!(alone.is_err(), "byte {position}, bit {bit}");
        leaf[position] ^= 1 << bit;
    }
    assert!(known.check_node(&policy(), &leaf, now).is_ok());
}

#[test]
fn a_leaf_alone_is_completed_from_the_policy() {
    let now = second("not_before_s");
    let whole = check_chain(&policy(), &[NODE, ISSUING, ROOT], now);
    assert!(whole.is_ok());
    assert_eq!(check_node(&policy(), NODE, now), whole);

    let alone = |policy: &TrustPolicy, leaf: &[u8]| check_node(policy, leaf, now).unwrap_err();
    let elsewhere: &[u8] = vector!("node-elsewhere.der");
    assert_eq!(alone(&policy(), elsewhere), Refusal::WrongNetwork);
    let by_root: &[u8] = vector!("node-by-root.der");
    assert_eq!(alone(&policy(), by_root), Refusal::UnknownIssuer);
    let falcon: &[u8] = vector!("node-falcon-wrong.der");
    let reason = Refusal::BadSignature("FALCON-1024 signature".into());
    assert_eq!(alone(&policy(), falcon), reason);
    // It names the key that did sign it, which nobody knows.
    let p256: &[u8] = vector!("node-p256-wrong.der");
    assert_eq!(alone(&policy(), p256), Refusal::UnknownIssuer);
    for leaf in [SESSION, ISSUING, ROOT, b"", b"text"] {
        assert!(matches!(alone(&policy(), leaf), Refusal::Malformed(_)));
    }

    // What does not sign it stands in nobody's way, and what does must stand below a root.
    let mut many = policy();
    many.issuers = [b"text", ROOT, ISSUING, NODE].map(<[u8]>::to_vec).to_vec();
    assert_eq!(check_node(&many, NODE, now), whole);
    many.issuers.remove(2);
    assert_eq!(alone(&many, NODE), Refusal::UnknownIssuer);
    let mut rootless = policy();
    rootless.roots.clear();
    assert_eq!(alone(&rootless, NODE), Refusal::UnknownIssuer);
    let mut shortened = policy();
    shortened.issuers = vec![ROOT.to_vec()];
    assert_eq!(alone(&shortened, NODE), Refusal::UnknownIssuer);
    let whole = check_chain(&shortened, &[by_root, ROOT], now);
    assert_eq!(check_node(&shortened, by_root, now), whole);
}
