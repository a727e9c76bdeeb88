//! The admitted connections of an endpoint, so that a revocation reaches those that exist.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use quinn::Connection;

use crate::admission;
use crate::error::{Error, Kind, Result};
use crate::PeerId;

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
}

impl Live {
    /// Adds a connection that has just been admitted. Its peer may have been revoked since the
    /// policy was read for it, so the revoked set is asked again under the lock that replaces it.
    pub fn add(&self, connection: &Connection, peer: Option<PeerId>) -> Result<u64> {
        let mut state = self.state.lock();
        if peer.is_some_and(|peer| state.revoked.contains(&peer)) {
            let error = revoked();
            admission::close(connection, &error);
            return Err(error);
        }
        let key = state.next;
        state.next += 1;
        let entry = Entry {
            connection: connection.clone(),
            peer,
        };
        state.connections.insert(key, entry);
        Ok(key)
    }

    pub fn remove(&self, key: u64) {
        self.state.lock().connections.remove(&key);
    }

    /// Replaces the revoked set and ends the connections of those in it. Who they were.
    pub fn revoke(&self, revoked_set: BTreeSet<PeerId>) -> Vec<(Connection, PeerId)> {
        let mut state = self.state.lock();
        state.revoked = revoked_set;
        let ended: Vec<_> = state
            .connections
            .values()
            .filter_map(|entry| {
                let peer = entry.peer?;
                let gone =
                    state.revoked.contains(&peer) && entry.connection.close_reason().is_none();
                gone.then(|| (entry.connection.clone(), peer))
            })
            .collect();
        for (connection, _) in &ended {
            admission::close(connection, &revoked());
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
