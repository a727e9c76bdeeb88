//! The admitted connections of an endpoint, so that a revocation reaches those that exist, and that
//! none uses one key for too long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::quic::Connection;
use hm_x509::{Partner, TrustPolicy};
use parking_lot::Mutex;

use crate::admission::{self, Alpn, Channel};
use crate::connection::ConnectionStats;
use crate::error::{Error, Kind, Result};
use crate::limits::{KEY_BYTES_MAX, KEY_LIFETIME};
use crate::path::monitor::Report;
use crate::session;
use crate::PeerId;

/// Why this side ended a connection, for those who still use it.
pub type Ending = Arc<OnceLock<Error>>;

#[derive(Default)]
pub struct Live {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    connections: BTreeMap<u64, Entry>,
    revoked: BTreeSet<PeerId>,
    partners: Vec<Arc<Partner>>,
}

struct Entry {
    connection: Connection,
    peer: Option<PeerId>,
    /// The agreement under which its peer is here.
    partner: Option<Arc<Partner>>,
    opened: bool,
    alpn: Alpn,
    group: String,
    ending: Ending,
    age: KeyAge,
}

/// A live connection as others see it.
#[derive(Clone, Debug)]
pub struct LiveConnection {
    pub peer: Option<PeerId>,
    pub remote: SocketAddr,
    /// Whether this side has opened it.
    pub opened: bool,
    pub alpn: Alpn,
    /// The key exchange group that TLS has agreed on.
    pub group: String,
    pub stats: ConnectionStats,
    pub path: Option<Report>,
}

/// Since when, and from which byte on, a connection uses the keys it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyAge {
    updates: u64,
    since: Instant,
    bytes: u64,
}

impl KeyAge {
    /// Whether they are to be changed, given what the connection has done by `now`.
    fn is_over(&self, now: KeyAge) -> bool {
        now.bytes.saturating_sub(self.bytes) >= KEY_BYTES_MAX
            || now.since.saturating_duration_since(self.since) >= KEY_LIFETIME
    }
}

/// What `connection` has done by `now`.
fn key_age(connection: &Connection, now: Instant) -> KeyAge {
    let stats = connection.stats();
    KeyAge {
        updates: session::of(connection).key_updates,
        since: now,
        bytes: stats.udp_tx.bytes + stats.udp_rx.bytes,
    }
}

impl Live {
    /// Adds a connection that has just been admitted. Its peer may have been revoked since the
    /// policy was read for it, or the agreement with its network ended, so that is asked again under
    /// the lock that replaces both.
    pub fn add(
        &self,
        connection: &Connection,
        peer: Option<PeerId>,
        opened: bool,
        channel: &Channel,
        partner: Option<Arc<Partner>>,
    ) -> Result<(u64, Ending)> {
        let mut state = self.state.lock();
        if let Some(error) = state.objection(peer, partner.as_ref()) {
            admission::close(connection, &error);
            return Err(error);
        }
        state.next += 1;
        let key = state.next;
        let ending = Ending::default();
        let entry = Entry {
            connection: connection.clone(),
            peer,
            partner,
            opened,
            alpn: channel.alpn,
            group: channel.group.clone(),
            ending: ending.clone(),
            age: KeyAge {
                updates: 0,
                since: Instant::now(),
                bytes: 0,
            },
        };
        state.connections.insert(key, entry);
        Ok((key, ending))
    }

    pub fn remove(&self, key: u64) {
        self.state.lock().connections.remove(&key);
    }

    /// Ends the connections of peers that `policy` lets in no more. Who they were, and why.
    pub fn obey(&self, policy: &TrustPolicy) -> Vec<(Connection, PeerId, Error)> {
        let mut state = self.state.lock();
        state.revoked.clone_from(&policy.revoked);
        state.partners.clone_from(&policy.partners);
        let mut ended = Vec::new();
        for entry in state.connections.values() {
            let objection = state.objection(entry.peer, entry.partner.as_ref());
            let Some((peer, error)) = entry.peer.zip(objection) else {
                continue;
            };
            if entry.connection.close_reason().is_none() {
                // It is set already only where an earlier policy ended this connection.
                let _ = entry.ending.set(error.clone());
                admission::close(&entry.connection, &error);
                ended.push((entry.connection.clone(), peer, error));
            }
        }
        ended
    }

