//! Many connections of few.

use std::collections::BTreeSet;

use super::*;
use crate::limits::OUTSIDERS_MAX;

/// A stranger's connection, or what it is told that gets no place.
fn stranger(server: &Endpoint) -> Result<Raw, Kind> {
    let raw = Raw::dial(server, Alpn::Enrol, None);
    let (mut send, mut receive) = raw.open();
    let answer = raw.run(async {
        // The endpoint may have closed already.
        let _ = send.write_all(&[1, 0]).await;
        let _ = send.finish();
        receive.read_to_end(2000).await
    });
    match answer {
        Ok(_) => Ok(raw),
        Err(_) => Err(raw.closed()),
    }
}

/// Strangers of this network, as many as get a place, and what the next one is told.
fn crowd(server: &Endpoint) -> (Vec<Raw>, Kind) {
    let mut held = Vec::new();
    loop {
        match stranger(server) {
            Ok(raw) => held.push(raw),
            Err(kind) => return (held, kind),
        }
        assert!(held.len() < OUTSIDERS_MAX, "nobody is refused");
    }
}

#[test]
fn strangers_of_one_network_leave_room_for_others() {
    let server = server();
    let (mut held, refused) = crowd(&server);
    assert_eq!(refused, Kind::Overloaded);
    assert_eq!(held.len(), OUTSIDERS_MAX * 2 / 3);
    assert_eq!(refusal(&server).error.kind(), Some(Kind::Overloaded));
    // Those who are here are served on, and whoever leaves makes room.
    assert_alive(&server, &held[0]);
    held.pop().unwrap().connection.close(0u32.into(), b"");
    let deadline = Instant::now() + PATIENCE;
    while server.stats().connections == held.len() + 1 {
        assert!(Instant::now() < deadline, "the place is not free again");
        std::thread::yield_now();
    }
    assert!(stranger(&server).is_ok());
}

#[test]
fn strangers_take_no_place_of_those_who_are_known() {
    let session = Session::new();
    let server = server_with(TrustPolicy {
        bearers: Some(BTreeSet::from([session.identity.id])),
        ..TrustPolicy::default()
    });
    let (strangers, _) = crowd(&server);
    let known: Vec<Raw> = (0..strangers.len())
        .map(|_| session.admitted(&server))
        .collect();
    assert_alive(&server, known.last().unwrap());
    assert_eq!(server.stats().connections, strangers.len() + known.len());
}
