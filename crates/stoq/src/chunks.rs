//! Bytes in the pieces in which they arrived, so that whoever wants them whole copies them once.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::quic::RecvStream;

/// One run of bytes in order, in pieces.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Chunks {
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Them in order, as they arrived; none is empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Fills the front of `buffer`, which has room for `len()` bytes or gets what fits.
    pub fn copy_to(&self, buffer: &mut [u8]) {
        let mut left = buffer;
        for piece in &self.pieces {
            let (front, rest) = left.split_at_mut(piece.len().min(left.len()));
            front.copy_from_slice(&piece[..front.len()]);
            left = rest;
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// Without a copy where there is one piece.
    pub fn into_bytes(mut self) -> Bytes {
        match self.pieces.len() {
            0 | 1 => self.pieces.pop().unwrap_or_default(),
            _ => self.pieces.concat().into(),
        }
    }

    /// The first `count` bytes, or `None` where there are fewer.
    fn split_front<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        if self.length < COUNT {
            return None;
        }
        let mut front = [0; COUNT];
        self.copy_to(&mut front);
        let mut left = COUNT;
        self.pieces.retain_mut(|piece| {
            let cut = left.min(piece.len());
            left -= cut;
            bytes::Buf::advance(piece, cut);
            !piece.is_empty()
        });
        self.length -= COUNT;
        Some(front)
    }
}

/// What has arrived, at most `count` bytes; waits for the first of them. `None` after the last byte
/// of the peer. May be cancelled: nothing is lost.
pub async fn arrived(receive: &mut RecvStream, count: usize) -> Result<Option<Chunks>> {
    let mut chunks = Chunks::default();
    let Some(first) = receive.read_chunk(count, true).await? else {
        return Ok(None);
    };
    chunks.push(first.bytes);
    while chunks.len() < count {
        let mut next = pin!(receive.read_chunk(count - chunks.len(), true));
        // Only what is there: an end or a failure comes again at the next call.
        let next = poll_fn(|context| match next.as_mut().poll(context) {
            Poll::Ready(Ok(Some(chunk))) => Poll::Ready(Some(chunk.bytes)),
            _ => Poll::Ready(None),
        })
        .await;
        match next {
            Some(bytes) => chunks.push(bytes),
            None => break,
        }
    }
    Ok(Some(chunks))
}

/// A frame that arrives: a header of `HEADER` bytes, then what it announces.
pub struct Frame<'a> {
    receive: &'a mut RecvStream,
    ahead: Chunks,
}

impl<'a> Frame<'a> {
    /// The header. Bytes behind it that have arrived are kept.
    pub async fn begin<const HEADER: usize>(
        receive: &'a mut RecvStream,
    ) -> Result<(Frame<'a>, [u8; HEADER])> {
        let mut ahead = Chunks::default();
        loop {
            let Some(chunk) = receive.read_chunk(usize::MAX, true).await? else {
                return Err(early(ahead.len()));
            };
            ahead.push(chunk.bytes);
            if let Some(header) = ahead.split_front() {
                return Ok((Frame { receive, ahead }, header));
            }
        }
    }

    /// The `length` bytes that are all that follows.
    pub async fn body(self, length: usize) -> Result<Chunks> {
        let Frame { receive, mut ahead } = self;
        while ahead.len() < length {
            let Some(chunk) = receive.read_chunk(length - ahead.len(), true).await? else {
                return Err(early(ahead.len()));
            };
            ahead.push(chunk.bytes);
        }
        if ahead.len() > length {
            return Err(Error::new(
                Kind::MalformedFrame,
                format!("more bytes follow the {length} that were announced"),
            ));
        }
        Ok(ahead)
    }
}

fn early(read: usize) -> Error {
    Error::new(
        Kind::MalformedFrame,
        format!("the stream ended {read} bytes into a frame"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(pieces: &[&'static [u8]]) -> Chunks {
        let mut chunks = Chunks::default();
        for piece in pieces {
            chunks.push(Bytes::from_static(piece));
        }
        chunks
    }

    #[test]
    fn pieces_are_one_run_of_bytes() {
        let chunks = of(&[b"ab", b"", b"cde", b"f"]);
        assert_eq!(chunks.len(), 6);
        assert_eq!(chunks.to_vec(), b"abcdef");
        let mut exact = [0; 6];
        chunks.copy_to(&mut exact);
        assert_eq!(&exact, b"abcdef");
        let mut short = [0; 4];
        chunks.copy_to(&mut short);
        assert_eq!(&short, b"abcd");
        let mut long = [b'.'; 8];
        chunks.copy_to(&mut long);
        assert_eq!(&long, b"abcdef..");
        assert_eq!(&chunks.into_bytes()[..], b"abcdef");
        assert!(of(&[]).into_bytes().is_empty());
    }

    #[test]
    fn the_front_is_split_off_wherever_the_pieces_end() {
        for pieces in [
            &[&b"abcdef"[..]][..],
            &[b"a", b"bc", b"def"],
            &[b"abc", b"def"],
        ] {
            let mut chunks = of(pieces);
            assert_eq!(chunks.split_front::<3>().unwrap(), *b"abc");
            assert_eq!(chunks.to_vec(), b"def");
            assert_eq!(chunks.split_front::<4>(), None);
            assert_eq!(chunks.to_vec(), b"def");
            assert_eq!(chunks.split_front::<3>().unwrap(), *b"def");
            assert!(chunks.is_empty());
        }
    }
}
