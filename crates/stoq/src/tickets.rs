//! TLS tickets between peers that have admitted each other, on both sides.
//!
//! ```text
//! admitted connection ── the server offers a ticket ──> held by the client
//!                                                          │ the next connection takes it
//! offered ──────── taken once ── chain and binding as ever <┘
//! ```
//! A ticket saves the certificates of a handshake, and nothing of its admission: each side keeps
//! the other's chain with its ticket, checks it against the policy of the moment, and both sign the
//! new connection. So no ticket lets anybody in (`docs/decisions/0009-resumption.md`).
//!
//! A ticket is taken once. It ends after `TICKET_LIFETIME`, with either certificate, with the
//! revocation of the peer, with another identity of this endpoint, and with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::StoresServerSessions;
use rustls::NamedGroup;

use crate::admission::{now_unix, Alpn};
use crate::limits::{
    TICKETS_HELD_MAX, TICKETS_OFFERED_MAX, TICKETS_PER_PEER_MAX, TICKET_BYTES_MAX,
    TICKET_BYTES_TOTAL_MAX, TICKET_LIFETIME,
};
use crate::PeerId;

/// The tickets of one endpoint.
#[derive(Default)]
pub struct Tickets {
    state: Mutex<State>,
    /// None are held for connections that this endpoint opens.
    unheld: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Grows with each change of identity or policy: a connection that began before one leaves no
    /// ticket after it.
    era: u64,
    offered: Shelf<PeerId, Offer>,
    /// Where on the shelf each offer stands; some have left it.
    places: HashMap<Vec<u8>, u64>,
    held: Shelf<Towards, Held>,
}

/// A ticket that this side will take, as server.
struct Offer {
    key: Vec<u8>,
    value: Vec<u8>,
    alpn: Alpn,
}

/// A ticket that a server will take from us.
struct Held {
    value: Tls13ClientSessionValue,
    peer: PeerId,
}

/// Which destination a held ticket is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Towards {
    pub host: String,
    pub port: u16,
    pub alpn: Alpn,
    pub peer: Option<PeerId>,
}

/// Whom an admitted connection is with.
#[derive(Clone, Copy, Debug)]
pub struct Admitted {
    pub peer: PeerId,
    pub alpn: Alpn,
    /// Seconds since 1970; the earlier end of both certificates.
    pub not_after: i64,
}

impl Admitted {
    fn ends(&self, now: i64) -> i64 {
        self.not_after
            .min(now.saturating_add(TICKET_LIFETIME.as_secs() as i64))
    }
}

impl Tickets {
    /// For one connection that this side accepts.
    pub fn server(self: &Arc<Self>) -> Arc<ServerTickets> {
        Arc::new(ServerTickets {
            tickets: self.clone(),
            era: self.state.lock().era,
            state: Mutex::default(),
        })
    }

    /// Whether connections that this side opens use tickets and leave some. At first they do.
    pub fn hold(&self, hold: bool) {
        self.unheld.store(!hold, Ordering::SeqCst);
        if !hold {
            self.state.lock().held = Shelf::default();
        }
    }

    pub fn holds(&self) -> bool {
        !self.unheld.load(Ordering::SeqCst)
    }

    /// For one connection that this side opens.
    pub fn client(self: &Arc<Self>, towards: Towards) -> Arc<ClientTickets> {
        Arc::new(ClientTickets {
            tickets: self.clone(),
            era: self.state.lock().era,
            towards,
            state: Mutex::default(),
        })
    }

    /// After a change of the policy: whoever is revoked loses its tickets.
    pub fn revoke(&self, revoked: &BTreeSet<PeerId>) {
        let mut state = self.state.lock();
        state.era += 1;
        state.offered.forget(|peer, _| revoked.contains(peer));
        state.held.forget(|_, held| revoked.contains(&held.peer));
        state.tidy();
    }

    /// After a change of our identity or of whom we believe.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        *state = State {
            era: state.era + 1,
            ..State::default()
        };
    }

    /// Tickets offered to others, and tickets held.
    pub fn count(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.offered.len(), state.held.len())
    }
}

