//! Peers that do not keep to the protocol, against a real endpoint on loopback. The endpoint stays
//! up through all of it: each case ends with a well-behaved request on the same socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hm_crypto::hybrid::SecretKeys;
use hm_x509::TrustPolicy;
use rustls::client::ClientSessionStore;

use crate::admission::{Alpn, Binding, Channel, Role};
use crate::drive::Drive;
use crate::endpoint::{Endpoint, Refusal};
use crate::error::{Error, Kind};
use crate::frame::{AnswerHeader, Extent, RequestHeader, Status};
use crate::identity::Identity;
use crate::limits::BODY_BYTES_MAX;
use crate::quic::{
    self, timeout, ClientConfig, Connecting, EndpointConfig, ReadToEndError, RecvStream, SendStream,
};
use crate::socket::Socket;
use crate::tls;

mod crowd;
mod early;
mod idle;
mod tickets;

const CONTROL: u16 = 1;
const MEMORY: u16 = 2;
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server whose certificate nobody vouches for: these clients do not ask.
pub(crate) fn server() -> Endpoint {
    server_with(TrustPolicy::default())
}

fn server_with(policy: TrustPolicy) -> Endpoint {
    let keys = Arc::new(SecretKeys::generate().unwrap());
    let leaf = hm_x509::self_signed(&keys).unwrap();
    let identity = Identity::new(vec![leaf], keys).unwrap();
    Endpoint::bind(
        SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0),
        Arc::new(policy),
        Some(Arc::new(identity)),
    )
    .unwrap()
}

/// A QUIC client with TLS as ours and nothing above it.
pub(crate) struct Raw {
    drive: Drive,
    pub connection: quic::Connection,
}

impl Raw {
    fn dial(server: &Endpoint, alpn: Alpn, identity: Option<&Identity>) -> Raw {
        Raw::connect(server, alpn, identity, None)
    }

    /// With tickets of earlier connections.
    fn dial_with(
        server: &Endpoint,
        alpn: Alpn,
        identity: &Identity,
        tickets: Arc<dyn ClientSessionStore>,
    ) -> Raw {
        Raw::connect(server, alpn, Some(identity), Some(tickets))
    }

    fn connect(
        server: &Endpoint,
        alpn: Alpn,
        identity: Option<&Identity>,
        tickets: Option<Arc<dyn ClientSessionStore>>,
    ) -> Raw {
        let crypto = tls::client(identity, alpn, tickets, false).unwrap();
        let (drive, connecting) = Raw::connecting(SocketAddr::V6(server.local()), crypto);
        let connection = drive.wait(async { Ok(connecting.await?) }).unwrap();
        Raw { drive, connection }
    }

    fn connecting(server: SocketAddr, crypto: Arc<tls::ClientCrypto>) -> (Drive, Connecting) {
        let socket = Socket::bind("[::1]:0".parse().unwrap(), false).unwrap();
        let client =
            quic::Endpoint::new(vec![socket], |_| Ok(EndpointConfig::default()), None).unwrap();
        let drive = Drive::start(client.shards()).unwrap();
        let connecting = client
            .connect_with(ClientConfig::new(crypto), server, tls::SERVER_NAME)
            .unwrap();
        (drive, connecting)
    }

    /// Enrolled as nobody, which any client may be.
    pub(crate) fn admitted(server: &Endpoint) -> Raw {
        let raw = Raw::dial(server, Alpn::Enrol, None);
        let (mut send, mut receive) = raw.open();
        raw.run(async {
            send.write_all(&[1, 0]).await.unwrap();
            send.finish().unwrap();
            receive.read_to_end(2000).await.unwrap();
        });
        raw
    }

    pub(crate) fn run<T>(&self, future: impl std::future::Future<Output = T>) -> T {
        self.drive
            .wait(async { Ok(timeout(PATIENCE, future).await) })
            .unwrap()
            .expect("the endpoint did not react")
    }

    pub(crate) fn open(&self) -> (SendStream, RecvStream) {
        self.run(self.connection.open_bi()).unwrap()
    }

