//! A client's first packet, and what becomes of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use quinn_proto::{ConnectionError, ServerConfig};

use super::connection::{Connecting, Hold};
use super::shard::Shard;

/// Nothing has been kept for the client yet but this. Dropped, it refuses.
pub struct Incoming {
    shard: Arc<Shard>,
    /// `None` once it has been decided on.
    inner: Option<Box<quinn_proto::Incoming>>,
    /// Bytes of the first datagram.
    first: u64,
}

impl Incoming {
    pub(super) fn new(shard: Arc<Shard>, inner: quinn_proto::Incoming, first: u64) -> Incoming {
        Incoming {
            shard,
            inner: Some(Box::new(inner)),
            first,
        }
    }

    /// Begins the handshake as the endpoint does by default.
    pub fn accept(self) -> Result<Connecting, ConnectionError> {
        self.take(None)
    }

    /// Begins the handshake with `config`.
    pub fn accept_with(self, config: Arc<ServerConfig>) -> Result<Connecting, ConnectionError> {
        self.take(Some(config))
    }

    fn take(mut self, config: Option<Arc<ServerConfig>>) -> Result<Connecting, ConnectionError> {
        let Some(inner) = self.inner.take() else {
            return Err(ConnectionError::LocallyClosed);
        };
        let lane = self.shard.accept(*inner, self.first, config)?;
        Ok(Connecting::new(Hold::new(self.shard.clone(), lane)))
    }

    /// Tells the client that it is not wanted.
    pub fn refuse(mut self) {
        self.decide(|core, inner, socket| core.refuse(inner, socket));
    }

    /// Has the client show that it receives at its address (RFC 9000 section 8.1.2). The same
    /// again where it has shown that already.
    pub fn retry(mut self) -> Result<(), Incoming> {
        let mut again = None;
        self.decide(|core, inner, socket| again = core.retry(inner, socket));
        match again {
            None => Ok(()),
            Some(inner) => Err(Incoming::new(self.shard.clone(), inner, self.first)),
        }
    }

    /// Forgets the client without a word.
    pub fn ignore(mut self) {
        self.decide(|core, inner, _| core.ignore(inner));
    }

    fn decide(
        &mut self,
        decide: impl FnOnce(&mut super::core::Core, quinn_proto::Incoming, &crate::socket::Socket),
    ) {
        if let Some(inner) = self.inner.take() {
            self.shard.with(|core, socket| decide(core, *inner, socket));
        }
    }

    pub fn remote_address(&self) -> SocketAddr {
        let unknown = SocketAddr::from(([0u16; 8], 0));
        self.inner
            .as_ref()
            .map_or(unknown, |inner| inner.remote_address())
    }

    pub fn local_ip(&self) -> Option<IpAddr> {
        self.inner.as_ref()?.local_ip()
    }

    pub fn remote_address_validated(&self) -> bool {
        let inner = self.inner.as_ref();
        inner.is_some_and(|inner| inner.remote_address_validated())
    }

    /// Whether `retry` may be asked for.
    pub fn may_retry(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.may_retry())
    }

    /// The shard that its connection would be of.
    pub fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.decide(|core, inner, socket| core.refuse(inner, socket));
    }
}
