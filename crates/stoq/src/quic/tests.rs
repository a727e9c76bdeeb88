//! The drive loop on real sockets. Nothing here waits for luck: each wait has a deadline that only
//! a lost wake-up reaches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hm_crypto::hybrid::SecretKeys;

use super::*;
use crate::admission::Alpn;
use crate::drive::Drive;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::limits::{STREAMS_FIRST, STREAMS_MAX, UDP_PAYLOAD_BYTES_MAX};
use crate::socket::Stack;
use crate::tickets::Tickets;
use crate::{restart, tls, transport};

const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for an answer over loopback, where one is awaited that must not come.
const SHORT: Duration = Duration::from_millis(300);
const LOOPBACK: &str = "[::1]:0";

/// An endpoint that is run, and ends with the test.
struct Running {
    quic: Arc<Endpoint>,
    drive: Arc<Drive>,
}

impl Running {
    fn new(sockets: Vec<Socket>, server: Option<ServerConfig>) -> Running {
        let count = sockets.len();
        let config = |shard| {
            let mut config = EndpointConfig::default();
            config
                .max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX as u16)
                .unwrap();
            restart::configure(&mut config, None, shard, count).unwrap();
            Ok(config)
        };
        let quic = Endpoint::new(sockets, config, server.map(Arc::new)).unwrap();
        let drive = Drive::start(quic.shards()).unwrap();
        Running {
            quic: Arc::new(quic),
            drive: Arc::new(drive),
        }
    }

    fn wait<T>(&self, future: impl std::future::Future<Output = Result<T>>) -> T {
        self.drive
            .wait(async { Ok(timeout(PATIENCE, future).await) })
            .unwrap()
            .expect("a wake-up was lost")
            .unwrap()
    }

    fn dial(&self, to: SocketAddr, settings: TransportConfig) -> Connection {
        let mut config = ClientConfig::new(tls::client(None, Alpn::Enrol, None, false).unwrap());
        config.transport_config(Arc::new(settings));
        let connecting = self
            .quic
            .connect_with(config, to, tls::SERVER_NAME)
            .unwrap();
        self.wait(async { Ok(connecting.await?) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.quic.close(VarInt::from_u32(0), b"");
        for thread in self.drive.stop(async {}).unwrap_or_default() {
            thread.join().unwrap();
        }
    }
}

fn settings() -> TransportConfig {
    let mut settings = transport::config("::1".parse().unwrap(), 256);
    settings
        .max_concurrent_uni_streams(VarInt::from_u32(16))
        .datagram_receive_buffer_size(Some(1 << 20));
    settings
}

fn socket() -> Socket {
    Socket::bind(LOOPBACK.parse().unwrap(), false).unwrap()
}

fn client() -> Running {
    Running::new(vec![socket()], None)
}

fn server() -> Running {
    server_on(vec![socket()], settings())
}

/// Returns each bidirectional stream to its sender, and each datagram.
fn server_on(sockets: Vec<Socket>, settings: TransportConfig) -> Running {
    server_with(sockets, settings, echo)
}

fn server_with<F: std::future::Future<Output = ()> + Send + 'static>(
    sockets: Vec<Socket>,
    settings: TransportConfig,
    serve: fn(Connection) -> F,
) -> Running {
    let keys = Arc::new(SecretKeys::generate().unwrap());
    let leaf = hm_x509::self_signed(&keys).unwrap();
    let identity = Identity::new(vec![leaf], keys).unwrap();
    let mut config = ServerConfig::with_crypto(
        tls::server(&identity, Arc::<Tickets>::default().server()).unwrap(),
    );
    config.transport_config(Arc::new(settings));
    let running = Running::new(sockets, Some(config));
    for shard in running.quic.shards() {
        let accepting = shard.clone();
        Drive::spawn_on(shard, async move {
            while let Some(incoming) = accept(&accepting).await {
                let shard = incoming.shard().clone();
                let Ok(connecting) = incoming.accept() else {
                    continue;
                };
                Drive::spawn_on(&shard, async move {
                    if let Ok(connection) = connecting.await {
                        serve(connection).await;
                    }
                });
            }
        });
    }
    running
}

