//! The shards of one address, client and server at once.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{ClientConfig, ConnectError, EndpointConfig, ServerConfig, VarInt};

use super::connection::{Connecting, Hold};
use super::incoming::Incoming;
use super::link::wait;
use super::scope;
use super::shard::Shard;
use crate::socket::Socket;

/// Nothing moves until a [`crate::Drive`] runs the shards.
pub struct Endpoint {
    shards: Vec<Arc<Shard>>,
    dialled: AtomicUsize,
}

impl Endpoint {
    /// An endpoint over `sockets` of one address. `config` makes the configuration of a shard; the
    /// connection ids that it generates name the shard by their first byte, modulo the number of
    /// shards.
    pub fn new(
        sockets: Vec<Socket>,
        config: impl Fn(usize) -> io::Result<EndpointConfig>,
        server: Option<Arc<ServerConfig>>,
    ) -> io::Result<Endpoint> {
        if sockets.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut shards = Vec::with_capacity(sockets.len());
        for (index, socket) in sockets.into_iter().enumerate() {
            let config = Arc::new(config(index)?);
            shards.push(Shard::new(index, socket, config, server.clone())?);
        }
        for shard in &shards {
            shard.join(shards.iter().map(Arc::downgrade).collect());
        }
        Ok(Endpoint {
            shards,
            dialled: AtomicUsize::new(0),
        })
    }

    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    pub fn local_addr(&self) -> SocketAddr {
        let unknown = SocketAddr::from(([0u16; 8], 0));
        let first = self.shards.first();
        first.map_or(unknown, |shard| shard.socket().local())
    }

    /// Goes on over `sockets` of another address, as many as there are shards. What this side opened
    /// moves there; what others opened ends with `reason`.
    pub fn rebind(&self, sockets: &[Socket], reason: &[u8]) -> io::Result<()> {
        if sockets.len() != self.shards.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let reason = Bytes::copy_from_slice(reason);
        for (shard, socket) in self.shards.iter().zip(sockets) {
            shard.rebind(socket, &reason)?;
        }
        // Those who sleep on a socket of before, whichever shard counts them.
        for shard in &self.shards {
            shard.wake_waiting();
        }
        Ok(())
    }

    /// Connections accepted from now on use `config`; `None` accepts none.
    pub fn set_server_config(&self, config: Option<Arc<ServerConfig>>) {
        for shard in &self.shards {
            shard.with(|core, _| core.set_server_config(config.clone()));
        }
    }

    /// Begins to connect, on the shards in turn.
    pub fn connect_with(
        &self,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<Connecting, ConnectError> {
        let turn = self.dialled.fetch_add(1, Ordering::Relaxed) % self.shards.len().max(1);
        let Some(shard) = self.shards.get(turn) else {
            return Err(ConnectError::EndpointStopping);
        };
        let lane = shard.connect(config, remote, server_name)?;
        Ok(Connecting::new(Hold::new(shard.clone(), lane)))
    }

    /// Ends all connections, and refuses those to come.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        let (now, reason) = (Instant::now(), Bytes::copy_from_slice(reason));
        for shard in &self.shards {
            shard.close_all(now, code, &reason);
        }
    }

    /// Waits until the peers of all connections know that these have ended.
    pub async fn wait_idle(&self) {
        for shard in &self.shards {
            poll_fn(|context| {
                shard.with(|core, _| {
                    if core.live == 0 {
                        return Poll::Ready(());
                    }
                    wait(&mut core.idling, context);
                    Poll::Pending
                })
            })
            .await;
        }
    }
}

/// The next client on `shard`; `None` once the endpoint is closed.
pub async fn accept(shard: &Arc<Shard>) -> Option<Incoming> {
    poll_fn(|context| {
        let next = shard.with(|core, _| match core.incoming.pop_front() {
            Some(incoming) => Poll::Ready(Some(incoming)),
            None if core.closed.is_some() => Poll::Ready(None),
            None => {
                wait(&mut core.accepting, context);
                Poll::Pending
            }
        });
        if next.is_pending() {
            scope::await_on(shard);
        }
        next
    })
    .await
    .map(|(incoming, first)| Incoming::new(shard.clone(), incoming, first))
}
