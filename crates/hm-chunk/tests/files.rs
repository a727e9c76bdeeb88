//! Whole files through scanner and assembly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use hm_chunk::{
    chunk_digest, Assembly, Entry, Error, Kind, Scanner, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN,
};

const KEY: [u8; 32] = [7; 32];

/// Reproducible bytes without any structure.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Small numbers that differ from seed to seed.
fn number(seed: u64, below: usize) -> usize {
    let bytes = noise(seed ^ 0x5eed, 8);
    usize::from_le_bytes(bytes.try_into().unwrap()) % below
}

/// A file that has no name any more.
fn file_of(data: &[u8]) -> File {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path: PathBuf =
        std::env::temp_dir().join(format!("hm-chunk-{}-{count}", std::process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(data).unwrap();
    file
}

fn scanned(data: &[u8], key: [u8; 32], page: usize) -> (Vec<Entry>, Kind) {
    let mut scanner = Scanner::open(file_of(data), &key).unwrap();
    let mut entries = Vec::new();
    loop {
        let next = scanner.page(page).unwrap();
        if next.is_empty() {
            break;
        }
        assert!(next.len() <= page);
        entries.extend(next);
    }
    assert_eq!(scanner.root().as_ref(), Some(blake3::hash(data).as_bytes()));
    (entries, scanner.kind())
}

fn ends(entries: &[Entry]) -> Vec<u64> {
    let mut at = 0;
    entries
        .iter()
        .map(|entry| {
            at += entry.length as u64;
            at
        })
        .collect()
}

/// What of `data` a list says, in its order.
fn pieces<'a>(data: &'a [u8], entries: &[Entry]) -> Vec<&'a [u8]> {
    let mut rest = data;
    let pieces = entries
        .iter()
        .map(|entry| {
            let (piece, after) = rest.split_at(entry.length);
            rest = after;
            piece
        })
        .collect();
    assert!(rest.is_empty());
    pieces
}

#[test]
fn chunks_are_the_file_within_their_bounds_and_always_the_same() {
    for seed in 0..24 {
        let size = match seed {
            0 => 0,
            1 => 1,
            2 => CHUNK_BYTES_MIN,
            3 => CHUNK_BYTES_MIN + 1,
            _ => number(seed, 5 << 20),
        };
        let mut data = noise(seed, size);
        if seed % 3 == 0 {
            // Content in which no cut is found.
            data.iter_mut().skip(1000).for_each(|byte| *byte = 0);
        }
        let (entries, kind) = scanned(&data, KEY, 1 + number(seed, 50));
        assert_eq!(kind, Kind::Content);
        for (place, (piece, entry)) in pieces(&data, &entries).iter().zip(&entries).enumerate() {
            assert_eq!(chunk_digest(piece), entry.digest);
            assert!(entry.length <= CHUNK_BYTES_MAX);
            assert!(entry.length >= CHUNK_BYTES_MIN || place + 1 == entries.len());
        }
        assert_eq!(scanned(&data, KEY, 1000).0, entries);
    }
}

#[test]
fn cuts_depend_on_the_key() {
    let data = noise(1, 4 << 20);
    let (one, other) = (scanned(&data, KEY, 99).0, scanned(&data, [8; 32], 99).0);
    let one: HashSet<u64> = ends(&one).into_iter().collect();
    let shared = ends(&other).iter().filter(|end| one.contains(end)).count();
    // The end of the file, and one that falls together by chance.
    assert!(shared <= 2, "{shared}");
}

#[test]
fn one_byte_more_changes_few_chunks_wherever_it_is() {
    let before = noise(2, 6 << 20);
    let had: HashSet<_> = scanned(&before, KEY, 99)
        .0
        .iter()
        .map(|e| e.digest)
        .collect();
    for seed in 0..4 {
        let mut after = before.clone();
        after.insert(number(seed, before.len()), 0x42);
        let resent: usize = scanned(&after, KEY, 99)
            .0
            .iter()
            .filter(|entry| !had.contains(&entry.digest))
            .map(|entry| entry.length)
            .sum();
        assert!(resent <= 3 * CHUNK_BYTES_MAX, "{resent}");
    }
}