async fn echo(connection: Connection) {
    let datagrams = connection.clone();
    Drive::spawn_on(connection.shard(), async move {
        while let Ok(datagram) = datagrams.read_datagram().await {
            let _ = datagrams.send_datagram(datagram);
        }
    });
    let one_way = connection.clone();
    Drive::spawn_on(connection.shard(), async move {
        while let Ok(mut receive) = one_way.accept_uni().await {
            let (Ok(all), Ok(mut send)) =
                (receive.read_to_end(1 << 20).await, one_way.open_uni().await)
            else {
                return;
            };
            let _ = send.write_all(&all).await;
        }
    });
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        Drive::spawn_on(connection.shard(), async move {
            while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
                if send.write_chunk(chunk.bytes).await.is_err() {
                    return;
                }
            }
            let _ = send.finish();
        });
    }
}

async fn echoed(connection: &Connection, message: &[u8]) -> Result<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(message).await?;
    send.finish().unwrap();
    Ok(receive.read_to_end(message.len()).await.unwrap())
}

/// Sends `length` bytes and compares what comes back, both ways at once.
async fn echoed_bulk(connection: &Connection, length: usize) -> Result<()> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let byte = |at: usize| (at ^ (at >> 8) ^ (at >> 16)) as u8;
    let sending = async move {
        for start in (0..length).step_by(100_000) {
            let end = (start + 100_000).min(length);
            let chunk: Vec<u8> = (start..end).map(byte).collect();
            send.write_chunk(chunk.into()).await?;
        }
        send.finish().unwrap();
        Ok::<(), Error>(())
    };
    let receiving = async move {
        let mut at = 0;
        while let Some(chunk) = receive.read_chunk(usize::MAX, true).await? {
            assert_eq!(chunk.offset, at as u64);
            for value in chunk.bytes {
                assert_eq!(value, byte(at), "byte {at}");
                at += 1;
            }
        }
        assert_eq!(at, length);
        Ok::<(), Error>(())
    };
    tokio::try_join!(sending, receiving)?;
    Ok(())
}

