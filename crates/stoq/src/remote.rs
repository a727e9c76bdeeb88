//! Many places of a peer's region in one operation.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::{misanswered, read_header, send_request, Connection};
use crate::error::{Error, Kind, Result};
use crate::frame::Extent;
use crate::limits::RANGES_MAX;
use crate::memory::{self, Action, Operation, Range};
use crate::pipeline::pipelined;
use crate::region::RegionId;

/// Which region, as which holder of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub region: RegionId,
    pub epoch: u64,
}

impl Connection {
    /// Fills `buffer` with the bytes of `ranges`, one behind the other.
    pub async fn gather(
        &self,
        target: Target,
        ranges: &[Range],
        mut buffer: &mut [u8],
        patience: Duration,
    ) -> Result<()> {
        let mut steps = Vec::new();
        let have = buffer.len();
        for ranges in ranges.chunks(RANGES_MAX) {
            let length = total(ranges, have)?;
            let Some((front, rest)) = buffer.split_at_mut_checked(length) else {
                return Err(misfit(have));
            };
            buffer = rest;
            steps.push((ranges, front));
        }
        if !buffer.is_empty() {
            return Err(misfit(have));
        }
        let steps = steps.into_iter().map(|(ranges, buffer)| async move {
            let (mut outlet, mut receive) = self.open().await?;
            let operation = target.of(Action::Gather {
                ranges: ranges.len() as u64,
            });
            send_request(
                &mut outlet,
                memory::SERVICE,
                operation.encode_with(ranges).into(),
            )
            .await?;
            outlet.finish()?;
            match read_header(&mut receive).await? {
                Extent::Open => Ok(receive.read_exact(buffer).await?),
                Extent::Bytes(_) => Err(misanswered()),
            }
        });
        self.during(patience, pipelined(steps, |()| ())).await
    }

    /// Puts `data`, one behind the other, into `ranges`; all is there when this returns. Where this
    /// fails, some of it may be.
    pub async fn scatter(
        &self,
        target: Target,
        ranges: &[Range],
        data: Vec<Bytes>,
        patience: Duration,
    ) -> Result<()> {
        let have = data.iter().map(Bytes::len).sum();
        if total(ranges, have)? != have {
            return Err(misfit(have));
        }
        let mut data = VecDeque::from(data);
        let mut steps = Vec::new();
        for ranges in ranges.chunks(RANGES_MAX) {
            let length = total(ranges, have)?;
            let operation = target.of(Action::Scatter {
                ranges: ranges.len() as u64,
            });
            let front = split_front(&mut data, length);
            steps.push(self.put(operation.encode_with(ranges), front));
        }
        self.during(patience, pipelined(steps.into_iter(), |()| ()))
            .await
    }
}

/// The first `length` bytes of `data`, or all where there are fewer.
fn split_front(data: &mut VecDeque<Bytes>, mut length: usize) -> Vec<Bytes> {
    let mut front = Vec::new();
    while length > 0 {
        let Some(mut chunk) = data.pop_front() else {
            break;
        };
        if chunk.len() > length {
            data.push_front(chunk.split_off(length));
        }
        length -= chunk.len();
        front.push(chunk);
    }
    front
}

impl Target {
    fn of(self, action: Action) -> Operation {
        Operation {
            region: self.region,
            epoch: self.epoch,
            offset: 0,
            action,
        }
    }
}

/// Bytes of `ranges`, which shall fit `have`.
fn total(ranges: &[Range], have: usize) -> Result<usize> {
    ranges
        .iter()
        .try_fold(0u64, |sum, range| sum.checked_add(range.length))
        .and_then(|sum| usize::try_from(sum).ok())
        .ok_or_else(|| misfit(have))
}

fn misfit(have: usize) -> Error {
    Error::new(
        Kind::OutOfRange,
        format!("the ranges do not have the {have} bytes of the buffer"),
    )
}
