//! One certificate, read strictly: what no issuer of ours writes is malformed.

use std::collections::BTreeSet;

use x509_parser::asn1_rs::BitString;
use x509_parser::certificate::TbsCertificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{ExtendedKeyUsage, KeyUsage, ParsedExtension, X509Extension};
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Version};

use crate::names::Names;
use crate::presigned::presigned;
use crate::{der, oid, Refusal, CERTIFICATE_BYTES_MAX};

/// The key that any X.509 tool sees.
pub enum OuterKey {
    P256(Vec<u8>),
    Ed25519([u8; 32]),
}

/// The algorithm of the signature that any X.509 tool sees.
#[derive(Clone, Copy)]
pub enum OuterAlgorithm {
    EcdsaP256Sha256,
    /// On a self-signed leaf, whose issuer is its own Ed25519 key.
    Ed25519,
}

/// A certificate whose form is known; whether to believe it is for `chain` to say.
pub struct Certificate<'a> {
    /// All of it.
    pub der: &'a [u8],
    pub tbs: &'a [u8],
    pub presigned: Vec<u8>,
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    pub not_before: i64,
    pub not_after: i64,
    pub outer_key: OuterKey,
    pub falcon: Vec<u8>,
    pub outer_algorithm: OuterAlgorithm,
    pub outer_signature: &'a [u8],
    /// Absent on a self-signed leaf, which vouches for nothing.
    pub inner_signature: Option<Vec<u8>>,
    extensions: Vec<X509Extension<'a>>,
}

impl<'a> Certificate<'a> {
    /// Reads `der`. Refuses all but version 3 with both keys in place.
    pub fn read(der: &'a [u8]) -> Result<Self, Refusal> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(malformed("the certificate is too long"));
        }
        let (signed, outer_signature) = envelope(der).ok_or(malformed("not a certificate"))?;
        let tbs: TbsCertificate<'a> = whole(signed).ok_or(malformed("not a certificate"))?;
        if tbs.version != X509Version::V3 {
            return Err(malformed("not version 3"));
        }
        check_extensions(tbs.extensions())?;
        Ok(Self {
            der,
            tbs: signed,
            presigned: presigned(signed).ok_or(malformed("not in DER"))?,
            issuer: tbs.issuer.as_raw(),
            subject: tbs.subject.as_raw(),
            not_before: tbs.validity.not_before.timestamp(),
            not_after: tbs.validity.not_after.timestamp(),
            outer_key: outer_key(&tbs.subject_pki)?,
            falcon: falcon_key(value(&tbs, &oid::SUBJECT_ALT_PUBLIC_KEY))?,
            outer_algorithm: outer_algorithm(&tbs.signature)?,
            outer_signature,
            inner_signature: inner_signature(&tbs)?,
            extensions: tbs.extensions().to_vec(),
        })
    }

    /// Refuses a certificate that may not sign others; `below` counts the CAs under it in a chain.
    pub fn check_authority(&self, below: u32) -> Result<(), Refusal> {
        let constraints = match self.parsed(&oid::BASIC_CONSTRAINTS) {
            Some((ParsedExtension::BasicConstraints(constraints), true)) => constraints,
            _ => return Err(malformed("an issuer without critical basic constraints")),
        };
        let may_sign = self.key_usage().is_some_and(KeyUsage::key_cert_sign);
        if !constraints.ca || !may_sign || !matches!(self.outer_key, OuterKey::P256(_)) {
            return Err(malformed("an issuer that is not a certificate authority"));
        }
        if constraints
            .path_len_constraint
            .is_some_and(|most| most < below)
        {
            return Err(malformed("an issuer that may not have issuers below it"));
        }
        Ok(())
    }

    /// Whether `issuer` is the one that this certificate says has signed it: by name, and by key
    /// identifier where both have one (RFC 5280 section 4.2.1.1).
    pub fn names(&self, issuer: &Certificate<'_>) -> bool {
        let named = match self.parsed(&oid::AUTHORITY_KEY_ID) {
            Some((ParsedExtension::AuthorityKeyIdentifier(named), _)) => {
                named.key_identifier.as_ref().map(|id| id.0)
            }
            _ => None,
        };
        let own = match issuer.parsed(&oid::SUBJECT_KEY_ID) {
            Some((ParsedExtension::SubjectKeyIdentifier(id), _)) => Some(id.0),
            _ => None,
        };
        self.issuer == issuer.subject && (named.is_none() || own.is_none() || named == own)
    }

    /// The Ed25519 key of a leaf; refuses a certificate that could sign others.
    pub fn leaf_key(&self) -> Result<[u8; 32], Refusal> {
        let ca = match self.parsed(&oid::BASIC_CONSTRAINTS) {
            None => false,
            Some((ParsedExtension::BasicConstraints(constraints), _)) => constraints.ca,
            Some(_) => true,
        };
        let usage = self
            .key_usage()
            .is_some_and(|usage| usage.digital_signature() && !usage.key_cert_sign());
        match (&self.outer_key, ca, usage) {
            (OuterKey::Ed25519(key), false, true) => Ok(*key),
            _ => Err(malformed(
                "the leaf is not an Ed25519 end entity for signatures",
            )),
        }
    }

    /// The names of a node's certificate; refuses one that is not for both ends of TLS.
    pub fn node_names(&self) -> Result<Names, Refusal> {
        match self.parsed(&oid::EXTENDED_KEY_USAGE) {
            Some((
                ParsedExtension::ExtendedKeyUsage(ExtendedKeyUsage {
                    server_auth: true,
                    client_auth: true,
                    ..
                }),
                _,
            )) => {}
            _ => return Err(malformed("the leaf is not for TLS clients and servers")),
        }
        match self.parsed(&oid::SUBJECT_ALT_NAME) {
            Some((ParsedExtension::SubjectAlternativeName(names), _)) => {
                Names::read(&names.general_names).map_err(malformed)
            }
            _ => Err(malformed("the leaf has no alternative name")),
        }
    }

    fn key_usage(&self) -> Option<&KeyUsage> {
        match self.parsed(&oid::KEY_USAGE) {
            Some((ParsedExtension::KeyUsage(usage), true)) => Some(usage),
            _ => None,
        }
    }

    pub(crate) fn parsed(&self, id: &Oid<'_>) -> Option<(&ParsedExtension<'a>, bool)> {
        let found = self
            .extensions
            .iter()
            .find(|extension| extension.oid == *id)?;
        Some((found.parsed_extension(), found.critical))
    }
}