    /// Sends `bytes` as one whole stream. What comes back, or why nothing does.
    pub(crate) fn say(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut send, mut receive) = self.open();
        self.run(async {
            // The endpoint may stop reading before the end.
            let _ = send.write_all(bytes).await;
            let _ = send.finish();
            receive
                .read_to_end(BODY_BYTES_MAX + 100)
                .await
                .map_err(|error| match error {
                    ReadToEndError::Read(error) => error.into(),
                    ReadToEndError::TooLong => panic!("the answer is too long"),
                })
        })
    }

    fn closed(&self) -> Kind {
        let error = self.run(self.connection.closed());
        Error::from(error).kind().unwrap()
    }
}

fn request(service: u16, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        service,
        extent: Extent::Bytes(body.len()),
    };
    [&header.write()[..], body].concat()
}

/// The code of the problem in an answer.
pub(crate) fn problem(answer: &[u8]) -> String {
    let header = AnswerHeader::read(answer[..5].try_into().unwrap()).unwrap();
    assert_eq!(header.status, Status::Problem);
    assert_eq!(header.extent, Extent::Bytes(answer.len() - 5));
    let code = &answer[7..][..usize::from(answer[6] & 0x1f)];
    String::from_utf8(code.to_vec()).unwrap()
}

fn refusal(server: &Endpoint) -> Refusal {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(refusal) = server.refusals().pop() {
            return refusal;
        }
        assert!(Instant::now() < deadline, "no refusal was recorded");
        std::thread::yield_now();
    }
}

/// The server still serves: a request goes all the way to a service and back.
pub(crate) fn assert_alive(server: &Endpoint, raw: &Raw) {
    let (mut send, mut receive) = raw.open();
    raw.run(async {
        send.write_all(&request(CONTROL, b"alive?")).await.unwrap();
        send.finish().unwrap();
    });
    let request = server.queue().next(PATIENCE).unwrap().expect("a request");
    assert_eq!(&request.body[..], b"alive?");
    request.answer(Status::Ok, b"yes").unwrap();
    let answer = raw.run(receive.read_to_end(100)).unwrap();
    assert_eq!(answer, b"\x00\x00\x00\x00\x03yes");
}

#[test]
fn malformed_frames_are_answered_and_the_connection_lives() {
    let server = server();
    let raw = Raw::admitted(&server);
    let cases: [(&str, Vec<u8>, Kind); 10] = [
        ("empty", vec![], Kind::MalformedFrame),
        ("half a header", vec![1, 0, 1], Kind::MalformedFrame),
        (
            "other version",
            vec![9, 0, 1, 0, 0, 0, 0],
            Kind::ProtocolMismatch,
        ),
        ("oversized", vec![1, 0, 1, 0, 0x40, 0, 1], Kind::TooLarge),
        (
            "truncated body",
            vec![1, 0, 1, 0, 0, 0, 9, 1, 2],
            Kind::MalformedFrame,
        ),
        (
            "trailing bytes",
            vec![1, 0, 1, 0, 0, 0, 1, 1, 2],
            Kind::MalformedFrame,
        ),
        ("no operation", request(MEMORY, b""), Kind::MalformedFrame),
        (
            "long operation",
            request(MEMORY, &[1; 65]),
            Kind::MalformedFrame,
        ),
        (
            "unknown operation",
            request(MEMORY, &[99; 41]),
            Kind::MalformedFrame,
        ),
        (
            "memory without keys",
            request(MEMORY, &[&[1][..], &[0; 40]].concat()),
            Kind::NoGrant,
        ),
    ];
    for (name, bytes, kind) in cases {
        assert_eq!(problem(&raw.say(&bytes).unwrap()), kind.code(), "{name}");
    }
    let long = [&[1, 0, 1, 0xff, 0xff, 0xff, 0xfe][..], &[0; 100_000]].concat();
    assert_eq!(problem(&raw.say(&long).unwrap()), Kind::TooLarge.code());
    assert_alive(&server, &raw);
    assert_eq!(server.stats().requests_unanswered, 0);
}