    /// Changes the keys of connections whose keys are old or much used, as of `now`. Either side
    /// may: where the peer has done so since, the count starts there.
    pub async fn refresh_keys(&self, now: Instant) {
        let mut from = Some(0);
        while let Some(start) = from {
            from = self.refresh_some(start, now);
            // Others use the thread between two steps.
            tokio::task::yield_now().await;
        }
    }

    /// The same for a bounded number from `start` on; where to go on.
    fn refresh_some(&self, start: u64, now: Instant) -> Option<u64> {
        const STEP: usize = 256;
        let mut state = self.state.lock();
        let mut last = None;
        for (key, entry) in state.connections.range_mut(start..).take(STEP) {
            entry.refresh(now);
            last = Some(*key);
        }
        last.map(|last| last + 1)
    }

    /// At most `limit` of them, oldest first, after those up to the key `after`; each with its key.
    pub fn list(&self, after: u64, limit: usize) -> Vec<(u64, LiveConnection)> {
        let state = self.state.lock();
        let later = state.connections.range(after.saturating_add(1)..);
        let found = later.take(limit).map(|(key, entry)| (*key, entry.shown()));
        found.collect()
    }

    #[cfg(test)]
    pub fn all(&self) -> Vec<Connection> {
        let state = self.state.lock();
        let entries = state.connections.values();
        entries.map(|entry| entry.connection.clone()).collect()
    }

    /// The longest round trip of all.
    pub fn slowest(&self) -> Duration {
        let state = self.state.lock();
        let trips = state
            .connections
            .values()
            .map(|entry| entry.connection.rtt());
        trips.max().unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.state.lock().connections.len()
    }
}

impl State {
    /// Why a peer may not stay.
    fn objection(&self, peer: Option<PeerId>, partner: Option<&Arc<Partner>>) -> Option<Error> {
        if peer.is_some_and(|peer| self.revoked.contains(&peer)) {
            return Some(revoked());
        }
        let under = partner?;
        match self.partners.iter().find(|one| one.agrees_as(under)) {
            Some(now) => peer
                .filter(|peer| now.revoked.contains(peer))
                .map(|_| revoked()),
            None => Some(Error::new(
                Kind::WrongNetwork,
                "what was agreed with the peer's network has ended or changed",
            )),
        }
    }
}

impl Entry {
    fn shown(&self) -> LiveConnection {
        LiveConnection {
            peer: self.peer,
            remote: self.connection.remote_address(),
            opened: self.opened,
            alpn: self.alpn,
            group: self.group.clone(),
            stats: ConnectionStats::of(&self.connection),
            path: self.connection.path(),
        }
    }

    fn refresh(&mut self, now: Instant) {
        let seen = key_age(&self.connection, now);
        if seen.updates != self.age.updates {
            self.age = seen;
        } else if self.age.is_over(seen) {
            self.connection.force_key_update();
            self.age = key_age(&self.connection, now);
        }
    }
}

fn revoked() -> Error {
    Error::new(Kind::PeerRevoked, "the node is revoked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_changed_after_their_time_or_their_bytes_and_not_before() {
        let since = Instant::now();
        let age = KeyAge {
            updates: 0,
            since,
            bytes: 1000,
        };
        let after = |time, bytes| KeyAge {
            since: since + time,
            bytes: 1000 + bytes,
            ..age
        };
        let second = Duration::from_secs(1);
        assert!(!age.is_over(age));
        assert!(!age.is_over(after(KEY_LIFETIME - second, KEY_BYTES_MAX - 1)));
        assert!(age.is_over(after(KEY_LIFETIME, 0)));
        assert!(age.is_over(after(second, KEY_BYTES_MAX)));
        // A counter or a clock that stands still, or goes back, changes nothing.
        let back = KeyAge { bytes: 0, ..age };
        assert!(!age.is_over(back));
    }
}