/// The TBSCertificate in `der` and the signature over it.
///
/// No signature covers what stands around the TBSCertificate, so it is compared to the bit: one
/// certificate has one form.
fn envelope(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let whole = der::only(der)?;
    let parts = der::all(whole.content)?;
    let [signed, algorithm, signature] = parts.as_slice() else {
        return None;
    };
    let fields = der::all(signed.content)?;
    let (0, octets) = signature
        .content
        .split_first()
        .map(|(&n, rest)| (n, rest))?
    else {
        return None;
    };
    let tags = [whole.tag, signed.tag, signature.tag];
    let named_alike = fields.get(2).map(|field| field.whole) == Some(algorithm.whole);
    (tags == [der::SEQUENCE, der::SEQUENCE, der::BIT_STRING] && named_alike)
        .then_some((signed.whole, octets))
}

/// No extension twice, none that is critical and unknown, the three of this format not critical.
fn check_extensions(extensions: &[X509Extension<'_>]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for extension in extensions {
        if !seen.insert(extension.oid.as_bytes()) {
            return Err(malformed("an extension stands twice"));
        }
        let hybrid = [
            oid::SUBJECT_ALT_PUBLIC_KEY,
            oid::ALT_SIGNATURE_ALGORITHM,
            oid::ALT_SIGNATURE_VALUE,
        ];
        let known = [
            oid::SUBJECT_KEY_ID,
            oid::KEY_USAGE,
            oid::SUBJECT_ALT_NAME,
            oid::BASIC_CONSTRAINTS,
            oid::NAME_CONSTRAINTS,
            oid::CERTIFICATE_POLICIES,
            oid::AUTHORITY_KEY_ID,
            oid::EXTENDED_KEY_USAGE,
        ];
        if hybrid.contains(&extension.oid) {
            if extension.critical {
                return Err(malformed("a hybrid extension is marked critical"));
            }
        } else if known.contains(&extension.oid) {
            if extension.parsed_extension().error().is_some() {
                return Err(malformed("an extension cannot be read"));
            }
        } else if extension.critical {
            return Err(malformed("an unknown critical extension"));
        }
    }
    Ok(())
}

