//! Fuzz targets of this crate: lists of chunks from a peer, and files from anybody.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};

use hm_fuzz::Target;

use crate::assembly::Assembly;
use crate::cutting::{Cutting, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, KEY_BYTES};
use crate::digest::chunk_digest;
use crate::entry::{Entry, ENTRY_BYTES};
use crate::error::Result;
use crate::layout::Layout;
use crate::reference;
use crate::scanner::Scanner;
use crate::sieve::WINDOW_BYTES;

pub const TARGETS: &[Target] = &[
    Target {
        name: "chunk-list",
        seeds: lists,
        read: read_list,
    },
    Target {
        name: "chunk-layout",
        seeds: files,
        read: read_file,
    },
    Target {
        name: "chunk-cutting",
        seeds: || {
            vec![
                (0..=255).collect(),
                b"7one line of many like it\n".repeat(5),
                vec![0; 70],
            ]
        },
        read: read_content,
    },
    Target {
        name: "chunk-assembly",
        seeds: || {
            vec![
                b"\x02ab\x00\x03cde\x01\x02ab\x02\x03cde\x03\x01x".to_vec(),
                vec![0; 40],
            ]
        },
        read: read_assembly,
    },
];

fn lists() -> Vec<Vec<u8>> {
    [&[][..], &[1], &[CHUNK_BYTES_MIN, CHUNK_BYTES_MAX, 7]]
        .into_iter()
        .map(|lengths| {
            let mut list = Vec::new();
            for length in lengths {
                let digest = [*length as u8; 32];
                Entry {
                    length: *length,
                    digest,
                }
                .write(&mut list);
            }
            list
        })
        .collect()
}

/// A list has one encoding, and its chunks are of lengths that there may be.
fn read_list(input: &[u8]) {
    let Ok(entries) = Entry::read_all(input) else {
        return;
    };
    let mut written = Vec::new();
    for entry in &entries {
        assert!((1..=CHUNK_BYTES_MAX).contains(&entry.length));
        entry.write(&mut written);
    }
    assert_eq!(written, input);
    assert_eq!(entries.len(), input.len() / ENTRY_BYTES);
}

/// Files of every kind that is cut by what it says of itself.
fn files() -> Vec<Vec<u8>> {
    let header = br#"{"a":{"data_offsets":[0,16]},"b":{"data_offsets":[40000,50000]}}"#;
    let safetensors = [
        &(header.len() as u64).to_le_bytes()[..],
        header,
        &[5; 60_000],
    ]
    .concat();
    // Field 4: a list of one struct with field 5, the place 10,000; and one whose column says it.
    let metadata = [
        0x49, 0x2c, 0x56, 0xa0, 0x9c, 0x01, 0, 0x19, 0x1c, 0x3c, 0x96, 0xa0, 0x9c, 0x01, 0, 0, 0, 0,
    ];
    let parquet = [
        &b"PAR1"[..],
        &[6; 50_000],
        &metadata,
        &(metadata.len() as u32).to_le_bytes(),
        b"PAR1",
    ]
    .concat();
    vec![
        safetensors,
        parquet,
        [
            &b"\x93NUMPY\x01\x00\x76\x00"[..],
            &[b' '; 0x76],
            &[1; 5_000],
        ]
        .concat(),
        [&b"\x93NUMPY\x02\x00\x76\x00\x00\x00"[..], &[b' '; 0x76]].concat(),
        [&b"\x1f\x8b\x08"[..], &[2; 500]].concat(),
        b"content".to_vec(),
        Vec::new(),
    ]
}

