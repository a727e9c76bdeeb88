//! From a chain of certificates to a peer, or to the reason why not.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{digest, SHA256};
use hm_crypto::hybrid::PublicKeys;
use thiserror::Error;

use crate::certificate::Certificate;
use crate::partner::Partner;
use crate::{names, signature};

/// What a node trusts, as one immutable value; a change is a new value with a higher `version`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustPolicy {
    /// The genesis id of the network.
    pub network: [u8; 32],
    /// Root certificates, DER.
    pub roots: Vec<Vec<u8>>,
    /// Issuing certificates, DER. Each must also be signed by one of `roots`.
    pub issuers: Vec<Vec<u8>>,
    /// NodeIds that may not connect, whatever their certificate says.
    pub revoked: BTreeSet<[u8; 32]>,
    /// Those that may connect by their keys alone; `None`: whoever proves some.
    pub bearers: Option<BTreeSet<[u8; 32]>>,
    /// Other networks whose nodes are let in, on a protocol of their own.
    pub partners: Vec<Arc<Partner>>,
    pub version: u64,
}

impl TrustPolicy {
    /// Whether `other` differs at most in whom it has revoked.
    pub fn believes_as(&self, other: &TrustPolicy) -> bool {
        let partners = self.partners.iter().zip(&other.partners);
        (&self.network, &self.roots, &self.issuers)
            == (&other.network, &other.roots, &other.issuers)
            && self.partners.len() == other.partners.len()
            && partners.into_iter().all(|(one, two)| one.agrees_as(two))
    }
}

/// Who stands behind a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// NodeId or SessionId: the digest of both public keys.
    pub id: [u8; 32],
    /// The owner whom an issuer vouches for; `None` where no issuer was asked.
    pub owner: Option<[u8; 32]>,
    /// The network that its certificate names; `None` where no issuer was asked.
    pub network: Option<[u8; 32]>,
    pub ed25519: [u8; 32],
    pub falcon: Vec<u8>,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// Why a chain is not believed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("malformed certificate: {0}")]
    Malformed(String),
    #[error("the certificate is for another network")]
    WrongNetwork,
    #[error("the certificate is from an unknown issuer")]
    UnknownIssuer,
    #[error("a signature in the certificate chain is wrong: {0}")]
    BadSignature(String),
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYetValid,
    #[error("the node is revoked")]
    Revoked,
    #[error("{0} is not a name that was agreed on")]
    NameForbidden(String),
}

/// The node behind `chain` (leaf, issuing, optionally root) under `policy` at `now_unix` seconds.
///
/// Believes a leaf that an issuer in the policy signed, an issuer that a root in the policy signed,
/// all three at their time; both signatures each time. A root in the chain must be one in the
/// policy. Where several reasons hold, the first of these is given: malformed, wrong network,
/// unknown issuer, bad signature, revoked, a name that is not permitted, not yet valid, expired.
pub fn check_chain(
    policy: &TrustPolicy,
    chain: &[&[u8]],
    now_unix: i64,
) -> Result<PeerIdentity, Refusal> {
    check(policy, chain, now_unix, &signature::check)
}

/// The node behind `leaf`, which came alone, under `policy` at `now_unix` seconds.
///
/// The rest of its chain is in the policy, where [`check_chain`] wants it to be as well: of the
/// issuers there that `leaf` names, one must vouch for it as in a whole chain. An issuer that only
/// has the same name is an unknown one.
pub fn check_node(
    policy: &TrustPolicy,
    leaf: &[u8],
    now_unix: i64,
) -> Result<PeerIdentity, Refusal> {
    complete(policy, leaf, now_unix, &signature::check)
}

/// Whether the second certificate has signed the first, with both its keys.
pub(crate) type Signed<'a> = &'a dyn Fn(&Certificate<'_>, &Certificate<'_>) -> Result<(), Refusal>;

pub(crate) fn complete(
    policy: &TrustPolicy,
    leaf: &[u8],
    now_unix: i64,
    signed: Signed<'_>,
) -> Result<PeerIdentity, Refusal> {
    let (leaf, peer, network) = read_node(leaf)?;
    if network != policy.network {
        return Err(Refusal::WrongNetwork);
    }
    let mut refusal = Refusal::UnknownIssuer;
    for issuing in &policy.issuers {
        let Some(issuing) = Certificate::read(issuing)
            .ok()
            .filter(|one| leaf.names(one))
        else {
            continue;
        };
        // Another certificate with the same key may be one that holds.
        match check_below(policy, (&leaf, &peer), &issuing, now_unix, signed) {
            Ok(()) => return Ok(peer),
            Err(reason) => refusal = reason,
        }
    }
    Err(refusal)
}

pub(crate) fn check(
    policy: &TrustPolicy,
    chain: &[&[u8]],
    now_unix: i64,
    signed: Signed<'_>,
) -> Result<PeerIdentity, Refusal> {
    let (leaf, issuing, root) = match chain {
        [leaf, issuing] => (*leaf, *issuing, None),
        [leaf, issuing, root] => (*leaf, *issuing, Some(*root)),
        _ => return Err(wrong_length()),
    };
    let (leaf, peer, network) = read_node(leaf)?;
    if network != policy.network {
        return Err(Refusal::WrongNetwork);
    }
    let known = policy.issuers.iter().any(|known| known == issuing);
    let rooted = root.is_none_or(|root| policy.roots.iter().any(|known| known == root));
    if !known || !rooted {
        return Err(Refusal::UnknownIssuer);
    }
    let issuing = Certificate::read(issuing)?;
    check_below(policy, (&leaf, &peer), &issuing, now_unix, signed)?;
    Ok(peer)
}

