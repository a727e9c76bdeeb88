//! The relay between real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use impair::command::{parse, Command};
use impair::relay::{Options, Relay};
use impair::report::Report;
use impair::Settings;

const PATIENCE: Duration = Duration::from_secs(10);

fn loopback(port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0)
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(loopback(0)).unwrap();
    let buffer = 4 * 1024 * 1024;
    let asked = socket2::SockRef::from(&socket).set_recv_buffer_size(buffer);
    asked.unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A relay with a server behind it and a client before it.
struct Setting {
    relay: JoinHandle<Report>,
    control: UnixStream,
    replies: BufReader<UnixStream>,
    client: UdpSocket,
    server: UdpSocket,
}

impl Setting {
    fn new(lines: &[&str]) -> Setting {
        let server = socket();
        let mut options = Options {
            listen: loopback(0),
            target: loopback(server.local_addr().unwrap().port()),
            lifetime: Duration::from_secs(60),
            seed: 1,
            rebind_interval: None,
            up: Settings::default(),
            down: Settings::default(),
        };
        for line in lines {
            let Command::Set { up, down, change } = parse(line).unwrap() else {
                panic!("{line}");
            };
            if up {
                change.apply(&mut options.up);
            }
            if down {
                change.apply(&mut options.down);
            }
        }
        let relay = Relay::bind(options).unwrap();
        let client = socket();
        client.connect(relay.local().unwrap()).unwrap();
        let (control, controlled) = UnixStream::pair().unwrap();
        let mut answers = controlled.try_clone().unwrap();
        Setting {
            relay: thread::spawn(move || relay.run(controlled, &mut answers).unwrap()),
            replies: BufReader::new(control.try_clone().unwrap()),
            control,
            client,
            server,
        }
    }

    fn tell(&mut self, line: &str) -> String {
        writeln!(self.control, "{line}").unwrap();
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        reply.trim().to_owned()
    }

    /// The datagram and from where it came.
    fn at_server(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.server.recv_from(&mut buffer).unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    fn at_client(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = self.client.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// Sends numbered datagrams; what arrives at the server until it is quiet.
    fn numbers_at_server(&self, count: u32) -> Vec<u32> {
        let server = self.server.try_clone().unwrap();
        let quiet = Duration::from_millis(500);
        server.set_read_timeout(Some(quiet)).unwrap();
        let received = thread::spawn(move || {
            let mut numbers = Vec::new();
            let mut buffer = [0; 1000];
            while let Ok(length) = server.recv(&mut buffer) {
                assert_eq!(length, 500);
                numbers.push(u32::from_be_bytes(buffer[..4].try_into().unwrap()));
            }
            numbers
        });
        for number in 0..count {
            let mut datagram = vec![0; 500];
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            self.client.send(&datagram).unwrap();
            if number % 32 == 31 {
                // The kernel's buffers for these sockets hold some hundred.
                thread::sleep(Duration::from_millis(2));
            }
        }
        received.join().unwrap()
    }

    fn quit(mut self) -> Report {
        writeln!(self.control, "quit").unwrap();
        self.relay.join().unwrap()
    }
}

#[test]
fn carries_both_ways_and_counts() {
    let setting = Setting::new(&[]);
    setting.client.send(b"to the server").unwrap();
    let (datagram, from) = setting.at_server();
    assert_eq!(datagram, b"to the server");
    setting.server.send_to(b"and back", from).unwrap();
    assert_eq!(setting.at_client(), b"and back");
    let report = setting.quit();
    assert_eq!((report.up.delivered, report.down.delivered), (1, 1));
    assert_eq!((report.up.delivered_bytes, report.flows), (13, 1));
}

#[test]
fn two_clients_are_two_for_the_server() {
    let setting = Setting::new(&[]);
    let other = socket();
    other.connect(setting.client.peer_addr().unwrap()).unwrap();
    setting.client.send(b"one").unwrap();
    let (_, one) = setting.at_server();
    other.send(b"two").unwrap();
    let (_, two) = setting.at_server();
    assert_ne!(one, two);
    setting.server.send_to(b"for two", two).unwrap();
    let mut buffer = [0; 16];
    let length = other.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"for two");
    assert_eq!(setting.quit().flows, 2);
}

#[test]
fn delay_holds_a_datagram_back_in_its_direction_only() {
    let setting = Setting::new(&["up delay 60ms"]);
    let start = Instant::now();
    setting.client.send(b"slow").unwrap();
    let (_, from) = setting.at_server();
    let there = start.elapsed();
    setting.server.send_to(b"fast", from).unwrap();
    setting.at_client();
    let back = start.elapsed() - there;
    assert!(there >= Duration::from_millis(60), "{there:?}");
    assert!(back < there, "{back:?} against {there:?}");
}

#[test]
fn loss_and_duplication_reach_the_server_as_counted() {
    let setting = Setting::new(&["up loss 0.1", "up duplicate 0.1"]);
    let numbers = setting.numbers_at_server(1000);
    let report = setting.quit().up;
    let distinct: BTreeSet<u32> = numbers.iter().copied().collect();
    assert!((50..=150).contains(&report.lost), "{report:?}");
    assert!((50..=150).contains(&report.duplicated), "{report:?}");
    assert_eq!(distinct.len() as u64, 1000 - report.lost);
    assert_eq!(numbers.len() as u64, report.delivered);
}

#[test]
fn reordering_changes_the_order_and_loses_nothing() {
    let setting = Setting::new(&["up reorder 0.1"]);
    let mut numbers = setting.numbers_at_server(1000);
    assert!(!numbers.is_sorted());
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1000));
    assert!((50..=150).contains(&setting.quit().up.reordered));
}

