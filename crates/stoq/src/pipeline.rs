//! Many requests on one connection at once, in place of one after the other.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::chunks::Chunks;
use crate::connection::Connection;
use crate::error::Result;
use crate::limits::PIPELINED_MAX;

impl Connection {
    /// The answers of `service` to `bodies`, in their order, at most `PIPELINED_MAX` of them in
    /// flight. The first failure ends the whole: requests in flight are given up, though the
    /// service may act on them, and the others are not sent.
    pub async fn request_many(
        &self,
        service: u16,
        bodies: Vec<Bytes>,
        patience: Duration,
    ) -> Result<Vec<Chunks>> {
        self.during(patience, async {
            let count = bodies.len();
            let calls = bodies
                .into_iter()
                .enumerate()
                .map(|(place, body)| async move { Ok((place, self.ask(service, body).await?)) });
            let mut answers = vec![Chunks::default(); count];
            pipelined(calls, |(place, answer)| answers[place] = answer).await?;
            Ok(answers)
        })
        .await
    }
}

/// Runs `calls`, at most `PIPELINED_MAX` at a time, until all are done or one fails.
pub(crate) async fn pipelined<T>(
    calls: impl Iterator<Item = impl std::future::Future<Output = Result<T>>>,
    mut done: impl FnMut(T),
) -> Result<()> {
    let mut calls = calls.fuse();
    let mut flying: FuturesUnordered<_> = calls.by_ref().take(PIPELINED_MAX).collect();
    while let Some(result) = flying.next().await {
        done(result?);
        flying.extend(calls.next());
    }
    Ok(())
}
