//! Which peers were admitted, by which certificates: for whoever asks later what a revocation would
//! have cut off.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::admission::Alpn;
use crate::PeerId;

/// One admission of a peer with a certificate.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub remote: SocketAddr,
    pub alpn: Alpn,
    pub peer: PeerId,
    /// The network that its certificate names; `None` where it is known by its keys alone.
    pub network: Option<[u8; 32]>,
    /// Whether this side has opened the connection.
    pub opened: bool,
    /// What the peer has shown, leaf first, DER.
    pub chain: Vec<Vec<u8>>,
}

/// The admissions since somebody last took them. Nothing is kept before [`Admissions::keep`].
#[derive(Default)]
pub struct Admissions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    most: usize,
    missed: u64,
    waiting: VecDeque<Admission>,
}

impl Admissions {
    /// Keep at most `most` from now on; of more, the oldest are dropped and counted.
    pub fn keep(&self, most: usize) {
        self.0.lock().most = most;
    }

    pub fn is_kept(&self) -> bool {
        self.0.lock().most > 0
    }

    pub fn note(&self, admission: Admission) {
        let mut kept = self.0.lock();
        if kept.most == 0 {
            return;
        }
        while kept.waiting.len() >= kept.most {
            kept.waiting.pop_front();
            kept.missed += 1;
        }
        kept.waiting.push_back(admission);
    }

    /// All that wait, oldest first, and how many were dropped since the last time.
    pub fn take(&self) -> (Vec<Admission>, u64) {
        let mut kept = self.0.lock();
        let missed = std::mem::take(&mut kept.missed);
        (kept.waiting.drain(..).collect(), missed)
    }
}

pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(at_ms: u64) -> Admission {
        Admission {
            at_ms,
            remote: SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 1)),
            alpn: Alpn::Node,
            peer: [1; 32],
            network: None,
            opened: false,
            chain: Vec::new(),
        }
    }

    #[test]
    fn nothing_is_kept_unasked_and_the_oldest_are_dropped_and_counted() {
        let admissions = Admissions::default();
        admissions.note(admission(0));
        assert_eq!(admissions.take().0.len(), 0);
        admissions.keep(2);
        (1..=5).for_each(|at| admissions.note(admission(at)));
        let (taken, missed) = admissions.take();
        let times: Vec<u64> = taken.iter().map(|one| one.at_ms).collect();
        assert_eq!((times, missed), (vec![4, 5], 3));
        assert_eq!(admissions.take().1, 0);
    }
}
