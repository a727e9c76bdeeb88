//! Remote memory on the wire: service 2, served here without leaving the I/O thread.
//!
//! ```text
//! body = operation u8 | region 16 B | epoch u64 | offset u64 | value u64 [| second u64]
//!
//!   1 read               value = length                     answer: the bytes to the stream's end
//!   2 write              value = length, then the bytes     answer: empty
//!   3 compare-and-swap   value = expected, second = desired answer: the word before, u64
//!   4 fetch-add          value = added                      answer: the word before, u64
//!   5 fence              value = the new epoch              answer: empty
//!   6 gather             value = ranges, then these         answer: their bytes in order
//!   7 scatter            the same, then the bytes           answer: empty
//!
//! range = offset u64 | length u64                           at most `RANGES_MAX`
//! ```
//! Integers are big-endian here; a word in a region is little-endian. The bytes of a transfer move
//! in chunks, each checked against grant and epoch when it is copied; where a check fails midway,
//! the stream is reset with the number of the reason.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::quic::{timeout, RecvStream, SendStream};
use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::frame::{self, AnswerHeader, Extent, Status, ANSWER_HEADER_BYTES};
use crate::limits::{BULK_STALL_TIMEOUT, CHUNK_BYTES, RANGES_MAX};
use crate::problem;
use crate::region::{Access, Region, RegionId, Regions};
use crate::stream::Outlet;
use crate::PeerId;

/// The STOQ service number (`hypermesh.wire.rpc.SERVICE_MEMORY`).
pub const SERVICE: u16 = 2;

/// One operation on a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub region: RegionId,
    pub epoch: u64,
    pub offset: u64,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read { length: u64 },
    Write { length: u64 },
    CompareAndSwap { expected: u64, desired: u64 },
    FetchAdd { delta: u64 },
    Fence { epoch: u64 },
    Gather { ranges: u64 },
    Scatter { ranges: u64 },
}

/// Some bytes of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub offset: u64,
    pub length: u64,
}

/// Bytes of an operation without its ranges, and of one range.
const OPERATION_BYTES: usize = 1 + 16 + 3 * 8;
const RANGE_BYTES: usize = 16;

/// Bytes of the longest operation.
pub const OPERATION_BYTES_MAX: usize = OPERATION_BYTES + RANGES_MAX * RANGE_BYTES;

impl Range {
    /// Those that follow a gather or scatter that has been decoded.
    pub fn read_all(body: &[u8]) -> Vec<Range> {
        body.get(OPERATION_BYTES..)
            .unwrap_or_default()
            .chunks_exact(RANGE_BYTES)
            .filter_map(|range| range.try_into().map(u128::from_be_bytes).ok())
            .map(|both| Range {
                offset: (both >> 64) as u64,
                length: both as u64,
            })
            .collect()
    }
}

/// Whether `body` is an operation that may be asked twice.
pub fn changes_nothing(body: &[u8]) -> bool {
    Operation::decode(body).is_ok_and(|operation| matches!(operation.action, Action::Read { .. }))
}

impl Operation {
    /// A gather or scatter of `ranges`.
    pub fn encode_with(&self, ranges: &[Range]) -> Vec<u8> {
        let mut out = self.encode();
        out.reserve_exact(ranges.len() * RANGE_BYTES);
        for range in ranges {
            out.extend(range.offset.to_be_bytes());
            out.extend(range.length.to_be_bytes());
        }
        out
    }

    pub fn encode(&self) -> Vec<u8> {
        let (number, value, second) = match self.action {
            Action::Read { length } => (1, length, None),
            Action::Write { length } => (2, length, None),
            Action::CompareAndSwap { expected, desired } => (3, expected, Some(desired)),
            Action::FetchAdd { delta } => (4, delta, None),
            Action::Fence { epoch } => (5, epoch, None),
            Action::Gather { ranges } => (6, ranges, None),
            Action::Scatter { ranges } => (7, ranges, None),
        };
        let mut out = vec![number];
        out.extend(self.region);
        for word in [self.epoch, self.offset, value].into_iter().chain(second) {
            out.extend(word.to_be_bytes());
        }
        out
    }

    pub fn decode(body: &[u8]) -> Result<Operation> {
        let malformed = || {
            Error::new(
                Kind::MalformedFrame,
                format!("{} bytes are no operation on memory", body.len()),
            )
        };
        let (number, rest) = body.split_first().ok_or_else(malformed)?;
        let (region, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        let words: Vec<u64> = rest
            .chunks(8)
            .map(|word| word.try_into().map(u64::from_be_bytes))
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| malformed())?;
        let (epoch, offset, action) = match (number, words.as_slice()) {
            (1, &[epoch, offset, length]) => (epoch, offset, Action::Read { length }),
            (2, &[epoch, offset, length]) => (epoch, offset, Action::Write { length }),
            (3, &[epoch, offset, expected, desired]) => {
                (epoch, offset, Action::CompareAndSwap { expected, desired })
            }
            (4, &[epoch, offset, delta]) => (epoch, offset, Action::FetchAdd { delta }),
            (5, &[epoch, offset, next]) => (epoch, offset, Action::Fence { epoch: next }),
            (6 | 7, [epoch, offset, ranges, words @ ..])
                if *ranges <= RANGES_MAX as u64 && words.len() as u64 == 2 * ranges =>
            {
                let ranges = *ranges;
                let action = match number {
                    6 => Action::Gather { ranges },
                    _ => Action::Scatter { ranges },
                };
                (*epoch, *offset, action)
            }
            _ => return Err(malformed()),
        };
        Ok(Operation {
            region: *region,
            epoch,
            offset,
            action,
        })
    }
}