#[test]
fn a_compressed_file_is_cut_in_equal_parts() {
    let mut data = noise(3, (1 << 20) + 5);
    data[..4].copy_from_slice(b"\x28\xb5\x2f\xfd");
    let (entries, kind) = scanned(&data, KEY, 99);
    assert_eq!(kind, Kind::Compressed);
    let lengths: Vec<_> = entries.iter().map(|entry| entry.length).collect();
    assert_eq!(
        lengths,
        [CHUNK_BYTES_MAX; 4]
            .into_iter()
            .chain([5])
            .collect::<Vec<_>>()
    );
}

#[test]
fn an_array_is_cut_behind_its_header() {
    let mut data = noise(4, 1 << 20);
    data[..10].copy_from_slice(b"\x93NUMPY\x01\x00\x76\x00");
    let (entries, kind) = scanned(&data, KEY, 99);
    assert_eq!((kind, entries[0].length), (Kind::Npy, 128));
    data[..12].copy_from_slice(b"\x93NUMPY\x02\x00\x74\x00\x00\x00");
    assert_eq!(scanned(&data, KEY, 99).0[0].length, 128);
}

fn safetensors(header: &str, tensors: usize) -> Vec<u8> {
    let mut data = (header.len() as u64).to_le_bytes().to_vec();
    data.extend(header.as_bytes());
    data.extend(noise(5, tensors));
    data
}

#[test]
fn each_tensor_begins_a_chunk() {
    let header = r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[300000,700000]},
        "a":{"data_offsets":[0,300000]},"small":{"data_offsets":[700000,700004]},
        "c":{"data_offsets":[700004,900000]},"__metadata__":{"data_offsets":"none"}}"#;
    let data = safetensors(header, 900_000);
    let (entries, kind) = scanned(&data, KEY, 99);
    assert_eq!(kind, Kind::Safetensors);
    let begins = (8 + header.len()) as u64;
    let ends = ends(&entries);
    for tensor in [0, 300_000, 700_000] {
        assert!(ends.contains(&(begins + tensor)), "{tensor}");
    }
    // Too close to the one before.
    assert!(!ends.contains(&(begins + 700_004)));
}

#[test]
fn a_header_that_lies_costs_nothing_but_cuts() {
    for header in [
        r#"{"a":{"data_offsets":[18446744073709551615,1]}}"#,
        r#"{"a":{"data_offsets":[-5,99999999999999999999999999]}}"#,
        r#"{"data_offsets""#,
        "{",
    ] {
        let data = safetensors(header, 100_000);
        pieces(&data, &scanned(&data, KEY, 99).0);
    }
    for length in [u64::MAX, u64::MAX - 7, 1 << 40, 100_001, 99_991, 0] {
        let mut data = safetensors("{", 99_992);
        data[..8].copy_from_slice(&length.to_le_bytes());
        pieces(&data, &scanned(&data, KEY, 99).0);
    }
    let mut data = noise(6, 100_000);
    for length in [0, 1, 0xffff_u32, u32::MAX] {
        data[..8].copy_from_slice(b"\x93NUMPY\x02\x00");
        data[8..12].copy_from_slice(&length.to_le_bytes());
        pieces(&data, &scanned(&data, KEY, 99).0);
        data[..4].copy_from_slice(b"PAR1");
        let end = data.len();
        data[end - 4..].copy_from_slice(b"PAR1");
        data[end - 8..end - 4].copy_from_slice(&length.to_le_bytes());
        pieces(&data, &scanned(&data, KEY, 99).0);
    }
}