impl State {
    fn offer(&mut self, era: u64, peer: PeerId, offer: Offer, ends: i64) -> bool {
        let bytes = offer.key.len() + offer.value.len();
        if self.era != era || bytes > TICKET_BYTES_MAX {
            return false;
        }
        let key = offer.key.clone();
        let place = self.offered.put(peer, offer, bytes, ends);
        self.places.insert(key, place);
        self.offered
            .bound(TICKETS_OFFERED_MAX, TICKET_BYTES_TOTAL_MAX);
        self.tidy();
        true
    }

    /// Drops places of offers that have left the shelf, once they are many.
    fn tidy(&mut self) {
        if self.places.len() > 2 * self.offered.len() {
            let offered = &self.offered;
            self.places.retain(|_, place| offered.has(*place));
        }
    }
}

/// The tickets of one accepted connection.
pub struct ServerTickets {
    tickets: Arc<Tickets>,
    era: u64,
    state: Mutex<Served>,
}

#[derive(Default)]
struct Served {
    /// Made by TLS before the client was admitted; they are worth nothing until it is.
    pending: Vec<(Vec<u8>, Vec<u8>)>,
    admitted: Option<Admitted>,
    taken: Option<(PeerId, Alpn)>,
}

impl ServerTickets {
    /// Whose ticket this connection resumes, and for which protocol it was given.
    pub fn taken(&self) -> Option<(PeerId, Alpn)> {
        self.state.lock().taken
    }

    /// The client is admitted: its tickets count.
    pub fn admit(&self, admitted: Admitted) {
        let pending = {
            let mut state = self.state.lock();
            state.admitted = Some(admitted);
            std::mem::take(&mut state.pending)
        };
        for (key, value) in pending {
            self.offer(admitted, key, value);
        }
    }

    fn offer(&self, admitted: Admitted, key: Vec<u8>, value: Vec<u8>) -> bool {
        let offer = Offer {
            key,
            value,
            alpn: admitted.alpn,
        };
        let ends = admitted.ends(now_unix());
        let mut state = self.tickets.state.lock();
        state.offer(self.era, admitted.peer, offer, ends)
    }
}

impl StoresServerSessions for ServerTickets {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut state = self.state.lock();
        match state.admitted {
            Some(admitted) => {
                drop(state);
                self.offer(admitted, key, value)
            }
            None if state.pending.len() < TICKETS_PER_PEER_MAX => {
                state.pending.push((key, value));
                true
            }
            None => false,
        }
    }

    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        // TLS 1.3 takes tickets and never looks at one (RFC 8446 section 8.1).
        None
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let (peer, offer) = {
            let mut state = self.tickets.state.lock();
            if state.era != self.era {
                return None;
            }
            let place = state.places.remove(key)?;
            state.offered.take(place, now_unix())?
        };
        self.state.lock().taken = Some((peer, offer.alpn));
        Some(offer.value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The tickets of one connection that this side opens.
pub struct ClientTickets {
    tickets: Arc<Tickets>,
    era: u64,
    towards: Towards,
    state: Mutex<Dialled>,
}

#[derive(Default)]
struct Dialled {
    pending: Vec<Tls13ClientSessionValue>,
    admitted: Option<Admitted>,
    taken: Option<PeerId>,
}

impl ClientTickets {
    /// Whose ticket was offered to the server.
    pub fn taken(&self) -> Option<PeerId> {
        self.state.lock().taken
    }

    /// Both sides are admitted: tickets of the server count.
    pub fn admit(&self, admitted: Admitted) {
        let pending = {
            let mut state = self.state.lock();
            state.admitted = Some(admitted);
            std::mem::take(&mut state.pending)
        };
        for value in pending {
            self.hold(admitted, value);
        }
    }

    fn hold(&self, admitted: Admitted, value: Tls13ClientSessionValue) {
        let ends = admitted.ends(now_unix());
        let held = Held {
            value,
            peer: admitted.peer,
        };
        let mut state = self.tickets.state.lock();
        if state.era == self.era && self.tickets.holds() {
            state.held.put(self.towards.clone(), held, 0, ends);
            state.held.bound(TICKETS_HELD_MAX, usize::MAX);
        }
    }
}

impl ClientSessionStore for ClientTickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut state = self.state.lock();
        match state.admitted {
            Some(admitted) => {
                drop(state);
                self.hold(admitted, value);
            }
            None if state.pending.len() < TICKETS_PER_PEER_MAX => state.pending.push(value),
            None => {}
        }
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let held = {
            let mut state = self.tickets.state.lock();
            if state.era != self.era {
                return None;
            }
            state.held.take_last(&self.towards, now_unix())?
        };
        self.state.lock().taken = Some(held.peer);
        Some(held.value)
    }
}