#[test]
fn noise_on_the_socket_changes_nothing() {
    let server = server();
    let raw = Raw::admitted(&server);
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    let mut noise = [0u8; 1400];
    for length in (0..1400).step_by(7) {
        hm_crypto::entropy::fill(&mut noise).unwrap();
        socket
            .send_to(&noise[..length], SocketAddr::V6(server.local()))
            .unwrap();
        // A long header of QUIC version 1 with noise behind it.
        noise[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
        socket
            .send_to(&noise[..length], SocketAddr::V6(server.local()))
            .unwrap();
    }
    assert_alive(&server, &raw);
}

/// A session with good keys, and the frame it would send.
struct Session {
    identity: Identity,
    leaf: Vec<u8>,
}

impl Session {
    fn new() -> Session {
        let keys = SecretKeys::generate().unwrap();
        let leaf = hm_x509::self_signed(&keys).unwrap();
        Session::with(leaf, keys)
    }

    /// Whatever `keys` are; TLS needs only the Ed25519 half to be that of the leaf.
    fn with(leaf: Vec<u8>, keys: SecretKeys) -> Session {
        let id = hm_x509::read_keys(&leaf).unwrap().id;
        let identity = Identity::unchecked(id, vec![leaf.clone()], Arc::new(keys)).unwrap();
        Session { identity, leaf }
    }

    /// A connection over which it is let in.
    fn admitted(&self, server: &Endpoint) -> Raw {
        let raw = Raw::dial(server, Alpn::Session, Some(&self.identity));
        let (mut send, mut receive) = raw.open();
        let frame = self.binding(&raw, Role::Client, &GENESIS);
        raw.run(async {
            send.write_all(&frame).await.unwrap();
            send.finish().unwrap();
            receive.read_to_end(2000).await.unwrap();
        });
        raw
    }

    fn binding(&self, raw: &Raw, role: Role, genesis: &[u8; 32]) -> Vec<u8> {
        let channel = Channel::of(&raw.connection).unwrap();
        let binding = Binding {
            channel: &channel.binding,
            client: self.identity.id,
            server: channel.claimed_id().unwrap(),
            genesis,
        };
        binding.sign(role, Some(&self.identity)).unwrap()
    }
}

/// What the server makes of the frame that `frame` builds on a fresh connection of `session`.
fn judged(session: &Session, frame: impl FnOnce(&Raw) -> Vec<u8>) -> Result<(), (Kind, String)> {
    let server = server();
    let raw = Raw::dial(&server, Alpn::Session, Some(&session.identity));
    let (mut send, mut receive) = raw.open();
    let frame = frame(&raw);
    let answered = raw.run(async {
        // The endpoint may close before the end.
        let _ = send.write_all(&frame).await;
        let _ = send.finish();
        receive.read_to_end(2000).await
    });
    if answered.is_ok() {
        assert_alive(&server, &raw);
        return Ok(());
    }
    let refusal = refusal(&server);
    assert_eq!(refusal.alpn, Some(Alpn::Session));
    assert_eq!(refusal.peer, Some(session.identity.id));
    assert_eq!(
        refusal.error.kind(),
        Some(raw.closed()),
        "both sides name one reason"
    );
    assert_eq!(server.stats().accepted, 0);
    Err((raw.closed(), refusal.error.reason().to_owned()))
}

const GENESIS: [u8; 32] = [0; 32];

#[test]
fn a_session_that_proves_both_keys_is_let_in() {
    let session = Session::new();
    let good = |raw: &Raw| session.binding(raw, Role::Client, &GENESIS);
    assert_eq!(judged(&session, good), Ok(()));
}

#[test]
fn a_falcon_key_that_is_not_the_one_in_the_certificate_is_refused() {
    let good = Session::new();
    let other = SecretKeys::generate().unwrap().to_bytes();
    let (falcon, _) = other.split_at(other.len() - 32);
    let mixed = [falcon, good.identity.keys.ed25519().as_bytes()].concat();
    let mixed = SecretKeys::from_bytes(&mixed).unwrap();
    let forged = Session::with(good.leaf.clone(), mixed);
    let (kind, why) =
        judged(&forged, |raw| forged.binding(raw, Role::Client, &GENESIS)).unwrap_err();
    assert_eq!(kind, Kind::BindingFailed);
    assert!(why.contains("FALCON") && !why.contains("Ed25519"), "{why}");
    // Our own client does not even start with such an identity.
    let keys = forged.identity.keys.clone();
    let error = Identity::new(vec![good.leaf], keys).err().unwrap();
    assert_eq!(error.kind(), Some(Kind::InvalidIdentity));
}

#[test]
fn a_binding_for_another_role_network_connection_or_none_is_refused() {
    let session = Session::new();
    let kind = |frame: &dyn Fn(&Raw) -> Vec<u8>| judged(&session, frame).unwrap_err().0;
    let binding = |raw: &Raw| session.binding(raw, Role::Client, &GENESIS);
    assert_eq!(
        kind(&|raw| session.binding(raw, Role::Server, &GENESIS)),
        Kind::BindingFailed
    );
    assert_eq!(
        kind(&|raw| session.binding(raw, Role::Client, &[1; 32])),
        Kind::BindingFailed
    );
    let elsewhere = {
        let other = server();
        binding(&Raw::dial(&other, Alpn::Session, Some(&session.identity)))
    };
    assert_eq!(kind(&|_| elsewhere.clone()), Kind::BindingFailed);
    assert_eq!(kind(&|_| vec![]), Kind::BindingFailed);
    assert_eq!(kind(&|_| vec![1, 0]), Kind::BindingFailed);
    assert_eq!(kind(&|_| vec![1; 5000]), Kind::BindingFailed);
    assert_eq!(
        kind(&|raw| [&[2][..], &binding(raw)[1..]].concat()),
        Kind::ProtocolMismatch
    );
    for at in [2, 1281, 1282, 1345] {
        let flipped = |raw: &Raw| {
            let mut frame = binding(raw);
            frame[at] ^= 1;
            frame
        };
        assert_eq!(kind(&flipped), Kind::BindingFailed, "byte {at}");
    }
}

#[test]
fn a_client_that_stops_after_tls_is_closed_with_the_reason() {
    let server = server();
    let raw = Raw::dial(&server, Alpn::Enrol, None);
    assert_eq!(raw.closed(), Kind::HandshakeTimeout);
    assert_eq!(refusal(&server).error.kind(), Some(Kind::HandshakeTimeout));
    assert_eq!(server.stats().handshakes, 0);
}

#[test]
fn no_application_byte_is_served_before_admission() {
    let server = server();
    let raw = Raw::dial(&server, Alpn::Enrol, None);
    // The first stream is left open and silent, so admission does not end.
    let (mut first, _first) = raw.open();
    let (mut early, mut answer) = raw.open();
    raw.run(async {
        first.write_all(&[1]).await.unwrap();
        early.write_all(&request(CONTROL, b"early")).await.unwrap();
        early.finish().unwrap();
    });
    assert!(server
        .queue()
        .next(Duration::from_millis(300))
        .unwrap()
        .is_none());
    raw.run(async {
        first.write_all(&[0]).await.unwrap();
        first.finish().unwrap();
    });
    let request = server.queue().next(PATIENCE).unwrap().expect("a request");
    assert_eq!(&request.body[..], b"early");
    request.answer(Status::Ok, b"").unwrap();
    assert_eq!(raw.run(answer.read_to_end(100)).unwrap(), [0; 5]);
}

#[test]
fn a_request_nobody_answers_says_so_and_frees_its_place() {
    let server = server();
    let raw = Raw::admitted(&server);
    let (mut send, mut receive) = raw.open();
    raw.run(async {
        send.write_all(&request(CONTROL, b"x")).await.unwrap();
        send.finish().unwrap();
    });
    let request = server.queue().next(PATIENCE).unwrap().expect("a request");
    assert_eq!(server.stats().requests_unanswered, 1);
    drop(request);
    let answer = raw.run(receive.read_to_end(1000)).unwrap();
    assert_eq!(problem(&answer), Kind::Unanswered.code());
    assert_alive(&server, &raw);
}