/// A footer with two row groups: the first says where it begins, of the other only a column does.
fn parquet() -> (Vec<u8>, Vec<u64>) {
    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value > 0x7f {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    let mut data = b"PAR1".to_vec();
    data.extend(noise(7, 120_000));
    let footer = data.len() as u64;
    let mut meta = vec![0x15, 2]; // 1: version, i32
    meta.extend([0x19, 0x18, 1, b'x']); // 2: a list of one string in place of the schema
    meta.extend([0x16, 20]); // 3: rows, i64
    meta.extend([0x19, 0x2c]); // 4: list of two structs
    meta.extend([0x56]); // field 5 of the group: its offset
    varint(40_000 << 1, &mut meta);
    meta.push(0);
    meta.extend([0x19, 0x1c]); // field 1 of the other: list of one column
    meta.extend([0x3c]); // 3: its metadata
    meta.extend([0x96]); // 9: the data page
    varint(90_000 << 1, &mut meta);
    meta.extend([0x26]); // 11: the dictionary
    varint(80_000 << 1, &mut meta);
    meta.extend([0, 0, 0]); // ends of metadata, column, group
    meta.push(0);
    let length = meta.len() as u32;
    data.extend(&meta);
    data.extend(length.to_le_bytes());
    data.extend(b"PAR1");
    (data, vec![40_000, 80_000, footer])
}

#[test]
fn each_row_group_begins_a_chunk() {
    let (data, expected) = parquet();
    let (entries, kind) = scanned(&data, KEY, 99);
    assert_eq!(kind, Kind::Parquet);
    let ends = ends(&entries);
    assert!(expected.iter().all(|cut| ends.contains(cut)), "{ends:?}");
}

#[test]
fn a_footer_with_any_byte_altered_is_still_a_file() {
    let (good, cuts) = parquet();
    for at in cuts[2] as usize..good.len() {
        for to in [0, 0x7f, 0x80, 0xff, 0x19, 0x1b, 0x1c] {
            let mut data = good.clone();
            data[at] = to;
            pieces(&data, &scanned(&data, KEY, 99).0);
        }
    }
}

#[test]
fn a_file_that_became_shorter_is_not_read_further() {
    let file = file_of(&noise(8, 3 << 20));
    let mut scanner = Scanner::open(file.try_clone().unwrap(), &KEY).unwrap();
    scanner.page(1).unwrap();
    file.set_len(1 << 20).unwrap();
    assert!(matches!(scanner.page(1000), Err(Error::Changed(_))));
    assert_eq!(scanner.root(), None);
}

#[test]
fn a_file_is_put_together_from_everywhere_and_only_from_what_verifies() {
    let data = noise(9, 3 << 20);
    let (entries, _) = scanned(&data, KEY, 999);
    let pieces = pieces(&data, &entries);
    let begins: Vec<u64> = [0].into_iter().chain(ends(&entries)).collect();
    // What an earlier attempt left: the second chunk is right, the third is not.
    let mut target = file_of(&data[..begins[3] as usize]);
    target.seek(std::io::SeekFrom::Start(begins[2])).unwrap();
    target.write_all(b"torn").unwrap();
    let source = file_of(&data);
    let mut assembly = Assembly::new(target.try_clone().unwrap());
    assert!(assembly.holds(begins[1], &entries[1]).unwrap());
    assert!(!assembly.holds(begins[2], &entries[2]).unwrap());
    assert!(!assembly.holds(begins[4], &entries[4]).unwrap());
    assert!(!assembly
        .copy(&source, begins[5], begins[4], &entries[4])
        .unwrap());
    assert!(assembly
        .copy(&source, begins[4], begins[4], &entries[4])
        .unwrap());

    assembly.room(&entries[0]).copy_from_slice(pieces[0]);
    assembly.put(&entries[0]).unwrap();
    assembly.keep(&entries[1]).unwrap();
    assert!(matches!(
        assembly.keep(&entries[2]),
        Err(Error::Mismatch { .. })
    ));
    assembly.room(&entries[2]).copy_from_slice(pieces[2]);
    assembly.room(&entries[2])[17] ^= 1;
    let planted = assembly.put(&entries[2]);
    assert!(matches!(planted, Err(Error::Mismatch { offset }) if offset == begins[2]));
    for (entry, piece) in entries.iter().zip(&pieces).skip(2) {
        assembly.room(entry).copy_from_slice(piece);
        assembly.put(entry).unwrap();
    }
    assembly.repeat(begins[0], &entries[0]).unwrap();
    assert!(assembly.repeat(begins[1], &entries[0]).is_err());
    assembly.settle().unwrap();
    let expected = [&data[..], pieces[0]].concat();
    assert_eq!(&assembly.root(), blake3::hash(&expected).as_bytes());
    let mut written = Vec::new();
    target.rewind().unwrap();
    target.read_to_end(&mut written).unwrap();
    assert!(written == expected);
}
