//! Requests in the first flight: what is served of them, for whom, and how often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::tickets::{victim, Loot};
use super::*;
use crate::memory::{Action, Operation};
use crate::region::Grant;
use crate::session;

const ECHO: u16 = 7;
const REGION: [u8; 16] = [9; 16];

/// A client with a stolen or an own ticket that has sent nothing but its ClientHello.
struct Flight {
    raw: Raw,
    first: (SendStream, RecvStream),
}

impl Flight {
    fn begin(server: SocketAddr, identity: &Identity, loot: &Arc<Loot>) -> Flight {
        let tickets: Arc<dyn ClientSessionStore> = loot.clone();
        let crypto = tls::client(Some(identity), Alpn::Session, Some(tickets), true).unwrap();
        let (drive, connecting) = Raw::connecting(server, crypto);
        let (connection, _) = connecting
            .into_0rtt()
            .ok()
            .expect("keys for a first flight");
        let raw = Raw { drive, connection };
        let first = raw.open();
        Flight { raw, first }
    }

    /// What `session` signs over this ClientHello.
    fn binding(&self, session: &Session, server: &Endpoint) -> Vec<u8> {
        let hello = session::of(&self.raw.connection).client_hello.unwrap();
        let binding = Binding {
            channel: &hello,
            client: session.identity.id,
            server: server.id(),
            genesis: &GENESIS,
        };
        binding.sign(Role::Early, Some(&session.identity)).unwrap()
    }

    fn say(&mut self, frame: &[u8]) {
        let send = &mut self.first.0;
        self.raw.run(send.write_all(frame)).unwrap();
    }

    fn ask(&self, service: u16, body: &[u8]) -> RecvStream {
        let (mut send, receive) = self.raw.open();
        self.raw
            .run(send.write_all(&request(service, body)))
            .unwrap();
        send.finish().unwrap();
        receive
    }

    fn answer(&self, receive: &mut RecvStream) -> Vec<u8> {
        self.raw.run(receive.read_to_end(1000)).unwrap()
    }

    /// The ordinary binding, which ends admission.
    fn admit(&mut self, session: &Session) {
        let frame = session.binding(&self.raw, Role::Client, &GENESIS);
        self.say(&frame);
        self.first.0.finish().unwrap();
        let receive = &mut self.first.1;
        let binding = self.raw.run(receive.read_to_end(2000)).unwrap();
        assert_eq!(binding.len(), frame.len());
    }
}

fn operation(action: Action) -> Vec<u8> {
    let operation = Operation {
        region: REGION,
        epoch: 1,
        offset: 0,
        action,
    };
    operation.encode()
}

/// A region of eight bytes that `session` may read and write.
fn granted(server: &Endpoint, session: &Session) {
    let regions = server.regions();
    regions.create(REGION, 8).unwrap();
    let grant = Grant {
        offset: 0,
        length: 8,
        can_write: true,
        expires_unix_ms: i64::MAX,
        epoch: 1,
    };
    regions.grant(&REGION, session.identity.id, grant).unwrap();
}

