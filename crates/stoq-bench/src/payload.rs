//! What is sent, and the check of what comes.
//!
//! A timed transfer repeats a pattern whose length is a prime, and the receiver compares every byte
//! with it: a lost, doubled or moved piece of any usual size shifts the rest, and is seen. The
//! comparison costs every peer the same, a few per cent of what encryption does. An untimed
//! transfer (`--hashed`) sends random bytes once, and both ends say their digest.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hm_crypto::digest::Context;

use crate::Result;

/// Bytes; the longest single write.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The pattern, repeated as far as one write can reach beyond it.
#[derive(Clone)]
pub struct Pattern {
    bytes: Bytes,
    period: usize,
}

impl Pattern {
    pub fn of(once: &[u8]) -> Result<Pattern> {
        if once.is_empty() {
            return Err("the pattern is empty".into());
        }
        let length = once.len() + MESSAGE_BYTES_MAX;
        let bytes: Vec<u8> = once.iter().copied().cycle().take(length).collect();
        Ok(Pattern {
            bytes: bytes.into(),
            period: once.len(),
        })
    }

    /// `length` bytes (at most `MESSAGE_BYTES_MAX`) from position `at` of the stream, not copied.
    fn message(&self, at: u64, length: usize) -> Bytes {
        let start = self.place(at);
        self.bytes.slice(start..start + length)
    }

    /// Whether `data` is what stands at `at`.
    fn matches(&self, mut at: u64, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let expected = &self.bytes[self.place(at)..];
            let (piece, rest) = data.split_at(data.len().min(expected.len()));
            if piece != &expected[..piece.len()] {
                return false;
            }
            at += piece.len() as u64;
            data = rest;
        }
        true
    }

    fn place(&self, at: u64) -> usize {
        (at % self.period as u64) as usize
    }
}

/// What one stream sends.
pub enum Source {
    Timed {
        pattern: Pattern,
        message: usize,
        until: Instant,
        at: u64,
    },
    Hashed {
        whole: Bytes,
        message: usize,
        at: usize,
    },
}

impl Source {
    pub fn timed(pattern: &Pattern, message: usize, lasting: Duration) -> Source {
        Source::Timed {
            pattern: pattern.clone(),
            message,
            until: Instant::now() + lasting,
            at: 0,
        }
    }

    pub fn hashed(bytes: usize, message: usize) -> Result<Source> {
        let mut whole = vec![0; bytes];
        hm_crypto::entropy::fill(&mut whole)?;
        Ok(Source::Hashed {
            whole: whole.into(),
            message,
            at: 0,
        })
    }

    /// The next write; `None` at the end.
    pub fn next(&mut self) -> Option<Bytes> {
        match self {
            Source::Timed {
                pattern,
                message,
                until,
                at,
            } => {
                if Instant::now() >= *until {
                    return None;
                }
                let next = pattern.message(*at, *message);
                *at += next.len() as u64;
                Some(next)
            }
            Source::Hashed { whole, message, at } => {
                if *at == whole.len() {
                    return None;
                }
                let next = whole.slice(*at..(*at + *message).min(whole.len()));
                *at += next.len();
                Some(next)
            }
        }
    }

    pub fn sent(self) -> Result<Sent> {
        match self {
            Source::Timed { at, .. } => Ok(Sent {
                bytes: at,
                digest: None,
            }),
            Source::Hashed { whole, at, .. } => Ok(Sent {
                bytes: at as u64,
                digest: Some(digest(&whole)?),
            }),
        }
    }
}

/// What one stream, or all of them, have sent.
#[derive(Default)]
pub struct Sent {
    pub bytes: u64,
    pub digest: Option<String>,
}

impl Sent {
    pub fn and(self, other: Sent) -> Sent {
        Sent {
            bytes: self.bytes + other.bytes,
            digest: self.digest.or(other.digest),
        }
    }
}

/// Where one stream ends.
pub struct Sink {
    pattern: Option<Pattern>,
    kept: Vec<u8>,
    bytes: u64,
    first: Option<Instant>,
}

impl Sink {
    pub fn comparing(pattern: &Pattern) -> Sink {
        Sink {
            pattern: Some(pattern.clone()),
            kept: Vec::new(),
            bytes: 0,
            first: None,
        }
    }

