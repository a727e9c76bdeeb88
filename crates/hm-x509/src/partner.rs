//! Nodes of other networks, by the word of a root of this one.
//!
//! ```text
//! root of ours ── cross-certificate ──┐ the same two keys
//! root of theirs ──> issuing CA of theirs ──> node of theirs
//! ```
//! A cross-certificate gives the name and both keys of the partner's issuing CA, under both
//! signatures of a root of ours, for the DNS names that its name constraints permit (RFC 5280
//! section 4.2.1.10). It is for the issuing CA and not for the root above it, because a root of ours
//! has a path length of one. Both ways up are checked: the partner's own, and ours.

use std::collections::BTreeSet;

use x509_parser::extensions::{GeneralName, NameConstraints, ParsedExtension};

use crate::certificate::{Certificate, OuterKey};
use crate::chain::{anchor, check_link, check_times, read_node, wrong_length, Signed};
use crate::{names, oid, signature, PeerIdentity, Refusal, TrustPolicy};

/// Another network whose nodes are let in, and what vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    /// The genesis id of that network.
    pub network: [u8; 32],
    /// Its root certificate, DER.
    pub root: Vec<u8>,
    /// Its issuing certificate, DER.
    pub issuer: Vec<u8>,
    /// The cross-certificate, DER.
    pub cross: Vec<u8>,
    /// The end of what was agreed, in seconds since 1970; the certificate may be good for longer.
    pub not_after: i64,
    /// NodeIds that the partner has revoked, as far as is known here. They say nothing of nodes of
    /// other networks.
    pub revoked: BTreeSet<[u8; 32]>,
}

impl Partner {
    /// Whether `other` differs at most in whom it has revoked.
    pub fn agrees_as(&self, other: &Partner) -> bool {
        (self.network, self.not_after) == (other.network, other.not_after)
            && (&self.root, &self.issuer, &self.cross) == (&other.root, &other.issuer, &other.cross)
    }
}

/// What a cross-certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// DNS names that are permitted, each with all below it.
    pub permitted: Vec<String>,
    /// DNS names that are not, each with all below it, whatever is permitted.
    pub excluded: Vec<String>,
    /// The policies in it: contents of object identifiers in DER.
    pub policies: Vec<Vec<u8>>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

/// The node of a partner behind `chain` (leaf, or leaf and issuing, or both and the root), under
/// `policy` at `now_unix` seconds. Refusals are those of [`crate::check_chain`], and one where the
/// node's name is not permitted.
pub fn check_partner(
    policy: &TrustPolicy,
    chain: &[&[u8]],
    now_unix: i64,
) -> Result<PeerIdentity, Refusal> {
    check(policy, chain, now_unix, &signature::check)
}

/// What the cross-certificate of `partner` permits, where a root in `roots` vouches for it and all
/// that stands above a node holds at `now_unix` seconds.
pub fn check_partnership(
    roots: &[Vec<u8>],
    partner: &Partner,
    now_unix: i64,
) -> Result<Reach, Refusal> {
    let above = Above::read(roots, partner, &signature::check)?;
    check_times(&above.all(), now_unix)?;
    let constraints = above.cross.constraints()?.ok_or(unconstrained())?;
    Ok(Reach {
        permitted: texts(&constraints.permitted),
        excluded: texts(&constraints.excluded),
        policies: above.cross.policies(),
        not_before: above.cross.not_before,
        not_after: above.cross.not_after,
    })
}

pub(crate) fn check(
    policy: &TrustPolicy,
    chain: &[&[u8]],
    now_unix: i64,
    signed: Signed<'_>,
) -> Result<PeerIdentity, Refusal> {
    let (leaf, above) = match chain {
        [leaf, above @ ..] if above.len() <= 2 => (*leaf, above),
        _ => return Err(wrong_length()),
    };
    let (leaf, peer, network) = read_node(leaf)?;
    let partner = policy
        .partners
        .iter()
        .find(|partner| partner.network == network)
        .ok_or(Refusal::WrongNetwork)?;
    let known = [&partner.issuer[..], &partner.root[..]];
    if above
        .iter()
        .zip(known)
        .any(|(shown, known)| *shown != known)
    {
        return Err(Refusal::UnknownIssuer);
    }
    let above = Above::read(&policy.roots, partner, signed)?;
    check_link(&leaf, &above.issuing, 0, signed)?;
    if policy.revoked.contains(&peer.id) || partner.revoked.contains(&peer.id) {
        return Err(Refusal::Revoked);
    }
    let name = names::dns(&peer.id, &network);
    above
        .cross
        .constraints()?
        .ok_or(unconstrained())?
        .check(&name)?;
    for one in [&above.issuing, &above.theirs, &above.ours] {
        one.check_name(&name)?;
    }
    let mut all = above.all().to_vec();
    all.push(&leaf);
    check_times(&all, now_unix)?;
    if now_unix > partner.not_after {
        return Err(Refusal::Expired);
    }
    Ok(peer)
}

/// All that stands above a partner's node, its signatures checked.
struct Above<'a> {
    ours: Certificate<'a>,
    cross: Certificate<'a>,
    theirs: Certificate<'a>,
    issuing: Certificate<'a>,
}

