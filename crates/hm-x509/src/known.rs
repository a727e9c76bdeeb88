//! Signatures between certificates, checked once and known again by the bytes of both.
//!
//! Whether `issuer` has signed `subject` follows from their bytes alone and never changes, so the
//! answer yes is kept, under the digest of both certificates. Whom to believe, who is revoked, names
//! and dates change without the bytes; they are asked each time and nothing of them is kept. One
//! altered bit is another digest, and its signatures are checked.
//!
//! Only what an issuer of the policy has signed gets in, so strangers cannot fill it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use crate::certificate::Certificate;
use crate::chain;
use crate::partner;
use crate::signature;
use crate::{PeerIdentity, Refusal, TrustPolicy};

/// Links in each of the two sets; 32 bytes and a third more each.
const LINKS_MAX: usize = 2048;

type Digest = [u8; SHA256_OUTPUT_LEN];

/// Links between certificates whose signatures have been found right.
#[derive(Default)]
pub struct Known(Mutex<Links>);

/// What is used stays among the young; when they are full, they are the old, and what nobody has
/// used since then is forgotten.
#[derive(Default)]
struct Links {
    young: HashSet<Digest>,
    old: HashSet<Digest>,
}

impl Known {
    /// [`crate::check_chain`], without checking again the signatures that are known.
    ///
    /// # Errors
    /// As there.
    pub fn check_chain(
        &self,
        policy: &TrustPolicy,
        chain: &[&[u8]],
        now_unix: i64,
    ) -> Result<PeerIdentity, Refusal> {
        chain::check(policy, chain, now_unix, &|subject, issuer| {
            self.check(subject, issuer)
        })
    }

    /// [`crate::check_node`], likewise.
    ///
    /// # Errors
    /// As there.
    pub fn check_node(
        &self,
        policy: &TrustPolicy,
        leaf: &[u8],
        now_unix: i64,
    ) -> Result<PeerIdentity, Refusal> {
        chain::complete(policy, leaf, now_unix, &|subject, issuer| {
            self.check(subject, issuer)
        })
    }

    /// [`crate::check_partner`], likewise.
    ///
    /// # Errors
    /// As there.
    pub fn check_partner(
        &self,
        policy: &TrustPolicy,
        chain: &[&[u8]],
        now_unix: i64,
    ) -> Result<PeerIdentity, Refusal> {
        partner::check(policy, chain, now_unix, &|subject, issuer| {
            self.check(subject, issuer)
        })
    }

    fn check(&self, subject: &Certificate<'_>, issuer: &Certificate<'_>) -> Result<(), Refusal> {
        let link = link(subject.der, issuer.der);
        if self.knows(&link) {
            return Ok(());
        }
        signature::check(subject, issuer)?;
        self.add(link);
        Ok(())
    }

    fn knows(&self, link: &Digest) -> bool {
        self.with(|links| {
            if links.young.contains(link) {
                return true;
            }
            let known = links.old.remove(link);
            if known {
                links.add(*link);
            }
            known
        })
    }

    fn add(&self, link: Digest) {
        self.with(|links| links.add(link));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Links) -> T) -> T {
        // Whatever panicked elsewhere left a set of right answers.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Each certificate behind its length, so that no two pairs are the same bytes.
fn link(subject: &[u8], issuer: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    for der in [subject, issuer] {
        context.update(&(der.len() as u64).to_be_bytes());
        context.update(der);
    }
    let mut link = [0; SHA256_OUTPUT_LEN];
    link.copy_from_slice(context.finish().as_ref());
    link
}

impl Links {
    fn add(&mut self, link: Digest) {
        if self.young.len() >= LINKS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(link);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&(number as u64).to_be_bytes());
        digest
    }

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let known = Known::default();
        let used = digest(usize::MAX);
        known.add(used);
        for number in 0..10 * LINKS_MAX {
            known.add(digest(number));
            assert!(known.knows(&used));
            known.with(|links| {
                assert!(links.young.len() <= LINKS_MAX);
                assert!(links.old.len() <= LINKS_MAX);
            });
        }
        assert!(!known.knows(&digest(0)));
        assert!(known.knows(&digest(10 * LINKS_MAX - 1)));
        assert!(!known.knows(&digest(10 * LINKS_MAX)));
    }

    macro_rules! vector {
        ($name:literal) => {
            include_bytes!(concat!("../../../vectors/x509/", $name))
        };
    }

    const ISSUING: &[u8] = vector!("issuing.der");
    const ROOT: &[u8] = vector!("root.der");
    const FORGED: &[u8] = vector!("node-falcon-wrong.der");

    fn policy() -> TrustPolicy {
        TrustPolicy {
            network: std::array::from_fn(|place| place as u8),
            roots: vec![ROOT.to_vec()],
            issuers: vec![ISSUING.to_vec()],
            ..TrustPolicy::default()
        }
    }

    fn begins(leaf: &[u8]) -> i64 {
        Certificate::read(leaf).unwrap().not_before
    }

    #[test]
    fn signatures_that_hold_are_kept_and_others_are_not() {
        let (known, leaf) = (Known::default(), &vector!("node.der")[..]);
        let count = || known.with(|links| links.young.len());
        let forged = known.check_node(&policy(), FORGED, begins(FORGED));
        assert!(matches!(forged, Err(Refusal::BadSignature(_))));
        // The root's signature, of which more may come.
        assert!(known.knows(&link(ISSUING, ROOT)));
        assert_eq!(count(), 1);
        assert!(known.check_node(&policy(), leaf, begins(leaf)).is_ok());
        assert!(known.knows(&link(leaf, ISSUING)));
        assert_eq!(count(), 2);
    }

    #[test]
    fn signatures_are_what_is_known_and_nothing_else() {
        let known = Known::default();
        // As though it had been found right.
        known.add(link(FORGED, ISSUING));
        let begins = begins(FORGED);
        assert!(known.check_node(&policy(), FORGED, begins).is_ok());
        assert!(known
            .check_chain(&policy(), &[FORGED, ISSUING], begins)
            .is_ok());
        let early = known.check_node(&policy(), FORGED, begins - 1);
        assert_eq!(early, Err(Refusal::NotYetValid));
        let mut rootless = policy();
        rootless.roots.clear();
        let refused = known.check_node(&rootless, FORGED, begins);
        assert_eq!(refused, Err(Refusal::UnknownIssuer));
    }

    #[test]
    fn a_link_is_of_two_certificates_in_their_order() {
        let links = [
            link(b"ab", b"c"),
            link(b"a", b"bc"),
            link(b"c", b"ab"),
            link(b"abc", b""),
            link(b"", b"abc"),
        ];
        for (place, one) in links.iter().enumerate() {
            assert!(!links[place + 1..].contains(one));
        }
    }

    #[test]
    fn threads_agree() {
        let known = Known::default();
        std::thread::scope(|scope| {
            for from in 0..4 {
                let known = &known;
                scope.spawn(move || {
                    for number in 0..LINKS_MAX / 8 {
                        known.add(digest(from * LINKS_MAX + number));
                        assert!(known.knows(&digest(from * LINKS_MAX + number)));
                    }
                });
            }
        });
        for from in 0..4 {
            assert!(known.knows(&digest(from * LINKS_MAX)));
        }
    }
}
