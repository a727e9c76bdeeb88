//! The bytes that the inner (FALCON) signature covers.

use crate::{der, oid};

/// The DER TBSCertificate `tbs` without its `signature` field and without extension 2.5.29.74.
///
/// Issuer and verifier both come here, the issuer with a TBSCertificate that lacks the extension
/// and the verifier with one that has it, so they cannot come to differ about the bytes. `None`
/// where `tbs` is not a version 3 TBSCertificate in DER with extensions.
/// Source: ITU-T X.509 (10/2019) clauses 7.2.2 and 9.8.4.
pub fn presigned(tbs: &[u8]) -> Option<Vec<u8>> {
    let outer = der::only(tbs)?;
    let fields = der::all(outer.content)?;
    // version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, extensions
    let [version, serial, signature, middle @ .., extensions] = fields.as_slice() else {
        return None;
    };
    if outer.tag != der::SEQUENCE
        || version.tag != der::CONTEXT_0
        || serial.tag != der::INTEGER
        || signature.tag != der::SEQUENCE
        || extensions.tag != der::CONTEXT_3
    {
        return None;
    }
    let list = der::only(extensions.content)?;
    let mut kept = Vec::with_capacity(list.content.len());
    for extension in der::all(list.content)? {
        let (id, _) = der::split(extension.content)?;
        if id.tag != der::OBJECT_IDENTIFIER {
            return None;
        }
        if id.content != oid::ALT_SIGNATURE_VALUE_DER {
            kept.extend_from_slice(extension.whole);
        }
    }
    let mut content = Vec::with_capacity(outer.content.len());
    for field in [version, serial].into_iter().chain(middle) {
        content.extend_from_slice(field.whole);
    }
    content.extend(der::wrap(der::CONTEXT_3, &der::wrap(der::SEQUENCE, &kept)));
    Some(der::wrap(der::SEQUENCE, &content))
}
