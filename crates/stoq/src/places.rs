//! Places at an endpoint (for connections, or for bytes that wait), shared so that nobody has them
//! all.
//!
//! A party takes places up to [`SHARE`] times those that are free (dynamic thresholds: Choudhury and
//! Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). Alone it gets two thirds of all, a second
//! one two thirds of the rest, and so on: whoever has come first, another one finds room. Who has few
//! is never in the way of who has many while there is room for both.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::PeerId;

/// Of the free places, as many times as much as one party may have.
const SHARE: usize = 2;

/// Who takes places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// Whom somebody vouches for.
    Peer(PeerId),
    /// Whose keys are free to make, and whose addresses below the prefix of a network as well (RFC
    /// 6177 section 2): the first 64 bits over IPv6, all of them over IPv4.
    Network(u64, bool),
}

impl Party {
    pub fn at(remote: IpAddr) -> Party {
        match remote.to_canonical() {
            IpAddr::V4(address) => Party::Network(u32::from(address).into(), true),
            IpAddr::V6(address) => Party::Network((u128::from(address) >> 64) as u64, false),
        }
    }
}

pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Without those who have none.
    of: HashMap<Party, usize>,
}

/// So many places; dropped, they are free.
pub struct Place {
    places: Arc<Places>,
    party: Party,
    count: usize,
}

impl Places {
    pub fn new(most: usize) -> Arc<Places> {
        let taken = Mutex::default();
        Arc::new(Places { most, taken })
    }

    /// `count` more; `None` where there are not as many for `party`. No place is always there.
    pub fn take(self: &Arc<Self>, party: Party, count: usize) -> Option<Place> {
        let mut taken = self.taken.lock();
        let free = self.most - taken.all;
        let held = taken.of.get(&party).copied().unwrap_or_default();
        if count > free || (count > 0 && held + count > SHARE * free) {
            return None;
        }
        taken.all += count;
        if count > 0 {
            taken.of.insert(party, held + count);
        }
        let places = self.clone();
        Some(Place {
            places,
            party,
            count,
        })
    }

    pub fn taken(&self) -> usize {
        self.taken.lock().all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= self.count;
        match taken.of.get_mut(&self.party) {
            Some(held) if *held > self.count => *held -= self.count,
            Some(_) if self.count > 0 => {
                taken.of.remove(&self.party);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(number: u8) -> Party {
        Party::Peer([number; 32])
    }

    /// As many as `party` gets.
    fn all_for(places: &Arc<Places>, party: Party) -> Vec<Place> {
        std::iter::from_fn(|| places.take(party, 1)).collect()
    }

    #[test]
    fn one_alone_gets_two_thirds_and_the_next_two_thirds_of_the_rest() {
        let places = Places::new(900);
        let first = all_for(&places, party(1));
        let second = all_for(&places, party(2));
        let third = all_for(&places, party(3));
        assert_eq!((first.len(), second.len(), third.len()), (600, 200, 67));
        assert_eq!(places.taken(), 867);
    }

    #[test]
    fn a_place_is_free_again_for_whoever_asks_first() {
        let places = Places::new(3);
        let mut first = all_for(&places, party(1));
        assert_eq!(first.len(), 2);
        first.pop();
        let second = places.take(party(2), 1);
        assert!(second.is_some());
        assert!(places.take(party(1), 1).is_some());
        drop((first, second));
        assert_eq!(places.taken(), 0);
        assert!(places.taken.lock().of.is_empty());
    }

    #[test]
    fn no_more_are_taken_than_there_are() {
        for most in [0, 1, 2, 7, 64] {
            let places = Places::new(most);
            let held: Vec<Place> = (0..200).filter_map(|n| places.take(party(n), 1)).collect();
            assert_eq!(held.len(), most);
        }
    }

    #[test]
    fn large_ones_leave_room_for_large_ones_and_nothing_takes_no_room() {
        let places = Places::new(64);
        let fours = |number| -> Vec<Place> {
            std::iter::from_fn(|| places.take(party(number), 4)).collect()
        };
        let (first, second) = (fours(1), fours(2));
        assert_eq!((first.len(), second.len()), (11, 4));
        assert!(places.take(party(3), 5).is_none());
        assert!(places.take(party(3), 4).is_some());
        let nothing = places.take(party(1), 0);
        assert!(nothing.is_some());
        drop(nothing);
        assert_eq!(places.taken(), 60);
        drop((first, second));
        assert!(places.taken.lock().of.is_empty());
    }

    #[test]
    fn neighbours_are_one_party_and_strangers_are_not() {
        let at = |text: &str| Party::at(text.parse().unwrap_or_else(|_| unreachable!("{text}")));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_ne!(at("0.0.0.1"), at("0:0:0:1::"));
    }
}
