//! Domain names in wire form: labels with their lengths before them, the root's empty label last
//! (RFC 1035 section 3.1). Names of zones are kept in lower case, the canonical form of DNSSEC
//! (RFC 4034 section 6.2).

/// Octets of a name with its last label, and of a label (RFC 1035 section 2.3.4).
pub const NAME_BYTES_MAX: usize = 255;
pub const LABEL_BYTES_MAX: usize = 63;

/// The length of the uncompressed name at the front of `bytes`. `None` where none is there.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let label = usize::from(*bytes.get(at)?);
        if label > LABEL_BYTES_MAX {
            return None;
        }
        at += 1 + label;
        if at > NAME_BYTES_MAX || at > bytes.len() {
            return None;
        }
        if label == 0 {
            return Some(at);
        }
    }
}

/// Whether `bytes` is one name in lower case, and nothing else.
pub fn is_canonical(bytes: &[u8]) -> bool {
    length(bytes) == Some(bytes.len()) && !bytes.iter().any(u8::is_ascii_uppercase)
}

/// The name above; `None` for the root. `name` is well-formed, as everywhere below.
pub fn parent(name: &[u8]) -> Option<&[u8]> {
    match usize::from(*name.first()?) {
        0 => None,
        label => name.get(1 + label..),
    }
}

/// The name itself and all that are above it, the root last.
pub fn ancestors(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| parent(name))
}

/// Labels but for the root's.
pub fn labels(name: &[u8]) -> usize {
    ancestors(name).count() - 1
}

/// Whether `name` is `above` or lies below it.
pub fn is_within(name: &[u8], above: &[u8]) -> bool {
    name.len() >= above.len() && ancestors(name).any(|each| each == above)
}

/// The name `*.above` (RFC 4592); `None` where it would be too long.
pub fn wildcard(above: &[u8]) -> Option<Vec<u8>> {
    let name = [b"\x01*", above].concat();
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// Whether the leftmost label is `*`.
pub fn is_wildcard(name: &[u8]) -> bool {
    name.starts_with(b"\x01*")
}

/// A name shortly after `name` in canonical order, so that nothing is between: `\000.name`, or
/// where that is too long, the next name beside it (RFC 4471 section 3.1.2).
pub fn successor(name: &[u8]) -> Vec<u8> {
    if name.len() + 2 <= NAME_BYTES_MAX {
        return [b"\x01\x00", name].concat();
    }
    beside(name)
}

/// The name after `name` and all that is below it, among those of its length or shorter.
fn beside(name: &[u8]) -> Vec<u8> {
    let Some(rest) = parent(name) else {
        return name.to_vec();
    };
    let label = &name[..name.len() - rest.len()];
    let mut label = label[1..].to_vec();
    if label.len() < LABEL_BYTES_MAX && name.len() < NAME_BYTES_MAX {
        label.push(0);
    } else {
        while label.last() == Some(&u8::MAX) {
            label.pop();
        }
        match label.last_mut() {
            // Upper case sorts as lower case does.
            Some(last) if *last == b'@' => *last = b'[',
            Some(last) => *last += 1,
            None => return beside(rest),
        }
    }
    let mut name = vec![label.len() as u8];
    name.extend_from_slice(&label);
    name.extend_from_slice(rest);
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WWW: &[u8] = b"\x03www\x07example\x00";

    #[test]
    fn lengths_end_where_names_do() {
        assert_eq!(length(WWW), Some(WWW.len()));
        assert_eq!(length(&[WWW, b"more"].concat()), Some(WWW.len()));
        for cut in 0..WWW.len() {
            assert_eq!(length(&WWW[..cut]), None);
        }
        assert_eq!(length(b"\xc0\x0c"), None);
        assert_eq!(length(&[[1; 254].as_slice(), b"\x00"].concat()), Some(255));
        assert_eq!(length(&[[1; 256].as_slice(), b"\x00"].concat()), None);
    }

    #[test]
    fn what_is_above() {
        let above: Vec<&[u8]> = ancestors(WWW).collect();
        assert_eq!(above, [WWW, b"\x07example\x00", b"\x00"]);
        assert_eq!(labels(WWW), 2);
        assert!(is_within(WWW, b"\x07example\x00"));
        assert!(!is_within(b"\x07example\x00", WWW));
        assert!(!is_within(b"\x0bxexample\x03abc\x00", b"\x07example\x00"));
        assert_eq!(wildcard(b"\x00").unwrap(), b"\x01*\x00");
    }

    #[test]
    fn successors_stay_names() {
        assert_eq!(successor(WWW), [b"\x01\x00", WWW].concat());
        let above: Vec<u8> = [&[63][..], &[b'@'; 63]].concat().repeat(3);
        let long = |label: &[u8]| [&[label.len() as u8], label, &above, &[0]].concat();
        assert_eq!(
            successor(&long(&[255; 60])),
            long(&[&[255; 60][..], &[0]].concat())
        );
        assert_eq!(
            successor(&long(&[7; 61])),
            long(&[&[7; 60][..], &[8]].concat())
        );
        let (mut next, full) = (above.clone(), long(&[255; 61]));
        assert_eq!(full.len(), NAME_BYTES_MAX);
        next[63] = b'[';
        assert_eq!(successor(&full), [&next[..], &[0]].concat());
    }
}
