//! Thieves of tickets: they hold the TLS secret of an earlier connection, and not the keys of the
//! node that made it. Each gets through TLS and no further (`docs/decisions/0009-resumption.md`).

use std::collections::BTreeSet;

use parking_lot::Mutex;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::NamedGroup;

use super::*;

/// Tickets as a client has them, to be stolen.
#[derive(Debug, Default)]
pub struct Loot {
    pub tickets: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for Loot {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.tickets.lock().push(ticket);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets.lock().pop()
    }
}

impl Loot {
    pub fn wait(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.tickets.lock().is_empty() {
            assert!(Instant::now() < deadline, "no ticket came");
            std::thread::yield_now();
        }
    }
}

/// What the server makes of a client that resumes with stolen tickets and says `frame`.
fn says(raw: &Raw, frame: &[u8]) -> Option<Kind> {
    let (mut send, mut receive) = raw.open();
    let answered = raw.run(async {
        let _ = send.write_all(frame).await;
        let _ = send.finish();
        receive.read_to_end(2000).await
    });
    match answered {
        Ok(_) => None,
        Err(_) => Some(raw.closed()),
    }
}

/// A session that was admitted once, with its ticket, and the binding it sent.
pub fn victim(server: &Endpoint) -> (Session, Arc<Loot>, Vec<u8>) {
    let victim = Session::new();
    let loot = Arc::new(Loot::default());
    let raw = Raw::dial_with(server, Alpn::Session, &victim.identity, loot.clone());
    assert!(!Channel::of(&raw.connection).unwrap().resumed);
    let binding = victim.binding(&raw, Role::Client, &GENESIS);
    assert_eq!(says(&raw, &binding), None);
    loot.wait();
    let deadline = Instant::now() + PATIENCE;
    while server.stats().tickets_offered == 0 {
        assert!(Instant::now() < deadline, "no ticket is on offer");
        std::thread::yield_now();
    }
    (victim, loot, binding)
}

fn resumed(server: &Endpoint, victim: &Session, loot: &Arc<Loot>) -> Raw {
    let raw = Raw::dial_with(server, Alpn::Session, &victim.identity, loot.clone());
    assert!(Channel::of(&raw.connection).unwrap().resumed);
    raw
}

#[test]
fn a_ticket_without_the_keys_admits_nobody() {
    let thief = Session::new();
    type Frame<'a> = &'a dyn Fn(&Raw, &Session, &[u8]) -> Vec<u8>;
    let frames: [(&str, Frame<'_>); 4] = [
        ("the thief's own keys", &|raw, _, _| {
            thief.binding(raw, Role::Client, &GENESIS)
        }),
        ("the victim's old binding", &|_, _, old| old.to_vec()),
        ("no signature", &|_, _, _| vec![1, 0]),
        ("nothing", &|_, _, _| vec![]),
    ];
    for (name, frame) in frames {
        let server = server();
        let (victim, loot, old) = victim(&server);
        let raw = resumed(&server, &victim, &loot);
        let frame = frame(&raw, &victim, &old);
        assert_eq!(says(&raw, &frame), Some(Kind::BindingFailed), "{name}");
        let refusal = refusal(&server);
        assert_eq!(refusal.error.kind(), Some(Kind::BindingFailed), "{name}");
        assert_eq!(refusal.peer, Some(victim.identity.id), "{name}");
        assert_eq!((server.stats().accepted, server.stats().resumed), (1, 0));
    }
}

/// The checker above can fail: with the keys, the same way leads in.
#[test]
fn a_ticket_with_the_keys_resumes() {
    let server = server();
    let (victim, loot, _) = victim(&server);
    let raw = resumed(&server, &victim, &loot);
    let binding = victim.binding(&raw, Role::Client, &GENESIS);
    assert_eq!(says(&raw, &binding), None);
    assert_alive(&server, &raw);
    assert_eq!((server.stats().accepted, server.stats().resumed), (2, 1));
}

#[test]
fn a_ticket_of_one_protocol_is_refused_for_another() {
    let server = server();
    let (victim, loot, _) = victim(&server);
    let raw = Raw::dial_with(&server, Alpn::Node, &victim.identity, loot);
    assert!(Channel::of(&raw.connection).unwrap().resumed);
    let binding = victim.binding(&raw, Role::Client, &GENESIS);
    assert_eq!(says(&raw, &binding), Some(Kind::BindingFailed));
    let refusal = refusal(&server);
    assert_eq!(refusal.error.kind(), Some(Kind::BindingFailed));
    assert!(refusal.error.reason().contains("hm-session/1"));
}

#[test]
fn a_client_that_was_not_admitted_has_no_ticket_to_use() {
    let server = server();
    let stranger = Session::new();
    let loot = Arc::new(Loot::default());
    let raw = Raw::dial_with(&server, Alpn::Session, &stranger.identity, loot.clone());
    // TLS hands out its ticket before admission.
    loot.wait();
    assert_eq!(says(&raw, &[]), Some(Kind::BindingFailed));
    assert_eq!(server.stats().tickets_offered, 0);
    let raw = Raw::dial_with(&server, Alpn::Session, &stranger.identity, loot);
    assert!(!Channel::of(&raw.connection).unwrap().resumed);
}

#[test]
fn a_revocation_between_ticket_and_binding_refuses_by_name() {
    let server = server();
    let (victim, loot, _) = victim(&server);
    let raw = resumed(&server, &victim, &loot);
    server.set_policy(Arc::new(TrustPolicy {
        revoked: BTreeSet::from([victim.identity.id]),
        ..TrustPolicy::default()
    }));
    let binding = victim.binding(&raw, Role::Client, &GENESIS);
    assert_eq!(says(&raw, &binding), Some(Kind::PeerRevoked));
    assert_eq!(refusal(&server).error.kind(), Some(Kind::PeerRevoked));
    assert_eq!(server.stats().resumed, 0);
}