    pub fn keeping() -> Sink {
        Sink {
            pattern: None,
            kept: Vec::new(),
            bytes: 0,
            first: None,
        }
    }

    /// Takes what has come.
    pub fn take(&mut self, data: &[u8]) -> Result<()> {
        if self.first.is_none() {
            self.first = Some(Instant::now());
        }
        match &self.pattern {
            Some(pattern) if pattern.matches(self.bytes, data) => {}
            Some(_) => return Err(format!("wrong bytes after {}", self.bytes).into()),
            None => self.kept.extend_from_slice(data),
        }
        self.bytes += data.len() as u64;
        Ok(())
    }

    pub fn ended(self) -> Result<Received> {
        let last = Instant::now();
        Ok(Received {
            bytes: self.bytes,
            first: self.first.unwrap_or(last),
            last,
            digest: match self.pattern {
                Some(_) => None,
                None => Some(digest(&self.kept)?),
            },
        })
    }
}

/// What one stream, or all of them, have brought.
pub struct Received {
    pub bytes: u64,
    pub first: Instant,
    pub last: Instant,
    pub digest: Option<String>,
}

impl Received {
    pub fn and(self, other: Received) -> Received {
        Received {
            bytes: self.bytes + other.bytes,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            digest: self.digest.or(other.digest),
        }
    }

    pub fn of(all: impl IntoIterator<Item = Received>) -> Result<Received> {
        all.into_iter()
            .reduce(Received::and)
            .ok_or_else(|| "nothing was received".into())
    }
}

fn digest(data: &[u8]) -> Result<String> {
    let digest = Context::new("bench")?.digest(&[data]);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PERIOD: usize = 1009;

    fn pattern() -> Pattern {
        let once: Vec<u8> = (0..PERIOD).map(|index| (index * 7 % 251) as u8).collect();
        Pattern::of(&once).unwrap()
    }

    fn sent(bytes: usize, message: usize) -> Vec<u8> {
        let pattern = pattern();
        let mut all = Vec::new();
        while all.len() < bytes {
            all.extend_from_slice(&pattern.message(all.len() as u64, message));
        }
        all.truncate(bytes);
        all
    }

    fn taken(pieces: &[&[u8]]) -> Result<u64> {
        let mut sink = Sink::comparing(&pattern());
        for piece in pieces {
            sink.take(piece)?;
        }
        Ok(sink.ended()?.bytes)
    }

    #[test]
    fn what_was_sent_is_taken_in_any_pieces() {
        let all = sent(3 * MESSAGE_BYTES_MAX, 100_000);
        for size in [1000, 1009, 65_487, 5 * 1024 * 1024] {
            let pieces: Vec<&[u8]> = all.chunks(size).collect();
            assert_eq!(taken(&pieces).unwrap(), all.len() as u64);
        }
    }

    #[test]
    fn what_is_lost_doubled_moved_or_altered_is_seen() {
        let all = sent(1 << 20, 4096);
        let (front, rest) = all.split_at(300_000);
        for size in [1, 1200, 1452, 16_384, 65_487, 262_144] {
            let (piece, after) = rest.split_at(size);
            assert!(taken(&[front, after]).is_err(), "{size} lost");
            assert!(
                taken(&[front, piece, piece, after]).is_err(),
                "{size} doubled"
            );
            assert!(
                taken(&[front, &after[..size], piece, &after[size..]]).is_err(),
                "{size} moved"
            );
        }
        let mut altered = all.clone();
        altered[999_999] ^= 0x80;
        assert!(taken(&[&altered]).is_err());
    }

    #[test]
    fn random_bytes_are_sent_once_and_digested_whole() {
        let mut source = Source::hashed(10_000, 999).unwrap();
        let mut sink = Sink::keeping();
        while let Some(piece) = source.next() {
            sink.take(&piece).unwrap();
        }
        let (sent, received) = (source.sent().unwrap(), sink.ended().unwrap());
        assert_eq!((sent.bytes, received.bytes), (10_000, 10_000));
        assert!(sent.digest.is_some());
        assert_eq!(sent.digest, received.digest);
        assert_ne!(sent.digest, Some(digest(&[0; 10_000]).unwrap()));
    }
}