#[test]
fn what_changes_nothing_is_served_before_admission_and_the_rest_after() {
    let server = server();
    let (victim, loot, _) = victim(&server);
    granted(&server, &victim);
    let mut flight = Flight::begin(SocketAddr::V6(server.local()), &victim.identity, &loot);
    let frame = flight.binding(&victim, &server);
    flight.say(&frame);
    let mut swap = flight.ask(
        MEMORY,
        &operation(Action::CompareAndSwap {
            expected: 0,
            desired: 7,
        }),
    );
    let mut add = flight.ask(MEMORY, &operation(Action::FetchAdd { delta: 1 }));
    let mut control = flight.ask(CONTROL, b"change something");
    let mut echo = flight.ask(ECHO, b"early");
    let mut read = flight.ask(MEMORY, &operation(Action::Read { length: 8 }));
    assert_eq!(flight.answer(&mut echo), b"\x00\x00\x00\x00\x05early");
    let read = flight.answer(&mut read);
    assert_eq!(read[5..], [0; 8], "nothing has been changed");
    assert_eq!(server.stats().early, 2);
    assert_eq!((server.stats().accepted, server.stats().resumed), (1, 0));
    assert_eq!(server.stats().requests_unanswered, 0);

    flight.admit(&victim);
    let request = server.queue().next(PATIENCE).unwrap().expect("a request");
    assert_eq!(&request.body[..], b"change something");
    assert_eq!(request.origin.peer, Some(victim.identity.id));
    assert_ne!(request.origin.channel_binding, [0; 32]);
    request.answer(Status::Ok, b"").unwrap();
    assert_eq!(flight.answer(&mut control), [0; 5]);
    // Both are done, in whichever order.
    assert_eq!(flight.answer(&mut swap).len(), 13);
    assert_eq!(flight.answer(&mut add).len(), 13);
    assert_eq!(server.stats().early, 2);
    assert_alive(&server, &flight.raw);
}

