//! What kind of file it is, and where it must be cut.
//!
//! Everything here reads what a stranger may have written. A wrong answer costs a few chunks that
//! are not shared; it never makes a chunk wrong.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::cutting::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};
use crate::{parquet, safetensors};

/// Bytes read to tell the kind.
const FRONT_BYTES: usize = 64;

/// Bytes of a header or footer that are looked at; a longer one is taken as content.
pub(crate) const HEADER_BYTES_MAX: usize = 16 << 20;

/// Places of one file at which it is cut whatever its content says.
pub(crate) const CUTS_MAX: usize = 65_536;

/// Kinds that differ in how they are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One compressed stream, in which a change changes all that follows: chunks of one size, which
    /// costs no search for cuts. Archives that compress each member alone (zip) are content.
    Compressed,
    /// A NumPy array: its header apart.
    Npy,
    /// Tensors: each begins a chunk, so that those that did not change are found whole.
    Safetensors,
    /// A Parquet table: each row group begins a chunk.
    Parquet,
    /// Anything else.
    Content,
}

impl Kind {
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Kind::Compressed => "compressed",
            Kind::Npy => "npy",
            Kind::Safetensors => "safetensors",
            Kind::Parquet => "parquet",
            Kind::Content => "content",
        }
    }
}

/// How one file is cut.
pub(crate) struct Layout {
    pub kind: Kind,
    /// Ascending, further apart than the shortest chunk, none at the beginning or the end.
    pub cuts: Vec<u64>,
}

/// What compressed files begin with: at an offset, these bytes.
const COMPRESSED: &[(usize, &[u8])] = &[
    (0, b"\x1f\x8b\x08"),       // gzip, RFC 1952
    (0, b"\x28\xb5\x2f\xfd"),   // Zstandard, RFC 8878
    (0, b"\xfd7zXZ\x00"),       // xz
    (0, b"BZh"),                // bzip2
    (0, b"7z\xbc\xaf\x27\x1c"), // 7-Zip, solid by default
    (0, b"\x89PNG\r\n\x1a\n"),  // RFC 2083
    (0, b"\xff\xd8\xff"),       // JPEG
    (0, b"GIF8"),               //
    (4, b"ftyp"),               // ISO base media: MP4, HEIF, AVIF, QuickTime
    (0, b"\x1a\x45\xdf\xa3"),   // Matroska, WebM
    (0, b"OggS"),               // RFC 3533
    (0, b"fLaC"),               // RFC 9639
    (0, b"ID3"),                // MP3 with tags
    (8, b"WEBP"),               // in RIFF
];

impl Layout {
    /// How `file`, of `size` bytes, is cut.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of(file: &File, size: u64) -> io::Result<Layout> {
        let mut front = [0; FRONT_BYTES];
        let length = read_at_most(file, &mut front, 0)?;
        let front = &front[..length];
        let is = |at: usize, magic: &[u8]| front.get(at..at + magic.len()) == Some(magic);
        if COMPRESSED.iter().any(|(at, magic)| is(*at, magic)) {
            return Ok(Layout::new(Kind::Compressed, Vec::new(), size));
        }
        if is(0, b"\x93NUMPY") {
            let cuts = npy_data(front).into_iter().collect();
            return Ok(Layout::new(Kind::Npy, cuts, size));
        }
        if is(0, b"PAR1") {
            if let Some(cuts) = parquet::row_groups(file, size)? {
                return Ok(Layout::new(Kind::Parquet, cuts, size));
            }
        }
        if let Some(cuts) = safetensors::tensors(file, size, front)? {
            return Ok(Layout::new(Kind::Safetensors, cuts, size));
        }
        Ok(Layout::new(Kind::Content, Vec::new(), size))
    }

    fn new(kind: Kind, mut wanted: Vec<u64>, size: u64) -> Layout {
        wanted.sort_unstable();
        let mut cuts: Vec<u64> = Vec::new();
        for cut in wanted {
            let last = cuts.last().copied();
            // A header may be short; a tensor that is gets no chunk of its own.
            let far = last.is_none_or(|last| cut - last >= CHUNK_BYTES_MIN as u64);
            if cut > 0 && cut < size && far && cuts.len() < CUTS_MAX {
                cuts.push(cut);
            }
        }
        Layout { kind, cuts }
    }

    /// Bytes of a chunk where chunks have one size.
    pub fn fixed(&self) -> Option<usize> {
        (self.kind == Kind::Compressed).then_some(CHUNK_BYTES_MAX)
    }
}

/// Where the data of a NumPy array begin (NEP 1: the header's length is a u16, from version 2 on a
/// u32, little-endian).
fn npy_data(front: &[u8]) -> Option<u64> {
    let length = match front.get(6..12)? {
        [1, _, low, high, ..] => 10 + u64::from(u16::from_le_bytes([*low, *high])),
        [_, _, a, b, c, d] => 12 + u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => return None,
    };
    Some(length)
}

/// Fills the front of `buffer` from `offset`; less than all of it only where the file ends.
pub(crate) fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
