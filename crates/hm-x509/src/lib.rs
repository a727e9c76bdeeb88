//! Hybrid X.509 certificates, P-256 outside and FALCON-1024 inside: read, checked, and, for those
//! that nobody vouches for, written.
//!
//! A certificate carries two public keys and two signatures. The outer pair is what every X.509
//! tool knows (RFC 5280). The inner pair stands in three non-critical extensions of ITU-T X.509
//! (10/2019) clause 9.8: `subjectAltPublicKeyInfo` (2.5.29.72), `altSignatureAlgorithm` (73) and
//! `altSignatureValue` (74). The inner signature covers the DER TBSCertificate without its
//! `signature` field and without extension 74; the outer one covers everything.
//!
//! ```text
//! root CA  P-256 + FALCON ── signs ──> issuing CA  P-256 + FALCON ── signs ──> node  Ed25519 + FALCON
//! ```
//!
//! Nothing here holds policy of its own: a [`TrustPolicy`] comes in as a value, a [`PeerIdentity`]
//! or a [`Refusal`] goes out. Times are seconds since 1970, and `now` is an argument.

mod certificate;
mod chain;
mod der;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod known;
mod names;
mod oid;
mod partner;
mod presigned;
mod selfsigned;
mod signature;

pub use chain::{
    check_chain, check_issuing, check_node, check_pinned_root, read_keys, PeerIdentity, Refusal,
    TrustPolicy,
};
pub use known::Known;
pub use partner::{check_partner, check_partnership, Partner, Reach};
pub use presigned::presigned;
pub use selfsigned::self_signed;

/// Bytes; the longest certificate that is read.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