#[test]
fn many_threads_on_many_connections_lose_no_wake_up() {
    let (server, client) = (server(), Arc::new(client()));
    let to = server.quic.local_addr();
    let connections: Vec<_> = (0..6).map(|_| client.dial(to, settings())).collect();
    let threads: Vec<_> = (0..12)
        .map(|number| {
            let (client, connection) = (client.clone(), connections[number % 6].clone());
            thread::spawn(move || {
                for turn in 0..100u32 {
                    let message =
                        [&turn.to_be_bytes()[..], &vec![number as u8; number * 97]].concat();
                    let answer = client.wait(echoed(&connection, &message));
                    assert_eq!(answer, message);
                    if turn % 16 == 0 {
                        // Both sides fall asleep.
                        thread::sleep(Duration::from_millis(2));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A connection that nothing but its own data keeps alive: no packet of another kind comes along to
/// make good for a forgotten one.
fn silent() -> TransportConfig {
    let mut settings = settings();
    settings.keep_alive_interval(None).max_idle_timeout(None);
    settings
}

/// Small requests, bulk data, timeouts, connections that come and go, and a kernel without room, all
/// at once on a few connections. Threads never sleep for longer than something asks for
/// (`SLEEP_MAX`), so a wake-up or a word that is lost leaves somebody waiting.
fn crowd(shards: usize) {
    let server = server_on(vec![socket()], silent());
    let sockets = Socket::bind_all(LOOPBACK.parse().unwrap(), Stack::Ipv6, shards).unwrap();
    let client = Arc::new(Running::new(sockets, None));
    let to = server.quic.local_addr();
    let (done, results) = mpsc::channel();
    let mut threads = Vec::new();
    let mut begin = |work: Box<dyn FnOnce() + Send>| {
        let done = done.clone();
        threads.push(thread::spawn(move || {
            work();
            done.send(()).unwrap();
        }));
    };
    for _ in 0..4 {
        let connection = client.dial(to, silent());
        for number in 0..3u8 {
            let (client, connection) = (client.clone(), connection.clone());
            begin(Box::new(move || {
                for turn in 0..80usize {
                    let message = vec![number; 1 + turn * 37 % 5_000];
                    assert_eq!(client.wait(echoed(&connection, &message)), message);
                    if turn % 16 == 15 {
                        // Those who drive fall asleep, or leave it to others.
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            }));
        }
        let (bulk, full) = (client.clone(), connection.shard().clone());
        begin(Box::new(move || {
            for turn in 0..4 {
                full.socket().full.store(turn, Ordering::SeqCst);
                bulk.wait(echoed_bulk(&connection, 1_500_000));
            }
        }));
        let dialling = client.clone();
        begin(Box::new(move || {
            for turn in 0..6u8 {
                let connection = dialling.dial(to, silent());
                assert_eq!(dialling.wait(echoed(&connection, &[turn])), [turn]);
                connection.close(VarInt::from_u32(0), b"");
                dialling.wait(async { Ok(connection.closed().await) });
            }
        }));
        let timing = client.clone();
        begin(Box::new(move || {
            for turn in 1..20 {
                let patience = Duration::from_micros(400 * turn);
                let never = timeout(patience, std::future::pending::<()>());
                assert_eq!(timing.wait(async { Ok(never.await) }), Err(Elapsed));
            }
        }));
    }
    for _ in 0..threads.len() {
        let waited = results.recv_timeout(2 * PATIENCE);
        waited.expect("a thread waits for what nobody does");
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn many_callers_of_all_kinds_lose_no_wake_up() {
    crowd(1);
}

#[test]
fn many_callers_of_several_shards_lose_no_wake_up() {
    crowd(3);
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

#[test]
fn whoever_drives_hears_each_word_or_is_not_told() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), silent());
    client.wait(echoed(&connection, b"a"));
    let shard = &client.quic.shards()[0];
    let sent = || connection.stats().udp_tx.datagrams;
    let say = || {
        connection
            .send_datagram(Bytes::from_static(b"word"))
            .unwrap()
    };
    let driver = shard.drive(std::task::Waker::noop()).unwrap();
    assert!(shard.drive(std::task::Waker::noop()).is_none());
    // Awake: what is left is seen before it sleeps.
    say();
    let no_word = || assert!(!driver.has_work(), "it sleeps on a word");
    driver.doze(Instant::now(), PATIENCE, |_| no_word());
    driver.flush(Instant::now());
    // It polls, or sleeps: whoever comes sends.
    let before = sent();
    driver.poll(say);
    until("it was left to one that polls", || sent() > before);
    let mut slept = false;
    while !slept {
        driver.turn(Instant::now());
        driver.flush(Instant::now());
        driver.doze(Instant::now(), PATIENCE, |_| {
            let before = sent();
            say();
            until("it was left to one that sleeps", || sent() > before);
            // A datagram of nobody, as another shard hands it over, which knows of no driver.
            let meta = quinn_udp::RecvMeta {
                addr: server.quic.local_addr(),
                ..quinn_udp::RecvMeta::default()
            };
            shard.hand_over(meta, BytesMut::from(&[0x40; 40][..]));
            until("nobody looks at it", || !shard.has_forwarded());
            slept = true;
        });
    }
    // It leaves, and somebody else goes on.
    until("the I/O thread does not sleep", || shard.is_asleep());
    let before = sent();
    say();
    drop(driver);
    until("it was left to one that is gone", || sent() > before);
    assert_eq!(client.wait(echoed(&connection, b"z")), b"z");
}

/// While neither end has a timer, nothing but that word wakes the I/O thread.
#[test]
fn whoever_leaves_with_a_word_rouses_another() {
    let (server, client) = (server_on(vec![socket()], silent()), client());
    let connection = client.dial(server.quic.local_addr(), silent());
    client.wait(echoed(&connection, b"a"));
    let shard = &client.quic.shards()[0];
    until("timers that do not end", || {
        shard.is_asleep() && !shard.has_timers()
    });
    let driver = shard.drive(std::task::Waker::noop()).unwrap();
    let before = connection.stats().udp_tx.datagrams;
    connection
        .send_datagram(Bytes::from_static(b"word"))
        .unwrap();
    assert!(driver.has_work(), "it was not left to the one that drives");
    drop(driver);
    until("it was left to one that is gone", || {
        connection.stats().udp_tx.datagrams > before
    });
}

#[test]
fn tasks_and_waiting_threads_share_a_shard() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    let (done, results) = mpsc::channel();
    for number in 0..50u8 {
        let (connection, done) = (connection.clone(), done.clone());
        client.drive.spawn(async move {
            for _ in 0..20 {
                assert_eq!(
                    echoed(&connection, &[number; 300]).await.unwrap(),
                    [number; 300]
                );
            }
            done.send(number).unwrap();
        });
    }
    for _ in 0..200 {
        client.wait(echoed(&connection, b"between"));
    }
    for _ in 0..50 {
        results
            .recv_timeout(PATIENCE)
            .expect("a task was forgotten");
    }
}

#[test]
fn a_thread_that_drives_hands_the_socket_back() {
    let (server, client) = (server(), Arc::new(client()));
    let connection = client.dial(server.quic.local_addr(), settings());
    let (mut send, mut receive) = client.wait(async { Ok(connection.open_bi().await?) });
    client.wait(async { Ok(send.write_all(b"a").await?) });
    let mut byte = [0];
    client.wait(async { Ok(receive.read_exact(&mut byte).await?) });
    let (answered, answers) = mpsc::channel();
    let (reader, second) = (client.clone(), connection.clone());
    let turns = 0..200u8;
    let last = turns.end - 1;
    // It waits for each byte, as the one that drives or as one that is woken.
    let reading = thread::spawn(move || {
        let mut byte = [0];
        while byte[0] < last {
            reader.wait(async { Ok(receive.read_exact(&mut byte).await?) });
            answered.send(byte[0]).unwrap();
        }
    });
    for turn in turns {
        // This thread comes and goes in the role, and takes it from nobody.
        client.wait(echoed(&second, b"between"));
        client.wait(async { Ok(send.write_all(&[turn]).await?) });
        let answer = answers.recv_timeout(PATIENCE).expect("nobody drove");
        assert_eq!(answer, turn);
    }
    reading.join().unwrap();
}

#[test]
fn waiting_ends_with_the_turn_and_may_go_on() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    let (mut send, mut receive) = client.wait(async { Ok(connection.open_bi().await?) });
    let mut reading = std::pin::pin!(async {
        let mut bytes = [0; 2];
        receive.read_exact(&mut bytes).await?;
        Ok(bytes)
    });
    let turn = Duration::from_millis(20);
    let started = Instant::now();
    assert!(client
        .drive
        .wait_a_turn(reading.as_mut(), turn)
        .unwrap()
        .is_none());
    assert!(started.elapsed() >= turn);
    client.wait(async { Ok(send.write_all(b"ok").await?) });
    let deadline = Instant::now() + PATIENCE;
    let bytes = loop {
        assert!(Instant::now() < deadline);
        if let Some(bytes) = client.drive.wait_a_turn(reading.as_mut(), turn).unwrap() {
            break bytes;
        }
    };
    assert_eq!(&bytes, b"ok");
}

#[test]
fn a_timeout_fires_for_waiting_threads_and_for_tasks() {
    let client = client();
    let short = Duration::from_millis(30);
    let never = || std::future::pending::<()>();
    let started = Instant::now();
    assert_eq!(
        client.wait(async { Ok(timeout(short, never()).await) }),
        Err(Elapsed)
    );
    let (fired, firing) = mpsc::channel();
    client.drive.spawn(async move {
        fired.send(timeout(short, never()).await).unwrap();
    });
    assert_eq!(firing.recv_timeout(PATIENCE).unwrap(), Err(Elapsed));
    assert!(started.elapsed() >= 2 * short);
}

#[test]
fn closing_ends_those_who_wait_here_and_there() {
    let (server, client) = (server(), Arc::new(client()));
    let connection = client.dial(server.quic.local_addr(), settings());
    let (mut send, receive) = client.wait(async { Ok(connection.open_bi().await?) });
    client.wait(async { Ok(send.write_all(b"a").await?) });
    let waiting: Vec<_> = [true, false]
        .into_iter()
        .map(|accepts| {
            let (client, connection) = (client.clone(), connection.clone());
            thread::spawn(move || {
                client.wait(async {
                    Ok(match accepts {
                        true => connection.accept_bi().await.err(),
                        false => Some(connection.closed().await),
                    })
                })
            })
        })
        .collect();
    // Before the server has confirmed the handshake, its close could not carry the reason (RFC 9000
    // section 10.2.3).
    let deadline = Instant::now() + PATIENCE;
    while connection.stats().frame_rx.handshake_done == 0 {
        assert!(Instant::now() < deadline, "the handshake is not confirmed");
        thread::yield_now();
    }
    server.quic.close(VarInt::from_u32(7), b"enough");
    for thread in waiting {
        let Some(ConnectionError::ApplicationClosed(close)) = thread.join().unwrap() else {
            panic!("the peer's close did not arrive");
        };
        assert_eq!(
            (close.error_code, &close.reason[..]),
            (VarInt::from_u32(7), &b"enough"[..])
        );
    }
    drop((send, receive));
    server.wait(async {
        server.quic.wait_idle().await;
        Ok(())
    });
    let (mut config, to) = (
        tls::client(None, Alpn::Enrol, None, false).unwrap(),
        server.quic.local_addr(),
    );
    let again = client
        .quic
        .connect_with(ClientConfig::new(config.clone()), to, tls::SERVER_NAME);
    let refused = client.wait(async { Ok(again.unwrap().await.err()) });
    assert!(matches!(
        refused,
        Some(ConnectionError::ConnectionClosed(_))
    ));
    client.quic.close(VarInt::from_u32(0), b"");
    config = tls::client(None, Alpn::Enrol, None, false).unwrap();
    let late = client
        .quic
        .connect_with(ClientConfig::new(config), to, tls::SERVER_NAME);
    assert!(matches!(late, Err(ConnectError::EndpointStopping)));
}

#[test]
fn stopping_drops_the_tasks_that_never_end() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let client = client();
    for _ in 0..3 {
        let dropped = Dropped(count.clone());
        client.drive.spawn(async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
    }
    let dropped = Dropped(count.clone());
    let begun = client.drive.begin(async move {
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    begun.unwrap().abort();
    let drive = client.drive.clone();
    drop(client);
    assert_eq!(count.load(Ordering::SeqCst), 4);
    // One that comes too late is dropped at once.
    let late = Dropped(count.clone());
    drive.spawn(async move { drop(late) });
    assert_eq!(count.load(Ordering::SeqCst), 5);
}

#[test]
fn nothing_is_lost_while_the_kernel_has_no_room() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    let sockets = [
        server.quic.shards()[0].clone(),
        client.quic.shards()[0].clone(),
    ];
    for refusals in [1, 2, 40] {
        for shard in &sockets {
            shard.socket().full.store(refusals, Ordering::SeqCst);
        }
        client.wait(echoed_bulk(&connection, 3_000_000));
        for shard in &sockets {
            assert_eq!(shard.socket().full.load(Ordering::SeqCst), 0);
        }
    }
    assert_eq!(connection.stats().path.lost_packets, 0);
}

#[test]
fn large_datagrams_go_in_batches_that_the_kernel_takes() {
    for mtu in [1_452, 8_952, 16_000, 32_000, UDP_PAYLOAD_BYTES_MAX as u16] {
        let settings = || {
            let mut settings = settings();
            settings.initial_mtu(mtu).mtu_discovery_config(None);
            settings
        };
        let (server, client) = (server_on(vec![socket()], settings()), client());
        let connection = client.dial(server.quic.local_addr(), settings());
        client.wait(echoed_bulk(&connection, 8_000_000));
        let stats = connection.stats();
        assert_eq!(stats.path.current_mtu, mtu);
        for running in [&server, &client] {
            assert_eq!(running.quic.shards()[0].socket().refused(), 0, "MTU {mtu}");
        }
        let datagrams_a_call = stats.udp_tx.datagrams / stats.udp_tx.ios.max(1);
        assert!(
            mtu > 1_452 || datagrams_a_call > 10,
            "{datagrams_a_call} in a batch"
        );
    }
}

#[test]
fn datagrams_are_small_until_the_first_probe_has_shown_the_path() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    let deadline = Instant::now() + PATIENCE;
    while connection.stats().path.current_mtu < UDP_PAYLOAD_BYTES_MAX as u16 {
        assert!(Instant::now() < deadline, "the path was not discovered");
        client.wait(echoed_bulk(&connection, 100_000));
    }
    let stats = connection.stats();
    assert_eq!(stats.path.sent_plpmtud_probes, 1);
    assert_eq!(server.quic.shards()[0].socket().refused(), 0);
}

#[test]
fn a_probe_larger_than_the_link_is_refused_and_nothing_else_suffers() {
    let mut settings = settings();
    let mut discovery = MtuDiscoveryConfig::default();
    // Loopback itself takes no more than 65,487 bytes.
    discovery
        .upper_bound(65_487)
        .interval(Duration::from_secs(1));
    settings
        .initial_mtu(1_200)
        .mtu_discovery_config(Some(discovery));
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings);
    let deadline = Instant::now() + PATIENCE;
    while connection.stats().path.current_mtu < 60_000 {
        assert!(Instant::now() < deadline, "the path was not discovered");
        client.wait(echoed_bulk(&connection, 1_000_000));
    }
}

/// Passes datagrams between one client and a server, to the address that `to` says.
fn relay(client_side: UdpSocket, server_side: UdpSocket, to: Arc<parking_lot::Mutex<SocketAddr>>) {
    let wait = Some(Duration::from_millis(1));
    client_side.set_read_timeout(wait).unwrap();
    server_side.set_read_timeout(wait).unwrap();
    let mut client = None;
    let mut buffer = vec![0; 70_000];
    // It ends with the test's process.
    loop {
        if let Ok((length, from)) = client_side.recv_from(&mut buffer) {
            client = Some(from);
            let to = *to.lock();
            let _ = server_side.send_to(&buffer[..length], to);
        }
        if let (Ok((length, _)), Some(client)) = (server_side.recv_from(&mut buffer), client) {
            let _ = client_side.send_to(&buffer[..length], client);
        }
    }
}

fn remotes(server: &Running) -> Vec<SocketAddr> {
    let shards = server.quic.shards().iter();
    let lanes = shards.flat_map(|shard| shard.with(|core, _| core.all()));
    lanes
        .map(|lane| lane.lock().inner.remote_address())
        .collect()
}

#[test]
fn a_client_moves_to_another_socket_in_the_middle_of_a_transfer() {
    for shards in [1, 3] {
        let bind = || Socket::bind_all(LOOPBACK.parse().unwrap(), Stack::Ipv6, shards).unwrap();
        let (server, client) = (server(), Arc::new(Running::new(bind(), None)));
        let connection = client.dial(server.quic.local_addr(), settings());
        // It lasts until the last move, however fast it is and however late this thread looks.
        let enough = Arc::new(AtomicBool::new(false));
        let transfer = {
            let (client, connection, enough) = (client.clone(), connection.clone(), enough.clone());
            thread::spawn(move || {
                while !enough.load(Ordering::SeqCst) {
                    client.wait(echoed_bulk(&connection, 4_000_000));
                }
            })
        };
        let mut ports = vec![client.quic.local_addr().port()];
        for _ in 0..8 {
            let before = connection.stats().udp_rx.bytes;
            let deadline = Instant::now() + PATIENCE;
            while connection.stats().udp_rx.bytes < before + 500_000 {
                assert!(Instant::now() < deadline, "the transfer stands still");
                thread::yield_now();
            }
            client.quic.rebind(&bind(), b"").unwrap();
            ports.push(client.quic.local_addr().port());
        }
        enough.store(true, Ordering::SeqCst);
        transfer.join().unwrap();
        client.wait(echoed(&connection, b"there"));
        let last = *ports.last().unwrap();
        ports.dedup();
        assert_eq!(ports.len(), 9);
        let [remote] = remotes(&server)[..] else {
            panic!("one connection");
        };
        assert_eq!(remote.port(), last);
    }
}

#[test]
fn a_server_that_moves_says_so_and_is_found_where_it_is() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    client.wait(echoed(&connection, b"here"));
    server.quic.rebind(&[socket()], b"moved").unwrap();
    let ended = client.wait(async { Ok(connection.closed().await) });
    let ConnectionError::ApplicationClosed(close) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(&close.reason[..], b"moved");
    let again = client.dial(server.quic.local_addr(), settings());
    assert_eq!(client.wait(echoed(&again, b"there")), b"there");
    assert!(server.quic.rebind(&[], b"").is_err());
}

#[test]
fn a_datagram_for_another_shard_finds_its_way() {
    // Two addresses in place of one, so that the wrong shard can be chosen at will.
    let server = server_on(vec![socket(), socket()], settings());
    let addresses: Vec<SocketAddr> = server
        .quic
        .shards()
        .iter()
        .map(|shard| shard.socket().local())
        .collect();
    let sides = [(); 2].map(|()| UdpSocket::bind(LOOPBACK).unwrap());
    let entrance = sides[0].local_addr().unwrap();
    let to = Arc::new(parking_lot::Mutex::new(addresses[0]));
    let relayed = to.clone();
    let [client_side, server_side] = sides;
    thread::spawn(move || relay(client_side, server_side, relayed));
    let client = client();
    let connection = client.dial(entrance, settings());
    for turn in 0..20 {
        *to.lock() = addresses[turn % 2];
        assert_eq!(client.wait(echoed(&connection, b"here")), b"here");
    }
    // Whichever shard has the connection, half of the turns went to the other one.
    let strays = server.quic.shards().iter().map(|shard| shard.strays());
    assert!(strays.sum::<u64>() >= 10);
}

#[test]
fn many_clients_spread_over_the_shards_of_one_address() {
    let sockets = Socket::bind_all(LOOPBACK.parse().unwrap(), Stack::Ipv6, 3).unwrap();
    let server = server_on(sockets, settings());
    let clients: Vec<_> = (0..24).map(|_| client()).collect();
    let connections: Vec<_> = clients
        .iter()
        .map(|client| client.dial(server.quic.local_addr(), settings()))
        .collect();
    for (client, connection) in clients.iter().zip(&connections) {
        client.wait(echoed_bulk(connection, 200_000));
    }
    for shard in server.quic.shards() {
        // The chance that one of three is left out is below 3 * (2/3)^24, two in 10,000.
        assert!(shard.with(|core, _| core.live) > 0);
        // The kernel knows the connection by its id.
        assert_eq!(shard.strays(), 0);
    }
}

#[test]
fn a_client_of_several_shards_gets_its_answers() {
    let server = server();
    let sockets = Socket::bind_all(LOOPBACK.parse().unwrap(), Stack::Ipv6, 3).unwrap();
    let client = Running::new(sockets, None);
    let connections: Vec<_> = (0..9)
        .map(|_| client.dial(server.quic.local_addr(), settings()))
        .collect();
    for connection in &connections {
        client.wait(echoed_bulk(connection, 300_000));
    }
    for shard in client.quic.shards() {
        assert_eq!(shard.with(|core, _| core.live), 3);
        assert_eq!(shard.strays(), 0);
    }
}

#[test]
fn datagrams_and_streams_one_way() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    let deadline = Instant::now() + PATIENCE;
    let size = loop {
        client.wait(echoed_bulk(&connection, 100_000));
        match connection.max_datagram_size().unwrap() {
            size if size > 15_000 => break size,
            _ => assert!(Instant::now() < deadline, "the path was not discovered"),
        }
    };
    connection
        .send_datagram(Bytes::from(vec![9; size]))
        .unwrap();
    let back = client.wait(async { Ok(connection.read_datagram().await?) });
    assert_eq!(back, vec![9; size]);
    let large = connection.send_datagram(Bytes::from(vec![9; size + 1]));
    assert_eq!(large, Err(SendDatagramError::TooLarge));
    client.wait(async {
        for number in 0..100u8 {
            let datagram = Bytes::from(vec![number; 1000]);
            connection.send_datagram_wait(datagram).await.unwrap();
            assert_eq!(connection.read_datagram().await?[..], [number; 1000]);
        }
        Ok(())
    });
    let back = client.wait(async {
        let mut send = connection.open_uni().await?;
        send.set_priority(3).unwrap();
        assert_eq!(send.priority(), Ok(3));
        send.write_all(b"one way").await?;
        drop(send);
        Ok(connection
            .accept_uni()
            .await?
            .read_to_end(100)
            .await
            .unwrap())
    });
    assert_eq!(back, b"one way");
}

#[test]
fn new_keys_in_the_middle_of_a_transfer() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    for _ in 0..5 {
        connection.force_key_update();
        client.wait(echoed_bulk(&connection, 2_000_000));
    }
}

#[test]
fn a_stream_that_is_reset_or_stopped_says_so() {
    let (server, client) = (server(), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    // The server's half ends with the reader's error, which resets nothing: it finishes.
    client.wait(async {
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(b"half").await?;
        let mut half = [0; 4];
        receive.read_exact(&mut half).await?;
        send.reset(VarInt::from_u32(5)).unwrap();
        assert_eq!(send.write(b"more").await, Err(WriteError::ClosedStream));
        assert_eq!(receive.read(&mut half).await, Ok(None));
        assert_eq!(receive.read(&mut half).await, Ok(None));

        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(b"whole").await?;
        receive.stop(VarInt::from_u32(6)).unwrap();
        send.finish().unwrap();
        assert_eq!(send.stopped().await, Ok(None));
        Ok(())
    });
}

#[test]
fn a_dropped_connection_closes_and_frees_its_place() {
    let (server, client) = (server(), client());
    for _ in 0..3 {
        let connection = client.dial(server.quic.local_addr(), settings());
        client.wait(echoed(&connection, b"x"));
        drop(connection);
        server.wait(async {
            server.quic.wait_idle().await;
            Ok(())
        });
        client.wait(async {
            client.quic.wait_idle().await;
            Ok(())
        });
        for running in [&server, &client] {
            let shard = &running.quic.shards()[0];
            let deadline = Instant::now() + PATIENCE;
            while shard.with(|core, _| core.lanes.len()) > 0 {
                assert!(Instant::now() < deadline, "a link was left behind");
                thread::yield_now();
            }
        }
    }
}

/// Reads the first byte of each stream and wants no more.
async fn stop(connection: Connection) {
    while let Ok((_send, mut receive)) = connection.accept_bi().await {
        let _ = receive.read(&mut [0]).await;
        let _ = receive.stop(VarInt::from_u32(7));
    }
}

#[test]
fn a_stream_that_the_peer_stopped_before_its_end_gives_its_place_back() {
    let settings = || transport::config("::1".parse().unwrap(), 4);
    let server = server_with(vec![socket()], settings(), stop);
    let client = client();
    let connection = client.dial(server.quic.local_addr(), settings());
    for _ in 0..STREAMS_MAX * 2 {
        client.wait(async {
            let (mut send, _receive) = timeout(PATIENCE, connection.open_bi()).await.unwrap()?;
            send.write_all(b"x").await?;
            assert_eq!(send.stopped().await.unwrap(), Some(VarInt::from_u32(7)));
            send.finish().unwrap();
            Ok(())
        });
    }
}

#[test]
fn a_peer_that_uses_its_streams_gets_as_many_as_anybody_and_no_more() {
    let settings = || transport::config("::1".parse().unwrap(), STREAMS_FIRST);
    let (server, client) = (server_on(vec![socket()], settings()), client());
    let connection = client.dial(server.quic.local_addr(), settings());
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        let stream = client.wait(async {
            let (mut send, receive) = timeout(PATIENCE, connection.open_bi()).await.unwrap()?;
            send.write_all(b"x").await?;
            Ok((send, receive))
        });
        open.push(stream);
    }
    let more = client.wait(async { Ok(timeout(SHORT, connection.open_bi()).await.is_ok()) });
    assert!(!more);
    // Those that end make room for others; quinn-proto says so an eighth at a time.
    for (mut send, mut receive) in open.drain(..STREAMS_MAX as usize / 4) {
        send.finish().unwrap();
        let echoed = client.wait(async { Ok(receive.read_to_end(1).await.unwrap()) });
        assert_eq!(echoed, b"x");
    }
    client.wait(async {
        timeout(PATIENCE, connection.open_bi())
            .await
            .unwrap()
            .map_err(Error::from)
    });
}
