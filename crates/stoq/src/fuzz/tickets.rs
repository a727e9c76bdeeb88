//! The store of tickets under any order of what can happen to it.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::StoresServerSessions;

use crate::admission::Alpn;
use crate::limits::TICKETS_PER_PEER_MAX;
use crate::tickets::{Admitted, ServerTickets, Tickets};
use crate::PeerId;

const PEERS: u8 = 4;
const STEPS_MAX: usize = 200;

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 1, 4, 0, 4, 0],
        vec![0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 4, 0, 4, 4],
        vec![0, 1, 5, 1, 4, 0, 0, 1, 6, 0, 4, 1],
        vec![1, 1, 4, 0, 2, 1, 4, 1, 3, 0, 7, 0],
    ]
}

/// Pairs of `what u8 | whom u8`. A ticket is taken at most once, by the peer it was given to, and
/// never after its end; and a peer has no more than its share.
pub fn read(input: &[u8]) {
    let tickets = Arc::new(Tickets::default());
    let mut earlier: Arc<ServerTickets> = tickets.server();
    // Tickets that may be taken, and by whose connection they came.
    let mut good: HashMap<[u8; 2], PeerId> = HashMap::new();
    let mut made = 0_u16;
    for step in input.chunks_exact(2).take(STEPS_MAX) {
        let (what, whom) = (step[0], step[1]);
        let peer: PeerId = [whom % PEERS; 32];
        let admitted = |not_after| Admitted {
            peer,
            alpn: Alpn::Node,
            not_after,
        };
        match what % 8 {
            0..=2 => {
                let connection = tickets.server();
                let key = made.to_be_bytes();
                made += 1;
                assert!(connection.put(key.to_vec(), vec![whom; 40]));
                match what % 8 {
                    0 => {
                        connection.admit(admitted(i64::MAX));
                        good.insert(key, peer);
                    }
                    // Its certificate has ended.
                    1 => connection.admit(admitted(0)),
                    // It is never admitted.
                    _ => {}
                }
            }
            3 => earlier = tickets.server(),
            4 => {
                let key = u16::from(whom).to_be_bytes();
                taken(&tickets.server(), key, &mut good);
            }
            5 => {
                tickets.revoke(&[peer].into());
                good.retain(|_, of| *of != peer);
            }
            6 => {
                tickets.clear();
                good.clear();
                assert_eq!(tickets.count(), (0, 0));
            }
            // A connection that began before other things happened.
            _ => taken(&earlier, u16::from(whom).to_be_bytes(), &mut good),
        }
        let (offered, _) = tickets.count();
        assert!(offered <= TICKETS_PER_PEER_MAX * usize::from(PEERS));
    }
}

fn taken(connection: &Arc<ServerTickets>, key: [u8; 2], good: &mut HashMap<[u8; 2], PeerId>) {
    if connection.take(&key).is_some() {
        let taken = connection.taken();
        assert_eq!(taken, good.remove(&key).map(|peer| (peer, Alpn::Node)));
        assert!(taken.is_some());
    }
}
