//! The receive buffer of one socket of this host, which all connections towards it share.
//!
//! Between two hosts a queue of the path overflows, and losses tell each connection of it. Within a
//! host there is no queue but the receiver's socket, and what is lost there is lost because of what
//! the connections of one sender have in flight together. So they share it: whoever is alone has all
//! of it, and who has more than an equal part gives way while it is full.
//!
//! A connection with nothing in flight may always send, so each is asked again by the
//! acknowledgement of its own packets, and none has to be woken by another.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Addresses known at first before those that nobody uses are forgotten.
const KNOWN_FIRST: usize = 64;

/// The rooms of an endpoint, by the address of the socket that they are.
#[derive(Debug)]
pub struct Rooms {
    bytes: u64,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    rooms: HashMap<SocketAddr, Weak<Room>>,
    /// So many make it worth to look for those that are not used.
    bound: usize,
}

impl Rooms {
    /// `bytes`: what one socket of this host holds.
    pub fn new(bytes: u64) -> Rooms {
        Rooms {
            bytes,
            known: Mutex::new(Known {
                rooms: HashMap::new(),
                bound: KNOWN_FIRST,
            }),
        }
    }

    /// The room at `address`.
    pub fn at(&self, address: SocketAddr) -> Arc<Room> {
        let mut known = self.known.lock();
        if let Some(room) = known.rooms.get(&address).and_then(Weak::upgrade) {
            return room;
        }
        if known.rooms.len() >= known.bound {
            known.rooms.retain(|_, room| room.strong_count() > 0);
            known.bound = (2 * known.rooms.len()).max(KNOWN_FIRST);
        }
        let room = Arc::new(Room {
            bytes: self.bytes,
            taken: AtomicU64::new(0),
            seats: AtomicU64::new(0),
        });
        known.rooms.insert(address, Arc::downgrade(&room));
        room
    }
}

#[derive(Debug)]
pub struct Room {
    bytes: u64,
    /// Bytes in flight of all connections.
    taken: AtomicU64,
    /// Connections that have something in flight.
    seats: AtomicU64,
}

/// What one connection has of a room. A clone begins with nothing.
#[derive(Debug)]
pub struct Seat {
    room: Arc<Room>,
    held: u64,
}

impl Seat {
    pub fn new(room: Arc<Room>) -> Seat {
        Seat { room, held: 0 }
    }

    /// The connection has `in_flight` bytes under way.
    pub fn hold(&mut self, in_flight: u64) {
        let room = &self.room;
        match (self.held, in_flight) {
            (0, 1..) => room.seats.fetch_add(1, Relaxed),
            (1.., 0) => room.seats.fetch_sub(1, Relaxed),
            _ => 0,
        };
        if in_flight > self.held {
            room.taken.fetch_add(in_flight - self.held, Relaxed);
        } else {
            room.taken.fetch_sub(self.held - in_flight, Relaxed);
        }
        self.held = in_flight;
    }

    /// Bytes that it may have under way: its part, or what it has and what is left.
    pub fn limit(&self) -> u64 {
        let room = &self.room;
        let others = room
            .seats
            .load(Relaxed)
            .saturating_sub((self.held > 0).into());
        let free = room
            .bytes
            .saturating_sub(room.taken.load(Relaxed) - self.held);
        free.max(room.bytes / (others + 1))
    }
}

impl Clone for Seat {
    fn clone(&self) -> Seat {
        Seat::new(self.room.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1000;

    fn room() -> Arc<Room> {
        Rooms::new(BYTES).at(([0u16; 8], 1).into())
    }

    #[test]
    fn whoever_is_alone_has_all_of_it() {
        let mut alone = Seat::new(room());
        assert_eq!(alone.limit(), BYTES);
        alone.hold(700);
        assert_eq!(alone.limit(), BYTES);
    }

    #[test]
    fn one_with_little_leaves_the_rest_to_another() {
        let room = room();
        let (mut little, mut much) = (Seat::new(room.clone()), Seat::new(room));
        little.hold(10);
        much.hold(300);
        assert_eq!(much.limit(), BYTES - 10);
        assert_eq!(little.limit(), BYTES - 300);
    }

    #[test]
    fn a_full_one_is_shared_equally_and_never_closed_to_anybody() {
        let room = room();
        let mut first = Seat::new(room.clone());
        first.hold(BYTES);
        // It has nothing in flight, and so no acknowledgement of its own to wait for.
        let mut second = Seat::new(room.clone());
        assert_eq!(second.limit(), BYTES / 2);
        second.hold(BYTES / 2);
        assert_eq!(first.limit(), BYTES / 2);
        let others: Vec<Seat> = (0..8).map(|_| Seat::new(room.clone())).collect();
        assert!(others.iter().all(|seat| seat.limit() == BYTES / 3));
    }

    #[test]
    fn who_leaves_gives_back_what_it_had() {
        let room = room();
        let mut stays = Seat::new(room.clone());
        stays.hold(100);
        let mut leaves = Seat::new(room.clone());
        leaves.hold(400);
        // As on a new path, which begins with nothing in flight.
        let moved = leaves.clone();
        assert_eq!(moved.limit(), BYTES - 500);
        drop((leaves, moved));
        assert_eq!(stays.limit(), BYTES);
        stays.hold(0);
        assert_eq!(room.taken.load(Relaxed), 0);
        assert_eq!(room.seats.load(Relaxed), 0);
    }

    #[test]
    fn one_address_is_one_room_and_unused_ones_are_forgotten() {
        let rooms = Rooms::new(BYTES);
        let address = |port: u16| SocketAddr::from(([0u16; 8], port));
        let used = rooms.at(address(1));
        assert!(Arc::ptr_eq(&used, &rooms.at(address(1))));
        for port in 2..2000 {
            assert!(!Arc::ptr_eq(&used, &rooms.at(address(port))));
        }
        assert!(rooms.known.lock().rooms.len() <= KNOWN_FIRST);
        assert!(Arc::ptr_eq(&used, &rooms.at(address(1))));
    }
}
