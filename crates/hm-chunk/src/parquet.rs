//! Where row groups begin in a Parquet file.
//!
//! The file ends with its metadata, their length (u32, little-endian) and `PAR1`. The metadata are a
//! struct in Thrift's compact protocol: field 4 is the list of row groups, of which field 5 is the
//! place in the file, and where that is missing the least place that its columns (field 1) name in
//! their metadata (field 3): 9 the data page, 11 the dictionary (apache/parquet-format,
//! `parquet.thrift`). Reading stops at the first thing that is not as it should be.

use std::fs::File;
use std::io;

use crate::layout::{read_at_most, CUTS_MAX, HEADER_BYTES_MAX};

const TRAILER_BYTES: usize = 8;
const MAGIC: &[u8] = b"PAR1";
/// Structs within structs that are followed.
const DEPTH_MAX: usize = 16;

/// Types of the compact protocol.
const BYTE: u8 = 3;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Where row groups may begin; `None` where it is no such file.
pub fn row_groups(file: &File, size: u64) -> io::Result<Option<Vec<u64>>> {
    let Some(end) = size.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(None);
    };
    let mut trailer = [0; TRAILER_BYTES];
    read_at_most(file, &mut trailer, end)?;
    let [a, b, c, d, magic @ ..] = trailer;
    let length = u32::from_le_bytes([a, b, c, d]);
    let footer = end.checked_sub(u64::from(length));
    let (Some(footer), true) = (footer, magic == MAGIC) else {
        return Ok(None);
    };
    let mut cuts = vec![footer];
    if length as usize <= HEADER_BYTES_MAX {
        let mut metadata = vec![0; length as usize];
        let read = read_at_most(file, &mut metadata, footer)?;
        let mut input = Input(&metadata[..read]);
        // What was found before something was wrong is as good as the rest.
        let _ = file_metadata(&mut input, &mut cuts);
    }
    Ok(Some(cuts))
}

fn file_metadata(input: &mut Input, cuts: &mut Vec<u64>) -> Option<()> {
    fields(input, |input, id, kind| match (id, kind) {
        (4, LIST) => elements(input, |input, kind| {
            if kind != STRUCT || cuts.len() >= CUTS_MAX {
                return None;
            }
            let mut group = RowGroup::default();
            row_group(input, &mut group)?;
            cuts.extend(group.offset.or(group.first_column));
            Some(())
        }),
        _ => skip(input, kind, 0),
    })
}

#[derive(Default)]
struct RowGroup {
    offset: Option<u64>,
    first_column: Option<u64>,
}

fn row_group(input: &mut Input, group: &mut RowGroup) -> Option<()> {
    fields(input, |input, id, kind| match (id, kind) {
        (1, LIST) => elements(input, |input, _| {
            fields(input, |input, id, kind| match (id, kind) {
                (3, STRUCT) => fields(input, |input, id, kind| match (id, kind) {
                    (9 | 11, I64) => {
                        let place = input.zigzag()?;
                        // 0 is no place: the file begins with its magic.
                        let lower = group.first_column.is_none_or(|first| place < first);
                        if place > 0 && lower {
                            group.first_column = Some(place);
                        }
                        Some(())
                    }
                    _ => skip(input, kind, 0),
                }),
                _ => skip(input, kind, 0),
            })
        }),
        (5, I64) => {
            group.offset = Some(input.zigzag()?).filter(|offset| *offset > 0);
            Some(())
        }
        _ => skip(input, kind, 0),
    })
}

/// What is left to read. Each read takes at least a byte, so that no loop outlasts the input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed number that is not negative.
    fn zigzag(&mut self) -> Option<u64> {
        let value = self.varint()?;
        Some(if value & 1 == 0 { value >> 1 } else { 0 })
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(count).ok()?..)?;
        Some(())
    }
}

/// Calls `each` with the id and type of every field of a struct; it reads the value.
fn fields(
    input: &mut Input,
    mut each: impl FnMut(&mut Input, u64, u8) -> Option<()>,
) -> Option<()> {
    let mut id = 0_u64;
    loop {
        let header = input.byte()?;
        let kind = header & 0x0f;
        if header == 0 {
            return Some(());
        }
        id = match header >> 4 {
            0 => input.zigzag()?,
            delta => id.checked_add(delta.into())?,
        };
        each(input, id, kind)?;
    }
}

/// Calls `each` with the type of every element of a list; it reads the element.
fn elements(input: &mut Input, mut each: impl FnMut(&mut Input, u8) -> Option<()>) -> Option<()> {
    let header = input.byte()?;
    let count = match header >> 4 {
        15 => input.varint()?,
        count => count.into(),
    };
    for _ in 0..count {
        if input.0.is_empty() {
            return None;
        }
        each(input, header & 0x0f)?;
    }
    Some(())
}

fn skip(input: &mut Input, kind: u8, depth: usize) -> Option<()> {
    if depth >= DEPTH_MAX {
        return None;
    }
    match kind {
        // True and false say it in their type.
        1 | 2 => Some(()),
        BYTE => input.pass(1),
        4..=I64 => input.varint().map(|_| ()),
        DOUBLE => input.pass(8),
        BINARY => {
            let length = input.varint()?;
            input.pass(length)
        }
        LIST | SET => elements(input, |input, kind| skip_element(input, kind, depth)),
        MAP => {
            let count = input.varint()?;
            let kinds = if count == 0 { 0 } else { input.byte()? };
            for _ in 0..count {
                skip_element(input, kinds >> 4, depth)?;
                skip_element(input, kinds & 0x0f, depth)?;
            }
            Some(())
        }
        STRUCT => fields(input, |input, _, kind| skip(input, kind, depth + 1)),
        _ => None,
    }
}

/// In a collection, true and false take a byte.
fn skip_element(input: &mut Input, kind: u8, depth: usize) -> Option<()> {
    match kind {
        1 | 2 => input.pass(1),
        kind => skip(input, kind, depth + 1),
    }
}
