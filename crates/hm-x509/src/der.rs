//! Just enough DER (ITU-T X.690) to take elements out of a sequence and close it again: definite,
//! minimal lengths and one-byte tags, which is all an RFC 5280 certificate holds.

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
pub const CONTEXT_0: u8 = 0xa0;
pub const CONTEXT_3: u8 = 0xa3;

/// One element: its tag, its content, and the whole of it.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub whole: &'a [u8],
}

/// The first element of `input` and what follows it; `None` where `input` is not DER.
pub fn split(input: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = input.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = octets
                .iter()
                .fold(0usize, |sum, octet| (sum << 8) | usize::from(*octet));
            if length < 0x80 || octets.first() == Some(&0) {
                return None;
            }
            (length, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = &input[..input.len() - after.len()];
    Some((
        Element {
            tag,
            content,
            whole,
        },
        after,
    ))
}

/// The one element that `input` is, with nothing after it.
pub fn only(input: &[u8]) -> Option<Element<'_>> {
    let (element, rest) = split(input)?;
    rest.is_empty().then_some(element)
}

/// All elements of `content`, in order.
pub fn all(mut content: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !content.is_empty() {
        let (element, rest) = split(content)?;
        found.push(element);
        content = rest;
    }
    Some(found)
}

/// `content` under `tag`, with the shortest length octets.
pub fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        let octets = content.len().to_be_bytes();
        let skip = octets.iter().take_while(|octet| **octet == 0).count();
        out.push(0x80 | (octets.len() - skip) as u8);
        out.extend_from_slice(&octets[skip..]);
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wrap_and_split_agree_at_every_length_form() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000] {
            let content = vec![7; length];
            let wrapped = wrap(SEQUENCE, &content);
            let element = only(&wrapped).unwrap();
            assert_eq!(element.tag, SEQUENCE);
            assert_eq!(element.content, content);
            assert_eq!(element.whole, wrapped);
        }
    }

    #[test]
    fn what_is_not_der_is_refused() {
        let cases: [&[u8]; 8] = [
            &[],
            &[0x30],
            &[0x30, 1],
            &[0x30, 0x80, 0, 0],       // indefinite length
            &[0x30, 0x81, 0x01, 0],    // long form of a short length
            &[0x30, 0x82, 0x00, 0x81], // leading zero in the length
            &[0x1f, 0x81, 0x01, 0],    // tag of several bytes
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        ];
        for case in cases {
            assert!(split(case).is_none(), "{case:02x?}");
        }
        assert!(only(&[0x30, 0, 0x30, 0]).is_none());
        assert!(all(&[0x30, 0, 0x30]).is_none());
    }
}