impl<'a> Above<'a> {
    fn read(
        roots: &'a [Vec<u8>],
        partner: &'a Partner,
        signed: Signed<'_>,
    ) -> Result<Above<'a>, Refusal> {
        let cross = Certificate::read(&partner.cross)?;
        let theirs = Certificate::read(&partner.root)?;
        let issuing = Certificate::read(&partner.issuer)?;
        let alike = match (&cross.outer_key, &issuing.outer_key) {
            (OuterKey::P256(ours), OuterKey::P256(theirs)) => ours == theirs,
            _ => false,
        };
        if !alike || cross.falcon != issuing.falcon || cross.subject != issuing.subject {
            return Err(Refusal::Malformed(
                "the cross-certificate is for another certificate authority".into(),
            ));
        }
        cross.check_authority(0)?;
        cross.constraints()?.ok_or(unconstrained())?;
        let ours = anchor(roots, &cross, signed)?;
        check_link(&theirs, &theirs, 1, signed)?;
        check_link(&issuing, &theirs, 1, signed)?;
        Ok(Above {
            ours,
            cross,
            theirs,
            issuing,
        })
    }

    fn all(&self) -> [&Certificate<'a>; 4] {
        [&self.ours, &self.cross, &self.theirs, &self.issuing]
    }
}

fn unconstrained() -> Refusal {
    Refusal::Malformed("the cross-certificate permits no names by name".into())
}

/// The DNS names that an issuer may certify nodes for.
pub struct Constraints<'a> {
    permitted: Vec<&'a str>,
    excluded: Vec<&'a str>,
}

impl<'a> Constraints<'a> {
    /// Refuses constraints on other kinds of names: nodes have none that they could bind.
    fn read(constraints: &NameConstraints<'a>) -> Result<Constraints<'a>, Refusal> {
        let read = |subtrees: &Option<Vec<x509_parser::extensions::GeneralSubtree<'a>>>| {
            subtrees
                .iter()
                .flatten()
                .map(|subtree| match subtree.base {
                    GeneralName::DNSName(name) if !name.is_empty() => Ok(name),
                    _ => Err(Refusal::Malformed(
                        "a name constraint that is not on DNS names".into(),
                    )),
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Constraints {
            permitted: read(&constraints.permitted_subtrees)?,
            excluded: read(&constraints.excluded_subtrees)?,
        })
    }

    fn check(&self, name: &str) -> Result<(), Refusal> {
        let within = |trees: &[&str]| trees.iter().any(|tree| is_within(name, tree));
        if (!self.permitted.is_empty() && !within(&self.permitted)) || within(&self.excluded) {
            return Err(Refusal::NameForbidden(name.to_owned()));
        }
        Ok(())
    }
}

impl Certificate<'_> {
    /// Refuses a node of the DNS name `name` below this certificate, where it has constraints.
    pub fn check_name(&self, name: &str) -> Result<(), Refusal> {
        match self.any_constraints()? {
            Some(constraints) => constraints.check(name),
            None => Ok(()),
        }
    }

    /// Its constraints, where they permit something by name.
    fn constraints(&self) -> Result<Option<Constraints<'_>>, Refusal> {
        let found = self.any_constraints()?;
        Ok(found.filter(|constraints| !constraints.permitted.is_empty()))
    }

    fn any_constraints(&self) -> Result<Option<Constraints<'_>>, Refusal> {
        match self.parsed(&oid::NAME_CONSTRAINTS) {
            None => Ok(None),
            Some((ParsedExtension::NameConstraints(constraints), true)) => {
                Constraints::read(constraints).map(Some)
            }
            Some(_) => Err(Refusal::Malformed(
                "name constraints that are not critical".into(),
            )),
        }
    }

    fn policies(&self) -> Vec<Vec<u8>> {
        match self.parsed(&oid::CERTIFICATE_POLICIES) {
            Some((ParsedExtension::CertificatePolicies(policies), _)) => policies
                .iter()
                .map(|policy| policy.policy_id.as_bytes().to_vec())
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Whether `name` is `tree` or stands below it (RFC 5280 section 4.2.1.10), in any case.
fn is_within(name: &str, tree: &str) -> bool {
    let (name, tree) = (name.to_ascii_lowercase(), tree.to_ascii_lowercase());
    name == tree
        || name
            .strip_suffix(&tree)
            .is_some_and(|before| before.ends_with('.'))
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_within_a_tree_by_whole_labels() {
        for name in [
            "a.b.internal",
            "b.internal",
            "x.a.b.internal",
            "A.B.Internal",
        ] {
            assert!(is_within(name, "b.internal"), "{name}");
        }
        for name in ["ab.internal", "internal", "b.internal.x", ""] {
            assert!(!is_within(name, "b.internal"), "{name}");
        }
    }

    #[test]
    fn what_is_excluded_is_refused_though_it_is_permitted() {
        let constraints = Constraints {
            permitted: vec!["b.internal"],
            excluded: vec!["a.b.internal"],
        };
        assert_eq!(constraints.check("c.b.internal"), Ok(()));
        for name in ["a.b.internal", "x.a.b.internal", "c.internal"] {
            let refused = Err(Refusal::NameForbidden(name.to_owned()));
            assert_eq!(constraints.check(name), refused);
        }
    }
}
