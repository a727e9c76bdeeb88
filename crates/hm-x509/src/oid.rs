//! Every object identifier this crate knows. `vectors/oids.json` is the list; a test compares.

use x509_parser::der_parser::oid;
use x509_parser::oid_registry::Oid;

/// FALCON-1024, padded signatures: the experimental identifier the Open Quantum Safe tools use.
/// FN-DSA will have another one, and another encoding, once FIPS 206 is final.
pub const FALCON_1024_PADDED: Oid<'static> = oid!(1.3.9999 .3 .19);
pub const ED25519: Oid<'static> = oid!(1.3.101 .112);
pub const EC_PUBLIC_KEY: Oid<'static> = oid!(1.2.840 .10045 .2 .1);
pub const P256: Oid<'static> = oid!(1.2.840 .10045 .3 .1 .7);
pub const ECDSA_SHA256: Oid<'static> = oid!(1.2.840 .10045 .4 .3 .2);

pub const COMMON_NAME: Oid<'static> = oid!(2.5.4 .3);
pub const SERVER_AUTH: Oid<'static> = oid!(1.3.6 .1 .5 .5 .7 .3 .1);
pub const CLIENT_AUTH: Oid<'static> = oid!(1.3.6 .1 .5 .5 .7 .3 .2);

pub const SUBJECT_KEY_ID: Oid<'static> = oid!(2.5.29 .14);
pub const KEY_USAGE: Oid<'static> = oid!(2.5.29 .15);
pub const SUBJECT_ALT_NAME: Oid<'static> = oid!(2.5.29 .17);
pub const BASIC_CONSTRAINTS: Oid<'static> = oid!(2.5.29 .19);
pub const NAME_CONSTRAINTS: Oid<'static> = oid!(2.5.29 .30);
pub const CERTIFICATE_POLICIES: Oid<'static> = oid!(2.5.29 .32);
pub const AUTHORITY_KEY_ID: Oid<'static> = oid!(2.5.29 .35);
pub const EXTENDED_KEY_USAGE: Oid<'static> = oid!(2.5.29 .37);
pub const SUBJECT_ALT_PUBLIC_KEY: Oid<'static> = oid!(2.5.29 .72);
pub const ALT_SIGNATURE_ALGORITHM: Oid<'static> = oid!(2.5.29 .73);
pub const ALT_SIGNATURE_VALUE: Oid<'static> = oid!(2.5.29 .74);

/// The content octets of 2.5.29.74, for the splice that must find it without a parser.
pub const ALT_SIGNATURE_VALUE_DER: [u8; 3] = [0x55, 0x1d, 0x4a];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_those_in_the_list() {
        let list = include_str!("../../../vectors/oids.json");
        let here = [
            ("FALCON_1024_PADDED", FALCON_1024_PADDED),
            ("ED25519", ED25519),
            ("EC_PUBLIC_KEY", EC_PUBLIC_KEY),
            ("P256", P256),
            ("ECDSA_SHA256", ECDSA_SHA256),
            ("COMMON_NAME", COMMON_NAME),
            ("SERVER_AUTH", SERVER_AUTH),
            ("CLIENT_AUTH", CLIENT_AUTH),
            ("SUBJECT_KEY_ID", SUBJECT_KEY_ID),
            ("KEY_USAGE", KEY_USAGE),
            ("SUBJECT_ALT_NAME", SUBJECT_ALT_NAME),
            ("BASIC_CONSTRAINTS", BASIC_CONSTRAINTS),
            ("NAME_CONSTRAINTS", NAME_CONSTRAINTS),
            ("CERTIFICATE_POLICIES", CERTIFICATE_POLICIES),
            ("AUTHORITY_KEY_ID", AUTHORITY_KEY_ID),
            ("EXTENDED_KEY_USAGE", EXTENDED_KEY_USAGE),
            ("SUBJECT_ALT_PUBLIC_KEY", SUBJECT_ALT_PUBLIC_KEY),
            ("ALT_SIGNATURE_ALGORITHM", ALT_SIGNATURE_ALGORITHM),
            ("ALT_SIGNATURE_VALUE", ALT_SIGNATURE_VALUE),
        ];
        assert_eq!(list.matches("\"oid\"").count(), here.len());
        for (name, id) in here {
            let entry = format!("\"name\": \"{name}\", \"oid\": \"{id}\"");
            assert!(list.contains(&entry), "{entry}");
        }
        assert_eq!(ALT_SIGNATURE_VALUE.as_bytes(), ALT_SIGNATURE_VALUE_DER);
    }
}
