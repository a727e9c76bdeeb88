//! Where tensors begin in a safetensors file.
//!
//! u64 length of the header, little-endian; the header, JSON with `"data_offsets": [begin, end]` for
//! each tensor; the data, to which those offsets are relative. The header is searched for these
//! pairs and not parsed: whatever they say, they are only hints.

use std::fs::File;
use std::io;

use crate::layout::{read_at_most, CUTS_MAX, HEADER_BYTES_MAX};

const LENGTH_BYTES: usize = 8;
const OFFSETS: &[u8] = b"\"data_offsets\"";

/// Where tensors may begin, in any order; `None` where it is no such file. `front` is its beginning.
pub fn tensors(file: &File, size: u64, front: &[u8]) -> io::Result<Option<Vec<u64>>> {
    let Some((length, rest)) = front.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u64::from_le_bytes(*length);
    let data = (LENGTH_BYTES as u64).checked_add(length);
    if rest.first() != Some(&b'{') || data.is_none_or(|data| data > size) {
        return Ok(None);
    }
    let data = LENGTH_BYTES as u64 + length;
    let Some(length) = usize::try_from(length)
        .ok()
        .filter(|n| *n <= HEADER_BYTES_MAX)
    else {
        return Ok(Some(vec![data]));
    };
    // As long as the header claims, which the file's size bears out.
    let mut header = vec![0; length];
    let read = read_at_most(file, &mut header, LENGTH_BYTES as u64)?;
    let mut cuts = vec![data];
    cuts.extend(begins(&header[..read]).filter_map(|begin| data.checked_add(begin)));
    Ok(Some(cuts))
}

/// The first number of each pair of offsets.
fn begins(header: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut rest = header;
    std::iter::from_fn(move || {
        let at = rest
            .windows(OFFSETS.len())
            .position(|window| window == OFFSETS)?;
        rest = &rest[at + OFFSETS.len()..];
        let digits = rest.iter().skip_while(|byte| b" \t\r\n:[".contains(byte));
        let number = digits
            .take_while(|byte| byte.is_ascii_digit())
            .try_fold(0_u64, |sum, digit| {
                sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
            });
        Some(number.unwrap_or(0))
    })
    .take(CUTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_found_and_nonsense_is_not_followed() {
        let header =
            br#"{"a":{"dtype":"F32","data_offsets":[0,16]},"b":{"data_offsets" : [ 16, 99]},
            "c":{"data_offsets":[99999999999999999999999,1]},"d":{"data_offsets""#;
        assert_eq!(begins(header).collect::<Vec<_>>(), [0, 16, 0, 0]);
    }
}
