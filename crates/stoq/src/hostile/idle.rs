//! What a server keeps of a connection once it is admitted.

use super::*;
use crate::serving::SERVICE_ECHO;
use crate::session;

fn has_tls(connection: &quic::Connection) -> bool {
    let mut output = [0; 32];
    let exported = connection.export_keying_material(&mut output, b"EXPORTER-test", b"");
    exported.is_ok()
}

#[test]
fn tls_is_over_with_admission_and_keys_change_all_the_same() {
    let server = server();
    let session = Session::new();
    let raw = Raw::dial(&server, Alpn::Session, Some(&session.identity));
    let said = session.binding(&raw, Role::Client, &[0; 32]);
    let (mut send, mut receive) = raw.open();
    raw.run(async {
        send.write_all(&said).await.unwrap();
        send.finish().unwrap();
        receive.read_to_end(2000).await.unwrap();
    });
    assert_alive(&server, &raw);
    let accepted = server.live().all().pop().unwrap();
    // The client still has its end of TLS, so what is asked for is there to be had.
    assert!(has_tls(&raw.connection));
    assert!(!has_tls(&accepted));
    assert!(accepted.peer_identity().is_none());
    let seen = session::of(&accepted);
    assert!(seen.complete);
    assert_eq!(seen.protocol.as_deref(), Some(Alpn::Session.name()));
    assert_eq!(seen.group, Some(rustls::NamedGroup::X25519MLKEM768));

    // Neither side changes keys again before the peer has shown that it followed.
    let deadline = Instant::now() + PATIENCE;
    let mut turn = 0u8;
    while session::of(&accepted).key_updates < seen.key_updates + 4 {
        assert!(Instant::now() < deadline, "the keys do not change");
        match turn % 2 {
            0 => accepted.force_key_update(),
            _ => raw.connection.force_key_update(),
        }
        turn = turn.wrapping_add(1);
        let body = [turn; 100];
        let answer = raw.say(&request(SERVICE_ECHO, &body)).unwrap();
        assert!(answer.ends_with(&body));
    }
    assert_alive(&server, &raw);
}