/// Serves one operation for `peer` to its end.
pub(crate) async fn serve(
    regions: Arc<Regions>,
    peer: Option<PeerId>,
    body: &[u8],
    send: SendStream,
    mut receive: RecvStream,
) {
    let mut outlet = Outlet::new(send);
    let started = match start(&regions, peer, body) {
        Ok((region, access, Action::Read { length })) => {
            read(&region, access, &[access.range(length)], outlet).await;
            return;
        }
        Ok((region, access, Action::Gather { .. })) => {
            read(&region, access, &Range::read_all(body), outlet).await;
            return;
        }
        Ok((region, access, Action::Write { length })) => {
            write(&region, access, &[access.range(length)], &mut receive)
                .await
                .map(|()| Bytes::new())
        }
        Ok((region, access, Action::Scatter { .. })) => {
            write(&region, access, &Range::read_all(body), &mut receive)
                .await
                .map(|()| Bytes::new())
        }
        Ok((region, access, Action::CompareAndSwap { expected, desired })) => {
            region.compare_and_swap(access, expected, desired).map(word)
        }
        Ok((region, access, Action::FetchAdd { delta })) => {
            region.fetch_add(access, delta).map(word)
        }
        Ok((region, access, Action::Fence { epoch })) => {
            region.fence(access, epoch).map(|()| Bytes::new())
        }
        Err(error) => Err(error),
    };
    let frame = match &started {
        Ok(body) => frame::answer(Status::Ok, body),
        Err(error) => {
            let kind = error.kind().unwrap_or(Kind::StreamReset);
            // The sender of a long write stops here; the stream may have ended already.
            let _ = receive.stop(kind.to_wire());
            frame::answer(Status::Problem, &problem::encode(error))
        }
    };
    if stalled(outlet.write_chunk(frame)).await.is_ok() {
        // It fails only where the peer has stopped listening.
        let _ = outlet.finish();
    }
}