/// Whatever a file says of itself: its cuts ascend, far enough apart, within it; and its chunks
/// are all of it, in order.
fn read_file(input: &[u8]) {
    with_file(input, |file| {
        let size = input.len() as u64;
        let Ok(layout) = Layout::of(file, size) else {
            unreachable!("the file cannot be read")
        };
        let mut last = None;
        for cut in layout.cuts {
            assert!(0 < cut && cut < size);
            assert!(last.is_none_or(|last| cut - last >= CHUNK_BYTES_MIN as u64));
            last = Some(cut);
        }
        let scan = || -> Result<_> {
            let mut scanner = Scanner::open(file.try_clone()?, &[7; 32])?;
            Ok((scanner.page(usize::MAX)?, scanner.root()))
        };
        let Ok((entries, root)) = scan() else {
            unreachable!("the file cannot be scanned")
        };
        let mut rest = input;
        for entry in entries {
            let (chunk, after) = rest.split_at(entry.length);
            assert_eq!(chunk_digest(chunk), entry.digest);
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(root, Some(*blake3::hash(input).as_bytes()));
    });
}

/// `key u8 | content`. What is fast finds what the definition says: in the content as it is, and in
/// as much of it over and over as there are cuts in.
fn read_content(input: &[u8]) {
    const STRETCHED_BYTES: usize = 72 * 1024;
    let Some((key, content)) = input.split_first() else {
        return;
    };
    let cutting = Cutting::new(&[*key; KEY_BYTES]);
    let (sieve, _) = cutting.numbers();
    let mut from = WINDOW_BYTES;
    while from < content.len() {
        let expected = reference::next(sieve, content, from, content.len());
        assert_eq!(sieve.next(content, from, content.len()), expected);
        assert_eq!(sieve.next_plain(content, from, content.len()), expected);
        from = expected.map_or(content.len(), |place| place + 1);
    }
    if !content.is_empty() {
        let rounds = content.iter().enumerate().cycle();
        let stretched: Vec<u8> = rounds
            .zip(0_u32..)
            .map(|((at, byte), round)| byte ^ if at % 32 == 0 { (round >> 8) as u8 } else { 0 })
            .take(STRETCHED_BYTES)
            .collect();
        assert_eq!(
            cutting.cut(&stretched),
            reference::cut(&cutting, &stretched)
        );
    }
}

/// `what an earlier attempt left: length u8, bytes`, then steps of `what u8 | chunk: length u8,
/// bytes`, each chunk announced by its digest but for the lies. What is complete is what was
/// announced, and nothing else gets in.
fn read_assembly(input: &[u8]) {
    let mut rest = input;
    let Some(left) = piece(&mut rest) else { return };
    with_file(left, |assembly_file| {
        let Ok(file) = assembly_file.try_clone() else {
            unreachable!("the file cannot be duplicated")
        };
        let mut assembly = Assembly::new(file);
        let mut expected: Vec<u8> = Vec::new();
        while let Some((what, after)) = rest.split_first() {
            rest = after;
            let Some(chunk) = piece(&mut rest).filter(|chunk| !chunk.is_empty()) else {
                continue;
            };
            let entry = Entry {
                length: chunk.len(),
                digest: chunk_digest(chunk),
            };
            let done = match what % 4 {
                0 => {
                    assembly.room(&entry).copy_from_slice(chunk);
                    assembly.put(&entry)
                }
                1 => assembly.keep(&entry),
                2 => assembly.repeat(u64::from(what / 4), &entry),
                // Other bytes than were announced.
                _ => {
                    let room = assembly.room(&entry);
                    room.copy_from_slice(chunk);
                    room[0] ^= 1;
                    let lied = assembly.put(&entry);
                    assert!(lied.is_err());
                    lied
                }
            };
            if done.is_ok() {
                expected.extend_from_slice(chunk);
            }
            assert_eq!(assembly.complete(), expected.len() as u64);
        }
        assert_eq!(assembly.root(), *blake3::hash(&expected).as_bytes());
        let mut there = vec![0; expected.len()];
        let read = assembly_file.read_exact_at(&mut there, 0);
        assert!(read.is_ok() && there == expected);
    });
}

/// A length and as many bytes; less at the end.
fn piece<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first()?;
    let (piece, after) = after.split_at(usize::from(*length).min(after.len()));
    *rest = after;
    Some(piece)
}

/// Calls `each` with a file of these bytes: one of the thread, used again, since making one takes
/// longer than reading it.
fn with_file(content: &[u8], each: impl FnOnce(&File)) {
    thread_local! {
        static FILE: OnceCell<File> = const { OnceCell::new() };
    }
    FILE.with(|file| {
        let file = file.get_or_init(|| match unnamed() {
            Ok(file) => file,
            Err(error) => unreachable!("no temporary file can be made: {error}"),
        });
        let written = file.set_len(0).and_then(|()| file.write_all_at(content, 0));
        assert!(written.is_ok(), "{written:?}");
        each(file);
    });
}

fn unnamed() -> std::io::Result<File> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("hm-chunk-fuzz-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::layout::Kind;

    #[test]
    fn no_altered_input_breaks_a_decoder() {
        for target in TARGETS {
            if let Err(failure) = hm_fuzz::exercise(target, 2026, 1_500) {
                panic!("{failure}");
            }
        }
    }

    #[test]
    fn the_seeds_are_files_of_their_kinds() {
        let kinds: Vec<_> = files()
            .iter()
            .map(|content| {
                let mut layout = None;
                with_file(content, |file| {
                    layout = Layout::of(file, content.len() as u64).ok();
                });
                let layout = layout.unwrap();
                (layout.kind, layout.cuts.len())
            })
            .collect();
        assert_eq!(kinds[0], (Kind::Safetensors, 2));
        assert_eq!(kinds[1], (Kind::Parquet, 2));
        assert_eq!(kinds[2], (Kind::Npy, 1));
        assert_eq!(kinds[4], (Kind::Compressed, 0));
        assert_eq!(kinds[5], (Kind::Content, 0));
    }
}