impl fmt::Debug for ServerTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTickets")
    }
}

impl fmt::Debug for ClientTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTickets")
    }
}

/// Things in groups that end, the oldest of a group and of all making room for the newest. Pure.
struct Shelf<G, T> {
    next: u64,
    items: BTreeMap<u64, Item<G, T>>,
    groups: HashMap<G, VecDeque<u64>>,
    bytes: usize,
}

struct Item<G, T> {
    group: G,
    thing: T,
    bytes: usize,
    ends: i64,
}

impl<G, T> Default for Shelf<G, T> {
    fn default() -> Shelf<G, T> {
        Shelf {
            next: 0,
            items: BTreeMap::new(),
            groups: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<G: Clone + Eq + Hash, T> Shelf<G, T> {
    /// Its place. The group keeps its newest.
    fn put(&mut self, group: G, thing: T, bytes: usize, ends: i64) -> u64 {
        let place = self.next;
        self.next += 1;
        let places = self.groups.entry(group.clone()).or_default();
        places.push_back(place);
        let oldest = (places.len() > TICKETS_PER_PEER_MAX).then(|| places[0]);
        self.bytes += bytes;
        let item = Item {
            group,
            thing,
            bytes,
            ends,
        };
        self.items.insert(place, item);
        if let Some(oldest) = oldest {
            self.remove(oldest);
        }
        place
    }

    /// Drops the oldest of all until no more than `count` and `bytes` are left.
    fn bound(&mut self, count: usize, bytes: usize) {
        while self.items.len() > count || self.bytes > bytes {
            let Some((&oldest, _)) = self.items.first_key_value() else {
                return;
            };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, place: u64) -> Option<Item<G, T>> {
        let item = self.items.remove(&place)?;
        self.bytes -= item.bytes;
        if let Some(places) = self.groups.get_mut(&item.group) {
            places.retain(|other| *other != place);
            if places.is_empty() {
                self.groups.remove(&item.group);
            }
        }
        Some(item)
    }

    fn take(&mut self, place: u64, now: i64) -> Option<(G, T)> {
        let item = self.remove(place)?;
        (now < item.ends).then_some((item.group, item.thing))
    }

    /// The newest of `group`.
    fn take_last(&mut self, group: &G, now: i64) -> Option<T> {
        let place = *self.groups.get(group)?.back()?;
        self.take(place, now).map(|(_, thing)| thing)
    }

    fn forget(&mut self, which: impl Fn(&G, &T) -> bool) {
        let places: Vec<u64> = self
            .items
            .iter()
            .filter(|(_, item)| which(&item.group, &item.thing))
            .map(|(place, _)| *place)
            .collect();
        for place in places {
            self.remove(place);
        }
    }

    fn has(&self, place: u64) -> bool {
        self.items.contains_key(&place)
    }

    fn len(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PEER: PeerId = [1; 32];
    const OTHER: PeerId = [2; 32];

    fn admitted(peer: PeerId) -> Admitted {
        Admitted {
            peer,
            alpn: Alpn::Node,
            not_after: i64::MAX,
        }
    }

    /// A connection of `peer` that leaves a ticket under `key`.
    fn offered(tickets: &Arc<Tickets>, peer: PeerId, key: u8) {
        let connection = tickets.server();
        assert!(connection.put(vec![key; 32], vec![key; 100]));
        connection.admit(admitted(peer));
    }

    fn taken(tickets: &Arc<Tickets>, key: u8) -> Option<PeerId> {
        let connection = tickets.server();
        let value = connection.take(&[key; 32]);
        let peer = connection.taken().map(|(peer, _)| peer);
        assert_eq!(value.is_some(), peer.is_some());
        peer
    }

    #[test]
    fn a_ticket_is_taken_once() {
        let tickets = Arc::new(Tickets::default());
        offered(&tickets, PEER, 1);
        assert_eq!(tickets.count(), (1, 0));
        assert_eq!(taken(&tickets, 2), None);
        assert_eq!(taken(&tickets, 1), Some(PEER));
        assert_eq!(taken(&tickets, 1), None);
        assert_eq!(tickets.count(), (0, 0));
    }

    #[test]
    fn without_admission_there_is_no_ticket() {
        let tickets = Arc::new(Tickets::default());
        let connection = tickets.server();
        assert!(connection.put(vec![1; 32], vec![0; 100]));
        assert_eq!(taken(&tickets, 1), None);
        drop(connection);
        assert_eq!(tickets.count(), (0, 0));
    }

    #[test]
    fn one_made_after_admission_counts_at_once() {
        let tickets = Arc::new(Tickets::default());
        let connection = tickets.server();
        connection.admit(admitted(PEER));
        assert!(connection.put(vec![1; 32], vec![0; 100]));
        assert_eq!(taken(&tickets, 1), Some(PEER));
    }

    #[test]
    fn a_revoked_peer_loses_its_tickets_and_others_keep_theirs() {
        let tickets = Arc::new(Tickets::default());
        offered(&tickets, PEER, 1);
        offered(&tickets, OTHER, 2);
        tickets.revoke(&BTreeSet::from([PEER]));
        assert_eq!(taken(&tickets, 1), None);
        assert_eq!(taken(&tickets, 2), Some(OTHER));
    }

    #[test]
    fn a_change_reaches_connections_that_began_before_it() {
        let tickets = Arc::new(Tickets::default());
        offered(&tickets, PEER, 1);
        let (accepting, taking) = (tickets.server(), tickets.server());
        tickets.revoke(&BTreeSet::new());
        accepting.admit(admitted(PEER));
        assert!(!accepting.put(vec![9; 32], vec![0; 100]));
        assert_eq!(taking.take(&[1; 32]), None);
        assert_eq!(taken(&tickets, 1), Some(PEER));
    }

    #[test]
    fn another_identity_ends_all() {
        let tickets = Arc::new(Tickets::default());
        offered(&tickets, PEER, 1);
        tickets.clear();
        assert_eq!(tickets.count(), (0, 0));
        assert_eq!(taken(&tickets, 1), None);
    }

    #[test]
    fn a_ticket_ends_with_its_time_and_with_the_certificate() {
        let now = 1_000_000;
        let lifetime = TICKET_LIFETIME.as_secs() as i64;
        let long = admitted(PEER);
        assert_eq!(long.ends(now), now + lifetime);
        let short = Admitted {
            not_after: now + 5,
            ..long
        };
        assert_eq!(short.ends(now), now + 5);
        let mut shelf = Shelf::default();
        for (now, there) in [(4, true), (5, false), (6, false)] {
            shelf.put(PEER, "ticket", 1, 5);
            assert_eq!(shelf.take_last(&PEER, now).is_some(), there);
            assert_eq!((shelf.len(), shelf.bytes), (0, 0));
        }
    }

    #[test]
    fn an_expired_certificate_leaves_no_ticket_to_take() {
        let tickets = Arc::new(Tickets::default());
        let connection = tickets.server();
        connection.put(vec![1; 32], vec![0; 100]);
        connection.admit(Admitted {
            not_after: now_unix() - 1,
            ..admitted(PEER)
        });
        assert_eq!(taken(&tickets, 1), None);
    }

    #[test]
    fn one_peer_and_all_peers_are_bounded() {
        let tickets = Arc::new(Tickets::default());
        for key in 0..100 {
            offered(&tickets, PEER, key);
            assert!(tickets.count().0 <= TICKETS_PER_PEER_MAX);
        }
        assert_eq!(taken(&tickets, 99), Some(PEER));
        assert_eq!(taken(&tickets, 0), None);
        let mut shelf = Shelf::default();
        for group in 0..1000u32 {
            shelf.put(group, (), 10, i64::MAX);
            shelf.bound(50, 300);
            assert!(shelf.len() <= 30 && shelf.bytes <= 300);
            assert!(shelf.groups.len() == shelf.len());
        }
        assert!(shelf.take_last(&999, 0).is_some());
        assert!(shelf.take_last(&0, 0).is_none());
        let state = tickets.state.lock();
        assert!(state.places.len() <= 2 * TICKETS_PER_PEER_MAX + 1);
    }

    #[test]
    fn a_ticket_too_large_is_not_kept() {
        let tickets = Arc::new(Tickets::default());
        let connection = tickets.server();
        connection.admit(admitted(PEER));
        assert!(!connection.put(vec![1; 32], vec![0; TICKET_BYTES_MAX]));
        assert_eq!(tickets.count(), (0, 0));
    }
}