/// Whether `issuing` vouches for a leaf, and a root of the policy for `issuing`, all at their time.
fn check_below(
    policy: &TrustPolicy,
    (leaf, peer): (&Certificate<'_>, &PeerIdentity),
    issuing: &Certificate<'_>,
    now_unix: i64,
    signed: Signed<'_>,
) -> Result<(), Refusal> {
    let root = anchor(&policy.roots, issuing, signed)?;
    check_link(leaf, issuing, 0, signed)?;
    if policy.revoked.contains(&peer.id) {
        return Err(Refusal::Revoked);
    }
    let name = names::dns(&peer.id, &policy.network);
    issuing.check_name(&name)?;
    root.check_name(&name)?;
    check_times(&[leaf, issuing, &root], now_unix)
}

/// The node behind `chain` (leaf, issuing, root) under a root known by its SHA-256 alone, as an
/// invitation names it. The network is not known here: the channel binding proves the genesis id.
pub fn check_pinned_root(
    chain: &[&[u8]],
    root_sha256: &[u8; 32],
    now_unix: i64,
) -> Result<PeerIdentity, Refusal> {
    let [leaf, issuing, root] = chain else {
        return Err(wrong_length());
    };
    let (leaf, peer, network) = read_node(leaf)?;
    if digest(&SHA256, root).as_ref() != root_sha256 {
        return Err(Refusal::UnknownIssuer);
    }
    let (issuing, root) = (Certificate::read(issuing)?, Certificate::read(root)?);
    check_link(&issuing, &root, 1, &signature::check)?;
    check_link(&leaf, &issuing, 0, &signature::check)?;
    let name = names::dns(&peer.id, &network);
    issuing.check_name(&name)?;
    root.check_name(&name)?;
    check_times(&[&leaf, &issuing, &root], now_unix)?;
    Ok(peer)
}

/// Whether `root` made `issuing` an authority for nodes, with both its keys and at the time of both.
///
/// What a policy may hold among its `issuers`: a certificate that no leaf is at hand for.
pub fn check_issuing(issuing: &[u8], root: &[u8], now_unix: i64) -> Result<(), Refusal> {
    let (issuing, root) = (Certificate::read(issuing)?, Certificate::read(root)?);
    check_link(&issuing, &root, 1, &signature::check)?;
    issuing.check_authority(0)?;
    check_times(&[&issuing, &root], now_unix)
}

/// The keys in `leaf`, whoever signed it: no signature and no date is checked, and no claim of the
/// certificate about its owner is passed on.
///
/// For peers that are known by their keys alone (`hm-session/1`, `hm-enrol/1`): TLS proves the
/// Ed25519 key and the channel binding proves both.
pub fn read_keys(leaf: &[u8]) -> Result<PeerIdentity, Refusal> {
    keys_of(&Certificate::read(leaf)?)
}

fn keys_of(leaf: &Certificate<'_>) -> Result<PeerIdentity, Refusal> {
    let ed25519 = leaf.leaf_key()?;
    let keys = PublicKeys {
        falcon: &leaf.falcon,
        ed25519: &ed25519,
    };
    Ok(PeerIdentity {
        id: keys
            .id()
            .map_err(|error| Refusal::Malformed(error.to_string()))?,
        owner: None,
        network: None,
        ed25519,
        falcon: leaf.falcon.clone(),
        not_after: leaf.not_after,
    })
}

/// A node's certificate, the node it is about and the network it names.
pub(crate) fn read_node(leaf: &[u8]) -> Result<(Certificate<'_>, PeerIdentity, [u8; 32]), Refusal> {
    let leaf = Certificate::read(leaf)?;
    let keys = keys_of(&leaf)?;
    let names = leaf.node_names()?;
    if names.node != keys.id {
        return Err(Refusal::Malformed(
            "the node it names is not the one its keys give".into(),
        ));
    }
    let peer = PeerIdentity {
        owner: Some(names.owner),
        network: Some(names.network),
        ..keys
    };
    Ok((leaf, peer, names.network))
}

/// The root that signed `issuing`, or why none of `roots` did.
pub(crate) fn anchor<'a>(
    roots: &'a [Vec<u8>],
    issuing: &Certificate<'_>,
    signed: Signed<'_>,
) -> Result<Certificate<'a>, Refusal> {
    let mut refusal = Refusal::UnknownIssuer;
    for root in roots {
        let root = Certificate::read(root)?;
        match check_link(issuing, &root, 1, signed) {
            Ok(()) => return Ok(root),
            Err(Refusal::UnknownIssuer) => {}
            Err(reason) => refusal = reason,
        }
    }
    Err(refusal)
}

/// Whether `issuer` is the one `subject` names, may sign it, and did sign it with both keys.
/// `below` counts the certificate authorities under `issuer` in the chain.
pub(crate) fn check_link(
    subject: &Certificate<'_>,
    issuer: &Certificate<'_>,
    below: u32,
    signed: Signed<'_>,
) -> Result<(), Refusal> {
    if subject.issuer != issuer.subject {
        return Err(Refusal::UnknownIssuer);
    }
    issuer.check_authority(below)?;
    signed(subject, issuer)
}

pub(crate) fn check_times(chain: &[&Certificate<'_>], now_unix: i64) -> Result<(), Refusal> {
    if chain.iter().any(|one| now_unix < one.not_before) {
        return Err(Refusal::NotYetValid);
    }
    if chain.iter().any(|one| now_unix > one.not_after) {
        return Err(Refusal::Expired);
    }
    Ok(())
}

pub(crate) fn wrong_length() -> Refusal {
    Refusal::Malformed("a chain is leaf, issuing certificate and root".into())
}