fn value<'a>(tbs: &TbsCertificate<'a>, id: &Oid<'_>) -> Option<&'a [u8]> {
    tbs.extensions()
        .iter()
        .find(|extension| extension.oid == *id)
        .map(|extension| extension.value)
}

fn outer_key(info: &SubjectPublicKeyInfo<'_>) -> Result<OuterKey, Refusal> {
    let key = octets(&info.subject_public_key)?;
    if is(&info.algorithm, &oid::ED25519) {
        return match key.try_into() {
            Ok(key) => Ok(OuterKey::Ed25519(key)),
            Err(_) => Err(malformed("an Ed25519 key of the wrong length")),
        };
    }
    let curve = info
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok());
    if info.algorithm.algorithm == oid::EC_PUBLIC_KEY && curve == Some(oid::P256) {
        return Ok(OuterKey::P256(key));
    }
    Err(malformed("the subject key is neither Ed25519 nor P-256"))
}

fn outer_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> Result<OuterAlgorithm, Refusal> {
    if is(algorithm, &oid::ECDSA_SHA256) {
        Ok(OuterAlgorithm::EcdsaP256Sha256)
    } else if is(algorithm, &oid::ED25519) {
        Ok(OuterAlgorithm::Ed25519)
    } else {
        Err(malformed(
            "the signature is neither ECDSA with SHA-256 nor Ed25519",
        ))
    }
}

fn falcon_key(value: Option<&[u8]>) -> Result<Vec<u8>, Refusal> {
    let value = value.ok_or(malformed("no FALCON-1024 key"))?;
    let info: SubjectPublicKeyInfo<'_> = whole(value).ok_or(unreadable())?;
    let key = octets(&info.subject_public_key)?;
    if !is(&info.algorithm, &oid::FALCON_1024_PADDED)
        || key.len() != hm_crypto::falcon::PUBLIC_BYTES
    {
        return Err(malformed("the alternative key is not a FALCON-1024 key"));
    }
    Ok(key)
}

fn inner_signature(tbs: &TbsCertificate<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let algorithm = value(tbs, &oid::ALT_SIGNATURE_ALGORITHM);
    let signature = value(tbs, &oid::ALT_SIGNATURE_VALUE);
    match (algorithm, signature) {
        (None, None) => Ok(None),
        (Some(algorithm), Some(signature)) => {
            let algorithm: AlgorithmIdentifier<'_> = whole(algorithm).ok_or(unreadable())?;
            if !is(&algorithm, &oid::FALCON_1024_PADDED) {
                return Err(malformed("the alternative signature is not FALCON-1024"));
            }
            match BitString::from_der(signature) {
                Ok(([], signature)) => Ok(Some(octets(&signature)?)),
                _ => Err(unreadable()),
            }
        }
        _ => Err(malformed("half an alternative signature")),
    }
}

/// Whether `algorithm` is `id` without parameters.
fn is(algorithm: &AlgorithmIdentifier<'_>, id: &Oid<'_>) -> bool {
    algorithm.algorithm == *id && algorithm.parameters.is_none()
}

fn octets(bits: &BitString<'_>) -> Result<Vec<u8>, Refusal> {
    if bits.unused_bits != 0 {
        return Err(malformed("a bit string that is not whole octets"));
    }
    Ok(bits.data.to_vec())
}

/// The one `T` that `value` is.
fn whole<'a, T: FromDer<'a, X509Error>>(value: &'a [u8]) -> Option<T> {
    match T::from_der(value) {
        Ok(([], found)) => Some(found),
        _ => None,
    }
}

fn unreadable() -> Refusal {
    malformed("a hybrid extension cannot be read")
}

fn malformed(why: &'static str) -> Refusal {
    Refusal::Malformed(why.into())
}