#[test]
fn jitter_alone_keeps_the_order() {
    let setting = Setting::new(&["up jitter 5ms"]);
    assert!(setting.numbers_at_server(500).into_iter().eq(0..500));
}

#[test]
fn corruption_turns_one_bit() {
    let setting = Setting::new(&["up corrupt 1"]);
    let sent = [0x55; 300];
    setting.client.send(&sent).unwrap();
    let (received, _) = setting.at_server();
    let flipped: u32 = sent
        .iter()
        .zip(&received)
        .map(|(before, after)| (before ^ after).count_ones())
        .sum();
    assert_eq!((received.len(), flipped), (300, 1));
    assert_eq!(setting.quit().up.corrupted, 1);
}

#[test]
fn a_slow_link_drops_what_its_queue_cannot_hold() {
    // 100 datagrams at once into a queue of 10 that is emptied at 20 a second.
    let setting = Setting::new(&["up rate 80k", "up queue 5000"]);
    for _ in 0..100 {
        setting.client.send(&[0; 500]).unwrap();
    }
    for _ in 0..10 {
        setting.at_server();
    }
    let report = setting.quit().up;
    assert_eq!(report.received, 100);
    assert!(report.overflowed >= 85, "{report:?}");
}

#[test]
fn a_black_hole_opens_and_closes_while_it_runs() {
    let mut setting = Setting::new(&[]);
    let large = [1; 1400];
    setting.client.send(&large).unwrap();
    assert_eq!(setting.at_server().0.len(), 1400);
    assert_eq!(setting.tell("mtu 1300"), "{\"done\":\"mtu 1300\"}");
    setting.client.send(&large).unwrap();
    setting.client.send(&[2; 1300]).unwrap();
    assert_eq!(setting.at_server().0, [2; 1300]);
    setting.tell("mtu none");
    setting.client.send(&large).unwrap();
    assert_eq!(setting.at_server().0.len(), 1400);
    assert_eq!(setting.quit().up.too_large, 1);
}

#[test]
fn rebinding_shows_the_server_a_new_port_and_forgets_the_old() {
    let mut setting = Setting::new(&[]);
    setting.client.send(b"before").unwrap();
    let (_, before) = setting.at_server();
    setting.tell("rebind");
    setting.client.send(b"after").unwrap();
    let (_, after) = setting.at_server();
    assert_ne!(before, after);
    setting.server.send_to(b"to the old", before).unwrap();
    setting.server.send_to(b"to the new", after).unwrap();
    assert_eq!(setting.at_client(), b"to the new");
    assert_eq!(setting.quit().rebinds, 1);
}

#[test]
fn a_wrong_line_is_answered_and_changes_nothing() {
    let mut setting = Setting::new(&[]);
    assert!(setting.tell("loss many").starts_with("{\"error\":"));
    setting.client.send(b"still here").unwrap();
    assert_eq!(setting.at_server().0, b"still here");
    setting.quit();
}

#[test]
fn a_relay_ends_by_itself() {
    let server = socket();
    let relay = Relay::bind(Options {
        listen: loopback(0),
        target: loopback(server.local_addr().unwrap().port()),
        lifetime: Duration::from_millis(50),
        seed: 1,
        rebind_interval: Some(Duration::from_millis(10)),
        up: Settings::default(),
        down: Settings::default(),
    })
    .unwrap();
    // Nobody controls it: the other end is gone.
    let (_, control) = UnixStream::pair().unwrap();
    let report = relay.run(control, &mut std::io::sink()).unwrap();
    assert!(report.seconds >= 0.05);
    assert!(report.rebinds >= 1);
}
