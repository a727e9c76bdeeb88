//! The encoding of `wire.errors.Problem`: a MessagePack array of four strings, in the form that
//! `hypermesh.wire.codec` accepts (shortest headers).

use bytes::Bytes;

use crate::error::Error;

/// `[code, what, why, fix]`. `what` and `fix` are left empty: the catalogue of the reader has them.
pub fn encode(error: &Error) -> Bytes {
    match error {
        Error::Failed { kind, .. } => {
            let mut out = vec![0x94];
            for text in [kind.code().as_str(), "", error.reason(), ""] {
                put_text(&mut out, text);
            }
            out.into()
        }
        Error::Problem(encoded) => encoded.clone(),
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=255 => out.extend([0xd9, length as u8]),
        length => {
            out.push(0xda);
            out.extend((length as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn headers_are_the_shortest() {
        let short = encode(&Error::new(Kind::Fenced, "epoch 1"));
        assert_eq!(&short[..], b"\x94\xacHM-STOQ-0043\xa0\xa7epoch 1\xa0");
        let middle = encode(&Error::new(Kind::Fenced, "x".repeat(40)));
        assert_eq!(&middle[14..17], &[0xa0, 0xd9, 40]);
        let long = encode(&Error::new(Kind::Fenced, "x".repeat(300)));
        assert_eq!(&long[14..18], &[0xa0, 0xda, 1, 44]);
    }
}