#[test]
fn a_first_flight_without_the_keys_is_served_nothing() {
    let thief = Session::new();
    type Frame<'a> = &'a dyn Fn(&Flight, &Session, &Endpoint) -> Vec<u8>;
    let frames: [(&str, Frame<'_>); 4] = [
        ("the thief's own keys", &|flight, _, server| {
            flight.binding(&thief, server)
        }),
        ("an altered binding", &|flight, victim, server| {
            let mut frame = flight.binding(victim, server);
            frame[700] ^= 1;
            frame
        }),
        ("a binding of another role", &|flight, victim, server| {
            let hello = session::of(&flight.raw.connection).client_hello.unwrap();
            let binding = Binding {
                channel: &hello,
                client: victim.identity.id,
                server: server.id(),
                genesis: &GENESIS,
            };
            let mut frame = binding.sign(Role::Client, Some(&victim.identity)).unwrap();
            frame[1] = 254;
            frame
        }),
        ("an unsigned one", &|_, _, _| {
            let mut frame = vec![0; 1346];
            frame[..2].copy_from_slice(&[1, 254]);
            frame
        }),
    ];
    for (name, frame) in frames {
        let server = server();
        let (victim, loot, _) = victim(&server);
        let mut flight = Flight::begin(SocketAddr::V6(server.local()), &victim.identity, &loot);
        let frame = frame(&flight, &victim, &server);
        let _echo = flight.ask(ECHO, b"early");
        flight.say(&frame);
        assert_eq!(flight.raw.closed(), Kind::BindingFailed, "{name}");
        assert_eq!(refusal(&server).error.kind(), Some(Kind::BindingFailed));
        assert_eq!((server.stats().early, server.stats().accepted), (0, 1));
    }
}

/// Who holds the ticket's secret can read the first flight, and take the binding out of it.
#[test]
fn a_binding_of_another_first_flight_is_refused() {
    let server = server();
    let (session, loot, _) = victim(&server);
    let flight = Flight::begin(SocketAddr::V6(server.local()), &session.identity, &loot);
    let caught = flight.binding(&session, &server);
    drop(flight);
    // A second ticket of the same victim.
    let again = Arc::new(Loot::default());
    let raw = Raw::dial_with(&server, Alpn::Session, &session.identity, again.clone());
    let (mut send, mut receive) = raw.open();
    let binding = session.binding(&raw, Role::Client, &GENESIS);
    raw.run(send.write_all(&binding)).unwrap();
    send.finish().unwrap();
    raw.run(receive.read_to_end(2000)).unwrap();
    again.wait();
    let mut thief = Flight::begin(SocketAddr::V6(server.local()), &session.identity, &again);
    let _echo = thief.ask(ECHO, b"early");
    thief.say(&caught);
    assert_eq!(thief.raw.closed(), Kind::BindingFailed);
    assert_eq!(server.stats().early, 0);
}

#[test]
fn a_first_flight_that_binds_nothing_waits_for_admission() {
    let server = server();
    let (victim, loot, _) = victim(&server);
    let mut flight = Flight::begin(SocketAddr::V6(server.local()), &victim.identity, &loot);
    let mut echo = flight.ask(ECHO, b"early");
    // The ordinary binding needs the exporter, so it comes after the handshake.
    let deadline = Instant::now() + PATIENCE;
    while !session::of(&flight.raw.connection).complete {
        assert!(Instant::now() < deadline, "no handshake");
        thread::yield_now();
    }
    flight.admit(&victim);
    assert_eq!(flight.answer(&mut echo), b"\x00\x00\x00\x00\x05early");
    assert_eq!(server.stats().early, 0);
}

/// A wire between a client and the server that keeps what the client sends.
struct Wire {
    address: SocketAddr,
    caught: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Wire {
    fn to(server: SocketAddr) -> Wire {
        let front = UdpSocket::bind("[::1]:0").unwrap();
        let back = UdpSocket::bind("[::1]:0").unwrap();
        back.connect(server).unwrap();
        for socket in [&front, &back] {
            let turn = Duration::from_millis(20);
            socket.set_read_timeout(Some(turn)).unwrap();
        }
        let address = front.local_addr().unwrap();
        let (caught, stop) = (
            Arc::new(Mutex::new(vec![])),
            Arc::new(AtomicBool::new(false)),
        );
        let client = Arc::new(Mutex::new(None));
        let forth = {
            let (front, back) = (front.try_clone().unwrap(), back.try_clone().unwrap());
            let (caught, stop, client) = (caught.clone(), stop.clone(), client.clone());
            thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((length, from)) = front.recv_from(&mut buffer) {
                        *client.lock() = Some(from);
                        caught.lock().push(buffer[..length].to_vec());
                        let _ = back.send(&buffer[..length]);
                    }
                }
            })
        };
        let home = {
            let stop = stop.clone();
            thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(length) = back.recv(&mut buffer) {
                        let client = *client.lock();
                        let _ = front.send_to(&buffer[..length], client.unwrap());
                    }
                }
            })
        };
        Wire {
            address,
            caught,
            stop,
            threads: vec![forth, home],
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_first_flight_played_again_is_served_once() {
    let server = server();
    let (victim, loot, _) = victim(&server);
    let before = server.stats().connections;
    let wire = Wire::to(SocketAddr::V6(server.local()));
    let mut flight = Flight::begin(wire.address, &victim.identity, &loot);
    let frame = flight.binding(&victim, &server);
    flight.say(&frame);
    let mut echo = flight.ask(ECHO, b"early");
    assert_eq!(flight.answer(&mut echo), b"\x00\x00\x00\x00\x05early");
    assert_eq!(server.stats().early, 1);
    flight.admit(&victim);
    flight.raw.connection.close(quic::VarInt::from_u32(0), b"");
    let deadline = Instant::now() + PATIENCE;
    while server.stats().connections > before {
        assert!(Instant::now() < deadline, "the connection does not end");
        thread::sleep(Duration::from_millis(10));
    }

    // The same datagrams from elsewhere. While the server knows that connection it drops them; then
    // it takes them for a new client, whose ticket is unknown.
    let again = UdpSocket::bind("[::1]:0").unwrap();
    again
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut buffer = [0; 2000];
    let deadline = Instant::now() + PATIENCE;
    loop {
        for datagram in wire.caught.lock().iter() {
            again
                .send_to(datagram, SocketAddr::V6(server.local()))
                .unwrap();
        }
        // A packet of a handshake has a long header, a stateless reset has not.
        if again.recv(&mut buffer).is_ok() && buffer[0] & 0x80 != 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the server does not answer");
    }
    let deadline = Instant::now() + PATIENCE;
    while server.stats().handshakes > 0 {
        assert!(Instant::now() < deadline, "the handshake does not end");
        thread::sleep(Duration::from_millis(10));
    }
    let stats = server.stats();
    assert_eq!((stats.early, stats.accepted, stats.resumed), (1, 2, 1));
}