fn word(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

/// Finds the region and makes the first check.
fn start(
    regions: &Regions,
    peer: Option<PeerId>,
    body: &[u8],
) -> Result<(Arc<Region>, Access, Action)> {
    let operation = Operation::decode(body)?;
    let peer = peer.ok_or_else(|| Error::new(Kind::NoGrant, "the peer has no keys"))?;
    let region = regions.open(&operation.region)?;
    let access = Access {
        peer,
        epoch: operation.epoch,
        offset: operation.offset,
        now_unix_ms: now_unix_ms(),
    };
    match operation.action {
        Action::Read { length } => region.check(access, length, false)?,
        Action::Write { length } => region.check(access, length, true)?,
        Action::Gather { .. } | Action::Scatter { .. } => {
            let writes = matches!(operation.action, Action::Scatter { .. });
            // Without a range it still needs the grant.
            region.check_grant(access, writes)?;
            for range in Range::read_all(body) {
                region.check(at(access, range.offset), range.length, writes)?;
            }
        }
        Action::CompareAndSwap { .. } | Action::FetchAdd { .. } | Action::Fence { .. } => {}
    }
    region.count();
    Ok((region, access, operation.action))
}

async fn read(region: &Region, access: Access, ranges: &[Range], mut outlet: Outlet) {
    let moved = async {
        let header = AnswerHeader {
            status: Status::Ok,
            extent: Extent::Open,
        };
        let total = ranges
            .iter()
            .fold(0u64, |sum, range| sum.saturating_add(range.length));
        let capacity = |left: u64| left.min(CHUNK_BYTES as u64) as usize;
        let mut left = total;
        let mut chunk = Vec::with_capacity(ANSWER_HEADER_BYTES + capacity(left));
        chunk.extend(header.write());
        for range in ranges {
            let mut done = 0;
            while done < range.length {
                if chunk.len() >= CHUNK_BYTES {
                    let full = std::mem::replace(&mut chunk, Vec::with_capacity(capacity(left)));
                    stalled(outlet.write_chunk(full.into())).await?;
                }
                let step = (range.length - done).min((CHUNK_BYTES - chunk.len()) as u64);
                region.read_onto(at(access, range.offset + done), step, &mut chunk)?;
                done += step;
                left -= step;
            }
        }
        stalled(outlet.write_chunk(chunk.into())).await
    }
    .await;
    match moved {
        // It fails only where the peer has stopped listening.
        Ok(()) => drop(outlet.finish()),
        Err(error) => outlet.fail(error.kind().unwrap_or(Kind::StreamReset)),
    }
}

async fn write(
    region: &Region,
    access: Access,
    ranges: &[Range],
    receive: &mut RecvStream,
) -> Result<()> {
    let length = ranges
        .iter()
        .try_fold(0u64, |sum, range| sum.checked_add(range.length))
        .ok_or_else(|| Error::new(Kind::OutOfRange, "the ranges exceed any region"))?;
    let mut done = 0;
    let mut ranges = ranges.iter().copied();
    let mut place = Range {
        offset: 0,
        length: 0,
    };
    loop {
        let chunk = stalled(async { Ok(receive.read_chunk(CHUNK_BYTES, true).await?) }).await?;
        let Some(chunk) = chunk else {
            break;
        };
        let mut bytes = &chunk.bytes[..];
        done += bytes.len() as u64;
        if done > length {
            return Err(disagrees(done, length));
        }
        while !bytes.is_empty() {
            let step = place.length.min(bytes.len() as u64);
            if step == 0 {
                place = ranges.next().ok_or_else(|| disagrees(done, length))?;
                continue;
            }
            let (front, rest) = bytes.split_at(step as usize);
            region.write(at(access, place.offset), front)?;
            place.offset += step;
            place.length -= step;
            bytes = rest;
        }
    }
    if done < length {
        return Err(disagrees(done, length));
    }
    Ok(())
}

fn disagrees(got: u64, length: u64) -> Error {
    Error::new(
        Kind::MalformedFrame,
        format!("{got} bytes came for a write of {length}"),
    )
}

impl Access {
    fn range(self, length: u64) -> Range {
        Range {
            offset: self.offset,
            length,
        }
    }
}

fn at(access: Access, offset: u64) -> Access {
    Access {
        offset,
        now_unix_ms: now_unix_ms(),
        ..access
    }
}

async fn stalled<T>(step: impl std::future::Future<Output = Result<T>>) -> Result<T> {
    timeout(BULK_STALL_TIMEOUT, step).await.unwrap_or_else(|_| {
        Err(Error::new(
            Kind::TimedOut,
            "the other side moves no more bytes",
        ))
    })
}

fn now_unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis() as i64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operations_survive_the_wire_and_nothing_else_does() {
        let actions = [
            Action::Read { length: 1 },
            Action::Write { length: u64::MAX },
            Action::CompareAndSwap {
                expected: 1,
                desired: 2,
            },
            Action::FetchAdd { delta: 3 },
            Action::Fence { epoch: 4 },
        ];
        for action in actions {
            let operation = Operation {
                region: [7; 16],
                epoch: 5,
                offset: 6,
                action,
            };
            let encoded = operation.encode();
            assert_eq!(Operation::decode(&encoded).unwrap(), operation);
            for length in 0..encoded.len() {
                assert!(Operation::decode(&encoded[..length]).is_err());
            }
            assert!(Operation::decode(&[&encoded[..], &[0]].concat()).is_err());
            assert!(Operation::decode(&[&encoded[..], &[0; 8]].concat()).is_err());
            assert!(Operation::decode(&[&[0], &encoded[1..]].concat()).is_err());
            assert!(Operation::decode(&[&[8], &encoded[1..]].concat()).is_err());
        }
    }

    #[test]
    fn ranges_survive_the_wire_and_their_count_is_their_number() {
        let ranges = [
            Range {
                offset: 1,
                length: u64::MAX,
            },
            Range {
                offset: u64::MAX - 1,
                length: 0,
            },
        ];
        let of = |action| Operation {
            region: [7; 16],
            epoch: 5,
            offset: 0,
            action,
        };
        for action in [Action::Gather { ranges: 2 }, Action::Scatter { ranges: 2 }] {
            let encoded = of(action).encode_with(&ranges);
            assert_eq!(Operation::decode(&encoded).unwrap(), of(action));
            assert_eq!(Range::read_all(&encoded), ranges);
            for length in 0..encoded.len() {
                assert!(Operation::decode(&encoded[..length]).is_err());
            }
            assert!(Operation::decode(&[&encoded[..], &[0; 8]].concat()).is_err());
            assert!(Operation::decode(&[&encoded[..], &[0; 16]].concat()).is_err());
        }
        let many = vec![ranges[0]; RANGES_MAX + 1];
        for (count, good) in [(0, true), (RANGES_MAX, true), (RANGES_MAX + 1, false)] {
            let action = Action::Gather {
                ranges: count as u64,
            };
            let encoded = of(action).encode_with(&many[..count]);
            assert_eq!(Operation::decode(&encoded).is_ok(), good);
            assert_eq!(encoded.len() <= OPERATION_BYTES_MAX, good);
        }
        let action = Action::Gather { ranges: u64::MAX };
        assert!(Operation::decode(&of(action).encode()).is_err());
    }
}
