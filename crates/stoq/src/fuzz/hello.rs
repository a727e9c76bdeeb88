//! The first messages of a TLS handshake, which `session` reads along.

use std::convert::identity;

use crate::limits::HELLO_BYTES_MAX;
use crate::session::{digest, takes_ticket, First};

const PRE_SHARED_KEY: [u8; 2] = [0, 41];
/// Bytes of an input that say where the message is cut.
const CUTS: usize = 3;

/// A hello of `kind` with these extensions (RFC 8446 sections 4.1.2 and 4.1.3).
fn hello(kind: u8, session: &[u8], extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[session.len() as u8],
        session,
        &[0x13, 2, 0],
        &(extensions.len() as u16).to_be_bytes(),
        extensions,
    ]
    .concat();
    let length = (body.len() as u32).to_be_bytes();
    [&[kind][..], &length[1..], &body].concat()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let versions: &[u8] = &[0, 43, 0, 2, 3, 4];
    let taken = [versions, &PRE_SHARED_KEY, &[0, 2, 0, 0]].concat();
    [(2, versions), (2, &taken), (1, versions), (1, &[])]
        .into_iter()
        .flat_map(|(kind, extensions)| {
            let whole = hello(kind, &[9; 32], extensions);
            [
                [&[0; CUTS][..], &whole].concat(),
                [&[1, 5, 40][..], &whole, &[11, 0, 0, 0]].concat(),
            ]
        })
        .collect()
}

/// A message says the same however it was cut, and nothing until it is whole; and a ticket is taken
/// exactly where one of the extensions says so.
pub fn read(input: &[u8]) {
    let Some((cuts, message)) = input.split_first_chunk::<CUTS>() else {
        return;
    };
    in_pieces(cuts, message, takes_ticket);
    in_pieces(cuts, message, digest);
    // The same bytes as extensions: as many as are whole, and the rest left out.
    let (mut extensions, mut taken, mut rest) = (Vec::new(), false, message);
    while let [t0, t1, l0, l1, after @ ..] = rest {
        // Short ones, so that there are several.
        let length = usize::from(u16::from_be_bytes([*l0, *l1]) & 0x1f);
        let Some((body, after)) = after.split_at_checked(length) else {
            break;
        };
        let longer = 4 + body.len() + extensions.len();
        if longer > usize::from(u16::MAX) {
            break;
        }
        extensions.extend([*t0, *t1, 0, length as u8]);
        extensions.extend_from_slice(body);
        taken |= [*t0, *t1] == PRE_SHARED_KEY;
        rest = after;
    }
    let session = &cuts[..usize::from(cuts[0] % 3)];
    assert_eq!(takes_ticket(&hello(2, session, &extensions)), Some(taken));
    assert_eq!(takes_ticket(&hello(1, session, &extensions)), None);
}

fn in_pieces<T: Copy + PartialEq + std::fmt::Debug>(
    cuts: &[u8; CUTS],
    message: &[u8],
    said: fn(&[u8]) -> Option<T>,
) {
    let mut first = First::<T>::default();
    let mut rest = message;
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        first.push(piece, said);
        rest = after;
    }
    first.push(rest, said);
    let length = match message {
        [_, l0, l1, l2, ..] => Some(4 + u32::from_be_bytes([0, *l0, *l1, *l2]) as usize),
        _ => None,
    };
    let whole = length
        .filter(|length| *length <= HELLO_BYTES_MAX)
        .and_then(|length| message.get(..length));
    assert_eq!(first.known(), whole.map(said).and_then(identity));
}
