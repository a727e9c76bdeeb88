//! The admitted connections of an endpoint, so that a revocation reaches those that exist.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use crate::quic::Connection;
use parking_lot::Mutex;

use crate::admission;
use crate::error::{Error, Kind, Result};
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
    connections: HashMap<u64, Entry>,
    revoked: BTreeSet<PeerId>,
}

struct Entry {
    connection: Connection,
    peer: Option<PeerId>,
    ending: Ending,
}

impl Live {
    /// Adds a connection that has just been admitted. Its peer may have been revoked since the
    /// policy was read for it, so the revoked set is asked again under the lock that replaces it.
    pub fn add(&self, connection: &Connection, peer: Option<PeerId>) -> Result<(u64, Ending)> {
        let mut state = self.state.lock();
        if peer.is_some_and(|peer| state.revoked.contains(&peer)) {
            let error = revoked();
            admission::close(connection, &error);
            return Err(error);
        }
        let key = state.next;
        state.next += 1;
        let ending = Ending::default();
        let entry = Entry {
            connection: connection.clone(),
            peer,
            ending: ending.clone(),
        };
        state.connections.insert(key, entry);
        Ok((key, ending))
    }

    pub fn remove(&self, key: u64) {
        self.state.lock().connections.remove(&key);
    }

    /// Replaces the revoked set and ends the connections of those in it. Who they were.
    pub fn revoke(&self, revoked_set: BTreeSet<PeerId>) -> Vec<(Connection, PeerId)> {
        let mut state = self.state.lock();
        state.revoked = revoked_set;
        let mut ended = Vec::new();
        for entry in state.connections.values() {
            let Some(peer) = entry.peer.filter(|peer| state.revoked.contains(peer)) else {
                continue;
            };
            if entry.connection.close_reason().is_none() {
                // It is set already only where an earlier revocation ended this connection.
                let _ = entry.ending.set(revoked());
                admission::close(&entry.connection, &revoked());
                ended.push((entry.connection.clone(), peer));
            }
        }
        ended
    }

    pub fn count(&self) -> usize {
        self.state.lock().connections.len()
    }
}

pub fn revoked() -> Error {
    Error::new(Kind::PeerRevoked, "the node is revoked")
}
