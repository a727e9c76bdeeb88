//! What a node's certificate says about it, in the subject alternative name.
//!
//! ```text
//! URI:hm:node:<64 hex>   URI:hm:owner:<64 hex>   URI:hm:network:<64 hex>
//! DNS:<first 16 hex of the node>.<first 10 hex of the network>.hm.internal
//! ```
//! Each exactly once and nothing else, so that no second reading of a certificate is possible.

use x509_parser::extensions::GeneralName;

/// The three ids that a node's certificate binds together.
#[derive(Debug)]
pub struct Names {
    pub node: [u8; 32],
    pub owner: [u8; 32],
    pub network: [u8; 32],
}

impl Names {
    /// Reads the names, or says what is wrong with them.
    pub fn read(names: &[GeneralName<'_>]) -> Result<Self, &'static str> {
        let (mut node, mut owner, mut network, mut dns) = (None, None, None, None);
        for name in names {
            let twice = match name {
                GeneralName::URI(uri) => {
                    let (place, text) = if let Some(text) = uri.strip_prefix("hm:node:") {
                        (&mut node, text)
                    } else if let Some(text) = uri.strip_prefix("hm:owner:") {
                        (&mut owner, text)
                    } else if let Some(text) = uri.strip_prefix("hm:network:") {
                        (&mut network, text)
                    } else {
                        return Err("a URI in the alternative name that is not hm:");
                    };
                    place
                        .replace(hash(text).ok_or("an hm: URI is not 64 lower-case hex digits")?)
                        .is_some()
                }
                GeneralName::DNSName(text) => dns.replace(*text).is_some(),
                _ => return Err("an alternative name that is neither URI nor DNS"),
            };
            if twice {
                return Err("an alternative name stands twice");
            }
        }
        let names = Self {
            node: node.ok_or("no hm:node name")?,
            owner: owner.ok_or("no hm:owner name")?,
            network: network.ok_or("no hm:network name")?,
        };
        if dns != Some(self::dns(&names.node, &names.network).as_str()) {
            return Err("the DNS name does not follow from node and network");
        }
        Ok(names)
    }
}

/// The DNS name that follows from node and network.
pub fn dns(node: &[u8; 32], network: &[u8; 32]) -> String {
    format!("{}.{}.hm.internal", hex(&node[..8]), hex(&network[..5]))
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut out = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn uri(kind: &str, byte: u8) -> String {
        format!("hm:{kind}:{}", hex(&[byte; 32]))
    }

    fn read(uris: &[&str], dns: &str) -> Result<Names, &'static str> {
        let mut names: Vec<_> = uris.iter().map(|uri| GeneralName::URI(uri)).collect();
        names.push(GeneralName::DNSName(dns));
        Names::read(&names)
    }

    #[test]
    fn each_name_stands_once_and_nothing_else() {
        let (node, owner, network) = (uri("node", 1), uri("owner", 2), uri("network", 3));
        let dns = "0101010101010101.0303030303.hm.internal";
        let names = read(&[&node, &owner, &network], dns).unwrap();
        assert_eq!((names.node, names.owner), ([1; 32], [2; 32]));
        assert_eq!(names.network, [3; 32]);

        assert!(read(&[&node, &owner], dns).is_err());
        assert!(read(&[&node, &owner, &network, &owner], dns).is_err());
        assert!(read(&[&node, &owner, &network, "https://a"], dns).is_err());
        assert!(read(&[&node, &owner, &network], "a.hm.internal").is_err());
        assert!(read(&[&node, &owner, &network.to_uppercase()], dns).is_err());
        assert!(read(&[&node, &owner, &network[..74]], dns).is_err());
    }
}
